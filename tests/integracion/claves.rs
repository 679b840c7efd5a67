//! Cada clave de Config.ini, con su valor por omisión, sus límites y sus opciones, es la misma en el
//! código, en el Config.ini que se entrega y en las tablas del README, la española y la inglesa.
//!
//! Del código se sabe lo que hace: qué claves no sobran, y qué dice que esperaba ante un valor que no
//! sirve.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use servidor_hl7::configuracion::Configuracion;

use crate::servidor_de_prueba::{carpeta_nueva, ejecutar, escribir_ini, orden};

/// Lo que un sitio dice de una clave. Los límites y las opciones que no dice, no los compara.
#[derive(Debug, Default)]
struct Dicho {
    seccion: String,
    /// Vacío: no hay ninguno.
    omision: String,
    limites: Option<(u64, u64)>,
    opciones: Vec<String>,
}

type Claves = BTreeMap<String, Dicho>;

fn leer(archivo: &str) -> String {
    let ruta = Path::new(env!("CARGO_MANIFEST_DIR")).join(archivo);
    fs::read_to_string(ruta).unwrap().replace("\r\n", "\n")
}

/// Config.ini: `# Clave = valor`, y encima, lo que se explica de ella.
fn de_config_ini() -> Claves {
    let mut claves = Claves::new();
    let (mut seccion, mut explicacion) = (String::new(), String::new());
    for linea in leer("Config.ini").lines() {
        let (linea, comentada) = match linea.strip_prefix("# ") {
            Some(resto) => (resto, true),
            None => (linea, false),
        };
        if let Some(nombre) = linea.strip_prefix('[') {
            nombre.trim_end_matches(']').clone_into(&mut seccion);
        } else if let Some((clave, valor)) = linea.split_once(" =")
            && clave.chars().all(char::is_alphanumeric)
            && ["Servidor", "Registro"].contains(&&seccion[..])
        {
            let dicho = Dicho {
                seccion: seccion.clone(),
                omision: valor.trim().to_owned(),
                limites: limites(&explicacion),
                opciones: Vec::new(),
            };
            claves.insert(clave.to_owned(), dicho);
            explicacion.clear();
        } else if comentada {
            explicacion.extend([linea, " "]);
        } else {
            explicacion.clear();
        }
    }
    claves
}

/// Las filas de las tablas que empiezan por esa columna: clave, por omisión y lo demás.
fn filas(manual: &str, encabezado: &str) -> Vec<[String; 3]> {
    let mut filas = Vec::new();
    let mut en_tabla = false;
    for linea in manual.lines() {
        if !linea.starts_with('|') {
            en_tabla = false;
        } else if en_tabla && !linea.starts_with("|---") {
            let columnas: Vec<_> = linea.split('|').map(str::trim).collect();
            filas.push([columnas[1], columnas[2], columnas[3]].map(str::to_owned));
        }
        en_tabla |= linea.starts_with(encabezado);
    }
    filas
}

/// La tabla española y la de `[Registro]`.
fn de_la_tabla_espanola(manual: &str) -> Claves {
    let (_, despues) = manual.split_once("## Config.ini\n").unwrap();
    let (servidor, registro) = despues.split_once("La sección `[Registro]`").unwrap();
    let mut claves = Claves::new();
    for (seccion, texto) in [("Servidor", servidor), ("Registro", registro)] {
        for [clave, omision, valores] in filas(texto, "| clave | por omisión |") {
            let dicho = Dicho {
                seccion: seccion.to_owned(),
                omision: primer_valor(&omision),
                limites: limites(&valores),
                opciones: entre_acentos(&valores),
            };
            claves.insert(clave.trim_matches('`').to_owned(), dicho);
        }
    }
    claves
}

/// La tabla inglesa; `[Registro]` va allí en una frase.
fn de_la_tabla_inglesa(manual: &str) -> Claves {
    let filas = filas(manual, "| key in `[Servidor]` |").into_iter();
    filas
        .map(|[clave, omision, significado]| {
            let dicho = Dicho {
                seccion: "Servidor".to_owned(),
                omision: primer_valor(&omision),
                limites: None,
                opciones: entre_acentos(&format!("{omision} {significado}")),
            };
            (clave.trim_matches('`').to_owned(), dicho)
        })
        .collect()
}

