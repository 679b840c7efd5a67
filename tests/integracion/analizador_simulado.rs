use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::servidor_de_prueba::{PLAZO, esperar};

pub(crate) const VT: u8 = 0x0B;
pub(crate) const FS: u8 = 0x1C;

/// Un mensaje corto con ese MSH-10.
pub(crate) fn mensaje(id: &str) -> Vec<u8> {
    format!("MSH|^~\\&|EQUIPO|LAB|LIS|HOSP|20260912094501||ORU^R01|{id}|P|2.3.1\rPID|1||9\rOBX|1|NM|GLU||92\r")
        .into_bytes()
}

/// Un mensaje de unos `bytes` bytes con ese MSH-10.
pub(crate) fn mensaje_de(id: &str, bytes: usize) -> Vec<u8> {
    let mut mensaje = mensaje(id);
    while mensaje.len() < bytes {
        mensaje.extend_from_slice(b"OBX|2|ED|IMG||^^^Base64^");
        mensaje.extend((0..200).map(|n| b'A' + n % 26));
        mensaje.push(b'\r');
    }
    mensaje
}

pub(crate) fn enmarcar(mensaje: &[u8]) -> Vec<u8> {
    [&[VT], mensaje, &[FS, b'\r']].concat()
}

/// MSA-1 y MSA-2 de un acuse.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Acuse {
    pub(crate) codigo: String,
    pub(crate) id: Vec<u8>,
    pub(crate) con_trama: bool,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Analizador {
    pub(crate) canal: TcpStream,
    recibido: Vec<u8>,
}

impl Analizador {
    pub(crate) fn conectar(puerto: u16) -> Analizador {
        Analizador::con(TcpStream::connect(("127.0.0.1", puerto)).unwrap())
    }

    /// Uno que llama desde esa dirección de este PC.
    pub(crate) fn desde(ip: [u8; 4], puerto: u16) -> Analizador {
        let canal = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        canal.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        let servidor = SocketAddr::from((Ipv4Addr::LOCALHOST, puerto));
        canal.connect(&servidor.into()).unwrap();
        Analizador::con(canal.into())
    }

    /// Uno al que el servidor llama ahí: se espera su llamada.
    pub(crate) fn llamado(espera: &TcpListener) -> Analizador {
        espera.set_nonblocking(true).unwrap();
        let canal = esperar("la llamada del servidor", || match espera.accept() {
            Ok((canal, _)) => Some(canal),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        });
        // En Windows nace como el que espera.
        canal.set_nonblocking(false).unwrap();
        Analizador::con(canal)
    }

    /// Un equipo al otro lado de una conexión ya abierta.
    pub(crate) fn con(canal: TcpStream) -> Analizador {
        canal.set_nodelay(true).unwrap();
        canal.set_read_timeout(Some(PLAZO)).unwrap();
        Analizador {
            canal,
            recibido: Vec::new(),
        }
    }

    pub(crate) fn enviar(&mut self, bytes: &[u8]) {
        // Si el servidor ya cerró, se verá al leer.
        let _ = self.canal.write_all(bytes);
    }

    pub(crate) fn enviar_mensaje(&mut self, mensaje: &[u8]) {
        self.enviar(&enmarcar(mensaje));
    }

