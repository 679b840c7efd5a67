//! Qué contestó el receptor, leído y en palabras. Es puro.

use std::fmt;

use crate::hl7::mensaje::{self, Segmento};
use crate::octetos::{ACK, NAK};
use crate::texto::escapar;

const VISIBLE_BYTES: usize = 64;
/// De un acuse, lo que se enseña entero.
const VISIBLE_ENTERO_BYTES: usize = 64 * 1024;
/// Los acuses de entrega de MLLP 2, que van solos en su trama.
pub(super) const ENTREGADO: u8 = ACK;
pub(super) const NO_ENTREGADO: u8 = NAK;

/// Lo que llegó del receptor.
#[derive(Debug)]
pub(super) enum Respuesta {
    Mensaje(Vec<u8>),
    /// El octeto de un acuse de entrega.
    Entrega(u8),
    /// Algo que no es HL7.
    Ajena,
}

/// Lo que dice un acuse, o la respuesta a una consulta.
#[derive(Debug, Default)]
pub(super) struct Dicho {
    codigo: Vec<u8>,
    /// El MSH-10 del mensaje al que contesta; puede faltar.
    id: Vec<u8>,
    texto: Vec<u8>,
    tipo: Vec<u8>,
    /// Si es la respuesta a una consulta, y dice que no hay nada que medir.
    sin_pendientes: bool,
    /// Si es el acuse de algo que no se envió.
    de_otro: bool,
    /// Si lo que llegó no es HL7.
    es_ajeno: bool,
    /// Lo que llegó.
    crudo: Vec<u8>,
}

impl Dicho {
    /// `ids` son los MSH-10 de lo que se envió.
    pub(super) fn leer(respuesta: Respuesta, ids: &[Vec<u8>]) -> Dicho {
        match respuesta {
            Respuesta::Mensaje(crudo) => Dicho::leer_mensaje(crudo, ids),
            Respuesta::Entrega(octeto) => Dicho {
                codigo: vec![octeto],
                crudo: vec![octeto],
                ..Dicho::default()
            },
            Respuesta::Ajena => Dicho::ajeno(Vec::new()),
        }
    }

    fn ajeno(crudo: Vec<u8>) -> Dicho {
        Dicho {
            es_ajeno: true,
            crudo,
            ..Dicho::default()
        }
    }

    fn leer_mensaje(crudo: Vec<u8>, ids: &[Vec<u8>]) -> Dicho {
        let Some(cabecera) = mensaje::leer_cabecera(&crudo) else {
            return Dicho::ajeno(crudo);
        };
        let campo = |nombre, numero| {
            let segmento = Segmento::buscar(&crudo, &cabecera, nombre);
            segmento.map_or(&b""[..], |segmento| segmento.campo(numero).trim_ascii())
        };
        let codigo = campo(b"MSA", 1).to_vec();
        // ORR y ORF no tienen QAK: es su MSA quien lo dice, con un código que en un ACK es un rechazo.
        let sin_pendientes = match cabecera.componentes_del_tipo()[0] {
            b"ACK" => false,
            b"ORR" | b"ORF" => codigo == b"AR",
            _ => codigo == b"AA" && campo(b"QAK", 2) == b"NF",
        };
        let id = campo(b"MSA", 2).to_vec();
        Dicho {
            codigo,
            texto: campo(b"MSA", 3).to_vec(),
            tipo: cabecera.campo(9).to_vec(),
            sin_pendientes,
            de_otro: !id.is_empty() && !contiene(ids, &id),
            id,
            es_ajeno: false,
            crudo,
        }
    }

    pub(super) fn es_aceptacion(&self) -> bool {
        let acepta = matches!(self.codigo.as_slice(), b"AA" | b"CA" | [ENTREGADO]);
        !self.de_otro && (self.sin_pendientes || acepta)
    }

    /// Si solo dice que llegó: lo que se hizo con ello puede decirse después.
    pub(super) fn es_de_entrega(&self) -> bool {
        matches!(self.codigo.as_slice(), b"CA" | [ENTREGADO])
    }

    /// Si contesta a uno de esos mensajes y no al que se acaba de enviar.
    pub(super) fn es_de(&self, ids: &[Vec<u8>]) -> bool {
        self.de_otro && contiene(ids, &self.id)
    }

    /// Lo mismo, para quien lo esperaba.
    pub(super) fn propio(self) -> Dicho {
        Dicho {
            de_otro: false,
            ..self
        }
    }

    /// Lo que llegó, tal cual, un segmento en cada línea.
    pub(super) fn lineas(&self) -> impl Iterator<Item = String> {
        let crudo = &self.crudo[..self.crudo.len().min(VISIBLE_ENTERO_BYTES)];
        crudo
            .split(|octeto| *octeto == b'\r')
            .filter(|segmento| !segmento.is_empty())
            .map(|segmento| format!("    {}", escapar(segmento, VISIBLE_ENTERO_BYTES)))
    }
}

fn contiene(ids: &[Vec<u8>], id: &[u8]) -> bool {
    ids.iter().any(|uno| uno.trim_ascii() == id)
}

impl fmt::Display for Dicho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let en_palabras = match self.codigo.as_slice() {
            _ if self.es_ajeno => return f.write_str("contestó algo que no es HL7"),
            [ENTREGADO] => return f.write_str("acuse de entrega MLLP 2 (0x06): recibido"),
            [NO_ENTREGADO] => return f.write_str("rechazo de entrega MLLP 2 (0x15)"),
            _ if self.de_otro => "es el acuse de otro mensaje; su MSA-2 no es el MSH-10 enviado",
            _ if self.sin_pendientes => "contestado: no hay nada pendiente",
            b"AA" => "aceptado",
            b"CA" => "recibido",
            b"AE" | b"CE" => "no se pudo guardar; mire la consola del servidor",
            b"AR" | b"CR" => "rechazado; mire la consola del servidor",
            _ => "un código que no es de un acuse",
        };
        let (codigo, tipo) = (
            escapar(&self.codigo, VISIBLE_BYTES),
            escapar(&self.tipo, VISIBLE_BYTES),
        );
        write!(f, "{codigo} ({tipo}): {en_palabras}")?;
        if !self.texto.is_empty() {
            write!(f, " «{}»", escapar(&self.texto, VISIBLE_BYTES))?;
        }
        Ok(())
    }
}

/// Todo lo que se contestó a un mensaje.
#[derive(Debug, Default)]
pub(super) struct Contestacion(pub(super) Vec<Dicho>);

impl Contestacion {
    /// Si se aceptó: con un «recibido» puede venir después un rechazo.
    pub(super) fn es_aceptacion(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(Dicho::es_aceptacion)
    }
}

impl fmt::Display for Contestacion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, dicho) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{dicho}")?;
        }
        Ok(())
    }
}
