//! La limpieza de `apartados`: lo que lleva allí demasiados días.
//!
//! Solo se borra lo que no llegó a ser un mensaje y este programa apartó: lo dice su nombre. Una cola es
//! el final de un mensaje que se acusó, y se queda. No sabe qué día es.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use chrono::{Days, NaiveDate};

use super::{APARTADOS, Almacen, Apartado, nombre};

impl Almacen {
    /// Borra los apartados de más de esos días; devuelve cuántos. Los que ahora no se dejen borrar se
    /// intentarán otro día. No se cuenta desde hoy, sino desde el último día anterior en que se apartó algo: un
    /// reloj que se adelanta años no los borra todos, ni aunque se aparte algo ese día.
    pub(crate) fn limpiar_apartados(&self, dias: u64, hoy: NaiveDate) -> io::Result<usize> {
        let entradas = match fs::read_dir(self.carpeta.join(APARTADOS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entradas => entradas?,
        };
        let apartados: Vec<_> = entradas
            .flatten()
            // Un enlace o una carpeta con ese nombre no son nuestros.
            .filter(|entrada| entrada.file_type().is_ok_and(|tipo| tipo.is_file()))
            .filter_map(|entrada| Some((dia(&entrada.file_name())?, entrada.path())))
            .collect();
        let ultimo = apartados
            .iter()
            .map(|(dia, _)| *dia)
            .filter(|dia| *dia < hoy)
            .max();
        let limite = ultimo.and_then(|ultimo| ultimo.checked_sub_days(Days::new(dias)));
        let viejos = apartados.iter().filter(|(dia, _)| Some(*dia) < limite);
        Ok(viejos
            .filter(|(_, ruta)| fs::remove_file(ruta).is_ok())
            .count())
    }
}

/// El día en que se apartó; `None` si no es de los que se borran.
fn dia(archivo: &OsStr) -> Option<NaiveDate> {
    let extension = Path::new(archivo).extension()?;
    let se_borra =
        |apartado: &Apartado| *apartado != Apartado::Cola && extension == apartado.extension();
    Apartado::TODOS.iter().find(|apartado| se_borra(apartado))?;
    nombre::dia_de(archivo.to_str()?)
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn se_borra_lo_apartado_hace_mas_dias_y_nunca_una_cola_ni_lo_ajeno() {
        let carpeta = env::temp_dir().join(format!("limpieza-{}", process::id()));
        let almacen = Almacen::abrir(carpeta.clone(), false).unwrap();
        let hoy = NaiveDate::from_ymd_opt(2026, 9, 12).unwrap();
        assert_eq!(
            almacen.limpiar_apartados(30, hoy).unwrap(),
            0,
            "sin carpeta"
        );
        let apartados = carpeta.join(APARTADOS);
        fs::create_dir(&apartados).unwrap();
        let borrados = [
            "HL7_ORU_20260811235959999.no_hl7",
            "HL7_ORU_20250101000000000_0001.cortado",
            "HL7_ORU_20260101000000000-1.parcial",
            "HL7_ORU_20260101000000000.repetido",
        ];
        let quedan = [
            "HL7_ORU_20200101000000000.cola",
            "HL7_ORU_20200101000000000.res",
            "HL7_ORU_20200101000000000.no_hl7.txt",
            "HL7_ORU_20260812000000000.no_hl7",
            "HL7_ORU_20260911000000000.no_hl7",
            "HL7_ORU_20260912094501123.cortado",
            "HL7_ORU_20261301000000000.no_hl7",
            "apuntes.no_hl7",
            "notas.txt",
        ];
        for nombre in borrados.iter().chain(&quedan) {
            fs::write(apartados.join(nombre), "x").unwrap();
        }
        let carpeta_con_ese_nombre = apartados.join("HL7_ORU_20200101000000000.no_hl7");
        fs::create_dir(&carpeta_con_ese_nombre).unwrap();
        assert_eq!(almacen.limpiar_apartados(30, hoy).unwrap(), borrados.len());
        for nombre in quedan {
            assert!(apartados.join(nombre).exists(), "{nombre}");
        }
        assert!(carpeta_con_ese_nombre.exists());
        fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn un_reloj_que_se_adelanta_no_borra_los_apartados() {
        let carpeta = env::temp_dir().join(format!("limpieza-adelantada-{}", process::id()));
        let almacen = Almacen::abrir(carpeta.clone(), false).unwrap();
        let apartados = carpeta.join(APARTADOS);
        fs::create_dir(&apartados).unwrap();
        let apartar = |dia: u32| {
            fs::write(
                apartados.join(format!("HL7_ORU_{dia}094501123.no_hl7")),
                "x",
            )
            .unwrap();
        };
        let borrados = |ano, mes, dia| {
            let hoy = NaiveDate::from_ymd_opt(ano, mes, dia).unwrap();
            almacen.limpiar_apartados(30, hoy).unwrap()
        };
        for dia in [20_260_901, 20_260_912] {
            apartar(dia);
        }
        assert_eq!(borrados(2099, 1, 1), 0);
        apartar(20_990_101);
        assert_eq!(borrados(2099, 1, 1), 0, "aunque se aparte algo ese día");
        assert_eq!(borrados(2026, 9, 13), 0, "corregido");
        apartar(20_261_002);
        assert_eq!(borrados(2026, 10, 3), 1, "y lo viejo se borra");
        fs::remove_dir_all(carpeta).unwrap();
    }
}