    /// Envía mensajes cuyos acuses son largos y no los lee, hasta que el servidor deja de leer porque
    /// no puede escribir: lo que cabe entre los dos está lleno.
    pub(crate) fn ensordecer(&mut self) {
        let trama = enmarcar(&mensaje(&"S".repeat(20_000)));
        self.canal
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        loop {
            match self.canal.write_all(&trama) {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return;
                }
                Err(error) => panic!("el servidor no esperó: {error}"),
            }
        }
    }

    /// La conexión acaba aquí con un RST en lugar de un FIN.
    pub(crate) fn cortar(self) {
        SockRef::from(&self.canal)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Envía y espera el AA de ese mensaje.
    pub(crate) fn entregar(&mut self, id: &str) {
        self.enviar_mensaje(&mensaje(id));
        self.esperar_aa(id);
    }

    pub(crate) fn esperar_aa(&mut self, id: &str) {
        let acuse = self.acuse();
        assert_eq!(
            (acuse.codigo.as_str(), acuse.id.as_slice()),
            ("AA", id.as_bytes())
        );
    }

    /// El próximo acuse, con trama o sin ella.
    pub(crate) fn acuse(&mut self) -> Acuse {
        self.si_acusa()
            .unwrap_or_else(|| panic!("sin acuse; recibido: {}", self.recibido.escape_ascii()))
    }

    /// El próximo acuse, o nada si el servidor cierra antes.
    pub(crate) fn si_acusa(&mut self) -> Option<Acuse> {
        loop {
            if let Some((acuse, resto)) = separar_acuse(&self.recibido) {
                self.recibido = resto;
                return Some(acuse);
            }
            let mut trozo = [0; 16_384];
            match self.canal.read(&mut trozo) {
                Ok(0) => return None,
                Ok(n) => self.recibido.extend_from_slice(&trozo[..n]),
                Err(error) if es_corte(&error) => return None,
                Err(error) => panic!(
                    "sin acuse: {error}; recibido: {}",
                    self.recibido.escape_ascii()
                ),
            }
        }
    }

    /// Espera el cierre del servidor; devuelve lo que llegara antes.
    pub(crate) fn esperar_cierre(&mut self) -> Vec<u8> {
        let mut resto = std::mem::take(&mut self.recibido);
        match self.canal.read_to_end(&mut resto) {
            Ok(_) => resto,
            Err(error) if es_corte(&error) => resto,
            Err(error) => panic!("no cerró: {error}"),
        }
    }

    /// No va a enviar más, pero sigue leyendo.
    pub(crate) fn dejar_de_enviar(&mut self) {
        self.canal.shutdown(Shutdown::Write).unwrap();
    }

    /// Lee exactamente esa cantidad de bytes.
    pub(crate) fn leer(&mut self, cuantos: usize) -> Vec<u8> {
        let mut bytes = vec![0; cuantos];
        let mut leidos = 0;
        while leidos < cuantos {
            match self.canal.read(&mut bytes[leidos..]) {
                Ok(n) if n > 0 => leidos += n,
                otro => panic!("{otro:?} tras {}", bytes[..leidos].escape_ascii()),
            }
        }
        bytes
    }
}

/// El servidor cerró sin leer todo lo enviado: según el sistema, un corte de uno u otro nombre.
fn es_corte(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

fn separar_acuse(recibido: &[u8]) -> Option<(Acuse, Vec<u8>)> {
    let con_trama = *recibido.first()? == VT;
    let (contenido, resto) = if con_trama {
        let fin = recibido.windows(2).position(|par| par == [FS, b'\r'])?;
        (&recibido[1..fin], &recibido[fin + 2..])
    } else {
        let segundo = recibido.iter().position(|octeto| *octeto == b'\r')? + 1;
        let fin = segundo
            + recibido[segundo..]
                .iter()
                .position(|octeto| *octeto == b'\r')?
            + 1;
        (&recibido[..fin], &recibido[fin..])
    };
    let separador = contenido[3];
    let msa = contenido.split(|octeto| *octeto == b'\r').nth(1).unwrap();
    let campos: Vec<_> = msa.split(|octeto| *octeto == separador).collect();
    assert_eq!(campos[0], b"MSA", "{}", contenido.escape_ascii());
    let codigo = String::from_utf8(campos[1].to_vec()).unwrap();
    let acuse = Acuse {
        codigo,
        id: campos[2].to_vec(),
        con_trama,
        bytes: contenido.to_vec(),
    };
    Some((acuse, resto.to_vec()))
}
