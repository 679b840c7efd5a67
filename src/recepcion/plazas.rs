//! Las plazas: cuántas conexiones caben, y que nadie deje fuera a otro.
//!
//! Quien llega con todo ocupado espera un poco: la suya puede ser la que está acabando. Si no tiene
//! ninguna, se le da la que más tiempo lleva ociosa de quien más tiene. No sabe qué se habla en una
//! conexión ni quién puede entrar.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cerrojo::tomar;

/// Cuánto espera quien ya tiene otra plaza: de sobra para que se vea que la dejó.
const ESPERA_DE_QUIEN_TIENE: Duration = Duration::from_secs(5);
/// Cuánto espera quien no tiene ninguna.
const ESPERA_DE_QUIEN_NO_TIENE: Duration = Duration::from_secs(90);
/// A quien solo tiene una no se le quita antes de este ocio: quizá hay más equipos que plazas.
const OCIO_DE_QUIEN_TIENE_UNA: Duration = Duration::from_mins(1);
/// Cada cuánto mira quien espera si alguien lleva ya bastante ocioso.
const CADA_INTENTO: Duration = Duration::from_secs(1);
/// Cada cuánto mira una conexión que calla si ha perdido su plaza: en Windows nadie la despierta.
pub(super) const CADA_MIRADA: Duration = Duration::from_secs(20);
/// Cuántas conexiones pueden esperar plaza a la vez; nunca más que plazas hay…
const MAX_EN_ESPERA: usize = 64;
/// …y cuántas de un mismo equipo.
const MAX_EN_ESPERA_DE_UNO: usize = 4;

/// Qué hace una conexión, para saber si se le puede quitar la plaza.
#[derive(Debug)]
pub struct Actividad {
    estado: AtomicU8,
    /// Cuándo entró o acabó su último mensaje.
    ultimo: Mutex<Instant>,
}

const OCIOSA: u8 = 0;
const A_MEDIAS: u8 = 1;
const OCUPADA: u8 = 2;
const PERDIDA: u8 = 3;

impl Default for Actividad {
    fn default() -> Actividad {
        Actividad {
            estado: AtomicU8::new(OCIOSA),
            ultimo: Mutex::new(Instant::now()),
        }
    }
}

impl Actividad {
    /// La conexión se queda leyendo, con un mensaje `a_medias` o sin nada pendiente. `false`: ha
    /// perdido su plaza y debe acabar.
    pub(super) fn leer(&self, a_medias: bool) -> bool {
        self.pasar_a(if a_medias { A_MEDIAS } else { OCIOSA })
    }

    /// Llegaron bytes y se van a atender. `false`: ha perdido su plaza, y lo que no se acuse lo
    /// enviará otra vez el equipo.
    pub(super) fn atender(&self) -> bool {
        self.pasar_a(OCUPADA)
    }

    /// Acaba de entregar un mensaje: su ocio vuelve a contar.
    pub(super) fn anotar(&self, ahora: Instant) {
        *tomar(&self.ultimo) = ahora;
    }

    fn ocio(&self, ahora: Instant) -> Duration {
        let ultimo = *tomar(&self.ultimo);
        ahora.saturating_duration_since(ultimo)
    }

    /// Si ha perdido su plaza.
    pub(super) fn es_perdida(&self) -> bool {
        self.estado.load(Ordering::Relaxed) == PERDIDA
    }

