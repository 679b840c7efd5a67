//! Config.ini: de claves y textos a valores con tipo.
//!
//! Único módulo que conoce los nombres de las claves y lo que vale en cada una.

mod claves;
mod dudas;
mod equipos;
mod hallar;
mod ini;
mod sobra;
mod subcarpeta;

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use log::LevelFilter;

use crate::causa;
use crate::configuracion::claves::{Claves, Problema, visible};
use crate::configuracion::equipos::{SECCION, SECCION_EQUIPOS, SECCION_REGISTRO, leer_equipos};
use crate::configuracion::ini::{ErrorDeIni, Secciones, mismo_nombre};
use crate::configuracion::sobra::avisar;
use crate::pedido::ErrorDePedido;
use crate::recepcion::equipo::Equipos;
use crate::recepcion::servidor::Acceso;
use crate::recepcion::vigilancia::Vigilancia;
use crate::registro::Ajustes;
use crate::texto::ruta_visible;

pub use dudas::parecido;
#[cfg(windows)]
pub(crate) use hallar::configuracion_hallada;
pub(crate) use hallar::junto_al_programa;
pub use hallar::{Destino, adonde_se_envia, configurar};
pub use sobra::claves_conocidas;

/// De [Registro], pero no del diario: el archivo de la página de estado.
const ESTADO: &str = "Estado";
const NIVELES: [(&str, LevelFilter); 4] = [
    ("info", LevelFilter::Info),
    ("aviso", LevelFilter::Warn),
    ("error", LevelFilter::Error),
    ("debug", LevelFilter::Debug),
];

/// Lo que dice Config.ini, completo con los valores por omisión.
#[derive(Debug)]
pub struct Configuracion {
    /// De dónde se leyó.
    pub ruta: PathBuf,
    /// Puerto TCP; 0 toma uno libre. Puede faltar si hay a quien llamar.
    pub puerto: Option<u16>,
    /// Dirección de este PC en la que se escucha.
    pub direccion: IpAddr,
    /// Carpeta de los mensajes, ya resuelta desde la de Config.ini.
    pub directorio: PathBuf,
    /// Quién entra y cuántos a la vez.
    pub acceso: Acceso,
    /// Cómo se llama cada equipo, dónde está y cómo se le trata.
    pub equipos: Equipos,
    /// Si se espera a que el disco confirme antes de acusar.
    pub sincronizar: bool,
    /// De qué se avisa aunque no llegue nada.
    pub vigilancia: Vigilancia,
    /// El registro en archivos, si lo hay.
    pub diario: Option<Ajustes>,
    /// El archivo de la página de estado, si la hay.
    pub estado: Option<PathBuf>,
    /// Qué se dice en la consola y en el registro.
    pub nivel: LevelFilter,
    /// Lo que hay que avisar: qué archivo es, si no es el que se espera, y lo que en él nadie lee o le falta a
    /// lo que se lee.
    pub avisos: Vec<String>,
}

impl Configuracion {
    /// Lee el archivo. Cada valor que no sirve es un [`ErrorDePedido`] que dice su sección, su clave, qué decía
    /// y qué se esperaba.
    pub fn leer(ruta: &Path) -> Result<Configuracion, Box<dyn Error>> {
        let donde = ruta_visible(ruta);
        let bytes = fs::read(ruta).map_err(|causa| ilegible(ruta, &causa))?;
        let secciones = Secciones::leer(&bytes).map_err(|causa| {
            ErrorDePedido(match causa {
                ErrorDeIni::Malformado(detalle) => format!(
                    "no se entiende «{donde}» ({}); cada línea debe ser [Sección], Clave = valor, o un comentario que empiece por # o ;",
                    visible(&detalle)
                ),
                ErrorDeIni::Repetido { nombre, linea } => format!(
                    "en «{donde}» está dos veces «{}»; deje solo una (la segunda está en la línea {linea})",
                    visible(&nombre)
                ),
            })
        })?;
        let leida = interpretar(&secciones, ruta);
        leida.map_err(|Problema(dicho)| ErrorDePedido(format!("en «{donde}»{dicho}")).into())
    }

    /// La carpeta de los mensajes y la del registro.
    #[cfg(windows)]
    pub(crate) fn carpetas(&self) -> Vec<PathBuf> {
        let del_registro = self.diario.iter().map(|ajustes| ajustes.carpeta.clone());
        let mut carpetas = vec![self.directorio.clone()];
        carpetas.extend(del_registro);
        carpetas.dedup();
        carpetas
    }

    /// Lo primero que se dice: qué programa es y qué va a hacer.
    #[must_use]
    pub fn presentar(&self) -> String {
        let puerto = match self.puerto {
            Some(0) => "puerto libre".to_owned(),
            Some(puerto) => format!("puerto {puerto}"),
            None => "sin puerto".to_owned(),
        };
        format!(
            "servidor-hl7 {}: configuración leída de «{}», carpeta «{}», {puerto}",
            env!("CARGO_PKG_VERSION"),
            ruta_visible(&self.ruta),
            ruta_visible(&self.directorio),
        )
    }

