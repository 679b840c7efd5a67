//! La conversación con un equipo: mensaje → archivo → acuse.
//!
//! El orden de `recibir_archivo` y `acusar_recibido` es la promesa del programa: el acuse AA se redacta
//! después de que el almacén diga que el mensaje está a salvo. Este módulo no sabe cuántas conexiones hay
//! ni de dónde salen las reglas.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use std::{mem, thread};

use chrono::{Local, NaiveDateTime};
use log::{debug, info};
use socket2::{SockRef, TcpKeepalive};

use crate::almacen::{Apartado, ErrorDeAlmacen};
use crate::cable::{COMIENZO_BYTES, Envoltura, Lector, Motivo, Suceso, Tope, enmarcar};
use crate::causa::se_agoto;
use crate::hl7::acuse::Veredicto;
use crate::hl7::consulta;
use crate::hl7::mensaje::{self, leer_cabecera};
use crate::lectura::leer;
use crate::recepcion::Recepcion;
use crate::recepcion::cuenta::Destino;
use crate::recepcion::desechos::{MAX_POR_MINUTO, Medida};
use crate::recepcion::equipo::{AnteReenvio, Equipo, avisar};
use crate::recepcion::linea::{self, Contestado, Lugar, Recibido, hasta_msh_12, sin_paciente};
use crate::recepcion::paciencia::Paciencia;
use crate::recepcion::parada::EnCurso;
use crate::recepcion::plazas::{Actividad, CADA_MIRADA};
use crate::recepcion::resto;
use crate::recepcion::totales::Conectado;
use crate::texto::{Color, cifras, ruta_visible};

/// Cuánto se espera a un equipo que no recoge su acuse.
const ESPERA_DE_ESCRITURA: Duration = Duration::from_secs(10);
/// Cuánto se espera tras cada cosa de quien se pasa de la medida de lo que no son mensajes.
const PAUSA_DEL_DESMEDIDO: Duration = Duration::from_millis(10);
/// Cuánto se lee a lo sumo de quien ya no recibe respuesta: más de lo que un sistema guarda de una conexión que
/// nadie lee, para que no falte nada de lo que llegó, y quien siga enviando no retenga a nadie.
const SIN_CONTESTAR_BYTES: usize = 16 * 1024 * 1024;
/// Cuánto se cuenta, al parar, lo que no comenzará: menos de lo que la parada espera por ello.
const PLAZO_DE_LA_CUENTA: Duration = Duration::from_millis(500);
/// Silencio tras el cual se comprueba que el equipo sigue ahí, y cada cuánto se insiste.
const KEEPALIVE_TRAS: Duration = Duration::from_mins(1);
const KEEPALIVE_CADA: Duration = Duration::from_secs(10);
/// Cómo dice el sistema que en ese tiempo no llegó nada. En Unix, `TimedOut` es otra cosa: la red dio por
/// muerto al equipo.
const SILENCIO: ErrorKind = if cfg!(windows) {
    ErrorKind::TimedOut
} else {
    ErrorKind::WouldBlock
};

impl Recepcion {
    /// Atiende a un equipo hasta que cierra, hasta que la conexión falla o hasta la parada.
    ///
    /// TCP keep-alive descubre a los equipos apagados o desconectados: callar no es motivo de cierre.
    pub fn atender(
        &self,
        canal: &TcpStream,
        equipo: &Equipo,
        actividad: &Actividad,
    ) -> io::Result<()> {
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_TRAS)
            .with_interval(KEEPALIVE_CADA);
        SockRef::from(canal).set_tcp_keepalive(&keepalive)?;
        canal.set_nodelay(true)?;
        canal.set_write_timeout(Some(ESPERA_DE_ESCRITURA))?;
        let mut conversacion = Conversacion {
            canal,
            equipo,
            recepcion: self,
            conectado: self.totales.conectar(&equipo.quien),
            actividad,
            en_curso: None,
            fin: None,
            ultimo: Lugar::Ninguno,
            con_cola: false,
            sin_guardar: None,
            desmedido: false,
            atendidos: 0,
            acuses: 0,
            contestados: 0,
        };
        let acabada = conversacion.conversar();
        conversacion.guardar_el_ultimo_desecho();
        acabada
    }
}

