//! Los mensajes de cada una de las últimas 24 horas. No sabe de quién son ni qué hora es.

use chrono::{NaiveDateTime, Timelike};

pub(super) const HORAS: usize = 24;
const HORA_S: i64 = 3600;

/// El número de cada hora de reloj, contada desde 1970, y cuántos hubo en ella: el de una hora está en el
/// mismo sitio que el de esa hora de otro día, y ahí queda el último que se contó.
#[derive(Debug, Default, Clone)]
pub(super) struct Ritmo([(i64, u32); HORAS]);

impl Ritmo {
    /// Uno más, a esa hora.
    pub(super) fn contar(&mut self, cuando: NaiveDateTime) {
        let hora = numero(cuando);
        let (suya, cuantos) = &mut self.0[cuando.hour() as usize];
        if *suya != hora {
            (*suya, *cuantos) = (hora, 0);
        }
        *cuantos = cuantos.saturating_add(1);
    }

    /// Los de las últimas 24 horas, de la más vieja a la de ahora.
    pub(super) fn hasta(&self, ahora: NaiveDateTime) -> [u32; HORAS] {
        let mut horas = [0; HORAS];
        for (hora, cuantos) in self.0 {
            let hace = usize::try_from(numero(ahora) - hora);
            if let Some(sitio) = hace.ok().and_then(|hace| (HORAS - 1).checked_sub(hace)) {
                horas[sitio] = cuantos;
            }
        }
        horas
    }
}

fn numero(hora: NaiveDateTime) -> i64 {
    hora.and_utc().timestamp().div_euclid(HORA_S)
}

#[cfg(test)]
mod tests {
    use chrono::{NaiveDate, TimeDelta};

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
    fn un_reloj_que_retrocede_solo_borra_la_misma_hora_de_otro_dia() {
        let mut ritmo = Ritmo::default();
        ritmo.contar(el(12, 12));
        ritmo.contar(el(12, 11));
        ritmo.contar(el(10, 13));
        assert_eq!(hace(&ritmo, el(12, 12)), [(0, 1), (1, 1)]);
        assert_eq!(hace(&ritmo, el(12, 11)), [(0, 1)]);
        assert_eq!(hace(&ritmo, el(10, 13)), [(0, 1)]);
        ritmo.contar(el(10, 12));
        assert_eq!(hace(&ritmo, el(12, 12)), [(1, 1)]);
    }

    #[test]
    fn tras_corregir_un_reloj_adelantado_se_sigue_contando_y_lo_de_antes_no_se_pierde() {
        let un_ano = TimeDelta::days(365);
        // Adelantado por un solo mensaje, y tanto tiempo que de lo de antes no queda sitio.
        for adelantadas in [1, 1000] {
            let mut ritmo = Ritmo::default();
            for hora in 0..10 {
                ritmo.contar(el(12, hora));
            }
            for hora in 0..adelantadas {
                ritmo.contar(el(12, 10) + un_ano + TimeDelta::hours(hora));
            }
            for hora in 10..20 {
                ritmo.contar(el(12, hora));
            }
            let hace = hace(&ritmo, el(12, 19));
            let desde_la_correccion: Vec<_> = (0..10).map(|horas| (horas, 1)).collect();
            assert_eq!(hace[..10], desde_la_correccion, "{adelantadas}");
            assert_eq!(hace.len(), if adelantadas == 1 { 20 } else { 10 });
        }
    }
}