    /// La dirección en que este PC puede hablar con el servidor.
    pub(crate) fn direccion_local(&self) -> IpAddr {
        match self.direccion {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        }
    }
}

fn ilegible(ruta: &Path, error: &io::Error) -> Box<dyn Error> {
    let (donde, causa) = (ruta_visible(ruta), causa::explicar_lectura(ruta, error));
    de_archivo(error, format!("no se pudo leer «{donde}»: {causa}"))
}

/// Con el archivo no se pudo. Una ruta que no vale o un permiso que falta los arregla quien lo pidió; lo demás,
/// como otro programa que lo tiene abierto, un disco que no contesta o que está lleno, puede pasarse solo.
fn de_archivo(error: &io::Error, dicho: String) -> Box<dyn Error> {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput => ErrorDePedido(dicho).into(),
        _ => dicho.into(),
    }
}

fn interpretar(secciones: &Secciones, ruta: &Path) -> Result<Configuracion, Problema> {
    exigir_seccion(secciones)?;
    let carpeta = ruta.parent().unwrap_or(Path::new(""));
    let claves = Claves::de(secciones, SECCION, None);
    let del_registro = Claves::de(secciones, SECCION_REGISTRO, None);
    let (equipos, de_equipos) = leer_equipos(secciones, &claves)?;
    let sin_llamados = equipos.llamados().next().is_none();
    let acceso = leer_acceso(&claves)?;
    let diario = leer_diario(&del_registro, carpeta)?;
    let nivel = del_registro.opcion("Nivel", &NIVELES)?;
    let estado = del_registro.opcional(ESTADO, None, |valor| {
        leer_pagina(&del_registro, valor, carpeta).map(Some)
    })?;
    Ok(Configuracion {
        ruta: ruta.to_path_buf(),
        puerto: leer_puerto(&claves, sin_llamados)?,
        direccion: claves.opcional("Direccion", IpAddr::V4(Ipv4Addr::UNSPECIFIED), |valor| {
            let esperado = "una dirección IP de este PC, p. ej. 192.168.1.10, o 0.0.0.0 para todas";
            valor.parse().map_err(|_| esperado.to_owned())
        })?,
        directorio: claves.obligatorio("Directorio", |valor| {
            claves.carpeta("Directorio", valor, carpeta)
        })?,
        sincronizar: claves.opcion("Sincronizar", &[("si", true), ("no", false)])?,
        vigilancia: Vigilancia {
            espacio_minimo_mib: claves.numero("EspacioMinimoMiB", 0, 1_000_000_000, 500)? as u64,
            dias_de_apartados: claves.numero("DiasDeApartados", 0, 36_500, 0)? as u64,
        },
        // Lo último: lo que nadie ha pedido hasta aquí, sobra.
        avisos: [
            claves.dudas.take(),
            de_equipos
                .iter()
                .flat_map(|leida| leida.dudas.take())
                .collect(),
            sin_permiso(&equipos, &acceso),
            del_registro.dudas.take(),
            avisar(
                secciones,
                &claves,
                &del_registro,
                &de_equipos,
                diario.is_some(),
            ),
        ]
        .concat()
        .iter()
        .map(|aviso| format!("en «{}» {aviso}", ruta_visible(ruta)))
        .collect(),
        acceso,
        equipos,
        diario,
        estado,
        nivel,
    })
}

/// La sección [Servidor] ha de estar; si no está, quizá es una que se llama casi igual.
fn exigir_seccion(secciones: &Secciones) -> Result<(), Problema> {
    let mut nombres = secciones.nombres();
    if nombres.any(|nombre| mismo_nombre(nombre, SECCION)) {
        return Ok(());
    }
    let mut nombres = secciones.nombres();
    let parecida = nombres.find(|nombre| parecido(nombre, [SECCION]).is_some());
    Err(Problema(match parecida {
        Some(parecida) => format!(
            " falta la sección [{SECCION}]; ¿es [{}]? Corrija su nombre",
            visible(parecida)
        ),
        None => format!(
            " falta la sección [{SECCION}]; añada una línea [{SECCION}] y debajo Puerto y Directorio"
        ),
    }))
}

/// La página se reemplaza entera cada vez: no debe poder ser otro archivo.
fn leer_pagina(claves: &Claves<'_>, valor: &str, base: &Path) -> Result<PathBuf, String> {
    let ruta = claves.carpeta(ESTADO, valor, base)?;
    let extension = ruta.extension().map(OsStr::to_ascii_lowercase);
    if extension.is_some_and(|extension| extension == "html" || extension == "htm") {
        Ok(ruta)
    } else {
        Err("un archivo que acabe en .html, p. ej. registro/estado.html".to_owned())
    }
}

