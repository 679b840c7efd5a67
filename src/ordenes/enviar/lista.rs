//! De lo escrito en la orden a los archivos que se envían, en su orden: el nombre, que es el orden de
//! llegada.
//!
//! Solo mira nombres; no sabe qué hay dentro de ninguno.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::fallo::ErrorDeEnvio;
use crate::almacen::APARTADOS;
use crate::texto::ruta_visible;

/// Con este nombre, la entrada estándar.
pub(super) const ENTRADA: &str = "-";

/// Algo que se envía.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pendiente {
    pub(super) origen: Origen,
    /// Cuál de los valores escritos lo nombra.
    pub(super) valor: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origen {
    Muestra,
    Entrada,
    Archivo {
        /// La misma para todos los de una carpeta, que pueden ser un millón.
        carpeta: Rc<Path>,
        nombre: OsString,
    },
}

impl Origen {
    fn archivo(ruta: &Path) -> Origen {
        let carpeta = ruta.parent().unwrap_or(Path::new(""));
        Origen::Archivo {
            carpeta: carpeta.into(),
            nombre: ruta.file_name().unwrap_or_default().to_owned(),
        }
    }

    pub(super) fn ruta(&self) -> Option<PathBuf> {
        match self {
            Origen::Archivo { carpeta, nombre } => Some(carpeta.join(nombre)),
            Origen::Muestra | Origen::Entrada => None,
        }
    }

    /// Su nombre de archivo.
    fn nombre(&self) -> &OsStr {
        match self {
            Origen::Archivo { nombre, .. } => nombre,
            Origen::Muestra | Origen::Entrada => OsStr::new(""),
        }
    }
}

impl fmt::Display for Origen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origen::Muestra => f.write_str("mensaje de muestra"),
            Origen::Entrada => f.write_str("entrada estándar"),
            Origen::Archivo { carpeta, nombre } => ruta_visible(&carpeta.join(nombre)).fmt(f),
        }
    }
}

/// Lo que nombran esos valores, en su orden; sin ninguno, el mensaje de muestra.
pub(super) fn listar(valores: &[PathBuf]) -> Result<Vec<Pendiente>, ErrorDeEnvio> {
    if valores.is_empty() {
        return Ok(vec![Pendiente {
            origen: Origen::Muestra,
            valor: 0,
        }]);
    }
    let mut lista = Vec::new();
    for (valor, ruta) in valores.iter().enumerate() {
        let origenes = expandir(ruta)?;
        lista.extend(
            origenes
                .into_iter()
                .map(|origen| Pendiente { origen, valor }),
        );
    }
    if lista.is_empty() {
        let ruta = valores[0].clone();
        return Err(ErrorDeEnvio::CarpetaSinMensajes { ruta });
    }
    Ok(lista)
}

/// Quita lo que va antes de ese archivo; si ya no está, lo que iría antes de él.
pub(super) fn empezar_en(
    lista: &mut Vec<Pendiente>,
    desde: Option<&Path>,
) -> Result<(), ErrorDeEnvio> {
    let Some(desde) = desde else {
        return Ok(());
    };
    let nombre = desde.file_name().unwrap_or_default();
    let es_el = |uno: &Pendiente| uno.origen.ruta().is_some_and(|ruta| ruta.ends_with(desde));
    let sigue = |uno: &Pendiente| uno.origen.nombre() >= nombre;
    let primero = lista
        .iter()
        .position(es_el)
        .or_else(|| lista.iter().position(sigue))
        .ok_or_else(|| ErrorDeEnvio::NadaDesde {
            desde: desde.to_owned(),
        })?;
    lista.drain(..primero);
    Ok(())
}

fn expandir(ruta: &Path) -> Result<Vec<Origen>, ErrorDeEnvio> {
    if ruta == Path::new(ENTRADA) {
        return Ok(vec![Origen::Entrada]);
    }
    let ilegible = |causa| ErrorDeEnvio::Ilegible {
        ruta: ruta.to_owned(),
        causa,
    };
    match fs::metadata(ruta) {
        Ok(datos) if datos.is_dir() => listar_carpeta(ruta),
        Ok(_) => Ok(vec![Origen::archivo(ruta)]),
        // Un archivo puede llamarse así de veras, salvo en Windows.
        Err(_) if lleva_comodines(ruta) => listar_comodines(ruta),
        Err(causa) => Err(ilegible(causa)),
    }
}

