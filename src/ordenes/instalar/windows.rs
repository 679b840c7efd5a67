//! Lo que los pasos hacen de verdad, en Windows. No sabe cuáles son ni en qué orden van.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceErrorControl, ServiceExitCode,
    ServiceFailureActions, ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState,
    ServiceStatus, ServiceType,
};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use super::consola::leer_salida;
use super::pasos::{Accion, Instalacion, Orden, cuenta_que_se_pone, dar, no_es_propia};
use crate::FALLO;
use crate::causa;
use crate::configuracion::{Configuracion, configuracion_hallada, configurar};
use crate::ordenes::revisar::{EnMarcha, revisar};
use crate::ordenes::servicio::{NOMBRE, explicar, sin_gestor};
use crate::pedido::ErrorDePedido;

const DESCRIPCION: &str = "Recibe los mensajes HL7 de los analizadores y guarda cada uno en un archivo antes de acusarlo.";
/// Cuánto se espera a que el servicio arranque o se detenga.
const PLAZO: Duration = Duration::from_mins(1);
const ENTRE_MIRADAS: Duration = Duration::from_millis(100);
const ACCESO_DENEGADO: i32 = 5;
const NO_EXISTE: i32 = 1060;
/// Lo que dice el gestor del servicio cuyo proceso acabó sin despedirse.
const PROCESO_ACABADO: u32 = 1067;
const YA_EN_MARCHA: i32 = 1056;

/// Instala el programa como servicio y lo arranca. Devuelve si todo salió bien.
pub fn instalar(config: Option<&Path>, salida: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let gestion = Gestion::abrir()?;
    let configuracion = configurar(config)?;
    let instalacion = reunir(Some(&configuracion))?;
    if let Some(motivo) = instalacion.impedimento() {
        return Err(Box::new(ErrorDePedido(motivo)));
    }
    // Con él en marcha: si se detuviera y algo estuviera mal, al arrancar leería ya el Config.ini nuevo.
    if !revisar(&configuracion, gestion.en_marcha()?, salida) {
        let _ = writeln!(
            salida,
            "no se ha cambiado nada: arregle lo que dice MAL y repita --instalar"
        );
        return Ok(false);
    }
    let estaba_en_marcha = gestion.detener()?;
    let hacer = |accion: &Accion| gestion.hacer(accion, &instalacion);
    let bien = dar(
        &instalacion.pasos_de_instalar(),
        estaba_en_marcha,
        hacer,
        salida,
    );
    let _ = writeln!(
        salida,
        "para deshacerlo todo: servidor-hl7 --desinstalar; si otro programa mueve o borra los mensajes, vea «Siempre en marcha» en el README"
    );
    Ok(bien)
}

/// Deshace la instalación. Los mensajes, el registro y Config.ini se quedan.
pub fn desinstalar(config: Option<&Path>, salida: &mut impl Write) -> Result<bool, Box<dyn Error>> {
    let gestion = Gestion::abrir()?;
    let hallada = configuracion_hallada(config).unwrap_or_else(|error| {
        let _ = writeln!(
            salida,
            "aviso {error}; los permisos de sus carpetas se quedan como están"
        );
        None
    });
    let instalacion = reunir(hallada.as_ref())?;
    let hacer = |accion: &Accion| gestion.hacer(accion, &instalacion);
    let bien = dar(&instalacion.pasos_de_desinstalar(), false, hacer, salida);
    if let Some(aviso) = instalacion.sin_deshacer() {
        let _ = writeln!(salida, "aviso {:<11} {aviso}", "programa");
    }
    Ok(bien)
}

