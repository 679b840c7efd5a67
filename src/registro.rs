//! El registro: lo que se ve en la consola, escrito por su propio hilo.
//!
//! Una consola que deja de leer (en Windows basta un clic en la ventana) no debe retener ni un
//! mensaje: las líneas van a una cola acotada y, si está llena, se pierden y se cuentan. Este
//! módulo no sabe qué dicen las líneas; [`escapar`] es para quien muestra bytes de la red.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use chrono::Local;
use env_logger::{Builder, Env, Target};
use log::Level;

use crate::ventana;

/// Cuántas líneas esperan a que la consola lea; después se pierden.
const COLA_LINEAS: usize = 4096;
/// Cuánto se junta para cada escritura.
const TANDA_BYTES: usize = 16 * 1024;
/// Cuánto espera el final a que la consola lea las últimas líneas.
const PLAZO_DE_CONSOLA: Duration = Duration::from_millis(500);

enum Entrada {
    Linea(Vec<u8>),
    Vaciar(Sender<()>),
}

/// El registro en marcha. Al soltarlo, lo dicho termina de llegar a la consola.
#[derive(Debug)]
pub struct Registro {
    cola: SyncSender<Entrada>,
}

/// Pone en marcha el registro del proceso. `RUST_LOG` elige el nivel; sin ella, `info`.
pub fn iniciar() -> io::Result<Registro> {
    let (cola, entradas) = sync_channel(COLA_LINEAS);
    let perdidas = Arc::new(AtomicUsize::new(0));
    let buzon = Buzon {
        cola: cola.clone(),
        perdidas: Arc::clone(&perdidas),
    };
    thread::Builder::new()
        .name("registro".to_owned())
        .spawn(move || escribir(&entradas, &perdidas, &mut io::stdout()))?;
    Builder::from_env(Env::default().default_filter_or("info"))
        .target(Target::Pipe(Box::new(buzon)))
        .format(|salida, linea| {
            writeln!(
                salida,
                "{} {} {}",
                Local::now().format("%H:%M:%S%.3f"),
                nivel(linea.level()),
                linea.args()
            )
        })
        .try_init()
        .map_err(io::Error::other)?;
    Ok(Registro { cola })
}

impl Registro {
    /// Pone título a la ventana en la que se ve la consola, si la hay. Tampoco espera.
    pub fn titular(&self, titulo: &str) {
        if let Some(secuencia) = ventana::secuencia_de_titulo(titulo) {
            let _ = self.cola.try_send(Entrada::Linea(secuencia.into_bytes()));
        }
    }
}

impl Drop for Registro {
    /// Espera a que lo dicho hasta ahora llegue a la consola; si no lee, no mucho.
    fn drop(&mut self) {
        let (hecho, aviso) = channel();
        if self.cola.try_send(Entrada::Vaciar(hecho)).is_ok() {
            let _ = aviso.recv_timeout(PLAZO_DE_CONSOLA);
        }
    }
}

/// Los bytes como texto de una línea: lo que no sea ASCII visible va como `\xNN`, y a partir
/// de `max_bytes` se abrevia.
#[must_use]
pub fn escapar(bytes: &[u8], max_bytes: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        for octeto in &bytes[..bytes.len().min(max_bytes)] {
            match octeto {
                b' '..=b'~' => f.write_char(char::from(*octeto))?,
                _ => write!(f, "\\x{octeto:02X}")?,
            }
        }
        if bytes.len() > max_bytes {
            f.write_char('…')
        } else {
            Ok(())
        }
    })
}

fn nivel(nivel: Level) -> &'static str {
    match nivel {
        Level::Error => "ERROR",
        Level::Warn => "AVISO",
        Level::Info => "INFO ",
        Level::Debug | Level::Trace => "DEBUG",
    }
}

/// Donde env_logger deja cada línea, ya entera. Nunca espera.
struct Buzon {
    cola: SyncSender<Entrada>,
    perdidas: Arc<AtomicUsize>,
}

impl Write for Buzon {
    fn write(&mut self, linea: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.cola.try_send(Entrada::Linea(linea.to_vec())) {
            self.perdidas.fetch_add(1, Ordering::Relaxed);
        }
        Ok(linea.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// El hilo del registro. Lo que no se pueda escribir se olvida: no hay otro sitio donde decirlo.
fn escribir(entradas: &Receiver<Entrada>, perdidas: &AtomicUsize, salida: &mut impl Write) {
    let mut tanda = Vec::with_capacity(TANDA_BYTES);
    while let Ok(primera) = entradas.recv() {
        let mut vaciados = Vec::new();
        let mut proxima = Some(primera);
        while let Some(entrada) = proxima {
            match entrada {
                Entrada::Linea(linea) => tanda.extend_from_slice(&linea),
                Entrada::Vaciar(hecho) => vaciados.push(hecho),
            }
            proxima = if tanda.len() < TANDA_BYTES {
                entradas.try_recv().ok()
            } else {
                None
            };
        }
        let omitidas = perdidas.swap(0, Ordering::Relaxed);
        if omitidas > 0 {
            let hora = Local::now().format("%H:%M:%S%.3f");
            let aviso = format!(
                "{hora} {} la consola no leía: se omitieron {omitidas} líneas (la recepción siguió)\n",
                nivel(Level::Warn)
            );
            tanda.extend_from_slice(aviso.as_bytes());
        }
        let _ = salida.write_all(&tanda).and_then(|()| salida.flush());
        tanda.clear();
        for hecho in vaciados {
            let _ = hecho.send(());
        }
    }
}
