//! El equipo al otro lado de una conexión: cómo se le nombra en la consola y cuál es su dirección.
//!
//! No sabe si llamó él o se le llamó.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Un equipo conectado. Su texto es como se le nombra en cada línea de la consola: por su nombre
/// o, si no lo tiene, por su dirección y su puerto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equipo {
    /// Su dirección IP: la misma aunque vuelva a conectarse desde otro puerto.
    pub ip: IpAddr,
    direccion: String,
    nombre: Option<String>,
    /// Quién es, aunque vuelva a conectarse: su nombre o, si no lo tiene, su dirección IP.
    pub quien: String,
}

impl Equipo {
    /// Un equipo en esa dirección, la IPv4 si vino disfrazada de IPv6, con el nombre que el
    /// laboratorio le dio, si le dio alguno.
    #[must_use]
    pub fn new(direccion: SocketAddr, nombre: Option<&str>) -> Equipo {
        let ip = direccion.ip().to_canonical();
        Equipo {
            ip,
            direccion: SocketAddr::new(ip, direccion.port()).to_string(),
            nombre: nombre.map(str::to_owned),
            quien: nombre.map_or_else(|| ip.to_string(), str::to_owned),
        }
    }

    /// Su nombre, si lo tiene, y su dirección, para las líneas que hablan de la conexión.
    #[must_use]
    pub fn con_direccion(&self) -> impl fmt::Display {
        fmt::from_fn(|f| match &self.nombre {
            Some(nombre) => write!(f, "{nombre} ({})", self.direccion),
            None => f.write_str(&self.direccion),
        })
    }
}

impl fmt::Display for Equipo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.nombre.as_deref().unwrap_or(&self.direccion))
    }
}

/// Dice una línea sobre un equipo, con la clave con que el registro cuenta las que se repiten:
/// `avisar!(warn, equipo, "…")` la empieza por su nombre, y `avisar!(warn, equipo; "…")` no.
macro_rules! avisar {
    ($nivel:ident, $equipo:expr, $($texto:tt)+) => {
        log::$nivel!(equipo:% = $equipo.ip; "{}: {}", $equipo, format_args!($($texto)+))
    };
    ($nivel:ident, $equipo:expr; $($texto:tt)+) => {
        log::$nivel!(equipo:% = $equipo.ip; $($texto)+)
    };
}
pub(crate) use avisar;

/// Las letras que ocupa el nombre más largo o, si es mayor, una dirección IPv4 con su puerto.
#[must_use]
pub(super) fn ancho<'a>(nombres: impl Iterator<Item = &'a str>) -> usize {
    const DIRECCION: usize = "255.255.255.255:65535".len();
    nombres
        .map(|nombre| nombre.chars().count())
        .fold(DIRECCION, usize::max)
}

/// Los nombres que el laboratorio dio a sus equipos, por su dirección IP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nombres(HashMap<IpAddr, String>);

impl Nombres {
    /// Da nombre a una dirección; devuelve el que ya tenía, y entonces lo conserva.
    pub fn dar(&mut self, ip: IpAddr, nombre: &str) -> Result<(), &str> {
        use std::collections::hash_map::Entry;
        match self.0.entry(ip.to_canonical()) {
            Entry::Occupied(ocupada) => Err(ocupada.into_mut()),
            Entry::Vacant(libre) => {
                libre.insert(nombre.to_owned());
                Ok(())
            }
        }
    }

    /// Todos los nombres.
    pub fn todos(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }

    /// El equipo que está en esa dirección.
    #[must_use]
    pub fn nombrar(&self, direccion: SocketAddr) -> Equipo {
        let nombre = self.0.get(&direccion.ip().to_canonical());
        Equipo::new(direccion, nombre.map(String::as_str))
    }
}
