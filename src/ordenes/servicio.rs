//! El servicio de Windows: lo que arranca su gestor, y cómo acaba.
//!
//! Al gestor le importa cómo acaba: si el proceso desaparece, lo arranca de nuevo; si el servicio dice
//! que se detuvo, no. Lo que se pidió mal no debe repetirse, y lo demás sí. No sabe
//! cómo se recibe, ni cómo se instala.

use std::error::Error;

#[cfg(any(not(windows), test))]
use crate::pedido::ErrorDePedido;
#[cfg(windows)]
pub use windows::atender;

/// El nombre del servicio, el de su cuenta virtual y el de su regla del cortafuegos.
#[cfg(any(windows, test))]
pub(crate) const NOMBRE: &str = "servidor-hl7";

/// El servicio es de Windows; el de Linux está en otro sitio.
#[cfg(not(windows))]
pub(crate) fn solo_en_windows() -> ErrorDePedido {
    let motivo = "esto solo vale en Windows; aquí el servicio es la unidad de systemd que está en el README, «Siempre en marcha», «Linux»";
    ErrorDePedido(motivo.to_owned())
}

/// El gestor de servicios no contesta, y más tarde puede que sí: no es que se pidiera mal.
#[cfg(any(windows, test))]
pub(crate) fn sin_gestor(causa: &str) -> Box<dyn Error> {
    format!("no se pudo hablar con el gestor de servicios: {causa}").into()
}

/// En otros sistemas no hay servicio que atender.
#[cfg(not(windows))]
pub fn atender(
    _: impl FnOnce(&crate::gestor::Gestor) -> u8 + Send + 'static,
) -> Result<bool, Box<dyn Error>> {
    Err(solo_en_windows().into())
}

/// Lo que contesta el gestor de servicios cuando algo no se puede.
#[cfg(windows)]
pub(crate) fn explicar(error: windows_service::Error) -> String {
    match error {
        windows_service::Error::Winapi(error) => crate::causa::explicar(&error),
        otro => otro.to_string(),
    }
}

#[cfg(windows)]
mod windows {
    use std::error;
    use std::ffi::OsString;
    use std::process;
    use std::sync::Mutex;

    use windows_service::{Error, define_windows_service, service_dispatcher};

    use super::{NOMBRE, explicar, sin_gestor};
    use crate::FALLO;
    use crate::cerrojo::tomar;
    use crate::gestor::{Gestor, Servicio};
    use crate::pedido::ErrorDePedido;

    /// ERROR_FAILED_SERVICE_CONTROLLER_CONNECT: no lo arrancó el gestor.
    const SIN_GESTOR: i32 = 1063;

    type Tarea = Box<dyn FnOnce(&Gestor) -> u8 + Send>;

    /// Windows llama a una función sin argumentos propios: aquí se le deja qué hacer.
    static TAREA: Mutex<Option<Tarea>> = Mutex::new(None);

    define_windows_service!(empezar, ejecutar_tarea);

    /// Hace esa tarea como servicio; vuelve cuando se detiene. La tarea devuelve el código con que acaba.
    pub fn atender(
        tarea: impl FnOnce(&Gestor) -> u8 + Send + 'static,
    ) -> Result<bool, Box<dyn error::Error>> {
        *tomar(&TAREA) = Some(Box::new(tarea));
        match service_dispatcher::start(NOMBRE, empezar) {
            Ok(()) => Ok(true),
            Err(Error::Winapi(error)) if error.raw_os_error() == Some(SIN_GESTOR) => {
                let motivo = "--servicio es para el gestor de servicios de Windows; para instalar el servicio use --instalar, y para recibir en esta ventana no ponga nada";
                Err(ErrorDePedido(motivo.to_owned()).into())
            }
            Err(error) => Err(sin_gestor(&explicar(error))),
        }
    }

    fn ejecutar_tarea(_: Vec<OsString>) {
        let tarea = tomar(&TAREA).take();
        let (Some(tarea), Ok(servicio)) = (tarea, Servicio::registrar(NOMBRE)) else {
            process::exit(FALLO.into());
        };
        let codigo = tarea(&Gestor::Servicio(servicio.clone()));
        if codigo == FALLO {
            // Sin despedirse: el gestor lo cuenta como un fallo y lo arranca de nuevo.
            process::exit(FALLO.into());
        }
        servicio.decir_acabado(codigo);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn que_el_gestor_no_conteste_es_un_fallo_y_no_un_mal_pedido() {
        assert!(!sin_gestor("tardó demasiado").is::<ErrorDePedido>());
    }
}
