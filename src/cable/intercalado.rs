//! Los textos que no son HL7 y que se repiten entre los mensajes de una conexión.
//!
//! Un convertidor de serie a red se presenta al conectar, late mientras nadie envía y puede poner un
//! prefijo delante de cada bloque. Aquí se recuerdan sus textos para reconocerlos cuando vuelven. No
//! sabe dónde empieza un mensaje.

use crate::hl7::comienzo::{Comienzo, es_relleno};

/// Lo más largo que se toma por uno de esos textos.
pub(super) const TEXTO_BYTES: usize = 64;
/// Uno más corto podría ser el comienzo de cualquier cosa.
pub(super) const TEXTO_MINIMO_BYTES: usize = 4;
/// Cuántos se recuerdan: el registro, el latido y el prefijo, y uno más.
const RECORDADOS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Intercalados {
    /// El último, desde su primer byte de texto; vacío si es demasiado largo.
    actual: Vec<u8>,
    demasiado_largo: bool,
    /// Si ya acabó, en una pausa: el que llegue será otro.
    acabado: bool,
    /// Si alguno de los que acabaron se conocía.
    conocido: bool,
    recordados: Vec<Recordado>,
    /// La última cola apartada desde que empezó el último mensaje.
    cola: Vec<u8>,
    /// Cuánto medía el último prefijo; cero si no hubo ninguno. El de cada bloque puede ser otro.
    prefijo: usize,
}

#[derive(Debug)]
struct Recordado {
    texto: Vec<u8>,
    /// Si solo ha venido como cola de un mensaje: puede ser la última línea de todos sus informes.
    solo_cola: bool,
}

impl Intercalados {
    /// Llegó otro byte de ruido.
    pub(super) fn anotar(&mut self, octeto: u8) {
        if self.acabado && es_texto(octeto) {
            self.actual.clear();
            self.acabado = false;
        }
        if self.demasiado_largo || (self.actual.is_empty() && !es_texto(octeto)) {
            return;
        }
        self.actual.push(octeto);
        if self.actual.len() > TEXTO_BYTES {
            self.actual.clear();
            self.demasiado_largo = true;
        }
    }

    /// El ruido acabó en un silencio o en un mensaje. Dice si trajo un texto ya conocido.
    pub(super) fn concluir(&mut self) -> bool {
        self.pausar();
        self.actual.clear();
        self.acabado = false;
        std::mem::take(&mut self.conocido)
    }

    /// Hubo una pausa: lo que llegue no es del mismo texto, aunque aún puede ser de su línea.
    pub(super) fn pausar(&mut self) {
        self.demasiado_largo = false;
        if self.acabado || self.actual.is_empty() {
            return;
        }
        let actual = std::mem::take(&mut self.actual);
        let texto = sin_blancos_finales(&actual);
        let mut recordados = self.recordados.iter();
        self.conocido |= texto == self.cola || recordados.any(|recordado| recordado.texto == texto);
        self.recordar(texto);
        (self.actual, self.acabado) = (actual, true);
    }

    /// Recuerda el texto, si es de la longitud de uno de estos.
    pub(super) fn recordar(&mut self, texto: &[u8]) {
        self.recordar_como(texto, false);
    }

    fn recordar_como(&mut self, texto: &[u8], solo_cola: bool) {
        let mut iguales = self.recordados.iter_mut();
        if let Some(recordado) = iguales.find(|recordado| recordado.texto == texto) {
            recordado.solo_cola &= solo_cola;
        } else if (TEXTO_MINIMO_BYTES..=TEXTO_BYTES).contains(&texto.len()) {
            self.recordados.truncate(RECORDADOS - 1);
            let texto = texto.to_vec();
            self.recordados.insert(0, Recordado { texto, solo_cola });
        }
    }

    /// Una cola que se apartó. Con un separador de campos, repetida puede ser el final de otro
    /// mensaje igual, así que solo se recuerda hasta que empiece uno.
    pub(super) fn recordar_cola(&mut self, cola: &[u8], separador: u8) {
        let texto = sin_blancos_finales(cola);
        if texto.contains(&separador) {
            self.cola = texto[..texto.len().min(TEXTO_BYTES + 1)].to_vec();
        } else {
            self.recordar_como(texto, true);
        }
    }

    /// Empieza un mensaje: su cola no será la del anterior.
    pub(super) fn olvidar_cola(&mut self) {
        self.cola.clear();
    }

    /// Si está llegando uno.
    pub(super) fn hay_actual(&self) -> bool {
        self.demasiado_largo || !self.actual.is_empty()
    }

    /// Si el ruido que está llegando acaba en un texto, sin blancos ni fin de línea.
    pub(super) fn acaba_en_texto(&self) -> bool {
        self.actual.last().is_some_and(|octeto| es_texto(*octeto))
    }

    /// El ruido que está llegando es el prefijo de un mensaje.
    pub(super) fn recordar_prefijo(&mut self) {
        self.prefijo = self.actual.len();
    }

    /// Si un texto que mide eso puede ser un prefijo, como los que ya hubo.
    pub(super) fn mide_un_prefijo(&self, cuantos: usize) -> bool {
        cuantos > 0 && cuantos == self.prefijo
    }

    /// Si en esta conexión ya ha llegado alguno.
    pub(super) fn hay(&self) -> bool {
        self.recordados.iter().any(|recordado| !recordado.solo_cola)
    }

    /// Lo mismo que [`Intercalados::al_comienzo`] dentro de un mensaje, donde un texto con su
    /// separador de campos, o que solo ha venido como cola, es suyo.
    pub(super) fn en_mensaje(&self, bytes: &[u8], separador: u8) -> (Comienzo, usize) {
        let ajenos = self
            .recordados
            .iter()
            .filter(|recordado| !recordado.solo_cola && !recordado.texto.contains(&separador))
            .map(|recordado| &recordado.texto);
        buscar(ajenos, bytes)
    }

    /// Si los bytes comienzan por un texto conocido, y cuánto mide.
    pub(super) fn al_comienzo(&self, bytes: &[u8]) -> (Comienzo, usize) {
        let cola = (TEXTO_MINIMO_BYTES..=TEXTO_BYTES)
            .contains(&self.cola.len())
            .then_some(&self.cola);
        let recordados = self.recordados.iter().map(|recordado| &recordado.texto);
        buscar(recordados.chain(cola), bytes)
    }
}

fn buscar<'a>(conocidos: impl Iterator<Item = &'a Vec<u8>>, bytes: &[u8]) -> (Comienzo, usize) {
    let mut hallado = (Comienzo::No, 0);
    for texto in conocidos {
        if bytes.starts_with(texto) {
            return (Comienzo::Si, texto.len());
        }
        if texto.starts_with(bytes) {
            hallado = (Comienzo::Faltan, bytes.len());
        }
    }
    hallado
}

/// Si el byte se escribe: ni de control, ni blanco, ni de un BOM.
pub(super) fn es_texto(octeto: u8) -> bool {
    (octeto.is_ascii_graphic() || !octeto.is_ascii()) && !es_relleno(octeto)
}

fn sin_blancos_finales(texto: &[u8]) -> &[u8] {
    let util = texto.iter().rposition(|octeto| es_texto(*octeto));
    &texto[..util.map_or(0, |ultimo| ultimo + 1)]
}
