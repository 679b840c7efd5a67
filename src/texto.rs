//! Cómo se escribe lo que se muestra: bytes escapados, colores, cifras.
//!
//! No sabe qué se muestra ni dónde.

use std::fmt::{self, Write as _};
use std::time::Duration;

const ESC: u8 = 0x1B;

/// Lo que un color dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// Verde: está a salvo.
    Bien,
    /// Amarillo: alguien debe mirarlo.
    Aviso,
    /// Rojo: algo no se guardó.
    Mal,
}

/// El texto con su color, que solo llega a verse en una terminal.
pub(crate) fn colorear(texto: impl fmt::Display, color: Color) -> impl fmt::Display {
    let codigo = match color {
        Color::Bien => 32,
        Color::Aviso => 33,
        Color::Mal => 31,
    };
    fmt::from_fn(move |f| write!(f, "\x1b[{codigo}m{texto}\x1b[0m"))
}

/// Las líneas sin los colores de [`colorear`].
pub(crate) fn sin_color(lineas: &[u8]) -> Vec<u8> {
    let mut limpias = Vec::with_capacity(lineas.len());
    let mut resto = lineas;
    while let Some(p) = memchr::memchr(ESC, resto) {
        limpias.extend_from_slice(&resto[..p]);
        resto = &resto[p + 1..];
        let colores = [&b"[0m"[..], b"[31m", b"[32m", b"[33m"];
        if let Some(sin_codigo) = colores
            .iter()
            .find_map(|codigo| resto.strip_prefix(*codigo))
        {
            resto = sin_codigo;
        } else {
            limpias.push(ESC);
        }
    }
    limpias.extend_from_slice(resto);
    limpias
}

/// Cuántas líneas hay en unas líneas enteras.
pub(crate) fn contar_lineas(lineas: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', lineas).count()
}

/// Los bytes como texto de una línea: lo que no sea ASCII visible va como `\xNN`, y a partir
/// de `max_bytes` se abrevia.
pub(crate) fn escapar(bytes: &[u8], max_bytes: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for octeto in &bytes[..bytes.len().min(max_bytes)] {
            match octeto {
                b' '..=b'~' => f.write_char(char::from(*octeto))?,
                _ => write!(f, "\\x{octeto:02X}")?,
            }
        }
        if bytes.len() > max_bytes {
            f.write_char('…')
        } else {
            Ok(())
        }
    })
}

/// Con un decimal y la coma decimal.
pub(crate) fn milisegundos(tiempo: Duration) -> String {
    format!("{:.1}", tiempo.as_secs_f64() * 1000.0).replace('.', ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sin_color_quita_los_colores_y_nada_mas() {
        let linea = format!(
            "a {} m {} b\n",
            colorear("AA", Color::Bien),
            colorear("x", Color::Mal)
        );
        assert_eq!(sin_color(linea.as_bytes()), b"a AA m x b\n");
        for igual in [&b""[..], b"\n", b"ninguno [32m\n", b"otro \x1b[2Jm y \x1b"] {
            assert_eq!(sin_color(igual), igual);
        }
    }
}