/// De «`mensajes` en el que se entrega» o «0: no se avisa», el valor; de «todos», ninguno.
fn primer_valor(texto: &str) -> String {
    let valor = texto.split([' ', ':']).next().unwrap().trim_matches('`');
    match valor {
        "todos" | "ninguno" | "everyone" | "none" => String::new(),
        _ => valor.to_owned(),
    }
}

fn entre_acentos(texto: &str) -> Vec<String> {
    let citas = texto.split('`').skip(1).step_by(2);
    citas.map(str::to_owned).collect()
}

/// Los de «ms, 10 a 60000», «de 1 a 64» o «entre 1 y 64».
fn limites(texto: &str) -> Option<(u64, u64)> {
    let palabras: Vec<_> = texto
        .split([' ', ',', '.', ';', '('])
        .filter(|palabra| !palabra.is_empty())
        .collect();
    palabras.windows(3).find_map(|tres| {
        let enlaza = ["a", "y"].contains(&tres[1]);
        Some((tres[0].parse().ok()?, tres[2].parse().ok()?)).filter(|_| enlaza)
    })
}

/// Lo que el programa dice que esperaba en esa clave, si ese valor no le sirve.
fn esperado(carpeta: &Path, seccion: &str, clave: &str, valor: &str) -> Option<String> {
    let linea = format!("{clave} = {valor}");
    let encabezado = match seccion {
        "Servidor" => String::new(),
        _ => format!("[{seccion}]\n"),
    };
    escribir_ini(carpeta, &format!("{encabezado}{linea}"));
    let error = Configuracion::leer(&carpeta.join("Config.ini")).err()?;
    let error = error.to_string();
    assert!(error.contains(clave), "{linea}: {error}");
    Some(error)
}

/// Los nombres del código que la configuración lee como claves de esa sección.
fn del_codigo(carpeta: &Path, seccion: &str) -> Vec<String> {
    let mut nombres: Vec<_> = fuentes()
        .split('"')
        .filter(|trozo| {
            trozo.starts_with(|letra: char| letra.is_ascii_uppercase())
                && trozo.chars().all(|letra| letra.is_ascii_alphanumeric())
        })
        .map(str::to_owned)
        .collect();
    nombres.sort();
    nombres.dedup();
    nombres.retain(|nombre| {
        let lineas = format!("[{seccion}]\n{nombre} = 1\n");
        let base = "[Servidor]\nPuerto = 0\nDirectorio = x\n";
        let ini = match seccion {
            "Servidor" if ["Puerto", "Directorio"].contains(&&nombre[..]) => return true,
            "Servidor" => format!("{base}{nombre} = 1\n"),
            _ => format!("{base}{lineas}"),
        };
        fs::write(carpeta.join("Config.ini"), ini).unwrap();
        // Un valor que no sirve también es de quien lo lee.
        Configuracion::leer(&carpeta.join("Config.ini")).map_or(true, |leida| {
            !leida.avisos.iter().any(|aviso| aviso.contains("sobra "))
        })
    });
    nombres
}

/// Los textos de src/configuracion, sin sus pruebas.
fn fuentes() -> String {
    let carpeta = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/configuracion");
    let rutas = fs::read_dir(carpeta).unwrap().map(|e| e.unwrap().path());
    let textos = rutas.map(|ruta| fs::read_to_string(ruta).unwrap());
    textos
        .map(|texto| texto.split("#[cfg(test)]").next().unwrap().to_owned())
        .collect()
}

