//! La línea de órdenes: qué se pide al programa. No sabe cómo se hace nada de ello.

use std::borrow::Cow;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use lexopt::prelude::{Long, Short, Value};
use servidor_hl7::configuracion::{claves_conocidas, parecido};
use servidor_hl7::ordenes::enviar::{Envio, separar_destino};
use servidor_hl7::pedido::ErrorDePedido;

pub(crate) const AYUDA: &str = "\
Recibe por TCP los mensajes HL7 v2 de los analizadores y guarda cada uno en un archivo.

Uso: servidor-hl7 [--config RUTA]
     servidor-hl7 --revisar [--config RUTA]
     servidor-hl7 --instalar | --desinstalar [--config RUTA]
     servidor-hl7 --enviar [ARCHIVO|CARPETA|COMODÍN|-]... [--a HOST:PUERTO] [--desde NOMBRE]
                  [--sin-trama] [--repetir N] [--detalle] [--config RUTA]

  --config RUTA    lee esa configuración en lugar de Config.ini
  --revisar        comprueba configuración, carpeta, disco, puerto y si contestan los equipos a
                   los que se llama, dice las direcciones de este PC, y acaba: con 0 si todo está
                   bien y con 1 si no; que un equipo no conteste solo se avisa
  --instalar       en Windows, como administrador: lo deja como servicio, que arranca con el PC, y
                   dice cada cosa que hace y cómo deshacerla; --desinstalar lo deshace
  --enviar         envía cada archivo como lo haría un analizador y dice qué se contestó. De una
                   carpeta, sus .res y los de las carpetas de sus equipos por orden de llegada; con
                   «-», la entrada estándar; sin nada, un mensaje de muestra. Se detiene en el
                   primero que no se acepte, dice con qué orden se sigue y acaba con 1
  --a HOST:PUERTO  adónde se envía; si no se dice, adonde escucha el servidor de Config.ini
  --desde NOMBRE   empieza en ese archivo: se salta los que van antes
  --sin-trama      envía sin trama MLLP
  --repetir N      lo envía todo N veces, de 1 a 1000000
  --detalle        enseña cada acuse tal como llegó, un segmento en cada línea
  --help           muestra esta ayuda
  --version        muestra la versión
  --licencias      muestra las licencias de lo que va dentro del programa

Sin --config se lee el Config.ini de la carpeta actual o, si no lo hay, el que está junto al
programa; si tampoco lo hay, se escribe uno con los valores por omisión: en Windows, junto al
programa; en otros sistemas, en la carpeta actual. --enviar no escribe ninguno.
Ctrl+C detiene el programa: termina de guardar y acusar lo que esté en curso.";

/// Otras maneras de pedir la ayuda, que en Windows son de costumbre.
const AYUDAS: [&str; 9] = [
    "/?", "-?", "/h", "/help", "/ayuda", "--ayuda", "-ayuda", "help", "ayuda",
];

/// Lo que piden los crates que van dentro del programa; lo escribe la prueba `licencias`.
const LICENCIAS: &str = include_str!("recursos/licencias.txt");

/// Con más no se mide nada que no se vea antes.
const MAX_VECES: usize = 1_000_000;

