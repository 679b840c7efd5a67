//! El almacén: la durabilidad vive aquí y solo aquí.
//!
//! Los estados de un mensaje en `Directorio`, en orden; `X` es `HL7_ORU_AAAAMMDDhhmmssmmm`:
//!
//! | estado | `.X.parcial` | `X.res` | tras un corte de luz |
//! |---|---|---|---|
//! | reservado | vacío | no | nada, o un parcial vacío |
//! | escrito | bytes en la caché | no | nada, o un parcial a medias |
//! | sincronizado | entero en el disco | no | a lo sumo el parcial entero |
//! | publicado | no | entero | el parcial o el archivo, enteros |
//! | **guardado** | no | entero, y su nombre en el disco | **el archivo, entero** |
//!
//! Solo el último se acusa con AA. Quien vigila `*.res` nunca ve medio archivo, y un archivo
//! nunca reemplaza a otro, aunque dos servidores compartan la carpeta: el parcial se crea en
//! exclusiva y reserva el nombre. Lo que cada sistema hace a su manera está en `disco`. Este módulo
//! no sabe de HL7, de tramas ni de acuses, y no dice nada: apunta avisos para quien lo haga.

mod apartado;
mod disco;
mod limpieza;
mod nombre;
mod parciales;

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::NaiveDateTime;

pub use apartado::Apartado;
pub(crate) use disco::espacio_libre_mib;
pub use disco::tolerar_limites;
pub use nombre::generar_nombre_archivo;
pub use parciales::Parciales;

use crate::causa;
use crate::cerrojo::tomar;
use crate::texto::ruta_visible;
use disco::Carpeta;
use nombre::Nombres;

/// Subcarpeta de `Directorio` con los bytes que no llegaron a ser un mensaje.
pub(crate) const APARTADOS: &str = "apartados";
/// La extensión del archivo de prueba: nadie lo tomará por un mensaje.
const PRUEBA: &str = "prueba";

/// La carpeta donde cada mensaje es un archivo.
#[derive(Debug)]
pub struct Almacen {
    carpeta: PathBuf,
    /// Las carpetas que además hay en ella para los mensajes, por su nombre.
    subcarpetas: Vec<String>,
    sincronizar: bool,
    nombres: Mutex<Nombres>,
    /// Las carpetas que contienen a otra cuyo nombre quizá no está aún en el disco.
    madres: Mutex<Vec<PathBuf>>,
    /// El disco en que estaba la carpeta la última vez que se miró.
    dispositivo: Mutex<Option<u64>>,
    /// Lo que se notó al guardar y alguien debe saber, aunque nada haya fallado.
    avisos: Mutex<Vec<String>>,
}

/// Lo que se supo al probar la carpeta.
#[derive(Debug)]
pub struct Prueba {
    /// Cuánto tardó en guardarse.
    pub(crate) tiempo: Duration,
    es_fat: bool,
    /// Si hubo que sincronizar el archivo otra vez con su nombre.
    dos_veces: bool,
}

impl Prueba {
    /// Cómo llega al disco un nombre, si no es de la manera usual en este sistema; si no, nada.
    pub(crate) fn nota(&self) -> &'static str {
        if self.dos_veces && !cfg!(windows) {
            "; sincronizar esta carpeta no basta, y cada archivo se sincroniza otra vez con su nombre"
        } else {
            ""
        }
    }

    /// Por qué no hay que fiarse de este disco, si no se puede cumplir en él lo que se promete.
    pub(crate) fn aviso(&self) -> Option<&'static str> {
        self.es_fat.then_some(
            "la carpeta está en un disco FAT: un corte de luz puede llevarse mensajes ya acusados; use un disco NTFS, exFAT o ext4",
        )
    }
}

