//! Por qué un envío no pudo hacerse, en palabras.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::canal::{es_cierre, se_agoto};
use super::contenido::{Defecto, MAX_ENTRADA_MIB, MAX_SEPARADO_MIB};
use crate::causa;
use crate::texto::ruta_visible;

/// El envío no pudo hacerse. Dice qué, dónde, por qué y qué hacer.
#[derive(Debug)]
pub enum ErrorDeEnvio {
    /// Un archivo o una carpeta no se pudo leer.
    Ilegible {
        /// Cuál.
        ruta: PathBuf,
        /// Por qué.
        causa: io::Error,
    },
    /// La entrada estándar no se pudo leer.
    EntradaIlegible(io::Error),
    /// La entrada estándar es demasiado larga.
    EntradaExcesiva,
    /// En una carpeta no hay ningún mensaje.
    CarpetaSinMensajes {
        /// Cuál.
        ruta: PathBuf,
    },
    /// Ningún archivo es como dicen los comodines.
    SinCoincidencias {
        /// Lo escrito.
        ruta: PathBuf,
    },
    /// No hay nada que enviar desde donde se dijo.
    NadaDesde {
        /// Desde dónde.
        desde: PathBuf,
    },
    /// No hay ningún mensaje en lo que se quiere enviar.
    SinMensaje {
        /// Cómo se llama.
        nombre: String,
    },
    /// Lo que se quiere enviar acaba a mitad de una trama.
    Cortado {
        /// Cómo se llama.
        nombre: String,
    },
    /// Uno de los mensajes que hay que separar de los demás es demasiado largo.
    Excesivo {
        /// Cómo se llama.
        nombre: String,
    },
    /// El destino no es una dirección, o nadie conoce su nombre.
    SinDireccion {
        /// Lo que debía ser `HOST:PUERTO`.
        destino: String,
        /// Por qué.
        causa: io::Error,
    },
    /// No hay quien escuche en el destino.
    SinConexion {
        /// `HOST:PUERTO`.
        destino: String,
        /// Por qué.
        causa: io::Error,
    },
    /// El mensaje se envió y no hubo acuse.
    SinRespuesta {
        /// `HOST:PUERTO`.
        destino: String,
        /// Lo que se envió.
        nombre: String,
        /// Por qué.
        causa: io::Error,
    },
}

impl ErrorDeEnvio {
    /// El de lo que se llama así; con su ruta, si es un archivo.
    pub(super) fn del(defecto: Defecto, nombre: String, ruta: Option<PathBuf>) -> ErrorDeEnvio {
        match (defecto, ruta) {
            (Defecto::Ilegible(causa), Some(ruta)) => ErrorDeEnvio::Ilegible { ruta, causa },
            (Defecto::Ilegible(causa), None) => ErrorDeEnvio::EntradaIlegible(causa),
            (Defecto::SinMensaje, _) => ErrorDeEnvio::SinMensaje { nombre },
            (Defecto::Cortado, _) => ErrorDeEnvio::Cortado { nombre },
            (Defecto::Excesivo, _) => ErrorDeEnvio::Excesivo { nombre },
        }
    }

    /// Si lo que está mal es lo que se pidió: repetirlo igual no servirá.
    #[must_use]
    pub fn es_mal_pedido(&self) -> bool {
        match self {
            ErrorDeEnvio::Ilegible { .. }
            | ErrorDeEnvio::EntradaExcesiva
            | ErrorDeEnvio::CarpetaSinMensajes { .. }
            | ErrorDeEnvio::SinCoincidencias { .. }
            | ErrorDeEnvio::NadaDesde { .. }
            | ErrorDeEnvio::SinMensaje { .. }
            | ErrorDeEnvio::Cortado { .. }
            | ErrorDeEnvio::Excesivo { .. } => true,
            ErrorDeEnvio::SinDireccion { causa, .. } => causa.kind() == ErrorKind::InvalidInput,
            ErrorDeEnvio::EntradaIlegible(_)
            | ErrorDeEnvio::SinConexion { .. }
            | ErrorDeEnvio::SinRespuesta { .. } => false,
        }
    }
}

