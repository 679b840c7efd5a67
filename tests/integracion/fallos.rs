//! Cada paso del almacén falla por turno, con strace, mientras los equipos envían. Nunca hay un
//! AA de algo que no está, ni medio archivo, ni parciales; la conexión sigue y el siguiente
//! mensaje se guarda.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{Local, TimeDelta};
use servidor_hl7::almacen::{Almacen, Parciales, generar_nombre_archivo};

use crate::analizador_simulado::{Analizador, enmarcar, mensaje, mensaje_de};
use crate::rastreo::{Inyeccion, hay_strace, orden_con_fallo_en};
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, escribir_ini, esperar, rutas};

/// Un mensaje y el código con que se acusó.
pub(crate) struct Enviado {
    pub(crate) mensaje: Vec<u8>,
    pub(crate) codigo: Option<String>,
}

/// Qué debe quedar de un mensaje que no recibió AA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SinAa {
    NoEsta,
    PuedeEstar,
}

/// La promesa, mirada en el disco: todo AA está una vez y entero, nada a medias a la vista.
pub(crate) fn comprobar_promesa(archivos: &[Vec<u8>], enviados: &[Enviado], sin_aa: SinAa) {
    let mut veces: HashMap<&[u8], usize> = HashMap::new();
    for archivo in archivos {
        *veces.entry(archivo).or_default() += 1;
    }
    for Enviado { mensaje, codigo } in enviados {
        let esta = veces.remove(mensaje.as_slice()).unwrap_or(0);
        let comienzo = mensaje[..mensaje.len().min(100)].escape_ascii();
        if codigo.as_deref() == Some("AA") {
            assert_eq!(esta, 1, "acusado con AA y está {esta} veces: {comienzo}");
        } else if sin_aa == SinAa::NoEsta {
            assert_eq!(esta, 0, "acusado con {codigo:?} y está: {comienzo}");
        } else {
            assert!(esta <= 1, "está {esta} veces: {comienzo}");
        }
    }
    if let Some(resto) = veces.keys().next() {
        panic!(
            "un .res de {} bytes que nadie envió: {}",
            resto.len(),
            resto[..resto.len().min(100)].escape_ascii()
        );
    }
}

fn sin_parciales(servidor: &Servidor) {
    for carpeta in [servidor.mensajes(), servidor.mensajes().join("apartados")] {
        assert_eq!(rutas(&carpeta, "parcial"), [] as [PathBuf; 0]);
    }
}

/// Lo que debe contestarse a cada mensaje, en orden; el último es siempre AA.
#[derive(Debug, Clone, Copy)]
enum Fallo {
    /// El primero recibe AE y de él no queda nada.
    SeContestaAe,
    /// El primero recibe AE y su archivo, entero, se queda.
    SeContestaAeYQueda,
    /// No se nota: todos reciben AA.
    NoSeNota,
}

/// Conexiones que envían a la vez en cada caso, y cuántos mensajes cada una.
const CONEXIONES: usize = 3;
const MENSAJES: usize = 4;

