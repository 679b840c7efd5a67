//! Quién arrancó el programa: una persona en una consola, systemd o el gestor de servicios de Windows. A
//! los dos últimos se les dice cuándo se recibe ya y cuándo se deja de recibir.
//!
//! No sabe qué se recibe.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::error::Error;
use std::io;
use std::mem;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use log::{info, warn};

use crate::causa;
use crate::configuracion::junto_al_programa;
use crate::recepcion::parada::Parada;
use crate::registro::constar_sin_configuracion;

#[cfg(windows)]
pub use windows::Servicio;

/// Cuánto espera la parada a los mensajes en curso…
const PLAZO_DE_PARADA: Duration = Duration::from_secs(5);
/// …y si se cierra la ventana: Windows da al proceso 5 s en total.
#[cfg(windows)]
const PLAZO_AL_CERRAR: Duration = Duration::from_secs(3);

/// Quien arrancó el programa y puede pararlo.
#[derive(Debug)]
pub enum Gestor {
    /// Una persona, o systemd si puso `NOTIFY_SOCKET`.
    Consola,
    /// El gestor de servicios de Windows.
    #[cfg(windows)]
    Servicio(Servicio),
}

impl Gestor {
    /// El canal por el que avisará de la parada, con lo que se puede esperar a los mensajes en curso.
    pub fn atender_parada(
        &self,
        parada: &Arc<Parada>,
    ) -> Result<Receiver<Duration>, Box<dyn Error>> {
        match self {
            Gestor::Consola => atender_interrupciones(parada),
            // Un servicio no atiende a la consola: Windows le avisa en ella cada vez que alguien cierra
            // su sesión, y eso no es para él.
            #[cfg(windows)]
            Gestor::Servicio(servicio) => Ok(servicio.atender_parada(parada)),
        }
    }

    /// Le dice que ya se recibe, y qué: el puerto escucha y se llama a quien hay que llamar.
    pub fn decir_listo(&self, que: &str) {
        match self {
            Gestor::Consola => avisar_a_systemd(&format!("READY=1\nSTATUS={que}")),
            #[cfg(windows)]
            Gestor::Servicio(servicio) => servicio.decir_listo(),
        }
    }

    /// Le dice que se está parando.
    pub fn decir_parando(&self) {
        match self {
            Gestor::Consola => avisar_a_systemd("STOPPING=1"),
            // Ya se le contestó así cuando pidió la parada.
            #[cfg(windows)]
            Gestor::Servicio(_) => {}
        }
    }

    /// Deja constancia de por qué no vale Config.ini. Quien mira la consola ya lo lee en ella; el registro
    /// que Config.ini pueda decir no se conoce.
    pub fn constar(&self, config: Option<&Path>, error: &dyn Error) {
        if !matches!(self, Gestor::Consola) {
            let config = config.map_or_else(junto_al_programa, |config| Ok(config.to_path_buf()));
            constar_sin_configuracion(&config.unwrap_or_default(), error);
        }
    }
}

/// En Unix, cerrar la terminal no es Ctrl+C: queda para quien atienda la parada. Vale para el hilo que lo
/// llama y para los que este abra.
pub fn retener_cierre() {
    #[cfg(unix)]
    unix::retener_cierre();
}

/// Ctrl+C, SIGTERM o el cierre de la ventana piden la parada. Con el segundo Ctrl+C o SIGTERM se sale ya; el
/// cierre puede llegar varias veces, o con ellos, sin que nadie tenga prisa.
fn atender_interrupciones(parada: &Arc<Parada>) -> Result<Receiver<Duration>, Box<dyn Error>> {
    let (pedir, pedida) = peticion_de_parada(parada);
    let al_cerrar = pedir.clone();
    #[cfg(unix)]
    unix::al_cerrar(move || al_cerrar(PLAZO_DE_PARADA))?;
    let mut interrumpido = false;
    ctrlc::set_handler(move || {
        if mem::replace(&mut interrumpido, true) {
            process::exit(1);
        }
        pedir(PLAZO_DE_PARADA);
    })?;
    #[cfg(windows)]
    crate::ventana::al_cerrar(move || al_cerrar(PLAZO_AL_CERRAR))?;
    Ok(pedida)
}

/// Lo que pide la parada, con lo que se puede esperar a los mensajes en curso, y el canal por el que
/// llega la primera vez.
fn peticion_de_parada(
    parada: &Arc<Parada>,
) -> (
    impl Fn(Duration) + Clone + Send + 'static,
    Receiver<Duration>,
) {
    let (aviso, pedida) = channel();
    let parada = Arc::clone(parada);
    let pedir = move |plazo| {
        if !parada.manejar_interrupcion() {
            info!("Recibida Señal de Detención. Deteniendo el Servidor...");
            // Si nadie escucha el aviso, el programa ya está saliendo.
            let _ = aviso.send(plazo);
        }
    };
    (pedir, pedida)
}

fn avisar_a_systemd(estado: &str) {
    if let Err(error) = enviar_a_systemd(estado) {
        let causa = causa::explicar(&error);
        warn!("no se pudo avisar a systemd por NOTIFY_SOCKET: {causa}; la recepción sigue");
    }
}

/// El protocolo de `sd_notify(3)`, que es un datagrama; en ningún otro sistema hay a quién enviarlo.
#[cfg(target_os = "linux")]
fn enviar_a_systemd(estado: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(destino) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let destino = match destino.as_bytes() {
        [b'@', nombre @ ..] => SocketAddr::from_abstract_name(nombre)?,
        _ => SocketAddr::from_pathname(&destino)?,
    };
    UnixDatagram::unbound()?.send_to_addr(estado.as_bytes(), &destino)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "firma común")]
fn enviar_a_systemd(_: &str) -> io::Result<()> {
    Ok(())
}
