//! Un mensaje HL7 v2 visto como bytes: qué dice su MSH.
//!
//! Del resto del mensaje no se lee nada, salvo el nombre del segmento que sigue al MSH y lo que copia la
//! respuesta a una consulta, y nada se decodifica: los analizadores declaran un juego de caracteres y
//! envían otro. Este módulo no sabe de tramas, de archivos ni de acuses.

use std::iter;

use memchr::{memchr2, memchr2_iter, memrchr};

use super::comienzo::{Comienzo, abre, abre_creible, apertura, desde_la_cabecera, sin_relleno};
use crate::octetos::{CR, LF};

/// Último campo del MSH que interesa al acuse: MSH-21, perfil del mensaje.
const CAMPOS: usize = 21;
/// Ninguna versión de la norma llega a tantos: un segmento que los tiene no es solo un MSH.
const MAX_CAMPOS: usize = 30;
/// Lo más que se copia de un segmento en lo que se contesta. El acuse no puede pedir tanta memoria como
/// el mensaje, y nada de lo que se copia mide tanto.
const MAX_COPIABLE_BYTES: usize = 2 * 1024 * 1024;
/// Los segmentos que pueden seguir a un MSH, y lo que llevan en su primer campo. Si llegan pegados a él, su
/// nombre acaba uno de sus campos, y lo que llevan es el siguiente: así no se toma por uno el nombre de un
/// laboratorio o un identificador que acabe con las mismas letras.
const SIGUIENTES: [(&[u8; 3], Primero); 14] = [
    (b"MSA", Primero::Acuse),
    (b"NTE", Primero::Numero),
    (b"OBR", Primero::Numero),
    (b"OBX", Primero::Numero),
    (b"PID", Primero::Numero),
    (b"PV1", Primero::Numero),
    (b"SPM", Primero::Numero),
    (b"EQU", Primero::Texto),
    (b"EVN", Primero::Texto),
    (b"ORC", Primero::Texto),
    (b"QPD", Primero::Texto),
    (b"QRD", Primero::Texto),
    (b"SFT", Primero::Texto),
    (b"UAC", Primero::Texto),
];

/// Lo que lleva un segmento en su primer campo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Primero {
    /// Un código de acuse (tabla HL7 0008).
    Acuse,
    /// Su número de orden, o nada.
    Numero,
    /// Un código o un nombre. Una sola letra es MSH-11.
    Texto,
}

impl Primero {
    fn puede_ser(self, campo: &[u8]) -> bool {
        match self {
            Primero::Acuse => [b"AA", b"AE", b"AR", b"CA", b"CE", b"CR"]
                .iter()
                .any(|codigo| campo.eq_ignore_ascii_case(*codigo)),
            Primero::Numero => campo.iter().all(u8::is_ascii_digit),
            Primero::Texto => campo.len() != 1,
        }
    }
}

/// Los campos de un MSH, sin decodificar.
///
/// Lo que se copia en un acuse no puede romperlo ni llevar nada del paciente: cada campo, salvo
/// MSH-10, acaba antes de su primer byte de control, y lo que sigue al nombre de otro segmento ya no
/// es del MSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cabecera<'a> {
    campos: [&'a [u8]; CAMPOS],
    es_respuesta: bool,
    es_de_fiar: bool,
}

