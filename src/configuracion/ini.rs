//! El formato INI con las reglas del configparser de Python: secciones, claves y valores.
//!
//! No sabe qué secciones ni qué claves hay, ni qué valores sirven.

use std::collections::HashSet;

use configparser::ini::{Ini, IniDefault};

/// Donde el configparser de Python busca las claves que faltan en una sección.
pub(crate) const SECCION_COMUN: &str = "DEFAULT";
/// Cuántas citas puede haber detrás de un valor, entre todas: con más, los valores se citan en redondo
/// o crecen sin fin.
const MAX_CITAS: usize = 100;
/// Cuánto se muestra de una línea que no se entiende.
const LINEA_VISIBLE: usize = 40;
const COMENTARIOS: [char; 2] = ['#', ';'];
const SEPARADORES: [char; 2] = ['=', ':'];

/// Un archivo INI leído. Los nombres se conservan como están escritos y se buscan con
/// [`mismo_nombre`].
#[derive(Debug)]
pub(crate) struct Secciones(Ini);

/// El archivo no se puede leer como INI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ErrorDeIni {
    /// Una línea no se entiende: cuál y qué le falta.
    Malformado(String),
    /// Una sección o una clave está dos veces; la línea es la de la segunda.
    Repetido { nombre: String, linea: usize },
}

/// Un valor cita a otros, y estos a otros, sin que se acabe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CitasSinFin;

impl Secciones {
    /// Lee el contenido de un archivo. El Bloc de notas escribe UTF-8 con o sin BOM, UTF-16 con
    /// BOM («Unicode» y «Unicode big endian») o ANSI, que en español es Windows-1252.
    pub(crate) fn leer(bytes: &[u8]) -> Result<Secciones, ErrorDeIni> {
        let mut formato = IniDefault::default();
        formato.comment_symbols = COMENTARIOS.to_vec();
        formato.delimiters = SEPARADORES.to_vec();
        formato.multiline = true;
        // Una ruta puede contener # o ;.
        formato.enable_inline_comments = false;
        formato.case_sensitive = true;
        let mut ini = Ini::new_from_defaults(formato);
        // En Python un CR suelto también acaba una línea.
        let texto = decodificar(bytes).replace("\r\n", "\n").replace('\r', "\n");
        ini.read(texto.clone())
            .map_err(|detalle| ErrorDeIni::Malformado(en_espanol(&detalle)))?;
        revisar_lineas(&texto)?;
        Ok(Secciones(ini))
    }

    /// Los nombres de las secciones, salvo la común.
    pub(crate) fn nombres(&self) -> impl Iterator<Item = &str> {
        let nombres = self.0.get_map_ref().keys().map(String::as_str);
        nombres.filter(|nombre| !mismo_nombre(nombre, SECCION_COMUN))
    }

    /// Las claves de una sección y sus valores tal como están escritos, por orden de nombre.
    pub(crate) fn claves(&self, seccion: &str) -> Vec<(&str, &str)> {
        let secciones = self.0.get_map_ref().iter();
        let halladas = secciones.filter(|(nombre, _)| mismo_nombre(nombre, seccion));
        let mut claves: Vec<_> = halladas
            .flat_map(|(_, claves)| claves)
            .map(|(clave, valor)| (clave.as_str(), valor.as_deref().unwrap_or_default().trim()))
            .collect();
        claves.sort_unstable();
        claves
    }

    /// El valor de una clave, de la sección o de la común: `%(Clave)s` es el valor de otra, y `%%`
    /// un `%`.
    pub(crate) fn valor(&self, seccion: &str, clave: &str) -> Result<Option<String>, CitasSinFin> {
        let Some(texto) = self.literal(seccion, clave) else {
            return Ok(None);
        };
        let mut quedan = MAX_CITAS;
        self.interpolar(seccion, texto, &mut quedan).map(Some)
    }

    /// Si algún valor cita a esa clave.
    pub(crate) fn se_cita(&self, clave: &str) -> bool {
        let cita = normalizar(&format!("%({clave})s"));
        let claves = self.0.get_map_ref().values().flatten();
        let mut valores = claves.filter_map(|(_, valor)| valor.as_deref());
        valores.any(|valor| normalizar(valor).contains(&cita))
    }

    fn literal(&self, seccion: &str, clave: &str) -> Option<&str> {
        let en = |buscada| {
            let secciones = self.0.get_map_ref().iter();
            let halladas = secciones.filter(|(nombre, _)| mismo_nombre(nombre, buscada));
            let mut claves = halladas.flat_map(|(_, claves)| claves);
            claves.find(|(nombre, _)| mismo_nombre(nombre, clave))
        };
        let (_, valor) = en(seccion).or_else(|| en(SECCION_COMUN))?;
        Some(valor.as_deref().unwrap_or_default().trim())
    }

