//! Lo que nadie quiso escribir: comillas, variables, un comentario tras un valor, un nombre casi igual.
//!
//! El programa de Python tomaba cada valor al pie de la letra, y aquí también: lo que este sistema no
//! admite es un error; lo demás, por raro que sea, vale y se avisa. No sabe qué claves hay.

/// Pares que alguien pone alrededor de un valor.
const COMILLAS: [(char, char); 6] = [
    ('"', '"'),
    ('\'', '\''),
    ('“', '”'),
    ('«', '»'),
    ('`', '`'),
    ('<', '>'),
];
/// Lo que ningún nombre lleva en Windows.
const IMPOSIBLES_EN_WINDOWS: [char; 7] = ['<', '>', '"', '|', '?', '*', ':'];

/// Qué hacer con un valor que no sirve, si se ve por qué.
pub(super) fn remedio(valor: &str) -> Option<&'static str> {
    if valor.contains('\n') {
        Some("si la línea siguiente es otra clave, quite los espacios de su comienzo")
    } else if lleva_comillas(valor) {
        Some("quite las comillas")
    } else if comentario(valor).is_some_and(|comentario| comentario != ",") {
        // Una coma al final de una lista no estorba: será otra cosa.
        Some("un comentario va en su propia línea")
    } else {
        None
    }
}

/// Lo que se esperaba en lugar de una ruta que este sistema no admite.
pub(super) fn ruta_imposible(valor: &str, en_windows: bool) -> Option<&'static str> {
    let valor = valor.strip_prefix("\\\\?\\").unwrap_or(valor);
    let (unidad, resto) = separar_unidad(valor);
    if en_windows && resto.contains(IMPOSIBLES_EN_WINDOWS) {
        Some("una ruta, p. ej. D:\\resultados, sin <, >, \", ?, * ni : en los nombres")
    } else if !en_windows
        && (valor.starts_with("\\\\") || unidad && (resto.is_empty() || !sin_barra(resto)))
    {
        Some(
            "una ruta de este sistema, p. ej. /srv/resultados; las unidades (C:) y \\\\ son de Windows",
        )
    } else {
        None
    }
}

/// Lo que conviene mirar en una ruta que vale.
pub(super) fn de_una_ruta(valor: &str, en_windows: bool) -> Option<String> {
    let (unidad, resto) = separar_unidad(valor);
    if lleva_comillas(valor) {
        Some(
            "las comillas son parte del nombre de la carpeta; si no deben serlo, quítelas"
                .to_owned(),
        )
    } else if let Some(variable) = variable(valor) {
        Some(format!(
            "«{variable}» es parte del nombre de la carpeta, no se sustituye; si no debe serlo, escriba la ruta entera"
        ))
    } else if let Some(comentario) = comentario(valor) {
        Some(format!(
            "«{comentario}» es parte del nombre de la carpeta; si es un comentario, póngalo en su propia línea"
        ))
    } else if valor.contains("://") {
        Some("una ruta se escribe sin «://» ni lo que va delante".to_owned())
    } else if en_windows && unidad && sin_barra(resto) {
        Some(format!(
            "sin barra tras la unidad, la carpeta depende de desde dónde se arranque; escriba {}\\{resto}",
            &valor[..2]
        ))
    } else {
        None
    }
}

/// El conocido que quizá se quiso escribir: como mucho, una letra mal de cada tres.
#[must_use]
pub fn parecido<'a>(
    escrito: &str,
    conocidos: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let escrito = escrito.to_lowercase();
    let distancia = |conocido: &str| strsim::osa_distance(&escrito, &conocido.to_lowercase());
    let conocidos = conocidos.into_iter();
    conocidos
        .map(|conocido| (distancia(conocido), conocido))
        .filter(|(distancia, conocido)| distancia * 3 <= conocido.chars().count())
        .min()
        .map(|(_, conocido)| conocido)
}

fn lleva_comillas(valor: &str) -> bool {
    let rodea = |&(abre, cierra): &(char, char)| {
        valor.len() > abre.len_utf8() && valor.starts_with(abre) && valor.ends_with(cierra)
    };
    valor.contains(['"', '“', '”']) || COMILLAS.iter().any(rodea)
}

/// Lo que parece un comentario tras un valor: tras un blanco, o un signo suelto al final.
fn comentario(valor: &str) -> Option<&str> {
    let comienzos = [" ;", " #", " //", "\t;", "\t#", "\t//"];
    let tras_un_blanco = comienzos
        .iter()
        .filter_map(|comienzo| valor.find(comienzo))
        .min();
    let al_final = valor.ends_with([';', ',']).then(|| valor.len() - 1);
    tras_un_blanco
        .or(al_final)
        .map(|posicion| valor[posicion..].trim())
}

