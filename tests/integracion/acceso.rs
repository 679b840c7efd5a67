use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use servidor_hl7::configuracion::Configuracion;
use servidor_hl7::recepcion::parada::Parada;
use servidor_hl7::recepcion::servidor::{Acceso, iniciar_servidor};

#[cfg(target_os = "linux")]
use crate::analizador_simulado::mensaje_de;
use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::servidor_de_prueba::{Servidor, esperar};
#[cfg(unix)]
use crate::servidor_de_prueba::{carpeta_nueva, ejecutar, escribir_ini, limitada};

#[test]
fn sobre_max_conexiones_se_rechaza_con_su_ip_y_una_plaza_libre_se_vuelve_a_ocupar() {
    let servidor = Servidor::con("MaxConexiones = 2");
    let mut primero = servidor.conectar();
    primero.entregar("1");
    let mut segundo = servidor.conectar();
    segundo.entregar("2");
    assert_eq!(servidor.conectar().esperar_cierre(), b"");
    let linea = servidor.esperar_linea("conexión rechazada");
    assert!(
        linea.contains("127.0.0.1") && linea.contains("MaxConexiones"),
        "{linea}"
    );
    drop(primero);
    esperar("la plaza libre", || {
        let mut tercero = servidor.conectar();
        tercero.enviar_mensaje(&mensaje("3"));
        tercero
            .si_acusa()
            .map(|acuse| assert_eq!(acuse.codigo, "AA"))
    });
    segundo.entregar("4");
}

#[test]
fn solo_entran_los_equipos_permitidos() {
    let servidor = Servidor::con("EquiposPermitidos = 10.0.0.0/8, 192.168.1.20");
    assert_eq!(servidor.conectar().esperar_cierre(), b"");
    let linea = servidor.esperar_linea("conexión rechazada");
    assert!(
        linea.contains("127.0.0.1") && linea.contains("EquiposPermitidos"),
        "{linea}"
    );

    for permitidos in [
        "10.0.0.1 127.0.0.0/8",
        "::ffff:127.0.0.1",
        "::ffff:127.0.0.0/104",
    ] {
        let servidor = Servidor::con(&format!("EquiposPermitidos = {permitidos}"));
        servidor.conectar().entregar("1");
    }
}

/// A un equipo que no lee se le espera 10 s. Quien tuviera que esperar con él tardaría eso cada vez; a
/// quien no, solo puede retrasarlo una máquina ocupada, y no siempre.
#[test]
fn un_equipo_a_medias_o_que_no_lee_no_retrasa_a_otro() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut a_medias = servidor.conectar();
    a_medias.enviar(b"\x0BMSH|^~\\&|");
    let mut bueno = servidor.conectar();
    let entregado_a_tiempo = |vuelta: usize| {
        let mut sordo = servidor.conectar();
        sordo.ensordecer();
        let comienzo = Instant::now();
        for numero in 0..20 {
            bueno.entregar(&format!("B{vuelta}-{numero}"));
        }
        comienzo.elapsed() < Duration::from_secs(5)
    };
    assert!((0..3).any(entregado_a_tiempo));
}

#[test]
fn un_corte_a_mitad_de_un_mensaje_sin_trama_lo_aparta_y_no_lo_acusa() {
    // Wine 8 lee por su cuenta el error del socket, y después un RST parece un cierre: el mensaje
    // habría acabado.
    if std::env::var_os("WINEPREFIX").is_some() {
        return;
    }
    let servidor = Servidor::con("EsperaSinTramaMs = 60000");
    let mut equipo = servidor.conectar();
    let a_medias = b"MSH|^~\\&|EQUIPO|LAB|LIS|HOSP|2026||ORU^R01|2|P|2.3.1\rPID|1||9\rOBX|1";
    // Lo que llega con el primero ya se leyó cuando se acusa: un corte se lleva lo que nadie ha leído.
    equipo.enviar(&[&enmarcar(&mensaje("1"))[..], a_medias].concat());
    equipo.esperar_aa("1");
    equipo.cortar();
    assert_eq!(servidor.esperar_apartados("cortado", 1), [a_medias]);
    servidor.esperar_linea("Error en la Conexion: 127.0.0.1:");
    assert_eq!(servidor.archivos(), [mensaje("1")]);
    assert!(!servidor.consola().contains("«2»"));
}

