use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
#[cfg(unix)]
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use servidor_hl7::recepcion::parada::Parada;

#[cfg(unix)]
use crate::analizador_simulado::enmarcar;
use crate::analizador_simulado::{Analizador, mensaje};
#[cfg(target_os = "linux")]
use crate::rastreo::{Inyeccion, hay_strace};
#[cfg(target_os = "linux")]
use crate::servidor_de_prueba::rutas;
use crate::servidor_de_prueba::{
    PLAZO, Servidor, Vigilado, carpeta_nueva, escribir_ini, interrumpible, interrumpir,
};
#[cfg(unix)]
use crate::servidor_de_prueba::{con_exito, esperar};

/// Cómo se le puede pedir desde fuera que pare.
#[cfg(unix)]
const PARADAS: [fn(&Servidor); 2] = [Servidor::interrumpir, |servidor| servidor.senal("TERM")];
#[cfg(windows)]
const PARADAS: [fn(&Servidor); 1] = [Servidor::interrumpir];

/// Un supervisor no espera más: es el `TimeoutStopSec` que el README da a systemd.
const PLAZO_DE_UN_SUPERVISOR: Duration = Duration::from_secs(10);

#[test]
fn ctrl_c_y_sigterm_acaban_con_cero_sin_esperar_a_las_conexiones_abiertas() {
    for parar in PARADAS {
        let mut servidor = Servidor::con_orden("", interrumpible);
        let mut ocioso = servidor.conectar();
        ocioso.entregar("1");
        let mut a_medias = servidor.conectar();
        a_medias.enviar(&[b"\x0B".to_vec(), mensaje("2")].concat());
        parar(&servidor);
        assert!(servidor.esperar_fin().success());
        servidor.esperar_linea("Recibida Señal de Detención. Deteniendo el Servidor...");
        servidor.esperar_linea("Servidor detenido: mensajes guardados: 1 ");
        // Los habría contado si los hubiera esperado.
        assert!(!servidor.consola().contains("mensajes sin acusar"));
        assert_eq!(servidor.archivos(), [mensaje("1")]);
    }
}

/// Como una ventana de Windows en la que alguien selecciona texto.
#[test]
fn ctrl_c_acaba_aunque_la_consola_no_lea() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "Sincronizar = no");
    let (proceso, consola) = Vigilado::lanzar(&mut interrumpible(&carpeta));
    let mut consola = BufReader::with_capacity(64, consola).lines();
    let puerto = consola
        .find_map(|linea| {
            let linea = linea.unwrap();
            let (_, puerto) = linea.rsplit_once("Escuchando el Puerto ")?;
            Some(puerto.parse().unwrap())
        })
        .unwrap();
    // Con esto la tubería está llena, y el hilo del registro, parado escribiendo.
    let mut equipo = Analizador::conectar(puerto);
    for numero in 0..1000 {
        equipo.entregar(&numero.to_string());
    }
    let comienzo = Instant::now();
    interrumpir(proceso.pid());
    let fin = proceso.esperar_fin();
    assert!(fin.success(), "{fin}");
    let tardo = comienzo.elapsed();
    assert!(tardo < PLAZO_DE_UN_SUPERVISOR, "tardó {tardo:?}");
    drop(consola);
    let _ = fs::remove_dir_all(carpeta);
}

/// Un puerto libre de los que ningún sistema reparte: nadie lo toma mientras el servidor no está.
fn puerto_que_nadie_toma() -> u16 {
    let desde = 10_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (desde..20_000)
        .find(|puerto| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *puerto)).is_ok())
        .unwrap()
}

#[test]
fn el_puerto_queda_libre_al_instante_tras_parar_y_tras_una_caida() {
    let puerto = puerto_que_nadie_toma();
    let arrancar = |carpeta: PathBuf| {
        escribir_ini(&carpeta, &format!("Puerto = {puerto}"));
        let orden = interrumpible(&carpeta);
        Servidor::lanzar(carpeta, orden)
    };
    let mut servidor = arrancar(carpeta_nueva());
    for vuelta in 0..4 {
        // Quien cierra primero deja el puerto en TIME_WAIT: que sea el servidor.
        let mut equipo = servidor.conectar();
        equipo.entregar("1");
        if vuelta % 2 == 0 {
            servidor.interrumpir();
            servidor.esperar_fin();
        } else {
            servidor.matar();
        }
        let carpeta = servidor.carpeta.clone();
        fs::create_dir_all(&carpeta).unwrap();
        servidor = arrancar(carpeta);
        assert_eq!(servidor.puerto, puerto);
    }
}

