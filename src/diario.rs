//! El registro en archivos, `servidor_AAAAMMDD.log`: uno por día, y los viejos se borran.
//!
//! Lo que no se pueda escribir (disco lleno, archivo retenido) se pierde y se cuenta; se prueba de
//! nuevo con las líneas siguientes. No sabe qué dicen las líneas ni qué hora es.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, NaiveDateTime};

use crate::causa;
use crate::consola::contar_lineas;

/// Los archivos del registro, en una carpeta.
#[derive(Debug)]
pub struct Diario {
    carpeta: PathBuf,
    dias: u64,
    abierto: Option<(NaiveDate, File)>,
    /// Líneas perdidas desde que dejó de poderse escribir.
    perdidas: usize,
}

impl Diario {
    /// Un registro en esa carpeta, de la que se borran los archivos de hace `dias` o más. Nada se
    /// abre todavía.
    #[must_use]
    pub fn new(carpeta: PathBuf, dias: u64) -> Diario {
        Diario {
            carpeta,
            dias,
            abierto: None,
            perdidas: 0,
        }
    }

    /// La carpeta de los archivos.
    #[must_use]
    pub fn carpeta(&self) -> &Path {
        &self.carpeta
    }

    /// Añade líneas enteras al archivo del día. Devuelve lo que haya que avisar por otro sitio: que
    /// ya no se puede escribir, una vez, y que se puede de nuevo.
    pub fn anotar(&mut self, lineas: &[u8], ahora: NaiveDateTime) -> Option<String> {
        match self.escribir(lineas, ahora.date()) {
            Ok(()) if self.perdidas == 0 => None,
            Ok(()) => {
                let perdidas = std::mem::take(&mut self.perdidas);
                let aviso = format!(
                    "el registro vuelve a escribirse en «{}»; se omitieron {perdidas} líneas",
                    self.carpeta.display()
                );
                Some(aviso)
            }
            Err(error) => {
                self.abierto = None;
                let ya_dicho = self.perdidas > 0;
                self.perdidas += contar_lineas(lineas);
                (!ya_dicho).then(|| {
                    format!(
                        "no se pudo escribir el registro en «{}»: {}; la recepción sigue",
                        self.carpeta.display(),
                        causa::explicar(&error)
                    )
                })
            }
        }
    }

    fn escribir(&mut self, lineas: &[u8], hoy: NaiveDate) -> io::Result<()> {
        let archivo = match &mut self.abierto {
            Some((dia, archivo)) if *dia == hoy => archivo,
            _ => {
                let archivo = self.abrir(hoy)?;
                &mut self.abierto.insert((hoy, archivo)).1
            }
        };
        archivo.write_all(lineas)
    }

    /// Abre el archivo del día, y borra los que ya no hay que guardar.
    fn abrir(&self, hoy: NaiveDate) -> io::Result<File> {
        fs::create_dir_all(&self.carpeta)?;
        let archivo = OpenOptions::new().create(true).append(true).open(
            self.carpeta
                .join(format!("servidor_{}.log", hoy.format("%Y%m%d"))),
        )?;
        for entrada in fs::read_dir(&self.carpeta)?.flatten() {
            let nombre = entrada.file_name();
            let dia = nombre.to_str().and_then(dia_de);
            let viejo = dia.is_some_and(|dia| (hoy - dia).num_days() >= self.dias.cast_signed());
            if viejo {
                // Si ahora no se deja borrar, se dejará otro día.
                let _ = fs::remove_file(entrada.path());
            }
        }
        Ok(archivo)
    }
}

/// De qué día es un archivo del registro.
fn dia_de(nombre: &str) -> Option<NaiveDate> {
    let fecha = nombre.strip_prefix("servidor_")?.strip_suffix(".log")?;
    NaiveDate::parse_from_str(fecha, "%Y%m%d").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn el_dia(dia: u32) -> NaiveDateTime {
        let fecha = NaiveDate::from_ymd_opt(2026, 9, dia).unwrap();
        fecha.and_hms_opt(23, 59, 59).unwrap()
    }

    #[test]
    fn cada_dia_tiene_su_archivo_y_quedan_los_de_los_ultimos_dias() {
        let nombre = format!("servidor-hl7-diario-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        let mut diario = Diario::new(carpeta.clone(), 2);
        for (dia, linea) in [(1, "a\n"), (1, "b\n"), (2, "c\n"), (4, "d\n")] {
            assert_eq!(diario.anotar(linea.as_bytes(), el_dia(dia)), None);
        }
        // Otro arranque del mismo día añade, no borra.
        Diario::new(carpeta.clone(), 4).anotar(b"e\n", el_dia(4));
        let leer = |dia| fs::read_to_string(carpeta.join(format!("servidor_202609{dia}.log"))).ok();
        assert_eq!(leer("01"), None);
        assert_eq!(leer("02"), None);
        assert_eq!(leer("04").as_deref(), Some("d\ne\n"));
        // Windows no borra una carpeta con un archivo abierto.
        drop(diario);
        fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn lo_que_no_se_pudo_escribir_se_cuenta_y_se_dice_cuando_se_puede() {
        let nombre = format!("servidor-hl7-diario-ocupado-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        fs::write(&carpeta, "un archivo").unwrap();
        let mut diario = Diario::new(carpeta.clone(), 2);
        let aviso = diario.anotar(b"a\nb\n", el_dia(1)).unwrap();
        assert!(
            aviso.starts_with("no se pudo escribir el registro en «"),
            "{aviso}"
        );
        assert_eq!(diario.anotar(b"c\n", el_dia(1)), None);
        fs::remove_file(&carpeta).unwrap();
        let aviso = diario.anotar(b"d\n", el_dia(1)).unwrap();
        assert!(aviso.ends_with("se omitieron 3 líneas"), "{aviso}");
        assert_eq!(diario.anotar(b"e\n", el_dia(1)), None);
        assert_eq!(
            fs::read(carpeta.join("servidor_20260901.log")).unwrap(),
            b"d\ne\n"
        );
        drop(diario);
        fs::remove_dir_all(carpeta).unwrap();
    }
}
