use std::collections::HashSet;
use std::net::TcpListener;
use std::thread;

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::servidor_de_prueba::{
    Servidor, contenidos, ejecutar, escribir_ini, interrumpible, orden,
};

/// Dos equipos con nombre; cualquier otra dirección no lo tiene.
const EQUIPOS: &str = "[Equipos]\nHematología = 127.0.0.2\nQuímica = 127.0.0.3\n";
const HEMATOLOGIA: [u8; 4] = [127, 0, 0, 2];
const QUIMICA: [u8; 4] = [127, 0, 0, 3];

const CONSULTA: &[u8] =
    b"MSH|^~\\&|A|B|C|D|2026||QRY^Q02|4|P|2.3.1\rQRD|2026|R|D|1|||RD|S-1|OTH|||T\r";

fn codigo(servidor: &Servidor, ip: [u8; 4], id: &str) -> String {
    let mut equipo = Analizador::desde(ip, servidor.puerto);
    equipo.enviar_mensaje(&mensaje(id));
    equipo.acuse().codigo
}

#[test]
fn cada_equipo_sigue_las_claves_de_su_seccion_y_lo_que_no_esta_en_ella_es_como_en_servidor() {
    let servidor = Servidor::con(&format!(
        "CodigoAcuse = CA\nConsultas = acusar\nMaxMensajeMiB = 1\n[DEFAULT]\nAcuse = clasico\n{EQUIPOS}\
         [quimica]\nCodigoAcuse = AA\nCONSULTAS = negar\nAcuse = Estándar\nMaxMensajeMiB = 2\n\
         [Hematología]\nCodigoAcuse =\n"
    ));
    assert_eq!(codigo(&servidor, HEMATOLOGIA, "1"), "CA");
    assert_eq!(codigo(&servidor, QUIMICA, "2"), "AA");
    assert_eq!(codigo(&servidor, [127, 0, 0, 4], "3"), "CA");
    assert!(!servidor.consola().contains("sobra"));

    let grande = crate::analizador_simulado::mensaje_de("5", 1_500_000);
    for (ip, contestado, veredicto) in [
        (HEMATOLOGIA, "|ACK^R01|", "AR"),
        (QUIMICA, "|QCK^Q02|", "AA"),
    ] {
        let mut equipo = Analizador::desde(ip, servidor.puerto);
        equipo.enviar(&enmarcar(CONSULTA));
        let acuse = String::from_utf8(equipo.acuse().bytes).unwrap();
        assert!(acuse.contains(contestado), "{acuse}");
        equipo.enviar_mensaje(&grande);
        assert_eq!(equipo.acuse().codigo, veredicto);
    }
}

#[test]
fn la_seccion_de_un_equipo_vale_tambien_si_se_le_llama() {
    let equipo = TcpListener::bind("127.0.0.1:0").unwrap();
    let puerto = equipo.local_addr().unwrap().port();
    let servidor = Servidor::con(&format!(
        "[Llamar]\nBC-20 = 127.0.0.1:{puerto}\n[BC-20]\nCodigoAcuse = CA\n"
    ));
    let mut llamado = Analizador::llamado(&equipo);
    llamado.enviar_mensaje(&mensaje("1"));
    assert_eq!(llamado.acuse().codigo, "CA");
    assert_eq!(codigo(&servidor, [127, 0, 0, 1], "2"), "AA");
}

#[test]
fn un_mismo_nombre_en_equipos_y_en_llamar_es_el_mismo_equipo() {
    let equipo = TcpListener::bind("127.0.0.1:0").unwrap();
    let puerto = equipo.local_addr().unwrap().port();
    let servidor = Servidor::con(&format!(
        "[Equipos]\nQuímica = 127.0.0.3\n[Llamar]\nQUIMICA = 127.0.0.1:{puerto}\n[química]\nCodigoAcuse = CA\n"
    ));
    let mut llamado = Analizador::llamado(&equipo);
    servidor.esperar_linea(&format!(
        "Conexión Establecida con Química (127.0.0.1:{puerto})"
    ));
    llamado.enviar_mensaje(&mensaje("1"));
    assert_eq!(llamado.acuse().codigo, "CA");
    assert_eq!(codigo(&servidor, QUIMICA, "2"), "CA");
    for numero in ["«1»", "«2»"] {
        let linea = servidor.esperar_linea(numero);
        assert!(linea.contains(" CA        Química "), "{linea}");
    }
}

