use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::analizador_simulado::Analizador;
use crate::rastreo::omitir;
use crate::servidor_de_prueba::{Servidor, ejecutar, esperar, orden};

/// Las columnas en que está lo que tardó cada mensaje.
const TIEMPO: std::ops::Range<usize> = 55..61;

/// El programa en una terminal de verdad, la que da la orden `script`, de ese tamaño.
fn en_terminal(claves: &str, filas: u16, columnas: u16, entorno: (&str, &str)) -> Option<Servidor> {
    let mut prueba = Command::new("sh");
    prueba.args(["-c", "exec script -qfec true /dev/null"]);
    if !ejecutar(&mut prueba).status.success() {
        omitir("hace falta la orden script");
        return None;
    }
    Some(Servidor::con_orden(claves, |carpeta| {
        let programa = orden(carpeta).get_program().to_owned();
        let programa = format!(
            "stty rows {filas} cols {columnas}; exec '{}'",
            programa.display()
        );
        let mut en_terminal = Command::new("script");
        en_terminal
            .current_dir(carpeta)
            .env_remove("RUST_LOG")
            .env("TERM", "xterm")
            .env(entorno.0, entorno.1)
            .args(["-qfec", &programa, "/dev/null"])
            .stdin(Stdio::null());
        en_terminal
    }))
}

/// Lo que se ve tras esos mensajes, cada uno por su conexión, con ceros en lo que cambia de una vez a
/// otra.
fn pantalla(filas: u16, columnas: u16) -> Option<Vec<String>> {
    let claves = "[Equipos]\nHematología sala = 127.0.0.2\nQuímica de urgencias = 127.0.0.3";
    let servidor = en_terminal(claves, filas, columnas, ("TERM", "xterm"))?;
    let equipos = [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4]];
    for numero in 0..40 {
        let id = match numero % 4 {
            0 => format!("{numero}"),
            1 => format!("202609120945010000{numero:02}"),
            2 => format!("{numero:02}20260912094501000000000000"),
            _ => format!("PRUEBA-{numero}"),
        };
        let mut equipo = Analizador::desde(equipos[numero % 3], servidor.puerto);
        if numero == 38 {
            equipo.enviar_mensaje(b"hola");
            assert_eq!(equipo.acuse().codigo, "AR");
            servidor.esperar_linea(".no_hl7");
        } else {
            equipo.entregar(&id);
            // La fila se dice después del acuse, y otra conexión podría adelantarse.
            servidor.esperar_linea(&match id.get(20..21) {
                Some(_) => format!("«{}…»", &id[..19]),
                None => format!("«{id}»"),
            });
        }
    }
    // En una ventana estrecha, la fila sigue en otro renglón.
    esperar("la última fila entera", || {
        let consola = servidor.consola();
        let ultimo = consola.lines().last().unwrap_or_default();
        ultimo.contains("HL7_ORU_").then_some(())
    });
    let mut terminal = vt100::Parser::new(filas, columnas, 0);
    terminal.process((servidor.consola().replace('\n', "\r\n") + "\r\n").as_bytes());
    let vistas = terminal.screen().rows(0, columnas);
    Some(vistas.map(|fila| sin_lo_que_cambia(&fila)).collect())
}

/// Con ceros en la hora, en lo que tardó y en el nombre del archivo.
fn sin_lo_que_cambia(fila: &str) -> String {
    let cero = |letra: char| if letra.is_ascii_digit() { '0' } else { letra };
    if fila.contains(" AVISO ") {
        return fila.chars().map(cero).collect();
    }
    let (antes, archivo) = fila.split_at(fila.find("_ORU_").unwrap_or(fila.len()));
    let (hora, extension) = archivo.rsplit_once('.').unwrap_or_default();
    let archivo: String = hora.chars().map(cero).collect();
    let mut antes: Vec<_> = antes.chars().collect();
    if antes.first().is_some_and(char::is_ascii_digit) {
        antes
            .iter_mut()
            .take(12)
            .for_each(|letra| *letra = cero(*letra));
    }
    if antes
        .get(TIEMPO)
        .is_some_and(|tiempo| tiempo.ends_with(&['s']))
    {
        antes.splice(TIEMPO, "  0 ms".chars());
    }
    let antes: String = antes.into_iter().collect();
    // Dos en un milisegundo llevan un número detrás.
    let archivo = archivo.strip_suffix("_0000").unwrap_or(&archivo);
    let punto = if archivo.is_empty() { "" } else { "." };
    format!("{antes}{archivo}{punto}{extension}")
}

fn comparar(nombre: &str, vista: &[String]) {
    let ruta = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/pantallas")
        .join(nombre);
    let esperada = fs::read_to_string(&ruta).unwrap_or_default();
    let vista = vista.join("\n") + "\n";
    assert!(vista == esperada, "{}:\n{vista}", ruta.display());
}

#[test]
fn en_una_ventana_de_windows_cada_mensaje_es_una_fila() {
    let Some(vista) = pantalla(30, 120) else {
        return;
    };
    comparar("120x30.txt", &vista);
    assert!(vista.iter().filter(|fila| fila.contains(" AA  ")).count() >= 27);
}

#[test]
fn en_una_ventana_estrecha_una_fila_se_parte_por_un_blanco() {
    let Some(vista) = pantalla(24, 80) else {
        return;
    };
    comparar("80x24.txt", &vista);
}

#[test]
fn el_veredicto_va_en_color_solo_en_una_terminal_y_si_nadie_pide_lo_contrario() {
    for (entorno, con_color) in [(("TERM", "xterm"), true), (("NO_COLOR", "1"), false)] {
        let Some(servidor) = en_terminal("", 30, 120, entorno) else {
            return;
        };
        servidor.conectar().entregar("77");
        let linea = servidor.esperar_linea("«77»");
        assert_eq!(
            linea.contains("\u{1b}[32mAA       \u{1b}[0m"),
            con_color,
            "{linea:?}"
        );
        assert_eq!(linea.contains('\u{1b}'), con_color, "{linea:?}");
    }
}
