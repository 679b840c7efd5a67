use std::thread;
use std::time::{Duration, Instant};

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::servidor_de_prueba::{Servidor, esperar};

const EQUIPOS: &str =
    "[Equipos]\nHematología = 192.168.1.20\nQuímica = 192.168.1.21\n[Química]\nCodigoAcuse = CA\n";
const COMPROBACION: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// La cabecera de la versión 1 de un equipo en 192.168.1.`ultimo`.
fn primera(ultimo: u8) -> Vec<u8> {
    format!("PROXY TCP4 192.168.1.{ultimo} 192.168.1.10 51234 2575\r\n").into_bytes()
}

/// La de la versión 2, con algo añadido que nadie lee.
fn segunda(ultimo: u8) -> Vec<u8> {
    let direcciones = [192, 168, 1, ultimo, 192, 168, 1, 10, 0xC8, 0x22, 0x0A, 0x0F];
    let anadido = [0x04, 0, 2, b'M', b'S'];
    [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11"[..],
        &direcciones,
        &anadido,
    ]
    .concat()
}

fn servidor(claves: &str) -> Servidor {
    Servidor::con(&format!(
        "Intermediarios = 127.0.0.1, 10.0.0.0/8\n{claves}\n{EQUIPOS}"
    ))
}

/// Envía un mensaje tras esa cabecera, y devuelve el código de su acuse.
fn codigo(equipo: &mut Analizador, cabecera: &[u8], id: &str) -> String {
    equipo.enviar(&[cabecera, &enmarcar(&mensaje(id))].concat());
    equipo.acuse().codigo
}

/// Quien envía eso ve cerrada su conexión, sin ningún acuse.
fn rechazan(servidor: &Servidor, enviado: &[u8]) {
    let mut equipo = servidor.conectar();
    equipo.enviar(enviado);
    assert_eq!(equipo.esperar_cierre(), b"");
}

#[test]
fn dos_equipos_detras_de_un_intermediario_se_distinguen_en_todo() {
    let servidor = servidor("EquiposPermitidos = 192.168.1.0/30, 192.168.1.20/31");
    for (numero, cabecera) in [primera, segunda].into_iter().enumerate() {
        let id = |equipo: &str| format!("{equipo}{numero}");
        assert_eq!(
            codigo(&mut servidor.conectar(), &cabecera(20), &id("H")),
            "AA"
        );
        assert_eq!(
            codigo(&mut servidor.conectar(), &cabecera(21), &id("Q")),
            "CA"
        );
        // Sin trama, y con la cabecera a trozos.
        let mut equipo = servidor.conectar();
        equipo.canal.set_nodelay(true).unwrap();
        for octeto in cabecera(1) {
            equipo.enviar(&[octeto]);
        }
        equipo.enviar(&mensaje(&id("S")));
        let acuse = equipo.acuse();
        assert_eq!((acuse.codigo.as_str(), acuse.con_trama), ("AA", false));
        rechazan(&servidor, &cabecera(99));
    }
    servidor.esperar_linea(" AA        Hematología ");
    servidor.esperar_linea(" CA        Química ");
    servidor.esperar_linea(" AA        192.168.1.1 ");
    let mut callado = servidor.conectar();
    callado.enviar(&primera(20));
    servidor.esperar_linea("Conexión Establecida desde Hematología (192.168.1.20:51234)");
    servidor.esperar_linea(
        "192.168.1.99:51234: conexión rechazada: 192.168.1.99 no está en EquiposPermitidos",
    );
    assert_eq!(servidor.archivos().len(), 6);
    assert!(!servidor.consola().contains("127.0.0.1:"));
}

