//! El envío: manda mensajes a un receptor como lo haría un analizador, en orden, y dice en palabras qué
//! se contestó y cuánto tardó.
//!
//! Sirve para el primer ensayo, sin analizador, y para enviar otra vez lo de un día. No sabe nada del
//! servidor de este programa: vale contra cualquier receptor.

mod avance;
mod canal;
mod contenido;
mod lista;
mod respuesta;
mod seguir;

use std::collections::VecDeque;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::causa;
use crate::configuracion::Destino;
use crate::pedido::ErrorDePedido;
use crate::texto::{milisegundos, ruta_visible};
use avance::Pantalla;
pub use canal::separar_destino;
use canal::{Canal, FalloAlEscribir, es_cierre, por_que_no_acusa};
use contenido::{Contenido, Manera};
use lista::{Origen, Pendiente};
use respuesta::{Contestacion, Dicho};

/// El mensaje que se envía cuando no se nombra ningún archivo. El paciente es inventado.
const MUESTRA: &[u8] = b"MSH|^~\\&|EQUIPO|LABORATORIO|LIS|HOSPITAL|20260912094501||ORU^R01|PRUEBA-1|P|2.3.1||||||UNICODE\r\
PID|1||PRUEBA||PACIENTE^DE PRUEBA\r\
OBR|1||MUESTRA-1|GLU^Glucosa|||20260912094501\r\
OBX|1|NM|GLU^Glucosa||92|mg/dL|70-110|N|||F\r";
/// Cuánto se espera un acuse: lo que el analizador más paciente que se conoce.
const ESPERA: Duration = Duration::from_mins(1);
/// Cuánto sin decirlo: más callado, parecería que el programa se colgó.
const ESPERA_CALLADA: Duration = Duration::from_secs(2);
/// Cuánto se espera lo que se hizo con el mensaje, si lo primero fue que llegó.
const ESPERA_DE_APLICACION: Duration = Duration::from_secs(1);
/// Con más mensajes que estos, se dice el avance en lugar de cada acuse.
const MAX_DETALLADOS: usize = 20;
/// De cuántos mensajes aceptados se reconoce todavía un acuse que llega tarde.
const MAX_ANTERIORES: usize = 16;
/// Cuántas respuestas a un mensaje se atienden: un receptor enfermo no deja de contestar.
const MAX_RESPUESTAS: usize = 64;

/// Qué se envía y cómo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envio {
    /// Archivos, carpetas, comodines o `-`; vacío, el mensaje de muestra.
    pub archivos: Vec<PathBuf>,
    /// El primer archivo que se envía: los que van antes se saltan.
    pub desde: Option<PathBuf>,
    /// Si cada mensaje va en una trama MLLP.
    pub con_trama: bool,
    /// Cuántas veces se envía todo.
    pub veces: usize,
    /// Si se enseña lo que llega, tal cual.
    pub detalle: bool,
    /// Lo demás que se escribió en la orden, para decir con qué otra se sigue.
    pub opciones: Vec<OsString>,
}

impl Envio {
    /// El mensaje de muestra, una vez y con trama.
    #[must_use]
    pub fn de_muestra() -> Envio {
        Envio {
            archivos: Vec::new(),
            desde: None,
            con_trama: true,
            veces: 1,
            detalle: false,
            opciones: Vec::new(),
        }
    }
}

/// Envía a `destino`, espera cada acuse y lo dice en `salida`. Se detiene en el primer
/// mensaje que no se acepte. Devuelve si todos fueron aceptados.
pub fn enviar(
    envio: &Envio,
    destino: &Destino,
    salida: &mut impl Write,
    es_terminal: bool,
) -> Result<bool, Box<dyn Error>> {
    let mut lista = lista::listar(&envio.archivos)?;
    lista::empezar_en(&mut lista, envio.desde.as_deref())?;
    lista::comprobar_que_no_son_suyos(&lista, destino.guarda_en.as_deref())?;
    let entrada = if lista.iter().any(|uno| uno.origen == Origen::Entrada) {
        contenido::leer_entrada(io::stdin().lock())?
    } else {
        Vec::new()
    };
    let mut tanda = Tanda {
        envio,
        destino: &destino.direccion,
        pantalla: Pantalla::new(salida, es_terminal),
        entrada: &entrada,
        canal: None,
        anteriores: VecDeque::new(),
        espera_aplicacion: true,
        hay_rechazo_tardio: false,
        total: lista.len() * envio.veces,
        enviados: 0,
        aceptados: 0,
        tiempos: Vec::new(),
        por_donde: PorDonde::default(),
    };
    tanda.decir_de_donde(&lista);
    let resultado = tanda.enviar_todo(&lista);
    tanda.resumir();
    if !matches!(resultado, Ok(true)) && tanda.enviados > 0 {
        tanda.decir_como_seguir(&lista);
    }
    resultado
}

