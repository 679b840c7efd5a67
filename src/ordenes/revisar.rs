//! La revisión: comprueba, sin recibir nada, que el programa podrá recibir.
//!
//! Carpeta, disco, espacio y puerto, las direcciones que hay que teclear en los equipos, y si
//! contestan los que esperan a que se les llame. No sabe de dónde sale la configuración.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta};
use if_addrs::Interface;

use crate::almacen::{Almacen, espacio_libre_mib};
use crate::causa;
use crate::configuracion::Configuracion;
use crate::recepcion::SIN_SINCRONIZAR;
use crate::recepcion::equipo::{Equipo, Nombrado};
use crate::recepcion::pagina;
use crate::recepcion::pregunta::{en_marcha_desde, es_el_proceso, preguntar, usa_otro};
use crate::recepcion::servidor::abrir_puerto;
use crate::recepcion::vigilancia::poco_espacio;
use crate::registro::diario::Diario;
use crate::registro::{Ajustes, SIN_CONSTANCIA};
use crate::texto::{milisegundos, ruta_visible};

/// Un equipo encendido contesta enseguida, y los apagados se esperan uno tras otro.
const PLAZO_DE_PRUEBA: Duration = Duration::from_secs(2);

const SIN_RED: &str = "este PC no tiene ninguna dirección de red que teclear en los equipos: conecte el cable, o la Wi-Fi, y repita --revisar";

/// Lo que ya se sabe de si el programa está en marcha.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnMarcha {
    /// Nada: se pregunta a quien tenga el puerto.
    NoSeSabe,
    /// No lo está, y el puerto debe estar libre.
    No,
    /// Lo está, en ese proceso, y se reiniciará con lo que se revisa: puede tener el puerto.
    Servicio(u32),
}

/// Dice los avisos, revisa y dice cada cosa en `salida`. Devuelve si todo está bien.
pub fn revisar(configuracion: &Configuracion, sabido: EnMarcha, salida: &mut impl Write) -> bool {
    for aviso in &configuracion.avisos {
        let _ = writeln!(salida, "{aviso}");
    }
    let mut informe = Informe {
        salida,
        todo_bien: true,
    };
    let (carpeta, avisos_del_disco) = probar_carpeta(configuracion);
    informe.exigir("carpeta", carpeta);
    informe.exigir("espacio", mirar_espacio(configuracion));
    if let Some(ajustes) = &configuracion.diario {
        informe.exigir("registro", probar_registro(ajustes));
    }
    let mut en_marcha = None;
    if let Some(puerto) = configuracion.puerto {
        let (probado, atiende) = probar_puerto(configuracion, puerto, sabido);
        en_marcha = atiende;
        informe.exigir("puerto", probado);
        let tarjetas = if_addrs::get_if_addrs().unwrap_or_default();
        informe.decir_direcciones(&tarjetas, configuracion.direccion, puerto);
    }
    for equipo in &configuracion.equipos.nombrados {
        informe.exigir("equipo", Ok(como_se_trata(equipo)));
    }
    for aviso in avisos_del_disco {
        informe.mirar("disco", Err(aviso));
    }
    if en_marcha
        .as_ref()
        .is_some_and(|quien| es_de_antes(quien, &configuracion.ruta))
    {
        let aviso = "se cambió después de arrancar el programa, que sigue con lo de antes: ciérrelo y ábralo otra vez, o reinicie el servicio";
        informe.mirar("Config.ini", Err(aviso.to_owned()));
    }
    if let Some(ruta) = &configuracion.estado {
        informe.mirar("página", probar_pagina(ruta));
    }
    if configuracion.diario.is_none() {
        informe.mirar("registro", Err(SIN_CONSTANCIA.to_owned()));
    }
    let les_llama = en_marcha.is_some() || matches!(sabido, EnMarcha::Servicio(_));
    for equipo in configuracion.equipos.llamados() {
        // Muchos solo admiten una conexión, y ya la tiene el programa.
        let contesta = if les_llama {
            Ok(format!(
                "a {equipo} le llama el programa que está en marcha"
            ))
        } else {
            llamar(&equipo)
        };
        informe.mirar("llamada", contesta);
    }
    informe.todo_bien
}

/// Lo que se va diciendo, una cosa en cada línea. Si nadie lo lee, queda el código de salida.
struct Informe<'a, W: Write> {
    salida: &'a mut W,
    todo_bien: bool,
}

