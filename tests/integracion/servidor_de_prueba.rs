use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::analizador_simulado::Analizador;

/// Cuánto se espera lo que debe ocurrir; solo lo agota una prueba que falla.
pub(crate) const PLAZO: Duration = Duration::from_mins(1);

/// Cuánto se enseña de la consola de un servidor cuya prueba falla: el final.
const MAX_LINEAS: usize = 50;

/// Una carpeta nueva para una prueba.
pub(crate) fn carpeta_nueva() -> PathBuf {
    static NUMERO: AtomicUsize = AtomicUsize::new(0);
    let numero = NUMERO.fetch_add(1, Ordering::Relaxed);
    let carpeta =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{numero}", std::process::id()));
    // Puede quedar la de una prueba fallida: Wine repite los números de proceso.
    let _ = fs::remove_dir_all(&carpeta);
    fs::create_dir_all(&carpeta).unwrap();
    carpeta
}

/// Escribe en esa carpeta un Config.ini con esas líneas en `[Servidor]` o tras él. El puerto es uno
/// libre y la carpeta `mensajes`, salvo que digan otra cosa.
pub(crate) fn escribir_ini(carpeta: &Path, lineas: &str) {
    let mut ini = "[Servidor]\n".to_owned();
    for (clave, valor) in [("Puerto", "0"), ("Directorio", "mensajes")] {
        let ya_esta = |linea: &str| {
            linea
                .split('=')
                .next()
                .is_some_and(|hay| hay.trim() == clave)
        };
        if !lineas.lines().any(ya_esta) {
            ini.extend([clave, " = ", valor, "\n"]);
        }
    }
    fs::write(carpeta.join("Config.ini"), format!("{ini}{lineas}\n")).unwrap();
}

/// La orden que arranca el ejecutable en esa carpeta.
pub(crate) fn orden(carpeta: &Path) -> Command {
    let mut orden = Command::new(env!("CARGO_BIN_EXE_servidor-hl7"));
    orden
        .current_dir(carpeta)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    orden
}

/// La misma orden, bajo esos límites de la shell.
#[cfg(unix)]
pub(crate) fn limitada(carpeta: &Path, limites: &str) -> Command {
    let mut limitada = Command::new("sh");
    limitada
        .current_dir(carpeta)
        .args(["-c", &format!("{limites}; exec \"$0\" \"$@\"")])
        .arg(orden(carpeta).get_program());
    limitada
}

/// En Windows, Ctrl+C es para toda la consola: quien lo vaya a recibir necesita la suya.
#[cfg(windows)]
pub(crate) fn con_consola_propia(orden: &mut Command) {
    use std::os::windows::process::CommandExt;
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    orden.creation_flags(CREATE_NO_WINDOW);
}

#[cfg(not(windows))]
pub(crate) fn con_consola_propia(_: &mut Command) {}

/// La orden que arranca el ejecutable de modo que se le pueda pedir la parada.
pub(crate) fn interrumpible(carpeta: &Path) -> Command {
    let mut orden = orden(carpeta);
    con_consola_propia(&mut orden);
    orden
}

/// La orden que arranca el ejecutable con ese valor de `RUST_LOG`.
pub(crate) fn con_rust_log(carpeta: &Path, nivel: &str) -> Command {
    let mut orden = orden(carpeta);
    orden.env("RUST_LOG", nivel);
    orden
}

/// Un servidor en marcha. Muere al soltarlo, y su carpeta se borra si la prueba pasó.
pub(crate) struct Servidor {
    pub(crate) carpeta: PathBuf,
    pub(crate) puerto: u16,
    proceso: Child,
    consola: Arc<Consola>,
}

#[derive(Default)]
struct Consola {
    lineas: Mutex<Vec<String>>,
    novedad: Condvar,
}

impl Servidor {
    /// Arranca con las claves por omisión.
    pub(crate) fn arrancar() -> Servidor {
        Servidor::con("")
    }

    /// Arranca con esas líneas de más en `[Servidor]`.
    pub(crate) fn con(lineas: &str) -> Servidor {
        Servidor::con_orden(lineas, orden)
    }