/// El archivo o la carpeta no se pudo leer.
fn ilegible(ruta: &Path, causa: &io::Error) -> ErrorDePedido {
    let (ruta, causa) = (ruta_visible(ruta), causa::explicar(causa));
    ErrorDePedido(format!("no se pudo leer «{ruta}»: {causa}"))
}

/// Un envío en marcha.
struct Tanda<'a, W: Write> {
    envio: &'a Envio,
    destino: &'a str,
    pantalla: Pantalla<'a, W>,
    /// Lo que se leyó de la entrada estándar, que no se puede leer otra vez.
    entrada: &'a [u8],
    canal: Option<Canal>,
    /// Los últimos aceptados: sus MSH-10 y sus nombres.
    anteriores: VecDeque<(Vec<Vec<u8>>, String)>,
    /// Si tras un «recibido» se espera algo más: este receptor aún no ha demostrado que no.
    espera_aplicacion: bool,
    hay_rechazo_tardio: bool,
    /// Cuántos mensajes se sabe ya que hay.
    total: usize,
    enviados: usize,
    aceptados: usize,
    /// Lo que tardó cada acuse.
    tiempos: Vec<Duration>,
    por_donde: PorDonde,
}

/// Hasta dónde se llegó.
#[derive(Debug, Default, Clone, Copy)]
struct PorDonde {
    /// Cuántas veces se ha enviado ya toda la lista.
    vueltas: usize,
    /// Qué elemento de la lista se está enviando.
    elemento: usize,
    /// Cuántos mensajes tiene, si se sabe ya.
    mensajes: usize,
    /// Cuántos de ellos se aceptaron.
    aceptados: usize,
}

impl PorDonde {
    fn esta_acabado(self) -> bool {
        self.mensajes > 0 && self.aceptados == self.mensajes
    }
}

