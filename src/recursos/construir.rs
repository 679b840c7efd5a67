//! Lo que el ejecutable de Windows dice de sí mismo: nombre, versión, icono y manifiesto.
//!
//! Lo ejecuta Cargo antes de construir. Sin compilador de recursos se construye igual, sin ellos.

#![allow(clippy::print_stdout, reason = "así se habla con Cargo")]

use std::env;
use std::io;

use winresource::WindowsResource;

/// Español: el idioma en que está escrito lo que sigue.
const ESPANOL: u16 = 0x0C0A;

fn main() {
    println!("cargo:rerun-if-changed=src/recursos");
    if env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return;
    }
    if let Err(error) = poner_recursos() {
        println!(
            "cargo:warning=el ejecutable no llevará versión, icono ni manifiesto: {error}; hace falta windres (GNU) o rc (MSVC)"
        );
    }
}

fn poner_recursos() -> io::Result<()> {
    let mut recursos = WindowsResource::new();
    recursos
        .set_language(ESPANOL)
        .set("FileDescription", "Receptor HL7 (servidor-hl7)")
        .set("ProductName", "servidor-hl7")
        .set("OriginalFilename", "servidor-hl7.exe")
        .set_icon("src/recursos/icono.ico")
        .set_manifest_file("src/recursos/manifiesto.xml");
    recursos.compile_for("servidor-hl7")
}
