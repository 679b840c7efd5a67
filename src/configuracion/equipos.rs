//! Los equipos de Config.ini: sus nombres, dónde están y en qué se les trata distinto. No sabe qué se hace
//! con ninguno.

use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::claves::{Claves, Problema, valor_citado, visible};
use super::ini::{SECCION_COMUN, Secciones, mismo_nombre};
use super::subcarpeta;
use crate::cable::Limites;
use crate::hl7::acuse::{AnteFallo, CodigoAceptado, Forma, Reglas};
use crate::recepcion::equipo::{AnteReenvio, Equipos, Nombrado, Trato};
use crate::recepcion::silencio::{AvisoDeSilencio, Horas};
use crate::texto::MIB;

/// Lo que es de todos.
pub(super) const SECCION: &str = "Servidor";
/// El registro en archivos.
pub(super) const SECCION_REGISTRO: &str = "Registro";
/// Los equipos a los que se llama, uno por clave.
const SECCION_LLAMAR: &str = "Llamar";
/// Los nombres de los equipos que llaman, uno por clave.
pub(super) const SECCION_EQUIPOS: &str = "Equipos";
/// Las secciones del programa: ninguna es de un equipo.
pub(super) const SECCIONES: [&str; 5] = [
    SECCION,
    SECCION_LLAMAR,
    SECCION_EQUIPOS,
    SECCION_REGISTRO,
    SECCION_COMUN,
];

/// Los equipos, y las claves de la sección que cada uno tenga.
pub(super) fn leer_equipos<'a>(
    secciones: &'a Secciones,
    servidor: &Claves<'a>,
) -> Result<(Equipos, Vec<Claves<'a>>), Problema> {
    let mut equipos = Equipos {
        comun: Arc::new(leer_trato(servidor)?),
        nombrados: Vec::new(),
    };
    let con_carpeta = servidor.opcion("CarpetaPorEquipo", &[("no", false), ("si", true)])?;
    let mut leidas = Vec::new();
    for (seccion, nombre, valor) in leer_nombres(secciones, con_carpeta)? {
        // Un equipo puede estar en las dos secciones: a veces llama y a veces se le llama.
        let mut hay = equipos.nombrados.iter();
        let hallado = hay.position(|otro| mismo_nombre(&otro.nombre, nombre));
        let lugar = hallado.unwrap_or(equipos.nombrados.len());
        if hallado.is_none() {
            let claves = Claves::de(secciones, nombre, Some(SECCION));
            equipos
                .nombrados
                .push(leer_nombrado(nombre, con_carpeta, &claves)?);
            leidas.push(claves);
        }
        situar(&mut equipos.nombrados, lugar, seccion, &valor)
            .map_err(|esperado| Problema::mal_valor(seccion, nombre, &valor, &esperado))?;
    }
    dudar_de_las_horas(&equipos, servidor, &leidas);
    Ok((equipos, leidas))
}

/// Las horas del aviso de silencio, donde no se avisa de ninguno. Las de [Servidor] son también las de un equipo
/// que solo dice los minutos.
fn dudar_de_las_horas(equipos: &Equipos, servidor: &Claves<'_>, leidas: &[Claves<'_>]) {
    let se_avisa = |trato: &Trato| trato.silencio.tras.is_some();
    let tratos = || equipos.nombrados.iter().map(|equipo| &*equipo.trato);
    let en_alguno = se_avisa(&equipos.comun) || tratos().any(se_avisa);
    let del_servidor = (servidor, &*equipos.comun, en_alguno);
    let de_cada_uno = leidas.iter().zip(tratos());
    let de_cada_uno = de_cada_uno.map(|(claves, trato)| (claves, trato, se_avisa(trato)));
    for (claves, trato, se_avisa) in iter::once(del_servidor).chain(de_cada_uno) {
        let clave = "AvisoSilencioHoras";
        let escritas = claves.escritas();
        let escrita = escritas.iter().find(|(otra, _)| mismo_nombre(otra, clave));
        if let Some((_, valor)) = escrita
            && trato.silencio.horas != Horas::TODAS
            && !se_avisa
        {
            claves.dudar(
                clave,
                valor,
                "con AvisoSilencioMin a 0 no se avisa a ninguna hora; ponga en AvisoSilencioMin los minutos, o quite la línea",
            );
        }
    }
}

/// Lo que concierne a una sola conversación: vale en [Servidor] y en la sección de un equipo.
fn leer_trato(claves: &Claves<'_>) -> Result<Trato, Problema> {
    let milisegundos = claves.numero("EsperaSinTramaMs", 10, 60_000, 500)?;
    let segundos = claves.numero("EsperaTramaIncompletaS", 1, 86_400, 60)?;
    let reenvios = [
        ("guardar", AnteReenvio::Guardar),
        ("apartar", AnteReenvio::Apartar),
    ];
    Ok(Trato {
        carpeta: None,
        reenvios: claves.opcion("Repetidos", &reenvios)?,
        reglas: leer_reglas(claves)?,
        limites: Limites {
            mensaje_bytes: claves.numero("MaxMensajeMiB", 1, 1024, 64)? * MIB,
            sin_trama: Duration::from_millis(milisegundos as u64),
            incompleta: Duration::from_secs(segundos as u64),
        },
        silencio: AvisoDeSilencio {
            tras: match claves.numero("AvisoSilencioMin", 0, 100_000, 0)? {
                0 => None,
                minutos => Some(Duration::from_mins(minutos as u64)),
            },
            horas: claves.opcional("AvisoSilencioHoras", Horas::TODAS, |valor| {
                let esperado = "dos horas distintas, p. ej. 7-20, o 20-7 si pasan de medianoche";
                Horas::leer(valor).ok_or_else(|| esperado.to_owned())
            })?,
        },
    })
}

