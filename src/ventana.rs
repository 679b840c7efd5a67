//! La ventana que abre un doble clic en Windows: su título, que no se cierre antes de que alguien lea
//! por qué el programa no arrancó, y que al cerrarla haya tiempo de parar. En otros sistemas solo dice
//! si la salida es una terminal.

#[cfg(not(windows))]
use std::io::IsTerminal;
use std::io::{self, Write};

/// Si la ventana se va a cerrar con el programa, espera a que se pulse Intro. Desde una consola,
/// un servicio o una tarea programada no espera.
pub fn esperar_lectura() {
    if la_abrio_el_explorador() {
        // Sin dónde escribir o de dónde leer no hay a quién esperar.
        let _ = writeln!(io::stderr(), "Pulse Intro para cerrar esta ventana.");
        let _ = io::stdin().read_line(&mut String::new());
    }
}

/// Lo que hay que escribir en la salida para que la ventana lleve ese título; `None` si la salida
/// no es una ventana que lo admita.
pub(crate) fn secuencia_de_titulo(titulo: &str) -> Option<String> {
    (cfg!(windows) && admite_secuencias()).then(|| {
        let visible = titulo.replace(char::is_control, "");
        format!("\x1b]0;{visible}\x07")
    })
}

/// Cuántas letras caben en una línea de la salida, si es una ventana.
pub(crate) fn columnas() -> Option<usize> {
    let (ancho, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(ancho.0)).filter(|columnas| *columnas > 0)
}

/// Llama a `cerrar` cuando alguien cierra la ventana con la X, cierra la sesión o apaga Windows.
/// Desde entonces el proceso tiene unos 5 s para acabar (HandlerRoutine, SPI_GETHUNGAPPTIMEOUT).
///
/// Se pone después del de Ctrl+C: Windows llama primero al último que se puso.
#[cfg(windows)]
pub(crate) fn al_cerrar(cerrar: impl FnOnce() + Send + 'static) -> io::Result<()> {
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::sync::{Mutex, OnceLock};
    use std::thread;
    use std::time::Duration;
    use windows_sys::Win32::System::Console::{
        CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
    };
    use windows_sys::core::BOOL;

    use crate::cerrojo::tomar;
    use crate::hilo::abrir_hilo;

    static AVISO: OnceLock<Mutex<SyncSender<()>>> = OnceLock::new();

    /// Windows acaba con el proceso en cuanto esta función vuelve: avisa y no vuelve. Los demás
    /// sucesos, como Ctrl+C, son de otro manejador.
    extern "system" fn manejar(suceso: u32) -> BOOL {
        if !matches!(
            suceso,
            CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT
        ) {
            return 0;
        }
        if let Some(aviso) = AVISO.get() {
            // El canal lleno ya lleva un aviso.
            let _ = tomar(aviso).try_send(());
        }
        loop {
            thread::sleep(Duration::MAX);
        }
    }

    let (aviso, avisado) = sync_channel(1);
    AVISO
        .set(Mutex::new(aviso))
        .map_err(|_| io::Error::from(io::ErrorKind::AlreadyExists))?;
    abrir_hilo("cierre", move || avisado.recv().map(|()| cerrar()))?;
    #[expect(
        unsafe_code,
        reason = "ningún crate que se mantenga pone un manejador que no vuelva; `manejar` vale durante todo el proceso"
    )]
    let puesto = unsafe { SetConsoleCtrlHandler(Some(manejar), 1) };
    if puesto == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Un doble clic, en el programa o en un acceso directo, deja al Explorador como proceso padre.
#[cfg(windows)]
fn la_abrio_el_explorador() -> bool {
    use winsafe::co::TH32CS;
    use winsafe::{GetCurrentProcessId, HPROCESSLIST};
    let Ok(mut foto) = HPROCESSLIST::CreateToolhelp32Snapshot(TH32CS::SNAPPROCESS, None) else {
        return false;
    };
    let procesos: Vec<_> = foto
        .iter_processes()
        .map_while(Result::ok)
        .map(|p| (p.th32ProcessID, p.th32ParentProcessID, p.szExeFile()))
        .collect();
    let de = |buscado| procesos.iter().find(|(pid, _, _)| *pid == buscado);
    de(GetCurrentProcessId())
        .and_then(|(_, padre, _)| de(*padre))
        .is_some_and(|(_, _, programa)| programa.eq_ignore_ascii_case("explorer.exe"))
}

#[cfg(not(windows))]
fn la_abrio_el_explorador() -> bool {
    false
}

/// Si la salida es una terminal que entiende secuencias de escape. Una consola de Windows las
/// entiende desde que se le pide, y aquí se le pide.
#[cfg(windows)]
pub(crate) fn admite_secuencias() -> bool {
    use winsafe::co::{CONSOLE, STD_HANDLE};
    use winsafe::{HSTD, SysResult};
    let pedirlo = || -> SysResult<()> {
        // El descriptor es de todo el programa: no se cierra al acabar aquí con él.
        let salida = HSTD::GetStdHandle(STD_HANDLE::OUTPUT)?.leak();
        let modo = salida.GetConsoleMode()?;
        salida.SetConsoleMode(modo | CONSOLE::ENABLE_VIRTUAL_TERMINAL_PROCESSING)
    };
    pedirlo().is_ok()
}

/// Si la salida es una terminal que entiende secuencias de escape.
#[cfg(not(windows))]
pub(crate) fn admite_secuencias() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|tipo| tipo != "dumb")
}
