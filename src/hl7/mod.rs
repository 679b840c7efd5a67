//! HL7 v2: qué dice la cabecera de un mensaje y qué se le contesta. Es puro; no sabe de tramas, de
//! archivos ni de relojes.

pub mod acuse;
pub mod comienzo;
pub mod consulta;
pub mod mensaje;
