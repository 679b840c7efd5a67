use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use servidor_hl7::cable::Indicio;
use servidor_hl7::cable::{COMIENZO_BYTES, Lector, Limites, Motivo, Suceso, enmarcar};

const LIMITES: Limites = Limites {
    mensaje_bytes: 100,
    sin_trama: Duration::from_millis(500),
    incompleta: Duration::from_mins(1),
};

/// Un suceso con sus bytes, para compararlo.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leido {
    ConTrama(Vec<u8>),
    SinTrama(Vec<u8>),
    Excedido(Vec<u8>, usize),
    Apartado(Vec<u8>, Motivo),
    Indicio(Indicio),
}

/// Lo que pasa en el cable.
#[derive(Debug, Clone, Copy)]
enum Paso<'a> {
    Llega(&'a [u8]),
    /// El silencio que el lector dice esperar.
    Silencio,
    Cierre,
    /// La conexión se rompe.
    Corte,
}

fn sacar(lector: &mut Lector, leidos: &mut Vec<Leido>) {
    while let Some(suceso) = lector.siguiente() {
        leidos.push(match suceso {
            Suceso::Mensaje {
                bytes,
                con_trama: true,
            } => Leido::ConTrama(bytes.to_vec()),
            Suceso::Mensaje {
                bytes,
                con_trama: false,
            } => Leido::SinTrama(bytes.to_vec()),
            Suceso::Excedido {
                comienzo, longitud, ..
            } => Leido::Excedido(comienzo.into_owned(), longitud),
            Suceso::Apartado { bytes, motivo } => Leido::Apartado(bytes.into_owned(), motivo),
            Suceso::Indicio(indicio) => Leido::Indicio(indicio),
        });
    }
}

fn recibir(lector: &mut Lector, mut bytes: &[u8], trozo: usize, leidos: &mut Vec<Leido>) {
    while !bytes.is_empty() {
        let hueco = lector.hueco();
        let cuantos = trozo.min(hueco.len()).min(bytes.len());
        hueco[..cuantos].copy_from_slice(&bytes[..cuantos]);
        lector.avanzar(cuantos);
        bytes = &bytes[cuantos..];
        sacar(lector, leidos);
    }
}

/// Cuántos sucesos salen de esos bytes, sin copiarlos.
#[cfg(unix)]
fn contar(lector: &mut Lector, mut bytes: &[u8], trozo: usize) -> usize {
    let mut cuantos_sucesos = 0;
    while !bytes.is_empty() {
        let hueco = lector.hueco();
        let cuantos = trozo.min(hueco.len()).min(bytes.len());
        hueco[..cuantos].copy_from_slice(&bytes[..cuantos]);
        lector.avanzar(cuantos);
        bytes = &bytes[cuantos..];
        while lector.siguiente().is_some() {
            cuantos_sucesos += 1;
        }
    }
    cuantos_sucesos
}

