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
    /// intentarán otro día.
    pub(crate) fn limpiar_apartados(&self, dias: u64, hoy: NaiveDate) -> io::Result<usize> {
        let Some(limite) = hoy.checked_sub_days(Days::new(dias)) else {
            return Ok(0);
        };
        let entradas = match fs::read_dir(self.carpeta.join(APARTADOS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entradas => entradas?,
        };
        let viejos = entradas.flatten().filter(|entrada| {
            // Un enlace o una carpeta con ese nombre no son nuestros.
            let es_archivo = entrada.file_type().is_ok_and(|tipo| tipo.is_file());
            es_archivo && dia(&entrada.file_name()).is_some_and(|dia| dia < limite)
        });
        Ok(viejos
            .filter(|entrada| fs::remove_file(entrada.path()).is_ok())
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
            "HL7_ORU_20260812235959999.no_hl7",
            "HL7_ORU_20250101000000000_0001.cortado",
            "HL7_ORU_20260101000000000-1.parcial",
            "HL7_ORU_20260101000000000.repetido",
        ];
        let quedan = [
            "HL7_ORU_20200101000000000.cola",
            "HL7_ORU_20200101000000000.res",
            "HL7_ORU_20200101000000000.no_hl7.txt",
            "HL7_ORU_20260813000000000.no_hl7",
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
}
