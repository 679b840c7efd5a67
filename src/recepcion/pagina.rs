//! La página de estado: cómo va todo, de un vistazo, en un archivo que abre cualquier navegador.
//!
//! De los mensajes solo llegan a ella las cuentas: nada de un paciente, ni un MSH-10. Lo que alguien
//! pudo escribir (nombres, rutas, avisos) va escapado. Redactarla es puro: la hora es un argumento.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, Timelike};
use log::{Level, info, warn};

use crate::causa;
use crate::recepcion::averias::Carpeta;
use crate::recepcion::ritmo::HORAS;
use crate::recepcion::totales::SituacionDeEquipo;
use crate::registro::Avisos;
use crate::registro::diario::probar_carpeta;
use crate::registro::linea::Linea;
use crate::texto::ruta_visible;

const PLANTILLA: &str = include_str!("../recursos/estado.html");
/// Cada cuánto se escribe aunque nada cambie: la página da por parado al programa a los 90 s.
const CADA: Duration = Duration::from_secs(30);
/// Cuántas veces seguidas debe fallar para avisar: quien la lee puede retenerla un instante.
const FALLOS_PARA_AVISAR: u32 = 2;
/// Cuántos equipos se ven uno por uno; a la red puede conectarse cualquiera.
const MAX_EQUIPOS: usize = 100;
/// El alto de las barras, y lo que ocupa cada hora.
const ALTO: u32 = 22;
const PASO: usize = 5;

/// Lo que la página dice, salvo la hora, el puerto y los avisos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Situacion {
    pub(super) desde: DateTime<Local>,
    /// Cuándo se detuvo, si ya se ha detenido.
    pub(super) parado: Option<DateTime<Local>>,
    pub(super) carpeta: PathBuf,
    /// Donde lo último que se intentó guardar no se pudo.
    pub(super) averiadas: BTreeSet<Carpeta>,
    /// Cuántos mensajes esperan a un disco que no responde.
    pub(super) atascados: usize,
    /// Cuánto queda libre, y si es menos de lo que se pidió; `None`: no se sabe.
    pub(super) espacio: Option<(String, bool)>,
    pub(super) equipos: Vec<SituacionDeEquipo>,
}

/// Dónde se escribe la página, y lo que no sale de las cuentas.
#[derive(Debug)]
pub(super) struct Pagina {
    ruta: PathBuf,
    puerto: Option<u16>,
    avisos: Avisos,
    /// La última que se escribió: cuándo, lo que decía y el archivo entero.
    escrita: Option<(Instant, (Situacion, Vec<Linea>), String)>,
    /// Si se ha visto que la escribe también otro.
    es_de_dos: bool,
    fallos: u32,
}

impl Pagina {
    /// Una página en ese archivo, del programa que escucha en ese puerto y da esos avisos.
    pub(super) fn new(ruta: PathBuf, puerto: Option<u16>, avisos: Avisos) -> Pagina {
        Pagina {
            ruta,
            puerto,
            avisos,
            escrita: None,
            es_de_dos: false,
            fallos: 0,
        }
    }

    /// Escribe la página si algo ha cambiado o hace tiempo que no se escribe. Que no se pueda se avisa
    /// una vez.
    pub(super) fn poner_al_dia(&mut self, situacion: Situacion, hora: DateTime<Local>) {
        let dicho = (situacion, self.avisos.ultimos());
        let reciente = self
            .escrita
            .as_ref()
            .is_some_and(|(cuando, antes, _)| cuando.elapsed() < CADA && *antes == dicho);
        if reciente {
            return;
        }
        self.avisar_si_es_de_dos();
        let html = redactar(&dicho.0, self.puerto, &dicho.1, hora);
        match escribir(&self.ruta, &html) {
            Ok(()) => {
                if self.fallos >= FALLOS_PARA_AVISAR {
                    info!(
                        "la página de estado vuelve a escribirse en «{}»",
                        ruta_visible(&self.ruta)
                    );
                }
                self.fallos = 0;
                self.escrita = Some((Instant::now(), dicho, html));
            }
            Err(error) => {
                self.fallos = self.fallos.saturating_add(1);
                if self.fallos == FALLOS_PARA_AVISAR {
                    warn!(
                        "no se pudo escribir la página de estado «{}»: {}; la recepción sigue",
                        ruta_visible(&self.ruta),
                        causa::explicar(&error)
                    );
                }
            }
        }
    }

