//! Las consultas: un equipo bidireccional pregunta qué debe medir y retiene sus resultados
//! hasta que le contestan. Aquí se le contesta enseguida que no hay nada pendiente.
//!
//! Es el único sitio donde se lee algo de un mensaje más allá del MSH, y solo de una consulta:
//! lo que una respuesta negativa copia. No sabe si la consulta se guardó; quien llama solo
//! pregunta cuando ya está a salvo.
//!
//! Fuentes: HL7 v2.3.1 y v2.5.1, capítulo 5; el manual de interfaz de Mindray CL y BS (QCK), el
//! de Roche cobas pure (RSP^K11) y el de Cepheid GeneXpert 301-2002 (RSP^Z02); una captura de
//! Mindray BC-5150 (ORR); IHE LAB-27 y LAB-62 (QBP_Q11 con otros sucesos); el DSR sigue a un
//! controlador de Autobio, con NF por analogía, y el ORF^R04 es el de HL7 v2.4, capítulo 7, para un
//! Edan H60.

use std::fmt::Display;

use chrono::NaiveDateTime;

use crate::hl7::acuse;
use crate::hl7::mensaje::{Cabecera, Segmento};

/// La respuesta negativa a una consulta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestacion {
    /// Su MSH-9, con `^`.
    pub(crate) tipo: String,
    /// El mensaje completo, sin trama.
    pub bytes: Vec<u8>,
}

