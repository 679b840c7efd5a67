//! La vigilancia: lo que se dice aunque no llegue nada. El disco que se va llenando, lo que dejó una
//! caída, lo que el almacén notó, el equipo que calla y, cada día, la tabla de lo recibido.
//!
//! No toca la recepción: mira las cuentas y el disco de vez en cuando, en su propio hilo.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{Local, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use log::{Level, debug, info, log, warn};

use crate::almacen::{APARTADOS, Almacen, Parciales, espacio_libre_mib};
use crate::causa;
use crate::recepcion::Recepcion;
use crate::recepcion::cuenta::Cuando;
use crate::recepcion::parada::Avance;
use crate::recepcion::totales::{Muchos, Silencio, Totales};
use crate::texto::ruta_visible;

const CADA: Duration = Duration::from_secs(5);
/// Entre dos miradas puede pasar más, si el disco es lento. Con más que esto, el PC durmió.
const RATO_MAXIMO: Duration = Duration::from_secs(15);
/// Cuánto puede tardar un disco que responde en guardar un mensaje: los equipos no esperan mucho más por su
/// acuse.
const PLAZO_DE_GUARDAR: Duration = Duration::from_secs(10);
/// El aviso de espacio no se repite antes.
const ENTRE_AVISOS_DE_ESPACIO: Duration = Duration::from_hours(1);

/// De qué hay que avisar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vigilancia {
    /// Clave `EspacioMinimoMiB`; con 0 no se avisa.
    pub(crate) espacio_minimo_mib: u64,
    /// Los días que se quedan los apartados (clave `DiasDeApartados`); con 0, todos.
    pub(crate) dias_de_apartados: u64,
}

/// Pone al día la página para siempre. En su propio hilo: puede estar en un disco que no responde.
pub(super) fn mantener_pagina(vigilancia: Vigilancia, recepcion: &Recepcion) -> ! {
    loop {
        recepcion.escribir_pagina(vigilancia.espacio_minimo_mib);
        thread::sleep(CADA);
    }
}

/// Vigila para siempre: acaba con el proceso.
pub(super) fn vigilar(vigilancia: Vigilancia, recepcion: &Recepcion) -> ! {
    let mut ronda = Ronda {
        vigilancia,
        dia: Local::now().date_naive(),
        espacio_avisado: None,
        parciales: Parciales::default(),
        limpiado: None,
    };
    loop {
        let ahora = (Local::now(), Instant::now());
        ronda.vigilar(&recepcion.totales, &recepcion.almacen, ahora);
        // De quien espera a que se guarde lo suyo no se dice que calla.
        if recepcion.atascados.load(Ordering::Relaxed) == 0 {
            decir_silencios(&recepcion.totales, ahora);
        }
        recepcion.mirar_si_guarda();
        // La tabla del día se dice al acabar el día.
        thread::sleep(CADA.min(hasta_medianoche(Local::now().time())));
    }
}

/// Dice para siempre que el disco no responde, y que vuelve a responder. En su propio hilo, que no toca
/// ninguno.
pub(super) fn vigilar_el_disco(recepcion: &Recepcion) -> ! {
    let mut atasco = Atasco::new(Instant::now());
    loop {
        thread::sleep(CADA);
        let avance = recepcion.parada.avance();
        let hace = atasco.mirar(avance, Instant::now());
        let esperan = hace.map_or(0, |_| avance.guardando);
        let esperaban = recepcion.atascados.swap(esperan, Ordering::Relaxed);
        let carpeta = || ruta_visible(recepcion.almacen.carpeta());
        match hace {
            Some(hace) if esperaban == 0 => warn!(
                "el disco de «{}» no responde: desde hace {} s no se acaba de guardar ningún mensaje, y esperan {esperan}; revise el disco o, si la carpeta está en otro PC, la red",
                carpeta(),
                hace.as_secs()
            ),
            None if esperaban > 0 => info!("el disco de «{}» vuelve a responder", carpeta()),
            Some(_) | None => {}
        }
    }
}

