//! Config.ini: con cualquier byte da una configuración o un error en palabras, y vuelve.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use servidor_hl7::configuracion::Configuracion;

fuzz_target!(|bytes: &[u8]| {
    let ruta = std::env::temp_dir().join(format!("fuzz-{}.ini", std::process::id()));
    fs::write(&ruta, bytes).expect("la carpeta temporal se puede escribir");
    match Configuracion::leer(&ruta) {
        Ok(configuracion) => {
            assert!((1..=10_000).contains(&configuracion.acceso.max_conexiones));
            assert!(configuracion.equipos.comun.limites.mensaje_bytes >= 1024 * 1024);
        }
        Err(error) => assert!(error.to_string().contains("fuzz-")),
    }
});
