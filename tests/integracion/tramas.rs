use std::fmt;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use servidor_hl7::cable::Indicio;
use servidor_hl7::cable::{
    COMIENZO_BYTES, Envoltura, Lector, Limites, Motivo, Suceso, Tope, enmarcar,
};

const LIMITES: Limites = Limites {
    mensaje_bytes: 4000,
    sin_trama: Duration::from_millis(500),
    incompleta: Duration::from_mins(1),
};

/// Unos bytes que una prueba fallida deja leer.
#[derive(Clone, PartialEq, Eq)]
struct Octetos(Vec<u8>);

impl fmt::Debug for Octetos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "«{}»", self.0.escape_ascii())
    }
}

/// Un suceso con sus bytes, para compararlo.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leido {
    Mensaje(Octetos, Envoltura),
    Excedido(Octetos, usize),
    Apartado(Octetos, Motivo),
    Indicio(Indicio),
}

/// Lo que pasa en el cable.
#[derive(Debug, Clone, Copy)]
enum Paso<'a> {
    Llega(&'a [u8]),
    /// Pasan esos milisegundos, menos que el silencio que el lector espera.
    Pausa(u64),
    /// El silencio que el lector dice esperar.
    Silencio,
    /// Todos los silencios que el lector espere, si espera alguno.
    Calma,
    Cierre,
    /// La conexión se rompe.
    Corte,
}

/// Un lector con su reloj, que solo anda cuando se le dice.
struct Mesa {
    lector: Lector,
    ahora: Instant,
    leidos: Vec<Leido>,
}

impl Mesa {
    fn new(limites: Limites) -> Mesa {
        let ahora = Instant::now();
        Mesa {
            lector: Lector::new(limites, ahora),
            ahora,
            leidos: Vec::new(),
        }
    }

    fn recibir(&mut self, mut bytes: &[u8], trozo: usize) {
        while !bytes.is_empty() {
            let hueco = self.lector.hueco();
            let cuantos = trozo.min(hueco.len()).min(bytes.len());
            hueco[..cuantos].copy_from_slice(&bytes[..cuantos]);
            self.lector.avanzar(cuantos, self.ahora);
            bytes = &bytes[cuantos..];
            self.sacar();
        }
    }

    /// Pasa el silencio que el lector espera.
    fn callar(&mut self) {
        let espera = self
            .lector
            .espera()
            .expect("el lector no espera ningún silencio");
        self.ahora += espera;
        self.lector.vencer();
        self.sacar();
    }

    fn dar(&mut self, paso: Paso<'_>, trozo: usize) {
        match paso {
            Paso::Llega(bytes) => self.recibir(bytes, trozo),
            Paso::Pausa(milisegundos) => {
                let pausa = Duration::from_millis(milisegundos);
                assert!(self.lector.espera().is_none_or(|espera| espera > pausa));
                self.ahora += pausa;
            }
            Paso::Silencio => self.callar(),
            Paso::Calma => {
                while self.lector.espera().is_some() {
                    self.callar();
                }
            }
            Paso::Cierre => self.lector.cerrar(),
            Paso::Corte => self.lector.cortar(),
        }
        self.sacar();
        // Un plazo que ya ha pasado vence sin leer.
        while self.lector.espera() == Some(Duration::ZERO) {
            self.lector.vencer();
            self.sacar();
        }
    }

    fn sacar(&mut self) {
        while let Some(suceso) = self.lector.siguiente() {
            self.leidos.push(match suceso {
                Suceso::Mensaje { bytes, envoltura } => {
                    Leido::Mensaje(Octetos(bytes.to_vec()), envoltura)
                }
                Suceso::Excedido {
                    comienzo,
                    longitud,
                    tope,
                    ..
                } => {
                    assert_eq!(tope, Tope::Limite);
                    Leido::Excedido(Octetos(comienzo.into_owned()), longitud)
                }
                Suceso::Apartado { bytes, motivo, .. } => {
                    Leido::Apartado(Octetos(bytes.into_owned()), motivo)
                }
                Suceso::Indicio(indicio) => Leido::Indicio(indicio),
            });
        }
    }
}

/// Cuántos sucesos salen de esos bytes, sin copiarlos.
#[cfg(unix)]
fn contar(lector: &mut Lector, mut bytes: &[u8], trozo: usize) -> usize {
    let ahora = Instant::now();
    let mut cuantos_sucesos = 0;
    while !bytes.is_empty() {
        let hueco = lector.hueco();
        let cuantos = trozo.min(hueco.len()).min(bytes.len());
        hueco[..cuantos].copy_from_slice(&bytes[..cuantos]);
        lector.avanzar(cuantos, ahora);
        bytes = &bytes[cuantos..];
        while lector.siguiente().is_some() {
            cuantos_sucesos += 1;
        }
    }
    cuantos_sucesos
}

