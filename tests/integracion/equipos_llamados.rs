use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::analizador_simulado::{Analizador, enmarcar, mensaje};
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, esperar, interrumpible};

/// Un analizador que espera a que se le llame.
struct EquipoQueEspera(TcpListener);

impl EquipoQueEspera {
    fn nuevo() -> EquipoQueEspera {
        EquipoQueEspera(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
    }

    fn puerto(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    fn descolgar(&self) -> Analizador {
        Analizador::llamado(&self.0)
    }
}

/// Un servidor que solo llama.
fn servidor_que_llama(puerto: u16) -> Servidor {
    let carpeta = carpeta_nueva();
    let ini =
        format!("[Servidor]\nDirectorio = mensajes\n[Llamar]\nBC-6000 = 127.0.0.1:{puerto}\n");
    fs::write(carpeta.join("Config.ini"), ini).unwrap();
    let mut orden = interrumpible(&carpeta);
    orden.env("RUST_LOG", "debug");
    Servidor::lanzar_sin_puerto(carpeta, orden)
}

fn consulta(id: &str) -> Vec<u8> {
    format!("MSH|^~\\&|A|B|C|D|2026||QRY^Q02|{id}|P|2.3.1\rQRD|2026|R|D|1|||RD|S-1|OTH|||T\r")
        .into_bytes()
}

#[test]
fn a_un_equipo_que_espera_se_le_llama_y_la_conversacion_es_la_misma() {
    let equipo = EquipoQueEspera::nuevo();
    let servidor = servidor_que_llama(equipo.puerto());
    let mut canal = equipo.descolgar();
    servidor.esperar_linea("Conexión Establecida con BC-6000 (127.0.0.1:");
    canal.entregar("1");
    canal.enviar(b"\x02\x02");
    canal.entregar("2");
    assert_eq!(servidor.archivos(), [mensaje("1"), mensaje("2")]);
    assert!(!servidor.consola().contains("Escuchando"));
}

#[test]
fn si_la_conexion_con_un_equipo_llamado_se_pierde_se_vuelve_a_llamar() {
    let equipo = EquipoQueEspera::nuevo();
    let servidor = servidor_que_llama(equipo.puerto());
    let mut canal = equipo.descolgar();
    canal.entregar("1");
    canal.enviar(b"\x0BMSH|^~\\&|a medias");
    drop(canal);
    equipo.descolgar().entregar("2");
    servidor.esperar_linea("se le vuelve a llamar");
    assert_eq!(servidor.archivos(), [mensaje("1"), mensaje("2")]);
    servidor.esperar_apartados("cortado", 1);
}

/// Hay equipos que entregan un resultado, cuelgan y esperan la llamada siguiente: la pausa no crece.
#[test]
fn a_un_equipo_que_entrega_y_cuelga_se_le_vuelve_a_llamar_enseguida() {
    let equipo = EquipoQueEspera::nuevo();
    let servidor = servidor_que_llama(equipo.puerto());
    equipo.descolgar().entregar("0");
    let comienzo = Instant::now();
    for numero in 1..=5 {
        equipo.descolgar().entregar(&numero.to_string());
    }
    // Con pausas que se doblaran serían 31 s.
    let tardo = comienzo.elapsed();
    assert!(tardo < Duration::from_secs(20), "tardó {tardo:?}");
    assert_eq!(servidor.archivos().len(), 6);
    // Un aviso por resultado taparía los demás; el que no entrega nada sí se avisa.
    servidor.esperar_linea("DEBUG BC-6000 (127.0.0.1:");
    assert!(!servidor.consola().contains("AVISO BC-6000"));
    drop(equipo.descolgar());
    servidor.esperar_linea("se cerró la conexión; se le vuelve a llamar");
    servidor.esperar_linea("AVISO BC-6000 (127.0.0.1:");
}

#[test]
fn a_un_equipo_apagado_se_le_sigue_llamando_y_se_dice_una_sola_vez() {
    // Tiene el puerto y no escucha en él: rechaza las llamadas, y nadie se lo quita.
    let apagado = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let cualquiera = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    apagado.bind(&cualquiera.into()).unwrap();
    let puerto = apagado.local_addr().unwrap().as_socket().unwrap().port();
    let servidor = servidor_que_llama(puerto);
    let linea = servidor.esperar_linea("no se pudo llamar al equipo");
    assert!(
        linea.contains("BC-6000") && linea.contains("rechaza la conexión"),
        "{linea}"
    );
    // El segundo intento fallido solo se dice a quien pide detalles.
    servidor.esperar_linea("DEBUG BC-6000");
    apagado.listen(1).unwrap();
    let equipo = EquipoQueEspera(apagado.into());
    let mut canal = equipo.descolgar();
    canal.entregar("1");
    let veces = || servidor.consola().matches("no se pudo llamar").count();
    assert_eq!(veces(), 1);
    // Si después de contestar se apaga otra vez, es otra avería. Suelta el puerto en lugar de dejar de escuchar,
    // que solo Linux sabe.
    drop((canal, equipo));
    esperar("el segundo aviso", || (veces() == 2).then_some(()));
}

#[test]
fn un_equipo_que_pregunta_no_espera_aunque_otros_envien_resultados() {
    let llamado = EquipoQueEspera::nuevo();
    let servidor = Servidor::con(&format!(
        "[Llamar]\nBC-6000 = 127.0.0.1:{}",
        llamado.puerto()
    ));
    let que_pregunta = |canal: &mut Analizador, nombre: &str| {
        let mut esperas = Vec::new();
        for numero in 0..20 {
            let id = format!("{nombre}{numero}");
            let comienzo = Instant::now();
            canal.enviar(&enmarcar(&consulta(&id)));
            let respuesta = canal.acuse();
            esperas.push(comienzo.elapsed());
            assert_eq!(
                (respuesta.codigo.as_str(), respuesta.id),
                ("AA", id.clone().into_bytes())
            );
            assert!(respuesta.bytes.ends_with(b"\rERR|0|\rQAK|SR|NF|\r"));
            canal.entregar(&id);
        }
        // El que menos espera de los equipos conocidos espera 3 s. De una vez suelta puede tener la
        // culpa una máquina ocupada; de la mitad, no.
        esperas.sort();
        assert!(esperas[10] < Duration::from_secs(3), "{esperas:?}");
    };
    thread::scope(|hilos| {
        hilos.spawn(|| que_pregunta(&mut llamado.descolgar(), "L"));
        hilos.spawn(|| que_pregunta(&mut servidor.conectar(), "E"));
        hilos.spawn(|| {
            let mut canal = servidor.conectar();
            for numero in 0..40 {
                canal.entregar(&format!("R{numero}"));
            }
        });
    });
    assert_eq!(servidor.archivos().len(), 2 * 40 + 40);
}

#[test]
fn la_parada_no_espera_a_un_equipo_llamado() {
    let equipo = EquipoQueEspera::nuevo();
    let mut servidor = servidor_que_llama(equipo.puerto());
    let mut canal = equipo.descolgar();
    canal.entregar("1");
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("Servidor detenido: ");
    assert!(!servidor.consola().contains("mensajes sin acusar"));
}
