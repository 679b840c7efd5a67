//! Qué se mide: los casos, los mensajes de cada uno y la comprobación de sus archivos.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const VT: u8 = 0x0B;
pub(crate) const FS: u8 = 0x1C;
pub(crate) const KB: usize = 1_000;
pub(crate) const MB: usize = 1_000_000;

/// Una carga: quién envía, qué y cómo.
#[derive(Clone, Copy)]
pub(crate) struct Caso {
    pub(crate) nombre: &'static str,
    pub(crate) conexiones: usize,
    /// Conexiones abiertas que no dicen nada; las varas se miden sin ellas.
    pub(crate) calladas: usize,
    /// Longitud de cada mensaje.
    pub(crate) bytes: usize,
    /// Cuántos se envían en una ronda, entre todas las conexiones.
    pub(crate) mensajes: usize,
    /// Cuántos puede haber sin acusar en una conexión.
    pub(crate) en_vuelo: usize,
    pub(crate) con_trama: bool,
    /// Cuántos bytes lleva cada escritura en el socket.
    pub(crate) trozo: usize,
    pub(crate) sincronizar: bool,
    /// Con CarpetaPorEquipo = si.
    pub(crate) por_equipo: bool,
}

/// Lo que tienen en común; cada caso dice en qué se aparta.
pub(crate) const BASE: Caso = Caso {
    nombre: "",
    conexiones: 1,
    calladas: 0,
    bytes: KB,
    mensajes: 1,
    en_vuelo: 1,
    con_trama: true,
    trozo: usize::MAX,
    sincronizar: true,
    por_equipo: false,
};

/// El nombre de quien envía, que es el de su carpeta si el caso es por equipo.
pub(crate) const EQUIPO: &str = "Banco";

/// Los casos; cuántos mensajes lleva cada ronda se ajusta a lo que el equipo da.
pub(crate) const CASOS: [Caso; 17] = [
    Caso {
        nombre: "1 conexión, 1 KB",
        ..BASE
    },
    Caso {
        nombre: "1 conexión con 63 calladas, 1 KB",
        calladas: 63,
        ..BASE
    },
    Caso {
        nombre: "16 conexiones, 1 KB",
        conexiones: 16,
        ..BASE
    },
    Caso {
        nombre: "16 conexiones, 1 KB, CarpetaPorEquipo = si",
        conexiones: 16,
        por_equipo: true,
        ..BASE
    },
    Caso {
        nombre: "64 conexiones, 1 KB",
        conexiones: 64,
        ..BASE
    },
    Caso {
        nombre: "1 conexión, 64 en vuelo, 1 KB",
        en_vuelo: 64,
        ..BASE
    },
    Caso {
        nombre: "1 conexión, 1 MB",
        bytes: MB,
        ..BASE
    },
    Caso {
        nombre: "4 conexiones, 1 MB",
        conexiones: 4,
        bytes: MB,
        ..BASE
    },
    Caso {
        nombre: "1 conexión, 6 MB",
        bytes: 6 * MB,
        ..BASE
    },
    Caso {
        nombre: "4 conexiones, 6 MB",
        conexiones: 4,
        bytes: 6 * MB,
        ..BASE
    },
    Caso {
        nombre: "1 conexión sin trama, 1 KB",
        con_trama: false,
        ..BASE
    },
    Caso {
        nombre: "16 conexiones sin trama, 1 KB",
        con_trama: false,
        conexiones: 16,
        ..BASE
    },
    Caso {
        nombre: "1 conexión, byte a byte, 1 KB",
        trozo: 1,
        ..BASE
    },
    Caso {
        nombre: "1 conexión, 1 KB, Sincronizar = no",
        sincronizar: false,
        ..BASE
    },
    Caso {
        nombre: "16 conexiones, 1 KB, Sincronizar = no",
        sincronizar: false,
        conexiones: 16,
        ..BASE
    },
    Caso {
        nombre: "64 en vuelo, 1 KB, Sincronizar = no",
        sincronizar: false,
        en_vuelo: 64,
        ..BASE
    },
    Caso {
        nombre: "4 conexiones, 6 MB, Sincronizar = no",
        sincronizar: false,
        conexiones: 4,
        bytes: 6 * MB,
        ..BASE
    },
];