impl<W: Write> Informe<'_, W> {
    /// Algo sin lo que no se recibiría.
    fn exigir(&mut self, que: &str, resultado: Result<String, String>) {
        self.todo_bien &= resultado.is_ok();
        self.decir("MAL", que, resultado);
    }

    /// Algo sin lo que se recibe igual.
    fn mirar(&mut self, que: &str, resultado: Result<String, String>) {
        self.decir("aviso", que, resultado);
    }

    /// Que ninguna tarjeta esté conectada puede pasarse solo. Si la dirección que se pidió no es de ninguna, ya
    /// lo dijo el puerto.
    fn decir_direcciones(&mut self, tarjetas: &[Interface], escucha: IpAddr, puerto: u16) {
        let llegan = alcanzables(tarjetas, escucha, cfg!(windows));
        if llegan.is_empty() && escucha.is_unspecified() {
            self.mirar("dirección", Err(SIN_RED.to_owned()));
        }
        for ip in llegan {
            self.exigir("dirección", Ok(como_se_entra(ip, puerto)));
        }
    }

    fn decir(&mut self, si_falla: &str, que: &str, resultado: Result<String, String>) {
        let como = if resultado.is_ok() { "bien" } else { si_falla };
        let (Ok(detalle) | Err(detalle)) = resultado;
        let _ = writeln!(self.salida, "{como:<5} {que:<10} {detalle}");
    }
}

fn probar_registro(ajustes: &Ajustes) -> Result<String, String> {
    Diario::new(ajustes.clone()).probar(Local::now().naive_local())?;
    let carpeta = ruta_visible(&ajustes.carpeta);
    Ok(format!("se escribirá cada día en «{carpeta}»"))
}

fn probar_pagina(ruta: &Path) -> Result<String, String> {
    let visible = ruta_visible(ruta);
    match pagina::probar(ruta) {
        Ok(()) => Ok(format!("se escribirá en «{visible}»")),
        Err(error) => {
            let causa = causa::explicar(&error);
            Err(format!("no se podrá escribir «{visible}»: {causa}"))
        }
    }
}

/// Lo que se supo de la carpeta, y lo que hay que mirar en ella o en su disco. Si la crea, el arranque ya no
/// verá que faltaba: se dice aquí.
fn probar_carpeta(configuracion: &Configuracion) -> (Result<String, String>, Vec<String>) {
    let (carpeta, sincronizar) = (configuracion.directorio.clone(), configuracion.sincronizar);
    let probada = Almacen::abrir(carpeta, sincronizar)
        .and_then(|almacen| almacen.con_subcarpetas(configuracion.equipos.carpetas()))
        .and_then(|almacen| {
            let ahora = Local::now().naive_local();
            almacen.probar_apartados(ahora)?;
            let prueba = almacen.probar(None, ahora)?;
            for subcarpeta in almacen.subcarpetas() {
                almacen.probar(Some(subcarpeta), ahora)?;
            }
            Ok((prueba, almacen.avisos()))
        });
    let (prueba, mut avisos) = match probada {
        Ok(probada) => probada,
        Err(error) => return (Err(error.to_string()), Vec::new()),
    };
    avisos.extend(prueba.aviso().map(str::to_owned));
    avisos.extend((!sincronizar).then(|| SIN_SINCRONIZAR.to_owned()));
    let sincronizado = if sincronizar { "y sincronizar " } else { "" };
    let bien = format!(
        "guardar {sincronizado}en «{}» tarda {} ms{}",
        ruta_visible(&configuracion.directorio),
        milisegundos(prueba.tiempo),
        prueba.nota()
    );
    (Ok(bien), avisos)
}

