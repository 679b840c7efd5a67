//! Cuánto se aparta en una hora, y de quién: que la carpeta de apartados se llena hay que decirlo antes de
//! que llene el disco. No sabe qué se apartó; el reloj es un argumento.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Con más en una hora, se dice.
const MUCHOS: u64 = 100;
const HORA: Duration = Duration::from_hours(1);

/// Lo apartado en la hora en curso.
#[derive(Debug)]
pub(super) struct Aluvion {
    comienzo: Instant,
    por_equipo: BTreeMap<String, u64>,
    dicho: bool,
}

/// En la hora en curso se ha apartado mucho.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Muchos {
    pub(super) todos: u64,
    /// Quien más, y cuántos.
    pub(super) equipo: String,
    pub(super) suyos: u64,
}

impl Aluvion {
    pub(super) fn new(ahora: Instant) -> Aluvion {
        Aluvion {
            comienzo: ahora,
            por_equipo: BTreeMap::new(),
            dicho: false,
        }
    }

    /// Un apartado más de ese equipo.
    pub(super) fn contar(&mut self, equipo: &str) {
        match self.por_equipo.get_mut(equipo) {
            Some(cuantos) => *cuantos += 1,
            None => drop(self.por_equipo.insert(equipo.to_owned(), 1)),
        }
    }

    /// Si son muchos y aún no se ha dicho en esta hora. Pasada la hora, la cuenta empieza de nuevo.
    pub(super) fn mirar(&mut self, ahora: Instant) -> Option<Muchos> {
        let todos = self.por_equipo.values().sum();
        let muchos = (todos > MUCHOS && !self.dicho).then(|| {
            let (equipo, suyos) = self.por_equipo.iter().max_by_key(|(_, suyos)| **suyos)?;
            Some(Muchos {
                todos,
                equipo: equipo.clone(),
                suyos: *suyos,
            })
        });
        self.dicho |= muchos.is_some();
        if ahora.saturating_duration_since(self.comienzo) >= HORA {
            *self = Aluvion::new(ahora);
        }
        muchos.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se_dice_una_vez_por_hora_y_quien_manda_mas() {
        let comienzo = Instant::now();
        let al_minuto = |minuto| comienzo + Duration::from_mins(minuto);
        let mut aluvion = Aluvion::new(comienzo);
        for numero in 0..100 {
            aluvion.contar(if numero % 3 == 0 { "A" } else { "B" });
        }
        assert_eq!(aluvion.mirar(al_minuto(1)), None, "cien no son muchos");
        aluvion.contar("C");
        let muchos = Muchos {
            todos: 101,
            equipo: "B".to_owned(),
            suyos: 66,
        };
        assert_eq!(aluvion.mirar(al_minuto(2)), Some(muchos));
        aluvion.contar("C");
        assert_eq!(aluvion.mirar(al_minuto(59)), None, "ya se dijo");
        assert_eq!(aluvion.mirar(al_minuto(60)), None);
        for _ in 0..101 {
            aluvion.contar("C");
        }
        assert_eq!(aluvion.mirar(al_minuto(61)).unwrap().todos, 101);
        // Los últimos de una hora que nadie había mirado también se dicen.
        let mut aluvion = Aluvion::new(comienzo);
        for _ in 0..101 {
            aluvion.contar("A");
        }
        assert!(aluvion.mirar(al_minuto(90)).is_some());
    }
}
