//! Lo que se dice de unos bytes que no llegaron a ser un mensaje: qué pasó y qué hacer. No sabe de qué
//! equipo son ni dónde quedaron.

use crate::almacen::Apartado;
use crate::cable::{Indicio, Motivo};
use crate::hl7::mensaje::leer_cabecera;
use crate::octetos::{CR, LF};

/// Cómo se aparta lo que acabó así, qué pasó y qué hacer.
pub(super) fn explicar(motivo: Motivo) -> (Apartado, &'static str, &'static str) {
    match motivo {
        Motivo::Cortado => (
            Apartado::Cortado,
            "se cerró la conexión a mitad de un mensaje",
            "el equipo debe enviarlo de nuevo",
        ),
        Motivo::Abandonado => (
            Apartado::Abandonado,
            "el equipo calló a mitad de un mensaje",
            "debe enviarlo de nuevo; si es un equipo lento, suba EsperaTramaIncompletaS en Config.ini",
        ),
        Motivo::Reiniciado => (
            Apartado::Reiniciado,
            "el equipo empezó un mensaje sin terminar el anterior",
            "se recibe el nuevo",
        ),
        Motivo::Cola => (
            Apartado::Cola,
            "llegó el resto de un mensaje sin trama que ya se había cerrado",
            "suba EsperaSinTramaMs en Config.ini",
        ),
        Motivo::ColaDeTrama => (
            Apartado::Cola,
            "llegó el resto de un mensaje que se dio por acabado porque el equipo calló tras lo que parecía su final",
            "pida al equipo que lo envíe de nuevo",
        ),
    }
}

/// Qué hacer, si los bytes delatan qué habla el equipo.
pub(super) fn consejo(bytes: &[u8]) -> String {
    Indicio::reconocer(bytes)
        .map(|indicio| format!("; {indicio}"))
        .unwrap_or_default()
}

/// Qué hacer con una trama que no acabó y que por dentro parece entera: tiene su cabecera, y lo último es
/// un fin de segmento o un byte más, que el equipo tendrá por el final.
pub(super) fn si_parece_entero(bytes: &[u8], apartado: Apartado) -> &'static str {
    let acaba_un_segmento = match bytes {
        [.., CR | LF] => true,
        [.., CR | LF, octeto] => octeto.is_ascii_control(),
        _ => false,
    };
    if apartado != Apartado::Cola && acaba_un_segmento && leer_cabecera(bytes).is_some() {
        "; parece entero: si se repite, revise que el equipo acabe cada mensaje en FS CR (0x1C 0x0D)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_se_dice_que_parece_entero_de_lo_que_acaba_como_un_mensaje() {
        let msh = |resto: &str| format!("MSH|^~\\&|A|B|||||ORU^R01|1|P|2.3\r{resto}");
        for (bytes, apartado, lo_parece) in [
            (msh("OBX|1\r"), Apartado::Cortado, true),
            (msh("OBX|1\n"), Apartado::Abandonado, true),
            (msh("OBX|1\r\x03"), Apartado::Cortado, true),
            (msh("OBX|1"), Apartado::Cortado, false),
            // La primera letra del segmento siguiente no es un final.
            (msh("OBX|1\rO"), Apartado::Cortado, false),
            (msh("OBX|1\r\x03\x03"), Apartado::Cortado, false),
            ("OBX|1\r".to_owned(), Apartado::Cortado, false),
            (msh("OBX|1\r"), Apartado::Cola, false),
        ] {
            let dicho = si_parece_entero(bytes.as_bytes(), apartado);
            assert_eq!(!dicho.is_empty(), lo_parece, "{bytes:?} {apartado:?}");
        }
    }
}
