//! La recepción: quién entra, la conversación con cada equipo y lo que se cuenta de ella.
//!
//! Aquí empieza y acaba; lo que comparten todas las conversaciones es [`Recepcion`].

mod compartido;
mod conexion;
mod cuenta;
mod desechos;
pub(crate) mod equipo;
pub(crate) mod estado;
mod fila;
mod intermediario;
mod linea;
mod llamada;
mod paciencia;
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
use std::sync::{Arc, mpsc};
use std::time::Duration;

use chrono::Local;
use log::{info, warn};

use crate::hilo::abrir_hilo;
use crate::recepcion::equipo::Equipo;
use crate::recepcion::vigilancia::Vigilancia;

pub use compartido::Recepcion;

/// Cuánto espera la parada a que quede escrita la última página.
const PLAZO_DE_LA_PAGINA: Duration = Duration::from_secs(2);

impl Recepcion {
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
        if self.tiene_pagina() {
            let recepcion = Arc::clone(self);
            abrir_hilo("página", move || {
                vigilancia::mantener_pagina(vigilancia, &recepcion)
            })?;
        }
        let recepcion = Arc::clone(self);
        abrir_hilo("vigilancia", move || {
            vigilancia::vigilar(vigilancia, &recepcion)
        })
    }

    /// La despedida: lo que quedó sin acusar, la tabla del día y los totales.
    pub fn despedir(self: &Arc<Recepcion>, sin_acusar: usize) {
        if sin_acusar > 0 {
            warn!("mensajes sin acusar al parar: {sin_acusar}; sus equipos los enviarán de nuevo");
        }
        // Antes que la tabla, que pone las cuentas a cero. Un disco que no responde no retiene la parada.
        let (recepcion, (cerrada, espera)) = (Arc::clone(self), mpsc::channel());
        let cerrar = move || {
            recepcion.cerrar_pagina();
            // Si ya nadie espera, da igual.
            let _ = cerrada.send(());
        };
        if abrir_hilo("página", cerrar).is_ok() {
            let _ = espera.recv_timeout(PLAZO_DE_LA_PAGINA);
        }
        vigilancia::decir_tabla(&self.totales, Local::now().date_naive());
        info!("Servidor detenido: {}", self.totales);
    }
}
