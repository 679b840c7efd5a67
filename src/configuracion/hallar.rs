//! Qué Config.ini vale: el que se pidió, el de la carpeta actual o el que está junto al programa. No sabe
//! qué dice.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{self, Path, PathBuf};

use super::sobra::POR_OMISION;
use super::{Configuracion, de_archivo};
use crate::causa;
use crate::pedido::ErrorDePedido;
use crate::texto::ruta_visible;

const CONFIG: &str = "Config.ini";

/// Lee la configuración pedida o la que encuentre; si no hay ninguna, escribe una y la lee.
pub fn configurar(elegida: Option<&Path>) -> Result<Configuracion, Box<dyn Error>> {
    let hallada = hallar(elegida)?;
    // Una tarea programada de Windows, o abrirlo como administrador, ponen de carpeta actual la del
    // sistema; en Unix es la del programa la que no es de quien lo ejecuta.
    let nueva = if cfg!(windows) {
        junto_al_programa().unwrap_or_else(|_| PathBuf::from(CONFIG))
    } else {
        PathBuf::from(CONFIG)
    };
    let ruta = hallada.clone().unwrap_or_else(|| absoluta(&nueva));
    let donde = ruta_visible(&ruta);
    let mut avisos = Vec::new();
    if hallada.is_none() {
        escribir_por_omision(&ruta)?;
        avisos.push(format!(
            "no había Config.ini: se escribió «{donde}» con los valores por omisión"
        ));
    }
    // Con el mismo nombre y .txt detrás, o con otras mayúsculas, quizá los cambios están en él.
    let suyo = CONFIG.to_lowercase();
    let mut otros = con_otro_nombre(&ruta).into_iter();
    if let Some(otro) = otros.find(|otro| otro.to_lowercase().starts_with(&suyo)) {
        let otro = ruta_visible(Path::new(&otro));
        avisos.push(format!(
            "junto a «{donde}» hay «{otro}», que nadie lee; si los cambios están en él, páselos al primero"
        ));
    }
    let mut configuracion = Configuracion::leer(&ruta)?;
    configuracion.avisos.splice(..0, avisos);
    Ok(configuracion)
}

/// Escribe un Config.ini con los valores por omisión, sin reemplazar ninguno.
fn escribir_por_omision(ruta: &Path) -> Result<(), Box<dyn Error>> {
    // El Bloc de notas de un Windows antiguo solo entiende CR LF.
    let fin_de_linea = if cfg!(windows) { "\r\n" } else { "\n" };
    let texto: String = POR_OMISION
        .lines()
        .flat_map(|linea| [linea, fin_de_linea])
        .collect();
    let escrito = fs::File::create_new(ruta).and_then(|mut archivo| {
        archivo.write_all(texto.as_bytes()).inspect_err(|_| {
            // A medias parece uno entero, y la próxima vez se leería.
            let _ = fs::remove_file(ruta);
        })
    });
    escrito.map_err(|error| {
        let (donde, causa) = (ruta_visible(ruta), causa::explicar(&error));
        let dicho = format!("no hay Config.ini y no se pudo escribir «{donde}»: {causa}");
        de_archivo(&error, dicho)
    })
}

/// La configuración que vale, sin escribir ninguna si no la hay.
#[cfg(windows)]
pub(crate) fn configuracion_hallada(
    elegida: Option<&Path>,
) -> Result<Option<Configuracion>, Box<dyn Error>> {
    hallar(elegida)?
        .as_deref()
        .map(Configuracion::leer)
        .transpose()
}

/// Adónde se envía.
#[derive(Debug)]
pub struct Destino {
    /// `HOST:PUERTO`.
    pub direccion: String,
    /// Dónde guarda, si es el servidor de un Config.ini de este PC.
    pub guarda_en: Option<PathBuf>,
}

/// El destino que se dijo o, si no se dijo ninguno, el servidor de esa configuración.
pub fn adonde_se_envia(
    dicho: Option<String>,
    config: Option<&Path>,
) -> Result<Destino, Box<dyn Error>> {
    match dicho {
        None => donde_escucha(config),
        Some(direccion) => Ok(Destino {
            direccion,
            guarda_en: None,
        }),
    }
}