fn leer_con(limites: Limites, pasos: &[Paso<'_>], trozo: usize) -> Vec<Leido> {
    let mut mesa = Mesa::new(limites);
    for paso in pasos {
        mesa.dar(*paso, trozo);
    }
    mesa.leidos
}

/// Cada guion da lo mismo a cada tamaño de trozo.
fn comprobar(nombre: &str, pasos: &[Paso<'_>], esperado: &[Leido]) {
    comprobar_con(LIMITES, nombre, pasos, esperado);
}

fn comprobar_con(limites: Limites, nombre: &str, pasos: &[Paso<'_>], esperado: &[Leido]) {
    for trozo in 1..=160 {
        assert_eq!(
            leer_con(limites, pasos, trozo),
            esperado,
            "{nombre}, en trozos de {trozo}"
        );
    }
}

fn con_trama(bytes: &[u8]) -> Leido {
    Leido::Mensaje(Octetos(bytes.to_vec()), Envoltura::Mllp)
}

fn sin_trama(bytes: &[u8]) -> Leido {
    Leido::Mensaje(Octetos(bytes.to_vec()), Envoltura::Ninguna)
}

fn con_stx(bytes: &[u8]) -> Leido {
    Leido::Mensaje(Octetos(bytes.to_vec()), Envoltura::StxEtx)
}

fn tramar(contenido: &[u8]) -> Vec<u8> {
    enmarcar(contenido, Envoltura::Mllp)
}

fn apartado(bytes: &[u8], motivo: Motivo) -> Leido {
    Leido::Apartado(Octetos(bytes.to_vec()), motivo)
}

#[test]
fn una_trama_acaba_en_fs_seguido_de_cr_lf_vt_o_silencio() {
    use Paso::{Cierre, Llega, Silencio};
    for (nombre, pasos, esperado) in [
        (
            "FS CR",
            &[Llega(b"\x0BMSH|^~\\&|1\r\x1C\r")][..],
            &[con_trama(b"MSH|^~\\&|1\r")][..],
        ),
        (
            "FS LF",
            &[Llega(b"\x0BMSH|^~\\&|1\r\x1C\n")],
            &[con_trama(b"MSH|^~\\&|1\r")],
        ),
        (
            "FS CR LF",
            &[Llega(b"\x0BMSH|^~\\&|1\r\x1C\r\n\x0BMSH|^~\\&|2\r\x1C\r")],
            &[con_trama(b"MSH|^~\\&|1\r"), con_trama(b"MSH|^~\\&|2\r")],
        ),
        (
            "FS VT",
            &[Llega(b"\x0BMSH|^~\\&|1\r\x1C\x0BMSH|^~\\&|2\r\x1C\r")],
            &[con_trama(b"MSH|^~\\&|1\r"), con_trama(b"MSH|^~\\&|2\r")],
        ),
        (
            "FS y silencio",
            &[Llega(b"\x0BMSH|^~\\&|1\r\x1C"), Silencio],
            &[con_trama(b"MSH|^~\\&|1\r")],
        ),
        (
            "el CR tardío se traga",
            &[
                Llega(b"\x0BMSH|^~\\&|1\r\x1C"),
                Silencio,
                Llega(b"\r\x0BMSH|^~\\&|2\r\x1C\r"),
            ],
            &[con_trama(b"MSH|^~\\&|1\r"), con_trama(b"MSH|^~\\&|2\r")],
        ),
        (
            "FS y cierre",
            &[Llega(b"\x0BMSH|^~\\&|1\r\x1C"), Cierre],
            &[con_trama(b"MSH|^~\\&|1\r")],
        ),
        (
            "FS en un campo",
            &[Llega(b"\x0BMSH|^~\\&|a\x1Cb\r\x1C\r")],
            &[con_trama(b"MSH|^~\\&|a\x1Cb\r")],
        ),
        (
            "FS FS CR",
            &[Llega(b"\x0BMSH|^~\\&|a\x1C\x1C\r")],
            &[con_trama(b"MSH|^~\\&|a")],
        ),
        (
            "dos juntas",
            &[Llega(b"\x0BMSH|^~\\&|1\x1C\r\x0BMSH|^~\\&|2\x1C\r")],
            &[con_trama(b"MSH|^~\\&|1"), con_trama(b"MSH|^~\\&|2")],
        ),
        (
            "dos MSH en una trama",
            &[Llega(b"\x0BMSH|^~\\&|1\rMSH|^~\\&|2\r\x1C\r")],
            &[con_trama(b"MSH|^~\\&|1\rMSH|^~\\&|2\r")],
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
            &b"\x0BMSH|^~\\&|1\rPID|\x0BMSH|^~\\&|2\r\x1C\r"[..],
            &[
                apartado(b"MSH|^~\\&|1\rPID|", Motivo::Reiniciado),
                con_trama(b"MSH|^~\\&|2\r"),
            ][..],
        ),
        (
            "VT y BHS",
            b"\x0BMSH|^~\\&|1\r\x0BBHS|^~\\&|2\r\x1C\r",
            &[
                apartado(b"MSH|^~\\&|1\r", Motivo::Reiniciado),
                con_trama(b"BHS|^~\\&|2\r"),
            ],
        ),
        (
            "VT, blanco y MSH",
            b"\x0BMSH|^~\\&|1\r\x0B MSH|^~\\&|2\r\x1C\r",
            &[
                apartado(b"MSH|^~\\&|1\r", Motivo::Reiniciado),
                con_trama(b" MSH|^~\\&|2\r"),
            ],
        ),
        (
            "VT en un campo",
            b"\x0BMSH|^~\\&|1\rNTE|a\x0Bb\r\x1C\r",
            &[con_trama(b"MSH|^~\\&|1\rNTE|a\x0Bb\r")],
        ),
        (
            "VT y casi MSH",
            b"\x0BMSH|^~\\&|1\rNTE|a\x0BMSX\r\x1C\r",
            &[con_trama(b"MSH|^~\\&|1\rNTE|a\x0BMSX\r")],
        ),
        (
            "VT VT al comienzo",
            b"\x0B\x0BMSH|^~\\&|1\r\x1C\r",
            &[con_trama(b"MSH|^~\\&|1\r")],
        ),
        (
            "VT CR VT al comienzo",
            b"\x0B\r\x0BMSH|^~\\&|1\r\x1C\r",
            &[con_trama(b"MSH|^~\\&|1\r")],
        ),
    ] {
        comprobar(nombre, &[Llega(bytes)], esperado);
    }
}

/// Dos pacientes en un archivo, y un AA: lo que un equipo pone delante de cada mensaje lo pone también delante del
/// que comienza tras uno cortado.
#[test]
fn tras_una_trama_cortada_el_prefijo_de_su_equipo_no_esconde_la_siguiente() {
    use Paso::{Llega, Silencio};
    let blancos = [b' '; 40];
    let prefijos: [&[u8]; 8] = [
        b"0000000084",
        b"D23\r",
        b"2026-11-29 08:50 ",
        b"LOG: enviando\r\n",
        b"EVN|x\r",
        b"\r\nA1\r\n",
        &[0; 17],
        &blancos,
    ];
    for prefijo in prefijos {
        let uno = [prefijo, b"MSH|^~\\&|1\rPID|1||UNO\rOBX|1|NM|GL"].concat();
        let dos = [prefijo, b"MSH|^~\\&|2\rPID|1||DOS\r"].concat();
        let (abre, cierra) = (&b"\x0B"[..], &b"\x1C\r"[..]);
        let nombre = String::from_utf8_lossy(prefijo);
        comprobar(
            &nombre,
            &[Llega(&[abre, &uno, abre, &dos, cierra].concat())],
            &[apartado(&uno, Motivo::Reiniciado), con_trama(&dos)],
        );
        // Un comienzo repetido tras un relleno que mide lo mismo no es el de esa trama.
        let relleno = vec![b'\r'; uno.len().min(64)];
        comprobar(
            &nombre,
            &[Llega(
                &[abre, &relleno, abre, &uno, abre, &dos, cierra].concat(),
            )],
            &[apartado(&uno, Motivo::Reiniciado), con_trama(&dos)],
        );
        let pasos = [
            Llega(&[abre, &uno].concat()),
            Silencio,
            Llega(&[abre, &dos, cierra].concat()),
        ];
        let esperado = [apartado(&uno, Motivo::Abandonado), con_trama(&dos)];
        comprobar(&nombre, &pasos, &esperado);
        // Un VT que es un dato sigue siéndolo, con una cabecera a otra distancia o sin ninguna.
        let datos = [prefijo, b"MSH|^~\\&|3\rNTE|1|\x0Bun dato H\rNTE|2|\x0B\r"].concat();
        let trama = [abre, &datos, cierra].concat();
        comprobar(&nombre, &[Llega(&trama)], &[con_trama(&datos)]);
    }
}

#[test]
fn una_trama_sin_acabar_se_aparta() {
    use Paso::{Cierre, Llega, Silencio};
    comprobar(
        "cortada",
        &[Llega(b"\x0BMSH|^~\\&|1\rPI"), Cierre],
        &[apartado(b"MSH|^~\\&|1\rPI", Motivo::Cortado)],
    );
    comprobar(
        "abandonada, y lo que sigue se recibe",
        &[
            Llega(b"\x0BMSH|^~\\&|1\rPI"),
            Silencio,
            Llega(b"\x0BMSH|^~\\&|2\r\x1C\r"),
        ],
        &[
            apartado(b"MSH|^~\\&|1\rPI", Motivo::Abandonado),
            con_trama(b"MSH|^~\\&|2\r"),
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
            &[Llega(b"MSH|^~\\&|1\rPID|1\r"), Silencio][..],
            &[sin_trama(b"MSH|^~\\&|1\rPID|1\r")][..],
        ),
        (
            "cierre",
            &[Llega(b"MSH|^~\\&|1\rPID|1\r"), Cierre],
            &[sin_trama(b"MSH|^~\\&|1\rPID|1\r")],
        ),
        (
            "FS CR",
            &[Llega(b"MSH|^~\\&|1\r\x1C\r")],
            &[sin_trama(b"MSH|^~\\&|1\r")],
        ),
        (
            "FS y silencio",
            &[Llega(b"MSH|^~\\&|1\r\x1C"), Silencio],
            &[sin_trama(b"MSH|^~\\&|1\r")],
        ),
        (
            "FS pegado al siguiente",
            &[Llega(b"MSH|^~\\&|1\r\x1CMSH|^~\\&|2\r\x1C\r")],
            &[sin_trama(b"MSH|^~\\&|1\r"), sin_trama(b"MSH|^~\\&|2\r")],
        ),
        (
            "FS en un campo",
            &[Llega(b"MSH|^~\\&|a\x1Cb\r"), Silencio],
            &[sin_trama(b"MSH|^~\\&|a\x1Cb\r")],
        ),
        (
            "el siguiente",
            &[Llega(b"MSH|^~\\&|1\rPID|1\rMSH|^~\\&|2\r"), Silencio],
            &[
                sin_trama(b"MSH|^~\\&|1\rPID|1\r"),
                sin_trama(b"MSH|^~\\&|2\r"),
            ],
        ),
        (
            "el siguiente, con LF",
            &[Llega(b"MSH|^~\\&|1\nMSH|^~\\&|2\n"), Silencio],
            &[sin_trama(b"MSH|^~\\&|1\n"), sin_trama(b"MSH|^~\\&|2\n")],
        ),
        (
            "MSH en un campo no es el siguiente",
            &[Llega(b"MSH|^~\\&|1\rNTE|MSH|^~\\&|2\r"), Silencio],
            &[sin_trama(b"MSH|^~\\&|1\rNTE|MSH|^~\\&|2\r")],
        ),
        (
            "una trama",
            &[Llega(b"MSH|^~\\&|1\r\x0BMSH|^~\\&|2\r\x1C\r")],
            &[sin_trama(b"MSH|^~\\&|1\r"), con_trama(b"MSH|^~\\&|2\r")],
        ),
        (
            "VT en un campo",
            &[Llega(b"MSH|^~\\&|1\rNTE|a\x0Bb\r"), Silencio],
            &[sin_trama(b"MSH|^~\\&|1\rNTE|a\x0Bb\r")],
        ),
        (
            "msh en minúsculas",
            &[Llega(b"msh|^~\\&|1\r"), Silencio],
            &[sin_trama(b"msh|^~\\&|1\r")],
        ),
    ] {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn un_lote_sin_trama_es_un_archivo() {
    use Paso::{Llega, Silencio};
    let filas: [(&str, &[Paso<'_>], &[Leido]); 4] = [
        (
            "un lote es un archivo",
            &[
                Llega(b"FHS|^~\\&|1\rBHS|^~\\&|2\rMSH|^~\\&|3\rMSH|^~\\&|4\rBTS|1\rFTS|1\r"),
                Silencio,
            ],
            &[sin_trama(
                b"FHS|^~\\&|1\rBHS|^~\\&|2\rMSH|^~\\&|3\rMSH|^~\\&|4\rBTS|1\rFTS|1\r",
            )],
        ),
        (
            "tras el lote, otro mensaje",
            &[
                Llega(b"BHS|^~\\&|2\rMSH|^~\\&|3\rBTS|1\rMSH|^~\\&|4\r"),
                Silencio,
            ],
            &[
                sin_trama(b"BHS|^~\\&|2\rMSH|^~\\&|3\rBTS|1\r"),
                sin_trama(b"MSH|^~\\&|4\r"),
            ],
        ),
        (
            "dos lotes sin cerrar",
            &[
                Llega(b"FHS|^~\\&|1\rBHS|^~\\&|2\rMSH|^~\\&|3\rFHS|^~\\&|4\rMSH|^~\\&|5\r"),
                Silencio,
            ],
            &[
                sin_trama(b"FHS|^~\\&|1\rBHS|^~\\&|2\rMSH|^~\\&|3\r"),
                sin_trama(b"FHS|^~\\&|4\rMSH|^~\\&|5\r"),
            ],
        ),
        (
            "dos BHS sin cerrar",
            &[
                Llega(b"BHS|^~\\&|1\rMSH|^~\\&|2\rBHS|^~\\&|3\rMSH|^~\\&|4\r"),
                Silencio,
            ],
            &[
                sin_trama(b"BHS|^~\\&|1\rMSH|^~\\&|2\r"),
                sin_trama(b"BHS|^~\\&|3\rMSH|^~\\&|4\r"),
            ],
        ),
    ];
    for (nombre, pasos, esperado) in filas {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn el_relleno_entre_mensajes_sin_trama_no_los_pega() {
    use Paso::{Llega, Silencio};
    let segundo = b"MSH|^~\\&|2\r";
    for relleno in [
        &b"\0"[..],
        b"\0\0\0",
        b"\x02",
        b"\x02\x02",
        b"\x06",
        b"\t",
        b" ",
        b"\xEF\xBB\xBF",
        b"\n\x02\n",
        &[0; 70],
    ] {
        let primero = [b"MSH|^~\\&|1\rPID|1\r", relleno].concat();
        // Un STX pegado a la cabecera que sigue puede ser suyo.
        let suyo = primero.strip_suffix(b"\x02").unwrap_or(&primero);
        let pasos = [Llega(&primero), Llega(segundo), Silencio];
        comprobar("pegados", &pasos, &[sin_trama(suyo), sin_trama(segundo)]);
        let pasos = [Llega(&primero), Silencio, Llega(segundo), Silencio];
        comprobar(
            "con pausa",
            &pasos,
            &[sin_trama(&primero), sin_trama(segundo)],
        );
        let con_fs = [b"MSH|^~\\&|1\r\x1C", &relleno[..relleno.len().min(7)]].concat();
        let pasos = [Llega(&con_fs), Llega(segundo), Silencio];
        let esperado = [sin_trama(b"MSH|^~\\&|1\r"), sin_trama(segundo)];
        comprobar("con FS", &pasos, &esperado);
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
        (
            b"hola\r\nMSH|^~\\&|1\r",
            &[texto.clone(), sin_trama(b"MSH|^~\\&|1\r")],
        ),
        (b"\x02 MSH|^~\\&|1\r", &[sin_trama(b"MSH|^~\\&|1\r")]),
    ] {
        comprobar("texto", &[Llega(ruido), Cierre], esperado);
    }
}

#[test]
fn una_conexion_rota_en_mitad_de_un_segmento_aparta_lo_que_no_se_sabe_entero() {
    use Paso::{Corte, Llega};
    comprobar(
        "entero",
        &[Llega(b"MSH|^~\\&|1\rPID|1\r"), Corte],
        &[sin_trama(b"MSH|^~\\&|1\rPID|1\r")],
    );
    comprobar(
        "cortado",
        &[Llega(b"MSH|^~\\&|1\rPID|"), Corte],
        &[apartado(b"MSH|^~\\&|1\rPID|", Motivo::Cortado)],
    );
    comprobar(
        "con trama",
        &[Llega(b"\x0BMSH|^~\\&|1\r"), Corte],
        &[apartado(b"MSH|^~\\&|1\r", Motivo::Cortado)],
    );
}

#[test]
fn el_texto_que_sigue_a_un_mensaje_sin_trama_cerrado_es_su_cola() {
    use Paso::{Cierre, Llega, Silencio};
    comprobar(
        "cola por una pausa",
        &[
            Llega(b"MSH|^~\\&|1\rPID|"),
            Silencio,
            Llega(b"9\rOBX|1\r"),
            Silencio,
            Llega(b"\x02\x02MSH|^~\\&|2\r"),
            Cierre,
        ],
        &[
            sin_trama(b"MSH|^~\\&|1\rPID|"),
            apartado(b"9\rOBX|1\r", Motivo::Cola),
            sin_trama(b"MSH|^~\\&|2\r"),
        ],
    );
    comprobar(
        "tras una trama no hay cola, hay ruido",
        &[Llega(b"\x0BMSH|^~\\&|1\r\x1C\ry|z\r\x1C\r"), Cierre],
        &[
            con_trama(b"MSH|^~\\&|1\r"),
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
        let bytes = [
            ruido,
            b"\x0BMSH|^~\\&|1\r\x1C\r",
            ruido,
            b"MSH|^~\\&|2\r\x1C\r",
        ]
        .concat();
        let leidos = leer_con(LIMITES, &[Llega(&bytes)], 7);
        let mensajes: Vec<_> = leidos
            .iter()
            .filter(|leido| !matches!(leido, Leido::Indicio(_)))
            .collect();
        assert_eq!(
            mensajes,
            [&con_trama(b"MSH|^~\\&|1\r"), &sin_trama(b"MSH|^~\\&|2\r")],
            "{}",
            ruido.escape_ascii()
        );
    }
    comprobar(
        "ENQ se comenta y no estorba",
        &[Llega(b"\x05\x0BMSH|^~\\&|1\r\x1C\r")],
        &[Leido::Indicio(Indicio::Astm), con_trama(b"MSH|^~\\&|1\r")],
    );
    comprobar(
        "texto, una sola vez",
        &[Llega(
            b"hola\r\n\x0BMSH|^~\\&|1\r\x1C\rotra vez\r\n\x0BMSH|^~\\&|2\r\x1C\r",
        )],
        &[
            Leido::Indicio(Indicio::Desconocido(None)),
            con_trama(b"MSH|^~\\&|1\r"),
            con_trama(b"MSH|^~\\&|2\r"),
        ],
    );
    comprobar(
        "TLS se reconoce antes de buscar un VT",
        &[Llega(b"\x16\x03\x01")],
        &[Leido::Indicio(Indicio::Tls)],
    );
}

#[test]
fn un_mensaje_sobre_el_limite_se_lee_hasta_el_fin_y_el_siguiente_se_recibe() {
    use Paso::{Cierre, Llega, Silencio};
    let limites = Limites {
        mensaje_bytes: 100,
        ..LIMITES
    };
    let justo = [b"MSH|".to_vec(), vec![b'x'; 96]].concat();
    let largo = [b"MSH|".to_vec(), vec![b'x'; 97]].concat();
    let bytes = [tramar(&justo), tramar(&largo), tramar(b"MSH|^~\\&|2\r")].concat();
    comprobar_con(
        limites,
        "con trama",
        &[Llega(&bytes)],
        &[
            con_trama(&justo),
            Leido::Excedido(Octetos(largo.clone()), 101),
            con_trama(b"MSH|^~\\&|2\r"),
        ],
    );
    comprobar_con(
        limites,
        "sin trama",
        &[Llega(&largo), Silencio, Llega(b"MSH|^~\\&|2\r"), Silencio],
        &[
            Leido::Excedido(Octetos(largo.clone()), 101),
            sin_trama(b"MSH|^~\\&|2\r"),
        ],
    );
    comprobar_con(
        limites,
        "cortado",
        &[Llega(&tramar(&largo)[..102]), Cierre],
        &[apartado(&largo, Motivo::Cortado)],
    );

    let enorme = vec![b'x'; 3 * COMIENZO_BYTES];
    let leidos = leer_con(limites, &[Llega(&tramar(&enorme))], 4096);
    assert_eq!(
        leidos,
        [Leido::Excedido(
            Octetos(enorme[..COMIENZO_BYTES].to_vec()),
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
        (b"\x0BMSH|^~\\&|1\r", Some(60_000)),
        (b"\x0BMSH|^~\\&|1\r\x1C", Some(300)),
        (b"\x0BMSH|^~\\&|1\x1C", Some(1000)),
        (b"\x0BMSH|^~\\&|1\r\x1C\r", None),
        (b"MSH|^~\\&|1\r", Some(500)),
        (b"MSH|^~\\&|1\n", Some(500)),
        (b"MSH|^~\\&|1\r\x02", Some(500)),
        (b"MSH|^~\\&|1\rM", Some(2000)),
        (b"MSH|^~\\&|1\rPID", Some(2000)),
        (b"MSH|^~\\&|1", Some(2000)),
        (b"MSH|^~\\&|1\r\x1C", Some(300)),
    ] {
        // Lo que ya no cabe se suelta según llega, y se espera lo mismo.
        for (mensaje_bytes, trozo) in [(4000, 100), (4, 100), (4, 1)] {
            let mut mesa = Mesa::new(Limites {
                mensaje_bytes,
                ..LIMITES
            });
            mesa.recibir(bytes, trozo);
            assert_eq!(
                mesa.lector.espera(),
                milisegundos.map(Duration::from_millis),
                "{} con {mensaje_bytes} bytes de límite, en trozos de {trozo}",
                bytes.escape_ascii()
            );
        }
    }
}

/// De eso depende a quién se le quita la plaza, y a quién se corta al cabo de una hora.
#[test]
fn a_medias_solo_esta_lo_que_parece_un_mensaje_y_no_ha_acabado() {
    let filas: [(&[u8], bool); 11] = [
        (b"", false),
        (b"\x02", false),
        (b"www.usr.cn", false),
        (b"\x0B", false),
        (b"\x0B\r\n", false),
        (b"\x0BM", true),
        (b"\x0BMSH|^~\\&|1\x1C", true),
        (b"\x0BMSH|^~\\&|1\x1C\r", false),
        (b"MSH|^~\\&|1", true),
        (b"MSH|^~\\&|1\r", true),
        (b"MSH|^~\\&|1\x1C\r\x02", false),
    ];
    for (bytes, esperado) in filas {
        let mut mesa = Mesa::new(LIMITES);
        mesa.recibir(bytes, 160);
        let a_medias = mesa.lector.hay_algo_a_medias();
        assert_eq!(a_medias, esperado, "«{}»", bytes.escape_ascii());
    }
    let mut mesa = Mesa::new(LIMITES);
    for paso in [
        Paso::Llega(b"MSH|^~\\&|1\r"),
        Paso::Calma,
        Paso::Llega(b"www.usr.cn"),
    ] {
        mesa.dar(paso, 160);
    }
    assert!(!mesa.lector.hay_algo_a_medias(), "un texto tras un mensaje");
}

#[test]
fn la_memoria_de_un_mensaje_grande_se_devuelve_un_segundo_despues_y_no_cambia_otra_espera() {
    const SEGUNDO: Option<Duration> = Some(Duration::from_secs(1));
    let relleno = vec![b'A'; 900_000];
    let grande = [b"\x0BMSH|^~\\&|1\r", &relleno[..], b"\x1C\r"].concat();
    let limites = Limites {
        mensaje_bytes: 1_000_000,
        ..LIMITES
    };
    let mut mesa = Mesa::new(limites);
    mesa.recibir(&grande, 100_000);
    assert_eq!(mesa.leidos.len(), 1);
    assert_eq!(mesa.lector.espera(), SEGUNDO);
    assert!(mesa.lector.hueco().len() > 900_000, "para el siguiente");
    mesa.callar();
    assert_eq!(mesa.lector.espera(), None);
    assert!(mesa.lector.hueco().len() <= 8 * 1024, "calló un segundo");
    // El siguiente ya ha empezado: su propio silencio se cuenta entero, ni más ni menos.
    mesa.recibir(&grande, 100_000);
    mesa.recibir(&grande[..100], 100);
    assert_eq!(mesa.lector.espera(), SEGUNDO);
    mesa.callar();
    assert_eq!(mesa.lector.espera(), Some(Duration::from_secs(59)));
    assert!(mesa.lector.hueco().len() <= 8 * 1024);
    // Y aunque lleguen bytes de él todo el tiempo.
    mesa.recibir(&grande[100..], 100_000);
    mesa.recibir(&grande[..100], 100);
    for byte in 100..103 {
        mesa.ahora += Duration::from_millis(400);
        mesa.recibir(&grande[byte..=byte], 1);
    }
    assert!(mesa.lector.hueco().len() <= 8 * 1024);
    mesa.recibir(&grande[103..], 100_000);
    assert_eq!(mesa.leidos.len(), 4);
}

/// Un mensaje con ese texto en un campo, y otro entero que le sigue.
fn informe(texto: &[u8]) -> Vec<u8> {
    [b"MSH|^~\\&|1\rOBX|1|FT|X||", texto, b"||F\rOBX|2\r"].concat()
}

/// Lo que llevan los informes y no es una cabecera, aunque lo parezca.
const TEXTOS: [&[u8]; 24] = [
    b"MLH1: conservada\nMSH-2: conservada\nMSH-6: perdida\nPMS2: conservada",
    b"Hormonas:\r\nACTH: 22 pg/mL\r\nMSH: 25 pg/mL\r\nTSH: 2.1",
    b"OTo7PD0+\r\nmsh/dXZ3eHl6e3x9\r\nMSH/dXZ3eHl6e3x9",
    b"a\rBHS: negativo\rFHS: positivo",
    b"a\rBHS:+++\rMSH|---|\rMSH---",
    b"a\rMSH|texto|otro\rBHS|palabra",
    b"a\rmsh|^~\\&|minusculas",
    b"a\rMSH||^~\\&|vacio",
    b"a\rMSH|^~^&|repetido",
    b"a\rMSH|^~\\&\rMSH|^~\\&a",
    b"a\x0BMSH-2: conservada",
    b"a\x0B MSH|texto",
    b"\r\x0BMSH: 25 pg/mL\r\x0B\x0Botra",
    b"vertical\x0Btab\x0B\x0By\x0BM\x0BMS\x0BMSH",
    b"a\x1Cb\x1C\x1Cc\x1C d\x1C\x00e",
    b"\x1CMSH-2: conservada",
    b"\x02MSH-2\x03a\x02\x02",
    b"\r\x02MSH: x\r\x02\x02texto",
    b"cita: MSH|^~\\&|A|B dentro de una l\xEDnea",
    b"\r\n\r\n texto tras l\xEDneas vac\xEDas \xEF\xBB\xBF\x00\x00",
    b"\rBTS: no es el fin de un lote\rFTS|1",
    b"\rFS: 0x1C, VT: 0x0B\rMSA|AA|1\rQRD|1",
    b"\xFF\xFE\xFD\x80\x81\rM\0S\0H\0|\0",
    b"un texto de mas de sesenta y cuatro letras sin separador ni nada parecido a un campo\r\n",
];

#[test]
fn el_texto_de_un_informe_no_abre_ni_acaba_nada() {
    use Paso::{Llega, Silencio};
    for texto in TEXTOS {
        let informe = informe(texto);
        let otro = b"MSH|^~\\&|2\rOBX|1\r";
        let nombre = texto.escape_ascii().to_string();
        comprobar(
            &format!("en una trama: {nombre}"),
            &[Llega(&tramar(&informe)), Llega(&tramar(otro))],
            &[con_trama(&informe), con_trama(otro)],
        );
        comprobar(
            &format!("sin trama: {nombre}"),
            &[Llega(&informe), Silencio, Llega(otro), Silencio],
            &[sin_trama(&informe), sin_trama(otro)],
        );
        comprobar(
            &format!("sin trama y seguidos: {nombre}"),
            &[Llega(&informe), Llega(otro), Silencio],
            &[sin_trama(&informe), sin_trama(otro)],
        );
        let en_stx = enmarcar(&informe[..], Envoltura::StxEtx);
        comprobar(
            &format!("entre STX y ETX: {nombre}"),
            &[
                Llega(&en_stx),
                Llega(&enmarcar(otro, Envoltura::StxEtx)),
                Silencio,
            ],
            &[con_stx(&informe), con_stx(otro)],
        );
        let lote = [b"BHS|^~\\&|1\r", &informe[..], b"MSH|^~\\&|3\rBTS|2\r"].concat();
        let esperado = [sin_trama(&lote), sin_trama(otro)];
        if !texto.starts_with(b"\rBTS") && !texto.starts_with(b"\rFS") {
            comprobar(
                &format!("en un lote: {nombre}"),
                &[Llega(&lote), Llega(otro), Silencio],
                &esperado,
            );
        }
    }
}

#[test]
fn tras_un_fs_o_un_etx_el_relleno_no_es_del_mensaje_y_el_texto_lo_hace_un_dato() {
    use Paso::{Llega, Silencio};
    let m = b"MSH|^~\\&|1\r";
    for relleno in [
        &b""[..],
        b"\x1D",
        b"\0\0\0\0",
        b"\x1C",
        b"  ",
        b"\t\x1E\x7F",
        &[0; 2000],
    ] {
        for fin in [&b"\r"[..], b"\n", b"\r\n"] {
            let bytes = [b"\x0B", &m[..], b"\x1C", relleno, fin].concat();
            comprobar("FS", &[Llega(&bytes)], &[con_trama(m)]);
        }
        let solo = [b"\x0B", &m[..], b"\x1C", relleno].concat();
        if relleno.len() < 1000 {
            comprobar("FS y silencio", &[Llega(&solo), Silencio], &[con_trama(m)]);
        }
        let pegada = [&solo[..], &tramar(m)].concat();
        comprobar("FS y VT", &[Llega(&pegada)], &[con_trama(m), con_trama(m)]);
        let suelta = [&solo[..], m].concat();
        let pasos = [Llega(&suelta), Silencio];
        comprobar("FS y cabecera", &pasos, &[con_trama(m), sin_trama(m)]);

        let solo = [b"\x02", &m[..], b"\x03", relleno].concat();
        if relleno.len() < 1000 {
            comprobar("ETX y silencio", &[Llega(&solo), Silencio], &[con_stx(m)]);
        }
        for fin in [&b"\r"[..], b"\n", b"\x04", b"\x02"] {
            let bytes = [&solo[..], fin].concat();
            comprobar("ETX", &[Llega(&bytes)], &[con_stx(m)]);
        }
        let pegada = [&solo[..], &tramar(m)].concat();
        comprobar("ETX y VT", &[Llega(&pegada)], &[con_stx(m), con_trama(m)]);
    }
    let dato = b"MSH|^~\\&|1\rOBX|a\x1C\x1D b\x03c\r";
    comprobar("FS y texto", &[Llega(&tramar(dato))], &[con_trama(dato)]);
    comprobar(
        "ETX y texto",
        &[Llega(&enmarcar(dato, Envoltura::StxEtx)), Silencio],
        &[con_stx(dato)],
    );
}

/// Un VT puede ser de un texto, y estar casi al final.
#[test]
fn un_vt_junto_al_etx_no_esconde_el_final_de_su_trama() {
    use Paso::{Calma, Llega};
    let otro = b"MSH|^~\\&|2\rOBX|1\r";
    let siguiente = enmarcar(otro, Envoltura::StxEtx);
    for cola in [
        &b"a\x0B"[..],
        b"a\x0B\r",
        b"a\x0Bb",
        b"a\x0Bb\r",
        b"a\x0B\x0B \r",
    ] {
        let m = [b"MSH|^~\\&|1\rNTE|1||", cola].concat();
        let trama = enmarcar(&m[..], Envoltura::StxEtx);
        let esperado = [con_stx(&m), con_stx(otro)];
        for (nombre, pasos) in [
            (
                "y callar",
                &[Llega(&trama), Calma, Llega(&siguiente), Calma][..],
            ),
            ("y otra", &[Llega(&trama), Llega(&siguiente), Calma]),
        ] {
            comprobar(
                &format!("{} {nombre}", cola.escape_ascii()),
                pasos,
                &esperado,
            );
        }
    }
}

#[test]
fn un_comienzo_a_trozos_tras_una_linea_sin_acabar_alarga_la_espera() {
    use Paso::{Calma, Llega, Pausa};
    let otro = b"MSH|^~\\&|2\rOBX|1\r";
    let trama = enmarcar(otro, Envoltura::StxEtx);
    let pasos = [
        Llega(b"MSH|^~\\&|1\rOBX|1"),
        Pausa(1900),
        Llega(&trama[..3]),
        Pausa(1900),
        Llega(&trama[3..]),
        Calma,
    ];
    let esperado = [sin_trama(b"MSH|^~\\&|1\rOBX|1"), con_stx(otro)];
    comprobar("tras un STX", &pasos, &esperado);
}

#[test]
fn stx_abre_una_trama_delante_de_una_cabecera_y_solo_es_un_latido() {
    use Paso::{Calma, Cierre, Llega, Pausa};
    let m = b"MSH|^~\\&|1\rOBX|1\r";
    let trama = enmarcar(m, Envoltura::StxEtx);
    for (nombre, pasos, esperado) in [
        ("una", &[Llega(&trama), Calma][..], &[con_stx(m)][..]),
        (
            "con una pausa dentro",
            &[Llega(&trama[..15]), Pausa(5000), Llega(&trama[15..]), Calma],
            &[con_stx(m)],
        ),
        (
            "tras unos latidos",
            &[
                Llega(b"\x02"),
                Calma,
                Llega(b"\x02"),
                Calma,
                Llega(&trama),
                Calma,
            ],
            &[con_stx(m)],
        ),
        (
            "con latidos entre dos",
            &[Llega(&trama), Llega(b"\x02\x02"), Llega(&trama), Calma],
            &[con_stx(m), con_stx(m)],
        ),
        (
            "latidos de quien envía sin trama",
            &[
                Llega(b"\x02"),
                Calma,
                Llega(b"\x02"),
                Llega(m),
                Calma,
                Llega(b"\x02\x02"),
                Llega(m),
                Calma,
            ],
            &[sin_trama(m), sin_trama(m)],
        ),
        (
            "latidos de quien envía en MLLP",
            &[
                Llega(b"\x02\x02"),
                Llega(b"\x0BMSH|^~\\&|1\r\x1C\r\x02"),
                Llega(b"\x0BMSH|^~\\&|2\r\x1C\r"),
            ],
            &[con_trama(b"MSH|^~\\&|1\r"), con_trama(b"MSH|^~\\&|2\r")],
        ),
        (
            "cortada",
            &[Llega(&trama[..trama.len() - 1]), Cierre],
            &[apartado(m, Motivo::Cortado)],
        ),
        (
            "reiniciada",
            &[Llega(&trama[..trama.len() - 1]), Llega(&trama), Calma],
            &[apartado(m, Motivo::Reiniciado), con_stx(m)],
        ),
        (
            "reiniciada en MLLP",
            &[
                Llega(&trama[..trama.len() - 1]),
                Llega(b"\x0BMSH|^~\\&|2\x1C\r"),
            ],
            &[apartado(m, Motivo::Reiniciado), con_trama(b"MSH|^~\\&|2")],
        ),
        (
            "abandonada",
            &[
                Llega(&trama[..15]),
                Calma,
                Llega(&trama[15..]),
                Llega(&trama),
                Calma,
            ],
            &[
                apartado(&trama[1..15], Motivo::Abandonado),
                apartado(&trama[15..trama.len() - 1], Motivo::Abandonado),
                con_stx(m),
            ],
        ),
        (
            "dos MSH",
            &[Llega(b"\x02MSH|^~\\&|1\rMSH|^~\\&|2\r\x03\r")],
            &[con_stx(b"MSH|^~\\&|1\rMSH|^~\\&|2\r")],
        ),
    ] {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn lo_que_sigue_a_una_trama_abandonada_no_abre_nada_hasta_su_fin() {
    use Paso::{Cierre, Llega, Silencio};
    let otra = b"\x0BMSH|^~\\&|9\r\x1C\r";
    let abandonado = |bytes: &[u8]| apartado(bytes, Motivo::Abandonado);
    let nueve = con_trama(b"MSH|^~\\&|9\r");
    for (nombre, resto, esperado) in [
        (
            "un lote",
            &b"MSH|^~\\&|2\rBTS|2\r\x1C\r"[..],
            &[abandonado(b"MSH|^~\\&|2\rBTS|2\r")][..],
        ),
        ("texto", b"BX|1\r\x1C\r", &[abandonado(b"BX|1\r")]),
        ("sin fin", b"BX|1\r", &[abandonado(b"BX|1\r")]),
        ("solo su fin", b"\x1C\r", &[]),
        (
            "con VT",
            b"BX|\x0BMSH-2: a\r\x1C\r",
            &[abandonado(b"BX|\x0BMSH-2: a\r")],
        ),
        (
            "con STX",
            b"BX|\x02MSH|^~\\&|2\r\x1C\r",
            &[abandonado(b"BX|\x02MSH|^~\\&|2\r")],
        ),
    ] {
        let pasos = [
            Llega(b"\x0BMSH|^~\\&|1\rO"),
            Silencio,
            Llega(resto),
            Llega(otra),
        ];
        let mut todo = vec![abandonado(b"MSH|^~\\&|1\rO")];
        todo.extend_from_slice(esperado);
        todo.push(nueve.clone());
        comprobar(nombre, &pasos, &todo);
        let pasos = [Llega(b"\x0BMSH|^~\\&|1\rO"), Silencio, Llega(resto), Cierre];
        comprobar(nombre, &pasos, &todo[..todo.len() - 1]);
    }
    for descuidada in [&b"msh|^~\\&|2\r"[..], b"MSH||2\r", b"MSH|^^^|2\r"] {
        for antes in [&b""[..], b"\r\n\x02"] {
            let trama = [antes, &tramar(descuidada)].concat();
            comprobar(
                "que no viene: llega otra trama",
                &[Llega(b"\x0BMSH"), Silencio, Llega(&trama), Llega(otra)],
                &[abandonado(b"MSH"), con_trama(descuidada), nueve.clone()],
            );
        }
    }
    for texto in [
        &b"\x0BMSH-2: conservada\r"[..],
        b"\x0BBHS: no\r",
        b"\x0BM\r",
    ] {
        let resto = [texto, b"\x1C\r"].concat();
        comprobar(
            "que empieza por un VT",
            &[Llega(b"\x0BMSH"), Silencio, Llega(&resto), Llega(otra)],
            &[abandonado(b"MSH"), abandonado(texto), nueve.clone()],
        );
    }
    comprobar(
        "que vuelve a callar",
        &[
            Llega(b"\x0BMSH|^~\\&|1\rO"),
            Silencio,
            Llega(b"BX|1\rMSH|^~\\&|2\r"),
            Silencio,
            Llega(b"OBX|2\r\x1C\r"),
            Llega(otra),
        ],
        &[
            abandonado(b"MSH|^~\\&|1\rO"),
            abandonado(b"BX|1\rMSH|^~\\&|2\r"),
            abandonado(b"OBX|2\r"),
            nueve.clone(),
        ],
    );
}

#[test]
fn entre_un_vt_y_la_cabecera_se_pasan_por_alto_unos_bytes_y_se_guardan() {
    use Paso::{Llega, Silencio};
    for extranos in [
        &b"N"[..],
        b"\x1C",
        b"\0\x1C",
        b"A\x1C\x1D",
        b"\x01\x02",
        b"0001",
        b"M",
        b"MSH",
        b"www.usr.cn",
        &[b'x'; 64],
    ] {
        let suyo = [extranos, b"MSH|^~\\&|1\r"].concat();
        comprobar(
            "al comienzo",
            &[Llega(&tramar(&suyo)), Llega(&tramar(&suyo))],
            &[con_trama(&suyo), con_trama(&suyo)],
        );
        if extranos.len() <= 8 && !extranos.contains(&0x1C) {
            comprobar(
                "al volver a empezar",
                &[Llega(b"\x0BMSH|^~\\&|1\rOB"), Llega(&tramar(&suyo))],
                &[
                    apartado(b"MSH|^~\\&|1\rOB", Motivo::Reiniciado),
                    con_trama(&suyo),
                ],
            );
        }
        comprobar(
            "tras uno sin trama",
            &[Llega(b"MSH|^~\\&|1\r"), Silencio, Llega(&tramar(&suyo))],
            &[sin_trama(b"MSH|^~\\&|1\r"), con_trama(&suyo)],
        );
    }
}

#[test]
fn donde_no_puede_ser_otra_cosa_vale_una_cabecera_descuidada() {
    use Paso::{Llega, Silencio};
    for descuidada in [
        &b"msh|^~\\&|1\rPID|1\r"[..],
        b"MSH||1\r",
        b"MSH|^^^|1\r",
        b"MSH|",
    ] {
        let trama = tramar(descuidada);
        comprobar(
            "tras VT y tras otra trama",
            &[Llega(&trama), Llega(&trama), Llega(descuidada), Silencio],
            &[
                con_trama(descuidada),
                con_trama(descuidada),
                sin_trama(descuidada),
            ],
        );
    }
    // Quien envía sin trama una cabecera descuidada lo hace siempre.
    for una in [
        &b"msh|^~\\&|1\rMSH-2: texto\r"[..],
        b"MSH|^~\\&#%|1\rMSH-2: texto\r",
        b"MSH|^~\\& |1\rMSH-2: texto\r",
    ] {
        comprobar(
            "las siguientes, como la primera",
            &[Llega(una), Silencio, Llega(una), Llega(una), Silencio],
            &[sin_trama(una), sin_trama(una), sin_trama(una)],
        );
    }
}

#[test]
fn los_textos_de_un_convertidor_no_son_colas_ni_alargan_ningun_silencio() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\rPID|1\r";
    let convertidor = Leido::Indicio(Indicio::Convertidor);
    let sin = sin_trama(m);
    for (nombre, pasos, esperado) in [
        (
            "registro y latidos",
            &[
                Llega(b"USR-REG-01"),
                Calma,
                Llega(m),
                Calma,
                Llega(b"www.usr.cn"),
                Calma,
                Llega(b"www.usr.cn"),
                Calma,
                Llega(m),
                Calma,
            ][..],
            &[convertidor.clone(), sin.clone(), sin.clone()][..],
        ),
        (
            "de una marca que no se conoce",
            &[
                Llega(b"DTU 77"),
                Calma,
                Llega(m),
                Calma,
                Llega(b"PING-PONG"),
                Calma,
                Llega(b"PING-PONG"),
                Calma,
                Llega(m),
                Calma,
            ],
            &[
                Leido::Indicio(Indicio::Desconocido(None)),
                sin.clone(),
                convertidor.clone(),
                sin.clone(),
            ],
        ),
        (
            "con fin de línea, si ya se conoce",
            &[
                Llega(b"alive!\r\n"),
                Calma,
                Llega(m),
                Calma,
                Llega(b"alive!\r\n"),
                Calma,
                Llega(m),
                Pausa(300),
                Llega(b"alive!\r\n"),
                Pausa(199),
                Calma,
            ],
            &[
                Leido::Indicio(Indicio::Desconocido(None)),
                sin.clone(),
                convertidor.clone(),
                sin.clone(),
            ],
        ),
        (
            "un prefijo",
            &[
                Llega(b"0001"),
                Llega(m),
                Calma,
                Llega(b"0001"),
                Llega(m),
                Llega(b"0001"),
                Llega(m),
                Calma,
            ],
            &[convertidor.clone(), sin.clone(), sin.clone(), sin.clone()],
        ),
    ] {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn un_prefijo_desconocido_que_mide_lo_que_otro_separa_dos_mensajes() {
    use Paso::{Calma, Llega};
    let m = b"MSH|^~\\&|1\rPID|1\r";
    let convertidor = Leido::Indicio(Indicio::Convertidor);
    for prefijos in [
        [&b"0001"[..], b"0002", b"0003"],
        [b"D8B0", b"D8B1", b"D8B2"],
        [b"1", b"2", b"3"],
        [b"10.0.0.9", b"10.0.0.7", b"10.0.0.8"],
    ] {
        let [primero, segundo, tercero] = prefijos.map(|prefijo| [prefijo, m].concat());
        let tres = [sin_trama(m), sin_trama(m), sin_trama(m)];
        for pasos in [
            &[Llega(&primero), Llega(&segundo), Llega(&tercero), Calma][..],
            &[
                Llega(&primero),
                Calma,
                Llega(&segundo),
                Llega(&tercero),
                Calma,
            ],
        ] {
            let esperado = [std::slice::from_ref(&convertidor), &tres].concat();
            comprobar("de otro bloque", pasos, &esperado);
        }
    }
    // Lo que no puede ser un prefijo como los de antes, o no lo sigue una cabecera, es texto.
    for texto in [
        &b"veanMSH-2: conservada\r"[..],
        b"vean MSH|^~\\&|2\r",
        b"OBX|MSH|^~\\&|2\r",
        b"vea\nMSH|texto|2\r",
    ] {
        let con_texto = [m, texto].concat();
        let pasos = [Llega(b"0001"), Llega(&con_texto), Calma];
        let esperado = [convertidor.clone(), sin_trama(&con_texto)];
        comprobar("texto", &pasos, &esperado);
        let pasos = [Llega(&con_texto), Calma];
        comprobar("sin convertidor", &pasos, &[sin_trama(&con_texto)]);
    }
}

#[test]
fn un_texto_de_convertidor_que_es_una_linea_del_informe_es_del_mensaje() {
    use Paso::{Calma, Llega};
    let en_medio = b"MSH|^~\\&|1\rOBX|a\n0001\nb|\r";
    let al_final = b"MSH|^~\\&|1\rOBX|a\n0001\r";
    let con_crlf = b"MSH|^~\\&|1\rOBX|a\n0001\r\n";
    comprobar(
        "con un prefijo",
        &[
            Llega(b"0001"),
            Llega(en_medio),
            Calma,
            Llega(al_final),
            Calma,
            Llega(al_final),
            Llega(con_crlf),
            Calma,
        ],
        &[
            Leido::Indicio(Indicio::Convertidor),
            sin_trama(en_medio),
            sin_trama(al_final),
            sin_trama(al_final),
            sin_trama(con_crlf),
        ],
    );
}

#[test]
fn un_latido_no_alarga_el_silencio_de_un_mensaje_ni_acaba_en_su_archivo() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\rPID|1\r";
    let convertidor = Leido::Indicio(Indicio::Convertidor);
    let sin = sin_trama(m);
    let filas: [(&str, &[Paso<'_>], &[Leido]); 3] = [
        (
            "un latido mientras se espera el fin",
            &[
                Llega(b"www.usr.cn"),
                Calma,
                Llega(m),
                Pausa(400),
                Llega(b"www.usr.cn"),
                Pausa(99),
                Calma,
                Llega(m),
                Pausa(300),
                Llega(b"www.usr.cn"),
                Pausa(150),
                Llega(b"www.usr.cn"),
                Pausa(49),
                Calma,
            ],
            &[convertidor.clone(), sin.clone(), sin.clone()],
        ),
        (
            "el primer latido, en una conexión con registro",
            &[
                Llega(b"registro"),
                Calma,
                Llega(m),
                Pausa(400),
                Llega(b"alive!"),
                Pausa(99),
                Calma,
                Calma,
                Llega(m),
                Calma,
            ],
            &[
                Leido::Indicio(Indicio::Desconocido(None)),
                sin.clone(),
                sin.clone(),
            ],
        ),
        (
            "el primer latido de todos, dos veces",
            &[
                Llega(m),
                Pausa(400),
                Llega(b"alive!"),
                Pausa(1500),
                Llega(b"alive!"),
                Calma,
                Llega(m),
                Calma,
            ],
            &[sin.clone(), convertidor.clone(), sin.clone()],
        ),
    ];
    for (nombre, pasos, esperado) in filas {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn una_linea_de_texto_a_trozos_alarga_el_silencio_si_no_hay_un_convertidor() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\rOBX|1\rComenta";
    let entero = b"MSH|^~\\&|1\rOBX|1\rComentario del jefe\rOBX|2\r";
    let pasos = [
        Llega(m),
        Pausa(1900),
        Llega(b"rio del "),
        Pausa(1900),
        Llega(b"jefe"),
        Pausa(1900),
        Llega(b"\rOBX|2\r"),
        Calma,
    ];
    comprobar("sin convertidor", &pasos, &[sin_trama(entero)]);
    let con_registro = [
        Llega(b"USR-REG"),
        Calma,
        Llega(m),
        Pausa(1900),
        Llega(b"alive!"),
        Pausa(99),
        Calma,
    ];
    comprobar(
        "con convertidor",
        &con_registro,
        &[
            Leido::Indicio(Indicio::Convertidor),
            sin_trama(b"MSH|^~\\&|1\rOBX|1\rComentaalive!"),
        ],
    );
}

#[test]
fn un_latido_conocido_pegado_a_una_linea_sin_acabar_no_es_suyo_si_nada_lo_sigue() {
    use Paso::{Calma, Cierre, Corte, Llega, Pausa};
    let m = b"MSH|^~\\&|1\rOBX|92";
    let con_cr = b"MSH|^~\\&|1\rOBX|92\r";
    let con_nota = b"MSH|^~\\&|1\rOBX|92\rNota";
    let latido = Llega(b"www.usr.cn");
    let filas: [(&str, &[Paso<'_>], &[Leido]); 10] = [
        (
            "y calla",
            &[
                Llega(m),
                Pausa(900),
                latido,
                Pausa(900),
                latido,
                Pausa(199),
                Calma,
            ],
            &[sin_trama(m)],
        ),
        (
            "y le sigue otro mensaje",
            &[
                Llega(m),
                Pausa(900),
                latido,
                Llega(b" "),
                Llega(con_cr),
                Calma,
            ],
            &[sin_trama(m), sin_trama(con_cr)],
        ),
        (
            "y se cierra",
            &[Llega(m), Pausa(900), latido, Cierre],
            &[sin_trama(m)],
        ),
        (
            "y se corta",
            &[Llega(m), Pausa(900), latido, Corte],
            &[apartado(m, Motivo::Cortado)],
        ),
        (
            "tras una línea que aún no es de HL7",
            &[
                Llega(con_nota),
                Pausa(900),
                latido,
                Pausa(300),
                Llega(con_cr),
                Calma,
            ],
            &[sin_trama(con_nota), sin_trama(con_cr)],
        ),
        (
            "sin pausa es suyo",
            &[Llega(m), latido, Llega(con_cr), Calma],
            &[sin_trama(&[m, &b"www.usr.cn"[..], con_cr].concat())],
        ),
        (
            "y si la línea sigue",
            &[
                Llega(m),
                Pausa(900),
                latido,
                Pausa(900),
                Llega(b"|F"),
                Pausa(1999),
                Calma,
            ],
            &[sin_trama(&[m, &b"www.usr.cn|F"[..]].concat())],
        ),
        (
            "y si acaba",
            &[Llega(m), Pausa(900), latido, Llega(b"\rOBX|2\r"), Calma],
            &[sin_trama(&[m, &b"www.usr.cn\rOBX|2\r"[..]].concat())],
        ),
        (
            "y si es más largo",
            &[Llega(m), Pausa(900), latido, Llega(b".es"), Calma],
            &[sin_trama(&[m, &b"www.usr.cn.es"[..]].concat())],
        ),
        (
            "y si no llega entero",
            &[Llega(m), Pausa(900), Llega(b"www.us"), Pausa(1999), Calma],
            &[sin_trama(&[m, &b"www.us"[..]].concat())],
        ),
    ];
    for (nombre, pasos, esperado) in filas {
        let antes = [latido, Calma, latido, Calma];
        let convertidor = Leido::Indicio(Indicio::Convertidor);
        comprobar(
            nombre,
            &[&antes, pasos].concat(),
            &[&[convertidor], esperado].concat(),
        );
    }
}

#[test]
fn un_latido_se_conoce_en_cuanto_se_repite_por_deprisa_que_venga() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\rOBX|92";
    let con_cr = b"MSH|^~\\&|1\rOBX|92\r";
    let latido = Llega(b"www.usr.cn");
    let convertidor = Leido::Indicio(Indicio::Convertidor);
    let largo = [b'x'; 80];
    let antes: [(&str, &[Paso<'_>], &[Leido]); 5] = [
        ("al conectar", &[latido, Pausa(300), latido], &[]),
        (
            "tras otro texto",
            &[Llega(b"USR-REG-01"), Pausa(300), latido],
            &[],
        ),
        (
            "tras más texto del que se recuerda",
            &[Llega(&largo), Pausa(300), latido],
            &[Leido::Indicio(Indicio::Desconocido(None))],
        ),
        (
            "tras un mensaje sin trama",
            &[Llega(con_cr), Calma, latido, Pausa(300), latido],
            &[sin_trama(con_cr)],
        ),
        (
            "con otro texto tras él",
            &[latido, Pausa(300), Llega(b"dev7")],
            &[],
        ),
    ];
    for (nombre, pasos, esperado) in antes {
        // Pegado a un mensaje sin acabar, no es suyo.
        let despues = [Pausa(300), Llega(m), Pausa(900), latido, Calma];
        comprobar(
            nombre,
            &[pasos, &despues].concat(),
            &[esperado, &[convertidor.clone(), sin_trama(m)]].concat(),
        );
    }
    // Dentro de una línea sin acabar, lo que se repite puede ser de un campo.
    let trozo = Llega(b"AAAAAAAAAAAAAAAA");
    let campo = [trozo, Pausa(150)].repeat(30);
    comprobar(
        "un campo que llega en trozos iguales",
        &[&[Llega(m)], &campo[..], &[Llega(b"|F\r"), Calma]].concat(),
        &[sin_trama(&[&m[..], &[b'A'; 480], b"|F\r"].concat())],
    );
}

#[test]
fn un_byte_de_control_tras_el_fin_de_linea_no_une_dos_mensajes_sin_trama() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\r";
    for octeto in (1..0x20)
        .chain([0x7F])
        .filter(|octeto| !b"\x02\x0B\x1C".contains(octeto))
    {
        let control = [octeto];
        let con_control = [&m[..], &control].concat();
        let juntos = con_control.repeat(2);
        let nombre = format!("{octeto:#04x}");
        let dos = [sin_trama(&con_control), sin_trama(&con_control)];
        comprobar(&nombre, &[Llega(&juntos), Calma], &dos);
        let pasos = [
            Llega(m),
            Pausa(300),
            Llega(&control),
            Pausa(150),
            Llega(m),
            Calma,
        ];
        comprobar(&nombre, &pasos, &[sin_trama(&con_control), sin_trama(m)]);
    }
}

#[test]
fn lo_que_llega_suelto_entre_mensajes_sin_trama_no_los_une_ni_los_calla() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\r";
    let trama = b"\x0BMSH|^~\\&|1\x1C";
    let con_sangria = b"MSH|^~\\&|1\rOK\n  ";
    let latido = Llega(b"www.usr.cn");
    let convertidor = Leido::Indicio(Indicio::Convertidor);
    let filas: [(&str, &[Paso<'_>], &[Leido]); 6] = [
        (
            "el primer texto de la conexión",
            &[
                Llega(m),
                Pausa(200),
                Llega(b"PING"),
                Pausa(1200),
                Llega(m),
                Calma,
            ],
            &[sin_trama(m), convertidor.clone(), sin_trama(m)],
        ),
        (
            "una nota sin CR, que llegó con el primero",
            &[Llega(m), Llega(b"nota"), Pausa(200), Llega(m), Calma],
            &[sin_trama(&[&m[..], b"nota"].concat()), sin_trama(m)],
        ),
        (
            "un texto tras una pausa, pegado al segundo",
            &[Llega(con_sangria), Pausa(700), Llega(b"T"), Llega(m), Calma],
            &[sin_trama(con_sangria), convertidor.clone(), sin_trama(m)],
        ),
        (
            "un VT",
            &[Llega(m), Calma, Llega(b"\x0B"), Calma, Llega(m), Calma],
            &[
                sin_trama(m),
                Leido::Indicio(Indicio::Desconocido(Some(0x0B))),
                sin_trama(m),
            ],
        ),
        (
            "la sangría de una línea",
            &[Llega(con_sangria), Pausa(700), Llega(b" dos\r"), Calma],
            &[sin_trama(&[&con_sangria[..], b" dos\r"].concat())],
        ),
        (
            "un latido tras un FS sin CR",
            &[
                latido,
                Calma,
                latido,
                Calma,
                Llega(trama),
                Pausa(100),
                latido,
                Pausa(800),
                Llega(trama),
                Calma,
            ],
            &[
                convertidor.clone(),
                con_trama(&trama[1..trama.len() - 1]),
                con_trama(&trama[1..trama.len() - 1]),
            ],
        ),
    ];
    for (nombre, pasos, esperado) in filas {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn un_texto_que_llega_a_trozos_iguales_es_del_mensaje() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\rOBX|1|ED|P||^\r";
    for (trozo, pausa) in [
        (&b"AAAAAAAAAAAAAAAA"[..], 200),
        (b"--------", 150),
        (b"0000", 300),
    ] {
        let dos = [
            Llega(m),
            Pausa(pausa),
            Llega(trozo),
            Pausa(pausa),
            Llega(trozo),
        ];
        for (nombre, sigue, texto) in [
            (
                "y la línea acaba",
                &b"\rOBX|2\r"[..],
                [trozo, trozo, b"\rOBX|2\r"].concat(),
            ),
            ("y sigue", b"BB\r", [trozo, trozo, b"BB\r"].concat()),
        ] {
            let entero = [&m[..], &texto].concat();
            let pasos = [&dos[..], &[Pausa(pausa), Llega(sigue), Calma]].concat();
            comprobar(nombre, &pasos, &[sin_trama(&entero)]);
            // Y de él no se aprende nada.
            let otro = [Llega(m), Pausa(pausa), Llega(trozo), Calma];
            let con_trozo = sin_trama(&[&m[..], trozo].concat());
            comprobar(
                nombre,
                &[&pasos[..], &otro].concat(),
                &[sin_trama(&entero), con_trozo],
            );
        }
    }
}

#[test]
fn sin_cr_final_una_pausa_y_una_cabecera_son_otro_mensaje() {
    use Paso::{Calma, Llega, Pausa, Silencio};
    let sin_cr = b"MSH|^~\\&|1\rOBX|92";
    let con_cr = b"MSH|^~\\&|1\rOBX|92\r";
    let resto = b"OBX|2|NM|9";
    let lote = b"BHS|^~\\&|1";
    let con_stx = [&sin_cr[..], b"\x02\x02\x02"].concat();
    let con_pagina = b"MSH|^~\\&|1\r\x0C";
    let filas: [(&str, &[Paso<'_>], &[Leido]); 7] = [
        (
            "dos mensajes",
            &[Llega(sin_cr), Pausa(300), Llega(sin_cr), Calma],
            &[sin_trama(sin_cr), sin_trama(sin_cr)],
        ),
        (
            "la cabecera a trozos",
            &[
                Llega(sin_cr),
                Pausa(300),
                Llega(b"MS"),
                Pausa(300),
                Llega(&con_cr[2..]),
                Calma,
            ],
            &[sin_trama(sin_cr), sin_trama(con_cr)],
        ),
        (
            "lo que parece una cabecera y no lo es alarga el silencio",
            &[
                Llega(sin_cr),
                Pausa(1900),
                Llega(b"M"),
                Pausa(1900),
                Llega(b"CV|F\r"),
                Calma,
            ],
            &[sin_trama(&[&sin_cr[..], b"MCV|F\r"].concat())],
        ),
        (
            "en un lote, una pausa y un MSH son del lote",
            &[
                Llega(lote),
                Pausa(300),
                Llega(con_cr),
                Llega(b"BTS|1\r"),
                Calma,
            ],
            &[sin_trama(&[&lote[..], con_cr, b"BTS|1\r"].concat())],
        ),
        (
            "una cola sin acabar",
            &[
                Llega(con_cr),
                Calma,
                Llega(resto),
                Pausa(700),
                Llega(con_cr),
                Calma,
            ],
            &[
                sin_trama(con_cr),
                apartado(resto, Motivo::Cola),
                sin_trama(con_cr),
            ],
        ),
        (
            "un latido STX no alarga el silencio",
            &[
                Llega(sin_cr),
                Pausa(500),
                Llega(b"\x02"),
                Pausa(500),
                Llega(b"\x02"),
                Pausa(500),
                Llega(b"\x02"),
                Pausa(499),
                Silencio,
            ],
            &[sin_trama(&con_stx)],
        ),
        (
            "un cambio de página es de la línea que empieza",
            &[Llega(con_pagina), Pausa(600), Llega(b"dos\r"), Calma],
            &[sin_trama(&[&con_pagina[..], b"dos\r"].concat())],
        ),
    ];
    for (nombre, pasos, esperado) in filas {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn un_latido_stx_no_une_ni_calla_los_mensajes_sin_trama() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\r";
    let stx_m = b"\x02MSH|^~\\&|1\r";
    let sin_cr = b"MSH|^~\\&|1";
    let filas: [(&str, &[Paso<'_>], &[Leido]); 5] = [
        (
            "un STX, y luego el mensaje",
            &[
                Llega(b"\x02"),
                Pausa(500),
                Llega(m),
                Calma,
                Llega(b"\x02"),
                Pausa(500),
                Llega(m),
                Calma,
            ],
            &[sin_trama(m), sin_trama(m)],
        ),
        (
            "un STX justo delante",
            &[
                Llega(stx_m),
                Pausa(900),
                Llega(stx_m),
                Calma,
                Llega(stx_m),
                Calma,
            ],
            &[apartado(m, Motivo::Reiniciado), sin_trama(m), sin_trama(m)],
        ),
        (
            "un STX delante de cada uno, sin CR final",
            &[
                Llega(b"\x02"),
                Llega(m),
                Llega(b"\x02"),
                Llega(sin_cr),
                Llega(stx_m),
                Calma,
            ],
            &[
                apartado(m, Motivo::Reiniciado),
                sin_trama(sin_cr),
                sin_trama(m),
            ],
        ),
        (
            "un STX, y la cabecera a trozos con pausas, el primero de todos",
            &[
                Llega(b"\x02"),
                Pausa(400),
                Llega(b"M"),
                Pausa(200),
                Llega(b"S"),
                Pausa(200),
                Llega(&m[2..]),
                Calma,
                Llega(m),
                Calma,
            ],
            &[sin_trama(m), sin_trama(m)],
        ),
        (
            "una cabecera a trozos tras un STX y una pausa",
            &[
                Llega(b"\x02"),
                Pausa(130),
                Llega(b"M"),
                Pausa(130),
                Llega(&m[1..]),
                Calma,
            ],
            &[sin_trama(m)],
        ),
    ];
    for (nombre, pasos, esperado) in filas {
        comprobar(nombre, pasos, esperado);
    }
}

#[test]
fn el_texto_que_sigue_a_una_trama_acabada_por_un_silencio_es_su_cola() {
    use Paso::{Calma, Cierre, Llega};
    let m = b"\x0BMSH|^~\\&|1\rOBX|1|ED|a\x1C";
    let guardado = || con_trama(b"MSH|^~\\&|1\rOBX|1|ED|a");
    let cola = |bytes| apartado(bytes, Motivo::ColaDeTrama);
    for (fin, siguiente) in [
        ("\x1C\r", &b"\x0Bmsh|2\r\x1C\r"[..]),
        ("\x1C", b"\x0B\x0BMSH|^~\\&|2\r\x1C\r"),
        ("", b"\x0BMSH|^~\\&|2\r\x1C\r"),
    ] {
        let llegado = [b"b|\rNTE|1\r", fin.as_bytes()].concat();
        let contenido = siguiente.strip_suffix(b"\x1C\r").unwrap();
        let contenido = &contenido[contenido.iter().position(|o| *o != 0x0B).unwrap()..];
        comprobar(
            "su resto, y otra trama detrás",
            &[
                Llega(m),
                Calma,
                Llega(&llegado),
                Calma,
                Llega(siguiente),
                Cierre,
            ],
            &[guardado(), cola(b"b|\rNTE|1\r"), con_trama(contenido)],
        );
    }
    comprobar(
        "lo que no es HL7 sigue siendo una trama",
        &[Llega(m), Calma, Llega(b"\x0Bhola|\r\x1C\r"), Cierre],
        &[guardado(), con_trama(b"hola|\r")],
    );
    comprobar(
        "ni su cola lo que empieza por una cabecera, como tras cualquier trama",
        &[Llega(m), Calma, Llega(b"msh|^~\\&|2\r"), Cierre],
        &[guardado(), sin_trama(b"msh|^~\\&|2\r")],
    );
    comprobar(
        "su CR y su relleno no son nada",
        &[Llega(m), Calma, Llega(b"\r\0 \n"), Calma, Llega(m), Calma],
        &[guardado(), guardado()],
    );
    comprobar(
        "ni el latido de un convertidor",
        &[
            Llega(m),
            Calma,
            Llega(b"www.usr.cn"),
            Calma,
            Llega(m),
            Calma,
        ],
        &[guardado(), Leido::Indicio(Indicio::Convertidor), guardado()],
    );
    comprobar(
        "una trama que no es HL7 no tiene cola",
        &[Llega(b"\x0Bhola\x1C"), Calma, Llega(b"z|\r"), Cierre],
        &[
            con_trama(b"hola"),
            Leido::Indicio(Indicio::Desconocido(None)),
        ],
    );
}

/// Lo que precede a una cabecera, y ella, cambian; lo que se hace con el resto, no.
#[test]
fn la_cola_de_una_trama_no_depende_de_lo_que_precede_a_su_cabecera_ni_de_sus_descuidos() {
    use Paso::{Calma, Llega};
    for (precede, cabecera) in [
        (&b"N"[..], &b"MSH|^~\\&|1\r"[..]),
        (b"0001", b"MSH|^~\\&|1\r"),
        (b"\x1C", b"MSH|^~\\&|1\r"),
        (&[b'x'; 64], b"MSH|^~\\&|1\r"),
        (b"\r\n", b"MSH|^~\\&|1\r"),
        (b" ", b"msh|^~\\&|1\r"),
        (b"\xEF\xBB\xBF", b"MSH|^~\\&|1\r"),
        (&[0; 1000], b"MSH|^~\\&|1\r"),
        (b"un texto\r", b"MSH|^~\\&|1\r"),
        (b"", b"MSH|A|1\r"),
        (b"", b"MSH|\r"),
        (b"", b"BHS|A|1\r"),
    ] {
        let suyo = [precede, cabecera, b"OBX|1|ED|a"].concat();
        let llega = [b"\x0B", &suyo[..], b"\x1C"].concat();
        comprobar(
            &suyo.escape_ascii().to_string(),
            &[Llega(&llega), Calma, Llega(b"b|c\r\x1C\r"), Calma],
            &[con_trama(&suyo), apartado(b"b|c\r", Motivo::ColaDeTrama)],
        );
    }
}

#[test]
fn una_trama_stx_que_callo_tras_su_etx_tiene_cola_tambien_donde_el_stx_es_un_latido() {
    use Paso::{Calma, Llega};
    let m = b"MSH|^~\\&|1\rOBX|1|ED|a";
    let trama = [b"\x02", &m[..], b"\x03"].concat();
    let resto = b"b|c\r";
    for latido in [&b""[..], b"\x02"] {
        comprobar(
            "con un latido antes o sin él",
            &[
                Llega(latido),
                Calma,
                Llega(&trama),
                Calma,
                Llega(resto),
                Calma,
            ],
            &[con_stx(m), apartado(resto, Motivo::ColaDeTrama)],
        );
    }
}

#[test]
fn lo_que_precede_a_una_cabecera_no_esconde_que_otra_igual_abre_tras_un_fs_o_un_vt() {
    use Paso::{Calma, Cierre, Llega, Silencio};
    let m = b"msh|^~\\&|1\rOBX|1|ED|a";
    for precede in [&b""[..], b"\r\n", b" ", b"\xEF\xBB\xBF"] {
        let suyo = [precede, m].concat();
        let trama = [b"\x0B", &suyo[..]].concat();
        comprobar(
            "tras un FS, sin VT",
            &[Llega(&trama), Llega(b"\x1C"), Llega(m), Calma],
            &[con_trama(&suyo), sin_trama(m)],
        );
        comprobar(
            "tras un VT, sin FS",
            &[Llega(&trama), Llega(&trama), Llega(b"\x1C\r"), Calma],
            &[apartado(&suyo, Motivo::Reiniciado), con_trama(&suyo)],
        );
        comprobar(
            "tras un VT, en el resto de una abandonada",
            &[
                Llega(&trama),
                Silencio,
                Llega(b"b|\r"),
                Llega(&trama),
                Llega(b"\x1C\r"),
                Cierre,
            ],
            &[
                apartado(&suyo, Motivo::Abandonado),
                apartado(b"b|\r", Motivo::Abandonado),
                con_trama(&suyo),
            ],
        );
    }
}

/// El separador es el de su cabecera, y no el cuarto byte de lo que se lee.
#[test]
fn tras_un_fs_un_texto_conocido_con_el_separador_del_mensaje_es_suyo() {
    use Paso::{Calma, Llega, Silencio};
    let conocido = [Llega(b"ab|12"), Calma];
    let indicio = Leido::Indicio(Indicio::Desconocido(None));
    let m = b"MSH|^~\\&|1\r";
    let resto = b"XY|QR\x1Cab|12|z\r";
    for precede in [&b""[..], b"N", b"\r\n", b"un texto\r"] {
        let suyo = [precede, m, resto].concat();
        comprobar(
            "en una trama",
            &[&conocido[..], &[Llega(&tramar(&suyo)), Calma]].concat(),
            &[indicio.clone(), con_trama(&suyo)],
        );
    }
    comprobar(
        "en el resto de una abandonada",
        &[
            &conocido[..],
            &[
                Llega(b"\x0B"),
                Llega(m),
                Silencio,
                Llega(resto),
                Llega(b"\x1C\r"),
            ],
        ]
        .concat(),
        &[
            indicio.clone(),
            apartado(m, Motivo::Abandonado),
            apartado(resto, Motivo::Abandonado),
        ],
    );
    let cola = resto;
    comprobar(
        "en la cola de uno sin trama",
        &[&conocido[..], &[Llega(m), Calma, Llega(cola), Calma]].concat(),
        &[indicio, sin_trama(m), apartado(cola, Motivo::Cola)],
    );
}

#[test]
fn una_cola_que_se_repite_sin_mensaje_entre_medias_es_un_latido() {
    use Paso::{Calma, Llega, Pausa};
    let m = b"MSH|^~\\&|1\r";
    let cola = b"OBX|1|NM|GLU||92\r";
    comprobar(
        "sin mensaje",
        &[Llega(m), Calma, Llega(cola), Calma, Llega(cola), Calma],
        &[
            sin_trama(m),
            apartado(cola, Motivo::Cola),
            Leido::Indicio(Indicio::Convertidor),
        ],
    );
    comprobar(
        "la misma de dos mensajes iguales",
        &[
            Llega(m),
            Calma,
            Llega(cola),
            Calma,
            Llega(m),
            Calma,
            Llega(cola),
            Calma,
        ],
        &[
            sin_trama(m),
            apartado(cola, Motivo::Cola),
            sin_trama(m),
            apartado(cola, Motivo::Cola),
        ],
    );
    // La cola de un informe es la última línea del siguiente, venga de un golpe o no.
    let linea = b"Fin del informe\r";
    let entero = [&m[..], linea].concat();
    comprobar(
        "la de un mensaje, dentro de otros",
        &[
            Llega(m),
            Calma,
            Llega(linea),
            Calma,
            Llega(&entero),
            Calma,
            Llega(m),
            Pausa(300),
            Llega(linea),
            Calma,
        ],
        &[
            sin_trama(m),
            apartado(linea, Motivo::Cola),
            sin_trama(&entero),
            sin_trama(&entero),
        ],
    );
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
        b"\x02",
        b"\x0BMS",
        b"\r\r\r",
        b"una nota\r",
    ] {
        // Bastante para muchos trozos, y no más: a cada trozo, un coste cuadrático lo mira todo. Y todo de una
        // vez, como lo tiene el sistema cuando se llega tarde a leer: un trozo también puede mirarse muchas.
        let tamanos = [(1, 2_000), (1000, 20_000), (usize::MAX, 2_000)];
        let con_y_sin_vt = tamanos.map(|tamano| [(false, tamano), (true, tamano)]);
        for (sin_vt, (trozo, corto)) in con_y_sin_vt.into_iter().flatten() {
            // El mismo lector todas las veces: se mide la lectura, no lo que tarda el sistema en dar memoria.
            let mut lector = Lector::new(limites, Instant::now());
            let mut trabajo = |longitud: usize| {
                let contenido = relleno.repeat(longitud / relleno.len());
                let trama = tramar(&[b"MSH|^~\\&|", &contenido[..]].concat());
                let antes = trabajado();
                assert_eq!(contar(&mut lector, &trama[usize::from(sin_vt)..], trozo), 1);
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
                "{} en trozos de {trozo}, sin VT: {sin_vt}",
                relleno.escape_ascii()
            );
        }
    }
}

/// Si la trama está en UTF-16 se mira en sus primeros bytes, y no en todos los que se miran de un XML a cada
/// NUL.
#[cfg(unix)]
#[test]
fn los_nul_tras_un_fs_cuestan_lo_mismo_empiece_como_empiece_la_trama() {
    let dudas = [b"\x1C", &[0; 1000][..], b"x"].concat().repeat(100);
    comprobar_que_cuestan_lo_mismo(&dudas, [b"<a", b"MSH|"]);
}

/// Dónde está la cabecera de la trama no se busca otra vez a cada VT.
#[cfg(unix)]
#[test]
fn los_vt_de_una_trama_cuestan_lo_mismo_preceda_lo_que_preceda_a_su_cabecera() {
    let dudas = b"\x0BH".repeat(50_000);
    let lejana = [&b"una linea del equipo\r".repeat(12)[..], b"MSH|^~\\&|"].concat();
    comprobar_que_cuestan_lo_mismo(&dudas, [&lejana, b"MSH|^~\\&|"]);
}

/// Que leer eso en una trama que empieza de la primera manera cuesta como si empieza de la segunda. Basta
/// con que un intento lo muestre.
#[cfg(unix)]
fn comprobar_que_cuestan_lo_mismo(dudas: &[u8], comienzos: [&[u8]; 2]) {
    const RAZON_MAXIMA: f64 = 3.0;
    const INTENTOS: usize = 8;
    let trabajo = |comienzo: &[u8]| {
        let trama = tramar(&[comienzo, dudas, b"\r"].concat());
        let limites = Limites {
            mensaje_bytes: 1 << 20,
            ..LIMITES
        };
        let mut lector = Lector::new(limites, Instant::now());
        let antes = trabajado();
        assert_eq!(contar(&mut lector, &trama, 65_536), 1);
        trabajado().saturating_sub(antes).as_secs_f64()
    };
    let [una, otra] = comienzos;
    let cuesta_lo_mismo = |_| trabajo(una) < RAZON_MAXIMA * trabajo(otra);
    assert!((0..INTENTOS).any(cuesta_lo_mismo));
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
        let mut mesa = Mesa::new(limites);
        let bytes: Vec<u8> =
            enviados.iter().flat_map(|(ruido, contenido)| [ruido.clone(), tramar(contenido)].concat()).collect();
        let mut resto = &bytes[..];
        for corte in cortes.iter().cycle() {
            let (trozo, despues) = resto.split_at((*corte).min(resto.len()));
            mesa.recibir(trozo, trozo.len().max(1));
            resto = despues;
            if resto.is_empty() {
                break;
            }
        }
        let mut leidos = mesa.leidos;
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
        bytes in vec(prop::sample::select(b"\x0B\x1C\r\nMSH|a".to_vec()), 0..300),
    ) {
        // Dentro de una trama abierta, todo byte sale en un mensaje o en un apartado. Lo que sigue a la
        // cabecera no puede repetirla, ni tras un VT ni tras un FS: no hay otro mensaje en él.
        let trama = [&b"\x0BMSH|^~\\&|"[..], &bytes].concat();
        let leidos = leer_con(Limites { mensaje_bytes: 10_000, ..LIMITES }, &[Paso::Llega(&trama), Paso::Cierre], 4096);
        let suyo = match leidos.first() {
            Some(Leido::Mensaje(suyo, _) | Leido::Apartado(suyo, _)) => &suyo.0,
            otro => return Err(TestCaseError::fail(format!("{otro:?}"))),
        };
        prop_assert!(trama[1..].starts_with(suyo), "{}", suyo.escape_ascii());
        // Y acaba donde debe: en el cierre o en un FS al que no sigue texto.
        let resto = &trama[1 + suyo.len()..];
        let acaba = match resto {
            [] => true,
            [0x1C, despues @ ..] => despues.iter().find(|octeto| **octeto != 0x1C).is_none_or(|octeto| b"\r\n\x0B".contains(octeto)),
            _ => false,
        };
        prop_assert!(acaba, "{}", resto.escape_ascii());
    }
}
