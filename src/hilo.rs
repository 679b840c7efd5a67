//! Los hilos del programa: cómo se abren y por qué no se pueden abrir más. No sabe qué hace cada uno.

use std::io::{self, ErrorKind};
use std::thread;

use crate::causa;

/// Abre un hilo que nadie espera, con ese nombre. El error dice que no se pudo, por qué y qué hacer.
pub fn abrir_hilo<T: Send + 'static>(
    nombre: &str,
    tarea: impl FnOnce() -> T + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new()
        .name(nombre.to_owned())
        .spawn(tarea)
        .map(drop)
        .map_err(|error| {
            let causa = explicar_hilo(&error);
            io::Error::new(
                error.kind(),
                format!("no se pudo crear el hilo «{nombre}»: {causa}"),
            )
        })
}

/// Por qué no se pudo crear un hilo: Unix dice EAGAIN, que de una conexión es otra cosa.
pub(crate) fn explicar_hilo(error: &io::Error) -> String {
    if error.kind() == ErrorKind::WouldBlock {
        "el sistema no deja crear más hilos; suba su límite (TasksMax en systemd, ulimit -u) o baje MaxConexiones".to_owned()
    } else {
        causa::explicar(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_poder_crear_un_hilo_no_se_dice_como_una_red_que_no_responde() {
        let dicho = explicar_hilo(&ErrorKind::WouldBlock.into());
        assert!(
            dicho.contains("crear más hilos") && !dicho.contains("red"),
            "{dicho}"
        );
        let otra = ErrorKind::OutOfMemory.into();
        assert_eq!(explicar_hilo(&otra), causa::explicar(&otra));
    }
}