/// El programa ya los tenía: al no poder contestar al primero tiraba los demás. En Windows, un corte se lleva
/// también lo que nadie ha leído.
#[cfg(target_os = "linux")]
#[test]
fn de_quien_envia_muchos_y_cierra_sin_leer_sus_acuses_no_se_pierde_ninguno() {
    let servidor = Servidor::arrancar();
    let mensajes: Vec<_> = (0..50)
        .map(|numero| mensaje_de(&format!("{numero:02}"), 2000))
        .collect();
    let mut equipo = servidor.conectar();
    let tramas: Vec<_> = mensajes.iter().flat_map(|m| enmarcar(m)).collect();
    equipo.enviar(&[&tramas[..], &enmarcar(&mensaje("MEDIO"))[..60]].concat());
    drop(equipo);
    let guardados = esperar("los mensajes", || {
        Some(servidor.archivos()).filter(|hay| hay.len() >= 50)
    });
    assert!(guardados == mensajes);
    assert_eq!(
        servidor.esperar_apartados("cortado", 1)[0],
        mensaje("MEDIO")[..59]
    );
}

#[test]
fn muchos_mensajes_seguidos_se_contestan_en_orden() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipo = servidor.conectar();
    let tramas: Vec<u8> = (0..500)
        .flat_map(|numero| enmarcar(&mensaje(&numero.to_string())))
        .collect();
    equipo.enviar(&tramas);
    for numero in 0..500 {
        equipo.esperar_aa(&numero.to_string());
    }
    let esperados: Vec<_> = (0..500)
        .map(|numero| mensaje(&numero.to_string()))
        .collect();
    assert!(
        servidor.archivos() == esperados,
        "los archivos, por nombre, no van en orden de llegada"
    );
}

/// Cada contestación a quien no trae MSH-10 lleva uno distinto, aunque salgan muchas en un milisegundo.
#[test]
fn el_msh_10_propio_no_se_repite() {
    const EQUIPOS: usize = 16;
    const MENSAJES: usize = 30;
    let servidor = Servidor::con("Sincronizar = no");
    let ids = Mutex::new(HashSet::new());
    thread::scope(|hilos| {
        for _ in 0..EQUIPOS {
            hilos.spawn(|| {
                let mut equipo = servidor.conectar();
                equipo.enviar(&enmarcar(&mensaje("")).repeat(MENSAJES));
                for _ in 0..MENSAJES {
                    let acuse = equipo.acuse().bytes;
                    let id = acuse.split(|octeto| *octeto == b'|').nth(9).unwrap();
                    assert!(id.len() == 20 && id.iter().all(u8::is_ascii_digit));
                    ids.lock().unwrap().insert(id.to_vec());
                }
            });
        }
    });
    assert_eq!(ids.into_inner().unwrap().len(), EQUIPOS * MENSAJES);
}

#[test]
fn un_panico_en_una_conexion_no_toca_a_otra_y_devuelve_su_plaza() {
    let escucha = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let puerto = escucha.local_addr().unwrap().port();
    let atendidas = Arc::new(AtomicUsize::new(0));
    let cuenta = Arc::clone(&atendidas);
    let acceso = Acceso {
        max_conexiones: 1,
        permitidos: Vec::new(),
        intermediarios: Vec::new(),
    };
    let ini = Path::new(env!("CARGO_MANIFEST_DIR")).join("Config.ini");
    let equipos = Configuracion::leer(&ini).unwrap().equipos;
    thread::spawn(move || {
        static BANDERA: AtomicBool = AtomicBool::new(false);
        let parada = Parada::new(&BANDERA);
        iniciar_servidor(
            &escucha,
            &acceso,
            &equipos,
            &parada,
            Path::new("Config.ini"),
            move |_, _, _| {
                let numero = cuenta.fetch_add(1, Ordering::Relaxed);
                assert!(numero > 0, "pánico a propósito");
                Ok(())
            },
        )
    });
    esperar("tres conexiones atendidas", || {
        assert_eq!(Analizador::conectar(puerto).esperar_cierre(), b"");
        (atendidas.load(Ordering::Relaxed) >= 3).then_some(())
    });
}

