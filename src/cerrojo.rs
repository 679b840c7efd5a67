//! Cómo se toma un cerrojo: lo que protegen los del programa vale también después de un pánico, porque
//! nunca queda a medias.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Toma el cerrojo, lo soltara quien lo soltara.
pub(crate) fn tomar<T>(cerrojo: &Mutex<T>) -> MutexGuard<'_, T> {
    cerrojo.lock().unwrap_or_else(PoisonError::into_inner)
}
