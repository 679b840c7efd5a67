//! Cuánto puede tardar un mensaje en llegar: quien envía un byte de vez en cuando no retiene para
//! siempre la memoria de lo que lleva enviado. No sabe qué se lee; el reloj es un argumento.

use std::time::{Duration, Instant};

/// Del primer byte de un mensaje al último. En una línea serie de 9600 baudios caben en este tiempo
/// más de 3 MiB.
const PLAZO_DE_UN_MENSAJE: Duration = Duration::from_hours(1);

/// Desde cuándo se espera lo que está a medias en una conexión, si hay algo.
#[derive(Debug, Default)]
pub(super) struct Paciencia {
    desde: Option<Instant>,
    atendidos: u64,
}

impl Paciencia {
    /// Si lo que está a medias ya ha tardado demasiado. `atendidos` son los mensajes que la conexión
    /// ha entregado: cada uno empieza la cuenta.
    pub(super) fn se_agota(&mut self, a_medias: bool, atendidos: u64, ahora: Instant) -> bool {
        if !a_medias || atendidos != self.atendidos {
            (self.desde, self.atendidos) = (None, atendidos);
        }
        a_medias
            && ahora.saturating_duration_since(*self.desde.get_or_insert(ahora))
                >= PLAZO_DE_UN_MENSAJE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solo_se_agota_con_un_mismo_mensaje_a_medias_durante_una_hora() {
        let comienzo = Instant::now();
        let mut paciencia = Paciencia::default();
        let mut se_agota = |a_medias, atendidos, minuto| {
            paciencia.se_agota(a_medias, atendidos, comienzo + Duration::from_mins(minuto))
        };
        assert!(!se_agota(false, 0, 0));
        assert!(!se_agota(true, 0, 600), "calló diez horas antes de empezar");
        assert!(!se_agota(true, 0, 659));
        assert!(!se_agota(true, 1, 670), "es ya otro mensaje");
        assert!(!se_agota(true, 1, 729));
        assert!(se_agota(true, 1, 730));
        assert!(!se_agota(false, 1, 731));
    }
}