/// Los que entran pueden guardar todos a la vez, aunque MaxConexiones sea mayor de lo que el sistema
/// permite. Windows no limita los descriptores de un proceso: allí no hay con qué provocarlo.
#[cfg(unix)]
#[test]
fn no_entran_mas_equipos_de_los_que_pueden_guardar_a_la_vez_con_los_archivos_que_deja_abrir_el_sistema()
 {
    let servidor = Servidor::limitado("ulimit -n 64");
    servidor.esperar_linea("solo deja abrir archivos para 5 conexiones");
    let mut dentro: Vec<_> = (0..5).map(|_| servidor.conectar()).collect();
    for equipo in &mut dentro {
        equipo.entregar("1");
    }
    let de_mas: Vec<_> = (0..60).map(|_| servidor.conectar()).collect();
    let linea = servidor.esperar_linea("conexión rechazada: todas las plazas están ocupadas (5)");
    assert!(linea.contains("127.0.0.1"), "{linea}");
    thread::scope(|hilos| {
        for equipo in &mut dentro {
            hilos.spawn(|| {
                equipo.enviar(&enmarcar(&mensaje("2")).repeat(100));
                (0..100).for_each(|_| equipo.esperar_aa("2"));
            });
        }
    });
    drop(de_mas);
    dentro.pop();
    esperar("una plaza libre", || {
        let mut nuevo = servidor.conectar();
        nuevo.enviar_mensaje(&mensaje("3"));
        nuevo.si_acusa().map(|acuse| assert_eq!(acuse.codigo, "AA"))
    });
    // Las que aún no tienen plaza tampoco se los llevan todos.
    let consola = servidor.consola();
    assert!(!consola.contains("no se pudo aceptar"), "{consola}");
}

/// También abren archivos los equipos a los que se llama, y los intermediarios que aún no han dicho por quién
/// hablan.
#[cfg(unix)]
#[test]
fn lo_que_ocupa_quien_no_pide_plaza_se_descuenta_de_los_archivos_que_deja_abrir_el_sistema() {
    for (archivos, claves, caben) in [
        (64, "[Llamar]\nA = 127.0.0.1:1\nB = 127.0.0.1:2", 3),
        (128, "Intermediarios = 10.0.0.1", 5),
    ] {
        let limite = format!("ulimit -n {archivos}");
        let servidor = Servidor::con_orden(claves, |carpeta| limitada(carpeta, &limite));
        servidor.esperar_linea(&format!("solo deja abrir archivos para {caben} conexiones"));
    }
}

#[cfg(unix)]
#[test]
fn si_el_sistema_no_deja_abrir_archivos_ni_para_un_equipo_no_se_arranca() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "");
    let salida = ejecutar(&mut limitada(&carpeta, "ulimit -n 19"));
    assert!(!salida.status.success());
    let dicho = String::from_utf8(salida.stderr).unwrap();
    assert!(
        dicho.contains("no deja abrir archivos ni para una conexión"),
        "{dicho}"
    );
    std::fs::remove_dir_all(carpeta).unwrap();
}

/// Quien pide más de lo que el sistema da por omisión lo obtiene si el tope lo permite.
#[cfg(unix)]
#[test]
fn se_piden_al_sistema_cuantos_archivos_deje_abrir() {
    let servidor = Servidor::limitado("ulimit -S -n 20; ulimit -H -n 4096");
    let mut equipos: Vec<_> = (0..64).map(|_| servidor.conectar()).collect();
    for equipo in &mut equipos {
        equipo.entregar("1");
    }
}
