//! Lo que una persona ve de cada mensaje: su línea, su cabecera y su acuse.
//!
//! Del paciente no llega nada: solo campos del MSH, y escapados. No sabe de sockets ni de archivos.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::time::Instant;

use chrono::{DateTime, Local};

use crate::cable::Envoltura;
use crate::hl7::mensaje::{Cabecera, leer_cabecera, se_llama};
use crate::recepcion::cuenta::Cuando;
use crate::recepcion::equipo::Equipo;
use crate::recepcion::fila::Fila;
use crate::texto::{Color, blancos, escapar};

/// Cuánto se muestra de un campo del MSH.
const CAMPO_VISIBLE_BYTES: usize = 64;
/// Cuánto se muestra de una cabecera o de un acuse con RUST_LOG=debug…
const CABECERA_VISIBLE_BYTES: usize = 1024;
/// …y hasta qué campo: si los segmentos llegan sin separar, más allá puede estar el paciente.
const CAMPOS_VISIBLES: usize = 12;
const SIN_ARCHIVO: &str = "(sin archivo)";

/// Un mensaje que ha llegado a su fin.
pub(super) struct Recibido<'a> {
    /// El mensaje, o su comienzo si pasa del límite.
    pub(super) bytes: &'a [u8],
    pub(super) longitud: usize,
    pub(super) envoltura: Envoltura,
    pub(super) cabecera: Option<Cabecera<'a>>,
    /// El archivo en que ya estaba, si es un reenvío.
    pub(super) repetido_de: Option<String>,
    pub(super) hora: DateTime<Local>,
    pub(super) instante: Instant,
}

impl<'a> Recibido<'a> {
    pub(super) fn new(
        bytes: &'a [u8],
        longitud: usize,
        envoltura: Envoltura,
        (hora, instante): Cuando,
    ) -> Recibido<'a> {
        Recibido {
            bytes,
            longitud,
            envoltura,
            cabecera: leer_cabecera(bytes),
            repetido_de: None,
            hora,
            instante,
        }
    }

    /// MSH-`numero`, para mostrarlo.
    pub(super) fn visible(&self, numero: usize) -> Cow<'a, str> {
        let campo = self
            .cabecera
            .as_ref()
            .map(|cabecera| cabecera.visible(numero));
        escapar(campo.unwrap_or_default(), CAMPO_VISIBLE_BYTES)
    }
}

/// Qué se contestó a un mensaje.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contestado {
    /// Un acuse que lo acepta, con su MSA-1.
    Aceptado(&'static str),
    /// Un acuse que no lo acepta, con su MSA-1.
    NoAceptado(&'static str),
    /// La respuesta negativa a una consulta, con su MSH-9.
    Negada(String),
    /// Nada: así lo piden las reglas, o la conexión ya no lo admite.
    Nada,
}

/// Dónde quedaron los bytes de un mensaje.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lugar {
    /// A salvo, en un archivo con ese nombre.
    Guardado(String),
    /// En `apartados`, en esa ruta desde `Directorio`.
    Apartado(String),
    /// En ningún sitio.
    Ninguno,
}

impl Lugar {
    pub(super) fn nombre(&self) -> &str {
        match self {
            Lugar::Guardado(nombre) | Lugar::Apartado(nombre) => nombre,
            Lugar::Ninguno => SIN_ARCHIVO,
        }
    }

    /// Cómo se dice de tantos bytes que no son un mensaje, si de ellos se tienen los primeros.
    pub(super) fn donde(&self, longitud: usize, primeros: usize) -> String {
        match self {
            Lugar::Ninguno => format!("{longitud} bytes que no se guardaron"),
            Lugar::Guardado(nombre) | Lugar::Apartado(nombre) if primeros < longitud => {
                format!("{longitud} bytes, y solo los primeros {primeros} apartados en {nombre}")
            }
            Lugar::Guardado(nombre) | Lugar::Apartado(nombre) => {
                format!("{longitud} bytes apartados en {nombre}")
            }
        }
    }

    /// Sin la carpeta del equipo, que se llama como él.
    fn breve(&self) -> &str {
        match self {
            Lugar::Guardado(nombre) => sin_carpeta(nombre),
            Lugar::Apartado(_) | Lugar::Ninguno => self.nombre(),
        }
    }
}

fn sin_carpeta(archivo: &str) -> &str {
    archivo
        .rsplit_once('/')
        .map_or(archivo, |(_, nombre)| nombre)
}

/// Cómo acabó un mensaje, de un vistazo.
pub(super) fn color(contestado: &Contestado, lugar: &Lugar) -> Color {
    match (contestado, lugar) {
        (Contestado::Aceptado(_) | Contestado::Negada(_), _) => Color::Bien,
        (Contestado::Nada, Lugar::Guardado(_)) => Color::Aviso,
        (Contestado::NoAceptado(_) | Contestado::Nada, _) => Color::Mal,
    }
}

