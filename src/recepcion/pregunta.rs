//! La pregunta que `--revisar` hace a quien tiene el puerto: si es este programa, qué versión, desde
//! cuándo y con qué Config.ini.
//!
//! No es HL7, ni la contestación tampoco: nadie puede tomarla por un acuse, y otro receptor la toma por
//! ruido. Solo se contesta a quien pregunta desde este mismo PC.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::texto::ruta_visible;

const PREGUNTA: &[u8] = b"servidor-hl7: quien atiende\r\n";
/// Lo que la contestación dice primero.
const NOMBRE: &str = "servidor-hl7 ";
/// De un intermediario se espera antes que diga por quién habla: por nadie.
const POR_NADIE: &[u8] = b"PROXY UNKNOWN\r\n";
/// Cuánto se espera a que contesten.
const PLAZO: Duration = Duration::from_secs(3);
/// Con la ruta más larga.
const CONTESTACION_BYTES: u64 = 64 * 1024;
/// Lo que va delante de cuándo comenzó, y cómo se escribe.
const EN_MARCHA: &str = ", en marcha desde el ";
const DESDE: &str = "%d/%m/%Y a las %H:%M:%S";
/// Lo que va detrás.
const PROCESO: &str = ", proceso ";
/// Lo que va delante de la ruta de Config.ini, que es lo último.
const CON: &str = ", con «";

/// Si quien está en esa dirección es este mismo PC.
pub(super) fn es_de_este_pc(ip: IpAddr, canal: &TcpStream) -> bool {
    ip.is_loopback()
        || canal
            .local_addr()
            .is_ok_and(|local| local.ip().to_canonical() == ip)
}

/// Contesta, si lo primero que dice es la pregunta. Devuelve si lo era. Si dice otra cosa, no la lee.
pub(super) fn contestar(
    mut canal: &TcpStream,
    desde: NaiveDateTime,
    config: &Path,
) -> io::Result<bool> {
    let mut dicho = [0; PREGUNTA.len()];
    if canal.peek(&mut dicho)? < PREGUNTA.len() || dicho != PREGUNTA {
        return Ok(false);
    }
    // Lo que se cierra con algo sin leer se corta, y la contestación no llegaría.
    canal.read_exact(&mut dicho)?;
    let contestacion = format!(
        "{NOMBRE}{}{EN_MARCHA}{}{PROCESO}{}{CON}{}»\r\n",
        env!("CARGO_PKG_VERSION"),
        desde.format(DESDE),
        process::id(),
        sin_rodeos(config)
    );
    canal.write_all(contestacion.as_bytes())?;
    Ok(true)
}

/// La ruta de un Config.ini, la misma se llegue a él por donde se llegue.
fn sin_rodeos(config: &Path) -> String {
    let real = fs::canonicalize(config);
    let visible = ruta_visible(real.as_deref().unwrap_or(config)).to_string();
    match visible.strip_prefix("\\\\?\\") {
        Some(de_windows) => de_windows.to_owned(),
        None => visible,
    }
}

/// Si quien contestó eso lee otro Config.ini.
pub(crate) fn usa_otro(contestacion: &str, config: &Path) -> bool {
    let suyo = contestacion
        .split_once(CON)
        .and_then(|(_, suyo)| suyo.strip_suffix('»'));
    suyo.is_some_and(|suyo| suyo != sin_rodeos(config))
}

/// Si quien contestó eso es ese proceso.
pub(crate) fn es_el_proceso(contestacion: &str, proceso: u32) -> bool {
    contestacion.contains(&format!("{PROCESO}{proceso}{CON}"))
}

/// Desde cuándo está en marcha quien contestó eso, sin lo que pase del segundo.
pub(crate) fn en_marcha_desde(contestacion: &str) -> Option<NaiveDateTime> {
    let (_, desde) = contestacion.split_once(EN_MARCHA)?;
    let (desde, _) = desde.split_once(PROCESO)?;
    NaiveDateTime::parse_from_str(desde, DESDE).ok()
}

/// Pregunta a quien atiende en esa dirección. `None` si no es este programa, o no deja que se le pregunte.
pub(crate) fn preguntar(direccion: SocketAddr, como_intermediario: bool) -> Option<String> {
    let preguntado = || -> io::Result<String> {
        let mut canal = TcpStream::connect_timeout(&direccion, PLAZO)?;
        canal.set_read_timeout(Some(PLAZO))?;
        let antes = if como_intermediario { POR_NADIE } else { b"" };
        canal.write_all(&[antes, PREGUNTA].concat())?;
        let mut dicho = String::new();
        canal.take(CONTESTACION_BYTES).read_to_string(&mut dicho)?;
        Ok(dicho)
    };
    let dicho = preguntado().ok()?;
    let contestacion = dicho.strip_suffix("\r\n")?;
    let es_suya = contestacion.starts_with(NOMBRE) && !contestacion.contains(char::is_control);
    es_suya.then(|| contestacion.to_owned())
}