/// El puerto está libre o lo tiene este mismo programa en otro proceso: el del servicio o, si no se sabe cuál
/// es, uno con el mismo Config.ini, y entonces también lo que contesta.
fn probar_puerto(
    configuracion: &Configuracion,
    puerto: u16,
    sabido: EnMarcha,
) -> (Result<String, String>, Option<String>) {
    let direccion = SocketAddr::new(configuracion.direccion, puerto);
    let Err(error) = abrir_puerto(direccion) else {
        return (Ok(format!("{direccion} está libre")), None);
    };
    if sabido == EnMarcha::No {
        return (Err(error), None);
    }
    let local = configuracion.direccion_local();
    let como_intermediario = configuracion.acceso.es_intermediario(local);
    let contesta = preguntar(SocketAddr::new(local, puerto), como_intermediario);
    match (contesta, sabido) {
        (Some(quien), EnMarcha::Servicio(proceso)) if es_el_proceso(&quien, proceso) => {
            (Ok(format!("{direccion} lo atiende {quien}")), None)
        }
        // Si con lo de antes no deja que se le pregunte donde se le pregunta, no se sabe que es él.
        (_, EnMarcha::Servicio(_)) => {
            let que_hacer =
                "si es el servicio, deténgalo con net stop servidor-hl7 y repita --instalar";
            (Err(format!("{error}; {que_hacer}")), None)
        }
        (Some(quien), _) if usa_otro(&quien, &configuracion.ruta) => {
            let que_hacer = "que lee otro Config.ini; ciérrelo, o cambie Puerto en uno de los dos";
            let error = format!("{direccion} lo atiende {quien}, {que_hacer}");
            (Err(error), None)
        }
        (Some(quien), _) => (Ok(format!("{direccion} lo atiende {quien}")), Some(quien)),
        (None, _) => (Err(error), None),
    }
}

/// Si quien contestó eso arrancó antes de que ese Config.ini se cambiara por última vez.
fn es_de_antes(contestacion: &str, config: &Path) -> bool {
    let cambiado = fs::metadata(config).and_then(|datos| datos.modified());
    match (en_marcha_desde(contestacion), cambiado) {
        (Some(desde), Ok(cambiado)) => {
            let cambiado = DateTime::<Local>::from(cambiado).naive_local();
            // Lo que arranca en el mismo segundo en que se escribe ya lo leyó.
            cambiado >= desde + TimeDelta::seconds(1)
        }
        _ => false,
    }
}

fn mirar_espacio(configuracion: &Configuracion) -> Result<String, String> {
    let carpeta = &configuracion.directorio;
    let minimo_mib = configuracion.vigilancia.espacio_minimo_mib;
    match espacio_libre_mib(carpeta) {
        Ok(libres_mib) if libres_mib < minimo_mib => {
            Err(poco_espacio(carpeta, libres_mib, minimo_mib))
        }
        Ok(libres_mib) => Ok(format!(
            "{libres_mib} MiB libres en «{}»",
            ruta_visible(carpeta)
        )),
        Err(error) => Err(format!(
            "no se pudo saber el espacio libre en «{}»: {}",
            ruta_visible(carpeta),
            causa::explicar(&error)
        )),
    }
}

/// Las direcciones que un equipo de la red puede usar para llegar hasta aquí.
fn alcanzables(tarjetas: &[Interface], escucha: IpAddr, en_windows: bool) -> Vec<IpAddr> {
    if escucha.is_loopback() {
        return vec![escucha];
    }
    if !escucha.is_unspecified() {
        let suyas = tarjetas.iter().map(Interface::ip);
        return suyas.filter(|ip| *ip == escucha).collect();
    }
    // En Windows, por :: no se entra con IPv4.
    let con_ipv6 = en_windows && escucha.is_ipv6();
    let tarjetas = tarjetas.iter().filter(|tarjeta| {
        tarjeta.is_oper_up() && !tarjeta.is_loopback() && tarjeta.ip().is_ipv6() == con_ipv6
    });
    // La de enlace local se la da cada uno cuando nadie le da otra: por ella solo llega quien hizo lo mismo.
    let (propias, dadas): (Vec<_>, Vec<_>) = tarjetas.partition(|tarjeta| tarjeta.is_link_local());
    let utiles = if dadas.is_empty() { propias } else { dadas };
    utiles.into_iter().map(Interface::ip).collect()
}

fn como_se_entra(ip: IpAddr, puerto: u16) -> String {
    let puerto = match puerto {
        0 => "el puerto que diga la consola al arrancar".to_owned(),
        _ => format!("puerto {puerto}"),
    };
    let quien = if ip.is_loopback() {
        "solo se entra desde este PC"
    } else {
        "teclee esto en los equipos"
    };
    format!("{ip}, {puerto}: {quien}")
}

