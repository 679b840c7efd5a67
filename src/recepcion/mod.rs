//! La recepción: quién entra, la conversación con cada equipo y lo que se cuenta de ella.

pub mod conexion;
pub mod equipo;
pub mod llamada;
pub mod parada;
pub mod servidor;
pub mod totales;
pub mod vigilancia;
