//! La fila de un mensaje en la consola: una sola línea de las 120 letras que abre Windows.
//!
//! Lo que no cabe se abrevia con «…»; entero está en el archivo del registro. No sabe de dónde sale lo
//! que muestra.

use std::borrow::Cow;
use std::time::Duration;

use crate::texto::{Color, FIN_DE_COLOR, blancos, recortar};

/// Lo que ocupa una fila con su hora; en la última columna, una consola de Windows saltaría de línea.
const ANCHO: usize = 119;
/// La hora, con el blanco que la sigue.
const HORA: usize = "09:45:01.123 ".len();
const CONTESTADO: usize = "sin acuse".len();
const EQUIPO: usize = 16;
const TIPO: usize = "ORU^R01".len();
/// Una longitud o un tiempo.
const MEDIDA: usize = "999 KB".len();
/// Un MSH-10 de veinte letras con sus comillas.
const ID: usize = 22;

/// Lo que se ve de un mensaje.
pub(super) struct Fila<'a> {
    pub(super) contestado: &'a str,
    pub(super) color: Color,
    pub(super) equipo: &'a str,
    pub(super) tipo: Cow<'a, str>,
    pub(super) longitud: usize,
    pub(super) tiempo: Duration,
    pub(super) id: Cow<'a, str>,
    pub(super) archivo: &'a str,
    /// El archivo del que es una copia, que se ve en lugar del suyo.
    pub(super) repetido_de: Option<&'a str>,
}

impl Fila<'_> {
    pub(super) fn redactar(&self) -> String {
        let equipo = recortar(self.equipo, EQUIPO);
        // De OUL^R22^OUL_R22, los dos primeros componentes.
        let tipo = if self.tipo.is_empty() {
            "—"
        } else {
            &self.tipo
        };
        let fin = tipo
            .match_indices('^')
            .nth(1)
            .map_or(tipo.len(), |(p, _)| p);
        let tipo = recortar(&tipo[..fin], TIPO);
        let (longitud, tiempo) = (longitud(self.longitud), tiempo(self.tiempo));
        let medidas = longitud.len().max(MEDIDA) + 1 + tiempo.len().max(MEDIDA);
        let resto = ANCHO - HORA - CONTESTADO - 1 - EQUIPO - 1 - TIPO - 1 - medidas - 1;
        let archivo = match self.repetido_de {
            Some(original) => Cow::from(format!("repetido de {original}")),
            None => Cow::from(self.archivo),
        };
        // El archivo es lo que se busca después: antes que él se abrevia el MSH-10.
        let archivo = sin_comienzo(&archivo, resto - "«12…» ".chars().count());
        let para_el_id = ID.min(resto - 1 - archivo.chars().count()) - "«»".chars().count();
        let id = recortar(&self.id, para_el_id);
        [
            self.color.comienzo(),
            self.contestado,
            &blancos(self.contestado, CONTESTADO),
            FIN_DE_COLOR,
            " ",
            &equipo,
            &blancos(&equipo, EQUIPO),
            " ",
            &tipo,
            &blancos(&tipo, TIPO),
            " ",
            &blancos(&longitud, MEDIDA),
            &longitud,
            " ",
            &blancos(&tiempo, MEDIDA),
            &tiempo,
            " «",
            &id,
            "»",
            &blancos(&id, para_el_id),
            " ",
            &archivo,
        ]
        .concat()
    }
}

/// Lo último de un texto, si no cabe entero.
fn sin_comienzo(texto: &str, ancho: usize) -> Cow<'_, str> {
    let sobran = texto.chars().count().saturating_sub(ancho);
    if sobran == 0 {
        return Cow::from(texto);
    }
    let resto: String = texto.chars().skip(sobran + 1).collect();
    Cow::from(format!("…{resto}"))
}

/// Seis letras como mucho, si no pasa de 999 MB.
fn longitud(bytes: usize) -> String {
    let (decimas, unidad) = match bytes {
        0..1000 => return bytes.to_string() + " B",
        1000..1_024_000 => (bytes * 10 / 1024, "KB"),
        _ => (bytes / 1024 * 10 / 1024, "MB"),
    };
    match decimas {
        0..100 => format!("{},{} {unidad}", decimas / 10, decimas % 10),
        _ => format!("{} {unidad}", decimas / 10),
    }
}

