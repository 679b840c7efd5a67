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
//! exclusiva y reserva el nombre. Este módulo no sabe de HL7, de tramas ni de acuses.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::{NaiveDateTime, TimeDelta};

use crate::causa;

/// Subcarpeta de `Directorio` con los bytes que no llegaron a ser un mensaje.
pub const APARTADOS: &str = "apartados";
const FIN_DE_PARCIAL: &str = ".parcial";
/// Un parcial más nuevo puede ser de otro servidor que trabaja en la misma carpeta.
const REPOSO_DE_UN_PARCIAL: Duration = Duration::from_mins(1);
/// Cuánto se insiste en Windows cuando un antivirus o el LIS retiene el archivo.
const PACIENCIA: Duration = Duration::from_secs(2);
const PAUSA_ENTRE_INTENTOS: Duration = Duration::from_millis(50);
/// El contador de un nombre tiene cuatro cifras.
const MAX_CONTADOR: u16 = 9999;

/// El nombre de un archivo sin su extensión: la hora de llegada, con milisegundos, y un contador
/// cuando esa hora ya tiene dueño.
///
/// Los nombres se ordenan por llegada: `_` va detrás del punto de la extensión.
#[must_use]
pub fn generar_nombre_archivo(llegada: NaiveDateTime, contador: u16) -> String {
    let hora = llegada.format("HL7_ORU_%Y%m%d%H%M%S%3f");
    if contador == 0 {
        hora.to_string()
    } else {
        format!("{hora}_{contador:04}")
    }
}

/// La carpeta donde cada mensaje es un archivo.
#[derive(Debug)]
pub struct Almacen {
    carpeta: PathBuf,
    sincronizar: bool,
    ultimo: Mutex<(NaiveDateTime, u16)>,
    /// Carpetas creadas cuyo nombre quizá no está aún en el disco.
    carpetas_nuevas: AtomicUsize,
}

/// Lo que se hizo al arrancar con los parciales de una caída anterior.
#[derive(Debug, Default)]
pub struct Rescate {
    /// Adónde fue a parar cada uno, dentro de `apartados`.
    pub movidos: Vec<PathBuf>,
    /// Los demasiado recientes para tocarlos: puede que otro servidor los esté escribiendo.
    pub recientes: usize,
    /// Los que no se pudieron mover; siguen donde estaban.
    pub errores: Vec<ErrorDeAlmacen>,
}

impl Almacen {
    /// Abre la carpeta, que se crea si falta. Sin `sincronizar` no se espera al disco: un
    /// corte de luz puede llevarse mensajes ya acusados.
    pub fn abrir(carpeta: PathBuf, sincronizar: bool) -> Result<Almacen, ErrorDeAlmacen> {
        let almacen = Almacen {
            carpeta,
            sincronizar,
            ultimo: Mutex::new((NaiveDateTime::MIN, 0)),
            carpetas_nuevas: AtomicUsize::new(0),
        };
        almacen
            .crear_carpeta(&almacen.carpeta)
            .map_err(ErrorDeAlmacen::en(
                "no se pudo crear la carpeta",
                &almacen.carpeta,
            ))?;
        Ok(almacen)
    }

    /// La carpeta de los mensajes.
    #[must_use]
    pub fn carpeta(&self) -> &Path {
        &self.carpeta
    }

    /// Si se espera a que el disco confirme.
    #[must_use]
    pub fn sincroniza(&self) -> bool {
        self.sincronizar
    }

    /// Guarda un mensaje que llegó a esa hora y devuelve el nombre de su archivo. `Ok` promete que
    /// está entero en el disco con un nombre que nadie más tiene; con `Err` no queda ningún parcial, y
    /// solo si lo que falló fue sincronizar la carpeta queda un archivo, entero.
    pub fn guardar(
        &self,
        mensaje: &[u8],
        llegada: NaiveDateTime,
    ) -> Result<String, ErrorDeAlmacen> {
        self.escribir(&self.carpeta, mensaje, llegada, "res")
            .map_err(ErrorDeAlmacen::en(
                "no se pudo guardar el mensaje",
                &self.carpeta,
            ))
    }

