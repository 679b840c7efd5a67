//! Conversaciones al azar, de las que se sabe por construcción qué debe salir.
//!
//! Cada una mezcla tramas MLLP, tramas STX … ETX, mensajes sin trama, tramas abandonadas, ruido y textos
//! de convertidor. Los mensajes llevan texto libre con todo lo que parece una cabecera o un fin y no lo
//! es, y llegan cortados por cualquier sitio, con pausas. La semilla es fija: lo que falla, falla siempre.

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use servidor_hl7::cable::{Envoltura, Lector, Limites, Motivo, Suceso, enmarcar};
use servidor_hl7::hl7::acuse::{AnteFallo, CodigoAceptado, Forma, Reglas, Veredicto};
use servidor_hl7::hl7::consulta::negar;
use servidor_hl7::hl7::mensaje::leer_cabecera;

const CONVERSACIONES: u64 = 4000;
const LIMITES: Limites = Limites {
    mensaje_bytes: 100_000,
    sin_trama: Duration::from_millis(500),
    incompleta: Duration::from_mins(1),
};
/// Lo que lleva todo texto libre, y no puede volver en ninguna contestación.
const SECRETO: &[u8] = b"SECRETO";

/// xorshift64*, que basta para repartir casos.
struct Azar(u64);

impl Azar {
    fn numero(&mut self, hasta: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let alto = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(alto).unwrap() % hasta
    }

    fn uno<'a, T: ?Sized>(&mut self, de: &[&'a T]) -> &'a T {
        de[self.numero(de.len())]
    }

    fn una_de(&mut self, cada: usize) -> bool {
        self.numero(cada) == 0
    }
}

/// Trozos de texto libre. Tras un FS o un ETX va siempre una letra: son datos.
const TROZOS: [&[u8]; 40] = [
    b"MSH-2: conservada",
    b"MSH: 25 pg/mL",
    b"MSH|",
    b"MSH|---|",
    b"MSH|texto|",
    b"MSH||",
    b"MSH|^~\\&\r",
    b"MSH",
    b"MS",
    b"M",
    b"msh|^~\\&|A|B",
    b"Msh|^~\\&|",
    b"msh/dXZ3",
    b"BHS: negativo",
    b"BHS:+++",
    b"BHS|x|",
    b"FHS-FHS",
    b"FHS|^^|",
    b"\x0B",
    b"\x0B\x0B",
    b"\x0B ",
    b"\x1Cx",
    b"\x1C\x1C\x00y",
    b"\x1C z",
    b"\x03e",
    b"\x03\x00f",
    b"\x02g",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\x00\x00",
    b"\n \x06",
    b"|",
    b"OBX|3|TX|",
    b"PID|1||9",
    b"MSA|AA|1",
    b"www.usr.cn",
    b"0001",
    b"SECRETO",
    b"texto libre",
];

/// Lo que en mitad de un mensaje sí abriría otro, dicho de otra manera que en el programa.
fn lleva_cabecera(texto: &[u8]) -> bool {
    texto.windows(11).any(|tramo| {
        let (nombre, resto) = tramo.split_at(3);
        let separador = resto[0];
        let codificacion: Vec<_> = resto[1..].iter().take_while(|o| **o != separador).collect();
        let mut distintos = codificacion.clone();
        distintos.sort_unstable();
        distintos.dedup();
        [b"MSH", b"FHS", b"BHS"]
            .iter()
            .any(|conocido| *conocido == nombre)
            && separador.is_ascii_punctuation()
            && (1..=5).contains(&codificacion.len())
            && codificacion.iter().all(|o| o.is_ascii_punctuation())
            && distintos.len() == codificacion.len()
    })
}

fn texto_libre(azar: &mut Azar) -> Vec<u8> {
    loop {
        let mut texto = SECRETO.to_vec();
        for _ in 0..azar.numero(12) {
            if azar.una_de(6) {
                let octeto = u8::try_from(azar.numero(256)).unwrap();
                // FS y ETX solo van en los trozos, con la letra que los hace datos.
                texto.push(if matches!(octeto, 0x1C | 0x03) {
                    b'.'
                } else {
                    octeto
                });
            } else {
                texto.extend_from_slice(azar.uno(&TROZOS));
            }
        }
        texto.extend_from_slice(SECRETO);
        if !lleva_cabecera(&[&texto[..], b"relleno hasta once"].concat()) {
            return texto;
        }
    }
}

