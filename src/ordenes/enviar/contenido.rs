//! Qué hay dentro de lo que se envía: un mensaje, o varios en sus tramas.
//!
//! Se mira con el lector del servidor, que es como lo verá quien lo reciba, y sin tenerlo entero en la
//! memoria. No sabe de conexiones ni de acuses.

use std::borrow::Cow;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use super::ilegible;
use crate::cable::{Lector, Limites, Suceso};
use crate::causa;
use crate::hl7::comienzo::es_relleno;
use crate::octetos::{CR, FS, VT};
use crate::pedido::ErrorDePedido;
use crate::texto::{MIB, ruta_visible};

/// Lo más que mide un mensaje que hay que separar de otros; solo ese se tiene en la memoria.
const MAX_SEPARADO_MIB: usize = 64;
/// Lo más que se lee de lo que no se puede leer dos veces.
const MAX_ENTRADA_MIB: usize = 256;
pub(super) const BLOQUE_BYTES: usize = 64 * 1024;

/// Algo que se envía, con el nombre que se le da.
#[derive(Debug)]
pub(super) struct Contenido<'a> {
    nombre: String,
    bytes: Bytes<'a>,
}

/// Dónde están los bytes.
#[derive(Debug)]
enum Bytes<'a> {
    /// En un archivo que se puede leer otra vez.
    EnArchivo(&'a Path),
    EnMemoria(Cow<'a, [u8]>),
}

/// Cómo se envían.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manera {
    /// Tal como están, en una trama.
    Entero,
    /// Cada mensaje aparte.
    Separados {
        mensajes: usize,
        /// Los bytes que no son de ninguno, sin contar tramas ni relleno.
        saltados: usize,
    },
}