/// Lo que hay que instalar o quitar.
fn reunir(configuracion: Option<&Configuracion>) -> Result<Instalacion, Box<dyn Error>> {
    let programa = env::current_exe()?;
    let carpeta = programa.parent().unwrap_or(Path::new("")).to_path_buf();
    let carpetas = configuracion.map_or(Vec::new(), Configuracion::carpetas);
    let entradas: Vec<_> = fs::read_dir(&carpeta)?.flatten().collect();
    let nombres: Vec<_> = entradas
        .iter()
        .map(|entrada| entrada.file_name().to_string_lossy().into_owned())
        .collect();
    let perfil = env::var_os("USERPROFILE").map(PathBuf::from);
    let perfiles = perfil.as_deref().and_then(Path::parent);
    let archivos = entradas.iter().map(fs::DirEntry::path);
    Ok(Instalacion {
        archivos: archivos.filter(|ruta| ruta.is_file()).collect(),
        ajena: no_es_propia(&carpeta, perfiles, &nombres, &carpetas),
        programa,
        config: configuracion.map_or_else(PathBuf::new, |leida| leida.ruta.clone()),
        carpetas,
        pagina: configuracion.and_then(|leida| leida.estado.clone()),
        puerto: configuracion.and_then(|leida| leida.puerto),
    })
}

/// El gestor de servicios, abierto como administrador.
struct Gestion(ServiceManager);

impl Gestion {
    fn abrir() -> Result<Gestion, Box<dyn Error>> {
        let permisos = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
        match ServiceManager::local_computer(None::<&str>, permisos) {
            Ok(gestor) => Ok(Gestion(gestor)),
            Err(error) if codigo(&error) == Some(ACCESO_DENEGADO) => {
                let motivo = "hace falta ser administrador, y no se ha cambiado nada; abra «Símbolo del sistema» con «Ejecutar como administrador» y repita la orden";
                Err(ErrorDePedido(motivo.to_owned()).into())
            }
            Err(error) => Err(sin_gestor(&explicar(error))),
        }
    }

    fn hacer(&self, accion: &Accion, instalacion: &Instalacion) -> Result<(), String> {
        match accion {
            Accion::Crear => self.crear(instalacion),
            Accion::Retrasar => {
                let servicio = self.existente()?;
                servicio.set_delayed_auto_start(true).map_err(explicar)
            }
            Accion::Repetir => self.repetir(),
            Accion::Arrancar => self.arrancar(),
            Accion::Detener => self.detener().map(drop),
            Accion::Borrar => self.borrar(),
            Accion::Dar(ordenes) => ordenes.iter().try_for_each(ejecutar),
            Accion::Ajustar(orden, si_no) => {
                ejecutar(orden).or_else(|_| si_no.iter().try_for_each(ejecutar))
            }
        }
    }

    /// El servicio; `None` si no existe.
    fn servicio(&self) -> Result<Option<Service>, String> {
        match self.0.open_service(NOMBRE, ServiceAccess::all()) {
            Ok(servicio) => Ok(Some(servicio)),
            Err(error) if codigo(&error) == Some(NO_EXISTE) => Ok(None),
            Err(error) => Err(explicar(error)),
        }
    }

    fn existente(&self) -> Result<Service, String> {
        let servicio = self.servicio()?;
        servicio.ok_or_else(|| "el servicio no existe".to_owned())
    }

    fn crear(&self, instalacion: &Instalacion) -> Result<(), String> {
        let existente = self.servicio()?;
        let datos = ServiceInfo {
            name: NOMBRE.into(),
            display_name: "Receptor HL7 (servidor-hl7)".into(),
            service_type: ServiceType::OWN_PROCESS,
            start_type: ServiceStartType::AutoStart,
            error_control: ServiceErrorControl::Normal,
            executable_path: instalacion.programa.clone(),
            launch_arguments: vec![
                "--servicio".into(),
                "--config".into(),
                OsString::from(&instalacion.config),
            ],
            dependencies: Vec::new(),
            account_name: cuenta_que_se_pone(existente.is_some()).map(OsString::from),
            account_password: None,
        };
        let servicio = match existente {
            Some(servicio) => {
                servicio.change_config(&datos).map_err(explicar)?;
                servicio
            }
            None => self
                .0
                .create_service(&datos, ServiceAccess::all())
                .map_err(explicar)?,
        };
        servicio.set_description(DESCRIPCION).map_err(explicar)
    }

