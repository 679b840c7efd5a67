//! Los últimos avisos y errores que se han dicho, para quien los pida. No sabe qué dicen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use log::Level;

use crate::cerrojo::tomar;
use crate::registro::linea::Linea;

/// Cuántos se recuerdan.
const CUANTOS: usize = 20;

/// Los últimos avisos y errores. Las copias son de los mismos.
#[derive(Debug, Clone, Default)]
pub struct Avisos(Arc<Mutex<VecDeque<Linea>>>);

impl Avisos {
    /// Los recuerda, salvo las filas de los mensajes: llevan su MSH-10.
    pub(super) fn recordar(&self, lineas: &[Linea]) {
        let avisos = lineas
            .iter()
            .filter(|linea| linea.nivel <= Level::Warn && linea.fila.is_none());
        for linea in avisos {
            let mut ultimos = tomar(&self.0);
            if ultimos.len() == CUANTOS {
                ultimos.pop_front();
            }
            ultimos.push_back(linea.clone());
        }
    }

    /// Del más viejo al más reciente.
    pub(crate) fn ultimos(&self) -> Vec<Linea> {
        let ultimos = tomar(&self.0);
        ultimos.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn se_recuerdan_los_ultimos_avisos_y_ninguna_fila() {
        let avisos = Avisos::default();
        let linea = |nivel, texto: &str, fila: Option<&str>| Linea {
            fila: fila.map(str::to_owned),
            ..Linea::ahora(nivel, texto.to_owned())
        };
        avisos.recordar(&[
            linea(Level::Info, "nada", None),
            linea(Level::Warn, "AR … MSH-10 «7»", Some("AR «7»")),
            linea(Level::Error, "primero", None),
        ]);
        assert_eq!(avisos.ultimos().len(), 1);
        for numero in 0..CUANTOS {
            avisos.recordar(&[linea(Level::Warn, &numero.to_string(), None)]);
        }
        let textos: Vec<_> = avisos.ultimos().into_iter().map(|d| d.texto).collect();
        assert_eq!(textos.len(), CUANTOS);
        assert_eq!((textos[0].as_str(), textos[19].as_str()), ("0", "19"));
    }
}
