//! La cabecera y el acuse: con cualquier byte hay acuse, es un solo mensaje HL7 y lleva el
//! MSH-10 que llegó.
#![no_main]

use chrono::NaiveDate;
use libfuzzer_sys::fuzz_target;
use servidor_hl7::hl7::acuse::{AnteFallo, CodigoAceptado, Forma, Reglas, Veredicto};
use servidor_hl7::hl7::consulta;
use servidor_hl7::cable::Indicio;
use servidor_hl7::hl7::mensaje::leer_cabecera;

fuzz_target!(|mensaje: &[u8]| {
    let ahora = NaiveDate::default()
        .and_hms_opt(9, 45, 1)
        .unwrap_or_default();
    let cabecera = leer_cabecera(mensaje);
    let _ = Indicio::reconocer(mensaje).map(|indicio| indicio.to_string());
    if let Some(cabecera) = &cabecera
        && let Some(contestacion) = consulta::negar(mensaje, cabecera, ahora, "PROPIO")
    {
        let bytes = contestacion.bytes;
        assert!(bytes.starts_with(b"MSH") && bytes.ends_with(b"\r"));
        let segmentos = bytes.split(|octeto| *octeto == b'\r');
        assert!((3..=7).contains(&segmentos.count()));
        assert!(!bytes.contains(&b'\n'));
    }
    for forma in [Forma::Automatica, Forma::Clasica, Forma::Estandar] {
        for veredicto in [
            Veredicto::Aceptado,
            Veredicto::Fallido("No se pudo guardar el mensaje"),
            Veredicto::SinMsh,
            Veredicto::Excesivo,
        ] {
            let reglas = Reglas {
                forma,
                aceptado: CodigoAceptado::Aa,
                ante_fallo: AnteFallo::Ae,
                negar_consultas: true,
            };
            for con_trama in [true, false] {
                let acuse = reglas
                    .redactar(veredicto, cabecera.as_ref(), con_trama, ahora, "PROPIO")
                    .expect("siempre se contesta");
                comprobar(&acuse, cabecera.as_ref().map(|cabecera| cabecera.campo(10)));
            }
        }
    }
});

fn comprobar(acuse: &[u8], id: Option<&[u8]>) {
    assert!(acuse.starts_with(b"MSH"));
    let separador = acuse[3];
    let segmentos: Vec<_> = acuse.split(|octeto| *octeto == b'\r').collect();
    assert_eq!(segmentos.len(), 3, "MSH, MSA y el último CR");
    assert!(segmentos[1].starts_with(b"MSA"));
    assert!(!acuse.contains(&b'\n'));
    let msa2 = segmentos[1].split(|octeto| *octeto == separador).nth(2);
    // El clásico lleva siempre `|`; un MSH-10 que lo contenga no cabe entero en su MSA-2.
    let id = id.unwrap_or_default();
    if !id.contains(&separador) {
        assert_eq!(msa2, Some(id));
    }
}
