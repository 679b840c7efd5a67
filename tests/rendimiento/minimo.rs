//! La vara (b): el menor servidor posible. Un hilo por conexión que lee hasta FS CR, guarda con
//! la misma secuencia de llamadas y contesta siempre lo mismo.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use memchr::memchr;

use crate::caso::{FS, VT};
use crate::disco::Disco;

/// Su único acuse, con su trama.
pub(crate) const ACUSE_FIJO: &[u8] =
    b"\x0BMSH|^~\\&|LIS|HOSP|EQUIPO|LAB|20260912094501||ACK^R01|1|P|2.3.1\rMSA|AA|1\r\x1C\r";

/// Escucha para siempre en un puerto libre, que dice por la consola.
pub(crate) fn servir(carpeta: &Path, sincronizar: bool) -> ! {
    let escucha = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let puerto = escucha.local_addr().unwrap().port();
    println!("Escuchando el Puerto {puerto}");
    let disco = Arc::new(Disco::new(carpeta, sincronizar));
    loop {
        let (canal, _) = escucha.accept().unwrap();
        let disco = Arc::clone(&disco);
        thread::spawn(move || atender(canal, &disco));
    }
}

fn atender(mut canal: TcpStream, disco: &Disco) {
    canal.set_nodelay(true).unwrap();
    let mut bufer = vec![0; 64 * 1024];
    let (mut inicio, mut revisado, mut fin) = (0, 0, 0);
    loop {
        while let Some(distancia) = memchr(FS, &bufer[revisado..fin]) {
            let p = revisado + distancia;
            if p + 1 == fin {
                break;
            }
            revisado = p + 1;
            if bufer[p + 1] == b'\r' {
                let comienzo = inicio + usize::from(bufer[inicio] == VT);
                disco.guardar(&bufer[comienzo..p]);
                if canal.write_all(ACUSE_FIJO).is_err() {
                    return;
                }
                inicio = p + 2;
                revisado = inicio;
            }
        }
        // Un FS al final espera a su CR.
        revisado = revisado.max(fin - usize::from(fin > inicio && bufer[fin - 1] == FS));
        if inicio == fin {
            (inicio, revisado, fin) = (0, 0, 0);
        } else if fin == bufer.len() {
            if inicio > 0 {
                bufer.copy_within(inicio..fin, 0);
                (revisado, fin) = (revisado - inicio, fin - inicio);
                inicio = 0;
            } else {
                bufer.resize(fin * 2, 0);
            }
        }
        match canal.read(&mut bufer[fin..]) {
            Ok(cuantos) if cuantos > 0 => fin += cuantos,
            _ => return,
        }
    }
}
