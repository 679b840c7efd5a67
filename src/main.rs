//! El programa: lee Config.ini, arranca, espera la parada y detiene.

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::panic;
use std::path::{self, Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use log::{error, info, warn};
use servidor_hl7::almacen::Almacen;
use servidor_hl7::conexion::{self, Recepcion, Totales};
use servidor_hl7::configuracion::Configuracion;
use servidor_hl7::llamada::mantener;
use servidor_hl7::servidor::iniciar_servidor;
use servidor_hl7::{apagado, causa, registro};

const AYUDA: &str = "\
Recibe por TCP los mensajes HL7 v2 de los analizadores y guarda cada uno en un archivo.

Uso: servidor-hl7 [--config RUTA]

  --config RUTA   lee esa configuración en lugar de Config.ini
  --help          muestra esta ayuda
  --version       muestra la versión

Sin --config se lee el Config.ini de la carpeta actual o, si no lo hay, el que está junto al
programa; si tampoco lo hay, se escribe uno con los valores por omisión.
Ctrl+C detiene el programa: termina de guardar y acusar lo que esté en curso.";

const CONFIG: &str = "Config.ini";
/// Cuánto espera la parada a los mensajes en curso.
const PLAZO_DE_PARADA: Duration = Duration::from_secs(5);
/// Cuándo se vuelve a mirar un parcial que al arrancar era reciente.
const REPASO_DE_PARCIALES: Duration = Duration::from_secs(61);

fn main() -> ExitCode {
    match ejecutar() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            quejarse(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn ejecutar() -> Result<(), Box<dyn Error>> {
    let elegida = match leer_argumentos()? {
        Orden::Servir { config } => config,
        Orden::Mostrar(texto) => {
            decir(texto);
            return Ok(());
        }
    };
    let _registro = registro::iniciar()?;
    panic::set_hook(Box::new(|panico| {
        error!("fallo interno del programa, avise a quien lo mantiene: {panico}");
    }));
    let configuracion = configurar(elegida)?;

    let escucha = match configuracion.puerto {
        Some(puerto) => Some(abrir_puerto(SocketAddr::new(
            configuracion.direccion,
            puerto,
        ))?),
        None => None,
    };
    let almacen = Almacen::abrir(configuracion.directorio, configuracion.sincronizar)?;
    let parada = atender_interrupciones()?;

    info!("Archivo por Guardar en: {}", almacen.carpeta().display());
    if !configuracion.sincronizar {
        warn!("Sincronizar = no: un corte de luz puede llevarse mensajes ya acusados");
    }
    let recepcion = Arc::new(Recepcion {
        almacen,
        limites: configuracion.limites,
        reglas: configuracion.reglas,
        totales: Totales::default(),
    });
    let de_las_conexiones = Arc::clone(&recepcion);
    let atender = move |canal: &_, equipo: &_| conexion::atender(canal, equipo, &de_las_conexiones);
    for llamada in configuracion.llamadas {
        let atender = atender.clone();
        abrir_hilo("llamada", move || mantener(&llamada, atender))?;
    }
    if let Some(escucha) = escucha {
        let puerto = escucha.local_addr()?.port();
        let acceso = configuracion.acceso;
        abrir_hilo("puerto", move || {
            iniciar_servidor(&escucha, &acceso, atender)
        })?;
        info!("Servidor Escuchando el Puerto {puerto}");
    }

    esperar_parada(&parada, &recepcion.almacen);
    let pendientes = apagado::esperar(PLAZO_DE_PARADA);
    if pendientes > 0 {
        warn!("{pendientes} mensajes quedaron sin acusar; sus equipos los enviarán de nuevo");
    }
    info!("Servidor detenido: {}", recepcion.totales);
    Ok(())
}

fn abrir_puerto(direccion: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(direccion).map_err(|error| {
        format!(
            "no se pudo abrir el puerto «{direccion}»: {}",
            causa::explicar(&error)
        )
    })
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

/// Lo que se pide en la línea de órdenes.
enum Orden {
    Servir { config: Option<PathBuf> },
    Mostrar(&'static str),
}

fn leer_argumentos() -> Result<Orden, Box<dyn Error>> {
    use lexopt::prelude::{Long, Short};
    let mut config = None;
    let mut argumentos = lexopt::Parser::from_env();
    while let Some(argumento) = argumentos.next()? {
        match argumento {
            Long("config") => config = Some(PathBuf::from(argumentos.value()?)),
            Long("help") | Short('h') => return Ok(Orden::Mostrar(AYUDA)),
            Long("version") | Short('V') => {
                return Ok(Orden::Mostrar(concat!(
                    "servidor-hl7 ",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            otro => {
                let sobra = otro.unexpected();
                return Err(format!("{sobra}; use --help para ver los argumentos").into());
            }
        }
    }
    Ok(Orden::Servir { config })
}

/// Lee la configuración pedida o la que encuentre; si no hay ninguna, escribe una y la lee.
fn configurar(elegida: Option<PathBuf>) -> Result<Configuracion, Box<dyn Error>> {
    let en_la_carpeta_actual = || Some(PathBuf::from(CONFIG)).filter(|ruta| ruta.exists());
    let junto_al_programa = || {
        let ruta = env::current_exe().ok()?.with_file_name(CONFIG);
        ruta.exists().then_some(ruta)
    };
    let hallada = elegida
        .or_else(en_la_carpeta_actual)
        .or_else(junto_al_programa);
    let ruta = path::absolute(hallada.as_deref().unwrap_or(Path::new(CONFIG)))?;
    if hallada.is_none() {
        Configuracion::escribir_por_omision(&ruta)?;
        warn!(
            "no había Config.ini: se escribió «{}» con los valores por omisión",
            ruta.display()
        );
    }
    let configuracion = Configuracion::leer(&ruta)?;
    info!("configuración leída de «{}»", ruta.display());
    for sobrante in &configuracion.sobrantes {
        warn!(
            "en «{}» sobra {sobrante}: nadie la lee; revise si está bien escrita",
            ruta.display()
        );
    }
    Ok(configuracion)
}

/// Ctrl+C, SIGTERM o el cierre de la consola avisan por el canal; la segunda vez se sale ya.
fn atender_interrupciones() -> Result<Receiver<()>, Box<dyn Error>> {
    let (aviso, parada) = channel();
    ctrlc::set_handler(move || {
        if apagado::manejar_interrupcion() {
            process::exit(1);
        }
        info!("Recibida Señal de Detención. Deteniendo el Servidor...");
        // Si nadie escucha el aviso, el programa ya está saliendo.
        let _ = aviso.send(());
    })?;
    Ok(parada)
}

/// Espera la parada y, mientras tanto, lleva a apartados los parciales de una caída anterior.
fn esperar_parada(parada: &Receiver<()>, almacen: &Almacen) {
    loop {
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
        if rescate.recientes == 0 {
            // Un error aquí significa que ya nadie puede pedir la parada.
            let _ = parada.recv();
            return;
        }
        if parada.recv_timeout(REPASO_DE_PARCIALES) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Si nadie lee lo que se dice, no hay a quién decírselo.
fn decir(texto: &str) {
    let _ = writeln!(io::stdout(), "{texto}");
}

fn quejarse(error: &dyn Error) {
    let _ = writeln!(io::stderr(), "servidor-hl7: {error}");
}
