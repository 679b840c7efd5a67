//! La memoria: en reposo, por conexión ociosa, con un mensaje grande y después de él.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::carga::{Equipo, Quien};
use crate::caso::{BASE, Caso, MB};
use crate::informe::Meta;
use crate::proceso::Proceso;

/// Cuánto puede quedar de más tras un mensaje grande: lo que la biblioteca de memoria redondea.
const RESTO_KB: f64 = 256.0;
const PLAZO: Duration = Duration::from_secs(3);
const OCIOSAS: usize = 256;
/// Cada una ha entregado ya un mensaje: cuesta más que la que nunca dijo nada.
const UNO_CADA_UNA: Caso = Caso {
    nombre: "256 conexiones ociosas",
    conexiones: OCIOSAS,
    mensajes: OCIOSAS,
    sincronizar: false,
    ..BASE
};
const UNO: Caso = Caso {
    nombre: "un mensaje pequeño",
    mensajes: 1,
    sincronizar: false,
    ..BASE
};
const GRANDES: Caso = Caso {
    nombre: "mensajes de 6 MB",
    bytes: 6 * MB,
    mensajes: 3,
    sincronizar: false,
    ..BASE
};

/// Las metas de memoria; ninguna donde no hay /proc.
pub(crate) fn medir(carpeta: &Path) -> Vec<Meta> {
    ociosas(&carpeta.join("ociosas"))
        .into_iter()
        .chain(grandes(&carpeta.join("grandes")))
        .flatten()
        .collect()
}

fn arrancar(carpeta: &Path) -> Proceso {
    std::fs::create_dir(carpeta).unwrap();
    Proceso::servidor(carpeta, &UNO)
}

fn ociosas(carpeta: &Path) -> Option<Vec<Meta>> {
    let servidor = arrancar(carpeta);
    let reposo = servidor.gasto()?.rss_kb;
    let _equipos: Vec<_> = (0..OCIOSAS)
        .map(|conexion| hablar(&UNO_CADA_UNA, conexion, &servidor))
        .collect();
    let cada_una = (servidor.gasto()?.rss_kb - reposo) / OCIOSAS as f64;
    Some(vec![
        Meta::a_lo_sumo("memoria en reposo, MB", reposo / 1024.0, 4.0),
        Meta::a_lo_sumo("memoria por conexión ociosa, KB", cada_una, 40.0),
    ])
}

fn grandes(carpeta: &Path) -> Option<Vec<Meta>> {
    let servidor = arrancar(carpeta);
    let _pequeno = hablar(&UNO, 0, &servidor);
    let antes = servidor.gasto()?.rss_kb;
    servidor.olvidar_maximo();
    let grande = hablar(&GRANDES, 0, &servidor);
    let maximo = servidor.gasto()?.rss_max_kb - antes;
    // El último mensaje ya está acusado y su conexión sigue abierta: lo que ocupó se devuelve
    // tras un silencio.
    let limite = Instant::now() + PLAZO;
    let mut queda = f64::INFINITY;
    while queda > RESTO_KB && Instant::now() < limite {
        queda = servidor.gasto()?.rss_kb - antes;
    }
    drop(grande);
    let veces = maximo * 1024.0 / GRANDES.bytes as f64;
    Some(vec![
        Meta::a_lo_sumo(
            "memoria de un mensaje de 6 MB, veces su longitud",
            veces,
            2.2,
        ),
        Meta::a_lo_sumo("memoria que queda tras él, KB", queda, RESTO_KB),
    ])
}

/// Una conexión que entrega los mensajes del caso y sigue abierta.
fn hablar<'a>(caso: &'a Caso, conexion: usize, servidor: &Proceso) -> Equipo<'a> {
    let mut equipo = Equipo::new(caso, Quien::Servidor, conexion, servidor.puerto);
    equipo.conversar();
    equipo
}
