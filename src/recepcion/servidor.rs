//! El puerto: quién entra, cuántos a la vez, y que nada que pase en una conexión toque a otra.
//!
//! Un hilo por conexión. Este módulo no sabe qué se habla en ella.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use log::warn;

use crate::causa;
use crate::recepcion::equipo::{Equipo, Equipos, avisar};
use crate::recepcion::parada::Parada;

/// Descanso tras un error de accept: suele ser una falta del sistema, que pasa sola.
const PAUSA_TRAS_ERROR: Duration = Duration::from_millis(100);
/// Descriptores que usa el programa sin ninguna conexión, con holgura.
#[cfg(unix)]
const DESCRIPTORES_PROPIOS: u64 = 16;
/// Los que una conexión puede tener a la vez: el suyo, un parcial, la carpeta y la que contiene a esta.
#[cfg(unix)]
const DESCRIPTORES_POR_CONEXION: u64 = 4;
/// Pila de cada hilo. Los mensajes van en el montón; con esto sobra.
const PILA_BYTES: usize = 256 * 1024;

/// Quién puede entrar y cuántos a la vez.
#[derive(Debug, Clone)]
pub struct Acceso {
    /// Conexiones simultáneas.
    pub max_conexiones: usize,
    /// Direcciones y rangos admitidos; vacío, todos.
    pub permitidos: Vec<IpNet>,
}

impl Acceso {
    /// El mismo acceso, con las plazas que el sistema deja usar: `llamados` equipos a los que se llama
    /// no piden plaza, pero también ocupan la suya. Es un error si no cabe ninguna y `se_escucha`.
    pub fn caber(mut self, llamados: usize, se_escucha: bool) -> Result<Acceso, String> {
        let caben = conexiones_que_caben().saturating_sub(llamados);
        if !se_escucha || caben >= self.max_conexiones {
            return Ok(self);
        }
        if caben == 0 {
            return Err("el sistema no deja abrir archivos ni para una conexión; suba su límite de archivos abiertos".to_owned());
        }
        warn!(
            "el sistema solo deja abrir archivos para {caben} conexiones, menos que MaxConexiones: no entrarán más; suba su límite de archivos abiertos"
        );
        self.max_conexiones = caben;
        Ok(self)
    }
}

/// Abre el puerto. El error dice cuál, por qué y qué hacer.
pub fn abrir_puerto(direccion: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(direccion).map_err(|error| {
        let causa = match error.kind() {
            ErrorKind::AddrInUse => {
                "otro programa ya lo usa; ciérrelo (¿está abierto este mismo programa?) o cambie Puerto en Config.ini".to_owned()
            }
            ErrorKind::AddrNotAvailable => {
                "esta dirección no es de este PC; corrija Direccion en Config.ini, o quítela para usar todas".to_owned()
            }
            ErrorKind::PermissionDenied => {
                "no hay permiso; los puertos menores que 1024 piden ser administrador: cambie Puerto en Config.ini".to_owned()
            }
            _ => causa::explicar(&error),
        };
        format!("no se pudo abrir el puerto «{direccion}»: {causa}")
    })
}

/// Cuántas conexiones pueden guardar a la vez con los descriptores que el sistema da a un proceso:
/// una más, y los mensajes de las que ya están no se podrían guardar. Antes pide cuantos le den.
#[cfg(unix)]
fn conexiones_que_caben() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let archivos = Resource::RLIMIT_NOFILE;
    // Sin saber el límite no hay nada que repartir: un accept que falle se dirá.
    let Ok((actual, tope)) = getrlimit(archivos) else {
        return usize::MAX;
    };
    let descriptores = match setrlimit(archivos, tope, tope) {
        Ok(()) => tope,
        Err(_) => actual,
    };
    let libres = descriptores.saturating_sub(DESCRIPTORES_PROPIOS);
    usize::try_from(libres / DESCRIPTORES_POR_CONEXION).unwrap_or(usize::MAX)
}

