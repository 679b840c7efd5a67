//! Qué Config.ini vale: el que se pidió, el de la carpeta actual o el que está junto al programa.

use std::env;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{self, PathBuf};

use super::{Configuracion, ErrorDeConfiguracion};

const CONFIG: &str = "Config.ini";

/// Lee la configuración pedida o la que encuentre; si no hay ninguna, escribe una y la lee.
/// Devuelve además lo que hay que avisar de ella.
pub fn configurar(
    elegida: Option<PathBuf>,
) -> Result<(Configuracion, Vec<String>), ErrorDeConfiguracion> {
    let hallada = hallar(elegida);
    // Una tarea programada de Windows, o abrirlo como administrador, ponen de carpeta actual la del
    // sistema; en Unix es la del programa la que no es de quien lo ejecuta.
    let nueva = if cfg!(windows) {
        junto_al_programa().unwrap_or_else(|_| PathBuf::from(CONFIG))
    } else {
        PathBuf::from(CONFIG)
    };
    let ruta = absoluta(hallada.as_ref().unwrap_or(&nueva));
    let donde = ruta.display();
    let mut avisos = Vec::new();
    if hallada.is_none() {
        Configuracion::escribir_por_omision(&ruta)?;
        avisos.push(format!(
            "no había Config.ini: se escribió «{donde}» con los valores por omisión"
        ));
    }
    let configuracion = Configuracion::leer(&ruta)?;
    let leidos = configuracion.avisos.iter();
    avisos.extend(leidos.map(|aviso| format!("en «{donde}» {aviso}")));
    Ok((configuracion, avisos))
}

/// El `HOST:PUERTO` en que este PC puede hablar con el servidor de esa configuración.
pub fn donde_escucha(config: Option<PathBuf>) -> Result<String, ErrorDeConfiguracion> {
    let Some(ruta) = hallar(config) else {
        return Err(ErrorDeConfiguracion::sin_destino(PathBuf::from(CONFIG)));
    };
    let configuracion = Configuracion::leer(&absoluta(&ruta))?;
    let Some(puerto) = configuracion.puerto.filter(|puerto| *puerto != 0) else {
        return Err(ErrorDeConfiguracion::sin_puerto(configuracion.ruta));
    };
    let direccion = match configuracion.direccion {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(direccion, puerto).to_string())
}

/// La configuración pedida o, si no se pidió, la de la carpeta actual o la que está junto al programa.
fn hallar(elegida: Option<PathBuf>) -> Option<PathBuf> {
    let posibles = [Some(PathBuf::from(CONFIG)), junto_al_programa().ok()];
    let existente = || posibles.into_iter().flatten().find(|ruta| ruta.exists());
    elegida.or_else(existente)
}

fn junto_al_programa() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(CONFIG))
}

/// Sin carpeta actual no hay ruta absoluta, y la relativa ya dará su error al leerla.
fn absoluta(ruta: &PathBuf) -> PathBuf {
    path::absolute(ruta).unwrap_or_else(|_| ruta.clone())
}
