//! La vigilancia: lo que se dice aunque no llegue nada. El disco que se va llenando, el equipo que
//! calla y, cada día, la tabla de lo recibido.
//!
//! No toca la recepción: mira las cuentas y el disco de vez en cuando, en su propio hilo.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{Local, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use log::{Level, debug, info, log, warn};

use crate::almacen::Almacen;
use crate::causa;
use crate::recepcion::totales::{Silencio, Totales};

const CADA: Duration = Duration::from_secs(5);
/// El aviso de espacio no se repite antes.
const ENTRE_AVISOS_DE_ESPACIO: Duration = Duration::from_hours(1);
/// Cuándo se vuelve a mirar un parcial que antes era reciente.
const ENTRE_REPASOS_DE_PARCIALES: Duration = Duration::from_secs(61);
/// Bytes en un MiB.
pub(crate) const MIB: u64 = 1024 * 1024;

/// De qué hay que avisar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vigilancia {
    /// Clave `AvisoSilencioMin`; `None`: el silencio no se avisa.
    pub silencio: Option<Duration>,
    /// Clave `EspacioMinimoMiB`; con 0 no se avisa.
    pub espacio_minimo_mib: u64,
}

/// Vigila para siempre: acaba con el proceso.
pub(super) fn vigilar(vigilancia: Vigilancia, totales: &Totales, almacen: &Almacen) -> ! {
    let mut turno = Turno {
        vigilancia,
        dia: Local::now().date_naive(),
        espacio_avisado: None,
    };
    let mut repaso = Instant::now();
    loop {
        if Instant::now() >= repaso {
            rescatar_parciales(almacen);
            repaso = Instant::now() + ENTRE_REPASOS_DE_PARCIALES;
        }
        turno.vigilar(totales, almacen.carpeta());
        // La tabla del día se dice al acabar el día.
        thread::sleep(CADA.min(hasta_medianoche(Local::now().time())));
    }
}

/// La tabla por equipo de lo recibido desde la anterior, si alguno ha enviado algo alguna vez.
pub(super) fn decir_tabla(totales: &Totales, dia: NaiveDate) {
    let tabla = totales.tabla();
    if !tabla.is_empty() {
        info!("Lo recibido el {}, por equipo:", dia.format("%d/%m/%Y"));
    }
    for linea in tabla {
        info!("{linea}");
    }
}

/// Lleva a apartados los parciales de una caída anterior.
fn rescatar_parciales(almacen: &Almacen) {
    let rescate = almacen.rescatar_parciales();
    for movido in &rescate.movidos {
        warn!(
            "un mensaje quedó a medias en una caída y no se acusó; está en «{}»",
            movido.display()
        );
    }
    for error in &rescate.errores {
        warn!("{error}");
    }
}

fn hasta_medianoche(hora: NaiveTime) -> Duration {
    const DIA: Duration = Duration::from_hours(24);
    let transcurrido = Duration::from_secs(u64::from(hora.num_seconds_from_midnight()));
    DIA.saturating_sub(transcurrido)
}

/// Lo que se recuerda de una mirada a otra.
struct Turno {
    vigilancia: Vigilancia,
    dia: NaiveDate,
    espacio_avisado: Option<Instant>,
}

impl Turno {
    fn vigilar(&mut self, totales: &Totales, carpeta: &Path) {
        let ahora = Instant::now();
        match fs4::available_space(carpeta) {
            Ok(libres) => {
                if self.hay_que_avisar_del_espacio(libres / MIB, ahora) {
                    warn!(
                        "{}",
                        poco_espacio(carpeta, libres / MIB, self.vigilancia.espacio_minimo_mib)
                    );
                }
            }
            // Si la carpeta no está, lo dirá el primer mensaje que no se pueda guardar.
            Err(error) => debug!("espacio libre: {}", causa::explicar(&error)),
        }
        for (nivel, dicho) in self.silencios(totales, ahora) {
            log!(nivel, "{dicho}");
        }
        if let Some(acabado) = self.acabar_dia(Local::now().date_naive()) {
            decir_tabla(totales, acabado);
        }
    }

    /// Qué equipos callan ahora y cuáles han vuelto, si hay que avisar de ello.
    fn silencios(&self, totales: &Totales, ahora: Instant) -> Vec<(Level, String)> {
        let Some(limite) = self.vigilancia.silencio else {
            return Vec::new();
        };
        let novedades = totales.silencios(limite, ahora).into_iter();
        novedades
            .map(|(equipo, silencio)| en_palabras(&equipo, &silencio, limite))
            .collect()
    }

    fn hay_que_avisar_del_espacio(&mut self, libres_mib: u64, ahora: Instant) -> bool {
        let reciente = self
            .espacio_avisado
            .is_some_and(|antes| ahora.saturating_duration_since(antes) < ENTRE_AVISOS_DE_ESPACIO);
        let avisar = libres_mib < self.vigilancia.espacio_minimo_mib && !reciente;
        if avisar {
            self.espacio_avisado = Some(ahora);
        }
        avisar
    }

