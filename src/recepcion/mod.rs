//! La recepción: quién entra, la conversación con cada equipo y lo que se cuenta de ella.
//!
//! Aquí empieza y acaba, y está lo que comparten todas las conversaciones. No sabe qué se habla en ellas.

mod averias;
mod conexion;
mod cuenta;
mod desechos;
pub(crate) mod equipo;
mod fila;
mod intermediario;
mod linea;
mod llamada;
mod paciencia;
pub(crate) mod pagina;
pub mod parada;
mod plazas;
pub(crate) mod pregunta;
mod presencia;
mod resto;
mod ritmo;
pub mod servidor;
pub(crate) mod silencio;
mod tabla;
mod totales;
pub(crate) mod vigilancia;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};
use log::{error, info, warn};

use crate::almacen::{Almacen, ErrorDeAlmacen, Prueba, espacio_libre_mib};
use crate::cerrojo::tomar;
use crate::hilo::abrir_hilo;
use crate::recepcion::averias::Averias;
use crate::recepcion::equipo::{Equipo, Equipos};
use crate::recepcion::pagina::{Pagina, Situacion};
use crate::recepcion::parada::Parada;
use crate::recepcion::totales::Totales;
use crate::recepcion::vigilancia::Vigilancia;
use crate::registro::Avisos;
use crate::texto::{longitud_mib, ruta_visible};

/// Cuánto espera la parada a que quede escrita la última página.
const PLAZO_DE_LA_PAGINA: Duration = Duration::from_secs(2);

/// Lo que se dice cuando se acusa antes de que el disco confirme.
pub(crate) const SIN_SINCRONIZAR: &str =
    "Sincronizar = no: un corte de luz puede llevarse mensajes ya acusados";

/// Lo que comparten todas las conversaciones.
#[derive(Debug)]
pub struct Recepcion {
    /// Donde se guardan los mensajes.
    almacen: Almacen,
    totales: Totales,
    parada: Arc<Parada>,
    /// La página de estado, si la hay y el programa no se ha despedido.
    pagina: Mutex<Option<Pagina>>,
    averias: Averias,
    /// Cuántos mensajes esperan a un disco que no responde.
    atascados: AtomicUsize,
    /// Cuántas letras ocupa el equipo en la línea de un mensaje.
    ancho_de_equipo: usize,
}

impl Recepcion {
    /// Una recepción en ese almacén de lo que envíen esos equipos y cualquier otro.
    #[must_use]
    pub fn new(almacen: Almacen, equipos: &Equipos, parada: Arc<Parada>) -> Recepcion {
        let nombrados = equipos.nombrados.iter();
        Recepcion {
            almacen,
            totales: Totales::new(
                nombrados
                    .clone()
                    .map(|equipo| (equipo.nombre.clone(), equipo.trato.silencio)),
                equipos.comun.silencio,
                (Local::now(), Instant::now()),
            ),
            parada,
            pagina: Mutex::default(),
            averias: Averias::default(),
            atascados: AtomicUsize::default(),
            ancho_de_equipo: equipo::ancho(nombrados.map(|equipo| equipo.nombre.as_str())),
        }
    }

    /// Dice dónde se guarda, y avisa de lo que impediría guardar o lo haría menos seguro.
    pub fn decir_carpeta(&self) {
        let decir_averia = |error| {
            error!(
                "{error}; hasta que se arregle, no se acepta ningún mensaje de los que van a esa carpeta"
            );
        };
        let probada = self.probar(None);
        info!(
            "Archivo por Guardar en: {}{}",
            ruta_visible(self.almacen.carpeta()),
            probada.as_ref().map_or("", Prueba::nota)
        );
        if !self.almacen.sincroniza() {
            warn!("{SIN_SINCRONIZAR}");
        }
        match probada.map(|prueba| prueba.aviso()) {
            Ok(Some(aviso)) => warn!("{aviso}"),
            Ok(None) => {}
            Err(error) => decir_averia(error),
        }
        for subcarpeta in self.almacen.subcarpetas() {
            if let Err(error) = self.probar(Some(subcarpeta)) {
                decir_averia(error);
            }
        }
        if let Err(error) = self.almacen.probar_apartados(Local::now().naive_local()) {
            warn!("{error}; hasta que se arregle, lo que no sea un mensaje entero no se guardará");
        }
    }

