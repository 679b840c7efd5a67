//! Lo que el almacén nota mientras guarda y alguien debe saber, aunque nada haya fallado. No sabe dónde ni
//! cuándo se dice.

use std::fmt;
use std::path::PathBuf;

use chrono::NaiveDateTime;

use crate::texto::ruta_visible;

/// Lo que se notó.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aviso {
    /// La carpeta de los mensajes no estaba, y se ha vuelto a crear.
    CarpetaRepuesta(PathBuf),
    /// La carpeta de los mensajes está de pronto en otro disco.
    OtroDisco(PathBuf),
    /// El reloj va muy por detrás de los nombres, que siguen desde esa hora.
    RelojAtrasado(NaiveDateTime),
}

impl fmt::Display for Aviso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aviso::CarpetaRepuesta(carpeta) => write!(
                f,
                "la carpeta «{}» no estaba y se volvió a crear; ¿falta la unidad, o alguien la movió o la borró?",
                ruta_visible(carpeta)
            ),
            Aviso::OtroDisco(carpeta) => write!(
                f,
                "la carpeta «{}» está ahora en otro disco; ¿se soltó la unidad, o ha vuelto? Lo recibido antes está en el otro",
                ruta_visible(carpeta)
            ),
            Aviso::RelojAtrasado(hora) => write!(
                f,
                "el reloj va por detrás del último archivo: los nombres siguen desde las {} hasta que llegue ahí, para no perder el orden; revise el reloj del PC",
                hora.format("%H:%M:%S del %d/%m/%Y")
            ),
        }
    }
}