impl<'a> Cabecera<'a> {
    /// Los campos de un MSH entero, sin su fin de segmento. De uno desmedido, los que caben enteros.
    fn leer(msh: &'a [u8]) -> Cabecera<'a> {
        let cabe = msh.len() <= MAX_COPIABLE_BYTES;
        let msh = if cabe {
            msh
        } else {
            let corto = &msh[..MAX_COPIABLE_BYTES];
            let ultimo = memrchr(msh[3], corto).unwrap_or_default();
            &corto[..ultimo.max(4)]
        };
        let mut valores: Vec<&[u8]> = Vec::with_capacity(CAMPOS);
        let separados = msh[4..].split(|octeto| *octeto == msh[3]);
        valores.extend(separados.take(MAX_CAMPOS));
        let otro = segmento_pegado(&valores, msh[0].is_ascii_lowercase());
        let suyos = otro.map_or(valores.len(), |(posicion, _)| posicion + 1);
        let mut campos: [&[u8]; CAMPOS] = [&[]; CAMPOS];
        campos[0] = &msh[3..4];
        for (posicion, valor) in valores[..suyos].iter().take(CAMPOS - 1).enumerate() {
            let valor = match otro {
                Some((ultimo, nombre)) if ultimo == posicion => sin_control_final(&valor[..nombre]),
                _ => valor,
            };
            campos[posicion + 1] = if posicion == posicion_de(10) {
                valor
            } else {
                hasta_control(valor)
            };
        }
        let es_respuesta =
            otro.is_some_and(|(posicion, p)| se_llama(&valores[posicion][p..], b"MSA"));
        let mut cabecera = Cabecera {
            campos,
            es_respuesta,
            es_de_fiar: cabe && otro.is_none() && valores.len() < MAX_CAMPOS,
        };
        // Sin uno de los dos, lo que hay en su lugar puede ser de otro segmento.
        cabecera.es_de_fiar &= match (cabecera.campo(9), cabecera.campo(12)) {
            ([], []) => false,
            (_, version) => cabecera.tiene_tipo() && (version.is_empty() || es_version(version)),
        };
        cabecera
    }

    /// MSH-`numero`, de 1 a 21. Un campo que falta está vacío.
    #[must_use]
    pub fn campo(&self, numero: usize) -> &'a [u8] {
        numero
            .checked_sub(1)
            .and_then(|indice| self.campos.get(indice))
            .copied()
            .unwrap_or_default()
    }

    /// MSH-`numero`, para mostrarlo. Vacío si no se sabe que sea del MSH: cuando otro segmento llega
    /// pegado a él, o le faltan campos, en su lugar puede estar el paciente.
    pub(crate) fn visible(&self, numero: usize) -> &'a [u8] {
        if self.es_de_fiar {
            self.campo(numero)
        } else {
            &[]
        }
    }

    /// Si se sabe que todo lo que hay en ella es del MSH.
    pub(crate) fn es_de_fiar(&self) -> bool {
        self.es_de_fiar
    }

    /// Los tres componentes de MSH-9. Uno que falta está vacío.
    pub(crate) fn componentes_del_tipo(&self) -> [&'a [u8]; 3] {
        let separador = self.separador_de_componentes();
        let mut componentes = self.campo(9).split(|&octeto| octeto == separador);
        [(); 3].map(|()| componentes.next().unwrap_or_default())
    }

    /// El primer carácter de MSH-2; `^` si MSH-2 está vacío.
    pub(crate) fn separador_de_componentes(&self) -> u8 {
        self.campo(2).first().copied().unwrap_or(b'^')
    }

    /// Si es un acuse o una contestación, que nunca se acusa: dos programas que se acusaran
    /// mutuamente hablarían para siempre. Lo es cuando el MSA sigue al MSH; entre ambos la
    /// norma permite SFT y UAC (HL7 v2.7, 2.14.1).
    pub(crate) fn es_respuesta(&self) -> bool {
        self.es_respuesta
    }

    /// Si MSH-9 está vacío o tiene la forma de un tipo de mensaje: `ORU^R01^ORU_R01`.
    fn tiene_tipo(&self) -> bool {
        let tipo = self.campo(9).trim_ascii();
        let separador = self.separador_de_componentes();
        let es_codigo = |codigo: &[u8], longitud: usize| {
            codigo.len() == longitud && codigo.iter().all(u8::is_ascii_alphanumeric)
        };
        let mut componentes = tipo
            .split(|octeto| *octeto == separador)
            .map(<[u8]>::trim_ascii);
        let (codigo, suceso, estructura, mas) = (
            componentes.next().unwrap_or_default(),
            componentes.next().unwrap_or_default(),
            componentes.next().unwrap_or_default(),
            componentes.next(),
        );
        let es_estructura = |palabra: &[u8]| {
            palabra.len() <= 7
                && palabra
                    .iter()
                    .all(|octeto| octeto.is_ascii_alphanumeric() || *octeto == b'_')
        };
        tipo.is_empty()
            || ((es_codigo(codigo, 3) || (codigo.len() == 7 && codigo[3] == b'_'))
                && es_estructura(codigo)
                && (suceso.is_empty() || es_codigo(suceso, 3))
                && es_estructura(estructura)
                && mas.is_none())
    }
}

