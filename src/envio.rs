//! El envío de prueba: manda mensajes a un receptor como lo haría un analizador y dice en
//! palabras qué se contestó y cuánto tardó.
//!
//! Sirve para el primer ensayo, sin analizador. No sabe nada del servidor de este programa: vale
//! contra cualquier receptor.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::causa;
use crate::mensaje::{self, Cabecera};
use crate::registro::escapar;
use crate::trama::{self, FS, VT};

/// El mensaje que se envía cuando no se nombra ningún archivo. El paciente es inventado.
const MUESTRA: &[u8] = b"MSH|^~\\&|EQUIPO|LABORATORIO|LIS|HOSPITAL|20260912094501||ORU^R01|PRUEBA-1|P|2.3.1||||||UNICODE\r\
PID|1||PRUEBA||PACIENTE^DE PRUEBA\r\
OBR|1||MUESTRA-1|GLU^Glucosa|||20260912094501\r\
OBX|1|NM|GLU^Glucosa||92|mg/dL|70-110|N|||F\r";
/// El analizador más paciente que se conoce espera esto por su acuse.
const PLAZO_DE_ACUSE: Duration = Duration::from_mins(1);
const PLAZO_DE_CONEXION: Duration = Duration::from_secs(10);
/// Con más mensajes que estos, se dice el avance en lugar de cada acuse.
const MAX_DETALLADOS: usize = 20;
const CADA_AVANCE: Duration = Duration::from_secs(1);
const VISIBLE_BYTES: usize = 64;

/// Qué se envía y adónde.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envio {
    /// Los archivos, un mensaje en cada uno; vacío, el mensaje de muestra.
    pub archivos: Vec<PathBuf>,
    /// `HOST:PUERTO` del receptor.
    pub destino: String,
    /// Si cada mensaje va en una trama MLLP.
    pub con_trama: bool,
    /// Cuántas veces se envía todo.
    pub veces: usize,
}

impl Envio {
    /// El mensaje de muestra, una vez, con trama y sin destino todavía.
    #[must_use]
    pub fn de_muestra() -> Envio {
        Envio {
            archivos: Vec::new(),
            destino: String::new(),
            con_trama: true,
            veces: 1,
        }
    }
}

/// Envía, espera cada acuse y lo dice en `salida`. Devuelve si todos fueron aceptados.
pub fn enviar(envio: &Envio, salida: &mut impl Write) -> Result<bool, ErrorDeEnvio> {
    let mensajes = leer(&envio.archivos)?;
    let mut canal = conectar(&envio.destino)?;
    let total = mensajes.len() * envio.veces;
    let mut tiempos = Vec::with_capacity(total);
    let mut aceptados = 0;
    let mut avisado = Instant::now();
    for (nombre, mensaje) in mensajes.iter().cycle().take(total) {
        let comienzo = Instant::now();
        let respuesta = preguntar(&mut canal, mensaje, envio.con_trama).map_err(|causa| {
            ErrorDeEnvio::SinRespuesta {
                destino: envio.destino.clone(),
                nombre: nombre.clone(),
                causa,
            }
        })?;
        let tiempo = comienzo.elapsed();
        tiempos.push(tiempo);
        let cabecera = mensaje::leer_cabecera(&respuesta);
        let dicho = cabecera
            .as_ref()
            .map(|cabecera| Dicho::leer(&respuesta, cabecera));
        aceptados += usize::from(dicho.as_ref().is_some_and(Dicho::es_aceptacion));
        if total <= MAX_DETALLADOS {
            match dicho {
                Some(dicho) => decir(
                    salida,
                    &format!("{nombre}: {dicho} ({} ms)", milisegundos(tiempo)),
                ),
                None => decir(salida, &format!("{nombre}: contestó algo que no es HL7")),
            }
        } else if avisado.elapsed() >= CADA_AVANCE {
            decir(
                salida,
                &format!(
                    "{} de {total} enviados, {aceptados} aceptados",
                    tiempos.len()
                ),
            );
            avisado = Instant::now();
        }
    }
    tiempos.sort_unstable();
    if let (Some(mediana), Some(maximo)) = (tiempos.get(total / 2), tiempos.last()) {
        let (mediana, maximo) = (milisegundos(*mediana), milisegundos(*maximo));
        decir(
            salida,
            &format!(
                "{total} enviados, {aceptados} aceptados; acuse en {mediana} ms de mediana, {maximo} ms el que más"
            ),
        );
    }
    Ok(aceptados == total)
}

