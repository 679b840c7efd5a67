//! Lo que ocupa cada conexión: poco cuando calla, y lo que tomó un mensaje grande se devuelve.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};

use crate::analizador_simulado::{Analizador, enmarcar, mensaje, mensaje_de};
use crate::servidor_de_prueba::{Servidor, con_exito, esperar};

/// Memoria residente que el servidor ha pedido, en KiB. Las páginas de su ejecutable no cuentan: el sistema
/// las trae de 64 en 64 KiB la primera vez que se ejecuta algo. La de `status` es una cuenta aproximada.
pub(crate) fn residente_kib(servidor: &Servidor) -> usize {
    numero(servidor, "smaps_rollup", "Anonymous:")
}

/// Un número de `/proc/PID/status`.
pub(crate) fn estado(servidor: &Servidor, campo: &str) -> usize {
    numero(servidor, "status", campo)
}

fn numero(servidor: &Servidor, archivo: &str, campo: &str) -> usize {
    let estado = fs::read_to_string(format!("/proc/{}/{archivo}", servidor.pid())).unwrap();
    let linea = estado
        .lines()
        .find(|linea| linea.starts_with(campo))
        .unwrap();
    linea.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Lo que dice el README de una conexión que calla y, además de su mensaje, de la que recibe uno.
const OCIOSA_KIB: usize = 48;
const RECIBIENDO_KIB: usize = 256;

const MIB: usize = 1024 * 1024;

/// Equipos que ya han entregado un mensaje: lo que ocupan de por sí está ya ocupado.
fn ya_atendidos(servidor: &Servidor, cuantos: usize) -> Vec<Analizador> {
    let mut equipos: Vec<_> = (0..cuantos).map(|_| servidor.conectar()).collect();
    for equipo in &mut equipos {
        equipo.entregar("0");
    }
    equipos
}

#[test]
fn doscientas_conexiones_ociosas_ocupan_lo_que_dice_el_readme() {
    let servidor = Servidor::con("MaxConexiones = 300\nSincronizar = no");
    servidor.conectar().entregar("0");
    let antes = residente_kib(&servidor);
    let _ociosas: Vec<_> = (0..200)
        .map(|numero| {
            let mut equipo = servidor.conectar();
            equipo.entregar(&numero.to_string());
            equipo
        })
        .collect();
    let cada_una = (residente_kib(&servidor) - antes) / 200;
    eprintln!("{cada_una} KiB por conexión ociosa, sobre {antes} KiB");
    assert!(cada_una <= OCIOSA_KIB, "{cada_una} KiB por conexión");
}

/// Lo que ocupa de más sobre lo de `antes` cuando ha leído ya todo lo que se le envió, que es al menos
/// eso y ya no cambia.
fn ocupado_kib(servidor: &Servidor, antes: usize, enviado_kib: usize) -> usize {
    let mut anterior = 0;
    esperar("la memoria de lo que ha llegado", || {
        let ocupado = residente_kib(servidor).saturating_sub(antes);
        let ya_esta = ocupado == anterior && ocupado >= enviado_kib;
        anterior = ocupado;
        ya_esta.then_some(ocupado)
    })
}

/// Un búfer que se doblara ocuparía 32 MiB por 17, y 64 por 33.
#[test]
fn un_mensaje_que_llega_ocupa_lo_que_mide_a_cualquier_tamano() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipo = servidor.conectar();
    equipo.entregar("0");
    let antes = residente_kib(&servidor);
    let grande = [b"\x0B", &mensaje_de("G", 64 * MIB)[..]].concat();
    for kib in [
        300,
        1024,
        1025,
        5000,
        17 * 1024,
        33 * 1024,
        60 * 1024,
        65_433,
    ] {
        equipo.enviar(&grande[..kib * 1024]);
        let ocupado = ocupado_kib(&servidor, antes, kib);
        eprintln!("{ocupado} KiB por {kib}");
        assert!(ocupado <= kib + RECIBIENDO_KIB, "{ocupado} KiB por {kib}");
        equipo.enviar(b"\x1C\r");
        equipo.esperar_aa("G");
        // Para leer otro, la memoria de este se ha devuelto ya.
        equipo.entregar("0");
    }
    // De lo que pasa del límite no se guarda más que el comienzo.
    equipo.enviar(&grande);
    equipo.enviar(&grande);
    esperar("que se suelte lo que pasa del límite", || {
        (residente_kib(&servidor) <= antes + 2 * RECIBIENDO_KIB).then_some(())
    });
    equipo.enviar(b"\x1C\r");
    assert_eq!(equipo.acuse().codigo, "AR");
}