    /// El día que ha acabado, si hoy ya es otro; un reloj que va hacia atrás no acaba ninguno.
    fn acabar_dia(&mut self, hoy: NaiveDate) -> Option<NaiveDate> {
        (hoy > self.dia).then(|| std::mem::replace(&mut self.dia, hoy))
    }
}

/// Qué pasa y qué hacer cuando queda poco espacio.
pub(crate) fn poco_espacio(carpeta: &Path, libres_mib: u64, minimo_mib: u64) -> String {
    format!(
        "quedan {libres_mib} MiB libres en «{}», menos que los {minimo_mib} de EspacioMinimoMiB: libere espacio; si el disco se llena, los equipos recibirán AE",
        carpeta.display()
    )
}

fn en_palabras(equipo: &str, silencio: &Silencio, limite: Duration) -> (Level, String) {
    let hora = |hora: &NaiveDateTime| hora.format("%d/%m %H:%M").to_string();
    match silencio {
        Silencio::Calla(ultimo) => (
            Level::Warn,
            format!(
                "{equipo}: no envía nada desde hace {} min (desde el {}); si debería, revise el equipo y su cable",
                limite.as_secs() / 60,
                hora(ultimo)
            ),
        ),
        Silencio::Vuelve(ultimo) => (
            Level::Info,
            format!("{equipo}: vuelve a enviar (el {})", hora(ultimo)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recepcion::totales::Destino;

    fn turno(espacio_minimo_mib: u64) -> Turno {
        Turno {
            vigilancia: Vigilancia {
                silencio: None,
                espacio_minimo_mib,
            },
            dia: NaiveDate::from_ymd_opt(2026, 9, 12).unwrap(),
            espacio_avisado: None,
        }
    }

    #[test]
    fn del_poco_espacio_se_avisa_a_lo_sumo_una_vez_por_hora() {
        let comienzo = Instant::now();
        let mut turno = turno(500);
        let mut avisa = |libres, minuto: u64| {
            turno.hay_que_avisar_del_espacio(libres, comienzo + Duration::from_mins(minuto))
        };
        assert!(!avisa(500, 0));
        assert!(avisa(499, 1));
        assert!(!avisa(0, 30));
        assert!(!avisa(900, 40));
        assert!(!avisa(1, 60));
        assert!(avisa(1, 61));
    }

    #[test]
    fn con_espacio_minimo_cero_no_se_avisa_nunca() {
        assert!(!turno(0).hay_que_avisar_del_espacio(0, Instant::now()));
    }

    #[test]
    fn de_un_equipo_que_calla_se_avisa_y_cuando_vuelve_se_informa() {
        let totales = Totales::default();
        let comienzo = Instant::now();
        let dia = NaiveDate::from_ymd_opt(2026, 9, 12).unwrap();
        let entregar = |minuto: u32| {
            let instante = comienzo + Duration::from_mins(minuto.into());
            let hora = dia.and_hms_opt(9, minuto, 0).unwrap();
            totales.recibido("BC-20", 1, Destino::Rechazado, (hora, instante));
        };
        let mut turno = turno(0);
        entregar(0);
        let minutos = |minuto| comienzo + Duration::from_mins(minuto);
        assert_eq!(turno.silencios(&totales, minutos(600)), []);

        turno.vigilancia.silencio = Some(Duration::from_mins(30));
        assert_eq!(turno.silencios(&totales, minutos(29)), []);
        let calla = "BC-20: no envía nada desde hace 30 min (desde el 12/09 09:00); si debería, revise el equipo y su cable";
        assert_eq!(
            turno.silencios(&totales, minutos(30)),
            [(Level::Warn, calla.to_owned())]
        );
        entregar(45);
        let vuelve = "BC-20: vuelve a enviar (el 12/09 09:45)".to_owned();
        assert_eq!(
            turno.silencios(&totales, minutos(46)),
            [(Level::Info, vuelve)]
        );
        assert_eq!(turno.silencios(&totales, minutos(47)), []);
    }

    #[test]
    fn la_ultima_mirada_del_dia_es_a_medianoche() {
        let a_las = |h, m, s| NaiveTime::from_hms_opt(h, m, s).unwrap();
        assert_eq!(hasta_medianoche(a_las(23, 59, 58)), Duration::from_secs(2));
        assert_eq!(hasta_medianoche(a_las(0, 0, 0)), Duration::from_hours(24));
    }

    #[test]
    fn cada_dia_acaba_una_vez_aunque_el_reloj_retroceda() {
        let mut turno = turno(0);
        let dia = |dia| NaiveDate::from_ymd_opt(2026, 9, dia);
        let acaban = [12, 13, 13, 12, 13, 15].map(|hoy| turno.acabar_dia(dia(hoy).unwrap()));
        assert_eq!(acaban, [None, dia(12), None, None, None, dia(13)]);
    }
}
