//! Por qué unos bytes no llegaron a ser un mensaje: la extensión de su archivo en `apartados`. No sabe quién
//! los envió, ni qué se le contestó.

/// Por qué se aparta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apartado {
    /// No es HL7: no tiene MSH.
    NoHl7,
    /// El comienzo de un mensaje que pasa de MaxMensajeMiB.
    Excesivo,
    /// Un acuse, que no se contesta.
    Respuesta,
    /// El equipo cerró la conexión a mitad de una trama.
    Cortado,
    /// El equipo calló a mitad de una trama.
    Abandonado,
    /// El equipo empezó otra trama sin terminar esta.
    Reiniciado,
    /// El resto de un mensaje que ya se había dado por acabado.
    Cola,
    /// Quedó a medias en una caída.
    Parcial,
    /// Un mensaje que ya estaba guardado y llegó otra vez, con Repetidos = apartar.
    Repetido,
}

impl Apartado {
    /// Todos.
    pub const TODOS: [Apartado; 9] = [
        Apartado::NoHl7,
        Apartado::Excesivo,
        Apartado::Respuesta,
        Apartado::Cortado,
        Apartado::Abandonado,
        Apartado::Reiniciado,
        Apartado::Cola,
        Apartado::Repetido,
        Apartado::Parcial,
    ];

    /// La extensión de su archivo, sin el punto.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Apartado::NoHl7 => "no_hl7",
            Apartado::Excesivo => "excesivo",
            Apartado::Respuesta => "respuesta",
            Apartado::Cortado => "cortado",
            Apartado::Abandonado => "abandonado",
            Apartado::Reiniciado => "reiniciado",
            Apartado::Cola => "cola",
            Apartado::Parcial => "parcial",
            Apartado::Repetido => "repetido",
        }
    }
}
