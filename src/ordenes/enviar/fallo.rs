//! Un envío que no pudo hacerse, en palabras. La frase la escribe quien ve el fallo, que es quien sabe
//! qué hacer.

use std::fmt;
use std::io;
use std::path::Path;

use crate::causa;
use crate::texto::ruta_visible;

/// El envío no pudo hacerse. Dice qué, dónde, por qué y qué hacer.
#[derive(Debug)]
pub struct ErrorDeEnvio {
    dicho: String,
    es_mal_pedido: bool,
}

impl ErrorDeEnvio {
    /// Lo que está mal es lo que se pidió.
    pub(super) fn mal_pedido(dicho: impl Into<String>) -> ErrorDeEnvio {
        ErrorDeEnvio {
            dicho: dicho.into(),
            es_mal_pedido: true,
        }
    }

    /// Algo no contestó como debía: más tarde puede que sí.
    pub(super) fn pasajero(dicho: impl Into<String>) -> ErrorDeEnvio {
        ErrorDeEnvio {
            dicho: dicho.into(),
            es_mal_pedido: false,
        }
    }

    /// El archivo o la carpeta no se pudo leer.
    pub(super) fn ilegible(ruta: &Path, causa: &io::Error) -> ErrorDeEnvio {
        let (ruta, causa) = (ruta_visible(ruta), causa::explicar(causa));
        ErrorDeEnvio::mal_pedido(format!("no se pudo leer «{ruta}»: {causa}"))
    }

    /// Si lo que está mal es lo que se pidió: repetirlo igual no servirá.
    #[must_use]
    pub fn es_mal_pedido(&self) -> bool {
        self.es_mal_pedido
    }
}

impl fmt::Display for ErrorDeEnvio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dicho)
    }
}

impl std::error::Error for ErrorDeEnvio {}