    /// Dos programas que escriben la misma página la hacen inútil: uno puede morir sin que se vea.
    fn avisar_si_es_de_dos(&mut self) {
        let (Some((_, _, suya)), false) = (&self.escrita, self.es_de_dos) else {
            return;
        };
        // De la que no está, o no se deja leer, no se sabe nada.
        self.es_de_dos = fs::read_to_string(&self.ruta).is_ok_and(|actual| actual != *suya);
        if self.es_de_dos {
            warn!(
                "otro programa escribe también la página de estado «{}»: no se puede confiar en ella; dé otra a cada uno con Estado en su Config.ini",
                ruta_visible(&self.ruta)
            );
        }
    }
}

/// Entera y con otro nombre, y después con el suyo: quien la abre nunca ve media.
fn escribir(ruta: &Path, html: &str) -> io::Result<()> {
    let carpeta = ruta.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(carpeta)?;
    let nombre = ruta.file_name().unwrap_or_default().to_string_lossy();
    let parcial = carpeta.join(format!(".{nombre}.parcial"));
    fs::write(&parcial, html)
        .and_then(|()| fs::rename(&parcial, ruta))
        .inspect_err(|_| {
            // Si tampoco se deja quitar, la próxima escritura lo reemplaza.
            let _ = fs::remove_file(&parcial);
        })
}

/// Si se puede escribir en esa ruta; no toca la página que haya.
pub(crate) fn probar(ruta: &Path) -> io::Result<()> {
    let carpeta = ruta.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(carpeta)?;
    if ruta.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    probar_carpeta(carpeta)
}

/// La página a esa hora.
fn redactar(
    situacion: &Situacion,
    puerto: Option<u16>,
    dichos: &[Linea],
    hora: DateTime<Local>,
) -> String {
    let (clase, titular, detalle) = resumir(situacion);
    let guardados: u64 = situacion.equipos.iter().map(|e| e.hoy.guardados).sum();
    let (espacio, poco) = match &situacion.espacio {
        Some((libre, poco)) => (libre.as_str(), *poco),
        None => ("no se sabe", false),
    };
    rellenar(PLANTILLA, |hueco| match hueco {
        "clase" => clase.to_owned(),
        "titular" => titular.to_owned(),
        "detalle" => escapar_html(&detalle),
        "epoca" => hora.timestamp().to_string(),
        "escrita" => hora.format("%d/%m/%Y a las %H:%M:%S").to_string(),
        "puerto" => puerto.map_or("ninguno".to_owned(), |puerto| puerto.to_string()),
        "desde" => situacion.desde.format("%d/%m %H:%M").to_string(),
        // Parado ya no cuenta el tiempo.
        "desde_hace" if situacion.parado.is_none() => cuanto_hace(situacion.desde),
        "guardados" => guardados.to_string(),
        "espacio" => espacio.to_owned(),
        "espacio_clase" => if poco { "poco" } else { "" }.to_owned(),
        "carpeta" => escapar_html(&ruta_visible(&situacion.carpeta).to_string()),
        "equipos" => equipos(situacion, hora),
        "avisos" => avisos(dichos),
        "version" => env!("CARGO_PKG_VERSION").to_owned(),
        _ => String::new(),
    })
}

/// El color, el titular y lo que hay que mirar.
fn resumir(situacion: &Situacion) -> (&'static str, &'static str, String) {
    if let Some(parado) = situacion.parado {
        let cuando = parado.format("el %d/%m a las %H:%M");
        return (
            "parado",
            "Parado: nadie recibe",
            format!("El programa se detuvo {cuando}."),
        );
    }
    if situacion.averiadas.contains(&None) {
        let detalle = "En la carpeta de los mensajes no se puede guardar, y lo que va a ella no se acepta. Lea los avisos.";
        return ("mal", "No se puede guardar", detalle.to_owned());
    }
    if situacion.atascados > 0 {
        let detalle = "El disco de la carpeta de los mensajes no responde, y los equipos esperan su acuse. Lea los avisos.";
        return ("mal", "No se acaba de guardar", detalle.to_owned());
    }
    let con = |cuantos: fn(&SituacionDeEquipo) -> bool| {
        situacion.equipos.iter().filter(move |e| cuantos(e))
    };
    let averiadas = situacion.averiadas.iter().flatten();
    let mut mirar: Vec<String> = averiadas
        .map(|nombre| format!("En la carpeta «{nombre}» no se puede guardar."))
        .collect();
    mirar.extend(con(|e| e.calla).map(|e| format!("{} calla.", e.nombre)));
    mirar.extend(
        con(|e| e.hoy.fallidos > 0).map(|e| format!("De {} no se pudo guardar todo.", e.nombre)),
    );
    match &situacion.espacio {
        Some((libre, true)) => mirar.push(format!("Quedan {libre} de disco.")),
        Some(_) => {}
        None => mirar.push("No se sabe cuánto disco queda: ¿está la carpeta?".to_owned()),
    }
    if mirar.is_empty() {
        let conectados = con(|e| e.conectado).count();
        let detalle = match conectados {
            0 => "Ningún equipo conectado ahora.".to_owned(),
            1 => "1 equipo conectado.".to_owned(),
            varios => format!("{varios} equipos conectados."),
        };
        ("bien", "Recibiendo", detalle)
    } else {
        ("mirar", "Recibiendo, con algo que mirar", mirar.join(" "))
    }
}