#[test]
fn varios_mensajes_que_llegan_a_la_vez_ocupan_la_suma() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipos = ya_atendidos(&servidor, 8);
    let antes = residente_kib(&servidor);
    let grande = [b"\x0B", &mensaje_de("G", 17 * MIB)[..]].concat();
    // Mezclados: lo que ocupa uno no puede crecer en el sitio de otro.
    for trozo in grande.chunks(100_000) {
        for equipo in &mut equipos {
            equipo.enviar(trozo);
        }
    }
    let suma = 8 * grande.len() / 1024;
    let ocupado = ocupado_kib(&servidor, antes, suma);
    eprintln!("{ocupado} KiB por {suma}");
    assert!(
        ocupado <= suma + 8 * RECIBIENDO_KIB,
        "{ocupado} KiB por {suma}"
    );
}

/// glibc cambia de costumbres cuando se suelta de golpe algo grande.
#[test]
fn lo_que_ocupo_un_mensaje_cortado_se_devuelve_y_los_siguientes_tambien() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipos = ya_atendidos(&servidor, 4);
    let antes = residente_kib(&servidor);
    for _ in 0..2 {
        let mut cortado = servidor.conectar();
        cortado.enviar(b"\x0B");
        cortado.enviar(&mensaje_de("C", 20 * MIB));
    }
    servidor.esperar_apartados("cortado", 2);
    for equipo in &mut equipos {
        equipo.enviar_mensaje(&mensaje_de("G", 10 * MIB));
        equipo.esperar_aa("G");
    }
    esperar("la memoria de lo que se cortó", || {
        (residente_kib(&servidor) < antes + 4096).then_some(())
    });
}

/// Al llegar al límite no queda memoria ni para lo más pequeño, y lo siguiente que se pida acaba con el
/// programa si el mensaje no la suelta antes. Dónde se agota depende del límite: se prueban varios.
#[test]
fn lo_que_no_cabe_en_la_memoria_recibe_ae_y_los_demas_siguen() {
    const GRANDES: usize = 4;
    let grande = enmarcar(&mensaje_de("G", 60 * MIB));
    let servidor = Servidor::con("Sincronizar = no");
    let mut bueno = servidor.conectar();
    let mut equipos = [(); GRANDES].map(|()| servidor.conectar());
    // glibc reserva 64 MiB de direcciones para cada uno de los primeros hilos: que los tenga ya.
    let mut primeros = [(); 40].map(|()| servidor.conectar());
    for equipo in equipos.iter_mut().chain(&mut primeros).chain([&mut bueno]) {
        equipo.entregar("0");
    }
    drop(primeros);
    for libres_mib in [0, 16, 32, 50, 64, 90] {
        limitar_memoria(&servidor, estado(&servidor, "VmSize:") + libres_mib * 1024);
        let acabados = AtomicUsize::new(0);
        let enviar_grande = |equipo: &mut Analizador| {
            equipo.enviar(&grande);
            let codigo = equipo.acuse().codigo;
            acabados.fetch_add(1, Ordering::Relaxed);
            codigo
        };
        let codigos = thread::scope(|hilos| {
            let enviados = equipos
                .each_mut()
                .map(|equipo| hilos.spawn(|| enviar_grande(equipo)));
            while acabados.load(Ordering::Relaxed) < GRANDES
                && !enviados.iter().all(ScopedJoinHandle::is_finished)
            {
                bueno.entregar("BUENO");
                // Quien llega puede no tener memoria ni para su hilo.
                let mut nuevo = servidor.conectar();
                nuevo.enviar_mensaje(&mensaje("NUEVO"));
                nuevo.si_acusa();
            }
            enviados.map(|enviado| enviado.join().unwrap())
        });
        eprintln!("con {libres_mib} MiB: {codigos:?}");
        assert!(codigos.contains(&"AE".to_owned()), "con {libres_mib} MiB");
        // La conexión sigue, y lo que cabe se guarda.
        for equipo in &mut equipos {
            equipo.entregar("DESPUES");
        }
    }
    limitar_memoria(&servidor, usize::MAX / 1024);
    equipos[0].enviar(&grande);
    equipos[0].esperar_aa("G");
}

