//! De los bytes de una conexión a los mensajes: MLLP, STX … ETX, mensajes sin trama y ruido.
//!
//! [`Lector`] recibe bytes con la hora a la que llegan, un silencio o el cierre, y entrega
//! [`Suceso`]s. El resultado no depende de cómo TCP cortó los bytes, y el trabajo es lineal en su
//! número. No sabe de sockets, archivos, relojes ni registro. Aquí están sus estados y lo que entrega;
//! `ruido` dice cuándo empieza algo, y `finales`, dónde acaba.
//!
//! Fuente: HL7 v2.5.1 apéndice C (MLLP) y lo que hacen de veras los analizadores.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::bufer::{BUFER_BYTES, Bufer};
use super::finales::{Final, VACIO_BYTES, es_fin_de_segmento, es_trama_vacia};
use super::indicio::{Indicio, Muestra};
use super::intercalado::Intercalados;
use crate::hl7::comienzo::{self, Comienzo, abre_creible, abre_tras_extranos, es_relleno};

/// Comienzo de una trama MLLP.
pub(crate) const VT: u8 = 0x0B;
/// Fin de una trama MLLP, seguido de CR.
pub(crate) const FS: u8 = 0x1C;
/// Comienzo y fin de la trama que algunos equipos usan en lugar de MLLP.
pub(crate) const STX: u8 = 0x02;
pub(crate) const ETX: u8 = 0x03;

/// Cuánto se guarda de un mensaje que pasa del límite.
pub const COMIENZO_BYTES: usize = 64 * 1024;
/// Un equipo que envía FS sin CR espera ya su acuse: se le concede este silencio cuando el FS
/// cierra un segmento…
const GRACIA_TRAS_SEGMENTO: Duration = Duration::from_millis(300);
/// …y este otro cuando el FS podría ser un dato en mitad de un campo.
const GRACIA_EN_CAMPO: Duration = Duration::from_secs(1);
/// Silencio tras el cual un ruido corto ya se juzga con lo que hay.
const ESPERA_CORTA: Duration = Duration::from_secs(1);
/// Cuántos bytes extraños se admiten entre un VT que está dentro de algo y la cabecera que le sigue.
const EXTRANOS_TRAS_VT_BYTES: usize = 8;
/// Qué parte del silencio que cierra un mensaje sin trama es ya una pausa entre dos envíos.
const PARTES_DE_PAUSA: u32 = 4;
const PAUSA_MINIMA: Duration = Duration::from_millis(100);

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

/// Cómo viajó un mensaje; lo que se contesta viaja igual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envoltura {
    /// VT … FS CR.
    Mllp,
    /// STX … ETX.
    StxEtx,
    /// Sin trama.
    Ninguna,
}