/// Lo que en una consola sería una variable: `%USERPROFILE%` o, al comienzo, `$HOME`, `${HOME}` o `~`.
fn variable(valor: &str) -> Option<String> {
    let primera = valor.split(['/', '\\']).next()?;
    let tras_el_dolar = primera.strip_prefix('$').unwrap_or_default();
    if primera == "~"
        || tras_el_dolar.starts_with(|letra: char| letra == '{' || letra.is_ascii_alphabetic())
    {
        return Some(primera.to_owned());
    }
    let es_de_un_nombre = |letra: char| letra.is_ascii_alphanumeric() || "_()".contains(letra);
    let es_un_nombre = |trozo: &&str| {
        trozo.starts_with(|letra: char| letra.is_ascii_alphabetic())
            && trozo.chars().all(es_de_un_nombre)
    };
    // Entre dos %, todo trozo menos el primero y el último.
    let (entre, _) = valor
        .split_once('%')?
        .1
        .rsplit_once('%')
        .unwrap_or_default();
    let nombre = entre.split('%').find(es_un_nombre)?;
    Some(format!("%{nombre}%"))
}

/// Si empieza por una unidad de Windows, y lo que sigue.
fn separar_unidad(valor: &str) -> (bool, &str) {
    let mut letras = valor.chars();
    let es_unidad = letras
        .next()
        .is_some_and(|letra| letra.is_ascii_alphabetic())
        && letras.next() == Some(':');
    if es_unidad {
        (true, &valor[2..])
    } else {
        (false, valor)
    }
}

fn sin_barra(tras_la_unidad: &str) -> bool {
    !tras_la_unidad.starts_with(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lo_que_nadie_quiso_escribir_en_una_ruta_se_duda_y_lo_demas_no() {
        for (valor, parte) in [
            ("\"m mensajes\"", "las comillas son parte del nombre"),
            ("'m mensajes'", "las comillas son"),
            ("“m”\\x", "las comillas son"),
            (
                "%USERPROFILE%\\mensajes",
                "«%USERPROFILE%» es parte del nombre",
            ),
            (
                "D:\\50%\\%ProgramFiles(x86)%",
                "«%ProgramFiles(x86)%» es parte",
            ),
            ("~/mensajes", "«~» es parte"),
            ("$HOME/mensajes", "«$HOME» es parte"),
            ("${HOME}\\mensajes", "«${HOME}» es parte"),
            ("C:\\HL7\\mensajes ; carpeta", "«; carpeta» es parte"),
            ("a #1; b", "«#1; b» es parte"),
            ("a\t// b", "«// b» es parte"),
            ("mensajes;", "«;» es parte"),
            ("file:///srv/hl7", "sin «://»"),
        ] {
            let duda = de_una_ruta(valor, false).unwrap_or_default();
            assert!(duda.contains(parte), "{valor}: «{duda}»");
        }
        for valor in [
            "mensajes",
            "C:\\HL7\\mis mensajes",
            "D:/HL7#2/a;b",
            "\\\\pc\\C$\\datos$",
            "Centre d'Anàlisis",
            "al 100% y al 50%",
            "C:\\PROGRA~1\\x",
            "https",
        ] {
            assert_eq!(de_una_ruta(valor, true), None, "{valor}");
        }
        let duda = de_una_ruta("C:HL7\\m", true).unwrap();
        assert!(duda.ends_with("; escriba C:\\HL7\\m"), "{duda}");
    }

    #[test]
    fn solo_se_rechaza_la_ruta_que_el_sistema_no_admite() {
        for (valor, en_windows, en_unix) in [
            ("\"m\"", true, false),
            ("a*b", true, false),
            ("file://x", true, false),
            ("C:\\a:b", true, true),
            ("C:\\HL7", false, true),
            ("c:/HL7", false, true),
            ("C:", false, true),
            ("\\\\pc\\hl7", false, true),
            ("C:HL7", false, false),
            ("a:b", false, false),
            ("/srv/hl7", false, false),
            ("\\\\?\\C:\\HL7", false, true),
            ("a;b #c", false, false),
        ] {
            assert_eq!(ruta_imposible(valor, true).is_some(), en_windows, "{valor}");
            assert_eq!(ruta_imposible(valor, false).is_some(), en_unix, "{valor}");
        }
    }

    #[test]
    fn el_remedio_de_un_valor_que_no_sirve_es_lo_que_se_ve_en_el() {
        assert_eq!(remedio("\"2575\""), Some("quite las comillas"));
        assert_eq!(
            remedio("2575 ; HL7"),
            Some("un comentario va en su propia línea")
        );
        assert_eq!(
            remedio("2575\t# HL7"),
            Some("un comentario va en su propia línea")
        );
        assert_eq!(remedio("dos"), None);
        assert_eq!(remedio("192.168.001.020, 127.0.0.1,"), None);
    }

    #[test]
    fn un_nombre_casi_igual_recuerda_al_que_se_quiso_escribir() {
        let conocidos = ["Puerto", "Directorio", "MaxConexiones", "Acuse", "Nivel"];
        for (escrito, esperado) in [
            ("Puerot", Some("Puerto")),
            ("\"Puerto\"", Some("Puerto")),
            ("DIRECTORY", Some("Directorio")),
            ("MaxConexion", Some("MaxConexiones")),
            ("Acus", Some("Acuse")),
            ("Port", None),
            ("x", None),
            ("Color", None),
        ] {
            assert_eq!(parecido(escrito, conocidos), esperado, "{escrito}");
        }
    }
}
