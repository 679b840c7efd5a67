//! Qué habla un equipo que no habla HL7: se deduce de los primeros bytes del ruido.
//!
//! Es lo que convierte un puerto mudo en una llamada resuelta en un minuto. Este módulo no
//! sabe dónde empieza un mensaje ni quién envía; solo mira una muestra acotada.

use std::fmt;

use crate::hl7::comienzo::es_relleno;
use crate::octetos::{ENQ, EOT, ETX, FS, STX};

const US: u8 = 0x1F;
/// Cuánto ruido se mira. La firma más larga cabe varias veces.
const MUESTRA_BYTES: usize = 32;
/// Cuánto se mira de lo que lleva HL7 dentro, si lo lleva: una petición HTTP o un XML.
const MUESTRA_LARGA_BYTES: usize = 1024;

/// Con lo que empieza una petición HTTP sin contenido…
const METODOS: [&[u8]; 6] = [
    b"GET ",
    b"HEAD ",
    b"OPTIONS ",
    b"DELETE ",
    b"CONNECT ",
    b"TRACE ",
];
/// …y una con él.
const METODOS_CON_CONTENIDO: [&[u8]; 3] = [b"POST ", b"PUT ", b"PATCH "];

/// Cómo escriben con letras el VT quienes lo leyeron en un manual.
const VT_CON_LETRAS: [&[u8]; 9] = [
    b"^K", b"<VT>", b"<vt>", b"<SB>", b"[VT]", b"<0x0B>", b"<0B>", b"\\x0", b"0x0B",
];

/// Lo que se reconoce en el ruido. Su texto es el consejo para la persona.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indicio {
    /// ASTM E1381/E1394 (LIS1/LIS2), o registros entre STX y ETX.
    Astm,
    /// Un navegador o un explorador de puertos.
    Http,
    /// Mensajes HL7 en peticiones HTTP.
    Hl7EnHttp,
    /// MLLP sobre TLS contra un puerto sin cifrar.
    Tls,
    /// HL7 en UTF-16.
    Utf16,
    /// HL7 v2 o v3 en XML.
    Hl7EnXml,
    /// POCT1-A, que es XML.
    Poct1A,
    /// Registros que empiezan por SOH (0x01).
    Soh,
    /// La cabecera con que un intermediario dice quién es el equipo.
    Proxy,
    /// El VT de MLLP escrito con letras.
    VtConLetras,
    /// Textos de un convertidor de serie a red entre los mensajes.
    Convertidor,
    /// Nada conocido. El primer byte, si es de control: más podría ser de un paciente.
    Desconocido(Option<u8>),
}

impl Indicio {
    /// Si con ese protocolo no cabe esperar un mensaje HL7 en la misma conexión.
    pub(crate) fn cierra_la_conexion(self) -> bool {
        matches!(self, Indicio::Http | Indicio::Hl7EnHttp | Indicio::Tls)
    }

    /// Reconoce el protocolo por los primeros bytes que llegaron; el resto no se mira.
    #[must_use]
    pub fn reconocer(bytes: &[u8]) -> Option<Indicio> {
        let largo = &bytes[..bytes.len().min(MUESTRA_LARGA_BYTES)];
        let bytes = &bytes[..bytes.len().min(MUESTRA_BYTES)];
        let empieza_por = |firma: &[u8]| bytes.starts_with(firma);
        let contiene = |firma: &[u8]| bytes.windows(firma.len()).any(|tramo| tramo == firma);
        // SYN y ETX solos son de una línea serie.
        if matches!(bytes, [0x16, 0x03, 0..=4, ..]) {
            Some(Indicio::Tls)
        } else if pide(bytes, &METODOS) {
            Some(Indicio::Http)
        } else if pide(bytes, &METODOS_CON_CONTENIDO) {
            Some(reconocer_contenido(largo))
        } else if es_utf16(bytes) {
            Some(Indicio::Utf16)
        } else if VT_CON_LETRAS.iter().any(|letras| empieza_por(letras)) {
            Some(Indicio::VtConLetras)
        } else if empieza_por(b"<") {
            reconocer_xml(largo)
        } else if empieza_por(b"PROXY ") || empieza_por(b"QUIT\n") {
            // La versión 2 empieza por fines de línea y un NUL, que son relleno.
            Some(Indicio::Proxy)
        } else if empieza_por(b"USR-") || contiene(b"usr.cn") {
            // Los de USR-IOT, que son los más vendidos, se presentan así.
            Some(Indicio::Convertidor)
        } else if empieza_por(&[0x01]) {
            Some(Indicio::Soh)
        } else if empieza_por(&[ENQ])
            || tiene_registro_h(bytes)
            || matches!(bytes, [STX, octeto, ..] if octeto.is_ascii_alphanumeric())
        {
            Some(Indicio::Astm)
        } else {
            None
        }
    }
}

