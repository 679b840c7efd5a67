//! Los pasos de la instalación como servicio de Windows, y los de deshacerla: qué hace cada uno, la orden
//! que lo haría a mano y la que lo deshace.
//!
//! No toca nada: quien los da es otro.

use std::io::Write;
use std::path::{self, Path, PathBuf};

use crate::ordenes::servicio::NOMBRE;

/// La cuenta que Windows da a ese servicio: sin contraseña y sin más permisos que los que se le den.
pub(super) const CUENTA: &str = r"NT SERVICE\servidor-hl7";
/// El sistema y los administradores (por su número, que no cambia con el idioma) pueden todo.
const PLENOS: [&str; 2] = ["*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F"];
const USUARIOS: &str = "*S-1-5-32-545:(OI)(CI)RX";
const ADMINISTRADORES: &str = "*S-1-5-32-544";

/// Qué se instala, y dónde.
#[derive(Debug)]
pub(super) struct Instalacion {
    pub(super) programa: PathBuf,
    /// Por qué la carpeta del programa no es solo suya, si no lo es.
    pub(super) ajena: Option<Ajena>,
    pub(super) config: PathBuf,
    /// Los archivos que hay junto al programa, él incluido.
    pub(super) archivos: Vec<PathBuf>,
    /// Las carpetas en las que escribe.
    pub(super) carpetas: Vec<PathBuf>,
    /// La página de estado, si la hay.
    pub(super) pagina: Option<PathBuf>,
    pub(super) puerto: Option<u16>,
}

/// Por qué la carpeta del programa no es solo suya, y entonces no se le pueden cambiar los permisos.
#[derive(Debug)]
pub(super) enum Ajena {
    /// Nunca pudo serlo.
    Siempre(String),
    /// En ella hay algo más, que pudo llegar después de instalar.
    ConMas(String),
}

/// Lo que hace un paso.
#[derive(Debug)]
pub(super) enum Accion {
    /// Crear el servicio o, si ya existe, dejarlo como se crearía, salvo su cuenta.
    Crear,
    /// Que no estorbe a un PC que está arrancando.
    Retrasar,
    /// Que Windows lo arranque de nuevo si falla.
    Repetir,
    Arrancar,
    Detener,
    Borrar,
    /// Órdenes de Windows, una tras otra.
    Dar(Vec<Orden>),
    /// Una orden que cambia lo que ya hay o, si no lo hay, las que lo ponen, una tras otra.
    Ajustar(Orden, Vec<Orden>),
}

/// Una orden de Windows.
#[derive(Debug)]
pub(super) struct Orden {
    pub(super) programa: &'static str,
    pub(super) argumentos: Vec<String>,
    /// Que salga mal quiere decir que no había nada que quitar.
    pub(super) puede_faltar: bool,
}

#[derive(Debug)]
pub(super) struct Paso {
    que: &'static str,
    hecho: String,
    accion: Accion,
    a_mano: String,
    deshacer: Option<String>,
}

impl Orden {
    fn new<'a>(programa: &'static str, argumentos: impl IntoIterator<Item = &'a str>) -> Orden {
        Orden {
            programa,
            argumentos: argumentos.into_iter().map(str::to_owned).collect(),
            puede_faltar: false,
        }
    }

    fn si_hay(self) -> Orden {
        Orden {
            puede_faltar: true,
            ..self
        }
    }

    /// Como se escribe en una consola: entre comillas lo que lleve algo que para ella pueda ser más que texto.
    fn escrita(&self) -> String {
        let es_llano = |c: char| c.is_alphanumeric() || r"\/:.-_=,".contains(c);
        let argumentos = self.argumentos.iter().map(|argumento| {
            if argumento.chars().all(es_llano) {
                format!(" {argumento}")
            } else {
                format!(" \"{argumento}\"")
            }
        });
        argumentos.fold(self.programa.to_owned(), |orden, argumento| {
            orden + &argumento
        })
    }
}

impl Paso {
    fn de_ordenes(que: &'static str, hecho: String, ordenes: Vec<Orden>) -> Paso {
        let escritas: Vec<_> = ordenes.iter().map(Orden::escrita).collect();
        Paso {
            que,
            hecho,
            accion: Accion::Dar(ordenes),
            a_mano: escritas.join(" & "),
            deshacer: None,
        }
    }