    /// Arranca en una carpeta que ya tiene mensajes.
    pub(crate) fn en(carpeta: PathBuf, lineas: &str) -> Servidor {
        escribir_ini(&carpeta, lineas);
        let orden = orden(&carpeta);
        Servidor::lanzar(carpeta, orden)
    }

    /// Arranca con esas líneas y con la orden que se haga para su carpeta.
    pub(crate) fn con_orden(lineas: &str, orden: impl FnOnce(&Path) -> Command) -> Servidor {
        let carpeta = carpeta_nueva();
        escribir_ini(&carpeta, lineas);
        let orden = orden(&carpeta);
        Servidor::lanzar(carpeta, orden)
    }

    /// Arranca bajo esos límites de la shell, p. ej. `ulimit -n 40`.
    #[cfg(unix)]
    pub(crate) fn limitado(limites: &str) -> Servidor {
        Servidor::con_orden("", |carpeta| limitada(carpeta, limites))
    }

    /// Lanza esa orden y espera a que escuche.
    pub(crate) fn lanzar(carpeta: PathBuf, orden: Command) -> Servidor {
        let mut servidor = Servidor::lanzar_sin_puerto(carpeta, orden);
        let linea = servidor.esperar_linea("Servidor Escuchando el Puerto ");
        servidor.puerto = linea.rsplit(' ').next().unwrap().parse().unwrap();
        servidor
    }

    /// Lanza esa orden, que puede no escuchar en ningún puerto.
    pub(crate) fn lanzar_sin_puerto(carpeta: PathBuf, mut orden: Command) -> Servidor {
        let mut proceso = empezar(orden.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let consola = Arc::new(Consola::default());
        seguir(proceso.stdout.take().unwrap(), Arc::clone(&consola));
        seguir(proceso.stderr.take().unwrap(), Arc::clone(&consola));
        Servidor {
            carpeta,
            puerto: 0,
            proceso,
            consola,
        }
    }

    pub(crate) fn conectar(&self) -> Analizador {
        Analizador::conectar(self.puerto)
    }

    pub(crate) fn mensajes(&self) -> PathBuf {
        self.carpeta.join("mensajes")
    }

    /// El contenido de los `.res`, por orden de nombre.
    pub(crate) fn archivos(&self) -> Vec<Vec<u8>> {
        contenidos(&self.mensajes(), "res")
    }

    /// El contenido de los apartados por ese motivo.
    pub(crate) fn apartados(&self, motivo: &str) -> Vec<Vec<u8>> {
        contenidos(&self.mensajes().join("apartados"), motivo)
    }

    /// Espera a que haya un apartado por ese motivo: no se acusan, así que no hay otro aviso.
    pub(crate) fn esperar_apartados(&self, motivo: &str, cuantos: usize) -> Vec<Vec<u8>> {
        esperar(&format!("{cuantos} apartados «{motivo}»"), || {
            Some(self.apartados(motivo)).filter(|hay| hay.len() >= cuantos)
        })
    }

    /// Espera una línea de la consola que contenga el texto, y la devuelve.
    pub(crate) fn esperar_linea(&self, texto: &str) -> String {
        let busca = |lineas: &[String]| lineas.iter().find(|linea| linea.contains(texto)).cloned();
        let lineas = self.consola.lineas.lock().unwrap();
        let (lineas, _) = self
            .consola
            .novedad
            .wait_timeout_while(lineas, PLAZO, |lineas| busca(lineas).is_none())
            .unwrap();
        let hallada = busca(&lineas);
        // Quien entra en pánico con la consola tomada no deja mostrarla.
        drop(lineas);
        hallada.unwrap_or_else(|| panic!("nadie dijo «{texto}»"))
    }

    /// Todo lo dicho hasta ahora.
    pub(crate) fn consola(&self) -> String {
        self.consola.lineas.lock().unwrap().join("\n")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.proceso.id()
    }

    /// Muerte súbita, como un corte de luz para el proceso.
    pub(crate) fn matar(&mut self) {
        self.proceso.kill().unwrap();
        self.proceso.wait().unwrap();
    }

    /// Muere de golpe y arranca otra vez en su carpeta, en otro puerto. Lo piden las pruebas que solo
    /// existen en Linux.
    #[cfg(target_os = "linux")]
    pub(crate) fn reiniciar(&mut self) {
        self.matar();
        let nuevo = Servidor::lanzar(self.carpeta.clone(), orden(&self.carpeta));
        let mut muerto = std::mem::replace(self, nuevo);
        // La carpeta ya no es del que murió.
        muerto.carpeta = PathBuf::new();
    }

    /// Ctrl+C. En Windows, arrancado [`con_consola_propia`].
    pub(crate) fn interrumpir(&self) {
        interrumpir(self.pid());
    }

    #[cfg(unix)]
    pub(crate) fn senal(&self, senal: &str) {
        con_exito(Command::new("kill").args(["-s", senal, &self.pid().to_string()]));
    }

    /// Espera a que el proceso acabe por sí mismo.
    pub(crate) fn esperar_fin(&mut self) -> ExitStatus {
        esperar_fin(&mut self.proceso)
    }
}

impl Drop for Servidor {
    fn drop(&mut self) {
        let _ = self.proceso.kill();
        let _ = self.proceso.wait();
        if thread::panicking() {
            let consola = self.consola();
            let desde = consola
                .rmatch_indices('\n')
                .nth(MAX_LINEAS)
                .map_or(0, |(p, _)| p + 1);
            eprintln!(
                "consola del servidor en {}:\n{}",
                self.carpeta.display(),
                &consola[desde..]
            );
        } else {
            let _ = fs::remove_dir_all(&self.carpeta);
        }
    }
}

/// Un proceso cuya consola lee la prueba a su manera. Muere al soltarlo o si dura demasiado, y entonces
/// su consola acaba: nadie la espera para siempre.
pub(crate) struct Vigilado {
    proceso: Arc<Mutex<Child>>,
    _hasta_que_se_suelte: Sender<()>,
}

impl Vigilado {
    /// Lo lanza; devuelve también su consola.
    pub(crate) fn lanzar(orden: &mut Command) -> (Vigilado, ChildStdout) {
        let mut proceso = empezar(orden.stdout(Stdio::piped()));
        let consola = proceso.stdout.take().unwrap();
        let proceso = Arc::new(Mutex::new(proceso));
        let (hasta_que_se_suelte, soltado) = channel::<()>();
        let vigilado = Arc::clone(&proceso);
        thread::spawn(move || {
            if soltado.recv_timeout(5 * PLAZO) == Err(RecvTimeoutError::Timeout) {
                let _ = vigilado.lock().unwrap().kill();
            }
        });
        let vigilado = Vigilado {
            proceso,
            _hasta_que_se_suelte: hasta_que_se_suelte,
        };
        (vigilado, consola)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.proceso.lock().unwrap().id()
    }