fn equipos(situacion: &Situacion, hora: DateTime<Local>) -> String {
    if situacion.equipos.is_empty() {
        return "<p class=\"nada\">Ningún equipo ha enviado nada todavía.</p>".to_owned();
    }
    let mut tabla = "<table><thead><tr><th>Equipo</th><th class=\"izquierda\">Ahora</th><th class=\"izquierda\">Último mensaje</th><th>Guardados</th><th>Repetidos</th><th>Fallidos</th><th>Rechazados</th><th>Apartados</th><th>Consultas</th><th>Últimas 24 h</th></tr></thead><tbody>".to_owned();
    for equipo in situacion.equipos.iter().take(MAX_EQUIPOS) {
        tabla.push_str(&fila(equipo, hora));
    }
    tabla.push_str("</tbody></table>");
    let sobran = situacion.equipos.len().saturating_sub(MAX_EQUIPOS);
    if sobran > 0 {
        let _ = write!(tabla, "<p class=\"nada\">Y {sobran} más, que no caben.</p>");
    }
    tabla
}

fn fila(equipo: &SituacionDeEquipo, hora: DateTime<Local>) -> String {
    let (chapa, ahora) = match equipo {
        SituacionDeEquipo {
            calla: true,
            conectado: true,
            ..
        } => ("calla", "calla, conectado"),
        SituacionDeEquipo { calla: true, .. } => ("calla", "calla"),
        SituacionDeEquipo {
            conectado: true, ..
        } => ("conectado", "conectado"),
        _ => ("", "sin conexión"),
    };
    let ultimo = match equipo.ultimo {
        None => "ninguno".to_owned(),
        Some(cuando) => {
            let formato = if cuando.date_naive() == hora.date_naive() {
                "%H:%M"
            } else {
                "%d/%m %H:%M"
            };
            format!("{} {}", cuando.format(formato), cuanto_hace(cuando))
        }
    };
    let hoy = &equipo.hoy;
    let cuenta = |que: &str, cuantos: u64, clase: &str| {
        let clase = if cuantos == 0 { "cero" } else { clase };
        format!("<td data-que=\"{que}\"><span class=\"{clase}\">{cuantos}</span></td>")
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"izquierda\" data-que=\"Ahora\"><span class=\"chapa {chapa}\">{ahora}</span></td><td class=\"izquierda\" data-que=\"Último\"><span>{ultimo}</span></td>{}{}{}{}{}{}<td class=\"entera\" data-que=\"24 h\">{}</td></tr>\n",
        escapar_html(&equipo.nombre),
        cuenta("Guardados", hoy.guardados, ""),
        cuenta("Repetidos", hoy.repetidos, ""),
        cuenta("Fallidos", hoy.fallidos, "falla"),
        cuenta("Rechazados", hoy.rechazados, "ojo"),
        cuenta("Apartados", hoy.apartados, "ojo"),
        cuenta("Consultas", hoy.consultas, ""),
        barras(&equipo.horas, hora),
    )
}

/// Un hueco que el navegador llena con el tiempo que ha pasado desde entonces.
fn cuanto_hace(cuando: DateTime<Local>) -> String {
    format!("<small data-t=\"{}\"></small>", cuando.timestamp())
}

/// Las horas como barras, la de ahora a la derecha; la más alta es la de más mensajes.
fn barras(horas: &[u32; HORAS], hora: DateTime<Local>) -> String {
    let mayor = u64::from(horas.iter().copied().max().unwrap_or_default().max(1));
    let ancho = HORAS * PASO;
    let mut dibujo = format!(
        "<svg class=\"horas\" viewBox=\"0 0 {ancho} {ALTO}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"mensajes por hora\"><path d=\"M0 {ALTO}H{ancho}\"/>"
    );
    for (lugar, (cuantos, de_la_hora)) in horas.iter().zip(hora.hour() + 1..).enumerate() {
        if *cuantos > 0 {
            let alto = (u64::from(*cuantos) * u64::from(ALTO)).div_ceil(mayor);
            let (x, y) = (lugar * PASO, u64::from(ALTO) - alto);
            let _ = write!(
                dibujo,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{alto}\"><title>{} h: {cuantos}</title></rect>",
                PASO - 1,
                de_la_hora % 24
            );
        }
    }
    dibujo + "</svg>"
}

