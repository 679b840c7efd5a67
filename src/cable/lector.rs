//! De los bytes de una conexión a los mensajes: MLLP, mensajes sin trama y ruido.
//!
//! [`Lector`] recibe bytes, un silencio o el cierre, y entrega [`Suceso`]s. El resultado no
//! depende de cómo TCP cortó los bytes, y el trabajo es lineal en su número. No sabe de
//! sockets, archivos, relojes ni registro: el tiempo lo mide quien lo llama.
//!
//! Fuente: HL7 v2.5.1 apéndice C (MLLP) y lo que hacen de veras los analizadores.

use std::borrow::Cow;
use std::mem;
use std::ops::Range;
use std::time::Duration;

use memchr::memchr2;

use super::indicio::{Indicio, Muestra};
use crate::hl7::mensaje::{self, CR, LF};

/// Comienzo de una trama MLLP.
pub(crate) const VT: u8 = 0x0B;
/// Fin de una trama MLLP, seguido de CR.
pub(crate) const FS: u8 = 0x1C;

/// Cuánto se guarda de un mensaje que pasa del límite.
pub const COMIENZO_BYTES: usize = 64 * 1024;
/// Un equipo que envía FS sin CR espera ya su acuse: se le concede este silencio cuando el FS
/// cierra un segmento…
const GRACIA_TRAS_SEGMENTO: Duration = Duration::from_millis(300);
/// …y este otro cuando el FS podría ser un dato en mitad de un campo.
const GRACIA_EN_CAMPO: Duration = Duration::from_secs(1);
/// Silencio tras el cual un ruido corto y desconocido ya se comenta y un búfer grande se devuelve.
const ESPERA_CORTA: Duration = Duration::from_secs(1);
/// Cuánto relleno se admite entre un VT o un FS y el MSH que le sigue.
const RELLENO_BYTES: usize = 8;
/// Tamaño del búfer de una conexión ociosa; casi todo mensaje de un analizador cabe.
const BUFER_BYTES: usize = 8 * 1024;

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

/// Lo que hay en el cable, en orden de llegada.
#[derive(Debug, PartialEq, Eq)]
pub enum Suceso<'a> {
    /// Un mensaje entero, sin VT ni FS.
    Mensaje {
        /// El contenido, tal como llegó.
        bytes: &'a [u8],
        /// Si vino en una trama MLLP.
        con_trama: bool,
    },
    /// Un mensaje que pasó del límite y se leyó hasta su fin sin guardarlo.
    Excedido {
        /// Sus primeros bytes, a lo sumo [`COMIENZO_BYTES`].
        comienzo: Cow<'a, [u8]>,
        /// Su longitud entera, en bytes.
        longitud: usize,
        /// Si vino en una trama MLLP.
        con_trama: bool,
    },
    /// Bytes que no llegaron a ser un mensaje; no se acusan.
    Apartado {
        /// Lo recibido, o su comienzo si pasó del límite.
        bytes: Cow<'a, [u8]>,
        /// Por qué.
        motivo: Motivo,
    },
    /// El ruido dice qué habla el equipo; a lo sumo uno por conexión.
    Indicio(Indicio),
}

/// Por qué unos bytes no llegaron a ser un mensaje.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motivo {
    /// El equipo cerró la conexión a mitad de la trama.
    Cortado,
    /// El equipo calló a mitad de la trama.
    Abandonado,
    /// El equipo empezó otra trama sin terminar esta.
    Reiniciado,
    /// Texto que llegó cuando su mensaje sin trama ya se había cerrado.
    Cola,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Estado {
    Ruido,
    Trama,
    /// Con el nombre del segmento que cierra el lote, si es un lote: dentro de él, un MSH no
    /// empieza otro archivo.
    SinTrama {
        fin_de_lote: Option<&'static [u8; 3]>,
    },
    Cola,
}

/// Por qué no vendrán más bytes por ahora.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pausa {
    Silencio,
    Cierre,
    Corte,
}

/// Dónde acaba lo que se estaba leyendo.
struct Final {
    /// Primer byte que ya no le pertenece.
    hasta: usize,
    /// Donde sigue la lectura.
    sigue: usize,
    /// `None`: está entero.
    motivo: Option<Motivo>,
}

impl Final {
    fn entero(hasta: usize, sigue: usize) -> Final {
        Final {
            hasta,
            sigue,
            motivo: None,
        }
    }
}

