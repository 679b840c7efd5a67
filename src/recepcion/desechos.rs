//! Lo que se aparta, con medida: quien no envía más que basura no llena el disco.
//!
//! Cuenta, por minuto, lo de un equipo que no llegó a ser un mensaje. No sabe qué es ni dónde se guarda; el
//! reloj es un argumento.

use std::time::{Duration, Instant};

/// Cuántas cosas de un equipo se guardan en cada minuto; de las demás, solo la última.
pub(super) const MAX_POR_MINUTO: u32 = 60;
const MINUTO: Duration = Duration::from_mins(1);

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

/// Lo que un equipo ha enviado que no es un mensaje.
#[derive(Debug, Default)]
pub(super) struct Desechos {
    /// Cuándo empezó el minuto en curso, y cuántas cosas van en él.
    minuto: Option<Instant>,
    cuantas: u32,
    /// Desde cuándo pasa de la medida sin entregar ningún mensaje.
    desmedido: Option<Instant>,
    /// Cuándo se guardó la última de las que no se guardaban.
    ultima: Option<Instant>,
}

impl Desechos {
    /// Una cosa más que no llegó a ser un mensaje.
    pub(super) fn medir(&mut self, ahora: Instant) -> Medida {
        let transcurrido = ahora.saturating_duration_since(*self.minuto.get_or_insert(ahora));
        if transcurrido >= MINUTO {
            if self.cuantas <= MAX_POR_MINUTO || transcurrido >= 2 * MINUTO {
                self.desmedido = None;
            }
            (self.minuto, self.cuantas) = (Some(ahora), 0);
        }
        self.cuantas = self.cuantas.saturating_add(1);
        if self.cuantas <= MAX_POR_MINUTO {
            return Medida::Guardar;
        }
        let desde = *self.desmedido.get_or_insert(ahora);
        if ahora.saturating_duration_since(desde) >= MINUTO {
            Medida::Cerrar
        } else if self.cuantas == MAX_POR_MINUTO + 1 {
            Medida::DecirYContar
        } else {
            Medida::Contar
        }
    }

    /// Si toca guardar la última de las que no se guardaron: a lo sumo una por minuto, que quien se
    /// conecta para cada una tampoco llene el disco.
    pub(super) fn toca_la_ultima(&mut self, ahora: Instant) -> bool {
        let toca = self
            .ultima
            .is_none_or(|antes| ahora.saturating_duration_since(antes) >= MINUTO);
        if toca {
            self.ultima = Some(ahora);
        }
        toca
    }

    /// El equipo entregó un mensaje: no envía solo basura.
    pub(super) fn perdonar(&mut self) {
        self.desmedido = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lo que se decide de una cosa cada `cada`, hasta `hasta`; `perdonando` a los 45 s si se pide.
    fn medidas(cada: Duration, hasta: Duration, perdonando: bool) -> Vec<Medida> {
        let (mut desechos, comienzo) = (Desechos::default(), Instant::now());
        let mut medidas = Vec::new();
        let mut transcurrido = Duration::ZERO;
        while transcurrido < hasta {
            medidas.push(desechos.medir(comienzo + transcurrido));
            if perdonando && transcurrido.as_secs() % 45 == 44 {
                desechos.perdonar();
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

    /// El minuto que se tolera es uno seguido: ni el de ayer, ni el de antes de uno sin pasarse.
    #[test]
    fn quien_dejo_de_pasarse_de_la_medida_tiene_otra_vez_un_minuto_entero() {
        for (cosas_y_cuando, al_final) in [
            (&[(61, 0), (61, 60)][..], Medida::Cerrar),
            (&[(61, 0), (61, 120)], Medida::DecirYContar),
            (&[(61, 0), (60, 60), (61, 120)], Medida::DecirYContar),
            (&[(61, 0), (61, 59), (61, 119)], Medida::Cerrar),
        ] {
            let (mut desechos, comienzo) = (Desechos::default(), Instant::now());
            let mut ultima = Medida::Guardar;
            for (cuantas, segundo) in cosas_y_cuando {
                for _ in 0..*cuantas {
                    ultima = desechos.medir(comienzo + Duration::from_secs(*segundo));
                }
            }
            assert_eq!(ultima, al_final, "{cosas_y_cuando:?}");
        }
    }

    #[test]
    fn la_ultima_se_guarda_a_lo_sumo_una_vez_por_minuto() {
        let (mut desechos, ahora) = (Desechos::default(), Instant::now());
        let tocan = [0, 1, 59, 60, 61]
            .map(|segundo| desechos.toca_la_ultima(ahora + Duration::from_secs(segundo)));
        assert_eq!(tocan, [true, false, false, true, false]);
    }
}
