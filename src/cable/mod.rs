//! El cable: de los bytes de una conexión a los mensajes. Es puro; no sabe de sockets, archivos,
//! relojes ni registro.

mod bufer;
mod estado;
mod finales;
mod indicio;
mod intercalado;
mod lector;
mod ruido;
mod trama;

pub use estado::{COMIENZO_BYTES, Lector, Limites, Motivo, Tope};
pub use indicio::Indicio;
pub use lector::Suceso;
pub use trama::{Envoltura, enmarcar};