    /// Espera a que acabe por sí mismo.
    pub(crate) fn esperar_fin(&self) -> ExitStatus {
        esperar_fin(&mut self.proceso.lock().unwrap())
    }
}

impl Drop for Vigilado {
    fn drop(&mut self) {
        let mut proceso = self.proceso.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = proceso.kill();
        let _ = proceso.wait();
    }
}

/// Ctrl+C a ese proceso.
pub(crate) fn interrumpir(pid: u32) {
    #[cfg(unix)]
    con_exito(Command::new("kill").args(["-s", "INT", &pid.to_string()]));
    #[cfg(windows)]
    con_exito(Command::new(ayudante()).args(["ctrl_c", &pid.to_string()]));
}

/// Espera a que acabe por sí mismo; si no acaba, lo mata y la prueba falla.
pub(crate) fn esperar_fin(proceso: &mut Child) -> ExitStatus {
    fin_a_tiempo(proceso).unwrap_or_else(|| panic!("hubo que matar al proceso {}", proceso.id()))
}

/// Cómo acaba; `None` si no acabó y hubo que matarlo.
pub(crate) fn fin_a_tiempo(proceso: &mut Child) -> Option<ExitStatus> {
    let limite = Instant::now() + PLAZO;
    while Instant::now() < limite {
        if let Some(fin) = proceso.try_wait().unwrap() {
            return Some(fin);
        }
        thread::sleep(Duration::from_millis(5));
    }
    proceso.kill().unwrap();
    proceso.wait().unwrap();
    None
}

/// Empieza el proceso de esa orden. Wine, con la máquina muy ocupada, alguna vez no lo crea: se le pide otra vez,
/// y se dice.
pub(crate) fn empezar(orden: &mut Command) -> Child {
    const ERROR_INTERNAL_ERROR: i32 = 1359;
    const INTENTOS: usize = 5;
    for _ in 1..INTENTOS {
        match orden.spawn() {
            Err(error) if cfg!(windows) && error.raw_os_error() == Some(ERROR_INTERNAL_ERROR) => {
                eprintln!("Wine no creó un proceso; se le pide otra vez: {orden:?}");
            }
            creado => return creado.unwrap_or_else(|error| panic!("{orden:?}: {error}")),
        }
    }
    orden.spawn().unwrap()
}

/// Lo que dice una orden que debe acabar por sí misma. Si no acaba (un programa que arrancó cuando no
/// debía), la mata y la prueba falla.
pub(crate) fn ejecutar(orden: &mut Command) -> Output {
    ejecutar_con(Stdio::null(), orden)
}

/// Lo mismo, con esa entrada.
pub(crate) fn ejecutar_con(entrada: impl Into<Stdio>, orden: &mut Command) -> Output {
    orden.stdin(entrada);
    let mut proceso = empezar(orden.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let salidas = [
        leer_entera(proceso.stdout.take().unwrap()),
        leer_entera(proceso.stderr.take().unwrap()),
    ];
    let status = esperar_fin(&mut proceso);
    // Un nieto podría tener aún la salida abierta.
    let [stdout, stderr] = salidas.map(|salida| salida.recv_timeout(PLAZO).unwrap());
    Output {
        status,
        stdout,
        stderr,
    }
}

fn leer_entera(mut salida: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (aviso, leida) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = salida.read_to_end(&mut bytes);
        let _ = aviso.send(bytes);
    });
    leida
}

