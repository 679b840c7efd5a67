//! Diez veces el tamaño, diez veces el tiempo: hasta el límite y se corten los bytes como se
//! corten. Sin sincronizar, para que el disco no lo tape; y frente a la vara (b) con ese mismo
//! tamaño, que es lineal, porque al sistema mismo diez veces el tamaño le cuesta más de diez veces.

use std::fs;
use std::path::Path;

use crate::carga::{self, Quien};
use crate::caso::{BASE, Caso, KB, MB, comprobar_archivos};
use crate::informe::Meta;
use crate::medida::mediana;

/// Bytes por escritura y el menor de los dos tamaños; el mayor se acerca al límite de 64 MiB
/// cuando el número de escrituras lo permite.
const CORTES: [(&str, usize, usize); 4] = [
    ("enteros", usize::MAX, 6 * MB),
    ("en trozos de 1460", 1460, 6 * MB),
    ("en trozos de 100", 100, MB),
    ("byte a byte", 1, 10 * KB),
];

/// Lo que tarda cada tamaño respecto a la vara (b): lo que creciera más deprisa que el mensaje se
/// vería en el mayor.
///
/// Cada ronda es un servidor recién arrancado y un solo mensaje: ambos pagan lo mismo de estreno.
pub(crate) fn medir(carpeta: &Path, rondas: usize) -> Vec<Meta> {
    let medir_corte = |(como, trozo, bytes)| {
        [1, 10].map(|veces| comparar(carpeta, rondas, como, trozo, bytes * veces))
    };
    CORTES.into_iter().flat_map(medir_corte).collect()
}

fn comparar(carpeta: &Path, rondas: usize, como: &str, trozo: usize, bytes: usize) -> Meta {
    let caso = Caso {
        nombre: "escala",
        bytes,
        trozo,
        mensajes: 1,
        sincronizar: false,
        ..BASE
    };
    let tarda = |quien| {
        let carpeta = carpeta.join("escala");
        let medida = carga::medir(&caso, quien, &carpeta);
        comprobar_archivos(&caso, &caso.mensajes(&carpeta));
        fs::remove_dir_all(&carpeta).unwrap();
        1.0 / medida.ritmo
    };
    let frente_a_b = mediana((0..rondas).map(|_| tarda(Quien::Servidor) / tarda(Quien::Minimo)));
    let que = format!("lo que tarda {} MB, {como} / b", bytes as f64 / MB as f64);
    Meta::a_lo_sumo(que, frente_a_b, 1.1)
}