/// Una consulta y su respuesta negativa.
struct Negativa {
    /// MSH-9 de la consulta, componente a componente; uno vacío vale para cualquiera.
    consulta: [&'static [u8]; 3],
    /// MSH-9 de la respuesta; `*` es el suceso de la consulta.
    tipo: &'static str,
    /// Si MSH-16 se copia aunque no sea un tipo de resultado.
    copia_msh_16: bool,
    /// Los segmentos que siguen al MSH; `None` si falta alguno de los que se copian.
    redactar: fn(&Consulta<'_>) -> Option<Vec<Vec<u8>>>,
}

/// Vale la primera fila que encaja.
const NEGATIVAS: [Negativa; 8] = [
    fila([b"QRY", b"Q02", b""], "QCK^Q02", |consulta| {
        Some(consulta.sin_datos())
    }),
    fila([b"QRY", b"Q01", b""], "DSR^Q01", dsr),
    Negativa {
        copia_msh_16: true,
        ..fila([b"QRY", b"R02", b""], "ORF^R04", orf)
    },
    fila([b"ORM", b"O01", b""], "ORR^O02", orr),
    fila([b"QBP", b"Q11", b""], "RSP^K11^RSP_K11", rsp),
    fila([b"QBP", b"", b"QBP_Q11"], "RSP^*^RSP_K11", rsp),
    fila([b"QBP", b"Z01", b""], "RSP^Z02", rsp),
    fila([b"QBP", b"Z03", b""], "RSP^Z02", rsp),
];

const fn fila(
    consulta: [&'static [u8]; 3],
    tipo: &'static str,
    redactar: fn(&Consulta<'_>) -> Option<Vec<Vec<u8>>>,
) -> Negativa {
    Negativa {
        consulta,
        tipo,
        copia_msh_16: false,
        redactar,
    }
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
    id_propio: impl Display,
) -> Option<Contestacion> {
    let consulta = Consulta { mensaje, cabecera };
    // Algunos equipos rellenan con blancos.
    let tipo = cabecera.componentes_del_tipo().map(<[u8]>::trim_ascii);
    let suceso = tipo[1];
    let encaja = |negativa: &&Negativa| {
        let mut pedidos = negativa.consulta.iter().zip(tipo);
        pedidos.all(|(pedido, componente)| pedido.is_empty() || *pedido == componente)
    };
    let negativa = NEGATIVAS.iter().find(encaja)?;
    // Lo que se copia en MSH-9 es un suceso, y no otra cosa que viniera en su lugar.
    if suceso.len() != 3 || !suceso.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let segmentos = (negativa.redactar)(&consulta)?;

    let tipo = negativa.tipo.replace('*', &String::from_utf8_lossy(suceso));
    let componentes: Vec<_> = tipo.split('^').map(str::as_bytes).collect();
    let msh_9 = componentes.join(&cabecera.separador_de_componentes());
    let msh_16 = if negativa.copia_msh_16 {
        cabecera.campo(16)
    } else {
        acuse::tipo_de_resultado(cabecera)
    };
    let hora = acuse::hora(ahora);
    let mut bytes = acuse::msh(Some(cabecera), &msh_9, msh_16, &hora, id_propio);
    for segmento in segmentos {
        bytes.push(b'\r');
        bytes.extend_from_slice(&segmento);
    }
    bytes.push(b'\r');
    Some(Contestacion { tipo, bytes })
}

struct Consulta<'a> {
    mensaje: &'a [u8],
    cabecera: &'a Cabecera<'a>,
}

impl<'a> Consulta<'a> {
    fn buscar(&self, nombre: &[u8]) -> Option<Segmento<'a>> {
        Segmento::buscar(self.mensaje, self.cabecera, nombre)
    }

    fn unir(&self, campos: &[&[u8]]) -> Vec<u8> {
        campos.join(self.cabecera.campo(1))
    }

    fn msa(&self, codigo: &str, texto: &str, condicion: &str) -> Vec<u8> {
        self.unir(&acuse::msa(codigo, Some(self.cabecera), texto, condicion))
    }

    fn msa_aceptado(&self) -> Vec<u8> {
        self.msa("AA", acuse::ACEPTADO, "0")
    }

    /// Los segmentos que dicen que no hay datos en las consultas anteriores a la versión 2.4.
    fn sin_datos(&self) -> Vec<Vec<u8>> {
        vec![
            self.msa_aceptado(),
            self.unir(&[b"ERR", b"0", b""]),
            self.unir(&[b"QAK", b"SR", b"NF", b""]),
        ]
    }

    /// QRD, que ha de estar, y QRF si está.
    fn qrd_y_qrf(&self) -> Option<impl Iterator<Item = Vec<u8>>> {
        let segmentos = [Some(self.buscar(b"QRD")?), self.buscar(b"QRF")];
        Some(
            segmentos
                .into_iter()
                .flatten()
                .map(|segmento| segmento.bytes.to_vec()),
        )
    }
}

fn dsr(consulta: &Consulta<'_>) -> Option<Vec<Vec<u8>>> {
    let mut segmentos = consulta.sin_datos();
    segmentos.extend(consulta.qrd_y_qrf()?);
    Some(segmentos)
}

/// Tabla HL7 0357: 204 es un identificador que no se conoce.
fn orf(consulta: &Consulta<'_>) -> Option<Vec<Vec<u8>>> {
    const DESCONOCIDO: &str = "Unknown key identifier";
    let mut segmentos = vec![consulta.msa("AR", DESCONOCIDO, "204")];
    segmentos.extend(consulta.qrd_y_qrf()?);
    Some(segmentos)
}

/// Solo un ORM que pregunta es una consulta.
fn orr(consulta: &Consulta<'_>) -> Option<Vec<Vec<u8>>> {
    let pregunta = consulta.buscar(b"ORC")?.campo(1) == b"RF";
    let msa = || vec![consulta.unir(&[b"MSA", b"AR", consulta.cabecera.campo(10)])];
    pregunta.then(msa)
}

fn rsp(consulta: &Consulta<'_>) -> Option<Vec<Vec<u8>>> {
    let qpd = consulta.buscar(b"QPD")?;
    let (nombre, etiqueta) = (qpd.campo(1), qpd.campo(2));
    Some(vec![
        consulta.msa_aceptado(),
        consulta.unir(&[b"QAK", etiqueta, b"NF", nombre]),
        qpd.bytes.to_vec(),
    ])
}
