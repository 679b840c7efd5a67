//! Lo que ocupa cada conexión: poco cuando calla, y lo que tomó un mensaje grande se devuelve.

use std::fs;

use crate::analizador_simulado::{enmarcar, mensaje_de};
use crate::servidor_de_prueba::{Servidor, esperar};

/// Memoria residente del servidor, en KiB.
pub(crate) fn residente_kib(servidor: &Servidor) -> usize {
    estado(servidor, "VmRSS:")
}

/// Un número de `/proc/PID/status`.
pub(crate) fn estado(servidor: &Servidor, campo: &str) -> usize {
    let estado = fs::read_to_string(format!("/proc/{}/status", servidor.pid())).unwrap();
    let linea = estado
        .lines()
        .find(|linea| linea.starts_with(campo))
        .unwrap();
    linea.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Lo que dice el README de una conexión que calla y, además de su mensaje, de la que recibe uno.
const OCIOSA_KIB: usize = 48;
const RECIBIENDO_KIB: usize = 256;

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

/// Un búfer que se doblara ocuparía 32 MiB por 17, y 64 por 33.
#[test]
fn un_mensaje_que_llega_ocupa_lo_que_mide_a_cualquier_tamano() {
    const MIB: usize = 1024 * 1024;
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipo = servidor.conectar();
    equipo.entregar("0");
    let antes = residente_kib(&servidor);
    let grande = mensaje_de("G", 40 * MIB);
    equipo.enviar(b"\x0B");
    let mut enviado = 0;
    for mib in [1, 2, 3, 5, 8, 9, 16, 17, 24, 33, 40] {
        equipo.enviar(&grande[enviado..mib * MIB]);
        enviado = mib * MIB;
        // Quien lee puede ir algo detrás de quien envía: se espera a que lo tenga casi todo.
        let esperado = mib * 1024;
        esperar("la memoria de lo que ha llegado", || {
            (residente_kib(&servidor) + 512 >= antes + esperado).then_some(())
        });
        // Lo que ocupa el resto del proceso también se mueve algo: una página de más no es del mensaje.
        let ocupado = residente_kib(&servidor).saturating_sub(antes);
        let tope = esperado + 2 * RECIBIENDO_KIB;
        assert!(ocupado <= tope, "{ocupado} KiB por {mib} MiB");
    }
}

#[test]
fn lo_que_ocupo_un_mensaje_grande_se_devuelve_aunque_haya_empezado_otro() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipos: Vec<_> = (0..4).map(|_| servidor.conectar()).collect();
    for equipo in &mut equipos {
        equipo.entregar("0");
    }
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
    const MIB: usize = 1024 * 1024;
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipo = servidor.conectar();
    equipo.entregar("0");
    let antes = residente_kib(&servidor);
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