    /// Cambia lo que ya hay sin tocar lo demás que se le cambió a mano o, si falla porque no lo hay, lo pone.
    fn de_ajuste(que: &'static str, hecho: String, ajustar: Orden, poner: Vec<Orden>) -> Paso {
        let escritas: Vec<_> = poner.iter().map(Orden::escrita).collect();
        Paso {
            que,
            hecho,
            a_mano: format!("{} || ({})", ajustar.escrita(), escritas.join(" & ")),
            accion: Accion::Ajustar(ajustar, poner),
            deshacer: None,
        }
    }

    fn del_servicio(que: &'static str, hecho: &str, accion: Accion, a_mano: String) -> Paso {
        Paso {
            que,
            hecho: hecho.to_owned(),
            accion,
            a_mano,
            deshacer: None,
        }
    }

    fn y_se_deshace(mut self, orden: impl Into<String>) -> Paso {
        self.deshacer = Some(orden.into());
        self
    }
}

impl Instalacion {
    /// La carpeta del programa.
    pub(super) fn carpeta(&self) -> &Path {
        self.programa.parent().unwrap_or(Path::new(""))
    }

    /// Por qué no se puede instalar, si no se puede.
    pub(super) fn impedimento(&self) -> Option<String> {
        // La página, lo primero: la carpeta en que está podría ser lo ajeno que hay en la del programa.
        self.pagina_fuera()
            .or_else(|| self.carpeta_ajena())
            .or_else(|| self.programa_abierto())
            .or_else(|| self.sin_puerto_fijo())
    }

    fn carpeta_ajena(&self) -> Option<String> {
        let (Ajena::Siempre(motivo) | Ajena::ConMas(motivo)) = self.ajena.as_ref()?;
        Some(format!(
            "{motivo}; en la carpeta del servicio solo debe poder escribir un administrador: lleve servidor-hl7.exe y Config.ini a una nueva, p. ej. C:\\servidor-hl7, y repita allí la orden"
        ))
    }

    /// La página se escribe en una de las carpetas del servicio: dar permiso en otra, por un archivo, es darlo
    /// sobre todo lo que haya en ella.
    fn pagina_fuera(&self) -> Option<String> {
        let pagina = self.pagina.as_ref()?;
        if self.carpetas.iter().any(|en| esta_en(pagina, en)) {
            return None;
        }
        let dentro = self.carpetas.last()?.join("estado.html");
        Some(format!(
            "el servicio no podría escribir la página «{}»: solo escribe en las carpetas de los mensajes y del registro; póngala en una de ellas, p. ej. Estado = {}",
            pagina.display(),
            dentro.display()
        ))
    }

    fn sin_puerto_fijo(&self) -> Option<String> {
        let motivo = "con Puerto = 0 el servicio escucharía cada vez en otro puerto; escriba uno fijo en Config.ini";
        (self.puerto == Some(0)).then(|| motivo.to_owned())
    }

    /// Por qué el servicio podría cambiar su propio programa, si puede: una de las carpetas en que escribe es
    /// la del programa, o la contiene.
    fn programa_abierto(&self) -> Option<String> {
        let programa = self.carpeta();
        let abierta = |carpeta: &&PathBuf| esta_en(programa, carpeta);
        let (carpeta, config) = (self.carpetas.iter().find(abierta)?, &self.config);
        Some(format!(
            "el servicio escribiría en «{}», que es la carpeta de su programa o la contiene, y podría cambiarlo; dé en «{}» otras carpetas a Directorio y a Carpeta, p. ej. mensajes y registro",
            carpeta.display(),
            config.display()
        ))
    }

    /// Todo lo que hay que hacer para que arranque con Windows.
    pub(super) fn pasos_de_instalar(&self) -> Vec<Paso> {
        let mut pasos = vec![
            Paso::del_servicio(
                "servicio",
                &format!(
                    "arrancará con Windows, con la configuración «{}» y, si no se eligió otra, la cuenta {CUENTA}",
                    self.config.display()
                ),
                Accion::Crear,
                self.crear_a_mano(),
            )
            .y_se_deshace(format!("sc.exe delete {NOMBRE}")),
            Paso::del_servicio(
                "retraso",
                "con el PC arranca después que lo demás",
                Accion::Retrasar,
                format!("sc.exe config {NOMBRE} start= delayed-auto"),
            ),
            Paso::del_servicio(
                "repetición",
                "si falla, Windows lo arranca otra vez a los 5 s, y después cada minuto",
                Accion::Repetir,
                format!("sc.exe failure {NOMBRE} reset= 86400 actions= restart/5000/restart/60000"),
            ),
            self.proteger_el_programa(),
        ];
        if let Some(config) = self.config_aparte() {
            pasos.push(dar_permiso(config, "R", "leerá"));
        }
        for carpeta in &self.carpetas {
            pasos.push(dar_permiso(carpeta, "(OI)(CI)M", "puede escribir en"));
        }
        pasos.push(self.abrir_el_puerto());
        pasos.push(
            Paso::del_servicio(
                "arranque",
                "está en marcha",
                Accion::Arrancar,
                format!("sc.exe start {NOMBRE}"),
            )
            .y_se_deshace(format!("sc.exe stop {NOMBRE}")),
        );
        pasos
    }