/// Si lo que empieza así está en UTF-16: lo dice su BOM, o su cabecera.
pub(super) fn es_utf16(bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(MUESTRA_BYTES)];
    let mut letras = bytes.windows(5);
    bytes.starts_with(b"\xFF\xFE")
        || bytes.starts_with(b"\xFE\xFF")
        || letras.any(|tramo| tramo == b"M\0S\0H")
}

/// Si es una petición HTTP con uno de esos métodos. Lo que se pide es una ruta, una dirección o, con
/// CONNECT, un nombre y su puerto: «POST OK» es un equipo que arranca.
fn pide(bytes: &[u8], metodos: &[&[u8]]) -> bool {
    let es_destino = |tras_el_metodo: &[u8]| {
        let palabra = tras_el_metodo.split(u8::is_ascii_whitespace).next();
        match palabra.unwrap_or_default() {
            [b'/' | b'*', ..] => true,
            [letra, resto @ ..] => letra.is_ascii_alphabetic() && resto.contains(&b':'),
            [] => false,
        }
    };
    let mut pedidos = metodos
        .iter()
        .filter_map(|metodo| bytes.strip_prefix(*metodo));
    pedidos.any(es_destino)
}

fn reconocer_contenido(peticion: &[u8]) -> Indicio {
    let dice_hl7 = peticion
        .windows(3)
        .any(|letras| letras.eq_ignore_ascii_case(b"HL7"));
    let lleva_msh = peticion
        .windows(5)
        .any(|comienzo| comienzo.starts_with(b"MSH") && comienzo[3] == b'|');
    if dice_hl7 || lleva_msh {
        Indicio::Hl7EnHttp
    } else {
        Indicio::Http
    }
}

/// HL7 en XML nombra su espacio de nombres, un MSH o una estructura de mensaje (`ORU_R01`); POCT1-A,
/// un mensaje con punto (`HEL.R01`).
fn reconocer_xml(xml: &[u8]) -> Option<Indicio> {
    let contiene = |firma: &[u8]| xml.windows(firma.len()).any(|tramo| tramo == firma);
    let es_estructura = |etiqueta: &[u8]| {
        etiqueta[0] == b'<' && etiqueta[4] == b'_' && etiqueta[1].is_ascii_uppercase()
    };
    let de_hl7 = contiene(b"hl7-org")
        || contiene(b"<MSH>")
        || contiene(b"<MSH.")
        || xml.windows(8).any(es_estructura);
    if de_hl7 {
        Some(Indicio::Hl7EnXml)
    } else {
        (xml.starts_with(b"<?xml") || xml.starts_with(b"<HEL.")).then_some(Indicio::Poct1A)
    }
}