    fn pasar_a(&self, nuevo: u8) -> bool {
        let cambiar = |actual| (actual != PERDIDA).then_some(nuevo);
        self.estado
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, cambiar)
            .is_ok()
    }

    /// Le quita la plaza, si está en ese estado.
    fn quitar(&self, estado: u8) -> bool {
        self.estado
            .compare_exchange(estado, PERDIDA, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// Las plazas de un puerto.
#[derive(Debug)]
pub(super) struct Plazas {
    max: usize,
    estado: Mutex<Estado>,
    menos: Condvar,
}

#[derive(Debug, Default)]
struct Estado {
    /// Las conexiones que tienen plaza, por su número: las primeras llegaron antes.
    ocupadas: HashMap<u64, Ocupada>,
    /// Cuántas esperan, de cada equipo.
    en_espera: HashMap<String, usize>,
    siguiente: u64,
}

#[derive(Debug)]
struct Ocupada {
    quien: String,
    canal: Arc<TcpStream>,
    actividad: Arc<Actividad>,
}

/// El derecho a una conexión; se devuelve al acabar, también por un pánico.
#[derive(Debug)]
pub(super) struct Plaza {
    numero: u64,
    plazas: Arc<Plazas>,
    /// Qué hace la conexión.
    pub(super) actividad: Arc<Actividad>,
}

/// El derecho a esperar una plaza.
#[derive(Debug)]
pub(super) struct Turno {
    plazas: Arc<Plazas>,
    quien: String,
}

/// Lo que se contesta a quien pide plaza.
#[derive(Debug)]
pub(super) enum Pedido {
    Plaza(Plaza),
    Turno(Turno),
    /// No cabe, ni esperando.
    Completo,
}

/// A quién se quitó una plaza, y cuánto llevaba sin entregar nada.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Despedida {
    pub(super) quien: String,
    pub(super) ocio: Duration,
}

impl Plazas {
    pub(super) fn new(max: usize) -> Arc<Plazas> {
        Arc::new(Plazas {
            max,
            estado: Mutex::default(),
            menos: Condvar::new(),
        })
    }

    /// Pide plaza para una conexión de `quien`.
    pub(super) fn pedir(self: &Arc<Plazas>, quien: &str, canal: &Arc<TcpStream>) -> Pedido {
        let mut estado = tomar(&self.estado);
        if estado.ocupadas.len() < self.max {
            return Pedido::Plaza(self.ocupar(&mut estado, quien, canal));
        }
        let en_espera: usize = estado.en_espera.values().sum();
        let suyas = estado.en_espera.get(quien).copied().unwrap_or_default();
        if en_espera >= MAX_EN_ESPERA.min(self.max) || suyas >= MAX_EN_ESPERA_DE_UNO {
            return Pedido::Completo;
        }
        estado.en_espera.insert(quien.to_owned(), suyas + 1);
        Pedido::Turno(Turno {
            plazas: Arc::clone(self),
            quien: quien.to_owned(),
        })
    }

    fn ocupar(
        self: &Arc<Plazas>,
        estado: &mut Estado,
        quien: &str,
        canal: &Arc<TcpStream>,
    ) -> Plaza {
        let numero = estado.siguiente;
        estado.siguiente += 1;
        let actividad = Arc::new(Actividad::default());
        estado.ocupadas.insert(
            numero,
            Ocupada {
                quien: quien.to_owned(),
                canal: Arc::clone(canal),
                actividad: Arc::clone(&actividad),
            },
        );
        Plaza {
            numero,
            plazas: Arc::clone(self),
            actividad,
        }
    }
}

impl Estado {
    /// Quita su plaza a la que más tiempo lleva sin entregar nada de quien más tiene; antes a una
    /// ociosa que a una con un mensaje a medias, y nunca a una que se está atendiendo.
    fn quitar_una(&mut self, ahora: Instant) -> Option<Despedida> {
        let mut cuantas: HashMap<&str, usize> = HashMap::new();
        for ocupada in self.ocupadas.values() {
            *cuantas.entry(&ocupada.quien).or_default() += 1;
        }
        let mut candidatas: Vec<_> = self
            .ocupadas
            .iter()
            .map(|(numero, ocupada)| {
                (
                    cuantas[ocupada.quien.as_str()],
                    ocupada.actividad.ocio(ahora),
                    *numero,
                )
            })
            .filter(|(suyas, ocio, _)| *suyas > 1 || *ocio >= OCIO_DE_QUIEN_TIENE_UNA)
            .collect();
        candidatas.sort_unstable_by_key(|(suyas, ocio, numero)| {
            (Reverse(*suyas), Reverse(*ocio), *numero)
        });
        let mut en_orden = [OCIOSA, A_MEDIAS].into_iter().flat_map(|estado| {
            let numeros = candidatas.iter().map(|(.., numero)| *numero);
            numeros.map(move |numero| (estado, numero))
        });
        let (_, numero) =
            en_orden.find(|(estado, numero)| self.ocupadas[numero].actividad.quitar(*estado))?;
        let despedida = self.ocupadas.remove(&numero)?;
        // Si ya estaba rota, acabará igual. En Windows esto no despierta a quien lee: mirará él.
        let _ = despedida.canal.shutdown(Shutdown::Both);
        Some(Despedida {
            ocio: despedida.actividad.ocio(ahora),
            quien: despedida.quien,
        })
    }

    fn tiene(&self, quien: &str) -> bool {
        self.ocupadas.values().any(|ocupada| ocupada.quien == quien)
    }
}

impl Turno {
    /// Espera una plaza, y dice a quién se le quitó, si hubo que hacerlo. `None`: no la hay.
    pub(super) fn esperar(self, canal: &Arc<TcpStream>) -> Option<(Plaza, Option<Despedida>)> {
        let comienzo = Instant::now();
        let mut estado = tomar(&self.plazas.estado);
        loop {
            let ahora = Instant::now();
            let tiene = estado.tiene(&self.quien);
            let despedida = if estado.ocupadas.len() < self.plazas.max || tiene {
                None
            } else {
                estado.quitar_una(ahora)
            };
            if estado.ocupadas.len() < self.plazas.max {
                let plaza = self.plazas.ocupar(&mut estado, &self.quien, canal);
                // `self` toma el cerrojo al soltarse.
                drop(estado);
                return Some((plaza, despedida));
            }
            let paciencia = if tiene {
                ESPERA_DE_QUIEN_TIENE
            } else {
                ESPERA_DE_QUIEN_NO_TIENE
            };
            if ahora.saturating_duration_since(comienzo) >= paciencia {
                drop(estado);
                return None;
            }
            (estado, _) = self
                .plazas
                .menos
                .wait_timeout(estado, CADA_INTENTO)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turno {
    fn drop(&mut self) {
        let mut estado = tomar(&self.plazas.estado);
        if let Some(suyas) = estado.en_espera.get_mut(&self.quien) {
            *suyas -= 1;
            if *suyas == 0 {
                estado.en_espera.remove(&self.quien);
            }
        }
    }
}

impl Drop for Plaza {
    fn drop(&mut self) {
        tomar(&self.plazas.estado).ocupadas.remove(&self.numero);
        self.plazas.menos.notify_all();
    }
}