/// De los más recientes a los más viejos.
fn avisos(dichos: &[Linea]) -> String {
    if dichos.is_empty() {
        return "<p class=\"nada\">Ninguno desde que arrancó.</p>".to_owned();
    }
    let mut lista = "<ol>".to_owned();
    for dicho in dichos.iter().rev() {
        let (clase, nivel) = match dicho.nivel {
            Level::Error => ("falla", "ERROR"),
            _ => ("ojo", "AVISO"),
        };
        let _ = write!(
            lista,
            "<li><time>{}</time><span class=\"{clase}\">{nivel}</span><span>{}</span></li>",
            dicho.hora.format("%d/%m %H:%M:%S"),
            escapar_html(&dicho.texto)
        );
    }
    lista + "</ol>"
}

/// La plantilla con cada `{{hueco}}` relleno, de una pasada: lo que se pone no se vuelve a mirar.
fn rellenar(plantilla: &str, contenido: impl Fn(&str) -> String) -> String {
    let mut pagina = String::with_capacity(plantilla.len() * 2);
    let mut resto = plantilla;
    while let Some((antes, despues)) = resto.split_once("{{") {
        let (hueco, siguiente) = despues.split_once("}}").unwrap_or((despues, ""));
        pagina.push_str(antes);
        pagina.push_str(&contenido(hueco));
        resto = siguiente;
    }
    pagina + resto
}

