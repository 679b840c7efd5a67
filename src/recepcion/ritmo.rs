//! Los mensajes de cada una de las últimas 24 horas. No sabe de quién son ni qué hora es.

use chrono::NaiveDateTime;

pub(super) const HORAS: usize = 24;
const DIA_H: i64 = 24;
const HORA_S: i64 = 3600;

/// Cuántos hubo en cada hora de reloj.
#[derive(Debug, Default, Clone)]
pub(super) struct Ritmo {
    /// Cada hora, en el lugar que le toca en el día.
    mensajes: [u32; HORAS],
    /// La hora más reciente de la que se ha contado algo, desde 1970.
    ultima: i64,
}

impl Ritmo {
    /// Uno más, a esa hora.
    pub(super) fn contar(&mut self, cuando: NaiveDateTime) {
        let hora = numero(cuando);
        let nuevas = (hora - self.ultima).clamp(0, DIA_H);
        for olvidada in hora - nuevas + 1..=hora {
            self.mensajes[lugar(olvidada)] = 0;
        }
        self.ultima = self.ultima.max(hora);
        // De un reloj que retrocede más de un día no queda sitio.
        if hora > self.ultima - DIA_H {
            let cuantos = &mut self.mensajes[lugar(hora)];
            *cuantos = cuantos.saturating_add(1);
        }
    }

    /// Los de las últimas 24 horas, de la más vieja a la de ahora.
    pub(super) fn hasta(&self, ahora: NaiveDateTime) -> [u32; HORAS] {
        let ahora = numero(ahora);
        let mut horas = [0; HORAS];
        for (cuantos, hora) in horas.iter_mut().zip(ahora - DIA_H + 1..) {
            if hora <= self.ultima && hora > self.ultima - DIA_H {
                *cuantos = self.mensajes[lugar(hora)];
            }
        }
        horas
    }
}

fn numero(hora: NaiveDateTime) -> i64 {
    hora.and_utc().timestamp().div_euclid(HORA_S)
}

/// El resto nunca es negativo ni llega a 24.
fn lugar(hora: i64) -> usize {
    usize::try_from(hora.rem_euclid(DIA_H)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn el(dia: u32, hora: u32) -> NaiveDateTime {
        let fecha = NaiveDate::from_ymd_opt(2026, 9, dia).unwrap();
        fecha.and_hms_opt(hora, 59, 59).unwrap()
    }

    /// Las horas en que hubo algo, contadas hacia atrás, y cuántos.
    fn hace(ritmo: &Ritmo, ahora: NaiveDateTime) -> Vec<(usize, u32)> {
        let horas = ritmo.hasta(ahora).into_iter().rev().enumerate();
        horas.filter(|(_, cuantos)| *cuantos > 0).collect()
    }

    #[test]
    fn se_recuerdan_las_ultimas_veinticuatro_horas() {
        let mut ritmo = Ritmo::default();
        assert_eq!(hace(&ritmo, el(12, 9)), []);
        for hora in [9, 9, 10, 23] {
            ritmo.contar(el(12, hora));
        }
        assert_eq!(hace(&ritmo, el(12, 23)), [(0, 1), (13, 1), (14, 2)]);
        assert_eq!(hace(&ritmo, el(13, 8)), [(9, 1), (22, 1), (23, 2)]);
        assert_eq!(hace(&ritmo, el(13, 9)), [(10, 1), (23, 1)]);
        ritmo.contar(el(13, 9));
        assert_eq!(hace(&ritmo, el(13, 9)), [(0, 1), (10, 1), (23, 1)]);
        assert_eq!(hace(&ritmo, el(20, 9)), []);
        ritmo.contar(el(20, 9));
        assert_eq!(hace(&ritmo, el(20, 9)), [(0, 1)]);
    }

    #[test]
    fn un_reloj_que_retrocede_no_borra_nada() {
        let mut ritmo = Ritmo::default();
        ritmo.contar(el(12, 12));
        ritmo.contar(el(12, 11));
        ritmo.contar(el(10, 12));
        assert_eq!(hace(&ritmo, el(12, 12)), [(0, 1), (1, 1)]);
        assert_eq!(hace(&ritmo, el(12, 11)), [(0, 1)]);
    }
}
