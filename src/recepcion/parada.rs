//! La parada: la bandera que levanta Ctrl+C y la cuenta de los mensajes que están en curso.
//!
//! Nadie despierta a una lectura bloqueada: en Windows no hay modo seguro de hacerlo, y quien
//! solo espera no tiene nada que perder; su hilo acaba con el proceso. Que un mensaje acusado
//! esté a salvo no depende de esta parada, sino de que se guarda antes de acusarlo.

use std::error::Error;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::info;

use crate::ventana;

/// La bandera del programa de Python: una vez levantada no comienza ningún mensaje más.
pub static APAGAR_SERVER: AtomicBool = AtomicBool::new(false);

/// Cuánto espera la parada a los mensajes en curso…
const PLAZO_DE_PARADA: Duration = Duration::from_secs(5);
/// …y si se cierra la ventana: Windows da al proceso 5 s en total.
const PLAZO_AL_CERRAR: Duration = Duration::from_secs(3);

/// La bandera a la que se obedece y los mensajes en curso.
#[derive(Debug)]
pub struct Parada {
    bandera: &'static AtomicBool,
    en_curso: Mutex<usize>,
    menos: Condvar,
}

/// Un mensaje que se está guardando o acusando; la parada lo espera.
#[derive(Debug)]
pub struct EnCurso<'a>(&'a Parada);

impl Parada {
    /// Una parada que nadie ha pedido, si `bandera` está bajada.
    #[must_use]
    pub const fn new(bandera: &'static AtomicBool) -> Parada {
        Parada {
            bandera,
            en_curso: Mutex::new(0),
            menos: Condvar::new(),
        }
    }

    /// Levanta la bandera. Devuelve si ya estaba levantada: es la segunda vez que se pide. En el
    /// programa de Python, `manejar_interrupcion`.
    pub fn manejar_interrupcion(&self) -> bool {
        let _cuenta = self.cuenta();
        self.bandera.swap(true, Ordering::Relaxed)
    }

    /// Si ya se pidió parar.
    #[must_use]
    pub fn pedida(&self) -> bool {
        self.bandera.load(Ordering::Relaxed)
    }

    /// Anuncia que comienza un mensaje; `None` si ya se pidió parar: no se acusa y el equipo lo
    /// enviará de nuevo.
    #[must_use]
    pub fn comenzar(&self) -> Option<EnCurso<'_>> {
        // La bandera se mira con la cuenta tomada: entre mirar y contar no cabe una parada.
        let mut cuenta = self.cuenta();
        if self.pedida() {
            return None;
        }
        *cuenta += 1;
        Some(EnCurso(self))
    }

    /// Espera a que acaben los mensajes en curso, a lo sumo `plazo`; devuelve cuántos quedan.
    #[must_use]
    pub fn esperar(&self, plazo: Duration) -> usize {
        let (cuenta, _) = self
            .menos
            .wait_timeout_while(self.cuenta(), plazo, |cuenta| *cuenta > 0)
            .unwrap_or_else(PoisonError::into_inner);
        *cuenta
    }

    fn cuenta(&self) -> MutexGuard<'_, usize> {
        self.en_curso.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ctrl+C, SIGTERM o el cierre de la ventana avisan por el canal, con lo que se puede esperar a los
/// mensajes en curso; la segunda vez se sale ya.
pub fn atender_interrupciones(parada: &Arc<Parada>) -> Result<Receiver<Duration>, Box<dyn Error>> {
    let (aviso, pedida) = channel();
    let parada = Arc::clone(parada);
    let pedir_parada = move |plazo| {
        if parada.manejar_interrupcion() {
            process::exit(1);
        }
        info!("Recibida Señal de Detención. Deteniendo el Servidor...");
        // Si nadie escucha el aviso, el programa ya está saliendo.
        let _ = aviso.send(plazo);
    };
    let al_cerrar = pedir_parada.clone();
    ctrlc::set_handler(move || pedir_parada(PLAZO_DE_PARADA))?;
    ventana::al_cerrar(move || al_cerrar(PLAZO_AL_CERRAR))?;
    Ok(pedida)
}

impl Drop for EnCurso<'_> {
    fn drop(&mut self) {
        *self.0.cuenta() -= 1;
        // Avisar es una llamada al sistema por mensaje, y solo la parada espera el aviso.
        if self.0.pedida() {
            self.0.menos.notify_all();
        }
    }
}
