use std::fs;
use std::path::{Path, absolute};

use chrono::{Local, NaiveDate};

use crate::analizador_simulado::mensaje;
#[cfg(unix)]
use crate::servidor_de_prueba::limitada;
use crate::servidor_de_prueba::{
    Servidor, carpeta_nueva, con_rust_log, ejecutar, escribir_ini, esperar, interrumpible, orden,
    rutas,
};

/// El registro de hoy, cuando ya contiene ese texto.
fn esperar_en_el_registro(carpeta: &Path, texto: &str) -> String {
    esperar(&format!("«{texto}» en el registro"), || {
        let archivos = rutas(carpeta, "log").into_iter();
        let textos = archivos.filter_map(|archivo| fs::read_to_string(archivo).ok());
        textos.into_iter().find(|registro| registro.contains(texto))
    })
}

#[test]
fn el_registro_guarda_lo_que_dice_la_consola_en_un_archivo_por_dia_y_borra_los_viejos() {
    let carpeta = carpeta_nueva();
    let registro = carpeta.join("un registro");
    fs::create_dir(&registro).unwrap();
    for nombre in ["servidor_20200101.log", "servidor_ayer.log", "otro.log"] {
        fs::write(registro.join(nombre), "viejo").unwrap();
    }
    let claves = "[Registro]\nCarpeta = un registro\nDiasAGuardar = 1";
    let servidor = Servidor::en(carpeta, claves);
    servidor.conectar().entregar("77");
    let hoy = esperar_en_el_registro(&registro, "«77»");
    assert!(!hoy.contains('\u{1b}'), "{hoy}");
    let fila = servidor.esperar_linea("«77»");
    let consola = servidor.consola();
    for linea in consola.lines().filter(|linea| *linea != fila) {
        assert!(hoy.contains(linea), "falta «{linea}» en {hoy}");
    }
    let archivo = fila.rsplit_once(' ').unwrap().1;
    let entera = format!(" ms. Archivo en Transmision: {archivo} MSH-10 «77»");
    assert!(hoy.contains(&entera), "falta «{entera}» en {hoy}");
    for linea in hoy.lines() {
        let fecha = linea.split_once(' ').unwrap().0;
        assert!(
            NaiveDate::parse_from_str(fecha, "%Y-%m-%d").is_ok(),
            "{linea}"
        );
    }
    let primera = format!(
        "servidor-hl7 {}: configuración leída de «{}», carpeta «{}», puerto libre",
        env!("CARGO_PKG_VERSION"),
        absolute(servidor.carpeta.join("Config.ini"))
            .unwrap()
            .display(),
        absolute(servidor.mensajes()).unwrap().display(),
    );
    for dicho in [&hoy, &consola] {
        assert!(dicho.lines().next().unwrap().ends_with(&primera), "{dicho}");
    }
    assert!(!consola.contains("no hay registro"), "{consola}");
    let archivos = rutas(&registro, "log");
    let nombres: Vec<_> = archivos
        .iter()
        .map(|ruta| ruta.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(nombres.len(), 3, "{nombres:?}");
    assert!(!nombres.contains(&"servidor_20200101.log"));
}

/// En la consola se cuentan, y quien busca un resultado necesita la hora y el MSH-10 de cada uno.
#[test]
fn cada_mensaje_tiene_su_linea_en_el_registro_aunque_todos_sean_iguales() {
    let servidor = Servidor::con("Sincronizar = no\n[Registro]\nCarpeta = registro");
    let mut equipo = servidor.conectar();
    let mut enviar = |mensaje: &[u8], codigo: &str| {
        for _ in 0..50 {
            equipo.enviar_mensaje(mensaje);
            assert_eq!(equipo.acuse().codigo, codigo);
        }
    };
    enviar(&mensaje("77"), "AA");
    enviar(b"PID|1||9", "AR");
    fs::remove_dir_all(servidor.mensajes()).unwrap();
    fs::write(servidor.mensajes(), "un archivo").unwrap();
    enviar(&mensaje("77"), "AE");
    equipo.enviar_mensaje(&mensaje("ULTIMO"));
    let registro = esperar_en_el_registro(&servidor.carpeta.join("registro"), "«ULTIMO»");
    let consola = servidor.consola();
    let filas = ["AA", "AR", "AE"].map(|codigo| format!(" {codigo}        127.0.0.1"));
    let cuantas = |dicho: &str| filas.each_ref().map(|fila| dicho.matches(fila).count());
    assert_eq!(cuantas(&registro), [50, 50, 51], "{registro}");
    assert!(
        cuantas(&consola).iter().all(|filas| *filas < 50),
        "{consola}"
    );
}

/// Lo dicen las mismas líneas del código, y una cola dice qué mensaje, ya acusado, está incompleto.
#[test]
fn la_cola_de_un_mensaje_se_dice_aunque_antes_se_haya_dicho_mucho_de_otra_clase() {
    let servidor = Servidor::con("Sincronizar = no\nEsperaSinTramaMs = 30");
    let mut reiniciador = servidor.conectar();
    reiniciador.enviar(&b"\x0BMSH|^~\\&|A\r".repeat(41));
    servidor.esperar_apartados("reiniciado", 40);
    let mut equipo = servidor.conectar();
    equipo.enviar(&mensaje("1"));
    equipo.esperar_aa("1");
    equipo.enviar(b"OBX|2|NM|URE||40\r");
    let linea = servidor.esperar_linea("llegó el resto de un mensaje sin trama");
    assert!(!linea.contains("líneas como esta"), "{linea}");
}

/// Sería de quien revisa, y el servicio no podría escribir en él.
#[test]
fn revisar_no_deja_en_el_registro_ningun_archivo_ni_toca_el_de_hoy() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "[Registro]\nCarpeta = registro");
    let revisar = || {
        let salida = ejecutar(orden(&carpeta).arg("--revisar"));
        String::from_utf8(salida.stdout).unwrap()
    };
    let registro = carpeta.join("registro");
    let dicho = revisar();
    assert!(dicho.contains("bien  registro   "), "{dicho}");
    assert_eq!(fs::read_dir(&registro).unwrap().count(), 0);
    let hoy = Local::now().format("servidor_%Y%m%d.log").to_string();
    fs::write(registro.join(&hoy), "lo de hoy").unwrap();
    let dicho = revisar();
    assert!(dicho.contains("bien  registro   "), "{dicho}");
    let queda = fs::read_to_string(registro.join(&hoy)).unwrap();
    assert_eq!(queda, "lo de hoy");
    assert_eq!(fs::read_dir(&registro).unwrap().count(), 1);
    // Una carpeta con ese nombre: ni un administrador escribe en ella.
    fs::remove_file(registro.join(&hoy)).unwrap();
    fs::create_dir(registro.join(&hoy)).unwrap();
    let dicho = revisar();
    assert!(dicho.contains("MAL   registro   no se pudo"), "{dicho}");
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn sin_seccion_registro_solo_hay_consola() {
    let servidor = Servidor::arrancar();
    servidor.conectar().entregar("77");
    servidor.esperar_linea("«77»");
    let mut hay: Vec<_> = fs::read_dir(&servidor.carpeta)
        .unwrap()
        .map(|entrada| entrada.unwrap().file_name())
        .collect();
    hay.sort();
    assert_eq!(hay, ["Config.ini", "mensajes"]);
    servidor.esperar_linea("AVISO no hay registro: si nadie mira la ventana no quedará constancia");
    let revision = ejecutar(orden(&servidor.carpeta).arg("--revisar"));
    let dicho = String::from_utf8(revision.stdout).unwrap();
    assert!(
        dicho.contains("aviso registro   no hay registro: si nadie"),
        "{dicho}"
    );
}

