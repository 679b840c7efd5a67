use std::fs::{self, File, OpenOptions};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf, Prefix};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use servidor_hl7::almacen::{Almacen, generar_nombre_archivo};
use servidor_hl7::configuracion::Configuracion;

use crate::analizador_simulado::mensaje;
use crate::servidor_de_prueba::{
    Servidor, carpeta_nueva, contenidos, ejecutar, escribir_ini, esperar, orden,
};

#[test]
fn directorio_admite_las_dos_barras_acentos_y_mas_de_260_letras() {
    let base = std::path::absolute(carpeta_nueva()).unwrap();
    let larga = format!("análisis {}", "ñ".repeat(80));
    let nativa = base.to_str().unwrap().replace('/', "\\");
    for (caso, directorio) in [
        format!(r"{nativa}\atrás\año"),
        nativa.replace('\\', "/") + "/adelante/año",
        format!(r"{nativa}/de\las/dos"),
        format!(r"\\?\{nativa}\tal/cual"),
        format!(r"{nativa}\{larga}\{larga}\{larga}"),
    ]
    .into_iter()
    .enumerate()
    {
        let servidor = Servidor::con(&format!("Directorio = {directorio}"));
        servidor.conectar().entregar(&caso.to_string());
        let carpeta = PathBuf::from(directorio.replace('/', "\\"));
        assert_eq!(
            contenidos(&carpeta, "res"),
            [mensaje(&caso.to_string())],
            "{directorio}"
        );
    }
    fs::remove_dir_all(base).unwrap();
}

/// No hay aquí una carpeta de red: lo que se prueba es que Windows recibirá la ruta tal cual.
#[test]
fn directorio_puede_ser_una_carpeta_de_red() {
    let carpeta = carpeta_nueva();
    let ini = carpeta.join("Config.ini");
    for directorio in [
        r"\\servidor\lab\resultados",
        "//servidor/lab/resultados",
        r"\\servidor\lab/resultados\",
    ] {
        let texto = format!("[Servidor]\nPuerto = 0\nDirectorio = {directorio}\n");
        fs::write(&ini, texto).unwrap();
        let leida = Configuracion::leer(&ini).unwrap().directorio;
        assert_eq!(leida, Path::new(r"\\servidor\lab\resultados"));
        let Some(Component::Prefix(prefijo)) = leida.components().next() else {
            panic!("{leida:?} no empieza por un prefijo");
        };
        assert!(matches!(prefijo.kind(), Prefix::UNC(..)), "{prefijo:?}");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

/// Al encender el PC, una copia de seguridad o un antivirus puede tenerlo un momento.
#[test]
fn un_config_ini_que_otro_programa_retiene_acaba_con_uno_y_se_dice() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "");
    let ini = carpeta.join("Config.ini");
    let mut abrir = OpenOptions::new();
    let retenido = abrir.read(true).share_mode(0).open(ini).unwrap();
    let salida = ejecutar(&mut orden(&carpeta));
    let dicho = String::from_utf8(salida.stderr).unwrap();
    assert_eq!(salida.status.code(), Some(1), "{dicho}");
    let causa = "Config.ini»: otro programa lo tiene abierto";
    assert!(dicho.contains(causa), "{dicho}");
    drop(retenido);
    fs::remove_dir_all(carpeta).unwrap();
}

/// Un almacén en el que un antivirus retiene cada parcial en cuanto aparece.
struct Retencion {
    carpeta: PathBuf,
    almacen: Almacen,
    hora: NaiveDateTime,
}

impl Retencion {
    fn nueva() -> Retencion {
        let carpeta = carpeta_nueva();
        Retencion {
            almacen: Almacen::abrir(carpeta.clone(), true).unwrap(),
            carpeta,
            hora: NaiveDate::from_ymd_opt(2026, 9, 12)
                .unwrap()
                .and_hms_opt(9, 45, 1)
                .unwrap(),
        }
    }

    /// Guarda un mensaje; mientras, `durante` tiene el parcial retenido, el nombre que tendrá y si el
    /// almacén ya acabó. Devuelve lo que dijo el almacén y cuánto tardó.
    fn guardar(
        &mut self,
        durante: impl Fn(File, &Path, &AtomicBool) + Sync,
    ) -> (Result<String, String>, Duration) {
        let mensaje = vec![b'x'; 4_000_000];
        // Si se publica antes de que nadie lo abra, se vuelve a intentar con otro.
        loop {
            self.hora += TimeDelta::seconds(1);
            let nombre = generar_nombre_archivo(self.hora, 0);
            let parcial = self.carpeta.join(format!(".{nombre}.parcial"));
            let definitivo = self.carpeta.join(format!("{nombre}.res"));
            let acabado = AtomicBool::new(false);
            let comienzo = Instant::now();
            let (guardado, retenido) = thread::scope(|hilos| {
                let antivirus = hilos.spawn(|| {
                    while !acabado.load(Ordering::Relaxed) {
                        if let Ok(archivo) = abrir_sin_compartir_borrado(&parcial) {
                            durante(archivo, &definitivo, &acabado);
                            return true;
                        }
                    }
                    false
                });
                let guardado = self.almacen.guardar(None, &mensaje, self.hora);
                acabado.store(true, Ordering::Relaxed);
                (guardado, antivirus.join().unwrap())
            });
            if retenido {
                return (
                    guardado.map_err(|error| error.to_string()),
                    comienzo.elapsed(),
                );
            }
        }
    }
}

impl Drop for Retencion {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.carpeta);
    }
}

pub(crate) fn abrir_sin_compartir_borrado(ruta: &Path) -> std::io::Result<File> {
    const FILE_SHARE_READ_Y_WRITE: u32 = 3;
    OpenOptions::new()
        .read(true)
        .share_mode(FILE_SHARE_READ_Y_WRITE)
        .open(ruta)
}

#[test]
fn un_archivo_que_un_antivirus_retiene_un_instante_se_guarda() {
    const INSTANTE: Duration = Duration::from_millis(300);
    let mut retencion = Retencion::nueva();
    let (guardado, tiempo) = retencion.guardar(|archivo, _, _| {
        thread::sleep(INSTANTE);
        drop(archivo);
    });
    guardado.unwrap();
    assert!(tiempo >= INSTANTE, "nadie lo retuvo: {tiempo:?}");
}

#[test]
fn un_archivo_retenido_mas_de_dos_segundos_es_un_fallo() {
    let mut retencion = Retencion::nueva();
    let (guardado, tiempo) = retencion.guardar(|archivo, definitivo, acabado| {
        // Si insistiera sin fin, acabaría cuando ya nadie lo retuviera.
        esperar("que el almacén desista", || {
            acabado.load(Ordering::Relaxed).then_some(())
        });
        assert!(!definitivo.exists());
        drop(archivo);
    });
    let error = guardado.unwrap_err();
    assert!(
        error.contains("otro programa lo tiene abierto") || error.contains("no hay permiso"),
        "{error}"
    );
    assert!(tiempo > Duration::from_secs(1), "{tiempo:?}");
}

#[test]
fn quien_toma_el_nombre_mientras_se_insiste_no_es_reemplazado() {
    let mut retencion = Retencion::nueva();
    let (guardado, _) = retencion.guardar(|archivo, definitivo, _| {
        // Para entonces ya se miró que el nombre estaba libre.
        thread::sleep(Duration::from_millis(500));
        fs::write(definitivo, "de otro").unwrap();
        drop(archivo);
    });
    assert!(guardado.unwrap().ends_with("_0001.res"));
    assert!(contenidos(&retencion.carpeta, "res").contains(&b"de otro".to_vec()));
}
