use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::analizador_simulado::Analizador;

/// Cuánto se espera lo que debe ocurrir; solo lo agota una prueba que falla.
pub(crate) const PLAZO: Duration = Duration::from_secs(20);

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
        .args(["-c", &format!("{limites}; exec \"$0\"")])
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
    pub(crate) fn con(claves: &str) -> Servidor {
        let carpeta = carpeta_nueva();
        Servidor::en(carpeta, claves)
    }

    /// Arranca en una carpeta que ya tiene mensajes.
    pub(crate) fn en(carpeta: PathBuf, claves: &str) -> Servidor {
        let directorio = if claves.contains("Directorio") {
            ""
        } else {
            "Directorio = mensajes\n"
        };
        let ini = format!("[Servidor]\nPuerto = 0\n{directorio}{claves}\n");
        fs::write(carpeta.join("Config.ini"), ini).unwrap();
        let orden = orden(&carpeta);
        Servidor::lanzar(carpeta, orden)
    }

    /// Arranca bajo esos límites de la shell, p. ej. `ulimit -n 40`.
    #[cfg(unix)]
    pub(crate) fn limitado(limites: &str) -> Servidor {
        let carpeta = carpeta_nueva();
        let ini = "[Servidor]\nPuerto = 0\nDirectorio = mensajes\n";
        fs::write(carpeta.join("Config.ini"), ini).unwrap();
        let orden = limitada(&carpeta, limites);
        Servidor::lanzar(carpeta, orden)
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
        let mut proceso = orden
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
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
        self.esperar_linea_hasta(PLAZO, texto)
    }

    /// Lo mismo, con otro plazo: para lo que solo ocurre al cabo de un tiempo.
    pub(crate) fn esperar_linea_hasta(&self, plazo: Duration, texto: &str) -> String {
        let busca = |lineas: &[String]| lineas.iter().find(|linea| linea.contains(texto)).cloned();
        let lineas = self.consola.lineas.lock().unwrap();
        let (lineas, _) = self
            .consola
            .novedad
            .wait_timeout_while(lineas, plazo, |lineas| busca(lineas).is_none())
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

    /// Muere de golpe y arranca otra vez en su carpeta y en el mismo puerto. Lo piden las pruebas
    /// que solo existen en Linux.
    #[cfg(target_os = "linux")]
    pub(crate) fn reiniciar(&mut self) {
        self.matar();
        let ini = fs::read_to_string(self.carpeta.join("Config.ini")).unwrap();
        let mismo_puerto = ini.replace("Puerto = 0\n", &format!("Puerto = {}\n", self.puerto));
        fs::write(self.carpeta.join("Config.ini"), mismo_puerto).unwrap();
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
        ejecutar(Command::new("kill").args(["-s", senal, &self.pid().to_string()]));
    }

    /// Espera a que el proceso acabe por sí mismo.
    pub(crate) fn esperar_fin(&mut self) -> ExitStatus {
        esperar("el fin del proceso", || self.proceso.try_wait().unwrap())
    }
}

impl Drop for Servidor {
    fn drop(&mut self) {
        let _ = self.proceso.kill();
        let _ = self.proceso.wait();
        if thread::panicking() {
            eprintln!(
                "consola del servidor en {}:\n{}",
                self.carpeta.display(),
                self.consola()
            );
        } else {
            let _ = fs::remove_dir_all(&self.carpeta);
        }
    }
}

/// Ctrl+C a ese proceso.
pub(crate) fn interrumpir(pid: u32) {
    #[cfg(unix)]
    ejecutar(Command::new("kill").args(["-s", "INT", &pid.to_string()]));
    #[cfg(windows)]
    ejecutar(Command::new(ayudante()).args(["ctrl_c", &pid.to_string()]));
}

fn ejecutar(orden: &mut Command) {
    assert!(orden.status().unwrap().success(), "{orden:?}");
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
        ejecutar(
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
