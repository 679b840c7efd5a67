use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::analizador_simulado::{Acuse, Analizador, enmarcar, mensaje};
use crate::conversaciones::{bytes, comparar};
use crate::servidor_de_prueba::{Servidor, esperar};

fn carpeta() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn indice(archivo: &str) -> Vec<Value> {
    let texto = fs::read_to_string(carpeta().join(archivo)).unwrap();
    serde_json::from_str::<Vec<Value>>(&texto).unwrap()
}

fn texto<'a>(fila: &'a Value, clave: &str) -> &'a str {
    fila[clave].as_str().unwrap()
}

/// El acuse entero de cada archivo con trama, como está escrito en `acuses.txt`.
struct Acuses(HashMap<String, Vec<u8>>);

impl Acuses {
    fn leer() -> Acuses {
        let texto = fs::read_to_string(carpeta().join("acuses.txt")).unwrap();
        let filas = texto.lines().filter(|linea| !linea.starts_with('#'));
        let filas = filas.map(|fila| fila.split_once(": ").unwrap());
        Acuses(
            filas
                .map(|(archivo, acuse)| (archivo.to_owned(), bytes(acuse)))
                .collect(),
        )
    }

    fn comparar(&self, fila: &Value, acuse: &Acuse) {
        let archivo = texto(fila, "file");
        let esperado = self.0.get(archivo).unwrap_or_else(|| {
            let recibido = acuse.bytes.escape_ascii();
            panic!("falta en acuses.txt: «{archivo}: {recibido}»")
        });
        comparar(archivo, &acuse.bytes, esperado);
    }
}

/// El acuse clásico entero de un mensaje con ese MSH-10.
fn clasico(id: &[u8]) -> Vec<u8> {
    let (antes, despues) = (
        "MSH|^~\\&|ReceivingApp|ReceivingFacility|SendingApp|SendingFacility|<HORA>||ACK^R01|",
        "|P|2.5|||||latin-1|||NE<CR>MSA|AA|",
    );
    [&bytes(antes), id, &bytes(despues), id, b"|\r"].concat()
}

/// MSH-10 de la fila como bytes: el índice lo lleva leído como Latin-1.
fn msh10(fila: &Value) -> Vec<u8> {
    texto(fila, "msh10")
        .chars()
        .map(|letra| u8::try_from(u32::from(letra)).unwrap())
        .collect()
}

/// Lo que el índice dice de MSH-9 en el acuse, p. ej. `ACK^R22^ACK`.
fn tipo_esperado(fila: &Value) -> Option<&str> {
    let palabra = texto(fila, "reply").split([' ', ',']).next().unwrap();
    (palabra.starts_with("ACK") && texto(fila, "verdict").starts_with("ACCEPT")).then_some(palabra)
}

#[test]
fn cada_mensaje_del_corpus_recibe_el_veredicto_de_su_indice() {
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    let acuses = Acuses::leer();
    let filas = indice("index.json");
    assert!(filas.len() >= 67);
    let mut guardados = Vec::new();
    for fila in &filas {
        let bytes = fs::read(carpeta().join(texto(fila, "file"))).unwrap();
        equipo.enviar_mensaje(&bytes);
        let veredicto = texto(fila, "verdict");
        match veredicto.split(' ').next().unwrap() {
            "QUERY" => {
                let respuesta = equipo.acuse();
                acuses.comparar(fila, &respuesta);
                let nombrada = texto(fila, "reply");
                let campos: Vec<_> = respuesta.bytes.split(|octeto| *octeto == b'|').collect();
                let tipo = nombrada.split([' ', ':']).next().unwrap();
                assert_eq!(campos[8], tipo.as_bytes(), "{fila}");
                let codigo = if nombrada.contains("MSA|AR") {
                    "AR"
                } else {
                    "AA"
                };
                assert_eq!(
                    (respuesta.codigo.as_str(), respuesta.id),
                    (codigo, msh10(fila))
                );
                let segmentos = [("ERR|0|", "\rERR|0|\r"), ("QAK|SR|NF|", "\rQAK|SR|NF|\r")];
                for (nombrado, segmento) in segmentos {
                    if nombrada.contains(nombrado) {
                        assert!(
                            respuesta
                                .bytes
                                .windows(segmento.len())
                                .any(|s| s == segmento.as_bytes()),
                            "{fila}"
                        );
                    }
                }
                guardados.push(bytes);
            }
            "ACCEPT" => {
                let acuse = equipo.acuse();
                acuses.comparar(fila, &acuse);
                assert_eq!(acuse.codigo, "AA", "{fila}");
                assert_eq!(acuse.id, msh10(fila), "{fila}");
                assert!(acuse.con_trama, "{fila}");
                let campos: Vec<_> = acuse
                    .bytes
                    .split(|octeto| *octeto == acuse.bytes[3])
                    .collect();
                if let Some(tipo) = tipo_esperado(fila) {
                    assert_eq!(campos[8], tipo.as_bytes(), "{fila}");
                }
                guardados.push(bytes);
            }
            "REJECT" => {
                let acuse = equipo.acuse();
                acuses.comparar(fila, &acuse);
                assert_eq!(acuse.codigo, "AR", "{fila}");
            }
            // Que no se contestó se ve en que el próximo acuse es el del mensaje siguiente.
            "NO-REPLY" | "IGNORE" => {}
            otro => panic!("veredicto «{otro}»"),
        }
    }
    equipo.entregar("ULTIMO");
    guardados.push(mensaje("ULTIMO"));
    assert!(
        servidor.archivos() == guardados,
        "los archivos no son los mensajes, en orden"
    );
    // Las tres respuestas no llevan más que MSH, MSA y ERR.
    assert_eq!(servidor.apartados("respuesta").len(), 0);
    assert_eq!(servidor.apartados("no_hl7").len(), 3);
}

