//! Las carpetas en las que no se puede guardar. No sabe por qué, ni quién guarda en ellas.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cerrojo::tomar;

/// `Directorio`, o esa de las carpetas que hay en él.
pub(super) type Carpeta = Option<String>;

/// Las carpetas en las que lo último que se intentó guardar no se pudo.
#[derive(Debug, Default)]
pub(super) struct Averias {
    /// Si hay alguna: a quien guarda bien casi nunca le importa cuál.
    hay: AtomicBool,
    carpetas: Mutex<BTreeSet<Carpeta>>,
}

impl Averias {
    /// En esa carpeta se ha podido guardar, o no.
    pub(super) fn anotar(&self, carpeta: Option<&str>, se_pudo: bool) {
        if se_pudo && !self.hay.load(Ordering::Relaxed) {
            return;
        }
        let carpeta = carpeta.map(str::to_owned);
        let mut carpetas = tomar(&self.carpetas);
        if se_pudo {
            carpetas.remove(&carpeta);
        } else {
            carpetas.insert(carpeta);
        }
        self.hay.store(!carpetas.is_empty(), Ordering::Relaxed);
    }

    /// Cuáles son.
    pub(super) fn cuales(&self) -> BTreeSet<Carpeta> {
        tomar(&self.carpetas).clone()
    }
}
