//! La línea de órdenes: qué se pide al programa.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, Value};
use servidor_hl7::envio::Envio;

pub(crate) const AYUDA: &str = "\
Recibe por TCP los mensajes HL7 v2 de los analizadores y guarda cada uno en un archivo.

Uso: servidor-hl7 [--config RUTA]
     servidor-hl7 --revisar [--config RUTA]
     servidor-hl7 --enviar [ARCHIVO...] [--a HOST:PUERTO] [--sin-trama] [--repetir N]

  --config RUTA    lee esa configuración en lugar de Config.ini
  --revisar        comprueba configuración, carpeta, disco, puerto y si contestan los equipos a
                   los que se llama, dice las direcciones de este PC, y acaba: con 0 si todo está
                   bien y con 1 si no; que un equipo no conteste solo se avisa
  --enviar         envía cada archivo como lo haría un analizador y dice qué se contestó; sin
                   archivos, envía un mensaje de muestra
  --a HOST:PUERTO  adónde se envía; si no se dice, a este PC, al puerto de Config.ini
  --sin-trama      envía sin trama MLLP
  --repetir N      lo envía todo N veces
  --help           muestra esta ayuda
  --version        muestra la versión

Sin --config se lee el Config.ini de la carpeta actual o, si no lo hay, el que está junto al
programa; si tampoco lo hay, se escribe uno con los valores por omisión: en Windows, junto al
programa; en otros sistemas, en la carpeta actual.
Ctrl+C detiene el programa: termina de guardar y acusar lo que esté en curso.";

/// Lo que se pide.
pub(crate) struct Argumentos {
    pub(crate) orden: Orden,
    pub(crate) config: Option<PathBuf>,
}

pub(crate) enum Orden {
    Servir,
    Revisar,
    /// Con el destino vacío si no se dijo.
    Enviar(Envio),
    Mostrar(&'static str),
}

/// Lee los argumentos. El error dice en palabras qué sobra o qué falta.
pub(crate) fn leer() -> Result<Argumentos, String> {
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
        format!("{motivo}; use --help para ver los argumentos")
    })
}

fn interpretar(mut argumentos: lexopt::Parser) -> Result<Argumentos, lexopt::Error> {
    let mut config = None;
    let mut orden = Orden::Servir;
    while let Some(argumento) = argumentos.next()? {
        match (argumento, &mut orden) {
            (Long("config"), _) => config = Some(PathBuf::from(argumentos.value()?)),
            (Long("help") | Short('h'), _) => orden = Orden::Mostrar(AYUDA),
            (Long("version") | Short('V'), _) => {
                orden = Orden::Mostrar(concat!("servidor-hl7 ", env!("CARGO_PKG_VERSION")));
            }
            (Long("revisar"), _) => orden = Orden::Revisar,
            (Long("enviar"), _) => orden = Orden::Enviar(Envio::de_muestra()),
            (Value(archivo), Orden::Enviar(envio)) => envio.archivos.push(PathBuf::from(archivo)),
            (Long("a"), Orden::Enviar(envio)) => {
                envio.destino = argumentos.value()?.to_string_lossy().into_owned();
            }
            (Long("sin-trama"), Orden::Enviar(envio)) => envio.con_trama = false,
            (Long("repetir"), Orden::Enviar(envio)) => {
                let valor = argumentos.value()?;
                let veces = valor.to_str().and_then(|valor| valor.parse().ok());
                envio.veces = veces.ok_or_else(|| {
                    format!(
                        "--repetir «{}» no sirve; se esperaba un número",
                        valor.display()
                    )
                })?;
            }
            (otro, _) => return Err(otro.unexpected()),
        }
    }
    Ok(Argumentos { orden, config })
}
