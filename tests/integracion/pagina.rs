//! La página de estado: lo que dice, que nunca está a medias, y que se pone roja si el programa muere.

use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
use crate::analizador_simulado::Analizador;
use crate::analizador_simulado::mensaje;
use crate::servidor_de_prueba::{
    Servidor, carpeta_nueva, ejecutar, escribir_ini, esperar, interrumpible, orden,
};

const ESTADO: &str = "[Registro]\nEstado = estado.html\n";

fn ruta(servidor: &Servidor) -> PathBuf {
    servidor.carpeta.join("estado.html")
}

/// La página, cuando ya dice todo eso. Se escribe como mucho cada cinco segundos.
fn esperar_pagina(servidor: &Servidor, partes: &[&str]) -> String {
    esperar(&format!("una página con {partes:?}"), || {
        let pagina = fs::read_to_string(ruta(servidor)).ok()?;
        let esta = partes.iter().all(|parte| pagina.contains(parte));
        esta.then_some(pagina)
    })
}

#[test]
fn la_pagina_dice_como_va_cada_equipo_y_nada_de_ningun_mensaje() {
    let mut servidor = Servidor::con_orden(
        &format!("{ESTADO}[Equipos]\nQuímica = 127.0.0.1\nCallado = 127.0.0.9\n"),
        interrumpible,
    );
    let mut equipo = servidor.conectar();
    for id in ["UNO-77", "DOS-77", "DOS-77"] {
        equipo.entregar(id);
    }
    equipo.enviar_mensaje(b"PID|1||SECRETO");
    assert_eq!(equipo.acuse().codigo, "AR");
    equipo.enviar(b"\x0BMSH|^~\\&|A");
    let pagina = esperar_pagina(
        &servidor,
        &[
            "<h1 id=\"titular\">Recibiendo</h1>",
            "1 equipo conectado.",
            "<th scope=\"row\">Química</th>",
            "<th scope=\"row\">Callado</th>",
            "data-que=\"Guardados\"><span class=\"\">3</span>",
            "data-que=\"Repetidos\"><span class=\"\">1</span>",
            "data-que=\"Rechazados\"><span class=\"ojo\">1</span>",
            " h: 3</title>",
            "llegó un mensaje sin MSH",
        ],
    );
    assert!(pagina.contains(&format!("<dd>{}</dd>", servidor.puerto)));
    for ajeno in ["-77", "SECRETO", "HL7_ORU_", " AR ", "{{"] {
        assert!(!pagina.contains(ajeno), "«{ajeno}» está en {pagina}");
    }
    servidor.interrumpir();
    assert!(servidor.esperar_fin().success());
    let parada = fs::read_to_string(ruta(&servidor)).unwrap();
    assert!(parada.contains("class=\"parado\""), "{parada}");
    assert!(parada.contains("<h1 id=\"titular\">Parado: nadie recibe</h1>"));
    assert_eq!(
        parada.matches("data-t=").count(),
        1,
        "solo el último mensaje"
    );
    assert!(parada.contains("data-que=\"Guardados\"><span class=\"\">3</span>"));
    let al_parar = "mensajes que no acabaron de llegar antes de parar: 1;";
    assert!(parada.contains(al_parar), "{parada}");
}

/// De un arranque sin archivos del registro se avisa siempre.
#[test]
fn la_pagina_dice_los_avisos_aunque_nivel_los_calle() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, &format!("{ESTADO}Nivel = error"));
    let orden = orden(&carpeta);
    let servidor = Servidor::lanzar_sin_puerto(carpeta, orden);
    esperar_pagina(&servidor, &["no hay registro: si nadie mira la ventana"]);
    assert_eq!(servidor.consola(), "");
}

/// También la de un programa que aún no ha recibido nada, y hasta que se arregla.
#[test]
fn la_pagina_no_dice_que_se_recibe_si_no_se_puede_guardar() {
    let servidor = Servidor::con(ESTADO);
    esperar_pagina(&servidor, &[">Recibiendo</h1>"]);
    let mensajes = servidor.mensajes();
    fs::remove_dir_all(&mensajes).unwrap();
    fs::write(&mensajes, "").unwrap();
    let mut equipo = servidor.conectar();
    equipo.enviar_mensaje(&mensaje("1"));
    assert_eq!(equipo.acuse().codigo, "AE");
    esperar_pagina(&servidor, &["class=\"mal\"", ">No se puede guardar</h1>"]);
    fs::remove_file(&mensajes).unwrap();
    esperar_pagina(&servidor, &["class=\"mirar\"", "no se pudo guardar todo"]);
    equipo.entregar("2");
}

