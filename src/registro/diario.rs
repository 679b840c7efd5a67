//! El registro en archivos, `servidor_AAAAMMDD.log`: uno por día, y los viejos se borran.
//!
//! Lo que no se pueda escribir (disco lleno, archivo retenido) se pierde y se cuenta; se prueba de
//! nuevo con las líneas siguientes. No sabe qué dicen las líneas ni qué hora es.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, NaiveDateTime};
use log::Level;

use crate::causa;
use crate::registro::linea::Linea;
use crate::texto::ruta_visible;

/// Cuánto puede crecer el archivo de un día: unos 375 000 mensajes.
const MAX_BYTES_AL_DIA: u64 = 64 * 1024 * 1024;

/// Cuánto se mira del final de un archivo: sobra para las líneas de un arranque.
const FINAL_BYTES: u64 = 16 * 1024;

/// Dónde quedan los archivos del registro, y cuántos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ajustes {
    /// La carpeta de los archivos (clave `Carpeta`).
    pub carpeta: PathBuf,
    /// Cuántos días con registro quedan (clave `DiasAGuardar`).
    pub dias: usize,
}

/// Los archivos del registro, en una carpeta.
#[derive(Debug)]
pub(crate) struct Diario {
    ajustes: Ajustes,
    /// El último día en que se borraron los viejos.
    limpiado: Option<NaiveDate>,
    /// Líneas perdidas desde que dejó de poderse escribir.
    perdidas: usize,
}

impl Diario {
    /// Nada se abre todavía.
    pub(crate) fn new(ajustes: Ajustes) -> Diario {
        Diario {
            ajustes,
            limpiado: None,
            perdidas: 0,
        }
    }

    /// Si se podría escribir; crea la carpeta si falta, y no escribe líneas ni deja ningún archivo.
    pub(crate) fn probar(&self, ahora: NaiveDateTime) -> Result<(), String> {
        self.probar_archivo(ahora.date())
            .map_err(|error| self.no_se_pudo(&error))
    }

    /// El de hoy, si está. Si no, otro: el de hoy sería de quien prueba, y quitarlo se llevaría lo que el
    /// servicio hubiera escrito en él entre tanto.
    fn probar_archivo(&self, hoy: NaiveDate) -> io::Result<()> {
        let carpeta = &self.ajustes.carpeta;
        fs::create_dir_all(carpeta)?;
        match OpenOptions::new().append(true).open(self.ruta(hoy)) {
            Err(error) if error.kind() == ErrorKind::NotFound => probar_carpeta(carpeta),
            abierto => abierto.map(drop),
        }
    }

    /// Añade líneas al archivo del día. Devuelve lo que haya que avisar por otro sitio: que ya no se
    /// puede escribir, una vez, y que se puede de nuevo, que consta también en el archivo.
    pub(crate) fn anotar(&mut self, lineas: &[Linea], ahora: NaiveDateTime) -> Option<String> {
        let aviso = (self.perdidas > 0).then(|| {
            format!(
                "el registro vuelve a escribirse en «{}»; se omitieron {} líneas",
                ruta_visible(&self.ajustes.carpeta),
                self.perdidas
            )
        });
        let vuelta = aviso.clone().map(|texto| Linea {
            hora: ahora,
            nivel: Level::Warn,
            texto,
            fila: None,
            callada: false,
        });
        let todas = vuelta.iter().chain(lineas);
        match self.escribir(todas, ahora.date()) {
            Ok(()) => {
                self.perdidas = 0;
                aviso
            }
            Err(error) => {
                self.perdidas += lineas.len();
                aviso.is_none().then(|| self.no_se_pudo(&error))
            }
        }
    }

    fn no_se_pudo(&self, error: &io::Error) -> String {
        // El que da el sistema, que también limita los archivos, lleva su código.
        if error.kind() == ErrorKind::FileTooLarge && error.raw_os_error().is_none() {
            return format!(
                "el registro de hoy en «{}» ha llegado a {} MiB; hasta mañana las líneas solo se cuentan, y la recepción sigue",
                ruta_visible(&self.ajustes.carpeta),
                MAX_BYTES_AL_DIA / 1024 / 1024
            );
        }
        format!(
            "no se pudo escribir el registro en «{}»: {}; la recepción sigue",
            ruta_visible(&self.ajustes.carpeta),
            causa::explicar(error)
        )
    }