#[test]
fn ningun_fallo_de_una_llamada_al_sistema_da_un_aa_falso_ni_deja_nada_a_medias() {
    use Fallo::{NoSeNota, SeContestaAe, SeContestaAeYQueda};
    if !hay_strace() {
        return;
    }
    // Por hilo: la primera apertura es la del parcial y la segunda la de la carpeta; la primera
    // sincronización, la del archivo y la segunda, la de la carpeta.
    let mut casos: Vec<(String, Fallo)> = Vec::new();
    for error in [
        "ENOSPC", "EDQUOT", "EIO", "EACCES", "EROFS", "EMFILE", "ENFILE", "ENOMEM",
    ] {
        casos.push((format!("openat:error={error}:when=1"), SeContestaAe));
        casos.push((format!("openat:error={error}:when=2"), SeContestaAe));
        casos.push((format!("write:error={error}:when=1"), SeContestaAe));
        casos.push((format!("renameat2:error={error}:when=1"), SeContestaAe));
    }
    for error in ["EIO", "ENOSPC", "EDQUOT", "EROFS"] {
        casos.push((
            format!("fsync,fdatasync:error={error}:when=1"),
            SeContestaAe,
        ));
        casos.push((
            format!("fsync,fdatasync:error={error}:when=2"),
            SeContestaAeYQueda,
        ));
    }
    // Preguntar por la carpeta tras sincronizarla dice lo que un XFS detenido no dijo antes.
    casos.push(("statx:error=EIO:when=1".to_owned(), SeContestaAeYQueda));
    // Solo de una carpeta se cree que no se puede sincronizar.
    casos.push((
        "fsync,fdatasync:error=EINVAL:when=1".to_owned(),
        SeContestaAe,
    ));
    for oculto in [
        // Una señal interrumpe y se repite; quien no sabe renombrar sin reemplazar, mira antes;
        // un nombre que otro tomó entretanto se cambia por el siguiente.
        "openat:error=EINTR:when=1..2",
        "write:error=EINTR:when=1..3",
        "fsync,fdatasync:error=EINTR:when=1..2",
        "renameat2:error=ENOSYS",
        "renameat2:error=EINVAL",
        "renameat2:error=EOPNOTSUPP",
        "fsync,fdatasync:error=EINVAL:when=2",
        "fsync,fdatasync:error=EOPNOTSUPP:when=2",
        "fsync,fdatasync:error=EBADF:when=2",
        "renameat2:error=EEXIST:when=1..3",
        "openat:error=EEXIST:when=1",
        "recvfrom:error=EINTR:when=1..3",
        "sendto:error=EINTR:when=1..2",
    ] {
        casos.push((oculto.to_owned(), NoSeNota));
    }
    casos.push(("renameat2:error=EINTR:when=1".to_owned(), SeContestaAe));
    for (inyeccion, fallo) in [
        (
            "renameat2:error=ENOSYS|rename:error=EIO:when=1",
            SeContestaAe,
        ),
        (
            "renameat2:error=EINVAL|rename:error=EACCES:when=1",
            SeContestaAe,
        ),
    ] {
        casos.push((inyeccion.to_owned(), fallo));
    }
    let casos = Mutex::new(casos.into_iter());
    thread::scope(|hilos| {
        for _ in 0..4 {
            hilos.spawn(|| {
                loop {
                    let caso = casos.lock().unwrap().next();
                    let Some((inyeccion, fallo)) = caso else {
                        break;
                    };
                    fallar(&inyeccion, fallo);
                }
            });
        }
    });
}

