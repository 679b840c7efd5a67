//! La parada: la bandera que levanta Ctrl+C y la cuenta de los mensajes que están en curso.
//!
//! Nadie despierta a una lectura bloqueada: en Windows no hay modo seguro de hacerlo, y quien
//! solo espera no tiene nada que perder; su hilo acaba con el proceso. Que un mensaje acusado
//! esté a salvo no depende de esta parada, sino de que se guarda antes de acusarlo.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cerrojo::tomar;

/// La bandera del programa de Python: una vez levantada no comienza ningún mensaje más.
pub static APAGAR_SERVER: AtomicBool = AtomicBool::new(false);

/// Cuánto espera, del plazo de la parada, a los que ya están guardados y solo falta acusar.
const PLAZO_DE_ACUSE: Duration = Duration::from_secs(1);

/// La bandera a la que se obedece y los mensajes en curso.
#[derive(Debug)]
pub struct Parada {
    bandera: &'static AtomicBool,
    cuenta: Mutex<Cuenta>,
    menos: Condvar,
    sin_comenzar: AtomicUsize,
    a_medias: AtomicUsize,
}

#[derive(Debug, Default)]
struct Cuenta {
    guardando: usize,
    acusando: usize,
    /// Los que ya no se guardan.
    acabados: u64,
}

/// Lo que se guarda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avance {
    /// Cuántos mensajes se guardan ahora.
    pub(super) guardando: usize,
    /// Cuántos se han acabado de guardar, o no se pudo, desde el arranque.
    pub(super) acabados: u64,
}

/// Un mensaje que se está guardando o acusando; la parada lo espera.
#[derive(Debug)]
pub struct EnCurso<'a> {
    parada: &'a Parada,
    acusando: bool,
}

/// Un mensaje que aún no ha acabado de llegar; la parada no lo espera.
#[derive(Debug)]
pub(super) struct AMedias<'a>(&'a Parada);

impl Parada {
    /// Una parada que nadie ha pedido, si `bandera` está bajada.
    #[must_use]
    pub const fn new(bandera: &'static AtomicBool) -> Parada {
        Parada {
            bandera,
            cuenta: Mutex::new(Cuenta {
                guardando: 0,
                acusando: 0,
                acabados: 0,
            }),
            menos: Condvar::new(),
            sin_comenzar: AtomicUsize::new(0),
            a_medias: AtomicUsize::new(0),
        }
    }

    /// Levanta la bandera. Devuelve si ya estaba levantada: es la segunda vez que se pide. En el
    /// programa de Python, `manejar_interrupcion`.
    pub fn manejar_interrupcion(&self) -> bool {
        let _cuenta = tomar(&self.cuenta);
        self.bandera.swap(true, Ordering::Relaxed)
    }

    /// Si ya se pidió parar.
    pub(crate) fn pedida(&self) -> bool {
        self.bandera.load(Ordering::Relaxed)
    }

    /// Anuncia que comienza un mensaje; `None` si ya se pidió parar: no se acusa y el equipo lo
    /// enviará de nuevo.
    #[must_use]
    pub fn comenzar(&self) -> Option<EnCurso<'_>> {
        // La bandera se mira con la cuenta tomada: entre mirar y contar no cabe una parada.
        let mut cuenta = tomar(&self.cuenta);
        if self.pedida() {
            return None;
        }
        cuenta.guardando += 1;
        Some(EnCurso {
            parada: self,
            acusando: false,
        })
    }

    pub(super) fn avance(&self) -> Avance {
        let cuenta = tomar(&self.cuenta);
        Avance {
            guardando: cuenta.guardando,
            acabados: cuenta.acabados,
        }
    }

    /// Anuncia que un mensaje que ya llegó, `entero` o no, no comenzará.
    pub(super) fn no_comienza(&self, entero: bool) {
        let cuenta = if entero {
            &self.sin_comenzar
        } else {
            &self.a_medias
        };
        cuenta.fetch_add(1, Ordering::Relaxed);
    }

    /// Cuántos mensajes habían llegado y no comenzaron.
    pub(super) fn sin_comenzar(&self) -> usize {
        self.sin_comenzar.load(Ordering::Relaxed)
    }

    /// Anuncia que un mensaje está llegando, hasta que se suelte lo que devuelve.
    pub(super) fn llega_a_medias(&self) -> AMedias<'_> {
        self.a_medias.fetch_add(1, Ordering::Relaxed);
        AMedias(self)
    }

    /// Cuántos mensajes no han acabado de llegar.
    pub(super) fn a_medias(&self) -> usize {
        self.a_medias.load(Ordering::Relaxed)
    }

    /// Espera a que acaben los mensajes en curso, a lo sumo `plazo`; devuelve cuántos quedan. A los que
    /// ya solo falta acusar los espera menos: si su equipo no lee, no leerá.
    #[must_use]
    pub fn esperar(&self, plazo: Duration) -> usize {
        let limite = Instant::now() + plazo;
        let (cuenta, _) = self
            .menos
            .wait_timeout_while(tomar(&self.cuenta), plazo, |cuenta| cuenta.guardando > 0)
            .unwrap_or_else(PoisonError::into_inner);
        let resto = limite.saturating_duration_since(Instant::now());
        let (cuenta, _) = self
            .menos
            .wait_timeout_while(cuenta, resto.min(PLAZO_DE_ACUSE), |cuenta| {
                cuenta.guardando + cuenta.acusando > 0
            })
            .unwrap_or_else(PoisonError::into_inner);
        cuenta.guardando + cuenta.acusando
    }

    /// Avisar es una llamada al sistema por mensaje, y solo la parada espera el aviso.
    fn avisar(&self) {
        if self.pedida() {
            self.menos.notify_all();
        }
    }
}

impl Cuenta {
    fn guardado(&mut self) {
        self.guardando -= 1;
        self.acabados += 1;
    }
}

impl EnCurso<'_> {
    /// El mensaje ya está a salvo, o ya se sabe que no lo estará: solo falta acusarlo.
    pub fn acusar(&mut self) {
        if !self.acusando {
            self.acusando = true;
            let mut cuenta = tomar(&self.parada.cuenta);
            cuenta.guardado();
            cuenta.acusando += 1;
            self.parada.avisar();
        }
    }
}

impl Drop for AMedias<'_> {
    fn drop(&mut self) {
        self.0.a_medias.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for EnCurso<'_> {
    fn drop(&mut self) {
        let mut cuenta = tomar(&self.parada.cuenta);
        if self.acusando {
            cuenta.acusando -= 1;
        } else {
            cuenta.guardado();
        }
        self.parada.avisar();
    }
}
