//! Cada clave de Config.ini, con su valor por omisión, sus límites y sus opciones, es la misma en el
//! código, en el Config.ini que se entrega y en las tablas del README, la española y la inglesa.
//!
//! Del código se sabe lo que hace: qué claves no sobran, y qué dice que esperaba ante un valor que no
//! sirve.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use servidor_hl7::configuracion::Configuracion;

use crate::servidor_de_prueba::{carpeta_nueva, ejecutar, escribir_ini, orden};

/// Lo que un sitio dice de una clave.
#[derive(Debug, Default)]
struct Dicho {
    seccion: String,
    /// Vacío: no hay ninguno.
    omision: String,
    limites: Option<(u64, u64)>,
    /// En Config.ini, que las dice en una frase, todas sus palabras.
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
                opciones: palabras(&format!("{explicacion}{valor}")),
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

/// La tabla inglesa, y la frase que allí dice `[Registro]`.
fn de_la_tabla_inglesa(manual: &str) -> Claves {
    let filas = filas(manual, "| key in `[Servidor]` |").into_iter();
    filas
        .map(|[clave, omision, significado]| {
            let dicho = Dicho {
                seccion: "Servidor".to_owned(),
                omision: primer_valor(&omision),
                limites: limites(&significado),
                opciones: entre_acentos(&format!("{omision} {significado}")),
            };
            (clave.trim_matches('`').to_owned(), dicho)
        })
        .chain(de_la_frase_inglesa(manual))
        .collect()
}

/// `[Registro]`: «`DiasAGuardar` (30; 1 to 36500), …».
fn de_la_frase_inglesa(manual: &str) -> Claves {
    let (_, despues) = manual.split_once("Other sections:").unwrap();
    let (_, frase) = despues.split_once("`[Registro]`").unwrap();
    let claves = ["Carpeta", "DiasAGuardar", "Estado", "Nivel"].into_iter();
    claves
        .map(|clave| {
            let (_, suyo) = frase.split_once(&format!("`{clave}`")).unwrap();
            let parentesis = suyo.trim_start().strip_prefix('(');
            let dicho = parentesis.map_or("", |dicho| dicho.split(')').next().unwrap());
            let dicho = Dicho {
                seccion: "Registro".to_owned(),
                omision: primer_valor(dicho),
                limites: limites(dicho),
                opciones: entre_acentos(dicho),
            };
            (clave.to_owned(), dicho)
        })
        .collect()
}

/// De «`mensajes` en el que se entrega» o «0: no se avisa», el valor; de «todos», ninguno.
fn primer_valor(texto: &str) -> String {
    let valor = texto
        .split([' ', ':', ';'])
        .next()
        .unwrap()
        .trim_matches('`');
    match valor {
        "todos" | "ninguno" | "everyone" | "none" => String::new(),
        _ => valor.to_owned(),
    }
}

fn entre_acentos(texto: &str) -> Vec<String> {
    let citas = texto.split('`').skip(1).step_by(2);
    citas.map(str::to_owned).collect()
}

fn palabras(texto: &str) -> Vec<String> {
    let palabras = texto.split(|letra: char| !letra.is_alphanumeric());
    palabras.map(str::to_owned).collect()
}

/// Los de «ms, 10 a 60000», «de 1 a 64», «entre 1 y 64» o «1 to 64».
fn limites(texto: &str) -> Option<(u64, u64)> {
    let palabras: Vec<_> = texto
        .split([' ', ',', '.', ';', '('])
        .filter(|palabra| !palabra.is_empty())
        .collect();
    palabras.windows(3).find_map(|tres| {
        let enlaza = ["a", "y", "to"].contains(&tres[1]);
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
    for seccion in ["Servidor", "Registro"] {
        assert_eq!(de(&inglesa, seccion), de(&ini, seccion));
    }
    fs::remove_dir_all(carpeta).unwrap();
}

/// Las que el código lee en la sección de un equipo.
fn de_un_equipo(carpeta: &Path) -> Vec<String> {
    let mut claves = del_codigo(carpeta, "Servidor");
    claves.retain(|clave| {
        let servidor = "[Servidor]\nPuerto = 0\nDirectorio = x\n[Equipos]\nX = 127.0.0.2\n";
        let ini = format!("{servidor}[X]\n{clave} = 1\n");
        fs::write(carpeta.join("Config.ini"), ini).unwrap();
        Configuracion::leer(&carpeta.join("Config.ini")).map_or(true, |leida| {
            !leida.avisos.iter().any(|aviso| aviso.contains("sobra "))
        })
    });
    claves
}

#[test]
fn las_claves_que_puede_tener_un_equipo_son_las_que_dicen_config_ini_y_el_manual() {
    let carpeta = carpeta_nueva();
    let codigo = de_un_equipo(&carpeta);
    assert!(codigo.len() > 2, "{codigo:?}");
    for (archivo, antes, despues) in [
        ("Config.ini", "va en una sección con su nombre:", "."),
        ("README.md", "Ahí pueden estar ", ";"),
        ("README.md", "for what it needs different (", ")"),
    ] {
        let renglones = leer(archivo).replace("\n# ", " ").replace('\n', " ");
        let (_, desde) = renglones.split_once(antes).unwrap();
        let (lista, _) = desde.split_once(despues).unwrap();
        let mut dichas = palabras(lista);
        dichas.retain(|palabra| palabra.starts_with(char::is_uppercase));
        dichas.sort_unstable();
        assert_eq!(dichas, codigo, "{archivo}: «{antes}»");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn lo_que_vale_por_omision_es_lo_mismo_en_config_ini_y_en_las_dos_tablas_del_manual() {
    let manual = leer("README.md");
    let (espanola, inglesa) = (de_la_tabla_espanola(&manual), de_la_tabla_inglesa(&manual));
    for (clave, dicho) in de_config_ini() {
        assert_eq!(espanola[&clave].omision, dicho.omision, "{clave}");
        // De [Registro], la frase inglesa solo dice la que es un número.
        if dicho.seccion == "Servidor" || dicho.limites.is_some() {
            assert_eq!(inglesa[&clave].omision, dicho.omision, "{clave}");
        }
    }
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
        assert_eq!(ini[&clave].limites, en_el_codigo, "{clave}, en Config.ini");
        assert_eq!(inglesa[&clave].limites, en_el_codigo, "{clave}, en inglés");
        if let Some((minimo, maximo)) = en_el_codigo {
            con_limites += 1;
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
            for opcion in opciones {
                for (sitio, claves) in [("Config.ini", &ini), ("inglés", &inglesa)] {
                    let dichas = &claves[&clave].opciones;
                    let esta = dichas.iter().any(|dicha| dicha == opcion);
                    assert!(esta, "{clave} = {opcion}, en {sitio}");
                }
            }
        }
    }
    assert!(
        con_limites >= 8 && con_opciones >= 6,
        "{con_limites} {con_opciones}"
    );
    fs::remove_dir_all(carpeta).unwrap();
}

/// Las opciones que nombra un texto.
fn opciones(texto: &str) -> BTreeSet<&str> {
    let palabras = texto.split(|letra: char| !(letra == '-' || letra.is_ascii_lowercase()));
    let opciones = palabras.filter(|palabra| palabra.starts_with("--"));
    opciones
        .filter(|opcion| !opcion.trim_matches('-').is_empty())
        .collect()
}

#[test]
fn las_opciones_de_la_linea_de_ordenes_son_las_mismas_en_la_ayuda_y_en_el_manual() {
    // La que solo da el gestor de servicios, y las de cargo, el enlazador, systemctl y el banco.
    const NO_SON_DE_LA_AYUDA: [&str; 13] = [
        "--bin",
        "--en",
        "--ignored",
        "--no-insert-timestamp",
        "--nocapture",
        "--now",
        "--open",
        "--rapido",
        "--release",
        "--remap-path-prefix",
        "--servicio",
        "--target",
        "--test-threads",
    ];
    let carpeta = carpeta_nueva();
    let ayuda = ejecutar(orden(&carpeta).arg("--help"));
    let ayuda = String::from_utf8(ayuda.stdout).unwrap();
    let manual = leer("README.md");
    let mut esperadas = opciones(&ayuda);
    assert!(esperadas.len() >= 6, "{esperadas:?}");
    esperadas.extend(NO_SON_DE_LA_AYUDA);
    assert_eq!(opciones(&manual), esperadas);
    fs::remove_dir_all(carpeta).unwrap();
}