/// Desde cuándo no se acaba de guardar nada de lo que se guarda.
struct Atasco {
    desde: Instant,
    acabados: u64,
}

impl Atasco {
    fn new(ahora: Instant) -> Atasco {
        Atasco {
            desde: ahora,
            acabados: 0,
        }
    }

    /// Cuánto hace, si es más de lo que tarda un disco que responde.
    fn mirar(&mut self, avance: Avance, ahora: Instant) -> Option<Duration> {
        if avance.guardando == 0 || avance.acabados != self.acabados {
            (self.desde, self.acabados) = (ahora, avance.acabados);
        }
        let hace = ahora.saturating_duration_since(self.desde);
        (hace >= PLAZO_DE_GUARDAR).then_some(hace)
    }
}

/// Los equipos que han callado más de lo que se espera de ellos, y los que han vuelto.
fn decir_silencios(totales: &Totales, ahora: Cuando) {
    totales.descontar_el_sueno(ahora.1, RATO_MAXIMO);
    for (equipo, silencio) in totales.silencios(ahora) {
        let (nivel, dicho) = en_palabras(&equipo, &silencio);
        log!(nivel, "{dicho}");
    }
}

/// Lo que el almacén notó.
pub(super) fn decir_avisos(avisos: Vec<String>) {
    for aviso in avisos {
        warn!("{aviso}");
    }
}

/// La tabla por equipo de lo recibido ese día, si alguno tiene nombre o ha enviado algo.
pub(super) fn decir_tabla(tabla: Vec<(String, String)>, dia: NaiveDate) {
    if !tabla.is_empty() {
        info!("Lo recibido el {}, por equipo:", dia.format("%d/%m/%Y"));
    }
    for (entera, fila) in tabla {
        info!(fila = fila.as_str(); "{entera}");
    }
}

fn hasta_medianoche(hora: NaiveTime) -> Duration {
    const DIA: Duration = Duration::from_hours(24);
    // En un segundo intercalar hay más de mil millones de nanosegundos.
    let nanos = hora.nanosecond().min(999_999_999);
    let transcurrido = Duration::new(hora.num_seconds_from_midnight().into(), nanos);
    DIA.saturating_sub(transcurrido)
}

/// Lo que se recuerda de una mirada a otra.
struct Ronda {
    vigilancia: Vigilancia,
    dia: NaiveDate,
    espacio_avisado: Option<Instant>,
    parciales: Parciales,
    /// El último día en que se borraron los apartados viejos.
    limpiado: Option<NaiveDate>,
}

impl Ronda {
    fn vigilar(&mut self, totales: &Totales, almacen: &Almacen, (hora, ahora): Cuando) {
        decir_avisos(almacen.avisos());
        let carpeta = almacen.carpeta();
        match espacio_libre_mib(carpeta) {
            Ok(libres_mib) => {
                if self.hay_que_avisar_del_espacio(libres_mib, ahora) {
                    warn!(
                        "{}",
                        poco_espacio(carpeta, libres_mib, self.vigilancia.espacio_minimo_mib)
                    );
                }
            }
            // Si la carpeta no está, lo dirá el primer mensaje que no se pueda guardar.
            Err(error) => debug!("espacio libre: {}", causa::explicar(&error)),
        }
        self.rescatar_parciales(almacen, ahora);
        if let Some(muchos) = totales.muchos_apartados(ahora) {
            warn!("{}", se_llenan(carpeta, &muchos));
        }
        self.limpiar_apartados(almacen, hora.date_naive());
        if let Some(acabado) = self.acabar_dia(hora.date_naive()) {
            decir_tabla(totales.acabar_dia(ahora), acabado);
        }
    }

    /// Lleva a apartados los parciales de una caída anterior.
    fn rescatar_parciales(&mut self, almacen: &Almacen, ahora: Instant) {
        for rescatado in self.parciales.rescatar(almacen, ahora) {
            match rescatado {
                Ok(destino) => warn!(
                    "lo que se guardaba quedó a medias en una caída, y si era un mensaje no se acusó; está en «{}»",
                    ruta_visible(&destino)
                ),
                Err(error) => warn!("{error}"),
            }
        }
    }

