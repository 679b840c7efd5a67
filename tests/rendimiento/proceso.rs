//! Los procesos que se miden: el servidor de verdad y el mínimo, en una carpeta nueva y en un
//! puerto libre, y lo que gastan según /proc.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::caso::{Caso, EQUIPO};

/// Lo que un proceso lleva gastado.
#[derive(Clone, Copy, Default)]
pub(crate) struct Gasto {
    /// Microsegundos de CPU de sus hilos vivos.
    pub(crate) cpu_us: f64,
    /// Qué parte de ellos pasó fuera del sistema; muestreada a cada centésima.
    pub(crate) fuera_del_sistema_us: f64,
    /// Memoria residente, ahora y en su máximo, en KB de 1024.
    pub(crate) rss_kb: f64,
    pub(crate) rss_max_kb: f64,
}

/// Un proceso que escucha. Muere al soltarlo.
pub(crate) struct Proceso {
    hijo: Child,
    pub(crate) puerto: u16,
}

impl Proceso {
    /// El ejecutable de verdad, en una carpeta que ya está.
    pub(crate) fn servidor(carpeta: &Path, caso: &Caso) -> Proceso {
        let valor = |si| if si { "si" } else { "no" };
        let ini = format!(
            "[Servidor]\nPuerto = 0\nDirectorio = mensajes\nMaxConexiones = 1000\nSincronizar = {}\nCarpetaPorEquipo = {}\n[Equipos]\n{EQUIPO} = 127.0.0.1\n",
            valor(caso.sincronizar),
            valor(caso.por_equipo)
        );
        Proceso::con_ini(carpeta, &ini)
    }

    /// El ejecutable de verdad, con ese Config.ini.
    pub(crate) fn con_ini(carpeta: &Path, ini: &str) -> Proceso {
        fs::write(carpeta.join("Config.ini"), ini).unwrap();
        let mut orden = Command::new(env!("CARGO_BIN_EXE_servidor-hl7"));
        orden.current_dir(carpeta);
        Proceso::lanzar(orden)
    }

    /// El servidor mínimo, que es este mismo ejecutable; sus mensajes van a esa carpeta, que crea.
    pub(crate) fn minimo(mensajes: &Path, sincronizar: bool) -> Proceso {
        fs::create_dir_all(mensajes).unwrap();
        let mut orden = Command::new(std::env::current_exe().unwrap());
        orden.arg("--minimo").arg(mensajes);
        if sincronizar {
            orden.arg("--sincronizar");
        }
        Proceso::lanzar(orden)
    }

    fn lanzar(mut orden: Command) -> Proceso {
        let mut hijo = orden
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut consola = BufReader::new(hijo.stdout.take().unwrap());
        let mut linea = String::new();
        while !linea.contains("Escuchando el Puerto ") {
            linea.clear();
            assert_ne!(consola.read_line(&mut linea).unwrap(), 0, "no arrancó");
        }
        let puerto = linea.trim_end().rsplit(' ').next().unwrap();
        let puerto = puerto.parse().unwrap();
        // Una consola que lee, como la de quien mira pasar los mensajes.
        thread::spawn(move || io::copy(&mut consola, &mut io::sink()));
        Proceso { hijo, puerto }
    }

    /// Lo que el sistema dice de él, si tiene /proc.
    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.hijo.id().to_string())
    }

    /// Cuántos hilos tiene; 0 si este sistema no tiene /proc.
    pub(crate) fn hilos(&self) -> usize {
        fs::read_dir(self.proc().join("task")).map_or(0, Iterator::count)
    }

    /// Espera a que tenga tantos hilos; sin /proc no se sabe, y no espera.
    pub(crate) fn esperar_hilos(&self, cuantos: usize) {
        while (1..cuantos).contains(&self.hilos()) {
            thread::yield_now();
        }
    }

    /// Lo gastado hasta ahora; `None` si este sistema no tiene /proc.
    pub(crate) fn gasto(&self) -> Option<Gasto> {
        let proc = self.proc();
        let mut gasto = Gasto::default();
        for hilo in fs::read_dir(proc.join("task")).ok()? {
            let reloj = fs::read_to_string(hilo.ok()?.path().join("schedstat")).ok()?;
            gasto.cpu_us += reloj.split(' ').next()?.parse::<f64>().ok()? / 1e3;
        }
        let stat = fs::read_to_string(proc.join("stat")).ok()?;
        let campos: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
        // utime y stime son los campos 14 y 15; tras el nombre, que es el 2, el primero es el 3.
        let usuario: f64 = campos.get(11)?.parse().ok()?;
        let sistema: f64 = campos.get(12)?.parse().ok()?;
        gasto.fuera_del_sistema_us = gasto.cpu_us * usuario / (usuario + sistema).max(1.0);
        let estado = fs::read_to_string(proc.join("status")).ok()?;
        let memoria = |clave: &str| {
            let linea = estado.lines().find(|linea| linea.starts_with(clave))?;
            linea.split_whitespace().nth(1)?.parse().ok()
        };
        gasto.rss_kb = memoria("VmRSS:")?;
        gasto.rss_max_kb = memoria("VmHWM:")?;
        Some(gasto)
    }

    /// A partir de ahora el máximo de memoria residente se cuenta de nuevo.
    pub(crate) fn olvidar_maximo(&self) {
        // Sin /proc no hay máximo que olvidar.
        let _ = fs::write(self.proc().join("clear_refs"), "5");
    }
}

impl Drop for Proceso {
    fn drop(&mut self) {
        let _ = self.hijo.kill();
        let _ = self.hijo.wait();
    }
}
