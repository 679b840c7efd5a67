//! El programa: lee Config.ini, arranca, espera la parada y detiene.

mod argumentos;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic;
use std::path::{self, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use chrono::Local;
use log::{error, info, warn};
use servidor_hl7::almacen::Almacen;
use servidor_hl7::configuracion::Configuracion;
use servidor_hl7::ordenes::enviar::enviar;
use servidor_hl7::ordenes::revisar::revisar;
use servidor_hl7::recepcion::conexion::{self, Recepcion};
use servidor_hl7::recepcion::equipo::{self, Equipo};
use servidor_hl7::recepcion::llamada::mantener;
use servidor_hl7::recepcion::parada::{APAGAR_SERVER, Parada};
use servidor_hl7::recepcion::servidor::{abrir_puerto, conexiones_que_caben, iniciar_servidor};
use servidor_hl7::recepcion::totales::Totales;
use servidor_hl7::recepcion::vigilancia::{decir_tabla, vigilar};
use servidor_hl7::registro::{self, Registro};
use servidor_hl7::ventana;

use crate::argumentos::{Argumentos, Orden};

const CONFIG: &str = "Config.ini";
/// Cuánto espera la parada a los mensajes en curso…
const PLAZO_DE_PARADA: Duration = Duration::from_secs(5);
/// …y si se cierra la ventana: Windows da al proceso 5 s en total.
const PLAZO_AL_CERRAR: Duration = Duration::from_secs(3);
/// Cuándo se vuelve a mirar un parcial que al arrancar era reciente.
const REPASO_DE_PARCIALES: Duration = Duration::from_secs(61);

fn main() -> ExitCode {
    match ejecutar() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "servidor-hl7: {error}");
            ventana::esperar_lectura();
            ExitCode::FAILURE
        }
    }
}

/// Hace lo que se pide; devuelve si salió bien.
fn ejecutar() -> Result<bool, Box<dyn Error>> {
    let Argumentos { orden, config } = argumentos::leer()?;
    match orden {
        Orden::Servir => servir(config).map(|()| true),
        Orden::Revisar => {
            let (configuracion, avisos) = configurar(config)?;
            for aviso in avisos {
                let _ = writeln!(io::stdout(), "{aviso}");
            }
            let bien = revisar(&configuracion, &mut io::stdout());
            ventana::esperar_lectura();
            Ok(bien)
        }
        Orden::Enviar(envio, destino) => {
            let destino = match destino {
                Some(destino) => destino,
                None => donde_escucha(config)?,
            };
            Ok(enviar(&envio, &destino, &mut io::stdout())?)
        }
        Orden::Mostrar(texto) => {
            // Si nadie lee lo que se dice, no hay a quién decírselo.
            let _ = writeln!(io::stdout(), "{texto}");
            Ok(true)
        }
    }
}

/// Recibe hasta la parada. Lo que falle consta también en el registro: un servicio no tiene consola.
fn servir(config: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let (mut configuracion, avisos) = configurar(config)?;
    let registro = registro::iniciar(configuracion.nivel, configuracion.diario.take())?;
    panic::set_hook(Box::new(|panico| {
        error!("fallo interno del programa, avise a quien lo mantiene: {panico}");
    }));
    for aviso in avisos {
        warn!("{aviso}");
    }
    info!("configuración leída de «{}»", configuracion.ruta.display());
    let recibido = recibir(configuracion, &registro);
    if let Err(error) = &recibido {
        registro.constar(error);
    }
    recibido
}

