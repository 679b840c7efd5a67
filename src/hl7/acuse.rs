//! El acuse (ACK) que se devuelve al equipo: qué dice y con qué forma.
//!
//! Es una función pura del MSH recibido, del veredicto y de la hora. No sabe si el mensaje se
//! guardó de veras: eso lo decide quien construye el [`Veredicto`].

use std::fmt::Display;

use chrono::NaiveDateTime;

use crate::hl7::mensaje::{Cabecera, separar_version};
use crate::texto::cifras;

/// MSA-3 de lo que se acepta, con las palabras que los equipos conocen.
pub(crate) const ACEPTADO: &str = "Message accepted";
/// Lo que suele ocupar un acuse entero: tras el MSH hay sitio para lo que lo sigue.
const ACUSE_BYTES: usize = 256;
/// El nombre del segmento y los campos del MSH-2 al MSH-21.
const CAMPOS_DEL_MSH: usize = 21;

/// Qué se hizo con el mensaje.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Veredicto {
    /// Está entero en el disco con un nombre propio: AA.
    Aceptado,
    /// No se pudo guardar; el texto dice por qué, en letras y blancos ASCII: AE.
    Fallido(&'static str),
    /// No tiene MSH: AR.
    SinMsh,
    /// Pasa del límite: AR.
    Excesivo,
}

impl Veredicto {
    /// Uno de cada clase.
    pub const TODOS: [Veredicto; 4] = [
        Veredicto::Aceptado,
        Veredicto::Fallido("No se pudo guardar el mensaje"),
        Veredicto::SinMsh,
        Veredicto::Excesivo,
    ];
}

/// Qué acuse recibe cada mensaje (clave `Acuse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forma {
    /// El clásico sin trama, el estándar con trama.
    Automatica,
    /// El del programa en Python, siempre.
    Clasica,
    /// El estándar, siempre.
    Estandar,
}

impl Forma {
    /// Todas.
    pub const TODAS: [Forma; 3] = [Forma::Automatica, Forma::Clasica, Forma::Estandar];
}

/// El código de un mensaje guardado (clave `CodigoAcuse`). Nunca se deduce del MSH: un
/// fabricante solo admite CA y otro lo cuenta como rechazo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodigoAceptado {
    /// Aceptación de aplicación.
    Aa,
    /// Aceptación de recepción (modo ampliado).
    Ca,
}

/// El código de un mensaje que no se pudo guardar (clave `AcuseDeFallo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnteFallo {
    /// Error de aplicación.
    Ae,
    /// Rechazo.
    Ar,
    /// Sin acuse y se cierra la conexión: hay equipos que solo repiten si nada vuelve.
    Callar,
}

/// Cómo se acusa, según Config.ini.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reglas {
    /// Clave `Acuse`.
    pub forma: Forma,
    /// Clave `CodigoAcuse`.
    pub aceptado: CodigoAceptado,
    /// Clave `AcuseDeFallo`.
    pub ante_fallo: AnteFallo,
    /// Clave `Consultas`: si a una consulta se le contesta que no hay nada pendiente.
    pub negar_consultas: bool,
}

impl Reglas {
    /// MSA-1 para ese veredicto; `None`: no se contesta y se cierra la conexión.
    #[must_use]
    pub fn codigo(&self, veredicto: Veredicto) -> Option<&'static str> {
        match (veredicto, self.aceptado, self.ante_fallo) {
            (Veredicto::Aceptado, CodigoAceptado::Aa, _) => Some("AA"),
            (Veredicto::Aceptado, CodigoAceptado::Ca, _) => Some("CA"),
            (Veredicto::Fallido(_), _, AnteFallo::Ae) => Some("AE"),
            (Veredicto::Fallido(_), _, AnteFallo::Callar) => None,
            (Veredicto::Fallido(_), _, AnteFallo::Ar)
            | (Veredicto::SinMsh | Veredicto::Excesivo, ..) => Some("AR"),
        }
    }

    /// El acuse completo, sin trama; `None` cuando no se contesta.
    ///
    /// `cabecera` es `None` si el mensaje no tiene MSH. `id_propio` es el MSH-10 del acuse
    /// estándar cuando el del mensaje está vacío.
    #[must_use]
    pub fn redactar(
        &self,
        veredicto: Veredicto,
        cabecera: Option<&Cabecera<'_>>,
        con_trama: bool,
        ahora: NaiveDateTime,
        id_propio: impl Display,
    ) -> Option<Vec<u8>> {
        let codigo = self.codigo(veredicto)?;
        let hora = hora(ahora);
        let es_clasico = match self.forma {
            Forma::Clasica => true,
            Forma::Estandar => false,
            Forma::Automatica => !con_trama,
        };
        Some(if es_clasico {
            clasico(codigo, veredicto, cabecera, &hora)
        } else {
            estandar(codigo, veredicto, cabecera, &hora, id_propio)
        })
    }
}