/// Lo que ya se soltó de un mensaje que pasó del límite.
#[derive(Debug, Default)]
struct Exceso {
    comienzo: Vec<u8>,
    longitud: usize,
}

/// Convierte los bytes de una conexión en sucesos.
///
/// Se usa en ciclo: [`Lector::siguiente`] hasta `None`; entonces se lee en [`Lector::hueco`]
/// durante [`Lector::espera`] y se avisa con [`Lector::avanzar`], [`Lector::vencer`] o
/// [`Lector::cerrar`].
#[derive(Debug)]
pub struct Lector {
    limites: Limites,
    bufer: Vec<u8>,
    /// Lo que se está leyendo ocupa `inicio..fin`; hasta `revisado` ya se buscó su final.
    inicio: usize,
    revisado: usize,
    fin: usize,
    /// El byte que iba delante de `inicio`, cuando lo anterior ya se soltó.
    anterior: u8,
    estado: Estado,
    pausa: Option<Pausa>,
    exceso: Option<Exceso>,
    muestra: Muestra,
    tras_sin_trama: bool,
    /// Desde el último fin de segmento no ha llegado nada, o solo relleno.
    tras_segmento: bool,
    /// El ruido de esta línea ya trajo texto.
    linea_con_texto: bool,
}

impl Lector {
    /// Un lector para una conexión recién abierta.
    #[must_use]
    pub fn new(limites: Limites) -> Lector {
        Lector {
            limites,
            bufer: Vec::new(),
            inicio: 0,
            revisado: 0,
            fin: 0,
            anterior: 0,
            estado: Estado::Ruido,
            pausa: None,
            exceso: None,
            muestra: Muestra::default(),
            tras_sin_trama: false,
            tras_segmento: false,
            linea_con_texto: false,
        }
    }

    /// Donde poner los bytes que lleguen; nunca está vacío.
    ///
    /// El búfer crece al doble con un mensaje grande y se guarda para el siguiente, porque pedir
    /// memoria cuesta más que recibirlo; se devuelve en cuanto llega otra cosa, o si el equipo
    /// calla.
    pub fn hueco(&mut self) -> &mut [u8] {
        if self.estado == Estado::Ruido && self.fin < self.bufer.len() / 4 {
            self.devolver();
        }
        let pendiente = self.fin - self.inicio;
        if pendiente == 0 || (self.fin == self.bufer.len() && self.inicio > 0) {
            self.bufer.copy_within(self.inicio..self.fin, 0);
            self.recolocar(pendiente);
        }
        if self.fin == self.bufer.len() {
            // Con esto cabe un mensaje en el límite y los bytes que dicen si acaba.
            let tope = self.limites.mensaje_bytes + BUFER_BYTES;
            let longitud = tope.min(BUFER_BYTES.max(self.bufer.len() * 2));
            self.bufer.reserve_exact(longitud - self.bufer.len());
            self.bufer.resize(longitud, 0);
        }
        &mut self.bufer[self.fin..]
    }

    /// Si lo pendiente cabe sin la memoria que pidió un mensaje grande.
    fn sobra_memoria(&self) -> bool {
        self.bufer.len() > BUFER_BYTES && self.fin - self.inicio <= BUFER_BYTES / 2
    }

    fn devolver(&mut self) {
        if self.sobra_memoria() {
            let pendiente = self.fin - self.inicio;
            self.bufer.copy_within(self.inicio..self.fin, 0);
            self.recolocar(pendiente);
            self.bufer.truncate(BUFER_BYTES);
            self.bufer.shrink_to_fit();
        }
    }

    /// Llegaron `cuantos` bytes al hueco.
    pub fn avanzar(&mut self, cuantos: usize) {
        self.fin = self.bufer.len().min(self.fin + cuantos);
    }

    /// Cuántos bytes llegados no son aún de ningún suceso entregado.
    #[must_use]
    pub fn pendientes(&self) -> usize {
        self.fin - self.inicio
    }

    /// Pasó [`Lector::espera`] sin que llegara nada.
    pub fn vencer(&mut self) {
        let solo_memoria = self.sobra_memoria()
            && self
                .silencio_que_decide()
                .is_none_or(|silencio| silencio > ESPERA_CORTA);
        self.devolver();
        if !solo_memoria {
            self.pausa = Some(Pausa::Silencio);
        }
    }

