//! El analizador simulado que da la carga: un hilo bloqueante por conexión, que comprueba cada
//! acuse.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::caso::{Caso, FS, Plantilla, VT, identificar};
use crate::medida::Medida;
use crate::minimo::ACUSE_FIJO;
use crate::proceso::{Gasto, Proceso};

/// Solo lo agota un servidor que no contesta.
const PLAZO: Duration = Duration::from_mins(1);

/// A quién se le habla, que es cómo debe contestar.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quien {
    Servidor,
    Minimo,
}

/// Arranca el proceso en la carpeta y le da la carga del caso.
pub(crate) fn medir(caso: &Caso, quien: Quien, carpeta: &Path) -> Medida {
    std::fs::create_dir(carpeta).unwrap();
    let proceso = match quien {
        Quien::Servidor => Proceso::servidor(carpeta, caso),
        Quien::Minimo => Proceso::minimo(&caso.mensajes(carpeta), caso.sincronizar),
    };
    let calladas = match quien {
        Quien::Servidor => caso.calladas,
        Quien::Minimo => 0,
    };
    let suyos = proceso.hilos();
    let _calladas: Vec<_> = (0..calladas).map(|_| conectar(proceso.puerto)).collect();
    // Abrir el hilo de cada una no es parte de lo que se mide.
    proceso.esperar_hilos(suyos + calladas);
    let equipos: Vec<_> = (0..caso.conexiones)
        .map(|conexion| Equipo::new(caso, quien, conexion, proceso.puerto))
        .collect();
    let antes = proceso.gasto();
    let (segundos, esperas, equipos) = enviar_todo(equipos);
    let gasto = antes.zip(proceso.gasto()).map(|(antes, ahora)| Gasto {
        cpu_us: (ahora.cpu_us - antes.cpu_us) / caso.mensajes as f64,
        fuera_del_sistema_us: (ahora.fuera_del_sistema_us - antes.fuera_del_sistema_us)
            / caso.mensajes as f64,
        ..ahora
    });
    // El gasto se mira con las conexiones abiertas: el de un hilo acabado ya no se ve.
    drop(equipos);
    Medida {
        gasto,
        ..Medida::new(caso, segundos, esperas)
    }
}

/// Todos salen a la vez; el tiempo corre hasta el último acuse.
fn enviar_todo(equipos: Vec<Equipo<'_>>) -> (f64, Vec<Duration>, Vec<Equipo<'_>>) {
    let salida = Barrier::new(equipos.len() + 1);
    thread::scope(|hilos| {
        let trabajos: Vec<_> = equipos
            .into_iter()
            .map(|mut equipo| {
                let salida = &salida;
                hilos.spawn(move || {
                    salida.wait();
                    let esperas = equipo.conversar();
                    (esperas, equipo)
                })
            })
            .collect();
        salida.wait();
        let comienzo = Instant::now();
        let hechos: Vec<_> = trabajos
            .into_iter()
            .map(|trabajo| trabajo.join().unwrap())
            .collect();
        let segundos = comienzo.elapsed().as_secs_f64();
        let (esperas, equipos): (Vec<_>, Vec<_>) = hechos.into_iter().unzip();
        (segundos, esperas.concat(), equipos)
    })
}

pub(crate) fn conectar(puerto: u16) -> TcpStream {
    let canal = TcpStream::connect(("127.0.0.1", puerto)).unwrap();
    canal.set_nodelay(true).unwrap();
    canal.set_read_timeout(Some(PLAZO)).unwrap();
    canal
}

/// Un analizador con su conexión.
pub(crate) struct Equipo<'a> {
    caso: &'a Caso,
    quien: Quien,
    conexion: usize,
    canal: TcpStream,
    plantilla: Plantilla,
    recibido: Vec<u8>,
}

impl Equipo<'_> {
    pub(crate) fn new(caso: &Caso, quien: Quien, conexion: usize, puerto: u16) -> Equipo<'_> {
        Equipo {
            caso,
            quien,
            conexion,
            canal: conectar(puerto),
            plantilla: Plantilla::new(caso),
            recibido: Vec::new(),
        }
    }

    /// Envía sus mensajes sin pasar de los que puede tener en vuelo; devuelve cuánto esperó el
    /// acuse de cada uno.
    pub(crate) fn conversar(&mut self) -> Vec<Duration> {
        let total = self.caso.por_conexion();
        let mut esperas = Vec::with_capacity(total);
        let mut en_vuelo = VecDeque::new();
        let mut salida = Vec::new();
        let mut enviados = 0;
        while esperas.len() < total {
            let hasta = total.min(esperas.len() + self.caso.en_vuelo);
            salida.clear();
            for numero in enviados..hasta {
                salida.extend_from_slice(self.plantilla.trama(self.conexion, numero));
            }
            let comienzo = Instant::now();
            en_vuelo.extend((enviados..hasta).map(|_| comienzo));
            enviados = hasta;
            for trozo in salida.chunks(self.caso.trozo) {
                self.canal.write_all(trozo).unwrap();
            }
            self.leer();
            let ahora = Instant::now();
            while let Some(acuse) = separar_acuse(&mut self.recibido) {
                self.comprobar(&acuse, esperas.len());
                esperas.push(ahora - en_vuelo.pop_front().unwrap());
            }
        }
        esperas
    }

    fn leer(&mut self) {
        let mut trozo = [0; 16 * 1024];
        let cuantos = self.canal.read(&mut trozo).unwrap();
        assert_ne!(cuantos, 0, "{}: cerró sin contestar", self.caso.nombre);
        self.recibido.extend_from_slice(&trozo[..cuantos]);
    }

    fn comprobar(&self, acuse: &[u8], numero: usize) {
        let correcto = match self.quien {
            Quien::Minimo => acuse == ACUSE_FIJO,
            Quien::Servidor => {
                let msa = format!("\rMSA|AA|{}|", identificar(self.conexion, numero));
                acuse
                    .windows(msa.len())
                    .any(|tramo| tramo == msa.as_bytes())
                    && (acuse[0] == VT) == self.caso.con_trama
            }
        };
        assert!(
            correcto,
            "{}: el acuse del mensaje {numero} es {}",
            self.caso.nombre,
            acuse.escape_ascii()
        );
    }
}

/// El primer acuse de lo recibido: hasta FS CR si trae trama; si no, dos segmentos.
fn separar_acuse(recibido: &mut Vec<u8>) -> Option<Vec<u8>> {
    let fines = |octeto: u8| {
        let iguales = recibido.iter().enumerate();
        iguales.filter_map(move |(p, otro)| (*otro == octeto).then_some(p))
    };
    let fin = if *recibido.first()? == VT {
        fines(FS).next()? + 2
    } else {
        fines(b'\r').nth(1)? + 1
    };
    (recibido.len() >= fin).then(|| recibido.drain(..fin).collect())
}
