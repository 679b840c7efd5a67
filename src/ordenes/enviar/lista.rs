//! De lo escrito en la orden a los archivos que se envían, en su orden: el nombre, que es el orden de
//! llegada.
//!
//! Solo mira nombres; no sabe qué hay dentro de ninguno.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::ilegible;
use crate::almacen::APARTADOS;
use crate::pedido::ErrorDePedido;
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
    Archivo(PathBuf),
}

impl Origen {
    pub(super) fn ruta(&self) -> Option<&Path> {
        match self {
            Origen::Archivo(ruta) => Some(ruta),
            Origen::Muestra | Origen::Entrada => None,
        }
    }
}

impl fmt::Display for Origen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origen::Muestra => f.write_str("mensaje de muestra"),
            Origen::Entrada => f.write_str("entrada estándar"),
            Origen::Archivo(ruta) => ruta_visible(ruta).fmt(f),
        }
    }
}

/// Lo que nombran esos valores, en su orden; sin ninguno, el mensaje de muestra.
pub(super) fn listar(valores: &[PathBuf]) -> Result<Vec<Pendiente>, ErrorDePedido> {
    if valores.is_empty() {
        return Ok(vec![Pendiente {
            origen: Origen::Muestra,
            valor: 0,
        }]);
    }
    let mut lista = Vec::new();
    for (valor, ruta) in valores.iter().enumerate() {
        let origenes = expandir(ruta)?.into_iter();
        lista.extend(origenes.map(|origen| Pendiente { origen, valor }));
    }
    if lista.is_empty() {
        return Err(sin_mensajes(&valores[0]));
    }
    Ok(lista)
}

/// Quita lo que va antes de ese archivo; si ya no está, lo que iría antes de él.
pub(super) fn empezar_en(
    lista: &mut Vec<Pendiente>,
    desde: Option<&Path>,
) -> Result<(), ErrorDePedido> {
    let Some(desde) = desde else {
        return Ok(());
    };
    let rutas = || lista.iter().map(|uno| uno.origen.ruta());
    let es_el = |ruta: Option<&Path>| ruta.is_some_and(|ruta| ruta.ends_with(desde));
    let sigue = |ruta: Option<&Path>| ruta.and_then(Path::file_name) >= desde.file_name();
    let primero = rutas().position(es_el);
    let primero = primero.or_else(|| rutas().position(sigue));
    let Some(primero) = primero else {
        return Err(ErrorDePedido(format!(
            "no hay nada que enviar desde «{}»: todo lo que hay va antes por orden de nombre",
            ruta_visible(desde)
        )));
    };
    lista.drain(..primero);
    Ok(())
}

/// A quien guardó unos mensajes en esa carpeta no se le envían: los tendría dos veces. Los apartados sí, porque
/// a quien los corrige le sirve enviárselos.
pub(super) fn comprobar_que_no_son_suyos(
    lista: &[Pendiente],
    guarda_en: Option<&Path>,
) -> Result<(), ErrorDePedido> {
    let Some(carpeta) = guarda_en.and_then(|carpeta| fs::canonicalize(carpeta).ok()) else {
        return Ok(());
    };
    let es_suyo = |ruta: &&Path| {
        fs::canonicalize(ruta).is_ok_and(|ruta| ruta.starts_with(&carpeta) && acaba_en_res(&ruta))
    };
    let mut rutas = lista.iter().filter_map(|uno| uno.origen.ruta());
    match rutas.find(es_suyo) {
        None => Ok(()),
        Some(suyo) => Err(ErrorDePedido(format!(
            "«{}» ya lo guardó este servidor, y enviado a él quedaría dos veces; diga adónde enviar con --a HOST:PUERTO",
            ruta_visible(suyo)
        ))),
    }
}

/// Las carpetas que nadie nombró y de las que se envía algo, porque están en una que sí.
pub(super) fn sin_nombrar<'a>(lista: &'a [Pendiente], valores: &[PathBuf]) -> BTreeSet<&'a Path> {
    let sin_nombrar = |uno: &'a Pendiente| {
        let carpeta = uno.origen.ruta()?.parent()?;
        (carpeta.parent() == Some(&valores[uno.valor])).then_some(carpeta)
    };
    lista.iter().filter_map(sin_nombrar).collect()
}

fn expandir(ruta: &Path) -> Result<Vec<Origen>, ErrorDePedido> {
    if ruta == Path::new(ENTRADA) {
        return Ok(vec![Origen::Entrada]);
    }
    let mut rutas = match fs::metadata(ruta) {
        Ok(datos) if datos.is_dir() => listar_carpeta(ruta)?,
        Ok(_) => vec![ruta.to_owned()],
        // Un archivo puede llamarse así de veras, salvo en Windows.
        Err(_) if lleva_comodines(ruta) => listar_comodines(ruta)?,
        Err(causa) => return Err(ilegible(ruta, &causa)),
    };
    // Por nombre de archivo, esté en la carpeta que esté; los que se llaman igual, por carpeta.
    rutas.sort_by(|una, otra| (una.file_name(), una).cmp(&(otra.file_name(), otra)));
    Ok(rutas.into_iter().map(Origen::Archivo).collect())
}