/// Lee el primer MSH de `mensaje`, que puede ir detrás de un BOM, de blancos, de líneas
/// vacías, de unos pocos bytes extraños o de los segmentos FHS y BHS de un lote. `None`: no hay MSH,
/// no es HL7.
#[must_use]
pub fn leer_cabecera(mensaje: &[u8]) -> Option<Cabecera<'_>> {
    let desde_msh = buscar_msh(mensaje)?;
    let (msh, resto) = match memchr2(CR, LF, desde_msh) {
        Some(fin) => desde_msh.split_at(fin),
        None => (desde_msh, &desde_msh[desde_msh.len()..]),
    };
    let mut cabecera = Cabecera::leer(msh);
    cabecera.es_respuesta |= segmentos(resto)
        .find(|segmento| !se_llama(segmento, b"SFT") && !se_llama(segmento, b"UAC"))
        .is_some_and(|segmento| {
            se_llama(segmento, b"MSA") && segmento.get(3).is_none_or(|octeto| *octeto == msh[3])
        });
    Some(cabecera)
}

/// El mensaje desde su primer MSH. Su primera línea puede ser una cabecera con cualquiera de los
/// descuidos de los equipos, y las que siguen a la de un lote, con casi todos; en las demás, solo lo es
/// una creíble.
fn buscar_msh(mensaje: &[u8]) -> Option<&[u8]> {
    let mut linea = desde_la_cabecera(mensaje);
    if abre(linea) == Comienzo::Si && se_llama(linea, b"MSH") {
        return Some(linea);
    }
    let mut en_lote = true;
    while let Some(fin) = memchr2(CR, LF, linea) {
        en_lote &= se_llama(linea, b"FHS") || se_llama(linea, b"BHS");
        linea = sin_relleno(&linea[fin..]);
        let abre = abre_creible(linea) == Comienzo::Si || (en_lote && apertura(linea).is_some());
        if abre && se_llama(linea, b"MSH") {
            return Some(linea);
        }
    }
    None
}

/// Un mensaje o un lote desde su cabecera, aunque la precedan otras líneas. `None`: no es HL7.
fn desde_su_cabecera(mensaje: &[u8]) -> Option<&[u8]> {
    let primera = desde_la_cabecera(mensaje);
    match abre(primera) {
        Comienzo::Si => Some(primera),
        _ => buscar_msh(mensaje),
    }
}

/// El separador de campos de un mensaje o de un lote. `None`: no es HL7.
pub(crate) fn separador(mensaje: &[u8]) -> Option<u8> {
    desde_su_cabecera(mensaje).map(|cabecera| cabecera[3])
}

/// Cuántos bytes preceden a la cabecera de un mensaje o de un lote. `None`: no es HL7.
pub(crate) fn distancia(mensaje: &[u8]) -> Option<usize> {
    desde_su_cabecera(mensaje).map(|cabecera| mensaje.len() - cabecera.len())
}

/// Un segmento que no es el MSH, sin su fin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segmento<'a> {
    pub(crate) bytes: &'a [u8],
    separador: u8,
}

impl<'a> Segmento<'a> {
    /// El primero con ese nombre, de un mensaje con esa cabecera, si no es desmedido. Solo las
    /// respuestas a una consulta leen más allá del MSH.
    pub(crate) fn buscar(
        mensaje: &'a [u8],
        cabecera: &Cabecera<'_>,
        nombre: &[u8],
    ) -> Option<Segmento<'a>> {
        let separador = *cabecera.campo(1).first()?;
        segmentos(mensaje)
            .find(|segmento| se_llama(segmento, nombre) && segmento.get(3) == Some(&separador))
            .filter(|segmento| segmento.len() <= MAX_COPIABLE_BYTES)
            .map(|bytes| Segmento { bytes, separador })
    }

    /// El campo `numero`, o vacío.
    pub(crate) fn campo(&self, numero: usize) -> &'a [u8] {
        self.bytes
            .split(|octeto| *octeto == self.separador)
            .nth(numero)
            .unwrap_or_default()
    }
}