/// Sin Carpeta no hay registro en archivos.
fn leer_diario(claves: &Claves<'_>, base: &Path) -> Result<Option<Ajustes>, Problema> {
    let dias = claves.numero("DiasAGuardar", 1, 36_500, 30)?;
    let carpeta = claves.opcional("Carpeta", None, |valor| {
        claves.carpeta("Carpeta", valor, base).map(Some)
    })?;
    Ok(carpeta.map(|carpeta| Ajustes { carpeta, dias }))
}

fn leer_acceso(claves: &Claves<'_>) -> Result<Acceso, Problema> {
    Ok(Acceso {
        max_conexiones: claves.numero("MaxConexiones", 1, 10_000, 64)?,
        permitidos: leer_permitidos(claves)?,
        intermediarios: claves.opcional("Intermediarios", Vec::new(), leer_redes)?,
    })
}

/// Los equipos que llaman desde una dirección que no se deja entrar.
fn sin_permiso(equipos: &Equipos, acceso: &Acceso) -> Vec<String> {
    let situados = equipos.nombrados.iter();
    let situados = situados.filter_map(|equipo| Some((&equipo.nombre, equipo.ip?)));
    let fuera = situados.filter(|(_, ip)| !acceso.permite(*ip));
    fuera
        .map(|(nombre, ip)| {
            format!(
                "{nombre} de [{SECCION_EQUIPOS}] es «{ip}», que no está en EquiposPermitidos: se le rechazará; añádalo, o corrija su dirección"
            )
        })
        .collect()
}

/// Vacía es como si no estuviera, y entonces entran todos: no es lo que se espera de una lista vacía.
fn leer_permitidos(claves: &Claves<'_>) -> Result<Vec<IpNet>, Problema> {
    if claves.valor("EquiposPermitidos")?.as_deref() == Some("") {
        claves.dudar(
            "EquiposPermitidos",
            "",
            "entran todos los equipos; escriba sus direcciones, o quite la línea",
        );
        return Ok(Vec::new());
    }
    claves.opcional("EquiposPermitidos", Vec::new(), leer_redes)
}

/// Puerto solo puede faltar si hay a quien llamar.
fn leer_puerto(claves: &Claves<'_>, sin_llamados: bool) -> Result<Option<u16>, Problema> {
    if !sin_llamados && claves.valor("Puerto")?.is_none_or(|valor| valor.is_empty()) {
        return Ok(None);
    }
    let puerto = claves.obligatorio("Puerto", |valor| {
        let esperado = "un número de puerto entre 0 y 65535 (0 toma uno libre)";
        valor.parse().map_err(|_| esperado.to_owned())
    })?;
    Ok(Some(puerto))
}

/// El mismo rango, en IPv4 si se escribió disfrazado de IPv6: así se comparan las direcciones.
fn canonica(red: IpNet) -> IpNet {
    let IpNet::V6(disfrazada) = red else {
        return red;
    };
    let ip = disfrazada.network().to_ipv4_mapped();
    let prefijo = disfrazada.prefix_len().checked_sub(96);
    let llana = ip.zip(prefijo).map(|(ip, p)| Ipv4Net::new(ip, p));
    llana.and_then(Result::ok).map_or(red, IpNet::V4)
}

fn leer_redes(valor: &str) -> Result<Vec<IpNet>, String> {
    let trozos = || {
        let trozos = valor.split([',', ';', ' ', '\t', '\r', '\n']);
        trozos.filter(|trozo| !trozo.is_empty())
    };
    if let Some(mascara) = trozos().find_map(mascara) {
        return Err(format!(
            "direcciones IP o rangos, y «{mascara}» es una máscara; escriba la red con su prefijo, p. ej. 192.168.1.0/24"
        ));
    }
    let una = |trozo: &str| match trozo.parse::<IpAddr>() {
        Ok(ip) => Some(IpNet::from(ip.to_canonical())),
        Err(_) => trozo.parse().ok().map(canonica),
    };
    trozos()
        .map(una)
        .collect::<Option<Vec<_>>>()
        .filter(|redes| !redes.is_empty())
        .ok_or_else(|| {
            "direcciones IP o rangos separados por comas, p. ej. 192.168.1.20, 10.0.0.0/24"
                .to_owned()
        })
}

/// La máscara de red que es ese trozo, o que lleva tras su red: unos y después ceros. Desde 255 no llama ningún
/// equipo.
fn mascara(trozo: &str) -> Option<Ipv4Addr> {
    let ultimo = trozo.rsplit('/').next()?;
    let bits = ultimo.parse::<Ipv4Addr>().ok()?.to_bits();
    let unos = bits.leading_ones();
    (unos >= 8 && unos == bits.count_ones()).then(|| Ipv4Addr::from_bits(bits))
}
