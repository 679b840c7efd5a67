//! El sitio donde se guarda deja de servir y vuelve: disco lleno, protegido, carpeta que otro
//! se lleva. Mientras, AE; después, servicio, sin reiniciar nada.
//!
//! El disco pequeño es un tmpfs montado en un espacio de nombres propio del servidor: no hace
//! falta desmontarlo, y se mira a través de `/proc/PID/root`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use crate::analizador_simulado::{mensaje, mensaje_de};
use crate::fallos::{Enviado, SinAa, comprobar_promesa};
use crate::rastreo::omitir;
use crate::servidor_de_prueba::{Servidor, con_exito, contenidos, ejecutar, esperar, orden, rutas};

/// Cómo se abre aquí un espacio de nombres con montajes propios; si no se puede, queda dicho.
fn espacio_de_montajes() -> Option<&'static [&'static str]> {
    static HAY: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *HAY.get_or_init(|| {
        // Como root, o como quien puede hacerse root en un espacio de usuarios suyo.
        let formas: [&[&str]; 2] = [&["-m"], &["-U", "-r", "-m"]];
        let hallada = formas.into_iter().find(|forma| {
            let mut prueba = Command::new("sh");
            prueba
                .args(["-c", "exec unshare \"$@\"", "sh"])
                .args(*forma)
                .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
            ejecutar(&mut prueba).status.success()
        });
        if hallada.is_none() {
            omitir("hace falta permiso para montar un tmpfs (unshare y mount)");
        }
        hallada
    })
}

/// Un servidor cuyo `Directorio` es un disco de ese tamaño, y la ruta de este vista desde aquí.
fn en_un_disco_de(tamano: &str, espacio: &[&str]) -> (Servidor, PathBuf) {
    let montar = "mkdir mensajes && mount -t tmpfs -o size=\"$0\" tmpfs mensajes && exec \"$1\"";
    let servidor = Servidor::con_orden("", |carpeta| {
        let mut orden_con_disco = Command::new("unshare");
        orden_con_disco
            .current_dir(carpeta)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .args(espacio)
            .args(["sh", "-c", montar, tamano])
            .arg(orden(carpeta).get_program());
        orden_con_disco
    });
    let disco = PathBuf::from(format!(
        "/proc/{}/root{}",
        servidor.pid(),
        servidor.mensajes().display()
    ));
    (servidor, disco)
}

/// Monta o desmonta la carpeta de los mensajes donde ese servidor la ve.
fn en_su_espacio(servidor: &Servidor, espacio: &[&str], que: &str, opciones: &[&str]) {
    let mut orden = Command::new("nsenter");
    orden.args(["-t", &servidor.pid().to_string(), "-m"]);
    if espacio.contains(&"-U") {
        orden.args(["-U", "--preserve-credentials"]);
    }
    orden.arg(que).args(opciones).arg(servidor.mensajes());
    con_exito(&mut orden);
}

/// Cuántos mensajes llevan cada código.
#[derive(Default)]
struct Marcador {
    aceptados: AtomicUsize,
    fallidos: AtomicUsize,
    basta: AtomicBool,
}

/// Espera a que `contador` crezca en `cuantos`.
fn esperar_mas(que: &str, contador: &AtomicUsize, cuantos: usize) {
    let meta = contador.load(Ordering::Relaxed) + cuantos;
    esperar(que, || {
        (contador.load(Ordering::Relaxed) >= meta).then_some(())
    });
}

/// Cuatro equipos envían mensajes de ese tamaño mientras ocurre `mientras`; devuelve lo enviado.
fn bajo_carga(servidor: &Servidor, bytes: usize, mientras: impl FnOnce(&Marcador)) -> Vec<Enviado> {
    let marcador = Marcador::default();
    let enviados = Mutex::new(Vec::new());
    thread::scope(|hilos| {
        for numero in 0..4 {
            let (marcador, enviados) = (&marcador, &enviados);
            let mut equipo = servidor.conectar();
            hilos.spawn(move || {
                for vuelta in 0.. {
                    if marcador.basta.load(Ordering::Relaxed) {
                        break;
                    }
                    let mensaje = mensaje_de(&format!("E{numero}N{vuelta}"), bytes);
                    equipo.enviar_mensaje(&mensaje);
                    let acuse = equipo.acuse();
                    match acuse.codigo.as_str() {
                        "AA" => &marcador.aceptados,
                        _ => &marcador.fallidos,
                    }
                    .fetch_add(1, Ordering::Relaxed);
                    enviados.lock().unwrap().push(Enviado {
                        mensaje,
                        codigo: Some(acuse.codigo),
                    });
                }
            });
        }
        // Si algo falla aquí, los equipos también deben acabar.
        let resultado = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            mientras(&marcador);
        }));
        marcador.basta.store(true, Ordering::Relaxed);
        if let Err(panico) = resultado {
            std::panic::resume_unwind(panico);
        }
    });
    enviados.into_inner().unwrap()
}

