//! Lo que se aparta, con medida: quien no envía más que basura no llena el disco.
//!
//! Cuenta, por equipo y por minuto, lo que no llegó a ser un mensaje. No sabe qué es ni dónde se
//! guarda; el reloj es un argumento.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cerrojo::tomar;

/// Cuántas cosas de un equipo se guardan en cada minuto; de las demás, solo la última.
pub(super) const MAX_POR_MINUTO: u32 = 60;
const MINUTO: Duration = Duration::from_mins(1);
/// Cuántos equipos se distinguen; lo de los demás se cuenta junto.
const MAX_EQUIPOS: usize = 1000;
const LOS_DEMAS: &str = "";

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
        let mut cuentas = tomar(&self.0);
        if cuentas.len() >= MAX_EQUIPOS && !cuentas.contains_key(quien) {
            // De quien hace rato que no envía nada así ya no hay nada que recordar.
            cuentas.retain(|_, cuenta| !cuenta.es_de_antes(ahora));
        }
        let quien = if cuentas.len() >= MAX_EQUIPOS && !cuentas.contains_key(quien) {
            LOS_DEMAS
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
        let mut cuentas = tomar(&self.0);
        let Some(cuenta) = suya(&mut cuentas, quien) else {
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
        if let Some(cuenta) = suya(&mut tomar(&self.0), quien) {
            cuenta.desmedido = None;
        }
    }
}

/// La cuenta de `quien` o, si no tiene una, la de los demás.
fn suya<'a>(cuentas: &'a mut HashMap<String, Cuenta>, quien: &str) -> Option<&'a mut Cuenta> {
    let cual = if cuentas.contains_key(quien) {
        quien
    } else {
        LOS_DEMAS
    };
    cuentas.get_mut(cual)
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
        assert_eq!(tomar(&desechos.0).len(), MAX_EQUIPOS + 1);
        // Lo que hicieron no lo paga quien llega después.
        for _ in 0..=MAX_POR_MINUTO {
            desechos.medir("de más", ahora);
        }
        // Pero lo de quien sigue enviando no se olvida.
        let despues = ahora + 2 * MINUTO;
        desechos.medir("7", ahora + MINUTO);
        assert_eq!(desechos.medir("otro", despues), Medida::Guardar);
        let cuentas = tomar(&desechos.0);
        let mut quedan: Vec<_> = cuentas.keys().map(String::as_str).collect();
        quedan.sort_unstable();
        assert_eq!(quedan, ["7", "otro"]);
    }

    #[test]
    fn a_quien_se_cuenta_con_los_demas_se_le_perdona_y_se_le_guarda_lo_ultimo() {
        let (desechos, comienzo) = (Desechos::default(), Instant::now());
        let al_segundo = |segundo| comienzo + Duration::from_secs(segundo);
        for numero in 0..MAX_EQUIPOS {
            desechos.medir(&numero.to_string(), comienzo);
        }
        let muchas = |segundo| {
            let medir = |_| desechos.medir("bueno", al_segundo(segundo));
            (0..=MAX_POR_MINUTO).map(medir).last().unwrap()
        };
        assert_eq!(muchas(0), Medida::DecirYContar);
        assert!(desechos.toca_la_ultima("bueno", comienzo));
        desechos.perdonar("bueno");
        assert_eq!(muchas(61), Medida::DecirYContar);
        assert!(!tomar(&desechos.0).contains_key("bueno"));
    }
}
