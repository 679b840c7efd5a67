//! El orden de las llamadas al sistema es la promesa del programa, y aquí se mira de verdad:
//! el ejecutable corre bajo strace y su rastro se compara, mensaje por mensaje, con lo prometido.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::analizador_simulado::{enmarcar, mensaje, mensaje_de};
use crate::rastreo::{Llamada, hay_strace, leer_rastro, orden_rastreada};
use crate::servidor_de_prueba::{Servidor, esperar};

const CREAR_DESPACIO: &str = "mkdir:delay_exit=100000";

/// Arranca un servidor bajo strace, le habla, lo detiene y devuelve su carpeta y su rastro. Quien
/// crea una carpeta tarda en seguir, por si otro se le adelanta.
fn rastrear(claves: &str, hablar: impl FnOnce(&Servidor)) -> (PathBuf, Vec<Llamada>) {
    let claves = format!("Directorio = mensajes\n{claves}");
    let (carpeta, rastro) = rastrear_con(&claves, CREAR_DESPACIO, hablar);
    (carpeta.join("mensajes"), rastro)
}

/// Lo mismo, con todas las claves, otra alteración, y la carpeta del servidor.
fn rastrear_con(
    claves: &str,
    alteracion: &str,
    hablar: impl FnOnce(&Servidor),
) -> (PathBuf, Vec<Llamada>) {
    let mut servidor = Servidor::con_orden(claves, |carpeta| {
        orden_rastreada(carpeta, &carpeta.join("rastro"), alteracion)
    });
    let (carpeta, salida) = (servidor.carpeta.clone(), servidor.carpeta.join("rastro"));
    hablar(&servidor);
    servidor.senal("TERM");
    // strace rellena con blancos los números de proceso cortos.
    let fin = format!("{:<5} +++ exited with 0 +++", servidor.pid());
    let completo = || fs::read_to_string(&salida).unwrap().contains(&fin);
    esperar("el final del rastro", || completo().then_some(()));
    servidor.esperar_fin();
    (carpeta, leer_rastro(&salida))
}

/// Si sincroniza eso, y no otro que tuvo antes esa ruta y ya está borrado.
fn sincroniza(llamada: &Llamada, que: &Path) -> bool {
    ["fsync", "fdatasync"].contains(&llamada.nombre.as_str())
        && llamada.valor == 0
        && llamada
            .argumentos
            .contains(&format!("<{}>)", que.display()))
}

/// Lo que debe haber pasado, y en qué orden, antes de acusar con AA un mensaje.
fn comprobar(rastro: &[Llamada], carpeta: &Path, id: &str, longitud: usize) -> Result<(), String> {
    let buscar = |que: &str, desde: usize, es: &dyn Fn(&Llamada) -> bool| {
        rastro
            .iter()
            .filter(|llamada| llamada.comienzo > desde && es(llamada))
            .min_by_key(|llamada| llamada.fin)
            .ok_or_else(|| format!("«{id}»: falta {que} tras el renglón {desde}"))
    };
    let escribe = |llamada: &Llamada| {
        ["write", "writev", "pwrite64"].contains(&llamada.nombre.as_str()) && llamada.valor >= 0
    };

    let primera = buscar("la escritura", 0, &|llamada| {
        escribe(llamada)
            && llamada.argumentos.contains(".parcial>")
            && llamada.argumentos.contains(&format!("|{id}|"))
    })?;
    let (_, parcial) = primera.argumentos.split_once('<').unwrap();
    let (parcial, _) = parcial.split_once('>').unwrap();
    buscar("crear el parcial en exclusiva", 0, &|llamada| {
        llamada.argumentos.contains(&format!("\"{parcial}\""))
            && llamada.argumentos.contains("O_EXCL")
            && llamada.fin < primera.comienzo
    })?;
    let escrituras = rastro
        .iter()
        .filter(|llamada| escribe(llamada) && llamada.argumentos.contains(&format!("<{parcial}>")));
    let escritos: i64 = escrituras.clone().map(|llamada| llamada.valor).sum();
    if usize::try_from(escritos) != Ok(longitud) {
        return Err(format!("«{id}»: {escritos} bytes escritos de {longitud}"));
    }
    let ultima = escrituras.map(|llamada| llamada.fin).max().unwrap();

    let en_el_disco = buscar("sincronizar el archivo", ultima, &|llamada| {
        sincroniza(llamada, Path::new(parcial))
    })?;
    let publicacion = buscar("publicar sin reemplazar", en_el_disco.fin, &|llamada| {
        llamada.nombre == "renameat2"
            && llamada.valor == 0
            && llamada.argumentos.contains(&format!("\"{parcial}\""))
            && llamada.argumentos.contains(".res\"")
            && llamada.argumentos.contains("RENAME_NOREPLACE")
    })?;
    let nombre = buscar("sincronizar la carpeta", publicacion.fin, &|llamada| {
        sincroniza(llamada, carpeta)
    })?;
    let sin_detenerse = buscar("preguntar por la carpeta", nombre.fin, &|llamada| {
        llamada.nombre == "statx"
            && llamada.valor == 0
            && llamada
                .argumentos
                .contains(&format!("<{}>", carpeta.display()))
    })?;
    let acuse = buscar("el acuse", 0, &|llamada| {
        llamada.argumentos.contains(&format!("MSA|AA|{id}|"))
    })?;
    // Ver las horas de la carpeta haría más lento guardar el siguiente mensaje.
    let (pregunta, _) = sin_detenerse.argumentos.split_once('{').unwrap();
    if pregunta.contains(", STATX_") {
        return Err(format!("«{id}»: la pregunta pide datos: {pregunta}"));
    }
    if acuse.comienzo < sin_detenerse.fin {
        return Err(format!("«{id}»: el AA salió antes de estar a salvo"));
    }
    Ok(())
}

