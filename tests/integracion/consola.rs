use std::fs;
use std::io::{BufRead, BufReader};

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::servidor_de_prueba::{
    Servidor, Vigilado, carpeta_nueva, con_rust_log, escribir_ini, orden, rutas,
};

#[test]
fn dice_las_frases_del_programa_de_python_y_una_linea_por_mensaje() {
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    let origen = equipo.canal.local_addr().unwrap();
    servidor.esperar_linea("Archivo por Guardar en: ");
    servidor.esperar_linea(&format!(
        "Servidor Escuchando el Puerto {}",
        servidor.puerto
    ));
    servidor.esperar_linea(&format!("Conexión Establecida desde {origen}"));
    equipo.entregar("77");
    let linea = servidor.esperar_linea("«77»");
    let archivo = rutas(&servidor.mensajes(), "res").pop().unwrap();
    let archivo = archivo.file_name().unwrap().to_str().unwrap();
    let bytes = format!(" {} B ", mensaje("77").len());
    for dato in [
        " 127.0.0.1 ",
        "ORU^R01",
        "«77»",
        &bytes,
        archivo,
        " AA ",
        " ms",
    ] {
        assert!(linea.contains(dato), "falta «{dato}» en «{linea}»");
    }
    drop(equipo);
    servidor.esperar_linea(&format!("Conexion cerrada {origen}"));
    assert_eq!(servidor.consola().matches("«77»").count(), 1);
}

#[test]
fn quien_conecta_entrega_y_se_va_es_una_linea_y_quien_no_dice_nada_ninguna() {
    let consola = || {
        let servidor = Servidor::arrancar();
        for numero in 0..20 {
            drop(servidor.conectar());
            servidor.conectar().entregar(&numero.to_string());
        }
        servidor.esperar_linea("«19»");
        servidor.consola()
    };
    // Quien tarda un segundo en enviar sí dice que conecta y que se va, y una máquina ocupada puede hacer
    // tardar a alguno de los veinte: basta con que una vez no tarde ninguno.
    let consolas: Vec<_> = (0..3).map(|_| consola()).collect();
    let una_cada_uno = consolas.iter().any(|consola| {
        let (_, desde_que_escucha) = consola.split_once("Servidor Escuchando").unwrap();
        desde_que_escucha.lines().count() == 1 + 20
    });
    assert!(una_cada_uno, "{}", consolas[0]);

    let servidor = Servidor::con_orden("", |carpeta| con_rust_log(carpeta, "debug"));
    drop(servidor.conectar());
    servidor.esperar_linea("DEBUG Conexión Establecida desde 127.0.0.1:");
    servidor.esperar_linea("DEBUG Conexion cerrada 127.0.0.1:");
}

#[test]
fn con_rust_log_debug_se_ven_la_cabecera_y_el_acuse() {
    let servidor = Servidor::con_orden("", |carpeta| con_rust_log(carpeta, "debug"));
    servidor.conectar().entregar("77");
    servidor.esperar_linea("acuse: MSH|^~\\&|LIS|HOSP|EQUIPO|LAB|");
    servidor.esperar_linea(
        "cabecera: MSH|^~\\&|EQUIPO|LAB|LIS|HOSP|20260912094501||ORU^R01|77|P|2.3.1",
    );
}

#[test]
fn nada_del_paciente_llega_a_la_consola_a_ningun_nivel() {
    let lineas = "EsperaSinTramaMs = 20\nMaxMensajeMiB = 1";
    let servidor = Servidor::con_orden(lineas, |carpeta| con_rust_log(carpeta, "trace"));
    let paciente = "PID|1||SECRETO||SECRETO^SECRETO\r";
    let cabecera = "MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.5\r";
    let enorme = "SECRETO".repeat(200_000);
    for (envio, linea) in [
        // Bien, sin trama, y con los segmentos sin separar.
        (
            enmarcar(format!("{cabecera}{paciente}").as_bytes()),
            "ORU^R01",
        ),
        (format!("{cabecera}{paciente}").into_bytes(), "ORU^R01"),
        (
            enmarcar(format!("{}{paciente}", cabecera.trim_end()).as_bytes()),
            "ORU^R01",
        ),
        // Rechazado, cortado, ruido, ASTM, demasiado grande, respuesta.
        (enmarcar(paciente.as_bytes()), "no es HL7"),
        (
            format!("\x0B{cabecera}{paciente}").into_bytes(),
            "a mitad de un mensaje",
        ),
        (paciente.as_bytes().to_vec(), "no es HL7 y se descarta"),
        (format!("\x05\x02H|\\^&\r{paciente}").into_bytes(), "ASTM"),
        (
            enmarcar(format!("{cabecera}{paciente}{enorme}").as_bytes()),
            "MaxMensajeMiB",
        ),
        (
            enmarcar(format!("{cabecera}MSA|AA|1|SECRETO\r").as_bytes()),
            "llegó un acuse",
        ),
    ] {
        let mut equipo = servidor.conectar();
        equipo.enviar(&envio);
        equipo.dejar_de_enviar();
        equipo.esperar_cierre();
        servidor.esperar_linea(linea);
    }
    // Una consulta, cuya respuesta copia segmentos suyos.
    for segmentos in [
        "QRD|2026|R|D|1|||RD|SECRETO^SECRETO\rQRF|A|1|2|SECRETO\r",
        "QPD|x|SECRETO|SECRETO\r",
    ] {
        let tipo = if segmentos.starts_with("QRD") {
            "QRY^Q01"
        } else {
            "QBP^Q11"
        };
        let mut equipo = servidor.conectar();
        equipo.enviar_mensaje(
            format!("MSH|^~\\&|A|B|C|D|2026||{tipo}|1|P|2.5\r{segmentos}").as_bytes(),
        );
        assert!(
            equipo
                .acuse()
                .bytes
                .windows(7)
                .any(|trozo| trozo == b"SECRETO")
        );
    }
    // La cola de un mensaje sin trama.
    let mut equipo = servidor.conectar();
    equipo.enviar(cabecera.as_bytes());
    equipo.acuse();
    equipo.enviar(paciente.as_bytes());
    servidor.esperar_linea("suba EsperaSinTramaMs");
    assert!(
        !servidor.consola().contains("SECRETO"),
        "{}",
        servidor.consola()
    );
}

