//! Los mensajes de cada una de las últimas 24 horas. No sabe de quién son ni qué hora es.

use std::collections::BTreeMap;

use chrono::NaiveDateTime;

pub(super) const HORAS: usize = 24;
const DIA_H: i64 = 24;
const HORA_S: i64 = 3600;
/// Cuántas horas se recuerdan: las de un día, y otras tantas de un reloj que se adelantó o se atrasó.
const MAX_HORAS: usize = 2 * HORAS;

/// Cuántos hubo en cada hora de reloj, contada desde 1970.
#[derive(Debug, Default, Clone)]
pub(super) struct Ritmo(BTreeMap<i64, u32>);

impl Ritmo {
    /// Uno más, a esa hora.
    pub(super) fn contar(&mut self, cuando: NaiveDateTime) {
        let hora = numero(cuando);
        let cuantos = self.0.entry(hora).or_default();
        *cuantos = cuantos.saturating_add(1);
        if self.0.len() > MAX_HORAS {
            self.olvidar_la_mas_lejana(hora);
        }
    }

    /// Con el reloj en hora es la más vieja; tras corregir uno que iba adelantado, la más futura.
    fn olvidar_la_mas_lejana(&mut self, hora: i64) {
        let lejos = |extremo: Option<(&i64, _)>| extremo.map(|(otra, _)| otra.abs_diff(hora));
        if lejos(self.0.first_key_value()) > lejos(self.0.last_key_value()) {
            self.0.pop_first();
        } else {
            self.0.pop_last();
        }
    }

    /// Los de las últimas 24 horas, de la más vieja a la de ahora.
    pub(super) fn hasta(&self, ahora: NaiveDateTime) -> [u32; HORAS] {
        let mut horas = [0; HORAS];
        for (cuantos, hora) in horas.iter_mut().zip(numero(ahora) - DIA_H + 1..) {
            *cuantos = self.0.get(&hora).copied().unwrap_or_default();
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
    fn un_reloj_que_retrocede_no_borra_nada() {
        let mut ritmo = Ritmo::default();
        ritmo.contar(el(12, 12));
        ritmo.contar(el(12, 11));
        ritmo.contar(el(10, 12));
        assert_eq!(hace(&ritmo, el(12, 12)), [(0, 1), (1, 1)]);
        assert_eq!(hace(&ritmo, el(12, 11)), [(0, 1)]);
    }

    #[test]
    fn tras_corregir_un_reloj_adelantado_se_sigue_contando_y_lo_de_antes_no_se_pierde() {
        let un_ano = TimeDelta::days(365);
        // Adelantado por un solo mensaje, y tanto tiempo que de lo de antes no quedaría sitio.
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
            assert!(ritmo.0.len() <= MAX_HORAS);
        }
    }
}