/// Los `.res` de una carpeta y de las de sus equipos.
fn listar_carpeta(ruta: &Path) -> Result<Vec<Origen>, ErrorDeEnvio> {
    let mut origenes = Vec::new();
    let es_de_apartados = ruta.file_name().is_some_and(son_apartados);
    if !es_de_apartados {
        let leer = |carpeta: &Path| {
            leer_carpeta(carpeta).map_err(|causa| ErrorDeEnvio::Ilegible {
                ruta: carpeta.to_owned(),
                causa,
            })
        };
        let (nombres, subcarpetas) = leer(ruta)?;
        anotar_mensajes(ruta, nombres, &mut origenes);
        for subcarpeta in subcarpetas.iter().filter(|nombre| !son_apartados(nombre)) {
            let subcarpeta = ruta.join(subcarpeta);
            anotar_mensajes(&subcarpeta, leer(&subcarpeta)?.0, &mut origenes);
        }
        if origenes.is_empty() {
            let ruta = ruta.to_owned();
            return Err(ErrorDeEnvio::CarpetaSinMensajes { ruta });
        }
    }
    origenes.sort_by(por_nombre);
    Ok(origenes)
}

fn anotar_mensajes(carpeta: &Path, nombres: Vec<OsString>, origenes: &mut Vec<Origen>) {
    let carpeta: Rc<Path> = carpeta.into();
    let es_mensaje = |nombre: &OsString| {
        Path::new(nombre)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("res"))
    };
    origenes.extend(
        nombres
            .into_iter()
            .filter(es_mensaje)
            .map(|nombre| Origen::Archivo {
                carpeta: Rc::clone(&carpeta),
                nombre,
            }),
    );
}

/// Los archivos cuyo nombre es como ese, sin entrar en las carpetas. En Windows nadie lo hizo antes.
fn listar_comodines(ruta: &Path) -> Result<Vec<Origen>, ErrorDeEnvio> {
    let origen = Origen::archivo(ruta);
    let Origen::Archivo { carpeta, nombre } = &origen else {
        return Ok(Vec::new());
    };
    let sin_ninguno = || ErrorDeEnvio::SinCoincidencias {
        ruta: ruta.to_owned(),
    };
    if lleva_comodines(carpeta) {
        return Err(sin_ninguno());
    }
    let donde = if carpeta.as_os_str().is_empty() {
        Path::new(".")
    } else {
        carpeta
    };
    let (nombres, _) = leer_carpeta(donde).map_err(|causa| ErrorDeEnvio::Ilegible {
        ruta: donde.to_owned(),
        causa,
    })?;
    let comodines = letras(nombre);
    let mut origenes: Vec<_> = nombres
        .into_iter()
        .filter(|uno| coincide(&letras(uno), &comodines))
        .map(|nombre| Origen::Archivo {
            carpeta: Rc::clone(carpeta),
            nombre,
        })
        .collect();
    if origenes.is_empty() {
        return Err(sin_ninguno());
    }
    origenes.sort_by(por_nombre);
    Ok(origenes)
}

/// Los nombres de los archivos y los de las carpetas que hay en una, sin los ocultos.
fn leer_carpeta(carpeta: &Path) -> io::Result<(Vec<OsString>, Vec<OsString>)> {
    let (mut archivos, mut carpetas) = (Vec::new(), Vec::new());
    for entrada in fs::read_dir(carpeta)? {
        let entrada = entrada?;
        if esta_oculto(&entrada) {
            continue;
        }
        // De un enlace importa a qué apunta; lo que ya no está, se lo llevó quien lee la carpeta.
        let tipo = match entrada.file_type()? {
            tipo if tipo.is_symlink() => match fs::metadata(entrada.path()) {
                Ok(datos) => datos.file_type(),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            },
            tipo => tipo,
        };
        if tipo.is_dir() {
            carpetas.push(entrada.file_name());
        } else if tipo.is_file() {
            archivos.push(entrada.file_name());
        }
    }
    Ok((archivos, carpetas))
}

fn esta_oculto(entrada: &DirEntry) -> bool {
    entrada.file_name().as_encoded_bytes().starts_with(b".") || lo_oculta_windows(entrada)
}