/// La ejecuta, y debe salir bien.
pub(crate) fn con_exito(orden: &mut Command) {
    let salida = ejecutar(orden);
    let dicho = String::from_utf8_lossy(&salida.stderr);
    assert!(salida.status.success(), "{orden:?}: {dicho}");
}

/// El programa de `tests/windows`. Si no viene ya compilado, se compila.
#[cfg(windows)]
pub(crate) fn ayudante() -> &'static Path {
    static PROGRAMA: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        if let Some(compilado) = std::env::var_os("AYUDANTE") {
            return PathBuf::from(compilado);
        }
        let programa = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ayudante.exe");
        let fuente = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/windows/ayudante.rs");
        con_exito(
            Command::new("rustc")
                .arg("--edition=2024")
                .arg(fuente)
                .arg("-o")
                .arg(&programa),
        );
        programa
    });
    &PROGRAMA
}

/// Repite la pregunta hasta que tenga respuesta.
pub(crate) fn esperar<T>(que: &str, mut pregunta: impl FnMut() -> Option<T>) -> T {
    let limite = Instant::now() + PLAZO;
    loop {
        if let Some(respuesta) = pregunta() {
            return respuesta;
        }
        assert!(Instant::now() < limite, "no llegó {que}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// El contenido de los archivos con esa extensión, por orden de nombre.
pub(crate) fn contenidos(carpeta: &Path, extension: &str) -> Vec<Vec<u8>> {
    rutas(carpeta, extension)
        .iter()
        .filter_map(|ruta| fs::read(ruta).ok())
        .collect()
}

/// Las rutas de los archivos con esa extensión, por orden de nombre.
pub(crate) fn rutas(carpeta: &Path, extension: &str) -> Vec<PathBuf> {
    let mut rutas: Vec<_> = fs::read_dir(carpeta)
        .into_iter()
        .flatten()
        .map(|entrada| entrada.unwrap().path())
        .filter(|ruta| ruta.extension().is_some_and(|hay| hay == extension))
        .collect();
    rutas.sort();
    rutas
}

fn seguir(salida: impl Read + Send + 'static, consola: Arc<Consola>) {
    thread::spawn(move || {
        for linea in BufReader::new(salida).lines() {
            let Ok(linea) = linea else { return };
            consola.lineas.lock().unwrap().push(linea);
            consola.novedad.notify_all();
        }
    });
}
