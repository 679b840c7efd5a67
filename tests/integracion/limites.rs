//! Lo que nadie puede acaparar: el tiempo de quien escribe, las plazas, la memoria y el disco.

#[cfg(unix)]
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
#[cfg(unix)]
use std::thread;
use std::time::{Duration, Instant};

use servidor_hl7::recepcion::parada::Parada;

#[cfg(target_os = "linux")]
use crate::analizador_simulado::{Analizador, enmarcar};
use crate::analizador_simulado::{mensaje, mensaje_de};
use crate::servidor_de_prueba::{Servidor, con_rust_log};

/// Cada byte que recoge no le da otros diez segundos. En Windows un envío que espera es una sola
/// operación con un solo plazo: no hay trozos que lo renueven.
#[cfg(unix)]
#[test]
fn quien_recoge_sus_acuses_a_cuentagotas_se_cierra() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut sordo = servidor.conectar();
    sordo.ensordecer();
    thread::scope(|hilos| {
        let cerrado = hilos.spawn(|| servidor.esperar_linea("no recoge su acuse desde hace 10 s"));
        while !cerrado.is_finished() {
            let _ = sordo.canal.read(&mut [0; 4096]);
            thread::sleep(Duration::from_millis(200));
        }
    });
}

/// Ocho conexiones calladas de un equipo lo ocupaban todo para siempre.
#[cfg(target_os = "linux")]
#[test]
fn quien_no_tiene_plaza_recibe_la_mas_ociosa_de_quien_mas_tiene() {
    let servidor = Servidor::con("MaxConexiones = 8");
    let mut con_una = Analizador::desde([127, 0, 0, 3], servidor.puerto);
    con_una.entregar("UNA");
    let mut acaparador: Vec<_> = (0..7).map(|_| servidor.conectar()).collect();
    // Todas tienen plaza y han entregado algo; la segunda es la que más tiempo lleva ociosa.
    for numero in [1, 0, 2, 3, 4, 5, 6] {
        acaparador[numero].entregar(&numero.to_string());
    }
    let mut nuevo = Analizador::desde([127, 0, 0, 2], servidor.puerto);
    nuevo.entregar("NUEVO");
    servidor
        .esperar_linea("no quedaban plazas; se le da una de las 7 de 127.0.0.1; revise por qué");
    assert_eq!(acaparador.remove(1).esperar_cierre(), b"");
    for equipo in &mut acaparador {
        equipo.entregar("SIGUE");
    }
    con_una.entregar("SIGUE");
    // La rompió el programa: no hay ninguna avería que buscar.
    assert!(!servidor.consola().contains("Error en la Conexion"));
}

/// Es lo que el README recomienda para vigilar que el puerto escucha: cada vez le costaba su conexión a alguien.
#[cfg(target_os = "linux")]
#[test]
fn con_todo_ocupado_comprobar_el_puerto_no_le_quita_a_nadie_su_plaza() {
    let orden = |carpeta: &Path| con_rust_log(carpeta, "debug");
    let servidor = Servidor::con_orden("MaxConexiones = 2", orden);
    let mut ociosas = [servidor.conectar(), servidor.conectar()];
    for equipo in &mut ociosas {
        equipo.entregar("ANTES");
    }
    for _ in 0..10 {
        let comprobacion = Analizador::desde([127, 0, 0, 2], servidor.puerto);
        let origen = comprobacion.canal.local_addr().unwrap();
        drop(comprobacion);
        servidor.esperar_linea(&format!("Conexion cerrada {origen}"));
    }
    for equipo in &mut ociosas {
        equipo.entregar("DESPUES");
    }
    assert!(!servidor.consola().contains("no quedaban plazas"));
}

/// Lo que está a medias se deja acabar, si hay algo ocioso; lo que se está guardando, siempre.
#[cfg(target_os = "linux")]
#[test]
fn antes_pierde_su_plaza_una_ociosa_que_una_con_un_mensaje_a_medias() {
    let servidor = Servidor::con("MaxConexiones = 3");
    let mut a_medias = servidor.conectar();
    a_medias.entregar("ANTES");
    let trama = enmarcar(&mensaje("A_MEDIAS"));
    a_medias.enviar(&trama[..30]);
    let mut ociosas = [servidor.conectar(), servidor.conectar()];
    ociosas[0].entregar("1");
    ociosas[1].entregar("2");
    Analizador::desde([127, 0, 0, 2], servidor.puerto).entregar("NUEVO");
    assert_eq!(ociosas[0].esperar_cierre(), b"");
    a_medias.enviar(&trama[30..]);
    a_medias.esperar_aa("A_MEDIAS");
}

