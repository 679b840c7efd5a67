//! La consola, escrita por su propio hilo.
//!
//! Una consola que deja de leer (en Windows basta un clic en la ventana) no retiene a nadie: lo que
//! no cabe en la fila se pierde, y se cuenta para decirlo después. No sabe qué dicen las líneas.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use chrono::Local;

use crate::texto::{contar_lineas, sin_color};
use crate::ventana;

/// Cuánto puede esperar a que la consola lea.
const FILA_BYTES: usize = 512 * 1024;
/// Cuánto se espera a una consola que no lee, al final.
const PLAZO: Duration = Duration::from_millis(500);

enum Entrada {
    Texto(Vec<u8>),
    Vaciar(Sender<()>),
}

/// Lo que comparten el hilo de la consola y quien le da líneas.
#[derive(Debug, Default)]
struct Fila {
    bytes: AtomicUsize,
    perdidas: AtomicUsize,
}

/// La consola en marcha.
#[derive(Debug)]
pub(crate) struct Consola {
    entradas: Sender<Entrada>,
    fila: Arc<Fila>,
    con_color: bool,
}

impl Consola {
    /// La salida del programa; con color si es una terminal y nadie pidió lo contrario (`NO_COLOR`).
    pub(crate) fn abrir() -> io::Result<Consola> {
        let sin_color = std::env::var_os("NO_COLOR").is_some_and(|valor| !valor.is_empty());
        Consola::en(io::stdout(), ventana::admite_secuencias() && !sin_color)
    }

    /// Escribe en esa salida.
    pub(crate) fn en(salida: impl Write + Send + 'static, con_color: bool) -> io::Result<Consola> {
        let (entradas, recibidas) = channel();
        let fila = Arc::new(Fila::default());
        let del_hilo = Arc::clone(&fila);
        thread::Builder::new()
            .name("consola".to_owned())
            .spawn(move || escribir(&recibidas, &del_hilo, salida))?;
        Ok(Consola {
            entradas,
            fila,
            con_color,
        })
    }

    /// Escribe líneas enteras. Nunca espera.
    pub(crate) fn decir(&self, lineas: &[u8]) {
        let lineas = if self.con_color {
            lineas.to_vec()
        } else {
            sin_color(lineas)
        };
        if self.fila.bytes.load(Ordering::Relaxed) + lineas.len() > FILA_BYTES {
            let cuantas = contar_lineas(&lineas);
            self.fila.perdidas.fetch_add(cuantas, Ordering::Relaxed);
        } else {
            self.enviar(lineas);
        }
    }

    /// Pone título a la ventana en la que se ve, si la hay.
    pub(crate) fn titular(&self, titulo: &str) {
        if let Some(secuencia) = ventana::secuencia_de_titulo(titulo) {
            self.enviar(secuencia.into_bytes());
        }
    }

    /// Espera a que lo dicho hasta ahora se haya escrito; si no lee, no mucho.
    pub(crate) fn vaciar(&self) {
        let (hecho, aviso) = channel();
        if self.entradas.send(Entrada::Vaciar(hecho)).is_ok() {
            let _ = aviso.recv_timeout(PLAZO);
        }
    }

    fn enviar(&self, texto: Vec<u8>) {
        self.fila.bytes.fetch_add(texto.len(), Ordering::Relaxed);
        // El hilo de la consola solo acaba con el proceso.
        let _ = self.entradas.send(Entrada::Texto(texto));
    }
}

/// El hilo de la consola. Lo que no se pueda escribir se olvida: no hay otro sitio donde decirlo.
fn escribir(entradas: &Receiver<Entrada>, fila: &Fila, mut salida: impl Write) {
    for entrada in entradas {
        let vaciado = match entrada {
            Entrada::Texto(texto) => {
                let _ = salida.write_all(&texto);
                fila.bytes.fetch_sub(texto.len(), Ordering::Relaxed);
                None
            }
            Entrada::Vaciar(hecho) => Some(hecho),
        };
        let perdidas = fila.perdidas.swap(0, Ordering::Relaxed);
        if perdidas > 0 {
            let _ = writeln!(
                salida,
                "{} AVISO la consola no leía: se omitieron {perdidas} líneas (la recepción siguió)",
                Local::now().format("%H:%M:%S%.3f")
            );
        }
        let _ = salida.flush();
        if let Some(hecho) = vaciado {
            let _ = hecho.send(());
        }
    }
}