fn leer_con(limites: Limites, pasos: &[Paso<'_>], trozo: usize) -> Vec<Leido> {
    let mut lector = Lector::new(limites);
    let mut leidos = Vec::new();
    for paso in pasos {
        match paso {
            Paso::Llega(bytes) => recibir(&mut lector, bytes, trozo, &mut leidos),
            Paso::Silencio => {
                assert!(
                    lector.espera().is_some(),
                    "el lector no espera ningún silencio: {pasos:?}"
                );
                lector.vencer();
            }
            Paso::Cierre => lector.cerrar(),
            Paso::Corte => lector.cortar(),
        }
        sacar(&mut lector, &mut leidos);
    }
    leidos
}

/// Cada guion da lo mismo a cada tamaño de trozo.
fn comprobar(nombre: &str, pasos: &[Paso<'_>], esperado: &[Leido]) {
    for trozo in 1..=160 {
        assert_eq!(
            leer_con(LIMITES, pasos, trozo),
            esperado,
            "{nombre}, en trozos de {trozo}"
        );
    }
}

fn con_trama(bytes: &[u8]) -> Leido {
    Leido::ConTrama(bytes.to_vec())
}

fn sin_trama(bytes: &[u8]) -> Leido {
    Leido::SinTrama(bytes.to_vec())
}

fn apartado(bytes: &[u8], motivo: Motivo) -> Leido {
    Leido::Apartado(bytes.to_vec(), motivo)
}

#[test]
fn una_trama_acaba_en_fs_seguido_de_cr_lf_vt_o_silencio() {
    use Paso::{Cierre, Llega, Silencio};
    for (nombre, pasos, esperado) in [
        (
            "FS CR",
            &[Llega(b"\x0BMSH|1\r\x1C\r")][..],
            &[con_trama(b"MSH|1\r")][..],
        ),
        (
            "FS LF",
            &[Llega(b"\x0BMSH|1\r\x1C\n")],
            &[con_trama(b"MSH|1\r")],
        ),
        (
            "FS CR LF",
            &[Llega(b"\x0BMSH|1\r\x1C\r\n\x0BMSH|2\r\x1C\r")],
            &[con_trama(b"MSH|1\r"), con_trama(b"MSH|2\r")],
        ),
        (
            "FS VT",
            &[Llega(b"\x0BMSH|1\r\x1C\x0BMSH|2\r\x1C\r")],
            &[con_trama(b"MSH|1\r"), con_trama(b"MSH|2\r")],
        ),
        (
            "FS y silencio",
            &[Llega(b"\x0BMSH|1\r\x1C"), Silencio],
            &[con_trama(b"MSH|1\r")],
        ),
        (
            "el CR tardío se traga",
            &[
                Llega(b"\x0BMSH|1\r\x1C"),
                Silencio,
                Llega(b"\r\x0BMSH|2\r\x1C\r"),
            ],
            &[con_trama(b"MSH|1\r"), con_trama(b"MSH|2\r")],
        ),
        (
            "FS y cierre",
            &[Llega(b"\x0BMSH|1\r\x1C"), Cierre],
            &[con_trama(b"MSH|1\r")],
        ),
        (
            "FS en un campo",
            &[Llega(b"\x0BMSH|a\x1Cb\r\x1C\r")],
            &[con_trama(b"MSH|a\x1Cb\r")],
        ),
        (
            "FS FS CR",
            &[Llega(b"\x0BMSH|a\x1C\x1C\r")],
            &[con_trama(b"MSH|a\x1C")],
        ),
        (
            "dos juntas",
            &[Llega(b"\x0BMSH|1\x1C\r\x0BMSH|2\x1C\r")],
            &[con_trama(b"MSH|1"), con_trama(b"MSH|2")],
        ),
        (
            "dos MSH en una trama",
            &[Llega(b"\x0BMSH|1\rMSH|2\r\x1C\r")],
            &[con_trama(b"MSH|1\rMSH|2\r")],
        ),
        (
            "lo que no es HL7 también es trama",
            &[Llega(b"\x0Bhola\x1C\r")],
            &[con_trama(b"hola")],
        ),
    ] {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn un_vt_dentro_de_una_trama_solo_la_reinicia_si_le_sigue_una_cabecera() {
    use Paso::Llega;
    for (nombre, bytes, esperado) in [
        (
            "VT y MSH",
            &b"\x0BMSH|1\rPID|\x0BMSH|2\r\x1C\r"[..],
            &[
                apartado(b"MSH|1\rPID|", Motivo::Reiniciado),
                con_trama(b"MSH|2\r"),
            ][..],
        ),
        (
            "VT y BHS",
            b"\x0BMSH|1\r\x0BBHS|2\r\x1C\r",
            &[
                apartado(b"MSH|1\r", Motivo::Reiniciado),
                con_trama(b"BHS|2\r"),
            ],
        ),
        (
            "VT, blanco y MSH",
            b"\x0BMSH|1\r\x0B MSH|2\r\x1C\r",
            &[
                apartado(b"MSH|1\r", Motivo::Reiniciado),
                con_trama(b" MSH|2\r"),
            ],
        ),
        (
            "VT en un campo",
            b"\x0BMSH|1\rNTE|a\x0Bb\r\x1C\r",
            &[con_trama(b"MSH|1\rNTE|a\x0Bb\r")],
        ),
        (
            "VT y casi MSH",
            b"\x0BMSH|1\rNTE|a\x0BMSX\r\x1C\r",
            &[con_trama(b"MSH|1\rNTE|a\x0BMSX\r")],
        ),
        (
            "VT VT al comienzo",
            b"\x0B\x0BMSH|1\r\x1C\r",
            &[con_trama(b"MSH|1\r")],
        ),
        (
            "VT CR VT al comienzo",
            b"\x0B\r\x0BMSH|1\r\x1C\r",
            &[con_trama(b"MSH|1\r")],
        ),
    ] {
        comprobar(nombre, &[Llega(bytes)], esperado);
    }
}

#[test]
fn una_trama_sin_acabar_se_aparta() {
    use Paso::{Cierre, Llega, Silencio};
    comprobar(
        "cortada",
        &[Llega(b"\x0BMSH|1\rPI"), Cierre],
        &[apartado(b"MSH|1\rPI", Motivo::Cortado)],
    );
    comprobar(
        "abandonada, y lo que sigue se recibe",
        &[
            Llega(b"\x0BMSH|1\rPI"),
            Silencio,
            Llega(b"\x0BMSH|2\r\x1C\r"),
        ],
        &[
            apartado(b"MSH|1\rPI", Motivo::Abandonado),
            con_trama(b"MSH|2\r"),
        ],
    );
}

#[test]
fn una_trama_vacia_es_ruido() {
    use Paso::{Cierre, Llega};
    for bytes in [
        &b"\x0B\x1C\r"[..],
        b"\x0B\r\x1C\r",
        b"\x0B\r\n\r\n\x1C\r",
        b"\x0B\x06\x1C\r",
        b"\x0B\x15\x1C\r",
        b"\x0B\x06\r\x1C\r",
    ] {
        comprobar("vacía", &[Llega(bytes), Cierre], &[]);
    }
}

#[test]
fn un_mensaje_sin_trama_acaba_en_fs_en_el_siguiente_en_silencio_o_en_el_cierre() {
    use Paso::{Cierre, Llega, Silencio};
    for (nombre, pasos, esperado) in [
        (
            "silencio",
            &[Llega(b"MSH|1\rPID|1\r"), Silencio][..],
            &[sin_trama(b"MSH|1\rPID|1\r")][..],
        ),
        (
            "cierre",
            &[Llega(b"MSH|1\rPID|1\r"), Cierre],
            &[sin_trama(b"MSH|1\rPID|1\r")],
        ),
        (
            "FS CR",
            &[Llega(b"MSH|1\r\x1C\r")],
            &[sin_trama(b"MSH|1\r")],
        ),
        (
            "FS y silencio",
            &[Llega(b"MSH|1\r\x1C"), Silencio],
            &[sin_trama(b"MSH|1\r")],
        ),
        (
            "FS pegado al siguiente",
            &[Llega(b"MSH|1\r\x1CMSH|2\r\x1C\r")],
            &[sin_trama(b"MSH|1\r"), sin_trama(b"MSH|2\r")],
        ),
        (
            "FS en un campo",
            &[Llega(b"MSH|a\x1Cb\r"), Silencio],
            &[sin_trama(b"MSH|a\x1Cb\r")],
        ),
        (
            "el siguiente",
            &[Llega(b"MSH|1\rPID|1\rMSH|2\r"), Silencio],
            &[sin_trama(b"MSH|1\rPID|1\r"), sin_trama(b"MSH|2\r")],
        ),
        (
            "el siguiente, con LF",
            &[Llega(b"MSH|1\nMSH|2\n"), Silencio],
            &[sin_trama(b"MSH|1\n"), sin_trama(b"MSH|2\n")],
        ),
        (
            "MSH en un campo no es el siguiente",
            &[Llega(b"MSH|1\rNTE|MSH|2\r"), Silencio],
            &[sin_trama(b"MSH|1\rNTE|MSH|2\r")],
        ),
        (
            "una trama",
            &[Llega(b"MSH|1\r\x0BMSH|2\r\x1C\r")],
            &[sin_trama(b"MSH|1\r"), con_trama(b"MSH|2\r")],
        ),
        (
            "VT en un campo",
            &[Llega(b"MSH|1\rNTE|a\x0Bb\r"), Silencio],
            &[sin_trama(b"MSH|1\rNTE|a\x0Bb\r")],
        ),
        (
            "un lote es un archivo",
            &[
                Llega(b"FHS|1\rBHS|2\rMSH|3\rMSH|4\rBTS|1\rFTS|1\r"),
                Silencio,
            ],
            &[sin_trama(b"FHS|1\rBHS|2\rMSH|3\rMSH|4\rBTS|1\rFTS|1\r")],
        ),
        (
            "tras el lote, otro mensaje",
            &[Llega(b"BHS|2\rMSH|3\rBTS|1\rMSH|4\r"), Silencio],
            &[sin_trama(b"BHS|2\rMSH|3\rBTS|1\r"), sin_trama(b"MSH|4\r")],
        ),
        (
            "dos lotes sin cerrar",
            &[Llega(b"FHS|1\rBHS|2\rMSH|3\rFHS|4\rMSH|5\r"), Silencio],
            &[
                sin_trama(b"FHS|1\rBHS|2\rMSH|3\r"),
                sin_trama(b"FHS|4\rMSH|5\r"),
            ],
        ),
        (
            "dos BHS sin cerrar",
            &[Llega(b"BHS|1\rMSH|2\rBHS|3\rMSH|4\r"), Silencio],
            &[sin_trama(b"BHS|1\rMSH|2\r"), sin_trama(b"BHS|3\rMSH|4\r")],
        ),
        (
            "msh en minúsculas",
            &[Llega(b"msh|1\r"), Silencio],
            &[sin_trama(b"msh|1\r")],
        ),
    ] {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn el_relleno_entre_mensajes_sin_trama_no_los_pega() {
    use Paso::{Llega, Silencio};
    for relleno in [
        &b"\0"[..],
        b"\0\0\0",
        b"\x02",
        b"\x06",
        b"\t",
        b" ",
        b"\xEF\xBB\xBF",
        b"\n\x02\n",
        &[0; 70],
    ] {
        let primero = [b"MSH|1\rPID|1\r", relleno].concat();
        let pasos = [Llega(&primero), Llega(b"MSH|2\r"), Silencio];
        comprobar(
            "pegados",
            &pasos,
            &[sin_trama(&primero), sin_trama(b"MSH|2\r")],
        );
        let pasos = [Llega(&primero), Silencio, Llega(b"MSH|2\r"), Silencio];
        comprobar(
            "con pausa",
            &pasos,
            &[sin_trama(&primero), sin_trama(b"MSH|2\r")],
        );
        let con_fs = [b"MSH|1\r\x1C", &relleno[..relleno.len().min(7)]].concat();
        let pasos = [Llega(&con_fs), Llega(b"MSH|2\r"), Silencio];
        let cuantos = leer_con(LIMITES, &pasos, 3).len();
        assert_eq!(cuantos, 2, "FS y {}", relleno.escape_ascii());
    }
}

#[test]
fn msh_en_mitad_de_un_texto_solo_abre_si_lleva_caracteres_de_codificacion() {
    use Paso::{Cierre, Llega};
    let texto = Leido::Indicio(Indicio::Desconocido(None));
    for (ruido, esperado) in [
        (&b"log MSH: hola\r\n"[..], std::slice::from_ref(&texto)),
        (b"enviando MSH-10=7\r\n", std::slice::from_ref(&texto)),
        (
            b"log MSH|^~\\&|A\r",
            &[texto.clone(), sin_trama(b"MSH|^~\\&|A\r")],
        ),
        (b"hola\r\nMSH|1\r", &[texto.clone(), sin_trama(b"MSH|1\r")]),
        (b"\x02 MSH|1\r", &[sin_trama(b"MSH|1\r")]),
    ] {
        comprobar("texto", &[Llega(ruido), Cierre], esperado);
    }
}

#[test]
fn una_conexion_rota_en_mitad_de_un_segmento_aparta_lo_que_no_se_sabe_entero() {
    use Paso::{Corte, Llega};
    comprobar(
        "entero",
        &[Llega(b"MSH|1\rPID|1\r"), Corte],
        &[sin_trama(b"MSH|1\rPID|1\r")],
    );
    comprobar(
        "cortado",
        &[Llega(b"MSH|1\rPID|"), Corte],
        &[apartado(b"MSH|1\rPID|", Motivo::Cortado)],
    );
    comprobar(
        "con trama",
        &[Llega(b"\x0BMSH|1\r"), Corte],
        &[apartado(b"MSH|1\r", Motivo::Cortado)],
    );
}

#[test]
fn el_texto_que_sigue_a_un_mensaje_sin_trama_cerrado_es_su_cola() {
    use Paso::{Cierre, Llega, Silencio};
    comprobar(
        "cola por una pausa",
        &[
            Llega(b"MSH|1\rPID|"),
            Silencio,
            Llega(b"9\rOBX|1\r"),
            Silencio,
            Llega(b"\x02\x02MSH|2\r"),
            Cierre,
        ],
        &[
            sin_trama(b"MSH|1\rPID|"),
            apartado(b"9\rOBX|1\r", Motivo::Cola),
            sin_trama(b"MSH|2\r"),
        ],
    );
    comprobar(
        "tras una trama no hay cola, hay ruido",
        &[Llega(b"\x0BMSH|1\r\x1C\ry|z\r\x1C\r"), Cierre],
        &[
            con_trama(b"MSH|1\r"),
            Leido::Indicio(Indicio::Desconocido(None)),
        ],
    );
}

#[test]
fn el_ruido_antes_de_un_mensaje_se_descarta() {
    use Paso::Llega;
    for ruido in [
        &b"\r\n"[..],
        b"\0\0\0",
        b"  ",
        b"\x02\x02",
        b"\x06\x15",
        b"\xEF\xBB\xBF",
        b"MS\r\n",
        b"\x1C\r",
    ] {
        let bytes = [ruido, b"\x0BMSH|1\r\x1C\r", ruido, b"MSH|2\r\x1C\r"].concat();
        let leidos = leer_con(LIMITES, &[Llega(&bytes)], 7);
        let mensajes: Vec<_> = leidos
            .iter()
            .filter(|leido| !matches!(leido, Leido::Indicio(_)))
            .collect();
        assert_eq!(
            mensajes,
            [&con_trama(b"MSH|1\r"), &sin_trama(b"MSH|2\r")],
            "{}",
            ruido.escape_ascii()
        );
    }
    comprobar(
        "ENQ se comenta y no estorba",
        &[Llega(b"\x05\x0BMSH|1\r\x1C\r")],
        &[Leido::Indicio(Indicio::Astm), con_trama(b"MSH|1\r")],
    );
    comprobar(
        "texto, una sola vez",
        &[Llega(
            b"hola\r\n\x0BMSH|1\r\x1C\rotra vez\r\n\x0BMSH|2\r\x1C\r",
        )],
        &[
            Leido::Indicio(Indicio::Desconocido(None)),
            con_trama(b"MSH|1\r"),
            con_trama(b"MSH|2\r"),
        ],
    );
    comprobar(
        "TLS se reconoce antes de buscar un VT",
        &[Llega(b"\x16\x03")],
        &[Leido::Indicio(Indicio::Tls)],
    );
}

#[test]
fn un_mensaje_sobre_el_limite_se_lee_hasta_el_fin_y_el_siguiente_se_recibe() {
    use Paso::{Cierre, Llega, Silencio};
    let justo = [b"MSH|".to_vec(), vec![b'x'; 96]].concat();
    let largo = [b"MSH|".to_vec(), vec![b'x'; 97]].concat();
    let bytes = [enmarcar(&justo), enmarcar(&largo), enmarcar(b"MSH|2\r")].concat();
    comprobar(
        "con trama",
        &[Llega(&bytes)],
        &[
            con_trama(&justo),
            Leido::Excedido(largo.clone(), 101),
            con_trama(b"MSH|2\r"),
        ],
    );
    comprobar(
        "sin trama",
        &[Llega(&largo), Silencio, Llega(b"MSH|2\r"), Silencio],
        &[Leido::Excedido(largo.clone(), 101), sin_trama(b"MSH|2\r")],
    );
    comprobar(
        "cortado",
        &[Llega(&enmarcar(&largo)[..102]), Cierre],
        &[apartado(&largo, Motivo::Cortado)],
    );

    let enorme = vec![b'x'; 3 * COMIENZO_BYTES];
    let leidos = leer_con(LIMITES, &[Llega(&enmarcar(&enorme))], 4096);
    assert_eq!(
        leidos,
        [Leido::Excedido(
            enorme[..COMIENZO_BYTES].to_vec(),
            enorme.len()
        )]
    );
}

#[test]
fn el_silencio_que_se_espera_depende_de_lo_que_falta() {
    for (bytes, milisegundos) in [
        (&b""[..], None),
        (b"\x02\r\nMS", None),
        (b"hola", Some(1000)),
        (b"\x0BMSH|1\r", Some(60_000)),
        (b"\x0BMSH|1\r\x1C", Some(300)),
        (b"\x0BMSH|1\x1C", Some(1000)),
        (b"\x0BMSH|1\r\x1C\r", None),
        (b"MSH|1\r", Some(500)),
        (b"MSH|1\n", Some(500)),
        (b"MSH|1\r\x02", Some(500)),
        (b"MSH|1\rM", Some(2000)),
        (b"MSH|1\rPID", Some(2000)),
        (b"MSH|1", Some(2000)),
        (b"MSH|1\r\x1C", Some(300)),
    ] {
        let mut lector = Lector::new(LIMITES);
        recibir(&mut lector, bytes, bytes.len().max(1), &mut Vec::new());
        assert_eq!(
            lector.espera(),
            milisegundos.map(Duration::from_millis),
            "{}",
            bytes.escape_ascii()
        );
    }
}

/// Dieciséis veces más bytes cuestan unas dieciséis veces más; un coste cuadrático daría 256. Se
/// cuenta lo que trabaja este hilo, no lo que espera al procesador, y basta con que un intento lo
/// muestre: una máquina ocupada puede encarecer alguno, no abaratarlo.
#[cfg(unix)]
#[test]
fn el_tiempo_es_lineal_en_la_longitud_a_cada_tamano_de_trozo() {
    const RAZON_MAXIMA: f64 = 64.0;
    const INTENTOS: usize = 8;
    let limites = Limites {
        mensaje_bytes: 64 << 20,
        ..LIMITES
    };
    for relleno in [
        &b"OBX|1|TX|texto\r"[..],
        b"\x0B",
        b"\x1C",
        b"\x0BMS",
        b"\r\r\r",
    ] {
        // Bastante para muchos trozos, y no más: a cada trozo, un coste cuadrático lo mira todo.
        for (trozo, corto) in [(1, 2_000), (1000, 20_000), (65_536, 100_000)] {
            // El mismo lector todas las veces: se mide la lectura, no lo que tarda el sistema en dar memoria.
            let mut lector = Lector::new(limites);
            let mut trabajo = |longitud: usize| {
                let contenido = relleno.repeat(longitud / relleno.len());
                let trama = enmarcar(&[b"MSH|", &contenido[..]].concat());
                let antes = trabajado();
                assert_eq!(contar(&mut lector, &trama, trozo), 1);
                trabajado().saturating_sub(antes).as_secs_f64()
            };
            trabajo(16 * corto);
            let es_lineal = |_| {
                // Varias lecturas cortas, para que el reloj las mida bien.
                let corta = (0..8).map(|_| trabajo(corto)).sum::<f64>() / 8.0;
                trabajo(16 * corto) < corta * RAZON_MAXIMA
            };
            assert!(
                (0..INTENTOS).any(es_lineal),
                "{} en trozos de {trozo}",
                relleno.escape_ascii()
            );
        }
    }
}

/// Lo que ha trabajado este hilo.
#[cfg(unix)]
fn trabajado() -> Duration {
    use nix::time::{ClockId, clock_gettime};
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// El contenido de un mensaje: cualquier byte, sin lo que en el cable sería su fin.
fn contenido() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..60).prop_map(|cuerpo| {
        let mut contenido = b"MSH|^~\\&|".to_vec();
        contenido.extend(cuerpo.iter().map(|octeto| {
            if matches!(octeto, 0x0B | 0x1C) {
                b'.'
            } else {
                *octeto
            }
        }));
        contenido.push(b'\r');
        contenido
    })
}

/// Ruido que no llama la atención ni puede confundirse con un comienzo.
fn ruido() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop::sample::select(b"\r\n\0 \t\x02\x05\x06\x15xyz".to_vec()),
        0..10,
    )
}

proptest! {
    #[test]
    fn los_mensajes_que_salen_son_los_que_entraron(
        enviados in vec((ruido(), contenido()), 1..8),
        cortes in vec(1usize..40, 1..50),
    ) {
        let limites = Limites { mensaje_bytes: 1000, ..LIMITES };
        let mut lector = Lector::new(limites);
        let mut leidos = Vec::new();
        let bytes: Vec<u8> =
            enviados.iter().flat_map(|(ruido, contenido)| [ruido.clone(), enmarcar(contenido)].concat()).collect();
        let mut resto = &bytes[..];
        for corte in cortes.iter().cycle() {
            let (trozo, despues) = resto.split_at((*corte).min(resto.len()));
            recibir(&mut lector, trozo, trozo.len().max(1), &mut leidos);
            resto = despues;
            if resto.is_empty() {
                break;
            }
        }
        leidos.retain(|leido| !matches!(leido, Leido::Indicio(_)));
        let esperados: Vec<_> = enviados.iter().map(|(_, contenido)| con_trama(contenido)).collect();
        prop_assert_eq!(leidos, esperados);
    }

    #[test]
    fn con_cualquier_byte_da_lo_mismo_a_cada_tamano_de_trozo(
        bytes in vec(prop_oneof![
            prop::sample::select(b"\x0B\x1C\r\nMSHFBT|^\x02\x05 \0".to_vec()),
            any::<u8>(),
        ], 0..400),
        silencios in any::<bool>(),
    ) {
        let pasos: Vec<_> = if silencios {
            vec![Paso::Llega(&bytes), Paso::Cierre]
        } else {
            vec![Paso::Llega(&bytes)]
        };
        let entero = leer_con(LIMITES, &pasos, 4096);
        for trozo in [1, 2, 3, 7, 64] {
            prop_assert_eq!(&leer_con(LIMITES, &pasos, trozo), &entero, "en trozos de {}", trozo);
        }
    }

    #[test]
    fn nada_de_lo_que_no_es_ruido_se_pierde(
        trozos in vec(prop::sample::select(TROZOS), 0..60),
    ) {
        let entrada = [&b"\x0BMSH|^~\\&|"[..], &trozos.concat()].concat();
        let limites = Limites { mensaje_bytes: 10_000, ..LIMITES };
        let leidos = leer_con(limites, &[Paso::Llega(&entrada), Paso::Cierre], 4096);
        comprobar_huecos(&entrada, &leidos).map_err(TestCaseError::fail)?;
    }
}

const TROZOS: &[&[u8]] = &[
    b"\x0B", b"\x1C", b"\x1C\r", b"\r", b"\n", b"M", b"MSH", b"MSH|", b"|", b"a", b"OBX|1\r",
    CABECERA,
];
/// Lo que nadie puede tomar por otra cosa.
const CABECERA: &[u8] = b"MSH|^~\\&|";

/// Que todo byte de la entrada sale una vez y en orden, salvo los de las tramas y el ruido que haya
/// entre ellas: lo que no salió no abre nada, y está donde no hay mensaje abierto.
fn comprobar_huecos(entrada: &[u8], leidos: &[Leido]) -> Result<(), String> {
    let mut desde = 0;
    let mut hay_mensaje_abierto = true;
    for leido in leidos {
        let (bytes, acaba_en): (_, &[u8]) = match leido {
            Leido::ConTrama(bytes) => (bytes, b"\x1C"),
            Leido::Apartado(bytes, Motivo::Reiniciado) => (bytes, b"\x0B"),
            Leido::Apartado(bytes, _) | Leido::SinTrama(bytes) => (bytes, b""),
            Leido::Indicio(_) => continue,
            Leido::Excedido(..) => return Err("excedido".to_owned()),
        };
        let con_trama = !matches!(leido, Leido::SinTrama(_) | Leido::Apartado(_, Motivo::Cola));
        let esta_en = |comienzo: &usize| {
            let (antes, aqui) = entrada.split_at(*comienzo);
            (!con_trama || antes.ends_with(b"\x0B"))
                && aqui
                    .strip_prefix(&bytes[..])
                    .is_some_and(|resto| resto.starts_with(acaba_en))
        };
        let comienzo = (desde..=entrada.len()).find(esta_en);
        let comienzo = comienzo.ok_or_else(|| format!("{leido:?} no está tras {desde}"))?;
        let hueco = &entrada[desde..comienzo];
        if bytes.is_empty() || abre_algo(hueco) || (hay_mensaje_abierto && !son_vt(hueco)) {
            return Err(format!("{} antes de {leido:?}", hueco.escape_ascii()));
        }
        desde = comienzo + bytes.len();
        hay_mensaje_abierto = acaba_en == b"\x0B";
    }
    let resto = &entrada[desde..];
    if hay_mensaje_abierto || abre_algo(resto) {
        return Err(format!("{} al final", resto.escape_ascii()));
    }
    Ok(())
}

fn son_vt(hueco: &[u8]) -> bool {
    !hueco.is_empty() && hueco.iter().all(|octeto| *octeto == 0x0B)
}

/// Si ahí comienza un mensaje, con trama o al comienzo de una línea.
fn abre_algo(hueco: &[u8]) -> bool {
    hueco
        .windows(1 + CABECERA.len())
        .any(|tramo| b"\x0B\r\n".contains(&tramo[0]) && &tramo[1..] == CABECERA)
}
