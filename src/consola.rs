//! La consola, escrita por su propio hilo, y los colores de lo que se ve en ella.
//!
//! Una consola que deja de leer (en Windows basta un clic en la ventana) no retiene a nadie: lo que
//! no cabe en la fila se pierde, y se cuenta para decirlo después. No sabe qué dicen las líneas.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use chrono::Local;

use crate::ventana;

/// Cuánto puede esperar a que la consola lea.
const FILA_BYTES: usize = 512 * 1024;
/// Cuánto se espera a una consola que no lee, al final.
const PLAZO: Duration = Duration::from_millis(500);
const ESC: u8 = 0x1B;

/// Lo que un color dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Verde: está a salvo.
    Bien,
    /// Amarillo: alguien debe mirarlo.
    Aviso,
    /// Rojo: algo no se guardó.
    Mal,
}

/// El texto con su color, que solo llega a verse en una terminal.
pub fn colorear(texto: impl fmt::Display, color: Color) -> impl fmt::Display {
    let codigo = match color {
        Color::Bien => 32,
        Color::Aviso => 33,
        Color::Mal => 31,
    };
    fmt::from_fn(move |f| write!(f, "\x1b[{codigo}m{texto}\x1b[0m"))
}

/// Las líneas sin los colores de [`colorear`].
pub(crate) fn sin_color(lineas: &[u8]) -> Vec<u8> {
    let mut limpias = Vec::with_capacity(lineas.len());
    let mut resto = lineas;
    while let Some(p) = memchr::memchr(ESC, resto) {
        limpias.extend_from_slice(&resto[..p]);
        resto = &resto[p + 1..];
        let colores = [&b"[0m"[..], b"[31m", b"[32m", b"[33m"];
        if let Some(sin_codigo) = colores
            .iter()
            .find_map(|codigo| resto.strip_prefix(*codigo))
        {
            resto = sin_codigo;
        } else {
            limpias.push(ESC);
        }
    }
    limpias.extend_from_slice(resto);
    limpias
}

/// Cuántas líneas hay en unas líneas enteras.
pub(crate) fn contar_lineas(lineas: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', lineas).count()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sin_color_quita_los_colores_y_nada_mas() {
        let linea = format!(
            "a {} m {} b\n",
            colorear("AA", Color::Bien),
            colorear("x", Color::Mal)
        );
        assert_eq!(sin_color(linea.as_bytes()), b"a AA m x b\n");
        for igual in [&b""[..], b"\n", b"ninguno [32m\n", b"otro \x1b[2Jm y \x1b"] {
            assert_eq!(sin_color(igual), igual);
        }
    }
}
