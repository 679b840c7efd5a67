use std::fs;
use std::net::TcpListener;
use std::path::Path;

use crate::analizador_simulado::{enmarcar, mensaje};
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, orden};

/// Lo que dice el programa con esos argumentos, y si salió bien.
fn ejecutar(carpeta: &Path, argumentos: &[&str]) -> (String, bool) {
    let salida = orden(carpeta).args(argumentos).output().unwrap();
    let dicho = [salida.stdout, salida.stderr].concat();
    (String::from_utf8(dicho).unwrap(), salida.status.success())
}

#[test]
fn enviar_sin_archivo_envia_una_muestra_y_dice_el_acuse_en_palabras() {
    let servidor = Servidor::con("EsperaSinTramaMs = 20");
    let destino = format!("127.0.0.1:{}", servidor.puerto);
    for argumentos in [
        &["--enviar", "--a", &destino][..],
        &["--enviar", "--sin-trama", "--a", &destino],
    ] {
        let (dicho, bien) = ejecutar(&servidor.carpeta, argumentos);
        assert!(bien, "{dicho}");
        assert!(
            dicho.contains("mensaje de muestra: AA (ACK^R01): aceptado, el mensaje está a salvo"),
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
    let ini = format!(
        "[Servidor]\nPuerto = {}\nDirectorio = mensajes\n",
        servidor.puerto
    );
    fs::write(servidor.carpeta.join("Config.ini"), ini).unwrap();
    let (dicho, bien) = ejecutar(
        &servidor.carpeta,
        &["--enviar", "a.hl7", "b.mllp", "--repetir", "30"],
    );
    assert!(bien, "{dicho}");
    assert!(dicho.contains("60 enviados, 60 aceptados"), "{dicho}");
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
            "no se pudo conectar con «127.0.0.1:1»",
        ),
        (
            &["--enviar", "--repetir", "muchas"],
            "--repetir «muchas» no sirve; se esperaba un número",
        ),
        (&["--sin-trama"], "no se entiende «--sin-trama»"),
        (&["--enviar", "--a"], "a «--a» le falta su valor"),
        (&["--enviar", "--a", "aqui"], "«aqui» no es un destino"),
        (&["--version=3"], "«--version» no lleva valor"),
    ] {
        let (dicho, bien) = ejecutar(&carpeta, argumentos);
        assert!(!bien, "{dicho}");
        assert!(
            dicho.contains(esperado),
            "«{esperado}» no está en «{dicho}»"
        );
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn una_carpeta_no_vale_de_configuracion() {
    let carpeta = carpeta_nueva();
    let (dicho, bien) = ejecutar(&carpeta, &["--config", "."]);
    assert!(!bien, "{dicho}");
    assert!(dicho.contains("no se pudo leer «"), "{dicho}");
    assert!(!dicho.contains("os error"), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn revisar_dice_desde_donde_se_entra_y_si_contestan_los_equipos_que_esperan() {
    let carpeta = carpeta_nueva();
    let equipo = TcpListener::bind("127.0.0.1:0").unwrap();
    let contesta = equipo.local_addr().unwrap();
    let ini = format!(
        "[Servidor]\nPuerto = 0\nDireccion = 127.0.0.1\nDirectorio = mensajes\n[Llamar]\nBC-20 = {contesta}\nBC-6000 = 127.0.0.1:9\n"
    );
    fs::write(carpeta.join("Config.ini"), ini).unwrap();
    let (dicho, bien) = ejecutar(&carpeta, &["--revisar"]);
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
    let ini = "[Servidor]\nPuerto = 0\nDirectorio = mensajes\nMaxConexion = 1\n[Llamar]\nBC-20 = 127.0.0.1:9\n";
    fs::write(carpeta.join("Config.ini"), ini).unwrap();
    let (dicho, bien) = ejecutar(&carpeta, &["--revisar"]);
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

#[test]
fn revisar_dice_que_el_puerto_esta_ocupado_o_que_la_carpeta_no_sirve_y_acaba_con_uno() {
    let servidor = Servidor::arrancar();
    let ini = format!(
        "[Servidor]\nPuerto = {}\nDirectorio = Config.ini\n",
        servidor.puerto
    );
    fs::write(servidor.carpeta.join("Config.ini"), ini).unwrap();
    let (dicho, bien) = ejecutar(&servidor.carpeta, &["--revisar"]);
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
}