    /// `quedan` son las citas que aún caben.
    fn interpolar(
        &self,
        seccion: &str,
        texto: &str,
        quedan: &mut usize,
    ) -> Result<String, CitasSinFin> {
        let mut escrito = String::new();
        let mut resto = texto;
        while let Some((antes, despues)) = resto.split_once('%') {
            escrito.push_str(antes);
            if let Some((valor, siguiente)) = self.citado(seccion, despues) {
                *quedan = quedan.checked_sub(1).ok_or(CitasSinFin)?;
                escrito.push_str(&self.interpolar(seccion, valor, quedan)?);
                resto = siguiente;
            } else {
                escrito.push('%');
                resto = despues.strip_prefix('%').unwrap_or(despues);
            }
        }
        escrito.push_str(resto);
        Ok(escrito)
    }

    /// El valor que cita `(Clave)s`, y lo que sigue.
    fn citado<'a>(&'a self, seccion: &str, texto: &'a str) -> Option<(&'a str, &'a str)> {
        let (clave, resto) = texto.strip_prefix('(')?.split_once(")s")?;
        Some((self.literal(seccion, clave)?, resto))
    }
}

/// Si dos nombres valen como uno: no cuentan las mayúsculas ni los acentos.
pub(crate) fn mismo_nombre(uno: &str, otro: &str) -> bool {
    normalizar(uno) == normalizar(otro)
}

/// La ñ no lleva acento: es otra letra.
fn normalizar(nombre: &str) -> String {
    let sin_acento = |letra| match letra {
        'á' => 'a',
        'é' => 'e',
        'í' => 'i',
        'ó' => 'o',
        'ú' | 'ü' => 'u',
        _ => letra,
    };
    nombre.to_lowercase().chars().map(sin_acento).collect()
}

/// El lector dice en inglés el número de la línea y si le falta el ] o la clave.
fn en_espanol(detalle: &str) -> String {
    let mut numeros = detalle.split(|letra: char| !letra.is_ascii_digit());
    let linea = numeros.find(|numero| !numero.is_empty()).unwrap_or("?");
    let falta = if detalle.contains("bracket") {
        "el ]"
    } else {
        "la clave"
    };
    format!("línea {linea}: falta {falta}")
}

/// Lo que el lector pasa por alto y el configparser de Python no: lo que está dos veces, una línea sin
/// `=` y lo que va antes de la primera sección. Esto recorre las líneas con sus reglas; como en
/// Python, la sección común sí puede abrirse dos veces.
fn revisar_lineas(texto: &str) -> Result<(), ErrorDeIni> {
    let mut vistos = HashSet::new();
    let mut seccion = None;
    let mut sangria_de_la_clave = usize::MAX;
    for (linea, cruda) in (1..).zip(texto.lines()) {
        let limpia = cruda.trim();
        let sangria = cruda.len() - cruda.trim_start().len();
        if limpia.is_empty() || limpia.starts_with(COMENTARIOS) {
            continue;
        }
        let (nombre, es_nuevo) = if let Some(abierta) = limpia.strip_prefix('[') {
            let nombre = abierta.rsplit_once(']').unwrap_or((abierta, "")).0.trim();
            seccion = Some(normalizar(nombre));
            sangria_de_la_clave = usize::MAX;
            let es_nuevo = vistos.insert((normalizar(nombre), None));
            (nombre, es_nuevo || mismo_nombre(nombre, SECCION_COMUN))
        } else if sangria > sangria_de_la_clave {
            // Sigue el valor de la clave anterior.
            continue;
        } else {
            let Some(seccion) = &seccion else {
                let falta = "está antes de la primera [Sección]; ponga encima la línea [Servidor]";
                return Err(malformada(linea, limpia, falta));
            };
            let Some((nombre, _)) = limpia.split_once(SEPARADORES) else {
                return Err(malformada(linea, limpia, "no lleva ="));
            };
            sangria_de_la_clave = sangria;
            let clave = Some(normalizar(nombre.trim()));
            (nombre.trim(), vistos.insert((seccion.clone(), clave)))
        };
        if !es_nuevo {
            let nombre = nombre.to_owned();
            return Err(ErrorDeIni::Repetido { nombre, linea });
        }
    }
    Ok(())
}

fn malformada(numero: usize, linea: &str, falta: &str) -> ErrorDeIni {
    let mut visible: String = linea.chars().take(LINEA_VISIBLE).collect();
    if visible.len() < linea.len() {
        visible.push('…');
    }
    ErrorDeIni::Malformado(format!("línea {numero}: «{visible}» {falta}"))
}

