//! La conexión con el receptor: se escribe un mensaje y se lee lo que conteste, con el mismo lector con
//! que el servidor lee los mensajes.
//!
//! No sabe qué dice una respuesta ni a qué mensaje contesta.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::contenido::BLOQUE_BYTES;
use super::respuesta::{ENTREGADO, NO_ENTREGADO, Respuesta};
use crate::cable::{Lector, Limites, Motivo, Suceso};
use crate::causa::{self, se_agoto};
use crate::hl7::comienzo::es_relleno;
use crate::hl7::mensaje;
use crate::lectura::leer;
use crate::octetos::{CR, FS, LF, VT};
use crate::pedido::ErrorDePedido;

const PLAZO_DE_CONEXION: Duration = Duration::from_secs(10);
/// Una respuesta es breve; la de una consulta puede llevar todas las peticiones del día.
const MAX_RESPUESTA_BYTES: usize = 16 * 1024 * 1024;
/// El silencio que acaba un acuse sin trama. Se envía de una vez: más sería esperar por nada.
const SILENCIO_SIN_TRAMA: Duration = Duration::from_millis(100);
/// El que acaba un acuse de entrega que no trae su trama.
const SILENCIO_TRAS_ENTREGA: Duration = Duration::from_millis(300);
/// Cuántos MSH-10 se recuerdan de un mensaje: los de un lote pueden ser muchos.
const MAX_IDS: usize = 10_000;
/// Cuánto se mira de una línea: más de lo que mide un MSH.
const LINEA_BYTES: usize = 4096;
/// Cuántas veces se lee aún lo que ya había llegado al acabar el plazo: bastan para lo que guarda el sistema.
const LECTURAS_TRAS_EL_PLAZO: usize = 1000;

pub(super) struct Canal {
    socket: TcpStream,
    lector: Lector,
    oido: Oido,
    /// Las respuestas que llegaron.
    por_dar: VecDeque<Respuesta>,
    /// Cuándo llegaron los últimos bytes.
    llegada: Instant,
    /// Desde cuándo se cuenta el silencio: desde ellos, o desde el último que cambió algo.
    silencio_desde: Instant,
    plazo_puesto: Option<Duration>,
    /// El receptor cerró, o la conexión se rompió.
    cerrado: bool,
    /// Cerró a mitad de una respuesta.
    cortado: bool,
    rotura: Option<io::Error>,
    bloque: Vec<u8>,
}

/// El nombre o la dirección, y el puerto, de lo que tiene la forma `HOST:PUERTO`.
#[must_use]
pub fn separar_destino(destino: &str) -> Option<(&str, u16)> {
    let (host, puerto) = destino.rsplit_once(':')?;
    let puerto = puerto.parse().ok()?;
    (!host.is_empty() && !host.contains('/')).then_some((host, puerto))
}

/// Si es un destino al que se puede llamar.
fn es_destino(destino: &str) -> bool {
    separar_destino(destino).is_some_and(|(host, puerto)| !host.contains('@') && puerto != 0)
}

/// Por qué un mensaje no se pudo enviar entero.
pub(super) enum FalloAlEscribir {
    /// No se pudo leer lo que se enviaba.
    Fuente(io::Error),
    Cable(io::Error),
}

impl Canal {
    pub(super) fn abrir(destino: &str, espera: Duration) -> Result<Canal, Box<dyn Error>> {
        if !es_destino(destino) {
            return Err(ErrorDePedido(format!(
                "«{destino}» no es un destino; escriba HOST:PUERTO, p. ej. 127.0.0.1:2575"
            ))
            .into());
        }
        let direcciones = destino.to_socket_addrs().map_err(|_| {
            format!(
                "no se pudo conectar con «{destino}»: no se conoce ese nombre; escriba la dirección IP del servidor"
            )
        })?;
        let mut ultimo = io::Error::from(ErrorKind::NotFound);
        for direccion in direcciones {
            match conectar(&direccion, espera) {
                Ok(socket) => return Ok(Canal::con(socket, espera)),
                Err(error) => ultimo = error,
            }
        }
        let causa = match ultimo.kind() {
            ErrorKind::ConnectionRefused => {
                "rechaza la conexión; compruebe que el servidor está en marcha y que su puerto es ese".to_owned()
            }
            _ => causa::explicar_conexion(&ultimo),
        };
        Err(format!("no se pudo conectar con «{destino}»: {causa}").into())
    }

    fn con(socket: TcpStream, espera: Duration) -> Canal {
        let ahora = Instant::now();
        let limites = Limites {
            mensaje_bytes: MAX_RESPUESTA_BYTES,
            sin_trama: SILENCIO_SIN_TRAMA,
            incompleta: espera,
        };
        Canal {
            socket,
            lector: Lector::new(limites, ahora),
            oido: Oido::default(),
            por_dar: VecDeque::new(),
            llegada: ahora,
            silencio_desde: ahora,
            plazo_puesto: None,
            cerrado: false,
            cortado: false,
            rotura: None,
            bloque: Vec::new(),
        }
    }

    pub(super) fn esta_cerrado(&self) -> bool {
        self.cerrado
    }

