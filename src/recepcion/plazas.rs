//! Las plazas: cuántas conexiones caben, y que nadie deje fuera a otro.
//!
//! Quien llega con todo ocupado espera un poco: la suya puede ser la que está acabando. Si no tiene
//! ninguna, se le da una de quien más tiene, la que más tiempo lleva ociosa. No sabe qué se habla en una
//! conexión ni quién puede entrar.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cerrojo::tomar;
use crate::recepcion::presencia;

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
/// Cuántas conexiones de quienes no tienen plaza pueden esperarla a la vez; nunca más que plazas hay…
const MAX_EN_ESPERA: usize = 64;
/// …y cuántas de uno mismo. De quien tiene, tantas como tiene: puede estar cerrándolas todas.
const MAX_EN_ESPERA_DE_UNO: usize = 4;

/// Qué hace una conexión, en el orden en que se le puede quitar la plaza.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Haciendo {
    /// Calla, sin nada pendiente.
    Ociosa,
    /// Calla con un mensaje a medias.
    AMedias,
    /// Se atiende lo que llegó.
    Ocupada,
    /// Ha perdido su plaza.
    Perdida,
}

/// Qué hace una conexión, y cuándo entró o acabó su último mensaje.
#[derive(Debug)]
pub struct Actividad(Mutex<(Haciendo, Instant)>);

impl Default for Actividad {
    fn default() -> Actividad {
        Actividad(Mutex::new((Haciendo::Ociosa, Instant::now())))
    }
}

impl Actividad {
    /// La conexión se queda leyendo, con un mensaje `a_medias` o sin nada pendiente. `false`: ha
    /// perdido su plaza y debe acabar.
    pub(super) fn leer(&self, a_medias: bool) -> bool {
        self.pasar_a(if a_medias {
            Haciendo::AMedias
        } else {
            Haciendo::Ociosa
        })
    }

    /// Llegaron bytes y se van a atender. `false`: ha perdido su plaza, y a lo que llegó ya no se le
    /// contesta.
    pub(super) fn atender(&self) -> bool {
        self.pasar_a(Haciendo::Ocupada)
    }

    /// Acaba de entregar un mensaje: su ocio vuelve a contar.
    pub(super) fn anotar(&self, ahora: Instant) {
        tomar(&self.0).1 = ahora;
    }

    /// Si ha perdido su plaza.
    pub(super) fn es_perdida(&self) -> bool {
        tomar(&self.0).0 == Haciendo::Perdida
    }

    fn pasar_a(&self, nuevo: Haciendo) -> bool {
        self.cambiar(|haciendo| haciendo != Haciendo::Perdida, nuevo)
    }

    /// Qué hace, y cuánto lleva sin entregar nada.
    fn mirar(&self, ahora: Instant) -> (Haciendo, Duration) {
        let (haciendo, ultimo) = *tomar(&self.0);
        (haciendo, ahora.saturating_duration_since(ultimo))
    }

    /// Le quita la plaza, si aún hace eso.
    fn quitar(&self, visto: Haciendo) -> bool {
        self.cambiar(|haciendo| haciendo == visto, Haciendo::Perdida)
    }

    fn cambiar(&self, se_puede: impl FnOnce(Haciendo) -> bool, nuevo: Haciendo) -> bool {
        let haciendo = &mut tomar(&self.0).0;
        let cambia = se_puede(*haciendo);
        if cambia {
            *haciendo = nuevo;
        }
        cambia
    }
}

/// Las plazas de un puerto.
#[derive(Debug)]
pub(super) struct Plazas {
    max: usize,
    reparto: Mutex<Reparto>,
    menos: Condvar,
}

#[derive(Debug, Default)]
struct Reparto {
    /// Las conexiones que tienen plaza, por su número: las primeras llegaron antes.
    ocupadas: HashMap<u64, Ocupada>,
    /// Lo que tiene cada equipo que tiene algo.
    equipos: HashMap<String, Cuenta>,
    siguiente: u64,
}

/// Cuántas conexiones de un equipo tienen plaza, y cuántas la esperan.
#[derive(Debug, Default)]
struct Cuenta {
    plazas: usize,
    en_espera: usize,
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
}

/// A quién se quitó una plaza, cuántas tenía, y cuánto llevaba sin entregar nada por ella.
#[derive(Debug)]
pub(super) struct Despedida {
    pub(super) quien: String,
    pub(super) tenia: usize,
    pub(super) ocio: Duration,
}