/// El diario de systemd, que guarda lo que se dice, es una salida como otra: aquí, un archivo.
#[cfg(unix)]
#[test]
fn en_systemd_cada_linea_lleva_su_prioridad_y_no_hace_falta_registro() {
    use std::os::unix::fs::MetadataExt;

    use crate::servidor_de_prueba::esperar_fin;

    for es_el_journal in [true, false] {
        let ocupante = Servidor::arrancar();
        let carpeta = carpeta_nueva();
        escribir_ini(
            &carpeta,
            &format!("Puerto = {}\nSobra = 1", ocupante.puerto),
        );
        let salida = fs::File::create(carpeta.join("salida.txt")).unwrap();
        let datos = salida.metadata().unwrap();
        let nodo = datos.ino() + u64::from(!es_el_journal);
        let mut orden = orden(&carpeta);
        orden
            .env("JOURNAL_STREAM", format!("{}:{nodo}", datos.dev()))
            .stderr(salida.try_clone().unwrap())
            .stdout(salida);
        assert_eq!(esperar_fin(&mut orden.spawn().unwrap()).code(), Some(1));
        let dicho = fs::read_to_string(carpeta.join("salida.txt")).unwrap();
        let con_prioridad = |prioridad: &str, texto: &str| {
            let linea = dicho.lines().find(|linea| linea.contains(texto)).unwrap();
            assert_eq!(linea.starts_with(prioridad), es_el_journal, "{dicho}");
        };
        con_prioridad("<6>", "configuración leída de «");
        con_prioridad("<4>", "sobra la clave «Sobra»");
        con_prioridad("<3>", "servidor-hl7: no se pudo abrir el puerto");
        assert_eq!(dicho.contains("no hay registro"), !es_el_journal, "{dicho}");
        fs::remove_dir_all(carpeta).unwrap();
    }
}