    /// El archivo se abre cada vez: si alguien lo mueve o lo borra, lo siguiente va a uno nuevo.
    fn escribir<'a>(
        &mut self,
        lineas: impl Iterator<Item = &'a Linea>,
        hoy: NaiveDate,
    ) -> io::Result<()> {
        let mut archivo = self.abrir(hoy)?;
        let antes = archivo.metadata()?.len();
        // Sin mirar si estas caben: unas más cortas cabrían después, y ya se dijo que hasta mañana ninguna.
        if antes >= MAX_BYTES_AL_DIA {
            return Err(ErrorKind::FileTooLarge.into());
        }
        // La segunda mitad no es para lo que se repite.
        let mediado = antes >= MAX_BYTES_AL_DIA / 2;
        let que_caben = lineas.filter(|linea| !(linea.callada && mediado));
        let texto: String = que_caben.map(Linea::en_archivo).collect();
        archivo.write_all(texto.as_bytes()).inspect_err(|_| {
            // Lo que no cupo entero se quita: media línea se pegaría a la siguiente. En Windows no se
            // puede con un archivo abierto para añadir.
            let para_recortar = OpenOptions::new().write(true).open(self.ruta(hoy));
            let _ = para_recortar.and_then(|archivo| archivo.set_len(antes));
        })?;
        if self.limpiado != Some(hoy) {
            self.borrar_viejos(hoy);
            self.limpiado = Some(hoy);
        }
        Ok(())
    }

    /// Si el archivo de hoy acaba en esas líneas, dichas a otra hora.
    pub(super) fn acaba_en(&self, lineas: &[String], hoy: NaiveDate) -> bool {
        let sin_hora = |linea: &str| {
            linea
                .split_once(' ')
                .and_then(|(_, l)| Some(l.split_once(' ')?.1.trim_end().to_owned()))
        };
        let buscadas = lineas.iter().rev().map(|linea| sin_hora(linea));
        let final_del_archivo = || -> io::Result<String> {
            let mut archivo = File::open(self.ruta(hoy))?;
            let antes = archivo.metadata()?.len().saturating_sub(FINAL_BYTES);
            archivo.seek(SeekFrom::Start(antes))?;
            let mut bytes = Vec::new();
            archivo.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        final_del_archivo().is_ok_and(|texto| {
            let ultimas = texto.lines().rev().take(lineas.len()).map(sin_hora);
            ultimas.eq(buscadas)
        })
    }

    fn abrir(&self, hoy: NaiveDate) -> io::Result<File> {
        fs::create_dir_all(&self.ajustes.carpeta)?;
        let mut modo = OpenOptions::new();
        modo.create(true).append(true).open(self.ruta(hoy))
    }

    fn ruta(&self, dia: NaiveDate) -> PathBuf {
        let nombre = format!("servidor_{}.log", dia.format("%Y%m%d"));
        self.ajustes.carpeta.join(nombre)
    }

    /// Quedan el de hoy y los más recientes por su nombre, sin mirar qué día es: un reloj que se
    /// adelanta no los borra todos, y el que se adelantó y fue corregido no borra el de hoy.
    fn borrar_viejos(&self, hoy: NaiveDate) {
        // Si ahora no se dejan leer o borrar, se dejarán otro día.
        let mut archivos: Vec<_> = fs::read_dir(&self.ajustes.carpeta)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entrada| Some((dia_de(entrada.file_name().to_str()?)?, entrada.path())))
            .filter(|(dia, _)| *dia != hoy)
            .collect();
        archivos.sort();
        let sobran = (archivos.len() + 1).saturating_sub(self.ajustes.dias);
        for (_, ruta) in &archivos[..sobran] {
            let _ = fs::remove_file(ruta);
        }
    }
}

