//! El formato INI con las reglas del configparser de Python: secciones, claves y valores.
//!
//! No sabe qué secciones ni qué claves hay, ni qué valores sirven.

use std::collections::HashSet;

use configparser::ini::{Ini, IniDefault};

/// Donde el configparser de Python busca las claves que faltan en una sección.
const SECCION_COMUN: &str = "DEFAULT";
/// Cuántas veces puede un valor nombrar a otro.
const MAX_INTERPOLACIONES: usize = 10;

/// Un archivo INI leído. Los nombres conservan sus mayúsculas y se buscan sin ellas.
pub(crate) struct Secciones(Ini);

/// El archivo no se puede leer como INI.
#[derive(Debug)]
pub(crate) enum ErrorDeIni {
    /// Una línea no se entiende; el detalle, como lo da el lector.
    Malformado(String),
    /// Una sección o una clave está dos veces con distintas mayúsculas.
    Repetido(String),
}

impl Secciones {
    /// Lee el contenido de un archivo. El Bloc de notas escribe UTF-8 con o sin BOM, UTF-16 con
    /// BOM («Unicode») o ANSI, que en nuestras letras coincide con Latin-1.
    pub(crate) fn leer(bytes: &[u8]) -> Result<Secciones, ErrorDeIni> {
        let mut formato = IniDefault::default();
        formato.comment_symbols = vec!['#', ';'];
        formato.delimiters = vec!['=', ':'];
        formato.multiline = true;
        // Una ruta puede contener # o ;.
        formato.enable_inline_comments = false;
        formato.case_sensitive = true;
        let mut ini = Ini::new_from_defaults(formato);
        ini.read(decodificar(bytes))
            .map_err(ErrorDeIni::Malformado)?;
        let secciones = Secciones(ini);
        // Se acepta cualquier combinación de mayúsculas: dos iguales no dirían cuál vale.
        repetido(secciones.nombres()).map_err(ErrorDeIni::Repetido)?;
        for seccion in secciones.nombres() {
            let claves = secciones.claves(seccion);
            repetido(claves.iter().map(|(clave, _)| *clave)).map_err(ErrorDeIni::Repetido)?;
        }
        Ok(secciones)
    }

    /// Los nombres de las secciones, salvo la común.
    pub(crate) fn nombres(&self) -> impl Iterator<Item = &str> {
        let nombres = self.0.get_map_ref().keys().map(String::as_str);
        nombres.filter(|nombre| !nombre.eq_ignore_ascii_case(SECCION_COMUN))
    }

    /// Las claves de una sección y sus valores tal como están escritos, por orden de nombre.
    pub(crate) fn claves(&self, seccion: &str) -> Vec<(&str, &str)> {
        let secciones = self.0.get_map_ref().iter();
        let halladas = secciones.filter(|(nombre, _)| nombre.eq_ignore_ascii_case(seccion));
        let mut claves: Vec<_> = halladas
            .flat_map(|(_, claves)| claves)
            .map(|(clave, valor)| (clave.as_str(), valor.as_deref().unwrap_or_default().trim()))
            .collect();
        claves.sort_unstable();
        claves
    }

    /// El valor de una clave, de la sección o de la común: `%(Clave)s` es el valor de otra, y `%%`
    /// un `%`.
    pub(crate) fn valor(&self, seccion: &str, clave: &str) -> Option<String> {
        let texto = self.literal(seccion, clave)?;
        Some(self.interpolar(seccion, texto, MAX_INTERPOLACIONES))
    }

    fn literal(&self, seccion: &str, clave: &str) -> Option<&str> {
        let mut candidatas = self.claves(seccion);
        candidatas.extend(self.claves(SECCION_COMUN));
        let hallada = candidatas
            .into_iter()
            .find(|(nombre, _)| nombre.eq_ignore_ascii_case(clave));
        hallada.map(|(_, valor)| valor)
    }

    fn interpolar(&self, seccion: &str, texto: &str, veces: usize) -> String {
        let Some((antes, despues)) = texto.split_once('%') else {
            return texto.to_owned();
        };
        let (sustituto, resto) = if let Some(resto) = despues.strip_prefix('%') {
            ("%".to_owned(), resto)
        } else if let Some((valor, resto)) = self.citado(seccion, despues).filter(|_| veces > 0) {
            (self.interpolar(seccion, valor, veces - 1), resto)
        } else {
            ("%".to_owned(), despues)
        };
        format!(
            "{antes}{sustituto}{}",
            self.interpolar(seccion, resto, veces)
        )
    }

    /// El valor que cita `(Clave)s`, y lo que sigue.
    fn citado<'a>(&'a self, seccion: &str, texto: &'a str) -> Option<(&'a str, &'a str)> {
        let (clave, resto) = texto.strip_prefix('(')?.split_once(")s")?;
        Some((self.literal(seccion, clave)?, resto))
    }
}

/// `Err` con el primer nombre que está dos veces, sin distinguir mayúsculas.
fn repetido<'a>(nombres: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut vistos = HashSet::new();
    for nombre in nombres {
        if !vistos.insert(nombre.to_lowercase()) {
            return Err(nombre.to_owned());
        }
    }
    Ok(())
}

fn decodificar(bytes: &[u8]) -> String {
    if let Some(utf16) = bytes.strip_prefix(b"\xFF\xFE") {
        let pares = utf16.chunks_exact(2);
        let unidades: Vec<_> = pares
            .map(|par| u16::from_le_bytes([par[0], par[1]]))
            .collect();
        return String::from_utf16_lossy(&unidades);
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(texto) => texto.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn los_valores_son_los_que_da_el_configparser_de_python() {
        for (texto, esperado) in [
            ("[S]\nc = v", "v"),
            ("[S]\nC: v", "v"),
            ("[S]\n c =  v  ", "v"),
            ("[S]\nc =\n  v", "v"),
            ("[S]\nc = a # b ; c", "a # b ; c"),
            ("[S]\nc = a=b:c", "a=b:c"),
            ("[S]\nc = al 100%%", "al 100%"),
            ("[S]\nc = %(d)s/x\nd = w", "w/x"),
            ("[S]\nc = %(D)s\nd = %(e)s\ne = u", "u"),
            ("[S]\nc = a%%(d)s\nd = w", "a%(d)s"),
            ("[DEFAULT]\nd = w\n[S]\nc = %(d)s", "w"),
            ("[DEFAULT]\nc = w\n[S]\n", "w"),
            ("[S]\nc = a % b %(nada)s", "a % b %(nada)s"),
            ("[S]\nc = %(c)s", "%(c)s"),
        ] {
            let secciones = Secciones::leer(texto.as_bytes()).ok().unwrap();
            assert_eq!(
                secciones.valor("S", "c").as_deref(),
                Some(esperado),
                "{texto}"
            );
        }
    }

    #[test]
    fn lo_que_esta_dos_veces_con_distintas_mayusculas_es_un_error() {
        for texto in ["[S]\nc = 1\nC = 2", "[S]\nc = 1\n[s]\nd = 2"] {
            assert!(matches!(
                Secciones::leer(texto.as_bytes()),
                Err(ErrorDeIni::Repetido(_))
            ));
        }
    }
}