    /// Guarda en [`APARTADOS`] lo que no llegó a ser un mensaje, con la misma seguridad, y
    /// devuelve su nombre, que acaba en `motivo`.
    pub fn apartar(
        &self,
        bytes: &[u8],
        llegada: NaiveDateTime,
        motivo: &str,
    ) -> Result<String, ErrorDeAlmacen> {
        let carpeta = self.carpeta.join(APARTADOS);
        self.escribir(&carpeta, bytes, llegada, motivo)
            .map_err(ErrorDeAlmacen::en(
                "no se pudo apartar lo recibido",
                &carpeta,
            ))
    }

    /// Guarda un archivo de prueba como si fuera un mensaje y lo borra; devuelve cuánto tardó en
    /// guardarlo. Su nombre no acaba en `.res`: nadie lo tomará por un mensaje.
    pub fn probar(&self, ahora: NaiveDateTime) -> Result<Duration, ErrorDeAlmacen> {
        let comienzo = Instant::now();
        self.escribir(&self.carpeta, b"prueba", ahora, "prueba")
            .and_then(|nombre| {
                let tiempo = comienzo.elapsed();
                fs::remove_file(self.carpeta.join(nombre)).map(|()| tiempo)
            })
            .map_err(ErrorDeAlmacen::en(
                "no se pudo guardar un archivo de prueba",
                &self.carpeta,
            ))
    }

