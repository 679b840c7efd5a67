//! Equipos enfermos y hostiles. Mientras cada ataque dura, un equipo bueno a su lado recibe cada
//! acuse con casi la misma demora, y ni la memoria ni la consola crecen.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::ataques::{A_LOS_LIMITES, Asalto, Ataque, acusador, durante};
use crate::memoria::residente_kib;
use crate::servidor_de_prueba::{Servidor, con_rust_log};

const ATAQUES: [(&str, Ataque); 13] = [
    ("mil conexiones que no dicen nada", conexiones_mudas),
    ("un byte de vez en cuando", goteo),
    ("una trama sin fin", trama_sin_fin),
    ("un mensaje sin trama y sin fin", sin_trama_sin_fin),
    ("ruido sin fin", ruido_sin_fin),
    ("quien no lee sus acuses", sordo),
    ("media conexión cerrada", media_conexion),
    ("reinicios en cada punto del diálogo", cortes_en_cada_punto),
    ("una exploración de puertos", exploracion),
    ("otros protocolos", otros_protocolos),
    ("MSH-10 hostiles", identificadores_hostiles),
    ("tramas sin MSH", tramas_sin_msh),
    ("tramas reiniciadas", tramas_reiniciadas),
];

/// Entregas del equipo bueno durante cada ataque.
const ENTREGAS: usize = 40;
/// Veces que se hace un ataque antes de creer que el retraso es suyo y no de una máquina ocupada.
const INTENTOS: usize = 3;
/// Quien esperara por un equipo que no lee esperaría el doble.
const PEOR: Duration = Duration::from_secs(5);

#[test]
fn ningun_ataque_cambia_lo_que_tarda_un_equipo_bueno_ni_llena_la_memoria_o_la_consola() {
    let comienzo = Instant::now();
    let mut servidor = Servidor::con("MaxConexiones = 1100\nMaxMensajeMiB = 2");
    let mut bueno = servidor.conectar();
    for (nombre, ataque) in ATAQUES {
        let sin_retraso = |_| {
            let en_paz = demoras(&mut bueno);
            let atacado = durante(servidor.puerto, ataque, || demoras(&mut bueno));
            let (antes, mediana) = (en_paz[ENTREGAS / 2], atacado[ENTREGAS / 2]);
            let peor = atacado[ENTREGAS - 1];
            eprintln!("{nombre}: mediana {antes:?} -> {mediana:?}, la peor {peor:?}");
            mediana < antes * 10 + Duration::from_millis(200) && peor < PEOR
        };
        assert!((0..INTENTOS).any(sin_retraso), "{nombre}");
    }
    let memoria = residente_kib(&servidor);
    eprintln!("{memoria} KiB residentes tras los ataques");
    assert!(memoria < 64 * 1024, "{memoria} KiB");

    servidor.senal("TERM");
    servidor.esperar_fin();
    servidor.esperar_linea("líneas como esta en el último minuto");
    let consola = servidor.consola();
    let de_guardados = |linea: &&str| linea.contains(" AA ") && linea.contains(".res");
    let otras = consola.lines().filter(|linea| !de_guardados(linea)).count();
    // De cada clase se dicen unas cuantas por minuto.
    let minutos = usize::try_from(comienzo.elapsed().as_secs()).unwrap() / 60;
    assert!(
        otras < 600 * (1 + minutos),
        "{otras} líneas que no son de mensajes guardados"
    );
    assert!(!consola.contains('\u{1b}'));
}

/// Lo que tarda cada acuse, de menos a más.
fn demoras(bueno: &mut Analizador) -> Vec<Duration> {
    let mut demoras: Vec<_> = (0..ENTREGAS)
        .map(|numero| {
            let comienzo = Instant::now();
            bueno.entregar(&format!("BUENO{numero}"));
            comienzo.elapsed()
        })
        .collect();
    demoras.sort();
    demoras
}

/// Los equipos buenos son otros que los malos, y cada poco cierran y vuelven a abrir.
#[test]
fn un_equipo_bueno_recibe_todos_sus_acuses_durante_cada_ataque_a_los_limites() {
    let comienzo = Instant::now();
    let servidor = Servidor::con("");
    for (nombre, ataque) in A_LOS_LIMITES {
        durante(servidor.puerto, ataque, || entregar_volviendo(&servidor));
        eprintln!("{nombre}: {:?}", comienzo.elapsed());
    }
    let minutos = usize::try_from(comienzo.elapsed().as_secs()).unwrap() / 60 + 1;
    let apartados = servidor.mensajes().join("apartados");
    let cuantos = std::fs::read_dir(apartados).unwrap().count();
    assert!(cuantos <= 61 * (minutos + 1), "{cuantos} en {minutos} min");
}

/// A ese nivel, cada trama deja dos líneas que nadie cuenta juntas.
#[test]
fn un_aluvion_de_lineas_no_le_quita_a_nadie_un_acuse() {
    let servidor = Servidor::con_orden("[Registro]\nCarpeta = registro", |carpeta| {
        con_rust_log(carpeta, "debug")
    });
    durante(servidor.puerto, acusador, || entregar_volviendo(&servidor));
    let mut servidor = servidor;
    servidor.senal("TERM");
    servidor.esperar_fin();
    servidor.esperar_linea("Servidor detenido: ");
}

fn entregar_volviendo(servidor: &Servidor) {
    for vuelta in 0..4 {
        let mut bueno = Analizador::desde([127, 0, 0, 2], servidor.puerto);
        for numero in 0..ENTREGAS / 4 {
            bueno.entregar(&format!("BUENO{vuelta}-{numero}"));
        }
    }
}

