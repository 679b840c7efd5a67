use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use servidor_hl7::configuracion::Configuracion;
use servidor_hl7::registro::Ajustes;

use crate::analizador_simulado::mensaje;
#[cfg(unix)]
use crate::servidor_de_prueba::limitada;
use crate::servidor_de_prueba::{
    Servidor, Vigilado, carpeta_nueva, contenidos, ejecutar, escribir_ini, orden,
};

/// Lo que dice y el código con que acaba un programa que no llega a arrancar.
fn fallo(carpeta: &Path, argumentos: &[&str]) -> (String, Option<i32>) {
    let salida = ejecutar(orden(carpeta).args(argumentos));
    (
        String::from_utf8(salida.stderr).unwrap(),
        salida.status.code(),
    )
}

/// El ejecutable, también en esa carpeta.
fn poner_programa(carpeta: &Path) -> PathBuf {
    let original = Path::new(env!("CARGO_BIN_EXE_servidor-hl7"));
    let programa = carpeta.join(original.file_name().unwrap());
    // Windows no borra ningún nombre de un programa en marcha; en Linux, una copia abierta para
    // escribir cuando otra prueba se bifurca no se puede ejecutar.
    if cfg!(windows) {
        fs::copy(original, &programa).unwrap();
    } else {
        fs::hard_link(original, &programa).unwrap();
    }
    programa
}

/// Con cada texto el programa no arranca y dice esas partes. Un texto sin secciones se añade a
/// un `[Servidor]` que sirve.
fn comprobar_fallos(casos: &[(&str, &[&str])]) {
    let base = "[Servidor]\nPuerto = 0\nDirectorio = mensajes\n";
    for (ini, partes) in casos {
        let carpeta = carpeta_nueva();
        let texto = if ini.contains('[') || ini.is_empty() {
            (*ini).to_owned()
        } else {
            format!("{base}{ini}\n")
        };
        fs::write(carpeta.join("Config.ini"), texto).unwrap();
        let (dicho, codigo) = fallo(&carpeta, &[]);
        assert_eq!(codigo, Some(2), "{ini}: {dicho}");
        for parte in partes.iter().chain(&["Config.ini»"]) {
            assert!(dicho.contains(parte), "«{parte}» no está en «{dicho}»");
        }
        let en_una_linea = !dicho.trim_end().contains(char::is_control);
        assert!(en_una_linea, "{dicho:?}");
        fs::remove_dir_all(carpeta).unwrap();
    }
}

#[test]
fn un_valor_que_no_sirve_se_dice_con_archivo_seccion_clave_valor_y_lo_esperado() {
    comprobar_fallos(&[
        ("", &["falta la sección [Servidor]"]),
        ("[Otra]\nPuerto = 1\n", &["falta la sección [Servidor]"]),
        (
            "[Servidor]\nDirectorio = x\n",
            &["[Servidor]", "falta la clave Puerto"],
        ),
        ("[Servidor]\nPuerto = 1\n", &["falta la clave Directorio"]),
        (
            "[Servdor]\nPuerto = 1\nDirectorio = x\n",
            &["falta la sección [Servidor]; ¿es [Servdor]?"],
        ),
        (
            "[Servidor]\nPuerot = 1\nDirectorio = x\n",
            &["falta la clave Puerto; ¿es la línea «Puerot»?"],
        ),
        (
            "[Servidor]\nPuerto = 1\n[Registro]\nDirectorio = x\n",
            &["falta la clave Directorio; ¿es la línea «Directorio» de [Registro]?"],
        ),
        (
            "[Servidor]\nPuerto = 1\nDirectorio =\n",
            &["Directorio = «»", "ruta de una carpeta"],
        ),
        (
            "[Servidor]\nPuerto = dos\nDirectorio = x\n",
            &["Puerto = «dos»", "entre 0 y 65535"],
        ),
        (
            "[Servidor]\nPuerto = 65536\nDirectorio = x\n",
            &["Puerto = «65536»", "entre 0 y 65535"],
        ),
        (
            "[Servidor]\nPuerto = 2575 ; HL7\nDirectorio = x\n",
            &[
                "Puerto = «2575 ; HL7»",
                "; un comentario va en su propia línea",
            ],
        ),
        (
            "[Servidor]\nPuerto = \"2575\"\nDirectorio = x\n",
            &["Puerto = «\"2575\"»", "; quite las comillas"],
        ),
        (
            "[Servidor]\nPuerto = 1\nA = %(B)s\nB = %(A)s\nDirectorio = %(A)s\n",
            &["el valor de Directorio cita a otros con %(…)s sin acabar nunca"],
        ),
        (
            "[Servidor]\nPuerto = 1\nDirectorio = x\n[Equipos]\nA = %(B)s\nB = %(A)s\n",
            &["[Equipos], el valor de A cita a otros"],
        ),
        (
            "Direccion = localhost",
            &["Direccion = «localhost»", "dirección IP"],
        ),
        (
            "Dirección = localhost",
            &["Direccion = «localhost»", "dirección IP"],
        ),
        (
            "EquiposPermitidos = 10.0.0.0/40",
            &["EquiposPermitidos = «10.0.0.0/40»", "rangos"],
        ),
        (
            "MaxConexiones = 0",
            &["MaxConexiones = «0»", "entre 1 y 10000"],
        ),
        (
            "MaxMensajeMiB = -1",
            &["MaxMensajeMiB = «-1»", "entre 1 y 1024"],
        ),
        (
            "EsperaSinTramaMs = 1,5",
            &["EsperaSinTramaMs = «1,5»", "entre 10 y 60000"],
        ),
        (
            "EsperaTramaIncompletaS = nunca",
            &["EsperaTramaIncompletaS = «nunca»", "entre 1 y 86400"],
        ),
        (
            "Acuse = mllp",
            &["Acuse = «mllp»", "automatico, clasico, estandar"],
        ),
        ("CodigoAcuse = AE", &["CodigoAcuse = «AE»", "AA, CA"]),
        (
            "AvisoSilencioHoras = 7-25",
            &[
                "AvisoSilencioHoras = «7-25»",
                "dos horas distintas, p. ej. 7-20",
            ],
        ),
        (
            "AcuseDeFallo = no",
            &["AcuseDeFallo = «no»", "AE, AR, ninguno"],
        ),
        (
            "Sincronizar = quizás",
            &["Sincronizar = «quizás»", "si, no"],
        ),
    ]);
}

