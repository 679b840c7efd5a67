//! El envío de prueba: manda mensajes a un receptor como lo haría un analizador y dice en
//! palabras qué se contestó y cuánto tardó.
//!
//! Sirve para el primer ensayo, sin analizador. No sabe nada del servidor de este programa: vale
//! contra cualquier receptor.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::cable::{FS, VT, enmarcar};
use crate::causa;
use crate::hl7::mensaje::{self, Cabecera};
use crate::texto::{escapar, milisegundos};

/// El mensaje que se envía cuando no se nombra ningún archivo. El paciente es inventado.
const MUESTRA: &[u8] = b"MSH|^~\\&|EQUIPO|LABORATORIO|LIS|HOSPITAL|20260912094501||ORU^R01|PRUEBA-1|P|2.3.1||||||UNICODE\r\
PID|1||PRUEBA||PACIENTE^DE PRUEBA\r\
OBR|1||MUESTRA-1|GLU^Glucosa|||20260912094501\r\
OBX|1|NM|GLU^Glucosa||92|mg/dL|70-110|N|||F\r";
/// Cuánto se espera un acuse sin decirlo; más callado, parecería que el programa se colgó…
const ESPERA_CALLADA: Duration = Duration::from_secs(2);
/// …y se espera este tiempo más: en total, lo que el analizador más paciente que se conoce.
const RESTO_DE_LA_ESPERA: Duration = Duration::from_secs(58);
const PLAZO_DE_CONEXION: Duration = Duration::from_secs(10);
/// Con más mensajes que estos, se dice el avance en lugar de cada acuse.
const MAX_DETALLADOS: usize = 20;
const CADA_AVANCE: Duration = Duration::from_secs(1);
const VISIBLE_BYTES: usize = 64;

/// Qué se envía y cómo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envio {
    /// Los archivos, un mensaje en cada uno; vacío, el mensaje de muestra.
    pub archivos: Vec<PathBuf>,
    /// Si cada mensaje va en una trama MLLP.
    pub con_trama: bool,
    /// Cuántas veces se envía todo.
    pub veces: usize,
}

impl Envio {
    /// El mensaje de muestra, una vez y con trama.
    #[must_use]
    pub fn de_muestra() -> Envio {
        Envio {
            archivos: Vec::new(),
            con_trama: true,
            veces: 1,
        }
    }
}

/// Envía a `destino` (`HOST:PUERTO`), espera cada acuse y lo dice en `salida`. Devuelve si todos
/// fueron aceptados.
pub fn enviar(envio: &Envio, destino: &str, salida: &mut impl Write) -> Result<bool, ErrorDeEnvio> {
    let mensajes = leer(&envio.archivos)?;
    let mut canal = conectar(destino)?;
    let total = mensajes.len() * envio.veces;
    let mut tiempos = Vec::new();
    let mut aceptados = 0;
    let mut avisado = Instant::now();
    for (nombre, mensaje) in mensajes.iter().cycle().take(total) {
        let comienzo = Instant::now();
        let respuesta = preguntar(&mut canal, mensaje, envio.con_trama, || {
            decir(salida, &format!("esperando el acuse de «{nombre}»…"));
        });
        let respuesta = respuesta.map_err(|causa| ErrorDeEnvio::SinRespuesta {
            destino: destino.to_owned(),
            nombre: nombre.clone(),
            causa,
        })?;
        let tiempo = comienzo.elapsed();
        tiempos.push(tiempo);
        let enviada = mensaje::leer_cabecera(mensaje);
        let id = enviada.map_or(&b""[..], |cabecera| cabecera.campo(10));
        let cabecera = mensaje::leer_cabecera(&respuesta);
        let dicho = cabecera
            .as_ref()
            .map(|cabecera| Dicho::leer(&respuesta, cabecera, id));
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
            let enviados = tiempos.len();
            decir(
                salida,
                &format!("enviados: {enviados} de {total}, aceptados: {aceptados}"),
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
                "enviados: {total}, aceptados: {aceptados}; acuse en {mediana} ms de mediana, {maximo} ms el que más"
            ),
        );
    }
    Ok(aceptados == total)
}

