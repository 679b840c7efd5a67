//! Lo que hacen con el disco Linux y los demás Unix. No sabe qué se guarda.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

use super::mirar_y_renombrar;

/// Una carpeta abierta, para llevar al disco los nombres que se ponen en ella.
pub(in crate::almacen) struct Carpeta(File);

impl Carpeta {
    pub(in crate::almacen) fn abrir(ruta: &Path) -> io::Result<Carpeta> {
        File::open(ruta).map(Carpeta)
    }

    /// El nombre que `archivo` acaba de recibir en la carpeta pasa al disco. Devuelve si hubo que sincronizar
    /// otra vez el archivo, que lleva consigo su nombre. Se decide con cada uno, porque bajo la misma ruta
    /// puede montarse otro disco en cualquier momento.
    pub(in crate::almacen) fn asegurar_nombre(&self, archivo: &File) -> io::Result<bool> {
        if self.sincronizar()? && preguntas::la_carpeta_lleva_sus_nombres(&self.0) {
            return Ok(false);
        }
        archivo.sync_all()?;
        Ok(true)
    }

    /// Sincroniza la carpeta; `false` si su sistema de archivos no sabe hacerlo.
    pub(in crate::almacen) fn sincronizar(&self) -> io::Result<bool> {
        let sabe = match self.0.sync_all() {
            Err(error) if no_sabe_sincronizarla(&error) => false,
            sincronizada => sincronizada.map(|()| true)?,
        };
        // Un XFS que se detiene por un fallo del disco puede decir que sincronizó lo que ya no está en su
        // diario: el fallo lo dice al preguntarle por la carpeta, y solo ahí.
        preguntas::por_la_carpeta(&self.0)?;
        Ok(sabe)
    }
}

/// Las carpetas de VirtualBox, las de Windows en WSL y algunos discos en red contestan así: no es un
/// fallo del disco, y lo seguirán contestando siempre.
fn no_sabe_sincronizarla(error: &io::Error) -> bool {
    let codigo = error.raw_os_error().map(Errno::from_raw);
    // Escritos por separado, porque en algún Unix ENOTSUP y EOPNOTSUPP no son el mismo.
    [
        Errno::EINVAL,
        Errno::ENOTSUP,
        Errno::EOPNOTSUPP,
        Errno::EBADF,
        Errno::ENOSYS,
    ]
    .map(Some)
    .contains(&codigo)
}

/// Lo que se pregunta al sistema de archivos. En Linux, su tipo es un número.
#[cfg(target_os = "linux")]
mod preguntas {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use nix::sys::statfs::{FsType, MSDOS_SUPER_MAGIC, fstatfs, statfs};
    use rustix::fs::{AtFlags, StatxFlags, statx};
    use rustix::io::Errno;

    /// De include/uapi/linux/magic.h; nix solo tiene el del smbfs de antes.
    const CIFS: FsType = FsType(0xFF53_4D42);
    const SMB2: FsType = FsType(0xFE53_4D42);

    /// El error que haya, sin pedir ningún dato de la carpeta. Pedir sus horas saldría caro: desde Linux 6.13,
    /// la hora que alguien ha visto tiene que cambiar con el archivo siguiente, y sincronizarlo cuesta una
    /// décima más.
    pub(super) fn por_la_carpeta(carpeta: &File) -> io::Result<()> {
        match statx(carpeta, c"", AtFlags::EMPTY_PATH, StatxFlags::empty()) {
            // Anterior a Linux 4.11.
            Err(Errno::NOSYS) => carpeta.metadata().map(drop),
            otro => Ok(otro.map(drop)?),
        }
    }

    /// Si no se puede saber, como casi todos.
    pub(super) fn la_carpeta_lleva_sus_nombres(carpeta: &File) -> bool {
        fstatfs(carpeta).is_ok_and(|disco| lleva_sus_nombres(disco.filesystem_type()))
    }

    pub(super) fn es_fat(carpeta: &Path) -> bool {
        statfs(carpeta).is_ok_and(|disco| disco.filesystem_type() == MSDOS_SUPER_MAGIC)
    }

    /// En una carpeta de red de Windows, sincronizarla no envía nada al otro PC. En FAT no escribe el
    /// tamaño del archivo, y sin él el nombre es de un archivo vacío.
    fn lleva_sus_nombres(tipo: FsType) -> bool {
        ![CIFS, SMB2, MSDOS_SUPER_MAGIC].contains(&tipo)
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use nix::sys::statfs::{EXT4_SUPER_MAGIC, NFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC};

        #[test]
        fn en_smb_y_en_fat_no_basta_con_sincronizar_la_carpeta() {
            for tipo in [0xFF53_4D42, 0xFE53_4D42, 0x4D44] {
                assert!(!lleva_sus_nombres(FsType(tipo)), "{tipo:x}");
            }
            for tipo in [
                EXT4_SUPER_MAGIC,
                XFS_SUPER_MAGIC,
                NFS_SUPER_MAGIC,
                TMPFS_MAGIC,
            ] {
                assert!(lleva_sus_nombres(tipo), "{tipo:?}");
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod preguntas {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn por_la_carpeta(carpeta: &File) -> io::Result<()> {
        carpeta.metadata().map(drop)
    }

    pub(super) fn la_carpeta_lleva_sus_nombres(_: &File) -> bool {
        true
    }

    pub(super) fn es_fat(_: &Path) -> bool {
        false
    }
}

/// Si la carpeta está en un disco FAT.
pub(in crate::almacen) fn es_fat(carpeta: &Path) -> bool {
    preguntas::es_fat(carpeta)
}

/// El disco en que está la carpeta; `None` si no se puede saber.
pub(in crate::almacen) fn dispositivo(carpeta: &Path) -> Option<u64> {
    fs::metadata(carpeta).ok().map(|datos| datos.dev())
}

/// Bloqueada, la señal SIGXFSZ no llega, y la escritura devuelve EFBIG.
pub(super) fn tolerar_limites() {
    // Si no se pudiera, todo queda como estaba: solo importa a quien puso un límite.
    let _ = SigSet::from(Signal::SIGXFSZ).thread_block();
}

/// `AlreadyExists` si `nuevo` existe, y entonces no cambia nada.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(in crate::almacen) fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) -> io::Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

    let renombrado = renameat2(
        AT_FDCWD,
        actual,
        AT_FDCWD,
        nuevo,
        RenameFlags::RENAME_NOREPLACE,
    );
    match renombrado {
        // Algunos sistemas de archivos en red no lo admiten; queda la reserva del nombre.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => mirar_y_renombrar(actual, nuevo),
        otro => Ok(otro?),
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(in crate::almacen) fn renombrar_sin_reemplazar(actual: &Path, nuevo: &Path) -> io::Result<()> {
    mirar_y_renombrar(actual, nuevo)
}