/// Dónde está el equipo y qué dice su sección.
fn como_se_trata(equipo: &Nombrado) -> String {
    let Nombrado {
        nombre,
        ip,
        espera_en,
        propias,
        ..
    } = equipo;
    let direcciones = [
        ip.map(|ip| ip.to_string()),
        espera_en.map(|en| en.to_string()),
    ];
    let direcciones: Vec<_> = direcciones.into_iter().flatten().collect();
    let propias: Vec<_> = propias
        .iter()
        .map(|(clave, valor)| format!("{clave} = {valor}; "))
        .collect();
    format!(
        "{nombre} ({}): {}{} como en [Servidor]",
        direcciones.join(", "),
        propias.concat(),
        if propias.is_empty() {
            "todo"
        } else {
            "lo demás"
        },
    )
}

fn llamar(equipo: &Equipo) -> Result<String, String> {
    let direccion = equipo.direccion();
    match TcpStream::connect_timeout(&direccion, PLAZO_DE_PRUEBA) {
        Ok(_) => Ok(format!("{equipo} contesta en {direccion}")),
        Err(error) => Err(format!(
            "{equipo} no contesta en {direccion}: {}",
            causa::explicar_conexion(&error)
        )),
    }
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn tarjeta(ip: &str, oper_status: IfOperStatus) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => IfAddr::V4(Ifv4Addr {
                ip,
                netmask: [255, 255, 0, 0].into(),
                prefixlen: 16,
                broadcast: None,
            }),
            IpAddr::V6(ip) => IfAddr::V6(Ifv6Addr {
                ip,
                netmask: [0xFFFF, 0, 0, 0, 0, 0, 0, 0].into(),
                prefixlen: 16,
                broadcast: None,
            }),
        };
        Interface {
            name: String::new(),
            addr,
            index: None,
            oper_status,
            is_p2p: false,
            #[cfg(windows)]
            adapter_name: String::new(),
        }
    }

    #[test]
    fn solo_se_teclea_la_direccion_por_la_que_se_llega() {
        let de_todo = [
            "127.0.0.1",
            "::1",
            "169.254.7.7",
            "fe80::7",
            "192.168.1.10",
            "fd00::10",
        ];
        for (conectadas, escucha, en_windows, esperadas) in [
            (&de_todo[..], "0.0.0.0", true, &["192.168.1.10"][..]),
            (&de_todo, "0.0.0.0", false, &["192.168.1.10"]),
            (&de_todo, "::", true, &["fd00::10"]),
            (&de_todo, "::", false, &["192.168.1.10"]),
            (&de_todo, "127.0.0.1", true, &["127.0.0.1"]),
            (&de_todo, "169.254.7.7", true, &["169.254.7.7"]),
            (&de_todo, "192.168.1.77", true, &[]),
            (&de_todo[..4], "0.0.0.0", true, &["169.254.7.7"]),
            (&de_todo[..4], "::", true, &["fe80::7"]),
            (&de_todo[..2], "0.0.0.0", true, &[]),
        ] {
            let conectadas = conectadas.iter().map(|ip| tarjeta(ip, IfOperStatus::Up));
            // Con el cable suelto, en Windows y en Linux.
            let sueltas = [
                tarjeta("10.0.0.10", IfOperStatus::Down),
                tarjeta("10.0.0.11", IfOperStatus::Unknown),
            ];
            let tarjetas: Vec<_> = conectadas.chain(sueltas).collect();
            let llegan = alcanzables(&tarjetas, escucha.parse().unwrap(), en_windows);
            let llegan: Vec<_> = llegan.iter().map(IpAddr::to_string).collect();
            assert_eq!(llegan, esperadas, "{escucha}, Windows: {en_windows}");
        }
    }

    #[test]
    fn sin_red_se_dice_que_se_conecte_el_cable() {
        let suelta = [tarjeta("10.0.0.10", IfOperStatus::Down)];
        let conectada = [tarjeta("10.0.0.10", IfOperStatus::Up)];
        for (tarjetas, escucha, esperado) in [
            (
                &suelta,
                "0.0.0.0",
                "aviso dirección  este PC no tiene ninguna",
            ),
            (&conectada, "0.0.0.0", "bien  dirección  10.0.0.10, puerto "),
            (&conectada, "10.0.0.11", ""),
        ] {
            let mut salida = Vec::new();
            let mut informe = Informe {
                salida: &mut salida,
                todo_bien: true,
            };
            informe.decir_direcciones(tarjetas, escucha.parse().unwrap(), 2575);
            assert!(informe.todo_bien);
            let dicho = String::from_utf8(salida).unwrap();
            assert!(dicho.starts_with(esperado), "{dicho}");
            assert_eq!(dicho.is_empty(), esperado.is_empty(), "{dicho}");
        }
    }
}
