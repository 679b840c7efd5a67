use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use servidor_hl7::configuracion::Configuracion;
use servidor_hl7::ordenes::revisar::{EnMarcha, revisar};

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, ejecutar, escribir_ini, orden};

/// Lo que dice el programa con esos argumentos, y si salió bien.
fn ordenar(carpeta: &Path, argumentos: &[&str]) -> (String, bool) {
    let salida = ejecutar(orden(carpeta).args(argumentos));
    let dicho = [salida.stdout, salida.stderr].concat();
    (String::from_utf8(dicho).unwrap(), salida.status.success())
}

/// Con esos argumentos sale mal, y lo dice con esas palabras.
fn sale_mal(carpeta: &Path, argumentos: &[&str], esperado: &str) {
    let (dicho, bien) = ordenar(carpeta, argumentos);
    assert!(!bien, "{dicho}");
    assert!(
        dicho.contains(esperado),
        "«{esperado}» no está en «{dicho}»"
    );
}

/// Un receptor que hace eso con su única conexión. Devuelve su `HOST:PUERTO`.
fn receptor(atender: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let escucha = TcpListener::bind("127.0.0.1:0").unwrap();
    let destino = escucha.local_addr().unwrap().to_string();
    thread::spawn(move || atender(escucha.accept().unwrap().0));
    destino
}

#[test]
fn enviar_sin_archivo_envia_una_muestra_y_dice_el_acuse_en_palabras() {
    let servidor = Servidor::con("EsperaSinTramaMs = 20");
    let destino = format!("127.0.0.1:{}", servidor.puerto);
    for argumentos in [
        &["--enviar", "--a", &destino][..],
        &["--enviar", "--sin-trama", "--a", &destino],
    ] {
        let (dicho, bien) = ordenar(&servidor.carpeta, argumentos);
        assert!(bien, "{dicho}");
        assert!(
            dicho.contains("mensaje de muestra: AA (ACK^R01): aceptado"),
            "{dicho}"
        );
        assert!(dicho.contains(" ms)"), "{dicho}");
    }
    let archivos = servidor.archivos();
    assert_eq!(archivos.len(), 2);
    assert_eq!(archivos[0], archivos[1]);
}

#[test]
fn enviar_envia_cada_archivo_tantas_veces_como_se_pida_aunque_se_guardara_con_su_trama() {
    let servidor = Servidor::con("Sincronizar = no");
    fs::write(servidor.carpeta.join("a.hl7"), mensaje("A")).unwrap();
    fs::write(servidor.carpeta.join("b.mllp"), enmarcar(&mensaje("B"))).unwrap();
    // Sin --a se envía al puerto de Config.ini.
    escribir_ini(&servidor.carpeta, &format!("Puerto = {}", servidor.puerto));
    let (dicho, bien) = ordenar(
        &servidor.carpeta,
        &["--enviar", "a.hl7", "b.mllp", "--repetir", "30"],
    );
    assert!(bien, "{dicho}");
    assert!(
        dicho.contains("enviados: 60, aceptados: 60; acuse en "),
        "{dicho}"
    );
    let esperados = [mensaje("A"), mensaje("B")];
    assert!(
        servidor
            .archivos()
            .iter()
            .eq(esperados.iter().cycle().take(60))
    );
}

