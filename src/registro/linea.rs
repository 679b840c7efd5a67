//! Una línea del registro y cómo se escribe en cada sitio. No sabe qué dice.

use chrono::{Local, NaiveDateTime};
use log::{Level, Record};

use crate::texto::{Color, FIN_DE_COLOR, cifras, partir, reloj};

/// Una línea: cuándo se dijo, su nivel y lo que dice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Linea {
    pub(crate) hora: NaiveDateTime,
    pub(crate) nivel: Level,
    pub(crate) texto: String,
    /// Lo mismo en una fila que cabe en una consola, si lo trae: entero está en el archivo.
    pub(crate) fila: Option<String>,
    /// Es de un mensaje y se repite tanto que en la consola solo se cuenta: se escribe donde queda.
    pub(crate) callada: bool,
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
            callada: false,
        }
    }

    /// Lo que el programa acaba de decir. La que trae su fila no lleva además el texto si nadie lo leerá.
    pub(super) fn de(dicha: &Record<'_>, se_lee_el_texto: bool) -> Linea {
        let fila = dicha.key_values().get("fila".into());
        let texto = match fila {
            Some(_) if !se_lee_el_texto => String::new(),
            _ => dicha.args().to_string(),
        };
        Linea {
            fila: fila.and_then(|fila| Some(fila.to_borrowed_str()?.to_owned())),
            ..Linea::ahora(dicha.level(), texto)
        }
    }

    /// En una consola: la hora y la fila o, si no la trae, la hora, el nivel y el texto, con sus colores;
    /// en una de tantas columnas, si se sabe, nada se parte por la mitad de una palabra.
    pub(super) fn en_consola(&self, columnas: Option<usize>) -> String {
        let linea = self.en_color();
        match columnas {
            // En la última columna, una consola de Windows salta de línea.
            Some(columnas) => partir(linea, columnas.saturating_sub(1), SANGRIA),
            None => linea,
        }
    }

    fn en_color(&self) -> String {
        let hora = reloj(self.hora);
        match (&self.fila, self.nivel_visible()) {
            (Some(fila), _) => [&hora, " ", fila, "\n"].concat(),
            (None, (nivel, Some(color))) => {
                let color = color.comienzo();
                format!("{hora} {color}{nivel}{FIN_DE_COLOR} {}\n", self.texto)
            }
            (None, (_, None)) => self.sin_color() + "\n",
        }
    }

    /// La hora, el nivel y el texto.
    fn sin_color(&self) -> String {
        let (nivel, _) = self.nivel_visible();
        [&reloj(self.hora), " ", nivel, " ", &self.texto].concat()
    }

    fn nivel_visible(&self) -> (&'static str, Option<Color>) {
        match self.nivel {
            Level::Error => ("ERROR", Some(Color::Mal)),
            Level::Warn => ("AVISO", Some(Color::Aviso)),
            Level::Info => ("INFO ", None),
            Level::Debug | Level::Trace => ("DEBUG", None),
        }
    }

    /// En el archivo del registro, que se lee otro día y junto con otros: con la fecha.
    pub(super) fn en_archivo(&self) -> String {
        let cifras = cifras(self.hora);
        let (mes, dia) = (&cifras[4..6], &cifras[6..8]);
        let linea = &self.sin_color();
        [&cifras[..4], "-", mes, "-", dia, " ", linea, "\n"].concat()
    }

    /// En el diario de systemd, que da a cada renglón la prioridad de su comienzo (`sd-daemon(3)`).
    pub(super) fn en_journal(&self) -> String {
        let prioridad = match self.nivel {
            Level::Error => "<3>",
            Level::Warn => "<4>",
            Level::Info => "<6>",
            Level::Debug | Level::Trace => "<7>",
        };
        let texto = self.sin_color();
        let renglones = texto.lines();
        renglones
            .map(|renglon| [prioridad, renglon, "\n"].concat())
            .collect()
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
        let texto = "dos\nrenglones".to_owned();
        let linea = Linea {
            hora,
            nivel: Level::Warn,
            texto,
            fila: None,
            callada: false,
        };
        assert_eq!(
            linea.en_consola(None),
            "09:45:01.123 \x1b[33mAVISO\x1b[0m dos\nrenglones\n"
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
            "2026-09-12 09:45:01.123 AVISO dos\nrenglones\n"
        );
        assert_eq!(
            linea.en_journal(),
            "<4>09:45:01.123 AVISO dos\n<4>renglones\n"
        );
        let con_fin = Linea {
            texto: "uno\n".to_owned(),
            ..linea
        };
        assert_eq!(con_fin.en_journal(), "<4>09:45:01.123 AVISO uno\n");
    }

    #[test]
    fn sin_quien_lea_el_texto_una_linea_con_fila_se_ve_igual_y_no_lo_lleva() {
        let claves = [("fila", "AA  HL7_1.res")];
        for (se_lee_el_texto, texto) in [(true, "AA entera"), (false, "")] {
            let linea = Linea::de(
                &Record::builder()
                    .args(format_args!("AA entera"))
                    .key_values(&claves)
                    .build(),
                se_lee_el_texto,
            );
            assert_eq!(linea.texto, texto);
            assert_eq!(linea.fila.as_deref(), Some("AA  HL7_1.res"));
            let sin_fila = Record::builder().args(format_args!("un aviso")).build();
            assert_eq!(Linea::de(&sin_fila, se_lee_el_texto).texto, "un aviso");
        }
    }
}
