//! Los reenvíos: quien no recibió su acuse envía otra vez los mismos bytes, y eso se ve.
//!
//! El protocolo es parar y esperar: lo que se reenvía es, byte por byte, lo último que ese equipo
//! tenía guardado. MSH-10 no prueba nada: hay equipos que lo dejan fijo o vacío. De cada equipo se
//! recuerda una huella, solo en memoria. No sabe qué se hace con un reenvío.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Mutex;

use foldhash::quality::RandomState;

use crate::cerrojo::tomar;

/// Qué se hace con un reenvío (clave `Repetidos`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnteReenvio {
    /// Se guarda otra vez, como cualquier mensaje.
    Guardar,
    /// Se guarda en `apartados`, donde quien lee la carpeta no lo ve.
    Apartar,
}

/// De cuántos equipos se recuerda lo último; de los demás no se ven los reenvíos.
const MAX_EQUIPOS: usize = 1000;

/// La longitud y 64 bits que dependen de todos los bytes y del arranque. Que la de un mensaje distinto
/// coincida no llega a verse, y quien lo lograra queriendo solo vería llamar repetido a lo que envió,
/// que se guarda igual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Huella(usize, u64);

/// Lo último que se guardó de cada equipo.
#[derive(Debug, Default)]
pub(super) struct Reenvios {
    semilla: RandomState,
    ultimos: Mutex<HashMap<String, Ultimo>>,
}

#[derive(Debug)]
struct Ultimo {
    huella: Huella,
    archivo: String,
}

impl Reenvios {
    /// La huella de un mensaje; cuesta leerlo entero.
    pub(super) fn huella(&self, mensaje: &[u8]) -> Huella {
        Huella(mensaje.len(), self.semilla.hash_one(mensaje))
    }

    /// El archivo en que está lo último que se guardó de `quien`, si es este mismo mensaje.
    pub(super) fn buscar(&self, quien: &str, huella: Huella) -> Option<String> {
        let ultimos = tomar(&self.ultimos);
        let ultimo = ultimos.get(quien)?;
        (ultimo.huella == huella).then(|| ultimo.archivo.clone())
    }

    /// Lo último de `quien` es ya este mensaje, que está a salvo en `archivo`.
    pub(super) fn anotar(&self, quien: &str, huella: Huella, archivo: &str) {
        let archivo = archivo.to_owned();
        let mut ultimos = tomar(&self.ultimos);
        if let Some(ultimo) = ultimos.get_mut(quien) {
            *ultimo = Ultimo { huella, archivo };
        } else if ultimos.len() < MAX_EQUIPOS {
            ultimos.insert(quien.to_owned(), Ultimo { huella, archivo });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_lo_ultimo_de_cada_equipo_es_un_reenvio() {
        let reenvios = Reenvios::default();
        let buscar = |quien, mensaje| reenvios.buscar(quien, reenvios.huella(mensaje));
        let anotar = |quien, mensaje, archivo| {
            reenvios.anotar(quien, reenvios.huella(mensaje), archivo);
        };
        assert_eq!(buscar("A", b"1"), None, "nada guardado");
        anotar("A", b"1", "1.res");
        assert_eq!(buscar("A", b"1").as_deref(), Some("1.res"));
        assert_eq!(buscar("B", b"1"), None, "otro equipo");
        assert_eq!(buscar("A", b"1\r"), None, "otros bytes");
        anotar("A", b"2", "2.res");
        assert_eq!(buscar("A", b"1"), None, "no es lo último");
    }

    #[test]
    fn los_equipos_que_se_recuerdan_estan_acotados() {
        let reenvios = Reenvios::default();
        let huella = reenvios.huella(b"1");
        for numero in 0..2 * MAX_EQUIPOS {
            reenvios.anotar(&numero.to_string(), huella, "1.res");
        }
        assert_eq!(tomar(&reenvios.ultimos).len(), MAX_EQUIPOS);
        let huella = reenvios.huella(b"2");
        reenvios.anotar("0", huella, "2.res");
        assert_eq!(reenvios.buscar("0", huella).as_deref(), Some("2.res"));
    }
}
