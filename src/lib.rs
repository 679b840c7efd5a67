//! Servidor de recepción de mensajes HL7 v2 para el PC de un laboratorio.
//!
//! Un analizador se conecta por TCP y envía mensajes; cada mensaje pasa a ser un archivo
//! `.res` entero en `Directorio`, y solo entonces se contesta con un acuse. **AA significa: el
//! mensaje está entero, en el disco, con un nombre que nadie más tiene, aunque la luz se
//! corte en el instante siguiente.**
//!
//! # El camino de un mensaje
//!
//! ```text
//! socket → cable::Lector → hl7::mensaje::leer_cabecera → almacen → hl7::acuse::redactar → socket
//!          (dónde acaba)    (quién lo pide)              (a salvo)  (qué se contesta)
//! ```
//!
//! `recepcion/conexion.rs` recorre ese camino, un hilo por conexión; [`recepcion::servidor`] abre los
//! hilos; `main` lee la configuración, arranca, espera y detiene. A los equipos que esperan a que se
//! les llame los llama `recepcion/llamada.rs`, y desde ahí la conversación es la misma.
//!
//! # Lo que siempre se cumple
//!
//! - Un AA solo nace en `conexion::Conversacion::acusar_recibido`, del `Ok` del almacén.
//! - Solo [`almacen`] escribe mensajes en el disco. Los bytes del archivo son los recibidos.
//! - [`cable`] y [`hl7`] son puros: bytes dentro, valores fuera. No nombran sockets, archivos, relojes
//!   ni registro; la hora es un argumento. Del sistema, [`cable`] solo mira si queda memoria.
//! - Nada de la red llega al nombre de un archivo, ni sin escapar a la consola; del paciente no
//!   llega nada.
//! - Ninguna conversación espera a la consola ni al archivo del registro: los escriben los hilos de
//!   [`registro`].
//! - Lo correcto no depende de [`recepcion::parada`]: un proceso muerto a mitad no ha acusado nada que
//!   no esté a salvo.
//!
//! Las flechas van en un sentido, de arriba abajo:
//!
//! ```text
//! main, argumentos
//! ordenes                    --revisar, --enviar, --servicio, --instalar
//! gestor                     quién arrancó el programa y puede pararlo
//! configuracion              Config.ini → valores
//! recepcion                  quién entra, a quién se llama, la conversación, lo que se cuenta
//! cable, almacen             el cable, el disco
//! hl7                        qué comienza un mensaje, qué dice, qué se contesta
//! registro                   lo que se dice, y los dos sitios donde queda
//! ventana
//! hilo, lectura, octetos, pedido, causa, texto, cerrojo, memoria
//! ```
//!
//! # Palabras
//!
//! | palabra | significado |
//! |---|---|
//! | mensaje | un mensaje HL7 v2, o un lote (FHS, BHS) en una sola trama |
//! | segmento, campo, componente | partes de un mensaje; el primer segmento es el MSH, la cabecera |
//! | trama | cómo viajó un mensaje: MLLP (VT … FS CR), o sin trama |
//! | suceso | lo que hay en el cable, en orden: un mensaje, unos bytes que no lo son, un indicio; en HL7, también el segundo componente de MSH-9 |
//! | ráfaga | lo que llega entre dos pausas |
//! | latido, prefijo | textos que un convertidor de serie a red intercala entre los mensajes o delante de cada uno |
//! | ruido | bytes entre mensajes que no significan nada y se descartan |
//! | relleno | bytes que no significan nada delante de un segmento: blancos, NUL, BOM, STX, ENQ |
//! | equipo | el analizador, llame él o se le llame |
//! | trato | lo que sigue la conversación con un equipo: cómo se le acusa, cuánto se le espera, cuándo se avisa de que calla |
//! | intermediario | un programa que habla por otros equipos, y dice por cuál con una cabecera PROXY |
//! | conexión | el canal TCP con un equipo; la conversación es lo que se habla en ella |
//! | acuse | el ACK que enviamos; el veredicto dice cuál |
//! | reenvío | lo último que ese equipo tenía guardado, byte por byte, que llega otra vez |
//! | huella | con qué se reconoce un reenvío sin guardar el mensaje |
//! | cuenta | lo que se suma de un equipo, y lo último que se sabe de él |
//! | desecho | lo que no es un mensaje, a efectos de cuánto se admite de cada equipo |
//! | respuesta | un mensaje con MSA, que es él mismo un acuse y no se acusa |
//! | consulta | un mensaje con que el equipo pregunta qué debe medir; se le contesta que nada |
//! | plaza | el derecho de una conexión a estar, que otro puede necesitar más |
//! | llamada | la conexión que abre el programa hacia un equipo que espera |
//! | archivo, parcial | el `.res` de un mensaje, y lo que es antes de estar entero |
//! | registro | lo que el programa dice, línea a línea; el diario son sus archivos, uno por día |
//! | gestor | quien arranca, vigila y detiene el programa: systemd, o el de los servicios de Windows |
//! | apartado | bytes que no llegaron a ser un mensaje, guardados en `apartados/` |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod almacen;
pub mod cable;
mod causa;
mod cerrojo;
pub mod configuracion;
pub mod gestor;
pub mod hilo;
pub mod hl7;
mod lectura;
mod memoria;
mod octetos;
pub mod ordenes;
pub mod pedido;
pub mod recepcion;
pub mod registro;
mod texto;
pub mod ventana;

/// El código de salida de lo que salió mal…
pub const FALLO: u8 = 1;
/// …y el de lo que se pidió mal: repetirlo igual no servirá.
pub const MAL_PEDIDO: u8 = 2;
