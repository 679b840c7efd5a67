//! Lo que `--licencias` muestra es lo que piden los crates que van dentro del ejecutable, el de Windows y el
//! de Linux. Si cambian, `LICENCIAS=escribir cargo test licencias` hace el texto de nuevo.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::rastreo::omitir;
use crate::servidor_de_prueba::{carpeta_nueva, ejecutar, orden};

const TEXTO: &str = "src/recursos/licencias.txt";
const DESTINOS: [&str; 2] = ["x86_64-pc-windows-gnu", "x86_64-unknown-linux-gnu"];
/// Cómo empiezan y acaban las licencias que se admiten: la MIT, que casi todos dan, y la de zlib.
const LICENCIAS: [(&str, &str); 2] = [
    ("Permission is hereby granted", "DEALINGS IN THE SOFTWARE"),
    (
        "This software is provided 'as-is'",
        "any source distribution",
    ),
];
/// También va dentro, y no es un crate.
const BIBLIOTECA: (&str, &str) = (
    "la biblioteca estándar de Rust",
    "Copyright (c) The Rust Project Contributors",
);

/// Lo que dice cargo, sin salir a la red; `None` si le faltan las fuentes de algún crate.
fn cargo(argumentos: &[&str]) -> Option<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(argumentos)
        .args(["--locked", "--offline"]);
    let salida = ejecutar(&mut cargo);
    let bien = salida.status.success();
    bien.then(|| String::from_utf8(salida.stdout).unwrap())
}

/// Los crates que van dentro: nombre y versión.
fn de_dentro() -> Option<BTreeSet<(String, String)>> {
    let mut crates = BTreeSet::new();
    for destino in DESTINOS {
        let arbol = cargo(&[
            "tree",
            "--prefix=none",
            "--edges=normal,no-proc-macro",
            "--target",
            destino,
        ])?;
        for linea in arbol.lines() {
            let mut partes = linea.split(' ');
            let (nombre, version) = (partes.next().unwrap(), partes.next().unwrap());
            if nombre != env!("CARGO_PKG_NAME") {
                let version = version.trim_start_matches('v').to_owned();
                crates.insert((nombre.to_owned(), version));
            }
        }
    }
    Some(crates)
}

/// La carpeta de las fuentes de cada crate.
fn fuentes() -> Option<BTreeMap<(String, String), PathBuf>> {
    let datos: Value = serde_json::from_str(&cargo(&["metadata", "--format-version=1"])?).unwrap();
    let carpeta = |paquete: &Value| {
        let texto = |clave: &str| paquete[clave].as_str().unwrap().to_owned();
        let manifiesto = PathBuf::from(texto("manifest_path"));
        let carpeta = manifiesto.parent().unwrap().to_path_buf();
        ((texto("name"), texto("version")), carpeta)
    };
    let paquetes = datos["packages"].as_array().unwrap();
    Some(paquetes.iter().map(carpeta).collect())
}

/// Quién tiene los derechos, y el texto de la primera licencia de las que se admiten que el crate dé.
fn licencia(carpeta: &Path) -> (String, String) {
    let mut archivos: Vec<_> = fs::read_dir(carpeta)
        .unwrap()
        .map(|entrada| entrada.unwrap().path())
        .filter(|ruta| {
            let nombre = ruta.file_name().unwrap().to_string_lossy().to_lowercase();
            nombre.starts_with("license")
        })
        .collect();
    archivos.sort();
    // Los textos de una misma licencia solo difieren en dónde parten las líneas, y chrono trae otra después.
    let textos: Vec<_> = archivos
        .iter()
        .map(|ruta| fs::read_to_string(ruta).unwrap())
        .collect();
    let (antes, texto) = LICENCIAS
        .iter()
        .flat_map(|(comienzo, fin)| {
            textos
                .iter()
                .filter_map(|texto| partir(texto, comienzo, fin))
        })
        .next()
        .unwrap_or_else(|| panic!("{} trae otra licencia", carpeta.display()));
    let derechos: Vec<_> = antes
        .lines()
        .map(|linea| linea.trim_matches(|letra: char| !letra.is_alphanumeric() && letra != '>'))
        .filter(|linea| linea.to_lowercase().starts_with("copyright"))
        .collect();
    (derechos.join("; "), texto)
}

/// Lo que precede a esa licencia, y ella en una línea.
fn partir<'a>(texto: &'a str, comienzo: &str, fin: &str) -> Option<(&'a str, String)> {
    let (antes, despues) = texto.split_once(comienzo)?;
    let palabras: Vec<_> = despues.split_whitespace().collect();
    let despues = palabras.join(" ");
    let (cuerpo, _) = despues.split_once(fin)?;
    Some((antes, format!("{comienzo}{cuerpo}{fin}.")))
}

fn redactar(
    crates: &BTreeSet<(String, String)>,
    fuentes: &BTreeMap<(String, String), PathBuf>,
) -> String {
    let mut por_texto: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for datos in crates {
        let (derechos, texto) = licencia(&fuentes[datos]);
        let (nombre, version) = datos;
        let linea = if derechos.is_empty() {
            format!("{nombre} {version}")
        } else {
            format!("{nombre} {version}: {derechos}")
        };
        por_texto.entry(texto).or_default().push(linea);
    }
    let mut salida =
        "Lo que va dentro de servidor-hl7, y las licencias con que se permite.\n".to_owned();
    for (texto, mut lineas) in por_texto {
        lineas.sort();
        let (crates, texto) = (lineas.join("\n"), en_renglones(&texto));
        salida.extend(["\n", &crates, "\n\n", &texto, "\n"]);
    }
    let (que, derechos) = BIBLIOTECA;
    salida + &format!("\n{que}, con la misma licencia MIT: {derechos}\n")
}

fn en_renglones(texto: &str) -> String {
    let mut renglones = vec![String::new()];
    for palabra in texto.split(' ') {
        let actual = renglones.last_mut().unwrap();
        if !actual.is_empty() && actual.len() + palabra.len() >= 100 {
            renglones.push(palabra.to_owned());
        } else {
            let blanco = if actual.is_empty() { "" } else { " " };
            actual.extend([blanco, palabra]);
        }
    }
    renglones.join("\n")
}

#[test]
fn las_licencias_que_se_muestran_son_las_de_los_crates_que_van_dentro() {
    let (Some(crates), Some(fuentes)) = (de_dentro(), fuentes()) else {
        omitir("hacen falta las fuentes de todos los crates: cargo fetch --locked");
        return;
    };
    assert!(crates.len() > 15, "{crates:?}");
    let esperado = redactar(&crates, &fuentes);
    let ruta = Path::new(env!("CARGO_MANIFEST_DIR")).join(TEXTO);
    if std::env::var("LICENCIAS").is_ok_and(|que| que == "escribir") {
        fs::write(&ruta, &esperado).unwrap();
    }
    let escrito = fs::read_to_string(ruta).unwrap();
    assert_eq!(escrito, esperado, "LICENCIAS=escribir cargo test licencias");
    let carpeta = carpeta_nueva();
    let salida = ejecutar(orden(&carpeta).arg("--licencias"));
    assert!(salida.status.success());
    if std::env::var_os("LICENCIAS").is_none() {
        assert_eq!(
            String::from_utf8(salida.stdout).unwrap().trim_end(),
            esperado.trim_end()
        );
    }
    fs::remove_dir_all(carpeta).unwrap();
}
