//! Qué hace quien conectó: cuándo se dice que vino y se fue, y si necesita una plaza.
//!
//! El que conecta, entrega y se va solo deja la línea de su mensaje; el que se va sin decir nada,
//! ninguna. No sabe qué se dice en la conexión.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use log::Level;

use crate::causa::se_agoto;

/// Quien calla más que esto al conectar puede callar horas: conviene que conste que está.
pub(super) const ENSEGUIDA: Duration = Duration::from_secs(1);

/// Qué hace quien conectó, al poco de conectar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presencia {
    /// Ha dicho algo.
    Habla,
    /// Está, y no dice nada.
    Calla,
    /// Se fue sin decir nada.
    SeFue,
}

impl Presencia {
    /// Con qué nivel se dice que entró y que se fue.
    pub(super) fn nivel(self) -> Level {
        match self {
            Presencia::Calla => Level::Info,
            Presencia::Habla | Presencia::SeFue => Level::Debug,
        }
    }
}

/// Espera a que diga algo o se vaya, sin leerlo; si calla, no más de `plazo`. Deja el canal sin plazo de
/// lectura.
pub(super) fn esperar(canal: &TcpStream, plazo: Duration) -> Presencia {
    let mirar = || {
        canal.set_read_timeout(Some(plazo))?;
        let mirado = canal.peek(&mut [0]);
        canal.set_read_timeout(None)?;
        mirado
    };
    juzgar(mirar())
}

/// Si se fue sin que quede nada suyo por leer. No espera.
pub(super) fn se_fue(canal: &TcpStream) -> bool {
    let mirar = || {
        canal.set_nonblocking(true)?;
        let mirado = canal.peek(&mut [0]);
        canal.set_nonblocking(false)?;
        mirado
    };
    juzgar(mirar()) == Presencia::SeFue
}

fn juzgar(mirado: io::Result<usize>) -> Presencia {
    match mirado {
        Ok(1..) => Presencia::Habla,
        Err(error) if se_agoto(&error) || error.kind() == ErrorKind::Interrupted => {
            Presencia::Calla
        }
        Ok(0) | Err(_) => Presencia::SeFue,
    }
}
