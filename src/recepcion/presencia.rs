//! Cuándo se dice que un equipo se conectó y se fue.
//!
//! El que conecta, entrega y se va solo deja la línea de su mensaje; el que se va sin decir nada,
//! ninguna. No sabe qué se dice en la conexión.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use log::Level;

use crate::causa::se_agoto;

/// Quien calla más que esto puede callar horas: conviene que conste que está.
const ENSEGUIDA: Duration = Duration::from_secs(1);

/// Espera a que el equipo diga algo o se vaya, sin leerlo; si calla, no mucho. Devuelve con qué nivel se
/// dice que entró y que se fue.
pub(super) fn esperar(canal: &TcpStream) -> io::Result<Level> {
    canal.set_read_timeout(Some(ENSEGUIDA))?;
    let mirado = canal.peek(&mut [0]);
    canal.set_read_timeout(None)?;
    match mirado {
        Err(error) if se_agoto(&error) => Ok(Level::Info),
        // Lo que haya fallado lo verá quien lea.
        _ => Ok(Level::Debug),
    }
}
