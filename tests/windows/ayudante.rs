//! Lo que las pruebas no pueden hacer desde su propio proceso, en Windows:
//!
//! - `ayudante ctrl_c PID` pulsa Ctrl+C en la consola de ese proceso, como lo haría una persona.
//!   Solo se puede desde dentro de esa consola, y con llamadas que piden `unsafe`, que el programa
//!   prohíbe: por eso es un programa aparte, que compila quien pasa las pruebas.
//! - `ayudante cerrar PID SUCESO` le avisa como Windows cuando se cierra la ventana (2), la sesión (5)
//!   o el equipo (6): con un hilo nuevo suyo en `CtrlRoutine`, tras el cual, o a los 5 s, lo mata. Sale
//!   bien si el proceso acabó antes por sí mismo.
//! - `ayudante lanzar PROGRAMA ARGUMENTO…` lo ejecuta: copiado como `explorer.exe`, hace de
//!   Explorador en el que se hace doble clic.

use std::env;
use std::ffi::c_void;
use std::io;
use std::process::{Command, ExitCode};
use std::ptr;

#[link(name = "kernel32")]
unsafe extern "system" {
    fn FreeConsole() -> i32;
    fn AttachConsole(proceso: u32) -> i32;
    fn SetConsoleCtrlHandler(
        atencion: Option<unsafe extern "system" fn(u32) -> i32>,
        poner: i32,
    ) -> i32;
    fn GenerateConsoleCtrlEvent(suceso: u32, grupo: u32) -> i32;
    fn OpenProcess(acceso: u32, heredable: i32, proceso: u32) -> Asa;
    fn GetModuleHandleA(nombre: *const u8) -> Asa;
    fn GetProcAddress(modulo: Asa, nombre: *const u8) -> Asa;
    fn CreateRemoteThread(
        proceso: Asa,
        atributos: *const c_void,
        pila: usize,
        rutina: Asa,
        argumento: *const c_void,
        modo: u32,
        numero: *mut u32,
    ) -> Asa;
    fn WaitForMultipleObjects(cuantos: u32, asas: *const Asa, todas: i32, plazo_ms: u32) -> u32;
    fn WaitForSingleObject(asa: Asa, plazo_ms: u32) -> u32;
    fn TerminateProcess(proceso: Asa, codigo: u32) -> i32;
}

type Asa = *mut c_void;

const CTRL_C_EVENT: u32 = 0;
const TODA_LA_CONSOLA: u32 = 0;
const PROCESS_ALL_ACCESS: u32 = 0x001F_FFFF;
const STATUS_CONTROL_C_EXIT: u32 = 0xC000_013A;
/// Lo que Windows espera a que el proceso acabe por sí mismo.
const PLAZO_MS: u32 = 5000;
/// Un proceso que acaba pierde sus hilos un instante antes de acabar del todo.
const UN_INSTANTE_MS: u32 = 50;

fn main() -> ExitCode {
    let argumentos: Vec<String> = env::args().skip(1).collect();
    let hecho = match argumentos.as_slice() {
        [verbo, pid] if verbo == "ctrl_c" => pid
            .parse()
            .map_err(io::Error::other)
            .and_then(pulsar_ctrl_c),
        [verbo, pid, suceso] if verbo == "cerrar" => match (pid.parse(), suceso.parse()) {
            (Ok(pid), Ok(suceso)) => cerrar(pid, suceso),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        },
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

fn cerrar(proceso: u32, suceso: usize) -> io::Result<()> {
    // Las bibliotecas del sistema están en la misma dirección en todos los procesos: la rutina de
    // este vale en el otro. Los nombres acaban en cero, y las asas son las que dieron las llamadas.
    unsafe {
        let proceso = OpenProcess(PROCESS_ALL_ACCESS, 0, proceso);
        let rutina = GetProcAddress(
            GetModuleHandleA(c"kernelbase.dll".as_ptr().cast()),
            c"CtrlRoutine".as_ptr().cast(),
        );
        if proceso.is_null() || rutina.is_null() {
            return Err(io::Error::last_os_error());
        }
        let hilo = CreateRemoteThread(
            proceso,
            ptr::null(),
            0,
            rutina,
            ptr::without_provenance(suceso),
            0,
            ptr::null_mut(),
        );
        if hilo.is_null() {
            return Err(io::Error::last_os_error());
        }
        WaitForMultipleObjects(2, [proceso, hilo].as_ptr(), 0, PLAZO_MS);
        if WaitForSingleObject(proceso, UN_INSTANTE_MS) == 0 {
            return Ok(());
        }
        TerminateProcess(proceso, STATUS_CONTROL_C_EXIT);
    }
    Err(io::Error::other("hubo que matarlo"))
}
