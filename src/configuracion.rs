//! Config.ini: del texto a valores con tipo.
//!
//! Lee lo que leía el programa de Python, con las reglas de su configparser, y las claves
//! nuevas. Único módulo que conoce el formato y los nombres de las claves.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use configparser::ini::{Ini, IniDefault};
use ipnet::IpNet;

use crate::acuse::{AnteFallo, CodigoAceptado, Forma, Reglas};
use crate::causa;
use crate::llamada::Llamada;
use crate::servidor::Acceso;
use crate::trama::Limites;

/// El Config.ini que se escribe cuando no hay ninguno; es el que acompaña al programa.
const POR_OMISION: &str = include_str!("../Config.ini");
const SECCION: &str = "Servidor";
/// Los equipos a los que se llama, uno por clave.
const SECCION_LLAMAR: &str = "Llamar";
/// Donde el configparser de Python busca las claves que faltan en la sección.
const SECCION_COMUN: &str = "DEFAULT";
const MIB: usize = 1024 * 1024;
/// Cuántas veces puede un valor nombrar a otro, como en el configparser de Python.
const MAX_INTERPOLACIONES: usize = 10;

const CLAVES: [&str; 13] = [
    "Puerto",
    "Directorio",
    "Direccion",
    "EquiposPermitidos",
    "MaxConexiones",
    "MaxMensajeMiB",
    "EsperaSinTramaMs",
    "EsperaTramaIncompletaS",
    "Acuse",
    "CodigoAcuse",
    "AcuseDeFallo",
    "Sincronizar",
    "Consultas",
];

/// Lo que dice Config.ini, completo con los valores por omisión.
#[derive(Debug, Clone)]
pub struct Configuracion {
    /// Puerto TCP; 0 toma uno libre. Puede faltar si hay a quien llamar.
    pub puerto: Option<u16>,
    /// Dirección de este equipo en la que se escucha.
    pub direccion: IpAddr,
    /// Carpeta de los mensajes, ya resuelta desde la de Config.ini.
    pub directorio: PathBuf,
    /// Quién entra y cuántos a la vez.
    pub acceso: Acceso,
    /// Los equipos a los que se llama.
    pub llamadas: Vec<Llamada>,
    /// Hasta dónde se lee y cuánto se espera.
    pub limites: Limites,
    /// Cómo se acusa.
    pub reglas: Reglas,
    /// Si se espera a que el disco confirme antes de acusar.
    pub sincronizar: bool,
    /// Lo que hay en el archivo y nadie lee, para avisarlo.
    pub sobrantes: Vec<String>,
}

impl Configuracion {
    /// Lee el archivo. Cada valor que no sirve es un error con su clave y lo que se esperaba.
    pub fn leer(ruta: &Path) -> Result<Configuracion, ErrorDeConfiguracion> {
        let error = |problema| ErrorDeConfiguracion {
            ruta: ruta.to_path_buf(),
            problema,
        };
        let bytes = fs::read(ruta).map_err(|causa| error(Problema::Ilegible(causa)))?;
        let carpeta = ruta.parent().unwrap_or(Path::new(""));
        interpretar(&decodificar(&bytes), carpeta).map_err(error)
    }

    /// Escribe un Config.ini con los valores por omisión, sin reemplazar ninguno.
    pub fn escribir_por_omision(ruta: &Path) -> Result<(), ErrorDeConfiguracion> {
        let texto = if cfg!(windows) {
            POR_OMISION.replace('\n', "\r\n")
        } else {
            POR_OMISION.to_owned()
        };
        fs::File::create_new(ruta)
            .and_then(|mut archivo| io::Write::write_all(&mut archivo, texto.as_bytes()))
            .map_err(|causa| ErrorDeConfiguracion {
                ruta: ruta.to_path_buf(),
                problema: Problema::NoEscribible(causa),
            })
    }
}

