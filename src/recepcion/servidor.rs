//! El puerto: quién entra, cuántos a la vez, y que nada que pase en una conexión toque a otra.
//!
//! Un hilo por conexión. Este módulo no sabe qué se habla en ella.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use chrono::{Local, NaiveDateTime};
use ipnet::IpNet;
use log::{Level, debug, warn};

use crate::causa;
use crate::hilo::explicar_hilo;
use crate::memoria;
use crate::recepcion::equipo::{Equipo, Equipos, avisar};
use crate::recepcion::intermediario::leer_proxy;
use crate::recepcion::parada::Parada;
use crate::recepcion::plazas::{Actividad, Despedida, Pedido, Plaza, Plazas};
use crate::recepcion::pregunta::{contestar, es_de_este_pc};
use crate::recepcion::presencia::{self, ENSEGUIDA, Presencia};

/// Descanso tras un error de accept: suele ser una falta del sistema, que pasa sola.
const PAUSA_TRAS_ERROR: Duration = Duration::from_millis(100);
/// Descriptores que usa el programa sin ninguna conexión, con holgura.
#[cfg(unix)]
const DESCRIPTORES_PROPIOS: u64 = 16;
/// Los que una conexión puede tener a la vez, el suyo, un parcial, la carpeta y la que contiene a esta, y
/// los de quienes esperan su plaza: otra del mismo equipo y una de quien no tiene ninguna.
#[cfg(unix)]
const DESCRIPTORES_POR_CONEXION: u64 = 6;
/// Cuántas conexiones de intermediarios pueden estar sin decir por quién hablan; lo dicen enseguida.
const MAX_POR_PRESENTAR: usize = 64;
/// A cuántas conexiones se mira a la vez antes de que pidan plaza.
const MAX_POR_MIRAR: usize = 16;
/// Pila de cada hilo. Los mensajes van en el montón; con esto sobra.
const PILA_BYTES: usize = 256 * 1024;
/// Lo que además debe quedar libre para que un hilo empiece, y otros lo hagan a la vez.
const MARGEN_DE_UN_HILO_BYTES: usize = 1024 * 1024;

/// Quién puede entrar y cuántos a la vez.
#[derive(Debug, Clone)]
pub struct Acceso {
    /// Conexiones simultáneas.
    pub max_conexiones: usize,
    /// Direcciones y rangos admitidos; vacío, todos.
    pub permitidos: Vec<IpNet>,
    /// Los que hablan por otros: cada conexión suya empieza por una cabecera PROXY.
    pub intermediarios: Vec<IpNet>,
}

