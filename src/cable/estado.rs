//! Lo que un [`Lector`] recuerda de una conexión, y lo que de ello preguntan quienes lo leen. No decide
//! cuándo empieza ni dónde acaba nada.

use std::time::{Duration, Instant};

use memchr::memchr;

use super::bufer::Bufer;
use super::indicio::Muestra;
use super::intercalado::{Intercalados, TEXTO_MINIMO_BYTES, es_texto};
use super::trama::{Envoltura, VACIO_BYTES, es_trama_vacia};
use crate::hl7::comienzo::{
    self, Comienzo, EXTRANOS_BYTES, abre_creible, abre_tras_extranos, es_relleno, sin_relleno,
};
use crate::hl7::mensaje;
use crate::octetos::{ETX, FS, VT};

/// Cuánto se guarda de un mensaje que pasa del límite.
pub const COMIENZO_BYTES: usize = 64 * 1024;
/// Cuánto se mira de un mensaje en busca de su cabecera mientras se lee. Cabe lo que la precede, y de sobra.
const CABECERA_BYTES: usize = 4 * EXTRANOS_BYTES;
/// Cuántos bytes extraños se admiten entre un VT que está dentro de algo y la cabecera que le sigue.
const EXTRANOS_TRAS_VT_BYTES: usize = 8;

/// Hasta dónde se lee y cuánto se espera.
#[derive(Debug, Clone, Copy)]
pub struct Limites {
    /// Longitud máxima de un mensaje, en bytes.
    pub mensaje_bytes: usize,
    /// Silencio que cierra un mensaje sin trama que acaba en CR o LF.
    pub sin_trama: Duration,
    /// Silencio que da por abandonada una trama comenzada.
    pub incompleta: Duration,
}

/// Lo que impidió guardar un mensaje entero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tope {
    /// La longitud máxima de un mensaje.
    Limite,
    /// La memoria del PC.
    Memoria,
}

/// Por qué unos bytes no llegaron a ser un mensaje.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motivo {
    /// El equipo cerró la conexión a mitad de la trama.
    Cortado,
    /// El equipo calló a mitad de la trama, o es el resto de una trama así.
    Abandonado,
    /// El equipo empezó otra trama sin terminar esta.
    Reiniciado,
    /// Texto que llegó cuando su mensaje sin trama ya se había cerrado.
    Cola,
    /// Texto que llegó cuando su trama ya se había dado por acabada, porque el equipo calló tras un FS.
    ColaDeTrama,
}

/// Convierte los bytes de una conexión en sucesos.
///
/// Se usa en ciclo: [`Lector::siguiente`] hasta `None`; entonces se lee en [`Lector::hueco`]
/// durante [`Lector::espera`] y se avisa con [`Lector::avanzar`], [`Lector::vencer`],
/// [`Lector::cerrar`] o, si la conexión ya no sirve, [`Lector::cortar`].
#[derive(Debug)]
pub struct Lector {
    pub(super) limites: Limites,
    pub(super) bufer: Bufer,
    pub(super) estado: Estado,
    /// Hasta dónde se buscó ya el final de lo que se lee, desde su primer byte.
    pub(super) revisado: usize,
    /// Dónde está el FS o el ETX que acaba lo que se lee, si no le sigue texto.
    pub(super) cierre: Option<usize>,
    pub(super) exceso: Option<Exceso>,
    pub(super) pausa: Option<Pausa>,
    pub(super) muestra: Muestra,
    pub(super) intercalados: Intercalados,
    pub(super) stx: Stx,
    /// La apertura del último mensaje sin trama, o de la trama abandonada: la del siguiente será igual.
    pub(super) apertura: Vec<u8>,
    /// Cuántos bytes preceden a la cabecera de la trama que se lee, o de la abandonada…
    pub(super) distancia: usize,
    /// …y en cuántos se buscó, si aún se lee.
    pub(super) mirados: usize,
    /// Cuándo llegaron los últimos bytes.
    pub(super) ahora: Instant,
    /// Cuánto silencio ha vencido ya desde entonces.
    pub(super) callado: Duration,
    /// Desde cuándo el búfer ocupa bastante más que lo pendiente.
    pub(super) holgado: Option<Instant>,
    pub(super) rafagas: Rafagas,
    /// Desde cuándo se cuenta el silencio: los últimos bytes que no son un latido.
    pub(super) contado: Instant,
}

/// Dónde empieza, en lo pendiente, lo que llegó tras cada pausa.
#[derive(Debug, Default)]
pub(super) struct Rafagas {
    anterior: usize,
    /// Cero si no hay ninguna, o ya se miró.
    pub(super) ultima: usize,
}