    /// Mueve a [`APARTADOS`] los parciales que dejó una caída, sin borrar ninguno.
    #[must_use]
    pub fn rescatar_parciales(&self) -> Rescate {
        let mut rescate = Rescate::default();
        for carpeta in [self.carpeta.clone(), self.carpeta.join(APARTADOS)] {
            // Una carpeta que no se puede leer ya dará su error al guardar en ella.
            for entrada in fs::read_dir(&carpeta).into_iter().flatten().flatten() {
                let nombre = entrada.file_name();
                let Some(nombre) = nombre_de_parcial(&nombre) else {
                    continue;
                };
                let parcial = entrada.path();
                match self.mover_parcial(&parcial, nombre) {
                    Ok(Some(destino)) => rescate.movidos.push(destino),
                    Ok(None) => rescate.recientes += 1,
                    // Otro servidor lo terminó o lo movió mientras tanto.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => rescate.errores.push(ErrorDeAlmacen::en(
                        "no se pudo rescatar un parcial",
                        &parcial,
                    )(error)),
                }
            }
        }
        rescate
    }

    /// Lleva unos bytes de un estado al siguiente hasta que están a salvo en esa carpeta, con esa
    /// extensión, y devuelve el nombre de su archivo.
    fn escribir(
        &self,
        carpeta: &Path,
        bytes: &[u8],
        llegada: NaiveDateTime,
        extension: &str,
    ) -> io::Result<String> {
        loop {
            let mut parcial = self.reservar(carpeta, llegada, extension)?;
            parcial.archivo.write_all(bytes)?;
            self.sincronizar_archivo(&parcial.archivo)?;
            // Se abre antes de publicar, para que si no se puede no haya nada a la vista, y después de
            // reservar, que puede crearla.
            let abierta = self.abrir_carpeta(carpeta)?;
            if !parcial.publicar(carpeta)? {
                continue;
            }
            if cfg!(windows) {
                // Sincronizar otra vez el archivo lleva consigo su nombre.
                self.sincronizar_archivo(&parcial.archivo)?;
            }
            self.sincronizar_nombre(carpeta, abierta)?;
            return Ok(mem::take(&mut parcial.definitivo));
        }
    }

    fn sincronizar_archivo(&self, archivo: &File) -> io::Result<()> {
        if self.sincronizar {
            archivo.sync_all()
        } else {
            Ok(())
        }
    }

    /// La carpeta, para sincronizarla; `None` si no hay que hacerlo. En Windows no se puede.
    fn abrir_carpeta(&self, carpeta: &Path) -> io::Result<Option<File>> {
        let hay_que = self.sincronizar && !cfg!(windows);
        hay_que.then(|| File::open(carpeta)).transpose()
    }

    /// El nombre publicado en la carpeta pasa al disco.
    fn sincronizar_nombre(&self, carpeta: &Path, abierta: Option<File>) -> io::Result<()> {
        if let Some(abierta) = abierta {
            abierta.sync_all()?;
        }
        // Otra conexión acaba de crear la carpeta, o no pudo sincronizarla: no se espera por ella.
        if self.carpetas_nuevas.load(Ordering::SeqCst) > 0 {
            self.sincronizar_madre(carpeta)?;
        }
        Ok(())
    }

    /// Crea en exclusiva el parcial de un nombre. Quien lo tiene es dueño del nombre, si no hay ya
    /// un archivo que lo lleve.
    fn reservar(
        &self,
        carpeta: &Path,
        llegada: NaiveDateTime,
        extension: &str,
    ) -> io::Result<Parcial> {
        let mut repuesta = false;
        loop {
            let nombre = self.siguiente_nombre(llegada);
            let ruta = carpeta.join(format!(".{nombre}{FIN_DE_PARCIAL}"));
            let definitivo = format!("{nombre}.{extension}");
            match con_paciencia(|| OpenOptions::new().write(true).create_new(true).open(&ruta)) {
                // Si el archivo ya existe se sabrá al publicar: mirarlo aquí espera a quien esté
                // creando otro en la carpeta, y casi nunca existe.
                Ok(archivo) => {
                    return Ok(Parcial {
                        archivo,
                        ruta,
                        definitivo,
                        publicado: false,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound && !repuesta => {
                    self.crear_carpeta(carpeta)?;
                    repuesta = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Un nombre posterior a todos los dados, aunque el reloj haya ido hacia atrás.
    fn siguiente_nombre(&self, llegada: NaiveDateTime) -> String {
        let mut ultimo = self.ultimo.lock().unwrap_or_else(PoisonError::into_inner);
        let (hora, contador) = *ultimo;
        *ultimo = if milisegundos(llegada) > milisegundos(hora) {
            (llegada, 0)
        } else if contador < MAX_CONTADOR {
            (hora, contador + 1)
        } else {
            (hora + TimeDelta::milliseconds(1), 0)
        };
        generar_nombre_archivo(ultimo.0, ultimo.1)
    }

    /// Crea la carpeta y las que falten por encima, y sincroniza la que contiene a cada nueva:
    /// un mensaje no está a salvo si su carpeta no lo está.
    fn crear_carpeta(&self, carpeta: &Path) -> io::Result<()> {
        if carpeta.as_os_str().is_empty() || carpeta.is_dir() {
            return Ok(());
        }
        let madre = carpeta.parent().unwrap_or(Path::new(""));
        self.crear_carpeta(madre)?;
        self.carpetas_nuevas.fetch_add(1, Ordering::SeqCst);
        match fs::create_dir(carpeta) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && carpeta.is_dir() => {}
            Err(error) => {
                self.carpetas_nuevas.fetch_sub(1, Ordering::SeqCst);
                return Err(error);
            }
            Ok(()) => {}
        }
        self.sincronizar_madre(carpeta)?;
        self.carpetas_nuevas.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    /// El nombre de la carpeta pasa al disco. En Windows una carpeta no se puede sincronizar.
    fn sincronizar_madre(&self, carpeta: &Path) -> io::Result<()> {
        if !self.sincronizar || cfg!(windows) {
            return Ok(());
        }
        let madre = carpeta
            .parent()
            .filter(|madre| !madre.as_os_str().is_empty());
        File::open(madre.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Adónde fue el parcial; `None` si es demasiado reciente.
    fn mover_parcial(&self, parcial: &Path, nombre: &str) -> io::Result<Option<PathBuf>> {
        let modificado = fs::metadata(parcial)?.modified()?;
        let reposo = SystemTime::now()
            .duration_since(modificado)
            .unwrap_or_default();
        if reposo < REPOSO_DE_UN_PARCIAL {
            return Ok(None);
        }
        let apartados = self.carpeta.join(APARTADOS);
        self.crear_carpeta(&apartados)?;
        let mut destino = apartados.join(format!("{nombre}.parcial"));
        let mut copia = 1;
        while let Err(error) = renombrar_sin_reemplazar(parcial, &destino) {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(error);
            }
            destino = apartados.join(format!("{nombre}-{copia}.parcial"));
            copia += 1;
        }
        Ok(Some(destino))
    }
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
        match renombrar_sin_reemplazar(&self.ruta, &carpeta.join(&self.definitivo)) {
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

/// `HL7_ORU_…` si `nombre` es el de un parcial nuestro.
fn nombre_de_parcial(nombre: &std::ffi::OsStr) -> Option<&str> {
    nombre
        .to_str()?
        .strip_prefix('.')?
        .strip_suffix(FIN_DE_PARCIAL)
        .filter(|nombre| nombre.starts_with("HL7_ORU_"))
}

fn milisegundos(hora: NaiveDateTime) -> i64 {
    hora.and_utc().timestamp_millis()
}

/// `AlreadyExists` si `nuevo` existe, y entonces no cambia nada.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    /// Los hilos que esperan dentro del sistema a que otro acabe en la misma carpeta gastan procesador;
    /// los que esperan aquí, no.
    static TURNO: Mutex<()> = Mutex::new(());
    let turno = TURNO.lock().unwrap_or_else(PoisonError::into_inner);
    let renombrado = renameat2(
        AT_FDCWD,
        actual,
        AT_FDCWD,
        nuevo,
        RenameFlags::RENAME_NOREPLACE,
    );
    drop(turno);
    match renombrado {
        // Algunos sistemas de archivos en red no lo admiten; queda la reserva del nombre.
        Err(Errno::EINVAL | Errno::ENOSYS) => mirar_y_renombrar(actual, nuevo),
        otro => Ok(otro?),
    }
}

/// Con WRITE_THROUGH no vuelve hasta que el nombre nuevo está en el disco.
#[cfg(windows)]
fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) -> io::Result<()> {
    use winsafe::MoveFileEx;
    use winsafe::co::MOVEFILE;
    let (Some(de), Some(a)) = (actual.to_str(), nuevo.to_str()) else {
        return mirar_y_renombrar(actual, nuevo);
    };
    let mover = || MoveFileEx(de, Some(a), MOVEFILE::WRITE_THROUGH);
    match con_paciencia(|| mover().map_err(|error| error_de_windows(error.raw()))) {
        // No admite rutas de más de 260 letras; la biblioteca estándar, sí.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::InvalidFilename
            ) =>
        {
            mirar_y_renombrar(actual, nuevo)
        }
        otro => otro,
    }
}

#[cfg(windows)]
fn error_de_windows(codigo: u32) -> io::Error {
    io::Error::from_raw_os_error(codigo.cast_signed())
}

#[cfg(not(any(windows, all(target_os = "linux", target_env = "gnu"))))]
fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) -> io::Result<()> {
    mirar_y_renombrar(actual, nuevo)
}

/// Sin una orden del sistema que no reemplace: mirar con el nombre reservado excluye lo que otro
/// servidor publicó antes, y mirar justo antes de renombrar, lo que puso alguien ajeno.
fn mirar_y_renombrar(actual: &Path, nuevo: &Path) -> io::Result<()> {
    if fs::exists(nuevo)? {
        return Err(ErrorKind::AlreadyExists.into());
    }
    con_paciencia(|| fs::rename(actual, nuevo))
}

/// En Windows, un antivirus o el LIS pueden retener un archivo un instante: se insiste.
fn con_paciencia<T>(mut operacion: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let comienzo = Instant::now();
    loop {
        match operacion() {
            Err(error)
                if cfg!(windows)
                    && comienzo.elapsed() < PACIENCIA
                    && (error.kind() == ErrorKind::PermissionDenied
                        || causa::es_archivo_retenido(&error)) =>
            {
                thread::sleep(PAUSA_ENTRE_INTENTOS);
            }
            resultado => return resultado,
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
        let ruta = ruta.to_path_buf();
        move |causa| ErrorDeAlmacen { fallo, ruta, causa }
    }

    /// La causa en letras y blancos ASCII, para el MSA-3 de un acuse.
    #[must_use]
    pub fn para_el_equipo(&self) -> &'static str {
        causa::explicar_al_equipo(&self.causa)
    }
}

impl fmt::Display for ErrorDeAlmacen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorDeAlmacen { fallo, ruta, causa } = self;
        write!(
            f,
            "{fallo} en «{}»: {}",
            ruta.display(),
            causa::explicar(causa)
        )
    }
}

impl std::error::Error for ErrorDeAlmacen {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.causa)
    }
}
