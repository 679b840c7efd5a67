//! La recepción: quién entra, la conversación con cada equipo y lo que se cuenta de ella.
//!
//! [`Recepcion`] es lo que comparten todas las conversaciones.

mod aluvion;
mod conexion;
mod desechos;
pub mod equipo;
mod intermediario;
mod linea;
pub mod llamada;
pub mod parada;
mod plazas;
pub mod repetidos;
pub mod servidor;
pub mod silencio;
mod totales;
pub mod vigilancia;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use chrono::Local;
use log::{error, info, warn};

use crate::almacen::{Almacen, Prueba};
use crate::recepcion::desechos::Desechos;
use crate::recepcion::equipo::{Equipo, Equipos};
use crate::recepcion::parada::Parada;
use crate::recepcion::plazas::Actividad;
use crate::recepcion::repetidos::Reenvios;
use crate::recepcion::totales::Totales;
use crate::recepcion::vigilancia::Vigilancia;
use crate::texto::ruta_visible;

/// Lo que comparten todas las conversaciones.
#[derive(Debug)]
pub struct Recepcion {
    /// Donde se guardan los mensajes.
    pub almacen: Almacen,
    totales: Totales,
    reenvios: Reenvios,
    desechos: Desechos,
    parada: Arc<Parada>,
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
            reenvios: Reenvios::default(),
            desechos: Desechos::default(),
            totales: Totales::new(
                nombrados
                    .clone()
                    .map(|equipo| (equipo.nombre.clone(), equipo.trato.silencio)),
                equipos.comun.silencio,
                (Local::now().naive_local(), Instant::now()),
            ),
            parada,
            ancho_de_equipo: equipo::ancho(nombrados.map(|equipo| equipo.nombre.as_str())),
        }
    }

    /// Dice dónde se guarda, y avisa de lo que impediría guardar o lo haría menos seguro.
    pub fn decir_carpeta(&self) {
        let probada = self.almacen.probar(Local::now().naive_local());
        info!(
            "Archivo por Guardar en: {}{}",
            ruta_visible(self.almacen.carpeta()),
            probada.as_ref().map_or("", Prueba::nota)
        );
        if !self.almacen.sincroniza() {
            warn!("Sincronizar = no: un corte de luz puede llevarse mensajes ya acusados");
        }
        match probada.map(|prueba| prueba.aviso()) {
            Ok(Some(aviso)) => warn!("{aviso}"),
            Ok(None) => {}
            Err(error) => error!("{error}; hasta que se arregle, los equipos recibirán AE"),
        }
    }

    /// Atiende una conexión hasta que acaba.
    pub fn atender(
        self: &Arc<Recepcion>,
    ) -> impl Fn(&TcpStream, &Equipo, &Actividad) -> io::Result<()> + Clone + Send + 'static {
        let recepcion = Arc::clone(self);
        move |canal, equipo, actividad| {
            let _conectado = recepcion.totales.conectar(&equipo.quien);
            conexion::atender(canal, equipo, &recepcion, actividad)
        }
    }

    /// Llama a esos equipos, cada uno en su hilo.
    pub fn llamar(self: &Arc<Recepcion>, equipos: impl Iterator<Item = Equipo>) -> io::Result<()> {
        for equipo in equipos {
            let recepcion = Arc::clone(self);
            let ultimo = {
                let recepcion = Arc::clone(self);
                move |equipo: &Equipo| recepcion.totales.ultimo(&equipo.quien)
            };
            abrir_hilo("llamada", move || {
                llamada::mantener(&equipo, &recepcion.parada, recepcion.atender(), ultimo);
            })?;
        }
        Ok(())
    }

    /// Vigila, en su hilo, lo que hay que decir aunque no llegue nada.
    pub fn vigilar(self: &Arc<Recepcion>, vigilancia: Vigilancia) -> io::Result<()> {
        let recepcion = Arc::clone(self);
        abrir_hilo("vigilancia", move || {
            vigilancia::vigilar(vigilancia, &recepcion.totales, &recepcion.almacen)
        })
    }

    /// La despedida: lo que quedó sin acusar, la tabla del día y los totales.
    pub fn despedir(&self, sin_acusar: usize) {
        if sin_acusar > 0 {
            warn!("mensajes sin acusar al parar: {sin_acusar}; sus equipos los enviarán de nuevo");
        }
        vigilancia::decir_tabla(&self.totales, Local::now().date_naive());
        info!("Servidor detenido: {}", self.totales);
    }
}

fn abrir_hilo<T: Send + 'static>(
    nombre: &str,
    tarea: impl FnOnce() -> T + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new()
        .name(nombre.to_owned())
        .spawn(tarea)
        .map(drop)
}