/// De quien está entregando no se puede decir que no lo hace.
#[cfg(target_os = "linux")]
#[test]
fn de_quien_pierde_una_plaza_entre_varias_se_dice_cuantas_tenia() {
    let servidor = Servidor::con("MaxConexiones = 2");
    let mut suyas = [servidor.conectar(), servidor.conectar()];
    for equipo in &mut suyas {
        let a_medias = &enmarcar(&mensaje("A_MEDIAS"))[..30];
        equipo.enviar(&[&enmarcar(&mensaje("ANTES")), a_medias].concat());
        equipo.esperar_aa("ANTES");
    }
    Analizador::desde([127, 0, 0, 2], servidor.puerto).entregar("NUEVO");
    let linea = servidor.esperar_linea("no quedaban plazas; se le da una de las 2 de 127.0.0.1");
    assert!(!linea.contains("no entregaba nada"), "{linea}");
}

/// Sin trama, nadie asegura que el equipo lo envíe otra vez; y un cierre que hace el programa no lo acaba.
#[cfg(target_os = "linux")]
#[test]
fn lo_que_estaba_a_medias_en_la_conexion_que_pierde_su_plaza_se_guarda_sin_acusarlo() {
    let servidor = Servidor::con("MaxConexiones = 3\nEsperaSinTramaMs = 60000");
    let (entero, a_medias) = (mensaje("ENTERO"), &mensaje("A_MEDIAS")[..60]);
    let mut acaparador: Vec<_> = (0..3).map(|_| servidor.conectar()).collect();
    // Sin trama, lo que acaba en un fin de segmento está entero; lo demás, no se sabe. Va pegado a otro: cuando
    // ese se acusa, ya se ha leído.
    for (equipo, bytes) in acaparador.iter_mut().zip([
        &entero[..],
        a_medias,
        &enmarcar(&mensaje("CON_TRAMA"))[..61],
    ]) {
        equipo.enviar(&[&enmarcar(&mensaje("ANTES")), bytes].concat());
        equipo.esperar_aa("ANTES");
    }
    let nuevos = [2, 3].map(|octeto| Analizador::desde([127, 0, 0, octeto], servidor.puerto));
    for equipo in &mut acaparador[..2] {
        assert_eq!(equipo.esperar_cierre(), b"");
    }
    assert_eq!(servidor.esperar_apartados("cortado", 1), [a_medias]);
    servidor.esperar_linea("sin acuse 127.0.0.1        ORU^R01   94 B");
    assert!(servidor.archivos().contains(&entero));
    drop(nuevos);
}

/// Cada trama de basura costaba un archivo: 45 000 por segundo.
#[test]
fn quien_no_envia_mas_que_basura_no_llena_el_disco() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut hostil = servidor.conectar();
    let comienzo = Instant::now();
    for numero in 0..300 {
        hostil.enviar_mensaje(format!("basura {numero}").as_bytes());
        assert_eq!(hostil.acuse().codigo, "AR");
    }
    // A quien se pasa se le lee despacio: 240 veces, una centésima.
    let tardo = comienzo.elapsed();
    assert!(tardo > Duration::from_secs(2), "tardó {tardo:?}");
    servidor.esperar_linea("de las demás solo se guarda la última");
    drop(hostil);
    // Las sesenta primeras y la última.
    let apartados = servidor.esperar_apartados("no_hl7", 61);
    assert_eq!(apartados[0], b"basura 0");
    assert_eq!(apartados[60], b"basura 299");
    // Ni aunque se conecte para cada una; y quien envía mensajes sigue siendo atendido.
    for numero in 0..50 {
        let mut hostil = servidor.conectar();
        hostil.enviar_mensaje(format!("más {numero}").as_bytes());
        assert_eq!(hostil.acuse().codigo, "AR");
    }
    servidor.conectar().entregar("BUENO");
    assert_eq!(servidor.apartados("no_hl7").len(), 61);
}

