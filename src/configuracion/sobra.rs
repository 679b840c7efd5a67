//! Lo que está en Config.ini y nadie lee, y de qué puede ser. No sabe qué vale en una clave: solo si
//! alguien la pidió.

use std::net::IpAddr;

use super::ESTADO;
use super::claves::{Claves, visible};
use super::dudas::parecido;
use super::equipos::{SECCION, SECCION_REGISTRO, SECCIONES, leer_destino};
use super::ini::{Secciones, mismo_nombre};

/// El Config.ini que se escribe cuando no hay ninguno; es el que acompaña al programa.
pub(super) const POR_OMISION: &str = include_str!("../../Config.ini");

/// Los avisos de lo que sobra y de lo que falta en el archivo.
pub(super) fn avisar(
    secciones: &Secciones,
    servidor: &Claves<'_>,
    registro: &Claves<'_>,
    equipos: &[Claves<'_>],
    hay_diario: bool,
) -> Vec<String> {
    let sobra = |que: String| format!("sobra {que}: nadie la lee; revise si está bien escrita");
    let sobrantes = sobrantes(secciones, servidor, registro, equipos);
    let mut avisos: Vec<_> = sobrantes.into_iter().map(sobra).collect();
    let mut claves = secciones.claves(SECCION_REGISTRO).into_iter();
    let del_diario = claves.any(|(clave, _)| !mismo_nombre(clave, ESTADO));
    if !hay_diario && del_diario {
        let aviso = "la sección [Registro] no dice Carpeta, y sin ella no hay archivos; ¿falta quitar el # de su línea?";
        avisos.push(aviso.to_owned());
    }
    avisos
}

/// Lo que hay en el archivo y nadie ha pedido.
fn sobrantes(
    secciones: &Secciones,
    servidor: &Claves<'_>,
    registro: &Claves<'_>,
    equipos: &[Claves<'_>],
) -> Vec<String> {
    let mut sobrantes = Vec::new();
    for leida in [servidor, registro].into_iter().chain(equipos) {
        let es_de_un_equipo = leida.respaldo.is_some();
        let seccion = visible(leida.seccion);
        for (clave, valor) in leida.no_pedidas() {
            let sospecha = if es_de_un_equipo && servidor.se_pide(clave) {
                " (vale para todos los equipos: solo puede estar en [Servidor])".to_owned()
            } else if valor.parse::<IpAddr>().is_ok() || leer_destino(valor).is_some() {
                " (¿falta quitar el # de la línea [Equipos] o [Llamar]?)".to_owned()
            } else {
                sospechar(leida.respaldo.unwrap_or(leida.seccion), clave)
            };
            sobrantes.push(format!(
                "la clave «{}» de [{seccion}]{sospecha}",
                visible(clave)
            ));
        }
    }
    let conocidas = SECCIONES
        .into_iter()
        .chain(equipos.iter().map(|leida| leida.seccion));
    let conocidas: Vec<_> = conocidas.collect();
    let ajenas = secciones.nombres().filter(|nombre| {
        !conocidas
            .iter()
            .any(|conocida| mismo_nombre(conocida, nombre))
    });
    sobrantes.extend(ajenas.map(|nombre| {
        let quiza = parecido(nombre, conocidas.iter().copied()).map_or_else(
            || "(ningún equipo de [Equipos] ni de [Llamar] se llama así)".to_owned(),
            |quiso| format!("(¿quiso decir [{}]?)", visible(quiso)),
        );
        format!("la sección [{}] {quiza}", visible(nombre))
    }));
    sobrantes
}

/// De quién puede ser una clave que sobra: de otra sección, o de una casi igual.
fn sospechar(seccion: &str, clave: &str) -> String {
    let conocidas: Vec<_> = claves_conocidas().collect();
    if let Some((su_seccion, _)) = conocidas.iter().find(|(_, otra)| mismo_nombre(otra, clave)) {
        return format!(" (¿es de [{su_seccion}]?)");
    }
    let de_aqui = conocidas.iter().filter(|(suya, _)| *suya == seccion);
    parecido(clave, de_aqui.map(|(_, otra)| *otra))
        .map(|quiso| format!(" (¿quiso decir {quiso}?)"))
        .unwrap_or_default()
}

/// La sección y el nombre de cada clave que se puede escribir, como están en el Config.ini que
/// acompaña al programa.
pub fn claves_conocidas() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut seccion = "";
    POR_OMISION.lines().filter_map(move |linea| {
        let linea = linea.strip_prefix("# ").unwrap_or(linea);
        if let Some(nombre) = linea.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            seccion = nombre;
        }
        let (clave, _) = linea.split_once(" =")?;
        let es_nuestra = [SECCION, SECCION_REGISTRO].contains(&seccion);
        (es_nuestra && !clave.contains(' ')).then_some((seccion, clave))
    })
}