impl fmt::Display for Indicio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Indicio::Astm => f.write_str("el equipo habla ASTM, no HL7; configure el equipo en HL7/MLLP"),
            Indicio::Http => f.write_str(
                "llegó una petición HTTP (un navegador o un explorador de puertos); este puerto es solo para equipos, configure el equipo en HL7/MLLP",
            ),
            Indicio::Hl7EnHttp => f.write_str(
                "el equipo envía HL7 por HTTP; este puerto es de MLLP, configure el equipo en HL7/MLLP (HL7 v2 sobre TCP, sin HTTP)",
            ),
            Indicio::Tls => f.write_str(
                "el equipo pide una conexión cifrada (TLS); desactive el cifrado y configure el equipo en HL7/MLLP",
            ),
            Indicio::Utf16 => f.write_str(
                "el equipo envía texto UTF-16; elija UTF-8 o ASCII y configure el equipo en HL7/MLLP",
            ),
            Indicio::Hl7EnXml => f.write_str(
                "el equipo envía HL7 en XML; elija en el equipo ER7, el HL7 v2 con barras (|), y configure el equipo en HL7/MLLP",
            ),
            Indicio::Poct1A => f.write_str("el equipo habla POCT1-A (XML); configure el equipo en HL7/MLLP"),
            Indicio::Soh => f.write_str(
                "el equipo envía registros propios que empiezan por <SOH>; configure el equipo en HL7/MLLP",
            ),
            Indicio::Proxy => f.write_str(
                "llegó una cabecera PROXY y se descarta; si hay un intermediario (HAProxy, stunnel), póngalo en Intermediarios",
            ),
            Indicio::VtConLetras => f.write_str(
                "el equipo escribe con letras (^K, ^\\) los bytes VT y FS de MLLP; configure en el equipo los bytes 0x0B y 0x1C",
            ),
            Indicio::Convertidor => f.write_str(
                "llegan textos que no son HL7 de un convertidor de serie a red (registro, latido o prefijo) y se descartan; si puede, desactívelos en el convertidor",
            ),
            Indicio::Desconocido(None) => f.write_str(
                "llegó un texto que no es HL7 y se descarta; configure el equipo en HL7/MLLP",
            ),
            Indicio::Desconocido(Some(primero)) => write!(
                f,
                "llegaron bytes que no son HL7 (empiezan por {primero:#04X}) y se descartan; configure el equipo en HL7/MLLP"
            ),
        }
    }
}

/// El comienzo del ruido de una conexión, hasta que se sabe qué es. Da a lo sumo un indicio, y el del
/// convertidor si el primero no decía nada.
#[derive(Debug, Default)]
pub(crate) struct Muestra {
    bytes: Vec<u8>,
    dicho: Option<Indicio>,
}

impl Muestra {
    /// Anota un byte de ruido; devuelve el indicio en cuanto se reconoce.
    pub(crate) fn anotar(&mut self, octeto: u8) -> Option<Indicio> {
        if self.dicho.is_some() {
            return None;
        }
        if !self.hay_texto() && es_latido(octeto) {
            // Un STX solo es un latido; seguido de texto es ASTM. Por eso se recuerda uno.
            self.bytes.clear();
            if octeto == STX {
                self.bytes.push(octeto);
            }
            return None;
        }
        self.bytes.push(octeto);
        let es_larga = self.bytes.starts_with(b"<") || self.es_peticion();
        let tope = if es_larga {
            MUESTRA_LARGA_BYTES
        } else {
            MUESTRA_BYTES
        };
        if self.bytes.len() >= tope {
            return self.concluir();
        }
        // De una muestra larga, cada palabra puede decir más que la anterior.
        if es_larga && octeto.is_ascii_alphanumeric() {
            return None;
        }
        let puede_cambiar = |indicio: &Indicio| {
            es_larga && matches!(indicio, Indicio::Http) || self.bytes.starts_with(b"<?xml")
        };
        let indicio = Indicio::reconocer(&self.bytes)?;
        if puede_cambiar(&indicio) && !matches!(indicio, Indicio::Hl7EnXml) {
            return None;
        }
        Some(self.resolver(indicio))
    }

    /// No vendrá más ruido por ahora: si lo que hay no se reconoció, se dice que es desconocido.
    pub(crate) fn concluir(&mut self) -> Option<Indicio> {
        if !self.hay_texto() {
            self.bytes.clear();
            return None;
        }
        let primero = self.bytes.first().copied();
        let de_control = primero.filter(|octeto| octeto.is_ascii_control() || !octeto.is_ascii());
        let indicio = Indicio::reconocer(&self.bytes);
        Some(self.resolver(indicio.unwrap_or(Indicio::Desconocido(de_control))))
    }