impl Acceso {
    /// El mismo acceso, con las plazas que el sistema deja usar: `llamados` equipos a los que se llama
    /// no piden plaza, pero también ocupan la suya. Es un error si no cabe ninguna y `se_escucha`.
    pub fn caber(mut self, llamados: usize, se_escucha: bool) -> Result<Acceso, String> {
        let por_presentar = if self.intermediarios.is_empty() {
            0
        } else {
            MAX_POR_PRESENTAR
        };
        let caben = conexiones_que_caben(por_presentar).saturating_sub(llamados);
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

    pub(crate) fn es_intermediario(&self, ip: IpAddr) -> bool {
        self.intermediarios.iter().any(|red| red.contains(&ip))
    }

    pub(crate) fn permite(&self, ip: IpAddr) -> bool {
        self.permitidos.is_empty() || self.permitidos.iter().any(|red| red.contains(&ip))
    }
}

/// Lo que se hace con una conexión que tiene plaza.
type Atender = Box<dyn Fn(&TcpStream, &Equipo, &Actividad) -> io::Result<()> + Send + Sync>;

/// Lo que hay que saber para dejar entrar a alguien.
struct Puerta {
    atender: Atender,
    acceso: Acceso,
    equipos: Equipos,
    plazas: Arc<Plazas>,
    /// Cuántas conexiones de intermediarios aún no han dicho por quién hablan.
    por_presentar: Arc<AtomicUsize>,
    /// A cuántas se está mirando antes de que pidan plaza.
    por_mirar: Arc<AtomicUsize>,
    /// Desde cuándo se escucha, y con qué Config.ini.
    desde: NaiveDateTime,
    config: PathBuf,
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
/// una más, y los mensajes de las que ya están no se podrían guardar. Aquellas a las que se mira y las que
/// están `por_presentar` ocupan uno cada una. Antes pide cuantos le den.
#[cfg(unix)]
fn conexiones_que_caben(por_presentar: usize) -> usize {
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
    let otros = DESCRIPTORES_PROPIOS + (MAX_POR_MIRAR + por_presentar) as u64;
    let libres = descriptores.saturating_sub(otros);
    usize::try_from(libres / DESCRIPTORES_POR_CONEXION).unwrap_or(usize::MAX)
}

/// Windows no limita los descriptores de un proceso.
#[cfg(not(unix))]
fn conexiones_que_caben(_por_presentar: usize) -> usize {
    usize::MAX
}

/// Acepta conexiones para siempre y atiende cada una en su hilo. No vuelve: acaba con el
/// proceso. En el programa de Python, `iniciar_servidor`.
///
/// `config` es el Config.ini que se lee, para quien pregunta quién atiende. Lo que falle o entre en pánico dentro de `atender` solo acaba con su conexión.
pub fn iniciar_servidor(
    escucha: &TcpListener,
    acceso: &Acceso,
    equipos: &Equipos,
    parada: &Parada,
    config: &Path,
    atender: impl Fn(&TcpStream, &Equipo, &Actividad) -> io::Result<()> + Send + Sync + 'static,
) -> ! {
    let puerta = Arc::new(Puerta {
        atender: Box::new(atender),
        acceso: acceso.clone(),
        equipos: equipos.clone(),
        plazas: Plazas::new(acceso.max_conexiones),
        por_presentar: Arc::default(),
        por_mirar: Arc::default(),
        desde: Local::now().naive_local(),
        config: config.to_path_buf(),
    });
    loop {
        match escucha.accept() {
            Ok((canal, origen)) => {
                let equipo = equipos.identificar(origen);
                if parada.pedida() {
                    continue;
                }
                let canal = Arc::new(canal);
                if acceso.es_intermediario(equipo.ip) {
                    presentar(canal, &equipo, &puerta);
                } else if let Some(llegada) = llegar(&puerta, &equipo, &canal) {
                    let puerta = Arc::clone(&puerta);
                    abrir_su_hilo(&equipo, move |equipo| {
                        entrar(llegada, &puerta, equipo, &canal);
                    });
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

/// Lo que sigue con quien acaba de llegar.
enum Llegada {
    /// Mirar qué hace: quien comprueba que se le atiende, o pregunta quién atiende, no necesita plaza.
    PorMirar(Sitio),
    /// Ya ha pedido plaza: se mira a tantos que, si esperase a que se le mire, otros lo dejarían fuera.
    Pedido(Pedido),
}

/// Qué sigue con un equipo que acaba de llegar; si no puede entrar, dice por qué. A quien no está en la
/// lista se le mira si es de este PC: quizá solo pregunta quién atiende.
fn llegar(puerta: &Puerta, equipo: &Equipo, canal: &Arc<TcpStream>) -> Option<Llegada> {
    let se_mira = puerta.acceso.permite(equipo.ip) || es_de_este_pc(equipo.ip, canal);
    let sitio = se_mira.then(|| Sitio::tomar(&puerta.por_mirar, MAX_POR_MIRAR));
    match sitio.flatten() {
        Some(sitio) => Some(Llegada::PorMirar(sitio)),
        None => pedir_plaza(puerta, equipo, canal).map(Llegada::Pedido),
    }
}

/// Deja entrar, en su hilo, a quien ha llegado.
fn entrar(llegada: Llegada, puerta: &Puerta, equipo: &Equipo, canal: &Arc<TcpStream>) {
    let sitio = match llegada {
        Llegada::PorMirar(sitio) => sitio,
        Llegada::Pedido(pedido) => return ocupar_plaza(pedido, puerta, equipo, canal, None),
    };
    let Some(presencia) = mirar(puerta, equipo, canal) else {
        return;
    };
    drop(sitio);
    if presencia == Presencia::SeFue && puerta.acceso.permite(equipo.ip) {
        decir_entrada(equipo, presencia.nivel());
        decir_salida(equipo, presencia.nivel());
    } else if let Some(pedido) = pedir_plaza(puerta, equipo, canal) {
        ocupar_plaza(pedido, puerta, equipo, canal, Some(presencia));
    }
}

/// Qué hace quien conectó; `None` si preguntaba quién atiende, y ya se le ha contestado.
fn mirar(puerta: &Puerta, equipo: &Equipo, canal: &TcpStream) -> Option<Presencia> {
    let presencia = presencia::esperar(canal, ENSEGUIDA);
    let se_puede = presencia == Presencia::Habla && es_de_este_pc(equipo.ip, canal);
    // Lo que haya fallado lo verá quien lea.
    let preguntaba = se_puede && contestar(canal, puerta.desde, &puerta.config).unwrap_or(false);
    (!preguntaba).then_some(presencia)
}

/// Deja pedir plaza a un equipo, o dice por qué no.
fn pedir_plaza(puerta: &Puerta, equipo: &Equipo, canal: &Arc<TcpStream>) -> Option<Pedido> {
    let ip = equipo.ip;
    if !puerta.acceso.permite(ip) {
        let motivo = format!("{ip} no está en EquiposPermitidos de Config.ini");
        rechazar(equipo, &motivo);
        return None;
    }
    let pedido = puerta.plazas.pedir(&equipo.quien, canal);
    if pedido.is_none() {
        rechazar_por_completo(equipo, puerta);
    }
    pedido
}

/// Habla con el equipo cuando tenga plaza; si no la tiene aún, la espera.
fn ocupar_plaza(
    pedido: Pedido,
    puerta: &Puerta,
    equipo: &Equipo,
    canal: &Arc<TcpStream>,
    presencia: Option<Presencia>,
) {
    let plaza = match pedido {
        Pedido::Plaza(plaza) => plaza,
        Pedido::Turno(turno) => {
            let Some((plaza, despedida)) = turno.esperar(canal) else {
                return rechazar_por_completo(equipo, puerta);
            };
            if let Some(despedida) = despedida {
                decir_despedida(equipo, &despedida);
            }
            plaza
        }
    };
    if let Some(presencia) = presencia.or_else(|| mirar(puerta, equipo, canal)) {
        conversar(canal, equipo, &plaza, puerta, presencia.nivel());
    }
}

/// Espera, en su hilo, a que un intermediario diga por quién habla, y deja entrar a ese. De sus
/// comprobaciones no se dice nada: las hace cada pocos segundos, para siempre.
fn presentar(canal: Arc<TcpStream>, intermediario: &Equipo, puerta: &Arc<Puerta>) {
    let Some(sitio) = Sitio::tomar(&puerta.por_presentar, MAX_POR_PRESENTAR) else {
        let motivo = format!(
            "{MAX_POR_PRESENTAR} conexiones de intermediarios no han enviado aún su cabecera PROXY; actívela en ellos, o quítelos de Intermediarios en Config.ini"
        );
        return rechazar(intermediario, &motivo);
    };
    let puerta = Arc::clone(puerta);
    abrir_su_hilo(intermediario, move |intermediario| {
        let leida = leer_proxy(&canal, intermediario.direccion());
        drop(sitio);
        let quien = intermediario.con_direccion();
        let equipo = match leida {
            Ok(Some(origen)) => puerta.equipos.identificar(origen),
            Ok(None) => return debug!("{quien}: el intermediario comprobó que se le atiende"),
            Err(error) => {
                return avisar!(
                    warn,
                    intermediario;
                    "{quien}: conexión cerrada: de un intermediario se espera una cabecera PROXY ({error}); actívela en él, o quítelo de Intermediarios en Config.ini"
                );
            }
        };
        if let Some(llegada) = llegar(&puerta, &equipo, &canal) {
            entrar(llegada, &puerta, &equipo, &canal);
        }
    });
}

/// El de una conexión que aún no tiene plaza ni la espera; se devuelve al soltarlo.
struct Sitio(Arc<AtomicUsize>);

impl Sitio {
    /// `None`: ya están tomados los `max` que hay.
    fn tomar(tomados: &Arc<AtomicUsize>, max: usize) -> Option<Sitio> {
        let habia = tomados.fetch_add(1, Ordering::Relaxed);
        let sitio = Sitio(Arc::clone(tomados));
        (habia < max).then_some(sitio)
    }
}

impl Drop for Sitio {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn rechazar_por_completo(equipo: &Equipo, puerta: &Puerta) {
    let max = puerta.acceso.max_conexiones;
    rechazar(
        equipo,
        &format!(
            "todas las plazas están ocupadas ({max}); si hacen falta más, suba MaxConexiones en Config.ini (o el límite de archivos abiertos, si al arrancar se avisó de él)"
        ),
    );
}

fn rechazar(equipo: &Equipo, motivo: &str) {
    let quien = equipo.con_direccion();
    avisar!(warn, equipo; "{quien}: conexión rechazada: {motivo}");
}

/// A quien tenía varias se le quita una aunque las use todas; a quien tenía una, porque no la usa.
fn decir_despedida(equipo: &Equipo, despedida: &Despedida) {
    let Despedida { quien, tenia, ocio } = despedida;
    let motivo = if *tenia > 1 {
        format!(
            "no quedaban plazas; se le da una de las {tenia} de {quien}; revise por qué abre tantas, o suba MaxConexiones"
        )
    } else {
        format!(
            "no quedaban plazas; se le da la de {quien}, que no entregaba nada desde hace {} s; suba MaxConexiones",
            ocio.as_secs()
        )
    };
    avisar!(warn, equipo; "{}: {motivo}", equipo.con_direccion());
}

fn decir_entrada(equipo: &Equipo, nivel: Level) {
    avisar!(nivel = nivel, equipo; "Conexión Establecida desde {}", equipo.con_direccion());
}

fn decir_salida(equipo: &Equipo, nivel: Level) {
    avisar!(nivel = nivel, equipo; "Conexion cerrada {}", equipo.con_direccion());
}

/// Habla con el equipo en una conexión que tiene plaza.
fn conversar(canal: &TcpStream, equipo: &Equipo, plaza: &Plaza, puerta: &Puerta, nivel: Level) {
    decir_entrada(equipo, nivel);
    match (puerta.atender)(canal, equipo, &plaza.actividad) {
        // Quien perdió su plaza puede ver una conexión rota: la rompió el programa.
        Err(error) if !plaza.actividad.es_perdida() => {
            let (quien, causa) = (equipo.con_direccion(), causa::explicar(&error));
            avisar!(warn, equipo; "Error en la Conexion: {quien}: {causa}");
        }
        _ => decir_salida(equipo, nivel),
    }
}

fn abrir_su_hilo(equipo: &Equipo, tarea: impl FnOnce(&Equipo) + Send + 'static) {
    let suyo = equipo.clone();
    let hilo = thread::Builder::new()
        .name(equipo.ip.to_string())
        .stack_size(PILA_BYTES);
    // Un hilo que empieza sin memoria para lo suyo acaba con el programa, no con un error: nadie la toma
    // hasta que ha empezado.
    let turno = memoria::turno();
    let empezado = if memoria::hay(PILA_BYTES + MARGEN_DE_UN_HILO_BYTES) {
        let salida = Arc::new(Barrier::new(2));
        let su_salida = Arc::clone(&salida);
        let hilo = hilo.spawn(move || {
            su_salida.wait();
            tarea(&suyo);
        });
        hilo.map(|_| salida.wait())
    } else {
        Err(ErrorKind::OutOfMemory.into())
    };
    drop(turno);
    if let Err(error) = empezado {
        avisar!(
            warn,
            equipo;
            "{}: conexión rechazada: no se pudo crear su hilo: {}",
            equipo.con_direccion(),
            explicar_hilo(&error)
        );
    }
}
