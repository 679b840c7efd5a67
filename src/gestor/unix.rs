//! El cierre de la terminal en Linux y los demás Unix, que es la señal SIGHUP. No sabe qué hay que parar.

use std::fs;
use std::io;

use nix::sys::signal::{SigSet, Signal};

use crate::hilo::abrir_hilo;

const CIERRE: Signal = Signal::SIGHUP;

/// Bloqueada, la señal queda pendiente, por muchas veces que llegue, hasta que la recoja quien la espera.
pub(super) fn retener_cierre() {
    // Si no se pudiera, se atendería como Ctrl+C.
    let _ = SigSet::from(CIERRE).thread_block();
}

/// Llama a `cerrar` cuando se cierra la terminal. Si quien arrancó el programa pidió que no le importe
/// (`nohup`), nadie recoge la señal. Se pone antes que el de Ctrl+C, que también la toma y borra lo que se
/// pidió.
pub(super) fn al_cerrar(cerrar: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if se_ignora_el_cierre() {
        return Ok(());
    }
    abrir_hilo("cierre", || SigSet::from(CIERRE).wait().map(|_| cerrar()))
}

/// Lo dice Linux; donde no se puede saber, no se ignora.
fn se_ignora_el_cierre() -> bool {
    let estado = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignoradas = estado
        .lines()
        .find_map(|linea| linea.strip_prefix("SigIgn:"))
        .and_then(|mascara| u64::from_str_radix(mascara.trim(), 16).ok());
    ignoradas.is_some_and(|mascara| mascara & (1 << (CIERRE as i32 - 1)) != 0)
}
