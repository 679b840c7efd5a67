use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::servidor_de_prueba::{PLAZO, ayudante, carpeta_nueva};

/// Lo que dice un programa que no puede arrancar, abierto por otro que se llama así; al acabar, o
/// al cabo de un rato si espera a que se pulse Intro, que entonces se pulsa.
fn abrir_desde(nombre: &str) -> (String, bool) {
    let carpeta = carpeta_nueva();
    let lanzador = carpeta.join(nombre);
    fs::copy(ayudante(), &lanzador).unwrap();
    fs::write(carpeta.join("Config.ini"), "[Servidor]\n").unwrap();
    let mut proceso = Command::new(lanzador)
        .args(["lanzar", env!("CARGO_BIN_EXE_servidor-hl7")])
        .current_dir(&carpeta)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
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
    proceso.wait().unwrap();
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
