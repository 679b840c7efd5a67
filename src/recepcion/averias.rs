//! Las carpetas en las que no se puede guardar. No sabe por qué, ni quién guarda en ellas.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::cerrojo::tomar;

/// `Directorio`, o esa de las carpetas que hay en él.
pub(super) type Carpeta = Option<String>;

/// Las carpetas en las que lo último que se intentó guardar no se pudo.
#[derive(Debug, Default)]
pub(super) struct Averias(Mutex<BTreeSet<Carpeta>>);

impl Averias {
    /// En esa carpeta se ha podido guardar, o no.
    pub(super) fn anotar(&self, carpeta: Option<&str>, se_pudo: bool) {
        let mut carpetas = tomar(&self.0);
        if !se_pudo {
            carpetas.insert(carpeta.map(str::to_owned));
        } else if !carpetas.is_empty() {
            carpetas.remove(&carpeta.map(str::to_owned));
        }
    }

    /// Cuáles son.
    pub(super) fn cuales(&self) -> BTreeSet<Carpeta> {
        tomar(&self.0).clone()
    }
}
