//! Lo que hace con el disco Windows. No sabe qué se guarda.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use winsafe::co::MOVEFILE;
use winsafe::{GetVolumeInformation, GetVolumePathName, MoveFileEx};

use super::{con_paciencia, mirar_y_renombrar};

/// Una carpeta, que en Windows no se abre ni se sincroniza.
pub(in crate::almacen) struct Carpeta;

impl Carpeta {
    // Con la firma de los demás sistemas, donde abrirla puede fallar.
    #[allow(clippy::unnecessary_wraps)]
    pub(in crate::almacen) fn abrir(_: &Path) -> io::Result<Carpeta> {
        Ok(Carpeta)
    }

    /// El nombre que `archivo` acaba de recibir en la carpeta pasa al disco. Devuelve que hubo que sincronizar
    /// otra vez el archivo, que lleva consigo su nombre.
    #[allow(clippy::unused_self)]
    pub(in crate::almacen) fn asegurar_nombre(&self, archivo: &File) -> io::Result<bool> {
        archivo.sync_all()?;
        Ok(true)
    }

    /// `false`: no se puede.
    #[allow(clippy::unnecessary_wraps, clippy::unused_self)]
    pub(in crate::almacen) fn sincronizar(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// Si la carpeta está en un disco FAT, FAT12, FAT16 o FAT32; exFAT no lo es.
pub(in crate::almacen) fn es_fat(carpeta: &Path) -> bool {
    let raiz = carpeta.to_str().map(GetVolumePathName);
    let Some(Ok(raiz)) = raiz else {
        return false;
    };
    let mut sistema = String::new();
    GetVolumeInformation(Some(&raiz), None, None, None, None, Some(&mut sistema))
        .is_ok_and(|()| sistema.starts_with("FAT"))
}

/// Una unidad que falta no deja otra carpeta en su lugar, como un punto de montaje de Unix.
pub(in crate::almacen) fn dispositivo(_: &Path) -> Option<u64> {
    None
}

/// `AlreadyExists` si `nuevo` existe, y entonces no cambia nada. Con WRITE_THROUGH no vuelve hasta que
/// el nombre nuevo está en el disco.
pub(in crate::almacen) fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) -> io::Result<()> {
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

fn error_de_windows(codigo: u32) -> io::Error {
    io::Error::from_raw_os_error(codigo.cast_signed())
}
