use chrono::{NaiveDate, NaiveDateTime};
use proptest::collection::vec;
use proptest::prelude::*;
use servidor_hl7::hl7::acuse::{AnteFallo, CodigoAceptado, Forma, Reglas, Veredicto};
use servidor_hl7::hl7::comienzo::{Comienzo, abre};
use servidor_hl7::hl7::consulta::negar;
use servidor_hl7::hl7::mensaje::leer_cabecera;

fn reglas(forma: Forma, ante_fallo: AnteFallo) -> Reglas {
    Reglas {
        forma,
        aceptado: CodigoAceptado::Aa,
        ante_fallo,
        negar_consultas: true,
    }
}

fn hora() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 9, 12)
        .unwrap()
        .and_hms_opt(9, 45, 1)
        .unwrap()
}

fn redactar(reglas: Reglas, veredicto: Veredicto, mensaje: &[u8]) -> Option<Vec<u8>> {
    reglas.redactar(
        veredicto,
        leer_cabecera(mensaje).as_ref(),
        true,
        hora(),
        "20260912094501123000",
    )
}

/// MSA-2 de un acuse con ese separador, comprobando que su MSH llega al campo 21.
fn msa2(acuse: &[u8], separador: u8) -> Vec<u8> {
    let segmentos: Vec<_> = acuse.split(|octeto| *octeto == b'\r').collect();
    assert_eq!(segmentos.len(), 3, "MSH, MSA y el último CR");
    segmentos[1]
        .split(|octeto| *octeto == separador)
        .nth(2)
        .unwrap()
        .to_vec()
}

#[test]
fn el_codigo_sale_del_veredicto_y_de_config_ini() {
    for (veredicto, ante_fallo, esperado) in [
        (Veredicto::Aceptado, AnteFallo::Ae, Some("AA")),
        (Veredicto::Aceptado, AnteFallo::Callar, Some("AA")),
        (Veredicto::Fallido("x"), AnteFallo::Ae, Some("AE")),
        (Veredicto::Fallido("x"), AnteFallo::Ar, Some("AR")),
        (Veredicto::Fallido("x"), AnteFallo::Callar, None),
        (Veredicto::SinMsh, AnteFallo::Callar, Some("AR")),
        (Veredicto::Excesivo, AnteFallo::Ae, Some("AR")),
    ] {
        assert_eq!(
            reglas(Forma::Automatica, ante_fallo).codigo(veredicto),
            esperado,
            "{veredicto:?}"
        );
    }
}

/// Si a un byte de control siguen las tres letras de un nombre: otro segmento, mal separado.
fn acaba_en_otro_segmento(campo: &[u8]) -> bool {
    let Some([control, nombre @ ..]) = campo.last_chunk::<4>() else {
        return false;
    };
    control.is_ascii_control() && nombre.iter().all(u8::is_ascii_alphanumeric)
}

proptest! {
    #[test]
    fn msa_2_es_msh_10_byte_por_byte(
        separador in any::<u8>().prop_filter("separador", |s| abre(&[b'M', b'S', b'H', *s]) == Comienzo::Si),
        campos in vec(vec(any::<u8>(), 0..30), 0..25),
    ) {
        let campos: Vec<Vec<u8>> = campos
            .into_iter()
            .map(|campo| campo.into_iter().filter(|octeto| ![separador, b'\r', b'\n'].contains(octeto)).collect())
            .collect();
        prop_assume!(!campos.iter().any(|campo| acaba_en_otro_segmento(campo)));
        let mensaje = [&b"MSH"[..], &[separador], &campos.join(&separador), b"\rPID\r"].concat();
        // MSH-2 es el primero tras el separador.
        let id = campos.get(8).cloned().unwrap_or_default();
        for veredicto in Veredicto::TODOS {
            let acuse = redactar(reglas(Forma::Estandar, AnteFallo::Ae), veredicto, &mensaje).unwrap();
            prop_assert_eq!(msa2(&acuse, separador), id.clone(), "{}", acuse.escape_ascii());
            let msh = acuse.split(|octeto| *octeto == b'\r').next().unwrap();
            prop_assert_eq!(msh.split(|octeto| *octeto == separador).count(), 21);
        }
    }

    #[test]
    fn ningun_byte_hace_fallar_al_acuse(bytes in vec(any::<u8>(), 0..200), con_cabecera in any::<bool>()) {
        let mensaje = if con_cabecera { [&b"MSH|"[..], &bytes].concat() } else { bytes };
        for forma in Forma::TODAS {
            for veredicto in Veredicto::TODOS {
                let acuse = redactar(reglas(forma, AnteFallo::Ae), veredicto, &mensaje).unwrap();
                prop_assert!(acuse.starts_with(b"MSH") && acuse.ends_with(b"\r"));
                prop_assert_eq!(acuse.split(|octeto| *octeto == b'\r').count(), 3, "{}", acuse.escape_ascii());
            }
        }
        let consulta = [&b"MSH|^~\\&|||||||QBP^Q11|1\r"[..], &mensaje].concat();
        let cabecera = leer_cabecera(&consulta).unwrap();
        let respuesta = negar(&consulta, &cabecera, hora(), "1");
        prop_assert!(respuesta.is_none_or(|respuesta| respuesta.bytes.ends_with(b"\r")));
    }
}