/// Un mensaje entero con ese MSH-10.
fn mensaje(azar: &mut Azar, id: &str) -> Vec<u8> {
    let separador = azar.uno(&["|", "#", "!"]);
    let fin = azar.uno(&["\r", "\n", "\r\n"]);
    let campos = [
        "MSH", "^~\\&", "A", "B", "C", "D", "2026", "", "ORU^R01", id, "P", "2.3.1",
    ];
    let mut mensaje = campos.join(separador).into_bytes();
    mensaje.extend_from_slice(fin.as_bytes());
    for _ in 0..=azar.numero(2) {
        mensaje.extend_from_slice(["OBX", "1", "FT", "X", "", ""].join(separador).as_bytes());
        mensaje.extend_from_slice(&texto_libre(azar));
        mensaje.extend_from_slice([separador, separador, "F", fin].concat().as_bytes());
    }
    mensaje
}

/// Lo que ocurre en el cable.
enum Paso {
    Llega(Vec<u8>),
    /// Calla hasta que el lector no espera ya nada.
    Calma,
    /// Calla lo que el lector espera, una vez.
    Silencio,
}

#[derive(Debug, PartialEq, Eq)]
enum Salida {
    Mensaje(Vec<u8>, Envoltura),
    Abandonado(Vec<u8>),
}

/// Una conversación, y lo que debe salir de ella.
struct Conversacion {
    pasos: Vec<Paso>,
    salidas: Vec<Salida>,
    /// Lo último es un mensaje sin trama que aún espera su silencio: el relleno que siga es suyo.
    sin_trama_abierto: bool,
    /// Ya hubo un mensaje sin trama o un latido, o ya hubo un ETX.
    stx_es_latido: bool,
}

impl Conversacion {
    fn llega(&mut self, bytes: &[u8]) {
        self.pasos.push(Paso::Llega(bytes.to_vec()));
    }

    fn calma(&mut self) {
        self.pasos.push(Paso::Calma);
        self.sin_trama_abierto = false;
    }

    fn sale(&mut self, mensaje: Vec<u8>, envoltura: Envoltura) {
        self.salidas.push(Salida::Mensaje(mensaje, envoltura));
    }

    fn mllp(&mut self, azar: &mut Azar, mensaje: Vec<u8>) {
        self.llega(azar.uno(&[&b"\x0B"[..], b"\x0B\x0B", b"\x0B\r\x0B"]));
        self.llega(&mensaje);
        self.llega(b"\x1C");
        match azar.numero(6) {
            0 => self.llega(b"\r"),
            1 => self.llega(b"\n"),
            2 => self.llega(b"\r\n"),
            3 => self.llega(b"\x1D\x00 \x1C\r"),
            4 => self.calma(),
            // Sin nada: lo acaba el VT de la siguiente.
            _ => self.llega(b"\x00\x0B\x06\x1C\r"),
        }
        self.sale(mensaje, Envoltura::Mllp);
        self.sin_trama_abierto = false;
    }

    fn stx(&mut self, azar: &mut Azar, mensaje: Vec<u8>) {
        if self.stx_es_latido && self.sin_trama_abierto {
            self.calma();
        }
        self.llega(b"\x02");
        self.llega(&mensaje);
        self.llega(b"\x03");
        match azar.numero(4) {
            0 => self.llega(b"\r"),
            1 => self.llega(b"\x00\n"),
            2 => self.llega(b"\x04"),
            _ => self.calma(),
        }
        self.sale(mensaje, Envoltura::StxEtx);
        self.stx_es_latido = false;
        self.sin_trama_abierto = false;
    }