    /// El equipo cerró la conexión.
    pub fn cerrar(&mut self) {
        self.pausa = Some(Pausa::Cierre);
    }

    /// Cuánto silencio cambia algo; `None` si se puede callar para siempre, porque entre
    /// mensajes los analizadores callan durante horas.
    #[must_use]
    pub fn espera(&self) -> Option<Duration> {
        let silencio = self.silencio_que_decide();
        if self.sobra_memoria() {
            return Some(silencio.map_or(ESPERA_CORTA, |silencio| silencio.min(ESPERA_CORTA)));
        }
        silencio
    }

    /// Cuánto silencio decide qué es lo que llegó.
    fn silencio_que_decide(&self) -> Option<Duration> {
        if self.estado == Estado::Ruido {
            return self.muestra.hay_texto().then_some(ESPERA_CORTA);
        }
        if self.fs_pendiente() {
            let cierra_segmento = es_fin_de_segmento(self.octeto_antes_de(self.revisado));
            return Some(if cierra_segmento {
                GRACIA_TRAS_SEGMENTO
            } else {
                GRACIA_EN_CAMPO
            });
        }
        if self.estado == Estado::Trama {
            return Some(self.limites.incompleta);
        }
        let segmento_entero = self.tras_segmento && self.revisado == self.fin;
        Some(self.limites.sin_trama * if segmento_entero { 1 } else { 4 })
    }

    /// La conexión se rompió: lo último que llegó puede no ser todo lo que se envió.
    pub fn cortar(&mut self) {
        self.pausa = Some(Pausa::Corte);
    }

