//! Lo que se aparta, con medida: quien no envía más que basura no llena el disco.
//!
//! Cuenta, por equipo y por minuto, lo que no llegó a ser un mensaje. No sabe qué es ni dónde se
//! guarda; el reloj es un argumento.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Cuántas cosas de un equipo se guardan en cada minuto; de las demás, solo la última.
pub(super) const MAX_POR_MINUTO: u32 = 60;
const MINUTO: Duration = Duration::from_mins(1);
/// Cuántos equipos se distinguen; lo de los demás se cuenta junto.
const MAX_EQUIPOS: usize = 1000;

/// Qué se hace con algo que se aparta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medida {
    /// Se guarda.
    Guardar,
    /// Es la primera que no se guarda en este minuto: se cuenta, y se dice.
    DecirYContar,
    /// Se cuenta.
    Contar,
    /// Lleva un minuto así, sin un solo mensaje: se cierra la conexión.
    Cerrar,
}

/// Lo apartado de cada equipo.
#[derive(Debug, Default)]
pub(super) struct Desechos(Mutex<HashMap<String, Cuenta>>);

#[derive(Debug)]
struct Cuenta {
    /// Cuándo empezó el minuto en curso, y cuántas cosas van en él.
    minuto: Instant,
    cuantas: u32,
    /// Desde cuándo pasa de la medida sin entregar ningún mensaje.
    desmedido: Option<Instant>,
    /// Cuándo se guardó la última de las que no se guardaban.
    ultima: Option<Instant>,
}

impl Cuenta {
    fn es_de_antes(&self, ahora: Instant) -> bool {
        ahora.saturating_duration_since(self.minuto) >= 2 * MINUTO
    }
}

impl Desechos {
    /// Una cosa más de `quien` que no llegó a ser un mensaje.
    pub(super) fn medir(&self, quien: &str, ahora: Instant) -> Medida {
        let mut cuentas = self.tomar();
        if cuentas.len() >= MAX_EQUIPOS && !cuentas.contains_key(quien) {
            // De quien hace rato que no envía nada así ya no hay nada que recordar.
            cuentas.retain(|_, cuenta| !cuenta.es_de_antes(ahora));
        }
        let quien = if cuentas.len() >= MAX_EQUIPOS && !cuentas.contains_key(quien) {
            ""
        } else {
            quien
        };
        let cuenta = cuentas.entry(quien.to_owned()).or_insert(Cuenta {
            minuto: ahora,
            cuantas: 0,
            desmedido: None,
            ultima: None,
        });
        let transcurrido = ahora.saturating_duration_since(cuenta.minuto);
        if transcurrido >= MINUTO {
            if cuenta.cuantas <= MAX_POR_MINUTO || cuenta.es_de_antes(ahora) {
                cuenta.desmedido = None;
            }
            (cuenta.minuto, cuenta.cuantas) = (ahora, 0);
        }
        cuenta.cuantas = cuenta.cuantas.saturating_add(1);
        let es_la_primera = cuenta.cuantas == MAX_POR_MINUTO + 1;
        if cuenta.cuantas <= MAX_POR_MINUTO {
            return Medida::Guardar;
        }
        let desde = *cuenta.desmedido.get_or_insert(ahora);
        if ahora.saturating_duration_since(desde) >= MINUTO {
            Medida::Cerrar
        } else if es_la_primera {
            Medida::DecirYContar
        } else {
            Medida::Contar
        }
    }

    /// Si toca guardar la última de las que no se guardaron: a lo sumo una por minuto, que quien se
    /// conecta para cada una tampoco llene el disco.
    pub(super) fn toca_la_ultima(&self, quien: &str, ahora: Instant) -> bool {
        let mut cuentas = self.tomar();
        let Some(cuenta) = cuentas.get_mut(quien) else {
            return false;
        };
        let antes = cuenta.ultima;
        let toca = antes.is_none_or(|antes| ahora.saturating_duration_since(antes) >= MINUTO);
        if toca {
            cuenta.ultima = Some(ahora);
        }
        toca
    }