/// MSH-7: hora local, 14 cifras.
pub(crate) fn hora(ahora: NaiveDateTime) -> String {
    let mut hora = cifras(ahora);
    hora.truncate("AAAAMMDDhhmmss".len());
    hora
}

/// El texto de `recibir_archivo` en el programa de Python, con MSH-10 donde aquel ponía MSH-7.
fn clasico(
    codigo: &str,
    veredicto: Veredicto,
    cabecera: Option<&Cabecera<'_>>,
    hora: &str,
) -> Vec<u8> {
    let id = cabecera.map_or(&b""[..], |cabecera| cabecera.campo(10));
    let mut acuse = Vec::with_capacity(ACUSE_BYTES);
    for parte in [
        b"MSH|^~\\&|ReceivingApp|ReceivingFacility|SendingApp|SendingFacility|",
        hora.as_bytes(),
        b"||ACK^R01|",
        id,
        b"|P|2.5|||||latin-1|||NE\rMSA|",
        codigo.as_bytes(),
        b"|",
        id,
        b"|",
    ] {
        acuse.extend_from_slice(parte);
    }
    if veredicto != Veredicto::Aceptado {
        let (texto, condicion) = explicacion(veredicto);
        acuse.extend_from_slice(format!("{texto}|||{condicion}|").as_bytes());
    }
    acuse.push(b'\r');
    acuse
}

/// La forma que cumple a la vez lo que piden los manuales y las capturas de los fabricantes:
/// MSH escrito hasta el campo 21 y MSA hasta el 6, con los separadores del equipo.
fn estandar(
    codigo: &str,
    veredicto: Veredicto,
    cabecera: Option<&Cabecera<'_>>,
    hora: &str,
    id_propio: impl Display,
) -> Vec<u8> {
    let (texto, condicion) = explicacion(veredicto);
    let tipo = tipo_de_acuse(cabecera);
    let resultado = cabecera.map_or(&b""[..], tipo_de_resultado);
    let mut acuse = msh(cabecera, &tipo, resultado, hora, id_propio);
    acuse.push(b'\r');
    let msa = msa(codigo, cabecera, texto, condicion);
    escribir_segmento(&mut acuse, &msa, separador(cabecera));
    acuse.push(b'\r');
    acuse
}

/// El MSH de lo que se contesta, sin su CR: direcciones cruzadas y campos del equipo copiados.
/// `tipo` es MSH-9, y `tipo_de_resultado`, MSH-16.
pub(crate) fn msh(
    cabecera: Option<&Cabecera<'_>>,
    tipo: &[u8],
    tipo_de_resultado: &[u8],
    hora: &str,
    id_propio: impl Display,
) -> Vec<u8> {
    let campo = |numero: usize, ausente: &'static str| match cabecera {
        Some(cabecera) => cabecera.campo(numero),
        None => ausente.as_bytes(),
    };
    let propio;
    let id = match campo(10, "") {
        b"" => {
            propio = id_propio.to_string();
            propio.as_bytes()
        }
        id => id,
    };
    let campos: [&[u8]; CAMPOS_DEL_MSH] = [
        b"MSH",
        campo(2, "^~\\&"),
        campo(5, ""),
        campo(6, ""),
        campo(3, ""),
        campo(4, ""),
        hora.as_bytes(),
        b"",
        tipo,
        id,
        campo(11, "P"),
        campo(12, "2.5"),
        b"",
        b"",
        b"",
        tipo_de_resultado,
        campo(17, ""),
        campo(18, ""),
        b"",
        b"",
        campo(21, ""),
    ];
    let mut msh = Vec::with_capacity(ACUSE_BYTES);
    escribir_segmento(&mut msh, &campos, separador(cabecera));
    msh
}

