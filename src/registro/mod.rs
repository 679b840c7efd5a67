//! El registro: cada línea, a la consola y al archivo del día, por su propio hilo.
//!
//! Ni una consola detenida ni un disco lleno deben retener un mensaje: las líneas esperan en un buzón
//! acotado y, si está lleno, se pierden y se cuentan. Un equipo que falla sin parar no lo llena: sus
//! líneas repetidas se cuentan. Las de los mensajes, que traen su fila, se cuentan en la consola y se escriben
//! todas; las de los que se guardan sin más no llevan la clave `equipo`, y se dicen todas. Este módulo no
//! sabe qué dicen las líneas.

mod avisos;
mod consola;
pub(crate) mod diario;
pub(crate) mod linea;
mod repetidas;

use std::env;
use std::fmt;
use std::io;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
};
use std::thread;
use std::time::{Duration, Instant};

use chrono::Local;
use env_logger::{Builder, Logger};
use log::{Level, LevelFilter, Log, Metadata, Record, error, info, warn};

use crate::hilo::abrir_hilo;
use crate::registro::consola::Consola;
use crate::registro::diario::Diario;
use crate::registro::linea::Linea;
use crate::registro::repetidas::Repetidas;
use crate::texto::escapar;

/// Cuántas líneas esperan a que este hilo las recoja; después se pierden.
const EN_ESPERA_LINEAS: usize = 4096;
/// Cuánto se junta para cada escritura.
const BLOQUE_LINEAS: usize = 128;
/// Cuánto se espera tras escribir lo que había: nadie lo nota al mirarlo, y despertar a este hilo y al de
/// la consola por cada línea le cuesta a quien recibe mensajes. Con un bloque entero no se espera.
const PAUSA_DE_BLOQUE: Duration = Duration::from_millis(50);
/// Cuánto pueden esperar las líneas del arranque a saber si el programa arranca: lo que abre puede tardar.
const PLAZO_DEL_ARRANQUE: Duration = Duration::from_secs(1);
/// Cuánto espera el final a que salgan las últimas líneas; la consola tiene un plazo menor.
const PLAZO_DEL_FINAL: Duration = Duration::from_millis(700);

/// Cada cuánto se dice la cuenta de las líneas que se repiten.
const PERIODO: Duration = Duration::from_mins(1);

/// Cuánto se muestra de una variable RUST_LOG que no sirve.
const RUST_LOG_VISIBLE_BYTES: usize = 64;

/// Lo que se dice cuando nada de lo dicho quedará escrito.
pub(crate) const SIN_CONSTANCIA: &str = "no hay registro: si nadie mira la ventana no quedará constancia de nada; añada a Config.ini una línea [Registro] y debajo Carpeta = registro";

pub use avisos::Avisos;
pub use consola::decir_fallo;
pub use diario::Ajustes;

enum Entrada {
    Linea(Linea),
    /// El programa ya recibe, y ese es el título de su ventana.
    Arrancado(String),
    /// Solo para el archivo: en la consola ya se ve.
    Constancia(Linea),
    Vaciar(Sender<()>),
}

/// El registro en marcha. Al soltarlo, lo dicho termina de llegar a la consola y al archivo.
#[derive(Debug)]
pub struct Registro {
    entradas: SyncSender<Entrada>,
    avisos: Avisos,
}

