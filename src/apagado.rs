//! La parada: la bandera que levanta Ctrl+C y la cuenta de los mensajes que están en curso.
//!
//! Nadie despierta a una lectura bloqueada: en Windows no hay modo seguro de hacerlo, y quien
//! solo espera no tiene nada que perder; su hilo acaba con el proceso. Que un mensaje acusado
//! esté a salvo no depende de esta parada, sino de que se guarda antes de acusarlo.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// La bandera del programa de Python: una vez levantada no comienza ningún mensaje más.
pub static APAGAR_SERVER: AtomicBool = AtomicBool::new(false);

static EN_CURSO: Mutex<usize> = Mutex::new(0);
static MENOS: Condvar = Condvar::new();

/// Mensajes que se están guardando o acusando; la parada los espera.
#[derive(Debug)]
pub struct EnCurso(usize);

/// Levanta la bandera. Devuelve si ya estaba levantada: es la segunda vez que se pide.
pub fn manejar_interrupcion() -> bool {
    let _cuenta = cuenta();
    APAGAR_SERVER.swap(true, Ordering::Relaxed)
}

/// Anuncia que comienzan unos mensajes; `None` si ya se pidió parar: no se acusan y el equipo los
/// enviará de nuevo.
#[must_use]
pub fn comenzar(cuantos: usize) -> Option<EnCurso> {
    // La bandera se mira con la cuenta tomada: entre mirar y contar no cabe una parada.
    let mut cuenta = cuenta();
    if APAGAR_SERVER.load(Ordering::Relaxed) {
        return None;
    }
    *cuenta += cuantos;
    Some(EnCurso(cuantos))
}

/// Espera a que acaben los mensajes en curso, a lo sumo `plazo`; devuelve cuántos quedan.
#[must_use]
pub fn esperar(plazo: Duration) -> usize {
    let (cuenta, _) = MENOS
        .wait_timeout_while(cuenta(), plazo, |cuenta| *cuenta > 0)
        .unwrap_or_else(PoisonError::into_inner);
    *cuenta
}

impl Drop for EnCurso {
    fn drop(&mut self) {
        let mut cuenta = cuenta();
        *cuenta -= self.0;
        // Avisar es una llamada al sistema por mensaje, y solo la parada espera el aviso.
        if APAGAR_SERVER.load(Ordering::Relaxed) {
            MENOS.notify_all();
        }
    }
}

fn cuenta() -> MutexGuard<'static, usize> {
    EN_CURSO.lock().unwrap_or_else(PoisonError::into_inner)
}