/// Los `.res` de una carpeta y de las que hay en ella, que pueden ser de sus equipos. De la de los apartados,
/// ninguno: quien escribe un comodín no piensa en ella.
fn listar_carpeta(ruta: &Path) -> Result<Vec<PathBuf>, ErrorDePedido> {
    if son_apartados(ruta) {
        return Ok(Vec::new());
    }
    let (mut archivos, carpetas) = leer_carpeta(ruta)?;
    for carpeta in carpetas.iter().filter(|carpeta| !son_apartados(carpeta)) {
        archivos.extend(leer_carpeta(carpeta)?.0);
    }
    archivos.retain(|archivo| acaba_en_res(archivo));
    if archivos.is_empty() {
        return Err(sin_mensajes(ruta));
    }
    Ok(archivos)
}

/// Ningún apartado lo hace.
fn acaba_en_res(archivo: &Path) -> bool {
    let es_res = |extension: &OsStr| extension.eq_ignore_ascii_case("res");
    archivo.extension().is_some_and(es_res)
}

fn sin_mensajes(carpeta: &Path) -> ErrorDePedido {
    ErrorDePedido(format!(
        "en «{}» no hay ningún archivo .res que enviar; para enviar otros, escriba sus nombres, o un comodín como *.hl7",
        ruta_visible(carpeta)
    ))
}

/// Los archivos cuyo nombre es como ese, sin entrar en las carpetas. En Windows nadie lo hizo antes.
fn listar_comodines(ruta: &Path) -> Result<Vec<PathBuf>, ErrorDePedido> {
    let carpeta = ruta.parent().unwrap_or(Path::new(""));
    let mut archivos = if lleva_comodines(carpeta) {
        Vec::new()
    } else {
        leer_carpeta(carpeta)?.0
    };
    let comodines = letras(ruta);
    archivos.retain(|archivo| coincide(&letras(archivo), &comodines));
    if archivos.is_empty() {
        return Err(ErrorDePedido(format!(
            "ningún archivo es como «{}»; los comodines * y ? valen en el nombre del archivo, no en el de su carpeta",
            ruta_visible(ruta)
        )));
    }
    Ok(archivos)
}

/// Los archivos y las carpetas que hay en una, sin los ocultos. Sin nombre, es la actual.
fn leer_carpeta(carpeta: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ErrorDePedido> {
    let donde = if carpeta.as_os_str().is_empty() {
        Path::new(".")
    } else {
        carpeta
    };
    let (mut archivos, mut carpetas) = (Vec::new(), Vec::new());
    let mut leer = || -> io::Result<()> {
        for entrada in fs::read_dir(donde)? {
            let entrada = entrada?;
            let ruta = carpeta.join(entrada.file_name());
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
                carpetas.push(ruta);
            } else if tipo.is_file() {
                archivos.push(ruta);
            }
        }
        Ok(())
    };
    leer().map_err(|causa| ilegible(donde, &causa))?;
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

fn son_apartados(carpeta: &Path) -> bool {
    let nombre = carpeta.file_name();
    nombre.is_some_and(|nombre| nombre.eq_ignore_ascii_case(APARTADOS))
}

fn lleva_comodines(ruta: &Path) -> bool {
    ruta.to_string_lossy().contains(['*', '?'])
}

/// Las del nombre de archivo. Windows no distingue las mayúsculas.
fn letras(ruta: &Path) -> Vec<char> {
    let nombre = ruta.file_name().unwrap_or_default().to_string_lossy();
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
        #[rustfmt::skip]
        let filas = [
            ("*.res", &["a.res", ".res", "a.b.res"][..], &["a.re", "res", "a.resx"][..]),
            ("HL7_*_2026*.res", &["HL7_ORU_20260101.res"], &["HL7_20260101.res"]),
            ("a?c", &["abc", "aác"], &["ac", "abbc"]),
            ("*", &["", "x"], &[]),
            ("**a*", &["a", "bab"], &["b", ""]),
            ("*ab*ab", &["abab", "xabyabab"], &["ab", "abx"]),
            ("???", &["abc"], &["ab", "abcd"]),
        ];
        for (comodines, si, no) in filas {
            let letras = |nombre: &str| letras(Path::new(nombre));
            let es_como = |nombre: &&&str| coincide(&letras(nombre), &letras(comodines));
            assert_eq!(si.iter().filter(es_como).count(), si.len(), "{comodines}");
            assert_eq!(no.iter().filter(es_como).count(), 0, "{comodines}");
        }
    }

    fn de(carpeta: &str, nombre: &str) -> Origen {
        Origen::Archivo(Path::new(carpeta).join(nombre))
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