#[test]
fn un_registro_que_no_se_puede_escribir_se_avisa_y_no_toca_la_recepcion() {
    let carpeta = carpeta_nueva();
    fs::write(carpeta.join("ocupado"), "un archivo").unwrap();
    let servidor = Servidor::en(carpeta, "[Registro]\nCarpeta = ocupado");
    let mut equipo = servidor.conectar();
    for numero in 0..50 {
        equipo.entregar(&numero.to_string());
    }
    servidor.esperar_linea("no se pudo escribir el registro en «");
    servidor.esperar_linea("«49»");
    fs::remove_file(servidor.carpeta.join("ocupado")).unwrap();
    equipo.entregar("al fin");
    let registro = esperar_en_el_registro(&servidor.carpeta.join("ocupado"), "«al fin»");
    assert!(!registro.contains("«49»"), "{registro}");
    servidor.esperar_linea("el registro vuelve a escribirse en «");
    let avisos = servidor
        .consola()
        .matches("no se pudo escribir el registro")
        .count();
    assert_eq!(avisos, 1);
    assert_eq!(servidor.archivos().len(), 51);
}

/// El límite del sistema al tamaño de los archivos corta una línea por la mitad, como un disco lleno.
#[cfg(unix)]
#[test]
fn lo_que_no_cupo_entero_en_el_registro_se_quita_de_el() {
    let lineas = "[Registro]\nCarpeta = registro";
    let mut servidor = Servidor::con_orden(lineas, |carpeta| limitada(carpeta, "ulimit -f 8"));
    let mut equipo = servidor.conectar();
    equipo.entregar("0");
    servidor.esperar_linea("«0»");
    for numero in 1..100 {
        equipo.entregar(&numero.to_string());
    }
    servidor.esperar_linea("no se pudo escribir el registro en «");
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    let registro = leer_registro(&servidor.carpeta);
    assert!(registro.contains("«0»\n"), "{registro}");
    assert!(registro.ends_with('\n'), "{registro}");
}

