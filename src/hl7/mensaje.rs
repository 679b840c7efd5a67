//! Un mensaje HL7 v2 visto como bytes: dónde empieza y qué dice su MSH.
//!
//! Del resto del mensaje no se lee nada, salvo el nombre del segmento que sigue al MSH, y
//! nada se decodifica: los analizadores declaran un juego de caracteres y envían otro.
//! Este módulo no sabe de tramas, de archivos ni de acuses.

/// Fin de segmento (HL7 v2, capítulo 2).
pub const CR: u8 = 0x0D;
/// Algunos equipos terminan sus segmentos con LF o con CR LF.
pub const LF: u8 = 0x0A;

/// Último campo del MSH que interesa al acuse: MSH-21, perfil del mensaje.
const CAMPOS: usize = 21;

/// Los campos de un MSH tal como llegaron, sin decodificar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cabecera<'a> {
    campos: [&'a [u8]; CAMPOS],
    es_respuesta: bool,
}

impl<'a> Cabecera<'a> {
    /// MSH-`numero`, de 1 a 21. Un campo que falta está vacío.
    #[must_use]
    pub fn campo(&self, numero: usize) -> &'a [u8] {
        numero
            .checked_sub(1)
            .and_then(|indice| self.campos.get(indice))
            .copied()
            .unwrap_or_default()
    }

    /// El componente `numero` (desde 1) de MSH-9, o vacío.
    #[must_use]
    pub fn componente_del_tipo(&self, numero: usize) -> &'a [u8] {
        let separador = self.separador_de_componentes();
        self.campo(9)
            .split(|&octeto| octeto == separador)
            .nth(numero.saturating_sub(1))
            .unwrap_or_default()
    }

    /// El primer carácter de MSH-2; `^` si MSH-2 está vacío.
    #[must_use]
    pub fn separador_de_componentes(&self) -> u8 {
        self.campo(2).first().copied().unwrap_or(b'^')
    }

    /// Si es un acuse o una contestación, que nunca se acusa: dos programas que se acusaran
    /// mutuamente hablarían para siempre. Lo es cuando el MSA sigue al MSH; entre ambos la
    /// norma permite SFT y UAC (HL7 v2.7, 2.14.1).
    #[must_use]
    pub fn es_respuesta(&self) -> bool {
        self.es_respuesta
    }
}

/// Lee el primer MSH de `mensaje`, que puede ir detrás de un BOM, de blancos, de líneas
/// vacías o de los segmentos FHS y BHS de un lote. `None`: no hay MSH, no es HL7.
#[must_use]
pub fn leer_cabecera(mensaje: &[u8]) -> Option<Cabecera<'_>> {
    let mut segmentos = segmentos(mensaje);
    let msh =
        segmentos.find(|segmento| abre(segmento) == Some(true) && se_llama(segmento, b"MSH"))?;
    let mut campos: [&[u8]; CAMPOS] = [&[]; CAMPOS];
    campos[0] = &msh[3..4];
    for (campo, valor) in campos[1..]
        .iter_mut()
        .zip(msh[4..].split(|&octeto| octeto == msh[3]))
    {
        *campo = valor;
    }
    let es_respuesta = segmentos
        .find(|segmento| !se_llama(segmento, b"SFT") && !se_llama(segmento, b"UAC"))
        .is_some_and(|segmento| {
            se_llama(segmento, b"MSA") && segmento.get(3).is_none_or(|octeto| octeto == &msh[3])
        });
    Some(Cabecera {
        campos,
        es_respuesta,
    })
}

/// El primer segmento con ese nombre, entero y sin su fin de segmento. Solo las respuestas a
/// una consulta leen más allá del MSH.
#[must_use]
pub fn segmento<'a>(mensaje: &'a [u8], nombre: &[u8; 3], separador: &[u8]) -> Option<&'a [u8]> {
    segmentos(mensaje)
        .find(|segmento| se_llama(segmento, nombre) && segmento[3..].starts_with(separador))
}

/// Si `bytes` comienza un mensaje o un lote: MSH, FHS o BHS y su separador de campos, que
/// puede ser cualquier byte que no sea letra, cifra, blanco ni parte de una trama. `None`: faltan
/// bytes para saberlo. Las minúsculas valen: hay equipos que envían `msh`.
#[must_use]
pub fn abre(bytes: &[u8]) -> Option<bool> {
    let nombre = &bytes[..bytes.len().min(3)];
    let conocido = [b"MSH", b"FHS", b"BHS"]
        .iter()
        .any(|segmento| segmento[..nombre.len()].eq_ignore_ascii_case(nombre));
    if !conocido {
        return Some(false);
    }
    let separador = *bytes.get(3)?;
    let es_de_trama = matches!(separador, 0x0B | 0x1C);
    Some(!separador.is_ascii_alphanumeric() && !es_relleno(separador) && !es_de_trama)
}

/// Como [`abre`], en mitad de una línea de texto, donde MSH puede ser una palabra más: pide
/// también un carácter de codificación tras el separador.
#[must_use]
pub fn abre_en_texto(bytes: &[u8]) -> Option<bool> {
    Some(abre(bytes)? && bytes.get(4)?.is_ascii_punctuation())
}

