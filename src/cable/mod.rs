//! El cable: de los bytes de una conexión a los mensajes. Es puro; no sabe de sockets, archivos,
//! relojes ni registro.

mod indicio;
mod lector;

pub use indicio::Indicio;
pub use lector::{COMIENZO_BYTES, Lector, Limites, Motivo, Suceso, enmarcar};
pub(crate) use lector::{FS, VT};