/// Pone en marcha el registro del proceso, en la consola y, si lo hay, en el diario. Lo primero que
/// dice es `presentacion`. La variable `RUST_LOG` manda sobre `nivel`.
pub fn iniciar(
    nivel: LevelFilter,
    diario: Option<Ajustes>,
    presentacion: impl fmt::Display,
) -> io::Result<Registro> {
    let (entradas, recibidas) = sync_channel(EN_ESPERA_LINEAS);
    let perdidas = Arc::new(AtomicUsize::new(0));
    let repetidas = Arc::new(Repetidas::default());
    let pedido = env::var("RUST_LOG").unwrap_or_default();
    let nivel_pedido: Option<LevelFilter> = pedido.parse().ok();
    let nivel = nivel_pedido.unwrap_or(nivel);
    let avisos = Avisos::default();
    let mut salidas = Salidas {
        nivel,
        consola: Consola::abrir()?,
        retenidas: diario
            .is_some()
            .then(|| Retenidas::hasta(Instant::now() + PLAZO_DEL_ARRANQUE)),
        diario: diario.map(Diario::new),
        avisos: avisos.clone(),
    };
    let queda_constancia = salidas.diario.is_some() || salidas.consola.deja_constancia();
    // Los avisos van a la página diga lo que diga `Nivel`.
    let entra = nivel.max(LevelFilter::Warn);
    let buzon = Buzon {
        filtro: Builder::new().filter_level(entra).build(),
        repetidas: Arc::clone(&repetidas),
        entradas: entradas.clone(),
        perdidas: Arc::clone(&perdidas),
        queda_constancia,
    };
    abrir_hilo("registro", move || {
        escribir(&recibidas, &perdidas, &repetidas, PERIODO, &mut salidas);
    })?;
    log::set_max_level(buzon.filtro.filter());
    log::set_boxed_logger(Box::new(buzon)).map_err(io::Error::other)?;
    panic::set_hook(Box::new(|panico| {
        error!("fallo interno del programa, avise a quien lo mantiene: {panico}");
    }));
    info!("{presentacion}");
    if !queda_constancia {
        warn!("{SIN_CONSTANCIA}");
    }
    if nivel_pedido.is_none() && !pedido.is_empty() {
        warn!(
            "la variable RUST_LOG = «{}» no sirve; se esperaba: off, error, warn, info, debug o trace; vale Nivel de Config.ini",
            escapar(pedido.as_bytes(), RUST_LOG_VISIBLE_BYTES)
        );
    }
    Ok(Registro { entradas, avisos })
}

impl Registro {
    /// El programa ha arrancado: lo dicho hasta ahora va ya al archivo, y la ventana en la que se ve la
    /// consola, si la hay, lleva ese título. Tampoco espera.
    pub fn decir_arrancado(&self, titulo: &str) {
        let _ = self
            .entradas
            .try_send(Entrada::Arrancado(titulo.to_owned()));
    }

    /// Los últimos avisos que se digan.
    #[must_use]
    pub fn avisos(&self) -> Avisos {
        self.avisos.clone()
    }

    /// Espera a que lo dicho hasta ahora llegue a su sitio, y antes la cuenta de lo que se repetía; si
    /// la consola no lee, no mucho.
    pub fn vaciar(&self) {
        let limite = Instant::now() + PLAZO_DEL_FINAL;
        let (hecho, aviso) = channel();
        let mut vaciar = Entrada::Vaciar(hecho);
        // Con el buzón lleno, el hilo está escribiendo y pronto habrá sitio.
        while let Err(TrySendError::Full(devuelta)) = self.entradas.try_send(vaciar) {
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
        let linea = Linea::ahora(Level::Error, error.to_string());
        let _ = self.entradas.try_send(Entrada::Constancia(linea));
    }
}

/// Deja un error en el registro que se entrega, junto a ese Config.ini: lo que diga de otro no se pudo
/// leer.
pub(crate) fn constar_sin_configuracion(config: &Path, error: impl fmt::Display) {
    let linea = Linea::ahora(Level::Error, error.to_string());
    let ajustes = Ajustes {
        carpeta: config.with_file_name("registro"),
        // No se sabe cuántos quiere: no se borra ninguno.
        dias: usize::MAX,
    };
    // Si tampoco se puede escribir, el gestor de servicios sabe al menos que se detuvo, y con qué código.
    drop(Diario::new(ajustes).anotar(&[linea], Local::now().naive_local()));
}

impl Drop for Registro {
    fn drop(&mut self) {
        self.vaciar();
    }
}

/// Adónde va cada línea.
struct Salidas {
    /// Cuánto se dice en la consola y en el archivo.
    nivel: LevelFilter,
    consola: Consola,
    diario: Option<Diario>,
    avisos: Avisos,
    /// Lo que aún no está en el archivo, mientras no se sabe si el programa arranca.
    retenidas: Option<Retenidas>,
}

struct Retenidas {
    lineas: Vec<Linea>,
    /// Cuándo dejan de esperar.
    hasta: Instant,
}

impl Retenidas {
    fn hasta(hasta: Instant) -> Retenidas {
        Retenidas {
            lineas: Vec::new(),
            hasta,
        }
    }
}

impl Salidas {
    /// Primero al archivo: salvo en el arranque, lo que se ve en la consola ya está en él. Un aviso sobre el
    /// archivo va antes que las líneas, entre las que puede estar la despedida. Lo que el nivel calla queda al
    /// menos entre los últimos avisos, si lo es.
    fn decir(&mut self, mut lineas: Vec<Linea>) {
        self.avisos.recordar(&lineas);
        lineas.retain(|linea| linea.nivel <= self.nivel);
        if lineas.is_empty() {
            return;
        }
        match &mut self.retenidas {
            Some(retenidas) => retenidas.lineas.extend_from_slice(&lineas),
            None => self.archivar_y_avisar(&lineas),
        }
        self.consola.decir(&lineas);
    }