impl fmt::Display for ErrorDeEnvio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorDeEnvio::Ilegible { ruta, causa } => {
                let (ruta, causa) = (ruta_visible(ruta), causa::explicar(causa));
                write!(f, "no se pudo leer «{ruta}»: {causa}")
            }
            ErrorDeEnvio::EntradaIlegible(causa) => {
                let causa = causa::explicar(causa);
                write!(f, "no se pudo leer la entrada estándar: {causa}")
            }
            ErrorDeEnvio::EntradaExcesiva => write!(
                f,
                "la entrada estándar pasa de {MAX_ENTRADA_MIB} MiB; guárdela en un archivo y envíelo"
            ),
            ErrorDeEnvio::CarpetaSinMensajes { ruta } => write!(
                f,
                "en «{}» no hay ningún archivo .res que enviar; para enviar otros, escriba sus nombres, o un comodín como *.hl7",
                ruta_visible(ruta)
            ),
            ErrorDeEnvio::SinCoincidencias { ruta } => write!(
                f,
                "ningún archivo es como «{}»; los comodines * y ? valen en el nombre del archivo, no en el de su carpeta",
                ruta_visible(ruta)
            ),
            ErrorDeEnvio::NadaDesde { desde } => write!(
                f,
                "no hay nada que enviar desde «{}»: todo lo que hay va antes por orden de nombre",
                ruta_visible(desde)
            ),
            ErrorDeEnvio::SinMensaje { nombre } => write!(
                f,
                "«{nombre}» está vacío o no tiene ningún mensaje HL7; elija otro archivo"
            ),
            ErrorDeEnvio::Cortado { nombre } => write!(
                f,
                "«{nombre}» acaba a mitad de un mensaje, o uno empieza dentro de otro: le falta un fin de trama (FS CR); complételo"
            ),
            ErrorDeEnvio::Excesivo { nombre } => write!(
                f,
                "«{nombre}» tiene un mensaje de más de {MAX_SEPARADO_MIB} MiB entre otros o con su trama; déjelo en un archivo para él solo y sin trama"
            ),
            ErrorDeEnvio::SinDireccion { destino, causa } => {
                escribir_sin_direccion(f, destino, causa)
            }
            ErrorDeEnvio::SinConexion { destino, causa } => {
                let causa = por_que_no_conecta(causa);
                write!(f, "no se pudo conectar con «{destino}»: {causa}")
            }
            ErrorDeEnvio::SinRespuesta {
                destino,
                nombre,
                causa,
            } => {
                let causa = por_que_no_acusa(causa);
                write!(
                    f,
                    "«{destino}» no acusó «{nombre}»: {causa}; mire la consola del servidor"
                )
            }
        }
    }
}

fn por_que_no_conecta(causa: &io::Error) -> String {
    match causa.kind() {
        ErrorKind::ConnectionRefused => {
            "rechaza la conexión; compruebe que el servidor está en marcha y que su puerto es ese"
                .to_owned()
        }
        _ => causa::explicar(causa),
    }
}

fn por_que_no_acusa(causa: &io::Error) -> String {
    match causa.kind() {
        ErrorKind::InvalidData => "cerró la conexión a mitad de su acuse".to_owned(),
        _ if es_cierre(causa) => "cerró la conexión".to_owned(),
        _ if se_agoto(causa) => "no contestó en un minuto".to_owned(),
        _ => causa::explicar(causa),
    }
}

fn escribir_sin_direccion(
    f: &mut fmt::Formatter<'_>,
    destino: &str,
    causa: &io::Error,
) -> fmt::Result {
    if causa.kind() == ErrorKind::InvalidInput {
        write!(
            f,
            "«{destino}» no es un destino; escriba HOST:PUERTO, p. ej. 127.0.0.1:2575"
        )
    } else {
        write!(
            f,
            "no se pudo conectar con «{destino}»: no se conoce ese nombre; escriba la dirección IP del servidor"
        )
    }
}

impl std::error::Error for ErrorDeEnvio {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ErrorDeEnvio::Ilegible { causa, .. }
            | ErrorDeEnvio::EntradaIlegible(causa)
            | ErrorDeEnvio::SinDireccion { causa, .. }
            | ErrorDeEnvio::SinConexion { causa, .. }
            | ErrorDeEnvio::SinRespuesta { causa, .. } => Some(causa),
            ErrorDeEnvio::EntradaExcesiva
            | ErrorDeEnvio::CarpetaSinMensajes { .. }
            | ErrorDeEnvio::SinCoincidencias { .. }
            | ErrorDeEnvio::NadaDesde { .. }
            | ErrorDeEnvio::SinMensaje { .. }
            | ErrorDeEnvio::Cortado { .. }
            | ErrorDeEnvio::Excesivo { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn un_minuto_sin_acuse_manda_a_la_consola_del_servidor() {
        for agotado in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            let error = ErrorDeEnvio::SinRespuesta {
                destino: "127.0.0.1:2575".to_owned(),
                nombre: "a.hl7".to_owned(),
                causa: agotado.into(),
            };
            assert_eq!(
                error.to_string(),
                "«127.0.0.1:2575» no acusó «a.hl7»: no contestó en un minuto; mire la consola del servidor"
            );
        }
    }
}
