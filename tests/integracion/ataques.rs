//! Los ataques a lo que nadie puede acaparar, para las pruebas y para el banco de rendimiento: no saben
//! qué se mide mientras duran.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// De dónde vienen los ataques: los equipos buenos son de otra dirección.
const ATACANTE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Solo lo agota un servidor que no contesta.
const PLAZO: Duration = Duration::from_mins(1);

/// Un mensaje corto con su VT y sin su final.
const MENSAJE: &[u8] =
    b"\x0BMSH|^~\\&|MALO|LAB|LIS|HOSP|20260912094501||ORU^R01|1|P|2.3.1\rPID|1||9\r";

/// Un ataque, que se hace sobre ese servidor mientras dure.
pub(crate) type Ataque = fn(&Asalto);

/// Lo que el ataque y quien lo mide se dicen.
pub(crate) struct Asalto {
    pub(crate) puerto: u16,
    /// El ataque está ya en su apogeo.
    en_marcha: AtomicBool,
    basta: AtomicBool,
}

impl Asalto {
    pub(crate) fn conectar(&self) -> TcpStream {
        let canal = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // Los puertos de las que se acaban de cerrar también valen.
        canal.set_reuse_address(true).unwrap();
        canal.bind(&SocketAddr::from((ATACANTE, 0)).into()).unwrap();
        let servidor = SocketAddr::from((Ipv4Addr::LOCALHOST, self.puerto));
        canal.connect(&servidor.into()).unwrap();
        let canal = TcpStream::from(canal);
        canal.set_nodelay(true).unwrap();
        canal.set_write_timeout(Some(PLAZO)).unwrap();
        canal.set_read_timeout(Some(PLAZO)).unwrap();
        canal
    }

