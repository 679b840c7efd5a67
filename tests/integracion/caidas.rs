//! Muertes súbitas en serie, en momentos al azar y bajo carga. Un proceso muerto no pierde la
//! caché del sistema, así que esto no sustituye a `llamadas`, que mira las sincronizaciones.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::analizador_simulado::{Analizador, mensaje_de};
use crate::fallos::{Enviado, SinAa, comprobar_promesa, rescatar_parciales};
use crate::servidor_de_prueba::{Servidor, esperar, rutas};

const MUERTES: usize = 200;
const EQUIPOS: usize = 8;

#[test]
fn doscientas_muertes_subitas_bajo_carga_no_pierden_ni_parten_ni_repiten_nada() {
    let mut servidor = Servidor::arrancar();
    let mut azar = Azar::nuevo();
    let mut enviados = Vec::new();
    for muerte in 0..MUERTES {
        let equipos: Vec<_> = (0..EQUIPOS).map(|_| servidor.conectar()).collect();
        let acusados = AtomicUsize::new(0);
        let tandas = thread::scope(|hilos| {
            let hilos: Vec<_> = equipos
                .into_iter()
                .enumerate()
                .map(|(numero, equipo)| {
                    let acusados = &acusados;
                    hilos.spawn(move || {
                        let en_vuelo = if numero % 2 == 0 { 1 } else { 20 };
                        let quien = format!("M{muerte}E{numero}");
                        enviar_hasta_la_muerte(equipo, &quien, en_vuelo, acusados)
                    })
                })
                .collect();
            let bastantes = azar.menor_que(60);
            esperar("los acuses de antes de la muerte", || {
                (acusados.load(Ordering::Relaxed) >= bastantes).then_some(())
            });
            // El momento es lo que se prueba; ninguna comprobación depende de él.
            thread::sleep(Duration::from_micros(azar.menor_que(3000) as u64));
            servidor.matar();
            let tandas: Vec<_> = hilos.into_iter().map(|hilo| hilo.join().unwrap()).collect();
            tandas
        });
        enviados.extend(tandas.into_iter().flatten());
        servidor.reiniciar();
    }
    assert!(enviados.len() > MUERTES * EQUIPOS, "apenas hubo carga");
    comprobar_promesa(&servidor.archivos(), &enviados, SinAa::PuedeEstar);

    let parciales = rutas(&servidor.mensajes(), "parcial");
    rescatar_parciales(&servidor.mensajes());
    let rescatados = servidor.apartados("parcial");
    assert!(
        !rescatados.is_empty(),
        "ninguna muerte llegó a mitad de un mensaje"
    );
    // Si la máquina va despacio, un servidor que pasó del minuto ya rescató alguno.
    assert!(rescatados.len() >= parciales.len());
    let enviados: HashSet<_> = enviados
        .iter()
        .map(|enviado| &enviado.mensaje[..])
        .collect();
    for rescatado in &rescatados {
        let es_comienzo = |mensaje: &&[u8]| mensaje.starts_with(rescatado);
        assert!(enviados.iter().any(es_comienzo), "un parcial ajeno");
    }
    assert!(rutas(&servidor.mensajes(), "parcial").is_empty());
    servidor.conectar().entregar("DESPUES");
    eprintln!(
        "{MUERTES} muertes, {} mensajes enviados, {} archivos, {} parciales rescatados",
        enviados.len(),
        rutas(&servidor.mensajes(), "res").len(),
        parciales.len()
    );
    fs::remove_dir_all(servidor.mensajes()).unwrap();
}

/// Envía mensajes cortos y, a veces, largos, hasta que el servidor muere: de uno en uno, o de veinte en
/// veinte sin esperar el acuse de cada uno.
fn enviar_hasta_la_muerte(
    mut equipo: Analizador,
    quien: &str,
    en_vuelo: usize,
    acusados: &AtomicUsize,
) -> Vec<Enviado> {
    let mut enviados = Vec::new();
    loop {
        let primero = enviados.len();
        for numero in primero..primero + en_vuelo {
            let bytes = match numero % 20 {
                7 => 300_000,
                3 | 11 | 15 => 30_000,
                _ => 0,
            };
            let mensaje = mensaje_de(&format!("{quien}N{numero}"), bytes);
            equipo.enviar_mensaje(&mensaje);
            enviados.push(Enviado {
                mensaje,
                codigo: None,
            });
        }
        for enviado in &mut enviados[primero..] {
            enviado.codigo = equipo.si_acusa().map(|acuse| acuse.codigo);
            if enviado.codigo.is_none() {
                return enviados;
            }
            acusados.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Números cualesquiera; el generador de Lehmer basta para elegir momentos.
struct Azar(u64);

impl Azar {
    fn nuevo() -> Azar {
        let ahora = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Azar(u64::from(ahora.subsec_nanos()) | 1)
    }

    fn menor_que(&mut self, tope: usize) -> usize {
        self.0 = self.0 * 48_271 % 2_147_483_647;
        usize::try_from(self.0).unwrap() % tope
    }
}
