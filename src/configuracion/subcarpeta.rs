//! Qué nombres de equipo pueden ser el de una carpeta, con las reglas de Windows en todos los sistemas:
//! una carpeta de red puede estar en cualquiera, y un Config.ini cambia de PC. No mira ningún disco.

use super::ini::mismo_nombre;
use crate::almacen::APARTADOS;

/// Los dispositivos de Windows, que no pueden ser una carpeta ni con otra extensión; COM y LPT llevan
/// además una cifra.
const DISPOSITIVOS: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
const CIFRAS: [char; 13] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '¹', '²', '³',
];

/// Por qué ese nombre no puede ser el de una carpeta de mensajes.
pub(super) fn defecto(nombre: &str) -> Option<&'static str> {
    if nombre.contains(['<', '>', ':', '"', '/', '\\', '|', '?', '*']) {
        return Some("lleva alguno de estos signos: < > : \" / \\ | ? *");
    }
    if nombre.ends_with('.') || nombre.ends_with(char::is_whitespace) {
        return Some("acaba en punto o en blanco");
    }
    if nombre.starts_with('.') {
        return Some("empieza por punto, y la carpeta estaría oculta");
    }
    if es_dispositivo(nombre) {
        return Some("Windows lo reserva para un dispositivo");
    }
    if mismo_nombre(nombre, APARTADOS) {
        return Some("es el de la carpeta de los apartados");
    }
    nombre
        .to_lowercase()
        .ends_with(".res")
        .then_some("acaba en .res, como un mensaje")
}

fn es_dispositivo(nombre: &str) -> bool {
    let (antes_del_punto, _) = nombre.split_once('.').unwrap_or((nombre, ""));
    let raiz = antes_del_punto.trim_end().to_uppercase();
    let con_cifra = ["COM", "LPT"].iter().any(|puerto| {
        raiz.strip_prefix(puerto)
            .is_some_and(|cifra| CIFRAS.iter().any(|una| cifra == una.to_string()))
    });
    con_cifra || DISPOSITIVOS.contains(&raiz.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn los_nombres_que_windows_no_admite_se_dicen_y_los_demas_valen() {
        for (parte, nombres) in [
            (
                "signos",
                &["Química <1>", "a/b", "a\\b", "¿qué?", "x*", "a|b", "\"a\""][..],
            ),
            ("acaba en punto", &["Química.", "..", ".", "a ", "a\u{a0}"]),
            ("empieza por punto", &[".oculto", ".res", ".con"]),
            (
                "reserva",
                &[
                    "CON", "con", "Nul.txt", "COM1", "lpt9", "LPT²", "aux .x", "conin$", "COM0.a.b",
                ],
            ),
            ("apartados", &["apartados", "Apartados"]),
            (".res", &["A.res", "A.RES"]),
        ] {
            for nombre in nombres {
                let defecto = defecto(nombre).unwrap_or_default();
                assert!(defecto.contains(parte), "{nombre}: «{defecto}»");
            }
        }
        for bueno in [
            "Química",
            "BC-6000 (sala 2)",
            "c.311",
            "COM",
            "COM10",
            "CONTROL",
            "nulo",
            "LPTa",
            "Ñandú & co",
            "apartados 2",
            "血液",
            "resultados",
        ] {
            assert_eq!(defecto(bueno), None, "{bueno}");
        }
    }
}