    /// El próximo suceso; `None` cuando hay que leer más.
    pub fn siguiente(&mut self) -> Option<Suceso<'_>> {
        let (rango, motivo, estado) = loop {
            if self.estado == Estado::Ruido {
                if let Some(indicio) = self.pasar_ruido() {
                    return Some(Suceso::Indicio(indicio));
                }
                if self.estado == Estado::Ruido {
                    return None;
                }
            }
            let Some(Final {
                hasta,
                sigue,
                motivo,
            }) = self.buscar_final()
            else {
                self.soltar_exceso();
                return None;
            };
            let rango = self.inicio..hasta;
            let estado = mem::replace(&mut self.estado, Estado::Ruido);
            (self.inicio, self.revisado) = (sigue, sigue);
            self.tras_sin_trama = estado != Estado::Trama;
            if motivo == Some(Motivo::Reiniciado) {
                self.estado = Estado::Trama;
            }
            if self.exceso.is_some() || !es_trama_vacia(&self.bufer[rango.clone()]) {
                break (rango, motivo, estado);
            }
        };
        Some(self.entregar(rango, motivo, estado))
    }

    fn entregar(
        &mut self,
        rango: Range<usize>,
        motivo: Option<Motivo>,
        estado: Estado,
    ) -> Suceso<'_> {
        let exceso = self.exceso.take();
        let contenido = &self.bufer[rango];
        let longitud = contenido.len() + exceso.as_ref().map_or(0, |exceso| exceso.longitud);
        let motivo = motivo.or((estado == Estado::Cola).then_some(Motivo::Cola));
        if longitud <= self.limites.mensaje_bytes && motivo.is_none() {
            return Suceso::Mensaje {
                bytes: contenido,
                con_trama: estado == Estado::Trama,
            };
        }
        let bytes = match exceso {
            Some(mut exceso) => {
                exceso.anotar(contenido);
                Cow::Owned(exceso.comienzo)
            }
            None if longitud > self.limites.mensaje_bytes => {
                Cow::Borrowed(&contenido[..longitud.min(COMIENZO_BYTES)])
            }
            None => Cow::Borrowed(contenido),
        };
        match motivo {
            Some(motivo) => Suceso::Apartado { bytes, motivo },
            None => Suceso::Excedido {
                comienzo: bytes,
                longitud,
                con_trama: estado == Estado::Trama,
            },
        }
    }

    /// Deja atrás el ruido hasta el comienzo de un mensaje, y cambia entonces de estado.
    fn pasar_ruido(&mut self) -> Option<Indicio> {
        while self.inicio < self.fin {
            let pendiente = &self.bufer[self.inicio..self.fin];
            let octeto = pendiente[0];
            if octeto == VT {
                self.inicio += 1;
                self.abrir(Estado::Trama);
                return self.muestra.concluir();
            }
            let abre = if self.linea_con_texto {
                mensaje::abre_en_texto(pendiente)
            } else {
                mensaje::abre(pendiente)
            };
            match abre {
                Some(true) => {
                    self.abrir(Estado::SinTrama {
                        fin_de_lote: fin_de_lote(octeto),
                    });
                    return self.muestra.concluir();
                }
                None if matches!(self.pausa, None | Some(Pausa::Silencio)) => break,
                _ => {}
            }
            if self.tras_sin_trama && es_texto(octeto) {
                self.abrir(Estado::Cola);
                return None;
            }
            self.inicio += 1;
            self.linea_con_texto =
                !es_fin_de_segmento(octeto) && (self.linea_con_texto || es_texto(octeto));
            if let Some(indicio) = self.muestra.anotar(octeto) {
                return Some(indicio);
            }
        }
        self.revisado = self.inicio;
        self.pausa.take().and_then(|_| self.muestra.concluir())
    }

    fn abrir(&mut self, estado: Estado) {
        self.estado = estado;
        self.revisado = self.inicio;
        self.anterior = 0;
        self.tras_sin_trama = false;
        self.tras_segmento = false;
        self.linea_con_texto = false;
    }

    /// Dónde acaba lo que se está leyendo, si ya se puede saber.
    fn buscar_final(&mut self) -> Option<Final> {
        let visto = match self.estado {
            Estado::Trama => self.final_de_trama(),
            _ => self.final_sin_trama(),
        };
        if visto.is_some() {
            return visto;
        }
        let pausa = self.pausa.take()?;
        if self.fs_pendiente() {
            return Some(Final::entero(self.revisado, self.fin));
        }
        let motivo = match (self.estado, pausa) {
            (Estado::Trama, Pausa::Silencio) => Some(Motivo::Abandonado),
            (Estado::Trama, Pausa::Cierre | Pausa::Corte) => Some(Motivo::Cortado),
            (_, Pausa::Corte) if !self.tras_segmento => Some(Motivo::Cortado),
            _ => None,
        };
        Some(Final {
            hasta: self.fin,
            sigue: self.fin,
            motivo,
        })
    }

    fn final_de_trama(&mut self) -> Option<Final> {
        while let Some(p) = self.buscar(|pendiente| memchr2(FS, VT, pendiente)) {
            let resto = &self.bufer[p + 1..self.fin];
            if self.bufer[p] == FS {
                match resto.first() {
                    None => return None,
                    Some(&(CR | LF)) => return Some(Final::entero(p, p + 2)),
                    Some(&VT) => return Some(Final::entero(p, p + 1)),
                    Some(_) => {}
                }
            } else if p == self.inicio && self.exceso.is_none() {
                // VT VT al comienzo es un solo comienzo.
                self.inicio = p + 1;
            } else if abre_tras_relleno(resto)? {
                return Some(Final {
                    hasta: p,
                    sigue: p + 1,
                    motivo: Some(Motivo::Reiniciado),
                });
            }
            self.revisado = p + 1;
        }
        None
    }

    fn final_sin_trama(&mut self) -> Option<Final> {
        loop {
            if self.tras_segmento {
                self.buscar(|pendiente| {
                    pendiente
                        .iter()
                        .position(|octeto| !mensaje::es_relleno(*octeto))
                })?;
                if self.empieza_otro()? {
                    return Some(Final::entero(self.revisado, self.revisado));
                }
                self.tras_segmento = false;
            }
            let p = self.buscar(|pendiente| {
                pendiente
                    .iter()
                    .position(|octeto| matches!(*octeto, FS | VT | CR | LF))
            })?;
            let resto = &self.bufer[p + 1..self.fin];
            match self.bufer[p] {
                FS => match resto.first() {
                    None => return None,
                    Some(&(CR | LF)) => return Some(Final::entero(p, p + 2)),
                    Some(&VT) => return Some(Final::entero(p, p + 1)),
                    Some(_) if abre_tras_relleno(resto)? => return Some(Final::entero(p, p + 1)),
                    Some(_) => {}
                },
                VT if abre_tras_relleno(resto)? => return Some(Final::entero(p, p)),
                VT => {}
                _ => self.tras_segmento = true,
            }
            self.revisado = p + 1;
        }
    }

    /// Si el segmento que comienza en `revisado` es ya de otro mensaje. `None`: faltan bytes.
    fn empieza_otro(&mut self) -> Option<bool> {
        let segmento = &self.bufer[self.revisado..self.fin];
        if segmento[0] == VT {
            return Some(true);
        }
        let Estado::SinTrama {
            fin_de_lote: Some(nombre),
        } = self.estado
        else {
            return mensaje::abre(segmento);
        };
        // Dentro de un lote un MSH no empieza otro; tras su último segmento, o si empieza otro
        // lote igual, sí.
        let comienzo = &segmento[..segmento.len().min(nombre.len())];
        if nombre[..comienzo.len()].eq_ignore_ascii_case(comienzo) {
            if comienzo.len() < nombre.len() {
                return None;
            }
            self.estado = Estado::SinTrama { fin_de_lote: None };
        }
        if mensaje::abre(segmento)? && !mensaje::se_llama(segmento, b"MSH") {
            return Some(nombre == b"BTS" || mensaje::se_llama(segmento, b"FHS"));
        }
        Some(false)
    }

    /// La posición del próximo byte que importa; `revisado` queda en él, o al final.
    fn buscar(&mut self, importa: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        let hallado = importa(&self.bufer[self.revisado..self.fin]);
        self.revisado = hallado.map_or(self.fin, |distancia| self.revisado + distancia);
        hallado.map(|_| self.revisado)
    }

    /// Un mensaje que ya pasó del límite se suelta según llega: solo queda su comienzo.
    fn soltar_exceso(&mut self) {
        let leido = self.inicio..self.revisado;
        if leido.is_empty() || (self.exceso.is_none() && leido.len() <= self.limites.mensaje_bytes)
        {
            return;
        }
        self.anterior = self.bufer[self.revisado - 1];
        self.exceso
            .get_or_insert_default()
            .anotar(&self.bufer[leido]);
        self.inicio = self.revisado;
    }

    fn fs_pendiente(&self) -> bool {
        self.revisado + 1 == self.fin && self.bufer[self.revisado] == FS
    }

    fn octeto_antes_de(&self, posicion: usize) -> u8 {
        if posicion == self.inicio {
            self.anterior
        } else {
            self.bufer[posicion - 1]
        }
    }

    /// Lo pendiente pasa al principio del búfer, donde ocupa `longitud` bytes.
    fn recolocar(&mut self, longitud: usize) {
        self.revisado -= self.inicio;
        self.inicio = 0;
        self.fin = longitud;
    }
}