/// Si la conversación sigue tras un suceso, o acaba.
type Rumbo = ControlFlow<()>;

/// Por qué se corta una conexión que aún vive. Lo dice quien la abrió, como cualquier otro error suyo.
fn se_corta(motivo: String) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, motivo)
}

fn no_recoge() -> io::Error {
    let segundos = ESPERA_DE_ESCRITURA.as_secs();
    se_corta(format!(
        "no recoge su acuse desde hace {segundos} s; revise el equipo"
    ))
}

struct Conversacion<'a> {
    canal: &'a TcpStream,
    equipo: &'a Equipo,
    recepcion: &'a Recepcion,
    /// La cuenta de lo que se recibe en ella.
    conectado: Conectado<'a>,
    /// Qué hace la conexión, para quien reparte las plazas.
    actividad: &'a Actividad,
    /// El mensaje que se está atendiendo, para que la parada lo espere.
    en_curso: Option<EnCurso<'a>>,
    /// Cómo acaba, desde que ya no se contesta.
    fin: Option<io::Result<()>>,
    /// Dónde está el último mensaje, por si llega una cola suya, y si ya llegó alguna.
    ultimo: Lugar,
    con_cola: bool,
    /// Lo último que se contó en lugar de apartarse.
    sin_guardar: Option<(Vec<u8>, Apartado)>,
    /// Si lleva demasiado sin enviar más que basura.
    desmedido: bool,
    /// Cuántas cosas se han atendido.
    atendidos: u64,
    /// Cuántos acuses del equipo se han contado.
    acuses: u64,
    /// Cuántas veces se le ha contestado.
    contestados: u64,
}

