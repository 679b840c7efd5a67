//! Los parciales que dejó una caída: se llevan a `apartados`, sin borrar ninguno.
//!
//! Un parcial puede ser de otro servidor que trabaja en la misma carpeta, con otro reloj: solo es de
//! una caída si dos miradas, separadas por el reloj monótono de este PC, lo ven igual.

use std::fs;
use std::io::{self, ErrorKind};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::{APARTADOS, Almacen, Apartado, ErrorDeAlmacen, disco, nombre};

const ENTRE_MIRADAS: Duration = Duration::from_mins(1);

/// Los parciales que había en la primera mirada y aún no se sabe de quién son.
#[derive(Debug, Default)]
pub struct Parciales {
    vistos: Vec<Visto>,
    /// Cuándo toca mirar otra vez; `None` antes de la primera mirada.
    proxima: Option<Instant>,
}

/// Un parcial, como se vio.
#[derive(Debug)]
struct Visto {
    ruta: PathBuf,
    nombre: String,
    aspecto: Aspecto,
}

/// Lo que cambia en un archivo cuando alguien lo escribe.
#[derive(Debug, PartialEq, Eq)]
struct Aspecto {
    longitud: u64,
    modificado: Option<SystemTime>,
}

/// Adónde fue a parar uno, dentro de `apartados`. El que no se pudo mover sigue donde estaba hasta el
/// próximo arranque.
type Rescatado = Result<PathBuf, ErrorDeAlmacen>;

impl Parciales {
    /// Mira si ya toca: la primera vez apunta los que hay, y después mueve los que sigan igual.
    pub fn rescatar(&mut self, almacen: &Almacen, ahora: Instant) -> Vec<Rescatado> {
        let mut rescatados = Vec::new();
        match self.proxima {
            None => {
                let subcarpetas = almacen.subcarpetas.iter().map(String::as_str);
                let dentro = subcarpetas.chain([APARTADOS]);
                let dentro = dentro.flat_map(|nombre| buscar(&almacen.carpeta.join(nombre)));
                self.vistos = buscar(&almacen.carpeta).into_iter().chain(dentro).collect();
            }
            Some(proxima) if ahora < proxima => return rescatados,
            Some(_) => {
                for visto in mem::take(&mut self.vistos) {
                    self.vistos
                        .extend(visto.rescatar_si_es_el_mismo(almacen, &mut rescatados));
                }
            }
        }
        self.proxima = Some(ahora + ENTRE_MIRADAS);
        rescatados
    }
}

impl Visto {
    /// El mismo, como está ahora, si alguien lo sigue escribiendo.
    fn rescatar_si_es_el_mismo(
        self,
        almacen: &Almacen,
        rescatados: &mut Vec<Rescatado>,
    ) -> Option<Visto> {
        // El que ya no está lo terminó, o lo movió, su dueño.
        let aspecto = aspecto(&self.ruta)?;
        if aspecto != self.aspecto {
            return Some(Visto { aspecto, ..self });
        }
        match mover(almacen, &self.ruta, &self.nombre) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            movido => rescatados.push(movido.map_err(ErrorDeAlmacen::en(
                "no se pudo rescatar un parcial",
                &self.ruta,
            ))),
        }
        None
    }
}

/// Una carpeta que no se puede leer ya dará su error al guardar en ella.
fn buscar(carpeta: &Path) -> Vec<Visto> {
    let entradas = fs::read_dir(carpeta).into_iter().flatten().flatten();
    entradas
        .filter_map(|entrada| {
            let archivo = entrada.file_name();
            let nombre = nombre::del_parcial(&archivo)?.to_owned();
            let ruta = entrada.path();
            let aspecto = aspecto(&ruta)?;
            Some(Visto {
                ruta,
                nombre,
                aspecto,
            })
        })
        .collect()
}

/// `None` si no es un archivo: una carpeta, un enlace o una tubería con ese nombre no son nuestros.
fn aspecto(ruta: &Path) -> Option<Aspecto> {
    let datos = fs::symlink_metadata(ruta)
        .ok()
        .filter(fs::Metadata::is_file)?;
    Some(Aspecto {
        longitud: datos.len(),
        modificado: datos.modified().ok(),
    })
}

fn mover(almacen: &Almacen, parcial: &Path, nombre: &str) -> io::Result<PathBuf> {
    let apartados = almacen.carpeta.join(APARTADOS);
    almacen.crear_carpeta(&apartados)?;
    let extension = Apartado::Parcial.extension();
    let mut destino = apartados.join(format!("{nombre}.{extension}"));
    let mut copia = 1;
    while let Err(error) = disco::renombrar_sin_reemplazar(parcial, &destino) {
        if error.kind() != ErrorKind::AlreadyExists {
            return Err(error);
        }
        destino = apartados.join(format!("{nombre}-{copia}.{extension}"));
        copia += 1;
    }
    Ok(destino)
}