#[test]
fn antes_de_cada_aa_se_escribe_se_sincroniza_se_publica_y_se_sincroniza_la_carpeta() {
    if !hay_strace() {
        return;
    }
    let grande = mensaje_de("GRANDE", 3_000_000);
    let (carpeta, rastro) = rastrear("EsperaSinTramaMs = 20", |servidor| {
        let mut equipo = servidor.conectar();
        for numero in 0..20 {
            equipo.entregar(&format!("UNO{numero}"));
        }
        equipo.enviar_mensaje(&grande);
        equipo.esperar_aa("GRANDE");
        equipo.enviar(&mensaje("SIN"));
        equipo.esperar_aa("SIN");
    });
    for numero in 0..20 {
        let id = format!("UNO{numero}");
        comprobar(&rastro, &carpeta, &id, mensaje(&id).len()).unwrap();
    }
    comprobar(&rastro, &carpeta, "GRANDE", grande.len()).unwrap();
    comprobar(&rastro, &carpeta, "SIN", mensaje("SIN").len()).unwrap();
    // La carpeta se creó al arrancar: la que la contiene también se sincronizó, y antes.
    let madre = format!("<{}>", carpeta.parent().unwrap().display());
    let primero = |es: &dyn Fn(&Llamada) -> bool| rastro.iter().find(|llamada| es(llamada));
    let creada = primero(&|llamada| llamada.nombre == "mkdir").unwrap();
    let sincronizada = primero(&|l| l.nombre == "fsync" && l.argumentos.contains(&madre)).unwrap();
    let acusado = primero(&|llamada| llamada.argumentos.contains("MSA|AA|")).unwrap();
    assert!(creada.fin < sincronizada.comienzo && sincronizada.fin < acusado.comienzo);
}