#[test]
fn una_linea_mal_escrita_o_repetida_se_dice_con_su_numero() {
    comprobar_fallos(&[
        (
            "[Servidor\nPuerto = 1\n",
            &["no se entiende", "(línea 1: falta el ])"],
        ),
        ("= valor", &["no se entiende", "(línea 4: falta la clave)"]),
        (
            "Sincronizar no",
            &["no se entiende", "(línea 4: «Sincronizar no» no lleva =)"],
        ),
        (
            "Puerto = 1\n[Servidor]\nDirectorio = x\n",
            &[
                "(línea 1: «Puerto = 1» está antes de la primera [Sección]; ponga encima la línea [Servidor])",
            ],
        ),
        (
            "[Servidor]\nPuerto =\n 0\nDirectorio x\n",
            &["(línea 4: «Directorio x» no lleva =)"],
        ),
        (
            "<!DOCTYPE html><html><head><title>Configuración [1]</title>\n",
            &["(línea 1: «<!DOCTYPE html><html><head><title>Config…» está antes de la primera"],
        ),
        ("Puerto = 1", &["está dos veces «Puerto»", "en la línea 4"]),
        (
            "Dirección = 127.0.0.1\nDIRECCIÓN = 127.0.0.1",
            &["está dos veces «DIRECCIÓN»", "en la línea 5"],
        ),
        (
            "[Servidor]\nPuerto = 0\n[Llamar]\nBC-20 = 127.0.0.1:1\nBC-20 = 127.0.0.1:2\n",
            &["está dos veces «BC-20»", "en la línea 5"],
        ),
        (
            "[Servidor]\nPuerto = 0\n[Servidor]\nDirectorio = x\n",
            &["está dos veces «Servidor»", "en la línea 3"],
        ),
    ]);
}

#[test]
fn un_valor_que_sigue_en_otra_linea_dice_como_separarlas() {
    let remedio = "; si la línea siguiente es otra clave, quite los espacios de su comienzo";
    comprobar_fallos(&[
        (
            "Direccion = 127.0.0.1\n  Sincronizar = no",
            &[
                "Direccion = «127.0.0.1",
                "Sincronizar = no» no sirve",
                remedio,
            ],
        ),
        (
            "[Servidor]\nPuerto = 0\nDirectorio = x\n Direccion = 127.0.0.1\n",
            &[
                "Directorio = «x",
                "Direccion = 127.0.0.1» no sirve",
                remedio,
            ],
        ),
        (
            "[Servidor]\nPuerto = 0\nDirectorio = x\n[Registro]\nCarpeta = r\n Nivel = info",
            &["[Registro], Carpeta = «r", remedio],
        ),
    ]);
}

#[test]
fn un_caracter_de_control_no_llega_a_la_consola_ni_al_nombre_de_un_equipo() {
    comprobar_fallos(&[
        (
            "[Servidor]\nPuerto = 0\nDirectorio = x\n[Equipos]\nA\u{1b}[2J = 127.0.0.1\n",
            &["[Equipos], el nombre «A\u{FFFD}[2J» lleva algún carácter que no se ve"],
        ),
        (
            "[Servidor]\nDirectorio = x\n[Llamar]\nBC\0\u{8}\u{9b}20 = 127.0.0.1:9\n",
            &["[Llamar], el nombre «BC\u{FFFD}\u{FFFD}\u{FFFD}20» lleva"],
        ),
        ("Acuse = a\u{1b}b", &["Acuse = «a\u{FFFD}b» no sirve"]),
        ("x\0 = 1\nx\0 = 2", &["está dos veces «x\u{FFFD}»"]),
    ]);
    let servidor = Servidor::con("x\u{1b} = 1\n[y\u{1b}]");
    servidor.esperar_linea("sobra la clave «x\u{FFFD}» de [Servidor]");
    servidor.esperar_linea("sobra la sección [y\u{FFFD}]");
}