/// Donde no se deja crear nada, ni al administrador: en /proc.
#[cfg(target_os = "linux")]
#[test]
fn si_solo_falla_la_carpeta_de_un_equipo_se_dice_cual_y_los_demas_no_lo_tapan() {
    let carpeta = carpeta_nueva();
    fs::create_dir(carpeta.join("mensajes")).unwrap();
    let averiada = carpeta.join("mensajes/Química");
    std::os::unix::fs::symlink("/proc", &averiada).unwrap();
    let claves = "CarpetaPorEquipo = si\n[Equipos]\nHematología = 127.0.0.2\nQuímica = 127.0.0.3";
    let servidor = Servidor::en(carpeta, &format!("{claves}\n{ESTADO}"));
    let linea = servidor.esperar_linea("no se acepta ningún mensaje de los que van a esa carpeta");
    assert!(linea.contains("mensajes/Química»"), "{linea}");
    let otro = || Analizador::desde([127, 0, 0, 2], servidor.puerto);
    let en_ambar = [
        "class=\"mirar\"",
        ">Recibiendo, con algo que mirar</h1>",
        "En la carpeta «Química» no se puede guardar.",
    ];
    otro().entregar("1");
    esperar_pagina(&servidor, &en_ambar);
    let mut quimica = Analizador::desde([127, 0, 0, 3], servidor.puerto);
    quimica.enviar_mensaje(&mensaje("2"));
    assert_eq!(quimica.acuse().codigo, "AE");
    otro().entregar("3");
    esperar_pagina(
        &servidor,
        &[&en_ambar[..], &["De Química no se pudo guardar todo."]].concat(),
    );
    fs::remove_file(averiada).unwrap();
    quimica.entregar("2");
    esperar("la página sin la carpeta", || {
        let pagina = fs::read_to_string(ruta(&servidor)).unwrap();
        (!pagina.contains(en_ambar[2])).then_some(())
    });
}

#[test]
fn quien_lee_la_pagina_nunca_ve_media() {
    let servidor = Servidor::con(ESTADO);
    esperar_pagina(&servidor, &["</html>"]);
    let mut vistas = std::collections::HashSet::new();
    let mut equipo = servidor.conectar();
    let mut numero = 0;
    esperar("tres páginas distintas", || {
        numero += 1;
        equipo.entregar(&numero.to_string());
        // En Windows, quien la reemplaza puede tenerla tomada un instante.
        let pagina = fs::read_to_string(ruta(&servidor)).ok()?;
        assert!(pagina.starts_with("<!doctype html>") && pagina.ends_with("</html>\n"));
        vistas.insert(pagina);
        (vistas.len() == 3).then_some(())
    });
    let otros = fs::read_dir(&servidor.carpeta).unwrap();
    let nombres: Vec<_> = otros.map(|e| e.unwrap().file_name()).collect();
    assert!(nombres.len() <= 4, "{nombres:?}");
}

#[test]
fn si_la_pagina_no_se_puede_escribir_se_avisa_una_vez_y_se_recibe_igual() {
    let carpeta = crate::servidor_de_prueba::carpeta_nueva();
    // Una carpeta con algo dentro no se deja reemplazar, ni siendo administrador.
    fs::create_dir_all(carpeta.join("estado.html/algo")).unwrap();
    let servidor = Servidor::en(carpeta, ESTADO);
    let revision = ejecutar(orden(&servidor.carpeta).arg("--revisar"));
    let dicho = String::from_utf8(revision.stdout).unwrap();
    assert!(
        dicho.contains("aviso página     no se podrá escribir «"),
        "{dicho}"
    );
    servidor.conectar().entregar("1");
    servidor.esperar_linea("AVISO no se pudo escribir la página de estado «");
    fs::remove_dir_all(ruta(&servidor)).unwrap();
    servidor.esperar_linea("INFO  la página de estado vuelve a escribirse en «");
    servidor.conectar().entregar("2");
    esperar_pagina(&servidor, &["no se pudo escribir la página de estado"]);
    assert_eq!(servidor.archivos(), [mensaje("1"), mensaje("2")]);
    let avisos = servidor
        .consola()
        .matches("no se pudo escribir la página")
        .count();
    assert_eq!(avisos, 1);
}

#[test]
fn si_otro_programa_escribe_la_misma_pagina_se_avisa_una_vez() {
    let servidor = Servidor::con(ESTADO);
    for numero in ["1", "2", "3"] {
        let guardados = format!("data-que=\"Guardados\"><span class=\"\">{numero}</span>");
        servidor.conectar().entregar(numero);
        esperar_pagina(&servidor, &[&guardados]);
        fs::write(ruta(&servidor), "la de otro").unwrap();
    }
    servidor.esperar_linea("AVISO otro programa escribe también la página de estado «");
    servidor.conectar().entregar("4");
    esperar_pagina(
        &servidor,
        &["data-que=\"Guardados\"><span class=\"\">4</span>"],
    );
    assert_eq!(servidor.consola().matches("otro programa").count(), 1);
}

