//! Cada archivo de `tests/casos` es una conversación; su nombre dice lo que demuestra.
//!
//! | línea | significado |
//! |---|---|
//! | `ini CLAVE = valor` | una línea más de Config.ini |
//! | `> bytes` | el equipo envía |
//! | `< bytes` | el servidor contesta exactamente eso |
//! | `pausa MS` | el equipo calla |
//! | `late MS bytes` | desde ahora, y hasta que deje de enviar, envía eso cada tantos milisegundos |
//! | `fin` | el equipo deja de enviar; el servidor cierra sin decir más |
//! | `cierra` | el servidor cierra por su cuenta |
//! | `= bytes` | hay un `.res` con eso, por orden |
//! | `~ motivo bytes` | hay un apartado con eso; sin bytes, no hay ninguno |
//! | `! texto` | la consola lo dice |
//! | `¬ texto` | la consola no lo dice nunca, tampoco con RUST_LOG=debug |
//!
//! `<VT>`, `<FS>`, `<CR>`, `<LF>` y `<XX>` (hexadecimal) son bytes; `<xNNN>` son NNN letras
//! `x`; en lo que contesta el servidor, `<HORA>` son 14 cifras y `<ID>` veinte.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::analizador_simulado::Analizador;
use crate::servidor_de_prueba::{self, Servidor, con_rust_log};

#[test]
fn cada_conversacion_de_tests_casos_ocurre_como_esta_escrita() {
    let carpeta = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/casos");
    let casos: Vec<PathBuf> = servidor_de_prueba::rutas(&carpeta, "txt");
    assert!(casos.len() >= 15);
    // Casi todo el tiempo de un caso es silencio: todos a la vez.
    thread::scope(|hilos| {
        for caso in &casos {
            let nombre = caso.file_stem().unwrap().to_string_lossy().into_owned();
            thread::Builder::new()
                .name(nombre)
                .spawn_scoped(hilos, || conversar(caso))
                .unwrap();
        }
    });
}

fn conversar(caso: &Path) {
    let guion = fs::read_to_string(caso).unwrap();
    let pasos: Vec<_> = guion
        .lines()
        .filter(|linea| !linea.is_empty() && !linea.starts_with('#'))
        .collect();
    let claves: Vec<_> = pasos
        .iter()
        .filter_map(|paso| paso.strip_prefix("ini "))
        .collect();
    let nivel = if pasos.iter().any(|paso| paso.starts_with("¬ ")) {
        "debug"
    } else {
        "info"
    };
    let servidor = Servidor::con_orden(&claves.join("\n"), |carpeta| con_rust_log(carpeta, nivel));
    let mut equipo = servidor.conectar();
    let basta = Arc::new(AtomicBool::new(false));
    let mut latido = None;
    let mut archivos = Vec::new();
    let mut callados = Vec::new();
    let mut apartados: HashMap<&str, Vec<Vec<u8>>> = HashMap::new();
    for paso in pasos {
        let (verbo, resto) = paso.split_once(' ').unwrap_or((paso, ""));
        match verbo {
            "ini" => {}
            ">" => equipo.enviar(&bytes(resto)),
            "<" => comparar(paso, &equipo.leer(bytes(resto).len()), &bytes(resto)),
            "pausa" => thread::sleep(Duration::from_millis(resto.parse().unwrap())),
            "late" => {
                let (cada, texto) = resto.split_once(' ').unwrap();
                let cada = Duration::from_millis(cada.parse().unwrap());
                latido = Some(latir(&equipo, cada, bytes(texto), Arc::clone(&basta)));
            }
            "fin" => {
                basta.store(true, Ordering::Relaxed);
                if let Some(latido) = latido.take() {
                    latido.join().unwrap();
                }
                equipo.dejar_de_enviar();
                comparar(paso, &equipo.esperar_cierre(), b"");
            }
            "cierra" => comparar(paso, &equipo.esperar_cierre(), b""),
            "=" => archivos.push(bytes(resto)),
            "~" => {
                let (motivo, contenido) = resto.split_once(' ').unwrap_or((resto, ""));
                let esperados = apartados.entry(motivo).or_default();
                esperados.extend((!contenido.is_empty()).then(|| bytes(contenido)));
            }
            "!" => {
                servidor.esperar_linea(resto);
            }
            "¬" => callados.push(resto),
            _ => panic!("no se entiende «{paso}»"),
        }
    }
    assert_eq!(textos(&servidor.archivos()), textos(&archivos), "los .res");
    for (motivo, esperados) in apartados {
        let hay = servidor.esperar_apartados(motivo, esperados.len());
        assert_eq!(textos(&hay), textos(&esperados), "los apartados «{motivo}»");
    }
    for callado in callados {
        let consola = servidor.consola();
        assert!(
            !consola.contains(callado),
            "se dijo «{callado}»:\n{consola}"
        );
    }
}

/// Un equipo, o lo que tenga delante, que envía lo mismo a cada rato.
fn latir(
    equipo: &Analizador,
    cada: Duration,
    latido: Vec<u8>,
    basta: Arc<AtomicBool>,
) -> JoinHandle<()> {
    let mut canal = equipo.canal.try_clone().unwrap();
    thread::spawn(move || {
        while !basta.load(Ordering::Relaxed) {
            thread::sleep(cada);
            canal.write_all(&latido).unwrap();
        }
    })
}

/// Compara, con `0x00` en lo esperado por cada cifra que cambia de una vez a otra.
pub(crate) fn comparar(paso: &str, recibido: &[u8], esperado: &[u8]) {
    let iguales = recibido.len() == esperado.len()
        && recibido
            .iter()
            .zip(esperado)
            .all(|(hay, debe)| hay == debe || (*debe == 0 && hay.is_ascii_digit()));
    assert!(
        iguales,
        "«{paso}»\n  recibido {}\n  esperado {}",
        recibido.escape_ascii(),
        esperado.escape_ascii()
    );
}

fn textos(archivos: &[Vec<u8>]) -> Vec<String> {
    archivos
        .iter()
        .map(|archivo| archivo.escape_ascii().to_string())
        .collect()
}

pub(crate) fn bytes(texto: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut resto = texto;
    while let Some((antes, despues)) = resto.split_once('<') {
        let (nombre, despues) = despues.split_once('>').unwrap();
        bytes.extend_from_slice(antes.as_bytes());
        match nombre {
            "VT" => bytes.push(0x0B),
            "FS" => bytes.push(0x1C),
            "CR" => bytes.push(b'\r'),
            "LF" => bytes.push(b'\n'),
            "HORA" => bytes.extend([0; 14]),
            "ID" => bytes.extend([0; 20]),
            _ => match nombre.strip_prefix('x') {
                Some(cuantas) => bytes.extend(vec![b'x'; cuantas.parse().unwrap()]),
                None => bytes.push(u8::from_str_radix(nombre, 16).unwrap()),
            },
        }
        resto = despues;
    }
    bytes.extend_from_slice(resto.as_bytes());
    bytes
}
