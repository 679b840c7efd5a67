//! La consola, escrita por su propio hilo.
//!
//! Una consola que deja de leer (en Windows basta un clic en la ventana) no retiene a nadie: lo que
//! no cabe en su espera se pierde, y se cuenta para decirlo después. No sabe qué dicen las líneas.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use log::Level;

use crate::hilo::abrir_hilo;
use crate::registro::linea::Linea;
use crate::texto::sin_color;
use crate::ventana;

/// Cuánto puede esperar a que la consola lea.
const EN_ESPERA_BYTES: usize = 512 * 1024;
/// Cuánto se espera a una consola que no lee, al final.
const PLAZO: Duration = Duration::from_millis(500);

enum Entrada {
    Texto(Vec<u8>),
    Vaciar(Sender<()>),
}

/// Lo que comparten el hilo de la consola y quien le da líneas.
#[derive(Debug, Default)]
struct Pendiente {
    bytes: AtomicUsize,
    perdidas: AtomicUsize,
}

/// La consola en marcha.
#[derive(Debug)]
pub(crate) struct Consola {
    entradas: Sender<Entrada>,
    pendiente: Arc<Pendiente>,
    quien_lee: QuienLee,
}

/// Quién lee lo que sale del programa.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuienLee {
    /// Una persona, que ve los colores.
    Terminal,
    /// El diario de systemd, que lo guarda.
    Journal,
    /// Otro programa, o nadie.
    Otro,
}

impl QuienLee {
    /// Si es para él.
    fn ve(self, linea: &Linea) -> bool {
        !linea.callada || self == QuienLee::Journal
    }

    /// Las líneas que son para él, como quiere verlas.
    fn escribir(self, lineas: &[Linea]) -> String {
        let en_consola = || {
            let columnas = ventana::columnas();
            let suyas = lineas.iter().filter(|linea| self.ve(linea));
            suyas
                .map(|linea| linea.en_consola(columnas))
                .collect::<String>()
        };
        match self {
            QuienLee::Journal => lineas.iter().map(Linea::en_journal).collect(),
            QuienLee::Terminal => en_consola(),
            QuienLee::Otro => sin_color(&en_consola()),
        }
    }

    /// Quien lee la salida de este proceso; hay colores si nadie pidió lo contrario (`NO_COLOR`).
    fn de_la_salida() -> QuienLee {
        let sin_color = std::env::var_os("NO_COLOR").is_some_and(|valor| !valor.is_empty());
        if es_el_journal(io::stdout()) {
            QuienLee::Journal
        } else if ventana::admite_secuencias() && !sin_color {
            QuienLee::Terminal
        } else {
            QuienLee::Otro
        }
    }
}

/// Si esa salida es la que systemd dice haber abierto (`JOURNAL_STREAM`, dispositivo y nodo): la variable
/// la hereda también quien la tiene redirigida a otro sitio.
#[cfg(unix)]
fn es_el_journal(salida: impl std::os::fd::AsFd) -> bool {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;
    let salida = salida.as_fd().try_clone_to_owned().map(File::from);
    let datos = salida.and_then(|salida| salida.metadata());
    datos.is_ok_and(|datos| {
        let suya = format!("{}:{}", datos.dev(), datos.ino());
        std::env::var("JOURNAL_STREAM").is_ok_and(|dicha| dicha == suya)
    })
}

#[cfg(not(unix))]
fn es_el_journal<T>(_: T) -> bool {
    false
}

/// Dice por qué acaba mal el programa.
pub fn decir_fallo(error: impl fmt::Display) {
    let prioridad = if es_el_journal(io::stderr()) {
        "<3>"
    } else {
        ""
    };
    // Si nadie lo lee, queda el código de salida.
    let _ = writeln!(io::stderr(), "{prioridad}servidor-hl7: {error}");
}

impl Consola {
    /// La salida del programa.
    pub(crate) fn abrir() -> io::Result<Consola> {
        Consola::en(io::stdout(), QuienLee::de_la_salida())
    }

    /// Escribe en esa salida, para quien la lee.
    pub(crate) fn en(
        salida: impl Write + Send + 'static,
        quien_lee: QuienLee,
    ) -> io::Result<Consola> {
        let (entradas, recibidas) = channel();
        let pendiente = Arc::new(Pendiente::default());
        let del_hilo = Arc::clone(&pendiente);
        abrir_hilo("consola", move || {
            escribir(&recibidas, &del_hilo, salida, quien_lee);
        })?;
        Ok(Consola {
            entradas,
            pendiente,
            quien_lee,
        })
    }

