//! Qué bytes comienzan un mensaje.
//!
//! Un informe lleva texto libre con líneas como «MSH-2: conservada», «BHS: negativo» o un base64 que
//! empieza por `msh/`. Si una de ellas se tomara por una cabecera, un trozo de un mensaje se acusaría
//! como si fuera otro. Por eso no en todas partes vale lo mismo:
//!
//! | dónde | qué comienza un mensaje |
//! |---|---|
//! | donde no puede ser otra cosa: al conectar, tras una trama, tras un VT | [`abre`], que admite lo que envían de veras los equipos |
//! | en mitad de algo | `abre_creible`, o lo que empieza igual que el mensaje anterior: su `apertura` |
//! | tras un VT que está en mitad de algo | `abre_tras_extranos`: una cabecera creíble tras unos pocos bytes |
//! | lo primero tras callar a mitad de una trama | `abre_parecida` |
//!
//! No sabe dónde está cada cual: eso lo sabe quien pregunta.

use crate::octetos::{ACK, CR, ENQ, FS, LF, NAK, STX, VT};

const NOMBRES: [&[u8; 3]; 3] = [b"MSH", b"FHS", b"BHS"];
/// Cuántos caracteres de codificación caben en MSH-2: cuatro, y el de truncado desde la versión 2.7.
const MAX_CODIFICACION: usize = 5;

/// Cuántos bytes extraños se pasan por alto entre el comienzo de una trama y una cabecera creíble.
pub(crate) const EXTRANOS_BYTES: usize = 64;

/// Si unos bytes comienzan un mensaje.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comienzo {
    /// Lo comienzan.
    Si,
    /// No lo comienzan.
    No,
    /// Hacen falta más bytes para saberlo.
    Faltan,
}

impl Comienzo {
    /// De dos cosas que pueden comenzar ahí, si comienza alguna.
    pub(crate) fn o(self, otro: Comienzo) -> Comienzo {
        match (self, otro) {
            (Comienzo::Si, _) | (_, Comienzo::Si) => Comienzo::Si,
            (Comienzo::Faltan, _) | (_, Comienzo::Faltan) => Comienzo::Faltan,
            (Comienzo::No, Comienzo::No) => Comienzo::No,
        }
    }
}

/// Si `bytes` comienza un mensaje o un lote donde no puede ser otra cosa: MSH, FHS o BHS y su
/// separador de campos, que puede ser cualquier byte que no sea letra, cifra, blanco ni parte de una
/// trama. Las minúsculas valen: hay equipos que envían `msh`.
#[must_use]
pub fn abre(bytes: &[u8]) -> Comienzo {
    let nombre = &bytes[..bytes.len().min(3)];
    let conocido = NOMBRES
        .iter()
        .any(|segmento| segmento[..nombre.len()].eq_ignore_ascii_case(nombre));
    match bytes.get(3) {
        _ if !conocido => Comienzo::No,
        None => Comienzo::Faltan,
        Some(&separador) if vale_de_separador(separador) => Comienzo::Si,
        Some(_) => Comienzo::No,
    }
}

/// Si `bytes` comienza un mensaje en mitad de un texto: el nombre en mayúsculas, un signo de
/// puntuación por separador, de uno a cinco signos más, todos distintos, y otra vez el separador. Ninguno
/// encierra lo que lleva dentro: en un texto, `"MSH","ACTH"` es una lista, y MSH, una hormona.
pub(crate) fn abre_creible(bytes: &[u8]) -> Comienzo {
    let nombre = &bytes[..bytes.len().min(3)];
    if !NOMBRES.iter().any(|segmento| segmento.starts_with(nombre)) {
        return Comienzo::No;
    }
    let Some(separador) = bytes.get(3) else {
        return Comienzo::Faltan;
    };
    if !es_signo_suelto(*separador) {
        return Comienzo::No;
    }
    let resto = &bytes[4..];
    for (i, octeto) in resto.iter().enumerate() {
        if octeto == separador {
            return if i > 0 { Comienzo::Si } else { Comienzo::No };
        }
        let repetido = resto[..i].contains(octeto);
        if i == MAX_CODIFICACION || repetido || !es_signo_suelto(*octeto) {
            return Comienzo::No;
        }
    }
    Comienzo::Faltan
}

/// Lo mismo detrás de unos pocos bytes extraños, a lo sumo `max`: la longitud que un equipo pone
/// delante, que puede valer lo que un FS, o un blanco. Devuelve también dónde empieza la cabecera. Entre
/// ellos no hay un fin de línea, salvo que no haya otra cosa: lo que sigue a una línea de texto no está
/// «detrás».
pub(crate) fn abre_tras_extranos(bytes: &[u8], max: usize) -> (Comienzo, usize) {
    let relleno = bytes.iter().take_while(|octeto| es_relleno(**octeto));
    let desde = relleno.take(max).count();
    for i in desde..=max {
        match bytes.get(i) {
            None => return (Comienzo::Faltan, i),
            Some(&VT | &CR | &LF) => break,
            Some(_) => {}
        }
        match abre_creible(&bytes[i..]) {
            Comienzo::No => {}
            abre => return (abre, i),
        }
    }
    (Comienzo::No, 0)
}