/// Si se puede escribir un archivo en esa carpeta, que ya está; no queda ninguno.
pub(crate) fn probar_carpeta(carpeta: &Path) -> io::Result<()> {
    let prueba = carpeta.join(format!(".prueba-{}.parcial", std::process::id()));
    fs::write(&prueba, "")?;
    fs::remove_file(prueba)
}

/// De qué día es un archivo del registro.
fn dia_de(nombre: &str) -> Option<NaiveDate> {
    let fecha = nombre.strip_prefix("servidor_")?.strip_suffix(".log")?;
    NaiveDate::parse_from_str(fecha, "%Y%m%d").ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn el_dia(dia: u32) -> NaiveDateTime {
        let fecha = NaiveDate::from_ymd_opt(2026, 9, dia).unwrap();
        fecha.and_hms_opt(23, 59, 59).unwrap()
    }

    fn lineas(textos: &[&str]) -> Vec<Linea> {
        let linea = |texto: &&str| Linea {
            hora: el_dia(1),
            nivel: Level::Info,
            texto: (*texto).to_owned(),
            fila: None,
            callada: false,
        };
        textos.iter().map(linea).collect()
    }

    fn escrito(texto: &str) -> String {
        format!("2026-09-01 23:59:59.000 INFO  {texto}\n")
    }

    fn nuevo(carpeta: &Path, dias: usize) -> Diario {
        let carpeta = carpeta.to_path_buf();
        Diario::new(Ajustes { carpeta, dias })
    }

    #[test]
    fn cada_dia_tiene_su_archivo_y_quedan_los_de_los_ultimos_dias() {
        let nombre = format!("servidor-hl7-diario-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        let mut diario = nuevo(&carpeta, 2);
        for (dia, linea) in [(1, "a"), (1, "b"), (2, "c"), (4, "d")] {
            assert_eq!(diario.anotar(&lineas(&[linea]), el_dia(dia)), None);
        }
        // Otro arranque del mismo día añade, no borra.
        nuevo(&carpeta, 4).anotar(&lineas(&["e"]), el_dia(4));
        let leer = |dia| fs::read_to_string(carpeta.join(format!("servidor_202609{dia}.log"))).ok();
        assert_eq!(leer("01"), None);
        assert_eq!(leer("02").as_deref(), Some(escrito("c").as_str()));
        assert_eq!(
            leer("04").as_deref(),
            Some((escrito("d") + &escrito("e")).as_str())
        );
        // Quien lo mueve no se lleva lo que se diga después.
        fs::remove_dir_all(&carpeta).unwrap();
        assert_eq!(diario.anotar(&lineas(&["f"]), el_dia(4)), None);
        assert_eq!(leer("04").as_deref(), Some(escrito("f").as_str()));
        fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn el_archivo_de_hoy_no_se_borra_aunque_el_reloj_fuera_adelantado() {
        let nombre = format!("servidor-hl7-diario-adelantado-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        for dia in [8, 9] {
            nuevo(&carpeta, 2).anotar(&lineas(&["futuro"]), el_dia(dia));
        }
        assert_eq!(
            nuevo(&carpeta, 2).anotar(&lineas(&["hoy"]), el_dia(1)),
            None
        );
        let quedan = |dia| carpeta.join(format!("servidor_2026090{dia}.log")).exists();
        assert_eq!([1, 8, 9].map(quedan), [true, false, true]);
        fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn lo_que_se_repite_deja_la_mitad_del_archivo_a_lo_demas() {
        let nombre = format!("servidor-hl7-diario-mediado-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        let mut diario = nuevo(&carpeta, 2);
        let repetida = || Linea {
            callada: true,
            ..lineas(&["repetida"]).remove(0)
        };
        diario.anotar(&[repetida()], el_dia(1));
        let ruta = carpeta.join("servidor_20260901.log");
        let leer = || fs::read_to_string(&ruta).unwrap();
        assert_eq!(leer(), escrito("repetida"));
        let archivo = OpenOptions::new().write(true).open(&ruta).unwrap();
        archivo.set_len(MAX_BYTES_AL_DIA / 2).unwrap();
        drop(archivo);
        for _ in 0..2 {
            diario.anotar(&lineas(&["otra"]), el_dia(1));
            diario.anotar(&[repetida()], el_dia(1));
        }
        let leido = leer();
        assert_eq!(leido.matches("otra").count(), 2);
        assert_eq!(leido.matches("repetida").count(), 1);
        // El de otro día está sin empezar.
        diario.anotar(&[repetida()], el_dia(2));
        let otro = fs::read_to_string(carpeta.join("servidor_20260902.log")).unwrap();
        assert_eq!(otro, escrito("repetida"));
        // Y al volver a arrancar, este sigue mediado.
        nuevo(&carpeta, 2).anotar(&[repetida()], el_dia(1));
        assert!(leer() == leido, "se escribió lo que se repite");
        fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn el_archivo_de_un_dia_no_crece_sin_fin_y_lo_que_sigue_se_cuenta() {
        let nombre = format!("servidor-hl7-diario-lleno-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        let mut diario = nuevo(&carpeta, 2);
        assert_eq!(diario.anotar(&lineas(&["a"]), el_dia(1)), None);
        let hoy = carpeta.join("servidor_20260901.log");
        let lleno = OpenOptions::new().write(true).open(&hoy).unwrap();
        lleno.set_len(MAX_BYTES_AL_DIA - 1).unwrap();
        // Windows no borra la carpeta de un archivo abierto.
        drop(lleno);
        assert_eq!(diario.anotar(&lineas(&["la última"]), el_dia(1)), None);
        let longitud = fs::metadata(&hoy).unwrap().len();
        let aviso = diario.anotar(&lineas(&["b", "c"]), el_dia(1)).unwrap();
        assert!(aviso.contains("ha llegado a 64 MiB"), "{aviso}");
        assert_eq!(diario.anotar(&lineas(&["d"]), el_dia(1)), None);
        assert_eq!(fs::metadata(hoy).unwrap().len(), longitud);
        let aviso = diario.anotar(&lineas(&["e"]), el_dia(2)).unwrap();
        assert!(aviso.ends_with("se omitieron 3 líneas"), "{aviso}");
        fs::remove_dir_all(carpeta).unwrap();
    }

    /// EFBIG, con LimitFSIZE o ulimit -f.
    #[cfg(unix)]
    #[test]
    fn un_limite_del_sistema_no_se_toma_por_el_tope_de_un_dia() {
        let limite = io::Error::from_raw_os_error(27);
        let aviso = nuevo(Path::new("registro"), 1).no_se_pudo(&limite);
        assert!(aviso.contains("suba su límite (LimitFSIZE"), "{aviso}");
    }

    #[test]
    fn lo_que_no_se_pudo_escribir_se_cuenta_y_se_dice_cuando_se_puede() {
        let nombre = format!("servidor-hl7-diario-ocupado-{}", std::process::id());
        let carpeta = std::env::temp_dir().join(nombre);
        fs::write(&carpeta, "un archivo").unwrap();
        let mut diario = nuevo(&carpeta, 2);
        let aviso = diario.anotar(&lineas(&["a", "b"]), el_dia(1)).unwrap();
        assert!(
            aviso.starts_with("no se pudo escribir el registro en «"),
            "{aviso}"
        );
        assert_eq!(diario.anotar(&lineas(&["c"]), el_dia(1)), None);
        fs::remove_file(&carpeta).unwrap();
        let aviso = diario.anotar(&lineas(&["d"]), el_dia(1)).unwrap();
        assert!(aviso.ends_with("se omitieron 3 líneas"), "{aviso}");
        assert_eq!(diario.anotar(&lineas(&["e"]), el_dia(1)), None);
        assert_eq!(
            fs::read_to_string(carpeta.join("servidor_20260901.log")).unwrap(),
            format!(
                "2026-09-01 23:59:59.000 AVISO {aviso}\n{}{}",
                escrito("d"),
                escrito("e")
            )
        );
        fs::remove_dir_all(carpeta).unwrap();
    }
}