impl<'a> Contenido<'a> {
    pub(super) fn en_memoria(nombre: String, bytes: impl Into<Cow<'a, [u8]>>) -> Contenido<'a> {
        Contenido {
            nombre,
            bytes: Bytes::EnMemoria(bytes.into()),
        }
    }

    /// El archivo. Lo que tiene nombre de archivo y no lo es, una tubería, se acaba al leerlo.
    pub(super) fn en_archivo(ruta: &'a Path) -> Result<Contenido<'a>, ErrorDePedido> {
        let nombre = ruta_visible(ruta).to_string();
        if ruta.is_file() {
            let bytes = Bytes::EnArchivo(ruta);
            return Ok(Contenido { nombre, bytes });
        }
        let leido = File::open(ruta).and_then(leer_con_tope);
        let leido = leido.map_err(|causa| ilegible(ruta, &causa))?;
        let bytes = leido.ok_or_else(entrada_excesiva)?;
        Ok(Contenido::en_memoria(nombre, bytes))
    }

    /// Cómo se le llama.
    pub(super) fn nombre(&self) -> &str {
        &self.nombre
    }

    pub(super) fn abrir(&self) -> Result<Box<dyn Read + '_>, ErrorDePedido> {
        Ok(match &self.bytes {
            Bytes::EnMemoria(bytes) => Box::new(&**bytes),
            Bytes::EnArchivo(ruta) => {
                Box::new(File::open(ruta).map_err(|causa| self.ilegible(&causa))?)
            }
        })
    }

    /// No se pudo seguir leyendo.
    pub(super) fn ilegible(&self, causa: &io::Error) -> ErrorDePedido {
        ilegible(Path::new(&self.nombre), causa)
    }

    /// Cómo se envía. Con trama, lo que llegaría igual en una sola va en una: un `.res` es lo que llegó
    /// en una, y puede llevar un lote o dos MSH.
    pub(super) fn examinar(&self, con_trama: bool) -> Result<Manera, Box<dyn Error>> {
        let (hay_trama, texto) = self.ojear()?;
        if !hay_trama && texto == 0 {
            return Err(self.sin_mensaje().into());
        }
        if con_trama && (!hay_trama || self.cabe_en_una_trama()?) {
            return Ok(Manera::Entero);
        }
        let (mut mensajes, mut suyo) = (0, 0);
        self.separar(|mensaje| {
            mensajes += 1;
            suyo += contar_texto(mensaje);
            Ok(true)
        })?;
        if mensajes == 0 {
            return Err(self.sin_mensaje().into());
        }
        let saltados = texto.saturating_sub(suyo);
        Ok(Manera::Separados { mensajes, saltados })
    }

    /// La primera mirada, que casi siempre basta: si hay algo que pueda empezar o acabar una trama, y cuánto
    /// texto.
    fn ojear(&self) -> Result<(bool, usize), ErrorDePedido> {
        let mut fuente = self.abrir()?;
        let mut bloque = vec![0; BLOQUE_BYTES];
        let (mut hay_trama, mut texto) = (false, 0);
        loop {
            match fuente.read(&mut bloque) {
                Ok(0) => return Ok((hay_trama, texto)),
                Ok(cuantos) => {
                    let leido = &bloque[..cuantos];
                    hay_trama = hay_trama || memchr::memchr2(VT, FS, leido).is_some();
                    texto += contar_texto(leido);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ilegible(&error)),
            }
        }
    }

    /// Llama a `con_cada` con cada mensaje, sin su trama, mientras devuelva `true`; dice si fue con todos.
    pub(super) fn separar(
        &self,
        mut con_cada: impl FnMut(&[u8]) -> Result<bool, Box<dyn Error>>,
    ) -> Result<bool, Box<dyn Error>> {
        let nombre = &self.nombre;
        self.recorrer(self.abrir()?, |suceso| match suceso {
            Suceso::Mensaje { bytes, .. } => con_cada(bytes),
            Suceso::Excedido { .. } => Err(ErrorDePedido(format!(
                "«{nombre}» tiene un mensaje de más de {MAX_SEPARADO_MIB} MiB entre otros o con su trama; déjelo en un archivo para él solo y sin trama"
            )).into()),
            Suceso::Apartado { .. } => Err(ErrorDePedido(format!(
                "«{nombre}» acaba a mitad de un mensaje, o uno empieza dentro de otro: le falta un fin de trama (FS CR); complételo"
            )).into()),
            Suceso::Indicio(_) => Ok(true),
        })
    }

    fn sin_mensaje(&self) -> ErrorDePedido {
        ErrorDePedido(format!(
            "«{}» está vacío o no tiene ningún mensaje HL7; elija otro archivo, o quítelo de la carpeta",
            self.nombre
        ))
    }

    /// Si, puesto en una trama, quien lo reciba verá un mensaje, que es justo este.
    fn cabe_en_una_trama(&self) -> Result<bool, Box<dyn Error>> {
        let (mut sucesos, mut recibidos) = (0, 0);
        // El tope no se alcanza: está para saber cuánto se leyó.
        let mut contado = self.abrir()?.take(u64::MAX);
        let trama = (&[VT][..]).chain(&mut contado).chain(&[FS, CR][..]);
        self.recorrer(trama, |suceso| {
            sucesos += 1;
            recibidos = match suceso {
                Suceso::Mensaje { bytes, .. } => bytes.len(),
                Suceso::Excedido { longitud, .. } => longitud,
                Suceso::Apartado { .. } | Suceso::Indicio(_) => 0,
            };
            Ok(true)
        })?;
        let puestos = u64::MAX - contado.limit();
        Ok(sucesos == 1 && recibidos as u64 == puestos)
    }

    /// Los sucesos de unos bytes que llegan seguidos y a los que sigue el cierre, mientras `con_cada`
    /// devuelva `true`.
    fn recorrer(
        &self,
        mut fuente: impl Read,
        mut con_cada: impl FnMut(Suceso<'_>) -> Result<bool, Box<dyn Error>>,
    ) -> Result<bool, Box<dyn Error>> {
        let limites = Limites {
            mensaje_bytes: MAX_SEPARADO_MIB * MIB,
            sin_trama: Duration::from_secs(1),
            incompleta: Duration::from_secs(1),
        };
        // Los bytes de un archivo llegan todos a la vez.
        let ahora = Instant::now();
        let mut lector = Lector::new(limites, ahora);
        let mut cerrado = false;
        loop {
            while let Some(suceso) = lector.siguiente() {
                if !con_cada(suceso)? {
                    return Ok(false);
                }
            }
            if cerrado {
                return Ok(true);
            }
            match fuente.read(lector.hueco()) {
                Ok(0) => {
                    cerrado = true;
                    lector.cerrar();
                }
                Ok(cuantos) => lector.avanzar(cuantos, ahora),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.ilegible(&error).into()),
            }
        }
    }
}

/// Lee la entrada estándar hasta su fin.
pub(super) fn leer_entrada(entrada: impl Read) -> Result<Vec<u8>, Box<dyn Error>> {
    let leido = leer_con_tope(entrada).map_err(|causa| {
        let causa = causa::explicar(&causa);
        format!("no se pudo leer la entrada estándar: {causa}")
    })?;
    Ok(leido.ok_or_else(entrada_excesiva)?)
}

fn entrada_excesiva() -> ErrorDePedido {
    ErrorDePedido(format!(
        "la entrada estándar pasa de {MAX_ENTRADA_MIB} MiB; guárdela en un archivo y envíelo"
    ))
}

/// `None` si pasa del tope.
fn leer_con_tope(entrada: impl Read) -> io::Result<Option<Vec<u8>>> {
    let tope = MAX_ENTRADA_MIB * MIB;
    let mut bytes = Vec::new();
    entrada.take(tope as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= tope).then_some(bytes))
}