fn leer(archivos: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, ErrorDeEnvio> {
    if archivos.is_empty() {
        return Ok(vec![("mensaje de muestra".to_owned(), MUESTRA.to_vec())]);
    }
    let leer_uno = |ruta: &PathBuf| match fs::read(ruta) {
        Ok(mensaje) => Ok((ruta.display().to_string(), sin_trama(&mensaje).to_vec())),
        Err(causa) => Err(ErrorDeEnvio::Ilegible {
            ruta: ruta.clone(),
            causa,
        }),
    };
    archivos.iter().map(leer_uno).collect()
}

/// Un archivo guardado con su trama se envía como el mensaje que contiene.
fn sin_trama(mensaje: &[u8]) -> &[u8] {
    let mensaje = mensaje.strip_prefix(&[VT]).unwrap_or(mensaje);
    let mensaje = mensaje
        .strip_suffix(b"\r")
        .filter(|resto| resto.ends_with(&[FS]))
        .unwrap_or(mensaje);
    mensaje.strip_suffix(&[FS]).unwrap_or(mensaje)
}

fn conectar(destino: &str) -> Result<TcpStream, ErrorDeEnvio> {
    let con_causa = |causa| ErrorDeEnvio::SinConexion {
        destino: destino.to_owned(),
        causa,
    };
    let mut ultimo = io::Error::from(ErrorKind::NotFound);
    for direccion in destino.to_socket_addrs().map_err(con_causa)? {
        match TcpStream::connect_timeout(&direccion, PLAZO_DE_CONEXION) {
            Ok(canal) => {
                canal
                    .set_nodelay(true)
                    .and_then(|()| canal.set_read_timeout(Some(PLAZO_DE_ACUSE)))
                    .map_err(con_causa)?;
                return Ok(canal);
            }
            Err(error) => ultimo = error,
        }
    }
    Err(con_causa(ultimo))
}

/// Envía un mensaje y lee lo que se contesta, sin su trama.
fn preguntar(canal: &mut TcpStream, mensaje: &[u8], con_trama: bool) -> io::Result<Vec<u8>> {
    if con_trama {
        canal.write_all(&trama::enmarcar(mensaje))?;
    } else {
        canal.write_all(mensaje)?;
    }
    let mut recibido = Vec::new();
    let mut trozo = [0; 4096];
    loop {
        let cuantos = canal.read(&mut trozo)?;
        if cuantos == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        recibido.extend_from_slice(&trozo[..cuantos]);
        let entero = if recibido.first() == Some(&VT) {
            recibido.ends_with(&[FS, b'\r'])
        } else {
            // Sin trama, el acuse acaba con el CR de su MSA.
            recibido.ends_with(b"\r")
                && mensaje::leer_cabecera(&recibido).is_some_and(|msh| msh.es_respuesta())
        };
        if entero {
            return Ok(sin_trama(&recibido).to_vec());
        }
    }
}

/// Lo que dice un acuse.
struct Dicho {
    codigo: Vec<u8>,
    texto: Vec<u8>,
    tipo: Vec<u8>,
}

impl Dicho {
    fn leer(acuse: &[u8], cabecera: &Cabecera<'_>) -> Dicho {
        let msa = mensaje::segmento(acuse, b"MSA", cabecera.campo(1)).unwrap_or_default();
        let mut campos = msa
            .split(|octeto| cabecera.campo(1) == [*octeto])
            .skip(1)
            .map(<[u8]>::to_vec);
        let codigo = campos.next().unwrap_or_default();
        Dicho {
            codigo,
            texto: campos.nth(1).unwrap_or_default(),
            tipo: cabecera.campo(9).to_vec(),
        }
    }

    fn es_aceptacion(&self) -> bool {
        matches!(self.codigo.as_slice(), b"AA" | b"CA")
    }
}

impl fmt::Display for Dicho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let en_palabras = match self.codigo.as_slice() {
            b"AA" | b"CA" => "aceptado, el mensaje está a salvo",
            b"AE" | b"CE" => "no se pudo guardar; mire la consola del servidor",
            b"AR" | b"CR" => "rechazado; mire la consola del servidor",
            _ => "un código que no es de un acuse",
        };
        let (codigo, tipo) = (
            escapar(&self.codigo, VISIBLE_BYTES),
            escapar(&self.tipo, VISIBLE_BYTES),
        );
        write!(f, "{codigo} ({tipo}): {en_palabras}")?;
        if !self.texto.is_empty() {
            write!(f, " «{}»", escapar(&self.texto, VISIBLE_BYTES))?;
        }
        Ok(())
    }
}

/// Con un decimal y la coma decimal.
pub(crate) fn milisegundos(tiempo: Duration) -> String {
    format!("{:.1}", tiempo.as_secs_f64() * 1000.0).replace('.', ",")
}

fn decir(salida: &mut impl Write, linea: &str) {
    // Si nadie lee el resultado, el envío sigue igual.
    let _ = writeln!(salida, "{linea}");
}

/// El envío no pudo hacerse. Dice qué, dónde, por qué y qué hacer.
#[derive(Debug)]
pub enum ErrorDeEnvio {
    /// Un archivo no se pudo leer.
    Ilegible {
        /// Cuál.
        ruta: PathBuf,
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
        /// El archivo enviado.
        nombre: String,
        /// Por qué.
        causa: io::Error,
    },
}

impl fmt::Display for ErrorDeEnvio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorDeEnvio::Ilegible { ruta, causa } => {
                write!(
                    f,
                    "no se pudo leer «{}»: {}",
                    Path::display(ruta),
                    causa::explicar(causa)
                )
            }
            ErrorDeEnvio::SinConexion { destino, causa }
                if causa.kind() == ErrorKind::InvalidInput =>
            {
                write!(
                    f,
                    "«{destino}» no es un destino; escriba HOST:PUERTO, p. ej. 127.0.0.1:2575"
                )
            }
            ErrorDeEnvio::SinConexion { destino, causa } => write!(
                f,
                "no se pudo conectar con «{destino}»: {}; compruebe que el servidor está en marcha y su cortafuegos",
                causa::explicar(causa)
            ),
            ErrorDeEnvio::SinRespuesta {
                destino,
                nombre,
                causa,
            } if causa.kind() == ErrorKind::UnexpectedEof => {
                write!(
                    f,
                    "«{destino}» cerró la conexión sin acusar «{nombre}»; mire la consola del servidor"
                )
            }
            ErrorDeEnvio::SinRespuesta {
                destino,
                nombre,
                causa,
            } => {
                write!(
                    f,
                    "«{destino}» no acusó «{nombre}»: {}",
                    causa::explicar(causa)
                )
            }
        }
    }
}

impl std::error::Error for ErrorDeEnvio {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (ErrorDeEnvio::Ilegible { causa, .. }
        | ErrorDeEnvio::SinConexion { causa, .. }
        | ErrorDeEnvio::SinRespuesta { causa, .. }) = self;
        Some(causa)
    }
}