/// Lo que hay en el cable, en orden de llegada.
#[derive(Debug, PartialEq, Eq)]
pub enum Suceso<'a> {
    /// Un mensaje entero, sin los bytes de su trama.
    Mensaje {
        /// El contenido, tal como llegó.
        bytes: &'a [u8],
        /// Cómo viajó.
        envoltura: Envoltura,
    },
    /// Un mensaje que no cupo y se leyó hasta su fin sin guardarlo.
    Excedido {
        /// Sus primeros bytes, a lo sumo [`COMIENZO_BYTES`].
        comienzo: Cow<'a, [u8]>,
        /// Su longitud entera, en bytes.
        longitud: usize,
        /// Cómo viajó.
        envoltura: Envoltura,
        /// Dónde no cupo.
        tope: Tope,
    },
    /// Bytes que no llegaron a ser un mensaje; no se acusan.
    Apartado {
        /// Lo recibido, o su comienzo si no cupo.
        bytes: Cow<'a, [u8]>,
        /// Por qué.
        motivo: Motivo,
    },
    /// El ruido dice qué habla el equipo; a lo sumo uno por conexión, y otro si hay un convertidor.
    Indicio(Indicio),
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
    /// Un mensaje sin trama, con ese separador de campos: lo que venga puede ser su cola.
    SinTrama {
        separador: u8,
        /// Hay un texto pendiente del que aún no se sabe qué es.
        en_duda: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SinTrama {
    pub(super) es_cola: bool,
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
    Dudosa {
        desde: usize,
        /// Cuándo empezó a llegar.
        cuando: Instant,
        /// Si le precedió una pausa.
        tras_pausa: bool,
        /// Si es un texto ya conocido en la conexión, una o varias veces.
        conocida: bool,
    },
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
struct Exceso {
    comienzo: Vec<u8>,
    longitud: usize,
    tope: Tope,
}

/// Convierte los bytes de una conexión en sucesos.
///
/// Se usa en ciclo: [`Lector::siguiente`] hasta `None`; entonces se lee en [`Lector::hueco`]
/// durante [`Lector::espera`] y se avisa con [`Lector::avanzar`], [`Lector::vencer`] o
/// [`Lector::cerrar`].
#[derive(Debug)]
pub struct Lector {
    pub(super) limites: Limites,
    pub(super) bufer: Bufer,
    pub(super) estado: Estado,
    /// Hasta dónde se buscó ya el final de lo que se lee, desde su primer byte.
    pub(super) revisado: usize,
    /// Dónde está el FS o el ETX que acaba lo que se lee, si no le sigue texto.
    pub(super) cierre: Option<usize>,
    exceso: Option<Exceso>,
    pausa: Option<Pausa>,
    pub(super) muestra: Muestra,
    pub(super) intercalados: Intercalados,
    pub(super) stx: Stx,
    /// La apertura del último mensaje sin trama, o de la trama abandonada: la del siguiente será igual.
    pub(super) apertura: Vec<u8>,
    /// Cuándo llegaron los últimos bytes.
    pub(super) ahora: Instant,
    /// Dónde empieza lo pendiente que llegó tras la última pausa.
    pub(super) rafaga: usize,
    /// Desde cuándo se cuenta el silencio: los últimos bytes que no son un latido.
    pub(super) contado: Instant,
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
            ahora,
            rafaga: 0,
            contado: ahora,
        }
    }

    /// Donde poner los bytes que lleguen; nunca está vacío.
    ///
    /// Si no hay memoria para que crezca, se suelta lo que ya se sabe del mensaje, que acabará en un
    /// [`Suceso::Excedido`].
    pub fn hueco(&mut self) -> &mut [u8] {
        // Con esto cabe un mensaje en el límite y los bytes que dicen si acaba.
        let tope = self.limites.mensaje_bytes + BUFER_BYTES;
        if !self.bufer.hacer_sitio(tope) {
            self.soltar_mensaje(Tope::Memoria);
            self.bufer.hacer_sitio(tope);
        }
        self.bufer.hueco()
    }

    /// Llegaron a esa hora `cuantos` bytes al hueco.
    pub fn avanzar(&mut self, cuantos: usize, ahora: Instant) {
        let pausa = PAUSA_MINIMA.max(self.limites.sin_trama / PARTES_DE_PAUSA);
        if ahora.saturating_duration_since(self.ahora) >= pausa {
            self.rafaga = self.bufer.pendiente().len();
        }
        self.ahora = ahora;
        self.bufer.avanzar(cuantos);
    }

    /// Pasó [`Lector::espera`] sin que llegara nada.
    pub fn vencer(&mut self) {
        self.pausa = Some(Pausa::Silencio);
    }

    /// El equipo cerró la conexión.
    pub fn cerrar(&mut self) {
        self.pausa = Some(Pausa::Cierre);
    }

    /// La conexión se rompió: lo último que llegó puede no ser todo lo que se envió.
    pub fn cortar(&mut self) {
        self.pausa = Some(Pausa::Corte);
    }

    /// Cuánto silencio, desde los últimos bytes, cambia algo; cero si ya ha pasado. `None` si se
    /// puede callar para siempre, porque entre mensajes los analizadores callan durante horas.
    #[must_use]
    pub fn espera(&self) -> Option<Duration> {
        let (desde, silencio) = self.silencio_que_decide()?;
        Some((desde + silencio).saturating_duration_since(self.ahora))
    }

    /// Desde cuándo se cuenta el silencio que decide qué es lo que llegó, y cuánto dura.
    fn silencio_que_decide(&self) -> Option<(Instant, Duration)> {
        let sin_trama = self.limites.sin_trama;
        if self.acaba_si_calla() {
            return Some((self.contado, self.gracia()));
        }
        match self.estado {
            Estado::Ruido(antes) => {
                let en_duda = matches!(antes, Antes::SinTrama { en_duda: true, .. });
                let stx_solo = self.bufer.pendiente() == [STX];
                let hay_texto = self.muestra.hay_texto() || self.intercalados.hay_actual();
                let hay_duda = en_duda || stx_solo || hay_texto;
                hay_duda.then_some((self.contado, ESPERA_CORTA))
            }
            // En lo que no ha empezado no hay nada que abandonar.
            Estado::Trama(_) | Estado::Resto(_) => {
                let pendiente = self.bufer.pendiente();
                let hay_algo = pendiente.len() > VACIO_BYTES || !es_trama_vacia(pendiente);
                (hay_algo || !self.esta_entero()).then_some((self.contado, self.limites.incompleta))
            }
            Estado::SinTrama(mensaje) => Some(match mensaje.linea {
                // Si era una trama STX, su ETX puede tardar.
                _ if mensaje.puede_acabar_en_etx => (self.contado, sin_trama * 4),
                Linea::Vacia { .. } if self.revisado == self.bufer.pendiente().len() => {
                    (self.contado, sin_trama)
                }
                Linea::Dudosa { .. } if self.es_intercalada(mensaje.linea) => {
                    (self.contado, sin_trama)
                }
                Linea::Dudosa { cuando, .. } => (cuando, sin_trama * 4),
                Linea::Vacia { .. } | Linea::Suya => (self.contado, sin_trama * 4),
            }),
        }
    }

    /// Si un silencio breve da por acabado lo que se lee: nada sigue a su FS o su ETX.
    pub(super) fn acaba_si_calla(&self) -> bool {
        self.cierre.is_some() && self.revisado == self.bufer.pendiente().len()
    }

    fn gracia(&self) -> Duration {
        let pendiente = self.bufer.pendiente();
        let anterior = self
            .cierre
            .and_then(|cierre| pendiente.get(cierre.checked_sub(1)?));
        if anterior.is_some_and(|octeto| es_fin_de_segmento(*octeto)) {
            GRACIA_TRAS_SEGMENTO
        } else {
            GRACIA_EN_CAMPO
        }
    }

    /// Si esa línea dudosa es de un convertidor: un texto conocido, o uno que llegó tras una pausa a
    /// una conexión donde ya los hubo.
    pub(super) fn es_intercalada(&self, linea: Linea) -> bool {
        match linea {
            Linea::Dudosa {
                tras_pausa,
                conocida,
                ..
            } => conocida || (tras_pausa && self.intercalados.hay()),
            Linea::Suya | Linea::Vacia { .. } => false,
        }
    }

    /// El próximo suceso; `None` cuando hay que leer más.
    pub fn siguiente(&mut self) -> Option<Suceso<'_>> {
        loop {
            if let Estado::Ruido(_) = self.estado {
                if let Some(indicio) = self.pasar_ruido() {
                    return Some(Suceso::Indicio(indicio));
                }
                if let Estado::Ruido(_) = self.estado {
                    return None;
                }
            }
            let Some(fin) = self.buscar_final() else {
                if self.exceso.is_some() || self.firme() > self.limites.mensaje_bytes {
                    self.soltar_mensaje(Tope::Limite);
                }
                return None;
            };
            let vacio = es_trama_vacia(&self.bufer.pendiente()[..fin.hasta]);
            let estado = self.pasar_de(&fin);
            if self.exceso.is_some() || !vacio {
                return Some(self.entregar(&fin, estado));
            }
            self.bufer.soltar(fin.sigue);
        }
    }

    /// Lo que se leía acabó: pasa al estado que sigue y devuelve el anterior.
    fn pasar_de(&mut self, fin: &Final) -> Estado {
        let siguiente = match self.estado {
            Estado::Trama(envoltura) | Estado::Resto(envoltura) if fin.deja_resto => {
                self.recordar_apertura();
                Estado::Resto(envoltura)
            }
            Estado::SinTrama(mensaje) if fin.envoltura == Envoltura::Ninguna => {
                if mensaje.es_cola {
                    let cola = &self.bufer.pendiente()[..fin.hasta];
                    self.intercalados.recordar_cola(cola, mensaje.separador);
                } else {
                    self.recordar_apertura();
                }
                Estado::Ruido(Antes::SinTrama {
                    separador: mensaje.separador,
                    en_duda: false,
                })
            }
            _ => Estado::Ruido(Antes::Nada),
        };
        if fin.envoltura == Envoltura::StxEtx && fin.motivo.is_none() {
            self.stx = Stx::Trama;
        }
        (self.revisado, self.cierre) = (0, None);
        self.rafaga = self.rafaga.saturating_sub(fin.sigue);
        std::mem::replace(&mut self.estado, siguiente)
    }

    fn entregar(&mut self, fin: &Final, estado: Estado) -> Suceso<'_> {
        let exceso = self.exceso.take();
        let contenido = self.bufer.separar(fin.hasta, fin.sigue);
        let es_cola = matches!(estado, Estado::SinTrama(SinTrama { es_cola: true, .. }));
        let motivo = fin.motivo.or(es_cola.then_some(Motivo::Cola));
        let longitud = contenido.len() + exceso.as_ref().map_or(0, |exceso| exceso.longitud);
        let tope = match &exceso {
            Some(exceso) => Some(exceso.tope),
            None => (longitud > self.limites.mensaje_bytes).then_some(Tope::Limite),
        };
        let bytes = match exceso {
            Some(mut exceso) => {
                exceso.anotar(contenido);
                Cow::Owned(exceso.comienzo)
            }
            None if tope.is_some() => Cow::Borrowed(&contenido[..longitud.min(COMIENZO_BYTES)]),
            None => Cow::Borrowed(contenido),
        };
        match (motivo, tope, bytes) {
            (Some(motivo), _, bytes) => Suceso::Apartado { bytes, motivo },
            (None, None, Cow::Borrowed(bytes)) => Suceso::Mensaje {
                bytes,
                envoltura: fin.envoltura,
            },
            (None, tope, comienzo) => Suceso::Excedido {
                comienzo,
                longitud,
                envoltura: fin.envoltura,
                tope: tope.unwrap_or(Tope::Limite),
            },
        }
    }

    /// Cuántos de los primeros bytes pendientes son ya, sin duda, de lo que se lee.
    fn firme(&self) -> usize {
        let hasta = self.cierre.unwrap_or(self.revisado);
        match self.estado {
            Estado::Ruido(_) => 0,
            Estado::SinTrama(SinTrama {
                linea: Linea::Dudosa { desde, .. },
                ..
            }) => hasta.min(desde),
            _ => hasta,
        }
    }

    /// Suelta lo que ya se sabe del mensaje, porque no cabe: solo queda su comienzo. El último byte
    /// se conserva: de él depende qué silencio se espera.
    fn soltar_mensaje(&mut self, tope: Tope) {
        let cuantos = self.firme().saturating_sub(1);
        if cuantos == 0 {
            return;
        }
        let exceso = self.exceso.get_or_insert_with(|| Exceso::new(tope));
        exceso.anotar(&self.bufer.pendiente()[..cuantos]);
        self.bufer.soltar(cuantos);
        self.revisado -= cuantos;
        self.rafaga = self.rafaga.saturating_sub(cuantos);
        self.cierre = self.cierre.map(|cierre| cierre - cuantos);
        if let Estado::SinTrama(SinTrama {
            linea: Linea::Vacia { desde } | Linea::Dudosa { desde, .. },
            ..
        }) = &mut self.estado
        {
            *desde = desde.saturating_sub(cuantos);
        }
    }

    fn recordar_apertura(&mut self) {
        if let Estado::Trama(_) | Estado::SinTrama(_) = self.estado {
            let apertura = comienzo::apertura(self.primeros());
            self.apertura = apertura.unwrap_or_default().to_vec();
        }
    }

    /// Los primeros bytes de lo que se lee.
    pub(super) fn primeros(&self) -> &[u8] {
        match &self.exceso {
            Some(exceso) => &exceso.comienzo,
            None => self.bufer.pendiente(),
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
        if abre != Comienzo::No {
            return abre;
        }
        let apertura = match self.estado {
            Estado::Trama(_) | Estado::SinTrama(SinTrama { es_cola: false, .. }) => {
                comienzo::apertura(self.primeros()).unwrap_or_default()
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
        // VT VT es un solo comienzo.
        let repetidos = bytes.iter().take_while(|o| **o == VT || es_relleno(**o));
        let bytes = &bytes[repetidos.take(EXTRANOS_TRAS_VT_BYTES).count()..];
        match abre_tras_extranos(bytes, EXTRANOS_TRAS_VT_BYTES).0 {
            Comienzo::No => self.abre_otro(bytes),
            abre => abre,
        }
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

impl Exceso {
    fn new(tope: Tope) -> Exceso {
        Exceso {
            comienzo: Vec::new(),
            longitud: 0,
            tope,
        }
    }

    fn anotar(&mut self, bytes: &[u8]) {
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

/// Pone un acuse en la trama en que vino su mensaje.
#[must_use]
pub fn enmarcar(contenido: &[u8], envoltura: Envoltura) -> Vec<u8> {
    match envoltura {
        Envoltura::Mllp => [&[VT], contenido, &[FS, comienzo::CR]].concat(),
        Envoltura::StxEtx => [&[STX], contenido, &[ETX]].concat(),
        Envoltura::Ninguna => contenido.to_vec(),
    }
}
