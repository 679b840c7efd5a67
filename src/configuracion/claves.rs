//! Las claves de una sección de Config.ini: sus valores con tipo, o en palabras por qué no sirven.
//!
//! No sabe qué claves hay.

use std::cell::RefCell;
use std::fmt;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};

use super::dudas::{self, parecido};
use super::ini::{CitasSinFin, Secciones, mismo_nombre};

/// Lo que está mal dentro del archivo: lo que se dice de él tras su nombre.
#[derive(Debug)]
pub(super) struct Problema(pub(super) String);

impl Problema {
    /// Algo está mal en esa sección.
    pub(super) fn en(seccion: &str, que: impl fmt::Display) -> Problema {
        Problema(format!(", sección [{}], {que}", visible(seccion)))
    }

    /// Ese valor no es lo que se esperaba.
    pub(super) fn mal_valor(seccion: &str, clave: &str, valor: &str, esperado: &str) -> Problema {
        let remedio = dudas::remedio(valor).map(|remedio| format!("; {remedio}"));
        Problema::en(
            seccion,
            format!(
                "{} = «{}» no sirve; se esperaba: {esperado}{}",
                visible(clave),
                visible(valor),
                remedio.unwrap_or_default()
            ),
        )
    }
}

/// Lo escrito en el archivo, en una línea y sin caracteres que la consola obedezca.
pub(super) fn visible(texto: &str) -> String {
    texto.replace(char::is_control, "\u{FFFD}")
}

/// El valor de una clave, con lo que cita de otras.
pub(super) fn valor_citado(
    secciones: &Secciones,
    seccion: &str,
    clave: &str,
) -> Result<Option<String>, Problema> {
    secciones.valor(seccion, clave).map_err(|CitasSinFin| {
        let clave = visible(clave);
        Problema::en(
            seccion,
            format!(
                "el valor de {clave} cita a otros con %(…)s sin acabar nunca; escríbalo entero"
            ),
        )
    })
}

/// Las claves de una sección. Recuerda las que se le piden: las demás sobran.
pub(super) struct Claves<'a> {
    secciones: &'a Secciones,
    pub(super) seccion: &'a str,
    /// La sección que dice lo que esta no dice.
    pub(super) respaldo: Option<&'static str>,
    pedidas: RefCell<Vec<&'static str>>,
    pub(super) dudas: RefCell<Vec<String>>,
}

impl<'a> Claves<'a> {
    pub(super) fn de(
        secciones: &'a Secciones,
        seccion: &'a str,
        respaldo: Option<&'static str>,
    ) -> Claves<'a> {
        Claves {
            secciones,
            seccion,
            respaldo,
            pedidas: RefCell::default(),
            dudas: RefCell::default(),
        }
    }

    pub(super) fn se_pide(&self, clave: &str) -> bool {
        let pedidas = self.pedidas.borrow();
        pedidas.iter().any(|pedida| mismo_nombre(pedida, clave))
    }

    /// Las que están escritas en la sección y se han pedido, con su valor.
    pub(super) fn escritas(&self) -> Vec<(String, String)> {
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
    pub(super) fn no_pedidas(&self) -> impl Iterator<Item = (&str, &str)> {
        let claves = self.secciones.claves(self.seccion).into_iter();
        claves.filter(|(clave, _)| !self.se_pide(clave) && !self.secciones.se_cita(clave))
    }

    pub(super) fn valor(&self, clave: &'static str) -> Result<Option<String>, Problema> {
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
    pub(super) fn dudar(&self, clave: &str, valor: &str, duda: &str) {
        let (seccion, valor) = (visible(self.seccion), visible(valor));
        let duda = format!("{clave} de [{seccion}] es «{valor}»: {duda}");
        self.dudas.borrow_mut().push(duda);
    }

    pub(super) fn obligatorio<T>(
        &self,
        clave: &'static str,
        leer: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Problema> {
        let Some(valor) = self.valor(clave)? else {
            let que = match self.en_su_lugar(clave) {
                Some(otra) => {
                    format!("falta la clave {clave}; ¿es {otra}? Corríjala o cámbiela de sitio")
                }
                None => format!("falta la clave {clave}; añada una línea {clave} = valor"),
            };
            return Err(Problema::en(self.seccion, que));
        };
        leer(&valor).map_err(|esperado| Problema::mal_valor(self.seccion, clave, &valor, &esperado))
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
    pub(super) fn opcional<T>(
        &self,
        clave: &'static str,
        omision: T,
        leer: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Problema> {
        match self.valor(clave)?.filter(|valor| !valor.is_empty()) {
            None => Ok(omision),
            Some(valor) => leer(&valor)
                .map_err(|esperado| Problema::mal_valor(self.seccion, clave, &valor, &esperado)),
        }
    }

    /// La ruta de una carpeta, contada desde la de Config.ini.
    pub(super) fn carpeta(&self, clave: &str, valor: &str, base: &Path) -> Result<PathBuf, String> {
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

    pub(super) fn numero(
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
    pub(super) fn opcion<T: Copy>(
        &self,
        clave: &'static str,
        opciones: &[(&str, T)],
    ) -> Result<T, Problema> {
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
