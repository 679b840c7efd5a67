//! El equipo al otro lado de una conexión: quién es, cómo se le nombra en la consola y cómo se le
//! trata.
//!
//! No sabe si llamó él o se le llamó, ni de dónde salen los nombres.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::cable::Limites;
use crate::hl7::acuse::Reglas;
use crate::recepcion::silencio::AvisoDeSilencio;

/// Lo que sigue la conversación con un equipo, y que otro puede necesitar de otra manera.
#[derive(Debug, Clone)]
pub struct Trato {
    /// Cómo se le acusa.
    pub reglas: Reglas,
    /// Hasta dónde se lee y cuánto se espera.
    pub limites: Limites,
    /// Cuándo se avisa de que calla.
    pub silencio: AvisoDeSilencio,
    /// La subcarpeta de Directorio donde van sus mensajes; `None`: van en Directorio.
    pub carpeta: Option<String>,
    /// Qué se hace con lo que reenvía.
    pub(crate) reenvios: AnteReenvio,
}

/// Qué se hace con un reenvío (clave `Repetidos`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnteReenvio {
    /// Se guarda otra vez, como cualquier mensaje.
    Guardar,
    /// Se guarda en `apartados`, donde quien lee la carpeta no lo ve.
    Apartar,
}

/// Un equipo conectado. Su texto es como se le nombra en cada línea de la consola: por su nombre
/// o, si no lo tiene, por su dirección y su puerto.
#[derive(Debug, Clone)]
pub struct Equipo {
    /// Su dirección IP: la misma aunque vuelva a conectarse desde otro puerto.
    pub(crate) ip: IpAddr,
    direccion: SocketAddr,
    tiene_nombre: bool,
    /// Su nombre o, si no lo tiene, su dirección y su puerto.
    pub(crate) visible: String,
    /// Quién es, aunque vuelva a conectarse: su nombre o, si no lo tiene, su dirección IP.
    pub(crate) quien: String,
    /// Lo que sigue su conversación.
    pub(crate) trato: Arc<Trato>,
}

impl Equipo {
    /// Un equipo en esa dirección, la IPv4 si vino disfrazada de IPv6, con el nombre que el
    /// laboratorio le dio, si le dio alguno.
    fn new(direccion: SocketAddr, nombre: Option<&str>, trato: &Arc<Trato>) -> Equipo {
        let ip = direccion.ip().to_canonical();
        let direccion = SocketAddr::new(ip, direccion.port());
        Equipo {
            ip,
            direccion,
            tiene_nombre: nombre.is_some(),
            visible: nombre.map_or_else(|| direccion.to_string(), str::to_owned),
            quien: nombre.map_or_else(|| ip.to_string(), str::to_owned),
            trato: Arc::clone(trato),
        }
    }

    /// Su dirección y su puerto.
    pub(crate) fn direccion(&self) -> SocketAddr {
        self.direccion
    }

    /// Su nombre, si lo tiene, y su dirección, para las líneas que hablan de la conexión.
    pub(crate) fn con_direccion(&self) -> impl fmt::Display {
        fmt::from_fn(|f| {
            f.write_str(&self.visible)?;
            if self.tiene_nombre {
                write!(f, " ({})", self.direccion)?;
            }
            Ok(())
        })
    }
}

impl fmt::Display for Equipo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.visible)
    }
}

/// Dice una línea sobre un equipo, con la clave con que el registro cuenta las que se repiten:
/// `avisar!(warn, equipo, "…")` la empieza por su nombre, y `avisar!(warn, equipo; "…")` no. En lugar de
/// `warn` puede ir `nivel = …`, y tras el equipo, la fila que se ve en la consola, `fila = …`, y, donde se dicen
/// cosas distintas, cuál: `clase = …`.
macro_rules! avisar {
    (nivel = $nivel:expr, $equipo:expr; $($texto:tt)+) => {
        log::log!($nivel, equipo:% = $equipo.quien; $($texto)+)
    };
    ($nivel:ident, $equipo:expr, fila = $fila:expr, clase = $clase:expr; $($texto:tt)+) => {
        log::$nivel!(equipo:% = $equipo.quien, fila = $fila.as_str(), clase:? = $clase; $($texto)+)
    };
    ($nivel:ident, $equipo:expr, clase = $clase:expr; $($texto:tt)+) => {
        log::$nivel!(equipo:% = $equipo.quien, clase:? = $clase; "{}: {}", $equipo, format_args!($($texto)+))
    };
    ($nivel:ident, $equipo:expr, $($texto:tt)+) => {
        log::$nivel!(equipo:% = $equipo.quien; "{}: {}", $equipo, format_args!($($texto)+))
    };
    ($nivel:ident, $equipo:expr; $($texto:tt)+) => {
        log::$nivel!(equipo:% = $equipo.quien; $($texto)+)
    };
}
pub(crate) use avisar;

/// Las letras que ocupa el nombre más largo o, si es mayor, una dirección IPv4 con su puerto.
pub(super) fn ancho<'a>(nombres: impl Iterator<Item = &'a str>) -> usize {
    const DIRECCION: usize = "255.255.255.255:65535".len();
    nombres
        .map(|nombre| nombre.chars().count())
        .fold(DIRECCION, usize::max)
}

/// Un equipo al que el laboratorio dio nombre.
#[derive(Debug, Clone)]
pub(crate) struct Nombrado {
    /// Cómo se llama.
    pub(crate) nombre: String,
    /// La dirección desde la que llama, si llama él.
    pub(crate) ip: Option<IpAddr>,
    /// Dónde espera a que se le llame, si espera.
    pub(crate) espera_en: Option<SocketAddr>,
    /// Lo que sigue su conversación.
    pub(crate) trato: Arc<Trato>,
    /// Las claves que su sección de Config.ini dice distintas, y sus valores.
    pub(crate) propias: Vec<(String, String)>,
}

/// Los equipos del laboratorio, y cómo se trata a cualquier otro.
#[derive(Debug, Clone)]
pub struct Equipos {
    /// Lo que sigue la conversación con un equipo sin nombre.
    pub comun: Arc<Trato>,
    /// Los que tienen nombre, cada uno con el suyo.
    pub(crate) nombrados: Vec<Nombrado>,
}

impl Equipos {
    /// El equipo que llama desde esa dirección.
    pub(crate) fn identificar(&self, origen: SocketAddr) -> Equipo {
        let ip = origen.ip().to_canonical();
        match self.nombrados.iter().find(|equipo| equipo.ip == Some(ip)) {
            Some(Nombrado { nombre, trato, .. }) => Equipo::new(origen, Some(nombre), trato),
            None => Equipo::new(origen, None, &self.comun),
        }
    }

    /// Las subcarpetas de Directorio que usan.
    pub fn carpetas(&self) -> impl Iterator<Item = &str> {
        let tratos = self.nombrados.iter().map(|equipo| &equipo.trato);
        tratos.filter_map(|trato| trato.carpeta.as_deref())
    }

    /// Los equipos a los que hay que llamar, donde esperan.
    pub fn llamados(&self) -> impl Iterator<Item = Equipo> {
        self.nombrados.iter().filter_map(|equipo| {
            let direccion = equipo.espera_en?;
            Some(Equipo::new(direccion, Some(&equipo.nombre), &equipo.trato))
        })
    }
}
