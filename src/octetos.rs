//! Los bytes de control que se nombran. Qué significa cada uno lo sabe quien lo encuentra.

/// Comienzo de una trama STX … ETX, que algunos equipos usan en lugar de MLLP; suelto, un latido.
pub(crate) const STX: u8 = 0x02;
/// Fin de una trama STX … ETX.
pub(crate) const ETX: u8 = 0x03;
/// Fin de transmisión, que algunos equipos envían tras el ETX.
pub(crate) const EOT: u8 = 0x04;
/// Con lo que un equipo ASTM pide la palabra.
pub(crate) const ENQ: u8 = 0x05;
/// Acuse de entrega de MLLP 2, que va solo en su trama.
pub(crate) const ACK: u8 = 0x06;
/// Algunos equipos terminan sus segmentos con LF o con CR LF.
pub(crate) const LF: u8 = 0x0A;
/// Comienzo de una trama MLLP.
pub(crate) const VT: u8 = 0x0B;
/// Fin de segmento (HL7 v2, capítulo 2).
pub(crate) const CR: u8 = 0x0D;
/// Rechazo de entrega de MLLP 2.
pub(crate) const NAK: u8 = 0x15;
/// Fin de una trama MLLP, seguido de CR.
pub(crate) const FS: u8 = 0x1C;
