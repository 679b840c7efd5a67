//! El manual (README.md) y lo que el programa dice no se separan.
//!
//! Los textos se sacan del código: cada literal que parece una frase, salvo los de `info!` y
//! `debug!`, las pruebas y los que aquí se excluyen uno a uno, debe estar en una tabla del manual; y
//! cada texto del manual, en el código.

use std::fs;
use std::path::{Path, PathBuf};

use servidor_hl7::almacen::Apartado;

/// Frases del código que no son avisos ni errores, por su comienzo.
const NO_SON_AVISOS: &[&str] = &[
    // Lo que va por el cable.
    "Unknown key identifier",
    "No hay memoria para el mensaje",
    "MSH|",
    "|P|2.5|",
    "Message accepted",
    "No es HL7 porque",
    "El mensaje es demasiado grande",
    "No se pudo guardar",
    // La ayuda, y lo que dicen las órdenes cuando todo va bien.
    "Recibe por TCP",
    "…; use --help",
    "enviados: …",
    "mensaje de muestra",
    "CARGO_PKG_VERSION",
    "recursos/licencias.txt",
    "mensajes guardados: … (",
    "se escribirá cada día en",
    "teclee esto en los equipos",
    "guardar …en",
    "… MiB libres en",
    "… (…): …… como en [Servidor]",
    // Los pasos de --instalar y --desinstalar cuando van bien, y las órdenes que dan.
    "arrancará con Windows",
    "con el PC arranca después",
    "si falla, Windows",
    "en «…» solo puede escribir",
    "puede escribir en",
    "desde la red de este PC",
    "nadie tiene que entrar",
    "está en marcha",
    "… ya no … «…»; lo que hay se queda",
    "«…» vuelve a los permisos",
    "no hay reglas",
    "ya no existe",
    "sc.exe ",
    "*S-1-5-32-545",
    "…:(OI)(CI)RX",
    "Recibe los mensajes HL7",
    "Çüéâ",
    // Lo que se esperaba en una clave: la tabla de Config.ini lo dice de todas.
    "una dirección IP",
    "la ruta de una carpeta",
    "una ruta, p. ej.",
    "una ruta de este sistema",
    "un número",
    "uno de estos",
    "direcciones IP o rangos",
    "la dirección IP del equipo",
    "dos horas distintas",
    "un archivo que acabe en",
    // La página de estado: su plantilla, y lo que dice cuando no hay nada que mirar.
    "<",
    "../recursos/estado.html",
    "/proc/self/status",
    "no se sabe",
    "Ningún equipo conectado",
    "se escribirá en «…»",
    // Trozos de un aviso que está en el manual por otro trozo.
    "la clave «…» de",
    "servidor-hl7 …: configuración leída de «…»",
    // Por qué el código hace lo que hace.
    "ningún crate que se mantenga",
];
/// Trozos de frase que solo tienen sentido con otro, que es el que está en el manual.
const REMEDIOS: &[&str] = &[
    "el equipo debe enviarlo de nuevo",
    "debe enviarlo de nuevo; si es un equipo lento",
    "suba EsperaSinTramaMs en Config.ini",
    "se recibe el nuevo",
];
/// De menos letras, un trozo del manual no dice de qué frase es.
const MIN_TROZO: usize = 9;

/// La parte de la frase que una cita debe decir: una de tantas letras.
const MAX_POR_CITA: usize = 4;