#[test]
fn el_orden_se_cumple_en_la_carpeta_de_un_equipo_y_con_los_nombres_de_todas_las_carpetas() {
    if !hay_strace() {
        return;
    }
    let claves = "CarpetaPorEquipo = si\n[Equipos]\nQuimica = 127.0.0.1";
    let (carpeta, rastro) = rastrear(claves, |servidor| {
        let mut equipo = servidor.conectar();
        equipo.entregar("UNO");
        equipo.entregar("DOS");
        fs::remove_dir_all(servidor.mensajes()).unwrap();
        equipo.entregar("TRES");
    });
    let suya = carpeta.join("Quimica");
    for id in ["UNO", "DOS", "TRES"] {
        comprobar(&rastro, &suya, id, mensaje(id).len()).unwrap();
    }
    // De cada carpeta creada, antes del acuse que sigue, su nombre está en el disco.
    let creadas: Vec<_> = rastro
        .iter()
        .filter(|llamada| llamada.nombre == "mkdir" && llamada.valor == 0)
        .collect();
    assert_eq!(creadas.len(), 4, "las dos, dos veces: {creadas:?}");
    for creada in creadas {
        let (_, ruta) = creada.argumentos.split_once('"').unwrap();
        let (ruta, _) = ruta.split_once('"').unwrap();
        let madre = format!("<{}>", Path::new(ruta).parent().unwrap().display());
        let despues = |llamada: &&Llamada| llamada.comienzo > creada.fin;
        let acuse = rastro
            .iter()
            .filter(despues)
            .find(|llamada| llamada.argumentos.contains("MSA|AA|"))
            .unwrap();
        let sincronizada = rastro.iter().filter(despues).any(|llamada| {
            llamada.nombre == "fsync"
                && llamada.valor == 0
                && llamada.argumentos.contains(&madre)
                && llamada.fin < acuse.comienzo
        });
        assert!(sincronizada, "{ruta}");
    }
}

#[test]
fn el_orden_se_cumple_con_dieciseis_conexiones_y_mensajes_encadenados() {
    if !hay_strace() {
        return;
    }
    let id = |conexion: usize, numero: usize| format!("C{conexion}N{numero}");
    let (carpeta, rastro) = rastrear("", |servidor| {
        thread::scope(|hilos| {
            for conexion in 0..16 {
                hilos.spawn(move || {
                    let mut equipo = servidor.conectar();
                    let tramas: Vec<u8> = (0..20)
                        .flat_map(|numero| enmarcar(&mensaje(&id(conexion, numero))))
                        .collect();
                    equipo.enviar(&tramas);
                    (0..20).for_each(|numero| equipo.esperar_aa(&id(conexion, numero)));
                });
            }
        });
    });
    for conexion in 0..16 {
        for numero in 0..20 {
            let id = id(conexion, numero);
            comprobar(&rastro, &carpeta, &id, mensaje(&id).len()).unwrap();
        }
    }
}

/// La carpeta desaparece y una conexión la crea otra vez: ninguna otra acusa antes de que el
/// nombre de la carpeta esté también en el disco.
#[test]
fn una_carpeta_creada_en_marcha_esta_en_el_disco_antes_de_cualquier_aa_en_ella() {
    if !hay_strace() {
        return;
    }
    let (carpeta, rastro) = rastrear("", |servidor| {
        let mut equipos: Vec<_> = (0..8).map(|_| servidor.conectar()).collect();
        for equipo in &mut equipos {
            equipo.entregar("ANTES");
        }
        fs::remove_dir_all(servidor.mensajes()).unwrap();
        thread::scope(|hilos| {
            for (numero, equipo) in equipos.iter_mut().enumerate() {
                hilos.spawn(move || equipo.entregar(&format!("DESPUES{numero}")));
            }
        });
    });
    let madre = format!("<{}>", carpeta.parent().unwrap().display());
    let creada = rastro
        .iter()
        .filter(|llamada| llamada.nombre == "mkdir" && llamada.valor == 0)
        .max_by_key(|llamada| llamada.comienzo)
        .unwrap();
    let en_el_disco = rastro
        .iter()
        .filter(|llamada| llamada.nombre == "fsync" && llamada.argumentos.contains(&madre))
        .filter(|llamada| llamada.comienzo > creada.comienzo && llamada.valor == 0)
        .map(|llamada| llamada.fin)
        .min()
        .unwrap();
    for acuse in rastro
        .iter()
        .filter(|llamada| llamada.argumentos.contains("MSA|AA|DESPUES"))
    {
        assert!(acuse.comienzo > en_el_disco, "{acuse:?}");
    }
}

/// Quien la creó pudo caer antes de que su nombre llegara al disco.
#[test]
fn la_carpeta_que_ya_existia_se_sincroniza_una_vez_en_la_que_la_contiene() {
    if !hay_strace() {
        return;
    }
    let (carpeta, rastro) = rastrear_con("Directorio = .", CREAR_DESPACIO, |servidor| {
        let mut equipo = servidor.conectar();
        (0..3).for_each(|numero| equipo.entregar(&numero.to_string()));
    });
    let acuse = rastro.iter().find(|l| l.argumentos.contains("MSA|AA|"));
    let madre = carpeta.parent().unwrap();
    let sincronizada: Vec<_> = rastro.iter().filter(|l| sincroniza(l, madre)).collect();
    assert_eq!(sincronizada.len(), 1);
    assert!(sincronizada[0].fin < acuse.unwrap().comienzo);
}

