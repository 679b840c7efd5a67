//! La conversación con un equipo: mensaje → archivo → acuse.
//!
//! El orden de `recibir_archivo` es la promesa del programa: el acuse AA se
//! redacta después de que el almacén diga que el mensaje está a salvo. Este módulo no sabe
//! cuántas conexiones hay ni de dónde salen las reglas.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{Local, NaiveDateTime};
use log::{debug, error, info, warn};
use socket2::{SockRef, TcpKeepalive};

use crate::acuse::{Reglas, Veredicto};
use crate::almacen::{APARTADOS, Almacen};
use crate::apagado;
use crate::consulta;
use crate::equipo::Equipo;
use crate::indicio::Indicio;
use crate::mensaje::{Cabecera, leer_cabecera};
use crate::registro::escapar;
use crate::trama::{self, Lector, Limites, Motivo, Suceso};

/// Cuánto se espera a un equipo que no recoge su acuse.
const ESPERA_DE_ESCRITURA: Duration = Duration::from_secs(10);
/// Silencio tras el cual se comprueba que el equipo sigue ahí, y cada cuánto se insiste.
const KEEPALIVE_TRAS: Duration = Duration::from_mins(1);
const KEEPALIVE_CADA: Duration = Duration::from_secs(10);
/// Cuánto se muestra de un campo del MSH.
const CAMPO_VISIBLE_BYTES: usize = 64;
/// Cuánto se muestra de una cabecera o de un acuse con RUST_LOG=debug…
const CABECERA_VISIBLE_BYTES: usize = 1024;
/// …y hasta qué campo: si los segmentos llegan sin separar, más allá está el paciente.
const CAMPOS_VISIBLES: usize = 12;

/// Lo que comparten todas las conversaciones.
#[derive(Debug)]
pub struct Recepcion {
    /// Donde se guardan los mensajes.
    pub almacen: Almacen,
    /// Hasta dónde se lee y cuánto se espera.
    pub limites: Limites,
    /// Cómo se acusa.
    pub reglas: Reglas,
    /// Lo hecho desde el arranque.
    pub totales: Totales,
}

/// Lo hecho desde el arranque.
#[derive(Debug, Default)]
pub struct Totales {
    guardados: AtomicU64,
    bytes: AtomicU64,
    fallidos: AtomicU64,
    rechazados: AtomicU64,
    apartados: AtomicU64,
    contestados: AtomicU64,
}

/// Atiende a un equipo hasta que cierra, hasta que la conexión falla o hasta la parada.
///
/// TCP keep-alive descubre a los equipos apagados
/// o desconectados: callar no es motivo de cierre.
pub fn atender(canal: &TcpStream, equipo: &Equipo, recepcion: &Recepcion) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TRAS)
        .with_interval(KEEPALIVE_CADA);
    SockRef::from(canal).set_tcp_keepalive(&keepalive)?;
    canal.set_nodelay(true)?;
    canal.set_write_timeout(Some(ESPERA_DE_ESCRITURA))?;
    let mut conversacion = Conversacion {
        canal,
        equipo,
        recepcion,
        fallo: None,
        ultimo: None,
    };
    conversacion.conversar()
}

/// Si la conversación sigue tras un suceso.
enum Rumbo {
    Seguir,
    Terminar,
}

impl Rumbo {
    /// Quien no recibe respuesta debe notarlo: se cierra su conexión.
    fn tras(codigo: Option<&str>) -> Rumbo {
        if codigo.is_some() {
            Rumbo::Seguir
        } else {
            Rumbo::Terminar
        }
    }
}

struct Conversacion<'a> {
    canal: &'a TcpStream,
    equipo: &'a Equipo,
    recepcion: &'a Recepcion,
    /// Por qué ya no se puede contestar.
    fallo: Option<io::Error>,
    /// El archivo del último mensaje sin trama, por si llega una cola suya.
    ultimo: Option<String>,
}