    fn sin_trama(&mut self, azar: &mut Azar, mensaje: Vec<u8>) {
        self.llega(&mensaje);
        self.sale(mensaje, Envoltura::Ninguna);
        self.sin_trama_abierto = true;
        match azar.numero(4) {
            0 => self.calma(),
            1 => {
                self.llega(b"\x1C\r");
                self.sin_trama_abierto = false;
            }
            _ => {}
        }
    }

    fn abandonada(&mut self, azar: &mut Azar, mensaje: &[u8]) {
        let hasta = loop {
            let hasta = 1 + azar.numero(mensaje.len() - 1);
            // Un FS y un silencio son un fin; un VT en cuanto vuelve, otra trama.
            let vuelve_con_vt = mensaje[hasta..].trim_ascii_start().starts_with(b"\x0B");
            if hasta > 12 && !b"\x1C\x00 ".contains(&mensaje[hasta - 1]) && !vuelve_con_vt {
                break hasta;
            }
        };
        self.llega(b"\x0B");
        self.llega(&mensaje[..hasta]);
        self.pasos.push(Paso::Silencio);
        self.salidas
            .push(Salida::Abandonado(mensaje[..hasta].to_vec()));
        let resto = &mensaje[hasta..];
        self.llega(resto);
        self.llega(b"\x1C\r");
        let visibles = resto.iter().filter(|octeto| !b"\r\n".contains(octeto));
        if visibles.count() > 0 {
            self.salidas.push(Salida::Abandonado(resto.to_vec()));
        }
        self.sin_trama_abierto = false;
    }

    fn relleno(&mut self, azar: &mut Azar) {
        let relleno = azar.uno(&[&b"\r\n"[..], b"\0\0", b" ", b"\x06", b"\x15\t", b"\n\0\r"]);
        self.llega(relleno);
        if self.sin_trama_abierto
            && let Some(Salida::Mensaje(mensaje, _)) = self.salidas.last_mut()
        {
            mensaje.extend_from_slice(relleno);
        }
    }

    fn latido(&mut self, azar: &mut Azar) {
        self.calma();
        self.llega(azar.uno(&[&b"www.usr.cn"[..], b"0001", b"\x02"]));
        self.calma();
    }
}

fn conversacion(azar: &mut Azar, numero: u64) -> Conversacion {
    let mut conversacion = Conversacion {
        pasos: Vec::new(),
        salidas: Vec::new(),
        sin_trama_abierto: false,
        stx_es_latido: true,
    };
    for turno in 0..=azar.numero(6) {
        let mensaje = mensaje(azar, &format!("{numero}-{turno}"));
        match azar.numero(10) {
            0..=2 => conversacion.mllp(azar, mensaje),
            3 | 4 => conversacion.stx(azar, mensaje),
            5..=7 => conversacion.sin_trama(azar, mensaje),
            8 => conversacion.abandonada(azar, &mensaje),
            _ => conversacion.latido(azar),
        }
        if azar.una_de(3) {
            conversacion.relleno(azar);
        }
    }
    conversacion.calma();
    conversacion
}

/// Da la conversación a un lector, en trozos y con pausas al azar.
fn leer(conversacion: &Conversacion, azar: &mut Azar) -> Vec<Salida> {
    let mut ahora = Instant::now();
    let mut lector = Lector::new(LIMITES, ahora);
    let mut salidas = Vec::new();
    let trozo_maximo = *azar.uno(&[&1, &3, &17, &4096]);
    for paso in &conversacion.pasos {
        match paso {
            Paso::Llega(bytes) => {
                let mut resto = &bytes[..];
                // A lo sumo una pausa en cada tramo, y menor que cualquier silencio. Dentro de un
                // mensaje es mayor que la que separa dos envíos.
                let cuanto = if bytes.len() > 30 { 240 } else { 90 };
                let pausa = azar.numero(2 * bytes.len());
                while !resto.is_empty() {
                    let hueco = lector.hueco();
                    let trozo = 1 + azar.numero(trozo_maximo);
                    let cuantos = trozo.min(hueco.len()).min(resto.len());
                    hueco[..cuantos].copy_from_slice(&resto[..cuantos]);
                    if resto.len() > pausa && resto.len() - cuantos <= pausa {
                        ahora += Duration::from_millis(cuanto);
                    }
                    lector.avanzar(cuantos, ahora);
                    sacar(&mut lector, &mut salidas);
                    resto = &resto[cuantos..];
                }
            }
            Paso::Silencio => callar(&mut lector, &mut ahora, &mut salidas),
            Paso::Calma => {
                while lector.espera().is_some() {
                    callar(&mut lector, &mut ahora, &mut salidas);
                }
            }
        }
    }
    salidas
}

