//! Un millón de mensajes y cien mil conexiones en una sola marcha. No corre con las demás:
//! `cargo test --release resistencia -- --ignored --nocapture`.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::memoria::{estado, residente_kib};
use crate::servidor_de_prueba::{Servidor, esperar, rutas};

/// Lo que pasa de esto es crecimiento.
const CRECIMIENTO_KIB: usize = 2048;
/// Ninguna marcha dura más.
const PLAZO: Duration = Duration::from_mins(40);
/// Mensajes que un equipo envía antes de leer sus acuses.
const TANDA: usize = 50;
const EQUIPOS: usize = 8;

#[test]
#[ignore = "dura minutos y escribe gigabytes: cargo test --release resistencia -- --ignored --nocapture"]
fn un_millon_de_mensajes_y_cien_mil_conexiones_no_hacen_crecer_nada() {
    marchar("Sincronizar = no", 1_000_000, 100_000);
}

#[test]
#[ignore = "dura minutos: cargo test --release resistencia -- --ignored --nocapture"]
fn cien_mil_mensajes_sincronizados_y_diez_mil_conexiones_no_hacen_crecer_nada() {
    marchar("Sincronizar = si", 100_000, 10_000);
}

/// Memoria en KiB, descriptores e hilos del servidor.
#[derive(Debug, Clone, Copy)]
struct Consumo {
    residente_kib: usize,
    descriptores: usize,
    hilos: usize,
}

fn consumo(servidor: &Servidor) -> Consumo {
    let descriptores = fs::read_dir(format!("/proc/{}/fd", servidor.pid())).unwrap();
    Consumo {
        residente_kib: residente_kib(servidor),
        descriptores: descriptores.count(),
        hilos: estado(servidor, "Threads:"),
    }
}

fn marchar(clave: &str, mensajes: usize, conexiones: usize) {
    let servidor = Servidor::con(clave);
    let comienzo = Instant::now();
    let (acusados, abiertas) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let recogidos = AtomicUsize::new(0);
    let acabado = AtomicBool::new(false);
    let seguir = || {
        assert!(comienzo.elapsed() < PLAZO, "la marcha no acaba");
        !acabado.load(Ordering::Relaxed)
    };
    let (primero, ultimo) = thread::scope(|hilos| {
        for _ in 0..EQUIPOS {
            hilos.spawn(|| {
                let mut equipo = servidor.conectar();
                while seguir() && acusados.fetch_add(TANDA, Ordering::Relaxed) < mensajes {
                    entregar_tanda(&mut equipo);
                }
            });
        }
        // Las conexiones: abrir, entregar en una de cada diez, cerrar.
        hilos.spawn(|| {
            while seguir() && abiertas.load(Ordering::Relaxed) < conexiones {
                let mut equipo = servidor.conectar();
                if abiertas.fetch_add(1, Ordering::Relaxed) % 10 == 0 {
                    equipo.entregar("SUELTO");
                }
            }
        });
        // El programa que recoge los resultados, sin el cual el disco se llenaría.
        hilos.spawn(|| {
            while seguir() {
                recoger(&servidor, &recogidos);
            }
        });
        let mut medidas = Vec::new();
        let hechos = || {
            let por_mensajes = acusados.load(Ordering::Relaxed) * 10 / mensajes;
            let por_conexiones = abiertas.load(Ordering::Relaxed) * 10 / conexiones;
            por_mensajes.min(por_conexiones)
        };
        while medidas.len() < 10 {
            if hechos() > medidas.len() {
                medidas.push(consumo(&servidor));
                let decima = medidas.len();
                eprintln!(
                    "{decima}/10 a los {:?}: {:?}",
                    comienzo.elapsed(),
                    medidas[decima - 1]
                );
            }
            assert!(comienzo.elapsed() < PLAZO, "la marcha no acaba");
            thread::sleep(Duration::from_millis(20));
        }
        acabado.store(true, Ordering::Relaxed);
        (medidas[0], medidas[9])
    });
    let total = mensajes.next_multiple_of(TANDA) + conexiones.div_ceil(10);
    esperar("que se recoja lo acusado", || {
        recoger(&servidor, &recogidos);
        (recogidos.load(Ordering::Relaxed) >= total).then_some(())
    });
    let en_reposo = esperar("el cierre de las conexiones", || {
        Some(consumo(&servidor)).filter(|consumo| consumo.hilos <= 4)
    });
    eprintln!(
        "{} mensajes y {} conexiones en {:?} ({clave}); en reposo: {en_reposo:?}",
        recogidos.load(Ordering::Relaxed),
        abiertas.load(Ordering::Relaxed) + EQUIPOS,
        comienzo.elapsed()
    );
    assert!(ultimo.residente_kib < primero.residente_kib + CRECIMIENTO_KIB);
    // Las conexiones abiertas en cada medida son las mismas, salvo las que se están cerrando.
    assert!(ultimo.descriptores < primero.descriptores + 64);
    assert!(ultimo.hilos < primero.hilos + 32);
}

fn entregar_tanda(equipo: &mut Analizador) {
    equipo.enviar(&enmarcar(&mensaje("TANDA")).repeat(TANDA));
    for _ in 0..TANDA {
        equipo.esperar_aa("TANDA");
    }
}

fn recoger(servidor: &Servidor, recogidos: &AtomicUsize) {
    for ruta in rutas(&servidor.mensajes(), "res") {
        let bytes = fs::read(&ruta).unwrap();
        assert!(bytes == mensaje("TANDA") || bytes == mensaje("SUELTO"));
        fs::remove_file(&ruta).unwrap();
        recogidos.fetch_add(1, Ordering::Relaxed);
    }
}