impl Conversacion<'_> {
    fn conversar(&mut self) -> io::Result<()> {
        let mut lector = Lector::new(self.recepcion.limites);
        let mut espera_puesta = None;
        let mut cerrada = false;
        loop {
            while let Some(suceso) = lector.siguiente() {
                if let Rumbo::Terminar = self.atender_suceso(suceso) {
                    return Ok(());
                }
            }
            if let Some(fallo) = self.fallo.take() {
                return Err(fallo);
            }
            if cerrada {
                return Ok(());
            }
            let espera = lector.espera();
            if espera != espera_puesta {
                self.canal.set_read_timeout(espera)?;
                espera_puesta = espera;
            }
            match self.canal.read(lector.hueco()) {
                Ok(0) => {
                    cerrada = true;
                    lector.cerrar();
                }
                Ok(cuantos) => lector.avanzar(cuantos),
                // Unix dice WouldBlock y Windows TimedOut.
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
                        && espera.is_some() =>
                {
                    lector.vencer();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.fallo = Some(error);
                    lector.cortar();
                }
            }
        }
    }

    fn atender_suceso(&mut self, suceso: Suceso<'_>) -> Rumbo {
        let llegada = Llegada {
            hora: Local::now().naive_local(),
            instante: Instant::now(),
        };
        match suceso {
            Suceso::Mensaje { bytes, con_trama } => {
                let cabecera = leer_cabecera(bytes);
                match &cabecera {
                    Some(cabecera) if cabecera.es_respuesta() => {
                        self.apartar_respuesta(bytes, cabecera, &llegada);
                    }
                    Some(cabecera) => {
                        return self.recibir_archivo(bytes, cabecera, con_trama, &llegada);
                    }
                    None => {
                        return self.rechazar(
                            Veredicto::SinMsh,
                            bytes,
                            bytes.len(),
                            con_trama,
                            &llegada,
                        );
                    }
                }
            }
            Suceso::Excedido {
                comienzo,
                longitud,
                con_trama,
            } => match leer_cabecera(&comienzo) {
                Some(cabecera) if cabecera.es_respuesta() => {
                    self.apartar_respuesta(&comienzo, &cabecera, &llegada);
                }
                _ => {
                    return self.rechazar(
                        Veredicto::Excesivo,
                        &comienzo,
                        longitud,
                        con_trama,
                        &llegada,
                    );
                }
            },
            Suceso::Apartado { bytes, motivo } => self.apartar_resto(&bytes, motivo, &llegada),
            Suceso::Indicio(indicio) => {
                warn!(equipo:% = self.equipo.ip; "{}: {indicio}", self.equipo);
                if indicio.cierra_la_conexion() {
                    return Rumbo::Terminar;
                }
            }
        }
        Rumbo::Seguir
    }

    /// Guarda el mensaje y lo acusa. Es el único sitio donde nace un AA: después del `Ok` del
    /// almacén. En el programa de Python, `recibir_archivo`.
    fn recibir_archivo(
        &mut self,
        mensaje: &[u8],
        cabecera: &Cabecera<'_>,
        con_trama: bool,
        llegada: &Llegada,
    ) -> Rumbo {
        let Some(_en_curso) = apagado::comenzar() else {
            return Rumbo::Terminar;
        };
        let totales = &self.recepcion.totales;
        let (veredicto, archivo) = match self.recepcion.almacen.guardar(mensaje, llegada.hora) {
            Ok(archivo) => {
                sumar(&totales.guardados, 1);
                sumar(&totales.bytes, mensaje.len());
                (Veredicto::Aceptado, archivo)
            }
            Err(error) => {
                sumar(&totales.fallidos, 1);
                error!(
                    equipo:% = self.equipo.ip;
                    "{}: {error}; el mensaje no se perdió si el equipo lo repite",
                    self.equipo
                );
                (
                    Veredicto::Fallido(error.para_el_equipo()),
                    "(sin archivo)".to_owned(),
                )
            }
        };
        let negada = match veredicto {
            Veredicto::Aceptado => self.negar_consulta(mensaje, cabecera, con_trama, llegada),
            _ => None,
        };
        let codigo = negada.or_else(|| self.acusar(veredicto, Some(cabecera), con_trama, llegada));
        self.anotar(codigo, Some(cabecera), mensaje.len(), &archivo, llegada);
        if !con_trama {
            self.ultimo = Some(archivo);
        }
        Rumbo::tras(codigo)
    }

    /// Aparta lo que no es un mensaje que se pueda aceptar, y lo dice con AR.
    fn rechazar(
        &mut self,
        veredicto: Veredicto,
        bytes: &[u8],
        longitud: usize,
        con_trama: bool,
        llegada: &Llegada,
    ) -> Rumbo {
        let Some(_en_curso) = apagado::comenzar() else {
            return Rumbo::Terminar;
        };
        sumar(&self.recepcion.totales.rechazados, 1);
        let cabecera = leer_cabecera(bytes);
        let archivo = if veredicto == Veredicto::Excesivo {
            warn!(
                equipo:% = self.equipo.ip;
                "{}: un mensaje de {longitud} bytes pasa de MaxMensajeMiB y se rechaza; suba MaxMensajeMiB en Config.ini si el equipo debe enviarlo",
                self.equipo
            );
            self.apartar(bytes, "excesivo", llegada)
        } else {
            let habla = Indicio::reconocer(bytes)
                .map(|indicio| format!("; {indicio}"))
                .unwrap_or_default();
            warn!(
                equipo:% = self.equipo.ip;
                "{}: llegó una trama sin MSH: no es HL7 y se rechaza{habla}",
                self.equipo
            );
            self.apartar(bytes, "no_hl7", llegada)
        };
        let codigo = self.acusar(veredicto, cabecera.as_ref(), con_trama, llegada);
        self.anotar(codigo, cabecera.as_ref(), longitud, &archivo, llegada);
        Rumbo::tras(codigo)
    }

    fn apartar_respuesta(&self, bytes: &[u8], cabecera: &Cabecera<'_>, llegada: &Llegada) {
        let archivo = self.apartar(bytes, "respuesta", llegada);
        info!(
            equipo:% = self.equipo.ip;
            "{}: llegó un acuse ({}), que no se contesta; está en {archivo}",
            self.equipo,
            escapar(cabecera.campo(9), CAMPO_VISIBLE_BYTES)
        );
    }

    fn apartar_resto(&self, bytes: &[u8], motivo: Motivo, llegada: &Llegada) {
        let (extension, que_paso, que_hacer) = match motivo {
            Motivo::Cortado => (
                "cortado",
                "cerró la conexión a mitad de un mensaje",
                "el equipo debe enviarlo de nuevo",
            ),
            Motivo::Abandonado => (
                "abandonado",
                "calló a mitad de un mensaje",
                "el equipo debe enviarlo de nuevo; si es un equipo lento, suba EsperaTramaIncompletaS en Config.ini",
            ),
            Motivo::Reiniciado => (
                "reiniciado",
                "empezó un mensaje sin terminar el anterior",
                "se recibe el nuevo",
            ),
            Motivo::Cola => (
                "cola",
                "siguió un mensaje sin trama que ya se había cerrado",
                "suba EsperaSinTramaMs en Config.ini o configure el equipo en HL7/MLLP",
            ),
        };
        let archivo = self.apartar(bytes, extension, llegada);
        let de = match (motivo, &self.ultimo) {
            (Motivo::Cola, Some(ultimo)) => format!(" ({ultimo})"),
            _ => String::new(),
        };
        let habla = Indicio::reconocer(bytes)
            .map(|indicio| format!("; {indicio}"))
            .unwrap_or_default();
        warn!(
            equipo:% = self.equipo.ip;
            "{}: {que_paso}{de}; {} bytes están en {archivo}; {que_hacer}{habla}",
            self.equipo,
            bytes.len()
        );
    }

    /// Devuelve dónde quedaron los bytes, para decirlo.
    fn apartar(&self, bytes: &[u8], extension: &str, llegada: &Llegada) -> String {
        sumar(&self.recepcion.totales.apartados, 1);
        match self
            .recepcion
            .almacen
            .apartar(bytes, llegada.hora, extension)
        {
            Ok(nombre) => format!("{APARTADOS}/{nombre}"),
            Err(error) => {
                error!(equipo:% = self.equipo.ip; "{}: {error}", self.equipo);
                "(sin archivo)".to_owned()
            }
        }
    }

    /// Devuelve el código del acuse; `None` si no se contesta y se cierra la conexión.
    fn acusar(
        &mut self,
        veredicto: Veredicto,
        cabecera: Option<&Cabecera<'_>>,
        con_trama: bool,
        llegada: &Llegada,
    ) -> Option<&'static str> {
        let (ahora, id_propio) = (Local::now().naive_local(), self.id_propio(llegada));
        let reglas = &self.recepcion.reglas;
        let acuse = reglas.redactar(veredicto, cabecera, con_trama, ahora, &id_propio)?;
        self.contestar(&acuse, con_trama);
        reglas.codigo(veredicto)
    }

    /// La respuesta negativa a una consulta ya guardada; devuelve su tipo.
    fn negar_consulta(
        &mut self,
        mensaje: &[u8],
        cabecera: &Cabecera<'_>,
        con_trama: bool,
        llegada: &Llegada,
    ) -> Option<&'static str> {
        if !self.recepcion.reglas.negar_consultas || !consulta::es_consulta(cabecera) {
            return None;
        }
        let (ahora, id_propio) = (Local::now().naive_local(), self.id_propio(llegada));
        let contestacion = consulta::negar(mensaje, cabecera, ahora, &id_propio)?;
        self.contestar(&contestacion.bytes, con_trama);
        Some(contestacion.tipo)
    }

    /// MSH-10 de lo que se contesta a quien no lo trae: la hora y un número, 20 cifras.
    fn id_propio(&self, llegada: &Llegada) -> String {
        let contestados = &self.recepcion.totales.contestados;
        let numero = contestados.fetch_add(1, Ordering::Relaxed) % 1000;
        format!("{}{numero:03}", llegada.hora.format("%Y%m%d%H%M%S%3f"))
    }

    fn contestar(&mut self, contenido: &[u8], con_trama: bool) {
        debug!("{}: acuse: {}", self.equipo, sin_paciente(contenido));
        // Tras un fallo ya no se contesta, pero lo que queda en el búfer aún se guarda.
        if self.fallo.is_none() {
            let escrito = if con_trama {
                self.canal.write_all(&trama::enmarcar(contenido))
            } else {
                self.canal.write_all(contenido)
            };
            self.fallo = escrito.err();
        }
    }

    /// La línea que se ve por mensaje, con lo que se le contestó.
    fn anotar(
        &self,
        codigo: Option<&'static str>,
        cabecera: Option<&Cabecera<'_>>,
        longitud: usize,
        archivo: &str,
        llegada: &Llegada,
    ) {
        let campo = |numero| cabecera.map_or(&b""[..], |cabecera| cabecera.campo(numero));
        let linea = format!(
            "{} {} MSH-10 «{}» {longitud} bytes. Archivo en Transmision: {archivo} {} {} ms",
            self.equipo,
            escapar(campo(9), CAMPO_VISIBLE_BYTES),
            escapar(campo(10), CAMPO_VISIBLE_BYTES),
            codigo.unwrap_or("sin acuse"),
            llegada.instante.elapsed().as_millis()
        );
        match codigo {
            Some("AE" | "AR") | None => warn!(equipo:% = self.equipo.ip; "{linea}"),
            Some(_) => info!("{linea}"),
        }
        if let Some(cabecera) = cabecera {
            let campos: Vec<_> = (2..=CAMPOS_VISIBLES)
                .map(|numero| cabecera.campo(numero))
                .collect();
            let visible = campos.join(cabecera.campo(1));
            debug!(
                "{}: cabecera: MSH{}{}",
                self.equipo,
                escapar(cabecera.campo(1), 1),
                escapar(&visible, CABECERA_VISIBLE_BYTES)
            );
        }
    }
}

