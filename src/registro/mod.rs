//! El registro: cada línea, a la consola y al archivo del día, por su propio hilo.
//!
//! Ni una consola detenida ni un disco lleno deben retener un mensaje: las líneas van a una fila
//! acotada y, si está llena, se pierden y se cuentan. Y un equipo que falla sin parar no debe
//! llenarla: de las líneas que llevan la clave `equipo` se dicen unas pocas por minuto de cada
//! clase y equipo, y las demás se cuentan. Las de los mensajes guardados no la llevan, y se dicen
//! todas. Este módulo no sabe qué dicen las líneas.

mod consola;
pub(crate) mod diario;

use std::collections::HashMap;
use std::env;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Local;
use env_logger::{Builder, Target};
use log::{Level, LevelFilter, Record, warn};

use crate::registro::consola::Consola;
use crate::registro::diario::Diario;
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

/// Cuántas líneas de una clase y de un equipo se dicen en cada periodo; las demás se cuentan.
const REPETICIONES_DICHAS: u64 = 20;
const PERIODO: Duration = Duration::from_mins(1);
/// Cuántas clases y equipos se distinguen en un periodo; los demás se cuentan juntos.
const MAX_CLASES: usize = 4096;

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

/// De quién habla una línea y en qué sitio del programa se dijo: lo que hace iguales a dos.
type Clase = (String, Option<&'static str>, Option<u32>);

/// Las líneas que se repiten en el periodo en curso.
#[derive(Debug, Default)]
struct Repetidas(Mutex<HashMap<Clase, Cuenta>>);

#[derive(Debug, Default)]
struct Cuenta {
    vistas: u64,
    /// La primera que no se dijo, por la que hablarán todas.
    muestra: Option<(Level, String)>,
}

impl Repetidas {
    fn hay_que_decir(&self, linea: &Record<'_>) -> bool {
        let Some(equipo) = linea.key_values().get("equipo".into()) else {
            return true;
        };
        let mut cuentas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut clase = (equipo.to_string(), linea.file_static(), linea.line());
        if cuentas.len() >= MAX_CLASES && !cuentas.contains_key(&clase) {
            clase = (String::new(), None, None);
        }
        let cuenta = cuentas.entry(clase).or_default();
        cuenta.vistas += 1;
        if cuenta.vistas > REPETICIONES_DICHAS && cuenta.muestra.is_none() {
            cuenta.muestra = Some((linea.level(), linea.args().to_string()));
        }
        cuenta.vistas <= REPETICIONES_DICHAS
    }

    /// Acaba el periodo: una línea por cada clase de la que se calló alguna.
    fn resumir(&self) -> String {
        let cuentas = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut lineas = String::new();
        for Cuenta { vistas, muestra } in cuentas.into_values() {
            if let Some((nivel, texto)) = muestra {
                let calladas = vistas - REPETICIONES_DICHAS;
                let _ = writeln!(
                    lineas,
                    "{} {texto} ({calladas} líneas como esta en el último minuto)",
                    encabezado(nivel)
                );
            }
        }
        lineas
    }
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

/// El hilo del registro.
fn escribir(
    entradas: &Receiver<Entrada>,
    perdidas: &AtomicUsize,
    repetidas: &Repetidas,
    periodo: Duration,
    salidas: &mut Salidas,
) {
    let mut bloque = Vec::with_capacity(BLOQUE_BYTES);
    let mut hay_mas = false;
    let mut fin_del_periodo = Instant::now() + periodo;
    loop {
        let resta = fin_del_periodo.saturating_duration_since(Instant::now());
        let mut proxima = match entradas.recv_timeout(resta) {
            Ok(primera) => {
                if !hay_mas {
                    thread::sleep(PAUSA_DE_BLOQUE);
                }
                Some(primera)
            }
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut vaciados = Vec::new();
        while let Some(entrada) = proxima {
            match entrada {
                Entrada::Linea(linea) => bloque.extend_from_slice(&linea),
                Entrada::Titulo(titulo) => salidas.consola.titular(&titulo),
                Entrada::Constancia(linea) => {
                    salidas.decir(&std::mem::take(&mut bloque));
                    drop(salidas.archivar(&linea));
                }
                Entrada::Vaciar(hecho) => vaciados.push(hecho),
            }
            proxima = if bloque.len() < BLOQUE_BYTES {
                entradas.try_recv().ok()
            } else {
                None
            };
        }
        hay_mas = bloque.len() >= BLOQUE_BYTES;
        if !vaciados.is_empty() || Instant::now() >= fin_del_periodo {
            bloque.extend_from_slice(repetidas.resumir().as_bytes());
            fin_del_periodo = Instant::now() + periodo;
        }
        let omitidas = perdidas.swap(0, Ordering::Relaxed);
        if omitidas > 0 {
            let aviso = format!(
                "{} el registro no daba abasto: se omitieron {omitidas} líneas (la recepción siguió)\n",
                encabezado(Level::Warn)
            );
            bloque.extend_from_slice(aviso.as_bytes());
        }
        if !bloque.is_empty() {
            salidas.decir(&bloque);
            bloque.clear();
        }
        for hecho in vaciados {
            salidas.consola.vaciar();
            let _ = hecho.send(());
        }
    }
}

#[cfg(test)]
mod tests {
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

    fn decir(repetidas: &Repetidas, equipo: &str, linea: u32, veces: u64) -> u64 {
        let mut dichas = 0;
        for numero in 0..veces {
            let claves = [("equipo", equipo)];
            let hay_que_decir = repetidas.hay_que_decir(
                &Record::builder()
                    .args(format_args!("{equipo}: fallo {numero}"))
                    .level(Level::Warn)
                    .file_static(Some("prueba"))
                    .line(Some(linea))
                    .key_values(&claves)
                    .build(),
            );
            dichas += u64::from(hay_que_decir);
        }
        dichas
    }

    #[test]
    fn las_lineas_repetidas_de_un_equipo_se_cuentan_y_las_demas_se_dicen() {
        let repetidas = Repetidas::default();
        assert_eq!(decir(&repetidas, "10.0.0.1", 1, 1000), REPETICIONES_DICHAS);
        assert_eq!(decir(&repetidas, "10.0.0.2", 1, 1), 1, "otro equipo");
        assert_eq!(decir(&repetidas, "10.0.0.1", 2, 1), 1, "otra clase");
        let resumen = repetidas.resumir();
        let esperado = " 10.0.0.1: fallo 20 (980 líneas como esta en el último minuto)\n";
        assert!(resumen.ends_with(esperado), "{resumen}");
        assert_eq!(resumen.lines().count(), 1);
        assert_eq!(repetidas.resumir(), "");
        assert_eq!(decir(&repetidas, "10.0.0.1", 1, 1), 1, "otro periodo");
    }

    #[test]
    fn las_clases_que_se_distinguen_estan_acotadas() {
        let repetidas = Repetidas::default();
        for numero in 0..2 * MAX_CLASES {
            decir(&repetidas, &format!("equipo {numero}"), 1, 1);
        }
        assert_eq!(repetidas.0.lock().unwrap().len(), MAX_CLASES + 1);
        assert_eq!(repetidas.resumir().lines().count(), 1);
    }

    #[test]
    fn la_cuenta_se_dice_al_acabar_el_periodo_aunque_nadie_diga_nada_mas() {
        let repetidas = Repetidas::default();
        decir(&repetidas, "10.0.0.1", 1, 30);
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
            while !repetidas.0.lock().unwrap().is_empty() {
                thread::yield_now();
            }
            drop(fila);
        });
        salidas.consola.vaciar();
        let salida = String::from_utf8(escrito.0.lock().unwrap().clone()).unwrap();
        assert!(salida.contains("(10 líneas como esta"), "{salida}");
    }
}
