//! Lo hecho desde el arranque, para la última línea de la consola.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Contadores que comparten todas las conversaciones.
#[derive(Debug, Default)]
pub struct Totales {
    guardados: AtomicU64,
    bytes: AtomicU64,
    fallidos: AtomicU64,
    rechazados: AtomicU64,
    apartados: AtomicU64,
    contestados: AtomicU64,
}

impl Totales {
    /// Un mensaje más a salvo, de esa longitud en bytes.
    pub fn guardado(&self, longitud: usize) {
        sumar(&self.guardados, 1);
        sumar(&self.bytes, longitud);
    }

    /// Un mensaje más que no se pudo guardar.
    pub fn fallido(&self) {
        sumar(&self.fallidos, 1);
    }

    /// Un mensaje más que se rechazó.
    pub fn rechazado(&self) {
        sumar(&self.rechazados, 1);
    }

    /// Unos bytes más en `apartados`.
    pub fn apartado(&self) {
        sumar(&self.apartados, 1);
    }

    /// El número de lo que se va a contestar, desde 0.
    pub fn numerar(&self) -> u64 {
        self.contestados.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Display for Totales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = |contador: &AtomicU64| contador.load(Ordering::Relaxed);
        write!(
            f,
            "mensajes guardados: {} ({} bytes), sin guardar: {}, rechazados: {}, apartados: {}",
            total(&self.guardados),
            total(&self.bytes),
            total(&self.fallidos),
            total(&self.rechazados),
            total(&self.apartados)
        )
    }
}

fn sumar(contador: &AtomicU64, cuanto: usize) {
    contador.fetch_add(cuanto as u64, Ordering::Relaxed);
}
