use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use servidor_hl7::almacen::{Almacen, Apartado, Parciales, generar_nombre_archivo};

use crate::analizador_simulado::{enmarcar, mensaje, mensaje_de};
use crate::servidor_de_prueba::{Servidor, carpeta_nueva, contenidos, interrumpible, rutas};

fn instante() -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, 9, 12)
        .unwrap()
        .and_hms_milli_opt(9, 45, 1, 123)
        .unwrap()
}

/// Lo que se avisa cuando hubo que crear otra vez esa carpeta.
fn repuesta(carpeta: &Path) -> String {
    format!(
        "la carpeta «{}» no estaba y se volvió a crear; ¿falta la unidad, o alguien la movió o la borró?",
        carpeta.display()
    )
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

/// El límite del sistema al tamaño de los archivos hace fallar la escritura a mitad, y no acaba con el
/// proceso. Windows no tiene ese límite (ulimit, LimitFSIZE), ni Wine lo traslada.
#[cfg(unix)]
#[test]
fn una_escritura_que_el_sistema_no_permite_se_contesta_ae_y_el_siguiente_se_guarda() {
    let servidor = Servidor::limitado("ulimit -f 64");
    let mut equipo = servidor.conectar();
    equipo.enviar_mensaje(&mensaje_de("G", 1_000_000));
    assert_eq!(equipo.acuse().codigo, "AE");
    servidor.esperar_linea("el sistema no deja escribir un archivo tan grande");
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

/// Los que llegaron detrás se tiraban con la conexión, y nadie lo decía.
#[test]
fn tras_un_fallo_sin_acuse_lo_que_llego_detras_se_atiende_sin_contestar() {
    let servidor = Servidor::con("AcuseDeFallo = ninguno");
    let mut equipo = servidor.conectar();
    fs::remove_dir_all(servidor.mensajes()).unwrap();
    fs::write(servidor.mensajes(), "").unwrap();
    let tramas = ["1", "2", "3"].map(|id| enmarcar(&mensaje(id)));
    equipo.enviar(&tramas.concat());
    assert_eq!(equipo.esperar_cierre(), b"");
    for id in ["«1»", "«2»", "«3»"] {
        let linea = servidor.esperar_linea(id);
        assert!(linea.contains(" sin acuse "), "{linea}");
    }
    assert!(!servidor.consola().contains("Error en la Conexion"));
}

#[test]
fn la_carpeta_que_desaparece_se_vuelve_a_crear() {
    let servidor = Servidor::con("EsperaSinTramaMs = 20");
    let mut equipo = servidor.conectar();
    equipo.entregar("1");
    fs::remove_dir_all(servidor.mensajes()).unwrap();
    equipo.entregar("2");
    assert_eq!(servidor.archivos(), [mensaje("2")]);
    servidor.esperar_linea("no estaba y se volvió a crear");
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
    almacen.guardar(None, mensaje, hora).unwrap()
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
    let servidor = Servidor::limitado("ulimit -f 0");
    let linea = servidor.esperar_linea("hasta que se arregle, no se acepta ningún mensaje");
    assert!(
        linea.contains("ERROR no se pudo guardar un archivo de prueba"),
        "{linea}"
    );
    assert!(fs::read_dir(servidor.mensajes()).unwrap().next().is_none());
}

/// Lo que se acusa en la carpeta de debajo de una unidad sin montar queda escondido cuando se monta.
#[test]
fn si_la_carpeta_se_crea_donde_no_habia_nada_se_pregunta_por_la_unidad() {
    let carpeta = carpeta_nueva();
    let unidad = carpeta.join("unidad");
    fs::create_dir(&unidad).unwrap();
    let avisos = |donde: &Path| Almacen::abrir(donde.to_owned(), false).unwrap().avisos();
    let de_la_unidad = unidad.join("hl7/mensajes");
    let [aviso] = &avisos(&de_la_unidad)[..] else {
        panic!("no se avisó una vez")
    };
    assert!(aviso.contains(&format!("«{}» no estaba y se creó", de_la_unidad.display())));
    assert!(aviso.ends_with("¿falta la unidad?"), "{aviso}");
    // Ni si ya está, ni la primera vez que arranca el programa, que tiene al lado su Config.ini.
    assert!(avisos(&de_la_unidad).is_empty());
    assert!(avisos(&carpeta.join("otra/mensajes")).is_empty());
    fs::remove_dir_all(carpeta).unwrap();
}

/// Sin esperar a la próxima ronda, que no llegará.
#[test]
fn lo_que_el_almacen_noto_se_dice_tambien_si_se_para_enseguida() {
    let mut servidor = Servidor::con_orden("", interrumpible);
    fs::remove_dir_all(servidor.mensajes()).unwrap();
    servidor.conectar().entregar("1");
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("no estaba y se volvió a crear");
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

/// Lo que pasa a lo largo de dos minutos en una carpeta con restos de otro servidor.
#[test]
fn un_parcial_va_a_apartados_si_en_un_minuto_nadie_lo_toca_diga_lo_que_diga_su_hora() {
    let carpeta = carpeta_nueva();
    let apartados = carpeta.join("apartados");
    fs::create_dir(&apartados).unwrap();
    let parcial = |numero: usize| format!(".HL7_ORU_2026091209450112{numero}.parcial");
    let del_futuro = SystemTime::now() + Duration::from_hours(1);
    let dejar = |nombre: &str, contenido: &str| {
        let archivo = File::create(carpeta.join(nombre)).unwrap();
        fs::write(carpeta.join(nombre), contenido).unwrap();
        archivo.set_modified(del_futuro).unwrap();
    };
    dejar(&parcial(1), "abandonado");
    dejar(&parcial(2), "crece");
    dejar(&parcial(3), "se publica");
    dejar(".HL7_ORU_ajeno.parcial", "de otro programa");
    fs::create_dir(carpeta.join(parcial(4))).unwrap();
    dejar(
        &format!("apartados/{}", parcial(1)),
        "otro apartado a medias",
    );

    let almacen = Almacen::abrir(carpeta.clone(), true).unwrap();
    let mut parciales = Parciales::default();
    let comienzo = Instant::now();
    let mut mirar = |segundos| {
        let rescatados = parciales.rescatar(&almacen, comienzo + Duration::from_secs(segundos));
        rescatados.into_iter().map(Result::unwrap).count()
    };
    assert_eq!(mirar(0), 0);
    dejar(&parcial(2), "crece más");
    fs::rename(carpeta.join(parcial(3)), carpeta.join("a.res")).unwrap();
    // Llega después: es de quien trabaja ahora.
    dejar(&parcial(5), "nuevo");
    assert_eq!(mirar(59), 0);
    assert_eq!(mirar(60), 2);
    assert_eq!(
        contenidos(&apartados, "parcial"),
        [b"otro apartado a medias".to_vec(), b"abandonado".to_vec()]
    );
    assert_eq!(mirar(119), 0);
    assert_eq!(mirar(120), 1, "el que creció ya no crece");
    assert_eq!(mirar(10_000), 0);
    let quedan =
        [".HL7_ORU_ajeno.parcial", &parcial(4), &parcial(5)].map(|nombre| carpeta.join(nombre));
    let mut hay = rutas(&carpeta, "parcial");
    hay.sort();
    let mut quedan = quedan.to_vec();
    quedan.sort();
    assert_eq!(hay, quedan);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn lo_que_se_promete_de_la_carpeta_se_promete_de_cada_subcarpeta() {
    let carpeta = carpeta_nueva();
    let equipo = carpeta.join("Química");
    let abrir = || {
        let almacen = Almacen::abrir(carpeta.clone(), true).unwrap();
        almacen.con_subcarpetas(["Química"].into_iter()).unwrap()
    };
    let almacen = abrir();
    let probar = |subcarpeta| almacen.probar(subcarpeta, instante());
    probar(Some("Química")).unwrap();
    assert_eq!(fs::read_dir(&equipo).unwrap().count(), 0);
    // Donde solo un equipo no podría guardar, también se dice antes de que llegue nada.
    fs::remove_dir(&equipo).unwrap();
    fs::write(&equipo, "un archivo").unwrap();
    let error = probar(Some("Química")).unwrap_err().to_string();
    assert!(error.contains("Química"), "{error}");
    probar(None).unwrap();
    fs::remove_file(&equipo).unwrap();
    fs::create_dir(&equipo).unwrap();
    let nombres: Vec<_> = (0..4)
        .map(|numero| {
            let subcarpeta = (numero % 2 == 0).then_some("Química");
            almacen.guardar(subcarpeta, b"m", instante()).unwrap()
        })
        .collect();
    assert_eq!(
        nombres,
        [
            "Química/HL7_ORU_20260912094501123.res",
            "HL7_ORU_20260912094501123_0001.res",
            "Química/HL7_ORU_20260912094501123_0002.res",
            "HL7_ORU_20260912094501123_0003.res",
        ]
    );
    // Otro almacén, que no sabe de estos nombres, no los reemplaza.
    let otro = abrir()
        .guardar(Some("Química"), b"otro", instante())
        .unwrap();
    assert_eq!(otro, "Química/HL7_ORU_20260912094501123_0001.res");

    let parcial = equipo.join(".HL7_ORU_20260912094501999.parcial");
    fs::write(&parcial, "a medias").unwrap();
    let mut parciales = Parciales::default();
    let comienzo = Instant::now();
    assert!(parciales.rescatar(&almacen, comienzo).is_empty());
    let rescatados = parciales.rescatar(&almacen, comienzo + Duration::from_mins(1));
    let rescatados: Vec<_> = rescatados.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        rescatados,
        [carpeta
            .join("apartados")
            .join("HL7_ORU_20260912094501999.parcial")]
    );
    assert!(!parcial.exists());

    fs::remove_dir_all(&equipo).unwrap();
    almacen.guardar(Some("Química"), b"m", instante()).unwrap();
    assert_eq!(almacen.avisos(), [repuesta(&equipo)]);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn probar_la_carpeta_no_deja_nada_ni_toma_el_nombre_de_un_mensaje() {
    let carpeta = carpeta_nueva();
    let almacen = Almacen::abrir(carpeta.clone(), true).unwrap();
    almacen.probar(None, instante()).unwrap();
    assert!(fs::read_dir(&carpeta).unwrap().next().is_none());
    assert_eq!(
        guardar(&almacen, b"mensaje", instante()),
        "HL7_ORU_20260912094501123.res"
    );
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn el_primer_archivo_de_una_carpeta_que_no_estaba_no_lleva_contador() {
    let carpeta = carpeta_nueva();
    let almacen = Almacen::abrir(carpeta.clone(), true).unwrap();
    let apartado = almacen.apartar(b"hola", instante(), Apartado::NoHl7);
    assert_eq!(
        apartado.unwrap(),
        "apartados/HL7_ORU_20260912094501123.no_hl7"
    );
    assert_eq!(
        almacen.avisos(),
        [""; 0],
        "los apartados nunca habían estado"
    );
    fs::remove_dir_all(&carpeta).unwrap();
    let un_segundo_despues = instante() + TimeDelta::seconds(1);
    assert_eq!(
        guardar(&almacen, b"mensaje", un_segundo_despues),
        "HL7_ORU_20260912094502123.res"
    );
    assert_eq!(almacen.avisos(), [repuesta(&carpeta)]);
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn un_reloj_que_se_corrige_hacia_atras_se_avisa_una_vez_con_la_hora_de_los_nombres() {
    let carpeta = carpeta_nueva();
    let almacen = Almacen::abrir(carpeta.clone(), false).unwrap();
    let del_futuro = instante() + TimeDelta::days(365);
    guardar(&almacen, b"1", del_futuro);
    assert_eq!(almacen.avisos(), [""; 0]);
    guardar(&almacen, b"2", instante());
    let avisos = almacen.avisos();
    assert_eq!(avisos.len(), 1);
    assert!(
        avisos[0].contains("desde las 09:45:01 del 12/09/2027"),
        "{avisos:?}"
    );
    guardar(&almacen, b"3", instante());
    assert_eq!(almacen.avisos(), [""; 0]);
    fs::remove_dir_all(carpeta).unwrap();
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
