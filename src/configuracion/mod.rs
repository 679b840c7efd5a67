//! Config.ini: de claves y textos a valores con tipo.
//!
//! Único módulo que conoce los nombres de las claves y lo que vale en cada una.

mod dudas;
mod equipos;
mod hallar;
mod ini;
mod subcarpeta;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};

use ipnet::IpNet;
use log::LevelFilter;

use crate::causa;
use crate::configuracion::equipos::{SECCIONES, leer_destino, leer_equipos};
use crate::configuracion::ini::{CitasSinFin, ErrorDeIni, Secciones, mismo_nombre};
use crate::recepcion::equipo::Equipos;
use crate::recepcion::servidor::Acceso;
use crate::recepcion::vigilancia::Vigilancia;
use crate::registro::Ajustes;
use crate::texto::ruta_visible;

pub use dudas::parecido;
#[cfg(windows)]
pub(crate) use hallar::configuracion_hallada;
pub use hallar::{configurar, donde_escucha};

/// El Config.ini que se escribe cuando no hay ninguno; es el que acompaña al programa.
const POR_OMISION: &str = include_str!("../../Config.ini");
const SECCION: &str = "Servidor";
/// El registro en archivos.
const SECCION_REGISTRO: &str = "Registro";

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
    /// Lo que hay que avisar del archivo: lo que nadie lee, y lo que le falta a lo que se lee.
    pub avisos: Vec<String>,
}

impl Configuracion {
    /// Lee el archivo. Cada valor que no sirve es un error con su clave y lo que se esperaba.
    pub fn leer(ruta: &Path) -> Result<Configuracion, ErrorDeConfiguracion> {
        let error = |problema| ErrorDeConfiguracion {
            ruta: ruta.to_path_buf(),
            problema,
        };
        let bytes = fs::read(ruta).map_err(|causa| error(Problema::Ilegible(causa)))?;
        let secciones =
            Secciones::leer(&bytes).map_err(|causa| error(Problema::Malformado(causa)))?;
        interpretar(&secciones, ruta).map_err(error)
    }