impl<W: Write> Tanda<'_, W> {
    /// No toda carpeta que hay en la de los mensajes es la de un equipo: el LIS puede dejar ahí lo que ya leyó.
    fn decir_de_donde(&mut self, lista: &[Pendiente]) {
        let carpetas: Vec<_> = lista::sin_nombrar(lista, &self.envio.archivos)
            .into_iter()
            .map(|carpeta| format!("«{}»", ruta_visible(carpeta)))
            .collect();
        if !carpetas.is_empty() {
            self.pantalla.decir(&format!(
                "se envían también los .res de {}",
                carpetas.join(", ")
            ));
        }
    }

    /// Devuelve si todo se aceptó.
    fn enviar_todo(&mut self, lista: &[Pendiente]) -> Result<bool, Box<dyn Error>> {
        for vueltas in 0..self.envio.veces {
            for (elemento, pendiente) in lista.iter().enumerate() {
                self.por_donde = PorDonde {
                    vueltas,
                    elemento,
                    ..PorDonde::default()
                };
                if !self.enviar_elemento(&pendiente.origen)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn enviar_elemento(&mut self, origen: &Origen) -> Result<bool, Box<dyn Error>> {
        let contenido = match origen {
            Origen::Entrada => Contenido::en_memoria(origen.to_string(), self.entrada),
            Origen::Muestra => Contenido::en_memoria(origen.to_string(), MUESTRA),
            Origen::Archivo(ruta) => Contenido::en_archivo(ruta)?,
        };
        let manera = contenido.examinar(self.envio.con_trama)?;
        let (cuantos, saltados) = match manera {
            Manera::Entero => (1, 0),
            Manera::Separados { mensajes, saltados } => (mensajes, saltados),
        };
        if saltados > 0 && self.por_donde.vueltas == 0 {
            let nombre = contenido.nombre();
            self.pantalla.decir(&format!(
                "AVISO {nombre}: {saltados} bytes no son de ningún mensaje y no se envían; ábralo y mire qué son"
            ));
        }
        self.por_donde.mensajes = cuantos;
        self.total += cuantos - 1;
        if manera == Manera::Entero {
            return self.enviar_mensaje(&contenido);
        }
        let mut cual = 0;
        contenido.separar(|mensaje| {
            cual += 1;
            let nombre = match (contenido.nombre(), cuantos) {
                (nombre, 1) => nombre.to_owned(),
                (nombre, _) => format!("{nombre} ({cual} de {cuantos})"),
            };
            self.enviar_mensaje(&Contenido::en_memoria(nombre, mensaje))
        })
    }

    /// Envía un mensaje y dice qué se contestó. Devuelve si se aceptó.
    fn enviar_mensaje(&mut self, mensaje: &Contenido<'_>) -> Result<bool, Box<dyn Error>> {
        let usado = self.canal.is_some();
        let mut preguntado = self.preguntar(mensaje)?;
        // Hay receptores que cierran tras cada acuse: el cierre se cruzó con este mensaje.
        if usado && preguntado.as_ref().is_err_and(es_cierre) {
            preguntado = self.preguntar(mensaje)?;
        }
        let nombre = mensaje.nombre();
        let (contestacion, tiempo) = preguntado.map_err(|causa| {
            let (destino, causa) = (self.destino, por_que_no_acusa(&causa));
            format!("«{destino}» no acusó «{nombre}»: {causa}; mire la consola del servidor")
        })?;
        let acepta = contestacion.es_aceptacion();
        self.enviados += 1;
        self.aceptados += usize::from(acepta);
        self.por_donde.aceptados += usize::from(acepta);
        self.tiempos.push(tiempo);
        if self.se_detalla() || !acepta {
            let tiempo = milisegundos(tiempo);
            self.pantalla
                .decir(&format!("{nombre}: {contestacion} ({tiempo} ms)"));
        } else {
            self.pantalla.avanzar(self.enviados, self.total);
        }
        if self.envio.detalle {
            for linea in contestacion.0.iter().flat_map(Dicho::lineas) {
                self.pantalla.decir(&linea);
            }
        }
        Ok(acepta && !self.hay_rechazo_tardio)
    }

    fn se_detalla(&self) -> bool {
        self.envio.detalle || self.total <= MAX_DETALLADOS
    }

    /// Envía un mensaje y espera lo que se le conteste. Abre la conexión si no la hay.
    fn preguntar(
        &mut self,
        mensaje: &Contenido<'_>,
    ) -> Result<io::Result<(Contestacion, Duration)>, Box<dyn Error>> {
        let fuente = mensaje.abrir()?;
        let mut canal = match self.canal.take() {
            Some(canal) => canal,
            None => Canal::abrir(self.destino, ESPERA)?,
        };
        let (mut ids, comienzo) = (Vec::new(), Instant::now());
        let roto = match canal.escribir(fuente, self.envio.con_trama, &mut ids) {
            Ok(()) => None,
            Err(FalloAlEscribir::Cable(error)) => Some(error),
            Err(FalloAlEscribir::Fuente(error)) => return Err(mensaje.ilegible(&error).into()),
        };
        let nombre = mensaje.nombre();
        // Quien cierra sin leerlo todo puede haber dicho antes por qué.
        let espera = if roto.is_none() {
            ESPERA
        } else {
            Duration::ZERO
        };
        let primero = match self.esperar_acuse(&mut canal, &ids, nombre, Instant::now() + espera) {
            Ok(primero) => primero,
            Err(error) => return Ok(Err(roto.unwrap_or(error))),
        };
        let (contestacion, llegada) = self.completar(primero, &mut canal, &ids);
        if self.anteriores.len() == MAX_ANTERIORES {
            self.anteriores.pop_front();
        }
        self.anteriores.push_back((ids, nombre.to_owned()));
        if !canal.esta_cerrado() {
            self.canal = Some(canal);
        }
        Ok(Ok((
            contestacion,
            llegada.saturating_duration_since(comienzo),
        )))
    }

    /// Todo lo que se contesta a un mensaje, con la primera respuesta, y cuándo llegó lo que decide.
    fn completar(
        &mut self,
        primero: Dicho,
        canal: &mut Canal,
        ids: &[Vec<u8>],
    ) -> (Contestacion, Instant) {
        let es_de_entrega = primero.es_de_entrega();
        let mut contestacion = Contestacion(vec![primero]);
        let mut llegada = canal.llegada();
        if self.espera_aplicacion && es_de_entrega {
            match self.leer(canal, ids, Instant::now() + ESPERA_DE_APLICACION) {
                Ok(Some(dicho)) => {
                    contestacion.0.push(dicho);
                    llegada = canal.llegada();
                }
                Ok(None) => self.espera_aplicacion = false,
                Err(_) => {}
            }
        }
        // Lo que llegó junto es de este mensaje, y nada suyo se tomará por la respuesta al siguiente.
        while contestacion.0.len() < MAX_RESPUESTAS
            && let Ok(Some(dicho)) = self.leer(canal, ids, Instant::now())
        {
            contestacion.0.push(dicho);
        }
        (contestacion, llegada)
    }

    /// La primera respuesta, y si tarda lo dice.
    fn esperar_acuse(
        &mut self,
        canal: &mut Canal,
        ids: &[Vec<u8>],
        nombre: &str,
        limite: Instant,
    ) -> io::Result<Dicho> {
        let aviso = limite.min(Instant::now() + ESPERA_CALLADA);
        if let Some(dicho) = self.leer(canal, ids, aviso)? {
            return Ok(dicho);
        }
        if aviso < limite {
            self.pantalla
                .decir(&format!("esperando el acuse de «{nombre}»…"));
        }
        let leido = self.leer(canal, ids, limite)?;
        leido.ok_or_else(|| ErrorKind::TimedOut.into())
    }

    /// La próxima respuesta que no sea de un mensaje anterior.
    fn leer(
        &mut self,
        canal: &mut Canal,
        ids: &[Vec<u8>],
        hasta: Instant,
    ) -> io::Result<Option<Dicho>> {
        for _ in 0..MAX_RESPUESTAS {
            let Some(respuesta) = canal.leer(hasta)? else {
                return Ok(None);
            };
            let dicho = Dicho::leer(respuesta, ids);
            let es_suyo = |(ids, _): &(Vec<_>, _)| dicho.es_de(ids);
            match self.anteriores.iter().rposition(es_suyo) {
                Some(cual) => self.anotar_tardio(cual, &dicho.propio()),
                None => return Ok(Some(dicho)),
            }
        }
        Ok(None)
    }

    /// Un acuse de un mensaje que ya se dio por aceptado.
    fn anotar_tardio(&mut self, cual: usize, dicho: &Dicho) {
        let acepta = dicho.es_aceptacion();
        if let Some((_, nombre)) = self.anteriores.get(cual)
            && (self.se_detalla() || !acepta)
        {
            self.pantalla.decir(&format!(
                "{nombre}: {dicho}; este acuse llegó después de seguir con otro mensaje"
            ));
        }
        if !acepta {
            self.anteriores.remove(cual);
            self.aceptados -= 1;
            self.hay_rechazo_tardio = true;
        }
    }

    fn resumir(&mut self) {
        let Some((mediana, maximo)) = mediana_y_maximo(&mut self.tiempos) else {
            return;
        };
        let (mediana, maximo) = (milisegundos(mediana), milisegundos(maximo));
        let (enviados, aceptados) = (self.enviados, self.aceptados);
        self.pantalla.decir(&format!(
            "enviados: {enviados}, aceptados: {aceptados}; acuse en {mediana} ms de mediana, {maximo} ms el que más"
        ));
    }

    fn decir_como_seguir(&mut self, lista: &[Pendiente]) {
        if self.envio.veces > 1 {
            // El mismo archivo está en varios sitios.
            self.pantalla
                .decir("con --repetir no se puede seguir: la misma orden envía todo otra vez");
            return;
        }
        let desde = self.por_donde.elemento + usize::from(self.por_donde.esta_acabado());
        // De un solo mensaje no hay nada que seguir.
        if desde == lista.len() || (lista.len() == 1 && self.por_donde.mensajes <= 1) {
            return;
        }
        let nombre = &lista[desde].origen;
        let orden = seguir::orden(self.envio, lista, desde);
        self.pantalla.decir(&format!(
            "parado en «{nombre}»; para seguir desde él: {orden}"
        ));
        if self.por_donde.aceptados > 0 && !self.por_donde.esta_acabado() {
            let aceptados = self.por_donde.aceptados;
            self.pantalla.decir(&format!(
                "los mensajes de ese archivo que ya se aceptaron, {aceptados}, se enviarán otra vez"
            ));
        }
    }
}

/// El tiempo del medio y el mayor, si hay alguno; de dos en medio, el mayor de ellos.
fn mediana_y_maximo(tiempos: &mut [Duration]) -> Option<(Duration, Duration)> {
    tiempos.sort_unstable();
    Some((*tiempos.get(tiempos.len() / 2)?, *tiempos.last()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn la_mediana_es_el_tiempo_del_medio_lleguen_como_lleguen() {
        for (tiempos, esperado) in [
            (&[][..], None),
            (&[7], Some((7, 7))),
            (&[900, 1], Some((900, 900))),
            (&[900, 1, 2], Some((2, 900))),
            (&[5, 900, 3, 4, 1], Some((4, 900))),
        ] {
            let mut tiempos: Vec<_> = tiempos.iter().copied().map(Duration::from_millis).collect();
            let esperado =
                esperado.map(|(m, n)| (Duration::from_millis(m), Duration::from_millis(n)));
            assert_eq!(mediana_y_maximo(&mut tiempos), esperado);
        }
    }
}