    /// Una vez al día borra los apartados viejos, si se pide.
    fn limpiar_apartados(&mut self, almacen: &Almacen, hoy: NaiveDate) {
        let dias = self.vigilancia.dias_de_apartados;
        if dias == 0 || self.limpiado == Some(hoy) {
            return;
        }
        self.limpiado = Some(hoy);
        match almacen.limpiar_apartados(dias, hoy) {
            Ok(0) => {}
            Ok(1) => info!("borrado un apartado de hace más de {dias} días"),
            Ok(borrados) => info!("borrados {borrados} apartados de hace más de {dias} días"),
            Err(error) => warn!(
                "no se pudieron borrar los apartados viejos: {}",
                causa::explicar(&error)
            ),
        }
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

    /// El día que ha acabado, si hoy ya es otro. Un reloj que se ajusta hacia atrás a medianoche no acaba
    /// ninguno; uno que se adelantó y se corrige, sí, o las cuentas de hoy no acabarían hasta aquel día.
    fn acabar_dia(&mut self, hoy: NaiveDate) -> Option<NaiveDate> {
        let es_un_ajuste = self.dia.pred_opt() == Some(hoy);
        (hoy != self.dia && !es_un_ajuste).then(|| std::mem::replace(&mut self.dia, hoy))
    }
}

/// Qué pasa y qué hacer cuando queda poco espacio.
pub(crate) fn poco_espacio(carpeta: &Path, libres_mib: u64, minimo_mib: u64) -> String {
    format!(
        "quedan {libres_mib} MiB libres en «{}», menos que los {minimo_mib} de EspacioMinimoMiB: libere espacio; si el disco se llena, no se aceptará ningún mensaje",
        ruta_visible(carpeta)
    )
}

/// Qué pasa y qué hacer cuando se aparta mucho.
fn se_llenan(carpeta: &Path, muchos: &Muchos) -> String {
    let Muchos {
        todos,
        equipo,
        suyos,
    } = muchos;
    format!(
        "{equipo}: en esta hora se han apartado {todos} cosas que no son mensajes, {suyos} suyas; revise ese equipo antes de que llenen «{}»",
        ruta_visible(&carpeta.join(APARTADOS))
    )
}

fn en_palabras(equipo: &str, silencio: &Silencio) -> (Level, String) {
    let dia_y_hora = |hora: &NaiveDateTime| hora.format("%d/%m %H:%M").to_string();
    match silencio {
        Silencio::Vuelve(ultimo) => {
            let ultimo = dia_y_hora(ultimo);
            (
                Level::Info,
                format!("{equipo}: vuelve a enviar (el {ultimo})"),
            )
        }
        Silencio::Calla {
            ultimo,
            hace,
            conectado,
        } => {
            let desde = match ultimo {
                Some(ultimo) => format!("el {}", dia_y_hora(ultimo)),
                None => "que arrancó el programa".to_owned(),
            };
            let minutos = hace.as_secs() / 60;
            let dicho = if *conectado {
                format!(
                    "{equipo}: conectado, sin mensajes desde {desde} (hace {minutos} min); si debería enviar, revise en el equipo el envío al LIS"
                )
            } else {
                format!(
                    "{equipo}: no envía nada desde hace {minutos} min (desde {desde}); si debería, revise el equipo y su cable"
                )
            };
            (Level::Warn, dicho)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recepcion::cuenta::Destino;
    use crate::recepcion::silencio::AvisoDeSilencio;
    use crate::recepcion::tests::el_dia_12;
    use std::{env, fs, iter, process};

    fn ronda(espacio_minimo_mib: u64) -> Ronda {
        Ronda {
            vigilancia: Vigilancia {
                espacio_minimo_mib,
                dias_de_apartados: 0,
            },
            dia: el_dia_12(0, 0, 0).date_naive(),
            espacio_avisado: None,
            parciales: Parciales::default(),
            limpiado: None,
        }
    }

    #[test]
    fn hay_un_atasco_si_en_diez_segundos_no_se_acaba_de_guardar_nada_de_lo_que_se_guarda() {
        let comienzo = Instant::now();
        let mut atasco = Atasco::new(comienzo);
        for (segundo, guardando, acabados, hace) in [
            (60, 0, 0, None),
            (65, 1, 0, None),
            (69, 1, 0, None),
            (70, 2, 0, Some(10)),
            (75, 2, 0, Some(15)),
            (80, 2, 1, None),
            (89, 2, 1, None),
            (90, 2, 1, Some(10)),
            (95, 0, 3, None),
            (200, 0, 3, None),
        ] {
            let avance = Avance {
                guardando,
                acabados,
            };
            let mirado = atasco.mirar(avance, comienzo + Duration::from_secs(segundo));
            assert_eq!(mirado, hace.map(Duration::from_secs), "a los {segundo} s");
        }
    }

    #[test]
    fn del_poco_espacio_se_avisa_a_lo_sumo_una_vez_por_hora() {
        let comienzo = Instant::now();
        let mut ronda = ronda(500);
        let mut avisa = |libres, minuto: u64| {
            ronda.hay_que_avisar_del_espacio(libres, comienzo + Duration::from_mins(minuto))
        };
        assert!(!avisa(500, 0));
        assert!(avisa(499, 1));
        assert!(!avisa(0, 30));
        assert!(!avisa(900, 40));
        assert!(!avisa(1, 60));
        assert!(avisa(1, 61));
    }

    /// Dos miradas, sin esperar el minuto que las separa.
    #[test]
    fn los_parciales_de_una_caida_se_llevan_a_apartados_al_cabo_de_un_minuto() {
        let carpeta = env::temp_dir().join(format!("vigilancia-{}", process::id()));
        let nombre = "HL7_ORU_20260912094501123.parcial";
        fs::create_dir_all(&carpeta).unwrap();
        fs::write(carpeta.join(format!(".{nombre}")), "a medias").unwrap();
        let almacen = Almacen::abrir(carpeta.clone(), false).unwrap();
        let mut ronda = ronda(0);
        let (hora, comienzo) = (el_dia_12(0, 0, 0), Instant::now());
        let totales = Totales::new(iter::empty(), AvisoDeSilencio::NUNCA, (hora, comienzo));
        for segundos in [0, 5, 60] {
            let movido = carpeta.join("apartados").join(nombre);
            assert!(!movido.exists());
            let ahora = comienzo + Duration::from_secs(segundos);
            ronda.vigilar(&totales, &almacen, (hora, ahora));
            assert_eq!(movido.exists(), segundos == 60);
        }
        fs::remove_dir_all(carpeta).unwrap();
    }

    /// En Windows, lo que el PC duerme también pasa en el reloj monótono.
    #[test]
    fn lo_que_el_pc_durmio_no_cuenta_como_silencio() {
        let (hora, comienzo) = (el_dia_12(0, 0, 0), Instant::now());
        let aviso = AvisoDeSilencio {
            tras: Some(Duration::from_mins(1)),
            ..AvisoDeSilencio::NUNCA
        };
        let equipo = iter::once(("BC-20".to_owned(), aviso));
        let totales = Totales::new(equipo, aviso, (hora, comienzo));
        let despierta = 12 * 60 * 60;
        let despues = (despierta..=despierta + 40).step_by(5);
        for segundos in [0, 5].into_iter().chain(despues) {
            let ahora = comienzo + Duration::from_secs(segundos);
            decir_silencios(&totales, (hora, ahora));
            // Cinco segundos antes de dormir, quince al despertar y cuarenta después.
            let calla = segundos == despierta + 40;
            assert_eq!(totales.mirar(hora)[0].calla, calla, "a los {segundos} s");
        }
    }

    #[test]
    fn de_un_equipo_que_calla_se_avisa_si_esta_conectado_y_desde_cuando_y_cuando_vuelve_se_informa()
    {
        let hora = el_dia_12(9, 0, 0).naive_local();
        let calla = |ultimo, conectado| Silencio::Calla {
            ultimo,
            hace: Duration::from_secs(30 * 60 + 4),
            conectado,
        };
        #[rustfmt::skip]
        let silencios = [
            (calla(Some(hora), false), Level::Warn, "BC-20: no envía nada desde hace 30 min (desde el 12/09 09:00); si debería, revise el equipo y su cable"),
            (calla(None, false), Level::Warn, "BC-20: no envía nada desde hace 30 min (desde que arrancó el programa); si debería, revise el equipo y su cable"),
            (calla(Some(hora), true), Level::Warn, "BC-20: conectado, sin mensajes desde el 12/09 09:00 (hace 30 min); si debería enviar, revise en el equipo el envío al LIS"),
            (calla(None, true), Level::Warn, "BC-20: conectado, sin mensajes desde que arrancó el programa (hace 30 min); si debería enviar, revise en el equipo el envío al LIS"),
            (Silencio::Vuelve(hora), Level::Info, "BC-20: vuelve a enviar (el 12/09 09:00)"),
        ];
        for (silencio, nivel, dicho) in silencios {
            assert_eq!(en_palabras("BC-20", &silencio), (nivel, dicho.to_owned()));
        }
    }

    #[test]
    fn la_ultima_mirada_del_dia_es_a_medianoche() {
        let a_las = |h, m, s| NaiveTime::from_hms_opt(h, m, s).unwrap();
        assert_eq!(hasta_medianoche(a_las(23, 59, 58)), Duration::from_secs(2));
        assert_eq!(hasta_medianoche(a_las(0, 0, 0)), Duration::from_hours(24));
        // Ni un segundo del día siguiente cuenta en este.
        let casi = NaiveTime::from_hms_milli_opt(23, 59, 59, 750).unwrap();
        assert_eq!(hasta_medianoche(casi), Duration::from_millis(250));
    }

    /// Decir la tabla empieza las cuentas del día siguiente.
    #[test]
    fn a_medianoche_se_dice_la_tabla_y_se_borran_los_apartados_viejos_si_se_pide() {
        let carpeta = env::temp_dir().join(format!("vigilancia-dia-{}", process::id()));
        let almacen = Almacen::abrir(carpeta.clone(), false).unwrap();
        let viejo = carpeta.join("apartados/HL7_ORU_20260801000000000.no_hl7");
        fs::create_dir(carpeta.join("apartados")).unwrap();
        fs::write(
            carpeta.join("apartados/HL7_ORU_20260911000000000.no_hl7"),
            "x",
        )
        .unwrap();
        let mut ronda = ronda(0);
        let ahora = Instant::now();
        let hora = el_dia_12(23, 59, 59);
        let totales = Totales::new(iter::empty(), AvisoDeSilencio::NUNCA, (hora, ahora));
        let guardado = Destino::Repetido(Duration::ZERO);
        let equipo = totales.conectar("BC-20");
        equipo.recibido(1, guardado, (hora, ahora));
        for (dias, segundos, sin_decir, queda) in [
            (0, 0, 1, true),
            (30, 0, 1, false),
            (30, 0, 1, true),
            (30, 1, 0, false),
        ] {
            fs::write(&viejo, "x").unwrap();
            ronda.vigilancia.dias_de_apartados = dias;
            let segundos = Duration::from_secs(segundos);
            ronda.vigilar(&totales, &almacen, (hora + segundos, ahora + segundos));
            assert_eq!(totales.mirar(hora)[0].hoy.guardados, sin_decir);
            assert_eq!(viejo.exists(), queda, "{dias} días, a los {segundos:?}");
        }
        fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn cada_dia_acaba_una_vez_aunque_el_reloj_retroceda() {
        let mut ronda = ronda(0);
        let dia = |dia| NaiveDate::from_ymd_opt(2026, 9, dia);
        let acaban = [12, 13, 13, 12, 13, 15, 13].map(|hoy| ronda.acabar_dia(dia(hoy).unwrap()));
        assert_eq!(acaban, [None, dia(12), None, None, None, dia(13), dia(15)]);
    }
}
