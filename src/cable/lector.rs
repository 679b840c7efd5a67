//! De los bytes de una conexión a los mensajes: MLLP, STX … ETX, mensajes sin trama y ruido.
//!
//! [`Lector`] recibe bytes con la hora a la que llegan, un silencio o el cierre, y entrega
//! [`Suceso`]s. El resultado no depende de cómo TCP cortó los bytes, y el trabajo es lineal en su
//! número. No sabe de sockets, archivos, relojes ni registro. Aquí está lo que entrega; `estado` guarda lo
//! que recuerda, `ruido` dice cuándo empieza algo, y `finales`, dónde acaba.
//!
//! Fuente: HL7 v2.5.1 apéndice C (MLLP) y lo que hacen de veras los analizadores.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::bufer::BUFER_BYTES;
use super::estado::{
    Antes, COMIENZO_BYTES, Dudosa, Estado, Exceso, Lector, Linea, Motivo, Pausa, SinTrama, Stx,
    Tope, Viene,
};
use super::finales::{Despues, Final};
use super::indicio::Indicio;
use super::trama::{Envoltura, es_fin_de_segmento, es_trama_vacia};
use crate::hl7::comienzo::{self, es_relleno};
use crate::hl7::mensaje;
use crate::octetos::STX;

/// Un equipo que envía FS sin CR espera ya su acuse: se le concede este silencio cuando el FS
/// cierra un segmento…
const GRACIA_TRAS_SEGMENTO: Duration = Duration::from_millis(300);
/// …y este otro cuando el FS podría ser un dato en mitad de un campo.
const GRACIA_EN_CAMPO: Duration = Duration::from_secs(1);
/// Silencio tras el cual un ruido corto ya se juzga con lo que hay.
const ESPERA_CORTA: Duration = Duration::from_secs(1);
/// Cuánto se conserva la memoria de un mensaje grande, por si el siguiente lo es: pedírsela al sistema
/// cada vez costaría casi tanto como leerlo.
const REPOSO: Duration = Duration::from_secs(1);
/// Qué parte del silencio que cierra un mensaje sin trama es ya una pausa entre dos envíos.
const PARTES_DE_PAUSA: u32 = 4;
const PAUSA_MINIMA: Duration = Duration::from_millis(100);

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
        /// La longitud de todo lo recibido, en bytes.
        longitud: usize,
        /// Por qué.
        motivo: Motivo,
    },
    /// El ruido dice qué habla el equipo; a lo sumo uno por conexión, y otro si hay un convertidor.
    Indicio(Indicio),
}

impl Lector {
    /// Donde poner los bytes que lleguen; nunca está vacío.
    ///
    /// Si no hay memoria para que crezca, se suelta lo que ya se sabe del mensaje, que acabará en un
    /// [`Suceso::Excedido`].
    pub fn hueco(&mut self) -> &mut [u8] {
        // Con esto cabe un mensaje en el límite y los bytes que dicen si acaba.
        let tope = self.limites.mensaje_bytes + BUFER_BYTES;
        if self.reposo().is_some_and(|reposo| reposo <= self.ahora) {
            self.encoger();
        }
        if !self.bufer.hacer_sitio(tope) {
            self.soltar_mensaje(Tope::Memoria);
            self.encoger();
            self.bufer.hacer_sitio(tope);
        }
        self.bufer.hueco()
    }

    /// Llegaron a esa hora `cuantos` bytes al hueco.
    pub fn avanzar(&mut self, cuantos: usize, ahora: Instant) {
        let pausa = PAUSA_MINIMA.max(self.limites.sin_trama / PARTES_DE_PAUSA);
        if ahora.saturating_duration_since(self.ahora) >= pausa {
            let es_ruido = matches!(self.estado, Estado::Ruido(_));
            if es_ruido && self.stx == Stx::Desconocido && self.bufer.pendiente() == [STX] {
                // El que abre una trama va con ella.
                self.stx = Stx::Latido;
            }
            self.rafagas.empezar(self.bufer.pendiente().len());
            self.intercalados.pausar();
        }
        (self.ahora, self.callado) = (ahora, Duration::ZERO);
        self.bufer.avanzar(cuantos);
    }