#[cfg(windows)]
fn lo_oculta_windows(entrada: &DirEntry) -> bool {
    use std::os::windows::fs::MetadataExt;
    const FILE_ATTRIBUTE_HIDDEN: u32 = 2;
    let datos = entrada.metadata();
    datos.is_ok_and(|datos| datos.file_attributes() & FILE_ATTRIBUTE_HIDDEN != 0)
}

#[cfg(not(windows))]
fn lo_oculta_windows(_: &DirEntry) -> bool {
    false
}

fn son_apartados(nombre: impl AsRef<OsStr>) -> bool {
    nombre.as_ref().eq_ignore_ascii_case(APARTADOS)
}

/// Por nombre de archivo, esté en la carpeta que esté; los que se llaman igual, por carpeta.
fn por_nombre(uno: &Origen, otro: &Origen) -> Ordering {
    let nombres = uno.nombre().cmp(otro.nombre());
    nombres.then_with(|| uno.ruta().cmp(&otro.ruta()))
}

fn lleva_comodines(ruta: &Path) -> bool {
    ruta.to_string_lossy().contains(['*', '?'])
}

/// Windows no distingue las mayúsculas en un nombre.
fn letras(nombre: &OsStr) -> Vec<char> {
    let nombre = nombre.to_string_lossy();
    if cfg!(windows) {
        nombre.to_lowercase().chars().collect()
    } else {
        nombre.chars().collect()
    }
}

/// Si el nombre es como dicen los comodines: `*`, lo que sea; `?`, una letra.
fn coincide(nombre: &[char], comodines: &[char]) -> bool {
    let (mut n, mut c) = (0, 0);
    // Adónde volver si lo que sigue al último `*` no coincide: basta con que el último tome más.
    let mut vuelta = None;
    while n < nombre.len() {
        match comodines.get(c) {
            Some('*') => {
                vuelta = Some((n, c));
                c += 1;
            }
            Some(letra) if *letra == '?' || *letra == nombre[n] => {
                n += 1;
                c += 1;
            }
            _ => {
                let Some((tomadas, asterisco)) = vuelta else {
                    return false;
                };
                vuelta = Some((tomadas + 1, asterisco));
                (n, c) = (tomadas + 1, asterisco + 1);
            }
        }
    }
    comodines[c..].iter().all(|letra| *letra == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn los_comodines_son_los_de_windows() {
        for (comodines, si, no) in [
            (
                "*.res",
                &["a.res", ".res", "a.b.res"][..],
                &["a.re", "res", "a.resx"][..],
            ),
            (
                "HL7_*_2026*.res",
                &["HL7_ORU_20260101.res"],
                &["HL7_20260101.res"],
            ),
            ("a?c", &["abc", "aác"], &["ac", "abbc"]),
            ("*", &["", "x"], &[]),
            ("**a*", &["a", "bab"], &["b", ""]),
            ("*ab*ab", &["abab", "xabyabab"], &["ab", "abx"]),
            ("???", &["abc"], &["ab", "abcd"]),
        ] {
            let es_como = |nombre: &&&str| {
                coincide(
                    &letras(OsStr::new(**nombre)),
                    &letras(OsStr::new(comodines)),
                )
            };
            assert_eq!(si.iter().filter(es_como).count(), si.len(), "{comodines}");
            assert_eq!(no.iter().filter(es_como).count(), 0, "{comodines}");
        }
    }

    fn de(carpeta: &str, nombre: &str) -> Origen {
        Origen::archivo(&Path::new(carpeta).join(nombre))
    }

    #[test]
    fn se_empieza_en_el_archivo_que_se_diga_aunque_ya_no_este() {
        let lista = [
            de("m", "a"),
            de("m", "c"),
            de("m/1", "d"),
            de("m/2", "d"),
            de("n", "b"),
        ];
        for (desde, quedan) in [
            ("a", Some(5)),
            ("", Some(5)),
            ("b", Some(1)),
            ("bb", Some(4)),
            ("d", Some(3)),
            ("1/d", Some(3)),
            ("2/d", Some(2)),
            ("m/2/d", Some(2)),
            ("n/d", Some(3)),
            ("e", None),
        ] {
            let mut lista = lista
                .iter()
                .map(|origen| Pendiente {
                    origen: origen.clone(),
                    valor: 0,
                })
                .collect();
            let quedo = empezar_en(&mut lista, Some(Path::new(desde)));
            assert_eq!(quedo.ok().map(|()| lista.len()), quedan, "{desde}");
        }
    }
}
