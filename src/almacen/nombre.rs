//! Los nombres de los archivos: la hora de llegada, siempre en orden y sin repetir ninguno.
//!
//! Es puro: la hora es un argumento. No sabe qué archivos hay ya en la carpeta.

use std::ffi::OsStr;
use std::fmt::Write as _;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};

use crate::texto::cifras;

/// El contador de un nombre tiene cuatro cifras.
pub(super) const MAX_CONTADOR: u16 = 9999;
const COMIENZO: &str = "HL7_ORU_";
/// Las cifras de una hora con milisegundos.
const CIFRAS_DE_LA_HORA: usize = 17;
/// Lo que ocupa el nombre de casi todos los archivos, con su contador y su extensión.
const ARCHIVO_BYTES: usize = COMIENZO.len() + CIFRAS_DE_LA_HORA + "_0001.res".len();
const FIN_DE_PARCIAL: &str = ".parcial";
/// Con menos atraso, los nombres alcanzan al reloj antes de que a nadie le importe.
const ATRASO_QUE_SE_DICE: TimeDelta = TimeDelta::minutes(1);

/// El nombre de un archivo sin su extensión: la hora de llegada, con milisegundos, y un contador
/// cuando esa hora ya tiene dueño.
///
/// Los nombres se ordenan por llegada: `_` va detrás del punto de la extensión.
#[must_use]
pub fn generar_nombre_archivo(llegada: NaiveDateTime, contador: u16) -> String {
    let mut nombre = String::with_capacity(ARCHIVO_BYTES);
    nombre.push_str(COMIENZO);
    nombre.push_str(&cifras(llegada));
    if contador > 0 {
        // Escribir en un String no falla.
        let _ = write!(nombre, "_{contador:04}");
    }
    nombre
}

/// El nombre de un archivo mientras no está entero. Empieza por punto para que nadie lo tome por uno.
pub(super) fn de_parcial(nombre: &str) -> String {
    [".", nombre, FIN_DE_PARCIAL].concat()
}

/// El nombre que iba a tener el archivo; `None` si no es un parcial de este programa.
pub(super) fn del_parcial(archivo: &OsStr) -> Option<&str> {
    let nombre = archivo
        .to_str()?
        .strip_prefix('.')?
        .strip_suffix(FIN_DE_PARCIAL)?;
    let (hora, contador) = nombre
        .strip_prefix(COMIENZO)?
        .split_at_checked(CIFRAS_DE_LA_HORA)?;
    let son_cifras = |texto: &str| texto.bytes().all(|octeto| octeto.is_ascii_digit());
    let contador_bueno = contador.is_empty()
        || contador
            .strip_prefix('_')
            .is_some_and(|cifras| cifras.len() == 4 && son_cifras(cifras));
    (son_cifras(hora) && contador_bueno).then_some(nombre)
}

/// El día de llegada que dice el nombre de un archivo; `None` si no se lo dio este programa.
pub(super) fn dia_de(archivo: &str) -> Option<NaiveDate> {
    let hora = archivo.strip_prefix(COMIENZO)?.get(..CIFRAS_DE_LA_HORA)?;
    if !hora.bytes().all(|octeto| octeto.is_ascii_digit()) {
        return None;
    }
    NaiveDate::parse_from_str(hora.get(..8)?, "%Y%m%d").ok()
}

/// El último nombre que se dio, que el siguiente debe seguir en orden.
#[derive(Debug)]
pub(super) struct Nombres {
    hora: NaiveDateTime,
    contador: u16,
    atraso_dicho: bool,
}

impl Nombres {
    pub(super) fn new() -> Nombres {
        Nombres {
            hora: NaiveDateTime::MIN,
            contador: 0,
            atraso_dicho: false,
        }
    }

    /// Un nombre posterior a todos los dados, aunque el reloj haya ido hacia atrás.
    pub(super) fn siguiente(&mut self, llegada: NaiveDateTime) -> String {
        if milisegundos(llegada) > milisegundos(self.hora) {
            (self.hora, self.contador) = (llegada, 0);
            self.atraso_dicho = false;
        } else if self.contador < MAX_CONTADOR {
            self.contador += 1;
        } else {
            (self.hora, self.contador) = (self.hora + TimeDelta::milliseconds(1), 0);
        }
        generar_nombre_archivo(self.hora, self.contador)
    }

    /// La hora que siguen llevando los nombres, la primera vez que el reloj va muy por detrás de ella.
    pub(super) fn atraso(&mut self, llegada: NaiveDateTime) -> Option<NaiveDateTime> {
        let se_dice = !self.atraso_dicho && self.hora - llegada > ATRASO_QUE_SE_DICE;
        self.atraso_dicho |= se_dice;
        se_dice.then_some(self.hora)
    }
}

fn milisegundos(hora: NaiveDateTime) -> i64 {
    hora.and_utc().timestamp_millis()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn a_las(hora: u32, minuto: u32) -> NaiveDateTime {
        let dia = NaiveDate::from_ymd_opt(2026, 9, 12).unwrap();
        dia.and_hms_opt(hora, minuto, 0).unwrap()
    }

    #[test]
    fn un_parcial_es_nuestro_solo_si_su_nombre_es_exactamente_uno_de_los_que_se_dan() {
        for nombre in [
            generar_nombre_archivo(a_las(9, 45), 0),
            generar_nombre_archivo(a_las(9, 45), 1),
            generar_nombre_archivo(a_las(9, 45), MAX_CONTADOR),
        ] {
            let parcial = de_parcial(&nombre);
            assert_eq!(del_parcial(OsStr::new(&parcial)), Some(nombre.as_str()));
        }
        for ajeno in [
            "HL7_ORU_20260912094501123.parcial",
            ".HL7_ORU_20260912094501123.res",
            ".HL7_ORU_20260912094501123",
            ".HL7_ORU_2026091209450112.parcial",
            ".HL7_ORU_202609120945011234.parcial",
            ".HL7_ORU_2026091209450112x.parcial",
            ".HL7_ORU_20260912094501123_1.parcial",
            ".HL7_ORU_20260912094501123_00001.parcial",
            ".HL7_ORU_20260912094501123-0001.parcial",
            ".HL7_ORU_20260912094501123_0001.parcial.parcial",
            ".HL7_ORU_20260912094501123\n.parcial",
            ".HL7_ORU_2026091209450112é.parcial",
            ".HL7_ORU_viejo.parcial",
            ".ajeno.parcial",
            ".parcial",
            "",
        ] {
            assert_eq!(del_parcial(OsStr::new(ajeno)), None, "{ajeno}");
        }
    }

    #[test]
    fn un_reloj_que_va_por_detras_se_dice_una_vez_hasta_que_alcanza_a_los_nombres() {
        let mut nombres = Nombres::new();
        let mut dicho = |hora, minuto| {
            let llegada = a_las(hora, minuto);
            nombres.siguiente(llegada);
            nombres.atraso(llegada)
        };
        assert_eq!(dicho(9, 0), None);
        assert_eq!(dicho(20, 0), None);
        assert_eq!(dicho(19, 59), None, "un minuto no es nada");
        assert_eq!(dicho(9, 1), Some(a_las(20, 0)));
        assert_eq!(dicho(9, 2), None);
        assert_eq!(dicho(19, 0), None);
        assert_eq!(dicho(20, 1), None, "lo ha alcanzado");
        assert_eq!(dicho(9, 3), Some(a_las(20, 1)));
    }
}