    /// Se ha visto que el ruido es de un convertidor, si no se dijo ya qué era.
    pub(crate) fn convertidor(&mut self) -> Option<Indicio> {
        let sin_decir = matches!(self.dicho, None | Some(Indicio::Desconocido(_)));
        sin_decir.then(|| self.resolver(Indicio::Convertidor))
    }

    /// Si hay ruido anotado del que todavía no se ha dicho nada.
    pub(crate) fn hay_texto(&self) -> bool {
        self.bytes.iter().any(|octeto| !es_latido(*octeto))
    }

    /// Si lo que llega es una petición HTTP: dentro de ella no hay mensajes.
    pub(crate) fn es_peticion(&self) -> bool {
        pide(&self.bytes, &METODOS_CON_CONTENIDO)
    }

    fn resolver(&mut self, indicio: Indicio) -> Indicio {
        self.bytes = Vec::new();
        self.dicho = Some(indicio);
        indicio
    }
}

/// El comienzo de una sesión ASTM, que no es el de un MSH con esos separadores.
fn tiene_registro_h(bytes: &[u8]) -> bool {
    const REGISTRO_H: &[u8] = b"H|\\^&";
    let empieza = |desde: usize| bytes[desde..].starts_with(REGISTRO_H);
    (0..bytes.len()).any(|i| empieza(i) && !(i > 0 && bytes[i - 1].is_ascii_alphabetic()))
}

/// Lo que llega entre mensajes sin querer decir nada. Un ENQ, en cambio, abre una sesión ASTM.
fn es_latido(octeto: u8) -> bool {
    let cierra_algo = matches!(octeto, ETX | EOT | FS..=US);
    cierra_algo || (es_relleno(octeto) && octeto != ENQ)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indicios(ruido: &[u8]) -> Vec<Indicio> {
        let mut muestra = Muestra::default();
        let mut dados: Vec<_> = ruido
            .iter()
            .filter_map(|octeto| muestra.anotar(*octeto))
            .collect();
        dados.extend(muestra.concluir());
        dados
    }

    #[test]
    fn el_ruido_conocido_da_un_solo_indicio() {
        for (ruido, esperado) in [
            (&b"\x05"[..], Indicio::Astm),
            (b"\x05\x05\x05", Indicio::Astm),
            (b"\r\n\x05\x021H|\\^&|||XN", Indicio::Astm),
            (b"H|\\^&||PSWD|", Indicio::Astm),
            (b"\x02D1U2026", Indicio::Astm),
            (b"OPTIONS * HTTP/1.1\r\n", Indicio::Http),
            (b"CONNECT lis:2575 HTTP/1.1\r\n", Indicio::Http),
            (b"POST http://lis/ HTTP/1.1\r\n", Indicio::Http),
            (b"GET / HTTP/1.1\r\n", Indicio::Http),
            (b"\x16\x03\x01\x00\xC8\x0B", Indicio::Tls),
            (b"M\0S\0H\0|\0", Indicio::Utf16),
            (b"\0M\0S\0H\0|", Indicio::Utf16),
            (b"\xFF\xFEM\0", Indicio::Utf16),
            (b"<?xml version", Indicio::Poct1A),
            (b"<HEL.R01>", Indicio::Poct1A),
            (b"\x01ID", Indicio::Soh),
            (b"POST OK\r\n", Indicio::Desconocido(None)),
            (b"HEAD UNIT READY", Indicio::Desconocido(None)),
            (b"<TRANSMIT>", Indicio::Desconocido(None)),
            (b"\xFF\xFD\x03", Indicio::Desconocido(Some(0xFF))),
            (b"MSH|\\^&|", Indicio::Desconocido(None)),
            (b"{c", Indicio::Desconocido(None)),
        ] {
            assert_eq!(indicios(ruido), [esperado], "{}", ruido.escape_ascii());
        }
    }

    #[test]
    fn los_latidos_no_dan_indicio() {
        for ruido in [
            &b""[..],
            b"\x02\x02\x02",
            b"\r\n\0 \x06\x15\x1C\r",
            b"\xEF\xBB\xBF",
        ] {
            assert_eq!(indicios(ruido), [], "{}", ruido.escape_ascii());
        }
    }
}