/// Escribe un segmento, sin su CR, detrás de lo que ya hay.
fn escribir_segmento(acuse: &mut Vec<u8>, campos: &[&[u8]], separador: u8) {
    for campo in campos {
        acuse.extend_from_slice(campo);
        acuse.push(separador);
    }
    acuse.pop();
}

/// MSH-1 del equipo, que es el de su acuse.
fn separador(cabecera: Option<&Cabecera<'_>>) -> u8 {
    let separador = cabecera.and_then(|cabecera| cabecera.campo(1).first());
    *separador.unwrap_or(&b'|')
}

/// MSH-16 si dice de qué es el resultado, como en Mindray (0, 1 o 2); si dice cuándo acusar, vacío.
pub(crate) fn tipo_de_resultado<'a>(cabecera: &Cabecera<'a>) -> &'a [u8] {
    match cabecera.campo(16) {
        valor @ (b"0" | b"1" | b"2") => valor,
        _ => b"",
    }
}

/// El nombre del MSA y sus campos, hasta el sexto y su separador.
pub(crate) fn msa<'a>(
    codigo: &'a str,
    cabecera: Option<&Cabecera<'a>>,
    texto: &'a str,
    condicion: &'a str,
) -> [&'a [u8]; 8] {
    let id = cabecera.map_or(&b""[..], |cabecera| cabecera.campo(10));
    let (codigo, texto, condicion) = (codigo.as_bytes(), texto.as_bytes(), condicion.as_bytes());
    [b"MSA", codigo, id, texto, b"", b"", condicion, b""]
}

/// MSH-9 del acuse: `ACK^<suceso>`, con `^ACK` solo si el mensaje traía los tres componentes. Los
/// sucesos R30 y R31 se acusan con R33 hasta la versión 2.6 (HL7 v2.5, 7.3.4; IHE LAB-32).
fn tipo_de_acuse(cabecera: Option<&Cabecera<'_>>) -> Vec<u8> {
    let Some(cabecera) = cabecera else {
        return b"ACK".to_vec();
    };
    let [_, suceso, estructura] = cabecera.componentes_del_tipo();
    let suceso = match suceso {
        b"R30" | b"R31" if es_hasta_2_6(cabecera.campo(12)) => b"R33",
        suceso => suceso,
    };
    let componentes: &[&[u8]] = match (suceso, estructura) {
        (b"", _) => &[b"ACK"],
        (suceso, b"") => &[b"ACK", suceso],
        (suceso, _) => &[b"ACK", suceso, b"ACK"],
    };
    componentes.join(&cabecera.separador_de_componentes())
}

/// Si la versión de HL7 es la 2.6 o una anterior.
fn es_hasta_2_6(version: &[u8]) -> bool {
    let (numero, _) = separar_version(version);
    let menor = numero.strip_prefix(b"2.").unwrap_or_default();
    let cifras = menor.iter().take_while(|octeto| octeto.is_ascii_digit());
    matches!(cifras.copied().collect::<Vec<_>>()[..], [] | [b'0'..=b'6'])
}

/// MSA-3 y MSA-6 (tabla HL7 0357). Sin acentos ni signos: no se sabe qué juego de caracteres
/// ni qué separadores lee el equipo.
fn explicacion(veredicto: Veredicto) -> (&'static str, &'static str) {
    match veredicto {
        Veredicto::Aceptado => (ACEPTADO, "0"),
        Veredicto::Fallido(causa) => (causa, "207"),
        Veredicto::SinMsh => ("No es HL7 porque no tiene MSH", "100"),
        Veredicto::Excesivo => ("El mensaje es demasiado grande", "207"),
    }
}