/// Dónde está la cabecera de una trama, si la preceden unos bytes extraños.
pub(crate) fn tras_extranos(trama: &[u8]) -> Option<usize> {
    if abre(sin_relleno(trama)) == Comienzo::Si {
        return None;
    }
    match abre_tras_extranos(trama, EXTRANOS_BYTES) {
        (Comienzo::Si, p) => Some(p),
        _ => None,
    }
}

/// Un mensaje desde su cabecera, si está en su primera línea: la pueden preceder un BOM, blancos, líneas
/// vacías o unos pocos bytes extraños.
pub(crate) fn desde_la_cabecera(mensaje: &[u8]) -> &[u8] {
    tras_extranos(mensaje).map_or(sin_relleno(mensaje), |p| &mensaje[p..])
}

/// El comienzo de un mensaje hasta el separador que cierra su MSH-2, si está cerca, lleve lo que lleve. Solo
/// sirve para reconocer otro igual: ningún texto empieza así por casualidad.
pub(crate) fn apertura(mensaje: &[u8]) -> Option<&[u8]> {
    let separador = mensaje.get(3)?;
    let mut cerca = mensaje[4..].iter().take(2 * MAX_CODIFICACION);
    let codificacion = cerca.position(|octeto| octeto == separador)?;
    let apertura = &mensaje[..=4 + codificacion];
    let acaba = apertura.iter().any(|o| matches!(*o, CR | LF | VT | FS));
    (!acaba && abre(apertura) == Comienzo::Si).then_some(apertura)
}

/// Si `bytes` comienza por una [`apertura`] que se parece a lo que pide [`abre_creible`] aunque no lo sea: en
/// minúsculas, sin caracteres de codificación, con alguno de más o con blancos.
pub(crate) fn abre_parecida(bytes: &[u8]) -> Comienzo {
    let separadores = bytes.get(3..).unwrap_or_default();
    let sigue = separadores.len() <= 2 * MAX_CODIFICACION;
    match (abre(bytes), apertura(bytes)) {
        (Comienzo::Si, Some(apertura)) if son_separadores(&apertura[3..]) => Comienzo::Si,
        (Comienzo::Si, None) if sigue && son_separadores(separadores) => Comienzo::Faltan,
        (Comienzo::Si, _) => Comienzo::No,
        (abre, _) => abre,
    }
}

/// Si los bytes pueden ser un MSH-1 y un MSH-2, también descuidados.
fn son_separadores(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|octeto| octeto.is_ascii_punctuation() || *octeto == b' ')
}

fn es_signo_suelto(octeto: u8) -> bool {
    let encierra = b"\"'()[]{}<>".contains(&octeto);
    octeto.is_ascii_punctuation() && !encierra
}

/// Si el byte no significa nada delante de un segmento: blancos, fines de línea, NUL, BOM, y lo
/// que los equipos envían entre mensajes (latidos STX, ENQ, los acuses ACK y NAK de MLLP 2).
pub(crate) fn es_relleno(octeto: u8) -> bool {
    matches!(
        octeto,
        0 | STX | ENQ | ACK | b'\t' | LF | CR | NAK | b' ' | 0xBB | 0xBF | 0xEF
    )
}

/// Los bytes desde el primero que no es relleno.
pub(crate) fn sin_relleno(bytes: &[u8]) -> &[u8] {
    let primero = bytes.iter().position(|octeto| !es_relleno(*octeto));
    &bytes[primero.unwrap_or(bytes.len())..]
}

fn vale_de_separador(octeto: u8) -> bool {
    let es_de_trama = matches!(octeto, VT | FS);
    !octeto.is_ascii_alphanumeric() && !es_relleno(octeto) && !es_de_trama
}

#[cfg(test)]
mod tests {
    use super::Comienzo::{Faltan, No, Si};
    use super::*;

