//! La conversación con un equipo: mensaje → archivo → acuse.
//!
//! El orden de `recibir_archivo` y `acusar_recibido` es la promesa del programa: el acuse AA se redacta
//! después de que el almacén diga que el mensaje está a salvo. Este módulo no sabe cuántas conexiones hay
//! ni de dónde salen las reglas.

use std::fmt::Display;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Local, NaiveDateTime};
use log::{debug, error, info, warn};
use socket2::{SockRef, TcpKeepalive};

use crate::almacen::{APARTADOS, Almacen, ErrorDeAlmacen};
use crate::cable::{Indicio, Lector, Limites, Motivo, Suceso, enmarcar};
use crate::hl7::acuse::{Reglas, Veredicto};
use crate::hl7::consulta;
use crate::hl7::mensaje::{Cabecera, leer_cabecera, se_llama};
use crate::recepcion::equipo::Equipo;
use crate::recepcion::parada::Parada;
use crate::recepcion::totales::{Destino, Totales};
use crate::texto::{Color, colorear, escapar};

/// Cuánto se espera a un equipo que no recoge su acuse.
const ESPERA_DE_ESCRITURA: Duration = Duration::from_secs(10);
/// Silencio tras el cual se comprueba que el equipo sigue ahí, y cada cuánto se insiste.
const KEEPALIVE_TRAS: Duration = Duration::from_mins(1);
const KEEPALIVE_CADA: Duration = Duration::from_secs(10);
/// Cuánto se muestra de un campo del MSH.
const CAMPO_VISIBLE_BYTES: usize = 64;
/// Cuánto se muestra de una cabecera o de un acuse con RUST_LOG=debug…
const CABECERA_VISIBLE_BYTES: usize = 1024;
/// …y hasta qué campo: si los segmentos llegan sin separar, más allá puede estar el paciente.
const CAMPOS_VISIBLES: usize = 12;
const SIN_ARCHIVO: &str = "(sin archivo)";

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
    /// La parada a la que se obedece.
    pub parada: Arc<Parada>,
    /// Cuántas letras ocupa el equipo en la línea de un mensaje.
    pub ancho_de_equipo: usize,
}

/// Atiende a un equipo hasta que cierra, hasta que la conexión falla o hasta la parada.
///
/// TCP keep-alive descubre a los equipos apagados o desconectados: callar no es motivo de cierre.
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

/// Si la conversación sigue tras un suceso, o acaba.
type Rumbo = ControlFlow<()>;

/// Quien no recibe respuesta debe notarlo: se cierra su conexión.
fn rumbo_tras(codigo: Option<&str>) -> Rumbo {
    match codigo {
        Some(_) => Rumbo::Continue(()),
        None => Rumbo::Break(()),
    }
}

/// Un mensaje que ha llegado a su fin.
struct Recibido<'a> {
    /// El mensaje, o su comienzo si pasa del límite.
    bytes: &'a [u8],
    longitud: usize,
    con_trama: bool,
    cabecera: Option<Cabecera<'a>>,
    hora: NaiveDateTime,
    instante: Instant,
}

impl<'a> Recibido<'a> {
    fn ahora(bytes: &'a [u8], longitud: usize, con_trama: bool) -> Recibido<'a> {
        Recibido {
            bytes,
            longitud,
            con_trama,
            cabecera: leer_cabecera(bytes),
            hora: Local::now().naive_local(),
            instante: Instant::now(),
        }
    }

    /// MSH-`numero`, para mostrarlo.
    fn visible(&self, numero: usize) -> impl Display {
        let campo = self
            .cabecera
            .as_ref()
            .map(|cabecera| cabecera.campo(numero));
        escapar(campo.unwrap_or_default(), CAMPO_VISIBLE_BYTES)
    }
}

struct Conversacion<'a> {
    canal: &'a TcpStream,
    equipo: &'a Equipo,
    recepcion: &'a Recepcion,
    /// Por qué ya no se puede contestar.
    fallo: Option<io::Error>,
    /// Dónde está el último mensaje sin trama, por si llega una cola suya.
    ultimo: Option<String>,
}

