//! El equipo al otro lado de una conexión: cómo se le nombra en la consola y cuál es su dirección.
//!
//! No sabe si llamó él o se le llamó.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Un equipo conectado. Su texto es como se le nombra en la consola.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equipo {
    /// Su dirección IP: la misma aunque vuelva a conectarse desde otro puerto.
    pub ip: IpAddr,
    texto: String,
}

impl Equipo {
    /// Un equipo del que solo se conoce su dirección, la IPv4 si vino disfrazada de IPv6.
    #[must_use]
    pub fn sin_nombre(direccion: SocketAddr) -> Equipo {
        let ip = direccion.ip().to_canonical();
        let texto = SocketAddr::new(ip, direccion.port()).to_string();
        Equipo { ip, texto }
    }

    /// Un equipo al que el laboratorio puso nombre.
    #[must_use]
    pub fn con_nombre(nombre: &str, direccion: SocketAddr) -> Equipo {
        Equipo {
            ip: direccion.ip(),
            texto: format!("{nombre} ({direccion})"),
        }
    }
}

impl fmt::Display for Equipo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texto)
    }
}