    /// Las carpetas en las que el programa escribe.
    #[cfg(windows)]
    pub(crate) fn carpetas(&self) -> Vec<PathBuf> {
        let del_registro = self.diario.iter().map(|ajustes| ajustes.carpeta.clone());
        // En la carpeta del programa solo escribe un administrador, también si la página está en ella.
        let de_la_pagina = self.estado.iter().filter_map(|ruta| ruta.parent());
        let de_la_pagina = de_la_pagina.filter(|carpeta| Some(*carpeta) != self.ruta.parent());
        let mut carpetas = vec![self.directorio.clone()];
        carpetas.extend(del_registro);
        carpetas.extend(de_la_pagina.map(Path::to_path_buf));
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

    /// Escribe un Config.ini con los valores por omisión, sin reemplazar ninguno.
    pub fn escribir_por_omision(ruta: &Path) -> Result<(), ErrorDeConfiguracion> {
        // El Bloc de notas de un Windows antiguo solo entiende CR LF.
        let fin_de_linea = if cfg!(windows) { "\r\n" } else { "\n" };
        let texto: String = POR_OMISION
            .lines()
            .flat_map(|linea| [linea, fin_de_linea])
            .collect();
        fs::File::create_new(ruta)
            .and_then(|mut archivo| io::Write::write_all(&mut archivo, texto.as_bytes()))
            .map_err(|causa| ErrorDeConfiguracion {
                ruta: ruta.to_path_buf(),
                problema: Problema::NoEscribible(causa),
            })
    }
}

fn interpretar(secciones: &Secciones, ruta: &Path) -> Result<Configuracion, Problema> {
    if !secciones
        .nombres()
        .any(|nombre| mismo_nombre(nombre, SECCION))
    {
        let parecida = secciones
            .nombres()
            .find(|nombre| parecido(nombre, [SECCION]).is_some());
        return Err(Problema::FaltaSeccion(parecida.map(str::to_owned)));
    }
    let carpeta = ruta.parent().unwrap_or(Path::new(""));
    let claves = Claves::de(secciones, SECCION);
    let del_registro = Claves::de(secciones, SECCION_REGISTRO);
    let (equipos, de_equipos) = leer_equipos(secciones, &claves)?;
    let sin_llamados = equipos.llamados().next().is_none();
    let diario = leer_diario(&del_registro, carpeta)?;
    let nivel = del_registro.opcion("Nivel", &NIVELES)?;
    let estado = del_registro.opcional("Estado", None, |valor| {
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
        acceso: Acceso {
            max_conexiones: claves.numero("MaxConexiones", 1, 10_000, 64)?,
            permitidos: leer_permitidos(&claves)?,
            intermediarios: claves.opcional("Intermediarios", Vec::new(), leer_redes)?,
        },
        sincronizar: claves.opcion("Sincronizar", &[("si", true), ("no", false)])?,
        vigilancia: Vigilancia {
            espacio_minimo_mib: claves.numero("EspacioMinimoMiB", 0, 1_000_000_000, 500)? as u64,
            dias_de_apartados: claves.numero("DiasDeApartados", 0, 36_500, 0)? as u64,
        },
        equipos,
        // Lo último: lo que nadie ha pedido hasta aquí, sobra.
        avisos: [
            claves.dudas.take(),
            del_registro.dudas.take(),
            avisar(
                secciones,
                &claves,
                &del_registro,
                &de_equipos,
                diario.is_some(),
            ),
        ]
        .concat(),
        diario,
        estado,
        nivel,
    })
}

/// La página se reemplaza entera cada vez: no debe poder ser otro archivo.
fn leer_pagina(claves: &Claves<'_>, valor: &str, base: &Path) -> Result<PathBuf, String> {
    let ruta = claves.carpeta("Estado", valor, base)?;
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

/// Las claves de una sección. Recuerda las que se le piden: las demás sobran.
struct Claves<'a> {
    secciones: &'a Secciones,
    seccion: &'a str,
    /// La sección que dice lo que esta no dice.
    respaldo: Option<&'static str>,
    pedidas: RefCell<Vec<&'static str>>,
    dudas: RefCell<Vec<String>>,
}

fn valor_citado(
    secciones: &Secciones,
    seccion: &str,
    clave: &str,
) -> Result<Option<String>, Problema> {
    secciones.valor(seccion, clave).map_err(|CitasSinFin| {
        let (seccion, clave) = (seccion.to_owned(), clave.to_owned());
        Problema::CitasSinFin { seccion, clave }
    })
}

impl<'a> Claves<'a> {
    fn de(secciones: &'a Secciones, seccion: &'static str) -> Claves<'a> {
        Claves {
            secciones,
            seccion,
            respaldo: None,
            pedidas: RefCell::default(),
            dudas: RefCell::default(),
        }
    }

