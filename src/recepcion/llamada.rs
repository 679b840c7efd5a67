//! Las llamadas: muchos analizadores no llaman, esperan a que se les llame.
//!
//! Un hilo por equipo conecta, conversa como con cualquier otro y, si la conexión se pierde,
//! vuelve a llamar con pausas que crecen. No sabe qué se habla en la conexión.

use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, debug};

use crate::causa;
use crate::recepcion::Recepcion;
use crate::recepcion::equipo::{Equipo, avisar};
use crate::recepcion::plazas::Actividad;
use crate::recepcion::presencia::{self, ENSEGUIDA};

const PAUSA_MINIMA: Duration = Duration::from_secs(1);
const PAUSA_MAXIMA: Duration = Duration::from_mins(1);
/// De un equipo que no contesta se avisa una vez por hora.
const ENTRE_AVISOS: Duration = Duration::from_hours(1);
/// Cuánto se espera a que el equipo descuelgue.
const PLAZO_DE_LLAMADA: Duration = Duration::from_secs(10);

/// Mantiene la conexión con el equipo hasta la parada. Lo que falle o entre en pánico en una
/// conversación solo acaba con su conexión.
pub(super) fn mantener(equipo: &Equipo, recepcion: &Recepcion) {
    let quien = equipo.con_direccion().to_string();
    let mut pausa = PAUSA_MINIMA;
    let mut avisado: Option<Instant> = None;
    while !recepcion.parada.pedida() {
        match TcpStream::connect_timeout(&equipo.direccion(), PLAZO_DE_LLAMADA) {
            Ok(canal) => {
                avisado = None;
                let comienzo = Instant::now();
                let mut nivel = Level::Info;
                let conversar = || {
                    nivel = presencia::esperar(&canal, ENSEGUIDA).nivel();
                    avisar!(nivel = nivel, equipo; "Conexión Establecida con {quien}");
                    recepcion.atender(&canal, equipo, &Actividad::default())
                };
                let acabada = catch_unwind(AssertUnwindSafe(conversar));
                let entrego = recepcion.totales.ultimo(&equipo.quien) > Some(comienzo);
                // Un pánico ya se dijo, y tras la parada no se llama a nadie.
                if let Ok(acabada) = acabada
                    && !recepcion.parada.pedida()
                {
                    decir_el_fin(equipo, acabada, if entrego { nivel } else { Level::Warn });
                }
                // Una conexión que dura o que entrega algo merece otra enseguida; una que se cae al
                // nacer, no.
                if comienzo.elapsed() > pausa || entrego {
                    pausa = PAUSA_MINIMA;
                }
            }
            Err(error) if avisado.is_some_and(|antes| antes.elapsed() < ENTRE_AVISOS) => {
                debug!("{quien}: {}", causa::explicar_conexion(&error));
            }
            Err(error) => {
                let causa = causa::explicar_conexion(&error);
                avisar!(warn, equipo; "{quien}: no se pudo llamar al equipo: {causa}; se seguirá intentando");
                avisado = Some(Instant::now());
            }
        }
        thread::sleep(pausa);
        pausa = alargar(pausa);
    }
}

/// La pausa que sigue a esa, si la llamada siguiente tampoco sirve.
fn alargar(pausa: Duration) -> Duration {
    PAUSA_MAXIMA.min(pausa * 2)
}

/// Muchos equipos entregan y cuelgan: eso no es un fallo, y un aviso por resultado taparía los demás.
fn decir_el_fin(equipo: &Equipo, acabada: io::Result<()>, nivel: Level) {
    let quien = equipo.con_direccion();
    let fin = match acabada {
        Ok(()) => "se cerró la conexión".to_owned(),
        Err(error) => format!("se perdió la conexión: {}", causa::explicar(&error)),
    };
    avisar!(nivel = nivel, equipo; "{quien}: {fin}; se le vuelve a llamar");
}

#[cfg(test)]
mod tests {
    use std::iter::successors;

    use super::*;

    #[test]
    fn las_pausas_entre_llamadas_crecen_de_un_segundo_a_un_minuto() {
        let pausas = successors(Some(PAUSA_MINIMA), |pausa| Some(alargar(*pausa)));
        let segundos: Vec<_> = pausas.take(9).map(|pausa| pausa.as_secs()).collect();
        assert_eq!(segundos, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
