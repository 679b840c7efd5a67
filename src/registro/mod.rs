//! El registro: cada línea, a la consola y al archivo del día, por su propio hilo.
//!
//! Ni una consola detenida ni un disco lleno deben retener un mensaje: las líneas van a una fila
//! acotada y, si está llena, se pierden y se cuentan. Un equipo que falla sin parar no la llena: sus
//! líneas repetidas se cuentan; las de los mensajes guardados no llevan la clave `equipo`, y se dicen
//! todas. Este módulo no sabe qué dicen las líneas.

mod consola;
pub(crate) mod diario;
mod repetidas;

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Local;
use env_logger::{Builder, Target};
use log::{Level, LevelFilter, warn};

use crate::registro::consola::Consola;
use crate::registro::diario::Diario;
use crate::registro::repetidas::Repetidas;
use crate::texto::{Color, colorear, escapar, sin_color};

/// Cuántas líneas esperan a que este hilo las recoja; después se pierden.
const FILA_LINEAS: usize = 4096;
/// Cuánto se junta para cada escritura.
const BLOQUE_BYTES: usize = 16 * 1024;
/// Cuánto se espera a que se junten más líneas: nadie lo nota al mirarlas, y despertar a este hilo
/// por cada una le cuesta a quien recibe mensajes. Si ya hay un bloque entero, no se espera.
const PAUSA_DE_BLOQUE: Duration = Duration::from_millis(10);
/// Cuánto espera el final a que salgan las últimas líneas; la consola tiene un plazo menor.
const PLAZO_DEL_FINAL: Duration = Duration::from_millis(700);

/// Cada cuánto se dice la cuenta de las líneas que se repiten.
const PERIODO: Duration = Duration::from_mins(1);

/// Cuánto se muestra de una variable RUST_LOG que no sirve.
const RUST_LOG_VISIBLE_BYTES: usize = 64;

pub use diario::Ajustes;

enum Entrada {
    Linea(Vec<u8>),
    Titulo(String),
    /// Solo para el archivo: en la consola ya se ve.
    Constancia(Vec<u8>),
    Vaciar(Sender<()>),
}

/// El registro en marcha. Al soltarlo, lo dicho termina de llegar a la consola y al archivo.
#[derive(Debug)]
pub struct Registro {
    fila: SyncSender<Entrada>,
}

/// Pone en marcha el registro del proceso, en la consola y, si lo hay, en el diario. La variable
/// `RUST_LOG` manda sobre `nivel`.
pub fn iniciar(nivel: LevelFilter, diario: Option<Ajustes>) -> io::Result<Registro> {
    let (fila, entradas) = sync_channel(FILA_LINEAS);
    let perdidas = Arc::new(AtomicUsize::new(0));
    let repetidas = Arc::new(Repetidas::default());
    let buzon = Buzon {
        fila: fila.clone(),
        perdidas: Arc::clone(&perdidas),
    };
    let del_hilo = Arc::clone(&repetidas);
    let mut salidas = Salidas {
        consola: Consola::abrir()?,
        diario: diario.map(Diario::new),
    };
    thread::Builder::new()
        .name("registro".to_owned())
        .spawn(move || escribir(&entradas, &perdidas, &del_hilo, PERIODO, &mut salidas))?;
    let pedido = env::var("RUST_LOG").unwrap_or_default();
    let nivel_pedido: Option<LevelFilter> = pedido.parse().ok();
    Builder::new()
        .filter_level(nivel_pedido.unwrap_or(nivel))
        .target(Target::Pipe(Box::new(buzon)))
        .format(move |salida, linea| {
            if repetidas.hay_que_decir(linea) {
                writeln!(salida, "{} {}", encabezado(linea.level()), linea.args())
            } else {
                Ok(())
            }
        })
        .try_init()
        .map_err(io::Error::other)?;
    if nivel_pedido.is_none() && !pedido.is_empty() {
        warn!(
            "la variable RUST_LOG = «{}» no sirve; se esperaba: off, error, warn, info, debug o trace; vale Nivel de Config.ini",
            escapar(pedido.as_bytes(), RUST_LOG_VISIBLE_BYTES)
        );
    }
    Ok(Registro { fila })
}