/// Si todo el mensaje es un acuse y nada más: su MSH, su MSA y, a lo sumo, los ERR que lo explican.
pub(crate) fn solo_acusa(mensaje: &[u8]) -> bool {
    let acuse = desde_la_cabecera(mensaje);
    let tiene_msh = abre(acuse) == Comienzo::Si && se_llama(acuse, b"MSH");
    tiene_msh
        && segmentos(acuse).skip(1).all(|segmento| {
            let es_uno = se_llama(segmento, b"MSA") || se_llama(segmento, b"ERR");
            es_uno && segmento.get(3).is_none_or(|octeto| *octeto == acuse[3])
        })
}

/// Si el segmento lleva ese nombre, en mayúsculas o en minúsculas.
pub(crate) fn se_llama(segmento: &[u8], nombre: &[u8]) -> bool {
    segmento
        .get(..nombre.len())
        .is_some_and(|letras| letras.eq_ignore_ascii_case(nombre))
}

/// Los segmentos que no están vacíos, sin lo que pueda preceder a su nombre.
fn segmentos(mensaje: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut fines = memchr2_iter(CR, LF, mensaje).chain(iter::once(mensaje.len()));
    let mut desde = 0;
    iter::from_fn(move || {
        let hasta = fines.next()?;
        let segmento = &mensaje[desde..hasta];
        desde = hasta + 1;
        Some(sin_relleno(segmento))
    })
    .filter(|segmento| !segmento.is_empty())
}

/// Dónde está MSH-`numero` entre los valores que siguen al primer separador.
const fn posicion_de(numero: usize) -> usize {
    numero - 2
}

/// El primer valor que acaba en el nombre de otro segmento, y dónde empieza el nombre en él. Quien escribe
/// su MSH `en_minusculas` escribe así los demás, y quien no, no.
fn segmento_pegado(valores: &[&[u8]], en_minusculas: bool) -> Option<(usize, usize)> {
    let valor = |numero| {
        let valor = valores.get(posicion_de(numero)).copied();
        hasta_control(valor.unwrap_or_default())
    };
    // Con una versión en su sitio, o un tipo de mensaje, lo de delante es del MSH: «RAPID» es un
    // equipo, y un MSH-10 puede acabar como sea.
    let desde = if es_version(valor(12)) {
        12
    } else if es_tipo_con_suceso(valor(9)) {
        9
    } else {
        3
    };
    // Al último no le sigue el separador que sigue a un nombre.
    let parejas = valores.iter().zip(valores.get(1..)?).enumerate();
    parejas
        .skip(posicion_de(desde))
        .find_map(|(posicion, (valor, siguiente))| {
            let (antes, nombre) = valor.split_at_checked(valor.len().checked_sub(3)?)?;
            // Del MSH-12 al MSH-18 van códigos, que no acaban como un segmento.
            let es_un_codigo = (posicion_de(12)..=posicion_de(18)).contains(&posicion);
            let es_otro = parece_nombre(nombre, en_minusculas)
                && (es_siguiente(nombre, siguiente, es_un_codigo)
                    || antes.last().is_some_and(u8::is_ascii_control)
                    || (es_un_codigo && es_propio(antes, nombre, valores[0])));
            es_otro.then_some((posicion, antes.len()))
        })
}

/// Si puede ser el nombre de un segmento: una letra y dos letras o cifras.
fn parece_nombre(nombre: &[u8], en_minusculas: bool) -> bool {
    let suyas = |octeto: &u8| octeto.is_ascii_lowercase() == en_minusculas;
    nombre[0].is_ascii_alphabetic()
        && nombre.iter().all(|octeto| {
            octeto.is_ascii_digit() || (octeto.is_ascii_alphabetic() && suyas(octeto))
        })
}

/// Si un segmento con ese nombre y ese primer campo puede seguir a un MSH. Tras un código basta el nombre,
/// salvo el de un acuse, que no se contesta.
fn es_siguiente(nombre: &[u8], primero: &[u8], tras_un_codigo: bool) -> bool {
    lo_que_lleva(nombre).is_some_and(|lleva| {
        (tras_un_codigo && lleva != Primero::Acuse) || lleva.puede_ser(primero)
    })
}

/// El primer campo de los segmentos con ese nombre, si pueden seguir a un MSH.
fn lo_que_lleva(nombre: &[u8]) -> Option<Primero> {
    let mut siguientes = SIGUIENTES.iter();
    let hallado = siguientes.find(|(otro, _)| nombre.eq_ignore_ascii_case(*otro));
    hallado.map(|(_, lleva)| *lleva)
}