#[test]
fn sin_su_cabecera_un_intermediario_no_entra_y_se_dice_una_vez() {
    let casos: [(&[u8], &str); 4] = [
        (&enmarcar(&mensaje("1")), "(empieza por otra cosa)"),
        (b"PROXY TCP4 uno dos 1 2\r\n", "(empieza por otra cosa)"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF", "(no llegó en 5 s)"),
        (b"PROXY TCP4 192.168", "(no llegó en 5 s)"),
    ];
    thread::scope(|hilos| {
        for (enviado, motivo) in casos {
            hilos.spawn(move || {
                let servidor = servidor("");
                rechazan(&servidor, enviado);
                let linea = servidor.esperar_linea("se espera una cabecera PROXY");
                assert!(
                    linea.contains("127.0.0.1:") && linea.contains(motivo),
                    "{linea}"
                );
                let consola = servidor.consola();
                assert_eq!(consola.matches("AVISO 127").count(), 1, "{consola}");
                assert!(!consola.contains("Establecida"), "{consola}");
                assert_eq!(servidor.archivos().len(), 0);
            });
        }
    });
}

/// Ocupan menos que un equipo, pero también tienen un límite; subir MaxConexiones no lo cambia.
#[test]
fn las_conexiones_que_no_dicen_por_quien_hablan_tienen_su_limite_y_se_dice_cual() {
    let servidor = servidor("");
    // Cada una se va a los cinco segundos: se abren hasta que estén todas a la vez.
    let mut calladas = Vec::new();
    let dicho = esperar("el límite", || {
        calladas.push(servidor.conectar());
        let consola = servidor.consola();
        consola.contains("conexión rechazada").then_some(consola)
    });
    assert!(
        dicho.contains("rechazada: 64 conexiones de intermediarios"),
        "{dicho}"
    );
    assert!(!dicho.contains("suba MaxConexiones"), "{dicho}");
}

/// Las que ya lo han dicho ocupan su plaza, y de aquel límite nada.
#[test]
fn por_un_intermediario_entran_cuantos_equipos_quepan() {
    let servidor = servidor("MaxConexiones = 80\nSincronizar = no");
    let mut dentro = Vec::new();
    for numero in 0..70 {
        let mut equipo = servidor.conectar();
        let id = numero.to_string();
        assert_eq!(codigo(&mut equipo, &primera(20), &id), "AA");
        dentro.push(equipo);
    }
}

/// El plazo es de la cabecera entera: quien la gotea no lo alarga.
#[test]
fn una_cabecera_a_cuentagotas_tiene_el_mismo_plazo() {
    let servidor = servidor("MaxConexiones = 1");
    let comienzo = Instant::now();
    let mut lento = servidor.conectar();
    let goteo = thread::spawn(move || {
        for octeto in primera(20).iter().cycle() {
            if std::io::Write::write_all(&mut lento.canal, &[*octeto]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(500));
        }
    });
    servidor.esperar_linea("(no llegó en 5 s)");
    assert!(comienzo.elapsed() >= Duration::from_secs(4));
    assert_eq!(codigo(&mut servidor.conectar(), &primera(20), "1"), "AA");
    goteo.join().unwrap();
}

#[test]
fn las_comprobaciones_de_un_intermediario_no_dejan_ninguna_linea() {
    let servidor = servidor("");
    for _ in 0..3 {
        drop(servidor.conectar());
        for cabecera in [
            COMPROBACION,
            b"PROXY UNKNOWN\r\n",
            // Así comprueba HAProxy con la versión 1.
            b"PROXY TCP4 127.0.0.1 127.0.0.1 40000 2575\r\n",
        ] {
            let mut comprobacion = servidor.conectar();
            comprobacion.enviar(cabecera);
            comprobacion.dejar_de_enviar();
            assert_eq!(comprobacion.esperar_cierre(), b"");
        }
    }
    assert_eq!(codigo(&mut servidor.conectar(), &segunda(20), "1"), "AA");
    servidor.esperar_linea(" AA        Hematología ");
    let consola = servidor.consola();
    assert!(!consola.contains("127.0.0.1"), "{consola}");
    // Si un intermediario habla por sí mismo, es un equipo más.
    assert_eq!(codigo(&mut servidor.conectar(), COMPROBACION, "2"), "AA");
    servidor.esperar_linea(" AA        127.0.0.1 ");
}

#[test]
fn quien_no_es_intermediario_no_puede_hacerse_pasar_por_otro() {
    let servidor = servidor("");
    for cabecera in [primera(21), segunda(21)] {
        let mut equipo = Analizador::desde([127, 0, 0, 2], servidor.puerto);
        assert_eq!(codigo(&mut equipo, &cabecera, "1"), "AA");
    }
    servidor.esperar_linea(" AA        127.0.0.2 ");
    assert!(!servidor.consola().contains("Química"));
}