    fn archivar_y_avisar(&mut self, lineas: &[Linea]) {
        if let Some(aviso) = self.archivar(lineas) {
            let aviso = [Linea::ahora(Level::Warn, aviso)];
            self.avisos.recordar(&aviso);
            self.consola.decir(&aviso);
        }
    }

    /// El programa arranca, o tarda en saberse: lo dicho hasta ahora va al archivo.
    fn soltar_retenidas(&mut self) {
        if let Some(Retenidas { lineas, .. }) = self.retenidas.take() {
            self.archivar_y_avisar(&lineas);
        }
    }

    /// Deja un error en el archivo, detrás de esas líneas y de las retenidas. Si el archivo ya acaba así, no
    /// se repiten: una tarea que arranca otra vez cada minuto lo llenaría de lo mismo.
    fn constar(&mut self, lineas: Vec<Linea>, error: Linea) {
        self.decir(lineas);
        let hoy = error.hora.date();
        let retenidas = self.retenidas.take().map(|retenidas| retenidas.lineas);
        let mut todas = retenidas.unwrap_or_default();
        todas.push(error);
        let escritas: Vec<_> = todas.iter().map(Linea::en_archivo).collect();
        let ya_consta = |diario: &Diario| diario.acaba_en(&escritas, hoy);
        if !self.diario.as_ref().is_some_and(ya_consta) {
            self.archivar_y_avisar(&todas);
        }
    }

    /// Devuelve lo que haya que avisar en la consola.
    fn archivar(&mut self, lineas: &[Linea]) -> Option<String> {
        let ahora = Local::now().naive_local();
        self.diario.as_mut()?.anotar(lineas, ahora)
    }
}

/// Por donde entra cada línea que dice el programa. Nunca espera.
struct Buzon {
    filtro: Logger,
    repetidas: Arc<Repetidas>,
    entradas: SyncSender<Entrada>,
    perdidas: Arc<AtomicUsize>,
    /// Si lo dicho queda escrito. Donde solo se ve la consola, de una línea con fila basta la fila.
    queda_constancia: bool,
}

impl Log for Buzon {
    fn enabled(&self, datos: &Metadata<'_>) -> bool {
        self.filtro.enabled(datos)
    }