#[test]
fn cada_clave_esta_en_el_codigo_en_config_ini_y_en_las_dos_tablas_del_manual() {
    let carpeta = carpeta_nueva();
    let manual = leer("README.md");
    let (ini, espanola, inglesa) = (
        de_config_ini(),
        de_la_tabla_espanola(&manual),
        de_la_tabla_inglesa(&manual),
    );
    let de = |claves: &Claves, seccion: &str| {
        let suyas = claves.iter().filter(|(_, dicho)| dicho.seccion == seccion);
        suyas.map(|(clave, _)| clave.clone()).collect::<Vec<_>>()
    };
    for seccion in ["Servidor", "Registro"] {
        let codigo = del_codigo(&carpeta, seccion);
        assert!(codigo.len() > 2, "{codigo:?}");
        assert_eq!(de(&ini, seccion), codigo, "Config.ini y el código");
        assert_eq!(de(&espanola, seccion), codigo, "el README y el código");
    }
    assert_eq!(de(&inglesa, "Servidor"), de(&ini, "Servidor"));
    for clave in de(&ini, "Registro") {
        let (_, en_ingles) = manual.split_once("Other sections:").unwrap();
        assert!(en_ingles.contains(&format!("`{clave}`")), "{clave}");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn lo_que_vale_por_omision_es_lo_mismo_en_config_ini_y_en_las_dos_tablas_del_manual() {
    let manual = leer("README.md");
    let (espanola, inglesa) = (de_la_tabla_espanola(&manual), de_la_tabla_inglesa(&manual));
    for (clave, dicho) in de_config_ini() {
        assert_eq!(espanola[&clave].omision, dicho.omision, "{clave}");
        if dicho.seccion == "Servidor" {
            assert_eq!(inglesa[&clave].omision, dicho.omision, "{clave}");
        }
    }
    let dias = format!("`DiasAGuardar` ({})", espanola["DiasAGuardar"].omision);
    assert!(manual.contains(&dias), "{dias}");
}

#[test]
fn los_limites_y_las_opciones_de_cada_clave_son_los_que_dicen_config_ini_y_el_manual() {
    let carpeta = carpeta_nueva();
    let manual = leer("README.md");
    let (ini, inglesa) = (de_config_ini(), de_la_tabla_inglesa(&manual));
    let (mut con_limites, mut con_opciones) = (0, 0);
    for (clave, dicho) in de_la_tabla_espanola(&manual) {
        let esperado = |valor: &str| esperado(&carpeta, &dicho.seccion, &clave, valor);
        // Una ruta puede ser cualquiera.
        let Some(error) = esperado("¿?") else {
            continue;
        };
        let en_el_codigo = limites(&error);
        assert_eq!(dicho.limites, en_el_codigo, "{clave}: {error}");
        if let Some((minimo, maximo)) = en_el_codigo {
            con_limites += 1;
            assert!(
                ini[&clave]
                    .limites
                    .is_none_or(|de_ini| de_ini == (minimo, maximo)),
                "{clave}"
            );
            assert_eq!(esperado(&minimo.to_string()), None);
            assert_eq!(esperado(&maximo.to_string()), None);
            assert!(esperado(&(maximo + 1).to_string()).is_some());
            assert!(minimo == 0 || esperado(&(minimo - 1).to_string()).is_some());
        }
        if let Some((_, opciones)) = error.split_once("uno de estos: ") {
            con_opciones += 1;
            let mut opciones: Vec<_> = opciones.split(", ").collect();
            let mut dichas = dicho.opciones.clone();
            opciones.sort_unstable();
            dichas.sort_unstable();
            assert_eq!(dichas, opciones, "{clave}");
            let (_, en_ingles) = manual.split_once("Other sections:").unwrap();
            for opcion in opciones {
                let dicha_en_ingles = match inglesa.get(&clave) {
                    Some(dicho) => dicho.opciones.iter().any(|dicha| dicha == opcion),
                    None => en_ingles.contains(&format!("`{opcion}`")),
                };
                assert!(dicha_en_ingles, "{clave} = {opcion}, en inglés");
            }
        }
    }
    assert!(
        con_limites >= 8 && con_opciones >= 6,
        "{con_limites} {con_opciones}"
    );
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn cada_opcion_de_la_linea_de_ordenes_esta_en_el_manual() {
    let carpeta = carpeta_nueva();
    let ayuda = ejecutar(orden(&carpeta).arg("--help"));
    let ayuda = String::from_utf8(ayuda.stdout).unwrap();
    let manual = leer("README.md");
    let opciones: Vec<_> = ayuda
        .split(|letra: char| !(letra == '-' || letra.is_ascii_lowercase()))
        .filter(|palabra| palabra.starts_with("--"))
        .collect();
    assert!(opciones.len() >= 6, "{opciones:?}");
    for opcion in opciones {
        assert!(manual.contains(opcion), "{opcion} no está en el README");
    }
    fs::remove_dir_all(carpeta).unwrap();
}