fn fallar(inyeccion: &str, fallo: Fallo) {
    let servidor = Servidor::arrancar();
    let mut enviados = Vec::new();
    let mut equipos: Vec<_> = (0..CONEXIONES).map(|_| servidor.conectar()).collect();
    for (numero, equipo) in equipos.iter_mut().enumerate() {
        enviados.push(enviar(equipo, mensaje(&format!("ANTES{numero}"))));
    }
    let inyectado: Vec<_> = inyeccion.split('|').collect();
    let fallando = Inyeccion::comenzar(servidor.pid(), &inyectado);
    let tandas = thread::scope(|hilos| {
        let hilos: Vec<_> = equipos
            .iter_mut()
            .enumerate()
            .map(|(conexion, equipo)| {
                hilos.spawn(move || {
                    (0..MENSAJES)
                        .map(|numero| {
                            let id = format!("C{conexion}N{numero}");
                            enviar(equipo, mensaje_de(&id, 100_000 * (numero % 2)))
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let tandas: Vec<_> = hilos.into_iter().map(|hilo| hilo.join().unwrap()).collect();
        tandas
    });
    for tanda in tandas {
        let codigos: Vec<_> = tanda
            .iter()
            .filter_map(|enviado| enviado.codigo.as_deref())
            .collect();
        let primero = if matches!(fallo, Fallo::NoSeNota) {
            "AA"
        } else {
            "AE"
        };
        assert_eq!(codigos, [primero, "AA", "AA", "AA"], "{inyeccion}");
        enviados.extend(tanda);
    }
    drop(fallando);
    servidor.conectar().entregar("DESPUES");
    enviados.push(Enviado {
        mensaje: mensaje("DESPUES"),
        codigo: Some("AA".to_owned()),
    });
    let archivos = servidor.archivos();
    let sin_aa = match fallo {
        Fallo::SeContestaAeYQueda => SinAa::PuedeEstar,
        _ => SinAa::NoEsta,
    };
    comprobar_promesa(&archivos, &enviados, sin_aa);
    if matches!(fallo, Fallo::SeContestaAeYQueda) {
        assert_eq!(
            archivos.len(),
            enviados.len(),
            "{inyeccion}: el archivo se queda"
        );
    }
    sin_parciales(&servidor);
}

fn enviar(equipo: &mut Analizador, mensaje: Vec<u8>) -> Enviado {
    equipo.enviar_mensaje(&mensaje);
    let codigo = equipo.si_acusa().map(|acuse| acuse.codigo);
    Enviado { mensaje, codigo }
}

/// Todos los fallos a la vez, cada uno a su ritmo, con ocho conexiones.
#[test]
fn bajo_una_lluvia_de_fallos_cada_aa_esta_en_el_disco_y_despues_todo_vuelve() {
    if !hay_strace() {
        return;
    }
    let servidor = Servidor::arrancar();
    let mut equipos: Vec<_> = (0..8).map(|_| servidor.conectar()).collect();
    for (numero, equipo) in equipos.iter_mut().enumerate() {
        equipo.entregar(&format!("ANTES{numero}"));
    }
    let fallando = Inyeccion::comenzar(
        servidor.pid(),
        &[
            "openat:error=EMFILE:when=3+11",
            "write:error=ENOSPC:when=2+7",
            "fsync:error=EIO:when=4+9",
            "renameat2:error=EACCES:when=3+8",
            "unlink:error=EINTR:when=50+1",
        ],
    );
    let mut enviados: Vec<_> = thread::scope(|hilos| {
        let hilos: Vec<_> = equipos
            .iter_mut()
            .enumerate()
            .map(|(conexion, equipo)| {
                hilos.spawn(move || {
                    (0..40)
                        .map(|numero| enviar(equipo, mensaje(&format!("C{conexion}N{numero}"))))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        hilos
            .into_iter()
            .flat_map(|hilo| hilo.join().unwrap())
            .collect()
    });
    drop(fallando);
    for (codigo, minimo) in [("AA", 80), ("AE", 80)] {
        let cuantos = enviados
            .iter()
            .filter(|enviado| enviado.codigo.as_deref() == Some(codigo))
            .count();
        assert!(cuantos > minimo, "solo {cuantos} {codigo}");
    }
    for (numero, equipo) in equipos.iter_mut().enumerate() {
        enviados.push(enviar(equipo, mensaje(&format!("DESPUES{numero}"))));
        assert_eq!(enviados.last().unwrap().codigo.as_deref(), Some("AA"));
        enviados.push(Enviado {
            mensaje: mensaje(&format!("ANTES{numero}")),
            codigo: Some("AA".to_owned()),
        });
    }
    comprobar_promesa(&servidor.archivos(), &enviados, SinAa::PuedeEstar);
    sin_parciales(&servidor);
}

/// Lo que falla fuera del almacén: aceptar, abrir el hilo, contestar.
#[test]
fn un_fallo_al_aceptar_o_al_abrir_un_hilo_no_acaba_con_el_servidor() {
    if !hay_strace() {
        return;
    }
    for inyeccion in [
        "accept4:error=EMFILE:when=1..3",
        "accept4:error=ENFILE:when=1..3",
        "accept4:error=ECONNABORTED:when=1..3",
        "accept4:error=ENOBUFS:when=1..3",
        "accept4:error=EINTR:when=1..3",
        "accept4:error=EPROTO:when=1..3",
        "clone3,clone:error=EAGAIN:when=1..2",
    ] {
        let servidor = Servidor::arrancar();
        let mut abierto = servidor.conectar();
        abierto.entregar("1");
        let fallando = Inyeccion::comenzar(servidor.pid(), &[inyeccion]);
        // La primera conexión la toma el accept que ya estaba esperando; la segunda, los que fallan.
        for id in ["2", "4"] {
            esperar(&format!("una conexión pese a {inyeccion}"), || {
                let mut equipo = servidor.conectar();
                equipo.enviar_mensaje(&mensaje(id));
                equipo
                    .si_acusa()
                    .map(|acuse| assert_eq!(acuse.codigo, "AA"))
            });
        }
        abierto.entregar("3");
        drop(fallando);
        assert_eq!(servidor.archivos().len(), 4, "{inyeccion}");
    }
}

/// En Windows, quien corta antes de que se le acepte hace fallar a accept: una exploración de
/// puertos no debe hacer esperar a los demás.
#[test]
fn quien_corta_antes_de_entrar_no_hace_esperar_a_los_demas() {
    if !hay_strace() {
        return;
    }
    // Con la pausa de los demás errores serían diez segundos siempre; una máquina ocupada puede tener la
    // culpa de alguno.
    let servidor = Servidor::arrancar();
    let tardanza = |_| {
        let abortar = "accept4:error=ECONNABORTED:when=1..100";
        let fallando = Inyeccion::comenzar(servidor.pid(), &[abortar]);
        let comienzo = Instant::now();
        // La primera conexión puede tomarla el accept que ya estaba esperando.
        servidor.conectar().entregar("1");
        servidor.conectar().entregar("2");
        let tardanza = comienzo.elapsed();
        drop(fallando);
        tardanza
    };
    let menor = (0..3).map(tardanza).min().unwrap();
    assert!(
        menor < Duration::from_secs(5),
        "cien accept fallidos tardaron {menor:?}"
    );
}

/// Carpetas compartidas de una máquina virtual, o de red: su sincronización contesta siempre así.
#[test]
fn una_carpeta_que_no_se_puede_sincronizar_guarda_y_acusa_y_lo_dice_una_vez() {
    if !hay_strace() {
        return;
    }
    for error in ["EINVAL", "EOPNOTSUPP", "EBADF"] {
        let carpeta = carpeta_nueva();
        // También la que contiene a la de los mensajes, que se crea al arrancar.
        let rutas = [carpeta.clone(), carpeta.join("mensajes")];
        let servidor = con_fallo_en(carpeta, &rutas, &format!("fsync,fdatasync:error={error}"));
        let mut equipo = servidor.conectar();
        let enviados: Vec<_> = (0..10)
            .map(|numero| enviar(&mut equipo, mensaje(&numero.to_string())))
            .collect();
        assert!(enviados.iter().all(|e| e.codigo.as_deref() == Some("AA")));
        comprobar_promesa(&servidor.archivos(), &enviados, SinAa::NoEsta);
        assert_eq!(fs::read_dir(servidor.mensajes()).unwrap().count(), 10);
        let dicho = servidor.consola();
        let veces = dicho.matches("cada archivo se sincroniza otra vez").count();
        assert_eq!(veces, 1, "{error}: {dicho}");
    }
}

/// Como la de otro usuario, que deja pasar pero no leer.
#[test]
fn la_carpeta_que_contiene_a_la_de_los_mensajes_puede_no_dejarse_leer() {
    if !hay_strace() {
        return;
    }
    let carpeta = carpeta_nueva();
    let rutas = [carpeta.clone()];
    let servidor = con_fallo_en(carpeta, &rutas, "openat:error=EACCES");
    servidor.conectar().entregar("1");
    assert_eq!(servidor.archivos(), [mensaje("1")]);
}

#[test]
fn probar_la_carpeta_no_deja_nada_aunque_no_se_pueda_sincronizar() {
    if !hay_strace() {
        return;
    }
    let carpeta = carpeta_nueva();
    let rutas = [carpeta.join("mensajes")];
    let servidor = con_fallo_en(carpeta, &rutas, "fsync,fdatasync:error=EIO");
    servidor.esperar_linea("hasta que se arregle, no se acepta ningún mensaje");
    // Mientras no se pueda, se prueba otra vez de vez en cuando.
    esperar("que no quede nada", || {
        let quedan = fs::read_dir(servidor.mensajes()).unwrap().count();
        (quedan == 0).then_some(())
    });
}

/// Un servidor cuyas llamadas sobre esas rutas fallan desde que arranca.
fn con_fallo_en(carpeta: PathBuf, rutas: &[PathBuf], inyeccion: &str) -> Servidor {
    escribir_ini(&carpeta, "");
    let orden = orden_con_fallo_en(&carpeta, rutas, inyeccion);
    Servidor::lanzar(carpeta, orden)
}

/// Todos los nombres de unos segundos son de otro, y el sistema no sabe renombrar sin reemplazar.
#[test]
fn un_nombre_que_ya_es_de_otro_no_se_reemplaza_aunque_el_sistema_no_lo_impida() {
    if !hay_strace() {
        return;
    }
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    equipo.entregar("ANTES");
    let _fallando = Inyeccion::comenzar(servidor.pid(), &["renameat2:error=EINVAL"]);
    // En un PC muy ocupado, el mensaje puede llegar después de todos ellos: se repite.
    let ahora = || Local::now().naive_local();
    let mut se_tarda = TimeDelta::seconds(1);
    esperar("un mensaje a tiempo de que su nombre sea de otro", || {
        let comienzo = ahora();
        let desde = comienzo + se_tarda * 2;
        let hasta = desde + TimeDelta::seconds(2);
        let ajenos: Vec<_> = (0..2000)
            .map(|ms| generar_nombre_archivo(desde + TimeDelta::milliseconds(ms), 0))
            .map(|nombre| servidor.mensajes().join(format!("{nombre}.res")))
            .collect();
        for ajeno in &ajenos {
            fs::write(ajeno, "de otro").unwrap();
        }
        se_tarda = ahora() - comienzo;
        thread::sleep((desde - ahora()).to_std().unwrap_or_default());
        equipo.entregar("ENTRE");
        let a_tiempo = ahora() < hasta;
        for ajeno in &ajenos {
            assert_eq!(fs::read(ajeno).unwrap(), b"de otro", "{}", ajeno.display());
            fs::remove_file(ajeno).unwrap();
        }
        a_tiempo.then_some(())
    });
    let nuestros = rutas(&servidor.mensajes(), "res");
    let ultimo = nuestros.last().unwrap().to_str().unwrap();
    assert!(ultimo.ends_with("_0001.res"), "{ultimo}");
}

/// El acuse no llega a salir: el mensaje está a salvo, sin acuse, y el equipo lo repetirá.
#[test]
fn si_el_acuse_no_se_puede_enviar_el_mensaje_esta_y_la_conexion_se_cierra() {
    if !hay_strace() {
        return;
    }
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    let fallando = Inyeccion::comenzar(servidor.pid(), &["sendto:error=EPIPE:when=1"]);
    let encadenados = ["2", "3", "4"].map(|id| enmarcar(&mensaje(id)));
    equipo.enviar(&encadenados.concat());
    // Tras un acuse que no salió, los demás no se contestan: el equipo los creería de otro.
    assert!(equipo.si_acusa().is_none());
    drop(fallando);
    let guardados = ["1", "2", "3", "4"].map(mensaje);
    assert_eq!(servidor.archivos(), guardados);
    servidor.conectar().entregar("5");
    for id in ["«2»", "«3»", "«4»"] {
        let linea = servidor.esperar_linea(id);
        assert!(linea.contains(" sin acuse "), "{linea}");
    }
}

/// Como el anterior, con un corte de verdad mientras el mensaje se guarda. El siguiente, que ya había llegado a
/// medias, tampoco se pierde.
#[test]
fn si_el_equipo_corta_antes_de_su_acuse_se_dice_que_quedo_sin_el() {
    if !hay_strace() {
        return;
    }
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    let lento = Inyeccion::comenzar(servidor.pid(), &["fsync,fdatasync:delay_enter=2s:when=1"]);
    let a_medias = &enmarcar(&mensaje("3"))[..60];
    equipo.enviar(&[&enmarcar(&mensaje("2")), a_medias].concat());
    esperar("el mensaje en curso", || {
        (rutas(&servidor.mensajes(), "parcial").len() == 1).then_some(())
    });
    equipo.cortar();
    let linea = servidor.esperar_linea("«2»");
    assert_eq!(servidor.esperar_apartados("cortado", 1), [&a_medias[1..]]);
    drop(lento);
    assert!(linea.contains(" sin acuse "), "{linea}");
    assert!(linea.contains("HL7_ORU_"), "{linea}");
    assert_eq!(servidor.archivos(), [mensaje("1"), mensaje("2")]);
}

/// Si tampoco se puede borrar, el parcial espera al próximo arranque, que lo lleva a apartados.
#[test]
fn un_parcial_que_no_se_pudo_borrar_va_a_apartados() {
    if !hay_strace() {
        return;
    }
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    let fallando = Inyeccion::comenzar(
        servidor.pid(),
        &[
            "fsync,fdatasync:error=EIO:when=1",
            "unlink,unlinkat:error=EIO",
        ],
    );
    equipo.enviar_mensaje(&mensaje("2"));
    assert_eq!(equipo.acuse().codigo, "AE");
    drop(fallando);
    equipo.entregar("3");
    assert_eq!(servidor.archivos(), [mensaje("1"), mensaje("3")]);
    rescatar_parciales(&servidor.mensajes());
    assert_eq!(servidor.apartados("parcial"), [mensaje("2")]);
    assert_eq!(rutas(&servidor.mensajes(), "parcial"), [] as [PathBuf; 0]);
}

/// Lo que la vigilancia de un servidor hace en su primer minuto con los restos de una caída.
pub(crate) fn rescatar_parciales(mensajes: &Path) {
    let almacen = Almacen::abrir(mensajes.to_path_buf(), true).unwrap();
    let mut parciales = Parciales::default();
    let ahora = Instant::now();
    for mirada in [ahora, ahora + Duration::from_mins(1)] {
        let rescatados = parciales.rescatar(&almacen, mirada);
        assert!(rescatados.iter().all(Result::is_ok), "{rescatados:?}");
    }
}
