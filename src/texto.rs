//! Cómo se escribe lo que se muestra: bytes escapados, colores, cifras, horas.
//!
//! No sabe qué se muestra ni dónde.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use chrono::{Datelike, NaiveDateTime, Timelike};

const ESC: char = '\x1B';

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

impl Color {
    /// Lo que lo empieza en una terminal, donde acaba con [`FIN_DE_COLOR`].
    pub(crate) fn comienzo(self) -> &'static str {
        match self {
            Color::Bien => "\x1b[32m",
            Color::Aviso => "\x1b[33m",
            Color::Mal => "\x1b[31m",
        }
    }
}

/// Lo que acaba un color.
pub(crate) const FIN_DE_COLOR: &str = "\x1b[0m";

/// El texto sin ningún [`Color`].
pub(crate) fn sin_color(texto: &str) -> String {
    let mut limpio = String::with_capacity(texto.len());
    let mut resto = texto;
    while let Some((antes, despues)) = resto.split_once(ESC) {
        limpio.push_str(antes);
        let colores = ["[0m", "[31m", "[32m", "[33m"];
        let sin_codigo = colores.iter().find_map(|color| despues.strip_prefix(color));
        if sin_codigo.is_none() {
            limpio.push(ESC);
        }
        resto = sin_codigo.unwrap_or(despues);
    }
    limpio.push_str(resto);
    limpio
}

/// Los bytes como texto de una línea: lo que no sea ASCII visible va como `\xNN`, y a partir
/// de `max_bytes` se abrevia. Casi siempre es lo mismo que había.
pub(crate) fn escapar(bytes: &[u8], max_bytes: usize) -> Cow<'_, str> {
    let es_visible = |octeto: &u8| matches!(octeto, b' '..=b'~');
    if bytes.len() <= max_bytes && bytes.iter().all(es_visible) {
        return String::from_utf8_lossy(bytes);
    }
    let mut texto = String::new();
    for octeto in bytes.iter().take(max_bytes) {
        if es_visible(octeto) {
            texto.push(char::from(*octeto));
        } else {
            // Escribir en un String no falla.
            let _ = write!(texto, "\\x{octeto:02X}");
        }
    }
    if bytes.len() > max_bytes {
        texto.push('…');
    }
    Cow::from(texto)
}

/// Una ruta como texto de una línea: lo que no se ve, o desordena lo que se ve, va como `\u{N}`.
pub(crate) fn ruta_visible(ruta: &Path) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for letra in ruta.to_string_lossy().chars() {
            match letra {
                '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                    write!(f, "{}", letra.escape_unicode())?;
                }
                letra if letra.is_control() => write!(f, "{}", letra.escape_unicode())?,
                letra => f.write_char(letra)?,
            }
        }
        Ok(())
    })
}

/// El texto en `ancho` letras como mucho; lo que no cabe se abrevia.
pub(crate) fn recortar(texto: &str, ancho: usize) -> Cow<'_, str> {
    if texto.chars().count() <= ancho {
        return Cow::from(texto);
    }
    let cabe = texto.chars().take(ancho.saturating_sub(1));
    cabe.chain(['…']).collect()
}

/// Los blancos que le faltan a un texto hasta `ancho` letras. Hay muchos en cada fila, y `{:<ancho$}` los
/// escribe uno a uno, que cuesta más que todo lo demás.
pub(crate) fn blancos(texto: &str, ancho: usize) -> Cow<'static, str> {
    const BLANCOS: &str = "                                ";
    let faltan = ancho.saturating_sub(texto.chars().count());
    match BLANCOS.get(..faltan) {
        Some(blancos) => Cow::from(blancos),
        None => Cow::from(" ".repeat(faltan)),
    }
}

/// La línea, que puede tener color, partida por un blanco donde pasaría de `ancho` letras; lo que
/// sigue va con `sangria`. Una palabra más larga se deja entera.
pub(crate) fn partir(linea: String, ancho: usize, sangria: usize) -> String {
    // Casi todas caben, y mirar la de un mensaje palabra por palabra cuesta la mitad que recibirlo.
    if sin_color(linea.trim_end()).chars().count() <= ancho {
        return linea;
    }
    let mut partida = String::with_capacity(linea.len());
    let mut columna = 0;
    for palabra in linea.split_inclusive(' ') {
        let letras = sin_color(palabra.trim_end()).chars().count();
        if letras > 0 && columna > sangria && columna + letras > ancho {
            partida.truncate(partida.trim_end().len());
            partida.push('\n');
            partida.extend(std::iter::repeat_n(' ', sangria));
            columna = sangria;
        }
        partida.push_str(palabra);
        columna += letras + usize::from(palabra.ends_with(' '));
    }
    partida
}

/// Los bytes de un MiB.
pub(crate) const MIB: usize = 1024 * 1024;

