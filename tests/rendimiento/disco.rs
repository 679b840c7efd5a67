//! La vara (a): lo que da el disco solo, con las mismas llamadas que hace el almacén.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::caso::{Caso, Plantilla};
use crate::medida::Medida;

/// Lo que hay en un nombre delante de las últimas ocho cifras de su hora.
const NOMBRE: &str = "HL7_ORU_202609120";

/// Una carpeta donde cada mensaje es un archivo, con la secuencia del almacén y nada más. Los nombres son
/// otros, pero miden lo mismo que los del servidor, que son los del programa de Python: en muchos sistemas
/// de archivos, cuanto más largo un nombre, más hay que leer y escribir en su carpeta.
pub(crate) struct Disco {
    carpeta: PathBuf,
    sincronizar: bool,
    siguiente: AtomicUsize,
}

impl Disco {
    pub(crate) fn new(carpeta: &Path, sincronizar: bool) -> Disco {
        Disco {
            carpeta: carpeta.to_path_buf(),
            sincronizar,
            siguiente: AtomicUsize::new(0),
        }
    }

    /// Crear en la carpeta, escribir, sincronizar, renombrar sin reemplazar, sincronizar la
    /// carpeta.
    pub(crate) fn guardar(&self, mensaje: &[u8]) {
        let numero = self.siguiente.fetch_add(1, Ordering::Relaxed);
        let nombre = format!("{NOMBRE}{numero:08}");
        let parcial = self.carpeta.join(format!(".{nombre}.parcial"));
        let definitivo = self.carpeta.join(format!("{nombre}.res"));
        let mut archivo = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&parcial)
            .unwrap();
        archivo.write_all(mensaje).unwrap();
        if self.sincronizar {
            archivo.sync_all().unwrap();
        }
        renombrar_sin_reemplazar(&parcial, &definitivo);
        if self.sincronizar {
            if cfg!(windows) {
                archivo.sync_all().unwrap();
            } else {
                File::open(&self.carpeta).unwrap().sync_all().unwrap();
            }
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let sin_reemplazar = RenameFlags::RENAME_NOREPLACE;
    renameat2(AT_FDCWD, actual, AT_FDCWD, nuevo, sin_reemplazar).unwrap();
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) {
    assert!(!fs::exists(nuevo).unwrap());
    fs::rename(actual, nuevo).unwrap();
}

/// Los mismos mensajes que el caso envía por la red, guardados por tantos hilos como conexiones.
pub(crate) fn medir(caso: &Caso, carpeta: &Path) -> Medida {
    fs::create_dir_all(carpeta).unwrap();
    let disco = Disco::new(carpeta, caso.sincronizar);
    let salida = Barrier::new(caso.conexiones + 1);
    let (segundos, esperas) = thread::scope(|hilos| {
        let trabajos: Vec<_> = (0..caso.conexiones)
            .map(|hilo| {
                let (disco, salida) = (&disco, &salida);
                hilos.spawn(move || {
                    let mut plantilla = Plantilla::new(caso);
                    salida.wait();
                    (0..caso.por_conexion())
                        .map(|numero| {
                            let contenido = plantilla.contenido(hilo, numero);
                            let comienzo = Instant::now();
                            disco.guardar(contenido);
                            comienzo.elapsed()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        salida.wait();
        let comienzo = Instant::now();
        let esperas: Vec<_> = trabajos
            .into_iter()
            .flat_map(|trabajo| trabajo.join().unwrap())
            .collect();
        (comienzo.elapsed().as_secs_f64(), esperas)
    });
    Medida::new(caso, segundos, esperas)
}
