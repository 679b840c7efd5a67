use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::servidor_de_prueba::{PLAZO, Servidor, carpeta_nueva, ejecutar, escribir_ini, orden};

/// Lo siguiente que se avisa por ese canal.
fn aviso(systemd: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let leidos = systemd.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..leidos].to_vec()).unwrap()
}

#[test]
fn systemd_sabe_cuando_se_recibe_ya_y_cuando_se_para() {
    // Una ruta de un socket no puede ser muy larga.
    let nombre = format!("servidor-hl7-{}", std::process::id());
    let ruta = std::env::temp_dir().join(&nombre);
    let con_ruta = UnixDatagram::bind(&ruta).unwrap();
    let abstracto = SocketAddr::from_abstract_name(&nombre).unwrap();
    let sin_ruta = UnixDatagram::bind_addr(&abstracto).unwrap();
    for (systemd, destino) in [
        (con_ruta, ruta.display().to_string()),
        (sin_ruta, format!("@{nombre}")),
    ] {
        systemd.set_read_timeout(Some(PLAZO)).unwrap();
        let mut servidor = Servidor::con_orden("", |carpeta| {
            let mut orden = orden(carpeta);
            orden.env("NOTIFY_SOCKET", &destino);
            orden
        });
        let listo = aviso(&systemd);
        let puerto = servidor.puerto;
        assert!(
            listo.starts_with(&format!("READY=1\nSTATUS=servidor-hl7: puerto {puerto}, /")),
            "{listo}"
        );
        TcpStream::connect(("127.0.0.1", puerto)).unwrap();
        servidor.conectar().entregar("77");
        servidor.senal("TERM");
        assert_eq!(aviso(&systemd), "STOPPING=1");
        assert!(servidor.esperar_fin().success());
    }
    fs::remove_file(ruta).unwrap();
}

#[test]
fn si_no_puede_arrancar_systemd_no_recibe_ningun_aviso() {
    let ocupante = Servidor::arrancar();
    let nombre = format!("servidor-hl7-fallo-{}", std::process::id());
    let systemd =
        UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&nombre).unwrap()).unwrap();
    systemd
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let lineas = format!("Puerto = {}", ocupante.puerto);
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, &lineas);
    let mut orden = orden(&carpeta);
    orden.env("NOTIFY_SOCKET", format!("@{nombre}"));
    let salida = ejecutar(&mut orden);
    assert_eq!(salida.status.code(), Some(1));
    let nada = systemd.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(nada.kind(), ErrorKind::WouldBlock);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn si_systemd_no_escucha_se_avisa_y_se_recibe() {
    let servidor = Servidor::con_orden("", |carpeta| {
        let mut orden = orden(carpeta);
        orden.env("NOTIFY_SOCKET", carpeta.join("nadie"));
        orden
    });
    servidor.esperar_linea("AVISO no se pudo avisar a systemd por NOTIFY_SOCKET: no existe");
    servidor.conectar().entregar("77");
}

/// En Linux no hay gestor de servicios de Windows: quien lo pide sabe dónde está lo suyo.
#[test]
fn el_servicio_de_windows_no_vale_en_linux_y_se_dice_donde_esta_la_unidad() {
    let carpeta = carpeta_nueva();
    for pedida in ["--servicio", "--instalar", "--desinstalar"] {
        let salida = ejecutar(orden(&carpeta).arg(pedida));
        assert_eq!(salida.status.code(), Some(2), "{pedida}");
        let dicho = String::from_utf8(salida.stderr).unwrap();
        assert!(dicho.contains("la unidad de systemd"), "{dicho}");
    }
    // Ni siquiera se escribe un Config.ini.
    assert_eq!(fs::read_dir(&carpeta).unwrap().count(), 0);
    fs::remove_dir_all(carpeta).unwrap();
}
