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
use servidor_hl7::envio::{Envio, enviar};
use servidor_hl7::llamada::mantener;
use servidor_hl7::revision::revisar;
use servidor_hl7::servidor::iniciar_servidor;
use servidor_hl7::{apagado, causa, registro};

const AYUDA: &str = "\
Recibe por TCP los mensajes HL7 v2 de los analizadores y guarda cada uno en un archivo.

Uso: servidor-hl7 [--config RUTA]
     servidor-hl7 --revisar [--config RUTA]
     servidor-hl7 --enviar [ARCHIVO...] [--a HOST:PUERTO] [--sin-trama] [--repetir N]

  --config RUTA    lee esa configuración en lugar de Config.ini
  --revisar        comprueba configuración, carpeta, disco y puerto, dice las direcciones de
                   este equipo, y acaba: con 0 si todo está bien y con 1 si no
  --enviar         envía cada archivo como lo haría un analizador y dice qué se contestó; sin
                   archivos, envía un mensaje de muestra
  --a HOST:PUERTO  adónde se envía; si no se dice, a este equipo, al puerto de Config.ini
  --sin-trama      envía sin trama MLLP
  --repetir N      lo envía todo N veces
  --help           muestra esta ayuda
  --version        muestra la versión

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
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "servidor-hl7: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Hace lo que se pide; devuelve si salió bien.
fn ejecutar() -> Result<bool, Box<dyn Error>> {
    let Argumentos { orden, config } = leer_argumentos()?;
    match orden {
        Orden::Servir => servir(config).map(|()| true),
        Orden::Revisar => {
            // Lo que se diga de la configuración sale antes que la revisión.
            let registro = registro::iniciar()?;
            let configuracion = configurar(config)?;
            drop(registro);
            Ok(revisar(&configuracion, &mut io::stdout()))
        }
        Orden::Enviar(mut envio) => {
            if envio.destino.is_empty() {
                let puerto = configurar(config)?
                    .puerto
                    .ok_or("Config.ini no tiene Puerto; diga adónde enviar con --a HOST:PUERTO")?;
                envio.destino = format!("127.0.0.1:{puerto}");
            }
            Ok(enviar(&envio, &mut io::stdout())?)
        }
        Orden::Mostrar(texto) => {
            // Si nadie lee lo que se dice, no hay a quién decírselo.
            let _ = writeln!(io::stdout(), "{texto}");
            Ok(true)
        }
    }
}

fn servir(config: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let _registro = registro::iniciar()?;
    panic::set_hook(Box::new(|panico| {
        error!("fallo interno del programa, avise a quien lo mantiene: {panico}");
    }));
    let configuracion = configurar(config)?;

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
struct Argumentos {
    orden: Orden,
    config: Option<PathBuf>,
}

enum Orden {
    Servir,
    Revisar,
    /// Con el destino vacío si no se dijo.
    Enviar(Envio),
    Mostrar(&'static str),
}

fn leer_argumentos() -> Result<Argumentos, Box<dyn Error>> {
    use lexopt::prelude::{Long, Short, Value, ValueExt};
    let mut config = None;
    let mut orden = Orden::Servir;
    let mut argumentos = lexopt::Parser::from_env();
    while let Some(argumento) = argumentos.next()? {
        match (argumento, &mut orden) {
            (Long("config"), _) => config = Some(PathBuf::from(argumentos.value()?)),
            (Long("help") | Short('h'), _) => orden = Orden::Mostrar(AYUDA),
            (Long("version") | Short('V'), _) => {
                orden = Orden::Mostrar(concat!("servidor-hl7 ", env!("CARGO_PKG_VERSION")));
            }
            (Long("revisar"), _) => orden = Orden::Revisar,
            (Long("enviar"), _) => orden = Orden::Enviar(Envio::de_muestra()),
            (Value(archivo), Orden::Enviar(envio)) => envio.archivos.push(PathBuf::from(archivo)),
            (Long("a"), Orden::Enviar(envio)) => envio.destino = argumentos.value()?.string()?,
            (Long("sin-trama"), Orden::Enviar(envio)) => envio.con_trama = false,
            (Long("repetir"), Orden::Enviar(envio)) => envio.veces = argumentos.value()?.parse()?,
            (otro, _) => {
                let sobra = match otro {
                    Long(nombre) => format!("--{nombre}"),
                    Short(letra) => format!("-{letra}"),
                    Value(valor) => valor.to_string_lossy().into_owned(),
                };
                return Err(format!(
                    "no se entiende «{sobra}»; use --help para ver los argumentos"
                )
                .into());
            }
        }
    }
    Ok(Argumentos { orden, config })
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