fn interpretar(texto: &str, carpeta: &Path) -> Result<Configuracion, Problema> {
    let mut reglas = IniDefault::default();
    reglas.comment_symbols = vec!['#', ';'];
    reglas.delimiters = vec!['=', ':'];
    reglas.multiline = true;
    // Una ruta puede contener # o ;.
    reglas.enable_inline_comments = false;
    // Los nombres de los equipos se muestran como se escribieron.
    reglas.case_sensitive = true;
    let mut ini = Ini::new_from_defaults(reglas);
    ini.read(texto.to_owned()).map_err(Problema::Malformado)?;
    if claves_de(&ini, SECCION).is_none() {
        return Err(Problema::FaltaSeccion);
    }
    let llamadas = leer_llamadas(&ini)?;
    let numero = |clave, minimo: usize, maximo: usize, omision: usize| {
        opcional(&ini, clave, omision, |valor| {
            let leido = valor
                .parse()
                .ok()
                .filter(|numero| (minimo..=maximo).contains(numero));
            leido.ok_or_else(|| format!("un número entero entre {minimo} y {maximo}"))
        })
    };
    let sin_trama_ms = numero("EsperaSinTramaMs", 10, 60_000, 500)?;
    let incompleta_s = numero("EsperaTramaIncompletaS", 1, 86_400, 60)?;
    let max_mensaje_mib = numero("MaxMensajeMiB", 1, 1024, 64)?;
    let max_conexiones = numero("MaxConexiones", 1, 10_000, 64)?;
    Ok(Configuracion {
        puerto: match valor(&ini, "Puerto") {
            None if !llamadas.is_empty() => None,
            _ => Some(obligatorio(&ini, "Puerto", |valor| {
                let esperado = "un número de puerto entre 0 y 65535 (0 toma uno libre)";
                valor.parse().map_err(|_| esperado.to_owned())
            })?),
        },
        direccion: opcional(
            &ini,
            "Direccion",
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            |valor| {
                valor.parse().map_err(|_| {
                    "una dirección IP de este equipo, p. ej. 192.168.1.10, o 0.0.0.0 para todas"
                        .to_owned()
                })
            },
        )?,
        directorio: obligatorio(&ini, "Directorio", |valor| match valor {
            "" => Err("la ruta de una carpeta, p. ej. D:\\resultados".to_owned()),
            _ => Ok(carpeta.join(valor.replace('\\', "/"))),
        })?,
        acceso: Acceso {
            max_conexiones,
            permitidos: opcional(&ini, "EquiposPermitidos", Vec::new(), leer_redes)?,
        },
        llamadas,
        limites: Limites {
            mensaje_bytes: max_mensaje_mib * MIB,
            sin_trama: Duration::from_millis(sin_trama_ms as u64),
            incompleta: Duration::from_secs(incompleta_s as u64),
        },
        reglas: Reglas {
            forma: opcion(
                &ini,
                "Acuse",
                &[
                    ("automatico", Forma::Automatica),
                    ("clasico", Forma::Clasica),
                    ("estandar", Forma::Estandar),
                ],
            )?,
            aceptado: opcion(
                &ini,
                "CodigoAcuse",
                &[("AA", CodigoAceptado::Aa), ("CA", CodigoAceptado::Ca)],
            )?,
            ante_fallo: opcion(
                &ini,
                "AcuseDeFallo",
                &[
                    ("AE", AnteFallo::Ae),
                    ("AR", AnteFallo::Ar),
                    ("ninguno", AnteFallo::Callar),
                ],
            )?,
            negar_consultas: opcion(&ini, "Consultas", &[("negar", true), ("acusar", false)])?,
        },
        sincronizar: opcion(&ini, "Sincronizar", &[("si", true), ("no", false)])?,
        sobrantes: sobrantes(&ini),
    })
}