#[test]
fn lo_que_no_puede_estar_en_la_seccion_de_un_equipo_se_avisa_con_lo_que_hay_que_hacer() {
    let servidor = Servidor::con(&format!(
        "{EQUIPOS}[Química]\nDireccion = 1\nCodigoAcusse = CA\n[Quimca]\nAcuse = clasico\n[Gasometría]\n"
    ));
    servidor.esperar_linea("sobra la clave «Direccion» de [Química] (vale para todos los equipos: solo puede estar en [Servidor])");
    servidor.esperar_linea("«CodigoAcusse» de [Química] (¿quiso decir CodigoAcuse?): nadie la lee");
    servidor.esperar_linea("sobra la sección [Quimca] (¿quiso decir [Química]?)");
    servidor.esperar_linea(
        "sobra la sección [Gasometría] (ningún equipo de [Equipos] ni de [Llamar] se llama así)",
    );
}

#[test]
fn revisar_dice_en_que_se_trata_distinto_a_cada_equipo() {
    let servidor = Servidor::con(&format!(
        "[Llamar]\nBC-20 = 127.0.0.1:9\n{EQUIPOS}\
         [Química]\nCodigoAcuse = CA\nMaxMensajeMiB = 8\n[bc-20]\nAvisoSilencioMin = 90\n"
    ));
    let salida = ejecutar(orden(&servidor.carpeta).arg("--revisar"));
    let dicho = String::from_utf8(salida.stdout).unwrap();
    for esperado in [
        "bien  equipo     Hematología (127.0.0.2): todo como en [Servidor]\n",
        "bien  equipo     Química (127.0.0.3): CodigoAcuse = CA; MaxMensajeMiB = 8; lo demás como en [Servidor]\n",
        "bien  equipo     BC-20 (127.0.0.1:9): AvisoSilencioMin = 90; lo demás como en [Servidor]\n",
    ] {
        assert!(
            dicho.contains(esperado),
            "«{esperado}» no está en «{dicho}»"
        );
    }
}

/// Los mensajes de la carpeta de un equipo, o de Directorio.
fn mensajes_en(servidor: &Servidor, carpeta: &str) -> Vec<Vec<u8>> {
    contenidos(&servidor.mensajes().join(carpeta), "res")
}

#[test]
fn con_carpeta_por_equipo_lo_de_cada_uno_va_a_la_suya_y_lo_de_los_demas_a_directorio() {
    let espera = TcpListener::bind("127.0.0.1:0").unwrap();
    let puerto = espera.local_addr().unwrap().port();
    let servidor = Servidor::con(&format!(
        "CarpetaPorEquipo = sí\n{EQUIPOS}[Llamar]\nBC-20 (sala 2) = 127.0.0.1:{puerto}\n"
    ));
    let mut llamado = Analizador::llamado(&espera);
    for equipo in ["Hematología", "Química", "BC-20 (sala 2)"] {
        assert!(servidor.mensajes().join(equipo).is_dir(), "{equipo}");
    }
    for numero in 0..3 {
        Analizador::desde(HEMATOLOGIA, servidor.puerto).entregar(&format!("H{numero}"));
        Analizador::desde(QUIMICA, servidor.puerto).entregar(&format!("Q{numero}"));
        llamado.entregar(&format!("B{numero}"));
        servidor.conectar().entregar(&format!("S{numero}"));
    }
    for (carpeta, inicial) in [
        ("Hematología", "H"),
        ("Química", "Q"),
        ("BC-20 (sala 2)", "B"),
        ("", "S"),
    ] {
        let esperados: Vec<_> = (0..3)
            .map(|numero| mensaje(&format!("{inicial}{numero}")))
            .collect();
        assert_eq!(mensajes_en(&servidor, carpeta), esperados, "{carpeta}");
    }
    let fila = servidor.esperar_linea(" «Q0» ");
    assert!(fila.contains(" Química "), "{fila}");
    // Lo que no es un mensaje va al mismo sitio, sea de quien sea.
    let mut malo = Analizador::desde(QUIMICA, servidor.puerto);
    malo.enviar_mensaje(b"hola");
    assert_eq!(malo.acuse().codigo, "AR");
    assert_eq!(servidor.apartados("no_hl7"), [b"hola"]);
}

