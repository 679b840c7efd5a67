//! Cómo viaja un mensaje en una trama. No sabe qué es un mensaje.

use crate::octetos::{CR, ETX, FS, LF, STX, VT};

/// Lo más que mide un comienzo de trama en el que aún no hay nada.
pub(super) const VACIO_BYTES: usize = 64;

/// Cómo viajó un mensaje; lo que se contesta viaja igual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envoltura {
    /// VT … FS CR.
    Mllp,
    /// STX … ETX.
    StxEtx,
    /// Sin trama.
    Ninguna,
}

/// Pone un acuse en la trama en que vino su mensaje.
#[must_use]
pub fn enmarcar(contenido: impl Into<Vec<u8>>, envoltura: Envoltura) -> Vec<u8> {
    let mut trama = contenido.into();
    let (comienzo, fin) = match envoltura {
        Envoltura::Mllp => (VT, &[FS, CR][..]),
        Envoltura::StxEtx => (STX, &[ETX][..]),
        Envoltura::Ninguna => return trama,
    };
    trama.insert(0, comienzo);
    trama.extend_from_slice(fin);
    trama
}

/// Nada, solo fines de línea, o el byte de acuse de MLLP 2 (0x06 o 0x15): es ruido.
pub(super) fn es_trama_vacia(contenido: &[u8]) -> bool {
    let mut octetos = contenido
        .iter()
        .filter(|octeto| !es_fin_de_segmento(**octeto));
    octetos.next().is_none_or(u8::is_ascii_control) && octetos.next().is_none()
}

pub(super) fn es_fin_de_segmento(octeto: u8) -> bool {
    octeto == CR || octeto == LF
}