/// Si es el nombre de un segmento propio del equipo, como ZPI. Solo tras un código: de otro modo puede
/// acabar un identificador; y tras un separador de componentes es un país (2.5^ZAF).
fn es_propio(antes: &[u8], nombre: &[u8], codificacion: &[u8]) -> bool {
    let componente = codificacion.first().unwrap_or(&b'^');
    nombre[0].eq_ignore_ascii_case(&b'Z') && !antes.is_empty() && !antes.contains(componente)
}

/// Si es un código de tres letras y un suceso como R01, sea cual sea el signo que los separa.
fn es_tipo_con_suceso(valor: &[u8]) -> bool {
    let [codigo @ .., separador, letra, decena, unidad] = &valor[..valor.len().min(7)] else {
        return false;
    };
    codigo.len() == 3
        && codigo.iter().all(u8::is_ascii_alphanumeric)
        && separador.is_ascii_punctuation()
        && letra.is_ascii_alphabetic()
        && decena.is_ascii_digit()
        && unidad.is_ascii_digit()
        && valor
            .get(7)
            .is_none_or(|octeto| !octeto.is_ascii_alphanumeric())
}

/// El número de una versión de HL7, que hay quien escribe «v2.5» o «HL7 2.5», y lo que le sigue.
pub(crate) fn separar_version(valor: &[u8]) -> (&[u8], &[u8]) {
    let valor = valor.trim_ascii();
    let valor = valor.strip_prefix(b"HL7").unwrap_or(valor).trim_ascii();
    let valor = valor.strip_prefix(b"v").unwrap_or(valor);
    let valor = valor.strip_prefix(b"V").unwrap_or(valor);
    let es_de_numero = |octeto: &u8| octeto.is_ascii_digit() || *octeto == b'.';
    let cifras = valor
        .iter()
        .take_while(|octeto| es_de_numero(octeto))
        .count();
    valor.split_at(cifras)
}

/// Si es una versión de HL7 v2, aunque lleve pegado el nombre de otro segmento.
fn es_version(valor: &[u8]) -> bool {
    let (numero, resto) = separar_version(valor);
    let acaba = resto
        .first()
        .is_none_or(|octeto| !octeto.is_ascii_alphanumeric());
    (numero == b"2" || numero.starts_with(b"2."))
        && numero.len() <= 6
        && (acaba || lo_que_lleva(resto).is_some())
}

fn hasta_control(valor: &[u8]) -> &[u8] {
    let control = valor.iter().position(u8::is_ascii_control);
    &valor[..control.unwrap_or(valor.len())]
}