/// Una página en un disco que no responde, aquí una tubería que nadie lee, no retiene a quien vigila.
#[cfg(unix)]
#[test]
fn con_la_pagina_en_un_disco_que_no_responde_se_vigila_igual() {
    let carpeta = crate::servidor_de_prueba::carpeta_nueva();
    let tuberia = carpeta.join(".estado.html.parcial");
    crate::servidor_de_prueba::con_exito(std::process::Command::new("mkfifo").arg(tuberia));
    let servidor = Servidor::en(carpeta, ESTADO);
    servidor.conectar().entregar("1");
    fs::rename(servidor.mensajes(), servidor.carpeta.join("otra")).unwrap();
    servidor.conectar().entregar("2");
    servidor.esperar_linea("no estaba");
}

#[test]
fn sin_la_clave_no_hay_pagina_y_no_puede_ser_cualquier_archivo() {
    let servidor = Servidor::con("[Registro]\nCarpeta = registro\n");
    servidor.conectar().entregar("1");
    for archivo in ["estado.html", "registro/estado.html"] {
        assert!(!servidor.carpeta.join(archivo).exists());
    }
    let carpeta = crate::servidor_de_prueba::carpeta_nueva();
    for valor in ["Config.ini", "estado", "mensajes/HL7_1.res"] {
        crate::servidor_de_prueba::escribir_ini(&carpeta, &format!("[Registro]\nEstado = {valor}"));
        let salida = ejecutar(&mut orden(&carpeta));
        let dicho = String::from_utf8(salida.stderr).unwrap();
        assert_eq!(salida.status.code(), Some(2), "{dicho}");
        assert!(dicho.contains("acabe en .html"), "{dicho}");
    }
    fs::remove_dir_all(carpeta).unwrap();
}

/// Lo que un navegador de verdad ve en esa página al cabo de esos segundos, sin volver a leerla.
#[cfg(target_os = "linux")]
fn ver(pagina: &str, carpeta: &Path, segundos: u32) -> String {
    let sin_recarga = pagina.replace("<meta http-equiv=\"refresh\" content=\"10\">", "");
    let copia = carpeta.join("copia.html");
    fs::write(&copia, sin_recarga).unwrap();
    let mut navegador = std::process::Command::new("chromium");
    navegador
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            carpeta.join("perfil").display()
        ))
        .arg(format!("--virtual-time-budget={}", segundos * 1000))
        .arg(format!("file://{}", copia.display()));
    String::from_utf8(ejecutar(&mut navegador).stdout).unwrap()
}

#[cfg(target_os = "linux")]
fn exigir(vista: &str, partes: &[&str]) {
    for parte in partes {
        assert!(vista.contains(parte), "«{parte}» no está en {vista}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn en_un_navegador_la_pagina_es_verde_y_si_el_programa_muere_se_pone_roja_sola() {
    let mut prueba = std::process::Command::new("sh");
    prueba.args(["-c", "exec chromium --version"]);
    if !ejecutar(&mut prueba).status.success() {
        crate::rastreo::omitir("hace falta chromium");
        return;
    }
    let equipo = "<script>alert(1)</script>";
    let mut servidor = Servidor::con(&format!("{ESTADO}[Equipos]\n{equipo} = 127.0.0.1\n"));
    servidor.conectar().entregar("1");
    let pagina = esperar_pagina(
        &servidor,
        &["data-que=\"Guardados\"><span class=\"\">1</span>"],
    );
    let vista = ver(&pagina, &servidor.carpeta, 2);
    exigir(
        &vista,
        &[
            "class=\"bien\"",
            ">Recibiendo</h1>",
            "<title>Recibiendo · servidor-hl7</title>",
            "%2314804a",
            "&lt;script&gt;alert(1)&lt;/script&gt;</th>",
            ">hace ",
        ],
    );
    servidor.matar();
    let muerta = fs::read_to_string(ruta(&servidor)).unwrap();
    let vista = ver(&muerta, &servidor.carpeta, 100);
    exigir(
        &vista,
        &[
            "class=\"vieja\"",
            ">Parado: nadie recibe</h1>",
            "El programa no escribe esta página desde hace 1 min.",
            "<title>Parado: nadie recibe · servidor-hl7</title>",
            "%23b3261e",
        ],
    );
    // Un reloj atrasado tampoco deja saber si el programa sigue.
    let del_futuro = muerta.replacen("data-escrita=\"", "data-escrita=\"9", 1);
    let vista = ver(&del_futuro, &servidor.carpeta, 2);
    exigir(&vista, &["por delante del reloj de este PC"]);
}