/// Una lista sin nadie no puede ser la de todos, ni una dirección la de dos.
#[test]
fn los_permitidos_son_alguien_y_cada_direccion_es_de_un_equipo() {
    comprobar_fallos(&[
        (
            "EquiposPermitidos = ,",
            &["EquiposPermitidos = «,»", "rangos"],
        ),
        (
            "[Equipos]\nA = 127.0.0.1\nB = ::ffff:127.0.0.1\n[Servidor]\nPuerto = 0\nDirectorio = x\n",
            &["[Equipos], B = «::ffff:127.0.0.1»", "distinta de la de «A»"],
        ),
    ]);
}

#[test]
fn los_intermediarios_son_direcciones_o_rangos() {
    for malos in ["haproxy.lab", "10.0.0.0/33", "127.0.0.1 o ::1"] {
        let clave = format!("Intermediarios = {malos}");
        let dicho =
            format!("Intermediarios = «{malos}» no sirve; se esperaba: direcciones IP o rangos");
        comprobar_fallos(&[(&clave, &[&dicho])]);
    }
}

#[test]
fn un_equipo_no_se_llama_como_una_seccion_del_programa() {
    for nombre in ["Servidor", "llamar", "EQUIPOS", "Registro", "Default"] {
        let equipos =
            format!("[Servidor]\nPuerto = 0\nDirectorio = x\n[Llamar]\n{nombre} = 127.0.0.1:9\n");
        let dicho = format!(
            "[Llamar], el nombre «{nombre}» es el de una sección del programa; dé otro nombre al equipo"
        );
        comprobar_fallos(&[(&equipos, &[&dicho])]);
    }
}

#[test]
fn con_carpeta_por_equipo_un_nombre_que_no_puede_ser_el_de_una_carpeta_se_dice() {
    for (nombre, defecto) in [
        ("Química <1>", "lleva alguno de estos signos"),
        ("NUL", "Windows lo reserva"),
        ("Gases.", "acaba en punto"),
        ("apartados", "es el de la carpeta de los apartados"),
        ("A.res", "acaba en .res"),
    ] {
        let claves = |valor| {
            format!(
                "[Servidor]\nPuerto = 0\nDirectorio = x\nCarpetaPorEquipo = {valor}\n[Equipos]\n{nombre} = 127.0.0.1\n"
            )
        };
        let dicho =
            format!("[Equipos], el nombre «{nombre}» no puede ser el de una carpeta: {defecto}");
        let remedio = "; dé otro nombre al equipo, o quite CarpetaPorEquipo";
        comprobar_fallos(&[(&claves("si"), &[&dicho, remedio])]);
        let carpeta = carpeta_nueva();
        fs::write(carpeta.join("Config.ini"), claves("no")).unwrap();
        Configuracion::leer(&carpeta.join("Config.ini")).unwrap();
        fs::remove_dir_all(carpeta).unwrap();
    }
    let iguales = "[Servidor]\nPuerto = 0\nDirectorio = x\nCarpetaPorEquipo = si\n[Equipos]\nGroß = 127.0.0.1\n[Llamar]\nGROSS = 127.0.0.1:9\n";
    comprobar_fallos(&[(
        iguales,
        &["[Llamar], el nombre «GROSS»", "es la de otro equipo"],
    )]);
}

#[test]
fn un_valor_que_no_sirve_en_la_seccion_de_un_equipo_se_dice_con_ella() {
    let base =
        "[Servidor]\nPuerto = 0\nDirectorio = x\n[Equipos]\nQuímica = 127.0.0.3\n[QUIMICA]\n";
    for (clave, partes) in [
        (
            "CodigoAcuse = AE",
            "CodigoAcuse = «AE» no sirve; se esperaba: uno de estos: AA, CA",
        ),
        (
            "MaxMensajeMiB = 0",
            "MaxMensajeMiB = «0» no sirve; se esperaba: un número entero",
        ),
        (
            "AvisoSilencioHoras = 7 a 20",
            "AvisoSilencioHoras = «7 a 20» no sirve; se esperaba: dos horas",
        ),
    ] {
        let ini = format!("{base}{clave}\n");
        comprobar_fallos(&[(&ini, &["sección [Química], ", partes])]);
    }
}

