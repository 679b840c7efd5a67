use std::collections::HashSet;
use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use servidor_hl7::almacen::{Almacen, generar_nombre_archivo};

use crate::analizador_simulado::{mensaje, mensaje_de};
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, contenidos, rutas};

fn instante() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 9, 12)
        .unwrap()
        .and_hms_milli_opt(9, 45, 1, 123)
        .unwrap()
}

/// Los parciales que hay en la carpeta de mensajes.
fn parciales(servidor: &Servidor) -> usize {
    rutas(&servidor.mensajes(), "parcial").len()
}

#[test]
fn el_nombre_es_la_hora_de_llegada_y_un_contador_si_hace_falta() {
    assert_eq!(
        generar_nombre_archivo(instante(), 0),
        "HL7_ORU_20260912094501123"
    );
    assert_eq!(
        generar_nombre_archivo(instante(), 1),
        "HL7_ORU_20260912094501123_0001"
    );
}

#[test]
fn tras_un_aa_una_muerte_subita_deja_el_archivo_entero() {
    let mut servidor = Servidor::arrancar();
    let mut esperados = Vec::new();
    for vuelta in 0..10 {
        let grande = mensaje_de(&format!("G{vuelta}"), 300_000);
        let mut equipo = servidor.conectar();
        equipo.entregar(&vuelta.to_string());
        equipo.enviar_mensaje(&grande);
        assert_eq!(equipo.acuse().codigo, "AA");
        // El tercero queda a medias, y no se acusó.
        equipo.enviar(&crate::analizador_simulado::enmarcar(&grande)[..150_000]);
        servidor.matar();
        esperados.extend([mensaje(&vuelta.to_string()), grande]);
        assert!(servidor.archivos() == esperados, "vuelta {vuelta}");
        let carpeta = servidor.carpeta.clone();
        let copia = carpeta_nueva();
        fs::rename(&carpeta, copia.join("x")).unwrap();
        servidor = Servidor::en(copia.join("x"), "");
    }
}

#[test]
fn si_no_se_puede_guardar_se_contesta_ae_no_queda_nada_y_el_siguiente_se_guarda() {
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    fs::remove_dir_all(servidor.mensajes()).unwrap();
    fs::write(servidor.mensajes(), "un archivo donde iba la carpeta").unwrap();
    equipo.enviar_mensaje(&mensaje("1"));
    let acuse = equipo.acuse();
    assert_eq!(
        (acuse.codigo.as_str(), acuse.id.as_slice()),
        ("AE", &b"1"[..])
    );
    assert!(
        acuse.bytes.ends_with(b"|207|\r"),
        "{}",
        acuse.bytes.escape_ascii()
    );
    servidor.esperar_linea("ya hay un archivo con el nombre de la carpeta");
    fs::remove_file(servidor.mensajes()).unwrap();
    equipo.entregar("1");
    assert_eq!(servidor.archivos(), [mensaje("1")]);
    assert_eq!(parciales(&servidor), 0);
}

/// Un límite de tamaño de archivo hace de disco lleno: write falla a mitad. Windows no tiene ese
/// límite (ulimit), ni Wine lo traslada.
#[cfg(unix)]
#[test]
fn un_disco_lleno_no_deja_medio_archivo() {
    let servidor = Servidor::limitado("trap '' XFSZ; ulimit -f 64");
    let mut equipo = servidor.conectar();
    equipo.enviar_mensaje(&mensaje_de("G", 1_000_000));
    assert_eq!(equipo.acuse().codigo, "AE");
    assert_eq!((servidor.archivos().len(), parciales(&servidor)), (0, 0));
    equipo.entregar("1");
    assert_eq!(servidor.archivos(), [mensaje("1")]);
}

#[test]
fn acuse_de_fallo_puede_ser_ar_o_un_cierre_sin_contestar() {
    for (valor, esperado) in [("AR", Some("AR")), ("ninguno", None)] {
        let servidor = Servidor::con(&format!("AcuseDeFallo = {valor}"));
        let mut equipo = servidor.conectar();
        fs::remove_dir_all(servidor.mensajes()).unwrap();
        fs::write(servidor.mensajes(), "").unwrap();
        equipo.enviar_mensaje(&mensaje("1"));
        let codigo = equipo.si_acusa().map(|acuse| acuse.codigo);
        assert_eq!(codigo.as_deref(), esperado);
    }
}