    /// `quien` entregó un mensaje: no envía solo basura.
    pub(super) fn perdonar(&self, quien: &str) {
        if let Some(cuenta) = self.tomar().get_mut(quien) {
            cuenta.desmedido = None;
        }
    }

    fn tomar(&self) -> MutexGuard<'_, HashMap<String, Cuenta>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lo que se decide de una cosa cada `cada`, hasta `hasta`; `perdonando` a los 45 s si se pide.
    fn medidas(cada: Duration, hasta: Duration, perdonando: bool) -> Vec<Medida> {
        let (desechos, comienzo) = (Desechos::default(), Instant::now());
        let mut medidas = Vec::new();
        let mut transcurrido = Duration::ZERO;
        while transcurrido < hasta {
            medidas.push(desechos.medir("A", comienzo + transcurrido));
            if perdonando && transcurrido.as_secs() % 45 == 44 {
                desechos.perdonar("A");
            }
            transcurrido += cada;
        }
        medidas
    }

    fn cuantas(medidas: &[Medida], cual: Medida) -> usize {
        medidas.iter().filter(|medida| **medida == cual).count()
    }

    #[test]
    fn hasta_sesenta_por_minuto_se_guarda_todo() {
        let medidas = medidas(Duration::from_secs(1), Duration::from_mins(10), false);
        assert_eq!(cuantas(&medidas, Medida::Guardar), 600);
    }

    #[test]
    fn lo_que_pasa_de_la_medida_se_cuenta_y_al_minuto_se_cierra() {
        let medidas = medidas(Duration::from_millis(100), Duration::from_mins(2), false);
        assert_eq!(cuantas(&medidas[..600], Medida::Guardar), 60);
        assert_eq!(medidas[60], Medida::DecirYContar);
        assert_eq!(cuantas(&medidas[..600], Medida::DecirYContar), 1);
        assert_eq!(cuantas(&medidas[..600], Medida::Cerrar), 0);
        let cierre = medidas.iter().position(|medida| *medida == Medida::Cerrar);
        assert_eq!(cierre, Some(660), "un minuto después de pasarse");
    }

    #[test]
    fn a_quien_ademas_entrega_mensajes_no_se_le_cierra() {
        let medidas = medidas(Duration::from_millis(100), Duration::from_mins(10), true);
        assert_eq!(cuantas(&medidas, Medida::Cerrar), 0);
        assert_eq!(cuantas(&medidas, Medida::Guardar), 600);
    }

    #[test]
    fn la_ultima_se_guarda_a_lo_sumo_una_vez_por_minuto() {
        let (desechos, ahora) = (Desechos::default(), Instant::now());
        desechos.medir("A", ahora);
        let tocan = [0, 1, 59, 60, 61]
            .map(|segundo| desechos.toca_la_ultima("A", ahora + Duration::from_secs(segundo)));
        assert_eq!(tocan, [true, false, false, true, false]);
        assert!(!desechos.toca_la_ultima("B", ahora));
    }

    #[test]
    fn los_equipos_que_se_distinguen_estan_acotados() {
        let (desechos, ahora) = (Desechos::default(), Instant::now());
        for numero in 0..2 * MAX_EQUIPOS {
            desechos.medir(&numero.to_string(), ahora);
        }
        assert_eq!(desechos.tomar().len(), MAX_EQUIPOS + 1);
        // Lo que hicieron no lo paga quien llega después.
        for _ in 0..=MAX_POR_MINUTO {
            desechos.medir("de más", ahora);
        }
        let despues = ahora + 2 * MINUTO;
        assert_eq!(desechos.medir("otro", despues), Medida::Guardar);
        assert!(desechos.tomar().contains_key("otro"));
        assert_eq!(desechos.tomar().len(), 1);
    }
}