/// La línea de un mensaje, en la que el nombre del equipo ocupa `ancho` letras, y su fila, que es lo
/// que cabe de ella en la consola.
pub(super) fn redactar<'a>(
    recibido: &'a Recibido<'a>,
    equipo: &'a Equipo,
    ancho: usize,
    contestado: &'a Contestado,
    lugar: &'a Lugar,
) -> (impl Display, String) {
    let dicho = match contestado {
        Contestado::Aceptado(codigo) | Contestado::NoAceptado(codigo) => codigo,
        // De RSP^K11^RSP_K11, lo que cabe en su columna.
        Contestado::Negada(tipo) => tipo.split("^RSP_").next().unwrap_or_default(),
        Contestado::Nada => "sin acuse",
    };
    let fila = Fila {
        contestado: dicho,
        color: color(contestado, lugar),
        equipo: &equipo.quien,
        tipo: recibido.visible(9),
        longitud: recibido.longitud,
        tiempo: recibido.instante.elapsed(),
        id: recibido.visible(10),
        archivo: lugar.breve(),
        // De lo que no se pudo guardar importa eso, y no que lo de antes sí.
        repetido_de: recibido
            .repetido_de
            .as_deref()
            .filter(|_| *lugar != Lugar::Ninguno)
            .map(sin_carpeta),
    };
    let redactada = fila.redactar();
    // Se escribe si alguien la va a leer.
    let entera = fmt::from_fn(move |f| {
        let entera = entera(&fila, recibido, equipo, ancho, lugar);
        f.write_str(&entera)
    });
    (entera, redactada)
}

fn entera(
    fila: &Fila<'_>,
    recibido: &Recibido<'_>,
    equipo: &Equipo,
    ancho: usize,
    lugar: &Lugar,
) -> String {
    let tipo = if fila.tipo.is_empty() {
        "(sin tipo)"
    } else {
        &fila.tipo
    };
    let longitud = fila.longitud.to_string();
    let ms = fila.tiempo.as_millis().to_string();
    let (repetido, original) = match &recibido.repetido_de {
        Some(archivo) => (" repetido de ", archivo.as_str()),
        None => ("", ""),
    };
    [
        fila.contestado,
        &blancos(fila.contestado, 9),
        " ",
        &equipo.visible,
        &blancos(&equipo.visible, ancho),
        " ",
        tipo,
        &blancos(tipo, 15),
        " ",
        &blancos(&longitud, 9),
        &longitud,
        " bytes ",
        &blancos(&ms, 5),
        &ms,
        " ms. Archivo en Transmision: ",
        lugar.nombre(),
        " MSH-10 «",
        &fila.id,
        "»",
        repetido,
        original,
    ]
    .concat()
}

/// Una cabecera para mostrar.
pub(super) fn hasta_msh_12(cabecera: &Cabecera<'_>) -> String {
    let separador = cabecera.campo(1);
    let campos: Vec<_> = (2..=CAMPOS_VISIBLES)
        .map(|numero| cabecera.visible(numero))
        .collect();
    let visibles = [b"MSH", separador, &campos.join(separador)].concat();
    escapar(&visibles, CABECERA_VISIBLE_BYTES).into_owned()
}

/// Lo que se contestó, para mostrarlo: su MSH y su MSA hasta el campo 12. Los demás segmentos copian al
/// equipo, y el MSH también: si del suyo no se sabe que lo sea todo, no se muestra nada.
pub(super) fn sin_paciente(recibido: &Recibido<'_>, acuse: &[u8]) -> String {
    let copia_otro = recibido.cabecera.is_some_and(|msh| !msh.es_de_fiar());
    let Some(separador) = acuse.get(3).filter(|_| !copia_otro) else {
        return "…".to_owned();
    };
    let visibles: Vec<_> = acuse
        .split(|octeto| *octeto == b'\r')
        .filter(|segmento| se_llama(segmento, b"MSH") || se_llama(segmento, b"MSA"))
        .map(|segmento| {
            segmento
                .split(|octeto| octeto == separador)
                .take(CAMPOS_VISIBLES)
        })
        .map(|campos| campos.collect::<Vec<_>>().join(separador))
        .collect();
    escapar(&visibles.join(&b' '), CABECERA_VISIBLE_BYTES).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn la_carpeta_de_un_equipo_no_se_dice_dos_veces() {
        for (lugar, esperado) in [
            (Lugar::Guardado("a.res".to_owned()), "a.res"),
            (Lugar::Guardado("Sala apartados/a.res".to_owned()), "a.res"),
            (
                Lugar::Apartado("apartados/a.cortado".to_owned()),
                "apartados/a.cortado",
            ),
            (Lugar::Ninguno, SIN_ARCHIVO),
        ] {
            assert_eq!(lugar.breve(), esperado);
        }
    }

    #[test]
    fn el_color_dice_si_el_mensaje_esta_a_salvo_y_si_el_equipo_lo_sabe() {
        let guardado = Lugar::Guardado("x.res".to_owned());
        let apartado = Lugar::Apartado("apartados/x.no_hl7".to_owned());
        for (contestado, lugar, esperado) in [
            (Contestado::Aceptado("AA"), &guardado, Color::Bien),
            (
                Contestado::Negada("QCK^Q02".to_owned()),
                &guardado,
                Color::Bien,
            ),
            (Contestado::Nada, &guardado, Color::Aviso),
            (Contestado::NoAceptado("AE"), &Lugar::Ninguno, Color::Mal),
            (Contestado::NoAceptado("AR"), &apartado, Color::Mal),
            (Contestado::Nada, &apartado, Color::Mal),
            (Contestado::Nada, &Lugar::Ninguno, Color::Mal),
        ] {
            assert_eq!(
                color(&contestado, lugar),
                esperado,
                "{contestado:?} {lugar:?}"
            );
        }
    }
}
