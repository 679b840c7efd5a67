//! Con qué orden se sigue un envío que se detuvo: la que se escribió, sin lo que ya se aceptó. No sabe por
//! qué se detuvo.

use std::ffi::OsStr;
use std::path::Path;

use super::Envio;
use super::lista::Pendiente;
use crate::texto::ruta_visible;

/// Con más valores los puso la shell al expandir un comodín, y nadie los va a escribir.
const MAX_VALORES: usize = 8;

/// La orden que envía la lista desde ese elemento, tal como hay que escribirla.
pub(super) fn orden(envio: &Envio, lista: &[Pendiente], desde: usize) -> String {
    let Pendiente { origen, valor } = &lista[desde];
    let Some(ruta) = origen.ruta() else {
        return "la misma orden, con la misma entrada".to_owned();
    };
    let valores = &envio.archivos[*valor..];
    if valores.len() > MAX_VALORES {
        return format!("la misma orden con --desde {}", entre_comillas(ruta));
    }
    let mut escrita = "servidor-hl7 --enviar".to_owned();
    for valor in valores {
        escrita.push(' ');
        escrita.push_str(&entre_comillas(valor));
    }
    let nombrado = &valores[0];
    let de_la_carpeta = ruta.strip_prefix(nombrado).ok().map(Path::as_os_str);
    let nombre = de_la_carpeta.or(ruta.file_name());
    if let Some(nombre) = nombre.filter(|_| ruta != nombrado) {
        escrita.push_str(" --desde ");
        escrita.push_str(&entre_comillas(nombre));
    }
    for opcion in &envio.opciones {
        escrita.push(' ');
        escrita.push_str(&entre_comillas(opcion));
    }
    escrita
}

/// Como hay que escribirlo en la consola.
fn entre_comillas(valor: impl AsRef<OsStr>) -> String {
    let valor = ruta_visible(Path::new(valor.as_ref())).to_string();
    let es_llano = |letra: char| letra.is_alphanumeric() || "-_./:".contains(letra);
    let es_de_windows = |letra: char| cfg!(windows) && letra == '\\';
    if !valor.is_empty()
        && valor
            .chars()
            .all(|letra| es_llano(letra) || es_de_windows(letra))
    {
        return valor;
    }
    if cfg!(windows) {
        // Una barra justo antes de las comillas se las llevaría.
        let barras = valor.len() - valor.trim_end_matches('\\').len();
        return format!("\"{valor}{}\"", "\\".repeat(barras));
    }
    format!("'{}'", valor.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::super::lista::{Origen, empezar_en};
    use super::*;
    use std::path::PathBuf;

    fn pendiente(valor: usize, carpeta: &str, nombre: &str) -> Pendiente {
        let origen = Origen::Archivo(Path::new(carpeta).join(nombre));
        Pendiente { origen, valor }
    }

    #[test]
    fn la_orden_de_seguir_lleva_lo_que_falta_y_solo_eso() {
        let lista = [
            pendiente(0, "m", "1.res"),
            pendiente(0, "m/Química", "2.res"),
            pendiente(0, "m", "3.res"),
            pendiente(1, "", "b c.hl7"),
            pendiente(2, "d", "x.hl7"),
        ];
        let comillas = if cfg!(windows) { '"' } else { '\'' };
        let envio = Envio {
            archivos: ["m", "b c.hl7", "d/*.hl7"].map(PathBuf::from).to_vec(),
            opciones: vec!["--a".into(), "lis:2575".into()],
            ..Envio::de_muestra()
        };
        for (desde, esperada) in [
            (0, "m 'b c.hl7' 'd/*.hl7' --desde 1.res"),
            (1, "m 'b c.hl7' 'd/*.hl7' --desde Química/2.res"),
            (2, "m 'b c.hl7' 'd/*.hl7' --desde 3.res"),
            (3, "'b c.hl7' 'd/*.hl7'"),
            (4, "'d/*.hl7' --desde x.hl7"),
        ] {
            let esperada = esperada.replace('\'', &comillas.to_string());
            let escrita = orden(&envio, &lista, desde);
            let escrita = escrita.replace('\\', "/");
            assert_eq!(
                escrita,
                format!("servidor-hl7 --enviar {esperada} --a lis:2575")
            );
            // Y esa orden empieza justo ahí.
            let mut resto = lista.to_vec();
            let valor = lista[desde].valor;
            resto.retain(|uno| uno.valor >= valor);
            if let Some((_, opciones)) = escrita.split_once(" --desde ") {
                let nombre = opciones.split(' ').next().map(Path::new);
                empezar_en(&mut resto, nombre).unwrap();
            }
            assert_eq!(resto, lista[desde..]);
        }
    }

    #[test]
    fn lo_que_vino_por_la_entrada_no_esta_en_ningun_archivo() {
        let entrada = Pendiente {
            origen: Origen::Entrada,
            valor: 0,
        };
        let envio = Envio {
            archivos: vec![PathBuf::from("-")],
            ..Envio::de_muestra()
        };
        let escrita = orden(&envio, &[entrada], 0);
        assert_eq!(escrita, "la misma orden, con la misma entrada");
    }

    #[test]
    fn lo_que_expandio_la_shell_no_se_escribe_otra_vez() {
        let nombres: Vec<_> = (0..20).map(|n| format!("{n:02}.res")).collect();
        let lista: Vec<_> = nombres
            .iter()
            .enumerate()
            .map(|(valor, nombre)| pendiente(valor, "m", nombre))
            .collect();
        let archivos = nombres.iter().map(|nombre| Path::new("m").join(nombre));
        let envio = Envio {
            archivos: archivos.collect(),
            ..Envio::de_muestra()
        };
        let escrita = orden(&envio, &lista, 3).replace('\\', "/");
        assert_eq!(escrita, "la misma orden con --desde m/03.res");
    }
}