/// Cuándo se tuvo entero lo que llegó.
struct Llegada {
    hora: NaiveDateTime,
    instante: Instant,
}

impl fmt::Display for Totales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = |contador: &AtomicU64| contador.load(Ordering::Relaxed);
        write!(
            f,
            "{} mensajes guardados ({} bytes), {} sin guardar, {} rechazados, {} apartados",
            total(&self.guardados),
            total(&self.bytes),
            total(&self.fallidos),
            total(&self.rechazados),
            total(&self.apartados)
        )
    }
}

fn sumar(contador: &AtomicU64, cuanto: usize) {
    contador.fetch_add(cuanto as u64, Ordering::Relaxed);
}

/// Un acuse para mostrar: su MSH hasta MSH-12 y su MSA, sin los campos que copia del equipo.
fn sin_paciente(acuse: &[u8]) -> String {
    let Some(separador) = acuse.get(3) else {
        return String::new();
    };
    let visibles: Vec<_> = acuse
        .split(|octeto| *octeto == b'\r')
        .map(|segmento| {
            segmento
                .splitn(CAMPOS_VISIBLES + 1, |octeto| octeto == separador)
                .take(CAMPOS_VISIBLES)
        })
        .map(|campos| campos.collect::<Vec<_>>().join(separador))
        .collect();
    escapar(&visibles.join(&b' '), CABECERA_VISIBLE_BYTES).to_string()
}