#[test]
fn cada_mensaje_del_corpus_se_recibe_tambien_sin_trama() {
    let servidor = Servidor::con("EsperaSinTramaMs = 50");
    let mut esperados = Vec::new();
    for fila in indice("index.json") {
        if !texto(&fila, "verdict").starts_with("ACCEPT") {
            continue;
        }
        let bytes = fs::read(carpeta().join(texto(&fila, "file"))).unwrap();
        let mut equipo = servidor.conectar();
        equipo.enviar(&bytes);
        equipo.dejar_de_enviar();
        let acuse = equipo.acuse();
        comparar(texto(&fila, "file"), &acuse.bytes, &clasico(&msh10(&fila)));
        assert_eq!(
            (acuse.codigo.as_str(), acuse.con_trama),
            ("AA", false),
            "{fila}"
        );
        // Lo que precede al MSH es ruido cuando no hay trama que lo abarque.
        let comienzo = bytes
            .iter()
            .position(|octeto| b"MmF".contains(octeto))
            .unwrap();
        esperados.push(bytes[comienzo..].to_vec());
    }
    assert!(
        servidor.archivos() == esperados,
        "los archivos no son los mensajes, en orden"
    );
}

/// Donde DESIGN y el índice difieren vale DESIGN: un mensaje sobre el límite se contesta al
/// acabar, y este no acaba.
#[test]
fn cada_caso_de_cable_hace_lo_que_dice_su_indice() {
    let cortes: Value =
        serde_json::from_str(&fs::read_to_string(carpeta().join("cable/fragments.json")).unwrap())
            .unwrap();
    let filas = indice("cable/index.json");
    assert!(filas.len() >= 32);
    for fila in &filas {
        let nombre = texto(fila, "file");
        let bytes = fs::read(carpeta().join("cable").join(nombre)).unwrap();
        let enteros = vec![0];
        let partidos = cortes[nombre]["cuts"].as_array().map(|cortes| {
            cortes
                .iter()
                .map(|corte| usize::try_from(corte.as_u64().unwrap()).unwrap())
                .collect()
        });
        for cortes in [Some(enteros), partidos].into_iter().flatten() {
            probar_caso(fila, &bytes, &cortes);
        }
    }
}

fn probar_caso(fila: &Value, bytes: &[u8], cortes: &[usize]) {
    let servidor = Servidor::con("MaxMensajeMiB = 1\nEsperaSinTramaMs = 100");
    let mut equipo = servidor.conectar();
    let mut desde = 0;
    for hasta in cortes.iter().copied().chain([bytes.len()]) {
        equipo.enviar(&bytes[desde..hasta]);
        desde = hasta;
        // Casi siempre basta para que cada trozo llegue en su propia lectura. Si alguna vez llegan dos
        // juntos, lo que se espera es lo mismo.
        std::thread::sleep(Duration::from_millis(2));
    }
    let esperados = fila["expect_acks"].as_u64().unwrap();
    let mut ids: Vec<Vec<u8>> = Vec::new();
    for _ in 0..esperados {
        let acuse = equipo.acuse();
        if acuse.codigo == "AA" {
            ids.push(acuse.id);
        } else {
            assert!(
                texto(fila, "flags").contains("first reply AR") && ids.is_empty(),
                "{fila}"
            );
        }
    }
    let ids_esperados: Vec<_> = fila["expect_ids"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap().as_bytes().to_vec())
        .collect();
    assert_eq!(ids, ids_esperados, "{fila}");
    // Al dejar de enviar no queda nada por contestar: el servidor cierra sin decir más.
    equipo.dejar_de_enviar();
    assert_eq!(equipo.esperar_cierre(), b"", "{fila}");
    assert_eq!(servidor.archivos().len(), ids.len(), "{fila}");
    let nombre = texto(fila, "file");
    if let Some((_, pista)) = INDICIOS.iter().find(|(caso, _)| *caso == nombre) {
        servidor.esperar_linea(pista);
    }
    if let Some((_, motivo)) = APARTADOS.iter().find(|(caso, _)| *caso == nombre) {
        servidor.esperar_apartados(motivo, 1);
    }
}

const INDICIOS: [(&str, &str); 7] = [
    ("http_get.bin", "HTTP"),
    ("tls_client_hello.bin", "TLS"),
    ("astm_enq.bin", "ASTM"),
    ("astm_session.bin", "ASTM"),
    ("astm_keepalive.bin", "ASTM"),
    ("utf16_whole.bin", "UTF-16"),
    ("junk_text_before_vt.bin", "no es HL7 y se descarta"),
];

const APARTADOS: [(&str, &str); 5] = [
    ("half_frame_then_close.bin", "cortado"),
    ("vt_restart_cut_frame.bin", "reiniciado"),
    ("not_hl7_in_frame.bin", "no_hl7"),
    ("utf16_whole.bin", "cortado"),
    ("oversize_start.bin", "cortado"),
];

#[test]
fn un_mensaje_reenviado_se_vuelve_a_acusar_y_a_guardar() {
    let servidor = Servidor::arrancar();
    let mut equipo: Analizador = servidor.conectar();
    let trama = enmarcar(&mensaje("389"));
    equipo.enviar(&[trama.clone(), trama].concat());
    equipo.esperar_aa("389");
    equipo.esperar_aa("389");
    esperar("los dos archivos", || {
        (servidor.archivos().len() == 2).then_some(())
    });
}
