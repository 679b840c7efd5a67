//! La instalación como servicio de Windows, y cómo deshacerla. Las pide un administrador.

#[cfg(any(windows, test))]
mod consola;
#[cfg(any(windows, test))]
mod pasos;
#[cfg(windows)]
mod windows;

#[cfg(windows)]
pub use windows::{desinstalar, instalar};

#[cfg(not(windows))]
pub use otros::{instalar as desinstalar, instalar};

#[cfg(not(windows))]
mod otros {
    use std::error::Error;
    use std::io::Write;
    use std::path::Path;

    use crate::ordenes::servicio::solo_en_windows;

    /// En otros sistemas no hay nada que instalar.
    pub fn instalar(_: Option<&Path>, _: &mut impl Write) -> Result<bool, Box<dyn Error>> {
        Err(solo_en_windows().into())
    }
}