    /// Prueba a guardar en la carpeta, o en esa de sus subcarpetas, y anota si se puede.
    fn probar(&self, subcarpeta: Option<&str>) -> Result<Prueba, ErrorDeAlmacen> {
        let probada = self.almacen.probar(subcarpeta, Local::now().naive_local());
        self.averias.anotar(subcarpeta, probada.is_ok());
        probada
    }

    /// Donde lo último no se pudo guardar, mira si ya se puede: la página no espera a otro mensaje para decirlo.
    fn mirar_si_guarda(&self) {
        let mut averiadas = self.averias.cuales();
        if averiadas.is_empty() {
            return;
        }
        // Lo que falla en una puede fallar en todas: un disco lleno.
        averiadas.insert(None);
        for averiada in averiadas {
            // Ya dijo por qué el mensaje que no se pudo guardar.
            let _ = self.probar(averiada.as_deref());
        }
    }

    /// Tendrá una página de estado en ese archivo, si se pide: la del programa que escucha en ese puerto y
    /// da esos avisos.
    pub fn publicar(&self, archivo: Option<PathBuf>, puerto: Option<u16>, avisos: Avisos) {
        let pagina = archivo.map(|archivo| Pagina::new(archivo, puerto, avisos));
        *tomar(&self.pagina) = pagina;
    }

    /// Llama a esos equipos, cada uno en su hilo.
    pub fn llamar(self: &Arc<Recepcion>, equipos: impl Iterator<Item = Equipo>) -> io::Result<()> {
        for equipo in equipos {
            let recepcion = Arc::clone(self);
            abrir_hilo("llamada", move || llamada::mantener(&equipo, &recepcion))?;
        }
        Ok(())
    }

    /// Vigila, en su hilo, lo que hay que decir aunque no llegue nada, y en otro pone al día la página, si la
    /// hay.
    pub fn vigilar(self: &Arc<Recepcion>, vigilancia: Vigilancia) -> io::Result<()> {
        if tomar(&self.pagina).is_some() {
            let recepcion = Arc::clone(self);
            abrir_hilo("página", move || {
                vigilancia::mantener_pagina(vigilancia, &recepcion)
            })?;
        }
        let recepcion = Arc::clone(self);
        abrir_hilo("disco", move || vigilancia::vigilar_el_disco(&recepcion))?;
        let recepcion = Arc::clone(self);
        abrir_hilo("vigilancia", move || {
            vigilancia::vigilar(vigilancia, &recepcion)
        })
    }

    /// La despedida: lo que quedó sin acusar, la tabla del día y los totales. No mira ningún disco.
    pub fn despedir(&self, en_curso: usize) {
        let sin_acusar = en_curso + self.parada.sin_comenzar();
        if sin_acusar > 0 {
            warn!("mensajes sin acusar al parar: {sin_acusar}; sus equipos los enviarán de nuevo");
        }
        let a_medias = self.parada.a_medias();
        if a_medias > 0 {
            warn!(
                "mensajes que no acabaron de llegar antes de parar: {a_medias}; sus equipos deben enviarlos de nuevo"
            );
        }
        vigilancia::decir_avisos(self.almacen.avisos_pendientes());
        vigilancia::decir_tabla(self.totales.tabla(), Local::now().date_naive());
        info!("Servidor detenido: {}", self.totales);
    }

    /// Deja la página como la de un programa parado. Un disco que no responde no retiene la parada.
    pub fn cerrar(self: &Arc<Recepcion>) {
        let (recepcion, (cerrada, espera)) = (Arc::clone(self), mpsc::channel());
        let cerrar = move || {
            recepcion.cerrar_pagina();
            // Si ya nadie espera, da igual.
            let _ = cerrada.send(());
        };
        if abrir_hilo("página", cerrar).is_ok() {
            let _ = espera.recv_timeout(PLAZO_DE_LA_PAGINA);
        }
    }

    /// Pone al día la página, si la hay. Con menos de esos MiB libres, en ella es algo que mirar.
    fn escribir_pagina(&self, minimo_mib: u64) {
        if let Some(pagina) = tomar(&self.pagina).as_mut() {
            self.poner_al_dia(pagina, minimo_mib, None);
        }
    }

