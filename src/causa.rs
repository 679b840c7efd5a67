//! Los errores del sistema dichos a quien está en el laboratorio: qué pasa y qué hacer.
//!
//! No sabe qué operación falló ni dónde; eso lo dice cada error que lo usa.

use std::io::{self, ErrorKind};
use std::path::Path;

/// Causa y remedio, p. ej. `el disco está lleno; libere espacio`.
pub(crate) fn explicar(error: &io::Error) -> String {
    if error.get_ref().is_some() {
        // No es del sistema: lo escribió el programa, y ya es para una persona.
        return error.to_string();
    }
    let conocida = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "el disco está lleno; libere espacio",
        ErrorKind::PermissionDenied => {
            "no hay permiso; dé permiso sobre esa ruta al usuario con que se ejecuta el programa, o cierre el programa que lo tiene abierto"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "el disco está protegido contra escritura; desprotéjalo o elija otra carpeta"
        }
        ErrorKind::FileTooLarge => {
            "el sistema no deja escribir un archivo tan grande; suba su límite (LimitFSIZE en systemd, ulimit -f)"
        }
        ErrorKind::NotFound => "no existe; revise la ruta y que la unidad esté conectada",
        ErrorKind::IsADirectory => "es una carpeta, no un archivo; corrija la ruta",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "ya hay un archivo con el nombre de la carpeta; muévalo o elija otra carpeta"
        }
        ErrorKind::InvalidFilename | ErrorKind::InvalidInput => {
            "el nombre no es válido o es demasiado largo; elija otra carpeta"
        }
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            "el equipo cortó la conexión; si se repite, revise la red"
        }
        ErrorKind::ConnectionRefused => {
            "rechaza la conexión; revise que esté listo y que su puerto sea ese"
        }
        ErrorKind::TimedOut
        | ErrorKind::WouldBlock
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => {
            "no hay respuesta por la red; revise que lo que está al otro lado esté encendido, su dirección, el cable y el cortafuegos"
        }
        _ if es_archivo_retenido(error) => {
            "otro programa lo tiene abierto; ciérrelo, o excluya la carpeta en el antivirus"
        }
        _ if es_falta_de_descriptores(error) => {
            "hay demasiados archivos y conexiones abiertos; baje MaxConexiones o suba el límite del sistema"
        }
        _ => {
            return format!("{error}; si se repite, avise a su soporte informático con este texto");
        }
    };
    conocida.to_owned()
}

/// Por qué no se pudo conectar: en la red no hay rutas ni carpetas.
pub(crate) fn explicar_conexion(error: &io::Error) -> String {
    let conocida = match error.kind() {
        ErrorKind::PermissionDenied => {
            "este PC no deja conectar con esa dirección; revísela, y permita este programa en el cortafuegos y en el antivirus"
        }
        ErrorKind::NotFound | ErrorKind::InvalidInput => {
            "esa dirección no sirve para conectar; corríjala"
        }
        _ => return explicar(error),
    };
    conocida.to_owned()
}

/// Por qué no se pudo leer ese archivo. De una carpeta o de un comodín, Windows no dice lo que son.
pub(crate) fn explicar_lectura(ruta: &Path, error: &io::Error) -> String {
    if ruta.is_dir() {
        explicar(&ErrorKind::IsADirectory.into())
    } else if ruta.to_string_lossy().contains(['*', '?']) {
        "los comodines * y ? no valen; escriba el nombre de cada archivo".to_owned()
    } else {
        explicar(error)
    }
}

/// La misma causa en letras y blancos ASCII, para el MSA-3 de un acuse.
pub(crate) fn explicar_al_equipo(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "No se pudo guardar porque el disco esta lleno"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "No se pudo guardar por falta de permiso"
        }
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "No se pudo guardar porque falta la carpeta"
        }
        _ => "No se pudo guardar el mensaje",
    }
}

/// Si lo que falló fue un plazo de lectura o de escritura: Unix dice WouldBlock y Windows TimedOut.
pub(crate) fn se_agoto(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// ERROR_SHARING_VIOLATION y ERROR_LOCK_VIOLATION (Windows): otro programa tiene el archivo.
pub(crate) fn es_archivo_retenido(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(32 | 33))
}

/// EMFILE y ENFILE (Unix), WSAEMFILE (Windows): la biblioteca estándar no les da nombre.
fn es_falta_de_descriptores(error: &io::Error) -> bool {
    let codigos: &[i32] = if cfg!(windows) { &[10024] } else { &[23, 24] };
    error
        .raw_os_error()
        .is_some_and(|codigo| codigos.contains(&codigo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn de_una_conexion_no_se_dice_nada_de_rutas_ni_de_carpetas() {
        for (tipo, remedio) in [
            (ErrorKind::PermissionDenied, "el cortafuegos"),
            (ErrorKind::NotFound, "corríjala"),
            (ErrorKind::InvalidInput, "corríjala"),
            (ErrorKind::ConnectionRefused, "que su puerto sea ese"),
            (ErrorKind::TimedOut, "el cortafuegos"),
        ] {
            let dicho = explicar_conexion(&tipo.into());
            let ajenas = ["ruta", "carpeta", "abierto"];
            assert!(
                dicho.contains(remedio) && !ajenas.iter().any(|ajena| dicho.contains(ajena)),
                "{dicho}"
            );
        }
    }
}