    /// Pasó [`Lector::espera`] sin que llegara nada.
    pub fn vencer(&mut self) {
        let decide = self.cuando_decide();
        match self.reposo() {
            Some(reposo) if decide.is_none_or(|decide| reposo < decide) => {
                self.callado = reposo.saturating_duration_since(self.ahora);
                self.encoger();
            }
            _ => self.pausa = Some(Pausa::Silencio),
        }
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
        let hasta = [self.cuando_decide(), self.reposo()]
            .into_iter()
            .flatten()
            .min()?;
        Some(hasta.saturating_duration_since(self.ahora + self.callado))
    }

    /// Cuándo se devuelve la memoria que sobra.
    fn reposo(&self) -> Option<Instant> {
        Some(self.holgado? + REPOSO)
    }

    fn encoger(&mut self) {
        self.bufer.encoger();
        self.holgado = None;
    }

    /// Hay que leer más: anota si sobra memoria, y desde cuándo.
    fn mirar_la_memoria(&mut self) {
        let desde = self.holgado.unwrap_or(self.ahora);
        self.holgado = self.bufer.sobra().then_some(desde);
    }

    /// Cuándo el silencio decide qué es lo que llegó.
    fn cuando_decide(&self) -> Option<Instant> {
        let sin_trama = self.limites.sin_trama;
        if self.acaba_si_calla() {
            return Some(self.contado + self.gracia());
        }
        match self.estado {
            Estado::Ruido(antes) => {
                let en_duda = matches!(antes, Antes::Mensaje { en_duda: true, .. });
                let stx_solo = self.bufer.pendiente() == [STX];
                let hay_texto = self.muestra.hay_texto() || self.intercalados.hay_actual();
                let hay_duda = en_duda || stx_solo || hay_texto;
                hay_duda.then(|| self.contado + ESPERA_CORTA)
            }
            // En lo que no ha empezado no hay nada que abandonar.
            Estado::Trama(_) | Estado::Resto(_) => self
                .hay_algo_a_medias()
                .then(|| self.contado + self.limites.incompleta),
            Estado::SinTrama(mensaje) => Some(match mensaje.linea {
                // Lo que va de la línea puede ser el comienzo de una cabecera.
                Linea::Vacia { .. } if self.revisado < self.bufer.pendiente().len() => {
                    self.ahora + sin_trama * 4
                }
                // Si era una trama STX, su ETX puede tardar.
                _ if mensaje.puede_acabar_en_etx => self.contado + sin_trama * 4,
                Linea::Vacia { .. } if self.calla_tras_un_fin_de_linea() => {
                    self.contado + sin_trama
                }
                Linea::Dudosa(linea) if linea.conocida && linea.viene == Viene::Pegada => {
                    self.contado + sin_trama * 4
                }
                Linea::Dudosa(linea) if self.es_intercalada(linea) => self.contado + sin_trama,
                // Donde nunca hubo un convertidor, lo que continúa la línea es del mensaje.
                Linea::Dudosa(linea)
                    if !self.intercalados.hay() && !self.es_latido_desde(linea) =>
                {
                    self.ahora + sin_trama * 4
                }
                Linea::Dudosa(linea) => linea.cuando + sin_trama * 4,
                _ => self.contado + sin_trama * 4,
            }),
        }
    }

