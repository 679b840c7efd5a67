//! Los números de una ronda y los de todas.

use std::time::Duration;

use crate::caso::Caso;
use crate::proceso::Gasto;

/// Una ronda de un caso.
#[derive(Clone, Default)]
pub(crate) struct Medida {
    /// Mensajes por segundo.
    pub(crate) ritmo: f64,
    /// Milisegundos desde que se envió hasta que se leyó su acuse.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Solo de un proceso aparte, y solo en Linux.
    pub(crate) gasto: Option<Gasto>,
}

impl Medida {
    pub(crate) fn new(caso: &Caso, segundos: f64, mut esperas: Vec<Duration>) -> Medida {
        assert_eq!(esperas.len(), caso.mensajes, "{}", caso.nombre);
        esperas.sort();
        let percentil = |ciento: usize| {
            let puesto = (esperas.len() * ciento).div_ceil(100).max(1) - 1;
            esperas[puesto].as_secs_f64() * 1e3
        };
        Medida {
            ritmo: caso.mensajes as f64 / segundos,
            p50: percentil(50),
            p99: percentil(99),
            gasto: None,
        }
    }
}

/// La mediana de lo que se diga de cada ronda.
pub(crate) fn mediana(valores: impl Iterator<Item = f64>) -> f64 {
    let mut valores: Vec<_> = valores.collect();
    valores.sort_by(f64::total_cmp);
    match valores.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => valores[n / 2],
        n => f64::midpoint(valores[n / 2 - 1], valores[n / 2]),
    }
}