/// Alguien borra veinte veces la carpeta y la que la contiene, con ocho equipos enviando: en cada AA,
/// los nombres de las dos estaban ya en el disco.
#[test]
fn ningun_aa_sale_antes_de_que_el_nombre_de_cada_carpeta_nueva_este_en_el_disco() {
    if !hay_strace() {
        return;
    }
    let (carpeta, rastro) = rastrear_con("Directorio = a/b", CREAR_DESPACIO, |servidor| {
        let (acabado, acusados) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|hilos| {
            for numero in 0..8 {
                let (acabado, acusados) = (&acabado, &acusados);
                hilos.spawn(move || {
                    let mut equipo = servidor.conectar();
                    for vuelta in 0.. {
                        if acabado.load(Ordering::Relaxed) {
                            break;
                        }
                        equipo.enviar_mensaje(&mensaje(&format!("E{numero}N{vuelta}")));
                        let es_aa = equipo.acuse().codigo == "AA";
                        acusados.fetch_add(usize::from(es_aa), Ordering::Relaxed);
                    }
                });
            }
            let madre = servidor.carpeta.join("a");
            let _al_acabar = Bajar(&acabado);
            for vez in 0..20 {
                let antes = acusados.load(Ordering::Relaxed);
                esperar("algunos AA", || {
                    (acusados.load(Ordering::Relaxed) > antes + 3).then_some(())
                });
                // Mientras otros escriben en ella puede no quedar vacía nunca: entonces se la llevan.
                let llevada = servidor.carpeta.join(format!("llevada{vez}"));
                esperar("borrar la carpeta o llevársela", || {
                    let borrada = (0..20).any(|_| fs::remove_dir_all(&madre).is_ok());
                    (borrada || fs::rename(&madre, &llevada).is_ok()).then_some(())
                });
            }
        });
    });
    let (madre, hija) = (carpeta.join("a"), carpeta.join("a/b"));
    let mut acusados = 0;
    for acuse in rastro.iter().filter(|l| l.argumentos.contains("MSA|AA|")) {
        let id = acuse.argumentos.split("MSA|AA|").nth(1).unwrap();
        let id = format!("|{}|", id.split('|').next().unwrap());
        let es_su_escritura = |l: &&Llamada| l.nombre == "write" && l.argumentos.contains(&id);
        let Some(escritura) = rastro.iter().find(es_su_escritura) else {
            panic!("nadie escribió {id}");
        };
        for nueva in [&madre, &hija] {
            let creada = rastro
                .iter()
                .filter(|l| l.nombre == "mkdir" && l.valor == 0)
                .filter(|l| l.argumentos.contains(&format!("\"{}\"", nueva.display())))
                .filter(|l| l.comienzo < escritura.comienzo)
                .max_by_key(|l| l.comienzo)
                .unwrap();
            let contiene = nueva.parent().unwrap();
            let sincronizada = rastro
                .iter()
                .filter(|l| l.comienzo > creada.comienzo && l.fin < acuse.comienzo)
                .any(|l| sincroniza(l, contiene));
            assert!(sincronizada, "{id}: {}", nueva.display());
        }
        acusados += 1;
    }
    assert!(acusados >= 80, "solo {acusados} AA");
}

/// Al soltarse, también por un pánico, hace que los equipos acaben.
struct Bajar<'a>(&'a AtomicBool);