#[test]
fn cada_aviso_y_cada_error_esta_en_el_manual_y_el_manual_no_inventa_ninguno() {
    let proyecto = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = leer(&proyecto.join("README.md"));
    let citas = citas(&manual);
    let mut avisos = Vec::new();
    let mut todas = Vec::new();
    for ruta in fuentes(&proyecto.join("src")) {
        let fuente = leer(&ruta);
        let (programa, _) = fuente
            .split_once("#[cfg(test)]\nmod tests")
            .unwrap_or((&fuente, ""));
        for (literal, es_informacion) in literales(programa) {
            if es_frase(&literal) && !es_informacion {
                avisos.push(literal.clone());
            }
            todas.push(literal);
        }
    }
    assert!(avisos.len() > 80, "{} frases: ¿se leen bien?", avisos.len());

    let excluido = |frase: &str| {
        let comienzos = NO_SON_AVISOS.iter().chain(REMEDIOS);
        comienzos
            .into_iter()
            .any(|comienzo| frase.starts_with(comienzo))
    };
    // Un trozo que está en muchas frases no basta: los de una misma cita deben decir buena parte.
    let en_el_manual = |frase: &str| {
        citas.iter().any(|cita| {
            let dichas = trozos(cita).filter(|trozo| frase.contains(trozo));
            let letras: usize = dichas.map(|trozo| trozo.chars().count()).sum();
            letras * MAX_POR_CITA >= frase.chars().count()
        })
    };
    let faltan: Vec<_> = avisos
        .iter()
        .filter(|frase| !excluido(frase) && !en_el_manual(frase))
        .collect();
    assert!(faltan.is_empty(), "no están en el manual: {faltan:#?}");

    let sobran: Vec<_> = citas
        .iter()
        .flat_map(|cita| trozos(cita))
        .filter(|trozo| !todas.iter().any(|frase| frase.contains(trozo)))
        .collect();
    assert!(sobran.is_empty(), "nadie las dice: {sobran:#?}");
    for comienzo in NO_SON_AVISOS.iter().chain(REMEDIOS) {
        let existe = todas.iter().any(|frase| frase.starts_with(comienzo));
        assert!(existe, "ya no hace falta excluir «{comienzo}»");
    }
}

/// «Cada promesa tiene su prueba»: todas las que se nombran existen.
#[test]
fn cada_prueba_que_nombra_el_manual_existe() {
    let proyecto = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pruebas: String = fuentes(&proyecto.join("tests/integracion"))
        .iter()
        .map(|ruta| leer(ruta))
        .collect();
    for ruta in fuentes(&proyecto.join("src")) {
        if let Some((_, suyas)) = leer(&ruta).split_once("#[cfg(test)]") {
            pruebas.push_str(suyas);
        }
    }
    let manual = leer(&proyecto.join("README.md"));
    let (_, promesas) = manual.split_once("## Qué se promete").unwrap();
    let (promesas, _) = promesas.split_once("\n## ").unwrap();
    let nombradas: Vec<_> = entre_acentos_graves(&manual)
        .into_iter()
        .filter(|cita| {
            cita.matches('_').count() > 2
                && cita.chars().all(|letra| {
                    letra.is_ascii_lowercase() || letra == '_' || letra.is_ascii_digit()
                })
        })
        .collect();
    let inventadas: Vec<_> = nombradas
        .iter()
        .filter(|nombre| !pruebas.contains(&format!("fn {nombre}(")))
        .collect();
    assert!(inventadas.is_empty(), "no existen: {inventadas:#?}");
    let sin_prueba: Vec<_> = promesas
        .split("\n- **")
        .skip(1)
        .filter(|promesa| !nombradas.iter().any(|nombre| promesa.contains(nombre)))
        .collect();
    assert!(sin_prueba.is_empty(), "sin prueba: {sin_prueba:#?}");
}

