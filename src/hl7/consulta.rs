//! Las consultas: un equipo bidireccional pregunta qué debe medir y retiene sus resultados
//! hasta que le contestan. Aquí se le contesta enseguida que no hay nada pendiente.
//!
//! Es el único sitio donde se lee algo de un mensaje más allá del MSH, y solo de una consulta:
//! lo que una respuesta negativa copia. No sabe si la consulta se guardó; quien llama solo
//! pregunta cuando ya está a salvo.
//!
//! Fuentes: HL7 v2.3.1 y v2.5.1, capítulo 5; el manual de interfaz de Mindray CL y BS (QCK), el
//! de Roche cobas pure (RSP^K11) y el de Cepheid GeneXpert 301-2002 (RSP^Z02); una captura de
//! Mindray BC-5150 (ORR); el DSR sigue a un controlador de Autobio, con NF por analogía.

use chrono::NaiveDateTime;

use crate::hl7::acuse;
use crate::hl7::mensaje::{Cabecera, segmento};

/// La respuesta negativa a una consulta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestacion {
    /// MSH-9, con `^`.
    pub tipo: &'static str,
    /// El mensaje completo, sin trama.
    pub bytes: Vec<u8>,
}

/// Si MSH-9 es el de una consulta que tiene respuesta negativa, a falta de ver sus segmentos.
#[must_use]
pub fn es_consulta(cabecera: &Cabecera<'_>) -> bool {
    matches!(
        componentes(cabecera),
        (b"QRY", b"Q01" | b"Q02") | (b"QBP", b"Q11" | b"Z01" | b"Z03") | (b"ORM", b"O01")
    )
}

/// Redacta la respuesta negativa que corresponde a la consulta.
///
/// `None`: el mensaje no es una consulta, o le falta lo que su respuesta debe copiar; recibe
/// el acuse de cualquier mensaje.
#[must_use]
pub fn negar(
    mensaje: &[u8],
    cabecera: &Cabecera<'_>,
    ahora: NaiveDateTime,
    id_propio: &str,
) -> Option<Contestacion> {
    let separador = cabecera.campo(1);
    let unir = |campos: &[&[u8]]| campos.join(separador);
    let buscar = |nombre| segmento(mensaje, nombre, separador);
    let msa = acuse::msa("AA", Some(cabecera), acuse::ACEPTADO, "0");
    let sin_datos = [
        unir(&[b"ERR", b"0", b""]),
        unir(&[b"QAK", b"SR", b"NF", b""]),
    ];

    let (tipo, segmentos) = match componentes(cabecera) {
        (b"QRY", b"Q02") => ("QCK^Q02", [vec![msa], sin_datos.to_vec()].concat()),
        (b"QRY", b"Q01") => {
            let qrd = buscar(b"QRD")?.to_vec();
            let qrf = buscar(b"QRF").map(<[u8]>::to_vec);
            let copiados = [qrd].into_iter().chain(qrf).collect();
            (
                "DSR^Q01",
                [vec![msa], sin_datos.to_vec(), copiados].concat(),
            )
        }
        (b"ORM", b"O01") => {
            let orc = buscar(b"ORC")?;
            if campo(orc, separador, 1) != b"RF" {
                return None;
            }
            ("ORR^O02", vec![unir(&[b"MSA", b"AR", cabecera.campo(10)])])
        }
        (b"QBP", suceso @ (b"Q11" | b"Z01" | b"Z03")) => {
            let qpd = buscar(b"QPD")?;
            let (nombre, etiqueta) = (campo(qpd, separador, 1), campo(qpd, separador, 2));
            let qak = unir(&[b"QAK", etiqueta, b"NF", nombre]);
            let tipo = if suceso == b"Q11" {
                "RSP^K11^RSP_K11"
            } else {
                "RSP^Z02"
            };
            (tipo, vec![msa, qak, qpd.to_vec()])
        }
        _ => return None,
    };

    let componentes: Vec<_> = tipo.split('^').map(str::as_bytes).collect();
    let msh_9 = componentes.join(&cabecera.separador_de_componentes());
    let mut bytes = acuse::msh(Some(cabecera), &msh_9, &acuse::hora(ahora), id_propio);
    for segmento in segmentos {
        bytes.push(b'\r');
        bytes.extend_from_slice(&segmento);
    }
    bytes.push(b'\r');
    Some(Contestacion { tipo, bytes })
}

/// Los dos primeros componentes de MSH-9, sin los blancos con que algunos equipos rellenan.
fn componentes<'a>(cabecera: &Cabecera<'a>) -> (&'a [u8], &'a [u8]) {
    (
        cabecera.componente_del_tipo(1).trim_ascii(),
        cabecera.componente_del_tipo(2).trim_ascii(),
    )
}

/// El campo `numero` de un segmento que no es el MSH, o vacío.
fn campo<'a>(segmento: &'a [u8], separador: &[u8], numero: usize) -> &'a [u8] {
    segmento
        .split(|octeto| separador == [*octeto])
        .nth(numero)
        .unwrap_or_default()
}