impl Conversacion<'_> {
    fn conversar(&mut self) -> io::Result<()> {
        let mut lector = Lector::new(self.equipo.trato.limites, Instant::now());
        let mut plazo_puesto = None;
        let mut paciencia = Paciencia::default();
        let mut cerrada = false;
        loop {
            if self.atender_lo_llegado(&mut lector).is_break() {
                return Ok(());
            }
            if self.fin.is_some() {
                return self.acabar_sin_contestar(&mut lector);
            }
            if cerrada {
                return Ok(());
            }
            let espera = lector.espera();
            if espera == Some(Duration::ZERO) {
                lector.vencer();
                continue;
            }
            let a_medias = lector.hay_algo_a_medias();
            if paciencia.se_agota(a_medias, self.atendidos, Instant::now()) {
                self.fin = Some(Err(se_corta(
                    "lleva más de una hora enviando un mismo mensaje; debe enviarlo de nuevo; revise el equipo y su red".to_owned(),
                )));
                continue;
            }
            // En Windows nadie despierta a quien lee: mira de vez en cuando si aún tiene plaza.
            let plazo = espera.or(cfg!(windows).then_some(CADA_MIRADA));
            if plazo != plazo_puesto {
                self.canal.set_read_timeout(plazo)?;
                plazo_puesto = plazo;
            }
            if !self.actividad.leer(a_medias) {
                self.perder_la_plaza();
                continue;
            }
            let llegando = a_medias.then(|| self.recepcion.parada.llega_a_medias());
            let leido = leer(self.canal, lector.hueco(), plazo);
            drop(llegando);
            if !self.actividad.atender() {
                self.perder_la_plaza();
            }
            cerrada = self.anotar_lectura(&mut lector, leido, espera.is_some());
        }
    }

    /// Ya no se le contesta.
    fn acabar_sin_contestar(&mut self, lector: &mut Lector) -> io::Result<()> {
        // Acabe como acabe, no hay más que atender.
        let _ = self.atender_lo_que_queda(lector);
        self.fin.take().unwrap_or(Ok(()))
    }

    /// Lo que ya llegó a este PC y nadie ha leído, sin esperar a más, y lo que quedó a medias: quien cierra sin
    /// recoger sus acuses pudo enviar muchos mensajes, y quizá no los envíe otra vez.
    fn atender_lo_que_queda(&mut self, lector: &mut Lector) -> Rumbo {
        let sin_esperar = self.canal.set_nonblocking(true).is_ok();
        let mut leidos = 0;
        while sin_esperar && leidos < SIN_CONTESTAR_BYTES {
            match leer(self.canal, lector.hueco(), None) {
                Ok(cuantos) if cuantos > 0 => {
                    leidos += cuantos;
                    lector.avanzar(cuantos, Instant::now());
                }
                _ => break,
            }
            self.atender_lo_llegado(lector)?;
        }
        lector.cortar();
        self.atender_lo_llegado(lector)
    }

    /// Desde ahora no se le contesta. Quien abrió la conexión sabe que la rompió el programa.
    fn perder_la_plaza(&mut self) {
        self.fin
            .get_or_insert_with(|| Err(ErrorKind::ConnectionAborted.into()));
    }

    /// Cuenta al lector lo que pasó al leer, o que nada llegó; devuelve si el equipo cerró. Un silencio
    /// que nadie esperaba es el de quien solo mira si aún tiene plaza.
    fn anotar_lectura(
        &mut self,
        lector: &mut Lector,
        leido: io::Result<usize>,
        se_espera_silencio: bool,
    ) -> bool {
        let cerro = matches!(leido, Ok(0));
        match leido {
            // El cierre de quien perdió su plaza no es suyo: no acaba nada.
            Ok(0) if self.fin.is_some() => {}
            Ok(0) => lector.cerrar(),
            Ok(cuantos) => lector.avanzar(cuantos, Instant::now()),
            Err(error) if error.kind() == SILENCIO && se_espera_silencio => lector.vencer(),
            Err(error) if error.kind() == SILENCIO && cfg!(windows) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.fin = Some(Err(error)),
        }
        cerro
    }

    fn atender_lo_llegado(&mut self, lector: &mut Lector) -> Rumbo {
        while let Some(suceso) = lector.siguiente() {
            // Mientras se atiende lo llegado, la parada espera.
            let Some(en_curso) = self.recepcion.parada.comenzar() else {
                self.contar_sin_comenzar(&suceso);
                self.contar_lo_que_queda(lector);
                return Rumbo::Break(());
            };
            self.en_curso = Some(en_curso);
            let rumbo = self.atender_suceso(suceso);
            if self.recepcion.parada.pedida() {
                self.contar_lo_que_queda(lector);
                return Rumbo::Break(());
            }
            self.en_curso = None;
            self.atendidos += 1;
            rumbo?;
            if self.desmedido {
                return Rumbo::Break(());
            }
            // Quien perdió su plaza mientras se le atendía recibe la respuesta a eso, y a nada más.
            if self.actividad.es_perdida() {
                self.perder_la_plaza();
            }
        }
        Rumbo::Continue(())
    }

    /// Se ha pedido parar, y lo que ya llegó a este PC no comenzará: se cuenta, para que la despedida lo diga. Si
    /// hay algo en curso, la parada espera a que se sepa.
    fn contar_lo_que_queda(&mut self, lector: &mut Lector) {
        if let Some(en_curso) = &mut self.en_curso {
            en_curso.acusar();
        }
        let limite = Instant::now() + PLAZO_DE_LA_CUENTA;
        let sin_esperar = self.canal.set_nonblocking(true).is_ok();
        loop {
            while let Some(suceso) = lector.siguiente() {
                self.contar_sin_comenzar(&suceso);
            }
            if !sin_esperar || Instant::now() >= limite {
                break;
            }
            match leer(self.canal, lector.hueco(), None) {
                Ok(cuantos) if cuantos > 0 => lector.avanzar(cuantos, Instant::now()),
                _ => break,
            }
        }
        if lector.hay_algo_a_medias() {
            self.recepcion.parada.no_comienza(false);
        }
    }

    fn contar_sin_comenzar(&self, suceso: &Suceso<'_>) {
        let comienzo = match suceso {
            Suceso::Mensaje { bytes, .. } => bytes,
            Suceso::Excedido { comienzo, .. } => &**comienzo,
            Suceso::Apartado { .. } => return self.recepcion.parada.no_comienza(false),
            Suceso::Indicio(_) => return,
        };
        // Una respuesta no se habría acusado.
        if !leer_cabecera(comienzo).is_some_and(|cabecera| cabecera.es_respuesta()) {
            self.recepcion.parada.no_comienza(true);
        }
    }

    fn atender_suceso(&mut self, suceso: Suceso<'_>) -> Rumbo {
        let ahora = (Local::now(), Instant::now());
        match suceso {
            Suceso::Mensaje { bytes, envoltura } => {
                let recibido = Recibido::new(bytes, bytes.len(), envoltura, ahora);
                self.atender_mensaje(recibido, None);
            }
            Suceso::Excedido {
                comienzo,
                longitud,
                envoltura,
                tope,
            } => {
                let recibido = Recibido::new(&comienzo, longitud, envoltura, ahora);
                self.atender_mensaje(recibido, Some(tope));
            }
            Suceso::Apartado {
                bytes,
                longitud,
                motivo,
            } => self.apartar_resto(&bytes, longitud, motivo),
            Suceso::Indicio(indicio) => {
                avisar!(warn, self.equipo, clase = indicio; "{indicio}");
                if indicio.cierra_la_conexion() {
                    return Rumbo::Break(());
                }
            }
        }
        Rumbo::Continue(())
    }

    /// Con un `tope`, el mensaje no cupo y solo se tiene su comienzo.
    fn atender_mensaje(&mut self, recibido: Recibido<'_>, tope: Option<Tope>) {
        match (recibido.cabecera, tope) {
            (Some(cabecera), _) if cabecera.es_respuesta() => self.apartar_respuesta(&recibido),
            (Some(_), None) => self.recibir_archivo(recibido),
            (_, tope) => self.rechazar(&recibido, tope),
        }
    }

    /// Guarda el mensaje y lo acusa. En el programa de Python, `recibir_archivo`.
    fn recibir_archivo(&mut self, mut recibido: Recibido<'_>) {
        let almacen = &self.recepcion.almacen;
        let huella = self.recepcion.totales.huella(recibido.bytes);
        recibido.repetido_de = self.conectado.repetido_de(huella);
        let comienzo = Instant::now();
        let guardado = self.apartar_reenvio(&recibido).map_or_else(
            || {
                let carpeta = self.equipo.trato.carpeta.as_deref();
                let hora = recibido.hora.naive_local();
                let guardado = almacen.guardar(carpeta, recibido.bytes, hora);
                self.recepcion.averias.anotar(carpeta, guardado.is_ok());
                guardado
            },
            Ok,
        );
        let destino = match &guardado {
            Ok(archivo) => {
                self.actividad.anotar(recibido.instante);
                let tardo = comienzo.elapsed();
                match recibido.repetido_de {
                    Some(_) => Destino::Repetido(tardo),
                    None => Destino::Guardado {
                        archivo: archivo.clone(),
                        huella,
                        tardo,
                    },
                }
            }
            Err(_) => Destino::Fallido,
        };
        self.contar(&recibido, destino);
        self.acusar_recibido(&recibido, guardado);
    }

    /// Aparta un reenvío, si así se pide, y devuelve dónde. Si no se puede, se guardará como los demás: quien no
    /// recibe su AA no envía otra cosa.
    fn apartar_reenvio(&self, recibido: &Recibido<'_>) -> Option<String> {
        let se_aparta = self.equipo.trato.reenvios == AnteReenvio::Apartar;
        if recibido.repetido_de.is_none() || !se_aparta {
            return None;
        }
        let hora = recibido.hora.naive_local();
        let apartado = self
            .recepcion
            .almacen
            .apartar(recibido.bytes, hora, Apartado::Repetido);
        apartado
            .inspect_err(|error| {
                avisar!(
                    warn,
                    self.equipo,
                    clase = error.para_el_equipo();
                    "{error}; el reenvío se guarda con los demás mensajes"
                );
            })
            .ok()
    }

    /// Contesta según lo que dijo el almacén. Es el único sitio de donde sale una aceptación: con su
    /// `Ok`.
    fn acusar_recibido(
        &mut self,
        recibido: &Recibido<'_>,
        guardado: Result<String, ErrorDeAlmacen>,
    ) {
        let ahora = Local::now().naive_local();
        let (contestado, lugar) = match guardado {
            Ok(archivo) => {
                debug!(
                    "Direccion del Archivo a Guardar: {}",
                    ruta_visible(&self.recepcion.almacen.carpeta().join(&archivo))
                );
                let contestado = self
                    .negar_consulta(recibido, ahora)
                    .unwrap_or_else(|| self.acusar(recibido, Veredicto::Aceptado, ahora));
                (contestado, Lugar::Guardado(archivo))
            }
            Err(error) => {
                let causa = error.para_el_equipo();
                avisar!(
                    error,
                    self.equipo,
                    clase = causa;
                    "{error}; el mensaje no se perdió si el equipo lo repite"
                );
                let veredicto = Veredicto::Fallido(causa);
                (self.acusar(recibido, veredicto, ahora), Lugar::Ninguno)
            }
        };
        self.anotar(recibido, contestado, lugar);
    }

    /// Aparta lo que no es un mensaje que se pueda aceptar, y lo contesta: si no hay un `tope`, es que no tiene
    /// MSH. Lo que no cupo en el límite sobra siempre; lo que no cupo en la memoria puede caber más tarde.
    fn rechazar(&mut self, recibido: &Recibido<'_>, tope: Option<Tope>) {
        let (veredicto, destino, apartado, que_paso, consejo) = match tope {
            Some(Tope::Limite) => (
                Veredicto::Excesivo,
                Destino::Rechazado,
                Apartado::Excesivo,
                "el mensaje pasa de MaxMensajeMiB y se rechaza; suba MaxMensajeMiB en Config.ini si el equipo debe enviarlo",
                String::new(),
            ),
            Some(Tope::Memoria) => (
                Veredicto::Fallido("No hay memoria para el mensaje"),
                Destino::Fallido,
                Apartado::Excesivo,
                "no hay memoria para el mensaje; cierre programas; el mensaje no se perdió si el equipo lo repite",
                String::new(),
            ),
            None => (
                Veredicto::SinMsh,
                Destino::Rechazado,
                Apartado::NoHl7,
                "llegó un mensaje sin MSH: no es HL7 y se rechaza",
                resto::consejo(recibido.bytes),
            ),
        };
        self.contar(recibido, destino);
        avisar!(warn, self.equipo, clase = que_paso; "{que_paso}{consejo}");
        let lugar = self.apartar(recibido.bytes, recibido.hora.naive_local(), apartado);
        let contestado = self.acusar(recibido, veredicto, Local::now().naive_local());
        self.anotar(recibido, contestado, lugar);
    }

    fn apartar_respuesta(&mut self, recibido: &Recibido<'_>) {
        if mensaje::solo_acusa(recibido.bytes) {
            // Hay equipos que acusan cada acuse: no es nada que haya que mirar, si no envían más.
            self.acuses += 1;
            if self.acuses > self.contestados {
                self.medir_desecho();
            }
            let (equipo, acuses) = (self.equipo, self.acuses);
            debug!("{equipo}: llegó un acuse, que no se contesta ni se guarda (van {acuses})");
            // Si algo lo sigue, es suyo y no del último mensaje.
            self.ultimo = Lugar::Ninguno;
            return;
        }
        let hora = recibido.hora.naive_local();
        let lugar = self.apartar(recibido.bytes, hora, Apartado::Respuesta);
        avisar!(
            info,
            self.equipo,
            "llegó un acuse ({}), que no se contesta; {}",
            recibido.visible(9),
            lugar.donde(recibido.longitud, recibido.bytes.len())
        );
        self.ultimo = lugar;
    }

    /// De lo que no cupo, los `bytes` son el comienzo.
    fn apartar_resto(&mut self, bytes: &[u8], longitud: usize, motivo: Motivo) {
        let (apartado, que_paso, que_hacer) = resto::explicar(motivo);
        let hora = Local::now().naive_local();
        let lugar = self.apartar(bytes, hora, apartado);
        let de = match (motivo, &self.ultimo) {
            (
                Motivo::Cola | Motivo::ColaDeTrama,
                Lugar::Guardado(ultimo) | Lugar::Apartado(ultimo),
            ) => {
                format!(" ({ultimo})")
            }
            _ => String::new(),
        };
        avisar!(
            warn,
            self.equipo,
            clase = que_paso;
            "{que_paso}{de}; {}; {que_hacer}{}{}",
            lugar.donde(longitud, bytes.len()),
            resto::si_parece_entero(bytes, apartado),
            resto::consejo(bytes)
        );
    }

    /// Llegó una cola. Si es la primera del último mensaje, que se guardó, es suya, y queda aunque el equipo
    /// se haya pasado de la medida.
    fn tomar_primera_cola(&mut self) -> bool {
        !mem::replace(&mut self.con_cola, true) && matches!(self.ultimo, Lugar::Guardado(_))
    }

    /// Aparta los bytes, si el equipo no se ha pasado de la medida, y devuelve dónde quedaron.
    fn apartar(&mut self, bytes: &[u8], hora: NaiveDateTime, apartado: Apartado) -> Lugar {
        self.conectado.apartado();
        let es_de_lo_guardado = apartado == Apartado::Cola && self.tomar_primera_cola();
        if es_de_lo_guardado || self.medir_desecho() == Medida::Guardar {
            return self.guardar_apartado(bytes, hora, apartado);
        }
        let comienzo = &bytes[..bytes.len().min(COMIENZO_BYTES)];
        self.sin_guardar = Some((comienzo.to_vec(), apartado));
        Lugar::Ninguno
    }

    /// Cuenta algo que no es un mensaje. A quien se pasa de la medida se le lee despacio: no le quita a
    /// nadie el procesador.
    fn medir_desecho(&mut self) -> Medida {
        let medida = self.conectado.medir_desecho(Instant::now());
        match medida {
            Medida::Guardar => return medida,
            Medida::DecirYContar => avisar!(
                warn,
                self.equipo,
                "más de {MAX_POR_MINUTO} cosas que no son mensajes en un minuto: de las demás solo se guarda la última; revise qué envía"
            ),
            Medida::Contar => {}
            Medida::Cerrar => {
                avisar!(
                    warn,
                    self.equipo,
                    "lleva un minuto sin enviar más que cosas que no son mensajes; se cierra la conexión"
                );
                self.desmedido = true;
            }
        }
        thread::sleep(PAUSA_DEL_DESMEDIDO);
        medida
    }

    fn guardar_apartado(&self, bytes: &[u8], hora: NaiveDateTime, apartado: Apartado) -> Lugar {
        match self.recepcion.almacen.apartar(bytes, hora, apartado) {
            Ok(nombre) => Lugar::Apartado(nombre),
            Err(error) => {
                avisar!(error, self.equipo, clase = error.para_el_equipo(); "{error}");
                Lugar::Ninguno
            }
        }
    }

    /// De lo que se contó en lugar de guardarse queda lo último, para que se pueda mirar.
    fn guardar_el_ultimo_desecho(&mut self) {
        let Some((bytes, apartado)) = self.sin_guardar.take() else {
            return;
        };
        if self.conectado.toca_la_ultima(Instant::now()) {
            // La hora de entonces pasaría por la de un reloj que se ha retrasado.
            self.guardar_apartado(&bytes, Local::now().naive_local(), apartado);
        }
    }

    fn acusar(
        &mut self,
        recibido: &Recibido<'_>,
        veredicto: Veredicto,
        ahora: NaiveDateTime,
    ) -> Contestado {
        let reglas = &self.equipo.trato.reglas;
        let acuse = reglas.redactar(
            veredicto,
            recibido.cabecera.as_ref(),
            recibido.envoltura != Envoltura::Ninguna,
            ahora,
            self.id_propio(recibido),
        );
        let (Some(acuse), Some(codigo)) = (acuse, reglas.codigo(veredicto)) else {
            // Quien no recibe respuesta debe notarlo: se cierra su conexión, y a lo que llegó detrás no se le
            // contesta.
            self.fin.get_or_insert(Ok(()));
            return Contestado::Nada;
        };
        self.contestar(recibido, acuse);
        if veredicto == Veredicto::Aceptado {
            Contestado::Aceptado(codigo)
        } else {
            Contestado::NoAceptado(codigo)
        }
    }

    /// La respuesta negativa a una consulta ya guardada, si lo es.
    fn negar_consulta(
        &mut self,
        recibido: &Recibido<'_>,
        ahora: NaiveDateTime,
    ) -> Option<Contestado> {
        let cabecera = recibido.cabecera.as_ref()?;
        if !self.equipo.trato.reglas.negar_consultas {
            return None;
        }
        let contestacion =
            consulta::negar(recibido.bytes, cabecera, ahora, self.id_propio(recibido))?;
        self.contestar(recibido, contestacion.bytes);
        if self.fin.is_none() {
            self.conectado.consulta();
        }
        Some(Contestado::Negada(contestacion.tipo))
    }

    fn contar(&self, recibido: &Recibido<'_>, destino: Destino) {
        let cuando = (recibido.hora, recibido.instante);
        self.conectado.recibido(recibido.longitud, destino, cuando);
    }

    /// MSH-10 de lo que se contesta a quien no lo trae: la hora y un número, 20 cifras.
    fn id_propio(&self, recibido: &Recibido<'_>) -> impl fmt::Display {
        let (hora, totales) = (recibido.hora.naive_local(), &self.recepcion.totales);
        fmt::from_fn(move |f| {
            let numero = totales.numerar() % 1000;
            write!(f, "{}{numero:03}", cifras(hora))
        })
    }

    fn contestar(&mut self, recibido: &Recibido<'_>, contenido: Vec<u8>) {
        // Lo que queda en el búfer aún se guarda.
        if self.fin.is_some() {
            return;
        }
        debug!(
            "{}: acuse: {}",
            self.equipo,
            sin_paciente(recibido, &contenido)
        );
        if let Some(en_curso) = &mut self.en_curso {
            en_curso.acusar();
        }
        let trama = enmarcar(contenido, recibido.envoltura);
        self.fin = self.escribir(&trama).err().map(Err);
        self.contestados += 1;
    }

    /// Envía los bytes. Quien no los recoge todos en [`ESPERA_DE_ESCRITURA`] no recibe más, aunque
    /// recoja alguno de vez en cuando.
    fn escribir(&self, bytes: &[u8]) -> io::Result<()> {
        let (mut canal, mut pendientes) = (self.canal, bytes);
        let comienzo = Instant::now();
        let mut recortado = false;
        loop {
            match canal.write(pendientes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(cuantos) => pendientes = &pendientes[cuantos..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if se_agoto(&error) => return Err(no_recoge()),
                Err(error) => return Err(error),
            }
            if pendientes.is_empty() {
                break;
            }
            let resto = ESPERA_DE_ESCRITURA.saturating_sub(comienzo.elapsed());
            if resto.is_zero() {
                return Err(no_recoge());
            }
            canal.set_write_timeout(Some(resto))?;
            recortado = true;
        }
        if recortado {
            canal.set_write_timeout(Some(ESPERA_DE_ESCRITURA))?;
        }
        Ok(())
    }

    /// Dice lo que fue de un mensaje, y recuerda dónde está.
    fn anotar(&mut self, recibido: &Recibido<'_>, contestado: Contestado, lugar: Lugar) {
        let contestado = match self.fin {
            Some(_) => Contestado::Nada,
            None => contestado,
        };
        self.decir(recibido, &contestado, &lugar);
        (self.ultimo, self.con_cola) = (lugar, false);
    }

    /// La línea que se ve por mensaje, con lo que se le contestó.
    fn decir(&self, recibido: &Recibido<'_>, contestado: &Contestado, lugar: &Lugar) {
        let ancho = self.recepcion.ancho_de_equipo;
        let (entera, fila) = linea::redactar(recibido, self.equipo, ancho, contestado, lugar);
        if linea::color(contestado, lugar) != Color::Bien {
            avisar!(warn, self.equipo, fila = fila, clase = contestado; "{entera}");
        } else if recibido.repetido_de.is_some() {
            // Hay equipos que comprueban la conexión con el mismo mensaje cada segundo.
            avisar!(info, self.equipo, fila = fila, clase = contestado; "{entera}");
        } else {
            info!(fila = fila.as_str(); "{entera}");
        }
        if let Some(cabecera) = &recibido.cabecera {
            debug!("{}: cabecera: {}", self.equipo, hasta_msh_12(cabecera));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::net::{Ipv4Addr, Shutdown, TcpListener};

    use super::*;
    use crate::recepcion::tests::recepcion_en;

    /// Una recepción en una carpeta nueva, y una conexión: la del analizador, la nuestra y quién es.
    fn conectar(carpeta: &str) -> (Recepcion, TcpStream, TcpStream, Equipo) {
        let (recepcion, equipos) = recepcion_en(carpeta, "");
        let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let analizador = TcpStream::connect(escucha.local_addr().unwrap()).unwrap();
        let (canal, origen) = escucha.accept().unwrap();
        (recepcion, analizador, canal, equipos.identificar(origen))
    }

    /// Lo que recibe y lo que se cuenta de quien ya se pasaba hace un minuto, que se finge y no se espera, y
    /// envía eso.
    fn tras_pasarse_un_minuto(carpeta: &str, tramas: &[&[u8]]) -> (String, String) {
        let (recepcion, mut analizador, canal, equipo) = conectar(carpeta);
        let hace_un_minuto = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        // Mientras hay una conexión suya, su cuenta se queda.
        let suya = recepcion.totales.conectar(&equipo.quien);
        for _ in 0..=MAX_POR_MINUTO {
            suya.medir_desecho(hace_un_minuto);
        }
        for contenido in tramas {
            let trama = enmarcar(*contenido, Envoltura::Mllp);
            analizador.write_all(&trama).unwrap();
        }
        analizador.shutdown(Shutdown::Write).unwrap();
        recepcion
            .atender(&canal, &equipo, &Actividad::default())
            .unwrap();
        drop(canal);
        let mut acuses = Vec::new();
        // Si se cerró sin leerlo todo, la conexión acaba rota.
        let _ = analizador.read_to_end(&mut acuses);
        fs::remove_dir_all(recepcion.almacen.carpeta()).unwrap();
        (
            String::from_utf8(acuses).unwrap(),
            recepcion.totales.to_string(),
        )
    }

    const MENSAJE: &[u8] = b"MSH|^~\\&|||||||ORU^R01|7|P|2.5\r";
    const BASURA: [&[u8]; 1 + MAX_POR_MINUTO as usize] = [b"basura"; 1 + MAX_POR_MINUTO as usize];

    /// Si el programa se detiene entonces, se dice.
    #[test]
    fn mientras_un_mensaje_llega_consta_que_esta_a_medias() {
        let (recepcion, mut analizador, canal, equipo) = conectar("a-medias");
        let a_medias = || recepcion.parada.a_medias();
        thread::scope(|hilos| {
            let atendido =
                hilos.spawn(|| recepcion.atender(&canal, &equipo, &Actividad::default()));
            assert_eq!(a_medias(), 0);
            analizador
                .write_all(&enmarcar(MENSAJE, Envoltura::Mllp)[..20])
                .unwrap();
            while a_medias() != 1 {
                assert!(!atendido.is_finished());
                thread::yield_now();
            }
            drop(analizador);
            atendido.join().unwrap().unwrap();
        });
        assert_eq!(a_medias(), 0);
        fs::remove_dir_all(recepcion.almacen.carpeta()).unwrap();
    }

    #[test]
    fn a_quien_se_pasa_un_minuto_se_le_cierra_y_lo_que_se_le_rechaza_se_cuenta() {
        let enviado = [&BASURA, &[MENSAJE][..]].concat();
        let (_, totales) = tras_pasarse_un_minuto("desmedido", &enviado);
        let esperado =
            "mensajes guardados: 0 (0 bytes), sin guardar: 0, rechazados: 61, apartados: 61";
        assert_eq!(totales, esperado);
    }

    #[test]
    fn a_quien_entrega_un_mensaje_se_le_perdona_lo_que_se_paso() {
        let enviado = [&[MENSAJE], &BASURA[..], &[MENSAJE]].concat();
        let (acuses, _) = tras_pasarse_un_minuto("perdonado", &enviado);
        assert_eq!(acuses.matches("MSA|AA|7|").count(), 2);
        assert_eq!(acuses.matches("MSA|AR|").count(), BASURA.len());
    }
}
