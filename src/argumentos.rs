//! La línea de órdenes: qué se pide al programa.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value};
use servidor_hl7::ordenes::enviar::Envio;

pub(crate) const AYUDA: &str = "\
Recibe por TCP los mensajes HL7 v2 de los analizadores y guarda cada uno en un archivo.

Uso: servidor-hl7 [--config RUTA]
     servidor-hl7 --revisar [--config RUTA]
     servidor-hl7 --enviar [ARCHIVO...] [--a HOST:PUERTO] [--sin-trama] [--repetir N]
                  [--config RUTA]

  --config RUTA    lee esa configuración en lugar de Config.ini
  --revisar        comprueba configuración, carpeta, disco, puerto y si contestan los equipos a
                   los que se llama, dice las direcciones de este PC, y acaba: con 0 si todo está
                   bien y con 1 si no; que un equipo no conteste solo se avisa
  --enviar         envía cada archivo como lo haría un analizador y dice qué se contestó; sin
                   archivos, envía un mensaje de muestra
  --a HOST:PUERTO  adónde se envía; si no se dice, adonde escucha el servidor de Config.ini
  --sin-trama      envía sin trama MLLP
  --repetir N      lo envía todo N veces, de 1 a 1000000
  --help           muestra esta ayuda
  --version        muestra la versión

Sin --config se lee el Config.ini de la carpeta actual o, si no lo hay, el que está junto al
programa; si tampoco lo hay, se escribe uno con los valores por omisión: en Windows, junto al
programa; en otros sistemas, en la carpeta actual. --enviar no escribe ninguno.
Ctrl+C detiene el programa: termina de guardar y acusar lo que esté en curso.";

/// Con más, los tiempos de cada acuse ocuparían demasiada memoria.
const MAX_VECES: usize = 1_000_000;

/// Lo que se pide.
pub(crate) struct Argumentos {
    pub(crate) orden: Orden,
    pub(crate) config: Option<PathBuf>,
}

pub(crate) enum Orden {
    Servir,
    Revisar,
    /// Con el destino, si se dijo.
    Enviar(Envio, Option<String>),
    Mostrar(&'static str),
}

/// No se entiende lo que se pide. Dice en palabras qué sobra o qué falta.
#[derive(Debug)]
pub(crate) struct ErrorDeArgumentos(String);

impl fmt::Display for ErrorDeArgumentos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; use --help para ver los argumentos", self.0)
    }
}

impl std::error::Error for ErrorDeArgumentos {}

/// Lee los argumentos.
pub(crate) fn leer() -> Result<Argumentos, ErrorDeArgumentos> {
    interpretar(lexopt::Parser::from_env()).map_err(|error| {
        let motivo = match error {
            lexopt::Error::MissingValue {
                option: Some(opcion),
            } => format!("a «{opcion}» le falta su valor"),
            lexopt::Error::UnexpectedOption(opcion) => format!("no se entiende «{opcion}»"),
            lexopt::Error::UnexpectedArgument(valor) => {
                format!("no se entiende «{}»", valor.display())
            }
            lexopt::Error::UnexpectedValue { option, value } => {
                format!(
                    "«{option}» no lleva valor, y se le dio «{}»",
                    value.display()
                )
            }
            lexopt::Error::Custom(motivo) => motivo.to_string(),
            otro => otro.to_string(),
        };
        ErrorDeArgumentos(motivo)
    })
}

/// Recoge los argumentos, que valen en cualquier orden, y después mira si se avienen.
fn interpretar(mut argumentos: lexopt::Parser) -> Result<Argumentos, lexopt::Error> {
    let (mut config, mut mostrar, mut destino) = (None, None, None);
    let (mut revisar, mut enviar) = (false, false);
    let mut envio = Envio::de_muestra();
    let mut solo_con_enviar = None;
    while let Some(argumento) = argumentos.next()? {
        match argumento {
            Long("config") => config = Some(PathBuf::from(argumentos.value()?)),
            Long("help") | Short('h') => mostrar = Some(AYUDA),
            Long("version") | Short('V') => {
                mostrar = Some(concat!("servidor-hl7 ", env!("CARGO_PKG_VERSION")));
            }
            Long("revisar") => revisar = true,
            Long("enviar") => enviar = true,
            Long("a") => {
                destino = Some(argumentos.value()?.to_string_lossy().into_owned());
                solo_con_enviar = Some("--a");
            }
            Long("sin-trama") => {
                envio.con_trama = false;
                solo_con_enviar = Some("--sin-trama");
            }
            Long("repetir") => {
                envio.veces = leer_veces(&argumentos.value()?)?;
                solo_con_enviar = Some("--repetir");
            }
            Value(archivo) => envio.archivos.push(PathBuf::from(archivo)),
            otro => return Err(otro.unexpected()),
        }
    }
    let orden = if let Some(texto) = mostrar {
        Orden::Mostrar(texto)
    } else if enviar && revisar {
        return Err("--revisar y --enviar no van juntas; dé primero una y después la otra".into());
    } else if enviar {
        Orden::Enviar(envio, destino)
    } else if let Some(opcion) = solo_con_enviar {
        return Err(format!("«{opcion}» solo vale con --enviar").into());
    } else if let Some(archivo) = envio.archivos.pop() {
        return Err(Value(archivo.into()).unexpected());
    } else if revisar {
        Orden::Revisar
    } else {
        Orden::Servir
    };
    Ok(Argumentos { orden, config })
}

fn leer_veces(valor: &OsStr) -> Result<usize, String> {
    let veces = valor.to_str().and_then(|valor| valor.parse().ok());
    veces
        .filter(|veces| (1..=MAX_VECES).contains(veces))
        .ok_or_else(|| {
            format!(
                "--repetir «{}» no sirve; se esperaba un número de 1 a {MAX_VECES}",
                valor.display()
            )
        })
}