impl Plazas {
    pub(super) fn new(max: usize) -> Arc<Plazas> {
        Arc::new(Plazas {
            max,
            reparto: Mutex::default(),
            menos: Condvar::new(),
        })
    }

    /// Pide plaza para una conexión de `quien`; `None` si no cabe, ni esperando.
    pub(super) fn pedir(self: &Arc<Plazas>, quien: &str, canal: &Arc<TcpStream>) -> Option<Pedido> {
        let mut reparto = tomar(&self.reparto);
        if reparto.ocupadas.len() < self.max {
            return Some(Pedido::Plaza(self.ocupar(&mut reparto, quien, canal)));
        }
        let sin_plaza = reparto.equipos.values().filter(|cuenta| cuenta.plazas == 0);
        let esperan: usize = sin_plaza.map(|cuenta| cuenta.en_espera).sum();
        let cuenta = reparto.equipos.entry(quien.to_owned()).or_default();
        let cabe = if cuenta.plazas > 0 {
            cuenta.en_espera < cuenta.plazas
        } else {
            cuenta.en_espera < MAX_EN_ESPERA_DE_UNO && esperan < MAX_EN_ESPERA.min(self.max)
        };
        if !cabe {
            reparto.olvidar_si_no_tiene(quien);
            return None;
        }
        cuenta.en_espera += 1;
        Some(Pedido::Turno(Turno {
            plazas: Arc::clone(self),
            quien: quien.to_owned(),
        }))
    }

