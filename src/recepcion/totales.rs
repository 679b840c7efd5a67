//! Lo recibido de cada equipo: para las tablas, la última línea de la consola y los silencios.
//!
//! No sabe cuándo se dice nada de esto: la hora y el reloj son argumentos.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::NaiveDateTime;

use crate::recepcion::equipo;

/// Cuántos equipos se cuentan uno por uno; los demás, juntos: a la red puede conectarse cualquiera.
const MAX_EQUIPOS: usize = 1000;
const LOS_DEMAS: &str = "los demás";

/// Qué fue de un mensaje.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destino {
    /// Está a salvo, y guardarlo costó este tiempo.
    Guardado(Duration),
    /// No se pudo guardar.
    Fallido,
    /// No se pudo aceptar.
    Rechazado,
}

/// Las cuentas de todos los equipos, que comparten todas las conversaciones.
#[derive(Debug, Default)]
pub(super) struct Totales {
    cuentas: Mutex<Cuentas>,
    contestados: AtomicU64,
}

#[derive(Debug, Default)]
struct Cuentas {
    equipos: BTreeMap<String, Cuenta>,
    /// Lo que ya dijeron tablas anteriores.
    anterior: Suma,
}

#[derive(Debug, Default)]
struct Cuenta {
    /// Desde la última tabla.
    suma: Suma,
    ultimo: Option<(NaiveDateTime, Instant)>,
    callado: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Suma {
    guardados: u64,
    bytes: u64,
    fallidos: u64,
    rechazados: u64,
    apartados: u64,
    mas_lento: Duration,
}

impl AddAssign for Suma {
    fn add_assign(&mut self, otra: Suma) {
        self.guardados += otra.guardados;
        self.bytes += otra.bytes;
        self.fallidos += otra.fallidos;
        self.rechazados += otra.rechazados;
        self.apartados += otra.apartados;
        self.mas_lento = self.mas_lento.max(otra.mas_lento);
    }
}

/// Un equipo que enviaba y ha callado, o que callaba y ha vuelto a enviar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silencio {
    /// No envía desde esa hora.
    Calla(NaiveDateTime),
    /// Envió a esa hora.
    Vuelve(NaiveDateTime),
}

impl Totales {
    /// Un mensaje más de `equipo`, de esa longitud en bytes, que se tuvo entero a esa hora.
    pub(super) fn recibido(
        &self,
        equipo: &str,
        longitud: usize,
        destino: Destino,
        (hora, instante): (NaiveDateTime, Instant),
    ) {
        self.anotar(equipo, |cuenta| {
            cuenta.ultimo = Some((hora, instante));
            match destino {
                Destino::Guardado(tardo) => {
                    cuenta.suma.guardados += 1;
                    cuenta.suma.bytes += longitud as u64;
                    cuenta.suma.mas_lento = cuenta.suma.mas_lento.max(tardo);
                }
                Destino::Fallido => cuenta.suma.fallidos += 1,
                Destino::Rechazado => cuenta.suma.rechazados += 1,
            }
        });
    }

    /// Unos bytes más de `equipo` en `apartados`.
    pub(super) fn apartado(&self, equipo: &str) {
        self.anotar(equipo, |cuenta| cuenta.suma.apartados += 1);
    }

    /// Cuándo se tuvo entero el último mensaje de `equipo`.
    #[must_use]
    pub(super) fn ultimo(&self, equipo: &str) -> Option<Instant> {
        let cuentas = self.tomar();
        let (_, instante) = cuentas.equipos.get(equipo)?.ultimo?;
        Some(instante)
    }

    /// El número de lo que se va a contestar, desde 0.
    pub(super) fn numerar(&self) -> u64 {
        self.contestados.fetch_add(1, Ordering::Relaxed)
    }

    /// Lo recibido desde la tabla anterior, una línea por equipo bajo su encabezado; vacía si
    /// ninguno ha enviado nada desde el arranque.
    pub(super) fn tabla(&self) -> Vec<String> {
        let mut cuentas = self.tomar();
        let Cuentas { equipos, anterior } = &mut *cuentas;
        if equipos.is_empty() {
            return Vec::new();
        }
        let ancho = equipo::ancho(equipos.keys().map(String::as_str));
        let mut lineas = vec![format!(
            "{:<ancho$} {:>9} {:>11} {:>10} {:>9} {:>11}  {:<11} {:>9}",
            "equipo",
            "guardados",
            "sin guardar",
            "rechazados",
            "apartados",
            "bytes",
            "último",
            "más lento"
        )];
        for (equipo, cuenta) in equipos {
            let suma = std::mem::take(&mut cuenta.suma);
            let ultimo = match cuenta.ultimo {
                Some((hora, _)) => hora.format("%d/%m %H:%M").to_string(),
                None => "ninguno".to_owned(),
            };
            let mas_lento = match suma.guardados {
                0 => "—".to_owned(),
                _ => format!("{} ms", suma.mas_lento.as_millis()),
            };
            lineas.push(format!(
                "{equipo:<ancho$} {:>9} {:>11} {:>10} {:>9} {:>11}  {ultimo:<11} {mas_lento:>9}",
                suma.guardados, suma.fallidos, suma.rechazados, suma.apartados, suma.bytes,
            ));
            *anterior += suma;
        }
        lineas
    }