/// El valor de una clave, de la sección o de la común, con sus `%` resueltos.
fn valor(ini: &Ini, clave: &str) -> Option<String> {
    let directo = |clave: &str| {
        [SECCION, SECCION_COMUN].into_iter().find_map(|seccion| {
            let (_, valor) =
                claves_de(ini, seccion)?.find(|(nombre, _)| nombre.eq_ignore_ascii_case(clave))?;
            valor.clone()
        })
    };
    let mut texto = directo(clave)?;
    // El configparser de Python sustituye %(Clave)s y lee %% como un solo %.
    for _ in 0..MAX_INTERPOLACIONES {
        let Some((antes, resto)) = texto.split_once("%(") else {
            break;
        };
        let Some((nombre, despues)) = resto.split_once(")s") else {
            break;
        };
        let Some(citado) = directo(nombre) else { break };
        texto = format!("{antes}{citado}{despues}");
    }
    Some(texto.replace("%%", "%"))
}

fn obligatorio<T>(
    ini: &Ini,
    clave: &'static str,
    leer: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Problema> {
    let valor = valor(ini, clave).ok_or(Problema::FaltaClave(clave))?;
    leer(&valor).map_err(|esperado| Problema::MalValor {
        seccion: SECCION,
        clave: clave.to_owned(),
        valor,
        esperado,
    })
}

/// Una clave presente pero vacía vale lo mismo que una ausente.
fn opcional<T>(
    ini: &Ini,
    clave: &'static str,
    omision: T,
    leer: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Problema> {
    match valor(ini, clave).filter(|valor| !valor.is_empty()) {
        None => Ok(omision),
        Some(valor) => leer(&valor).map_err(|esperado| Problema::MalValor {
            seccion: SECCION,
            clave: clave.to_owned(),
            valor,
            esperado,
        }),
    }
}

/// Una clave que elige entre nombres; el primero es el valor por omisión.
fn opcion<T: Copy>(ini: &Ini, clave: &'static str, opciones: &[(&str, T)]) -> Result<T, Problema> {
    opcional(ini, clave, opciones[0].1, |valor| {
        let elegido = sin_acentos(valor);
        let hallada = opciones
            .iter()
            .find(|(nombre, _)| nombre.eq_ignore_ascii_case(&elegido));
        hallada.map(|(_, opcion)| *opcion).ok_or_else(|| {
            let nombres: Vec<_> = opciones.iter().map(|(nombre, _)| *nombre).collect();
            format!("uno de estos: {}", nombres.join(", "))
        })
    })
}

/// `sí`, `automático`, `clásico` y `estándar` valen como sin acento.
fn sin_acentos(texto: &str) -> String {
    texto
        .chars()
        .map(|letra| match letra {
            'á' | 'Á' => 'a',
            'í' | 'Í' => 'i',
            _ => letra,
        })
        .collect()
}

fn leer_redes(valor: &str) -> Result<Vec<IpNet>, String> {
    valor
        .split([',', ';', ' ', '\t', '\r', '\n'])
        .filter(|trozo| !trozo.is_empty())
        .map(|trozo| IpNet::from_str(trozo).or_else(|_| IpAddr::from_str(trozo).map(IpNet::from)))
        .collect::<Result<_, _>>()
        .map_err(|_| {
            "direcciones IP o rangos separados por comas, p. ej. 192.168.1.20, 10.0.0.0/24"
                .to_owned()
        })
}

fn leer_llamadas(ini: &Ini) -> Result<Vec<Llamada>, Problema> {
    let equipos = claves_de(ini, SECCION_LLAMAR).into_iter().flatten();
    equipos
        .map(|(nombre, valor)| {
            let valor = valor.clone().unwrap_or_default();
            let direccion = valor.parse().map_err(|_| Problema::MalValor {
                seccion: SECCION_LLAMAR,
                clave: nombre.clone(),
                valor,
                esperado: "la dirección IP del equipo y su puerto, p. ej. 192.168.1.250:5100"
                    .to_owned(),
            })?;
            Ok(Llamada {
                nombre: nombre.clone(),
                direccion,
            })
        })
        .collect()
}

/// Las claves de una sección y sus valores; `None` si la sección no está.
fn claves_de<'a>(
    ini: &'a Ini,
    seccion: &str,
) -> Option<impl Iterator<Item = (&'a String, &'a Option<String>)>> {
    let mapa = ini.get_map_ref();
    let (_, claves) = mapa
        .iter()
        .find(|(nombre, _)| nombre.eq_ignore_ascii_case(seccion))?;
    Some(claves.iter())
}

fn sobrantes(ini: &Ini) -> Vec<String> {
    let mut sobrantes = Vec::new();
    for (seccion, claves) in ini.get_map_ref() {
        if seccion.eq_ignore_ascii_case(SECCION) {
            let conocida = |clave: &String| {
                CLAVES
                    .iter()
                    .any(|conocida| conocida.eq_ignore_ascii_case(clave))
            };
            let ajenas = claves.keys().filter(|clave| !conocida(clave));
            sobrantes.extend(ajenas.map(|clave| format!("la clave «{clave}» de [{SECCION}]")));
        } else if ![SECCION_COMUN, SECCION_LLAMAR]
            .iter()
            .any(|conocida| conocida.eq_ignore_ascii_case(seccion))
        {
            sobrantes.push(format!("la sección [{seccion}]"));
        }
    }
    sobrantes
}

/// El Bloc de notas escribe UTF-8 con o sin BOM, UTF-16 con BOM («Unicode») o ANSI, que en
/// nuestras letras coincide con Latin-1.
fn decodificar(bytes: &[u8]) -> String {
    if let Some(utf16) = bytes.strip_prefix(b"\xFF\xFE") {
        let unidades: Vec<_> = utf16
            .chunks_exact(2)
            .map(|par| u16::from_le_bytes([par[0], par[1]]))
            .collect();
        return String::from_utf16_lossy(&unidades);
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(texto) => texto.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// Config.ini no sirve: qué archivo, qué sección, qué clave, qué decía y qué se esperaba.
#[derive(Debug)]
pub struct ErrorDeConfiguracion {
    ruta: PathBuf,
    problema: Problema,
}

#[derive(Debug)]
enum Problema {
    Ilegible(io::Error),
    NoEscribible(io::Error),
    Malformado(String),
    FaltaSeccion,
    FaltaClave(&'static str),
    MalValor {
        seccion: &'static str,
        clave: String,
        valor: String,
        esperado: String,
    },
}

impl fmt::Display for ErrorDeConfiguracion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ruta = self.ruta.display();
        match &self.problema {
            Problema::Ilegible(causa) => {
                write!(f, "no se pudo leer «{ruta}»: {}", causa::explicar(causa))
            }
            Problema::NoEscribible(causa) => {
                write!(
                    f,
                    "no hay Config.ini y no se pudo escribir «{ruta}»: {}",
                    causa::explicar(causa)
                )
            }
            Problema::Malformado(detalle) => write!(
                f,
                "no se entiende «{ruta}» ({detalle}); cada línea debe ser [Sección], Clave = valor, o un comentario que empiece por # o ;"
            ),
            Problema::FaltaSeccion => {
                write!(
                    f,
                    "en «{ruta}» falta la sección [{SECCION}]; añada una línea [{SECCION}] y debajo Puerto y Directorio"
                )
            }
            Problema::FaltaClave(clave) => {
                write!(
                    f,
                    "en «{ruta}», sección [{SECCION}], falta la clave {clave}; añada una línea {clave} = valor"
                )
            }
            Problema::MalValor {
                seccion,
                clave,
                valor,
                esperado,
            } => {
                write!(
                    f,
                    "en «{ruta}», sección [{seccion}], {clave} = «{valor}» no sirve; se esperaba {esperado}"
                )
            }
        }
    }
}

impl std::error::Error for ErrorDeConfiguracion {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problema {
            Problema::Ilegible(causa) | Problema::NoEscribible(causa) => Some(causa),
            _ => None,
        }
    }
}