    fn ocupar(
        self: &Arc<Plazas>,
        reparto: &mut Reparto,
        quien: &str,
        canal: &Arc<TcpStream>,
    ) -> Plaza {
        let numero = reparto.siguiente;
        reparto.siguiente += 1;
        reparto.equipos.entry(quien.to_owned()).or_default().plazas += 1;
        let actividad = Arc::new(Actividad::default());
        reparto.ocupadas.insert(
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

impl Reparto {
    /// Quita una plaza a quien más tiene: la que más tiempo lleva sin entregar nada, antes ociosa que
    /// con un mensaje a medias. La que se está atendiendo es la última, acaba lo que atiende y solo se
    /// quita a quien tiene otra.
    fn quitar_una(&mut self, ahora: Instant) -> Option<Despedida> {
        let mut candidatas: Vec<_> = self
            .ocupadas
            .iter()
            .map(|(numero, ocupada)| {
                let suyas = self.equipos.get(&ocupada.quien).map_or(0, |c| c.plazas);
                let (haciendo, ocio) = ocupada.actividad.mirar(ahora);
                (suyas, haciendo, ocio, *numero)
            })
            .filter(|(suyas, haciendo, ocio, _)| {
                *suyas > 1 || (*haciendo != Haciendo::Ocupada && *ocio >= OCIO_DE_QUIEN_TIENE_UNA)
            })
            .collect();
        candidatas.sort_unstable_by_key(|(suyas, haciendo, ocio, numero)| {
            (Reverse(*suyas), *haciendo, Reverse(*ocio), *numero)
        });
        // La que ya hace otra cosa no es la que se eligió.
        let (tenia, haciendo, ocio, numero) = candidatas
            .into_iter()
            .find(|(_, haciendo, _, numero)| self.ocupadas[numero].actividad.quitar(*haciendo))?;
        let despedida = self.dejar(numero)?;
        if haciendo != Haciendo::Ocupada {
            // Si ya estaba rota, acabará igual. En Windows esto no despierta a quien lee: mirará él.
            let _ = despedida.canal.shutdown(Shutdown::Both);
        }
        Some(Despedida {
            quien: despedida.quien,
            tenia,
            ocio,
        })
    }

    /// Deja libre esa plaza, si no lo estaba.
    fn dejar(&mut self, numero: u64) -> Option<Ocupada> {
        let ocupada = self.ocupadas.remove(&numero)?;
        if let Some(cuenta) = self.equipos.get_mut(&ocupada.quien) {
            cuenta.plazas -= 1;
        }
        self.olvidar_si_no_tiene(&ocupada.quien);
        Some(ocupada)
    }

    fn olvidar_si_no_tiene(&mut self, quien: &str) {
        let nada = |cuenta: &Cuenta| cuenta.plazas + cuenta.en_espera == 0;
        if self.equipos.get(quien).is_some_and(nada) {
            self.equipos.remove(quien);
        }
    }

    fn tiene(&self, quien: &str) -> bool {
        let cuenta = self.equipos.get(quien);
        cuenta.is_some_and(|cuenta| cuenta.plazas > 0)
    }
}

impl Turno {
    /// Espera una plaza, y dice a quién se le quitó, si hubo que hacerlo. `None`: no la hay, o quien la
    /// esperaba se fue.
    pub(super) fn esperar(self, canal: &Arc<TcpStream>) -> Option<(Plaza, Option<Despedida>)> {
        let comienzo = Instant::now();
        let mut reparto = tomar(&self.plazas.reparto);
        loop {
            // Quien ya no está no le quita a nadie la suya, ni a quien espera detrás su turno.
            if presencia::se_fue(canal) {
                drop(reparto);
                return None;
            }
            let ahora = Instant::now();
            let tiene = reparto.tiene(&self.quien);
            let despedida = if reparto.ocupadas.len() < self.plazas.max || tiene {
                None
            } else {
                reparto.quitar_una(ahora)
            };
            if reparto.ocupadas.len() < self.plazas.max {
                let plaza = self.plazas.ocupar(&mut reparto, &self.quien, canal);
                // `self` toma el cerrojo al soltarse.
                drop(reparto);
                return Some((plaza, despedida));
            }
            let paciencia = if tiene {
                ESPERA_DE_QUIEN_TIENE
            } else {
                ESPERA_DE_QUIEN_NO_TIENE
            };
            if ahora.saturating_duration_since(comienzo) >= paciencia {
                drop(reparto);
                return None;
            }
            (reparto, _) = self
                .plazas
                .menos
                .wait_timeout(reparto, CADA_INTENTO)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turno {
    fn drop(&mut self) {
        let mut reparto = tomar(&self.plazas.reparto);
        if let Some(cuenta) = reparto.equipos.get_mut(&self.quien) {
            cuenta.en_espera -= 1;
        }
        reparto.olvidar_si_no_tiene(&self.quien);
    }
}

impl Drop for Plaza {
    fn drop(&mut self) {
        tomar(&self.plazas.reparto).dejar(self.numero);
        self.plazas.menos.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::Haciendo::{AMedias, Ociosa, Ocupada};
    use super::*;

    fn canal() -> Arc<TcpStream> {
        let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Arc::new(TcpStream::connect(escucha.local_addr().unwrap()).unwrap())
    }

    /// Qué plaza se quita, de esas, a las dos horas: de quién es, qué hace y cuántos minutos lleva ociosa.
    fn quitada(ocupadas: &[(&str, Haciendo, u64)]) -> Option<usize> {
        let (plazas, ahora) = (Plazas::new(100), Instant::now());
        let dentro_de = |minutos| ahora + Duration::from_mins(minutos);
        let tomadas: Vec<_> = ocupadas
            .iter()
            .filter_map(|(quien, haciendo, ocio)| {
                let Some(Pedido::Plaza(plaza)) = plazas.pedir(quien, &canal()) else {
                    return None;
                };
                plaza.actividad.pasar_a(*haciendo);
                plaza.actividad.anotar(dentro_de(120 - ocio));
                Some(plaza)
            })
            .collect();
        tomar(&plazas.reparto).quitar_una(dentro_de(120))?;
        tomadas
            .iter()
            .position(|plaza| plaza.actividad.es_perdida())
    }

    #[test]
    fn se_quita_una_a_quien_mas_tiene_y_de_las_suyas_la_mas_ociosa() {
        let mias = [("A", Ociosa, 0), ("A", Ociosa, 3), ("A", Ociosa, 1)];
        assert_eq!(quitada(&mias), Some(1));
        // Quien tiene una y calla desde hace horas no la pierde por quien tiene tres a medias.
        let a_medias = [("B", Ociosa, 90), ("A", AMedias, 0), ("A", AMedias, 2)];
        assert_eq!(quitada(&a_medias), Some(2));
        let ociosa = [("A", AMedias, 9), ("A", Ocupada, 9), ("A", Ociosa, 0)];
        assert_eq!(quitada(&ociosa), Some(2));
        // Ni por quien las tiene todas ocupadas, que se van cuando acaben lo que hacen.
        let ocupadas = [("B", Ociosa, 90), ("A", Ocupada, 0), ("A", Ocupada, 0)];
        assert_eq!(quitada(&ocupadas), Some(1));
        // Si nadie tiene más de una, pierde la suya la que lleva un minuto ociosa; la ocupada, nunca.
        assert_eq!(quitada(&[("A", Ociosa, 0), ("B", Ociosa, 0)]), None);
        assert_eq!(quitada(&[("A", Ociosa, 1), ("B", Ociosa, 2)]), Some(1));
        assert_eq!(quitada(&[("A", Ocupada, 90)]), None);
    }

    #[test]
    fn esperan_tantas_como_plazas_se_tienen_y_nadie_deja_sin_turno_a_quien_no_tiene() {
        let plazas = Plazas::new(6);
        let pedir = |quien| plazas.pedir(quien, &canal());
        let mut suyas: Vec<_> = (0..6).map(|_| pedir("A")).collect();
        let espera = |pedido: &Option<_>| matches!(pedido, Some(Pedido::Turno(_)));
        suyas.extend((0..6).map(|_| pedir("A")));
        assert!(suyas[6..].iter().all(espera));
        assert!(pedir("A").is_none());
        let otros: Vec<_> = (0..MAX_EN_ESPERA_DE_UNO).map(|_| pedir("B")).collect();
        assert!(otros.iter().all(espera));
        assert!(pedir("B").is_none());
        assert!(espera(&pedir("C")));
        drop((suyas, otros));
        let reparto = tomar(&plazas.reparto);
        assert!(reparto.equipos.is_empty() && reparto.ocupadas.is_empty());
    }

    /// A la red puede conectarse cualquiera, cada vez con otra dirección.
    #[test]
    fn no_esperan_mas_desconocidos_que_plazas_hay_y_del_que_no_cabe_no_queda_nada() {
        let plazas = Plazas::new(2);
        let pedir = |quien| plazas.pedir(quien, &canal());
        let caben = ["A", "A", "B", "C"].map(|quien| pedir(quien).unwrap());
        assert!(pedir("D").is_none());
        drop(caben);
        assert!(tomar(&plazas.reparto).equipos.is_empty());
    }

    #[test]
    fn quien_se_va_mientras_espera_deja_su_turno_y_no_le_quita_a_nadie_su_plaza() {
        let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let conectar = || {
            let equipo = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
            (equipo, Arc::new(escucha.accept().unwrap().0))
        };
        let plazas = Plazas::new(2);
        let pedir_turno = |quien, canal: &_| match plazas.pedir(quien, canal) {
            Some(Pedido::Turno(turno)) => Some(turno),
            _ => None,
        };
        let ocupadas = [0; 2].map(|_| plazas.pedir("A", &canal()));
        // Se fue antes de que le tocara: A tiene dos, y habría perdido una.
        let (fue, su_canal) = conectar();
        drop(fue);
        let turno = pedir_turno("B", &su_canal).unwrap();
        assert!(turno.esperar(&su_canal).is_none());
        for ocupada in &ocupadas {
            assert!(matches!(ocupada, Some(Pedido::Plaza(plaza)) if !plaza.actividad.es_perdida()));
        }
        // Se va mientras espera.
        let (se_va, su_canal) = conectar();
        let turno = pedir_turno("A", &su_canal).unwrap();
        let comienzo = Instant::now();
        thread::scope(|hilos| {
            let espera = hilos.spawn(|| turno.esperar(&su_canal).is_none());
            thread::sleep(CADA_INTENTO / 4);
            drop(se_va);
            assert!(espera.join().unwrap());
        });
        assert!(comienzo.elapsed() < ESPERA_DE_QUIEN_TIENE);
    }

    /// La que se está atendiendo aún tiene que contestar a lo que atiende.
    #[test]
    fn a_quien_pierde_su_plaza_se_le_corta_la_conexion_si_no_se_le_esta_atendiendo() {
        for (haciendo, se_corta) in [(Ociosa, true), (AMedias, true), (Ocupada, false)] {
            let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let plazas = Plazas::new(2);
            let conectar = |_| {
                let equipo = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
                let canal = Arc::new(escucha.accept().unwrap().0);
                let Some(Pedido::Plaza(plaza)) = plazas.pedir("A", &canal) else {
                    return None;
                };
                plaza.actividad.pasar_a(haciendo);
                Some((equipo, canal, plaza))
            };
            let conexiones: Vec<_> = (0..2).filter_map(conectar).collect();
            tomar(&plazas.reparto).quitar_una(Instant::now()).unwrap();
            let pierde = |(.., plaza): &&(_, _, Plaza)| plaza.actividad.es_perdida();
            let (_, canal, _) = conexiones.iter().find(pierde).unwrap();
            let escrito = (&**canal).write(b"acuse");
            assert_eq!(escrito.is_err(), se_corta, "{haciendo:?}");
        }
    }
}
