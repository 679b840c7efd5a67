//! `enviar_ctrl_c PID`: pulsa Ctrl+C en la consola de ese proceso, como lo haría una persona.
//!
//! Windows solo deja hacerlo desde dentro de esa consola, y con llamadas que piden `unsafe`, que
//! el programa prohíbe: por eso es un programa aparte, que compila quien pasa las pruebas.

use std::process::ExitCode;

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
    let Some(proceso) = std::env::args().nth(1).and_then(|pid| pid.parse().ok()) else {
        return ExitCode::from(2);
    };
    // Son llamadas sin punteros: nada que cumplir antes de hacerlas.
    let enviado = unsafe {
        FreeConsole();
        AttachConsole(proceso) != 0
            // Que el Ctrl+C no sea también para este programa.
            && SetConsoleCtrlHandler(None, 1) != 0
            && GenerateConsoleCtrlEvent(CTRL_C_EVENT, TODA_LA_CONSOLA) != 0
    };
    if !enviado {
        eprintln!("Ctrl+C a {proceso}: {}", std::io::Error::last_os_error());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