impl Registro {
    /// Pone título a la ventana en la que se ve la consola, si la hay. Tampoco espera.
    pub fn titular(&self, titulo: &str) {
        let _ = self.fila.try_send(Entrada::Titulo(titulo.to_owned()));
    }

    /// Espera a que lo dicho hasta ahora llegue a su sitio, y antes la cuenta de lo que se repetía; si
    /// la consola no lee, no mucho.
    pub fn vaciar(&self) {
        let limite = Instant::now() + PLAZO_DEL_FINAL;
        let (hecho, aviso) = channel();
        let mut vaciar = Entrada::Vaciar(hecho);
        // Con la fila llena, el hilo está escribiendo y pronto habrá sitio.
        while let Err(TrySendError::Full(devuelta)) = self.fila.try_send(vaciar) {
            if Instant::now() >= limite {
                return;
            }
            vaciar = devuelta;
            thread::sleep(PAUSA_DE_BLOQUE);
        }
        let _ = aviso.recv_timeout(limite.saturating_duration_since(Instant::now()));
    }

    /// Deja en el archivo, si lo hay, un error que la consola dirá de otro modo.
    pub fn constar(&self, error: impl fmt::Display) {
        let linea = format!("{} {error}\n", encabezado(Level::Error));
        let _ = self.fila.try_send(Entrada::Constancia(linea.into_bytes()));
    }
}

impl Drop for Registro {
    fn drop(&mut self) {
        self.vaciar();
    }
}

/// Adónde va cada línea.
struct Salidas {
    consola: Consola,
    diario: Option<Diario>,
}

impl Salidas {
    /// Primero al archivo: lo que se ve en la consola ya está en él. Un aviso sobre el archivo va antes
    /// que las líneas, entre las que puede estar la despedida.
    fn decir(&mut self, lineas: &[u8]) {
        if let Some(aviso) = self.archivar(lineas) {
            let aviso = format!("{} {aviso}\n", encabezado(Level::Warn));
            self.consola.decir(aviso.as_bytes());
        }
        self.consola.decir(lineas);
    }

    /// Devuelve lo que haya que avisar en la consola.
    fn archivar(&mut self, lineas: &[u8]) -> Option<String> {
        let ahora = Local::now().naive_local();
        self.diario.as_mut()?.anotar(&sin_color(lineas), ahora)
    }
}

/// La hora y el nivel, con los que empieza cada línea.
fn encabezado(nivel: Level) -> impl fmt::Display {
    let ahora = Local::now();
    fmt::from_fn(move |f| {
        write!(f, "{} ", ahora.format("%H:%M:%S%.3f"))?;
        match nivel {
            Level::Error => write!(f, "{}", colorear("ERROR", Color::Mal)),
            Level::Warn => write!(f, "{}", colorear("AVISO", Color::Aviso)),
            Level::Info => f.write_str("INFO "),
            Level::Debug | Level::Trace => f.write_str("DEBUG"),
        }
    })
}

/// Donde env_logger deja cada línea, ya entera. Nunca espera.
struct Buzon {
    fila: SyncSender<Entrada>,
    perdidas: Arc<AtomicUsize>,
}

