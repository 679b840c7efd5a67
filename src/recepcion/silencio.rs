//! El silencio de un equipo: cuándo cuenta y tras cuánto se avisa.
//!
//! Es puro: la hora es un argumento.

use std::time::Duration;

use chrono::{NaiveTime, Timelike};

/// Minutos de un día.
const DIA: u32 = 24 * 60;

/// Cuándo se avisa de que un equipo calla.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvisoDeSilencio {
    /// Clave `AvisoSilencioMin`; `None`: no se avisa.
    pub(crate) tras: Option<Duration>,
    /// Clave `AvisoSilencioHoras`: fuera de ellas el silencio no cuenta.
    pub(crate) horas: Horas,
}

impl AvisoDeSilencio {
    /// No se avisa nunca.
    pub(super) const NUNCA: AvisoDeSilencio = AvisoDeSilencio {
        tras: None,
        horas: Horas::TODAS,
    };
}

/// Lo que lleva callado un equipo, de una mirada a otra.
#[derive(Debug, Default)]
pub(super) struct Callado {
    /// Lo que cuenta: fuera de las horas del aviso no crece.
    contado: Duration,
    dicho: bool,
}

impl Callado {
    /// Ha llegado un mensaje.
    pub(super) fn romper(&mut self) {
        self.contado = Duration::ZERO;
    }

    /// Si calla más de lo que su aviso admite.
    pub(super) fn calla(&self) -> bool {
        self.dicho
    }

    /// Pasa otro rato, a esa hora. `Some` si hay algo que decir y no se dijo: que calla, o que ya no.
    pub(super) fn mirar(
        &mut self,
        aviso: AvisoDeSilencio,
        rato: Duration,
        hora: NaiveTime,
    ) -> Option<bool> {
        let tras = aviso.tras?;
        if aviso.horas.contienen(hora) {
            self.contado += rato;
        }
        let calla = self.contado >= tras;
        (calla != self.dicho).then(|| {
            self.dicho = calla;
            calla
        })
    }
}

/// Las horas del día desde una hasta otra, que puede ser del día siguiente.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Horas {
    /// En minutos desde medianoche.
    desde: u32,
    hasta: u32,
}

impl Horas {
    /// El día entero.
    pub(crate) const TODAS: Horas = Horas {
        desde: 0,
        hasta: DIA,
    };

    /// Lee `7-20` o `22:30-6`; `None` si no son dos horas distintas.
    pub(crate) fn leer(texto: &str) -> Option<Horas> {
        let (desde, hasta) = texto.split_once(['-', '–'])?;
        let (desde, hasta) = (leer_hora(desde)?, leer_hora(hasta)?);
        (desde < DIA && desde != hasta).then_some(Horas { desde, hasta })
    }

    /// Si esa hora está entre ellas; la primera está, y la última no.
    pub(crate) fn contienen(self, hora: NaiveTime) -> bool {
        let minuto = hora.num_seconds_from_midnight() / 60;
        if self.desde < self.hasta {
            (self.desde..self.hasta).contains(&minuto)
        } else {
            minuto >= self.desde || minuto < self.hasta
        }
    }
}

/// Los minutos de `7`, `07:00` o `24`.
fn leer_hora(texto: &str) -> Option<u32> {
    let leer = |cifras: &str, maximo: u32| {
        let son_cifras = cifras.bytes().all(|octeto| octeto.is_ascii_digit());
        let numero: u32 = cifras.parse().ok()?;
        (son_cifras && cifras.len() <= 2 && numero <= maximo).then_some(numero)
    };
    let texto = texto.trim();
    let (horas, minutos) = texto.split_once(':').unwrap_or((texto, "0"));
    let total = leer(horas, 24)? * 60 + leer(minutos, 59)?;
    (total <= DIA).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unas_horas_se_leen_tambien_si_pasan_de_medianoche_y_lo_demas_no_sirve() {
        let a_las = |h, m| NaiveTime::from_hms_opt(h, m, 59).unwrap();
        for (texto, dentro, fuera) in [
            ("7-20", &[(7, 0), (19, 59)][..], &[(6, 59), (20, 0)][..]),
            (
                " 07:30 – 20:15 ",
                &[(7, 30), (20, 14)],
                &[(7, 29), (20, 15)],
            ),
            (
                "20-7",
                &[(20, 0), (23, 59), (0, 0), (6, 59)],
                &[(7, 0), (19, 59)],
            ),
            ("0-24", &[(0, 0), (23, 59)], &[]),
            ("8-24", &[(8, 0), (23, 59)], &[(0, 0), (7, 59)]),
            ("8-0", &[(8, 0), (23, 59)], &[(0, 0), (7, 59)]),
        ] {
            let horas = Horas::leer(texto).unwrap();
            for (h, m) in dentro {
                assert!(horas.contienen(a_las(*h, *m)), "{texto} {h}:{m}");
            }
            for (h, m) in fuera {
                assert!(!horas.contienen(a_las(*h, *m)), "{texto} {h}:{m}");
            }
        }
        for malas in [
            "", "-", "7", "7-", "-20", "7-25", "7-7", "24-7", "7-20-22", "7:60-8", "7-24:01",
            "+7-8", "a-b", "7:-8", "007-8",
        ] {
            assert_eq!(Horas::leer(malas), None, "{malas}");
        }
    }
}