fn leer(archivos: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, ErrorDeEnvio> {
    if archivos.is_empty() {
        return Ok(vec![("mensaje de muestra".to_owned(), MUESTRA.to_vec())]);
    }
    let leer_uno = |ruta: &PathBuf| {
        let leido = fs::read(ruta).map_err(|causa| ErrorDeEnvio::Ilegible {
            ruta: ruta.clone(),
            causa,
        })?;
        let mensaje = sin_trama(&leido);
        if mensaje.trim_ascii().is_empty() {
            return Err(ErrorDeEnvio::Vacio { ruta: ruta.clone() });
        }
        // Cada mensaje recibe su acuse: con dos en un archivo, no se sabría de cuál es cada uno.
        if mensaje
            .windows(2)
            .any(|par| par == [FS, b'\r'] || par == [FS, VT])
        {
            return Err(ErrorDeEnvio::Varios { ruta: ruta.clone() });
        }
        Ok((ruta.display().to_string(), mensaje.to_vec()))
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
    let direcciones = destino
        .to_socket_addrs()
        .map_err(|causa| ErrorDeEnvio::SinDireccion {
            destino: destino.to_owned(),
            causa,
        })?;
    let mut ultimo = io::Error::from(ErrorKind::NotFound);
    for direccion in direcciones {
        match abrir_canal(&direccion) {
            Ok(canal) => return Ok(canal),
            Err(error) => ultimo = error,
        }
    }
    Err(ErrorDeEnvio::SinConexion {
        destino: destino.to_owned(),
        causa: ultimo,
    })
}

fn abrir_canal(direccion: &SocketAddr) -> io::Result<TcpStream> {
    let canal = TcpStream::connect_timeout(direccion, PLAZO_DE_CONEXION)?;
    canal.set_nodelay(true)?;
    // Quien no lee tampoco acusa.
    canal.set_write_timeout(Some(ESPERA_CALLADA + RESTO_DE_LA_ESPERA))?;
    Ok(canal)
}

/// Envía un mensaje y lee lo que se contesta, sin su trama. Llama a `al_tardar` si la
/// contestación se hace esperar.
fn preguntar(
    canal: &mut TcpStream,
    mensaje: &[u8],
    con_trama: bool,
    mut al_tardar: impl FnMut(),
) -> io::Result<Vec<u8>> {
    if con_trama {
        canal.write_all(&enmarcar(mensaje))?;
    } else {
        canal.write_all(mensaje)?;
    }
    let mut avisado = false;
    canal.set_read_timeout(Some(ESPERA_CALLADA))?;
    let mut recibido = Vec::new();
    let mut trozo = [0; 4096];
    loop {
        let cuantos = match canal.read(&mut trozo) {
            Err(error) if se_agoto(&error) && !avisado => {
                avisado = true;
                al_tardar();
                canal.set_read_timeout(Some(RESTO_DE_LA_ESPERA))?;
                continue;
            }
            // No llegará más: lo que haya es lo que contestó.
            Ok(0) | Err(_) if !recibido.is_empty() => return Ok(sin_trama(&recibido).to_vec()),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            leido => leido?,
        };
        recibido.extend_from_slice(&trozo[..cuantos]);
        if esta_entero(&recibido) {
            return Ok(sin_trama(&recibido).to_vec());
        }
    }
}

/// Un plazo agotado tiene un nombre en Unix y otro en Windows.
fn se_agoto(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn esta_entero(recibido: &[u8]) -> bool {
    if recibido.first() == Some(&VT) {
        return recibido.ends_with(&[FS, b'\r']);
    }
    // Sin trama, el acuse acaba con el CR de su MSA.
    recibido.ends_with(b"\r")
        && mensaje::leer_cabecera(recibido).is_some_and(|msh| msh.es_respuesta())
}

/// Lo que dice un acuse, o la respuesta a una consulta.
struct Dicho {
    codigo: Vec<u8>,
    texto: Vec<u8>,
    tipo: Vec<u8>,
    /// Si es la respuesta a una consulta, y dice que no hay nada que medir.
    sin_pendientes: bool,
    /// Si su MSA-2 es de otro mensaje.
    de_otro: bool,
}

impl Dicho {
    /// `id` es el MSH-10 de lo que se envió.
    fn leer(acuse: &[u8], cabecera: &Cabecera<'_>, id: &[u8]) -> Dicho {
        let separador = cabecera.campo(1);
        let campo = |nombre, numero| {
            let segmento = mensaje::segmento(acuse, nombre, separador).unwrap_or_default();
            let mut campos = segmento.split(|octeto| separador == [*octeto]);
            campos.nth(numero).unwrap_or_default()
        };
        let codigo = campo(b"MSA", 1);
        // ORR no tiene QAK: es su MSA quien lo dice, con un código que en un ACK es un rechazo.
        let sin_pendientes = match cabecera.componente_del_tipo(1) {
            b"ACK" => false,
            b"ORR" => codigo == b"AR",
            _ => codigo == b"AA" && campo(b"QAK", 2) == b"NF",
        };
        Dicho {
            codigo: codigo.to_vec(),
            texto: campo(b"MSA", 3).to_vec(),
            tipo: cabecera.campo(9).to_vec(),
            sin_pendientes,
            de_otro: !campo(b"MSA", 2).is_empty() && campo(b"MSA", 2) != id,
        }
    }

    fn es_aceptacion(&self) -> bool {
        !self.de_otro && (self.sin_pendientes || matches!(self.codigo.as_slice(), b"AA" | b"CA"))
    }
}

impl fmt::Display for Dicho {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let en_palabras = match self.codigo.as_slice() {
            _ if self.de_otro => "es el acuse de otro mensaje; su MSA-2 no es el MSH-10 enviado",
            _ if self.sin_pendientes => "contestado: no hay nada pendiente",
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
    /// Un archivo no tiene ningún mensaje.
    Vacio {
        /// Cuál.
        ruta: PathBuf,
    },
    /// Un archivo tiene más de un mensaje.
    Varios {
        /// Cuál.
        ruta: PathBuf,
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
                let causa = causa::explicar_lectura(ruta, causa);
                write!(f, "no se pudo leer «{}»: {causa}", ruta.display())
            }
            ErrorDeEnvio::Vacio { ruta } => {
                let ruta = ruta.display();
                write!(f, "«{ruta}» está vacío; elija un archivo con un mensaje")
            }
            ErrorDeEnvio::Varios { ruta } => {
                let ruta = ruta.display();
                write!(
                    f,
                    "«{ruta}» tiene más de un mensaje; póngalos en archivos distintos"
                )
            }
            ErrorDeEnvio::SinDireccion { destino, causa }
                if causa.kind() == ErrorKind::InvalidInput =>
            {
                write!(
                    f,
                    "«{destino}» no es un destino; escriba HOST:PUERTO, p. ej. 127.0.0.1:2575"
                )
            }
            ErrorDeEnvio::SinDireccion { destino, .. } => write!(
                f,
                "no se pudo conectar con «{destino}»: no se conoce ese nombre; escriba la dirección IP del servidor"
            ),
            ErrorDeEnvio::SinConexion { destino, causa } => {
                let causa = match causa.kind() {
                    ErrorKind::ConnectionRefused => {
                        "rechaza la conexión; compruebe que el servidor está en marcha y que su puerto es ese".to_owned()
                    }
                    _ => causa::explicar(causa),
                };
                write!(f, "no se pudo conectar con «{destino}»: {causa}")
            }
            ErrorDeEnvio::SinRespuesta {
                destino,
                nombre,
                causa,
            } => {
                let causa = match causa.kind() {
                    ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe => "cerró la conexión".to_owned(),
                    _ if se_agoto(causa) => "no contestó en un minuto".to_owned(),
                    _ => causa::explicar(causa),
                };
                write!(
                    f,
                    "«{destino}» no acusó «{nombre}»: {causa}; mire la consola del servidor"
                )
            }
        }
    }
}

impl std::error::Error for ErrorDeEnvio {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ErrorDeEnvio::Vacio { .. } | ErrorDeEnvio::Varios { .. } => None,
            ErrorDeEnvio::Ilegible { causa, .. }
            | ErrorDeEnvio::SinDireccion { causa, .. }
            | ErrorDeEnvio::SinConexion { causa, .. }
            | ErrorDeEnvio::SinRespuesta { causa, .. } => Some(causa),
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