#[test]
fn un_error_al_arrancar_consta_en_el_registro() {
    let ocupante = Servidor::arrancar();
    let carpeta = carpeta_nueva();
    let lineas = format!(
        "Puerto = {}\n[Registro]\nCarpeta = registro",
        ocupante.puerto
    );
    escribir_ini(&carpeta, &lineas);
    assert!(!ejecutar(&mut orden(&carpeta)).status.success());
    let registro = esperar_en_el_registro(&carpeta.join("registro"), "ERROR");
    assert!(registro.contains("otro programa ya lo usa"), "{registro}");
    // Una tarea que lo intenta cada minuto no llena el registro de lo mismo.
    for _ in 0..5 {
        assert!(!ejecutar(&mut orden(&carpeta)).status.success());
    }
    let registro = leer_registro(&carpeta);
    assert!(registro.lines().count() < 10, "{registro}");
    // Pero otro fallo se dice.
    escribir_ini(
        &carpeta,
        &lineas.replace("Puerto", "Direccion = 192.0.2.1\nPuerto"),
    );
    assert!(!ejecutar(&mut orden(&carpeta)).status.success());
    let registro = leer_registro(&carpeta);
    assert!(
        registro.contains("esta dirección no es de este PC"),
        "{registro}"
    );
    fs::remove_dir_all(carpeta).unwrap();
}

/// Lo que hay en la carpeta «registro».
fn leer_registro(carpeta: &Path) -> String {
    let archivos = rutas(&carpeta.join("registro"), "log");
    archivos
        .iter()
        .map(|ruta| fs::read_to_string(ruta).unwrap())
        .collect()
}

#[test]
fn nivel_dice_cuanto_se_registra_y_rust_log_manda_sobre_el() {
    let servidor = Servidor::con("[Registro]\nNivel = debug");
    servidor.conectar().entregar("77");
    servidor.esperar_linea("acuse: MSH|^~\\&|");

    let lineas = "[Registro]\nNivel = error";
    let servidor = Servidor::con_orden(lineas, |carpeta| con_rust_log(carpeta, "info"));
    // Con ese nivel y sin RUST_LOG no se vería ni el puerto.
    servidor.conectar().entregar("77");
    servidor.esperar_linea("«77»");

    let servidor = Servidor::con_orden("", |carpeta| con_rust_log(carpeta, "aviso"));
    servidor.esperar_linea("la variable RUST_LOG = «aviso» no sirve");
}

#[test]
fn los_nombres_de_equipos_aparecen_en_cada_linea_en_lugar_de_la_direccion() {
    let mut servidor = Servidor::con_orden(
        "[Equipos]\nHematología = ::ffff:127.0.0.1\nOtro = 127.0.0.2",
        interrumpible,
    );
    let mut equipo = servidor.conectar();
    let origen = equipo.canal.local_addr().unwrap();
    servidor.esperar_linea(&format!(
        "Conexión Establecida desde Hematología ({origen})"
    ));
    equipo.entregar("77");
    equipo.enviar(&[b"\x0B".to_vec(), mensaje("a medias")].concat());
    drop(equipo);
    servidor.esperar_linea("Hematología: se cerró la conexión a mitad de un mensaje");
    servidor.esperar_linea(&format!("Conexion cerrada Hematología ({origen})"));
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("Servidor detenido");
    let consola = servidor.consola();
    let de_mensaje = consola.lines().find(|linea| linea.contains("«77»"));
    let (antes, _) = de_mensaje.unwrap().split_once("ORU^R01").unwrap();
    assert!(antes.ends_with("AA        Hematología      "), "{antes}");
    let (_, tabla) = consola.split_once("más lento").unwrap();
    assert_eq!(tabla.matches(" Hematología     ").count(), 1, "{consola}");
}