fn recibir(configuracion: Configuracion, registro: &Registro) -> Result<(), Box<dyn Error>> {
    let escucha = match configuracion.puerto {
        Some(puerto) => Some(abrir_puerto(SocketAddr::new(
            configuracion.direccion,
            puerto,
        ))?),
        None => None,
    };
    let almacen = Almacen::abrir(configuracion.directorio, configuracion.sincronizar)?;
    let parada = Arc::new(Parada::new(&APAGAR_SERVER));
    let pedida = atender_interrupciones(&parada)?;

    let carpeta = almacen.carpeta().display().to_string();
    info!("Archivo por Guardar en: {carpeta}");
    if !configuracion.sincronizar {
        warn!("Sincronizar = no: un corte de luz puede llevarse mensajes ya acusados");
    }
    if let Err(error) = almacen.probar(Local::now().naive_local()) {
        error!("{error}; hasta que se arregle, los equipos recibirán AE");
    }
    let nombres = configuracion.nombres;
    let llamados = configuracion.llamadas.iter();
    let nombrados = llamados.map(|llamada| llamada.nombre.as_str());
    let recepcion = Arc::new(Recepcion {
        almacen,
        limites: configuracion.limites,
        reglas: configuracion.reglas,
        totales: Totales::default(),
        parada: Arc::clone(&parada),
        ancho_de_equipo: equipo::ancho(nombrados.chain(nombres.todos())),
    });
    let mut acceso = configuracion.acceso;
    // Los equipos llamados no piden plaza, pero también ocupan la suya.
    let caben = conexiones_que_caben().saturating_sub(configuracion.llamadas.len());
    if escucha.is_some() && caben < acceso.max_conexiones {
        if caben == 0 {
            return Err("el sistema no deja abrir archivos ni para una conexión; suba su límite de archivos abiertos".into());
        }
        warn!(
            "el sistema solo deja abrir archivos para {caben} conexiones, menos que MaxConexiones: no entrarán más; suba su límite de archivos abiertos"
        );
        acceso.max_conexiones = caben;
    }
    let de_las_conexiones = Arc::clone(&recepcion);
    let atender = move |canal: &_, equipo: &_| conexion::atender(canal, equipo, &de_las_conexiones);
    for llamada in configuracion.llamadas {
        let (atender, recepcion) = (atender.clone(), Arc::clone(&recepcion));
        let recepcion_parada = Arc::clone(&parada);
        let ultimo = move |equipo: &Equipo| recepcion.totales.ultimo(&equipo.quien);
        abrir_hilo("llamada", move || {
            mantener(&llamada, &recepcion_parada, atender, ultimo);
        })?;
    }
    let vigilada = Arc::clone(&recepcion);
    abrir_hilo("vigilancia", move || {
        vigilar(
            configuracion.vigilancia,
            &vigilada.totales,
            vigilada.almacen.carpeta(),
        )
    })?;
    let mut titulo = format!("servidor-hl7: {carpeta}");
    if let Some(escucha) = escucha {
        let puerto = escucha.local_addr()?.port();
        let parada = Arc::clone(&parada);
        abrir_hilo("puerto", move || {
            iniciar_servidor(&escucha, &acceso, &nombres, &parada, atender)
        })?;
        info!("Servidor Escuchando el Puerto {puerto}");
        titulo = format!("servidor-hl7: puerto {puerto}, {carpeta}");
    }
    registro.titular(&titulo);

    let plazo = esperar_parada(&pedida, &recepcion.almacen);
    let pendientes = parada.esperar(plazo);
    if pendientes > 0 {
        warn!("mensajes sin acusar al parar: {pendientes}; sus equipos los enviarán de nuevo");
    }
    // Lo que el registro contaba en lugar de decirlo sale antes de la despedida.
    registro.vaciar();
    decir_tabla(&recepcion.totales, Local::now().date_naive());
    info!("Servidor detenido: {}", recepcion.totales);
    Ok(())
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

/// Lee la configuración pedida o la que encuentre; si no hay ninguna, escribe una y la lee.
/// Devuelve además lo que hay que avisar de ella.
fn configurar(elegida: Option<PathBuf>) -> Result<(Configuracion, Vec<String>), Box<dyn Error>> {
    let hallada = hallar(elegida)?;
    // Una tarea programada de Windows, o abrirlo como administrador, ponen de carpeta actual la del
    // sistema; en Unix es la del programa la que no es de quien lo ejecuta.
    let nueva = if cfg!(windows) {
        junto_al_programa()?
    } else {
        PathBuf::from(CONFIG)
    };
    let ruta = path::absolute(hallada.as_ref().unwrap_or(&nueva))?;
    let donde = ruta.display();
    let mut avisos = Vec::new();
    if hallada.is_none() {
        Configuracion::escribir_por_omision(&ruta)?;
        avisos.push(format!(
            "no había Config.ini: se escribió «{donde}» con los valores por omisión"
        ));
    }
    let configuracion = Configuracion::leer(&ruta)?;
    avisos.extend(configuracion.sobrantes.iter().map(|sobrante| {
        format!("en «{donde}» sobra {sobrante}: nadie la lee; revise si está bien escrita")
    }));
    Ok((configuracion, avisos))
}

/// La configuración pedida o, si no se pidió, la de la carpeta actual o la que está junto al programa.
fn hallar(elegida: Option<PathBuf>) -> io::Result<Option<PathBuf>> {
    let posibles = [PathBuf::from(CONFIG), junto_al_programa()?];
    let existente = || posibles.into_iter().find(|ruta| ruta.exists());
    Ok(elegida.or_else(existente))
}

fn junto_al_programa() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(CONFIG))
}

/// El `HOST:PUERTO` en que este PC puede hablar con el servidor de esa configuración.
fn donde_escucha(config: Option<PathBuf>) -> Result<String, Box<dyn Error>> {
    let ruta = hallar(config)?
        .ok_or("no hay ningún Config.ini; diga adónde enviar con --a HOST:PUERTO")?;
    let configuracion = Configuracion::leer(&path::absolute(ruta)?)?;
    let puerto = configuracion.puerto.filter(|puerto| *puerto != 0);
    let puerto = puerto.ok_or_else(|| {
        let ruta = configuracion.ruta.display();
        format!("en «{ruta}» el Puerto falta o es 0; diga adónde enviar con --a HOST:PUERTO")
    })?;
    let direccion = match configuracion.direccion {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(direccion, puerto).to_string())
}

/// Ctrl+C, SIGTERM o el cierre de la ventana avisan por el canal, con lo que se puede esperar a los
/// mensajes en curso; la segunda vez se sale ya.
fn atender_interrupciones(parada: &Arc<Parada>) -> Result<Receiver<Duration>, Box<dyn Error>> {
    let (aviso, pedida) = channel();
    let parada = Arc::clone(parada);
    let pedir_parada = move |plazo| {
        if parada.manejar_interrupcion() {
            process::exit(1);
        }
        info!("Recibida Señal de Detención. Deteniendo el Servidor...");
        // Si nadie escucha el aviso, el programa ya está saliendo.
        let _ = aviso.send(plazo);
    };
    let al_cerrar = pedir_parada.clone();
    ctrlc::set_handler(move || pedir_parada(PLAZO_DE_PARADA))?;
    ventana::al_cerrar(move || al_cerrar(PLAZO_AL_CERRAR))?;
    Ok(pedida)
}

/// Espera la parada y, mientras tanto, lleva a apartados los parciales de una caída anterior. Devuelve
/// cuánto se puede esperar a los mensajes en curso.
fn esperar_parada(parada: &Receiver<Duration>, almacen: &Almacen) -> Duration {
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
            return parada.recv().unwrap_or_default();
        }
        match parada.recv_timeout(REPASO_DE_PARCIALES) {
            Err(RecvTimeoutError::Timeout) => {}
            pedida => return pedida.unwrap_or_default(),
        }
    }
}
