//! La pregunta que `--revisar` hace a quien tiene el puerto: si es este programa, qué versión y desde
//! cuándo.
//!
//! No es HL7, ni la contestación tampoco: nadie puede tomarla por un acuse, y otro receptor la toma por
//! ruido. Solo se contesta a quien pregunta desde este mismo PC.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process;
use std::time::Duration;

use chrono::NaiveDateTime;

const PREGUNTA: &[u8] = b"servidor-hl7: quien atiende\r\n";
/// Lo que la contestación dice primero.
const NOMBRE: &str = "servidor-hl7 ";
/// De un intermediario se espera antes que diga por quién habla: por nadie.
const POR_NADIE: &[u8] = b"PROXY UNKNOWN\r\n";
/// Cuánto se espera a que contesten.
const PLAZO: Duration = Duration::from_secs(3);
const CONTESTACION_BYTES: u64 = 256;

/// Si quien está en esa dirección es este mismo PC.
pub(super) fn es_de_este_pc(ip: IpAddr, canal: &TcpStream) -> bool {
    ip.is_loopback()
        || canal
            .local_addr()
            .is_ok_and(|local| local.ip().to_canonical() == ip)
}

/// Contesta, si lo primero que dice es la pregunta. Devuelve si lo era. Si dice otra cosa, no la lee.
pub(super) fn contestar(mut canal: &TcpStream, desde: NaiveDateTime) -> io::Result<bool> {
    let mut dicho = [0; PREGUNTA.len()];
    if canal.peek(&mut dicho)? < PREGUNTA.len() || dicho != PREGUNTA {
        return Ok(false);
    }
    // Lo que se cierra con algo sin leer se corta, y la contestación no llegaría.
    canal.read_exact(&mut dicho)?;
    let contestacion = format!(
        "{NOMBRE}{}, en marcha desde el {}, proceso {}\r\n",
        env!("CARGO_PKG_VERSION"),
        desde.format("%d/%m/%Y a las %H:%M:%S"),
        process::id()
    );
    canal.write_all(contestacion.as_bytes())?;
    Ok(true)
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