/// Todos los rechazos están en la consola, dichos o contados, y llevan su IP.
#[test]
fn cada_rechazo_se_dice_o_se_cuenta_con_su_ip() {
    let mut servidor = Servidor::con("MaxConexiones = 1");
    let mut bueno = servidor.conectar();
    bueno.entregar("1");
    // A la vez: alguno espera unos segundos por si queda libre la plaza de su misma dirección.
    let rechazados: Vec<_> = (0..500).map(|_| servidor.conectar()).collect();
    for mut rechazado in rechazados {
        assert_eq!(rechazado.esperar_cierre(), b"");
    }
    bueno.entregar("2");
    servidor.senal("TERM");
    servidor.esperar_fin();
    servidor.esperar_linea("líneas como esta");
    let consola = servidor.consola();
    let rechazos: Vec<_> = consola
        .lines()
        .filter(|linea| linea.contains(" 127.0.0.1:") && linea.contains("conexión rechazada"))
        .collect();
    let contados: usize = rechazos
        .iter()
        .filter_map(|linea| linea.split_once(" líneas como esta")?.0.rsplit_once('('))
        .map(|(_, cuantas)| cuantas.parse::<usize>().unwrap())
        .sum();
    let resumenes = rechazos
        .iter()
        .filter(|linea| linea.contains("líneas como esta"))
        .count();
    assert_eq!(rechazos.len() - resumenes + contados, 500, "{consola}");
    assert!(rechazos.len() < 100);
    // La cuenta de lo que se repitió sale antes de la despedida.
    let ultima = consola.lines().last().unwrap();
    assert!(ultima.contains("Servidor detenido: "), "{ultima}");
}

fn conexiones_mudas(asalto: &Asalto) {
    let mudas: Vec<_> = (0..1000).map(|_| asalto.conectar()).collect();
    asalto.repetir(|_| {});
    drop(mudas);
}

fn goteo(asalto: &Asalto) {
    let mut canales: Vec<_> = (0..100).map(|_| asalto.conectar()).collect();
    let trama = enmarcar(&mensaje("GOTEO"));
    asalto.repetir(|vuelta| {
        let octeto = trama[vuelta / 100 % trama.len()];
        canales[vuelta % 100].write_all(&[octeto]).unwrap();
    });
}

fn trama_sin_fin(asalto: &Asalto) {
    asalto.sin_fin(b"\x0BMSH|^~\\&|A\r", b"OBX|1|\x0B|\x1C|A\r");
}

fn sin_trama_sin_fin(asalto: &Asalto) {
    asalto.sin_fin(b"MSH|^~\\&|A\r", b"OBX|1|NM|MSH|A\r");
}

fn ruido_sin_fin(asalto: &Asalto) {
    asalto.sin_fin(b"", b"ruido\x02\x06\x1C\rMS");
}

fn sordo(asalto: &Asalto) {
    let mut canal = Analizador::con(asalto.conectar());
    SockRef::from(&canal.canal)
        .set_recv_buffer_size(1024)
        .unwrap();
    canal.ensordecer();
    asalto.repetir(|_| {});
}

fn media_conexion(asalto: &Asalto) {
    let trama = enmarcar(&mensaje("MEDIA"));
    asalto.repetir(|vuelta| {
        let mut canal = asalto.conectar();
        canal.write_all(&trama[..vuelta % trama.len()]).unwrap();
        canal.shutdown(Shutdown::Write).unwrap();
        let mut resto = Vec::new();
        canal.read_to_end(&mut resto).unwrap();
    });
}

/// Cada conexión se corta con un RST tras un byte más que la anterior.
fn cortes_en_cada_punto(asalto: &Asalto) {
    let tramas = enmarcar(&mensaje("CORTE")).repeat(2);
    asalto.repetir(|vuelta| {
        let mut canal = asalto.conectar();
        let _ = canal.write_all(&tramas[..vuelta % tramas.len()]);
        cortar(&canal);
    });
}

fn exploracion(asalto: &Asalto) {
    asalto.repetir(|vuelta| {
        let canal = asalto.conectar();
        if vuelta % 2 == 0 {
            cortar(&canal);
        }
    });
}

/// Al soltarla, esta conexión se cerrará con RST en lugar de FIN.
fn cortar(canal: &TcpStream) {
    SockRef::from(canal)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

fn otros_protocolos(asalto: &Asalto) {
    let saludos: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        b"\x05\x021H|\\^&|||EQUIPO\r\x03\x04",
        b"<?xml version=\"1.0\"?><HEL.R01>",
        b"M\0S\0H\0|\0",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\xFF\xFB\x01\xFF\xFD\x18",
        b"\x1b[2J\x1b]0;titulo\x07\r\n",
    ];
    asalto.repetir(|vuelta| {
        let _ = asalto.conectar().write_all(saludos[vuelta % saludos.len()]);
    });
}

fn identificadores_hostiles(asalto: &Asalto) {
    let largo = "L".repeat(10_000);
    let ids = [
        "../../x",
        "\u{1b}[2J\u{7}",
        "\0\u{1}\u{2}",
        "C:\\x:y",
        "",
        &largo,
    ];
    let mut canal = Analizador::con(asalto.conectar());
    asalto.repetir(|vuelta| canal.entregar(ids[vuelta % ids.len()]));
}

fn tramas_sin_msh(asalto: &Asalto) {
    let mut canal = Analizador::con(asalto.conectar());
    asalto.repetir(|_| {
        canal.enviar(b"\x0BPID|1||9\r\x1C\r");
        assert_eq!(canal.acuse().codigo, "AR");
    });
}

fn tramas_reiniciadas(asalto: &Asalto) {
    let mut canal = asalto.conectar();
    asalto.repetir(|_| canal.write_all(b"\x0BMSH|^~\\&|A\r").unwrap());
}
