//! El cable: con cualquier byte, cualquier corte y cualquier silencio, el lector no falla, no
//! inventa bytes, no repite ninguno y dice lo mismo a cada tamaño de trozo.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use servidor_hl7::cable::{Lector, Limites, Suceso};

const LIMITES: Limites = Limites {
    mensaje_bytes: 200,
    sin_trama: Duration::from_millis(500),
    incompleta: Duration::from_secs(60),
};

/// Un byte que no llega a nadie: en el guion, 0xF8 a 0xFF son un silencio…
const SILENCIO: u8 = 0xF8;
/// …y este, al final, un corte en lugar de un cierre.
const CORTE: u8 = 0xFF;

fuzz_target!(|guion: &[u8]| {
    let de_una_vez = leer(guion, usize::MAX);
    for trozo in [1, 2, 3, 7, 64] {
        assert_eq!(leer(guion, trozo), de_una_vez, "en trozos de {trozo}");
    }
});

fn leer(guion: &[u8], trozo: usize) -> Vec<String> {
    let mut ahora = Instant::now();
    let mut lector = Lector::new(LIMITES, ahora);
    let mut leidos = Vec::new();
    let mut entregados = 0;
    for tramo in guion.chunk_by(|a, b| (*a < SILENCIO) == (*b < SILENCIO)) {
        if tramo[0] < SILENCIO {
            let mut resto = tramo;
            while !resto.is_empty() {
                let hueco = lector.hueco();
                assert!(!hueco.is_empty());
                let cuantos = trozo.min(hueco.len()).min(resto.len());
                hueco[..cuantos].copy_from_slice(&resto[..cuantos]);
                lector.avanzar(cuantos, ahora);
                resto = &resto[cuantos..];
                sacar(&mut lector, guion, &mut leidos, &mut entregados);
            }
        } else if let Some(espera) = lector.espera() {
            ahora += espera;
            lector.vencer();
            sacar(&mut lector, guion, &mut leidos, &mut entregados);
        }
    }
    if guion.last() == Some(&CORTE) {
        lector.cortar();
    } else {
        lector.cerrar();
    }
    sacar(&mut lector, guion, &mut leidos, &mut entregados);
    assert!(
        entregados <= guion.len(),
        "ningún byte se entrega dos veces"
    );
    leidos
}

fn sacar(lector: &mut Lector, guion: &[u8], leidos: &mut Vec<String>, entregados: &mut usize) {
    while let Some(suceso) = lector.siguiente() {
        let bytes = match &suceso {
            Suceso::Mensaje { bytes, .. } => {
                assert!(bytes.len() <= LIMITES.mensaje_bytes);
                bytes
            }
            Suceso::Excedido {
                comienzo, longitud, ..
            } => {
                assert!(*longitud > LIMITES.mensaje_bytes && comienzo.len() <= *longitud);
                &comienzo[..]
            }
            Suceso::Apartado { bytes, .. } => &bytes[..],
            Suceso::Indicio(_) => &[],
        };
        let sin_silencios = |octeto: &&u8| **octeto < SILENCIO;
        let recibidos: Vec<u8> = guion.iter().filter(sin_silencios).copied().collect();
        assert!(
            bytes.is_empty() || recibidos.windows(bytes.len()).any(|tramo| tramo == bytes),
            "los bytes entregados son los recibidos"
        );
        *entregados += bytes.len();
        leidos.push(format!("{suceso:?}"));
    }
    assert!(leidos.len() <= guion.len() + 1);
}