#[test]
fn enviar_dice_lo_que_sale_mal_y_acaba_con_uno() {
    let servidor = Servidor::arrancar();
    let carpeta = carpeta_nueva();
    fs::write(carpeta.join("malo.txt"), "hola").unwrap();
    fs::write(carpeta.join("vacio.hl7"), enmarcar(b"\r\n")).unwrap();
    let cortado = [enmarcar(&mensaje("1")), enmarcar(&mensaje("2"))].concat();
    fs::write(carpeta.join("cortado.hl7"), &cortado[..cortado.len() - 2]).unwrap();
    // Una parte de un nombre no puede pasar de 63 letras: nadie tiene que buscarlo en la red.
    let nombre_imposible = format!("{}:2575", "a".repeat(64));
    let destino = format!("127.0.0.1:{}", servidor.puerto);
    for (argumentos, esperado) in [
        (
            &["--enviar", "malo.txt", "--a", &destino][..],
            "malo.txt: AR (ACK): rechazado",
        ),
        (
            &["--enviar", "no_existe.hl7", "--a", &destino],
            "no se pudo leer «no_existe.hl7»: no existe",
        ),
        (
            &["--enviar", "--a", "127.0.0.1:1"],
            "no se pudo conectar con «127.0.0.1:1»: rechaza la conexión; compruebe que el servidor está en marcha y que su puerto es ese\n",
        ),
        (
            &["--enviar", "vacio.hl7", "--a", &destino],
            "«vacio.hl7» está vacío o no tiene ningún mensaje HL7; elija otro archivo",
        ),
        (
            &["--enviar", "malo.txt", "--sin-trama", "--a", &destino],
            "«malo.txt» está vacío o no tiene ningún mensaje HL7; elija otro archivo",
        ),
        (
            &["--enviar", "cortado.hl7", "--a", &destino],
            "«cortado.hl7» acaba a mitad de un mensaje, o uno empieza dentro de otro: le falta un fin de trama (FS CR); complételo",
        ),
        (
            &["--enviar", ".", "--a", &destino],
            "en «.» no hay ningún archivo .res que enviar; para enviar otros, escriba sus nombres",
        ),
        (
            &["--enviar", "x*.hl7", "--a", &destino],
            "ningún archivo es como «x*.hl7»; los comodines * y ? valen en el nombre del archivo, no en el de su carpeta",
        ),
        (
            &["--enviar", "*/a.hl7", "--a", &destino],
            "ningún archivo es como «*/a.hl7»; los comodines",
        ),
        (
            &["--enviar", "malo.txt", "--desde", "z", "--a", &destino],
            "no hay nada que enviar desde «z»: todo lo que hay va antes por orden de nombre",
        ),
        (
            &["--enviar", &destino],
            &format!("no es un archivo; si es adónde se envía, escriba --a {destino}"),
        ),
        (
            &["--enviar", "--a", &nombre_imposible],
            "no se conoce ese nombre; escriba la dirección IP del servidor",
        ),
    ] {
        sale_mal(&carpeta, argumentos, esperado);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn de_una_orden_mal_escrita_se_dice_que_sobra_o_que_falta() {
    let carpeta = carpeta_nueva();
    let destino = "127.0.0.1:1";
    for (argumentos, esperado) in [
        (
            &["--enviar", "--repetir", "muchas"][..],
            "--repetir «muchas» no sirve; se esperaba un número",
        ),
        (
            &["--enviar", "--repetir", "0"],
            "--repetir «0» no sirve; se esperaba un número de 1 a 1000000",
        ),
        (
            &["--enviar", "--repetir", "1000001"],
            "--repetir «1000001» no sirve; se esperaba un número de 1 a 1000000",
        ),
        (
            &["--enviar", "--desde", "z"],
            "«--desde» dice en qué archivo se empieza: diga también de qué carpeta",
        ),
        (
            &["--enviar", "malo.txt", "--desde", "m", "--repetir", "2"],
            "--desde y --repetir no van juntas",
        ),
        (&["--desde", "z"], "«--desde» solo vale con --enviar"),
        (&["--detalle"], "«--detalle» solo vale con --enviar"),
        (&["--sin-trama"], "«--sin-trama» solo vale con --enviar"),
        (
            &["--revisar", "--a", destino],
            "«--a» solo vale con --enviar",
        ),
        (&["--repetir", "2"], "«--repetir» solo vale con --enviar"),
        (&["a.hl7"], "no se entiende «a.hl7»"),
        (
            &["--enviar", "--revisar"],
            "--enviar y --revisar no van juntas",
        ),
        (
            &["--servicio", "--revisar"],
            "--servicio y --revisar no van juntas",
        ),
        (&["--enviar", "--a", ""], "«» no es un destino"),
        (&["--enviar", "--a"], "a «--a» le falta su valor"),
        (&["--enviar", "--a", "aqui"], "«aqui» no es un destino"),
        (&["--version=3"], "«--version» no lleva valor"),
    ] {
        sale_mal(&carpeta, argumentos, esperado);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn las_opciones_de_enviar_valen_en_cualquier_orden() {
    let servidor = Servidor::con("EsperaSinTramaMs = 20");
    fs::write(servidor.carpeta.join("a.hl7"), mensaje("A")).unwrap();
    let destino = format!("127.0.0.1:{}", servidor.puerto);
    let argumentos = ["--sin-trama", "a.hl7", "--a", &destino, "--enviar"];
    let (dicho, bien) = ordenar(&servidor.carpeta, &argumentos);
    assert!(bien, "{dicho}");
    assert!(dicho.contains("enviados: 1, aceptados: 1; "), "{dicho}");
    assert_eq!(servidor.archivos(), [mensaje("A")]);
}

#[test]
fn enviar_sin_a_envia_adonde_escucha_el_servidor_de_config_ini() {
    let carpeta = carpeta_nueva();
    for (claves, esperado) in [
        ("Puerto = 1", "no se pudo conectar con «127.0.0.1:1»"),
        (
            "Puerto = 1\nDireccion = 127.0.0.2",
            "no se pudo conectar con «127.0.0.2:1»",
        ),
        (
            "Puerto = 1\nDireccion = ::",
            "no se pudo conectar con «[::1]:1»",
        ),
        (
            "Puerto = 0",
            "Config.ini» el Puerto falta o es 0; diga adónde enviar con --a HOST:PUERTO",
        ),
        (
            "[Llamar]\nBC-20 = 127.0.0.1:9",
            "Config.ini» el Puerto falta o es 0; diga adónde enviar con --a HOST:PUERTO",
        ),
    ] {
        let ini = format!("[Servidor]\nDirectorio = mensajes\n{claves}\n");
        fs::write(carpeta.join("Config.ini"), ini).unwrap();
        sale_mal(&carpeta, &["--enviar"], esperado);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn sin_a_lo_que_guardo_el_servidor_no_se_le_envia_otra_vez() {
    let servidor = Servidor::arrancar();
    let puerto = servidor.puerto;
    let ini = format!("[Servidor]\nPuerto = {puerto}\nDirectorio = mensajes\n");
    fs::write(servidor.carpeta.join("Otro.ini"), ini).unwrap();
    let orden = |archivo: &'static str| ["--config", "Otro.ini", "--enviar", archivo];
    fs::write(servidor.carpeta.join("a.hl7"), mensaje("A")).unwrap();
    let (dicho, bien) = ordenar(&servidor.carpeta, &orden("a.hl7"));
    assert!(bien, "{dicho}");
    for suyo in ["mensajes", ".", "./mensajes/*.res"] {
        let esperado = "» ya lo guardó este servidor, y enviado a él quedaría dos veces";
        sale_mal(&servidor.carpeta, &orden(suyo), esperado);
    }
    let esperado = "no se pudo leer «mensajes/no.res»";
    sale_mal(&servidor.carpeta, &orden("mensajes/no.res"), esperado);
    let apartado = servidor.carpeta.join("mensajes/apartados/a.cortado");
    fs::create_dir_all(apartado.parent().unwrap()).unwrap();
    fs::write(&apartado, mensaje("B")).unwrap();
    let (dicho, bien) = ordenar(&servidor.carpeta, &orden("mensajes/apartados/a.cortado"));
    assert!(bien, "{dicho}");
    assert_eq!(servidor.archivos(), [mensaje("A"), mensaje("B")]);
}

#[test]
fn enviar_nunca_escribe_un_config_ini() {
    let carpeta = carpeta_nueva();
    let (dicho, bien) = ordenar(&carpeta, &["--enviar"]);
    assert!(!bien, "{dicho}");
    assert!(
        dicho.contains("no hay ningún Config.ini; diga adónde enviar con --a HOST:PUERTO"),
        "{dicho}"
    );
    assert_eq!(fs::read_dir(&carpeta).unwrap().count(), 0);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn una_consulta_contestada_con_que_no_hay_nada_cuenta_como_aceptada() {
    let servidor = Servidor::arrancar();
    let destino = format!("127.0.0.1:{}", servidor.puerto);
    for (tipo, segmentos, contestado) in [
        ("ORM^O01", "ORC|RF||1", "AR (ORR^O02)"),
        ("QRY^Q02", "QRD|1", "AA (QCK^Q02)"),
        ("QRY^Q01", "QRD|1", "AA (DSR^Q01)"),
        ("QBP^Q11", "QPD|a|b", "AA (RSP^K11^RSP_K11)"),
        ("QBP^Q15^QBP_Q11", "QPD|a|b", "AA (RSP^Q15^RSP_K11)"),
    ] {
        let consulta = format!("MSH|^~\\&|EQUIPO||||||{tipo}|1|P|2.5\r{segmentos}\r");
        fs::write(servidor.carpeta.join("consulta.hl7"), consulta).unwrap();
        let (dicho, bien) = ordenar(
            &servidor.carpeta,
            &["--enviar", "consulta.hl7", "--a", &destino],
        );
        assert!(bien, "{dicho}");
        let esperado = format!("consulta.hl7: {contestado}: contestado: no hay nada pendiente");
        assert!(
            dicho.contains(&esperado),
            "«{esperado}» no está en «{dicho}»"
        );
        assert!(dicho.contains("aceptados: 1;"), "{dicho}");
    }
    servidor.esperar_linea(" RSP^Q15 ");
}

#[test]
fn el_acuse_de_otro_mensaje_o_lo_que_no_es_hl7_no_cuenta_como_aceptado() {
    let carpeta = carpeta_nueva();
    for (contestacion, esperado) in [
        (
            &b"\x0BMSH|^~\\&|A|B|C|D|2026||ACK|9|P|2.3.1\rMSA|AA|OTRO|\r\x1C\r"[..],
            "es el acuse de otro mensaje; su MSA-2 no es el MSH-10 enviado",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "contestó algo que no es HL7",
        ),
    ] {
        let destino = receptor(move |mut canal| {
            canal.read_exact(&mut [0; 200]).unwrap();
            canal.write_all(contestacion).unwrap();
            canal.shutdown(Shutdown::Write).unwrap();
            let _ = canal.read_to_end(&mut Vec::new());
        });
        sale_mal(&carpeta, &["--enviar", "--a", &destino], esperado);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn si_el_receptor_cierra_sin_acusar_se_manda_mirar_su_consola() {
    let cierra_tras_leer = |mut canal: TcpStream| {
        canal.read_exact(&mut [0; 200]).unwrap();
        let _ = canal.set_read_timeout(Some(Duration::from_millis(200)));
        let _ = canal.read_to_end(&mut Vec::new());
    };
    let corta_sin_leer = |canal: TcpStream| {
        canal.peek(&mut [0]).unwrap();
    };
    let carpeta = carpeta_nueva();
    for destino in [receptor(cierra_tras_leer), receptor(corta_sin_leer)] {
        let esperado = format!(
            "«{destino}» no acusó «mensaje de muestra»: cerró la conexión; mire la consola del servidor\n"
        );
        sale_mal(&carpeta, &["--enviar", "--a", &destino], &esperado);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn si_el_acuse_tarda_se_dice_una_vez_y_se_sigue_esperando() {
    let destino = receptor(|mut canal| {
        thread::sleep(Duration::from_secs(3));
        let acuse = b"MSH|^~\\&|||||||ACK|1|P|2.3.1\rMSA|AA|PRUEBA-1\r";
        canal.write_all(&enmarcar(acuse)).unwrap();
        // Cerrar con algo sin leer cortaría la conexión antes de que el acuse se lea.
        let _ = canal.read_to_end(&mut Vec::new());
    });
    let carpeta = carpeta_nueva();
    let (dicho, bien) = ordenar(&carpeta, &["--enviar", "--a", &destino]);
    assert!(bien, "{dicho}");
    assert!(
        dicho.starts_with("esperando el acuse de «mensaje de muestra»…\nmensaje de muestra: AA "),
        "{dicho}"
    );
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn una_carpeta_no_vale_de_configuracion() {
    let carpeta = carpeta_nueva();
    let (dicho, bien) = ordenar(&carpeta, &["--config", "."]);
    assert!(!bien, "{dicho}");
    assert!(dicho.contains("no se pudo leer «"), "{dicho}");
    assert!(
        dicho.contains("»: es una carpeta, no un archivo"),
        "{dicho}"
    );
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn revisar_dice_desde_donde_se_entra_y_si_contestan_los_equipos_que_esperan() {
    let carpeta = carpeta_nueva();
    let equipo = TcpListener::bind("127.0.0.1:0").unwrap();
    let contesta = equipo.local_addr().unwrap();
    let lineas =
        format!("Direccion = 127.0.0.1\n[Llamar]\nBC-20 = {contesta}\nBC-6000 = 127.0.0.1:9");
    escribir_ini(&carpeta, &lineas);
    let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
    assert!(bien, "{dicho}");
    for esperado in [
        "bien  dirección  127.0.0.1, el puerto que diga la consola al arrancar: solo se entra desde este PC\n",
        &format!("bien  llamada    BC-20 contesta en {contesta}\n"),
        "aviso llamada    BC-6000 no contesta en 127.0.0.1:9: ",
    ] {
        assert!(
            dicho.contains(esperado),
            "«{esperado}» no está en «{dicho}»"
        );
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn revisar_comprueba_carpeta_disco_y_puerto_y_no_deja_nada_en_la_carpeta() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "MaxConexion = 1\n[Llamar]\nBC-20 = 127.0.0.1:9");
    let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
    assert!(bien, "{dicho}");
    for esperado in [
        "sobra la clave «MaxConexion»",
        "bien  carpeta    guardar y sincronizar en «",
        "bien  espacio    ",
        "bien  puerto     0.0.0.0:0 está libre",
        "aviso llamada    BC-20 no contesta en 127.0.0.1:9: ",
    ] {
        assert!(
            dicho.contains(esperado),
            "«{esperado}» no está en «{dicho}»"
        );
    }
    assert_eq!(fs::read_dir(carpeta.join("mensajes")).unwrap().count(), 0);
    fs::remove_dir_all(carpeta).unwrap();
}

/// Creada por la revisión, el arranque ya no vería que faltaba.
#[test]
fn revisar_avisa_de_la_carpeta_que_crea_donde_no_hay_nada() {
    let carpeta = carpeta_nueva();
    fs::create_dir(carpeta.join("unidad")).unwrap();
    let ini = "[Servidor]\nPuerto = 0\nDirectorio = unidad/mensajes\n";
    fs::write(carpeta.join("Config.ini"), ini).unwrap();
    for falta in [true, false] {
        let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
        assert!(bien, "{dicho}");
        let avisa =
            dicho.contains("aviso disco      la carpeta «") && dicho.contains("¿falta la unidad?");
        assert_eq!(avisa, falta, "{dicho}");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn revisar_avisa_de_que_no_se_sincroniza() {
    let carpeta = carpeta_nueva();
    for (claves, avisa) in [("Sincronizar = no", true), ("Sincronizar = si", false)] {
        escribir_ini(&carpeta, claves);
        let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
        assert!(bien, "{dicho}");
        let esperado = "aviso disco      Sincronizar = no: un corte de luz puede llevarse mensajes";
        assert_eq!(dicho.contains(esperado), avisa, "{dicho}");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn revisar_no_manda_teclear_una_direccion_que_no_es_de_este_pc() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "Puerto = 2575\nDireccion = 192.0.2.77");
    let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
    assert!(!bien, "{dicho}");
    assert!(dicho.contains("esta dirección no es de este PC"), "{dicho}");
    assert!(!dicho.contains("teclee esto"), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

/// Lo que no se puede apartar se pierde.
#[test]
fn revisar_y_el_arranque_prueban_la_carpeta_de_los_apartados() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "");
    fs::create_dir(carpeta.join("mensajes")).unwrap();
    let apartados = carpeta.join("mensajes/apartados");
    fs::write(&apartados, "no es una carpeta").unwrap();
    let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
    assert!(!bien, "{dicho}");
    assert!(
        dicho.contains("MAL   carpeta    no se pudo guardar un archivo de prueba en «"),
        "{dicho}"
    );
    let servidor = Servidor::en(carpeta, "");
    servidor.esperar_linea("lo que no sea un mensaje entero no se guardará");
    servidor.conectar().entregar("1");
    fs::remove_file(&apartados).unwrap();
    fs::create_dir(&apartados).unwrap();
    let (dicho, bien) = ordenar(&servidor.carpeta, &["--revisar"]);
    assert!(bien, "{dicho}");
    assert_eq!(fs::read_dir(&apartados).unwrap().count(), 0);
}

/// La revisión de un servidor en marcha, con el puerto que tomó y esas claves.
fn revisar_en_marcha(servidor: &Servidor, claves: &str) -> (String, bool) {
    escribir_ini(
        &servidor.carpeta,
        &format!("Puerto = {}\n{claves}", servidor.puerto),
    );
    ordenar(&servidor.carpeta, &["--revisar"])
}

#[test]
fn revisar_reconoce_al_programa_en_marcha_y_comprueba_lo_demas() {
    let equipo = TcpListener::bind("127.0.0.1:0").unwrap();
    let llamado = format!("[Llamar]\nBC-20 = {}", equipo.local_addr().unwrap());
    for claves in [
        &llamado,
        // Ni aunque este PC no pueda entrar, o entre por un intermediario.
        "EquiposPermitidos = 10.0.0.0/8",
        "Intermediarios = 127.0.0.1",
        "Direccion = 127.0.0.1\nMaxConexiones = 1",
    ] {
        let servidor = Servidor::con(claves);
        let _llamada = (claves == llamado).then(|| Analizador::llamado(&equipo));
        let (dicho, bien) = revisar_en_marcha(&servidor, claves);
        assert!(bien, "{dicho}");
        let esperado = format!(
            ":{} lo atiende servidor-hl7 {}, en marcha desde el ",
            servidor.puerto,
            env!("CARGO_PKG_VERSION")
        );
        assert!(
            dicho.contains(&esperado),
            "«{esperado}» no está en «{dicho}»"
        );
        let config = fs::canonicalize(servidor.carpeta.join("Config.ini")).unwrap();
        let con_cual = format!(
            ", proceso {}, con «{}»\n",
            servidor.pid(),
            config.display().to_string().replace(r"\\?\", "")
        );
        assert!(dicho.contains(&con_cual), "{con_cual} {dicho}");
        assert!(dicho.contains("bien  carpeta    guardar y sincronizar en «"));
        assert!(!servidor.consola().contains("127.0.0.1:"), "{dicho}");
    }
    // A un equipo que solo admite una conexión no se le abre otra.
    equipo.set_nonblocking(true).unwrap();
    assert!(equipo.accept().is_err());
}

/// Preguntar quién atiende no pide plaza: ni la espera, ni se la quita a nadie.
#[test]
fn revisar_reconoce_al_programa_en_marcha_aunque_no_queden_plazas() {
    let claves = "MaxConexiones = 1";
    let servidor = Servidor::con(claves);
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    let (dicho, bien) = revisar_en_marcha(&servidor, claves);
    assert!(bien, "{dicho}");
    assert!(dicho.contains(" lo atiende servidor-hl7 "), "{dicho}");
    equipo.entregar("2");
    let consola = servidor.consola();
    assert!(!consola.contains("rechazada"), "{consola}");
}

#[test]
fn revisar_avisa_de_que_config_ini_cambio_despues_de_arrancar() {
    let servidor = Servidor::con("");
    let linea =
        "aviso Config.ini se cambió después de arrancar el programa, que sigue con lo de antes: ";
    let config = servidor.carpeta.join("Config.ini");
    let (antes, despues) = (
        SystemTime::UNIX_EPOCH,
        SystemTime::now() + Duration::from_mins(1),
    );
    escribir_ini(&servidor.carpeta, &format!("Puerto = {}", servidor.puerto));
    for (cambiado, se_dice) in [(antes, false), (despues, true)] {
        let archivo = fs::OpenOptions::new().write(true).open(&config).unwrap();
        archivo.set_modified(cambiado).unwrap();
        drop(archivo);
        let (dicho, bien) = ordenar(&servidor.carpeta, &["--revisar"]);
        assert!(bien, "{dicho}");
        assert_eq!(dicho.contains(linea), se_dice, "{dicho}");
    }
}

#[test]
fn revisar_no_toma_por_suyo_al_programa_que_lee_otro_config_ini() {
    let servidor = Servidor::con("");
    let carpeta = carpeta_nueva();
    let lineas = format!(
        "Puerto = {}\n[Llamar]\nBC-20 = 127.0.0.1:9",
        servidor.puerto
    );
    escribir_ini(&carpeta, &lineas);
    let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
    assert!(!bien, "{dicho}");
    for esperado in [
        "MAL   puerto ",
        "que lee otro Config.ini; ciérrelo, o cambie Puerto en uno de los dos\n",
        // A los suyos no les llama aquel.
        "aviso llamada    BC-20 no contesta en 127.0.0.1:9: ",
    ] {
        assert!(
            dicho.contains(esperado),
            "«{esperado}» no está en «{dicho}»"
        );
    }
    fs::remove_dir_all(carpeta).unwrap();
}

/// Quien instala sabe en qué proceso está el servicio, que dejará el puerto; con qué Config.ini, no importa.
#[test]
fn al_instalar_el_puerto_solo_puede_tenerlo_el_servicio() {
    let equipo = TcpListener::bind("127.0.0.1:0").unwrap();
    let servidor = Servidor::con("");
    let carpeta = carpeta_nueva();
    let revisado = |puerto: u16, sabido| {
        let llamado = equipo.local_addr().unwrap();
        let lineas = format!("Puerto = {puerto}\n[Llamar]\nBC-20 = {llamado}");
        escribir_ini(&carpeta, &lineas);
        let configuracion = Configuracion::leer(&carpeta.join("Config.ini")).unwrap();
        let mut dicho = Vec::new();
        let bien = revisar(&configuracion, sabido, &mut dicho);
        (String::from_utf8(dicho).unwrap(), bien)
    };
    let es_el = EnMarcha::Servicio(servidor.pid());
    // Tampoco se llama a quien ya llama el servicio.
    for puerto in [servidor.puerto, 0] {
        let (dicho, bien) = revisado(puerto, es_el);
        assert!(bien, "{dicho}");
        assert!(!dicho.contains("se cambió después"), "{dicho}");
        assert!(dicho.contains("a BC-20 le llama el programa"), "{dicho}");
    }
    equipo.set_nonblocking(true).unwrap();
    assert!(equipo.accept().is_err());

    let (dicho, bien) = revisado(servidor.puerto, EnMarcha::No);
    assert!(
        !bien && dicho.contains("otro programa ya lo usa"),
        "{dicho}"
    );
    let (dicho, bien) = revisado(servidor.puerto, EnMarcha::Servicio(servidor.pid() + 1));
    let esperado = "Config.ini; si es el servicio, deténgalo con net stop servidor-hl7";
    assert!(!bien && dicho.contains(esperado), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn otro_programa_en_el_puerto_no_se_toma_por_este() {
    let mudo = TcpListener::bind("127.0.0.1:0").unwrap();
    let charlatan = TcpListener::bind("127.0.0.1:0").unwrap();
    let puertos = [&mudo, &charlatan].map(|escucha| escucha.local_addr().unwrap().port());
    thread::spawn(move || {
        for mut canal in charlatan.incoming().flatten() {
            let _ = canal.read(&mut [0; 64]);
            let _ = canal.write_all(b"\x0BMSH|^~\\&|||||||ACK|1|P|2.5\rMSA|AA|1\r\x1C\r");
        }
    });
    let carpeta = carpeta_nueva();
    for puerto in puertos {
        escribir_ini(
            &carpeta,
            &format!("Puerto = {puerto}\nDireccion = 127.0.0.1"),
        );
        let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
        assert!(!bien, "{dicho}");
        assert!(dicho.contains("otro programa ya lo usa"), "{dicho}");
    }
    drop(mudo);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn revisar_dice_que_el_puerto_esta_ocupado_o_que_la_carpeta_no_sirve_y_acaba_con_uno() {
    let ocupante = TcpListener::bind("0.0.0.0:0").unwrap();
    let carpeta = carpeta_nueva();
    let puerto = ocupante.local_addr().unwrap().port();
    escribir_ini(
        &carpeta,
        &format!("Puerto = {puerto}\nDirectorio = Config.ini"),
    );
    let (dicho, bien) = ordenar(&carpeta, &["--revisar"]);
    assert!(!bien);
    assert!(
        dicho.contains("MAL   carpeta    no se pudo crear la carpeta"),
        "{dicho}"
    );
    assert!(
        dicho.contains("MAL   puerto     no se pudo abrir el puerto"),
        "{dicho}"
    );
    assert!(dicho.contains("otro programa ya lo usa"), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}