#[test]
fn un_equipo_se_llama_en_un_puerto_y_una_sola_vez() {
    let esperado = "192.168.1.250:5100";
    comprobar_fallos(&[
        (
            "[Llamar]\nBC-20 = 192.168.1.9\n[Servidor]\nDirectorio = x\n",
            &["[Llamar], BC-20 = «192.168.1.9»", esperado],
        ),
        (
            "[Llamar]\nBC-20 = 192.168.1.9:0\n[Servidor]\nDirectorio = x\n",
            &["[Llamar], BC-20 = «192.168.1.9:0»", esperado],
        ),
        (
            "[Llamar]\nA = 127.0.0.1:9\nB = 127.0.0.1:8\nC = [::ffff:127.0.0.1]:9\n[Servidor]\nDirectorio = x\n",
            &[
                "[Llamar], C = «[::ffff:127.0.0.1]:9»",
                "distintos de los de «A»",
            ],
        ),
        (
            "[Llamar]\n[Servidor]\nDirectorio = x\n",
            &["falta la clave Puerto"],
        ),
    ]);
}

#[test]
fn el_config_ini_del_programa_de_python_vale_sin_cambios() {
    for (ini, carpeta_esperada) in [
        (&b"[Servidor]\nPuerto=0\nDirectorio=men\n"[..], "men"),
        (b"[Servidor]\r\nPuerto: 0\r\nDirectorio: men\r\n", "men"),
        (b"# c\n; c\n[Servidor]\n  puerto = 0\n  DIRECTORIO = a\\b\\\n", "a/b"),
        (b"[Servidor]\nPuerto = 0\nDirectorio = a #1; b\n", "a #1; b"),
        (b"[Servidor]\nPuerto = 0\nDirectorio = al 100%%\n", "al 100%"),
        (b"[Servidor]\nPuerto = 0\nLab = sur\nDirectorio = res_%(Lab)s\n", "res_sur"),
        (b"[DEFAULT]\nPuerto = 0\n[Servidor]\nDirectorio = men\n", "men"),
        (b"\xEF\xBB\xBF[Servidor]\nPuerto = 0\nDirectorio = an\xC3\xA1lisis\n", "análisis"),
        (b"[Servidor]\nPuerto = 0\nDirectorio = an\xE1lisis a\xF1o\n", "análisis año"),
        (b"[Servidor]\nPuerto = 0\nDirectorio = an\xC3\xA1lisis\n", "análisis"),
        (b"\xFF\xFE[\0S\0e\0r\0v\0i\0d\0o\0r\0]\0\n\0P\0u\0e\0r\0t\0o\0=\x000\0\n\0D\0i\0r\0e\0c\0t\0o\0r\0i\0o\0=\0\xE1\0", "á"),
        (b"\xFE\xFF\0[\0S\0e\0r\0v\0i\0d\0o\0r\0]\0\n\0P\0u\0e\0r\0t\0o\0=\x000\0\n\0D\0i\0r\0e\0c\0t\0o\0r\0i\0o\0=\0\xE1", "á"),
        (b"[SERVID\xD3R]\nPuerto = 0\nDirect\xF3rio = %(Lab\xF3)s\nLabo = men\n", "men"),
    ] {
        let carpeta = carpeta_nueva();
        fs::write(carpeta.join("Config.ini"), ini).unwrap();
        let orden = orden(&carpeta);
        let servidor = Servidor::lanzar(carpeta.clone(), orden);
        servidor.conectar().entregar("1");
        assert_eq!(contenidos(&carpeta.join(carpeta_esperada), "res"), [mensaje("1")], "{}", ini.escape_ascii());
    }
}