impl Write for Buzon {
    fn write(&mut self, linea: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.fila.try_send(Entrada::Linea(linea.to_vec())) {
            self.perdidas.fetch_add(1, Ordering::Relaxed);
        }
        Ok(linea.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lo que se recoge de la fila de una vez.
#[derive(Default)]
struct Bloque {
    lineas: Vec<u8>,
    vaciados: Vec<Sender<()>>,
}

/// Espera la primera entrada hasta `limite` y recoge con ella las que quepan en un bloque; lo que no
/// son líneas se hace enseguida. `None`: ya nadie puede decir nada.
fn recoger(
    entradas: &Receiver<Entrada>,
    limite: Instant,
    sin_pausa: bool,
    salidas: &mut Salidas,
) -> Option<Bloque> {
    let resta = limite.saturating_duration_since(Instant::now());
    let mut proxima = match entradas.recv_timeout(resta) {
        Ok(primera) => Some(primera),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    if proxima.is_some() && !sin_pausa {
        thread::sleep(PAUSA_DE_BLOQUE);
    }
    let mut bloque = Bloque::default();
    while let Some(entrada) = proxima {
        match entrada {
            Entrada::Linea(linea) => bloque.lineas.extend_from_slice(&linea),
            Entrada::Titulo(titulo) => salidas.consola.titular(&titulo),
            Entrada::Constancia(linea) => {
                salidas.decir(&std::mem::take(&mut bloque.lineas));
                drop(salidas.archivar(&linea));
            }
            Entrada::Vaciar(hecho) => bloque.vaciados.push(hecho),
        }
        let cabe = bloque.lineas.len() < BLOQUE_BYTES;
        proxima = cabe.then(|| entradas.try_recv().ok()).flatten();
    }
    Some(bloque)
}

/// El hilo del registro.
fn escribir(
    entradas: &Receiver<Entrada>,
    perdidas: &AtomicUsize,
    repetidas: &Repetidas,
    periodo: Duration,
    salidas: &mut Salidas,
) {
    let mut hay_mas = false;
    let mut fin_del_periodo = Instant::now() + periodo;
    while let Some(mut bloque) = recoger(entradas, fin_del_periodo, hay_mas, salidas) {
        hay_mas = bloque.lineas.len() >= BLOQUE_BYTES;
        if !bloque.vaciados.is_empty() || Instant::now() >= fin_del_periodo {
            for (nivel, resumen) in repetidas.resumir() {
                let _ = writeln!(bloque.lineas, "{} {resumen}", encabezado(nivel));
            }
            fin_del_periodo = Instant::now() + periodo;
        }
        let omitidas = perdidas.swap(0, Ordering::Relaxed);
        if omitidas > 0 {
            let _ = writeln!(
                bloque.lineas,
                "{} el registro no daba abasto: se omitieron {omitidas} líneas (la recepción siguió)",
                encabezado(Level::Warn)
            );
        }
        if !bloque.lineas.is_empty() {
            salidas.decir(&bloque.lineas);
        }
        for hecho in bloque.vaciados {
            salidas.consola.vaciar();
            let _ = hecho.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Una consola que recuerda lo que se escribió en ella.
    #[derive(Clone, Default)]
    struct Escrito(Arc<Mutex<Vec<u8>>>);

    impl Write for Escrito {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn la_cuenta_se_dice_al_acabar_el_periodo_aunque_nadie_diga_nada_mas() {
        let repetidas = Repetidas::default();
        repetidas::decir(&repetidas, "10.0.0.1", 1, 30);
        let (fila, entradas) = sync_channel(1);
        let escrito = Escrito::default();
        let mut salidas = Salidas {
            consola: Consola::en(escrito.clone(), false).unwrap(),
            diario: None,
        };
        thread::scope(|hilos| {
            let (repetidas, salidas) = (&repetidas, &mut salidas);
            hilos.spawn(move || {
                let periodo = Duration::from_millis(1);
                escribir(&entradas, &AtomicUsize::new(0), repetidas, periodo, salidas);
            });
            while !repetidas.es_nuevo() {
                thread::yield_now();
            }
            drop(fila);
        });
        salidas.consola.vaciar();
        let salida = String::from_utf8(escrito.0.lock().unwrap().clone()).unwrap();
        assert!(salida.contains("(10 líneas como esta"), "{salida}");
    }
}