fn sin_control_final(valor: &[u8]) -> &[u8] {
    let utiles = valor.iter().rposition(|octeto| !octeto.is_ascii_control());
    &valor[..utiles.map_or(0, |ultimo| ultimo + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn el_msh_se_lee_con_cualquier_separador_y_fin_de_segmento() {
        for (mensaje, id) in [
            (
                &b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5\rPID|1\r"[..],
                &b"77"[..],
            ),
            (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5\nPID|1\n", b"77"),
            (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r\nPID|1\r\n", b"77"),
            (b"MSH#^~\\&#A#B#C#D#2026##ORU^R01#7|7#P#2.5\r", b"7|7"),
            (b"msh|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5\r", b"77"),
            (b"\xEF\xBB\xBFMSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r", b"77"),
            (b"\r\n MSH|^~\\&|A|B|C|D|2026||ORU^R01|77 \r", b"77 "),
            (
                b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r",
                b"77",
            ),
            (
                b"fhs|^~\\&\rbhs|^~\\&\rmsh|^~\\&|A|B|C|D|2026||ORU^R01|77\r",
                b"77",
            ),
            (b"BHS|^~\\&\r\n\r\nMSH||A|B|C|D|2026||ORU^R01|77\r", b"77"),
            (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01\r", b""),
            (b"MSH|", b""),
        ] {
            let cabecera = leer_cabecera(mensaje).expect("tiene MSH");
            assert_eq!(cabecera.campo(10), id, "{}", mensaje.escape_ascii());
        }
    }

    #[test]
    fn lo_que_no_tiene_msh_no_es_hl7() {
        for bytes in [
            &b""[..],
            b"hola",
            b"MSH",
            b"MSHA|",
            b"MSH\r|",
            b"H|\\^&|||\r",
            b"M\0S\0H\0|\0",
            b"FHS|^~\\&\r",
        ] {
            assert_eq!(leer_cabecera(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn es_respuesta_solo_si_el_segmento_que_sigue_al_msh_es_msa() {
        for (mensaje, esperado) in [
            (&b"MSH|^~\\&|||||||ACK\rMSA|AA|1\r"[..], true),
            (b"MSH|^~\\&|||||||ACK\r\n\r\nMSA|AA|1\r\n", true),
            (b"MSH|^~\\&|||||||ACK\rSFT|x\rUAC|y\rMSA|AA|1\r", true),
            (b"MSH|^~\\&|||||||ACK\nSFT|x\nMSA|AA|1\n", true),
            (b"msh|^~\\&|||||||ack\rmsa|AA|1\r", true),
            (b"MSH|^~\\&|||||||ACKMSA|AA|1\r", true),
            (b"msh|^~\\&|||||||ack\x1Emsa|aa|1\r", true),
            (b"MSH|^~\\&|BC|GEMSA|LIS|||||1\rPID|1\r", false),
            (
                b"MSH|^~\\&|||||||ORU^R01|1|P|2.5||PRISMSA||\rPID|1\r",
                false,
            ),
            (
                b"MSH|^~\\&|||||||ORU^R01|1|P|2.7||||||||GEMSA|H\rPID|1\r",
                false,
            ),
            (b"MSH|^~\\&|||||||ORU\rNTE|1||MSA|AA\r", false),
            (b"MSH|^~\\&|||||||ORU\rPID|1\rMSA|AA|1\r", false),
            (b"MSH|^~\\&|||||||ORU\rMSAX|1\r", false),
            (b"MSH|^~\\&|||||||ORU\r", false),
        ] {
            let cabecera = leer_cabecera(mensaje).expect("tiene MSH");
            assert_eq!(
                cabecera.es_respuesta(),
                esperado,
                "{}",
                mensaje.escape_ascii()
            );
        }
    }

    /// Una cabecera; sus MSH-9, MSH-10, MSH-12 y MSH-18, y si se muestra.
    type Fila = (&'static [u8], [&'static [u8]; 4], bool);

    #[rustfmt::skip]
    const PEGADAS: [Fila; 28] = [
        (b"MSH|^~\\&|A|B|C|D|20260101 \x85 GT1|1||GOMEZ^ANA|x\rOBX|1\r", [b"", b"GOMEZ^ANA", b"", b""], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|7|P\rOBX|1\r", [b"ORU^R01", b"7", b"", b""], true),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.3.1||||||UTF-8\rPID|1", [b"ORU^R01", b"77", b"2.3.1", b"UTF-8"], true),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.3.1PID|1||9||NOMBRE|MADRE", [b"ORU^R01", b"77", b"2.3.1", b""], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.3.1\x1EPID|1||9||NOMBRE|MADRE", [b"ORU^R01", b"77", b"2.3.1", b""], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5||||||UNICODEPID|1||9||NOMBRE", [b"ORU^R01", b"77", b"2.5", b"UNICODE"], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77\x1EZPI|1||9||NOMBRE|MADRE|2001", [b"ORU^R01", b"77", b"", b""], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.3.1ZPI|1||9||NOMBRE|MADRE", [b"ORU^R01", b"77", b"2.3.1", b""], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.3.1\\rZPI|1||9||NOMBRE|MADRE", [b"ORU^R01", b"77", b"2.3.1\\r", b""], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5|||AL|NE|ZAF|UTF-8ZP1|1||9||NOMBRE", [b"ORU^R01", b"77", b"2.5", b"UTF-8"], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|A-Z01|P|2.5^ZAF|||AL|NE|ZAF|8859/1", [b"ORU^R01", b"A-Z01", b"2.5^ZAF", b"8859/1"], true),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77PID|1||9||NOMBRE", [b"ORU^R01", b"77", b"", b""], false),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01PID|1||9||NOMBRE", [b"ORU^R01", b"", b"", b""], false),
        (b"MSH|^~\\&|A|B|PID|1||9||NOMBRE^X|MADRE|1970|F", [b"", b"", b"", b""], false),
        (b"MSH|^~\\&|ANAPID|1||9||NOMBRE^X|MADRE|1970|F", [b"", b"", b"", b""], false),
        // Sin el nombre de ningún segmento, pero tampoco es un MSH.
        (b"MSH|^~\\&|A|B|1||9||NOMBRE^X|MADRE|1970|F", [b"NOMBRE^X", b"MADRE", b"F", b""], false),
        // Nombres y números que acaban como un segmento.
        (b"MSH|^~\\&|RAPID|SAC|OBX|NTE|2026||ORU^R01|AAPID|P|2.3", [b"ORU^R01", b"AAPID", b"2.3", b""], true),
        (b"MSH|^~\\&|RAPID|||||||1|P|2.3", [b"", b"1", b"2.3", b""], true),
        (b"MSH|^~\\&|BC|MEDLAB SAC|LIS|H|2026||ORU|55|P", [b"ORU", b"55", b"", b""], true),
        (b"MSH|^~\\&|RAPID|GEMSA|LIS|H|2026||ORU|FARMSA|P", [b"ORU", b"FARMSA", b"", b""], true),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|7F3EVN|P", [b"ORU^R01", b"7F3EVN", b"", b""], true),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.7||PRISMSA|||UTF-8|8859/1||LAB-29|GEMSA|HOSPITAL", [b"ORU^R01", b"77", b"2.7", b"8859/1"], true),
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5||||||UTF-8PID|A-1||9||NOMBRE", [b"ORU^R01", b"77", b"2.5", b"UTF-8"], false),
        // Quien escribe msh escribe pid, y quien MSH, PID.
        (b"MSH|^~\\&|A|B|C|D|2026||ORU^R01\x1EPID|12345||||GOMEZ", [b"ORU^R01", b"", b"", b""], false),
        (b"msh|^~\\&|A|B|C|D|2026||ORU^R01\x1Epid|12345||||GOMEZ", [b"ORU^R01", b"", b"", b""], false),
        (b"msh|^~\\&|A|B|C|D|2026||ORU^R01|77|P|2.5pid|1||12345||GOMEZ|||F", [b"ORU^R01", b"77", b"2.5", b""], false),
        (b"msh|^~\\&|LABPID|1|C|D|2026||ORU|77|P", [b"ORU", b"77", b"", b""], true),
        (b"MSH|^~\\&|rapid|1|C|D|2026||ORU|77|P", [b"ORU", b"77", b"", b""], true),
    ];

    #[test]
    fn lo_que_sigue_al_nombre_de_otro_segmento_no_es_del_msh_ni_se_muestra_nada() {
        for (mensaje, campos, se_muestra) in PEGADAS {
            let texto = mensaje.escape_ascii();
            let cabecera = leer_cabecera(mensaje).expect("tiene MSH");
            let hay = [9, 10, 12, 18].map(|numero| cabecera.campo(numero));
            assert_eq!(hay, campos, "{texto}");
            let visible = if se_muestra { campos[1] } else { b"" };
            assert_eq!(cabecera.visible(10), visible, "{texto}");
        }
    }

    #[test]
    fn un_acuse_que_lleva_algo_mas_no_es_solo_un_acuse() {
        for (mensaje, esperado) in [
            (&b"MSH|^~\\&|A\rMSA|AA|1\r"[..], true),
            (b"\r\nmsh|^~\\&|A\nmsa|AA|1\nERR|x\nERR|y\n", true),
            (b"NMSH|^~\\&|A\rMSA|AA|1", true),
            (b"0001MSH#^~\\&#A\rMSA#AA#1\r", true),
            (b"\xEF\xBB\xBFMSH|A\rMSA|AA|1\r", true),
            (b"MSH|^~\\&|A\rMSA|AA|1\rMSH|^~\\&|B\r", false),
            (b"MSH\rMSA|AA|1\rMSH|^~\\&|A\rMSA|AA|1\r", false),
            (b"NMSH|^~\\&|A\rMSA|AA|1\rOBX|1\r", false),
            (b"texto\rMSH|^~\\&|A\rMSA|AA|1\r", false),
            (b"MSH|^~\\&|A\rMSA|AA|1\rERRORES: 2\r", false),
            (b"MSH|^~\\&|A\rMSA|AA|1\rMSH-2: conservada\r", false),
            (b"MSH|^~\\&|A\rMSA|AA|1\rOBX|1\r", false),
            (b"texto\rMSA|AA|1\r", false),
        ] {
            let texto = mensaje.escape_ascii();
            assert_eq!(solo_acusa(mensaje), esperado, "{texto}");
        }
    }

    #[test]
    fn cada_campo_menos_msh_10_acaba_en_su_primer_byte_de_control() {
        let mensaje =
            b"MSH|^~\\&|A\x01B|C\0D|\x7F|E|2026||ORU^R01|7\x017|P\x0B|2.3\t|||||||||x\x1Cy";
        let cabecera = leer_cabecera(mensaje).expect("tiene MSH");
        let hay = [3, 4, 5, 10, 11, 12, 21].map(|numero| cabecera.campo(numero));
        assert_eq!(hay, [&b"A"[..], b"C", b"", b"7\x017", b"P", b"2.3", b"x"]);
    }

    #[test]
    fn en_una_trama_la_cabecera_puede_ir_tras_bytes_extranos_pero_no_ser_una_linea_de_texto() {
        for (mensaje, id) in [
            (
                &b"NMSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r"[..],
                Some(&b"77"[..]),
            ),
            (b"0001MSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r", Some(b"77")),
            (b"texto\rMSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r", Some(b"77")),
            (b"PID|1\rMSH-2: conservada\rMSH: 25 pg/mL\r", None),
            (b"PID|1\rmsh|^~\\&|A|B|C|D|2026||ORU^R01|77\r", None),
            (
                b"FHS|^~\\&|x\rMSH-2: a\rMSH|^~\\&|A|B|C|D|2026||ORU^R01|77\r",
                Some(b"77"),
            ),
            (b"nota MSH-2: conservada\r", None),
            (b"BHS|^~\\&|x\rMSH-2: conservada\rMSH: 25 pg/mL\r", None),
            (
                b"BHS|^~\\&|x\rNTE|1||a\rmsh|^~\\&|A|B|C|D|2026||ORU^R01|77\r",
                None,
            ),
        ] {
            let cabecera = leer_cabecera(mensaje);
            let hay = cabecera.map(|cabecera| cabecera.campo(10));
            assert_eq!(hay, id, "{}", mensaje.escape_ascii());
        }
    }

    #[test]
    fn de_un_msh_desmedido_quedan_los_campos_que_caben_enteros_y_no_se_muestra_ninguno() {
        for (cuanto, id) in [
            (1000, &b"77"[..]),
            (MAX_COPIABLE_BYTES, b"77"),
            (2 * MAX_COPIABLE_BYTES, b"77"),
        ] {
            let desmedido = "x".repeat(cuanto);
            let msh_11 = format!("MSH|^~\\&|A|B|C|D|2026||ORU^R01|77|{desmedido}|2.3\r");
            let cabecera = leer_cabecera(msh_11.as_bytes()).expect("tiene MSH");
            assert_eq!(cabecera.campo(10), id);
            let cabe = cuanto < MAX_COPIABLE_BYTES;
            assert_eq!(cabecera.campo(11).len(), if cabe { cuanto } else { 0 });
            assert_eq!(cabecera.es_de_fiar(), cabe);
            let msh_3 = format!("MSH|^~\\&{desmedido}");
            assert!(
                leer_cabecera(msh_3.as_bytes())
                    .expect("tiene MSH")
                    .campo(2)
                    .len()
                    <= cuanto + 4
            );
        }
    }

    #[test]
    fn un_segmento_desmedido_no_se_copia() {
        for (cuanto, se_copia) in [(1000, true), (MAX_COPIABLE_BYTES, false)] {
            let desmedido = "x".repeat(cuanto);
            let mensaje = format!("MSH|^~\\&|A\rQPD|{desmedido}\r");
            let cabecera = leer_cabecera(mensaje.as_bytes()).expect("tiene MSH");
            let hallado = Segmento::buscar(mensaje.as_bytes(), &cabecera, b"QPD");
            assert_eq!(hallado.is_some(), se_copia);
        }
    }
}
