//! El gestor de los servicios de Windows: por dónde pide la parada, y lo que se le dice. No sabe qué hace
//! el servicio.

use std::fmt;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{
    ServiceControlHandlerResult, ServiceStatusHandle, register,
};

use super::{PLAZO_AL_CERRAR, PLAZO_DE_PARADA, peticion_de_parada};
use crate::cerrojo::tomar;
use crate::recepcion::parada::Parada;

/// Cuánto puede tardar en arrancar un disco lento o una carpeta de red sin que el gestor lo dé por muerto.
const PLAZO_DE_ARRANQUE: Duration = Duration::from_mins(1);

type Peticion = Box<dyn Fn(Duration) + Send>;

/// El servicio en marcha.
#[derive(Debug, Clone)]
pub struct Servicio(Arc<Compartido>);

#[derive(Default)]
struct Compartido {
    estado: OnceLock<ServiceStatusHandle>,
    peticion: Mutex<Option<Peticion>>,
}

impl fmt::Debug for Compartido {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compartido")
    }
}

impl Servicio {
    /// El que arrancó el gestor con ese nombre, que aún no recibe.
    pub(crate) fn registrar(nombre: &str) -> windows_service::Result<Servicio> {
        let servicio = Servicio(Arc::default());
        let del_gestor = servicio.clone();
        let estado = register(nombre, move |control| del_gestor.manejar(control))?;
        let _ = servicio.0.estado.set(estado);
        servicio.decir(ServiceState::StartPending, ServiceExitCode::NO_ERROR);
        Ok(servicio)
    }

    /// Acabó, con ese código de salida.
    pub(crate) fn decir_acabado(&self, codigo: u8) {
        let como = match codigo {
            0 => ServiceExitCode::NO_ERROR,
            codigo => ServiceExitCode::ServiceSpecific(codigo.into()),
        };
        self.decir(ServiceState::Stopped, como);
    }

    /// El canal por el que el gestor pedirá la parada.
    pub(crate) fn atender_parada(&self, parada: &Arc<Parada>) -> Receiver<Duration> {
        let (pedir, pedida) = peticion_de_parada(parada);
        *tomar(&self.0.peticion) = Some(Box::new(pedir));
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
        if let Some(pedir) = &*tomar(&self.0.peticion) {
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