/// El final de un mensaje que se acusó no es basura.
#[test]
fn el_resto_de_un_mensaje_guardado_se_aparta_aunque_su_equipo_pase_de_la_medida() {
    let servidor = Servidor::con("Sincronizar = no\nEsperaSinTramaMs = 10\nMaxMensajeMiB = 1");
    let mut equipo = servidor.conectar();
    for numero in 0..61 {
        equipo.enviar_mensaje(format!("basura {numero}").as_bytes());
        assert_eq!(equipo.acuse().codigo, "AR");
    }
    servidor.esperar_linea("de las demás solo se guarda la última");
    // La cola de lo que no se guardó no es de ningún mensaje acusado.
    let excesivo = [b"\x0B", &mensaje_de("0", 1_048_577)[..], b"\x1C"].concat();
    equipo.enviar(&excesivo);
    assert_eq!(equipo.acuse().codigo, "AR");
    equipo.enviar(b"NTE|1||resto del excesivo\r");
    servidor.esperar_linea("26 bytes que no se guardaron");
    for id in ["1", "2"] {
        equipo.enviar(&mensaje(id));
        equipo.esperar_aa(id);
        equipo.enviar(format!("NTE|1||resto de {id}\r").as_bytes());
        servidor.esperar_apartados("cola", id.parse().unwrap());
    }
    // Lo que sigue a una cola ya no se sabe de qué es.
    equipo.enviar(b"NTE|2||y otro\r");
    servidor.esperar_linea("14 bytes que no se guardaron");
    let colas = servidor.apartados("cola");
    assert_eq!(colas, [b"NTE|1||resto de 1\r", b"NTE|1||resto de 2\r"]);
}

/// Hay clientes que acusan, por diseño, cada acuse que reciben.
#[test]
fn un_acuse_que_solo_acusa_se_cuenta_y_no_se_guarda() {
    let orden = |carpeta: &Path| con_rust_log(carpeta, "debug");
    let servidor = Servidor::con_orden("Sincronizar = no", orden);
    let mut equipo = servidor.conectar();
    for id in ["1", "2"] {
        equipo.entregar(id);
        equipo.enviar_mensaje(b"MSH|^~\\&|||||||ACK|9|P|2.5\rMSA|AA|1\rERR|0\r");
    }
    servidor.esperar_linea("llegó un acuse, que no se contesta ni se guarda (van 2)");
    equipo.enviar_mensaje(b"MSH|^~\\&|||||||ORL|9|P|2.5\rMSA|AA|1\rPID|1\r");
    servidor.esperar_apartados("respuesta", 1);
    // Por muchos que sean, si acusan algo: quien envía deprisa acusa deprisa.
    for numero in 3..=70 {
        equipo.entregar(&numero.to_string());
        equipo.enviar_mensaje(b"MSH|^~\\&|||||||ACK|9|P|2.5\rMSA|AA|1\r");
    }
    servidor.esperar_linea("(van 70)");
    assert!(!servidor.consola().contains("cosas que no son mensajes"));
    // Los que no acusan nada son basura como otra cualquiera.
    for _ in 0..100 {
        equipo.enviar_mensaje(b"MSH|^~\\&|||||||ACK|9|P|2.5\rMSA|AA|1\r");
    }
    servidor.esperar_linea("cosas que no son mensajes en un minuto");
    equipo.entregar("3");
}

#[test]
fn con_todo_ocupado_quien_cierra_y_vuelve_a_abrir_no_es_rechazado() {
    let servidor = Servidor::con("MaxConexiones = 8\nSincronizar = no");
    let mut equipos: Vec<_> = (0..8).map(|_| servidor.conectar()).collect();
    for equipo in &mut equipos {
        equipo.entregar("1");
    }
    for vuelta in 0..200 {
        let hueco = vuelta % 8;
        drop(equipos.remove(hueco));
        let mut equipo = servidor.conectar();
        equipo.entregar("2");
        equipos.insert(hueco, equipo);
    }
    // También si las cierra todas a la vez.
    for _ in 0..50 {
        equipos.clear();
        equipos.extend((0..8).map(|_| servidor.conectar()));
        for equipo in &mut equipos {
            equipo.entregar("3");
        }
    }
    assert!(!servidor.consola().contains("rechazada"));
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
