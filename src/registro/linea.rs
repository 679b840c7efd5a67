//! Una línea del registro y cómo se escribe en cada sitio. No sabe qué dice.

use std::fmt::{self, Write as _};

use chrono::{Local, NaiveDateTime};
use log::Level;

use crate::texto::{Color, colorear, partir, sin_color};

/// Una línea: cuándo se dijo, su nivel y lo que dice.
#[derive(Debug, Clone)]
pub(crate) struct Linea {
    pub(super) hora: NaiveDateTime,
    pub(super) nivel: Level,
    pub(super) texto: String,
    /// Lo mismo en una fila que cabe en una consola, si lo trae: entero está en el archivo.
    pub(super) fila: Option<String>,
}

/// Lo que ocupa la hora: lo que sigue de una línea partida va debajo del texto.
const SANGRIA: usize = "09:45:01.123 ".len();

impl Linea {
    /// Una línea que se dice ahora.
    pub(super) fn ahora(nivel: Level, texto: String) -> Linea {
        Linea {
            hora: Local::now().naive_local(),
            nivel,
            texto,
            fila: None,
        }
    }

    /// En una consola: la hora y la fila o, si no la trae, la hora, el nivel y el texto, con sus colores;
    /// en una de tantas columnas, si se sabe, nada se parte por la mitad de una palabra.
    pub(super) fn en_consola(&self, columnas: Option<usize>) -> String {
        let linea = match &self.fila {
            Some(fila) => format!("{} {fila}", self.hora.format("%H:%M:%S%.3f")),
            None => self.to_string(),
        };
        match columnas {
            // En la última columna, una consola de Windows salta de línea.
            Some(columnas) => partir(&linea, columnas.saturating_sub(1), SANGRIA) + "\n",
            None => linea + "\n",
        }
    }

    fn sin_color(&self) -> String {
        sin_color(&format!("{self}\n"))
    }

    /// En el archivo del registro, que se lee otro día y junto con otros: con la fecha.
    pub(super) fn en_archivo(&self) -> String {
        format!("{} {}", self.hora.format("%Y-%m-%d"), self.sin_color())
    }

    /// En el diario de systemd, que da a cada renglón la prioridad de su comienzo (`sd-daemon(3)`).
    pub(super) fn en_journal(&self) -> String {
        let prioridad = match self.nivel {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let mut salida = String::new();
        for renglon in self.sin_color().lines() {
            let _ = writeln!(salida, "<{prioridad}>{renglon}");
        }
        salida
    }
}

impl fmt::Display for Linea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hora.format("%H:%M:%S%.3f"))?;
        match self.nivel {
            Level::Error => write!(f, "{}", colorear("ERROR", Color::Mal))?,
            Level::Warn => write!(f, "{}", colorear("AVISO", Color::Aviso))?,
            Level::Info => f.write_str("INFO ")?,
            Level::Debug | Level::Trace => f.write_str("DEBUG")?,
        }
        write!(f, " {}", self.texto)
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    #[test]
    fn cada_sitio_tiene_su_forma() {
        let hora = NaiveDate::from_ymd_opt(2026, 9, 12)
            .and_then(|dia| dia.and_hms_milli_opt(9, 45, 1, 123))
            .unwrap();
        let texto = format!("{} dos\nrenglones", colorear("AA", Color::Bien));
        let linea = Linea {
            hora,
            nivel: Level::Warn,
            texto,
            fila: None,
        };
        assert_eq!(
            linea.en_consola(None),
            "09:45:01.123 \x1b[33mAVISO\x1b[0m \x1b[32mAA\x1b[0m dos\nrenglones\n"
        );
        let con_fila = Linea {
            fila: Some("AA  HL7_1.res".to_owned()),
            ..linea.clone()
        };
        assert_eq!(
            con_fila.en_consola(Some(30)),
            "09:45:01.123 AA  HL7_1.res\n"
        );
        assert_eq!(
            con_fila.en_consola(Some(26)),
            "09:45:01.123 AA\n             HL7_1.res\n"
        );
        assert_eq!(con_fila.en_archivo(), linea.en_archivo());
        assert_eq!(con_fila.en_journal(), linea.en_journal());
        assert_eq!(
            linea.en_archivo(),
            "2026-09-12 09:45:01.123 AVISO AA dos\nrenglones\n"
        );
        assert_eq!(
            linea.en_journal(),
            "<4>09:45:01.123 AVISO AA dos\n<4>renglones\n"
        );
    }
}