    /// Los equipos que enviaban y no envían desde hace `limite`, y los que han vuelto; cada cosa se
    /// dice una vez.
    pub(super) fn silencios(&self, limite: Duration, ahora: Instant) -> Vec<(String, Silencio)> {
        let mut novedades = Vec::new();
        for (equipo, cuenta) in &mut self.tomar().equipos {
            let Some((hora, instante)) = cuenta.ultimo else {
                continue;
            };
            let callado = ahora.saturating_duration_since(instante) >= limite;
            if callado != cuenta.callado {
                cuenta.callado = callado;
                let novedad = if callado {
                    Silencio::Calla(hora)
                } else {
                    Silencio::Vuelve(hora)
                };
                novedades.push((equipo.clone(), novedad));
            }
        }
        novedades
    }

    fn anotar(&self, equipo: &str, anotacion: impl FnOnce(&mut Cuenta)) {
        let equipos = &mut self.tomar().equipos;
        if let Some(cuenta) = equipos.get_mut(equipo) {
            return anotacion(cuenta);
        }
        let equipo = if equipos.len() < MAX_EQUIPOS {
            equipo
        } else {
            LOS_DEMAS
        };
        anotacion(equipos.entry(equipo.to_owned()).or_default());
    }

    fn tomar(&self) -> MutexGuard<'_, Cuentas> {
        self.cuentas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lo hecho desde el arranque, entre todos los equipos.
impl fmt::Display for Totales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cuentas = self.tomar();
        let mut total = cuentas.anterior;
        for cuenta in cuentas.equipos.values() {
            total += cuenta.suma;
        }
        write!(
            f,
            "mensajes guardados: {} ({} bytes), sin guardar: {}, rechazados: {}, apartados: {}",
            total.guardados, total.bytes, total.fallidos, total.rechazados, total.apartados
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_las(minuto: u64) -> (NaiveDateTime, Instant) {
        static ARRANQUE: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let transcurrido = Duration::from_mins(minuto);
        let dia = chrono::NaiveDate::from_ymd_opt(2026, 9, 12).unwrap();
        (
            dia.and_hms_opt(9, 0, 0).unwrap() + transcurrido,
            *ARRANQUE + transcurrido,
        )
    }

    fn guardado(ms: u64) -> Destino {
        Destino::Guardado(Duration::from_millis(ms))
    }

    #[test]
    fn cada_tabla_dice_lo_recibido_desde_la_anterior_y_el_total_lo_suma_todo() {
        let totales = Totales::default();
        assert!(totales.tabla().is_empty());
        totales.recibido("BC-20", 100, guardado(3), a_las(0));
        totales.recibido("BC-20", 50, guardado(12), a_las(1));
        totales.recibido("BC-20", 7, Destino::Rechazado, a_las(2));
        totales.apartado("BC-20");
        totales.recibido("10.0.0.9", 1, Destino::Fallido, a_las(3));
        let esperadas = [
            "equipo guardados sin guardar rechazados apartados bytes último más lento",
            "10.0.0.9 0 1 0 0 0 12/09 09:03 —",
            "BC-20 2 0 1 1 150 12/09 09:02 12 ms",
        ];
        let sin_columnas = |lineas: Vec<String>| -> Vec<String> {
            let palabras = |linea: &String| linea.split_whitespace().collect::<Vec<_>>().join(" ");
            lineas.iter().map(palabras).collect()
        };
        let tabla = totales.tabla();
        let anchos: Vec<_> = tabla.iter().map(|linea| linea.chars().count()).collect();
        assert!(anchos.iter().all(|ancho| *ancho == anchos[0]), "{anchos:?}");
        assert_eq!(sin_columnas(tabla), esperadas);
        totales.recibido("BC-20", 1, guardado(1), a_las(4));
        assert_eq!(
            sin_columnas(totales.tabla())[1..],
            [
                "10.0.0.9 0 0 0 0 0 12/09 09:03 —",
                "BC-20 1 0 0 0 1 12/09 09:04 1 ms",
            ]
        );
        assert_eq!(
            totales.to_string(),
            "mensajes guardados: 3 (151 bytes), sin guardar: 1, rechazados: 1, apartados: 1"
        );
    }

    #[test]
    fn un_equipo_que_calla_se_dice_una_vez_y_otra_cuando_vuelve() {
        let totales = Totales::default();
        let limite = Duration::from_mins(10);
        let silencios = |minuto| totales.silencios(limite, a_las(minuto).1);
        totales.apartado("quien nunca envió un mensaje");
        assert_eq!(silencios(60), []);
        totales.recibido("BC-20", 1, guardado(1), a_las(60));
        assert_eq!(silencios(69), []);
        assert_eq!(
            silencios(70),
            [("BC-20".to_owned(), Silencio::Calla(a_las(60).0))]
        );
        assert_eq!(silencios(500), []);
        totales.recibido("BC-20", 1, guardado(1), a_las(501));
        assert_eq!(
            silencios(502),
            [("BC-20".to_owned(), Silencio::Vuelve(a_las(501).0))]
        );
        assert_eq!(silencios(503), []);
    }

    #[test]
    fn los_equipos_que_se_cuentan_por_separado_estan_acotados() {
        let totales = Totales::default();
        for numero in 0..2 * MAX_EQUIPOS {
            totales.recibido(&numero.to_string(), 1, guardado(1), a_las(0));
        }
        assert_eq!(totales.tomar().equipos.len(), MAX_EQUIPOS + 1);
        assert!(totales.to_string().starts_with("mensajes guardados: 2000 "));
    }
}