/// Unos MiB, en MB o GB.
pub(crate) fn longitud_mib(mib: u64) -> String {
    let decimas_de_gib = mib * 10 / 1024;
    match decimas_de_gib {
        0..10 => format!("{mib} MB"),
        10..100 => format!("{},{} GB", decimas_de_gib / 10, decimas_de_gib % 10),
        _ => format!("{} GB", decimas_de_gib / 10),
    }
}

/// AAAAMMDDhhmmss, la hora en HL7 (tipo TS), y sus milisegundos, mmm. Se escribe varias veces por mensaje,
/// y es un solo número porque escribir cada cosa con sus ceros cuesta mucho más.
pub(crate) fn cifras(hora: NaiveDateTime) -> String {
    let dia = hora.year() * 10_000 + (hora.month() * 100 + hora.day()).cast_signed();
    let segundo = hora.hour() * 10_000 + hora.minute() * 100 + hora.second();
    let ms = segundo * 1000 + milesimas(hora);
    (i64::from(dia) * 1_000_000_000 + i64::from(ms)).to_string()
}

/// hh:mm:ss.mmm, el comienzo de cada línea del registro.
pub(crate) fn reloj(hora: NaiveDateTime) -> String {
    let mut reloj = cifras(hora);
    reloj.drain(.."AAAAMMDD".len());
    for (lugar, signo) in [(2, ':'), (5, ':'), (8, '.')] {
        reloj.insert(lugar, signo);
    }
    reloj
}

/// Los milisegundos de su segundo.
fn milesimas(hora: NaiveDateTime) -> u32 {
    hora.nanosecond() / 1_000_000 % 1000
}

/// Con un decimal y la coma decimal.
pub(crate) fn milisegundos(tiempo: Duration) -> String {
    format!("{:.1}", tiempo.as_secs_f64() * 1000.0).replace('.', ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn de_muchos_bytes_solo_se_muestran_los_primeros() {
        let visto = |bytes: &[u8]| escapar(bytes, 4).to_string();
        assert_eq!(visto(b"a \x1B\xD1"), "a \\x1B\\xD1");
        assert_eq!(visto(b"a \x1B\xD1b"), "a \\x1B\\xD1…");
        assert_eq!(visto(&[b'L'; 1000]), "LLLL…");
    }

    #[test]
    fn una_ruta_se_lee_en_una_linea_y_como_es() {
        let visible = |ruta: &str| ruta_visible(Path::new(ruta)).to_string();
        assert_eq!(visible("C:\\análisis año\\«x»"), "C:\\análisis año\\«x»");
        assert_eq!(
            visible("a\nb\x1b[2J\u{202e}c"),
            "a\\u{a}b\\u{1b}[2J\\u{202e}c"
        );
    }

    #[test]
    fn lo_que_no_cabe_se_abrevia() {
        assert_eq!(recortar("Química", 7), "Química");
        assert_eq!(recortar("Química 2", 7), "Químic…");
        assert_eq!(recortar("Q", 0), "…");
    }

    #[test]
    fn una_columna_se_rellena_hasta_su_ancho_y_no_corta_nada() {
        for texto in [
            "",
            "Química",
            "un nombre que no cabe en las columnas más estrechas",
        ] {
            for ancho in [0, 7, 8, 31, 32, 33, 100] {
                assert_eq!(
                    [texto, &blancos(texto, ancho)].concat(),
                    format!("{texto:<ancho$}")
                );
            }
        }
    }

    #[test]
    fn una_linea_larga_se_parte_por_un_blanco_y_sin_contar_el_color() {
        for (linea, esperada) in [
            ("", ""),
            ("uno dos tres", "uno dos tres"),
            ("uno dos tres x", "uno dos tres\n  x"),
            ("uno   dos   tres x", "uno   dos\n  tres x"),
            ("una_palabra_enorme x", "una_palabra_enorme\n  x"),
            ("uno una_palabra_enorme", "uno\n  una_palabra_enorme"),
            ("uno dos \x1b[32mtres\x1b[0m", "uno dos \x1b[32mtres\x1b[0m"),
            ("12 á ñ ó é í ú", "12 á ñ ó é í\n  ú"),
        ] {
            assert_eq!(partir(linea.to_owned(), 12, 2), esperada);
        }
    }

    #[test]
    fn el_espacio_se_dice_en_mb_o_gb() {
        let dichos = [0, 1023, 1024, 2048, 10_239, 10_240, 78_096].map(longitud_mib);
        let esperados = [
            "0 MB", "1023 MB", "1,0 GB", "2,0 GB", "9,9 GB", "10 GB", "76 GB",
        ];
        assert_eq!(dichos, esperados);
    }

    #[test]
    fn sin_color_quita_los_colores_y_nada_mas() {
        let (bien, mal) = (Color::Bien.comienzo(), Color::Mal.comienzo());
        let linea = format!("a {bien}AA{FIN_DE_COLOR} m {mal}x{FIN_DE_COLOR} b\n");
        assert_eq!(sin_color(&linea), "a AA m x b\n");
        for igual in ["", "\n", "ninguno [32m\n", "otro \x1b[2Jm y \x1b"] {
            assert_eq!(sin_color(igual), igual);
        }
    }
}
