//! Lo que se pidió mal: los argumentos, Config.ini, o algo que así no se puede hacer.

use std::error::Error;
use std::fmt;

/// Lo que se pide no se puede hacer así, y repetirlo igual no servirá. Dice qué está mal y qué hacer.
#[derive(Debug)]
pub struct ErrorDePedido(pub String);

impl fmt::Display for ErrorDePedido {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ErrorDePedido {}
