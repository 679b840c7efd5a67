//! Cómo se lee de una conexión con un plazo sin perder nada. No sabe quién lee ni qué.

use std::io::{self, Read};
use std::net::TcpStream;
use std::time::Duration;

/// Lee lo que haya o lo que llegue en ese plazo, que ya está puesto en el canal.
///
/// En Windows, una lectura que vence puede llevarse los bytes que llegan en ese instante
/// (setsockopt, SO_RCVTIMEO): si hay plazo, antes se espera mirando, que no consume nada.
pub(crate) fn leer(
    mut canal: &TcpStream,
    hueco: &mut [u8],
    plazo: Option<Duration>,
) -> io::Result<usize> {
    if cfg!(windows) && plazo.is_some() {
        canal.peek(&mut [0])?;
    }
    canal.read(hueco)
}
