use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use servidor_hl7::recepcion::parada::Parada;

use crate::analizador_simulado::{Analizador, mensaje};
use crate::servidor_de_prueba::{
    Servidor, carpeta_nueva, con_consola_propia, esperar, interrumpir, orden,
};

/// Cómo se le puede pedir desde fuera que pare.
#[cfg(unix)]
const PARADAS: [fn(&Servidor); 2] = [Servidor::interrumpir, |servidor| servidor.senal("TERM")];
#[cfg(windows)]
const PARADAS: [fn(&Servidor); 1] = [Servidor::interrumpir];

/// Un servidor al que se le puede pedir la parada.
fn arrancar(carpeta: PathBuf, puerto: u16) -> Servidor {
    let ini = format!("[Servidor]\nPuerto = {puerto}\nDirectorio = mensajes\n");
    fs::write(carpeta.join("Config.ini"), ini).unwrap();
    let mut orden = orden(&carpeta);
    con_consola_propia(&mut orden);
    Servidor::lanzar(carpeta, orden)
}

#[test]
fn ctrl_c_y_sigterm_acaban_con_cero_en_menos_de_un_segundo_con_conexiones_abiertas() {
    for parar in PARADAS {
        let mut servidor = arrancar(carpeta_nueva(), 0);
        let mut ocioso = servidor.conectar();
        ocioso.entregar("1");
        let mut a_medias = servidor.conectar();
        a_medias.enviar(&[b"\x0B".to_vec(), mensaje("2")].concat());
        let comienzo = Instant::now();
        parar(&servidor);
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

/// Como una ventana de Windows en la que alguien selecciona texto.
#[test]
fn ctrl_c_acaba_aunque_la_consola_no_lea() {
    let carpeta = carpeta_nueva();
    let ini = "[Servidor]\nPuerto = 0\nDirectorio = mensajes\nSincronizar = no\n";
    fs::write(carpeta.join("Config.ini"), ini).unwrap();
    let mut orden = orden(&carpeta);
    con_consola_propia(&mut orden);
    let mut proceso = orden.stdout(Stdio::piped()).spawn().unwrap();
    let mut consola = BufReader::with_capacity(64, proceso.stdout.take().unwrap()).lines();
    let puerto = consola
        .find_map(|linea| {
            let linea = linea.unwrap();
            let (_, puerto) = linea.rsplit_once("Escuchando el Puerto ")?;
            Some(puerto.parse().unwrap())
        })
        .unwrap();
    // Con esto la tubería está llena, y el hilo del registro, parado escribiendo.
    let mut equipo = Analizador::conectar(puerto);
    for numero in 0..1000 {
        equipo.entregar(&numero.to_string());
    }
    let comienzo = Instant::now();
    interrumpir(proceso.id());
    let fin = esperar("el fin del proceso", || proceso.try_wait().unwrap());
    assert!(fin.success(), "{fin}");
    let tardo = comienzo.elapsed();
    assert!(tardo < Duration::from_secs(3), "tardó {tardo:?}");
    drop(consola);
    let _ = fs::remove_dir_all(carpeta);
}

#[test]
fn el_puerto_queda_libre_al_instante_tras_parar_y_tras_una_caida() {
    let mut servidor = arrancar(carpeta_nueva(), 0);
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
        fs::create_dir_all(&carpeta).unwrap();
        servidor = arrancar(carpeta, puerto);
        assert_eq!(servidor.puerto, puerto);
    }
}

#[test]
fn la_parada_espera_a_los_mensajes_en_curso_y_no_deja_comenzar_otros() {
    static BANDERA: AtomicBool = AtomicBool::new(false);
    let parada = Parada::new(&BANDERA);
    let en_curso = [parada.comenzar().unwrap(), parada.comenzar().unwrap()];
    assert!(!parada.manejar_interrupcion(), "es la primera vez");
    assert!(parada.manejar_interrupcion(), "es la segunda vez");
    assert!(parada.comenzar().is_none());
    assert_eq!(parada.esperar(Duration::from_millis(50)), 2);
    thread::scope(|hilos| {
        let hilo = hilos.spawn(|| parada.esperar(Duration::from_secs(20)));
        drop(en_curso);
        assert_eq!(hilo.join().unwrap(), 0);
    });
}