impl Drop for Bajar<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// La carpeta que contiene a las nuevas no se pudo sincronizar: se vuelve a intentar con el siguiente.
#[test]
fn una_carpeta_nueva_que_no_se_pudo_sincronizar_se_sincroniza_antes_del_siguiente_aa() {
    if !hay_strace() {
        return;
    }
    // De la conexión: dos por el primer mensaje; el segundo, además, la madre y la abuela, que falla.
    let falla = "fsync:error=EIO:when=6";
    let (carpeta, rastro) = rastrear_con("Directorio = a/b", falla, |servidor| {
        let mut equipo = servidor.conectar();
        equipo.entregar("1");
        fs::remove_dir_all(servidor.carpeta.join("a")).unwrap();
        equipo.enviar_mensaje(&mensaje("2"));
        assert_eq!(equipo.acuse().codigo, "AE");
        equipo.entregar("3");
    });
    let buscar = |es: &dyn Fn(&&Llamada) -> bool| rastro.iter().filter(es).collect::<Vec<_>>();
    let fallido = buscar(&|l| l.argumentos.contains("MSA|AE|2|"));
    let acusado = buscar(&|l| l.argumentos.contains("MSA|AA|3|"));
    let sincronizada = buscar(&|l| {
        sincroniza(l, &carpeta) && l.comienzo > fallido[0].fin && l.fin < acusado[0].comienzo
    });
    assert_eq!(sincronizada.len(), 1);
}

/// Donde sincronizar la carpeta no basta, el archivo se sincroniza otra vez con su nombre definitivo.
#[test]
fn si_la_carpeta_no_se_puede_sincronizar_el_archivo_se_sincroniza_con_su_nombre() {
    if !hay_strace() {
        return;
    }
    // De cada tres, la segunda: el archivo, la carpeta, y el archivo otra vez.
    let no_sabe = "fsync:error=EINVAL:when=2+3";
    let (carpeta, rastro) = rastrear_con("Directorio = mensajes", no_sabe, |servidor| {
        let mut equipo = servidor.conectar();
        (0..5).for_each(|numero| equipo.entregar(&numero.to_string()));
    });
    let mensajes = carpeta.join("mensajes");
    for numero in 0..5 {
        let acuse = format!("MSA|AA|{numero}|");
        let acusado = rastro.iter().find(|l| l.argumentos.contains(&acuse));
        let acusado = acusado.unwrap().comienzo;
        // Se enviaron de uno en uno: lo último que se publicó antes del acuse es su archivo.
        let publica = |l: &&Llamada| l.nombre == "renameat2" && l.valor == 0 && l.fin < acusado;
        let publicado = rastro.iter().filter(publica).max_by_key(|l| l.fin).unwrap();
        let mut rutas = publicado.argumentos.split('"').skip(1).step_by(2);
        let archivo = Path::new(rutas.nth(1).unwrap());
        assert_eq!(archivo.parent(), Some(mensajes.as_path()));
        let otra_vez = rastro
            .iter()
            .filter(|l| l.comienzo > publicado.fin && l.fin < acusado)
            .any(|l| sincroniza(l, archivo));
        assert!(otra_vez, "{numero}: {}", archivo.display());
    }
}

/// Que la comprobación sabe decir que no: sin sincronizar, la promesa no se cumple.
#[test]
fn sin_sincronizar_la_comprobacion_del_orden_lo_nota() {
    if !hay_strace() {
        return;
    }
    let (carpeta, rastro) = rastrear("Sincronizar = no", |servidor| {
        servidor.conectar().entregar("1");
    });
    let queja = comprobar(&rastro, &carpeta, "1", mensaje("1").len()).unwrap_err();
    assert!(queja.contains("falta sincronizar el archivo"), "{queja}");
}

/// Sin esto, un equipo apagado ocuparía su plaza siempre, uno que no lee retendría su hilo, y cada acuse
/// podría esperar 40 ms al siguiente.
#[test]
fn cada_conexion_se_vigila_tiene_plazo_de_escritura_y_no_retrasa_el_acuse() {
    if !hay_strace() {
        return;
    }
    let (_, rastro) = rastrear("", |servidor| servidor.conectar().entregar("1"));
    let puestas: Vec<_> = rastro
        .iter()
        .filter(|llamada| llamada.nombre == "setsockopt" && llamada.valor == 0)
        .map(|llamada| llamada.argumentos.as_str())
        .collect();
    for opcion in [
        "SO_KEEPALIVE, [1]",
        "TCP_KEEPIDLE, [60]",
        "TCP_KEEPINTVL, [10]",
        "TCP_NODELAY, [1]",
        "SO_SNDTIMEO",
    ] {
        let puesta = puestas.iter().any(|puesta| puesta.contains(opcion));
        assert!(puesta, "{opcion} no está en {puestas:#?}");
    }
}
