//! Los bytes llegados de una conexión que aún no son de ningún suceso entregado.
//!
//! Crece con el mensaje que llega, y su memoria se devuelve en cuanto se entrega. No sabe qué es un
//! mensaje: las posiciones se cuentan desde el primer byte pendiente.

/// Lo que ocupa en una conexión ociosa; casi todo mensaje de un analizador cabe.
pub(super) const BUFER_BYTES: usize = 8 * 1024;
/// Cuánto crece a lo sumo de una vez: un mensaje que llega ocupa lo que mide y poco más.
const PASO_BYTES: usize = 192 * 1024;

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
        let pendiente = self.fin - self.inicio;
        let sobra = self.bytes.len() > BUFER_BYTES && pendiente <= BUFER_BYTES / 2;
        if sobra || pendiente == 0 || (self.fin == self.bytes.len() && self.inicio > 0) {
            self.bytes.copy_within(self.inicio..self.fin, 0);
            (self.inicio, self.fin) = (0, pendiente);
        }
        if sobra {
            self.bytes.truncate(BUFER_BYTES);
            self.bytes.shrink_to_fit();
        }
        self.fin < self.bytes.len() || self.crecer(tope)
    }

    fn crecer(&mut self, tope: usize) -> bool {
        let longitud = self.bytes.len() + self.bytes.len().min(PASO_BYTES);
        let falta = longitud.min(tope).saturating_sub(self.bytes.len());
        if falta == 0 || self.bytes.try_reserve_exact(falta).is_err() {
            return false;
        }
        self.bytes.resize(self.bytes.len() + falta, 0);
        true
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