/// El texto como se ve, también si parece HTML.
fn escapar_html(texto: &str) -> String {
    let mut escapado = String::with_capacity(texto.len());
    for letra in texto.chars() {
        match letra {
            '&' => escapado.push_str("&amp;"),
            '<' => escapado.push_str("&lt;"),
            '>' => escapado.push_str("&gt;"),
            '"' => escapado.push_str("&quot;"),
            '\'' => escapado.push_str("&#39;"),
            letra if letra.is_control() => escapado.push('\u{FFFD}'),
            letra => escapado.push(letra),
        }
    }
    escapado
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, TimeZone as _};

    use crate::recepcion::cuenta::Suma;
    use crate::recepcion::tests::el_dia_12;

    use super::*;

    fn equipo(nombre: &str) -> SituacionDeEquipo {
        SituacionDeEquipo {
            nombre: nombre.to_owned(),
            conectado: true,
            calla: false,
            ultimo: Some(el_dia_12(9, 41, 0)),
            hoy: Suma {
                guardados: 12,
                ..Suma::default()
            },
            horas: [0; HORAS],
        }
    }

    fn situacion(equipos: Vec<SituacionDeEquipo>) -> Situacion {
        Situacion {
            desde: el_dia_12(7, 0, 0),
            parado: None,
            averiadas: BTreeSet::new(),
            atascados: 0,
            carpeta: PathBuf::from("/srv/hl7"),
            espacio: Some(("76 GB".to_owned(), false)),
            equipos,
        }
    }

    /// El 25 de octubre, a las tres son otra vez las dos.
    #[test]
    fn el_tiempo_que_ha_pasado_es_el_mismo_aunque_cambie_la_hora() {
        let en = |zona: i32, hora| {
            let zona = FixedOffset::east_opt(zona * 3600).unwrap();
            let cuando = zona.with_ymd_and_hms(2026, 10, 25, hora, 45, 0).unwrap();
            DateTime::from_naive_utc_and_offset(cuando.naive_utc(), zona)
        };
        let (antes, despues) = (en(2, 2), en(1, 2));
        let mut cambiada = situacion(vec![equipo("BC-20")]);
        (cambiada.desde, cambiada.equipos[0].ultimo) = (antes, Some(antes));
        let pagina = redactar(&cambiada, None, &[], despues);
        let entonces = format!("data-t=\"{}\"", despues.timestamp() - 3600);
        assert_eq!(pagina.matches(&entonces).count(), 2, "{pagina}");
        assert!(pagina.contains("<dd>25/10 02:45 <small"), "{pagina}");
    }

    #[test]
    fn lo_que_hay_que_mirar_cambia_el_color_y_se_dice() {
        let callado = SituacionDeEquipo {
            calla: true,
            ..equipo("BC-20")
        };
        let mut que_falla = equipo("Gases");
        que_falla.hoy.fallidos = 1;
        let mut con_avisos = situacion(vec![equipo("Química"), callado, que_falla]);
        con_avisos.espacio = Some(("120 MB".to_owned(), true));
        con_avisos.averiadas = BTreeSet::from([Some("Gases".to_owned())]);
        let (clase, _, detalle) = resumir(&con_avisos);
        assert_eq!(clase, "mirar");
        assert_eq!(
            detalle,
            "En la carpeta «Gases» no se puede guardar. BC-20 calla. De Gases no se pudo guardar todo. Quedan 120 MB de disco."
        );
        con_avisos.atascados = 1;
        assert_eq!(resumir(&con_avisos).1, "No se acaba de guardar");
        con_avisos.averiadas.insert(None);
        assert_eq!(resumir(&con_avisos).0, "mal");
        con_avisos.parado = Some(el_dia_12(10, 15, 0));
        let (clase, titular, detalle) = resumir(&con_avisos);
        assert_eq!((clase, titular), ("parado", "Parado: nadie recibe"));
        assert_eq!(detalle, "El programa se detuvo el 12/09 a las 10:15.");
    }

    #[test]
    fn lo_que_parece_html_se_ve_como_texto_y_un_hueco_no_se_rellena() {
        let nombre = "<script>alert('&\"')</script>{{avisos}}";
        let mut hostil = situacion(vec![equipo(nombre)]);
        hostil.equipos[0].calla = true;
        hostil.carpeta = PathBuf::from("/srv/<b>hl7");
        let aviso = Linea {
            hora: el_dia_12(9, 0, 0).naive_local(),
            nivel: Level::Warn,
            texto: "</li><img src=x>".to_owned(),
            fila: None,
            callada: false,
        };
        let pagina = redactar(&hostil, None, &[aviso], el_dia_12(9, 45, 0));
        let escapado = "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;{{avisos}}";
        assert_eq!(pagina.matches(escapado).count(), 2, "{pagina}");
        assert_eq!(pagina.matches("<script>").count(), 1);
        assert_eq!(pagina.matches("</script>").count(), 1);
        assert!(!pagina.contains("<b>") && !pagina.contains("<img"));
    }

    #[test]
    fn cada_hora_es_una_barra_que_dice_cual() {
        let mut horas = [0; HORAS];
        (horas[0], horas[22], horas[23]) = (1, 3, 300);
        let dibujo = barras(&horas, el_dia_12(9, 45, 0));
        for barra in [
            "x=\"0\" y=\"21\" width=\"4\" height=\"1\"><title>10 h: 1<",
            "x=\"110\" y=\"21\" width=\"4\" height=\"1\"><title>8 h: 3<",
            "x=\"115\" y=\"0\" width=\"4\" height=\"22\"><title>9 h: 300<",
        ] {
            assert!(dibujo.contains(barra), "«{barra}» no está en {dibujo}");
        }
        assert_eq!(dibujo.matches("<rect").count(), 3);
    }

    /// A los 90 s sin escribirse, la página dice que nadie recibe.
    #[test]
    fn aunque_nada_cambie_la_pagina_se_escribe_otra_vez_antes_de_que_parezca_parado() {
        let carpeta = std::env::temp_dir().join(format!("pagina-{}", std::process::id()));
        let ruta = carpeta.join("estado.html");
        let mut pagina = Pagina::new(ruta.clone(), None, Avisos::default());
        for (hace, se_escribe) in [(0, true), (0, false), (30, true)] {
            if let Some((cuando, ..)) = &mut pagina.escrita {
                *cuando -= Duration::from_secs(hace);
                fs::remove_file(&ruta).unwrap_or_default();
            }
            pagina.poner_al_dia(situacion(Vec::new()), el_dia_12(9, 45, 0));
            assert_eq!(ruta.exists(), se_escribe, "a los {hace} s");
        }
        fs::remove_dir_all(carpeta).unwrap();
    }

    #[test]
    fn muchos_desconocidos_no_hacen_crecer_la_pagina() {
        let equipos = (0..1001)
            .map(|numero| equipo(&numero.to_string()))
            .collect();
        let pagina = redactar(&situacion(equipos), None, &[], el_dia_12(9, 45, 0));
        assert_eq!(pagina.matches("<tr><th scope").count(), MAX_EQUIPOS);
        assert!(pagina.contains("Y 901 más, que no caben."));
    }
}
