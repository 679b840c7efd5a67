//! Un equipo bueno durante cada ataque: la mediana de lo que espera un acuse, frente a la de cuando está
//! solo. También la de la vara (b) bajo el mismo ataque: quien ataca y quien mide comparten los núcleos
//! con el servidor, y eso no lo arregla ninguno.

use std::fs;
use std::path::Path;

use crate::asaltos::{A_LOS_LIMITES, Ataque, acusador, durante};
use crate::carga::{Equipo, Quien};
use crate::caso::{BASE, Caso};
use crate::informe::Meta;
use crate::medida::{Medida, mediana};
use crate::proceso::Proceso;

/// Las entregas de cada ronda; el ataque empieza antes y acaba después.
const BUENO: Caso = Caso {
    nombre: "un equipo bueno",
    mensajes: 100,
    ..BASE
};
const INI: &str = "[Servidor]\nPuerto = 0\nDirectorio = mensajes\n";
/// Cada trama deja líneas que no se cuentan juntas.
const CON_TODO_DICHO: &str = "[Registro]\nCarpeta = registro\nNivel = debug\n";

/// Lo que espera un acuse durante cada ataque, en veces lo que espera sin él.
pub(crate) fn medir(carpeta: &Path, rondas: usize) -> Vec<Meta> {
    println!(
        "\n{:<44} {:>8} {:>8} {:>6} {:>10}",
        "ataque (mediana de un acuse)", "solo ms", "con él", "veces", "veces de b"
    );
    let aluvion = ("un aluvión de líneas", acusador as Ataque);
    let ataques = A_LOS_LIMITES.into_iter().map(|ataque| (ataque, ""));
    let ataques = ataques.chain([(aluvion, CON_TODO_DICHO)]);
    ataques
        .map(|((nombre, ataque), ini)| {
            let [servidor, minimo] = [Quien::Servidor, Quien::Minimo].map(|quien| {
                let carpeta = carpeta.join("ataque");
                fs::create_dir(&carpeta).unwrap();
                let proceso = match quien {
                    Quien::Servidor => Proceso::con_ini(&carpeta, &format!("{INI}{ini}")),
                    Quien::Minimo => Proceso::minimo(&carpeta.join("mensajes"), true),
                };
                let medianas = comparar(&proceso, quien, ataque, rondas);
                drop(proceso);
                fs::remove_dir_all(&carpeta).unwrap();
                medianas
            });
            let [veces, veces_de_b] = [&servidor, &minimo]
                .map(|pares| mediana(pares.iter().map(|(solo, con)| con / solo)));
            println!(
                "{nombre:<44} {:>8.2} {:>8.2} {veces:>6.2} {veces_de_b:>10.2}",
                mediana(servidor.iter().map(|(solo, _)| *solo)),
                mediana(servidor.iter().map(|(_, con)| *con)),
            );
            Meta::a_lo_sumo(format!("{nombre}: mediana con él / solo"), veces, 2.0)
        })
        .collect()
}

/// Las medianas, en milisegundos, de rondas sin el ataque y con él, una tras otra.
fn comparar(proceso: &Proceso, quien: Quien, ataque: Ataque, rondas: usize) -> Vec<(f64, f64)> {
    let mut bueno = Equipo::new(&BUENO, quien, 0, proceso.puerto);
    let mut entregar = || Medida::new(&BUENO, 1.0, bueno.conversar()).p50;
    entregar();
    (0..rondas)
        .map(|_| (entregar(), durante(proceso.puerto, ataque, &mut entregar)))
        .collect()
}