#[test]
fn la_carpeta_que_desaparece_se_vuelve_a_crear() {
    let servidor = Servidor::con("EsperaSinTramaMs = 20");
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    fs::remove_dir_all(servidor.mensajes()).unwrap();
    equipo.entregar("2");
    assert_eq!(servidor.archivos(), [mensaje("2")]);
}

#[test]
fn quien_vigila_los_res_nunca_ve_medio_archivo() {
    let servidor = Servidor::arrancar();
    let grande = mensaje_de("G", 2_000_000);
    let acabado = AtomicBool::new(false);
    thread::scope(|hilos| {
        let vigia = hilos.spawn(|| {
            let mut vistos = 0;
            while !acabado.load(Ordering::Relaxed) {
                for archivo in servidor.archivos() {
                    assert_eq!(archivo.len(), grande.len(), "medio archivo a la vista");
                    vistos += 1;
                }
            }
            vistos
        });
        let mut equipo = servidor.conectar();
        for _ in 0..10 {
            equipo.enviar_mensaje(&grande);
            equipo.esperar_aa("G");
        }
        acabado.store(true, Ordering::Relaxed);
        assert!(vigia.join().unwrap() > 0);
    });
    assert_eq!(servidor.archivos().len(), 10);
}

#[test]
fn dos_servidores_en_una_carpeta_no_pierden_ni_pisan_nada() {
    let uno = Servidor::arrancar();
    let carpeta = uno.mensajes();
    let otro = Servidor::con(&format!("Directorio = {}", carpeta.display()));
    thread::scope(|hilos| {
        for hilo in 0..16 {
            let servidor = if hilo % 2 == 0 { &uno } else { &otro };
            hilos.spawn(move || {
                let mut equipo = servidor.conectar();
                for numero in 0..40 {
                    equipo.entregar(&format!("{hilo}-{numero}"));
                }
            });
        }
    });
    let distintos: HashSet<_> = uno.archivos().into_iter().collect();
    assert_eq!(distintos.len(), 16 * 40);
    assert_eq!(parciales(&uno), 0);
}

fn guardar(almacen: &Almacen, mensaje: &[u8], hora: NaiveDateTime) -> String {
    almacen.guardar(mensaje, hora).unwrap()
}