    /// Lo que abre, con la regla de donde no puede ser otra cosa y con la de en mitad de un texto.
    const REGLA: [(&[u8], Comienzo, Comienzo); 46] = [
        (b"", Faltan, Faltan),
        (b"M", Faltan, Faltan),
        (b"FH", Faltan, Faltan),
        (b"BHS", Faltan, Faltan),
        (b"MSH|", Si, Faltan),
        (b"MSH|^", Si, Faltan),
        (b"MSH|^~\\&", Si, Faltan),
        (b"MSH|^~\\&|", Si, Si),
        (b"MSH|^~\\&|A|B", Si, Si),
        (b"MSH|^~\\&#|A", Si, Si),
        (b"MSH|^~\\&#", Si, Faltan),
        (b"MSH|^~&|BF-6900", Si, Si),
        (b"MSH|\\^&|", Si, Si),
        (b"MSH|^|", Si, Si),
        (b"MSH#^~\\&#LAB", Si, Si),
        (b"FHS|^~\\&|", Si, Si),
        (b"BHS!^~\\&!", Si, Si),
        (b"msh|^~\\&|A", Si, No),
        (b"Msh|^~\\&|A", Si, No),
        (b"MSH||A", Si, No),
        (b"MSH|A|", Si, No),
        (b"MSH|^~\\&#+|A", Si, No),
        (b"MSH|^^\\&|A", Si, No),
        (b"MSH|^~ \\|A", Si, No),
        (b"MSH|^~\\&\r", Si, No),
        (b"MSH|^~\xC3\\|A", Si, No),
        (b"MSH\x01^~\\&\x01A", Si, No),
        (b"MSH\xA6^~\\&\xA6A", Si, No),
        (b"MSH-2: conservada", Si, No),
        (b"MSH: 25 pg/mL", Si, No),
        (b"MSH:", Si, Faltan),
        (b"BHS: negativo", Si, No),
        (b"BHS:+++", Si, No),
        (b"MSH|---|", Si, No),
        (b"MSH---", Si, No),
        (b"msh/dXZ3eHl6e3x9", Si, No),
        (b"MSH|texto", Si, No),
        (b"MSH\",\"ACTH\"", Si, No),
        (b"MSH\":{\"MSH.1\"", Si, No),
        (b"MSH/><MSH/", Si, No),
        (b"MSH|[]|", Si, No),
        (b"MSH ", No, No),
        (b"MSH\x0B", No, No),
        (b"MSHA", No, No),
        (b"MX", No, No),
        (b"PID|", No, No),
    ];

    #[test]
    fn abre_lo_que_dice_la_tabla_segun_donde_este() {
        for (bytes, donde_sea, en_un_texto) in REGLA {
            assert_eq!(abre(bytes), donde_sea, "{}", bytes.escape_ascii());
            assert_eq!(abre_creible(bytes), en_un_texto, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn lo_dicho_con_pocos_bytes_no_cambia_con_mas() {
        for (bytes, ..) in REGLA {
            for regla in [abre, abre_creible, abre_parecida] {
                let al_final = regla(bytes);
                for hasta in 0..bytes.len() {
                    let antes = regla(&bytes[..hasta]);
                    assert!(
                        antes == Faltan || antes == al_final,
                        "{} con {hasta}",
                        bytes.escape_ascii()
                    );
                }
            }
        }
    }

    #[test]
    fn los_bytes_extranos_se_pasan_por_alto_si_son_pocos_y_de_la_misma_linea() {
        for (bytes, esperado) in [
            (&b"MSH|^~\\&|"[..], (Si, 0)),
            (b"NMSH|^~\\&|", (Si, 1)),
            (b"0001MSH|^~\\&|", (Si, 4)),
            (b"\r\n MSH|^~\\&|", (Si, 3)),
            (b"MMSH|^~\\&|", (Si, 1)),
            (b"01234567MSH|^~\\&|", (Si, 8)),
            (b"012345678MSH|^~\\&|", (No, 0)),
            (b"texto\rMSH|^~\\&|", (No, 0)),
            (b"a\x0BMSH|^~\\&|", (No, 0)),
            (b"\x1CMSH|^~\\&|", (Si, 1)),
            (b"a\x1CMSH|^~\\&|", (Si, 2)),
            (b"a\x1C\rMSH|^~\\&|", (No, 0)),
            (b"abc", (Faltan, 3)),
            (b"abMS", (Faltan, 2)),
            (b"abMSH|t", (Faltan, 7)),
            (b"abMSH|texto", (No, 0)),
        ] {
            assert_eq!(
                abre_tras_extranos(bytes, 8),
                esperado,
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn la_apertura_llega_al_separador_que_cierra_msh_2() {
        for (mensaje, esperada) in [
            (&b"msh|^~\\&|A|B"[..], Some(&b"msh|^~\\&|"[..])),
            (b"MSH|^~\\\\&|A", Some(b"MSH|^~\\\\&|")),
            (b"MSH||A", Some(b"MSH||")),
            (b"MSH|^~\\&#%|A", Some(b"MSH|^~\\&#%|")),
            (b"MSH|^~\\& |A", Some(b"MSH|^~\\& |")),
            (b"MSH|^~\\&,;:!?*+|A", None),
            (b"MSH|a|A", Some(b"MSH|a|")),
            (b"MSH|^~\\&amp;|A", Some(b"MSH|^~\\&amp;|")),
            (b"MSH\xA6^~\\&\xA6A", Some(b"MSH\xA6^~\\&\xA6")),
            (b"MSH\x1E^~\\&\x1EA", Some(b"MSH\x1E^~\\&\x1E")),
            (b"MSH|^~\\&\r|A", None),
            (b"MSH ^ A", None),
            (b"MSH-2: conservada", None),
            (b"MSH|A", None),
            (b"MSH", None),
            (b"PID|1|", None),
        ] {
            assert_eq!(apertura(mensaje), esperada, "{}", mensaje.escape_ascii());
        }
    }
}