    /// Las de la sección que lleva el nombre de un equipo, si la hay: lo que no está en ella es como en
    /// [Servidor].
    fn de_equipo(secciones: &'a Secciones, nombre: &'a str) -> Claves<'a> {
        Claves {
            secciones,
            seccion: nombre,
            respaldo: Some(SECCION),
            pedidas: RefCell::default(),
            dudas: RefCell::default(),
        }
    }

    fn se_pide(&self, clave: &str) -> bool {
        let pedidas = self.pedidas.borrow();
        pedidas.iter().any(|pedida| mismo_nombre(pedida, clave))
    }

    /// Las que están escritas en la sección y se han pedido, con su valor.
    fn escritas(&self) -> Vec<(String, String)> {
        let claves = self.secciones.claves(self.seccion).into_iter();
        let pedidas = claves.filter(|(clave, valor)| self.se_pide(clave) && !valor.is_empty());
        pedidas
            .map(|(clave, _)| {
                let valor = self.secciones.valor(self.seccion, clave);
                (clave.to_owned(), valor.ok().flatten().unwrap_or_default())
            })
            .collect()
    }

    /// Las que están escritas en la sección y nadie ha pedido ni citado.
    fn no_pedidas(&self) -> impl Iterator<Item = (&str, &str)> {
        let claves = self.secciones.claves(self.seccion).into_iter();
        claves.filter(|(clave, _)| !self.se_pide(clave) && !self.secciones.se_cita(clave))
    }

    fn valor(&self, clave: &'static str) -> Result<Option<String>, Problema> {
        self.pedidas.borrow_mut().push(clave);
        let Some(respaldo) = self.respaldo else {
            return valor_citado(self.secciones, self.seccion, clave);
        };
        // [DEFAULT] ya vale en la de respaldo, y esta manda sobre él.
        let propias = self.secciones.claves(self.seccion);
        let propia = propias
            .iter()
            .any(|(nombre, valor)| mismo_nombre(nombre, clave) && !valor.is_empty());
        let seccion = if propia { self.seccion } else { respaldo };
        valor_citado(self.secciones, seccion, clave)
    }

    /// Un valor que vale, pero que quizá nadie quiso así.
    fn dudar(&self, clave: &str, valor: &str, duda: &str) {
        let (seccion, valor) = (visible(self.seccion), visible(valor));
        let duda = format!("{clave} de [{seccion}] es «{valor}»: {duda}");
        self.dudas.borrow_mut().push(duda);
    }

    fn obligatorio<T>(
        &self,
        clave: &'static str,
        leer: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Problema> {
        let Some(valor) = self.valor(clave)? else {
            return Err(Problema::FaltaClave {
                clave,
                en_su_lugar: self.en_su_lugar(clave),
            });
        };
        leer(&valor).map_err(|esperado| Problema::mal_valor(self.seccion, clave, valor, esperado))
    }

    /// La línea que quizá es la de una clave que falta: una casi igual, o la misma en otra sección.
    fn en_su_lugar(&self, clave: &'static str) -> Option<String> {
        let escritas = self.secciones.claves(self.seccion);
        let mut escritas = escritas.iter().map(|(escrita, _)| *escrita);
        if let Some(parecida) = escritas.find(|escrita| parecido(escrita, [clave]).is_some()) {
            return Some(format!("la línea «{}»", visible(parecida)));
        }
        let mut secciones = self.secciones.nombres();
        let otra = secciones.find(|otra| {
            let claves = self.secciones.claves(otra);
            claves
                .iter()
                .any(|(escrita, _)| mismo_nombre(escrita, clave))
        });
        otra.map(|otra| format!("la línea «{clave}» de [{}]", visible(otra)))
    }

    /// Una clave presente pero vacía vale lo mismo que una ausente.
    fn opcional<T>(
        &self,
        clave: &'static str,
        omision: T,
        leer: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Problema> {
        match self.valor(clave)?.filter(|valor| !valor.is_empty()) {
            None => Ok(omision),
            Some(valor) => leer(&valor)
                .map_err(|esperado| Problema::mal_valor(self.seccion, clave, valor, esperado)),
        }
    }

    /// La ruta de una carpeta, contada desde la de Config.ini.
    fn carpeta(&self, clave: &str, valor: &str, base: &Path) -> Result<PathBuf, String> {
        if valor.is_empty() || valor.contains(char::is_control) {
            return Err("la ruta de una carpeta, p. ej. D:\\resultados".to_owned());
        }
        if let Some(esperado) = dudas::ruta_imposible(valor, cfg!(windows)) {
            return Err(esperado.to_owned());
        }
        if let Some(duda) = dudas::de_una_ruta(valor, cfg!(windows)) {
            self.dudar(clave, valor, &duda);
        }
        // En el programa de Python, \ y / valían lo mismo.
        Ok(base.join(valor.replace(['\\', '/'], MAIN_SEPARATOR_STR)))
    }

    fn numero(
        &self,
        clave: &'static str,
        minimo: usize,
        maximo: usize,
        omision: usize,
    ) -> Result<usize, Problema> {
        self.opcional(clave, omision, |valor| {
            let leido = valor
                .parse()
                .ok()
                .filter(|numero| (minimo..=maximo).contains(numero));
            leido.ok_or_else(|| format!("un número entero entre {minimo} y {maximo}"))
        })
    }

    /// Una clave que elige entre nombres; el primero es el valor por omisión.
    fn opcion<T: Copy>(&self, clave: &'static str, opciones: &[(&str, T)]) -> Result<T, Problema> {
        self.opcional(clave, opciones[0].1, |valor| {
            // `sí`, `automático`, `clásico` y `estándar` valen como sin acento.
            let hallada = opciones
                .iter()
                .find(|(nombre, _)| mismo_nombre(nombre, valor));
            hallada.map(|(_, opcion)| *opcion).ok_or_else(|| {
                let nombres: Vec<_> = opciones.iter().map(|(nombre, _)| *nombre).collect();
                format!("uno de estos: {}", nombres.join(", "))
            })
        })
    }
}

fn leer_redes(valor: &str) -> Result<Vec<IpNet>, String> {
    let una = |trozo: &str| match trozo.parse::<IpAddr>() {
        Ok(ip) => Some(IpNet::from(ip.to_canonical())),
        Err(_) => trozo.parse().ok(),
    };
    let trozos = valor
        .split([',', ';', ' ', '\t', '\r', '\n'])
        .filter(|trozo| !trozo.is_empty());
    trozos
        .map(una)
        .collect::<Option<Vec<_>>>()
        .filter(|redes| !redes.is_empty())
        .ok_or_else(|| {
            "direcciones IP o rangos separados por comas, p. ej. 192.168.1.20, 10.0.0.0/24"
                .to_owned()
        })
}

/// Los avisos de lo que sobra y de lo que falta en el archivo.
fn avisar(
    secciones: &Secciones,
    servidor: &Claves<'_>,
    registro: &Claves<'_>,
    equipos: &[Claves<'_>],
    hay_diario: bool,
) -> Vec<String> {
    let sobra = |que: String| format!("sobra {que}: nadie la lee; revise si está bien escrita");
    let sobrantes = sobrantes(secciones, servidor, registro, equipos);
    let mut avisos: Vec<_> = sobrantes.into_iter().map(sobra).collect();
    let mut claves = secciones.claves(SECCION_REGISTRO).into_iter();
    let del_diario = claves.any(|(clave, _)| !mismo_nombre(clave, "Estado"));
    if !hay_diario && del_diario {
        let aviso = "la sección [Registro] no dice Carpeta, y sin ella no hay archivos; ¿falta quitar el # de su línea?";
        avisos.push(aviso.to_owned());
    }
    avisos
}

/// Lo que hay en el archivo y nadie ha pedido.
fn sobrantes(
    secciones: &Secciones,
    servidor: &Claves<'_>,
    registro: &Claves<'_>,
    equipos: &[Claves<'_>],
) -> Vec<String> {
    let mut sobrantes = Vec::new();
    for leida in [servidor, registro].into_iter().chain(equipos) {
        let es_de_un_equipo = leida.respaldo.is_some();
        let seccion = visible(leida.seccion);
        for (clave, valor) in leida.no_pedidas() {
            let sospecha = if es_de_un_equipo && servidor.se_pide(clave) {
                " (vale para todos los equipos: solo puede estar en [Servidor])".to_owned()
            } else if valor.parse::<IpAddr>().is_ok() || leer_destino(valor).is_some() {
                " (¿falta quitar el # de la línea [Equipos] o [Llamar]?)".to_owned()
            } else {
                sospechar(leida.respaldo.unwrap_or(leida.seccion), clave)
            };
            sobrantes.push(format!(
                "la clave «{}» de [{seccion}]{sospecha}",
                visible(clave)
            ));
        }
    }
    let conocidas = SECCIONES
        .into_iter()
        .chain(equipos.iter().map(|leida| leida.seccion));
    let conocidas: Vec<_> = conocidas.collect();
    let ajenas = secciones.nombres().filter(|nombre| {
        !conocidas
            .iter()
            .any(|conocida| mismo_nombre(conocida, nombre))
    });
    sobrantes.extend(ajenas.map(|nombre| {
        let quiza = parecido(nombre, conocidas.iter().copied()).map_or_else(
            || "(ningún equipo de [Equipos] ni de [Llamar] se llama así)".to_owned(),
            |quiso| format!("(¿quiso decir [{}]?)", visible(quiso)),
        );
        format!("la sección [{}] {quiza}", visible(nombre))
    }));
    sobrantes
}

/// De quién puede ser una clave que sobra: de otra sección, o de una casi igual.
fn sospechar(seccion: &str, clave: &str) -> String {
    let conocidas: Vec<_> = claves_conocidas().collect();
    if let Some((su_seccion, _)) = conocidas.iter().find(|(_, otra)| mismo_nombre(otra, clave)) {
        return format!(" (¿es de [{su_seccion}]?)");
    }
    let de_aqui = conocidas.iter().filter(|(suya, _)| *suya == seccion);
    parecido(clave, de_aqui.map(|(_, otra)| *otra))
        .map(|quiso| format!(" (¿quiso decir {quiso}?)"))
        .unwrap_or_default()
}

/// La sección y el nombre de cada clave que se puede escribir, como están en el Config.ini que
/// acompaña al programa.
pub fn claves_conocidas() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut seccion = "";
    POR_OMISION.lines().filter_map(move |linea| {
        let linea = linea.strip_prefix("# ").unwrap_or(linea);
        if let Some(nombre) = linea.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            seccion = nombre;
        }
        let (clave, _) = linea.split_once(" =")?;
        let es_nuestra = [SECCION, SECCION_REGISTRO].contains(&seccion);
        (es_nuestra && !clave.contains(' ')).then_some((seccion, clave))
    })
}

/// Lo escrito en el archivo, en una línea y sin caracteres que la consola obedezca.
fn visible(texto: &str) -> String {
    texto.replace(char::is_control, "\u{FFFD}")
}

/// Config.ini no sirve: qué archivo, qué sección, qué clave, qué decía y qué se esperaba.
#[derive(Debug)]
pub struct ErrorDeConfiguracion {
    ruta: PathBuf,
    problema: Problema,
}

#[derive(Debug)]
enum Problema {
    ConOtroNombre(String),
    Ilegible(io::Error),
    NoEscribible(io::Error),
    Malformado(ErrorDeIni),
    SinDestino,
    SinPuerto,
    /// Quizá es esta otra.
    FaltaSeccion(Option<String>),
    FaltaClave {
        clave: &'static str,
        en_su_lugar: Option<String>,
    },
    CitasSinFin {
        seccion: String,
        clave: String,
    },
    MalNombre {
        seccion: &'static str,
        nombre: String,
        defecto: String,
    },
    MalValor {
        seccion: String,
        clave: String,
        valor: String,
        esperado: String,
    },
}

impl ErrorDeConfiguracion {
    /// No está ese archivo, pero sí otro que quizá es él.
    fn con_otro_nombre(ruta: PathBuf, otro: String) -> ErrorDeConfiguracion {
        let problema = Problema::ConOtroNombre(otro);
        ErrorDeConfiguracion { ruta, problema }
    }

    /// El archivo que no sirve.
    #[must_use]
    pub fn ruta(&self) -> &Path {
        &self.ruta
    }

    /// No hay Config.ini que diga adónde enviar.
    fn sin_destino(ruta: PathBuf) -> ErrorDeConfiguracion {
        let problema = Problema::SinDestino;
        ErrorDeConfiguracion { ruta, problema }
    }

    /// Config.ini no dice en qué puerto se escucha.
    fn sin_puerto(ruta: PathBuf) -> ErrorDeConfiguracion {
        let problema = Problema::SinPuerto;
        ErrorDeConfiguracion { ruta, problema }
    }
}

impl Problema {
    fn mal_valor(seccion: &str, clave: &str, valor: String, esperado: String) -> Problema {
        Problema::MalValor {
            seccion: seccion.to_owned(),
            clave: clave.to_owned(),
            valor,
            esperado,
        }
    }
}

impl fmt::Display for ErrorDeConfiguracion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ruta = self.ruta.display();
        match &self.problema {
            Problema::ConOtroNombre(otro) => write!(
                f,
                "no está «{ruta}», pero sí «{}»: si es ese, póngale el otro nombre (el Explorador oculta el .txt); si no, llévelo a otra carpeta",
                visible(otro)
            ),
            Problema::Ilegible(causa) => {
                let causa = causa::explicar_lectura(&self.ruta, causa);
                write!(f, "no se pudo leer «{ruta}»: {causa}")
            }
            Problema::NoEscribible(causa) => {
                write!(
                    f,
                    "no hay Config.ini y no se pudo escribir «{ruta}»: {}",
                    causa::explicar(causa)
                )
            }
            Problema::Malformado(ErrorDeIni::Malformado(detalle)) => write!(
                f,
                "no se entiende «{ruta}» ({}); cada línea debe ser [Sección], Clave = valor, o un comentario que empiece por # o ;",
                visible(detalle)
            ),
            Problema::Malformado(ErrorDeIni::Repetido { nombre, linea }) => write!(
                f,
                "en «{ruta}» está dos veces «{}»; deje solo una (la segunda está en la línea {linea})",
                visible(nombre)
            ),
            Problema::SinDestino => {
                f.write_str("no hay ningún Config.ini; diga adónde enviar con --a HOST:PUERTO")
            }
            Problema::SinPuerto => write!(
                f,
                "en «{ruta}» el Puerto falta o es 0; diga adónde enviar con --a HOST:PUERTO"
            ),
            Problema::FaltaSeccion(None) => {
                write!(
                    f,
                    "en «{ruta}» falta la sección [{SECCION}]; añada una línea [{SECCION}] y debajo Puerto y Directorio"
                )
            }
            Problema::FaltaSeccion(Some(parecida)) => write!(
                f,
                "en «{ruta}» falta la sección [{SECCION}]; ¿es [{}]? Corrija su nombre",
                visible(parecida)
            ),
            Problema::FaltaClave {
                clave,
                en_su_lugar: None,
            } => {
                write!(
                    f,
                    "en «{ruta}», sección [{SECCION}], falta la clave {clave}; añada una línea {clave} = valor"
                )
            }
            Problema::FaltaClave {
                clave,
                en_su_lugar: Some(otra),
            } => write!(
                f,
                "en «{ruta}», sección [{SECCION}], falta la clave {clave}; ¿es {otra}? Corríjala o cámbiela de sitio"
            ),
            Problema::CitasSinFin { seccion, clave } => write!(
                f,
                "en «{ruta}», sección [{}], el valor de {} cita a otros con %(…)s sin acabar nunca; escríbalo entero",
                visible(seccion),
                visible(clave)
            ),
            Problema::MalNombre {
                seccion,
                nombre,
                defecto,
            } => write!(
                f,
                "en «{ruta}», sección [{seccion}], el nombre «{}» {defecto}",
                visible(nombre)
            ),
            Problema::MalValor {
                seccion,
                clave,
                valor,
                esperado,
            } => {
                let remedio = dudas::remedio(valor)
                    .map(|remedio| format!("; {remedio}"))
                    .unwrap_or_default();
                write!(
                    f,
                    "en «{ruta}», sección [{}], {} = «{}» no sirve; se esperaba: {esperado}{remedio}",
                    visible(seccion),
                    visible(clave),
                    visible(valor)
                )
            }
        }
    }
}

impl std::error::Error for ErrorDeConfiguracion {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problema {
            Problema::Ilegible(causa) | Problema::NoEscribible(causa) => Some(causa),
            _ => None,
        }
    }
}