    /// Cuándo llegó el último byte.
    pub(super) fn llegada(&self) -> Instant {
        self.llegada
    }

    /// Envía un mensaje y anota sus MSH-10. Lo lee a trozos: puede medir más que la memoria.
    pub(super) fn escribir(
        &mut self,
        mut fuente: impl Read,
        con_trama: bool,
        ids: &mut Vec<Vec<u8>>,
    ) -> Result<(), FalloAlEscribir> {
        self.oido = Oido::default();
        let (mut es_el_primero, mut linea) = (true, Vec::new());
        self.bloque.clear();
        if con_trama {
            self.bloque.push(VT);
        }
        loop {
            let leidos = (&mut fuente)
                .take(BLOQUE_BYTES as u64)
                .read_to_end(&mut self.bloque)
                .map_err(FalloAlEscribir::Fuente)?;
            if mem::take(&mut es_el_primero) {
                anotar_id(&self.bloque, ids);
            }
            anotar_lineas(&self.bloque, &mut linea, ids);
            let acaba = leidos < BLOQUE_BYTES;
            if acaba && con_trama {
                self.bloque.extend([FS, CR]);
            }
            self.socket
                .write_all(&self.bloque)
                .map_err(FalloAlEscribir::Cable)?;
            self.bloque.clear();
            if acaba {
                return Ok(());
            }
        }
    }