#[test]
fn la_parada_espera_a_los_mensajes_en_curso_y_no_deja_comenzar_otros() {
    static BANDERA: AtomicBool = AtomicBool::new(false);
    let parada = Parada::new(&BANDERA);
    let en_curso = [parada.comenzar().unwrap(), parada.comenzar().unwrap()];
    assert!(!parada.manejar_interrupcion(), "es la primera vez");
    assert!(parada.manejar_interrupcion(), "es la segunda vez");
    assert!(parada.comenzar().is_none());
    assert_eq!(parada.esperar(Duration::from_millis(50)), 2);
    drop(en_curso);
    assert_eq!(parada.esperar(Duration::ZERO), 0);
}

/// Si el fin de un mensaje no la despertara, esperaría su plazo entero.
#[test]
fn la_parada_sigue_en_cuanto_acaba_el_ultimo_mensaje_en_curso() {
    static BANDERA: AtomicBool = AtomicBool::new(false);
    static PARADA: Parada = Parada::new(&BANDERA);
    // El mensaje puede acabar antes de que se le espere: se repite, para que no siempre sea así.
    for _ in 0..20 {
        BANDERA.store(false, Ordering::Relaxed);
        let en_curso = PARADA.comenzar().unwrap();
        PARADA.manejar_interrupcion();
        let (aviso, recibido) = channel();
        thread::spawn(move || {
            aviso.send(None).unwrap();
            aviso.send(Some(PARADA.esperar(Duration::from_hours(1))))
        });
        assert_eq!(recibido.recv_timeout(PLAZO), Ok(None));
        thread::sleep(Duration::from_millis(2));
        drop(en_curso);
        assert_eq!(recibido.recv_timeout(PLAZO), Ok(Some(0)));
    }
}

/// A los que ya solo falta acusar se les espera un segundo, aunque al empezar la espera se estuvieran
/// guardando: si no la despertara el cambio, se les esperaría el plazo entero.
#[test]
fn la_parada_deja_de_esperar_al_que_ya_solo_falta_acusar() {
    static BANDERA: AtomicBool = AtomicBool::new(false);
    // Un mensaje puede guardarse antes de que se le espere: son varias, para que no todos lo hagan.
    let paradas: Vec<_> = (0..20).map(|_| Arc::new(Parada::new(&BANDERA))).collect();
    let en_curso = paradas.iter().map(|parada| parada.comenzar().unwrap());
    let mut en_curso: Vec<_> = en_curso.collect();
    let (aviso, recibido) = channel();
    for parada in &paradas {
        parada.manejar_interrupcion();
        let (parada, aviso) = (Arc::clone(parada), aviso.clone());
        thread::spawn(move || {
            aviso.send(None).unwrap();
            aviso.send(Some(parada.esperar(Duration::from_hours(1))))
        });
    }
    for _ in &paradas {
        assert_eq!(recibido.recv_timeout(PLAZO), Ok(None));
    }
    thread::sleep(Duration::from_millis(2));
    for mensaje in &mut en_curso {
        mensaje.acusar();
    }
    for _ in &paradas {
        assert_eq!(recibido.recv_timeout(PLAZO), Ok(Some(1)));
    }
}

/// Con un disco que tarda, el mensaje que se estaba guardando se guarda, se acusa y solo entonces se
/// acaba.
#[cfg(target_os = "linux")]
#[test]
fn la_parada_espera_a_que_un_disco_lento_guarde_el_mensaje_en_curso() {
    let Some(mut lento) = DiscoLento::guardando() else {
        return;
    };
    lento.servidor.senal("TERM");
    lento.esperar_parada();
    // Lo que llega después no comienza: ni se guarda ni se contesta.
    lento.otro.enviar_mensaje(&mensaje("3"));
    assert!(lento.otro.si_acusa().is_none());
    lento.esperar_lo_que_estaba_en_curso();
}

/// Al cerrarla, bash envía SIGHUP, y el sistema otra vez; al acabar una sesión, systemd envía con ella
/// SIGTERM.
#[cfg(target_os = "linux")]
#[test]
fn cerrar_la_terminal_termina_lo_que_esta_en_curso_por_mas_veces_que_se_avise() {
    let Some(mut lento) = DiscoLento::guardando() else {
        return;
    };
    lento.servidor.senal("HUP");
    lento.esperar_parada();
    for senal in ["HUP", "TERM", "HUP"] {
        lento.servidor.senal(senal);
    }
    lento.esperar_lo_que_estaba_en_curso();
}

#[cfg(target_os = "linux")]
#[test]
fn la_segunda_vez_que_se_pide_la_parada_no_espera_a_nada() {
    let Some(mut lento) = DiscoLento::guardando() else {
        return;
    };
    lento.servidor.senal("TERM");
    lento.esperar_parada();
    lento.servidor.senal("TERM");
    assert_eq!(lento.servidor.esperar_fin().code(), Some(1));
}

/// El mismo `nohup` hace esto.
#[cfg(target_os = "linux")]
#[test]
fn con_nohup_se_sigue_recibiendo_al_cerrar_la_terminal() {
    let mut servidor = Servidor::limitado("trap '' HUP");
    servidor.senal("HUP");
    servidor.conectar().entregar("1");
    servidor.senal("TERM");
    assert!(servidor.esperar_fin().success());
    assert_eq!(servidor.archivos(), [mensaje("1")]);
}