fn donde_escucha(config: Option<&Path>) -> Result<Destino, Box<dyn Error>> {
    let Some(ruta) = hallar(config)? else {
        let dicho = "no hay ningún Config.ini; diga adónde enviar con --a HOST:PUERTO";
        return Err(ErrorDePedido(dicho.to_owned()).into());
    };
    let configuracion = Configuracion::leer(&ruta)?;
    let Some(puerto) = configuracion.puerto.filter(|puerto| *puerto != 0) else {
        let donde = ruta_visible(&ruta);
        return Err(ErrorDePedido(format!(
            "en «{donde}» el Puerto falta o es 0; diga adónde enviar con --a HOST:PUERTO"
        ))
        .into());
    };
    Ok(Destino {
        direccion: SocketAddr::new(configuracion.direccion_local(), puerto).to_string(),
        guarda_en: Some(configuracion.directorio),
    })
}

/// La configuración pedida o, si no se pidió, la de la carpeta actual o la que está junto al programa.
/// `None`: no hay ninguna, ni otra que se le parezca.
fn hallar(elegida: Option<&Path>) -> Result<Option<PathBuf>, ErrorDePedido> {
    let posibles = match elegida {
        Some(elegida) => vec![absoluta(elegida)],
        None => [Some(PathBuf::from(CONFIG)), junto_al_programa().ok()]
            .into_iter()
            .flatten()
            .map(|ruta| absoluta(&ruta))
            .collect(),
    };
    if let Some(hallada) = posibles.iter().find(|ruta| ruta.exists()) {
        return Ok(Some(hallada.clone()));
    }
    for ruta in &posibles {
        if let Some(otro) = con_otro_nombre(ruta).into_iter().next() {
            let (donde, otro) = (ruta_visible(ruta), ruta_visible(Path::new(&otro)));
            return Err(ErrorDePedido(format!(
                "no está «{donde}», pero sí «{otro}»: si es ese, póngale el otro nombre (el Explorador oculta el .txt); si no, llévelo a otra carpeta"
            )));
        }
    }
    // Que la pedida no existe lo dirá quien la lea.
    Ok(elegida.map(absoluta))
}

/// Los archivos de esa carpeta que quizá son ese: el Bloc de notas añade un .txt que el Explorador no
/// enseña, y en Unix las mayúsculas cuentan.
fn con_otro_nombre(ruta: &Path) -> Vec<String> {
    let (Some(carpeta), Some(buscado)) = (ruta.parent(), ruta.file_name()) else {
        return Vec::new();
    };
    let buscado = buscado.to_string_lossy();
    let en_minusculas = buscado.to_lowercase();
    let (sin_extension, _) = en_minusculas
        .rsplit_once('.')
        .unwrap_or((&en_minusculas, ""));
    let se_parece = |nombre: &String| {
        let minusculas = nombre.to_lowercase();
        let sin_txt = minusculas.strip_suffix(".txt").unwrap_or(&minusculas);
        // En Windows, con otras mayúsculas es el mismo archivo.
        let es_el_mismo = *nombre == buscado || (cfg!(windows) && minusculas == en_minusculas);
        !es_el_mismo && (sin_txt == en_minusculas || sin_txt == sin_extension)
    };
    let entradas = fs::read_dir(carpeta).into_iter().flatten().flatten();
    let archivos = entradas.filter(|entrada| entrada.path().is_file());
    let nombres = archivos.filter_map(|entrada| entrada.file_name().into_string().ok());
    let mut parecidos: Vec<_> = nombres.filter(se_parece).collect();
    parecidos.sort_unstable();
    parecidos
}

pub(crate) fn junto_al_programa() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(CONFIG))
}

/// Sin carpeta actual no hay ruta absoluta, y la relativa ya dará su error al leerla.
fn absoluta(ruta: &Path) -> PathBuf {
    path::absolute(ruta).unwrap_or_else(|_| ruta.to_path_buf())
}