impl Caso {
    /// Dónde quedan sus archivos en la carpeta de una ronda. Las varas los ponen igual de hondo: hallar una
    /// carpeta más también cuesta.
    pub(crate) fn mensajes(&self, carpeta: &Path) -> PathBuf {
        let mensajes = carpeta.join("mensajes");
        if self.por_equipo {
            mensajes.join(EQUIPO)
        } else {
            mensajes
        }
    }

    pub(crate) fn por_conexion(&self) -> usize {
        self.mensajes / self.conexiones
    }

    pub(crate) fn es_grande(&self) -> bool {
        self.bytes >= 100 * KB
    }
}

/// Los mensajes de un caso: todos iguales salvo MSH-10, que dice la conexión y el número.
pub(crate) struct Plantilla {
    /// Con su VT y su FS CR, o solo con FS CR si el caso es sin trama.
    trama: Vec<u8>,
    contenido: usize,
    id: usize,
}

impl Plantilla {
    pub(crate) fn new(caso: &Caso) -> Plantilla {
        let antes = b"MSH|^~\\&|EQUIPO|LAB|LIS|HOSP|20260912094501||ORU^R01|";
        let mut trama = Vec::new();
        if caso.con_trama {
            trama.push(VT);
        }
        let contenido = trama.len();
        trama.extend_from_slice(antes);
        let id = trama.len();
        trama.extend_from_slice(identificar(0, 0).as_bytes());
        trama.extend_from_slice(b"|P|2.3.1\rPID|1||9\r");
        while trama.len() < contenido + caso.bytes {
            trama.extend_from_slice(b"OBX|2|ED|IMG||^^^Base64^");
            trama.extend((0..200).map(|n| b'A' + n % 26));
            trama.push(b'\r');
        }
        trama.truncate(contenido + caso.bytes - 1);
        trama.extend_from_slice(&[b'\r', FS, b'\r']);
        Plantilla {
            trama,
            contenido,
            id,
        }
    }

    /// Lo que va por el cable.
    pub(crate) fn trama(&mut self, conexion: usize, numero: usize) -> &[u8] {
        let id = identificar(conexion, numero);
        self.trama[self.id..self.id + id.len()].copy_from_slice(id.as_bytes());
        &self.trama
    }

    /// Lo que debe quedar en el archivo.
    pub(crate) fn contenido(&mut self, conexion: usize, numero: usize) -> &[u8] {
        let comienzo = self.contenido;
        let trama = self.trama(conexion, numero);
        &trama[comienzo..trama.len() - 2]
    }

    /// De qué conexión y qué número es un archivo, según su MSH-10.
    fn leer_id(&self, archivo: &[u8]) -> Option<(usize, usize)> {
        let id = archivo.get(self.id - self.contenido..)?.get(..13)?;
        let (conexion, numero) = str::from_utf8(id).ok()?.split_once('-')?;
        Some((conexion.parse().ok()?, numero.parse().ok()?))
    }
}

/// MSH-10.
pub(crate) fn identificar(conexion: usize, numero: usize) -> String {
    format!("{conexion:04}-{numero:08}")
}

/// Comprueba la carpeta entera: cada mensaje una vez, byte por byte, los de cada conexión en el
/// orden de los nombres, y ningún otro archivo.
pub(crate) fn comprobar_archivos(caso: &Caso, carpeta: &Path) {
    let mut nombres: Vec<_> = fs::read_dir(carpeta)
        .unwrap()
        .map(|entrada| entrada.unwrap().file_name())
        .collect();
    nombres.sort();
    let mut plantilla = Plantilla::new(caso);
    let mut siguientes = vec![0; caso.conexiones];
    for nombre in nombres {
        let nombre = nombre.to_str().unwrap();
        assert!(!nombre.starts_with('.'), "{}: sobra {nombre}", caso.nombre);
        let archivo = fs::read(carpeta.join(nombre)).unwrap();
        let (conexion, numero) = plantilla.leer_id(&archivo).expect("un mensaje nuestro");
        let igual = archivo == plantilla.contenido(conexion, numero);
        assert!(igual, "{}: {nombre} no es lo que se envió", caso.nombre);
        let siguiente = &mut siguientes[conexion];
        assert_eq!(numero, *siguiente, "{}: {nombre} en desorden", caso.nombre);
        *siguiente += 1;
    }
    let completas = siguientes.iter().all(|hay| *hay == caso.por_conexion());
    assert!(
        completas,
        "{}: faltan mensajes: {siguientes:?}",
        caso.nombre
    );
}
