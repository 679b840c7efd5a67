use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use crate::servidor_de_prueba::{ejecutar, fin_a_tiempo, orden};

/// Lo que una prueba necesita del sistema y no está: se dice en una línea que `cargo test` no
/// oculta, y en la CI, donde `.ci/run` lo prepara, es un fallo.
pub(crate) fn omitir(falta: &str) {
    assert!(std::env::var_os("CI").is_none(), "en la CI {falta}");
    let _ = writeln!(io::stderr(), "PRUEBA OMITIDA: {falta}");
}

/// Si se puede usar strace; si no, ya queda dicho.
pub(crate) fn hay_strace() -> bool {
    static HAY: OnceLock<bool> = OnceLock::new();
    *HAY.get_or_init(|| {
        let mut prueba = Command::new("sh");
        prueba.args(["-c", "exec strace -f -o /dev/null true"]);
        let hay = ejecutar(&mut prueba).status.success();
        if !hay {
            omitir("hace falta strace, con permiso para usarlo");
        }
        hay
    })
}

/// La orden que arranca el servidor en esa carpeta y anota sus llamadas al sistema en `salida`,
/// con esa alteración de strace.
pub(crate) fn orden_rastreada(carpeta: &Path, salida: &Path, alteracion: &str) -> Command {
    let mut rastreada = Command::new("strace");
    // Con -D el proceso lanzado es el servidor y strace su nieto: las señales llegan a quien deben.
    rastreada
        .current_dir(carpeta)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .args(["-D", "-f", "--seccomp-bpf", "-y", "-s", "8192", "-e"])
        .arg("trace=openat,mkdir,write,writev,pwrite64,fsync,fdatasync,statx,rename,renameat,renameat2,link,linkat,unlink,sendto,sendmsg,setsockopt")
        .args(["-e", &format!("inject={alteracion}"), "-o"])
        .arg(salida)
        .arg(orden(carpeta).get_program());
    rastreada
}

/// La orden que arranca el servidor en esa carpeta con ese fallo en las llamadas sobre esas rutas, y solo
/// en ellas.
pub(crate) fn orden_con_fallo_en(carpeta: &Path, rutas: &[PathBuf], inyeccion: &str) -> Command {
    let mut fallida = Command::new("strace");
    fallida
        .current_dir(carpeta)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .args(["-D", "-f", "-q", "-o", "/dev/null"])
        .args(["-e", &format!("inject={inyeccion}")]);
    for ruta in rutas {
        fallida.arg("-P").arg(ruta);
    }
    fallida.arg(orden(carpeta).get_program());
    fallida
}

/// Una llamada al sistema, con los renglones del rastro en que empezó y acabó.
#[derive(Debug, Clone)]
pub(crate) struct Llamada {
    pub(crate) nombre: String,
    pub(crate) argumentos: String,
    pub(crate) valor: i64,
    pub(crate) comienzo: usize,
    pub(crate) fin: usize,
}

/// Lee un rastro de strace, juntando las llamadas que otro hilo partió en dos renglones.
pub(crate) fn leer_rastro(salida: &Path) -> Vec<Llamada> {
    let texto = String::from_utf8_lossy(&fs::read(salida).unwrap()).into_owned();
    let mut a_medias: Vec<(String, Llamada)> = Vec::new();
    let mut llamadas = Vec::new();
    for (renglon, linea) in texto.lines().enumerate() {
        let (hilo, que) = linea.split_once(' ').unwrap();
        let que = que.trim_start();
        if let Some(resto) = que.strip_prefix("<... ") {
            let cual = a_medias.iter().position(|(de, _)| de == hilo).unwrap();
            let (_, mut llamada) = a_medias.swap_remove(cual);
            let (_, resto) = resto.split_once(" resumed>").unwrap();
            terminar(&mut llamada, resto, renglon);
            llamadas.push(llamada);
        } else if let Some((nombre, resto)) = que.split_once('(') {
            if que.starts_with(['+', '-']) {
                continue;
            }
            let mut llamada = Llamada {
                nombre: nombre.to_owned(),
                argumentos: String::new(),
                valor: i64::MIN,
                comienzo: renglon,
                fin: usize::MAX,
            };
            if let Some(argumentos) = resto.strip_suffix(" <unfinished ...>") {
                argumentos.clone_into(&mut llamada.argumentos);
                a_medias.push((hilo.to_owned(), llamada));
            } else {
                terminar(&mut llamada, resto, renglon);
                llamadas.push(llamada);
            }
        }
    }
    llamadas
}

fn terminar(llamada: &mut Llamada, resto: &str, renglon: usize) {
    let (argumentos, valor) = resto.rsplit_once(" = ").unwrap_or((resto, "?"));
    llamada.argumentos.push_str(argumentos);
    let cifras = valor.split([' ', '<']).next().unwrap_or_default();
    llamada.valor = cifras.parse().unwrap_or(i64::MIN);
    llamada.fin = renglon;
}

/// Fallos que strace finge en las llamadas de un servidor en marcha, hasta que se suelta.
pub(crate) struct Inyeccion(Child);

impl Inyeccion {
    /// Cada hilo lleva su cuenta de llamadas, que empieza ahora.
    pub(crate) fn comenzar(pid: u32, inyecciones: &[&str]) -> Inyeccion {
        let mut orden = Command::new("strace");
        orden.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]);
        for inyeccion in inyecciones {
            orden.args(["-e", &format!("inject={inyeccion}")]);
        }
        let mut strace = orden.stderr(Stdio::piped()).spawn().unwrap();
        let dicho = BufReader::new(strace.stderr.take().unwrap());
        let mut lineas = dicho.lines().map_while(Result::ok);
        let unida = lineas.any(|linea| linea.contains("attached"));
        assert!(unida, "strace no pudo unirse al servidor: {inyecciones:?}");
        // Lo que diga después no interesa, pero su tubería no debe llenarse.
        thread::spawn(move || lineas.for_each(drop));
        Inyeccion(strace)
    }
}

impl Drop for Inyeccion {
    fn drop(&mut self) {
        // Con TERM se despide del servidor; con KILL podría dejarlo parado.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let fin = fin_a_tiempo(&mut self.0);
        assert!(fin.is_some() || thread::panicking(), "strace no se despide");
    }
}
