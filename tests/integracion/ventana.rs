use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::analizador_simulado::mensaje_de;
use crate::archivos_de_windows::abrir_sin_compartir_borrado;
use crate::servidor_de_prueba::{
    PLAZO, Servidor, ayudante, carpeta_nueva, empezar, esperar_fin, rutas,
};

/// Lo que dice un programa que no puede arrancar, abierto por otro que se llama así; al acabar, o
/// al cabo de un rato si espera a que se pulse Intro, que entonces se pulsa.
fn abrir_desde(nombre: &str) -> (String, bool) {
    let carpeta = carpeta_nueva();
    let lanzador = carpeta.join(nombre);
    fs::copy(ayudante(), &lanzador).unwrap();
    fs::write(carpeta.join("Config.ini"), "[Servidor]\n").unwrap();
    let mut proceso = empezar(
        Command::new(lanzador)
            .args(["lanzar", env!("CARGO_BIN_EXE_servidor-hl7")])
            .current_dir(&carpeta)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped()),
    );
    let mut teclado = proceso.stdin.take().unwrap();
    let mut consola = BufReader::new(proceso.stderr.take().unwrap());
    let mut dicho = String::new();
    while !dicho.contains("Puerto") {
        assert!(consola.read_line(&mut dicho).unwrap() > 0, "{dicho}");
    }
    let (aviso, fin) = channel();
    let lectura = thread::spawn(move || {
        consola.read_to_string(&mut dicho).unwrap();
        aviso.send(()).unwrap();
        dicho
    });
    // Si no esperara, acabaría en unos milisegundos.
    let espera = fin.recv_timeout(Duration::from_millis(500)).is_err();
    if espera {
        teclado.write_all(b"\r\n").unwrap();
        fin.recv_timeout(PLAZO).unwrap();
    }
    esperar_fin(&mut proceso);
    let dicho = lectura.join().unwrap();
    fs::remove_dir_all(carpeta).unwrap();
    (dicho, espera)
}

#[test]
fn un_error_al_arrancar_con_doble_clic_deja_la_ventana_abierta_hasta_intro() {
    let (dicho, espera) = abrir_desde("explorer.exe");
    assert!(dicho.contains("falta la clave Puerto"), "{dicho}");
    assert!(dicho.contains("Pulse Intro"), "{dicho}");
    assert!(espera);
}

#[test]
fn un_error_al_arrancar_desde_una_consola_o_un_servicio_no_espera() {
    for nombre in ["cmd.exe", "svchost.exe"] {
        let (dicho, espera) = abrir_desde(nombre);
        assert!(dicho.contains("falta la clave Puerto"), "{dicho}");
        assert!(!dicho.contains("Intro"), "{dicho}");
        assert!(!espera);
    }
}

/// Cerrar la ventana con la X, cerrar la sesión, apagar.
const CIERRES: [&str; 3] = ["2", "5", "6"];

#[test]
fn cerrar_la_ventana_la_sesion_o_windows_termina_lo_que_esta_en_curso() {
    for cierre in CIERRES {
        let mut servidor = Servidor::arrancar();
        let mut equipo = servidor.conectar();
        // Mientras alguien retiene su parcial, el mensaje está en curso.
        let (id, parcial) = (0..)
            .find_map(|numero| {
                let id = numero.to_string();
                equipo.enviar_mensaje(&mensaje_de(&id, 4_000_000));
                let retenido = retener_parcial(&servidor, numero);
                if retenido.is_none() {
                    equipo.esperar_aa(&id);
                }
                Some((id, retenido?))
            })
            .unwrap();
        let mut windows =
            empezar(Command::new(ayudante()).args(["cerrar", &servidor.pid().to_string(), cierre]));
        servidor.esperar_linea("Recibida Señal de Detención. Deteniendo el Servidor...");
        drop(parcial);
        equipo.esperar_aa(&id);
        assert!(
            esperar_fin(&mut windows).success(),
            "{cierre}: hubo que matarlo"
        );
        assert!(servidor.esperar_fin().success());
        servidor.esperar_linea("Servidor detenido: mensajes guardados: ");
    }
}

/// El parcial de un mensaje que se está guardando; `None` si ya está guardado.
fn retener_parcial(servidor: &Servidor, guardados: usize) -> Option<File> {
    loop {
        for parcial in rutas(&servidor.mensajes(), "parcial") {
            if let Ok(archivo) = abrir_sin_compartir_borrado(&parcial) {
                return Some(archivo);
            }
        }
        if rutas(&servidor.mensajes(), "res").len() > guardados {
            return None;
        }
    }
}