    /// Deja el PC sin el servicio. Los mensajes, el registro y Config.ini no se tocan.
    pub(super) fn pasos_de_desinstalar(&self) -> Vec<Paso> {
        let mut pasos = vec![Paso::del_servicio(
            "parada",
            "está detenido",
            Accion::Detener,
            format!("sc.exe stop {NOMBRE}"),
        )];
        if let Some(config) = self.config_aparte() {
            pasos.push(quitar_permiso(config, "lee"));
        }
        for carpeta in &self.carpetas {
            pasos.push(quitar_permiso(carpeta, "escribe en"));
        }
        if self.ajena.is_none() {
            let programa = self.carpeta().display();
            pasos.push(Paso::de_ordenes(
                "programa",
                format!("«{programa}» vuelve a los permisos de la carpeta que la contiene"),
                vec![self.devolver_permisos()],
            ));
        }
        pasos.push(Paso::de_ordenes(
            "cortafuegos",
            "no hay reglas para el programa".to_owned(),
            vec![self.quitar_reglas()],
        ));
        pasos.push(Paso::del_servicio(
            "servicio",
            "ya no existe",
            Accion::Borrar,
            format!("sc.exe delete {NOMBRE}"),
        ));
        pasos
    }

    /// Lo que desinstalar no deshace: los permisos de una carpeta en la que hay algo más no se tocan, y pudieron
    /// cambiarse cuando no lo había.
    pub(super) fn sin_deshacer(&self) -> Option<String> {
        let Some(Ajena::ConMas(motivo)) = &self.ajena else {
            return None;
        };
        Some(format!(
            "{motivo}, y sus permisos se quedan como están; si los cambió --instalar, vuelven a los de la carpeta que la contiene con: {}",
            self.devolver_permisos().escrita()
        ))
    }

    fn devolver_permisos(&self) -> Orden {
        let carpeta = self.carpeta().display().to_string();
        Orden::new("icacls.exe", [&*carpeta, "/reset"])
    }

    /// El Config.ini, si lo hay y no está en la carpeta del programa, que ya se deja leer.
    fn config_aparte(&self) -> Option<&Path> {
        let carpeta = self.config.parent()?;
        (carpeta != self.carpeta()).then_some(&self.config)
    }

    /// Para la consola, que no sabe que la barra guarda la comilla siguiente, las dos rutas están fuera de las
    /// comillas.
    fn crear_a_mano(&self) -> String {
        let fuera = |ruta: &Path| {
            let ruta = ruta.display().to_string();
            ruta.replace('^', "^^").replace('&', "^&")
        };
        format!(
            r#"sc.exe create {NOMBRE} start= auto obj= "{CUENTA}" binPath= "\"{}\" --servicio --config \"{}\"""#,
            fuera(&self.programa),
            fuera(&self.config)
        )
    }

    /// Un programa que cualquiera puede cambiar, y que el servicio arranca, es una puerta: en su carpeta
    /// solo escriben los administradores, y lo que ya hay en ella es suyo.
    fn proteger_el_programa(&self) -> Paso {
        let carpeta = self.carpeta().display().to_string();
        let lectura = format!("{CUENTA}:(OI)(CI)RX");
        let mut ordenes = vec![
            Orden::new("icacls.exe", [&*carpeta, "/setowner", ADMINISTRADORES]),
            Orden::new("icacls.exe", [&*carpeta, "/reset"]),
            Orden::new(
                "icacls.exe",
                [&*carpeta, "/inheritance:r", "/grant:r"]
                    .into_iter()
                    .chain(PLENOS)
                    .chain([USUARIOS, &*lectura]),
            ),
        ];
        for archivo in &self.archivos {
            let archivo = archivo.display().to_string();
            ordenes.push(Orden::new(
                "icacls.exe",
                [&*archivo, "/setowner", ADMINISTRADORES],
            ));
            ordenes.push(Orden::new("icacls.exe", [&*archivo, "/reset"]));
        }
        let hecho = format!("en «{carpeta}» solo puede escribir un administrador");
        let deshacer = self.devolver_permisos().escrita();
        Paso::de_ordenes("programa", hecho, ordenes).y_se_deshace(deshacer)
    }