/// Un servidor cuyo disco tarda, con un mensaje guardado de cada uno de dos equipos y otro en curso.
#[cfg(target_os = "linux")]
struct DiscoLento {
    servidor: Servidor,
    equipo: Analizador,
    otro: Analizador,
    _lento: Inyeccion,
}

#[cfg(target_os = "linux")]
impl DiscoLento {
    /// `None` si no se puede usar strace.
    fn guardando() -> Option<DiscoLento> {
        if !hay_strace() {
            return None;
        }
        let servidor = Servidor::arrancar();
        let mut equipo = servidor.conectar();
        equipo.entregar("1");
        let mut otro = servidor.conectar();
        otro.entregar("OTRO");
        let lento = Inyeccion::comenzar(servidor.pid(), &["fsync,fdatasync:delay_enter=2s:when=1"]);
        equipo.enviar_mensaje(&mensaje("2"));
        esperar("el mensaje en curso", || {
            (rutas(&servidor.mensajes(), "parcial").len() == 1).then_some(())
        });
        Some(DiscoLento {
            servidor,
            equipo,
            otro,
            _lento: lento,
        })
    }

    fn esperar_parada(&self) {
        self.servidor.esperar_linea("Recibida Señal de Detención");
    }

    fn esperar_lo_que_estaba_en_curso(&mut self) {
        self.equipo.esperar_aa("2");
        assert!(self.servidor.esperar_fin().success());
        self.servidor
            .esperar_linea("Servidor detenido: mensajes guardados: 3 ");
        assert_eq!(self.servidor.archivos(), ["1", "OTRO", "2"].map(mensaje));
        assert!(rutas(&self.servidor.mensajes(), "parcial").is_empty());
    }
}

/// Quien los envió sin esperar cada acuse puede no enviarlos otra vez: que alguien sepa que estaban.
#[cfg(unix)]
#[test]
fn lo_que_habia_llegado_y_no_comenzo_se_dice_al_parar() {
    const MENSAJES: usize = 500;
    let mut servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    let ids = (0..MENSAJES).map(|numero| numero.to_string());
    let mut tramas: Vec<u8> = ids.flat_map(|id| enmarcar(&mensaje(&id))).collect();
    tramas.extend_from_slice(b"\x0BMSH|^~\\&|A");
    equipo.enviar(&tramas);
    equipo.esperar_aa("0");
    servidor.senal("TERM");
    assert!(servidor.esperar_fin().success());
    let cuantos = |antes: &str| -> usize {
        let linea = servidor.esperar_linea(antes);
        let (_, resto) = linea.split_once(antes).unwrap();
        let cifras = resto.split(|letra: char| !letra.is_ascii_digit()).next();
        cifras.unwrap().parse().unwrap()
    };
    let guardados = cuantos("Servidor detenido: mensajes guardados: ");
    assert!((1..MENSAJES).contains(&guardados), "{guardados}");
    assert_eq!(servidor.archivos().len(), guardados);
    let sin_acusar = cuantos("mensajes sin acusar al parar: ");
    assert_eq!(guardados + sin_acusar, MENSAJES);
    assert_eq!(
        cuantos("mensajes que no acabaron de llegar antes de parar: "),
        1
    );
}

/// La página puede estar en un disco de red que ha dejado de responder: aquí, una tubería que nadie lee.
#[cfg(unix)]
#[test]
fn la_parada_no_espera_a_un_disco_que_no_responde_para_dejar_escrita_la_pagina() {
    let mut servidor = Servidor::con("Sincronizar = no\n[Registro]\nEstado = estado.html");
    servidor.conectar().entregar("1");
    esperar("la página", || {
        servidor.carpeta.join("estado.html").exists().then_some(())
    });
    con_exito(Command::new("mkfifo").arg(servidor.carpeta.join(".estado.html.parcial")));
    servidor.senal("TERM");
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("Servidor detenido: mensajes guardados: 1 ");
}

/// Quien mira el registro sabe por su última línea si el programa está en marcha.
#[cfg(unix)]
#[test]
fn servidor_detenido_es_lo_ultimo_que_se_dice_aunque_el_almacen_haya_notado_algo() {
    let mut servidor = Servidor::con_orden("", interrumpible);
    fs::remove_dir_all(servidor.mensajes()).unwrap();
    servidor.conectar().entregar("1");
    servidor.interrumpir();
    servidor.esperar_fin();
    servidor.esperar_linea("no estaba y se volvió a crear");
    servidor.esperar_linea("Servidor detenido");
    let consola = servidor.consola();
    let ultima = consola.lines().last().unwrap();
    assert!(ultima.contains("Servidor detenido"), "{consola}");
}
