use std::time::{Duration, Instant};

use servidor_hl7::apagado;

#[cfg(unix)]
use crate::analizador_simulado::mensaje;
#[cfg(unix)]
use crate::servidor_de_prueba::{Servidor, orden};

#[cfg(unix)]
#[test]
fn ctrl_c_y_sigterm_acaban_con_cero_en_menos_de_un_segundo_con_conexiones_abiertas() {
    for senal in ["INT", "TERM"] {
        let mut servidor = Servidor::arrancar();
        let mut ocioso = servidor.conectar();
        ocioso.entregar("1");
        let mut a_medias = servidor.conectar();
        a_medias.enviar(&[b"\x0B".to_vec(), mensaje("2")].concat());
        let comienzo = Instant::now();
        servidor.senal(senal);
        assert!(servidor.esperar_fin().success());
        assert!(
            comienzo.elapsed() < Duration::from_secs(1),
            "tardó {:?}",
            comienzo.elapsed()
        );
        servidor.esperar_linea("Recibida Señal de Detención. Deteniendo el Servidor...");
        servidor.esperar_linea("Servidor detenido: mensajes guardados: 1 ");
        assert_eq!(servidor.archivos(), [mensaje("1")]);
    }
}

#[cfg(unix)]
#[test]
fn el_puerto_queda_libre_al_instante_tras_parar_y_tras_una_caida() {
    let mut servidor = Servidor::arrancar();
    let puerto = servidor.puerto;
    for vuelta in 0..4 {
        // Quien cierra primero deja el puerto en TIME_WAIT: que sea el servidor.
        let mut equipo = servidor.conectar();
        equipo.entregar("1");
        if vuelta % 2 == 0 {
            servidor.interrumpir();
            servidor.esperar_fin();
        } else {
            servidor.matar();
        }
        let carpeta = servidor.carpeta.clone();
        let ini = format!("[Servidor]\nPuerto = {puerto}\nDirectorio = mensajes\n");
        std::fs::create_dir_all(&carpeta).unwrap();
        std::fs::write(carpeta.join("Config.ini"), ini).unwrap();
        let orden = orden(&carpeta);
        servidor = Servidor::lanzar(carpeta, orden);
        assert_eq!(servidor.puerto, puerto);
    }
}

/// La cuenta es del proceso: ninguna otra prueba de este ejecutable la usa.
#[test]
fn la_parada_espera_a_los_mensajes_en_curso_y_no_deja_comenzar_otros() {
    let en_curso = apagado::comenzar().unwrap();
    assert!(!apagado::manejar_interrupcion(), "es la primera vez");
    assert!(apagado::manejar_interrupcion(), "es la segunda vez");
    assert!(apagado::comenzar().is_none());
    assert_eq!(apagado::esperar(Duration::from_millis(50)), 1);
    let hilo = std::thread::spawn(|| apagado::esperar(Duration::from_secs(20)));
    drop(en_curso);
    assert_eq!(hilo.join().unwrap(), 0);
}