impl Almacen {
    /// Abre la carpeta, que se crea si falta. Sin `sincronizar` no se espera al disco: un
    /// corte de luz puede llevarse mensajes ya acusados.
    pub fn abrir(carpeta: PathBuf, sincronizar: bool) -> Result<Almacen, ErrorDeAlmacen> {
        // La carpeta que ya existe, y las que hay en ella, pudieron crearse un instante antes de una caída: sus
        // nombres se sincronizan una vez, con el primer archivo.
        let madres = vec![madre(&carpeta).to_path_buf(), carpeta.clone()];
        let sin_nada = esta_donde_no_hay_nada(&carpeta);
        let almacen = Almacen {
            carpeta,
            subcarpetas: Vec::new(),
            sincronizar,
            nombres: Mutex::new(Nombres::new()),
            madres: Mutex::new(madres),
            dispositivo: Mutex::new(None),
            avisos: Mutex::new(Vec::new()),
        };
        almacen
            .crear_carpeta(&almacen.carpeta)
            .map_err(ErrorDeAlmacen::en(
                "no se pudo crear la carpeta",
                &almacen.carpeta,
            ))?;
        *tomar(&almacen.dispositivo) = disco::dispositivo(&almacen.carpeta);
        if sin_nada {
            almacen.avisar(format!(
                "la carpeta «{}» no estaba y se creó, y donde debía estar no había nada; si ya se usaba, ¿falta la unidad?",
                ruta_visible(&almacen.carpeta)
            ));
        }
        Ok(almacen)
    }