#[test]
fn con_el_disco_lleno_se_contesta_ae_y_al_vaciarlo_se_sigue_sin_reiniciar() {
    let Some(espacio) = espacio_de_montajes() else {
        return;
    };
    let (servidor, disco) = en_un_disco_de("4m", espacio);
    let lastre = |numero: usize| disco.join(format!("lastre{numero}"));
    (0..3).for_each(|numero| fs::write(lastre(numero), vec![0; 1024 * 1024]).unwrap());
    let enviados = bajo_carga(&servidor, 20_000, |marcador| {
        for numero in 0..3 {
            esperar_mas("el disco lleno", &marcador.fallidos, 30);
            fs::remove_file(lastre(numero)).unwrap();
            esperar_mas("el servicio tras vaciarlo", &marcador.aceptados, 20);
        }
        esperar_mas("el disco lleno otra vez", &marcador.fallidos, 30);
    });
    servidor.esperar_linea("el disco está lleno; libere espacio");
    comprobar_promesa(&contenidos(&disco, "res"), &enviados, SinAa::NoEsta);
    assert!(rutas(&disco, "parcial").is_empty());
}

#[test]
fn con_el_disco_protegido_se_contesta_ae_y_al_desprotegerlo_se_sigue() {
    let Some(espacio) = espacio_de_montajes() else {
        return;
    };
    let (servidor, disco) = en_un_disco_de("4m", espacio);
    let montar = |como: &str| {
        let opciones = ["-o", &format!("remount,{como}")];
        en_su_espacio(&servidor, espacio, "mount", &opciones);
    };
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    montar("ro");
    equipo.enviar_mensaje(&mensaje("2"));
    assert_eq!(equipo.acuse().codigo, "AE");
    servidor.esperar_linea("el disco está protegido contra escritura");
    montar("rw");
    equipo.entregar("3");
    assert_eq!(contenidos(&disco, "res"), [mensaje("1"), mensaje("3")]);
}

/// La unidad se suelta y queda a la vista la carpeta vacía en que estaba montada: se sigue guardando, pero
/// se dice.
#[test]
fn si_la_carpeta_aparece_en_otro_disco_se_avisa() {
    let Some(espacio) = espacio_de_montajes() else {
        return;
    };
    let (servidor, _) = en_un_disco_de("4m", espacio);
    servidor.conectar().entregar("1");
    en_su_espacio(&servidor, espacio, "umount", &["-l"]);
    servidor.esperar_linea("está ahora en otro disco; ¿se soltó la unidad");
    servidor.conectar().entregar("2");
}

/// Otro programa se lleva la carpeta, o pone un archivo en su lugar, mientras llegan mensajes.
#[test]
fn la_carpeta_que_otro_se_lleva_bajo_carga_no_pierde_ningun_aa() {
    let servidor = Servidor::arrancar();
    let mensajes = servidor.mensajes();
    let llevada = |numero: usize| servidor.carpeta.join(format!("llevada{numero}"));
    let enviados = bajo_carga(&servidor, 5_000, |marcador| {
        for numero in 0..30 {
            esperar_mas("mensajes guardados", &marcador.aceptados, 10);
            fs::rename(&mensajes, llevada(numero)).unwrap();
            if numero % 3 == 0 && fs::write(&mensajes, "un archivo").is_ok() {
                esperar_mas("AE con un archivo en su lugar", &marcador.fallidos, 5);
                fs::remove_file(&mensajes).unwrap();
            }
        }
        esperar_mas("mensajes guardados al final", &marcador.aceptados, 10);
    });
    let carpetas = (0..30).map(llevada).chain([mensajes.clone()]);
    let archivos: Vec<_> = carpetas
        .flat_map(|carpeta: PathBuf| contenidos(Path::new(&carpeta), "res"))
        .collect();
    comprobar_promesa(&archivos, &enviados, SinAa::NoEsta);
    assert!(rutas(&mensajes, "parcial").is_empty());
}