/// Si el byte no significa nada delante de un segmento: blancos, fines de línea, NUL, BOM, y lo
/// que los equipos envían entre mensajes (latidos STX, ENQ, los acuses ACK y NAK de MLLP 2).
#[must_use]
pub fn es_relleno(octeto: u8) -> bool {
    matches!(
        octeto,
        0 | 0x02 | 0x05 | 0x06 | b'\t' | LF | CR | 0x15 | b' ' | 0xBB | 0xBF | 0xEF
    )
}

/// Si todo el mensaje es un acuse y nada más: su MSH, su MSA y, a lo sumo, los ERR que lo explican.
#[must_use]
pub(crate) fn solo_acusa(mensaje: &[u8]) -> bool {
    segmentos(mensaje).all(|segmento| {
        let mut nombres = [b"MSH", b"MSA", b"ERR"].into_iter();
        nombres.any(|nombre| se_llama(segmento, nombre))
    })
}

/// Si el segmento lleva ese nombre de tres letras, en mayúsculas o en minúsculas.
#[must_use]
pub fn se_llama(segmento: &[u8], nombre: &[u8; 3]) -> bool {
    segmento
        .get(..3)
        .is_some_and(|letras| letras.eq_ignore_ascii_case(nombre))
}

/// Los segmentos que no están vacíos, sin lo que pueda preceder a su nombre.
fn segmentos(mensaje: &[u8]) -> impl Iterator<Item = &[u8]> {
    mensaje
        .split(|&octeto| octeto == CR || octeto == LF)
        .map(sin_relleno)
        .filter(|segmento| !segmento.is_empty())
}

fn sin_relleno(segmento: &[u8]) -> &[u8] {
    let primero = segmento.iter().position(|&octeto| !es_relleno(octeto));
    &segmento[primero.unwrap_or(segmento.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn el_msh_se_lee_con_cualquier_separador_y_fin_de_segmento() {
        for (mensaje, id) in [
            (
                &b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5\rPID|1\r"[..],
                &b"77"[..],
            ),
            (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5\nPID|1\n", b"77"),
            (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r\nPID|1\r\n", b"77"),
            (b"MSH#^~\\&#A#B#C#D#2026##ORU^R01#7|7#P#2.5\r", b"7|7"),
            (b"msh|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5\r", b"77"),
            (b"\xEF\xBB\xBFMSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r", b"77"),
            (b"\r\n MSH|^~\\&|A|B|C|D|2026||ORU^R01|77 \r", b"77 "),
            (
                b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r",
                b"77",
            ),
            (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01\r", b""),
            (b"MSH|", b""),
        ] {
            let cabecera = leer_cabecera(mensaje).expect("tiene MSH");
            assert_eq!(cabecera.campo(10), id, "{}", mensaje.escape_ascii());
        }
    }

    #[test]
    fn lo_que_no_tiene_msh_no_es_hl7() {
        for bytes in [
            &b""[..],
            b"hola",
            b"MSH",
            b"MSHA|",
            b"MSH\r|",
            b"H|\\^&|||\r",
            b"M\0S\0H\0|\0",
            b"FHS|^~\\&\r",
        ] {
            assert_eq!(leer_cabecera(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn es_respuesta_solo_si_el_segmento_que_sigue_al_msh_es_msa() {
        for (mensaje, esperado) in [
            (&b"MSH|^~\\&|||||||ACK\rMSA|AA|1\r"[..], true),
            (b"MSH|^~\\&|||||||ACK\r\n\r\nMSA|AA|1\r\n", true),
            (b"MSH|^~\\&|||||||ACK\rSFT|x\rUAC|y\rMSA|AA|1\r", true),
            (b"msh|^~\\&|||||||ack\rmsa|AA|1\r", true),
            (b"MSH|^~\\&|||||||ORU\rNTE|1||MSA|AA\r", false),
            (b"MSH|^~\\&|||||||ORU\rPID|1\rMSA|AA|1\r", false),
            (b"MSH|^~\\&|||||||ORU\rMSAX|1\r", false),
            (b"MSH|^~\\&|||||||ORU\r", false),
        ] {
            let cabecera = leer_cabecera(mensaje).expect("tiene MSH");
            assert_eq!(
                cabecera.es_respuesta(),
                esperado,
                "{}",
                mensaje.escape_ascii()
            );
        }
    }

    #[test]
    fn abre_espera_a_tener_el_separador() {
        for (bytes, esperado) in [
            (&b""[..], None),
            (b"M", None),
            (b"MSH", None),
            (b"MSH|", Some(true)),
            (b"bhs#", Some(true)),
            (b"FHS\x01", Some(true)),
            (b"MSH ", Some(false)),
            (b"MSHA", Some(false)),
            (b"MX", Some(false)),
        ] {
            assert_eq!(abre(bytes), esperado, "{}", bytes.escape_ascii());
        }
    }
}