    fn log(&self, dicha: &Record<'_>) {
        if !self.filtro.matches(dicha) {
            return;
        }
        let callada = !self.repetidas.hay_que_decir(dicha);
        let es_fila = || dicha.key_values().get("fila".into()).is_some();
        if callada && !(self.queda_constancia && es_fila()) {
            return;
        }
        let linea = Linea {
            callada,
            ..Linea::de(dicha, self.queda_constancia)
        };
        if let Err(TrySendError::Full(_)) = self.entradas.try_send(Entrada::Linea(linea)) {
            self.perdidas.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// Lo que se recoge del buzón de una vez.
#[derive(Default)]
struct Bloque {
    lineas: Vec<Linea>,
    /// Si el programa ha arrancado.
    arrancado: bool,
    vaciados: Vec<Sender<()>>,
}

/// Espera la primera entrada hasta `limite` y recoge con ella las que quepan en un bloque; lo que no
/// son líneas se hace enseguida. `None`: ya nadie puede decir nada.
fn recoger(entradas: &Receiver<Entrada>, limite: Instant, salidas: &mut Salidas) -> Option<Bloque> {
    let resta = limite.saturating_duration_since(Instant::now());
    let mut proxima = match entradas.recv_timeout(resta) {
        Ok(primera) => Some(primera),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => return None,
    };
    let mut bloque = Bloque::default();
    while let Some(entrada) = proxima {
        match entrada {
            Entrada::Linea(linea) => bloque.lineas.push(linea),
            Entrada::Arrancado(titulo) => {
                salidas.consola.titular(&titulo);
                bloque.arrancado = true;
            }
            Entrada::Constancia(linea) => {
                salidas.constar(std::mem::take(&mut bloque.lineas), linea);
            }
            Entrada::Vaciar(hecho) => bloque.vaciados.push(hecho),
        }
        let cabe = bloque.lineas.len() < BLOQUE_LINEAS;
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
    let mut fin_del_periodo = Instant::now() + periodo;
    loop {
        let fin_del_arranque = salidas.retenidas.as_ref().map(|retenidas| retenidas.hasta);
        let limite = fin_del_arranque.map_or(fin_del_periodo, |fin| fin.min(fin_del_periodo));
        let Some(mut bloque) = recoger(entradas, limite, salidas) else {
            return;
        };
        let hay_mas = bloque.lineas.len() >= BLOQUE_LINEAS;
        if !bloque.vaciados.is_empty() || Instant::now() >= fin_del_periodo {
            bloque.lineas.extend(repetidas.resumir());
            fin_del_periodo = Instant::now() + periodo;
        }
        let omitidas = perdidas.swap(0, Ordering::Relaxed);
        if omitidas > 0 {
            let aviso = format!(
                "el registro no daba abasto: se omitieron {omitidas} líneas (la recepción siguió)"
            );
            bloque.lineas.push(Linea::ahora(Level::Warn, aviso));
        }
        salidas.decir(bloque.lineas);
        let ya_tarda = fin_del_arranque.is_some_and(|fin| Instant::now() >= fin);
        if bloque.arrancado || !bloque.vaciados.is_empty() || ya_tarda {
            salidas.soltar_retenidas();
        }
        for hecho in bloque.vaciados {
            salidas.consola.vaciar();
            let _ = hecho.send(());
        }
        if !hay_mas {
            thread::sleep(PAUSA_DE_BLOQUE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;
    use crate::registro::consola::QuienLee;

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

    impl Escrito {
        /// Espera a que esté escrito ese texto; devuelve todo lo escrito.
        fn esperar(&self, texto: &str) -> String {
            let limite = Instant::now() + Duration::from_mins(1);
            loop {
                let escrito = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
                if escrito.contains(texto) {
                    return escrito;
                }
                assert!(Instant::now() < limite, "falta «{texto}» en {escrito}");
                thread::yield_now();
            }
        }
    }

    /// Unas salidas sin diario cuya consola es `escrito`.
    fn salidas_en(escrito: &Escrito) -> Salidas {
        Salidas {
            nivel: LevelFilter::Info,
            consola: Consola::en(escrito.clone(), QuienLee::Otro).unwrap(),
            diario: None,
            avisos: Avisos::default(),
            retenidas: None,
        }
    }

    #[test]
    fn la_cuenta_se_dice_al_acabar_el_periodo_aunque_nadie_diga_nada_mas() {
        let repetidas = Repetidas::default();
        repetidas::decir(&repetidas, "10.0.0.1", 1, 30);
        let (entradas, recibidas) = sync_channel(1);
        let escrito = Escrito::default();
        let mut salidas = salidas_en(&escrito);
        thread::scope(|hilos| {
            let (repetidas, salidas) = (&repetidas, &mut salidas);
            hilos.spawn(move || {
                let periodo = Duration::from_millis(1);
                escribir(
                    &recibidas,
                    &AtomicUsize::new(0),
                    repetidas,
                    periodo,
                    salidas,
                );
            });
            while !repetidas.es_nuevo() {
                thread::yield_now();
            }
            drop(entradas);
        });
        escrito.esperar("(10 líneas como esta");
    }

    #[test]
    fn la_cuenta_se_dice_tambien_al_acabar() {
        let repetidas = Repetidas::default();
        repetidas::decir(&repetidas, "10.0.0.1", 1, 30);
        let (entradas, recibidas) = sync_channel(1);
        let (hecho, _espera) = channel();
        entradas.send(Entrada::Vaciar(hecho)).unwrap();
        drop(entradas);
        let escrito = Escrito::default();
        let mut salidas = salidas_en(&escrito);
        let perdidas = AtomicUsize::new(0);
        escribir(&recibidas, &perdidas, &repetidas, PERIODO, &mut salidas);
        escrito.esperar("(10 líneas como esta");
    }

    /// Un disco de red puede retener el arranque para siempre: lo dicho hasta ahí debe constar.
    #[test]
    fn lo_que_se_dice_en_un_arranque_que_no_acaba_tambien_va_al_archivo() {
        let nombre = format!("servidor-hl7-arranque-lento-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        let (entradas, recibidas) = sync_channel(1);
        let mut salidas = Salidas {
            diario: Some(Diario::new(Ajustes {
                carpeta: carpeta.clone(),
                dias: 1,
            })),
            retenidas: Some(Retenidas::hasta(Instant::now())),
            ..salidas_en(&Escrito::default())
        };
        let linea = Linea::ahora(Level::Info, "se presenta".to_owned());
        entradas.send(Entrada::Linea(linea)).unwrap();
        drop(entradas);
        let (perdidas, repetidas) = (AtomicUsize::new(0), Repetidas::default());
        escribir(&recibidas, &perdidas, &repetidas, PERIODO, &mut salidas);
        let archivo = std::fs::read_dir(&carpeta).unwrap().next().unwrap();
        let texto = std::fs::read_to_string(archivo.unwrap().path()).unwrap();
        assert!(texto.contains("se presenta"), "{texto}");
        std::fs::remove_dir_all(carpeta).unwrap();
    }

    /// Quien solo mira la página debe saber que no está quedando constancia.
    #[test]
    fn que_no_se_puede_escribir_el_archivo_esta_entre_los_ultimos_avisos() {
        let nombre = format!("servidor-hl7-avisos-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        std::fs::write(&carpeta, "un archivo").unwrap();
        let mut salidas = Salidas {
            diario: Some(Diario::new(Ajustes {
                carpeta: carpeta.clone(),
                dias: 1,
            })),
            ..salidas_en(&Escrito::default())
        };
        salidas.decir(vec![Linea::ahora(Level::Info, "algo".to_owned())]);
        let avisos = salidas.avisos.ultimos();
        let textos: Vec<_> = avisos.iter().map(|aviso| aviso.texto.as_str()).collect();
        assert!(
            matches!(textos[..], [aviso] if aviso.starts_with("no se pudo escribir el registro")),
            "{textos:?}"
        );
        std::fs::remove_file(carpeta).unwrap();
    }

    #[test]
    fn lo_mismo_de_un_arranque_que_falla_no_se_repite_en_el_archivo() {
        let nombre = format!("servidor-hl7-arranques-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        for _ in 0..2 {
            let (entradas, recibidas) = sync_channel(2);
            let escrito = Escrito::default();
            let ajustes = Ajustes {
                carpeta: carpeta.clone(),
                dias: 1,
            };
            let mut salidas = Salidas {
                diario: Some(Diario::new(ajustes)),
                // No vence por mucho que se detenga la máquina.
                retenidas: Some(Retenidas::hasta(Instant::now() + Duration::from_hours(1))),
                ..salidas_en(&escrito)
            };
            let linea = |nivel, texto: &str| Linea::ahora(nivel, texto.to_owned());
            thread::scope(|hilos| {
                let salidas = &mut salidas;
                hilos.spawn(move || {
                    let repetidas = Repetidas::default();
                    escribir(
                        &recibidas,
                        &AtomicUsize::new(0),
                        &repetidas,
                        PERIODO,
                        salidas,
                    );
                });
                let presentacion = linea(Level::Info, "se presenta");
                entradas.send(Entrada::Linea(presentacion)).unwrap();
                escrito.esperar("se presenta");
                let error = linea(Level::Error, "no arranca");
                entradas.send(Entrada::Constancia(error)).unwrap();
                drop(entradas);
            });
        }
        let archivo = std::fs::read_dir(&carpeta)
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let texto = std::fs::read_to_string(archivo.path()).unwrap();
        assert_eq!(texto.lines().count(), 2, "{texto}");
        std::fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn las_lineas_que_no_caben_en_el_buzon_se_cuentan_y_se_dicen() {
        let (entradas, recibidas) = sync_channel(2);
        let (perdidas, repetidas) = (Arc::default(), Arc::default());
        let buzon = Buzon {
            filtro: Builder::new().filter_level(LevelFilter::Info).build(),
            repetidas: Arc::clone(&repetidas),
            entradas,
            perdidas: Arc::clone(&perdidas),
            queda_constancia: false,
        };
        for numero in 0..5 {
            let dicha = format_args!("línea {numero}");
            buzon.log(&Record::builder().args(dicha).level(Level::Info).build());
        }
        drop(buzon);
        let escrito = Escrito::default();
        let mut salidas = salidas_en(&escrito);
        escribir(&recibidas, &perdidas, &repetidas, PERIODO, &mut salidas);
        let dicho = escrito.esperar("el registro no daba abasto: se omitieron 3 líneas");
        let caben = [0, 1, 2, 3, 4].map(|numero| dicho.contains(&format!("línea {numero}")));
        assert_eq!(caben, [true, true, false, false, false], "{dicho}");
    }
}
