//! Lo que se pide además de recibir: la revisión, el envío y el servicio de Windows.

pub mod enviar;
pub mod revisar;
pub mod servicio;