#[test]
fn la_carpeta_de_un_equipo_que_alguien_borra_se_crea_otra_vez_y_se_avisa() {
    let servidor = Servidor::con(&format!("CarpetaPorEquipo = si\n{EQUIPOS}"));
    let mut equipo = Analizador::desde(QUIMICA, servidor.puerto);
    equipo.entregar("1");
    for (borrada, numero) in [
        (servidor.mensajes().join("Química"), "2"),
        (servidor.mensajes(), "3"),
    ] {
        std::fs::remove_dir_all(borrada).unwrap();
        equipo.entregar(numero);
        assert_eq!(mensajes_en(&servidor, "Química"), [mensaje(numero)]);
    }
    let linea = servidor.esperar_linea("no estaba y se volvió a crear");
    assert!(linea.contains("Química»"), "{linea}");
}

#[test]
fn dos_servidores_en_las_mismas_carpetas_de_los_equipos_no_pisan_nada() {
    let claves = format!("CarpetaPorEquipo = si\n{EQUIPOS}");
    let uno = Servidor::con(&claves);
    let otro = Servidor::con(&format!(
        "Directorio = {}\n{claves}",
        uno.mensajes().display()
    ));
    thread::scope(|hilos| {
        for hilo in 0..8 {
            let servidor = if hilo % 2 == 0 { &uno } else { &otro };
            hilos.spawn(move || {
                let mut equipo = Analizador::desde(QUIMICA, servidor.puerto);
                (0..40).for_each(|numero| equipo.entregar(&format!("{hilo}-{numero}")));
            });
        }
    });
    let distintos: HashSet<_> = mensajes_en(&uno, "Química").into_iter().collect();
    assert_eq!(distintos.len(), 8 * 40);
    assert!(mensajes_en(&uno, "").is_empty());
}

#[test]
fn revisar_prueba_la_carpeta_de_cada_equipo_y_no_deja_nada_en_ella() {
    let servidor = Servidor::con(EQUIPOS);
    escribir_ini(
        &servidor.carpeta,
        &format!("CarpetaPorEquipo = si\n{EQUIPOS}"),
    );
    let salida = ejecutar(orden(&servidor.carpeta).arg("--revisar"));
    assert!(salida.status.success());
    let suya = servidor.mensajes().join("Química");
    assert_eq!(std::fs::read_dir(&suya).unwrap().count(), 0);
    std::fs::remove_dir(&suya).unwrap();
    std::fs::write(&suya, "un archivo").unwrap();
    let salida = ejecutar(orden(&servidor.carpeta).arg("--revisar"));
    assert!(!salida.status.success());
    let dicho = String::from_utf8(salida.stdout).unwrap();
    assert!(
        dicho.contains("MAL   carpeta    no se pudo crear la carpeta en «"),
        "{dicho}"
    );
    assert!(dicho.contains("Química»: ya hay un archivo"), "{dicho}");
}

#[test]
fn los_equipos_con_nombre_estan_siempre_en_la_tabla_y_los_que_no_entregan_nada_no() {
    let mut servidor = Servidor::con_orden(
        &format!("[Llamar]\nBC-20 = 127.0.0.1:9\n{EQUIPOS}"),
        interrumpible,
    );
    let _callado = Analizador::desde(HEMATOLOGIA, servidor.puerto);
    let _explorador = Analizador::desde([127, 0, 0, 9], servidor.puerto);
    Analizador::desde(QUIMICA, servidor.puerto).entregar("1");
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("Servidor detenido");
    let consola = servidor.consola();
    assert!(!consola.contains("INFO  127.0.0.9 "), "{consola}");
    for (equipo, ultimo) in [
        ("Hematología", "ninguno"),
        ("BC-20", "ninguno"),
        ("Química", " ms"),
    ] {
        let fila = |linea: &&str| linea.contains(&format!(" {equipo} ")) && linea.contains(ultimo);
        assert!(
            consola.lines().any(|linea| fila(&linea)),
            "{equipo}: {consola}"
        );
    }
}

#[test]
fn la_tabla_cuenta_las_consultas_de_cada_equipo_a_las_que_no_hay_nada_que_contestar() {
    let mut servidor = Servidor::con_orden(EQUIPOS, interrumpible);
    let mut equipo = Analizador::desde(QUIMICA, servidor.puerto);
    for _ in 0..3 {
        equipo.enviar_mensaje(CONSULTA);
        assert_eq!(equipo.acuse().codigo, "AA");
    }
    equipo.entregar("1");
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("Servidor detenido");
    let consola = servidor.consola();
    let (_, tabla) = consola.split_once("más lento").unwrap();
    let fila = tabla.lines().find(|linea| linea.contains(" Química "));
    let columnas: Vec<_> = fila.unwrap().split_whitespace().skip(1).take(7).collect();
    assert_eq!(columnas, ["Química", "4", "2", "0", "0", "0", "3"]);
}