/// Seis letras como mucho, si no pasa de un día.
fn tiempo(tiempo: Duration) -> String {
    let ms = tiempo.as_millis();
    match ms {
        0..1000 => ms.to_string() + " ms",
        1000..10_000 => format!("{:.1} s", tiempo.as_secs_f64()).replace('.', ","),
        _ => format!("{} s", tiempo.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texto::sin_color;

    const ARCHIVO: &str = "HL7_ORU_20260912095240301.res";

    fn fila<'a>(equipo: &'a str, id: &'a str, archivo: &'a str) -> Fila<'a> {
        Fila {
            contestado: "sin acuse",
            color: Color::Bien,
            equipo,
            tipo: "OUL^R22^OUL_R22".into(),
            longitud: 1_023_999,
            tiempo: Duration::from_millis(9999),
            id: id.into(),
            archivo,
            repetido_de: None,
        }
    }

    /// Lo que se ve, tras una hora.
    fn vista(fila: &Fila<'_>) -> String {
        sin_color(&format!("09:52:40.301 {}", fila.redactar()))
    }

    #[test]
    fn los_nombres_de_dieciseis_letras_y_los_msh_10_de_veinte_se_ven_enteros() {
        let (equipo, id) = ("Hematología sala", "20260912095240301123");
        for archivo in [ARCHIVO, "HL7_ORU_20260912095240301_0001.res"] {
            let vista = vista(&fila(equipo, id, archivo));
            for entero in [equipo, "OUL^R22", &format!("«{id}»"), archivo] {
                assert!(vista.contains(entero), "«{entero}» no está en «{vista}»");
            }
            assert!(vista.chars().count() <= ANCHO, "{vista}");
        }
    }

    #[test]
    fn lo_mas_largo_se_abrevia_y_la_fila_cabe_siempre() {
        let largo = "L".repeat(199);
        for (equipo, id, archivo) in [
            (largo.as_str(), largo.as_str(), ARCHIVO),
            (
                "10.0.0.1",
                &largo,
                "apartados/HL7_ORU_20260912095240301_0001.excesivo",
            ),
            ("10.0.0.1", "", "(sin archivo)"),
            ("2001:db8::abcd:1234:5678", "1", &largo),
            ("", "", ""),
        ] {
            let mut fila = fila(equipo, id, archivo);
            fila.tipo = (&largo).into();
            let vista = vista(&fila);
            assert!(vista.chars().count() <= ANCHO, "{vista}");
            assert!(archivo.len() > 60 || vista.ends_with(archivo), "{vista}");
        }
    }

    #[test]
    fn de_un_repetido_se_ve_de_que_archivo_lo_es() {
        let original = "HL7_ORU_20260912095240301_0001.res";
        let mut fila = fila("Hematología sala", "20260912095240301123", ARCHIVO);
        fila.repetido_de = Some(original);
        let vista = vista(&fila);
        let esperado = "«2026091…» repetido de HL7_ORU_20260912095240301_0001.res";
        assert!(vista.ends_with(esperado), "{vista}");
        assert!(vista.chars().count() <= ANCHO, "{vista}");
    }

    #[test]
    fn las_columnas_no_se_mueven_de_un_mensaje_a_otro() {
        let columnas = |equipo, id| vista(&fila(equipo, id, ARCHIVO)).find(ARCHIVO);
        assert_eq!(
            columnas("a", "1"),
            columnas("Hematologia sala", "20260912095240301123")
        );
        assert_eq!(
            vista(&Fila {
                contestado: "AA",
                tipo: "ORU^R01".into(),
                longitud: 219,
                tiempo: Duration::from_millis(12),
                ..fila("127.0.0.1", "PRUEBA-1", ARCHIVO)
            }),
            "09:52:40.301 AA        127.0.0.1        ORU^R01  219 B  12 ms «PRUEBA-1»             HL7_ORU_20260912095240301.res"
        );
    }

    #[test]
    fn las_longitudes_y_los_tiempos_caben_en_su_columna() {
        for (bytes, esperado) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "0,9 KB"),
            (10_239, "9,9 KB"),
            (10_240, "10 KB"),
            (1_023_999, "999 KB"),
            (1_024_000, "0,9 MB"),
            (67_108_864, "64 MB"),
            (1_073_741_824, "1024 MB"),
        ] {
            assert_eq!(longitud(bytes), esperado);
        }
        for (ms, esperado) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1,0 s"),
            (9949, "9,9 s"),
            (60_000, "60 s"),
        ] {
            assert_eq!(tiempo(Duration::from_millis(ms)), esperado);
        }
    }
}
