//! Lo que se ve mientras se envía: las líneas, y la del avance. No sabe qué dicen ni qué se envía.

use std::io::Write;
use std::time::{Duration, Instant};

/// Cada cuánto se reescribe el avance en una terminal…
const CADA_REESCRITURA: Duration = Duration::from_millis(200);
/// …y cada cuánto se dice donde no se puede reescribir.
const CADA_LINEA: Duration = Duration::from_secs(5);
const BARRA: usize = 20;

/// Donde se dice lo que pasa.
pub(super) struct Pantalla<'a, W: Write> {
    salida: &'a mut W,
    /// Si una línea se puede reescribir.
    es_terminal: bool,
    /// Cuántas letras tiene la línea que se está reescribiendo.
    reescrita: usize,
    comienzo: Instant,
    avisado: Instant,
}

impl<'a, W: Write> Pantalla<'a, W> {
    pub(super) fn new(salida: &'a mut W, es_terminal: bool) -> Pantalla<'a, W> {
        let ahora = Instant::now();
        Pantalla {
            salida,
            es_terminal,
            reescrita: 0,
            comienzo: ahora,
            avisado: ahora,
        }
    }

    pub(super) fn decir(&mut self, linea: &str) {
        self.limpiar();
        // Si nadie lee el resultado, el envío sigue igual.
        let _ = writeln!(self.salida, "{linea}");
    }

    /// Dice el avance, si toca.
    pub(super) fn avanzar(&mut self, hechos: usize, total: usize) {
        let cada = if self.es_terminal {
            CADA_REESCRITURA
        } else {
            CADA_LINEA
        };
        if self.avisado.elapsed() < cada {
            return;
        }
        self.avisado = Instant::now();
        let linea = presentar(hechos, total, self.comienzo.elapsed());
        if !self.es_terminal {
            self.decir(&linea);
            return;
        }
        let ancho = linea.chars().count();
        let sobra = self.reescrita.saturating_sub(ancho);
        let _ = write!(self.salida, "\r{linea}{}", " ".repeat(sobra));
        let _ = self.salida.flush();
        self.reescrita = ancho;
    }

    fn limpiar(&mut self) {
        if self.reescrita > 0 {
            let _ = write!(self.salida, "\r{}\r", " ".repeat(self.reescrita));
            let _ = self.salida.flush();
            self.reescrita = 0;
        }
    }
}

impl<W: Write> Drop for Pantalla<'_, W> {
    fn drop(&mut self) {
        self.limpiar();
    }
}

fn presentar(hechos: usize, total: usize, tiempo: Duration) -> String {
    let (hechos, total) = (hechos.max(1) as u128, total.max(hechos).max(1) as u128);
    let milisegundos = tiempo.as_millis().max(1);
    let llenos = usize::try_from(BARRA as u128 * hechos / total).unwrap_or(BARRA);
    let faltan = milisegundos * (total - hechos) / hechos / 1000;
    format!(
        "[{}{}] {hechos} de {total}, {} por segundo, faltan {}",
        "#".repeat(llenos),
        ".".repeat(BARRA - llenos),
        hechos * 1000 / milisegundos,
        duracion(faltan)
    )
}

fn duracion(segundos: u128) -> String {
    match segundos {
        0..60 => format!("{segundos} s"),
        60..3600 => format!("{} min {} s", segundos / 60, segundos % 60),
        _ => format!("{} h {} min", segundos / 3600, segundos / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn el_avance_dice_cuantos_a_que_paso_y_cuanto_falta() {
        #[rustfmt::skip]
        let avances = [
            (50, 100, 5, "[##########..........] 50 de 100, 10 por segundo, faltan 5 s"),
            (100, 100, 5, "[####################] 100 de 100, 20 por segundo, faltan 0 s"),
            (10, 10_000, 10, "[....................] 10 de 10000, 1 por segundo, faltan 2 h 46 min"),
        ];
        for (hechos, total, segundos, esperado) in avances {
            let linea = presentar(hechos, total, Duration::from_secs(segundos));
            assert_eq!(linea, esperado);
        }
    }

    #[test]
    fn en_una_terminal_el_avance_se_reescribe_y_se_borra_ante_otra_linea() {
        let mut salida = Vec::new();
        let mut pantalla = Pantalla::new(&mut salida, true);
        for hechos in [99, 1] {
            pantalla.avisado -= CADA_REESCRITURA;
            pantalla.avanzar(hechos, 100);
        }
        pantalla.decir("fin");
        drop(pantalla);
        let visto = String::from_utf8(salida).unwrap();
        let renglones: Vec<_> = visto.split('\r').collect();
        assert_eq!(renglones.len(), 5, "{visto:?}");
        assert_eq!((renglones[0], renglones[4]), ("", "fin\n"));
        assert!(renglones[1].starts_with("[###################.] 99 de 100, "));
        assert_eq!(renglones[3].trim(), "");
        assert_eq!(renglones[3].len(), renglones[2].trim_end().len());
    }
}
