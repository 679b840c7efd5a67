//! La tabla de lo recibido de cada equipo, en líneas. No sabe de dónde salen las cuentas ni cuándo se dice.

use chrono::NaiveDateTime;

use crate::recepcion::cuenta::Suma;
use crate::texto::recortar;

/// Lo que ocupa el nombre de un equipo, si ninguno es más largo.
const ANCHO_DE_EQUIPO: usize = "255.255.255.255".len();
/// Y en la consola, donde cabe en una línea.
const ANCHO_EN_LA_CONSOLA: usize = 16;

/// Una línea por equipo bajo su encabezado, entera y como cabe en la consola; vacía si no hay ninguno. De
/// cada uno, sus cuentas y cuándo fue su último mensaje.
pub(super) fn redactar(filas: &[(&str, Suma, Option<NaiveDateTime>)]) -> Vec<(String, String)> {
    if filas.is_empty() {
        return Vec::new();
    }
    let anchos = filas.iter().map(|(equipo, ..)| equipo.chars().count());
    let ancho = anchos.fold(ANCHO_DE_EQUIPO, usize::max);
    let linea = |equipo: &str, columnas: &str| {
        let breve = recortar(equipo, ANCHO_EN_LA_CONSOLA);
        (
            format!("{equipo:<ancho$} {columnas}"),
            format!("{breve:<ANCHO_EN_LA_CONSOLA$} {columnas}"),
        )
    };
    let encabezado = format!(
        "{:>9} {:>9} {:>8} {:>10} {:>9} {:>9} {:<11} {:>9}",
        "guardados",
        "repetidos",
        "fallidos",
        "rechazados",
        "apartados",
        "consultas",
        "último",
        "más lento"
    );
    let filas = filas
        .iter()
        .map(|(equipo, suma, ultimo)| linea(equipo, &columnas(suma, *ultimo)));
    [linea("equipo", &encabezado)]
        .into_iter()
        .chain(filas)
        .collect()
}

fn columnas(suma: &Suma, ultimo: Option<NaiveDateTime>) -> String {
    let ultimo = match ultimo {
        Some(hora) => hora.format("%d/%m %H:%M").to_string(),
        None => "ninguno".to_owned(),
    };
    let mas_lento = match suma.guardados {
        0 => "—".to_owned(),
        _ => format!("{} ms", suma.mas_lento.as_millis()),
    };
    let Suma {
        guardados,
        fallidos,
        rechazados,
        apartados,
        consultas,
        repetidos,
        ..
    } = suma;
    format!(
        "{guardados:>9} {repetidos:>9} {fallidos:>8} {rechazados:>10} {apartados:>9} {consultas:>9} {ultimo:<11} {mas_lento:>9}",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn en_la_consola_un_nombre_largo_se_abrevia_y_en_el_registro_esta_entero() {
        let largo = "Química de urgencias, sala 2";
        let filas = ["Hematología", largo].map(|equipo| (equipo, Suma::default(), None));
        let tabla = redactar(&filas);
        assert!(tabla[2].0.starts_with(largo) && tabla[2].1.starts_with("Química de urge… "));
        for (entera, fila) in &tabla {
            assert_eq!(fila.chars().count(), tabla[0].1.chars().count(), "{fila}");
            assert_eq!(entera.chars().count(), tabla[0].0.chars().count());
        }
    }
}