impl Exceso {
    fn anotar(&mut self, bytes: &[u8]) {
        let falta = COMIENZO_BYTES - self.comienzo.len();
        self.comienzo
            .extend_from_slice(&bytes[..bytes.len().min(falta)]);
        self.longitud += bytes.len();
    }
}

/// Pone un acuse en su trama MLLP.
#[must_use]
pub fn enmarcar(contenido: &[u8]) -> Vec<u8> {
    [&[VT], contenido, &[FS, CR]].concat()
}

fn abre_tras_relleno(resto: &[u8]) -> Option<bool> {
    let relleno = resto
        .iter()
        .take(RELLENO_BYTES)
        .take_while(|octeto| mensaje::es_relleno(**octeto));
    mensaje::abre(&resto[relleno.count()..])
}

/// Nada, solo fines de línea, o el byte de acuse de MLLP 2 (0x06 o 0x15): es ruido.
fn es_trama_vacia(contenido: &[u8]) -> bool {
    let mut octetos = contenido
        .iter()
        .filter(|octeto| !es_fin_de_segmento(**octeto));
    octetos.next().is_none_or(u8::is_ascii_control) && octetos.next().is_none()
}

/// El segmento que cierra un lote, por la primera letra del que lo abre.
fn fin_de_lote(primera: u8) -> Option<&'static [u8; 3]> {
    match primera.to_ascii_uppercase() {
        b'F' => Some(b"FTS"),
        b'B' => Some(b"BTS"),
        _ => None,
    }
}

fn es_fin_de_segmento(octeto: u8) -> bool {
    octeto == CR || octeto == LF
}

fn es_texto(octeto: u8) -> bool {
    (octeto.is_ascii_graphic() || !octeto.is_ascii()) && !mensaje::es_relleno(octeto)
}
