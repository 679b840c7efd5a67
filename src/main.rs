//! El programa: lee Config.ini, abre el puerto, recibe y espera la parada.

mod argumentos;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use log::{info, warn};
use servidor_hl7::almacen::{Almacen, tolerar_limites};
use servidor_hl7::configuracion::{Configuracion, adonde_se_envia, configurar};
use servidor_hl7::gestor::{Gestor, retener_cierre};
use servidor_hl7::hilo::abrir_hilo;
use servidor_hl7::ordenes::enviar::enviar;
use servidor_hl7::ordenes::instalar::{desinstalar, instalar};
use servidor_hl7::ordenes::revisar::{EnMarcha, revisar};
use servidor_hl7::ordenes::servicio;
use servidor_hl7::pedido::ErrorDePedido;
use servidor_hl7::recepcion::Recepcion;
use servidor_hl7::recepcion::parada::{APAGAR_SERVER, Parada};
use servidor_hl7::recepcion::servidor::{abrir_puerto, iniciar_servidor};
use servidor_hl7::registro::{self, Registro};
use servidor_hl7::{FALLO, MAL_PEDIDO, ventana};

use crate::argumentos::Orden;

fn main() -> ExitCode {
    // Antes que nada: vale para los hilos que se abran después.
    tolerar_limites();
    let hecho = ejecutar();
    if let Err(error) = &hecho {
        registro::decir_fallo(error);
        ventana::esperar_lectura();
    }
    ExitCode::from(codigo(&hecho))
}

/// El código con que acaba el programa.
fn codigo(hecho: &Result<bool, Box<dyn Error>>) -> u8 {
    match hecho {
        Ok(true) => 0,
        Err(error) if error.is::<ErrorDePedido>() => MAL_PEDIDO,
        _ => FALLO,
    }
}

/// Hace lo que se pide; devuelve si salió bien.
fn ejecutar() -> Result<bool, Box<dyn Error>> {
    let pedido = argumentos::leer()?;
    let config = pedido.config.as_deref();
    match pedido.orden {
        Orden::Servir => servir(config, &Gestor::Consola),
        Orden::Servicio => {
            let config = pedido.config.clone();
            servicio::atender(move |gestor| codigo(&servir(config.as_deref(), gestor)))
        }
        Orden::Instalar => instalar(config, &mut io::stdout()),
        Orden::Desinstalar => desinstalar(config, &mut io::stdout()),
        Orden::Revisar => {
            let bien = revisar(&configurar(config)?, EnMarcha::NoSeSabe, &mut io::stdout());
            ventana::esperar_lectura();
            Ok(bien)
        }
        Orden::Enviar => {
            let destino = adonde_se_envia(pedido.destino, config)?;
            let es_terminal = io::stdout().is_terminal();
            enviar(&pedido.envio, &destino, &mut io::stdout(), es_terminal)
        }
        Orden::Mostrar(texto) => {
            // Si nadie lee lo que se dice, no hay a quién decírselo.
            let _ = writeln!(io::stdout(), "{texto}");
            Ok(true)
        }
    }
}

/// Recibe hasta la parada. Lo que falle consta también en el registro: un servicio no tiene consola.
fn servir(config: Option<&Path>, gestor: &Gestor) -> Result<bool, Box<dyn Error>> {
    // Antes de que haya otros hilos, y solo aquí: las demás órdenes acaban con su terminal.
    retener_cierre();
    let configuracion = configurar(config).inspect_err(|error| gestor.constar(config, &**error))?;
    let registro = registro::iniciar(
        configuracion.nivel,
        configuracion.diario.clone(),
        configuracion.presentar(),
    )?;
    for aviso in &configuracion.avisos {
        warn!("{aviso}");
    }
    recibir(configuracion, &registro, gestor).inspect_err(|error| registro.constar(error))?;
    Ok(true)
}

/// La forma del programa: el puerto, la carpeta, un hilo que acepta conexiones, y la parada.
fn recibir(
    configuracion: Configuracion,
    registro: &Registro,
    gestor: &Gestor,
) -> Result<(), Box<dyn Error>> {
    let escucha = configuracion
        .puerto
        .map(|puerto| abrir_puerto(SocketAddr::new(configuracion.direccion, puerto)))
        .transpose()?;
    let almacen = Almacen::abrir(configuracion.directorio, configuracion.sincronizar)?
        .con_subcarpetas(configuracion.equipos.carpetas())?;
    let parada = Arc::new(Parada::new(&APAGAR_SERVER));
    let pedida = gestor.atender_parada(&parada)?;

    let direccion = escucha.as_ref().map(TcpListener::local_addr);
    let puerto = direccion.transpose()?.map(|direccion| direccion.port());
    let de_que = puerto.map_or(String::new(), |puerto| format!("puerto {puerto}, "));
    let titulo = format!("servidor-hl7: {de_que}{}", almacen.carpeta().display());
    let equipos = configuracion.equipos;
    let llamados = equipos.llamados().count();
    let acceso = configuracion.acceso.caber(llamados, escucha.is_some())?;
    let recepcion = Arc::new(Recepcion::new(almacen, &equipos, Arc::clone(&parada)));
    recepcion.decir_carpeta();
    recepcion.llamar(equipos.llamados())?;
    recepcion.publicar(configuracion.estado, puerto, registro.avisos());
    recepcion.vigilar(configuracion.vigilancia)?;
    if let (Some(escucha), Some(puerto)) = (escucha, puerto) {
        let (recepcion, parada) = (Arc::clone(&recepcion), Arc::clone(&parada));
        let config = configuracion.ruta;
        abrir_hilo("puerto", move || {
            let atender = move |canal: &_, equipo: &_, actividad: &_| {
                recepcion.atender(canal, equipo, actividad)
            };
            iniciar_servidor(&escucha, &acceso, &equipos, &parada, &config, atender)
        })?;
        info!("Servidor Escuchando el Puerto {puerto}");
    }
    registro.decir_arrancado(&titulo);
    gestor.decir_listo(&titulo);

    // Un error aquí significa que ya nadie puede pedir la parada.
    let plazo = pedida.recv().unwrap_or_default();
    gestor.decir_parando();
    let pendientes = parada.esperar(plazo);
    // Lo que el registro contaba sale antes de la despedida, y ella antes de la página, que puede no dar tiempo.
    registro.vaciar();
    recepcion.despedir(pendientes);
    registro.vaciar();
    recepcion.cerrar();
    Ok(())
}