    /// Si lo que se dice queda guardado aunque nadie mire.
    pub(crate) fn deja_constancia(&self) -> bool {
        self.quien_lee == QuienLee::Journal
    }

    /// Escribe líneas. Nunca espera.
    pub(crate) fn decir(&self, lineas: &[Linea]) {
        let texto = self.quien_lee.escribir(lineas);
        if self.pendiente.bytes.load(Ordering::Relaxed) + texto.len() > EN_ESPERA_BYTES {
            let suyas = lineas.iter().filter(|linea| self.quien_lee.ve(linea));
            self.pendiente
                .perdidas
                .fetch_add(suyas.count(), Ordering::Relaxed);
        } else {
            self.enviar(texto.into_bytes());
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
        self.pendiente
            .bytes
            .fetch_add(texto.len(), Ordering::Relaxed);
        // El hilo de la consola solo acaba con el proceso.
        let _ = self.entradas.send(Entrada::Texto(texto));
    }
}

/// El hilo de la consola. Lo que no se pueda escribir se olvida: no hay otro sitio donde decirlo.
fn escribir(
    entradas: &Receiver<Entrada>,
    pendiente: &Pendiente,
    mut salida: impl Write,
    quien_lee: QuienLee,
) {
    for entrada in entradas {
        let vaciado = match entrada {
            Entrada::Texto(texto) => {
                let _ = salida.write_all(&texto);
                pendiente.bytes.fetch_sub(texto.len(), Ordering::Relaxed);
                None
            }
            Entrada::Vaciar(hecho) => Some(hecho),
        };
        let perdidas = pendiente.perdidas.swap(0, Ordering::Relaxed);
        if perdidas > 0 {
            let aviso = Linea::ahora(
                Level::Warn,
                format!("la consola no leía: se omitieron {perdidas} líneas (la recepción siguió)"),
            );
            let _ = salida.write_all(quien_lee.escribir(&[aviso]).as_bytes());
        }
        let _ = salida.flush();
        if let Some(hecho) = vaciado {
            let _ = hecho.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Una consola que lee todo, y lo que leyó.
    #[derive(Clone, Default)]
    struct Leido(Arc<Mutex<Vec<u8>>>);

    impl Write for Leido {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut leido = self.0.lock().unwrap();
            leido.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Leido {
        fn texto(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn de_un_kib() -> Linea {
        Linea::ahora(Level::Info, "x".repeat(1024))
    }

    /// Lo que se omite es lo que espera, y no lo que se ha dicho desde el arranque.
    #[test]
    fn una_consola_que_lee_no_pierde_nada_por_mucho_que_se_diga() {
        let leido = Leido::default();
        let consola = Consola::en(leido.clone(), QuienLee::Journal).unwrap();
        let cuantas = 2 * EN_ESPERA_BYTES / 1024;
        for _ in 0..cuantas {
            consola.decir(&[de_un_kib()]);
            consola.vaciar();
        }
        assert_eq!(leido.texto().matches("<6>").count(), cuantas);
    }

    /// Quien guarda lo dicho debe tener la línea de cada mensaje; a quien mira le basta saber cuántas hubo.
    #[test]
    fn la_linea_de_un_mensaje_que_se_repite_solo_la_ve_el_diario_de_systemd() {
        let linea = Linea {
            callada: true,
            ..Linea::ahora(Level::Info, "AA «77»".to_owned())
        };
        for (quien_lee, la_ve) in [
            (QuienLee::Journal, true),
            (QuienLee::Terminal, false),
            (QuienLee::Otro, false),
        ] {
            let escrito = quien_lee.escribir(std::slice::from_ref(&linea));
            assert_eq!(escrito.contains("«77»"), la_ve, "{quien_lee:?}");
        }
    }

    #[test]
    fn lo_que_no_cabe_en_la_espera_se_cuenta_linea_por_linea() {
        let leido = Leido::default();
        let consola = Consola::en(leido.clone(), QuienLee::Journal).unwrap();
        consola.decir(&vec![de_un_kib(); EN_ESPERA_BYTES / 1024]);
        consola.vaciar();
        let omitidas = format!("se omitieron {} líneas", EN_ESPERA_BYTES / 1024);
        assert!(leido.texto().contains(&omitidas), "{}", leido.texto());
    }
}