#[test]
fn los_bytes_de_la_red_se_escapan_antes_de_mostrarlos() {
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    equipo.entregar("\u{1b}[31m\u{7}Ñ");
    let linea = servidor.esperar_linea(" AA ");
    assert!(linea.contains("«\\x1B[31m\\x07\\xC3\\x91»"), "{linea}");
    assert!(!servidor.consola().contains(['\u{1b}', '\u{7}', '\u{8}']));
}

/// Un campo enorme no se lleva la consola entera, que es de líneas contadas, ni el registro del día.
#[test]
fn un_msh_10_de_un_megabyte_es_una_linea_corta_y_no_se_pierde_ninguna() {
    let servidor = Servidor::con("Sincronizar = no\n[Registro]\nCarpeta = registro");
    let mut equipo = servidor.conectar();
    let enorme = "L".repeat(1024 * 1024);
    equipo.entregar("ANTES");
    equipo.entregar(&enorme);
    equipo.entregar("DESPUES");
    // Lo que se ve en la consola ya está en el registro, donde MSH-10 va más entero.
    servidor.esperar_linea("«DESPUES»");
    let registro = rutas(&servidor.carpeta.join("registro"), "log");
    let registro = registro.iter().map(|dia| fs::read_to_string(dia).unwrap());
    for (dicho, ancho) in [
        (servidor.consola(), 120),
        (registro.collect::<String>(), 300),
    ] {
        let filas = dicho.lines().filter(|linea| linea.contains(" AA "));
        let letras: Vec<_> = filas.map(|fila| fila.chars().count()).collect();
        assert_eq!(letras.len(), 3, "{letras:?}");
        assert!(letras.iter().all(|letras| *letras < ancho), "{letras:?}");
    }
}

#[test]
fn la_cola_de_un_mensaje_sin_trama_dice_de_que_archivo_es() {
    let servidor = Servidor::con("EsperaSinTramaMs = 30");
    let mut equipo = servidor.conectar();
    for id in ["1", "2"] {
        equipo.enviar(&mensaje(id));
        equipo.esperar_aa(id);
    }
    equipo.enviar(b"OBX|2|NM|URE||40\r");
    let linea = servidor.esperar_linea("llegó el resto de un mensaje sin trama");
    let archivos = rutas(&servidor.mensajes(), "res");
    let suyo = archivos[1].file_name().unwrap().to_str().unwrap();
    assert!(linea.contains(&format!("({suyo})")), "{linea}");
    let cola = rutas(&servidor.mensajes().join("apartados"), "cola");
    let cola = cola[0].file_name().unwrap().to_str().unwrap();
    assert!(linea.contains(cola), "{linea}");
}

#[test]
fn una_consola_que_no_lee_no_retiene_ningun_mensaje_y_luego_dice_cuantas_lineas_omitio() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "Sincronizar = no");
    let (proceso, consola) = Vigilado::lanzar(&mut orden(&carpeta));
    let mut consola = BufReader::with_capacity(64, consola).lines();
    let puerto = consola
        .find_map(|linea| {
            linea
                .unwrap()
                .rsplit_once("Escuchando el Puerto ")
                .map(|(_, puerto)| puerto.parse().unwrap())
        })
        .unwrap();
    // Nadie lee ya la consola: su tubería y la cola se llenan.
    let mut equipo = Analizador::conectar(puerto);
    // Cada uno distinto del anterior: las líneas de los reenvíos se cuentan en lugar de decirse.
    let relleno = "L".repeat(60);
    for vuelta in 0..80 {
        let ids: Vec<_> = (0..100).map(|n| format!("{relleno}{vuelta}-{n}")).collect();
        let tramas = ids.iter().flat_map(|id| enmarcar(&mensaje(id)));
        equipo.enviar(&tramas.collect::<Vec<u8>>());
        for id in &ids {
            equipo.esperar_aa(id);
        }
    }
    let omitidas = consola.find(|linea| {
        linea
            .as_ref()
            .unwrap()
            .contains("la consola no leía: se omitieron")
    });
    assert!(omitidas.is_some());
    drop(proceso);
    fs::remove_dir_all(carpeta).unwrap();
}