#[test]
fn al_parar_se_dice_una_tabla_por_equipo() {
    let mut servidor = Servidor::con_orden("", interrumpible);
    servidor.conectar().entregar("1");
    servidor.conectar().entregar("2");
    let mut malo = servidor.conectar();
    malo.enviar_mensaje(b"hola");
    malo.acuse();
    fs::rename(servidor.mensajes(), servidor.carpeta.join("otra")).unwrap();
    fs::write(servidor.mensajes(), "un archivo donde iba la carpeta").unwrap();
    malo.enviar_mensaje(&mensaje("3"));
    assert_eq!(malo.acuse().codigo, "AE");
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("Lo recibido el ");
    servidor.esperar_linea("más lento");
    let ultima = servidor.esperar_linea("Servidor detenido: mensajes guardados: 2 ");
    assert!(ultima.contains("sin guardar: 1, "), "{ultima}");
    let consola = servidor.consola();
    let (_, tabla) = consola.split_once("más lento").unwrap();
    let fila = tabla.lines().find(|linea| linea.contains(" 127.0.0.1 "));
    let columnas: Vec<_> = fila.unwrap().split_whitespace().collect();
    assert_eq!(columnas[1..8], ["127.0.0.1", "2", "0", "1", "1", "1", "0"]);
}

#[test]
fn sin_mensajes_no_hay_tabla() {
    let mut servidor = Servidor::con_orden("", interrumpible);
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    servidor.esperar_linea("Servidor detenido");
    assert!(!servidor.consola().contains("más lento"));
}

#[test]
fn si_queda_poco_espacio_se_avisa_al_arrancar_y_al_revisar() {
    let servidor = Servidor::con("EspacioMinimoMiB = 1000000000\n[Registro]\nEstado = estado.html");
    let aviso = "menos que los 1000000000 de EspacioMinimoMiB: libere espacio";
    servidor.esperar_linea(aviso);
    servidor.conectar().entregar("1");
    let revision = ejecutar(orden(&servidor.carpeta).arg("--revisar"));
    assert!(!revision.status.success());
    let dicho = String::from_utf8(revision.stdout).unwrap();
    assert!(dicho.contains("MAL   espacio    quedan "), "{dicho}");
    assert!(dicho.contains(aviso), "{dicho}");
    esperar("la página que lo dice", || {
        let pagina = fs::read_to_string(servidor.carpeta.join("estado.html")).ok()?;
        pagina.contains(" de disco.").then_some(())
    });
}

#[test]
fn los_apartados_viejos_se_borran_si_se_pide() {
    let carpeta = carpeta_nueva();
    let apartados = carpeta.join("mensajes").join("apartados");
    fs::create_dir_all(&apartados).unwrap();
    let viejos =
        ["no_hl7", "cortado", "cola"].map(|que| format!("HL7_ORU_20200101000000000.{que}"));
    for viejo in &viejos {
        fs::write(apartados.join(viejo), "viejo").unwrap();
    }
    // Se cuenta desde el último.
    fs::write(apartados.join("HL7_ORU_20200301000000000.no_hl7"), "x").unwrap();
    let servidor = Servidor::en(carpeta, "DiasDeApartados = 30");
    servidor.esperar_linea("borrados 2 apartados de hace más de 30 días");
    let quedan = viejos.map(|viejo| apartados.join(viejo).exists());
    assert_eq!(quedan, [false, false, true], "la cola se queda");
}

/// En Windows, cada dirección de este PC es otra cosa.
#[cfg(target_os = "linux")]
#[test]
fn si_se_aparta_mucho_se_dice_y_quien_manda_mas() {
    use crate::analizador_simulado::Analizador;
    let servidor = Servidor::con("Sincronizar = no");
    for (ip, cuantos) in [([127, 0, 0, 2], 51), ([127, 0, 0, 3], 50)] {
        let mut equipo = Analizador::desde(ip, servidor.puerto);
        for _ in 0..cuantos {
            equipo.enviar_mensaje(b"hola");
            equipo.acuse();
        }
    }
    servidor.esperar_linea(
        "AVISO 127.0.0.2: en esta hora se han apartado 101 cosas que no son mensajes, 51 suyas",
    );
}