#[test]
fn la_tabla_de_los_apartados_dice_todos_y_solo_esos() {
    let manual = leer(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    let (_, tabla) = manual.split_once("| apartado | qué es |").unwrap();
    let (tabla, _) = tabla.split_once("\n\n").unwrap();
    let dichos: Vec<_> = tabla
        .lines()
        .filter_map(|fila| fila.strip_prefix("| `."))
        .map(|fila| fila.split('`').next().unwrap())
        .collect();
    assert_eq!(dichos, Apartado::TODOS.map(Apartado::extension));
}

/// Los fuentes de una carpeta y de las que contiene; lo que hace Cargo con los recursos no lo dice el
/// programa.
fn fuentes(carpeta: &Path) -> Vec<PathBuf> {
    let rutas = fs::read_dir(carpeta).unwrap().map(|e| e.unwrap().path());
    rutas
        .flat_map(|ruta| {
            if ruta.is_dir() && !ruta.ends_with("recursos") {
                fuentes(&ruta)
            } else if ruta.extension().is_some_and(|que| que == "rs") {
                vec![ruta]
            } else {
                Vec::new()
            }
        })
        .collect()
}

fn leer(ruta: &Path) -> String {
    fs::read_to_string(ruta).unwrap().replace("\r\n", "\n")
}

/// Los textos de la primera columna de las tablas «lo que se ve», y los de «Las causas».
fn citas(manual: &str) -> Vec<String> {
    let mut citas = Vec::new();
    let mut en_tabla = false;
    for linea in manual.lines() {
        en_tabla = linea.starts_with("| lo que se ve |") || (en_tabla && linea.starts_with('|'));
        if en_tabla {
            let primera = linea.split('|').nth(1).unwrap();
            citas.extend(entre_acentos_graves(primera));
        }
    }
    let (_, causas) = manual.split_once("### Las causas").unwrap();
    let (causas, _) = causas.split_once("\n## ").unwrap();
    citas.extend(entre_acentos_graves(&causas.replace('\n', " ")));
    citas
}

fn entre_acentos_graves(texto: &str) -> Vec<String> {
    texto
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn trozos(cita: &str) -> impl Iterator<Item = &str> {
    let trozos = cita.split('…').map(str::trim);
    trozos.filter(|trozo| trozo.chars().count() >= MIN_TROZO)
}

fn es_frase(literal: &str) -> bool {
    let palabras = literal.split(|letra: char| !letra.is_alphabetic());
    palabras
        .filter(|palabra| palabra.chars().count() > 1)
        .count()
        > 2
}

/// Los literales de un fuente, con `…` en lugar de cada `{}`, y si los dice `info!` o `debug!`.
fn literales(fuente: &str) -> Vec<(String, bool)> {
    let mut hallados = Vec::new();
    let mut macro_abierta = "";
    let mut resto = fuente;
    while let Some(siguiente) = resto.chars().next() {
        if resto.starts_with("//") {
            resto = resto.split_once('\n').map_or("", |(_, despues)| despues);
        } else if let Some(despues) = tras_un_caracter(resto) {
            // De '"' no empieza ningún literal.
            resto = despues;
        } else if let Some((fin, dentro)) = tras_un_crudo(resto) {
            let (literal, despues) = dentro.split_once(fin).unwrap();
            hallados.push((
                sin_llaves(literal),
                matches!(macro_abierta, "info!(" | "debug!("),
            ));
            resto = despues;
        } else if siguiente == '"' {
            let (literal, despues) = un_literal(&resto[1..]);
            let es_informacion = matches!(macro_abierta, "info!(" | "debug!(");
            hallados.push((literal, es_informacion));
            resto = despues;
        } else {
            for nombre in ["info!(", "debug!(", "warn!(", "error!(", "format!("] {
                if resto.starts_with(nombre) {
                    macro_abierta = nombre;
                }
            }
            if resto.starts_with(")\n") || resto.starts_with(");") || resto.starts_with("),") {
                macro_abierta = "";
            }
            resto = &resto[siguiente.len_utf8()..];
        }
    }
    hallados
}

/// Lo que sigue a un carácter entre comillas; `None` si no empieza uno (`'a` puede ser una vida).
fn tras_un_caracter(resto: &str) -> Option<&str> {
    let dentro = resto.strip_prefix('\'')?;
    let mut letras = dentro.chars();
    if letras.next()? == '\\' {
        letras.next()?;
        return letras.as_str().split_once('\'').map(|(_, despues)| despues);
    }
    letras.as_str().strip_prefix('\'')
}

/// Con qué acaba el literal crudo (`r"…"`, `r#"…"#`) que empieza aquí, y lo que hay desde su comienzo.
fn tras_un_crudo(resto: &str) -> Option<(&'static str, &str)> {
    let finales = [("r\"", "\""), ("r#\"", "\"#")];
    finales
        .into_iter()
        .find_map(|(comienzo, fin)| Some((fin, resto.strip_prefix(comienzo)?)))
}

/// Un literal crudo, con `…` en lugar de cada `{}`.
fn sin_llaves(literal: &str) -> String {
    let trozos = literal.split('{').enumerate();
    let sin_llave = trozos.map(|(numero, trozo)| match trozo.split_once('}') {
        Some((_, despues)) if numero > 0 => format!("…{despues}"),
        _ => trozo.to_owned(),
    });
    sin_llave.collect()
}

/// El literal que empieza tras la comilla, y lo que le sigue.
fn un_literal(texto: &str) -> (String, &str) {
    let mut literal = String::new();
    let mut en_llaves = false;
    let mut letras = texto.char_indices();
    while let Some((posicion, letra)) = letras.next() {
        match letra {
            '"' => return (literal, &texto[posicion + 1..]),
            '\\' => {
                let (_, escapada) = letras.next().unwrap();
                if escapada == 'n' {
                    literal.push('\n');
                }
            }
            '{' => {
                en_llaves = true;
                literal.push('…');
            }
            '}' => en_llaves = false,
            _ if en_llaves => {}
            _ => literal.push(letra),
        }
    }
    panic!("un literal sin cerrar");
}
