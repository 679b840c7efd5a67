//! Las líneas que se repiten: de las que llevan la clave `equipo` se dicen unas pocas por periodo de
//! cada clase y equipo, y las demás se cuentan.
//!
//! No sabe qué dicen las líneas ni cuándo acaba un periodo.

use std::collections::HashMap;
use std::sync::Mutex;

use log::Record;

use crate::cerrojo::tomar;
use crate::registro::linea::Linea;

/// Cuántas líneas de una clase y de un equipo se dicen en cada periodo; las demás se cuentan.
const REPETICIONES_DICHAS: u64 = 20;
/// Cuántas clases y equipos se distinguen en un periodo; los demás se cuentan juntos.
const MAX_CLASES: usize = 4096;

/// De quién habla una línea, en qué sitio del programa se dijo y, si allí se dicen cosas distintas, cuál: lo que
/// hace iguales a dos.
type Clase = (String, Option<&'static str>, Option<u32>, String);

/// Las líneas que se repiten en el periodo en curso.
#[derive(Debug, Default)]
pub(super) struct Repetidas(Mutex<HashMap<Clase, Cuenta>>);

#[derive(Debug, Default)]
struct Cuenta {
    vistas: u64,
    /// La primera que no se dijo, por la que hablarán todas.
    muestra: Option<Linea>,
}

impl Repetidas {
    /// Cuenta la línea; devuelve si hay que decirla.
    pub(super) fn hay_que_decir(&self, linea: &Record<'_>) -> bool {
        let texto_de = |clave: &str| Some(linea.key_values().get(clave.into())?.to_string());
        let Some(equipo) = texto_de("equipo") else {
            return true;
        };
        let que_se_dice = texto_de("clase").unwrap_or_default();
        let mut cuentas = tomar(&self.0);
        let mut clase = (equipo, linea.file_static(), linea.line(), que_se_dice);
        if cuentas.len() >= MAX_CLASES && !cuentas.contains_key(&clase) {
            clase = Clase::default();
        }
        let cuenta = cuentas.entry(clase).or_default();
        cuenta.vistas += 1;
        if cuenta.vistas > REPETICIONES_DICHAS && cuenta.muestra.is_none() {
            cuenta.muestra = Some(Linea::de(linea, true));
        }
        cuenta.vistas <= REPETICIONES_DICHAS
    }

    /// Acaba el periodo: una línea por cada clase de la que se calló alguna.
    pub(super) fn resumir(&self) -> Vec<Linea> {
        let cuentas = std::mem::take(&mut *tomar(&self.0));
        let calladas = cuentas.into_values().filter_map(|cuenta| {
            let Linea {
                nivel, texto, fila, ..
            } = cuenta.muestra?;
            let resumen = |texto: String| match cuenta.vistas - REPETICIONES_DICHAS {
                1 => format!("{texto} (una línea como esta en el último minuto)"),
                varias => format!("{texto} ({varias} líneas como esta en el último minuto)"),
            };
            Some(Linea {
                fila: fila.map(resumen),
                ..Linea::ahora(nivel, resumen(texto))
            })
        });
        calladas.collect()
    }

    /// Si en este periodo no se ha visto ninguna.
    #[cfg(test)]
    pub(super) fn es_nuevo(&self) -> bool {
        tomar(&self.0).is_empty()
    }
}

/// Dice unas líneas iguales de un equipo; devuelve cuántas había que decir.
#[cfg(test)]
pub(super) fn decir(repetidas: &Repetidas, equipo: &str, linea: u32, veces: u64) -> u64 {
    decir_de_clase(repetidas, equipo, linea, "", veces)
}

/// Lo mismo, de un sitio en el que se dicen cosas distintas.
#[cfg(test)]
fn decir_de_clase(repetidas: &Repetidas, equipo: &str, linea: u32, clase: &str, veces: u64) -> u64 {
    let mut dichas = 0;
    for numero in 0..veces {
        let claves = [("equipo", equipo), ("clase", clase)];
        let hay_que_decir = repetidas.hay_que_decir(
            &Record::builder()
                .args(format_args!("{equipo}: fallo {numero}"))
                .level(log::Level::Warn)
                .file_static(Some("prueba"))
                .line(Some(linea))
                .key_values(&claves)
                .build(),
        );
        dichas += u64::from(hay_que_decir);
    }
    dichas
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    #[test]
    fn las_lineas_repetidas_de_un_equipo_se_cuentan_y_las_demas_se_dicen() {
        let repetidas = Repetidas::default();
        let resumir = || -> Vec<_> {
            let lineas = repetidas.resumir().into_iter();
            lineas.map(|linea| (linea.nivel, linea.texto)).collect()
        };
        assert_eq!(decir(&repetidas, "10.0.0.1", 1, 1000), REPETICIONES_DICHAS);
        assert_eq!(decir(&repetidas, "10.0.0.2", 1, 1), 1, "otro equipo");
        assert_eq!(decir(&repetidas, "10.0.0.1", 2, 1), 1, "otra clase");
        let esperado = "10.0.0.1: fallo 20 (980 líneas como esta en el último minuto)";
        assert_eq!(resumir(), [(Level::Warn, esperado.to_owned())]);
        assert_eq!(resumir(), []);
        assert_eq!(decir(&repetidas, "10.0.0.1", 1, 21), 20, "otro periodo");
        let esperado = "10.0.0.1: fallo 20 (una línea como esta en el último minuto)";
        assert_eq!(resumir(), [(Level::Warn, esperado.to_owned())]);
    }

    /// Del mismo sitio sale que llegó el resto de un mensaje acusado, y no debe perderse entre otras.
    #[test]
    fn lo_que_se_dice_en_un_mismo_sitio_se_cuenta_por_separado_si_es_distinto() {
        let repetidas = Repetidas::default();
        let decir = |clase, veces| decir_de_clase(&repetidas, "10.0.0.1", 1, clase, veces);
        assert_eq!(decir("reiniciado", 22), REPETICIONES_DICHAS);
        assert_eq!(decir("cola", 1), 1);
        let textos: Vec<_> = repetidas.resumir().into_iter().map(|l| l.texto).collect();
        assert_eq!(
            textos,
            ["10.0.0.1: fallo 20 (2 líneas como esta en el último minuto)"]
        );
    }

    #[test]
    fn las_clases_que_se_distinguen_estan_acotadas() {
        let repetidas = Repetidas::default();
        for numero in 0..2 * MAX_CLASES {
            decir(&repetidas, &format!("equipo {numero}"), 1, 1);
        }
        assert_eq!(repetidas.0.lock().unwrap().len(), MAX_CLASES + 1);
        assert_eq!(repetidas.resumir().len(), 1);
    }
}
