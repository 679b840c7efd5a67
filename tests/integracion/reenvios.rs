//! Lo que llega dos veces: se guarda, se acusa y se ve.

use std::fs;

#[cfg(target_os = "linux")]
use crate::analizador_simulado::Analizador;
use crate::analizador_simulado::mensaje;
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, contenidos, interrumpible};

/// Cuántas líneas de la consola dicen que algo es un reenvío.
fn marcas(servidor: &Servidor) -> usize {
    let consola = servidor.consola();
    consola
        .lines()
        .filter(|l| l.contains(" repetido de "))
        .count()
}

#[test]
fn un_reenvio_se_guarda_se_acusa_y_se_ve_aunque_venga_por_otra_conexion() {
    let mut servidor = Servidor::con_orden("", interrumpible);
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    // El acuse se perdió: el equipo cierra, vuelve y envía lo mismo.
    drop(equipo);
    servidor.conectar().entregar("1");
    let linea = servidor.esperar_linea(" repetido de HL7_ORU_");
    assert!(linea.contains(" AA "), "{linea}");
    assert_eq!(servidor.archivos(), [mensaje("1"), mensaje("1")]);
    servidor.interrumpir();
    servidor.esperar_fin();
    servidor.esperar_linea("Servidor detenido");
    let consola = servidor.consola();
    let (_, tabla) = consola.split_once("más lento").unwrap();
    let columnas: Vec<_> = tabla.split_whitespace().skip(1).take(3).collect();
    assert_eq!(columnas, ["127.0.0.1", "2", "1"], "{tabla}");
}

#[cfg(target_os = "linux")]
#[test]
fn lo_que_no_es_lo_ultimo_de_ese_equipo_no_es_un_reenvio() {
    let mut servidor = Servidor::con("AcuseDeFallo = AE");
    let mut equipo = servidor.conectar();
    for id in ["A", "B", "A"] {
        equipo.entregar(id);
    }
    Analizador::desde([127, 0, 0, 2], servidor.puerto).entregar("A");
    // Lo que recibió AE no está guardado: que llegue otra vez no es un reenvío.
    let mensajes = servidor.mensajes();
    std::fs::remove_dir_all(&mensajes).unwrap();
    std::fs::write(&mensajes, "un archivo").unwrap();
    equipo.enviar_mensaje(&mensaje("C"));
    assert_eq!(equipo.acuse().codigo, "AE");
    std::fs::remove_file(&mensajes).unwrap();
    equipo.entregar("C");
    // Ni se recuerda nada de antes de arrancar.
    servidor.matar();
    servidor.reiniciar();
    servidor.conectar().entregar("C");
    servidor.esperar_linea(" «C» ");
    assert_eq!(marcas(&servidor), 0, "{}", servidor.consola());
}

#[test]
fn de_un_reenvio_que_no_se_pudo_guardar_se_ve_eso_y_no_de_que_archivo_lo_es() {
    let servidor = Servidor::con("AcuseDeFallo = AE");
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    let mensajes = servidor.mensajes();
    std::fs::remove_dir_all(&mensajes).unwrap();
    std::fs::write(&mensajes, "un archivo").unwrap();
    equipo.enviar_mensaje(&mensaje("1"));
    assert_eq!(equipo.acuse().codigo, "AE");
    servidor.esperar_linea("(sin archivo)");
    assert_eq!(marcas(&servidor), 0, "{}", servidor.consola());
}

#[test]
fn con_repetidos_apartar_queda_un_solo_res_y_la_copia_en_apartados() {
    let servidor = Servidor::con("Repetidos = apartar");
    let mut equipo = servidor.conectar();
    for id in ["1", "1", "1", "2"] {
        equipo.entregar(id);
    }
    assert_eq!(servidor.archivos(), [mensaje("1"), mensaje("2")]);
    let apartados = contenidos(&servidor.mensajes().join("apartados"), "repetido");
    assert_eq!(apartados, [mensaje("1"), mensaje("1")]);
}

/// Un equipo que no recibe su AA repite lo mismo y no envía otra cosa.
#[test]
fn un_reenvio_que_no_se_puede_apartar_se_guarda_y_se_acusa() {
    let carpeta = carpeta_nueva();
    fs::create_dir(carpeta.join("mensajes")).unwrap();
    fs::write(carpeta.join("mensajes/apartados"), "no es una carpeta").unwrap();
    let servidor = Servidor::en(carpeta, "Repetidos = apartar");
    let mut equipo = servidor.conectar();
    for id in ["1", "1", "2"] {
        equipo.entregar(id);
    }
    servidor.esperar_linea("; el reenvío se guarda con los demás mensajes");
    assert_eq!(
        servidor.archivos(),
        [mensaje("1"), mensaje("1"), mensaje("2")]
    );
}

#[test]
fn un_equipo_que_envia_siempre_lo_mismo_no_llena_la_consola() {
    let servidor = Servidor::con("Sincronizar = no");
    let mut equipo = servidor.conectar();
    for _ in 0..200 {
        equipo.entregar("LATIDO");
    }
    equipo.entregar("FIN");
    servidor.esperar_linea(" «FIN» ");
    assert!(
        (1..50).contains(&marcas(&servidor)),
        "{}",
        marcas(&servidor)
    );
    assert_eq!(servidor.archivos().len(), 201);
}
