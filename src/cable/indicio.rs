//! Qué habla un equipo que no habla HL7: se deduce de los primeros bytes del ruido.
//!
//! Es lo que convierte un puerto mudo en una llamada resuelta en un minuto. Este módulo no
//! sabe dónde empieza un mensaje ni quién envía; solo mira una muestra acotada.

use std::fmt;

use crate::hl7::mensaje;

const STX: u8 = 0x02;
const ENQ: u8 = 0x05;
const FS: u8 = 0x1C;
/// Cuánto ruido se mira. La firma más larga cabe varias veces.
const MUESTRA_BYTES: usize = 32;

/// Con lo que empieza una petición HTTP.
const METODOS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"OPTIONS ",
    b"DELETE ",
    b"CONNECT ",
    b"TRACE ",
    b"PATCH ",
];

/// Lo que se reconoce en el ruido. Su texto es el consejo para la persona.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indicio {
    /// ASTM E1381/E1394 (LIS1/LIS2), o registros entre STX y ETX.
    Astm,
    /// Un navegador o un explorador de puertos.
    Http,
    /// MLLP sobre TLS contra un puerto sin cifrar.
    Tls,
    /// HL7 en UTF-16.
    Utf16,
    /// POCT1-A, que es XML.
    Poct1A,
    /// Registros que empiezan por SOH (0x01).
    Soh,
    /// Nada conocido. El primer byte, si es de control: más podría ser de un paciente.
    Desconocido(Option<u8>),
}

impl Indicio {
    /// Si con ese protocolo no cabe esperar un mensaje HL7 en la misma conexión.
    #[must_use]
    pub fn cierra_la_conexion(self) -> bool {
        matches!(self, Indicio::Http | Indicio::Tls)
    }

    /// Reconoce el protocolo por los primeros bytes que llegaron; el resto no se mira.
    #[must_use]
    pub fn reconocer(bytes: &[u8]) -> Option<Indicio> {
        let bytes = &bytes[..bytes.len().min(MUESTRA_BYTES)];
        let empieza_por = |firma: &[u8]| bytes.starts_with(firma);
        let contiene = |firma: &[u8]| bytes.windows(firma.len()).any(|tramo| tramo == firma);
        if empieza_por(&[0x16, 0x03]) {
            Some(Indicio::Tls)
        } else if METODOS.iter().any(|metodo| empieza_por(metodo)) {
            Some(Indicio::Http)
        } else if empieza_por(b"\xFF\xFE") || empieza_por(b"\xFE\xFF") || contiene(b"M\0S\0H") {
            Some(Indicio::Utf16)
        } else if empieza_por(b"<?xml") || empieza_por(b"<HEL.") {
            Some(Indicio::Poct1A)
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

impl fmt::Display for Indicio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Indicio::Astm => f.write_str("el equipo habla ASTM, no HL7; configure el equipo en HL7/MLLP"),
            Indicio::Http => f.write_str(
                "llegó una petición HTTP (un navegador o un explorador de puertos); este puerto es solo para equipos, configure el equipo en HL7/MLLP",
            ),
            Indicio::Tls => f.write_str(
                "el equipo pide una conexión cifrada (TLS); desactive el cifrado y configure el equipo en HL7/MLLP",
            ),
            Indicio::Utf16 => f.write_str(
                "el equipo envía texto UTF-16; elija UTF-8 o ASCII y configure el equipo en HL7/MLLP",
            ),
            Indicio::Poct1A => f.write_str("el equipo habla POCT1-A (XML); configure el equipo en HL7/MLLP"),
            Indicio::Soh => f.write_str(
                "el equipo envía registros propios que empiezan por <SOH>; configure el equipo en HL7/MLLP",
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

/// El comienzo del ruido de una conexión, hasta que se sabe qué es. Da a lo sumo un indicio.
#[derive(Debug, Default)]
pub(crate) struct Muestra {
    bytes: Vec<u8>,
    resuelta: bool,
}

impl Muestra {
    /// Anota un byte de ruido; devuelve el indicio en cuanto se reconoce.
    pub(crate) fn anotar(&mut self, octeto: u8) -> Option<Indicio> {
        if self.resuelta {
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
        match Indicio::reconocer(&self.bytes) {
            Some(indicio) => Some(self.resolver(indicio)),
            None if self.bytes.len() == MUESTRA_BYTES => self.concluir(),
            None => None,
        }
    }

    /// No vendrá más ruido por ahora: si lo que hay no se reconoció, se dice que es desconocido.
    pub(crate) fn concluir(&mut self) -> Option<Indicio> {
        if !self.hay_texto() {
            self.bytes.clear();
            return None;
        }
        let primero = self.bytes.first().copied();
        let de_control = primero.filter(|octeto| octeto.is_ascii_control() || !octeto.is_ascii());
        Some(self.resolver(Indicio::Desconocido(de_control)))
    }

    /// Si hay ruido anotado del que todavía no se ha dicho nada.
    pub(crate) fn hay_texto(&self) -> bool {
        self.bytes.iter().any(|octeto| !es_latido(*octeto))
    }

    fn resolver(&mut self, indicio: Indicio) -> Indicio {
        self.bytes = Vec::new();
        self.resuelta = true;
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
    octeto == FS || (mensaje::es_relleno(octeto) && octeto != ENQ)
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
            (b"GET / HTTP/1.1\r\n", Indicio::Http),
            (b"\x16\x03\x01\x00\xC8\x0B", Indicio::Tls),
            (b"M\0S\0H\0|\0", Indicio::Utf16),
            (b"\0M\0S\0H\0|", Indicio::Utf16),
            (b"\xFF\xFEM\0", Indicio::Utf16),
            (b"<?xml version", Indicio::Poct1A),
            (b"<HEL.R01>", Indicio::Poct1A),
            (b"\x01ID", Indicio::Soh),
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