    /// Repite hasta que baste, a lo sumo mil veces por segundo.
    pub(crate) fn repetir(&self, mut paso: impl FnMut(usize)) {
        for vuelta in 0.. {
            if self.basta.load(Ordering::Relaxed) {
                return;
            }
            paso(vuelta);
            self.en_marcha.store(true, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Una y otra vez, sin descanso, leyendo lo que contesten; si se cierra la conexión, por otra.
    fn a_toda_velocidad(&self, tanda: &[u8]) {
        let basta = || self.basta.load(Ordering::Relaxed);
        while !basta() {
            let canal = self.conectar();
            // Para ver que basta aunque el servidor no lea.
            let mirada = Some(Duration::from_millis(100));
            canal.set_write_timeout(mirada).unwrap();
            thread::scope(|hilos| {
                hilos.spawn(|| io::copy(&mut &canal, &mut io::sink()));
                let mut enviado = 0;
                while !basta() {
                    match (&canal).write(&tanda[enviado..]) {
                        Ok(cuantos) => enviado = (enviado + cuantos) % tanda.len(),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                    self.en_marcha.store(true, Ordering::Relaxed);
                }
                let _ = canal.shutdown(Shutdown::Both);
            });
        }
    }

    /// Sin fin a unos 200 Mb/s, que es más que la red de un laboratorio.
    pub(crate) fn sin_fin(&self, comienzo: &[u8], trozo: &[u8]) {
        let mut canal = self.conectar();
        canal.write_all(comienzo).unwrap();
        let trozo = trozo.repeat(32 * 1024 / trozo.len());
        self.repetir(|_| canal.write_all(&trozo).unwrap());
    }
}

/// Ataques a lo que nadie puede acaparar: las plazas, la memoria, el disco, la escritura y el registro.
pub(crate) const A_LOS_LIMITES: [(&str, Ataque); 8] = [
    ("plazas tomadas por conexiones calladas", plazas_calladas),
    ("abrir y cerrar con todo ocupado", abrir_y_cerrar),
    ("un byte de vez en cuando tras 20 MiB", goteo_tras_mucho),
    ("mensajes de 60 MiB", mensajes_enormes),
    ("basura a toda velocidad", basura),
    ("basura de todas las clases", basura_de_todas_las_clases),
    ("quien acusa los acuses", acusador),
    ("tres que no leen", sordos),
];

/// Hace algo mientras el ataque a ese puerto está en marcha.
pub(crate) fn durante<T>(puerto: u16, ataque: Ataque, medir: impl FnOnce() -> T) -> T {
    let asalto = Asalto {
        puerto,
        en_marcha: AtomicBool::new(false),
        basta: AtomicBool::new(false),
    };
    thread::scope(|hilos| {
        // También si lo que se mide falla: el ataque no acaba solo.
        let _basta = AlSalir(&asalto.basta);
        let atacante = hilos.spawn(|| ataque(&asalto));
        while !asalto.en_marcha.load(Ordering::Relaxed) && !atacante.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        medir()
    })
}

/// Levanta la bandera al salir de donde está.
struct AlSalir<'a>(&'a AtomicBool);

impl Drop for AlSalir<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// No cierra ninguna, y cada vez que le cierran una abre otra.
fn plazas_calladas(asalto: &Asalto) {
    let callada = || {
        let canal = asalto.conectar();
        canal.set_nonblocking(true).unwrap();
        canal
    };
    let mut calladas: Vec<_> = (0..64).map(|_| callada()).collect();
    asalto.repetir(|vuelta| {
        let canal = &mut calladas[vuelta % 64];
        let sigue = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
        if !canal.peek(&mut [0]).as_ref().is_err_and(sigue) {
            *canal = callada();
        }
    });
}

fn abrir_y_cerrar(asalto: &Asalto) {
    let mut equipos: Vec<_> = (0..64).map(|_| asalto.conectar()).collect();
    asalto.repetir(|vuelta| {
        let cuantas = 1 + vuelta % 8;
        equipos.truncate(64 - cuantas);
        equipos.resize_with(64, || asalto.conectar());
    });
}

fn goteo_tras_mucho(asalto: &Asalto) {
    let mut canal = asalto.conectar();
    canal.write_all(b"\x0BMSH|^~\\&|A\r").unwrap();
    canal.write_all(&vec![b'A'; 20 << 20]).unwrap();
    asalto.repetir(|_| canal.write_all(b"A").unwrap());
}

fn mensajes_enormes(asalto: &Asalto) {
    let trama = [
        MENSAJE,
        &b"OBX|2|ED|IMG||^^^Base64^QUJDREVG\r".repeat(2 << 20)[..],
        b"\x1C\r",
    ]
    .concat();
    let mut trozos = trama.chunks(1 << 20).cycle();
    let mut canal = asalto.conectar();
    asalto.repetir(|_| canal.write_all(trozos.next().unwrap()).unwrap());
}

fn basura(asalto: &Asalto) {
    asalto.a_toda_velocidad(&b"\x0BPID|1||9\r\x1C\r".repeat(1000));
}

fn basura_de_todas_las_clases(asalto: &Asalto) {
    let clases: [&[u8]; 6] = [
        b"\x0BPID|1||9\r\x1C\r",
        b"\x0BMSH|^~\\&|A\r\x0BMSH|^~\\&|B\r",
        b"\x0BMSH|^~\\&|CORTADO\r",
        b"\x0BMSH|^~\\&|||||||ORL|9|P|2.5\rMSA|AA|1\rPID|1\r\x1C\r",
        b"MSH|^~\\&|SIN TRAMA",
        b"otra cosa\r\nPID|1||9\r",
    ];
    asalto.repetir(|vuelta| {
        let mut canal = asalto.conectar();
        let _ = canal.write_all(clases[vuelta % clases.len()]);
        let _ = canal.shutdown(Shutdown::Write);
        let _ = canal.read_to_end(&mut Vec::new());
    });
}

/// Acusa cada acuse que recibe, y muchos que nadie le envió.
pub(crate) fn acusador(asalto: &Asalto) {
    let acuse = b"\x0BMSH|^~\\&|||||||ACK|9|P|2.5\rMSA|AA|1\rERR|0\r\x1C\r";
    let tanda = [MENSAJE, b"\x1C\r", &acuse.repeat(1000)].concat();
    asalto.a_toda_velocidad(&tanda);
}

fn sordos(asalto: &Asalto) {
    let trama = [MENSAJE, b"\x1C\r"].concat().repeat(100);
    let sordos = [(); 3].map(|()| {
        let mut sordo = asalto.conectar();
        SockRef::from(&sordo).set_recv_buffer_size(1024).unwrap();
        sordo
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        // Hasta que el servidor deja de leer porque no puede escribir.
        while sordo.write_all(&trama).is_ok() {}
        sordo
    });
    asalto.repetir(|_| {});
    drop(sordos);
}