    /// La regla que el programa ya tiene puede admitir a más equipos, porque alguien la amplió: solo se le pone
    /// el puerto. Si no la tiene, antes se quitan las que haya para él: la que Windows pone al contestar
    /// «Cancelar» a su pregunta vence a cualquier otra. A quien tiene la suya, Windows no le pregunta.
    fn abrir_el_puerto(&self) -> Paso {
        let Some(puerto) = self.puerto else {
            let hecho = "nadie tiene que entrar: solo se llama a los equipos".to_owned();
            return Paso::de_ordenes("cortafuegos", hecho, vec![self.quitar_reglas()]);
        };
        let nombre = format!("name={NOMBRE}");
        let local = format!("localport={puerto}");
        let programa = self.del_programa();
        let (permitir, tcp) = ("action=allow", "protocol=TCP");
        let ajustar = del_cortafuegos([
            "set",
            "rule",
            &nombre,
            "dir=in",
            &programa,
            "new",
            "enable=yes",
            permitir,
            &local,
        ]);
        let red = "remoteip=localsubnet";
        let abrir = del_cortafuegos([
            "add", "rule", &nombre, "dir=in", permitir, tcp, &local, red, &programa,
        ]);
        let hecho = format!("desde la red de este PC se puede entrar al puerto {puerto}");
        let deshacer = del_cortafuegos(["delete", "rule", &nombre]).escrita();
        Paso::de_ajuste(
            "cortafuegos",
            hecho,
            ajustar,
            vec![self.quitar_reglas(), abrir],
        )
        .y_se_deshace(deshacer)
    }

    fn quitar_reglas(&self) -> Orden {
        del_cortafuegos(["delete", "rule", "name=all", "dir=in", &self.del_programa()]).si_hay()
    }

    /// De qué programa es una regla del cortafuegos.
    fn del_programa(&self) -> String {
        format!("program={}", self.programa.display())
    }
}

fn del_cortafuegos<'a>(argumentos: impl IntoIterator<Item = &'a str>) -> Orden {
    let argumentos = ["advfirewall", "firewall"].into_iter().chain(argumentos);
    Orden::new("netsh.exe", argumentos)
}

/// La cuenta que se pone al servicio. El que ya existe se queda con la suya: pudo elegirse otra, para una
/// carpeta de red. La propia conserva sus permisos, que no sirven a nadie más.
pub(super) fn cuenta_que_se_pone(ya_existe: bool) -> Option<&'static str> {
    (!ya_existe).then_some(CUENTA)
}

fn dar_permiso(ruta: &Path, permiso: &str, verbo: &str) -> Paso {
    let ruta = ruta.display().to_string();
    let permiso = format!("{CUENTA}:{permiso}");
    let hecho = format!("{CUENTA} {verbo} «{ruta}»");
    let quitar = Orden::new("icacls.exe", [&*ruta, "/remove:g", CUENTA]).escrita();
    let dar = Orden::new("icacls.exe", [&*ruta, "/grant", &*permiso]);
    Paso::de_ordenes("permiso", hecho, vec![dar]).y_se_deshace(quitar)
}

fn quitar_permiso(ruta: &Path, verbo: &str) -> Paso {
    let ruta = ruta.display().to_string();
    let hecho = format!("{CUENTA} ya no {verbo} «{ruta}»; lo que hay se queda");
    let quitar = Orden::new("icacls.exe", [&*ruta, "/remove:g", CUENTA]).si_hay();
    Paso::de_ordenes("permiso", hecho, vec![quitar])
}

