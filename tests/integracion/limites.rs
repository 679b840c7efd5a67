//! Lo que nadie puede acaparar: el tiempo de quien escribe, las plazas, la memoria y el disco.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use servidor_hl7::recepcion::parada::Parada;

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::servidor_de_prueba::Servidor;

/// Envía mensajes con un MSH-10 enorme, sin leer ningún acuse, hasta que el servidor deja de leer
/// porque no puede escribir.
fn ensordecer(servidor: &Servidor) -> Analizador {
    let mut sordo = servidor.conectar();
    let trama = enmarcar(&mensaje(&"x".repeat(20_000)));
    let espera = Some(Duration::from_secs(1));
    sordo.canal.set_write_timeout(espera).unwrap();
    loop {
        match sordo.canal.write_all(&trama) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return sordo;
            }
            Err(error) => panic!("el servidor no esperó: {error}"),
        }
    }
}

/// Cada byte que recoge no le da otros diez segundos.
#[test]
fn quien_recoge_sus_acuses_a_cuentagotas_se_cierra() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut sordo = ensordecer(&servidor);
    thread::scope(|hilos| {
        let cerrado = hilos.spawn(|| servidor.esperar_linea("Error en la Conexion"));
        while !cerrado.is_finished() {
            let _ = sordo.canal.read(&mut [0; 4096]);
            thread::sleep(Duration::from_millis(200));
        }
    });
}

#[test]
fn la_parada_no_espera_a_quien_no_recoge_su_acuse() {
    static BANDERA: AtomicBool = AtomicBool::new(false);
    let parada = Parada::new(&BANDERA);
    let mut sordo = parada.comenzar().unwrap();
    sordo.acusar();
    parada.manejar_interrupcion();
    let comienzo = Instant::now();
    assert_eq!(parada.esperar(Duration::from_mins(10)), 1);
    assert!(comienzo.elapsed() < Duration::from_mins(5));
    drop(sordo);
    assert_eq!(parada.esperar(Duration::ZERO), 0);
}