fn decodificar(bytes: &[u8]) -> String {
    let de_utf16 = |bytes: &[u8], unidad: fn([u8; 2]) -> u16| {
        let pares = bytes.chunks_exact(2);
        let unidades: Vec<_> = pares.map(|par| unidad([par[0], par[1]])).collect();
        String::from_utf16_lossy(&unidades)
    };
    if let Some(utf16) = bytes.strip_prefix(b"\xFF\xFE") {
        return de_utf16(utf16, u16::from_le_bytes);
    }
    if let Some(utf16) = bytes.strip_prefix(b"\xFE\xFF") {
        return de_utf16(utf16, u16::from_be_bytes);
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(texto) => texto.to_owned(),
        Err(_) => bytes.iter().copied().map(de_ansi).collect(),
    }
}

/// Las letras de 0x80 a 0x9F en ANSI (Windows-1252), que en Latin-1 son de control; las que Windows
/// deja sin definir valen como en Latin-1.
const DE_ANSI: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

fn de_ansi(octeto: u8) -> char {
    match octeto {
        0x80..=0x9F => DE_ANSI[usize::from(octeto - 0x80)],
        _ => char::from(octeto),
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
        ] {
            let secciones = Secciones::leer(texto.as_bytes()).ok().unwrap();
            assert_eq!(
                secciones.valor("S", "c"),
                Ok(Some(esperado.to_owned())),
                "{texto}"
            );
        }
    }

    #[test]
    fn un_cr_suelto_tambien_acaba_una_linea() {
        for fin in ["\n", "\r\n", "\r"] {
            let texto = format!("[Servidor]{fin}Puerto = 2575{fin}Directorio = m{fin}");
            let secciones = Secciones::leer(texto.as_bytes()).unwrap();
            let valor = |clave| secciones.valor("Servidor", clave).unwrap();
            assert_eq!(valor("Puerto").as_deref(), Some("2575"));
            assert_eq!(valor("Directorio").as_deref(), Some("m"));
        }
    }

    #[test]
    fn ansi_es_windows_1252() {
        let leido = Secciones::leer(b"[S]\nc = D:\\a\xF1o \x80 \x93a\x96b\x94").ok();
        let valor = leido.unwrap().valor("S", "c");
        assert_eq!(valor, Ok(Some("D:\\año € “a–b”".to_owned())));
    }

    #[test]
    fn los_valores_que_se_citan_sin_fin_se_rechazan_sin_calcularlos() {
        let muchas_veces = "%(d0)s".repeat(MAX_CITAS + 1);
        // Cada una dobla la anterior: calcularlo daría 2^60 letras.
        let doblar = |n| format!("d{n} = %(d{0})s%(d{0})s\n", n + 1);
        let que_doblan = (0..60).map(doblar).collect::<Vec<_>>().concat();
        for texto in [
            "c = %(c)s",
            "c = a%(d)s\nd = b%(C)s",
            &format!("c = {muchas_veces}\nd0 = x"),
            &format!("c = %(d0)s\n{que_doblan}d60 = x"),
        ] {
            let secciones = Secciones::leer(format!("[S]\n{texto}").as_bytes()).unwrap();
            assert_eq!(secciones.valor("S", "c"), Err(CitasSinFin), "{texto}");
        }
    }

    #[test]
    fn una_clave_o_una_seccion_dos_veces_es_un_error_con_la_linea_de_la_segunda() {
        for (texto, nombre, linea) in [
            ("[S]\nc = 1\nc = 2", "c", 3),
            ("[S]\nc = 1\nC: 2", "C", 3),
            ("[S]\ndirección = 1\n# c\n\nDIRECCION = 2", "DIRECCION", 5),
            ("[S]\n  c = 1\n c = 2\n", "c", 3),
            ("[S]\nc = 1\n[T]\n[S]\nd = 2", "S", 4),
            ("[S]\nc = 1\n  [ s ] ", "s", 3),
            ("[DEFAULT]\nc = 1\n[default]\nc = 2", "c", 4),
        ] {
            let leido = Secciones::leer(texto.as_bytes()).map(|_| ());
            assert_eq!(
                leido,
                Err(ErrorDeIni::Repetido {
                    nombre: nombre.to_owned(),
                    linea
                }),
                "{texto}"
            );
        }
    }

    #[test]
    fn lo_que_solo_parece_estar_dos_veces_se_lee() {
        for texto in [
            "[S]\nc = 1\n[T]\nc = 2",
            "[DEFAULT]\nc = 1\n[S]\nc = 2",
            "[DEFAULT]\nc = 1\n[S]\n[DEFAULT]\nd = 2",
            "[S]\nc = 1\n  c = 2",
            "[S]\nc = 1\n\n  # c = 2\n  c = 2\n  c = 3",
            "[S]\nc = 1\n;c = 2\n#[S]",
            "[S]\nc = d\nd = c",
            "[S]\nPeña = 1\nPena = 2",
        ] {
            let leido = Secciones::leer(texto.as_bytes()).map(|_| ());
            assert_eq!(leido, Ok(()), "{texto}");
        }
    }
}