/// Da los pasos y dice cada uno; si el servicio no se puede crear, solo arranca otra vez el que había en
/// marcha y se detuvo para cambiarlo. Devuelve si todos salieron bien.
pub(super) fn dar(
    pasos: &[Paso],
    estaba_en_marcha: bool,
    mut hacer: impl FnMut(&Accion) -> Result<(), String>,
    salida: &mut impl Write,
) -> bool {
    let mut todo_bien = true;
    let mut sin_servicio = false;
    for paso in pasos {
        let es_arrancar = matches!(paso.accion, Accion::Arrancar);
        if sin_servicio && !(es_arrancar && estaba_en_marcha) {
            continue;
        }
        let hecho = hacer(&paso.accion);
        todo_bien &= hecho.is_ok();
        let (como, detalle) = match (&hecho, &paso.deshacer) {
            (Ok(()), None) => ("bien", paso.hecho.clone()),
            (Ok(()), Some(orden)) => ("bien", format!("{}; para deshacerlo: {orden}", paso.hecho)),
            (Err(error), _) => (
                "MAL",
                format!("{error}; para hacerlo a mano: {}", paso.a_mano),
            ),
        };
        // Si nadie lo lee, queda el código de salida.
        let _ = writeln!(salida, "{como:<5} {:<11} {detalle}", paso.que);
        sin_servicio |= hecho.is_err() && matches!(paso.accion, Accion::Crear);
    }
    todo_bien
}

/// Si esa ruta es la de la carpeta o algo de dentro. Windows da cada una como se escribió, y en ellas no
/// cuentan las mayúsculas.
fn esta_en(ruta: &Path, carpeta: &Path) -> bool {
    let comparable = |ruta: &Path| {
        let entera = path::absolute(ruta).unwrap_or_else(|_| ruta.to_path_buf());
        PathBuf::from(entera.to_string_lossy().to_lowercase())
    };
    comparable(ruta).starts_with(comparable(carpeta))
}