/// Windows no limita los descriptores de un proceso.
#[cfg(not(unix))]
fn conexiones_que_caben() -> usize {
    usize::MAX
}

/// Acepta conexiones para siempre y atiende cada una en su hilo. No vuelve: acaba con el
/// proceso. En el programa de Python, `iniciar_servidor`.
///
/// Lo que falle o entre en pánico dentro de `atender` solo acaba con su conexión.
pub fn iniciar_servidor<F>(
    escucha: &TcpListener,
    acceso: &Acceso,
    equipos: &Equipos,
    parada: &Parada,
    atender: F,
) -> !
where
    F: Fn(&TcpStream, &Equipo) -> io::Result<()> + Clone + Send + 'static,
{
    let ocupadas = Arc::new(AtomicUsize::new(0));
    loop {
        match escucha.accept() {
            Ok((canal, origen)) => {
                let equipo = equipos.identificar(origen);
                if parada.pedida() {
                    continue;
                }
                match admitir(&ocupadas, equipo.ip, acceso) {
                    Ok(plaza) => abrir_conexion(canal, equipo, plaza, atender.clone()),
                    Err(motivo) => {
                        let quien = equipo.con_direccion();
                        avisar!(warn, equipo; "{quien}: conexión rechazada: {motivo}");
                    }
                }
            }
            Err(error) => {
                warn!(
                    equipo = "";
                    "no se pudo aceptar una conexión: {}; se sigue escuchando",
                    causa::explicar(&error)
                );
                // Quien se fue antes de entrar no es una falta del sistema: los demás no esperan.
                if !matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) {
                    thread::sleep(PAUSA_TRAS_ERROR);
                }
            }
        }
    }
}

fn abrir_conexion<F>(canal: TcpStream, equipo: Equipo, plaza: Plaza, atender: F)
where
    F: FnOnce(&TcpStream, &Equipo) -> io::Result<()> + Send + 'static,
{
    let direccion = equipo.con_direccion().to_string();
    let ip = equipo.ip;
    let conversar = move || {
        let _plaza = plaza;
        avisar!(info, equipo; "Conexión Establecida desde {}", equipo.con_direccion());
        match atender(&canal, &equipo) {
            Ok(()) => avisar!(info, equipo; "Conexion cerrada {}", equipo.con_direccion()),
            Err(error) => {
                let (quien, causa) = (equipo.con_direccion(), causa::explicar(&error));
                avisar!(warn, equipo; "Error en la Conexion: {quien}: {causa}");
            }
        }
    };
    let hilo = thread::Builder::new()
        .name(ip.to_string())
        .stack_size(PILA_BYTES);
    if let Err(error) = hilo.spawn(conversar) {
        warn!(
            equipo:% = ip;
            "{direccion}: conexión rechazada: no se pudo crear su hilo: {}",
            causa::explicar(&error)
        );
    }
}

/// El derecho a una conexión; se devuelve al acabar, también por un pánico.
#[derive(Debug)]
struct Plaza(Arc<AtomicUsize>);

impl Drop for Plaza {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn admitir(ocupadas: &Arc<AtomicUsize>, equipo: IpAddr, acceso: &Acceso) -> Result<Plaza, String> {
    let permitido =
        acceso.permitidos.is_empty() || acceso.permitidos.iter().any(|red| red.contains(&equipo));
    if !permitido {
        return Err(format!(
            "{equipo} no está en EquiposPermitidos de Config.ini"
        ));
    }
    // Solo el hilo que acepta ocupa plazas: entre mirar y ocupar, el número no crece.
    let hay = ocupadas.load(Ordering::Relaxed);
    if hay >= acceso.max_conexiones {
        return Err(format!(
            "ya hay {hay} conexiones; si hacen falta más, suba MaxConexiones en Config.ini (o el límite de archivos abiertos, si al arrancar se avisó de él)"
        ));
    }
    ocupadas.fetch_add(1, Ordering::Relaxed);
    Ok(Plaza(Arc::clone(ocupadas)))
}