impl Rafagas {
    /// Tras una pausa llega algo ahí.
    pub(super) fn empezar(&mut self, desde: usize) {
        (self.anterior, self.ultima) = (self.ultima, desde);
    }

    /// Salen de lo pendiente sus primeros bytes.
    pub(super) fn soltar(&mut self, cuantos: usize) {
        self.anterior = self.anterior.saturating_sub(cuantos);
        self.ultima = self.ultima.saturating_sub(cuantos);
    }

    /// Si alguna de las dos últimas empieza ahí.
    pub(super) fn hay_en(&self, p: usize) -> bool {
        [self.anterior, self.ultima].contains(&p)
    }

    /// Dónde está la penúltima, si la última comienza igual, sin mirar antes de `desde`.
    pub(super) fn repetida(
        &self,
        pendiente: &[u8],
        desde: usize,
    ) -> Option<std::ops::Range<usize>> {
        let anterior = self.anterior.max(desde)..self.ultima;
        let repetido = pendiente.get(self.ultima..)?;
        let texto = pendiente.get(anterior.clone())?;
        (!texto.is_empty() && repetido.starts_with(texto)).then_some(anterior)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Estado {
    /// Entre mensajes.
    Ruido(Antes),
    /// Dentro de una trama con esa envoltura.
    Trama(Envoltura),
    /// Lo que sigue a una trama abandonada, hasta su fin: no abre nada.
    Resto(Envoltura),
    /// Dentro de un mensaje sin trama, o de su cola.
    SinTrama(SinTrama),
}

/// Qué hubo antes del ruido: de eso depende qué puede abrir un mensaje.
#[derive(Debug, Clone, Copy)]
pub(super) enum Antes {
    /// Nada, o una trama: lo que venga no puede ser sino un comienzo.
    Nada,
    /// Un texto que no es HL7.
    Texto,
    /// Un mensaje que acabó porque el equipo calló, o sin trama, con ese separador de campos: lo que venga
    /// puede ser su cola.
    Mensaje {
        envoltura: Envoltura,
        separador: u8,
        /// Hay un texto pendiente del que aún no se sabe qué es.
        en_duda: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SinTrama {
    /// Si es la cola de un mensaje ya acabado, cómo viajó este.
    pub(super) cola_de: Option<Envoltura>,
    /// Un STX lo precedía, en una conexión donde el STX es un latido: si acaba en ETX, era una trama.
    pub(super) puede_acabar_en_etx: bool,
    /// El segmento que cierra el lote, si es un lote: dentro de él, un MSH no empieza otro archivo.
    pub(super) fin_de_lote: Option<&'static [u8; 3]>,
    pub(super) separador: u8,
    pub(super) linea: Linea,
}

/// Lo que va de la línea que se está leyendo de un mensaje sin trama.
#[derive(Debug, Clone, Copy)]
pub(super) enum Linea {
    /// Es del mensaje.
    Suya,
    /// Nada todavía, o solo relleno, desde ahí.
    Vacia { desde: usize },
    /// Un texto sin separador de campos ni fin de línea: puede ser suyo o de un convertidor.
    Dudosa(Dudosa),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Dudosa {
    pub(super) desde: usize,
    /// Cuándo empezó a llegar.
    pub(super) cuando: Instant,
    pub(super) viene: Viene,
    /// Si es un texto ya conocido en la conexión, una o varias veces.
    pub(super) conocida: bool,
}

/// Tras qué viene una línea dudosa.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Viene {
    /// Tras el fin de la anterior, sin pausa.
    Seguida,
    /// Tras el fin de la anterior y una pausa.
    TrasPausa,
    /// Pegada a una línea del mensaje que no había acabado.
    Pegada,
}

/// Qué es en esta conexión un STX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stx {
    /// No se sabe: delante de una cabecera, el comienzo de una trama.
    Desconocido,
    /// Un latido entre mensajes.
    Latido,
    /// El comienzo de una trama: ya hubo una con su ETX.
    Trama,
}

/// Por qué no vendrán más bytes por ahora.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pausa {
    Silencio,
    Cierre,
    Corte,
}

/// Lo que ya se soltó de un mensaje que no cupo.
#[derive(Debug)]
pub(super) struct Exceso {
    pub(super) comienzo: Vec<u8>,
    pub(super) longitud: usize,
    pub(super) tope: Tope,
}

impl Exceso {
    pub(super) fn new(tope: Tope) -> Exceso {
        Exceso {
            comienzo: Vec::new(),
            longitud: 0,
            tope,
        }
    }

    pub(super) fn anotar(&mut self, bytes: &[u8]) {
        let falta = COMIENZO_BYTES - self.comienzo.len();
        let cabe = &bytes[..bytes.len().min(falta)];
        // Sin memoria ni para el comienzo, queda lo que haya, y nada que lo siga.
        let sigue = self.comienzo.len() == self.longitud;
        if sigue && self.comienzo.try_reserve(cabe.len()).is_ok() {
            self.comienzo.extend_from_slice(cabe);
        }
        self.longitud += bytes.len();
    }
}

impl Lector {
    /// Un lector para una conexión recién abierta.
    #[must_use]
    pub fn new(limites: Limites, ahora: Instant) -> Lector {
        Lector {
            limites,
            bufer: Bufer::new(),
            estado: Estado::Ruido(Antes::Nada),
            revisado: 0,
            cierre: None,
            exceso: None,
            pausa: None,
            muestra: Muestra::default(),
            intercalados: Intercalados::default(),
            stx: Stx::Desconocido,
            apertura: Vec::new(),
            distancia: 0,
            mirados: 0,
            ahora,
            callado: Duration::ZERO,
            holgado: None,
            rafagas: Rafagas::default(),
            contado: ahora,
        }
    }

    /// Si un silencio breve da por acabado lo que se lee: nada sigue a su FS o su ETX.
    pub(super) fn acaba_si_calla(&self) -> bool {
        self.cierre.is_some() && self.revisado == self.bufer.pendiente().len()
    }

    /// Si esa línea dudosa es de un convertidor: un texto conocido, o uno que llegó tras una pausa a
    /// una conexión donde ya los hubo.
    pub(super) fn es_intercalada(&self, linea: Dudosa) -> bool {
        linea.conocida || (linea.viene == Viene::TrasPausa && self.intercalados.hay())
    }

    /// Si una línea dudosa no es hasta ahora más que un latido que aún no se conoce.
    pub(super) fn es_latido_desde(&self, linea: Dudosa) -> bool {
        self.es_latido(linea.desde..self.bufer.pendiente().len())
    }

    /// Si ese tramo de lo pendiente no es más que un texto que ha llegado varias veces, con una pausa entre
    /// medias: un latido que aún no se conoce. Uno más corto podría ser un trozo de cualquier texto.
    pub(super) fn es_latido(&self, tramo: std::ops::Range<usize>) -> bool {
        let pendiente = self.bufer.pendiente();
        let Some(primero) = self.rafagas.repetida(pendiente, tramo.start) else {
            return false;
        };
        let vez = &pendiente[primero];
        let tramo = &pendiente[tramo];
        es_texto(vez[0])
            && vez.len() >= TEXTO_MINIMO_BYTES
            && tramo.len() >= 2 * vez.len()
            && tramo.chunks(vez.len()).all(|otra| otra == vez)
    }

    /// Si ha llegado parte de un mensaje, o de lo que lo parece, y falta el resto.
    #[must_use]
    pub fn hay_algo_a_medias(&self) -> bool {
        match self.estado {
            Estado::Ruido(_) => false,
            Estado::Trama(_) | Estado::Resto(_) => {
                let pendiente = self.bufer.pendiente();
                let hay_algo = pendiente.len() > VACIO_BYTES || !es_trama_vacia(pendiente);
                hay_algo || !self.esta_entero()
            }
            Estado::SinTrama(_) => true,
        }
    }

    /// Los primeros bytes de lo que se lee.
    pub(super) fn primeros(&self) -> &[u8] {
        match &self.exceso {
            Some(exceso) => &exceso.comienzo,
            None => self.bufer.pendiente(),
        }
    }

    /// Los bytes en que se busca la cabecera de lo que se lee, sin llegar a ese. Son pocos, porque se busca en
    /// mitad de un mensaje y muchas veces.
    fn comienzo_hasta(&self, p: usize) -> &[u8] {
        let primeros = match &self.exceso {
            Some(exceso) => &exceso.comienzo,
            None => &self.bufer.pendiente()[..p],
        };
        &primeros[..primeros.len().min(CABECERA_BYTES)]
    }

    /// Anota cuántos bytes preceden a la cabecera de lo que se lee, si está antes de ese byte. No la busca
    /// dos veces en los mismos: una trama puede llevar muchos VT.
    pub(super) fn notar_distancia(&mut self, p: usize) {
        let comienzo = self.comienzo_hasta(p);
        let mirados = comienzo.len();
        if mirados != self.mirados {
            self.distancia = mensaje::distancia(comienzo).unwrap_or_default();
            self.mirados = mirados;
        }
    }

    /// El separador de campos de lo que se lee, si se sabe antes de ese byte.
    pub(super) fn separador_hasta(&self, p: usize) -> Option<u8> {
        match self.estado {
            Estado::SinTrama(mensaje) => Some(mensaje.separador),
            Estado::Resto(_) => self.apertura.get(3).copied(),
            Estado::Ruido(_) | Estado::Trama(_) => mensaje::separador(self.comienzo_hasta(p)),
        }
    }

    /// Si de lo que se lee no hay más que lo pendiente.
    pub(super) fn esta_entero(&self) -> bool {
        self.exceso.is_none()
    }

    /// Si esos bytes comienzan otro mensaje en mitad de algo: una cabecera creíble, o una que empieza
    /// igual que la del mensaje que se lee o el anterior, en minúsculas o como sea.
    pub(super) fn abre_otro(&self, bytes: &[u8]) -> Comienzo {
        let abre = abre_creible(bytes);
        if abre != Comienzo::No || comienzo::abre(bytes) == Comienzo::No {
            return abre;
        }
        let apertura = match self.estado {
            Estado::Trama(_) | Estado::SinTrama(SinTrama { cola_de: None, .. }) => {
                // Tras unos bytes extraños solo hay una cabecera creíble, y otra igual también lo es.
                let suyos = self.comienzo_hasta(self.bufer.pendiente().len());
                comienzo::apertura(sin_relleno(suyos)).unwrap_or_default()
            }
            _ => &self.apertura,
        };
        if apertura.is_empty() {
            Comienzo::No
        } else if bytes.starts_with(apertura) {
            Comienzo::Si
        } else if apertura.starts_with(bytes) {
            Comienzo::Faltan
        } else {
            Comienzo::No
        }
    }

    /// Si a un VT que está dentro de algo le sigue otro mensaje.
    pub(super) fn abre_tras_vt(&self, bytes: &[u8]) -> Comienzo {
        match self.abre_cerca(bytes) {
            Comienzo::No => self.abre_a_su_distancia(bytes),
            abre => abre,
        }
    }

    /// Si a un VT que está dentro de una trama le sigue una cabecera tan lejos como estaba la de esa trama: hay
    /// equipos que ponen delante de cada mensaje su longitud, la hora o una línea suya.
    fn abre_a_su_distancia(&self, bytes: &[u8]) -> Comienzo {
        // Todas las cabeceras llevan una, y casi ningún VT que es un dato la tiene detrás.
        let cerca = &bytes[..bytes.len().min(CABECERA_BYTES)];
        if cerca.len() == CABECERA_BYTES && memchr(b'H', cerca).is_none() {
            return Comienzo::No;
        }
        let distancia = match self.estado {
            Estado::Trama(_) | Estado::Resto(_) => self.distancia,
            Estado::Ruido(_) | Estado::SinTrama(_) => 0,
        };
        let antes = &bytes[..bytes.len().min(distancia)];
        if distancia == 0 || self.acaba_en(antes) {
            return Comienzo::No;
        }
        bytes
            .get(distancia..)
            .map_or(Comienzo::Faltan, abre_creible)
    }

    /// Si a un VT que está dentro de algo le sigue, muy cerca, otro mensaje.
    fn abre_cerca(&self, bytes: &[u8]) -> Comienzo {
        // VT VT es un solo comienzo.
        let repetidos = bytes.iter().take_while(|o| **o == VT || es_relleno(**o));
        let repetidos = repetidos.take(EXTRANOS_TRAS_VT_BYTES).count();
        let desde = &bytes[repetidos..];
        match abre_tras_extranos(desde, EXTRANOS_TRAS_VT_BYTES) {
            // Dentro de algo, lo que lo acaba lo acaba también tras un VT.
            (abre, p) if abre == Comienzo::No || self.acaba_en(&bytes[..repetidos + p]) => {
                self.abre_otro(desde)
            }
            (abre, _) => abre,
        }
    }

    /// Si entre esos bytes hay uno que puede acabar lo que se lee.
    fn acaba_en(&self, bytes: &[u8]) -> bool {
        let con_etx = match self.estado {
            Estado::Trama(envoltura) | Estado::Resto(envoltura) => envoltura == Envoltura::StxEtx,
            Estado::SinTrama(mensaje) => mensaje.puede_acabar_en_etx,
            Estado::Ruido(_) => false,
        };
        bytes
            .iter()
            .any(|octeto| *octeto == FS || con_etx && *octeto == ETX)
    }

    /// La pausa que haya; un silencio solo cuenta una vez.
    pub(super) fn tomar_pausa(&mut self) -> Option<Pausa> {
        let pausa = self.pausa;
        if pausa == Some(Pausa::Silencio) {
            self.pausa = None;
        }
        pausa
    }
}
