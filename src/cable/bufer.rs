//! Los bytes llegados de una conexión que aún no son de ningún suceso entregado.
//!
//! Crece con el mensaje que llega, y encoge cuando se le pide: pedir al sistema la memoria de cada
//! mensaje grande cuesta casi tanto como escribirlo. No sabe qué es un mensaje: las posiciones se
//! cuentan desde el primer byte pendiente.

use crate::memoria::{self, encoger};

/// Lo que ocupa en una conexión ociosa; casi todo mensaje de un analizador cabe.
pub(super) const BUFER_BYTES: usize = 8 * 1024;
/// Cuánto crece a lo sumo de una vez: un mensaje que llega ocupa lo que mide y poco más.
const PASO_BYTES: usize = 128 * 1024;
/// Qué parte de lo que ya mide se reserva de más, sin tocarla: lo que no se toca no ocupa, y así mudarse
/// de sitio cuesta en total lo que mide el mensaje y no su cuadrado.
const PARTES_DE_RESERVA: usize = 4;
/// Lo que un mensaje deja libre al crecer: si se llevara la última memoria, lo siguiente que el programa
/// pidiera, por poco que fuese, acabaría con él.
const COLCHON_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Bufer {
    bytes: Vec<u8>,
    /// Lo pendiente ocupa `inicio..fin`.
    inicio: usize,
    fin: usize,
}

impl Bufer {
    pub(super) fn new() -> Bufer {
        Bufer {
            bytes: vec![0; BUFER_BYTES],
            inicio: 0,
            fin: 0,
        }
    }

    pub(super) fn pendiente(&self) -> &[u8] {
        &self.bytes[self.inicio..self.fin]
    }

    /// Deja atrás los primeros `cuantos` bytes pendientes.
    pub(super) fn soltar(&mut self, cuantos: usize) {
        self.inicio = self.fin.min(self.inicio + cuantos);
    }

    /// Deja atrás los primeros `sigue` bytes pendientes y da los primeros `hasta`.
    pub(super) fn separar(&mut self, hasta: usize, sigue: usize) -> &[u8] {
        let desde = self.inicio;
        self.soltar(sigue);
        &self.bytes[desde..desde + hasta]
    }

    /// Prepara sitio para leer sin pasar de `tope` bytes. Dice si lo hay: puede no haber memoria.
    pub(super) fn hacer_sitio(&mut self, tope: usize) -> bool {
        if self.inicio == self.fin || self.fin == self.bytes.len() {
            self.juntar();
        }
        self.fin < self.bytes.len() || self.crecer(tope)
    }

    /// Si ocupa bastante más que lo pendiente.
    pub(super) fn sobra(&self) -> bool {
        let pendiente = self.fin - self.inicio;
        let de_un_mensaje = pendiente > BUFER_BYTES / 2;
        let necesita = if de_un_mensaje {
            pendiente + PASO_BYTES
        } else {
            BUFER_BYTES
        };
        self.bytes.len() > necesita
    }

    /// Devuelve la memoria que lo pendiente no ocupa.
    pub(super) fn encoger(&mut self) {
        self.juntar();
        encoger(&mut self.bytes, self.fin.max(BUFER_BYTES));
    }

    /// Lleva lo pendiente al principio.
    fn juntar(&mut self) {
        if self.inicio > 0 {
            self.bytes.copy_within(self.inicio..self.fin, 0);
            (self.inicio, self.fin) = (0, self.fin - self.inicio);
        }
    }

    fn crecer(&mut self, tope: usize) -> bool {
        let actual = self.bytes.len();
        let longitud = (actual + actual.min(PASO_BYTES)).min(tope);
        if longitud <= actual || !self.reservar(longitud - actual, tope) {
            return false;
        }
        self.bytes.resize(longitud, 0);
        true
    }

    /// Reserva lo que `falta` y, si se puede, algo más sin pasar de `tope`.
    fn reservar(&mut self, falta: usize, tope: usize) -> bool {
        let actual = self.bytes.len();
        if self.bytes.capacity() - actual >= falta {
            return true;
        }
        let con_reserva = (actual / PARTES_DE_RESERVA).clamp(falta, tope - actual);
        let _turno = memoria::turno();
        [con_reserva, falta].into_iter().any(|mas| {
            memoria::hay(mas + COLCHON_BYTES) && self.bytes.try_reserve_exact(mas).is_ok()
        })
    }

    /// Donde poner los bytes que lleguen, tras [`Bufer::hacer_sitio`].
    pub(super) fn hueco(&mut self) -> &mut [u8] {
        &mut self.bytes[self.fin..]
    }

    /// Llegaron `cuantos` bytes al hueco.
    pub(super) fn avanzar(&mut self, cuantos: usize) {
        self.fin = self.bytes.len().min(self.fin + cuantos);
    }
}

impl Drop for Bufer {
    fn drop(&mut self) {
        encoger(&mut self.bytes, BUFER_BYTES);
    }
}
