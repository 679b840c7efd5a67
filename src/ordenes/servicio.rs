//! El servicio de Windows: lo que arranca su gestor, y por dónde pide la parada.
//!
//! Al gestor le importa cómo acaba: si el proceso desaparece, lo arranca de nuevo; si el servicio dice
//! que se detuvo, no. Lo que se pidió mal no debe repetirse, y lo demás sí.

use std::error::Error;
use std::fmt;

#[cfg(windows)]
pub use windows::{Servicio, atender};

/// Lo que se pide del servicio no se puede hacer así.
#[derive(Debug)]
pub struct ErrorDeServicio(String);

impl ErrorDeServicio {
    #[cfg(windows)]
    pub(crate) fn new(motivo: impl Into<String>) -> ErrorDeServicio {
        ErrorDeServicio(motivo.into())
    }

    /// El gestor de servicios no contesta.
    #[cfg(windows)]
    pub(crate) fn sin_gestor(error: &windows_service::Error) -> ErrorDeServicio {
        let causa = explicar(error);
        ErrorDeServicio(format!(
            "no se pudo hablar con el gestor de servicios: {causa}"
        ))
    }

    /// El servicio es de Windows; el de Linux está en otro sitio.
    #[cfg(not(windows))]
    pub(crate) fn solo_en_windows() -> ErrorDeServicio {
        let motivo = "esto solo vale en Windows; aquí el servicio es la unidad de systemd que está en el README, «Siempre en marcha», «Linux»";
        ErrorDeServicio(motivo.to_owned())
    }
}

impl fmt::Display for ErrorDeServicio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ErrorDeServicio {}

/// En otros sistemas no hay servicio que atender.
#[cfg(not(windows))]
pub fn atender(
    _: impl FnOnce(&crate::gestor::Gestor) -> u8 + Send + 'static,
) -> Result<bool, Box<dyn Error>> {
    Err(ErrorDeServicio::solo_en_windows().into())
}

/// Lo que contesta el gestor de servicios cuando algo no se puede.
#[cfg(windows)]
pub(crate) fn explicar(error: &windows_service::Error) -> String {
    match error {
        windows_service::Error::Winapi(error) => crate::causa::explicar(error),
        otro => otro.to_string(),
    }
}

#[cfg(windows)]
mod windows {
    use std::error;
    use std::ffi::OsString;
    use std::process;
    use std::sync::mpsc::Receiver;
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    use windows_service::Error;
    use windows_service::define_windows_service;
    use windows_service::service::{
        ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus,
        ServiceType,
    };
    use windows_service::service_control_handler::{
        ServiceControlHandlerResult, ServiceStatusHandle, register,
    };
    use windows_service::service_dispatcher;

    use super::ErrorDeServicio;
    use crate::FALLO;
    use crate::gestor::Gestor;
    use crate::ordenes::instalar::NOMBRE;
    use crate::recepcion::parada::{PLAZO_AL_CERRAR, PLAZO_DE_PARADA, Parada, peticion_de_parada};

    /// ERROR_FAILED_SERVICE_CONTROLLER_CONNECT: no lo arrancó el gestor.
    const SIN_GESTOR: i32 = 1063;
    /// Cuánto puede tardar en arrancar un disco lento o una carpeta de red sin que el gestor lo dé por muerto.
    const PLAZO_DE_ARRANQUE: Duration = Duration::from_secs(60);

    type Tarea = Box<dyn FnOnce(&Gestor) -> u8 + Send>;
    type Peticion = Box<dyn Fn(Duration) + Send>;

    /// Windows llama a una función sin argumentos propios: aquí se le deja qué hacer.
    static TAREA: Mutex<Option<Tarea>> = Mutex::new(None);

    define_windows_service!(empezar, ejecutar_tarea);

    /// El servicio en marcha.
    #[derive(Debug, Clone)]
    pub struct Servicio(Arc<Compartido>);

    #[derive(Default)]
    struct Compartido {
        estado: OnceLock<ServiceStatusHandle>,
        peticion: Mutex<Option<Peticion>>,
    }