    /// La próxima respuesta; `None` si no llega antes de esa hora. Si la hora ya pasó, lo que haya.
    pub(super) fn leer(&mut self, hasta: Instant) -> io::Result<Option<Respuesta>> {
        let mut tras_el_plazo = 0;
        loop {
            self.atender_lo_llegado();
            if let Some(respuesta) = self.por_dar.pop_front() {
                return Ok(Some(respuesta));
            }
            if self.cerrado {
                return Err(self.causa_del_cierre());
            }
            let resto = hasta.saturating_duration_since(Instant::now());
            if resto.is_zero() {
                tras_el_plazo += 1;
                if tras_el_plazo > LECTURAS_TRAS_EL_PLAZO {
                    // No ha dejado de enviar, y nada de ello es un acuse.
                    return Ok(None);
                }
            }
            let espera = self.espera().filter(|espera| *espera <= resto);
            match (espera, self.recibir(espera.unwrap_or(resto))) {
                (_, Ok(0)) => self.cerrar(),
                (_, Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                (_, Err(error)) if !se_agoto(&error) => self.romper(error),
                (_, Err(_)) if resto.is_zero() => return Ok(None),
                (Some(_), Err(_)) if self.espera() == Some(Duration::ZERO) => self.callar(),
                // Llegó algo, o el plazo acabó un poco antes de hora.
                (_, Ok(_) | Err(_)) => {}
            }
        }
    }

    /// Lee lo que llegue en ese plazo; con un plazo de cero, lo que ya haya llegado.
    fn recibir(&mut self, plazo: Duration) -> io::Result<usize> {
        let plazo = (!plazo.is_zero()).then_some(plazo);
        if plazo.is_none() {
            self.socket.set_nonblocking(true)?;
        } else if self.plazo_puesto != plazo {
            self.socket.set_read_timeout(plazo)?;
            self.plazo_puesto = plazo;
        }
        let hueco = self.lector.hueco();
        let leido = leer(&self.socket, hueco, plazo);
        if let Ok(cuantos @ 1..) = leido {
            self.llegada = Instant::now();
            self.silencio_desde = self.llegada;
            let entrega = self.oido.mirar(&hueco[..cuantos]);
            self.por_dar.extend(entrega.map(Respuesta::Entrega));
            self.lector.avanzar(cuantos, self.llegada);
        }
        if plazo.is_none() {
            self.socket.set_nonblocking(false)?;
        }
        leido
    }

    fn atender_lo_llegado(&mut self) {
        while let Some(suceso) = self.lector.siguiente() {
            let respuesta = match suceso {
                Suceso::Mensaje { bytes, .. } => Respuesta::Mensaje(bytes.to_vec()),
                Suceso::Excedido { .. } | Suceso::Indicio(_) => Respuesta::Ajena,
                // Una respuesta a medias no dice nada; si después llega entera, vale esa.
                Suceso::Apartado { motivo, .. } => {
                    self.cortado |= motivo == Motivo::Cortado;
                    continue;
                }
            };
            self.oido.hay_texto = false;
            self.por_dar.push_back(respuesta);
        }
    }

    /// Cuánto silencio falta para que cambie algo.
    fn espera(&self) -> Option<Duration> {
        let espera = if self.oido.suelto.is_some() {
            Some(SILENCIO_TRAS_ENTREGA)
        } else {
            self.lector.espera()
        };
        espera.map(|espera| espera.saturating_sub(self.silencio_desde.elapsed()))
    }

    /// Pasó ese silencio.
    fn callar(&mut self) {
        self.silencio_desde = Instant::now();
        if let Some(octeto) = self.oido.suelto.take() {
            self.por_dar.push_back(Respuesta::Entrega(octeto));
            return;
        }
        self.lector.vencer();
        self.atender_lo_llegado();
        if self.lector.espera().is_none() {
            self.concluir_texto();
        }
    }

    fn cerrar(&mut self) {
        self.lector.cerrar();
        self.acabar();
    }

    fn romper(&mut self, error: io::Error) {
        self.rotura = Some(error);
        self.lector.cortar();
        self.acabar();
    }

    fn causa_del_cierre(&mut self) -> io::Error {
        if self.cortado {
            return ErrorKind::InvalidData.into();
        }
        let rotura = self.rotura.take();
        rotura.unwrap_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    fn acabar(&mut self) {
        self.cerrado = true;
        let suelto = self.oido.suelto.take();
        self.por_dar.extend(suelto.map(Respuesta::Entrega));
        self.atender_lo_llegado();
        if !self.cortado {
            self.concluir_texto();
        }
    }

    /// Lo que llegó acabó sin ser un mensaje.
    fn concluir_texto(&mut self) {
        if self.por_dar.is_empty() && mem::take(&mut self.oido.hay_texto) {
            self.por_dar.push_back(Respuesta::Ajena);
        }
    }
}

/// Lo que se oye sin ser un mensaje, que el lector pasa por alto.
#[derive(Debug, Default)]
struct Oido {
    /// Un acuse de entrega cuya trama no ha acabado.
    suelto: Option<u8>,
    /// Llegó algo más que una trama vacía.
    hay_texto: bool,
}

impl Oido {
    /// Mira lo que llega; devuelve el acuse de entrega que acabe ahí.
    fn mirar(&mut self, bytes: &[u8]) -> Option<u8> {
        let mut acabado = None;
        for octeto in bytes {
            match *octeto {
                ENTREGADO | NO_ENTREGADO if !self.hay_texto => self.suelto = Some(*octeto),
                FS => acabado = self.suelto.take().or(acabado),
                octeto if octeto == VT || es_relleno(octeto) => {}
                _ => {
                    self.hay_texto = true;
                    self.suelto = None;
                }
            }
        }
        acabado
    }
}

fn conectar(direccion: &SocketAddr, espera: Duration) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(direccion, PLAZO_DE_CONEXION)?;
    socket.set_nodelay(true)?;
    // Quien no lee tampoco acusa.
    socket.set_write_timeout(Some(espera))?;
    Ok(socket)
}

/// Anota los MSH-10 de las líneas de un bloque. `linea` es la que el anterior dejó a medias.
fn anotar_lineas(bloque: &[u8], linea: &mut Vec<u8>, ids: &mut Vec<Vec<u8>>) {
    for tramo in bloque.split_inclusive(|octeto| matches!(*octeto, CR | LF)) {
        let caben = LINEA_BYTES.saturating_sub(linea.len());
        linea.extend_from_slice(&tramo[..tramo.len().min(caben)]);
        if tramo.ends_with(&[CR]) || tramo.ends_with(&[LF]) {
            if linea.starts_with(b"MSH") {
                anotar_id(linea, ids);
            }
            linea.clear();
        }
    }
}

/// Anota el MSH-10 de lo que empieza así, si lo tiene y no es el que se acaba de anotar.
fn anotar_id(comienzo: &[u8], ids: &mut Vec<Vec<u8>>) {
    let contenido = comienzo.strip_prefix(&[VT]).unwrap_or(comienzo);
    let id = mensaje::leer_cabecera(contenido).map_or(&b""[..], |cabecera| cabecera.campo(10));
    if !id.is_empty() && ids.len() < MAX_IDS && ids.last().is_none_or(|ultimo| ultimo != id) {
        ids.push(id.to_vec());
    }
}

/// Por qué no hubo acuse.
pub(super) fn por_que_no_acusa(causa: &io::Error) -> String {
    match causa.kind() {
        ErrorKind::InvalidData => "cerró la conexión a mitad de su acuse".to_owned(),
        _ if es_cierre(causa) => "cerró la conexión".to_owned(),
        _ if se_agoto(causa) => "no contestó en un minuto".to_owned(),
        _ => causa::explicar(causa),
    }
}

/// Si el otro lado cerró o cortó.
pub(super) fn es_cierre(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn quien_envia_sin_parar_lo_que_no_es_un_acuse_no_alarga_la_espera() {
        let oyente = TcpListener::bind("127.0.0.1:0").unwrap();
        let direccion = oyente.local_addr().unwrap().to_string();
        let mut canal = Canal::abrir(&direccion, PLAZO_DE_CONEXION).unwrap();
        let (mut grifo, _) = oyente.accept().unwrap();
        let chorro = thread::spawn(move || while grifo.write_all(&[b'A'; 8192]).is_ok() {});
        let hasta = Instant::now() + Duration::from_millis(50);
        while canal.leer(hasta).unwrap().is_some() {}
        drop(canal);
        chorro.join().unwrap();
    }

    #[test]
    fn un_minuto_sin_acuse_se_dice_en_todos_los_sistemas() {
        for agotado in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            let causa = por_que_no_acusa(&agotado.into());
            assert_eq!(causa, "no contestó en un minuto");
        }
    }
}
