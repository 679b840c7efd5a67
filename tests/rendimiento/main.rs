//! El banco de rendimiento: `cargo bench`, o `cargo bench -- --rapido` en menos de un minuto.
//!
//! Conduce el ejecutable de verdad junto a dos varas, en la misma ejecución y ronda a ronda:
//! (a) el disco solo y (b) el menor servidor posible. Cada acuse se comprueba y cada archivo se
//! compara. Las cifras absolutas son de este equipo y de este momento; las razones se emparejan
//! por ronda, que es lo que se puede comparar. Un texto suelto elige los casos que lo contienen:
//! `cargo bench -- "64 en vuelo"`, y `ataques`, lo que espera un equipo bueno durante cada ataque. Los archivos van a `target`, o a la carpeta que se diga con
//! `--en CARPETA`: lo que se mide es sobre todo el disco en el que está. Un ext4 sin diario, como el
//! de algunas máquinas virtuales, crea archivos muy despacio si se acaban de borrar otros, que es lo
//! que el banco hace entre una medida y la siguiente: allí solo mide eso.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "es una prueba: acaba donde algo no es lo esperado, y lo que mide va a la consola"
)]
#![allow(
    clippy::cast_precision_loss,
    reason = "ninguna cuenta de un banco pasa de 2^52"
)]

/// Los ataques que también se hacen en las pruebas.
#[path = "../integracion/ataques.rs"]
#[allow(dead_code, reason = "el banco no los usa todos")]
mod asaltos;
/// Un equipo bueno durante cada ataque.
mod ataques;
/// El analizador simulado que da la carga.
mod carga;
/// Los casos, sus mensajes y la comprobación de sus archivos.
mod caso;
/// La vara (a).
mod disco;
/// Diez veces el tamaño, diez veces el tiempo.
mod escala;
/// La tabla y las metas.
mod informe;
/// Los números de una ronda.
mod medida;
/// La memoria del servidor.
mod memoria;
/// La vara (b).
mod minimo;
/// Los procesos y lo que gastan.
mod proceso;

use std::fs;
use std::path::{Path, PathBuf};

use carga::Quien;
use caso::{CASOS, Caso, comprobar_archivos};
use informe::Rondas;

/// Cuántas rondas y cuánto dura cada medida.
const COMPLETO: (usize, f64) = (12, 0.4);
/// Con `--rapido`.
const RAPIDO: (usize, f64) = (3, 0.08);
/// Los mensajes de una conexión en una medida; de menos no hay mediana y de más se llena el disco.
const MENSAJES: (usize, usize) = (3, 20_000);

/// Lo que se pide para medir solo los ataques.
const ATAQUES: &str = "ataques";

fn main() {
    let mut rapido = false;
    let mut buscado = String::new();
    let mut base = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let mut argumentos = std::env::args().skip(1);
    while let Some(argumento) = argumentos.next() {
        match argumento.as_str() {
            "--minimo" => {
                let carpeta = PathBuf::from(argumentos.next().unwrap());
                minimo::servir(&carpeta, argumentos.next().is_some());
            }
            "--rapido" => rapido = true,
            "--en" => base = argumentos.next().unwrap().into(),
            // Lo añade cargo.
            "--bench" => {}
            otro => otro.clone_into(&mut buscado),
        }
    }
    let carpeta = base.join(format!("rendimiento-{}", std::process::id()));
    fs::create_dir_all(&carpeta).unwrap();
    medir_todo(&carpeta, rapido, &buscado);
    fs::remove_dir_all(&carpeta).unwrap();
}

fn medir_todo(carpeta: &Path, rapido: bool, buscado: &str) {
    if !Path::new("/proc/self/schedstat").exists() {
        println!("sin /proc: no se miden la CPU ni la memoria");
    }
    let (rondas, segundos) = if rapido { RAPIDO } else { COMPLETO };
    informe::imprimir_cabecera();
    let mut metas = Vec::new();
    for caso in CASOS.iter().filter(|caso| caso.nombre.contains(buscado)) {
        let caso = ajustar(caso, carpeta, segundos);
        let rondas = medir_caso(&caso, carpeta, rondas);
        informe::imprimir(&caso, &rondas);
        metas.extend(informe::metas(&caso, &rondas));
    }
    if buscado.is_empty() || buscado == ATAQUES {
        metas.extend(ataques::medir(carpeta, rondas.div_ceil(2)));
    }
    if buscado.is_empty() {
        metas.extend(memoria::medir(carpeta));
        metas.extend(escala::medir(carpeta, rondas));
    }
    informe::imprimir_metas(&metas);
}

/// El caso con los mensajes que el servidor mínimo recibe en ese tiempo.
fn ajustar(caso: &Caso, carpeta: &Path, segundos: f64) -> Caso {
    let con = |por_conexion: usize| Caso {
        mensajes: por_conexion * caso.conexiones,
        ..*caso
    };
    let prueba = con(MENSAJES.0 + caso.en_vuelo);
    let carpeta = carpeta.join("prueba");
    let ritmo = carga::medir(&prueba, Quien::Minimo, &carpeta).ritmo;
    fs::remove_dir_all(&carpeta).unwrap();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "un número de mensajes"
    )]
    let por_conexion = (ritmo * segundos / caso.conexiones as f64) as usize;
    con(por_conexion.clamp(MENSAJES.0, MENSAJES.1 / caso.conexiones))
}

/// Los seis órdenes de las tres medidas: lo que el disco tenga pendiente de una cae lo mismo sobre
/// las otras dos.
const ORDENES: [[usize; 3]; 6] = [
    [0, 1, 2],
    [2, 1, 0],
    [1, 2, 0],
    [0, 2, 1],
    [2, 0, 1],
    [1, 0, 2],
];

/// Las tres medidas en cada ronda, cada vez en otro orden.
fn medir_caso(caso: &Caso, carpeta: &Path, cuantas: usize) -> Rondas {
    let mut rondas = Rondas::default();
    for ronda in 0..cuantas {
        for medida in ORDENES[ronda % ORDENES.len()] {
            let carpeta = carpeta.join("ronda");
            let mensajes = caso.mensajes(&carpeta);
            match medida {
                0 => rondas.disco.push(disco::medir(caso, &mensajes)),
                1 => rondas
                    .minimo
                    .push(carga::medir(caso, Quien::Minimo, &carpeta)),
                _ => rondas
                    .servidor
                    .push(carga::medir(caso, Quien::Servidor, &carpeta)),
            }
            comprobar_archivos(caso, &mensajes);
            fs::remove_dir_all(&carpeta).unwrap();
        }
    }
    rondas
}