impl Conversacion<'_> {
    fn conversar(&mut self) -> io::Result<()> {
        let mut lector = Lector::new(self.recepcion.limites);
        let mut espera_puesta = None;
        let mut cerrada = false;
        loop {
            if self.atender_lo_llegado(&mut lector).is_break() {
                return Ok(());
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
            match self.leer(lector.hueco(), espera) {
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

    /// En Windows, una lectura que vence puede llevarse los bytes que llegan en ese instante
    /// (setsockopt, SO_RCVTIMEO): si hay plazo, antes se espera mirando, que no consume nada.
    fn leer(&self, hueco: &mut [u8], plazo: Option<Duration>) -> io::Result<usize> {
        let mut canal = self.canal;
        if cfg!(windows) && plazo.is_some() {
            canal.peek(&mut [0])?;
        }
        canal.read(hueco)
    }

    fn atender_lo_llegado(&mut self, lector: &mut Lector) -> Rumbo {
        while let Some(suceso) = lector.siguiente() {
            // Mientras se atiende lo llegado, la parada espera.
            let Some(_en_curso) = self.recepcion.parada.comenzar() else {
                return Rumbo::Break(());
            };
            self.atender_suceso(suceso)?;
        }
        Rumbo::Continue(())
    }

    fn atender_suceso(&mut self, suceso: Suceso<'_>) -> Rumbo {
        match suceso {
            Suceso::Mensaje { bytes, con_trama } => {
                let recibido = Recibido::ahora(bytes, bytes.len(), con_trama);
                match recibido.cabecera {
                    Some(cabecera) if cabecera.es_respuesta() => self.apartar_respuesta(&recibido),
                    Some(_) => self.recibir_archivo(&recibido),
                    None => self.rechazar(&recibido, Veredicto::SinMsh),
                }
            }
            Suceso::Excedido {
                comienzo,
                longitud,
                con_trama,
            } => {
                let recibido = Recibido::ahora(&comienzo, longitud, con_trama);
                match recibido.cabecera {
                    Some(cabecera) if cabecera.es_respuesta() => self.apartar_respuesta(&recibido),
                    _ => self.rechazar(&recibido, Veredicto::Excesivo),
                }
            }
            Suceso::Apartado { bytes, motivo } => self.apartar_resto(&bytes, motivo),
            Suceso::Indicio(indicio) => {
                warn!(equipo:% = self.equipo.ip; "{}: {indicio}", self.equipo);
                if indicio.cierra_la_conexion() {
                    Rumbo::Break(())
                } else {
                    Rumbo::Continue(())
                }
            }
        }
    }

    /// Guarda el mensaje y lo acusa. En el programa de Python, `recibir_archivo`.
    fn recibir_archivo(&mut self, recibido: &Recibido<'_>) -> Rumbo {
        let comienzo = Instant::now();
        let guardado = self
            .recepcion
            .almacen
            .guardar(recibido.bytes, recibido.hora);
        let destino = match guardado {
            Ok(_) => Destino::Guardado(comienzo.elapsed()),
            Err(_) => Destino::Fallido,
        };
        self.contar(recibido, destino);
        self.acusar_recibido(recibido, guardado)
    }

    /// Contesta según lo que dijo el almacén. Es el único sitio de donde sale una aceptación: con su
    /// `Ok`.
    fn acusar_recibido(
        &mut self,
        recibido: &Recibido<'_>,
        guardado: Result<String, ErrorDeAlmacen>,
    ) -> Rumbo {
        let (codigo, archivo) = match guardado {
            Ok(archivo) => {
                debug!(
                    "Direccion del Archivo a Guardar: {}",
                    self.recepcion.almacen.carpeta().join(&archivo).display()
                );
                let negada = self.negar_consulta(recibido);
                (
                    negada.or_else(|| self.acusar(recibido, Veredicto::Aceptado)),
                    Some(archivo),
                )
            }
            Err(error) => {
                error!(
                    equipo:% = self.equipo.ip;
                    "{}: {error}; el mensaje no se perdió si el equipo lo repite",
                    self.equipo
                );
                (
                    self.acusar(recibido, Veredicto::Fallido(error.para_el_equipo())),
                    None,
                )
            }
        };
        self.anotar(recibido, codigo, archivo);
        rumbo_tras(codigo)
    }

    /// Aparta lo que no es un mensaje que se pueda aceptar, y lo dice con AR.
    fn rechazar(&mut self, recibido: &Recibido<'_>, veredicto: Veredicto) -> Rumbo {
        self.contar(recibido, Destino::Rechazado);
        let (extension, motivo) = if veredicto == Veredicto::Excesivo {
            ("excesivo", "el mensaje pasa de MaxMensajeMiB y se rechaza; suba MaxMensajeMiB en Config.ini si el equipo debe enviarlo".to_owned())
        } else {
            (
                "no_hl7",
                format!(
                    "llegó un mensaje sin MSH: no es HL7 y se rechaza{}",
                    consejo(recibido.bytes)
                ),
            )
        };
        warn!(equipo:% = self.equipo.ip; "{}: {motivo}", self.equipo);
        let archivo = self.apartar(recibido.bytes, recibido.hora, extension);
        let codigo = self.acusar(recibido, veredicto);
        self.anotar(recibido, codigo, archivo);
        rumbo_tras(codigo)
    }

    fn apartar_respuesta(&mut self, recibido: &Recibido<'_>) -> Rumbo {
        let archivo = self.apartar(recibido.bytes, recibido.hora, "respuesta");
        info!(
            equipo:% = self.equipo.ip;
            "{}: llegó un acuse ({}), que no se contesta; está en {}",
            self.equipo,
            recibido.visible(9),
            archivo.as_deref().unwrap_or(SIN_ARCHIVO)
        );
        if !recibido.con_trama {
            self.ultimo = archivo;
        }
        Rumbo::Continue(())
    }

    fn apartar_resto(&mut self, bytes: &[u8], motivo: Motivo) -> Rumbo {
        let (extension, que_paso, que_hacer) = match motivo {
            Motivo::Cortado => (
                "cortado",
                "se cerró la conexión a mitad de un mensaje",
                "el equipo debe enviarlo de nuevo",
            ),
            Motivo::Abandonado => (
                "abandonado",
                "el equipo calló a mitad de un mensaje",
                "debe enviarlo de nuevo; si es un equipo lento, suba EsperaTramaIncompletaS en Config.ini",
            ),
            Motivo::Reiniciado => (
                "reiniciado",
                "el equipo empezó un mensaje sin terminar el anterior",
                "se recibe el nuevo",
            ),
            Motivo::Cola => (
                "cola",
                "llegó el resto de un mensaje sin trama que ya se había cerrado",
                "suba EsperaSinTramaMs en Config.ini",
            ),
        };
        let archivo = self.apartar(bytes, Local::now().naive_local(), extension);
        let de = match (motivo, &self.ultimo) {
            (Motivo::Cola, Some(ultimo)) => format!(" ({ultimo})"),
            _ => String::new(),
        };
        warn!(
            equipo:% = self.equipo.ip;
            "{}: {que_paso}{de}; {} bytes apartados en {}; {que_hacer}{}",
            self.equipo,
            bytes.len(),
            archivo.as_deref().unwrap_or(SIN_ARCHIVO),
            consejo(bytes)
        );
        Rumbo::Continue(())
    }

    /// Devuelve dónde quedaron los bytes, si se pudieron apartar.
    fn apartar(&self, bytes: &[u8], hora: NaiveDateTime, extension: &str) -> Option<String> {
        match self.recepcion.almacen.apartar(bytes, hora, extension) {
            Ok(nombre) => {
                self.recepcion.totales.apartado(&self.equipo.quien);
                Some(format!("{APARTADOS}/{nombre}"))
            }
            Err(error) => {
                error!(equipo:% = self.equipo.ip; "{}: {error}", self.equipo);
                None
            }
        }
    }

    /// Devuelve el código del acuse; `None` si no se contesta y se cierra la conexión.
    fn acusar(&mut self, recibido: &Recibido<'_>, veredicto: Veredicto) -> Option<&'static str> {
        let reglas = &self.recepcion.reglas;
        let acuse = reglas.redactar(
            veredicto,
            recibido.cabecera.as_ref(),
            recibido.con_trama,
            Local::now().naive_local(),
            &self.id_propio(recibido),
        )?;
        self.contestar(&acuse, recibido.con_trama);
        reglas.codigo(veredicto)
    }

    /// La respuesta negativa a una consulta ya guardada; devuelve su tipo.
    fn negar_consulta(&mut self, recibido: &Recibido<'_>) -> Option<&'static str> {
        let cabecera = recibido.cabecera.as_ref()?;
        if !self.recepcion.reglas.negar_consultas || !consulta::es_consulta(cabecera) {
            return None;
        }
        let ahora = Local::now().naive_local();
        let contestacion =
            consulta::negar(recibido.bytes, cabecera, ahora, &self.id_propio(recibido))?;
        self.contestar(&contestacion.bytes, recibido.con_trama);
        Some(contestacion.tipo)
    }

    fn contar(&self, recibido: &Recibido<'_>, destino: Destino) {
        let cuando = (recibido.hora, recibido.instante);
        let totales = &self.recepcion.totales;
        totales.recibido(&self.equipo.quien, recibido.longitud, destino, cuando);
    }

    /// MSH-10 de lo que se contesta a quien no lo trae: la hora y un número, 20 cifras.
    fn id_propio(&self, recibido: &Recibido<'_>) -> String {
        let numero = self.recepcion.totales.numerar() % 1000;
        format!("{}{numero:03}", recibido.hora.format("%Y%m%d%H%M%S%3f"))
    }

    fn contestar(&mut self, contenido: &[u8], con_trama: bool) {
        // Tras un fallo ya no se contesta, pero lo que queda en el búfer aún se guarda.
        if self.fallo.is_some() {
            return;
        }
        debug!("{}: acuse: {}", self.equipo, sin_paciente(contenido));
        let escrito = if con_trama {
            self.canal.write_all(&enmarcar(contenido))
        } else {
            self.canal.write_all(contenido)
        };
        self.fallo = escrito.err();
    }

    /// La línea que se ve por mensaje, con lo que se le contestó.
    fn anotar(
        &mut self,
        recibido: &Recibido<'_>,
        codigo: Option<&'static str>,
        archivo: Option<String>,
    ) {
        let codigo = codigo.filter(|_| self.fallo.is_none());
        let tipo = recibido.visible(9).to_string();
        let tipo = if tipo.is_empty() { "(sin tipo)" } else { &tipo };
        let guardado = archivo
            .as_ref()
            .is_some_and(|archivo| !archivo.starts_with(APARTADOS));
        let color = match codigo {
            None if guardado => Color::Aviso,
            None | Some("AE" | "AR") => Color::Mal,
            Some(_) => Color::Bien,
        };
        // De RSP^K11^RSP_K11, lo que cabe en su columna.
        let dicho: Vec<_> = codigo
            .unwrap_or("sin acuse")
            .splitn(3, '^')
            .take(2)
            .collect();
        let linea = format!(
            "{} {:<ancho$} {tipo:<15} {:>9} bytes {:>5} ms. Archivo en Transmision: {} MSH-10 «{}»",
            colorear(format!("{:<9}", dicho.join("^")), color),
            self.equipo,
            recibido.longitud,
            recibido.instante.elapsed().as_millis(),
            archivo.as_deref().unwrap_or(SIN_ARCHIVO),
            recibido.visible(10),
            ancho = self.recepcion.ancho_de_equipo,
        );
        if color == Color::Bien {
            info!("{linea}");
        } else {
            warn!(equipo:% = self.equipo.ip; "{linea}");
        }
        if let Some(cabecera) = &recibido.cabecera {
            debug!("{}: cabecera: {}", self.equipo, hasta_msh_12(cabecera));
        }
        if !recibido.con_trama {
            self.ultimo = archivo;
        }
    }
}

/// Qué hacer, si los bytes delatan qué habla el equipo.
fn consejo(bytes: &[u8]) -> String {
    Indicio::reconocer(bytes)
        .map(|indicio| format!("; {indicio}"))
        .unwrap_or_default()
}

/// Una cabecera para mostrar.
fn hasta_msh_12(cabecera: &Cabecera<'_>) -> String {
    let separador = cabecera.campo(1);
    let campos: Vec<_> = (2..=CAMPOS_VISIBLES)
        .map(|numero| cabecera.campo(numero))
        .collect();
    let visibles = [b"MSH", separador, &campos.join(separador)].concat();
    escapar(&visibles, CABECERA_VISIBLE_BYTES).to_string()
}

/// Un acuse para mostrar: su MSH y su MSA hasta el campo 12. Los demás segmentos copian al equipo.
fn sin_paciente(acuse: &[u8]) -> String {
    let Some(separador) = acuse.get(3) else {
        return String::new();
    };
    let visibles: Vec<_> = acuse
        .split(|octeto| *octeto == b'\r')
        .filter(|segmento| se_llama(segmento, b"MSH") || se_llama(segmento, b"MSA"))
        .map(|segmento| {
            segmento
                .split(|octeto| octeto == separador)
                .take(CAMPOS_VISIBLES)
        })
        .map(|campos| campos.collect::<Vec<_>>().join(separador))
        .collect();
    escapar(&visibles.join(&b' '), CABECERA_VISIBLE_BYTES).to_string()
}