/// Lo que se pide.
pub(crate) struct Argumentos {
    pub(crate) orden: Orden,
    pub(crate) config: Option<PathBuf>,
    /// Lo que se envía, si se pide…
    pub(crate) envio: Envio,
    /// …y adónde, si se dijo.
    pub(crate) destino: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orden {
    Servir,
    /// Lo mismo, para el gestor de servicios de Windows.
    Servicio,
    Instalar,
    Desinstalar,
    Revisar,
    Enviar,
    Mostrar(&'static str),
}

/// Lee los argumentos. Si no se entienden, dice en palabras qué sobra o qué falta.
pub(crate) fn leer() -> Result<Argumentos, ErrorDePedido> {
    let escritos: Vec<_> = env::args_os().skip(1).collect();
    entender(&escritos)
}

fn entender(escritos: &[OsString]) -> Result<Argumentos, ErrorDePedido> {
    let primero = escritos
        .first()
        .map(|primero| primero.to_string_lossy().to_lowercase());
    if primero.is_some_and(|primero| AYUDAS.contains(&primero.as_str())) {
        return entender(&["--help".into()]);
    }
    interpretar(lexopt::Parser::from_args(escritos.iter().cloned())).map_err(|error| {
        let motivo = match error {
            lexopt::Error::MissingValue {
                option: Some(opcion),
            } => format!("a «{opcion}» le falta su valor"),
            lexopt::Error::UnexpectedOption(opcion) => {
                // De «-config» solo dice «-c».
                let mut enteros = escritos.iter().map(|escrito| escrito.to_string_lossy());
                let entero = enteros.find(|entero| entero.starts_with(&opcion));
                no_se_entiende(&entero.unwrap_or(opcion.into()))
            }
            lexopt::Error::UnexpectedArgument(valor) => no_se_entiende(&valor.to_string_lossy()),
            lexopt::Error::UnexpectedValue { option, value } => {
                format!(
                    "«{option}» no lleva valor, y se le dio «{}»",
                    value.display()
                )
            }
            lexopt::Error::Custom(motivo) => motivo.to_string(),
            otro => otro.to_string(),
        };
        ErrorDePedido(format!("{motivo}; use --help para ver los argumentos"))
    })
}

/// Lo que no se entiende, y lo que quizá se quiso pedir.
fn no_se_entiende(escrito: &str) -> String {
    // Un guion largo lo ponen los procesadores de texto; la barra, la costumbre de Windows.
    let sin_guiones = escrito.trim_start_matches(['-', '–', '—', '/']);
    let nombre = sin_guiones.split(['=', ':']).next().unwrap_or_default();
    let mut claves = claves_conocidas().map(|(_, clave)| clave);
    let quiza = if Path::new(escrito).is_file() && escrito.to_lowercase().ends_with(".ini") {
        format!("; para usar esa configuración, escriba --config \"{escrito}\"")
    } else if Path::new(escrito).is_file() {
        // Las comillas se las lleva la consola, y el guion quedaría otra vez delante.
        let delante = if escrito.starts_with('-') { "./" } else { "" };
        format!("; para enviarlo, escriba --enviar \"{delante}{escrito}\"")
    } else if let Some(opcion) = parecido(nombre, opciones()) {
        format!("; ¿quiso decir --{opcion}?")
    } else if let Some(clave) = claves.find(|clave| clave.eq_ignore_ascii_case(nombre)) {
        format!("; {clave} se escribe en Config.ini, {clave} = valor")
    } else if es_un_destino(Path::new(escrito)) {
        format!("; para enviar ahí un mensaje, escriba --enviar --a {escrito}")
    } else {
        String::new()
    };
    format!("no se entiende «{escrito}»{quiza}")
}

/// Las opciones que están en la ayuda, sin sus guiones.
fn opciones() -> impl Iterator<Item = &'static str> {
    let palabras = AYUDA.split([' ', '\n', '[', ']', ',', ';']);
    palabras.filter_map(|palabra| palabra.strip_prefix("--"))
}

/// Lo escrito, antes de mirar si se aviene.
struct Escrito {
    config: Option<PathBuf>,
    mostrar: Option<&'static str>,
    destino: Option<OsString>,
    /// Las órdenes que se dan, cada una con su opción; solo puede darse una.
    pedidas: Vec<(&'static str, Orden)>,
    envio: Envio,
    /// La última opción que solo vale con --enviar.
    de_enviar: Option<&'static str>,
}

impl Escrito {
    /// Recoge los argumentos, que valen en cualquier orden.
    fn recoger(mut argumentos: lexopt::Parser) -> Result<Escrito, lexopt::Error> {
        let mut escrito = Escrito {
            config: None,
            mostrar: None,
            destino: None,
            pedidas: Vec::new(),
            envio: Envio::de_muestra(),
            de_enviar: None,
        };
        while let Some(argumento) = argumentos.next()? {
            match argumento {
                Long("config") => escrito.config = Some(argumentos.value()?.into()),
                Long("help") | Short('h') => escrito.mostrar = Some(AYUDA),
                Long("version") | Short('V' | 'v') => {
                    escrito.mostrar = Some(concat!("servidor-hl7 ", env!("CARGO_PKG_VERSION")));
                }
                Long("licencias") => escrito.mostrar = Some(LICENCIAS),
                Long("revisar") => escrito.pedidas.push(("--revisar", Orden::Revisar)),
                Long("enviar") => escrito.pedidas.push(("--enviar", Orden::Enviar)),
                Long("servicio") => escrito.pedidas.push(("--servicio", Orden::Servicio)),
                Long("instalar") => escrito.pedidas.push(("--instalar", Orden::Instalar)),
                Long("desinstalar") => {
                    escrito.pedidas.push(("--desinstalar", Orden::Desinstalar));
                }
                Long("a") => {
                    escrito.destino = Some(argumentos.value()?);
                    escrito.de_enviar = Some("--a");
                }
                Long("sin-trama") => {
                    escrito.envio.con_trama = false;
                    escrito.de_enviar = Some("--sin-trama");
                }
                Long("repetir") => {
                    escrito.envio.veces = leer_veces(&argumentos.value()?)?;
                    escrito.de_enviar = Some("--repetir");
                }
                Long("desde") => {
                    escrito.envio.desde = Some(argumentos.value()?.into());
                    escrito.de_enviar = Some("--desde");
                }
                Long("detalle") => {
                    escrito.envio.detalle = true;
                    escrito.de_enviar = Some("--detalle");
                }
                Value(archivo) => escrito.envio.archivos.push(archivo.into()),
                otro => return Err(otro.unexpected()),
            }
        }
        escrito.pedidas.dedup_by_key(|(opcion, _)| *opcion);
        Ok(escrito)
    }