    fn poner_al_dia(&self, pagina: &mut Pagina, minimo_mib: u64, parado: Option<DateTime<Local>>) {
        let ahora = Local::now();
        let libres_mib = espacio_libre_mib(self.almacen.carpeta()).ok();
        let situacion = Situacion {
            desde: self.totales.arranque(),
            parado,
            averiadas: self.averias.cuales(),
            atascados: self.atascados.load(Ordering::Relaxed),
            carpeta: self.almacen.carpeta().to_path_buf(),
            espacio: libres_mib.map(|mib| (longitud_mib(mib), mib < minimo_mib)),
            equipos: self.totales.mirar(ahora),
        };
        pagina.poner_al_dia(situacion, ahora);
    }

    /// Deja la página como la de un programa parado, y nadie vuelve a escribirla.
    fn cerrar_pagina(&self) {
        if let Some(mut pagina) = tomar(&self.pagina).take() {
            self.poner_al_dia(&mut pagina, 0, Some(Local::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::{env, fs, process};

    use chrono::NaiveDate;

    use super::*;
    use crate::configuracion::Configuracion;

    /// Una recepción en una carpeta nueva con ese nombre, con esas líneas en su Config.ini, y sus equipos.
    pub(super) fn recepcion_en(carpeta: &str, lineas: &str) -> (Recepcion, Equipos) {
        static BANDERA: AtomicBool = AtomicBool::new(false);
        let carpeta = env::temp_dir().join(format!("{carpeta}-{}", process::id()));
        fs::create_dir_all(&carpeta).unwrap();
        let ini = carpeta.join("Config.ini");
        let claves = format!("[Servidor]\nPuerto = 0\nDirectorio = .\n{lineas}");
        fs::write(&ini, claves).unwrap();
        let equipos = Configuracion::leer(&ini).unwrap().equipos;
        let almacen = Almacen::abrir(carpeta, false).unwrap();
        let parada = Arc::new(Parada::new(&BANDERA));
        (Recepcion::new(almacen, &equipos, parada), equipos)
    }

    /// A esa hora de un día que no es de los que cambian de hora.
    pub(super) fn el_dia_12(hora: u32, minuto: u32, segundo: u32) -> DateTime<Local> {
        let dia = NaiveDate::from_ymd_opt(2026, 9, 12).unwrap();
        let cuando = dia.and_hms_opt(hora, minuto, segundo).unwrap();
        cuando.and_local_timezone(Local).unwrap()
    }

    /// El plazo más corto que admite Config.ini es de un minuto, que aquí no se espera.
    #[test]
    fn de_los_equipos_con_nombre_se_espera_algo_desde_el_arranque_cada_uno_con_su_aviso() {
        let lineas = "AvisoSilencioMin = 1\n\
                   [Llamar]\nBC-20 = 127.0.0.1:9\n\
                   [Equipos]\nHematología = 127.0.0.2\nGases = 127.0.0.5\nNoche = 127.0.0.6\n\
                   [Gases]\nAvisoSilencioMin = 2\n[Noche]\nAvisoSilencioHoras = 20-7\n";
        let (recepcion, _) = recepcion_en("recepcion", lineas);

        let comienzo = Instant::now();
        let callan = |minutos, hora| {
            let cuando = (
                el_dia_12(hora, 0, 0),
                comienzo + Duration::from_mins(minutos),
            );
            let novedades = recepcion.totales.silencios(cuando).into_iter();
            novedades.map(|(equipo, _)| equipo).collect::<Vec<_>>()
        };
        assert_eq!(callan(0, 9), [""; 0]);
        assert_eq!(callan(1, 9), ["BC-20", "Hematología"]);
        assert_eq!(callan(2, 9), ["Gases"]);
        assert_eq!(callan(60, 9), [""; 0]);
        assert_eq!(callan(61, 20), ["Noche"]);
        fs::remove_dir_all(recepcion.almacen.carpeta()).unwrap();
    }

    /// Como si quien la pone al día esperara a un disco que no responde. Al cerrar la ventana, Windows no da
    /// tiempo a más.
    #[test]
    fn la_despedida_no_espera_a_la_pagina() {
        let (recepcion, _) = recepcion_en("despedida", "");
        let en_uso = tomar(&recepcion.pagina);
        let comienzo = Instant::now();
        recepcion.despedir(0);
        assert!(comienzo.elapsed() < PLAZO_DE_LA_PAGINA);
        drop(en_uso);
        fs::remove_dir_all(recepcion.almacen.carpeta()).unwrap();
    }
}