fn callar(lector: &mut Lector, ahora: &mut Instant, salidas: &mut Vec<Salida>) {
    *ahora += lector.espera().expect("espera un silencio");
    lector.vencer();
    sacar(lector, salidas);
}

fn sacar(lector: &mut Lector, salidas: &mut Vec<Salida>) {
    while let Some(suceso) = lector.siguiente() {
        match suceso {
            Suceso::Mensaje { bytes, envoltura } => {
                comprobar_contestacion(bytes, envoltura);
                salidas.push(Salida::Mensaje(bytes.to_vec(), envoltura));
            }
            Suceso::Apartado {
                bytes,
                motivo: Motivo::Abandonado,
                ..
            } => salidas.push(Salida::Abandonado(bytes.into_owned())),
            Suceso::Indicio(_) => {}
            otro => panic!("{otro:?}"),
        }
    }
}

/// Nada del texto de un mensaje vuelve en lo que se le contesta.
fn comprobar_contestacion(mensaje: &[u8], envoltura: Envoltura) {
    let ahora = NaiveDate::from_ymd_opt(2026, 9, 12)
        .unwrap()
        .and_hms_opt(9, 45, 1)
        .unwrap();
    let cabecera = leer_cabecera(mensaje);
    for forma in Forma::TODAS {
        let reglas = Reglas {
            forma,
            aceptado: CodigoAceptado::Aa,
            ante_fallo: AnteFallo::Ae,
            negar_consultas: true,
        };
        let con_trama = envoltura != Envoltura::Ninguna;
        let acuse = reglas
            .redactar(
                Veredicto::Aceptado,
                cabecera.as_ref(),
                con_trama,
                ahora,
                "1",
            )
            .unwrap();
        let contestacion = enmarcar(acuse, envoltura);
        assert!(
            !contestacion
                .windows(SECRETO.len())
                .any(|tramo| tramo == SECRETO),
            "{}",
            contestacion.escape_ascii()
        );
    }
    let negada = cabecera.and_then(|cabecera| negar(mensaje, &cabecera, ahora, "1"));
    assert_eq!(negada, None, "ningún mensaje de estos pregunta nada");
}

#[test]
fn miles_de_conversaciones_al_azar_dan_lo_que_se_puso_en_ellas() {
    for numero in 1..=CONVERSACIONES {
        let mut azar = Azar(numero.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let conversacion = conversacion(&mut azar, numero);
        for vez in 0..3 {
            let salidas = leer(&conversacion, &mut azar);
            assert!(
                salidas == conversacion.salidas,
                "la conversación {numero}, la vez {vez}:\n{}\nda\n{}\nen lugar de\n{}",
                cable(&conversacion),
                visible(&salidas),
                visible(&conversacion.salidas)
            );
        }
    }
}

fn visible(salidas: &[Salida]) -> String {
    let lineas = salidas.iter().map(|salida| match salida {
        Salida::Mensaje(bytes, envoltura) => format!("  {envoltura:?} {}", bytes.escape_ascii()),
        Salida::Abandonado(bytes) => format!("  abandonado {}", bytes.escape_ascii()),
    });
    lineas.collect::<Vec<_>>().join("\n")
}

fn cable(conversacion: &Conversacion) -> String {
    let pasos = conversacion.pasos.iter().map(|paso| match paso {
        Paso::Llega(bytes) => bytes.escape_ascii().to_string(),
        Paso::Calma => "<calma>".to_owned(),
        Paso::Silencio => "<silencio>".to_owned(),
    });
    pasos.collect()
}