fn leer_reglas(claves: &Claves<'_>) -> Result<Reglas, Problema> {
    let formas = [
        ("automatico", Forma::Automatica),
        ("clasico", Forma::Clasica),
        ("estandar", Forma::Estandar),
    ];
    let codigos = [("AA", CodigoAceptado::Aa), ("CA", CodigoAceptado::Ca)];
    let ante_fallo = [
        ("AE", AnteFallo::Ae),
        ("AR", AnteFallo::Ar),
        ("ninguno", AnteFallo::Callar),
    ];
    Ok(Reglas {
        forma: claves.opcion("Acuse", &formas)?,
        aceptado: claves.opcion("CodigoAcuse", &codigos)?,
        ante_fallo: claves.opcion("AcuseDeFallo", &ante_fallo)?,
        negar_consultas: claves.opcion("Consultas", &[("negar", true), ("acusar", false)])?,
    })
}

/// Los equipos de las dos secciones: cuál, nombre y valor. El nombre llega a la consola, y también
/// puede ser el de una sección y, `con_carpeta`, el de una carpeta.
fn leer_nombres(
    secciones: &Secciones,
    con_carpeta: bool,
) -> Result<Vec<(&'static str, &str, String)>, Problema> {
    let mut nombres: Vec<(_, &str, _)> = Vec::new();
    for seccion in [SECCION_EQUIPOS, SECCION_LLAMAR] {
        for (nombre, _) in secciones.claves(seccion) {
            let anteriores = nombres.iter().map(|(_, nombre, _)| *nombre);
            let defecto = defecto(nombre).or_else(|| {
                let defecto = con_carpeta.then(|| defecto_de_carpeta(nombre, anteriores));
                defecto.flatten()
            });
            if let Some(defecto) = defecto {
                let nombre = visible(nombre);
                return Err(Problema::en(
                    seccion,
                    format!("el nombre «{nombre}» {defecto}"),
                ));
            }
            let valor = valor_citado(secciones, seccion, nombre)?.unwrap_or_default();
            nombres.push((seccion, nombre, valor));
        }
    }
    Ok(nombres)
}

/// Por qué un equipo no puede llamarse así, y qué hacer.
fn defecto(nombre: &str) -> Option<String> {
    let defecto = if nombre.contains(char::is_control) {
        "lleva algún carácter que no se ve; borre la línea y escríbala de nuevo"
    } else if SECCIONES.iter().any(|otra| mismo_nombre(otra, nombre)) {
        "es el de una sección del programa; dé otro nombre al equipo"
    } else {
        return None;
    };
    Some(defecto.to_owned())
}

/// Por qué su carpeta no puede llamarse así. Dos nombres que valen como uno son el mismo equipo; los que
/// Windows tiene además por iguales darían la misma carpeta a dos.
fn defecto_de_carpeta<'a>(
    nombre: &str,
    mut anteriores: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let repetida = anteriores
        .any(|otro| !mismo_nombre(otro, nombre) && otro.to_uppercase() == nombre.to_uppercase());
    let de_otro = repetida.then_some("es la de otro equipo, salvo por las mayúsculas");
    let defecto = subcarpeta::defecto(nombre).or(de_otro)?;
    Some(format!(
        "no puede ser el de una carpeta: {defecto}; dé otro nombre al equipo, o quite CarpetaPorEquipo"
    ))
}

fn leer_nombrado(
    nombre: &str,
    con_carpeta: bool,
    claves: &Claves<'_>,
) -> Result<Nombrado, Problema> {
    let trato = Trato {
        carpeta: con_carpeta.then(|| nombre.to_owned()),
        ..leer_trato(claves)?
    };
    Ok(Nombrado {
        nombre: nombre.to_owned(),
        ip: None,
        espera_en: None,
        trato: Arc::new(trato),
        propias: claves.escritas(),
    })
}

/// Anota dónde está el equipo; si no puede estar ahí, lo que se esperaba.
fn situar(
    nombrados: &mut [Nombrado],
    lugar: usize,
    seccion: &str,
    valor: &str,
) -> Result<(), String> {
    if seccion == SECCION_LLAMAR {
        let esperado = "la dirección IP del equipo y su puerto, p. ej. 192.168.1.250:5100";
        let destino = leer_destino(valor).ok_or(esperado)?;
        if let Some(otro) = nombrados
            .iter()
            .find(|otro| otro.espera_en == Some(destino))
        {
            return Err(format!(
                "una dirección IP y un puerto distintos de los de «{}»",
                otro.nombre
            ));
        }
        nombrados[lugar].espera_en = Some(destino);
    } else {
        let esperado = "la dirección IP del equipo, p. ej. 192.168.1.20";
        let ip: IpAddr = valor.parse().map_err(|_| esperado)?;
        let ip = ip.to_canonical();
        if let Some(otro) = nombrados.iter().find(|otro| otro.ip == Some(ip)) {
            return Err(format!(
                "una dirección IP distinta de la de «{}»",
                otro.nombre
            ));
        }
        nombrados[lugar].ip = Some(ip);
    }
    Ok(())
}

/// Una IPv4 escrita como IPv6 es el mismo destino; al puerto 0 no se puede llamar.
pub(super) fn leer_destino(valor: &str) -> Option<SocketAddr> {
    let mut destino: SocketAddr = valor.parse().ok()?;
    destino.set_ip(destino.ip().to_canonical());
    (destino.port() != 0).then_some(destino)
}
