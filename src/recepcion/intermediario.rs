//! La cabecera PROXY con que un intermediario (HAProxy, stunnel) dice por quién habla, en sus dos
//! versiones.
//!
//! De la conexión solo lee la cabecera: lo que sigue es ya del equipo. No sabe quién es intermediario.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use proxy_header::{Error, ParseConfig, ProxyHeader};

use crate::causa::{self, se_agoto};
use crate::recepcion::presencia::{self, Presencia};

/// Cuánto se espera a tenerla entera.
const PLAZO: Duration = Duration::from_secs(5);
/// La versión 1 mide a lo sumo 107 bytes, y de eso cuida el crate; la 2 puede llevar certificados.
const MAX_BYTES: usize = 4096;
const MALFORMADA: &str = "empieza por otra cosa";
const TARDIA: &str = "no llegó en 5 s";

/// Lee la cabecera, y ni un byte más, y devuelve la dirección del equipo por el que habla el intermediario,
/// o la `propia` de este si habla por sí mismo; `None` si se fue sin decir nada, o nada por nadie: comprobaba
/// que se le atiende. Deja el canal sin plazo de lectura.
pub(super) fn leer_proxy(
    mut canal: &TcpStream,
    propia: SocketAddr,
) -> Result<Option<SocketAddr>, String> {
    let limite = Instant::now() + PLAZO;
    let mut cabecera = Vec::new();
    loop {
        // Un solo byte cada vez: no se sabe dónde acaba hasta que acaba.
        let mut octeto = [0];
        let resta = limite.saturating_duration_since(Instant::now());
        if resta.is_zero() {
            return Err(TARDIA.to_owned());
        }
        let leido = canal
            .set_read_timeout(Some(resta))
            .and_then(|()| canal.read(&mut octeto));
        match leido {
            Ok(1..) => cabecera.push(octeto[0]),
            Ok(0) if cabecera.is_empty() => return Ok(None),
            Ok(0) => return Err(MALFORMADA.to_owned()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if se_agoto(&error) => return Err(TARDIA.to_owned()),
            Err(_) if cabecera.is_empty() => return Ok(None),
            Err(error) => return Err(causa::explicar(&error)),
        }
        if let Some(origen) = interpretar(&cabecera, propia)? {
            // Un plazo de cero no lo admite el sistema.
            let resta = limite.saturating_duration_since(Instant::now());
            let plazo = resta.max(Duration::from_millis(1));
            if origen == propia && presencia::esperar(canal, plazo) == Presencia::SeFue {
                return Ok(None);
            }
            canal
                .set_read_timeout(None)
                .map_err(|error| causa::explicar(&error))?;
            return Ok(Some(origen));
        }
    }
}

/// De dónde es aquel por quien habla la cabecera; `None` si aún no está entera.
///
/// HAProxy comprueba con la versión 1 diciendo su propia dirección: también habla por sí mismo.
fn interpretar(cabecera: &[u8], propia: SocketAddr) -> Result<Option<SocketAddr>, String> {
    let formato = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(cabecera, formato) {
        Ok((leida, _)) => Ok(Some(match leida.proxied_address() {
            Some(direcciones) if direcciones.source.ip().to_canonical() != propia.ip() => {
                direcciones.source
            }
            _ => propia,
        })),
        Err(Error::BufferTooShort) if cabecera.len() < MAX_BYTES => Ok(None),
        Err(_) => Err(MALFORMADA.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRMA: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    const DIRECCIONES: &[u8] = &[192, 168, 1, 20, 192, 168, 1, 10, 0xC8, 0x22, 0x0A, 0x0F];

    /// Una cabecera de la versión 2: su orden, su familia, sus direcciones y lo que añada.
    fn segunda(orden: u8, familia: u8, direcciones: &[u8], anadido: usize) -> Vec<u8> {
        let longitud = u16::try_from(direcciones.len() + anadido).unwrap();
        let anadido = vec![0x04; anadido];
        [
            FIRMA,
            &[orden, familia],
            &longitud.to_be_bytes(),
            direcciones,
            &anadido,
        ]
        .concat()
    }

    const PROPIA: &str = "127.0.0.1:40000";

    /// Por quién habla, recibida byte a byte, y cuántos bytes hicieron falta para saberlo.
    fn recibir(bytes: &[u8]) -> (Option<SocketAddr>, usize) {
        for hasta in 1..=bytes.len() {
            match interpretar(&bytes[..hasta], PROPIA.parse().unwrap()) {
                Ok(None) => {}
                resultado => return (resultado.ok().flatten(), hasta),
            }
        }
        (None, bytes.len())
    }

    #[test]
    fn la_cabecera_de_las_dos_versiones_dice_por_quien_habla_y_acaba_en_su_ultimo_byte() {
        let seis = [[0x20; 16], [0x30; 16]].concat();
        #[rustfmt::skip]
        let cabeceras = [
            (b"PROXY TCP4 192.168.1.20 192.168.1.10 51234 2575\r\n".to_vec(), "192.168.1.20:51234"),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 9 2575\r\n".to_vec(), "[2001:db8::1]:9"),
            (b"PROXY UNKNOWN\r\n".to_vec(), PROPIA),
            (b"PROXY TCP4 127.0.0.1 127.0.0.1 9 2575\r\n".to_vec(), PROPIA),
            (b"PROXY TCP6 ::ffff:127.0.0.1 ::1 9 2575\r\n".to_vec(), PROPIA),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), PROPIA),
            (segunda(0x21, 0x11, DIRECCIONES, 0), "192.168.1.20:51234"),
            (segunda(0x21, 0x11, DIRECCIONES, 500), "192.168.1.20:51234"),
            (segunda(0x21, 0x21, &[&seis[..], &[0, 9, 0, 8]].concat(), 0), "[2020:2020:2020:2020:2020:2020:2020:2020]:9"),
            (segunda(0x20, 0x00, &[], 0), PROPIA),
            (segunda(0x20, 0x11, DIRECCIONES, 7), PROPIA),
            (segunda(0x21, 0x00, &[], 0), PROPIA),
        ];
        for (cabecera, origen) in cabeceras {
            let con_mensaje = [&cabecera[..], b"\x0BMSH|"].concat();
            let recibida = recibir(&con_mensaje);
            let esperada = (Some(origen.parse().unwrap()), cabecera.len());
            assert_eq!(recibida, esperada, "{}", cabecera.escape_ascii());
        }
    }

    #[test]
    fn lo_que_no_es_una_cabecera_se_sabe_pronto_y_nunca_crece_sin_fin() {
        #[rustfmt::skip]
        let otras = [
            (b"\x0BMSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.3.1\r".to_vec(), 1),
            (b"MSH|^~\\&|".to_vec(), 1),
            (b"PROXIMO mensaje de texto".to_vec(), 15),
            (b"PROXY TCP4 192.168.1.300 192.168.1.10 51234 2575\r\n".to_vec(), 107),
            (b"PROXY TCP4 ::1 ::2 51234 2575\r\n".to_vec(), 107),
            (b"PROXY TCP4 192.168.1.20 192.168.1.10 51234 2575\n\n".to_vec(), 107),
            ([&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(), 107),
            (b"\r\n\r\n\0\r\nQUIT\r\n\r\n\r\n".to_vec(), 16),
            (segunda(0x11, 0x11, DIRECCIONES, 0), 28),
            (segunda(0x21, 0x11, &DIRECCIONES[..8], 0), MAX_BYTES),
            (segunda(0x21, 0x11, DIRECCIONES, 60_000), MAX_BYTES),
        ];
        for (bytes, a_lo_sumo) in otras {
            let mucho_mas = [&bytes[..], &[b'x'; 2 * MAX_BYTES]].concat();
            let (resultado, leidos) = recibir(&mucho_mas);
            assert_eq!(resultado, None, "{}", bytes.escape_ascii());
            assert!(leidos <= a_lo_sumo, "{leidos} {}", bytes.escape_ascii());
        }
    }
}
