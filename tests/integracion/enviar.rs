use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::analizador_simulado::{FS, enmarcar, mensaje, mensaje_de};
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, ejecutar, ejecutar_con, empezar, orden};

/// Lo que hace un receptor con un mensaje.
enum Paso {
    Escribe(Vec<u8>),
    /// Deja pasar un tiempo: lo que siga llega en otro paquete.
    Calla(Duration),
    Cierra,
}
use Paso::{Calla, Cierra, Escribe};

/// Un receptor que no es este programa.
struct Receptor {
    destino: String,
    recibidos: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Receptor {
    /// Uno que, por cada mensaje con trama, hace lo que se diga de él: el número que hace y el
    /// contenido. Atiende una conexión tras otra.
    fn nuevo(mut hacer: impl FnMut(usize, &[u8]) -> Vec<Paso> + Send + 'static) -> Receptor {
        let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
        let destino = escucha.local_addr().unwrap().to_string();
        let recibidos = Arc::new(Mutex::new(Vec::new()));
        let anotados = Arc::clone(&recibidos);
        thread::spawn(move || {
            for canal in escucha.incoming() {
                atender(&mut canal.unwrap(), &mut hacer, &anotados);
            }
        });
        Receptor { destino, recibidos }
    }

    fn recibidos(&self) -> Vec<Vec<u8>> {
        self.recibidos.lock().unwrap().clone()
    }
}

fn atender(
    canal: &mut TcpStream,
    hacer: &mut impl FnMut(usize, &[u8]) -> Vec<Paso>,
    recibidos: &Mutex<Vec<Vec<u8>>>,
) {
    canal.set_nodelay(true).unwrap();
    let mut pendiente = Vec::new();
    let mut trozo = vec![0; 64 * 1024];
    loop {
        while let Some(fin) = pendiente.windows(2).position(|par| par == [FS, b'\r']) {
            let trama: Vec<u8> = pendiente.drain(..fin + 2).collect();
            let contenido = trama[1..fin].to_vec();
            let cuantos = {
                let mut recibidos = recibidos.lock().unwrap();
                recibidos.push(contenido.clone());
                recibidos.len()
            };
            for paso in hacer(cuantos, &contenido) {
                match paso {
                    Escribe(bytes) => {
                        let _ = canal.write_all(&bytes);
                    }
                    Calla(tiempo) => thread::sleep(tiempo),
                    Cierra => {
                        let _ = canal.shutdown(Shutdown::Both);
                        return;
                    }
                }
            }
        }
        match canal.read(&mut trozo) {
            Ok(0) | Err(_) => return,
            Ok(cuantos) => pendiente.extend_from_slice(&trozo[..cuantos]),
        }
    }
}

/// Un acuse con ese código a ese MSH-10, sin trama.
fn acuse(codigo: &str, id: &str) -> Vec<u8> {
    format!("MSH|^~\\&|LIS||||2026||ACK|R1|P|2.3.1\rMSA|{codigo}|{id}\r").into_bytes()
}

/// El MSH-10 de un mensaje.
fn id(mensaje: &[u8]) -> String {
    let campo = mensaje.split(|octeto| *octeto == b'|').nth(9);
    String::from_utf8(campo.unwrap_or_default().to_vec()).unwrap()
}

fn aceptar(mensaje: &[u8]) -> Vec<Paso> {
    vec![Escribe(enmarcar(&acuse("AA", &id(mensaje))))]
}

/// Lo que dice el programa con esos argumentos, y su código de salida.
fn enviar<A: AsRef<OsStr>>(
    carpeta: &Path,
    argumentos: impl IntoIterator<Item = A>,
) -> (String, i32) {
    let salida = ejecutar(orden(carpeta).arg("--enviar").args(argumentos));
    let dicho = [salida.stdout, salida.stderr].concat();
    let codigo = salida.status.code().unwrap();
    (String::from_utf8(dicho).unwrap(), codigo)
}

/// Lo mismo, y lo que dice debe contener eso.
fn dice(carpeta: &Path, argumentos: &[&str], esperado: &str, codigo: i32) -> String {
    let (dicho, visto) = enviar(carpeta, argumentos);
    assert!(
        dicho.contains(esperado),
        "{argumentos:?}: «{esperado}» no está en «{dicho}»"
    );
    assert_eq!(visto, codigo, "{argumentos:?}: {dicho}");
    dicho
}

/// Los argumentos de la orden con la que el programa dice que se sigue, tras --enviar.
fn para_seguir(dicho: &str) -> Vec<String> {
    let (_, orden) = dicho
        .split_once("; para seguir desde él: servidor-hl7 --enviar ")
        .unwrap_or_else(|| panic!("no dice cómo seguir: {dicho}"));
    let orden = orden.lines().next().unwrap();
    orden.split(' ').map(str::to_owned).collect()
}

/// Una carpeta con tantos mensajes, con nombres como los de verdad, y lo que hay en cada uno.
fn un_dia(cuantos: usize) -> (PathBuf, Vec<Vec<u8>>) {
    let carpeta = carpeta_nueva();
    let dia = carpeta.join("dia");
    fs::create_dir(&dia).unwrap();
    let mensajes: Vec<_> = (0..cuantos)
        .map(|n| mensaje_de(&n.to_string(), n % 700))
        .collect();
    // El orden en que se escriben no es el de los nombres.
    for (n, mensaje) in mensajes.iter().enumerate().rev() {
        fs::write(dia.join(nombre(n)), mensaje).unwrap();
    }
    (carpeta, mensajes)
}

fn nombre(n: usize) -> String {
    // Tres por milisegundo, como en una ráfaga.
    match n % 3 {
        0 => format!("HL7_ORU_{:017}.res", 20_260_912_094_500_000 + n / 3),
        resto => format!(
            "HL7_ORU_{:017}_{resto:04}.res",
            20_260_912_094_500_000 + n / 3
        ),
    }
}

/// Qué se dice de cada manera de contestar, y con qué código se sale. Lo que se contesta se escribe en
/// paquetes; en ellos `{AA}` es un acuse con ese código y `{trama AA}`, el mismo en su trama.
#[rustfmt::skip]
const MANERAS: &[(&str, &[&str], &str, i32)] = &[
    ("un AA es «aceptado»", &["{trama AA}"], "AA (ACK): aceptado (", 0),
    ("un CA es «recibido»", &["{trama CA}"], "CA (ACK): recibido (", 0),
    ("un AE es que no se guardó", &["{trama AE}"], "AE (ACK): no se pudo guardar", 1),
    ("un CE también", &["{trama CE}"], "CE (ACK): no se pudo guardar", 1),
    ("un AR es un rechazo", &["{trama AR}"], "AR (ACK): rechazado", 1),
    ("un CR también", &["{trama CR}"], "CR (ACK): rechazado", 1),
    ("un AE pegado a un CA decide", &["{trama CA}{trama AE}"], "CA (ACK): recibido; AE (ACK): no se pudo", 1),
    ("un AE que sigue a un CA decide", &["{trama CA}", "{trama AE}"], "CA (ACK): recibido; AE (ACK): no se pudo", 1),
    ("un AA que sigue a un CA decide", &["{trama CA}", "{trama AA}"], "CA (ACK): recibido; AA (ACK): aceptado (", 0),
    ("un AE pegado a un AA no se pierde", &["{trama AA}{trama AE}"], "AA (ACK): aceptado; AE (ACK): no se pudo", 1),
    ("FS CR LF acaba un acuse", &["{trama AA}\n"], "aceptado (", 0),
    ("FS LF también", &["\x0b{AA}\x1c\n"], "aceptado (", 0),
    ("un FS solo también", &["\x0b{AA}\x1c"], "aceptado (", 0),
    ("un FS solo tras un campo también", &["\x0b{AA sin CR}\x1c"], "aceptado (", 0),
    ("LF delante de VT es ruido", &["\n{trama AA}"], "aceptado (", 0),
    ("VT VT es un comienzo", &["\x0b{trama AA}"], "aceptado (", 0),
    ("un acuse sin trama vale", &["{AA}"], "aceptado (", 0),
    ("un acuse sin trama ni CR vale", &["{AA sin CR}"], "aceptado (", 0),
    ("un acuse sin trama y con LF vale", &["{AA con LF}"], "aceptado (", 0),
    ("dos acuses sin trama son dos", &["{CA}{AE}"], "recibido; AE (ACK): no se pudo", 1),
    ("STX y ETX son una trama", &["\x02{AA}\x03"], "aceptado (", 0),
    ("un acuse sin MSA-2 vale", &["{AA sin MSA-2}"], "aceptado (", 0),
    ("el acuse de algo que no se envió no vale", &["{AA de otro}"], "es el acuse de otro mensaje; su MSA-2 no es el MSH-10 enviado", 1),
    ("0x06 es el acuse de entrega de MLLP 2", &["\x0b\x06\x1c\r"], "acuse de entrega MLLP 2 (0x06): recibido (", 0),
    ("0x06 sin trama también", &["\x06"], "acuse de entrega MLLP 2 (0x06): recibido (", 0),
    ("tras un 0x06 decide el acuse", &["\x0b\x06\x1c\r{trama AE}"], "(0x06): recibido; AE (ACK): no se pudo", 1),
    ("tras un 0x06 el acuse puede tardar", &["\x0b\x06\x1c\r", "{trama AA}"], "(0x06): recibido; AA (ACK): aceptado (", 0),
    ("0x15 es un rechazo", &["\x0b\x15\x1c\r"], "rechazo de entrega MLLP 2 (0x15) (", 1),
    ("un texto no es HL7", &["hola"], "contestó algo que no es HL7 (", 1),
    ("una trama sin HL7 tampoco", &["\x0bhola\x1c\r"], "contestó algo que no es HL7 (", 1),
    ("HTTP tampoco", &["HTTP/1.1 400 Bad Request\r\n\r\n"], "contestó algo que no es HL7 (", 1),
    ("un mensaje no es un acuse", &["\x0bMSH|^~\\&|LIS||||2026||ORM^O01|1|P|2.5\rPID|1\r\x1c\r"], "un código que no es de un acuse", 1),
];

/// Los paquetes de una de esas maneras.
fn paquetes(escritos: &[&str]) -> Vec<Vec<u8>> {
    let mut sustituciones = Vec::new();
    for codigo in ["AA", "AE", "AR", "CA", "CE", "CR"] {
        let texto = String::from_utf8(acuse(codigo, "A")).unwrap();
        sustituciones.push((format!("{{trama {codigo}}}"), format!("\x0b{texto}\x1c\r")));
        sustituciones.push((format!("{{{codigo} sin CR}}"), texto.trim_end().to_owned()));
        sustituciones.push((format!("{{{codigo} con LF}}"), texto.replace('\r', "\n")));
        sustituciones.push((format!("{{{codigo}}}"), texto));
    }
    for (nombre, id) in [("{AA sin MSA-2}", ""), ("{AA de otro}", "OTRO")] {
        let texto = String::from_utf8(enmarcar(&acuse("AA", id))).unwrap();
        sustituciones.push((nombre.to_owned(), texto));
    }
    let sustituir = |escrito: &&str| {
        let sustituidas = sustituciones.iter();
        sustituidas
            .fold((*escrito).to_owned(), |texto, (nombre, valor)| {
                texto.replace(nombre, valor)
            })
            .into_bytes()
    };
    escritos.iter().map(sustituir).collect()
}

#[test]
fn cada_manera_de_contestar_se_lee_como_lo_que_es() {
    let carpeta = carpeta_nueva();
    fs::write(carpeta.join("a.hl7"), mensaje("A")).unwrap();
    for (afirmacion, escritos, esperado, codigo) in MANERAS {
        let receptor = Receptor::nuevo(move |_, _| contestar(paquetes(escritos)));
        let comienzo = Instant::now();
        let (dicho, visto) = enviar(&carpeta, ["a.hl7", "--a", &receptor.destino]);
        assert!(
            dicho.contains(esperado) && visto == *codigo,
            "{afirmacion}: «{esperado}» con {codigo}; se vio {visto} y «{dicho}»"
        );
        let tardo = comienzo.elapsed();
        assert!(tardo < Duration::from_secs(30), "{afirmacion}: {tardo:?}");
    }
    // Y si llega byte a byte, también.
    let receptor = Receptor::nuevo(|_, _| {
        let acuse = enmarcar(&acuse("AA", "A"));
        contestar(acuse.iter().map(|octeto| vec![*octeto]))
    });
    dice(
        &carpeta,
        &["a.hl7", "--a", &receptor.destino],
        "aceptado (",
        0,
    );
    fs::remove_dir_all(carpeta).unwrap();
}

fn contestar(paquetes: impl IntoIterator<Item = Vec<u8>>) -> Vec<Paso> {
    let mut pasos = Vec::new();
    for paquete in paquetes {
        pasos.push(Escribe(paquete));
        pasos.push(Calla(Duration::from_millis(20)));
    }
    pasos
}

#[test]
fn la_latencia_es_la_del_ultimo_byte_y_no_la_del_silencio_que_lo_confirma() {
    // Sin FS CR, el lector espera 300 ms a que no siga nada.
    let receptor = Receptor::nuevo(|_, mensaje| {
        let mut acuse = enmarcar(&acuse("AA", &id(mensaje)));
        acuse.pop();
        vec![Escribe(acuse)]
    });
    let carpeta = carpeta_nueva();
    // En una máquina ocupada un acuse puede tardar tanto de veras; no veinte seguidos.
    let (dicho, codigo) = enviar(&carpeta, ["--repetir", "20", "--a", &receptor.destino]);
    assert_eq!(codigo, 0, "{dicho}");
    let mejor = dicho
        .lines()
        .filter_map(|linea| linea.strip_suffix(" ms)")?.rsplit('(').next())
        .map(|tiempo| tiempo.replace(',', ".").parse::<f64>().unwrap())
        .fold(f64::MAX, f64::min);
    assert!(mejor < 300.0, "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn el_acuse_de_un_mensaje_anterior_no_se_toma_por_el_del_siguiente() {
    let receptor = Receptor::nuevo(|cuantos, mensaje| {
        let viejo = enmarcar(&acuse("AA", "0"));
        let suyo = enmarcar(&acuse("AA", &id(mensaje)));
        match cuantos {
            2 => vec![
                Escribe(viejo),
                Calla(Duration::from_millis(50)),
                Escribe(suyo),
            ],
            _ => vec![Escribe(suyo)],
        }
    });
    let (carpeta, _) = un_dia(3);
    let dicho = dice(
        &carpeta,
        &["dia", "--a", &receptor.destino],
        "enviados: 3, aceptados: 3;",
        0,
    );
    let tarde = format!(
        "{}: AA (ACK): aceptado; este acuse llegó después de seguir con otro mensaje\n",
        Path::new("dia").join(nombre(0)).display()
    );
    assert!(dicho.contains(&tarde), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn un_rechazo_que_llega_tarde_no_se_pasa_por_alto() {
    let receptor = Receptor::nuevo(|cuantos, mensaje| {
        let recibido = enmarcar(&acuse("CA", &id(mensaje)));
        if cuantos == 2 {
            let tarde = enmarcar(&acuse("AE", "0"));
            return vec![Escribe([tarde, recibido].concat())];
        }
        vec![Escribe(recibido)]
    });
    let (carpeta, _) = un_dia(4);
    let dicho = dice(
        &carpeta,
        &["dia", "--a", &receptor.destino],
        "AE (ACK): no se pudo guardar; mire la consola del servidor; este acuse llegó después",
        1,
    );
    assert!(dicho.contains("enviados: 2, aceptados: 1;"), "{dicho}");
    let siguen = para_seguir(&dicho);
    assert_eq!(
        siguen[..3],
        ["dia".to_owned(), "--desde".to_owned(), nombre(2)]
    );
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn un_rechazo_tardio_a_mitad_de_un_archivo_no_se_salta_el_resto() {
    let receptor = Receptor::nuevo(|cuantos, mensaje| {
        let recibido = enmarcar(&acuse("CA", &id(mensaje)));
        if cuantos == 2 {
            let tarde = enmarcar(&acuse("AE", "A"));
            return vec![Escribe([tarde, recibido].concat())];
        }
        vec![Escribe(recibido)]
    });
    let carpeta = carpeta_nueva();
    let tramas = ["A", "B", "C"].map(|id| enmarcar(&mensaje(id))).concat();
    fs::write(carpeta.join("tres.hl7"), tramas).unwrap();
    fs::write(carpeta.join("z.hl7"), mensaje("Z")).unwrap();
    let argumentos = ["tres.hl7", "z.hl7", "--a", &receptor.destino];
    let dicho = dice(&carpeta, &argumentos, "enviados: 2, aceptados: 1;", 1);
    assert_eq!(para_seguir(&dicho), argumentos);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn cada_mensaje_de_un_lote_puede_tener_su_acuse_en_el_mismo_paquete() {
    let carpeta = carpeta_nueva();
    fs::write(
        carpeta.join("lote.hl7"),
        [mensaje("A"), mensaje("B")].concat(),
    )
    .unwrap();
    for (segundo, esperado, codigo) in [
        (
            "AA",
            "lote.hl7: AA (ACK): aceptado; AA (ACK): aceptado (",
            0,
        ),
        (
            "AE",
            "lote.hl7: AA (ACK): aceptado; AE (ACK): no se pudo guardar",
            1,
        ),
    ] {
        let receptor = Receptor::nuevo(move |_, _| {
            let acuses = [acuse("AA", "A"), acuse(segundo, "B")];
            vec![Escribe(acuses.map(|acuse| enmarcar(&acuse)).concat())]
        });
        dice(
            &carpeta,
            &["lote.hl7", "--a", &receptor.destino],
            esperado,
            codigo,
        );
        assert_eq!(receptor.recibidos().len(), 1);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

/// Hay quien acusa el último de un lote, y puede estar lejos de su comienzo.
#[test]
fn el_acuse_de_cualquier_mensaje_de_un_lote_largo_es_suyo() {
    let carpeta = carpeta_nueva();
    let lote: Vec<u8> = (0..5000).flat_map(|id| mensaje(&id.to_string())).collect();
    assert!(lote.len() > 5 * 64 * 1024);
    fs::write(carpeta.join("lote.hl7"), lote).unwrap();
    for id in [0, 1234, 4999] {
        let receptor =
            Receptor::nuevo(move |_, _| vec![Escribe(enmarcar(&acuse("AA", &id.to_string())))]);
        let argumentos = ["lote.hl7", "--a", &receptor.destino];
        dice(&carpeta, &argumentos, "lote.hl7: AA (ACK): aceptado (", 0);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn un_receptor_que_cierra_tras_cada_acuse_lo_recibe_todo() {
    let receptor = Receptor::nuevo(|_, mensaje| {
        let mut pasos = aceptar(mensaje);
        pasos.push(Cierra);
        pasos
    });
    let (carpeta, mensajes) = un_dia(30);
    dice(
        &carpeta,
        &["dia", "--a", &receptor.destino],
        "enviados: 30, aceptados: 30;",
        0,
    );
    assert_eq!(receptor.recibidos(), mensajes);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn una_respuesta_a_medias_no_es_un_acuse() {
    let receptor = Receptor::nuevo(|_, mensaje| {
        let acuse = enmarcar(&acuse("AA", &id(mensaje)));
        vec![Escribe(acuse[..acuse.len() - 2].to_vec()), Cierra]
    });
    let carpeta = carpeta_nueva();
    dice(
        &carpeta,
        &["--a", &receptor.destino],
        "no acusó «mensaje de muestra»: cerró la conexión a mitad de su acuse; mire la consola del servidor",
        1,
    );
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn con_detalle_se_ve_el_acuse_entero_y_escapado() {
    let receptor = Receptor::nuevo(|_, mensaje| {
        let mut acuse = acuse("AA", &id(mensaje));
        acuse.extend(b"ERR|\x1b[31m\xE9\r");
        vec![Escribe(enmarcar(&acuse))]
    });
    let carpeta = carpeta_nueva();
    let dicho = dice(
        &carpeta,
        &["--detalle", "--repetir", "30", "--a", &receptor.destino],
        "\n    MSH|^~\\&|LIS||||2026||ACK|R1|P|2.3.1\n    MSA|AA|PRUEBA-1\n    ERR|\\x1B[31m\\xE9\n",
        0,
    );
    assert_eq!(dicho.matches("ERR|").count(), 30, "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn una_carpeta_se_envia_por_orden_de_llegada_con_las_de_sus_equipos_y_sin_apartados_ni_ocultos() {
    let carpeta = carpeta_nueva();
    let dia = carpeta.join("dia");
    for (archivo, id) in [
        ("HL7_ORU_20260912094501001.res", "1"),
        ("Química/HL7_ORU_20260912094501001_0001.res", "2"),
        ("HL7_ORU_20260912094501002.res", "3"),
        ("Hematología/HL7_ORU_20260912094501003.RES", "4"),
        ("Química/HL7_ORU_20260912094501004.res", "5"),
        ("HL7_ORU_20260912094501005.res", "6"),
        ("apartados/HL7_ORU_20260912094501001.res", "no"),
        ("apartados/HL7_ORU_20260912094501001.repetido", "no"),
        (".HL7_ORU_20260912094501001.parcial", "no"),
        (".oculto.res", "no"),
        (".oculta/HL7_ORU_20260912094501001.res", "no"),
        ("Química/.oculto.res", "no"),
        ("otra/otra/HL7_ORU_20260912094501001.res", "no"),
        ("notas.txt", "no"),
    ] {
        let ruta = dia.join(archivo);
        fs::create_dir_all(ruta.parent().unwrap()).unwrap();
        fs::write(ruta, mensaje(id)).unwrap();
    }
    for (argumentos, esperados) in [
        (&["dia"][..], &["1", "2", "3", "4", "5", "6"][..]),
        (
            &["dia", "--desde", "HL7_ORU_20260912094501003"],
            &["4", "5", "6"],
        ),
        (
            &["dia", "--desde", "Química/HL7_ORU_20260912094501004.res"],
            &["5", "6"],
        ),
        (&["dia/Química", "dia/Hematología"], &["2", "5", "4"]),
        (&["dia/*4501001*.res", "dia/notas.t?t"], &["1", "no"]),
        (&["dia/*.res"], &["1", "3", "6"]),
        (
            &[
                "dia/HL7_ORU_20260912094501005.res",
                "dia/apartados",
                "dia/Hematología",
            ],
            &["6", "4"],
        ),
    ] {
        let receptor = Receptor::nuevo(|_, mensaje| aceptar(mensaje));
        let destino = ["--a", &receptor.destino];
        let (dicho, codigo) = enviar(&carpeta, argumentos.iter().chain(&destino));
        assert_eq!(codigo, 0, "{argumentos:?}: {dicho}");
        let ids: Vec<_> = receptor.recibidos().iter().map(|m| id(m)).collect();
        assert_eq!(ids, esperados, "{argumentos:?}");
        let de_dentro = "se envían también los .res de ";
        match argumentos {
            ["dia"] => {
                let suyas = de_dentro.to_owned() + "«dia/Hematología», «dia/Química»\n";
                assert!(dicho.replace('\\', "/").contains(&suyas), "{dicho}");
            }
            ["dia", _, _] => assert!(dicho.contains(de_dentro), "{dicho}"),
            _ => assert!(!dicho.contains(de_dentro), "{dicho}"),
        }
    }
    for (argumento, esperado) in [
        (
            "dia/apartados",
            "en «dia/apartados» no hay ningún archivo .res que enviar",
        ),
        ("dia/no*.res", "ningún archivo es como «dia/no*.res»"),
        ("dia/no.res", "no se pudo leer «dia/no.res»: no existe"),
    ] {
        dice(&carpeta, &[argumento, "--a", "127.0.0.1:1"], esperado, 2);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn cinco_mil_mensajes_llegan_en_orden_y_enteros() {
    const CUANTOS: usize = 5000;
    let (carpeta, mensajes) = un_dia(CUANTOS);
    let servidor = Servidor::con("Sincronizar = no");
    let destino = format!("127.0.0.1:{}", servidor.puerto);
    let (dicho, codigo) = enviar_con_calma(&carpeta, &["dia", "--a", &destino]);
    assert_eq!(codigo, Some(0), "{dicho}");
    let resumen = format!("enviados: {CUANTOS}, aceptados: {CUANTOS}; acuse en ");
    assert!(dicho.contains(&resumen), "{dicho}");
    // No hay una línea por mensaje.
    assert!(dicho.lines().count() < CUANTOS / 20, "{dicho}");
    let llegados = servidor.archivos();
    assert_eq!(llegados.len(), CUANTOS);
    for (n, (llegado, enviado)) in llegados.iter().zip(&mensajes).enumerate() {
        assert!(llegado == enviado, "el mensaje {n} no es el enviado");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

/// Como `enviar`, con más plazo: son miles de mensajes, y la máquina puede estar ocupada.
fn enviar_con_calma(carpeta: &Path, argumentos: &[&str]) -> (String, Option<i32>) {
    let mut proceso = empezar(
        orden(carpeta)
            .arg("--enviar")
            .args(argumentos)
            .stdout(Stdio::piped()),
    );
    let mut salida = proceso.stdout.take().unwrap();
    let leida = thread::spawn(move || {
        let mut dicho = String::new();
        salida.read_to_string(&mut dicho).unwrap();
        dicho
    });
    let codigo = esperar_con_calma(&mut proceso);
    (leida.join().unwrap(), codigo)
}

fn esperar_con_calma(proceso: &mut Child) -> Option<i32> {
    let limite = Instant::now() + Duration::from_mins(5);
    loop {
        if let Some(estado) = proceso.try_wait().unwrap() {
            return estado.code();
        }
        if Instant::now() > limite {
            proceso.kill().unwrap();
            panic!("no acabó en cinco minutos");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn se_detiene_en_el_que_no_se_acepta_y_la_orden_que_dice_entrega_el_resto_una_sola_vez() {
    const FALLA: usize = 137;
    let receptor = Receptor::nuevo(|cuantos, mensaje| {
        let codigo = if cuantos == FALLA { "AE" } else { "AA" };
        vec![Escribe(enmarcar(&acuse(codigo, &id(mensaje))))]
    });
    let (carpeta, mensajes) = un_dia(300);
    let (dicho, codigo) = enviar(&carpeta, ["dia", "--a", &receptor.destino]);
    assert_eq!(codigo, 1, "{dicho}");
    let parado = Path::new("dia").join(nombre(FALLA - 1));
    for esperado in [
        &format!(
            "{}: AE (ACK): no se pudo guardar; mire la consola del servidor (",
            parado.display()
        ),
        "enviados: 137, aceptados: 136; ",
        &format!("parado en «{}»; para seguir desde él: ", parado.display()),
    ] {
        assert!(
            dicho.contains(esperado),
            "«{esperado}» no está en «{dicho}»"
        );
    }
    assert_eq!(receptor.recibidos().len(), FALLA);
    let (dicho, codigo) = enviar(&carpeta, para_seguir(&dicho));
    assert_eq!(codigo, 0, "{dicho}");
    // El que no se aceptó se envió otra vez; los demás, una.
    let mut recibidos = receptor.recibidos();
    assert_eq!(recibidos.remove(FALLA - 1), recibidos[FALLA - 1]);
    assert_eq!(recibidos, mensajes);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn si_el_receptor_se_va_a_mitad_tambien_se_dice_como_seguir() {
    let receptor = Receptor::nuevo(|cuantos, mensaje| match cuantos {
        1..10 => aceptar(mensaje),
        _ => vec![Cierra],
    });
    let (carpeta, mensajes) = un_dia(20);
    let dicho = dice(
        &carpeta,
        &["dia", "--a", &receptor.destino],
        "cerró la conexión; mire la consola del servidor",
        1,
    );
    let siguen = para_seguir(&dicho);
    assert_eq!(
        siguen[..3],
        ["dia".to_owned(), "--desde".to_owned(), nombre(9)]
    );
    // A quien cierra sin contestar se le llama otra vez, y no más.
    let recibidos = receptor.recibidos();
    assert_eq!(recibidos[..10], mensajes[..10]);
    assert_eq!(recibidos[10..], mensajes[9..10]);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn un_archivo_con_varias_tramas_se_separa_y_cada_mensaje_espera_su_acuse() {
    let ids = ["A", "B", "C"];
    let carpeta = carpeta_nueva();
    let tramas = ids.map(|id| enmarcar(&mensaje(id))).concat();
    fs::write(carpeta.join("tres.hl7"), tramas).unwrap();
    let receptor = Receptor::nuevo(|cuantos, mensaje| {
        let codigo = if cuantos == 5 { "AR" } else { "AA" };
        vec![Escribe(enmarcar(&acuse(codigo, &id(mensaje))))]
    });
    let argumentos = ["tres.hl7", "--a", &receptor.destino];
    let dicho = dice(
        &carpeta,
        &argumentos,
        "tres.hl7 (2 de 3): AA (ACK): aceptado (",
        0,
    );
    assert!(dicho.contains("enviados: 3, aceptados: 3;"), "{dicho}");
    assert_eq!(receptor.recibidos(), ids.map(mensaje));
    // El segundo no se acepta: el tercero no se envía.
    fs::write(carpeta.join("z.hl7"), mensaje("Z")).unwrap();
    let argumentos = ["tres.hl7", "z.hl7", "--a", &receptor.destino];
    let dicho = dice(
        &carpeta,
        &argumentos,
        "los mensajes de ese archivo que ya se aceptaron, 1, se enviarán otra vez\n",
        1,
    );
    assert_eq!(para_seguir(&dicho), argumentos);
    assert_eq!(receptor.recibidos().len(), 5);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn si_se_detiene_a_mitad_de_lo_unico_que_se_envia_tambien_dice_lo_que_ira_otra_vez() {
    let carpeta = carpeta_nueva();
    let tramas = ["A", "B", "C"].map(|id| enmarcar(&mensaje(id))).concat();
    fs::write(carpeta.join("tres.hl7"), tramas).unwrap();
    fs::write(carpeta.join("uno.hl7"), mensaje("A")).unwrap();
    let receptor = Receptor::nuevo(|cuantos, mensaje| {
        let codigo = if cuantos % 2 == 0 { "AE" } else { "AA" };
        vec![Escribe(enmarcar(&acuse(codigo, &id(mensaje))))]
    });
    let a = receptor.destino.as_str();
    let otra_vez = "los mensajes de ese archivo que ya se aceptaron, 1, se enviarán otra vez\n";
    let dicho = dice(&carpeta, &["tres.hl7", "--a", a], otra_vez, 1);
    assert_eq!(para_seguir(&dicho), ["tres.hl7", "--a", a]);
    let sin_seguir = "con --repetir no se puede seguir: la misma orden envía todo otra vez\n";
    dice(
        &carpeta,
        &["uno.hl7", "--repetir", "2", "--a", a],
        sin_seguir,
        1,
    );
    // De un solo mensaje que no se acepta no hay nada que seguir.
    let repetidor =
        Receptor::nuevo(|_, mensaje| vec![Escribe(enmarcar(&acuse("AE", &id(mensaje))))]);
    let dicho = dice(
        &carpeta,
        &["uno.hl7", "--a", &repetidor.destino],
        "AE (ACK)",
        1,
    );
    assert!(!dicho.contains("seguir"), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn lo_que_hay_entre_tramas_y_no_es_un_mensaje_se_dice_una_vez() {
    let carpeta = carpeta_nueva();
    let tramas = ["A", "B"].map(|id| enmarcar(&mensaje(id))).concat();
    let con_resto = [&tramas, &b"\r\nOBX|9|NM\r\n"[..]].concat();
    fs::write(carpeta.join("resto.hl7"), con_resto).unwrap();
    let receptor = Receptor::nuevo(|_, mensaje| aceptar(mensaje));
    let argumentos = ["resto.hl7", "--repetir", "2", "--a", &receptor.destino];
    let aviso = "AVISO resto.hl7: 8 bytes no son de ningún mensaje y no se envían";
    let dicho = dice(&carpeta, &argumentos, aviso, 0);
    assert_eq!(dicho.matches("AVISO").count(), 1, "{dicho}");
    assert!(dicho.contains("enviados: 4, aceptados: 4;"), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn sin_trama_cada_mensaje_de_un_archivo_espera_su_acuse() {
    let carpeta = carpeta_nueva();
    let servidor = Servidor::con("EsperaSinTramaMs = 20");
    let destino = format!("127.0.0.1:{}", servidor.puerto);
    let dos = [mensaje("A"), mensaje("B")].concat();
    fs::write(carpeta.join("dos.hl7"), &dos).unwrap();
    let argumentos = ["dos.hl7", "--sin-trama", "--a", &destino];
    dice(&carpeta, &argumentos, "enviados: 2, aceptados: 2;", 0);
    assert_eq!(servidor.archivos(), [mensaje("A"), mensaje("B")]);
    // Con trama van en una, como el archivo que llegó en una.
    dice(
        &carpeta,
        &["dos.hl7", "--a", &destino],
        "enviados: 1, aceptados: 1;",
        0,
    );
    assert_eq!(servidor.archivos()[2..], [dos]);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn con_un_guion_se_envia_la_entrada_estandar() {
    let carpeta = carpeta_nueva();
    let receptor = Receptor::nuevo(|_, mensaje| aceptar(mensaje));
    for (entrada, veces, esperados) in [
        (mensaje("A"), "1", vec!["A"]),
        (
            [enmarcar(&mensaje("A")), enmarcar(&mensaje("B"))].concat(),
            "2",
            vec!["A", "B", "A", "B"],
        ),
        (Vec::new(), "1", vec![]),
    ] {
        let antes = receptor.recibidos().len();
        fs::write(carpeta.join("entrada"), entrada).unwrap();
        let argumentos = ["--enviar", "-", "--repetir", veces, "--a"];
        let salida = ejecutar_con(
            File::open(carpeta.join("entrada")).unwrap(),
            orden(&carpeta).args(argumentos).arg(&receptor.destino),
        );
        let codigo = if esperados.is_empty() { 2 } else { 0 };
        assert_eq!(salida.status.code(), Some(codigo), "{salida:?}");
        let ids: Vec<_> = receptor.recibidos()[antes..]
            .iter()
            .map(|m| id(m))
            .collect();
        assert_eq!(ids, esperados);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn la_orden_que_se_aconseja_para_un_archivo_que_empieza_por_guion_lo_envia() {
    let carpeta = carpeta_nueva();
    fs::write(carpeta.join("-a.hl7"), mensaje("A")).unwrap();
    let receptor = Receptor::nuevo(|_, mensaje| aceptar(mensaje));
    dice(&carpeta, &["-a.hl7"], "escriba --enviar \"./-a.hl7\"", 2);
    let argumentos = ["./-a.hl7", "--a", &receptor.destino];
    dice(&carpeta, &argumentos, "enviados: 1, aceptados: 1;", 0);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn el_codigo_de_salida_dice_si_repetirlo_servira() {
    let carpeta = carpeta_nueva();
    fs::write(carpeta.join("a.hl7"), mensaje("A")).unwrap();
    fs::write(carpeta.join("vacio.hl7"), "").unwrap();
    let receptor = Receptor::nuevo(|_, mensaje| aceptar(mensaje));
    let destino = &receptor.destino;
    for (argumentos, codigo) in [
        (&["a.hl7", "--a", destino][..], 0),
        (&["a.hl7", "--a", "127.0.0.1:1"], 1),
        (&["a.hl7", "--a", "aqui"], 2),
        (&["a.hl7", "--a", ":2575"], 2),
        (&["a.hl7", "--a", "http://lis:2575"], 2),
        (&["a.hl7", "--a", "127.0.0.1:0"], 2),
        (&["no.hl7", "--a", destino], 2),
        (&["vacio.hl7", "--a", destino], 2),
        (&["*.res", "--a", destino], 2),
        (&[".", "--a", destino], 2),
        (&["a.hl7", "--desde", "b", "--a", destino], 2),
        (&["a.hl7", "--nada", "--a", destino], 2),
    ] {
        let (dicho, visto) = enviar(&carpeta, argumentos);
        assert_eq!(visto, codigo, "{argumentos:?}: {dicho}");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

/// Con 64 MiB de memoria en total, un archivo de 200; no ocupa disco, porque casi todo son ceros.
#[cfg(target_os = "linux")]
#[test]
fn un_archivo_mayor_que_la_memoria_se_envia_entero() {
    use crate::servidor_de_prueba::limitada;
    const LONGITUD: u64 = 200 << 20;
    let carpeta = carpeta_nueva();
    let enorme = carpeta.join("enorme.hl7");
    fs::write(&enorme, mensaje("A")).unwrap();
    File::options()
        .write(true)
        .open(&enorme)
        .unwrap()
        .set_len(LONGITUD)
        .unwrap();
    let servidor = Servidor::con("MaxMensajeMiB = 1\nEspacioMinimoMiB = 0");
    let mut orden = limitada(&carpeta, "ulimit -v 65536");
    orden.args([
        "--enviar",
        "enorme.hl7",
        "--a",
        &format!("127.0.0.1:{}", servidor.puerto),
    ]);
    let salida = ejecutar(&mut orden);
    let dicho = String::from_utf8(salida.stdout).unwrap();
    assert!(
        dicho.contains("enorme.hl7: AR (ACK^R01): rechazado"),
        "{dicho}"
    );
    servidor.esperar_linea(" 200 MB ");
    fs::remove_dir_all(carpeta).unwrap();
}