    /// Si de la línea que empieza no hay más que lo que llega entre mensajes. Unos blancos, o un cambio de
    /// página, pueden ser su comienzo.
    fn calla_tras_un_fin_de_linea(&self) -> bool {
        let ultimo = self.bufer.pendiente().last();
        ultimo.is_none_or(|octeto| es_relleno(*octeto) && !matches!(octeto, b' ' | b'\t'))
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

    /// El próximo suceso; `None` cuando hay que leer más.
    pub fn siguiente(&mut self) -> Option<Suceso<'_>> {
        loop {
            if let Estado::Ruido(_) = self.estado {
                if let Some(indicio) = self.pasar_ruido() {
                    return Some(Suceso::Indicio(indicio));
                }
                if let Estado::Ruido(_) = self.estado {
                    self.mirar_la_memoria();
                    return None;
                }
            }
            let Some(fin) = self.buscar_final() else {
                if self.exceso.is_some() || self.firme() > self.limites.mensaje_bytes {
                    self.soltar_mensaje(Tope::Limite);
                }
                self.mirar_la_memoria();
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
            Estado::Trama(envoltura) | Estado::Resto(envoltura)
                if fin.despues == Despues::Resto =>
            {
                self.recordar_apertura();
                Estado::Resto(envoltura)
            }
            Estado::Trama(envoltura) if fin.despues == Despues::QuizaCola => {
                self.recordar_apertura();
                Estado::Ruido(match mensaje::separador(self.primeros()) {
                    Some(separador) => tras_mensaje(envoltura, separador),
                    None => Antes::Nada,
                })
            }
            Estado::SinTrama(mensaje)
                if fin.envoltura == Envoltura::Ninguna || fin.despues == Despues::QuizaCola =>
            {
                if mensaje.cola_de.is_some() {
                    let cola = &self.bufer.pendiente()[..fin.hasta];
                    self.intercalados.recordar_cola(cola, mensaje.separador);
                } else {
                    self.recordar_apertura();
                }
                let envoltura = mensaje.cola_de.unwrap_or(fin.envoltura);
                Estado::Ruido(tras_mensaje(envoltura, mensaje.separador))
            }
            _ => Estado::Ruido(Antes::Nada),
        };
        if fin.envoltura == Envoltura::StxEtx && fin.motivo.is_none() {
            self.stx = Stx::Trama;
        }
        (self.revisado, self.cierre) = (0, None);
        self.rafagas.soltar(fin.sigue);
        std::mem::replace(&mut self.estado, siguiente)
    }

    fn entregar(&mut self, fin: &Final, estado: Estado) -> Suceso<'_> {
        let exceso = self.exceso.take();
        let contenido = self.bufer.separar(fin.hasta, fin.sigue);
        let motivo = fin.motivo.or(match estado {
            Estado::SinTrama(SinTrama { cola_de, .. }) => cola_de.map(|de| match de {
                Envoltura::Ninguna => Motivo::Cola,
                Envoltura::Mllp | Envoltura::StxEtx => Motivo::ColaDeTrama,
            }),
            _ => None,
        });
        let longitud = contenido.len() + exceso.as_ref().map_or(0, |exceso| exceso.longitud);
        // De lo que pasa del límite se dice eso, aunque la memoria se acabara antes: no cabrá nunca.
        let pasa_del_limite = longitud > self.limites.mensaje_bytes;
        let tope = match &exceso {
            _ if pasa_del_limite => Some(Tope::Limite),
            Some(exceso) => Some(exceso.tope),
            None => None,
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
            (Some(motivo), _, bytes) => Suceso::Apartado {
                bytes,
                longitud,
                motivo,
            },
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
                linea: Linea::Dudosa(Dudosa { desde, .. }),
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
        self.rafagas.soltar(cuantos);
        self.cierre = self.cierre.map(|cierre| cierre - cuantos);
        if let Estado::SinTrama(SinTrama {
            linea: Linea::Vacia { desde } | Linea::Dudosa(Dudosa { desde, .. }),
            ..
        }) = &mut self.estado
        {
            *desde = desde.saturating_sub(cuantos);
        }
    }

    fn recordar_apertura(&mut self) {
        if let Estado::Trama(_) | Estado::SinTrama(_) = self.estado {
            let apertura = comienzo::apertura(comienzo::desde_la_cabecera(self.primeros()));
            self.apertura = apertura.unwrap_or_default().to_vec();
            self.notar_distancia(self.bufer.pendiente().len());
        }
    }
}

/// Lo que se recuerda de un mensaje que puede tener cola.
fn tras_mensaje(envoltura: Envoltura, separador: u8) -> Antes {
    Antes::Mensaje {
        envoltura,
        separador,
        en_duda: false,
    }
}
