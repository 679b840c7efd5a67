//! El cable: de los bytes de una conexión a los mensajes. Es puro; no sabe de sockets, archivos,
//! relojes ni registro.

mod bufer;
mod finales;
mod indicio;
mod intercalado;
mod lector;
mod ruido;

pub use indicio::Indicio;
pub use lector::{COMIENZO_BYTES, Envoltura, Lector, Limites, Motivo, Suceso, Tope, enmarcar};
pub(crate) use lector::{FS, VT};
