//! Si al sistema le queda memoria que dar. No sabe para qué se quiere.
//!
//! Quien pide mucho con `try_reserve` se entera de que no la hay, pero lo pequeño que pide la biblioteca
//! estándar no avisa: acaba con el programa. Por eso quien puede esperar mira antes, y deja un colchón.

use std::sync::{Mutex, MutexGuard};

use crate::cerrojo::tomar;

static TURNO: Mutex<()> = Mutex::new(());

/// Quien va a mirar y a pedir lo hace por turno: dos a la vez contarían con la misma memoria, y lo que uno
/// toma para mirar le faltaría al otro.
pub(crate) fn turno() -> MutexGuard<'static, ()> {
    tomar(&TURNO)
}

/// Si queda esa memoria.
#[cfg(target_os = "linux")]
pub(crate) fn hay(cuanta: usize) -> bool {
    libre().is_none_or(|libre| libre >= cuanta as u64)
}

/// Lo que le falta al proceso para llegar a su límite; `None` si no lo tiene, que es lo usual.
#[cfg(target_os = "linux")]
fn libre() -> Option<u64> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    let (limite, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    if limite == RLIM_INFINITY {
        return None;
    }
    let estado = std::fs::read_to_string("/proc/self/status").ok()?;
    let ocupado = estado
        .lines()
        .find_map(|linea| linea.strip_prefix("VmSize:"))?;
    let ocupado_kib: u64 = ocupado.trim().trim_end_matches(" kB").parse().ok()?;
    Some(limite.saturating_sub(ocupado_kib * 1024))
}

/// Si queda esa memoria. Mientras se mira la tiene tomada: no se pida más de la que hace falta.
#[cfg(not(target_os = "linux"))]
pub(crate) fn hay(cuanta: usize) -> bool {
    let mut prueba: Vec<u8> = Vec::new();
    let hay = prueba.try_reserve_exact(cuanta).is_ok();
    // Sin esto el compilador puede ver que nadie la usa y no pedirla.
    std::hint::black_box(&mut prueba);
    hay
}

/// Devuelve al sistema lo que pasa de esa longitud. Hágase antes de soltar algo grande: glibc aprende de
/// lo que se suelta entero, y a partir de ahí se queda con lo que se le devuelve.
pub(crate) fn encoger(bytes: &mut Vec<u8>, longitud: usize) {
    bytes.truncate(longitud);
    bytes.shrink_to(longitud);
}