    /// El mismo almacén, con esas subcarpetas, que se crean si faltan: lo que se promete de la carpeta se
    /// promete de cada una.
    pub fn con_subcarpetas<'a>(
        mut self,
        nombres: impl Iterator<Item = &'a str>,
    ) -> Result<Almacen, ErrorDeAlmacen> {
        for nombre in nombres {
            let subcarpeta = self.carpeta.join(nombre);
            self.crear_carpeta(&subcarpeta).map_err(ErrorDeAlmacen::en(
                "no se pudo crear la carpeta",
                &subcarpeta,
            ))?;
            self.subcarpetas.push(nombre.to_owned());
        }
        Ok(self)
    }

    /// La carpeta de los mensajes.
    #[must_use]
    pub fn carpeta(&self) -> &Path {
        &self.carpeta
    }

    /// Si se espera a que el disco confirme.
    pub(crate) fn sincroniza(&self) -> bool {
        self.sincronizar
    }

    /// Guarda un mensaje que llegó a esa hora, en la carpeta o en esa de sus subcarpetas, y devuelve el
    /// nombre de su archivo, desde la carpeta. `Ok` promete que está entero en el disco con un nombre
    /// que nadie más tiene; con `Err` no queda ningún parcial, y solo si lo que falló fue llevar el
    /// nombre al disco queda un archivo, entero.
    pub fn guardar(
        &self,
        subcarpeta: Option<&str>,
        mensaje: &[u8],
        llegada: NaiveDateTime,
    ) -> Result<String, ErrorDeAlmacen> {
        let carpeta = self.carpeta_de(subcarpeta);
        let siguiente = || self.siguiente_nombre(llegada);
        self.escribir(&carpeta, mensaje, "res", siguiente)
            .map(|(nombre, _)| match subcarpeta {
                Some(subcarpeta) => format!("{subcarpeta}/{nombre}"),
                None => nombre,
            })
            .map_err(ErrorDeAlmacen::en(
                "no se pudo guardar el mensaje",
                &carpeta,
            ))
    }

    /// Guarda en `apartados` lo que no llegó a ser un mensaje, con la misma seguridad, y
    /// devuelve su nombre, desde la carpeta.
    pub fn apartar(
        &self,
        bytes: &[u8],
        llegada: NaiveDateTime,
        apartado: Apartado,
    ) -> Result<String, ErrorDeAlmacen> {
        let carpeta = self.carpeta.join(APARTADOS);
        let siguiente = || self.siguiente_nombre(llegada);
        self.escribir(&carpeta, bytes, apartado.extension(), siguiente)
            .map(|(nombre, _)| format!("{APARTADOS}/{nombre}"))
            .map_err(ErrorDeAlmacen::en(
                "no se pudo apartar lo recibido",
                &carpeta,
            ))
    }

    /// Las carpetas que además hay en ella para los mensajes.
    pub(crate) fn subcarpetas(&self) -> impl Iterator<Item = &str> {
        self.subcarpetas.iter().map(String::as_str)
    }

    /// Guarda en la carpeta, o en esa de sus subcarpetas, un archivo de prueba como si fuera un mensaje y lo
    /// borra, también si falla.
    pub fn probar(
        &self,
        subcarpeta: Option<&str>,
        ahora: NaiveDateTime,
    ) -> Result<Prueba, ErrorDeAlmacen> {
        self.probar_en(&self.carpeta_de(subcarpeta), ahora)
    }

    /// Hace lo mismo en la carpeta de los apartados, si ya está.
    pub fn probar_apartados(&self, ahora: NaiveDateTime) -> Result<(), ErrorDeAlmacen> {
        let apartados = self.carpeta.join(APARTADOS);
        if fs::symlink_metadata(&apartados).is_ok() {
            self.probar_en(&apartados, ahora)?;
        }
        Ok(())
    }

    fn probar_en(&self, carpeta: &Path, ahora: NaiveDateTime) -> Result<Prueba, ErrorDeAlmacen> {
        let comienzo = Instant::now();
        // Desde el último contador hacia atrás: ningún mensaje tendrá ese nombre.
        let mut contadores = (0..=nombre::MAX_CONTADOR).rev();
        let mut ultimo = String::new();
        let escrito = self.escribir(carpeta, b"prueba", PRUEBA, || {
            ultimo = generar_nombre_archivo(ahora, contadores.next().unwrap_or_default());
            ultimo.clone()
        });
        let tiempo = comienzo.elapsed();
        let prueba = carpeta.join(format!("{ultimo}.{PRUEBA}"));
        let borrado = disco::con_paciencia(|| fs::remove_file(&prueba));
        escrito
            .and_then(|(_, dos_veces)| borrado.map(|()| dos_veces))
            .map(|dos_veces| Prueba {
                tiempo,
                es_fat: disco::es_fat(carpeta),
                dos_veces,
            })
            .map_err(ErrorDeAlmacen::en(
                "no se pudo guardar un archivo de prueba",
                carpeta,
            ))
    }

    /// Lo que se notó desde la última vez y alguien debe saber.
    #[must_use]
    pub fn avisos(&self) -> Vec<String> {
        let actual = disco::dispositivo(&self.carpeta);
        let mut dispositivo = tomar(&self.dispositivo);
        // De una carpeta que no está no se sabe nada, y ya lo dicen los mensajes que no se guardan.
        let cambia = actual.is_some() && dispositivo.is_some() && *dispositivo != actual;
        *dispositivo = actual.or(*dispositivo);
        if cambia {
            self.avisar(format!(
                "la carpeta «{}» está ahora en otro disco; ¿se soltó la unidad, o ha vuelto? Lo recibido antes está en el otro",
                ruta_visible(&self.carpeta)
            ));
        }
        self.avisos_pendientes()
    }

    /// Lo mismo, sin mirar ningún disco.
    #[must_use]
    pub fn avisos_pendientes(&self) -> Vec<String> {
        mem::take(&mut *tomar(&self.avisos))
    }

    /// Lleva unos bytes de un estado al siguiente hasta que están a salvo en esa carpeta, con esa
    /// extensión y el primero de esos nombres que esté libre; devuelve cuál, y si hubo que sincronizarlo otra
    /// vez con él.
    fn escribir(
        &self,
        carpeta: &Path,
        bytes: &[u8],
        extension: &str,
        mut siguiente: impl FnMut() -> String,
    ) -> io::Result<(String, bool)> {
        loop {
            let mut parcial = self.reservar(carpeta, extension, &mut siguiente)?;
            parcial.archivo.write_all(bytes)?;
            if self.sincronizar {
                parcial.archivo.sync_all()?;
            }
            // Se abre antes de publicar, para que si no se puede no haya nada a la vista, y después de
            // reservar, que puede crearla.
            let abierta = self.abrir_carpeta(carpeta)?;
            if !parcial.publicar(carpeta)? {
                continue;
            }
            let dos_veces = match abierta {
                Some(abierta) => abierta.asegurar_nombre(&parcial.archivo)?,
                None => false,
            };
            self.asegurar_carpetas()?;
            return Ok((mem::take(&mut parcial.definitivo), dos_veces));
        }
    }

    /// Crea en exclusiva el parcial de un nombre. Quien lo tiene es dueño del nombre, si no hay ya
    /// un archivo que lo lleve.
    fn reservar(
        &self,
        carpeta: &Path,
        extension: &str,
        mut siguiente: impl FnMut() -> String,
    ) -> io::Result<Parcial> {
        let mut nombre = siguiente();
        let mut repuesta = false;
        loop {
            let ruta = ruta_en(carpeta, &nombre::de_parcial(&nombre));
            match disco::con_paciencia(|| {
                OpenOptions::new().write(true).create_new(true).open(&ruta)
            }) {
                // Si el archivo ya existe se sabrá al publicar: mirarlo aquí espera a quien esté
                // creando otro en la carpeta, y casi nunca existe.
                Ok(archivo) => {
                    return Ok(Parcial {
                        archivo,
                        ruta,
                        definitivo: nombre + "." + extension,
                        publicado: false,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => nombre = siguiente(),
                Err(error) if error.kind() == ErrorKind::NotFound && !repuesta => {
                    self.reponer(carpeta)?;
                    repuesta = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Un nombre posterior a todos los dados, aunque el reloj haya ido hacia atrás.
    fn siguiente_nombre(&self, llegada: NaiveDateTime) -> String {
        let mut nombres = tomar(&self.nombres);
        let nombre = nombres.siguiente(llegada);
        if let Some(hora) = nombres.atraso(llegada) {
            self.avisar(format!(
                "el reloj va por detrás del último archivo: los nombres siguen desde las {} hasta que llegue ahí, para no perder el orden; revise el reloj del PC",
                hora.format("%H:%M:%S del %d/%m/%Y")
            ));
        }
        nombre
    }

    /// La carpeta, para llevar al disco el nombre de un archivo; `None` si no se espera al disco.
    fn abrir_carpeta(&self, carpeta: &Path) -> io::Result<Option<Carpeta>> {
        let abierta = self.sincronizar.then(|| Carpeta::abrir(carpeta));
        abierta.transpose()
    }

    /// Los nombres de las carpetas nuevas pasan al disco: un mensaje no está a salvo si su carpeta no
    /// lo está. Quien las crea, y quien llega mientras se sincronizan, esperan aquí; la que falla queda
    /// para el siguiente.
    fn asegurar_carpetas(&self) -> io::Result<()> {
        let mut madres = tomar(&self.madres);
        while let Some(madre) = madres.last() {
            if self.sincronizar {
                disco::sincronizar_carpeta(madre)?;
            }
            madres.pop();
        }
        Ok(())
    }

    /// Crea otra vez la carpeta que estaba y no está, y lo avisa; la de los apartados no la había.
    fn reponer(&self, carpeta: &Path) -> io::Result<()> {
        let estaba = if carpeta == self.carpeta.join(APARTADOS) {
            &self.carpeta
        } else {
            carpeta
        };
        let falta = !estaba.is_dir();
        self.crear_carpeta(carpeta)?;
        if falta {
            self.avisar(format!(
                "la carpeta «{}» no estaba y se volvió a crear; ¿falta la unidad, o alguien la movió o la borró?",
                ruta_visible(estaba)
            ));
        }
        Ok(())
    }

    fn carpeta_de(&self, subcarpeta: Option<&str>) -> Cow<'_, Path> {
        match subcarpeta {
            Some(subcarpeta) => Cow::from(self.carpeta.join(subcarpeta)),
            None => Cow::from(&self.carpeta),
        }
    }

    /// Crea la carpeta y las que falten por encima.
    fn crear_carpeta(&self, carpeta: &Path) -> io::Result<()> {
        // Tomado desde antes de crearlas: quien las vea ya creadas las hallará entre las pendientes.
        let mut madres = tomar(&self.madres);
        let faltan = carpeta.ancestors().take_while(|c| !c.is_dir());
        let faltan: Vec<_> = faltan.filter(|c| !c.as_os_str().is_empty()).collect();
        for nueva in faltan.into_iter().rev() {
            match fs::create_dir(nueva) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && nueva.is_dir() => {}
                creada => creada?,
            }
            let madre = madre(nueva).to_path_buf();
            if !madres.contains(&madre) {
                madres.push(madre);
            }
        }
        Ok(())
    }

    fn avisar(&self, aviso: String) {
        let mut avisos = tomar(&self.avisos);
        if !avisos.contains(&aviso) {
            avisos.push(aviso);
        }
    }
}

/// Si la carpeta no está, y en la más próxima que sí no hay nada: es lo que se ve de una unidad que no está
/// montada.
fn esta_donde_no_hay_nada(carpeta: &Path) -> bool {
    let cercana = carpeta.ancestors().find(|c| c.is_dir());
    let vacia = |cercana: &Path| fs::read_dir(cercana).is_ok_and(|mut hay| hay.next().is_none());
    cercana.is_some_and(|cercana| cercana != carpeta && vacia(cercana))
}

/// La carpeta que contiene a otra.
fn madre(carpeta: &Path) -> &Path {
    let madre = carpeta.parent().filter(|m| !m.as_os_str().is_empty());
    madre.unwrap_or(Path::new("."))
}

/// La ruta de un archivo en una carpeta. `join` pide memoria tres veces, y hacen falta dos por mensaje.
fn ruta_en(carpeta: &Path, archivo: &str) -> PathBuf {
    let mut ruta = PathBuf::with_capacity(carpeta.as_os_str().len() + 1 + archivo.len());
    ruta.push(carpeta);
    ruta.push(archivo);
    ruta
}

/// Un archivo a medio hacer. Si no llega a publicarse, desaparece.
struct Parcial {
    archivo: File,
    ruta: PathBuf,
    definitivo: String,
    publicado: bool,
}

impl Parcial {
    /// Le da su nombre definitivo; `false` si ya es de un archivo.
    fn publicar(&mut self, carpeta: &Path) -> io::Result<bool> {
        match disco::renombrar_sin_reemplazar(&self.ruta, &ruta_en(carpeta, &self.definitivo)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                self.publicado = true;
                Ok(true)
            }
        }
    }
}

impl Drop for Parcial {
    fn drop(&mut self) {
        if !self.publicado {
            // Si ni siquiera se puede borrar, el próximo arranque lo llevará a apartados.
            // No se insiste: el equipo espera su AE.
            let _ = fs::remove_file(&self.ruta);
        }
    }
}

/// El disco no hizo lo que se le pidió. Dice qué, dónde, por qué y qué hacer.
#[derive(Debug)]
pub struct ErrorDeAlmacen {
    fallo: &'static str,
    ruta: PathBuf,
    causa: io::Error,
}

impl ErrorDeAlmacen {
    fn en(fallo: &'static str, ruta: &Path) -> impl FnOnce(io::Error) -> ErrorDeAlmacen {
        move |causa| ErrorDeAlmacen {
            fallo,
            ruta: ruta.to_path_buf(),
            causa,
        }
    }

    /// La causa en letras y blancos ASCII, para el MSA-3 de un acuse.
    pub(crate) fn para_el_equipo(&self) -> &'static str {
        causa::explicar_al_equipo(&self.causa)
    }
}

impl fmt::Display for ErrorDeAlmacen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorDeAlmacen { fallo, ruta, causa } = self;
        write!(
            f,
            "{fallo} en «{}»: {}",
            ruta_visible(ruta),
            causa::explicar(causa)
        )
    }
}

impl std::error::Error for ErrorDeAlmacen {}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    /// Quien creó la carpeta o los apartados pudo caer antes de que sus nombres llegaran al disco.
    #[test]
    fn con_el_primer_archivo_se_sincroniza_tambien_lo_que_contiene_a_los_apartados_que_ya_estaban()
    {
        let carpeta = env::temp_dir().join(format!("almacen-madres-{}", process::id()));
        fs::create_dir_all(carpeta.join(APARTADOS)).unwrap();
        let almacen = Almacen::abrir(carpeta.clone(), true).unwrap();
        let pendientes = || tomar(&almacen.madres).clone();
        assert_eq!(pendientes(), [env::temp_dir(), carpeta.clone()]);
        let hora = chrono::Local::now().naive_local();
        almacen.apartar(b"x", hora, Apartado::NoHl7).unwrap();
        assert!(pendientes().is_empty(), "{:?}", pendientes());
        fs::remove_dir_all(carpeta).unwrap();
    }
}