#[test]
fn dieciseis_hilos_y_dos_almacenes_en_el_mismo_milisegundo_no_pierden_nada() {
    let carpeta = carpeta_nueva();
    let almacenes = [0, 1].map(|_| Almacen::abrir(carpeta.clone(), false).unwrap());
    thread::scope(|hilos| {
        for hilo in 0..16 {
            let almacen = &almacenes[hilo % 2];
            hilos.spawn(move || {
                for numero in 0..25 {
                    guardar(almacen, format!("{hilo}-{numero}").as_bytes(), instante());
                }
            });
        }
    });
    let distintos: HashSet<_> = contenidos(&carpeta, "res").into_iter().collect();
    assert_eq!(distintos.len(), 16 * 25);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn los_nombres_van_en_orden_de_llegada_aunque_el_reloj_retroceda() {
    let carpeta = carpeta_nueva();
    let almacen = Almacen::abrir(carpeta.clone(), false).unwrap();
    let mut nombres = Vec::new();
    // Más de los que caben en el contador de un milisegundo.
    for numero in 0..12_000 {
        let hora = match numero % 3 {
            0 => instante(),
            1 => instante() - TimeDelta::hours(1),
            _ => instante() + TimeDelta::milliseconds(numero / 11_000),
        };
        let nombre = guardar(&almacen, b"", hora);
        // Se borra para que Wine, que recorre la carpeta para hallar un nombre, no tarde minutos.
        fs::remove_file(carpeta.join(&nombre)).unwrap();
        nombres.push(nombre);
    }
    let mut ordenados = nombres.clone();
    ordenados.sort();
    ordenados.dedup();
    assert!(nombres == ordenados, "los nombres no van en orden");
    fs::remove_dir_all(carpeta).unwrap();
}

/// Lo mismo con un límite de tamaño que con un disco sin permiso, que root no tiene.
#[cfg(unix)]
#[test]
fn si_al_arrancar_no_se_puede_guardar_se_dice_antes_de_que_llegue_nada() {
    let servidor = Servidor::limitado("trap '' XFSZ; ulimit -f 0");
    let linea = servidor.esperar_linea("hasta que se arregle, los equipos recibirán AE");
    assert!(
        linea.contains("ERROR no se pudo guardar un archivo de prueba"),
        "{linea}"
    );
    assert!(fs::read_dir(servidor.mensajes()).unwrap().next().is_none());
}

#[test]
fn un_archivo_que_ya_existe_nunca_se_reemplaza() {
    let carpeta = carpeta_nueva();
    let ajeno = carpeta.join("HL7_ORU_20260912094501123.res");
    fs::write(&ajeno, "de otro").unwrap();
    let almacen = Almacen::abrir(carpeta.clone(), true).unwrap();
    assert_eq!(
        guardar(&almacen, b"mio", instante()),
        "HL7_ORU_20260912094501123_0001.res"
    );
    assert_eq!(
        contenidos(&carpeta, "res"),
        [b"de otro".to_vec(), b"mio".to_vec()]
    );
    fs::remove_dir_all(carpeta).unwrap();
}

/// El nombre que tocaba al segundo es ya de otro: él y los que le siguen toman otros posteriores.
#[test]
fn los_nombres_van_en_orden_aunque_uno_sea_de_otro() {
    let carpeta = carpeta_nueva();
    let ajeno = carpeta.join("HL7_ORU_20260912094501123_0001.res");
    fs::write(&ajeno, "de otro").unwrap();
    let almacen = Almacen::abrir(carpeta.clone(), true).unwrap();
    let nombres = [b"a", b"b", b"c", b"d"].map(|mensaje| guardar(&almacen, mensaje, instante()));
    assert!(nombres.is_sorted(), "{nombres:?}");
    let contenidos: Vec<_> = nombres
        .iter()
        .map(|nombre| fs::read(carpeta.join(nombre)).unwrap())
        .collect();
    assert_eq!(contenidos, [b"a", b"b", b"c", b"d"]);
    assert_eq!(fs::read(ajeno).unwrap(), b"de otro");
    assert!(rutas(&carpeta, "parcial").is_empty());
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn los_parciales_de_una_caida_van_a_apartados_y_los_recientes_no_se_tocan() {
    let carpeta = carpeta_nueva();
    let mensajes = carpeta.join("mensajes");
    fs::create_dir(&mensajes).unwrap();
    for (nombre, edad) in [("viejo", 120), ("reciente", 0)] {
        let ruta = mensajes.join(format!(".HL7_ORU_{nombre}.parcial"));
        fs::write(&ruta, nombre).unwrap();
        let modificado = SystemTime::now() - Duration::from_secs(edad);
        File::options()
            .write(true)
            .open(&ruta)
            .unwrap()
            .set_modified(modificado)
            .unwrap();
    }
    fs::write(mensajes.join(".ajeno.parcial"), "de otro programa").unwrap();
    let servidor = Servidor::en(carpeta, "");
    servidor.esperar_linea("un mensaje quedó a medias en una caída");
    assert_eq!(servidor.apartados("parcial"), [b"viejo".to_vec()]);
    assert_eq!(parciales(&servidor), 2);
}

#[test]
fn un_msh_10_hostil_no_sale_de_la_carpeta_ni_entra_en_el_nombre() {
    let servidor = Servidor::arrancar();
    let mut equipo = servidor.conectar();
    let largo = "L".repeat(10_000);
    for id in [
        "../../../PWNED",
        "CON",
        "C:\\x",
        "a/b",
        "",
        "\u{1b}[2J",
        &largo,
    ] {
        equipo.entregar(id);
    }
    assert_eq!(servidor.archivos().len(), 7);
    for ruta in rutas(&servidor.mensajes(), "res") {
        let nombre = ruta.file_stem().unwrap().to_str().unwrap();
        assert!(nombre.starts_with("HL7_ORU_2"), "{nombre}");
        assert!(
            nombre[8..]
                .bytes()
                .all(|octeto| octeto.is_ascii_digit() || octeto == b'_'),
            "{nombre}"
        );
    }
    let en_la_carpeta: Vec<_> = fs::read_dir(&servidor.carpeta).unwrap().collect();
    assert_eq!(en_la_carpeta.len(), 2, "Config.ini y mensajes");
}