/// Que el servidor no pueda tener más memoria que esa, cuente lo que cuente con usar.
fn limitar_memoria(servidor: &Servidor, kib: usize) {
    let (pid, limite) = (servidor.pid().to_string(), format!("--as={}:", kib * 1024));
    con_exito(Command::new("prlimit").args(["--pid", &pid, &limite]));
}

#[test]
fn lo_que_ocupo_un_mensaje_grande_se_devuelve_aunque_haya_empezado_otro() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipos = ya_atendidos(&servidor, 4);
    let antes = residente_kib(&servidor);
    let grande = enmarcar(&mensaje_de("G", 60_000_000));
    for (numero, equipo) in equipos.iter_mut().enumerate() {
        equipo.enviar(&grande);
        equipo.esperar_aa("G");
        // A los impares les sigue, en la misma lectura o no, el comienzo de otro mensaje.
        if numero % 2 == 1 {
            equipo.enviar(b"\x0BMSH|^~\\&|");
        }
    }
    esperar("la memoria de los mensajes grandes", || {
        (residente_kib(&servidor) < antes + 2048).then_some(())
    });
    // Y con el comienzo del otro en el mismo envío.
    for equipo in equipos.iter_mut().step_by(2) {
        equipo.enviar(&[&grande[..], b"\x0BMSH|^~\\&|"].concat());
        equipo.esperar_aa("G");
    }
    esperar(
        "la memoria de los mensajes grandes con otro empezado",
        || (residente_kib(&servidor) < antes + 2048).then_some(()),
    );
}

#[test]
fn muchos_mensajes_grandes_a_la_vez_ocupan_lo_que_miden() {
    let servidor = Servidor::con("Sincronizar = no\nMaxMensajeMiB = 8");
    servidor.conectar().entregar("0");
    let antes = residente_kib(&servidor);
    // Justo por debajo del límite, y por encima sin acabar nunca.
    let casi = [b"\x0B".to_vec(), mensaje_de("G", 8_000_000)].concat();
    let equipos: Vec<_> = (0..16)
        .map(|numero| {
            let mut equipo = servidor.conectar();
            equipo.enviar(&casi);
            if numero % 2 == 1 {
                equipo.enviar(&casi);
            }
            equipo
        })
        .collect();
    let ocupado = residente_kib(&servidor) - antes;
    assert!(ocupado <= 16 * (8 * 1024 + RECIBIENDO_KIB), "{ocupado} KiB");
    drop(equipos);
    // El asignador de memoria se guarda unos 128 KiB por cada hilo que hubo.
    esperar("la memoria de los que se fueron", || {
        (residente_kib(&servidor) < antes + 16 * 256).then_some(())
    });
}

/// Lo que se contesta copia campos del mensaje: sin tope, ocuparía varias veces lo que él.
#[test]
fn lo_que_se_contesta_a_una_cabecera_desmedida_no_ocupa_lo_que_ella() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipo = servidor.conectar();
    equipo.entregar("0");
    let antes = estado(&servidor, "VmRSS:");
    let desmedido = "x".repeat(30 * MIB);
    for mensaje in [
        format!("MSH|^~\\&|A|B|C|D|2026||ORU^R01|{desmedido}|P|2.5\r"),
        format!("MSH|^~\\&|{desmedido}|B|C|D|2026||ORU^R01|1|P|2.5\r"),
        format!("MSH|^~\\&|A|B|C|D|2026||QBP^Q11|1|P|2.5\rQPD|{desmedido}\r"),
    ] {
        equipo.enviar(&enmarcar(mensaje.as_bytes()));
        assert_eq!(equipo.acuse().codigo, "AA");
    }
    let ocupado = estado(&servidor, "VmHWM:") - antes;
    assert!(
        ocupado <= 30 * 1024 + 2 * RECIBIENDO_KIB,
        "{ocupado} KiB por un mensaje de 30 MiB"
    );
}
