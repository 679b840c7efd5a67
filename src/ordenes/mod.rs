//! Lo que un técnico ejecuta además de recibir: la revisión y el envío.

pub mod enviar;
pub mod revisar;