/// Por qué la carpeta del programa no es suya, si no lo es. De cada cosa que hay en ella se da el nombre.
pub(super) fn no_es_propia(
    carpeta: &Path,
    perfiles: Option<&Path>,
    nombres: &[String],
    datos: &[PathBuf],
) -> Option<Ajena> {
    let donde = carpeta.display();
    if carpeta.to_string_lossy().starts_with(r"\\") {
        let motivo = format!("«{donde}» es una carpeta de red");
        return Some(Ajena::Siempre(motivo));
    }
    if carpeta.parent().is_none() || perfiles.is_some_and(|perfiles| esta_en(carpeta, perfiles)) {
        let motivo = format!("«{donde}» no es una carpeta propia del programa");
        return Some(Ajena::Siempre(motivo));
    }
    let es_suyo = |nombre: &&String| {
        let suyo = nombre.to_lowercase();
        let comienzos = ["servidor-hl7", "config"];
        let finales = [".ini", ".md", ".txt", ".html", ".pdf", ".lnk", ".pem"];
        comienzos.iter().any(|comienzo| suyo.starts_with(comienzo))
            || finales.iter().any(|fin| suyo.ends_with(fin))
            || datos
                .iter()
                .any(|dato| esta_en(dato, &carpeta.join(nombre)))
    };
    let ajeno = nombres.iter().find(|nombre| !es_suyo(nombre))?;
    let motivo = format!("en «{donde}» hay otras cosas, p. ej. «{ajeno}»");
    Some(Ajena::ConMas(motivo))
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn instalacion(carpeta: &str) -> Instalacion {
        let carpeta = Path::new(carpeta);
        let (programa, config) = (carpeta.join("servidor-hl7.exe"), carpeta.join("Config.ini"));
        Instalacion {
            archivos: vec![programa.clone(), config.clone()],
            programa,
            ajena: None,
            config,
            carpetas: vec![carpeta.join("mensajes"), carpeta.join("registro")],
            pagina: None,
            puerto: Some(2575),
        }
    }

    fn a_mano(pasos: &[Paso]) -> Vec<String> {
        pasos
            .iter()
            .map(|paso| paso.a_mano.replace('\\', "/"))
            .collect()
    }

    #[test]
    fn cada_paso_de_la_instalacion_es_la_orden_que_se_daria_a_mano() {
        let pasos = instalacion("/hl7 lab").pasos_de_instalar();
        assert_eq!(
            a_mano(&pasos),
            [
                r#"sc.exe create servidor-hl7 start= auto obj= "NT SERVICE/servidor-hl7" binPath= "/"/hl7 lab/servidor-hl7.exe/" --servicio --config /"/hl7 lab/Config.ini/"""#,
                "sc.exe config servidor-hl7 start= delayed-auto",
                "sc.exe failure servidor-hl7 reset= 86400 actions= restart/5000/restart/60000",
                r#"icacls.exe "/hl7 lab" /setowner "*S-1-5-32-544" & icacls.exe "/hl7 lab" /reset & icacls.exe "/hl7 lab" /inheritance:r /grant:r "*S-1-5-18:(OI)(CI)F" "*S-1-5-32-544:(OI)(CI)F" "*S-1-5-32-545:(OI)(CI)RX" "NT SERVICE/servidor-hl7:(OI)(CI)RX" & icacls.exe "/hl7 lab/servidor-hl7.exe" /setowner "*S-1-5-32-544" & icacls.exe "/hl7 lab/servidor-hl7.exe" /reset & icacls.exe "/hl7 lab/Config.ini" /setowner "*S-1-5-32-544" & icacls.exe "/hl7 lab/Config.ini" /reset"#,
                r#"icacls.exe "/hl7 lab/mensajes" /grant "NT SERVICE/servidor-hl7:(OI)(CI)M""#,
                r#"icacls.exe "/hl7 lab/registro" /grant "NT SERVICE/servidor-hl7:(OI)(CI)M""#,
                r#"netsh.exe advfirewall firewall set rule name=servidor-hl7 dir=in "program=/hl7 lab/servidor-hl7.exe" new enable=yes action=allow localport=2575 || (netsh.exe advfirewall firewall delete rule name=all dir=in "program=/hl7 lab/servidor-hl7.exe" & netsh.exe advfirewall firewall add rule name=servidor-hl7 dir=in action=allow protocol=TCP localport=2575 remoteip=localsubnet "program=/hl7 lab/servidor-hl7.exe")"#,
                "sc.exe start servidor-hl7",
            ]
        );
    }

    #[test]
    fn una_ruta_con_signos_de_la_consola_no_parte_la_orden() {
        let ordenes = a_mano(&instalacion("/R&D^2").pasos_de_instalar());
        let crear = r#"binPath= "/"/R^&D^^2/servidor-hl7.exe/" --servicio --config /"/R^&D^^2/Config.ini/"""#;
        assert!(ordenes[0].contains(crear), "{}", ordenes[0]);
        for signo in " &^;'!%()[]{}+`~#@$".chars() {
            let orden = Orden::new("icacls.exe", [&*format!("/R{signo}D"), "/reset"]);
            assert_eq!(orden.escrita(), format!("icacls.exe \"/R{signo}D\" /reset"));
        }
        let llana = Orden::new("icacls.exe", [r"C:\análisis_2\año-1.x", "a=1,2"]);
        assert_eq!(llana.escrita(), r"icacls.exe C:\análisis_2\año-1.x a=1,2");
    }

    #[test]
    fn desinstalar_quita_lo_que_la_instalacion_puso_y_nada_mas() {
        let pasos = instalacion("/hl7").pasos_de_desinstalar();
        assert_eq!(
            a_mano(&pasos),
            [
                "sc.exe stop servidor-hl7",
                r#"icacls.exe /hl7/mensajes /remove:g "NT SERVICE/servidor-hl7""#,
                r#"icacls.exe /hl7/registro /remove:g "NT SERVICE/servidor-hl7""#,
                "icacls.exe /hl7 /reset",
                "netsh.exe advfirewall firewall delete rule name=all dir=in program=/hl7/servidor-hl7.exe",
                "sc.exe delete servidor-hl7",
            ]
        );
    }

    #[test]
    fn al_desinstalar_los_permisos_de_una_carpeta_con_otras_cosas_no_se_tocan_y_se_dice_como() {
        let dicho = |ajena: fn(String) -> Ajena| {
            let instalacion = Instalacion {
                ajena: Some(ajena("en «/hl7 lab» hay otras cosas".to_owned())),
                ..instalacion("/hl7 lab")
            };
            let motivo = instalacion.impedimento().unwrap_or_default();
            assert!(motivo.contains("otras cosas; en la carpeta"), "{motivo}");
            let ordenes = a_mano(&instalacion.pasos_de_desinstalar());
            assert!(!ordenes.iter().any(|orden| orden.contains("/reset")));
            instalacion.sin_deshacer()
        };
        let con_mas = dicho(Ajena::ConMas).unwrap();
        let orden = r#"con: icacls.exe "/hl7 lab" /reset"#;
        assert!(con_mas.starts_with("en «/hl7 lab» hay otras cosas, y sus permisos "));
        assert!(con_mas.ends_with(orden), "{con_mas}");
        // En el escritorio de alguien, o en la raíz, no se pudo instalar, y esa orden los cambiaría.
        assert_eq!(dicho(Ajena::Siempre), None);
        assert_eq!(instalacion("/hl7").sin_deshacer(), None);
    }

    /// Lo que se quita puede no estar: la segunda vez, o si alguien ya lo quitó.
    #[test]
    fn quitar_lo_que_no_hay_no_es_un_fallo() {
        let ordenes = |pasos: Vec<Paso>| -> Vec<Orden> {
            let de_cada_paso = pasos.into_iter().map(|paso| match paso.accion {
                Accion::Dar(ordenes) => ordenes,
                Accion::Ajustar(orden, ordenes) => iter::once(orden).chain(ordenes).collect(),
                _ => Vec::new(),
            });
            de_cada_paso.flatten().collect()
        };
        let instalacion = instalacion("/hl7");
        for orden in ordenes(instalacion.pasos_de_instalar())
            .into_iter()
            .chain(ordenes(instalacion.pasos_de_desinstalar()))
        {
            let quita = ["delete", "/remove:g"];
            let quita = orden
                .argumentos
                .iter()
                .any(|que| quita.contains(&que.as_str()));
            assert_eq!(orden.puede_faltar, quita, "{orden:?}");
        }
    }

    /// Lo que el manual dice que se cambie: la cuenta, y quién entra por el cortafuegos.
    #[test]
    fn instalar_otra_vez_no_deshace_lo_que_se_cambio_a_mano() {
        assert_eq!(cuenta_que_se_pone(false), Some(CUENTA));
        assert_eq!(cuenta_que_se_pone(true), None);
        for paso in instalacion("/hl7").pasos_de_instalar() {
            match paso.accion {
                Accion::Ajustar(ajustar, _) => {
                    let toca = |que| ajustar.argumentos.iter().any(|dicho| dicho.contains(que));
                    assert!(toca("localport=2575") && !toca("remoteip"), "{ajustar:?}");
                }
                Accion::Dar(ordenes) => {
                    let de_red = |orden: &Orden| orden.programa == "netsh.exe";
                    assert!(!ordenes.iter().any(de_red), "{ordenes:?}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn sin_puerto_no_se_abre_ninguno_y_un_config_de_otra_carpeta_se_deja_leer_mientras_esta_instalado()
     {
        let pasos = Instalacion {
            puerto: None,
            config: PathBuf::from("/otra/lab.ini"),
            ..instalacion("/hl7")
        };
        let ordenes = a_mano(&pasos.pasos_de_instalar());
        assert!(!ordenes.iter().any(|orden| orden.contains("add rule")));
        let leer = r#"icacls.exe /otra/lab.ini /grant "NT SERVICE/servidor-hl7:R""#;
        assert!(ordenes.iter().any(|orden| orden == leer), "{ordenes:#?}");
        let ordenes = a_mano(&pasos.pasos_de_desinstalar());
        let quitar = r#"icacls.exe /otra/lab.ini /remove:g "NT SERVICE/servidor-hl7""#;
        assert!(ordenes.iter().any(|orden| orden == quitar), "{ordenes:#?}");
    }

    #[test]
    fn al_desinstalar_sin_config_ini_no_hay_a_quien_quitar_permisos() {
        let pasos = Instalacion {
            config: PathBuf::new(),
            carpetas: Vec::new(),
            ..instalacion("/hl7")
        };
        let ordenes = a_mano(&pasos.pasos_de_desinstalar());
        let quitar = |orden: &&String| orden.contains("/remove:g");
        assert_eq!(ordenes.iter().find(quitar), None);
    }

    #[test]
    fn cada_paso_dice_como_deshacerlo_o_como_hacerlo_a_mano_y_sin_servicio_no_se_sigue() {
        let pasos = instalacion("/hl7").pasos_de_instalar();
        let dicho = |estaba_en_marcha, falla: fn(&Accion) -> bool| {
            let mut salida = Vec::new();
            let hacer = |accion: &Accion| {
                if falla(accion) {
                    Err("no hay permiso".to_owned())
                } else {
                    Ok(())
                }
            };
            let bien = dar(&pasos, estaba_en_marcha, hacer, &mut salida);
            (bien, String::from_utf8(salida).unwrap())
        };
        let (bien, todo) = dicho(false, |_| false);
        assert!(bien);
        assert_eq!(todo.lines().count(), pasos.len());
        assert!(todo.contains("para deshacerlo: sc.exe delete servidor-hl7\n"));
        assert!(!todo.contains("a mano"), "{todo}");

        let (bien, casi_todo) = dicho(false, |accion| {
            matches!(accion, Accion::Dar(_) | Accion::Ajustar(..))
        });
        assert!(!bien);
        assert_eq!(casi_todo.lines().count(), pasos.len());
        let a_mano = "MAL   cortafuegos no hay permiso; para hacerlo a mano: netsh.exe";
        assert!(casi_todo.contains(a_mano), "{casi_todo}");

        let (bien, nada) = dicho(false, |accion| matches!(accion, Accion::Crear));
        assert!(!bien);
        assert_eq!(nada.lines().count(), 1, "{nada}");

        let (bien, el_de_antes) = dicho(true, |accion| matches!(accion, Accion::Crear));
        assert!(!bien);
        let lineas: Vec<_> = el_de_antes.lines().collect();
        assert_eq!(lineas.len(), 2, "{el_de_antes}");
        assert!(lineas[1].starts_with("bien  arranque "), "{el_de_antes}");
    }

    #[test]
    fn el_servicio_no_escribe_en_la_carpeta_de_su_programa_ni_en_la_que_la_contiene() {
        let motivo = |carpeta: &str| {
            let instalacion = Instalacion {
                carpetas: vec![PathBuf::from("/datos"), PathBuf::from(carpeta)],
                config: PathBuf::from("/otra/lab.ini"),
                ..instalacion("/lab/hl7")
            };
            instalacion.impedimento()
        };
        for bien in ["/lab/hl7/mensajes", "/lab/hl7-2", "/lab/hl", "/otra"] {
            assert_eq!(motivo(bien), None, "{bien}");
        }
        let con_vuelta: &[_] = if cfg!(windows) {
            &["/lab/hl7/mensajes/..", r"\lab\otra\..\hl7"]
        } else {
            &[]
        };
        for mal in ["/lab/hl7", "/Lab/HL7", "/lab/hl7/.", "/lab", "/"]
            .iter()
            .chain(con_vuelta)
        {
            let motivo = motivo(mal).unwrap_or_default();
            for parte in [mal, "/otra/lab.ini"] {
                assert!(motivo.contains(&format!("«{parte}»")), "{motivo}");
            }
        }
    }

    #[test]
    fn la_pagina_va_en_una_de_las_carpetas_en_que_el_servicio_escribe() {
        let motivo = |pagina: &str| {
            let instalacion = Instalacion {
                pagina: Some(PathBuf::from(pagina)),
                ..instalacion("/hl7")
            };
            instalacion.impedimento()
        };
        for bien in [
            "/hl7/registro/estado.html",
            "/HL7/Registro/a/estado.html",
            "/hl7/mensajes/estado.html",
        ] {
            assert_eq!(motivo(bien), None, "{bien}");
        }
        for mal in ["/hl7/estado.html", "/estado.html", "/hl7/registro2/e.html"] {
            let motivo = motivo(mal).unwrap_or_default().replace('\\', "/");
            for parte in [
                &format!("«{mal}»"),
                "p. ej. Estado = /hl7/registro/estado.html",
            ] {
                assert!(motivo.contains(parte), "{motivo}");
            }
        }
    }

    #[test]
    fn solo_se_cambian_los_permisos_de_una_carpeta_que_es_del_programa() {
        let carpeta = Path::new("/hl7");
        let datos = [carpeta.join("mensajes"), carpeta.join("a/registro")];
        let motivo = |nombres: &[&str]| {
            let nombres: Vec<_> = nombres.iter().map(|n| (*n).to_owned()).collect();
            no_es_propia(carpeta, Some(Path::new("/Users")), &nombres, &datos)
        };
        let suyos = [
            "servidor-hl7.exe",
            "Servidor-HL7.viejo.exe",
            "Config.ini",
            "Config - copia.ini",
            "mensajes",
            "Mensajes",
            "A",
            "LEEME.txt",
        ];
        assert!(motivo(&suyos).is_none());
        for ajeno in ["servidor.py", "version.dll", "fotos", "mensajes2"] {
            let motivo = motivo(&["Config.ini", ajeno]);
            let se_nombra = |motivo: &String| motivo.contains(&format!("«{ajeno}»"));
            let dicho = matches!(&motivo, Some(Ajena::ConMas(motivo)) if se_nombra(motivo));
            assert!(dicho, "{motivo:?}");
        }
        for ajena in [
            "/",
            "/Users/ana/Desktop",
            "/users/ana/desktop",
            r"\\servidor\hl7",
        ] {
            let ajena = Path::new(ajena);
            let motivo = no_es_propia(ajena, Some(Path::new("/Users")), &[], &[]);
            assert!(matches!(motivo, Some(Ajena::Siempre(_))), "{motivo:?}");
        }
    }
}
