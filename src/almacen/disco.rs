//! Lo que cada sistema hace a su manera con el disco: renombrar sin reemplazar, llevar un nombre al
//! disco, decir qué disco es.
//!
//! Lo que es de un solo sistema está en `unix` o en `windows`, con los mismos nombres en los dos. No
//! sabe qué se guarda.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

#[cfg(unix)]
pub(super) use unix::{Carpeta, dispositivo, es_fat, renombrar_sin_reemplazar};
#[cfg(windows)]
pub(super) use windows::{Carpeta, dispositivo, es_fat, renombrar_sin_reemplazar};

use crate::causa;
use crate::texto::MIB;

/// Cuánto se insiste en Windows cuando un antivirus o el LIS retiene el archivo.
const PACIENCIA: Duration = Duration::from_secs(2);
const PAUSA_ENTRE_INTENTOS: Duration = Duration::from_millis(50);

/// El nombre de las carpetas nuevas de esta pasa al disco, hasta donde el sistema sabe: la que no se
/// deja leer tampoco se puede sincronizar.
pub(super) fn sincronizar_carpeta(carpeta: &Path) -> io::Result<()> {
    match Carpeta::abrir(carpeta) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        abierta => abierta?.sincronizar().map(drop),
    }
}

/// Los MiB libres en el disco de esa carpeta.
pub(crate) fn espacio_libre_mib(carpeta: &Path) -> io::Result<u64> {
    Ok(fs4::available_space(carpeta)? / MIB as u64)
}

/// Un límite del sistema al tamaño de los archivos (LimitFSIZE, ulimit -f) es un fallo de esa escritura, y
/// no el fin del proceso. Vale para el hilo que lo llama y para los que este abra.
pub fn tolerar_limites() {
    #[cfg(unix)]
    unix::tolerar_limites();
}

/// Sin una orden del sistema que no reemplace: mirar con el nombre reservado excluye lo que otro
/// servidor publicó antes, y mirar justo antes de cada intento, lo que puso alguien ajeno.
fn mirar_y_renombrar(actual: &Path, nuevo: &Path) -> io::Result<()> {
    con_paciencia(|| {
        if fs::exists(nuevo)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        fs::rename(actual, nuevo)
    })
}

/// En Windows, un antivirus o el LIS pueden retener un archivo un instante: se insiste.
pub(super) fn con_paciencia<T>(mut operacion: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let limite = cfg!(windows).then(|| Instant::now() + PACIENCIA);
    loop {
        match operacion() {
            Err(error)
                if limite.is_some_and(|limite| Instant::now() < limite)
                    && (error.kind() == ErrorKind::PermissionDenied
                        || causa::es_archivo_retenido(&error)) =>
            {
                thread::sleep(PAUSA_ENTRE_INTENTOS);
            }
            resultado => return resultado,
        }
    }
}

#[cfg(windows)]
#[cfg(test)]
mod tests {
    use std::os::windows::fs::OpenOptionsExt;

    use super::*;

    /// Es lo que se hace con una ruta de más de 260 letras.
    #[test]
    fn sin_una_orden_que_no_reemplace_cada_intento_mira_si_el_nombre_sigue_libre() {
        let carpeta = std::env::temp_dir().join(format!("disco-{}", std::process::id()));
        fs::create_dir_all(&carpeta).unwrap();
        let [actual, nuevo] = ["actual", "nuevo"].map(|nombre| carpeta.join(nombre));
        fs::write(&actual, "nuestro").unwrap();
        let mut abrir = fs::OpenOptions::new();
        let retenido = abrir.read(true).share_mode(0).open(&actual).unwrap();
        let renombrado = thread::scope(|hilos| {
            let hilo = hilos.spawn(|| mirar_y_renombrar(&actual, &nuevo));
            // Para entonces ya se miró que el nombre estaba libre.
            thread::sleep(PACIENCIA / 4);
            fs::write(&nuevo, "de otro").unwrap();
            drop(retenido);
            hilo.join().unwrap()
        });
        assert_eq!(renombrado.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&nuevo).unwrap(), b"de otro");
        fs::remove_dir_all(carpeta).unwrap();
    }
}