    /// La orden que se da, si lo demás se aviene con ella.
    fn orden(&self) -> Result<Orden, lexopt::Error> {
        if let Some(texto) = self.mostrar {
            return Ok(Orden::Mostrar(texto));
        }
        let orden = match self.pedidas[..] {
            [] => Orden::Servir,
            [(_, una)] => una,
            [(una, _), (otra, _), ..] => {
                return Err(format!(
                    "{una} y {otra} no van juntas; dé primero una y después la otra"
                )
                .into());
            }
        };
        if orden == Orden::Enviar {
            self.comprobar_envio()?;
        } else if let Some(opcion) = self.de_enviar {
            return Err(format!("«{opcion}» solo vale con --enviar").into());
        } else if let Some(archivo) = self.envio.archivos.last() {
            return Err(Value(archivo.into()).unexpected());
        }
        Ok(orden)
    }

    /// Si lo que se escribió para --enviar se aviene.
    fn comprobar_envio(&self) -> Result<(), String> {
        let archivos = &self.envio.archivos;
        if let Some(destino) = archivos.iter().find(|ruta| es_un_destino(ruta)) {
            let destino = destino.display();
            return Err(format!(
                "«{destino}» no es un archivo; si es adónde se envía, escriba --a {destino}"
            ));
        }
        if self.envio.desde.is_some() && archivos.is_empty() {
            return Err(
                "«--desde» dice en qué archivo se empieza: diga también de qué carpeta".into(),
            );
        }
        if self.envio.desde.is_some() && self.envio.veces > 1 {
            return Err(
                "--desde y --repetir no van juntas; dé primero una y después la otra".into(),
            );
        }
        Ok(())
    }

    /// Lo que se escribió además de los archivos y de por dónde se empieza.
    fn opciones(&self) -> Vec<OsString> {
        let mut opciones = Vec::new();
        if let Some(destino) = &self.destino {
            opciones.extend(["--a".into(), destino.clone()]);
        }
        if let Some(config) = &self.config {
            opciones.extend(["--config".into(), config.into()]);
        }
        opciones.extend((!self.envio.con_trama).then(|| "--sin-trama".into()));
        opciones.extend(self.envio.detalle.then(|| "--detalle".into()));
        opciones
    }
}

/// Qué se pide con lo escrito.
fn interpretar(argumentos: lexopt::Parser) -> Result<Argumentos, lexopt::Error> {
    let mut escrito = Escrito::recoger(argumentos)?;
    let orden = escrito.orden()?;
    escrito.envio.opciones = escrito.opciones();
    let destino = escrito.destino.as_deref().map(OsStr::to_string_lossy);
    Ok(Argumentos {
        orden,
        destino: destino.map(Cow::into_owned),
        envio: escrito.envio,
        config: escrito.config,
    })
}

/// Si parece un `HOST:PUERTO` y no hay ningún archivo que se llame así. `C:\a` no lo es.
fn es_un_destino(escrito: &Path) -> bool {
    let texto = escrito.to_string_lossy();
    separar_destino(&texto)
        .is_some_and(|(host, _)| host.len() > 1 && !host.contains('\\') && !escrito.exists())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn de_lo_que_no_se_entiende_se_dice_lo_que_quiza_se_quiso() {
        for (escritos, parte) in [
            (&["--confg", "x"][..], "«--confg»; ¿quiso decir --config?"),
            (&["-config", "x"], "«-config»; ¿quiso decir --config?"),
            (&["--Revisar"], "¿quiso decir --revisar?"),
            (&["/revisar"], "¿quiso decir --revisar?"),
            (&["revisar"], "¿quiso decir --revisar?"),
            (&["–enviar"], "¿quiso decir --enviar?"),
            (&["--enviar", "--sintrama"], "¿quiso decir --sin-trama?"),
            (
                &["--puerto", "2576"],
                "; Puerto se escribe en Config.ini, Puerto = valor",
            ),
            (&["--directorio=x"], "; Directorio se escribe en Config.ini"),
            (&["127.0.0.1:2575"], "escriba --enviar --a 127.0.0.1:2575"),
            (&["Cargo.toml"], "escriba --enviar \"Cargo.toml\""),
            (&["Config.ini"], "escriba --config \"Config.ini\""),
        ] {
            let escritos: Vec<_> = escritos.iter().map(OsString::from).collect();
            let error = entender(&escritos).err();
            let motivo = error
                .map(|ErrorDePedido(motivo)| motivo)
                .unwrap_or_default();
            assert!(motivo.contains(parte), "«{parte}» no está en «{motivo}»");
        }
    }

    #[test]
    fn la_ayuda_se_pide_de_muchas_maneras() {
        for escrito in ["--help", "-h", "/?", "-?", "/HELP", "--ayuda", "ayuda"] {
            let leido = entender(&[escrito.into()]);
            let es_ayuda = matches!(
                leido,
                Ok(Argumentos {
                    orden: Orden::Mostrar(AYUDA),
                    ..
                })
            );
            assert!(es_ayuda, "{escrito}");
        }
    }
}