/// Los bytes que no son de una trama ni relleno.
fn contar_texto(bytes: &[u8]) -> usize {
    let texto = |octeto: &&u8| !es_relleno(**octeto) && ![VT, FS].contains(*octeto);
    bytes.iter().filter(texto).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSH: &str = "MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.5\rOBX|1\r";

    fn manera(bytes: &str, con_trama: bool) -> String {
        let contenido = Contenido::en_memoria("x".to_owned(), bytes.as_bytes());
        match contenido.examinar(con_trama) {
            Ok(Manera::Entero) => "entero".to_owned(),
            Ok(Manera::Separados {
                mensajes,
                saltados: 0,
            }) => mensajes.to_string(),
            Ok(Manera::Separados { mensajes, saltados }) => {
                format!("{mensajes} y {saltados} bytes")
            }
            Err(error) => {
                let error = error.to_string();
                let clases = ["vacío", "a mitad de un mensaje", "más de 64 MiB"];
                let clase = clases.into_iter().find(|clase| error.contains(clase));
                clase.unwrap_or(&error).to_owned()
            }
        }
    }

    #[test]
    fn lo_que_cabe_en_una_trama_va_en_una_y_lo_demas_se_separa_como_lo_haria_el_servidor() {
        let trama = format!("\x0b{MSH}\x1c\r");
        for (bytes, con_trama, sin_trama) in [
            (MSH.to_owned(), "entero", "1"),
            (MSH.repeat(2), "entero", "2"),
            (format!("BHS|^~\\&|\r{MSH}{MSH}BTS|2\r"), "entero", "1"),
            (MSH.replace("OBX|1", "OBX|\x1c|\x0b|1"), "entero", "1"),
            (format!("0001{MSH}"), "entero", "1 y 4 bytes"),
            (trama.clone(), "1", "1"),
            (trama.repeat(3), "3", "3"),
            (format!("\r\n{trama}\n{trama}\r\n"), "2", "2"),
            (format!("{MSH}\x1c\r"), "1", "1"),
            (format!("{MSH}\x1c"), "1", "1"),
            (format!("\x0b{MSH}\x1c{trama}"), "2", "2"),
            (format!("{MSH}{trama}"), "2", "2"),
            (
                format!("hola\r\n{trama}\r\n{trama}OBX|2\r"),
                "2 y 9 bytes",
                "2 y 9 bytes",
            ),
            (
                format!("\x0b{MSH}"),
                "a mitad de un mensaje",
                "a mitad de un mensaje",
            ),
            (
                format!("{trama}\x0b{MSH}"),
                "a mitad de un mensaje",
                "a mitad de un mensaje",
            ),
            (
                format!("\x0b{MSH}{trama}"),
                "a mitad de un mensaje",
                "a mitad de un mensaje",
            ),
            ("hola".to_owned(), "entero", "vacío"),
            ("hola\x1c\r".to_owned(), "vacío", "vacío"),
            ("\x0b\r\n\x1c\r".to_owned(), "vacío", "vacío"),
            (" \r\n".to_owned(), "vacío", "vacío"),
            (String::new(), "vacío", "vacío"),
        ] {
            let visto = [manera(&bytes, true), manera(&bytes, false)];
            assert_eq!(visto, [con_trama, sin_trama], "{}", bytes.escape_debug());
        }
    }

    #[test]
    fn un_mensaje_enorme_va_entero_aunque_lleve_un_fs_y_con_su_trama_no_se_admite() {
        let relleno = "A".repeat((MAX_SEPARADO_MIB + 1) * MIB);
        let enorme = MSH.replace("OBX|1", &format!("OBX|\x1c|{relleno}"));
        assert_eq!(manera(&enorme, true), "entero");
        assert_eq!(
            manera(&format!("\x0b{enorme}\x1c\r"), true),
            "más de 64 MiB"
        );
    }
}
