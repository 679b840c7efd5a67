//! La cuenta de un equipo: lo que se recibió de él, y lo que de ello se recuerda. No sabe cuántas hay ni
//! cuándo se dice.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};

use crate::recepcion::desechos::Desechos;
use crate::recepcion::ritmo::Ritmo;
use crate::recepcion::silencio::{AvisoDeSilencio, Callado};

/// Cuánto se recuerda a un equipo sin nombre que no hace nada.
const OLVIDO: Duration = Duration::from_hours(30 * 24);

/// Una hora, y el mismo instante en el reloj monótono.
pub(super) type Cuando = (DateTime<Local>, Instant);

/// Qué fue de un mensaje.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destino {
    /// Está a salvo.
    Guardado {
        archivo: String,
        huella: Huella,
        /// Cuánto costó guardarlo.
        tardo: Duration,
    },
    /// Era un reenvío, y está a salvo otra vez; guardarlo costó este tiempo.
    Repetido(Duration),
    /// No se pudo guardar.
    Fallido,
    /// No se pudo aceptar.
    Rechazado,
}

/// Con qué se reconoce un reenvío: la longitud y 64 bits que dependen de todos los bytes y del arranque.
///
/// El protocolo es parar y esperar: quien no recibió su acuse envía otra vez, byte por byte, lo último que
/// tenía guardado. MSH-10 no prueba nada: hay equipos que lo dejan fijo o vacío. Que la huella de un mensaje
/// distinto coincida no llega a verse, y quien lo lograra queriendo solo vería llamar repetido a lo que
/// envió, que está a salvo igual: en un `.res` o, con `Repetidos = apartar`, en los apartados.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Huella(pub(super) usize, pub(super) u64);

#[derive(Debug)]
pub(super) struct Cuenta {
    /// Desde que empezó el día.
    pub(super) suma: Suma,
    pub(super) ultimo: Option<Cuando>,
    /// Cuántas conexiones suyas hay.
    pub(super) conexiones: usize,
    /// Tiene nombre: está en la tabla y se vigila desde el arranque, envíe o no.
    pub(super) con_nombre: bool,
    pub(super) aviso: AvisoDeSilencio,
    pub(super) callado: Callado,
    pub(super) ritmo: Ritmo,
    /// Cuánto se ha apartado en la hora en curso.
    pub(super) en_la_hora: u64,
    pub(super) desechos: Desechos,
    /// Lo último que se guardó, y en qué archivo.
    pub(super) guardado: Option<(Huella, String)>,
}

impl Cuenta {
    pub(super) fn new(con_nombre: bool, aviso: AvisoDeSilencio) -> Cuenta {
        Cuenta {
            suma: Suma::default(),
            ultimo: None,
            conexiones: 0,
            con_nombre,
            aviso,
            callado: Callado::default(),
            ritmo: Ritmo::default(),
            en_la_hora: 0,
            desechos: Desechos::default(),
            guardado: None,
        }
    }

    /// Un desconocido que aún no ha entregado nada no sale en ninguna tabla.
    pub(super) fn se_dice(&self) -> bool {
        self.con_nombre || self.ultimo.is_some() || self.suma.apartados > 0
    }

    /// Lo que se asigna por DHCP cambia de dirección, y a la red puede conectarse cualquiera.
    pub(super) fn se_recuerda(&self, ahora: Instant) -> bool {
        let es_reciente = |(_, ultimo): Cuando| ahora.saturating_duration_since(ultimo) < OLVIDO;
        self.con_nombre
            || self.conexiones > 0
            || self.en_la_hora > 0
            || self.ultimo.is_some_and(es_reciente)
    }

    /// Un mensaje más, de esa longitud en bytes, que se tuvo entero a esa hora.
    pub(super) fn recibir(&mut self, longitud: usize, destino: Destino, cuando: Cuando) {
        self.ultimo = Some(cuando);
        self.callado.romper();
        let suma = &mut self.suma;
        let tardo = match destino {
            Destino::Guardado {
                archivo,
                huella,
                tardo,
            } => {
                self.guardado = Some((huella, archivo));
                tardo
            }
            Destino::Repetido(tardo) => {
                suma.repetidos += 1;
                tardo
            }
            Destino::Fallido => return suma.fallidos += 1,
            Destino::Rechazado => return suma.rechazados += 1,
        };
        self.desechos.perdonar();
        suma.guardados += 1;
        suma.bytes += longitud as u64;
        suma.mas_lento = suma.mas_lento.max(tardo);
        self.ritmo.contar(cuando.0.naive_local());
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suma {
    pub(super) guardados: u64,
    pub(super) bytes: u64,
    pub(super) fallidos: u64,
    pub(super) rechazados: u64,
    pub(super) apartados: u64,
    pub(super) consultas: u64,
    pub(super) repetidos: u64,
    pub(super) mas_lento: Duration,
}

impl AddAssign for Suma {
    fn add_assign(&mut self, otra: Suma) {
        self.guardados += otra.guardados;
        self.bytes += otra.bytes;
        self.fallidos += otra.fallidos;
        self.rechazados += otra.rechazados;
        self.apartados += otra.apartados;
        self.consultas += otra.consultas;
        self.repetidos += otra.repetidos;
        self.mas_lento = self.mas_lento.max(otra.mas_lento);
    }
}
