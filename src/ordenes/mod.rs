//! Lo que se pide además de recibir: la revisión, el envío, y el servicio de Windows con su instalación.

pub mod enviar;
pub mod instalar;
pub mod revisar;
pub mod servicio;