    fn repetir(&self) -> Result<(), String> {
        let arrancar = |segundos| ServiceAction {
            action_type: ServiceActionType::Restart,
            delay: Duration::from_secs(segundos),
        };
        let acciones = ServiceFailureActions {
            reset_period: ServiceFailureResetPeriod::After(Duration::from_hours(24)),
            reboot_msg: None,
            command: None,
            actions: Some(vec![arrancar(5), arrancar(60)]),
        };
        let servicio = self.existente()?;
        servicio.update_failure_actions(acciones).map_err(explicar)
    }

    fn arrancar(&self) -> Result<(), String> {
        let servicio = self.existente()?;
        if let Err(error) = servicio.start::<&str>(&[])
            && codigo(&error) != Some(YA_EN_MARCHA)
        {
            return Err(explicar(error));
        }
        let estado = esperar(&servicio, |estado| {
            matches!(estado, ServiceState::Running | ServiceState::Stopped)
        })?;
        if estado.current_state == ServiceState::Running {
            return Ok(());
        }
        let codigo = match estado.exit_code {
            ServiceExitCode::Win32(PROCESO_ACABADO) => FALLO.into(),
            ServiceExitCode::ServiceSpecific(codigo) | ServiceExitCode::Win32(codigo) => codigo,
        };
        Err(format!(
            "no llegó a arrancar (código {codigo}); el registro dice por qué"
        ))
    }

    /// Si el servicio está en marcha; si está arrancando o deteniéndose, se espera a que acabe.
    fn en_marcha(&self) -> Result<EnMarcha, String> {
        let Some(servicio) = self.servicio()? else {
            return Ok(EnMarcha::No);
        };
        let estado = esperar(&servicio, |estado| {
            matches!(estado, ServiceState::Running | ServiceState::Stopped)
        })?;
        Ok(estado.process_id.map_or(EnMarcha::No, EnMarcha::Servicio))
    }

    /// Devuelve si estaba en marcha.
    fn detener(&self) -> Result<bool, String> {
        let Some(servicio) = self.servicio()? else {
            return Ok(false);
        };
        let estado = servicio.query_status().map_err(explicar)?;
        if estado.current_state == ServiceState::Stopped {
            return Ok(false);
        }
        // Si ya se está deteniendo, la orden sobra.
        let _ = servicio.stop();
        esperar(&servicio, |estado| estado == ServiceState::Stopped).map(|_| true)
    }

    fn borrar(&self) -> Result<(), String> {
        match self.servicio()? {
            Some(servicio) => servicio.delete().map_err(explicar),
            None => Ok(()),
        }
    }
}

/// Espera a que el servicio esté como se quiere.
fn esperar(
    servicio: &Service,
    listo: impl Fn(ServiceState) -> bool,
) -> Result<ServiceStatus, String> {
    let limite = Instant::now() + PLAZO;
    loop {
        let estado = servicio.query_status().map_err(explicar)?;
        if listo(estado.current_state) {
            return Ok(estado);
        }
        if Instant::now() >= limite {
            return Err("Windows no contesta en un minuto".to_owned());
        }
        thread::sleep(ENTRE_MIRADAS);
    }
}

/// Da una orden de Windows, la suya y no otra del mismo nombre.
fn ejecutar(orden: &Orden) -> Result<(), String> {
    let windows = env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let programa = Path::new(&windows).join("System32").join(orden.programa);
    let salida = Command::new(programa)
        .args(&orden.argumentos)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {}", orden.programa, causa::explicar(&error)))?;
    if salida.status.success() || orden.puede_faltar {
        return Ok(());
    }
    let dicho = [salida.stdout, salida.stderr].concat();
    Err(format!(
        "{} acabó con {}: {}",
        orden.programa,
        salida.status.code().unwrap_or_default(),
        leer_salida(dicho)
    ))
}

fn codigo(error: &windows_service::Error) -> Option<i32> {
    match error {
        windows_service::Error::Winapi(error) => io::Error::raw_os_error(error),
        _ => None,
    }
}
