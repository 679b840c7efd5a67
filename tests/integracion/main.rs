//! Las pruebas del programa entero, y las de sus partes puras.
//!
//! Salvo las partes puras, todas arrancan el ejecutable de verdad en un puerto libre y le hablan
//! como un analizador.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

/// Un analizador de mentira: envía, corta, calla y lee acuses.
mod analizador_simulado;
/// El ejecutable de verdad en una carpeta nueva.
mod servidor_de_prueba;

/// Quién entra, cuántos a la vez, y que una conexión no toque a otra.
mod acceso;
/// Propiedades del acuse.
mod acuses;
/// Lo que se guarda: entero, una vez, en orden, aunque el disco falle o el proceso muera.
mod almacenamiento;
/// Las rutas y los archivos retenidos de Windows.
#[cfg(windows)]
mod archivos_de_windows;
/// Cada clave es la misma en el código, en Config.ini y en las tablas del README.
mod claves;
/// Config.ini: lo que vale, lo que no, y qué se dice entonces.
mod config_ini;
/// La consola: las frases de siempre y nada del paciente.
mod consola;
/// Conversaciones enteras como datos, en `tests/casos`.
mod conversaciones;
/// Los mensajes y los casos de cable de `tests/corpus`, según su índice.
mod corpus;
/// --enviar: lo que se envía, lo que se contesta y cómo se sigue.
mod enviar;
/// Quién envía: cada equipo con su nombre, su dirección y su trato.
mod equipos;
/// Los equipos a los que hay que llamar, y los que preguntan antes de enviar.
mod equipos_llamados;
/// Lo que un técnico ejecuta antes de conectar un equipo: --revisar y --enviar.
mod herramientas;
/// Los que hablan por otros equipos: la cabecera PROXY.
mod intermediarios;
/// Lo que nadie puede acaparar: tiempo, plazas, memoria y disco.
mod limites;
/// Las tablas del README dicen cada aviso y cada error.
mod manual;
/// Conversaciones al azar con lo que llevan los informes, cortadas por cualquier sitio.
mod mezclas;
/// La página de estado.
mod pagina;
/// Lo que se ve en una terminal de verdad, comparado con `tests/pantallas`.
#[cfg(target_os = "linux")]
mod pantallas;
/// Ctrl+C, SIGTERM, y el puerto libre después.
mod parada;
/// Lo que llega dos veces.
mod reenvios;
/// Lo que se dice además: el registro en archivos, los nombres, los silencios, las tablas, el color.
mod registro;
/// Tabla y propiedades del lector de tramas, a cada tamaño de trozo.
mod tramas;
/// El doble clic, que solo existe en Windows.
#[cfg(windows)]
mod ventana;

/// Los ataques a lo que nadie puede acaparar.
#[cfg(target_os = "linux")]
mod ataques;
/// Doscientas muertes súbitas bajo carga. Comparte con `fallos` lo que solo existe en Linux.
#[cfg(target_os = "linux")]
mod caidas;
/// El disco se llena, se protege o desaparece, y vuelve. Los montajes propios son de Linux.
#[cfg(target_os = "linux")]
mod disco_lleno;
/// Cada llamada al sistema falla por turno. strace solo existe en Linux.
#[cfg(target_os = "linux")]
mod fallos;
/// Lo que se le dice a systemd, que es de Linux.
#[cfg(target_os = "linux")]
mod gestor;
/// Equipos enfermos y hostiles junto a uno bueno. La memoria se mira en /proc, que es de Linux.
#[cfg(target_os = "linux")]
mod hostiles;
/// Las licencias de lo que va dentro. Bajo Wine no hay cargo que lo diga.
#[cfg(target_os = "linux")]
mod licencias;
/// El orden de las llamadas al sistema antes de cada AA. strace solo existe en Linux.
#[cfg(target_os = "linux")]
mod llamadas;
/// Lo que ocupa una conexión. La memoria se mira en /proc, que es de Linux.
#[cfg(target_os = "linux")]
mod memoria;
/// strace: el rastro de las llamadas al sistema, y fallos fingidos en ellas.
#[cfg(target_os = "linux")]
mod rastreo;
/// Un millón de mensajes. Se pide aparte; los descriptores y los hilos se miran en /proc, de Linux.
#[cfg(target_os = "linux")]
mod resistencia;