#[test]
fn el_config_ini_que_acompana_al_programa_lleva_los_valores_por_omision() {
    let ruta = Path::new(env!("CARGO_MANIFEST_DIR")).join("Config.ini");
    let entregada = Configuracion::leer(&ruta).unwrap();
    assert_eq!((entregada.puerto, entregada.avisos.len()), (Some(2575), 0));
    assert!(entregada.directorio.ends_with("mensajes"));
    let diario = entregada.diario.as_ref().unwrap();
    assert!(diario.carpeta.ends_with("registro"));
    // Con cada clave comentada puesta en vigor, nada cambia.
    let texto = fs::read_to_string(&ruta).unwrap();
    let (servidor, equipos) = texto.split_once("# [Llamar]").unwrap();
    let (_, registro) = equipos.split_once("[Registro]").unwrap();
    let en_vigor: Vec<_> = servidor
        .lines()
        .chain(["[Registro]"])
        .chain(registro.lines())
        .map(|linea| match linea.strip_prefix("# ") {
            Some(clave)
                if clave
                    .split_once(" =")
                    .is_some_and(|(nombre, _)| !nombre.contains(' ')) =>
            {
                clave
            }
            _ => linea,
        })
        .collect();
    assert_eq!(
        en_vigor
            .iter()
            .filter(|linea| !linea.is_empty() && !linea.starts_with(['#', '[']))
            .count(),
        24
    );
    let carpeta = carpeta_nueva();
    fs::write(carpeta.join("Config.ini"), en_vigor.join("\n")).unwrap();
    let completa = Configuracion::leer(&carpeta.join("Config.ini")).unwrap();
    let comparable = |configuracion: Configuracion| {
        format!(
            "{:?}",
            Configuracion {
                directorio: "".into(),
                ruta: "".into(),
                diario: configuracion.diario.map(|diario| Ajustes {
                    carpeta: "".into(),
                    ..diario
                }),
                estado: None,
                // La lista de equipos, vacía, se avisa.
                avisos: Vec::new(),
                ..configuracion
            }
        )
    };
    assert_eq!(comparable(completa), comparable(entregada));
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn lo_que_nadie_lee_se_avisa() {
    let servidor = Servidor::con(
        "MaxConexion = 3\nA = 10.0.0.1:9\nB = 10.0.0.1\nCarpeta = x\nNada = 1\n[Registro]\nNivle = 1\n[Registros]\nx = 1",
    );
    servidor.esperar_linea(
        "sobra la clave «MaxConexion» de [Servidor] (¿quiso decir MaxConexiones?): nadie la lee",
    );
    for clave in ["A", "B"] {
        servidor.esperar_linea(&format!("sobra la clave «{clave}» de [Servidor] (¿falta quitar el # de la línea [Equipos] o [Llamar]?): nadie la lee"));
    }
    servidor.esperar_linea("la sección [Registro] no dice Carpeta, y sin ella no hay archivos");
    servidor.esperar_linea("sobra la clave «Carpeta» de [Servidor] (¿es de [Registro]?): nadie");
    servidor.esperar_linea("sobra la clave «Nada» de [Servidor]: nadie");
    servidor.esperar_linea("sobra la clave «Nivle» de [Registro] (¿quiso decir Nivel?): nadie");
    servidor.esperar_linea("sobra la sección [Registros] (¿quiso decir [Registro]?): nadie");
}

/// Suelta, la máscara sería la dirección de otro equipo.
#[test]
fn una_red_escrita_con_su_mascara_no_sirve_y_se_dice_como_se_escribe() {
    comprobar_fallos(&[
        (
            "EquiposPermitidos = 192.168.1.0 255.255.255.0",
            &[
                "EquiposPermitidos = «192.168.1.0 255.255.255.0» no sirve",
                "«255.255.255.0» es una máscara; escriba la red con su prefijo, p. ej. 192.168.1.0/24",
            ],
        ),
        (
            "EquiposPermitidos = 10.0.0.9, 192.168.1.0/255.255.255.128",
            &["«255.255.255.128» es una máscara; escriba"],
        ),
        (
            "Intermediarios = 10.0.0.0 mask 255.0.0.0",
            &["Intermediarios = ", "«255.0.0.0» es una máscara; escriba"],
        ),
        (
            "EquiposPermitidos = 255.0.255.0.1",
            &["EquiposPermitidos = «255.0.255.0.1»", "rangos"],
        ),
    ]);
}

/// Arranca con esas claves, y dice esa duda, aquí y en la revisión.
fn se_duda(claves: &str, duda: &str) {
    let servidor = Servidor::con(claves);
    let dicha = servidor.esperar_linea(duda);
    assert!(dicha.contains(" AVISO en «"), "{dicha}");
    servidor.conectar().entregar("1");
    let salida = ejecutar(orden(&servidor.carpeta).arg("--revisar"));
    let revisado = String::from_utf8(salida.stdout).unwrap();
    assert!(revisado.contains(duda), "«{duda}» no está en «{revisado}»");
}

#[test]
fn un_valor_que_vale_pero_nadie_quiso_se_avisa_al_arrancar_y_al_revisar() {
    for (claves, duda) in [
        (
            "EquiposPermitidos =",
            "EquiposPermitidos de [Servidor] es «»: entran todos los equipos",
        ),
        (
            "Directorio = %USERPROFILE%/m",
            "Directorio de [Servidor] es «%USERPROFILE%/m»: «%USERPROFILE%» es parte del nombre",
        ),
        (
            "Directorio = m ; carpeta",
            "Directorio de [Servidor] es «m ; carpeta»: «; carpeta» es parte del nombre",
        ),
        (
            "[Registro]\nCarpeta = ~/registro",
            "Carpeta de [Registro] es «~/registro»: «~» es parte del nombre",
        ),
        (
            "AvisoSilencioHoras = 7-20",
            "AvisoSilencioHoras de [Servidor] es «7-20»: con AvisoSilencioMin a 0 no se avisa a ninguna hora",
        ),
        (
            "AvisoSilencioMin = 60\n[Equipos]\nUno = 127.0.0.9\n[Uno]\nAvisoSilencioMin = 0\nAvisoSilencioHoras = 20-7",
            "AvisoSilencioHoras de [Uno] es «20-7»: con AvisoSilencioMin a 0 no se avisa",
        ),
        (
            "EquiposPermitidos = 127.0.0.0/30\n[Equipos]\nDentro = 127.0.0.3\nFuera = 127.0.0.4",
            "Fuera de [Equipos] es «127.0.0.4», que no está en EquiposPermitidos: se le rechazará",
        ),
    ] {
        se_duda(claves, duda);
    }
}

#[test]
fn de_las_horas_de_un_silencio_del_que_se_avisa_no_se_dice_nada() {
    for claves in [
        "AvisoSilencioHoras = 0-24",
        "AvisoSilencioHoras = 7-20\nAvisoSilencioMin = 60",
        "AvisoSilencioHoras = 7-20\n[Equipos]\nUno = 127.0.0.9\n[Uno]\nAvisoSilencioMin = 60",
        "AvisoSilencioMin = 60\n[Equipos]\nUno = 127.0.0.9\n[Uno]\nAvisoSilencioHoras = 7-20",
    ] {
        let carpeta = carpeta_nueva();
        escribir_ini(&carpeta, claves);
        let leida = Configuracion::leer(&carpeta.join("Config.ini")).unwrap();
        assert_eq!(leida.avisos, Vec::<String>::new(), "{claves}");
        fs::remove_dir_all(carpeta).unwrap();
    }
}

#[test]
fn del_equipo_que_puede_entrar_o_al_que_se_llama_no_se_dice_que_se_le_rechazara() {
    let lineas = "[Equipos]\nDentro = 127.0.0.3\n[Llamar]\nLlamado = 127.0.0.9:9\n[Servidor]\n";
    for permitidos in ["", "EquiposPermitidos =", "EquiposPermitidos = 127.0.0.3"] {
        let carpeta = carpeta_nueva();
        let ini = format!("{lineas}Puerto = 0\nDirectorio = m\n{permitidos}\n");
        let ruta = carpeta.join("Config.ini");
        fs::write(&ruta, ini).unwrap();
        let avisos = Configuracion::leer(&ruta).unwrap().avisos;
        let rechazado = avisos.iter().any(|aviso| aviso.contains("se le rechazará"));
        assert!(!rechazado, "{permitidos}: {avisos:?}");
        fs::remove_dir_all(carpeta).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn las_comillas_de_una_ruta_se_avisan_y_una_unidad_de_windows_se_rechaza() {
    se_duda("Directorio = \"m n\"", "las comillas son parte del nombre");
    comprobar_fallos(&[
        (
            "[Servidor]\nPuerto = 0\nDirectorio = C:\\HL7\\mensajes\n",
            &[
                "Directorio = «C:\\HL7\\mensajes» no sirve",
                "son de Windows",
            ],
        ),
        (
            "[Registro]\nCarpeta = \\\\pc\\registro\n[Servidor]\nPuerto = 0\nDirectorio = m\n",
            &["[Registro], Carpeta = ", "son de Windows"],
        ),
    ]);
}

#[cfg(windows)]
#[test]
fn las_comillas_de_una_ruta_se_rechazan_y_una_unidad_sin_barra_se_avisa() {
    comprobar_fallos(&[(
        "[Servidor]\nPuerto = 0\nDirectorio = \"C:\\HL7\\mis mensajes\"\n",
        &[
            "Directorio = «\"C:\\HL7\\mis mensajes\"» no sirve",
            "; quite las comillas",
        ],
    )]);
    let unidad = std::env::current_dir().unwrap().to_string_lossy()[..2].to_owned();
    se_duda(
        &format!("Directorio = {unidad}m"),
        &format!(
            "sin barra tras la unidad, la carpeta depende de desde dónde se arranque; escriba {unidad}\\m"
        ),
    );
}

#[test]
fn un_config_ini_con_otro_nombre_se_dice_y_no_se_escribe_otro() {
    let sin_mayuscula = if cfg!(unix) { "config.ini" } else { "Config" };
    for nombre in ["Config.ini.txt", "Config.txt", sin_mayuscula] {
        let carpeta = carpeta_nueva();
        fs::write(
            carpeta.join(nombre),
            "[Servidor]\nPuerto = 0\nDirectorio = m\n",
        )
        .unwrap();
        for argumentos in [
            &[][..],
            &["--revisar"],
            &["--enviar"],
            &["--config", "Config.ini"],
        ] {
            let (dicho, codigo) = fallo(&carpeta, argumentos);
            assert_eq!(codigo, Some(2), "{dicho}");
            let esperado = format!("Config.ini», pero sí «{nombre}»: si es ese");
            assert!(
                dicho.contains(&esperado),
                "«{esperado}» no está en «{dicho}»"
            );
        }
        assert_eq!(fs::read_dir(&carpeta).unwrap().count(), 1);
        fs::remove_dir_all(carpeta).unwrap();
    }
}

#[test]
fn junto_a_config_ini_otro_que_nadie_lee_se_avisa() {
    let carpeta = carpeta_nueva();
    fs::write(carpeta.join("Config.ini.txt"), "").unwrap();
    let servidor = Servidor::en(carpeta, "");
    servidor.esperar_linea("Config.ini» hay «Config.ini.txt», que nadie lee");
}

#[test]
fn lo_que_otro_valor_cita_no_sobra_y_se_puede_citar_en_cada_seccion() {
    let servidor = Servidor::con(
        "Base = mensajes\nDirectorio = %(base)s\n[DEFAULT]\nRed = 127.0.0.\n[Equipos]\nUno = %(Red)s1",
    );
    servidor.conectar().entregar("77");
    servidor.esperar_linea(" AA        Uno ");
    assert_eq!(servidor.archivos().len(), 1);
    assert!(!servidor.consola().contains("sobra"));
}

#[test]
fn sin_config_ini_se_escribe_uno_y_se_dice_y_nunca_se_reemplaza_otro() {
    let carpeta = carpeta_nueva();
    let actual = carpeta.join("actual");
    fs::create_dir(&actual).unwrap();
    let programa = poner_programa(&carpeta);
    // El puerto por omisión puede estar ocupado; escribir el archivo no depende de él.
    let (proceso, consola) = Vigilado::lanzar(Command::new(programa).current_dir(&actual));
    let consola = std::io::BufReader::new(consola);
    let mut lineas = std::io::BufRead::lines(consola).map(Result::unwrap);
    assert!(lineas.next().unwrap().contains("configuración leída de «"));
    let aviso = lineas.next().unwrap();
    assert!(
        aviso.contains("no había Config.ini: se escribió «"),
        "{aviso}"
    );
    drop(proceso);
    let (con, sin) = if cfg!(windows) {
        (&carpeta, &actual)
    } else {
        (&actual, &carpeta)
    };
    assert!(!sin.join("Config.ini").exists());
    let escrito = fs::read_to_string(con.join("Config.ini"))
        .unwrap()
        .replace("\r\n", "\n");
    assert_eq!(escrito, include_str!("../../Config.ini"));
    fs::remove_dir_all(carpeta).unwrap();
}

/// Un límite del sistema corta el archivo como un disco lleno, y quedaría uno a medias que parece entero.
#[cfg(unix)]
#[test]
fn un_config_ini_que_no_cabe_no_se_deja_a_medias_y_acaba_con_uno() {
    let carpeta = carpeta_nueva();
    for argumentos in [&[][..], &["--revisar"]] {
        let salida = ejecutar(limitada(&carpeta, "ulimit -f 1").args(argumentos));
        let dicho = String::from_utf8(salida.stderr).unwrap();
        let esperado = "no hay Config.ini y no se pudo escribir «";
        assert!(dicho.contains(esperado), "{dicho}");
        assert_eq!(salida.status.code(), Some(1), "{dicho}");
        assert_eq!(fs::read_dir(&carpeta).unwrap().count(), 0);
    }
    fs::remove_dir_all(carpeta).unwrap();
}

#[test]
fn config_elige_el_archivo_y_directorio_cuenta_desde_su_carpeta() {
    let carpeta = carpeta_nueva();
    fs::create_dir(carpeta.join("lab")).unwrap();
    fs::write(
        carpeta.join("lab/otro.ini"),
        "[Servidor]\nPuerto = 0\nDirectorio = men\n",
    )
    .unwrap();
    let mut orden = orden(&carpeta);
    orden.args(["--config", "lab/otro.ini"]);
    let servidor = Servidor::lanzar(carpeta.clone(), orden);
    servidor.conectar().entregar("1");
    assert_eq!(contenidos(&carpeta.join("lab/men"), "res"), [mensaje("1")]);

    let (dicho, codigo) = fallo(&carpeta, &["--config", "no_existe.ini"]);
    assert_eq!(codigo, Some(2));
    assert!(dicho.contains("no_existe.ini»: no existe"), "{dicho}");
}

#[test]
fn sin_config_ini_en_la_carpeta_actual_se_lee_el_que_esta_junto_al_programa() {
    let carpeta = carpeta_nueva();
    let programa = poner_programa(&carpeta);
    escribir_ini(&carpeta, "Directorio = men");
    let otra = carpeta_nueva();
    let mut orden = Command::new(programa);
    orden.current_dir(&otra);
    let servidor = Servidor::lanzar(carpeta.clone(), orden);
    servidor.conectar().entregar("1");
    assert_eq!(contenidos(&carpeta.join("men"), "res"), [mensaje("1")]);
    assert_eq!(fs::read_dir(&otra).unwrap().count(), 0);
    // Windows no borra la carpeta actual de un proceso.
    drop(servidor);
    fs::remove_dir_all(otra).unwrap();
}

#[test]
fn un_puerto_ocupado_o_una_carpeta_imposible_se_dicen_y_acaban_con_uno() {
    let ocupante = Servidor::arrancar();
    let carpeta = carpeta_nueva();
    let ini = |puerto: u16, directorio: &str| {
        let lineas = format!("Puerto = {puerto}\nDirectorio = {directorio}\nDireccion = 127.0.0.1");
        escribir_ini(&carpeta, &lineas);
        fallo(&carpeta, &[])
    };
    let (dicho, codigo) = ini(ocupante.puerto, "mensajes");
    assert_eq!(codigo, Some(1));
    assert!(
        dicho.contains(&format!("{}»: otro programa ya lo usa", ocupante.puerto)),
        "{dicho}"
    );
    let (dicho, codigo) = ini(0, "Config.ini");
    assert_eq!(codigo, Some(1));
    assert!(
        dicho.contains("ya hay un archivo con el nombre de la carpeta"),
        "{dicho}"
    );
    fs::remove_dir_all(&carpeta).unwrap();
}

#[test]
fn un_config_ini_que_nunca_se_podra_leer_acaba_con_dos() {
    let carpeta = carpeta_nueva();
    escribir_ini(&carpeta, "");
    for nunca in ["no_existe.ini", ".", "Config.ini/dentro.ini"] {
        let (dicho, codigo) = fallo(&carpeta, &["--config", nunca]);
        assert_eq!(codigo, Some(2), "{nunca}: {dicho}");
        assert!(dicho.contains("no se pudo leer «"), "{dicho}");
    }
    fs::remove_dir_all(&carpeta).unwrap();
}

/// Leer la memoria de un proceso por su comienzo da el mismo error que un disco que falla.
#[cfg(target_os = "linux")]
#[test]
fn un_config_ini_que_el_disco_no_deja_leer_acaba_con_uno() {
    let carpeta = carpeta_nueva();
    let (dicho, codigo) = fallo(&carpeta, &["--config", "/proc/self/mem"]);
    assert_eq!(codigo, Some(1), "{dicho}");
    let esperado = "no se pudo leer «/proc/self/mem»: ";
    assert!(dicho.contains(esperado), "{dicho}");
    fs::remove_dir_all(&carpeta).unwrap();
}

/// En Windows un nombre no puede llevar caracteres de control.
#[cfg(unix)]
#[test]
fn una_ruta_con_caracteres_de_control_se_dice_en_una_linea_y_siempre_igual() {
    let carpeta = carpeta_nueva().join("a\nb\x1b[2J\u{202e}c");
    fs::create_dir(&carpeta).unwrap();
    fs::write(carpeta.join("Config.ini"), "[Servidor]\nPuerto = x\n").unwrap();
    fs::write(carpeta.join("suelto.ini"), "nada\n").unwrap();
    fs::write(carpeta.join("otro.ini.txt"), "").unwrap();
    fs::write(
        carpeta.join("llamar.ini"),
        "[Servidor]\nPuerto = 0\nDirectorio = m\n",
    )
    .unwrap();
    for (argumentos, parte) in [
        (&[][..], "en «"),
        (&["--config", "suelto.ini"], "no se entiende «"),
        (&["--config", "no_existe.ini"], "no se pudo leer «"),
        (&["--config", "otro.ini"], "no está «"),
        (&["--enviar", "--config", "llamar.ini"], "en «"),
    ] {
        let (dicho, _) = fallo(&carpeta, argumentos);
        assert!(dicho.contains(parte), "{dicho}");
        assert!(dicho.contains(r"a\u{a}b\u{1b}[2J\u{202e}c/"), "{dicho:?}");
        assert!(!dicho.trim_end().contains(char::is_control), "{dicho:?}");
    }
    // Lo que se dice de lo que está bien, y los avisos.
    let texto = "[Servidor]\nPuerto = 0\nDirectorio = m\nNada = 1\n[Registro]\nCarpeta = r\n";
    fs::write(carpeta.join("Config.ini"), texto).unwrap();
    let salida = ejecutar(orden(&carpeta).arg("--revisar"));
    let dicho = String::from_utf8(salida.stdout).unwrap();
    let mal = |linea: &&str| linea.contains(char::is_control) || linea.contains('\u{202e}');
    assert_eq!(dicho.lines().find(mal), None, "{dicho:?}");
    assert!(dicho.contains("se escribirá cada día en «"), "{dicho}");
    fs::remove_dir_all(carpeta.parent().unwrap()).unwrap();
}

#[test]
fn help_y_version_contestan_y_un_argumento_desconocido_se_dice() {
    let carpeta = carpeta_nueva();
    for (argumento, esperado) in [
        ("--help", "--config RUTA"),
        ("--version", env!("CARGO_PKG_VERSION")),
    ] {
        let salida = ejecutar(orden(&carpeta).arg(argumento));
        assert!(salida.status.success());
        assert!(String::from_utf8(salida.stdout).unwrap().contains(esperado));
    }
    let (dicho, codigo) = fallo(&carpeta, &["--confg"]);
    assert_eq!(codigo, Some(2));
    assert!(dicho.contains("--help"), "{dicho}");
    assert_eq!(fs::read_dir(&carpeta).unwrap().count(), 0);
    fs::remove_dir_all(&carpeta).unwrap();
}
