//! Lo que las pruebas no pueden hacer desde su propio proceso, en Windows:
//!
//! - `ayudante ctrl_c PID` pulsa Ctrl+C en la consola de ese proceso, como lo haría una persona.
//!   Solo se puede desde dentro de esa consola, y con llamadas que piden `unsafe`, que el programa
//!   prohíbe: por eso es un programa aparte, que compila quien pasa las pruebas.
//! - `ayudante lanzar PROGRAMA ARGUMENTO…` lo ejecuta: copiado como `explorer.exe`, hace de
//!   Explorador en el que se hace doble clic.

use std::env;
use std::io;
use std::process::{Command, ExitCode};

#[link(name = "kernel32")]
unsafe extern "system" {
    fn FreeConsole() -> i32;
    fn AttachConsole(proceso: u32) -> i32;
    fn SetConsoleCtrlHandler(
        atencion: Option<unsafe extern "system" fn(u32) -> i32>,
        poner: i32,
    ) -> i32;
    fn GenerateConsoleCtrlEvent(suceso: u32, grupo: u32) -> i32;
}

const CTRL_C_EVENT: u32 = 0;
const TODA_LA_CONSOLA: u32 = 0;

fn main() -> ExitCode {
    let argumentos: Vec<String> = env::args().skip(1).collect();
    let hecho = match argumentos.as_slice() {
        [verbo, pid] if verbo == "ctrl_c" => pid
            .parse()
            .map_err(io::Error::other)
            .and_then(pulsar_ctrl_c),
        [verbo, programa, resto @ ..] if verbo == "lanzar" => {
            Command::new(programa).args(resto).status().map(|_| ())
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    match hecho {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{argumentos:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pulsar_ctrl_c(proceso: u32) -> io::Result<()> {
    // Son llamadas sin punteros: nada que cumplir antes de hacerlas.
    let pulsado = unsafe {
        FreeConsole();
        AttachConsole(proceso) != 0
            // Que el Ctrl+C no sea también para este programa.
            && SetConsoleCtrlHandler(None, 1) != 0
            && GenerateConsoleCtrlEvent(CTRL_C_EVENT, TODA_LA_CONSOLA) != 0
    };
    if pulsado {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