    impl std::fmt::Debug for Compartido {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Compartido")
        }
    }

    impl Servicio {
        /// El canal por el que el gestor pedirá la parada.
        pub(crate) fn atender_parada(&self, parada: &Arc<Parada>) -> Receiver<Duration> {
            let (pedir, pedida) = peticion_de_parada(parada);
            let peticion = &self.0.peticion;
            *peticion.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(pedir));
            pedida
        }

        /// Ya se recibe: desde ahora el gestor puede pedir la parada.
        pub(crate) fn decir_listo(&self) {
            self.decir(ServiceState::Running, ServiceExitCode::NO_ERROR);
        }

        fn manejar(&self, control: ServiceControl) -> ServiceControlHandlerResult {
            let plazo = match control {
                ServiceControl::Stop => PLAZO_DE_PARADA,
                // Al apagarse, Windows da a cada servicio 5 s en total, como al cerrar una ventana.
                ServiceControl::Shutdown => PLAZO_AL_CERRAR,
                ServiceControl::Interrogate => return ServiceControlHandlerResult::NoError,
                _ => return ServiceControlHandlerResult::NotImplemented,
            };
            self.decir(ServiceState::StopPending, ServiceExitCode::NO_ERROR);
            let peticion = self.0.peticion.lock();
            if let Some(pedir) = &*peticion.unwrap_or_else(PoisonError::into_inner) {
                pedir(plazo);
            }
            ServiceControlHandlerResult::NoError
        }

        /// Solo en marcha se admite la parada: antes no hay qué parar, y una segunda no cabe.
        fn decir(&self, estado: ServiceState, codigo: ServiceExitCode) {
            let (admite, plazo) = match estado {
                ServiceState::Running => (
                    ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
                    Duration::ZERO,
                ),
                ServiceState::StartPending => (ServiceControlAccept::empty(), PLAZO_DE_ARRANQUE),
                _ => (ServiceControlAccept::empty(), 2 * PLAZO_DE_PARADA),
            };
            let aviso = ServiceStatus {
                service_type: ServiceType::OWN_PROCESS,
                current_state: estado,
                controls_accepted: admite,
                exit_code: codigo,
                checkpoint: 0,
                wait_hint: plazo,
                process_id: None,
            };
            if let Some(gestor) = self.0.estado.get() {
                // Si el gestor no escucha, no hay otro a quien decírselo.
                let _ = gestor.set_service_status(aviso);
            }
        }
    }

    /// Hace esa tarea como servicio; vuelve cuando se detiene. La tarea devuelve el código con que acaba.
    pub fn atender(
        tarea: impl FnOnce(&Gestor) -> u8 + Send + 'static,
    ) -> Result<bool, Box<dyn error::Error>> {
        *TAREA.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tarea));
        match service_dispatcher::start(NOMBRE, empezar) {
            Ok(()) => Ok(true),
            Err(Error::Winapi(error)) if error.raw_os_error() == Some(SIN_GESTOR) => {
                Err(ErrorDeServicio::new("--servicio es para el gestor de servicios de Windows; para instalar el servicio use --instalar, y para recibir en esta ventana no ponga nada").into())
            }
            Err(error) => Err(ErrorDeServicio::sin_gestor(&error).into()),
        }
    }

    fn ejecutar_tarea(_: Vec<OsString>) {
        let tarea = TAREA.lock().unwrap_or_else(PoisonError::into_inner).take();
        let servicio = Servicio(Arc::default());
        let del_gestor = servicio.clone();
        let registrado = register(NOMBRE, move |control| del_gestor.manejar(control));
        let (Some(tarea), Ok(estado)) = (tarea, registrado) else {
            process::exit(FALLO.into());
        };
        let _ = servicio.0.estado.set(estado);
        servicio.decir(ServiceState::StartPending, ServiceExitCode::NO_ERROR);
        let codigo = tarea(&Gestor::Servicio(servicio.clone()));
        if codigo == FALLO {
            // Sin despedirse: el gestor lo cuenta como un fallo y lo arranca de nuevo.
            process::exit(FALLO.into());
        }
        let como = match codigo {
            0 => ServiceExitCode::NO_ERROR,
            codigo => ServiceExitCode::ServiceSpecific(codigo.into()),
        };
        servicio.decir(ServiceState::Stopped, como);
    }
}
