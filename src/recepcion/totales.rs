//! Lo recibido de cada equipo: para las tablas, la última línea de la consola y los silencios.
//!
//! No sabe cuándo se dice nada de esto: la hora y el reloj son argumentos.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local, NaiveDateTime};
use twox_hash::XxHash3_64;

use crate::cerrojo::tomar;
use crate::recepcion::cuenta::{Cuando, Cuenta, Destino, Huella, Suma};
use crate::recepcion::desechos::Medida;
use crate::recepcion::ritmo::HORAS;
use crate::recepcion::silencio::AvisoDeSilencio;
use crate::recepcion::tabla;

/// Cuántos equipos se cuentan uno por uno; los demás, juntos: a la red puede conectarse cualquiera.
const MAX_EQUIPOS: usize = 1000;
const LOS_DEMAS: &str = "los demás";
/// Que la carpeta de apartados se llena hay que decirlo antes de que llene el disco: con más en una hora.
const MUCHOS_APARTADOS: u64 = 100;
const HORA: Duration = Duration::from_hours(1);

/// Las cuentas de todos los equipos, que comparten todas las conversaciones.
#[derive(Debug)]
pub(super) struct Totales {
    cuentas: Mutex<Cuentas>,
    arranque: Cuando,
    numerados: AtomicU64,
    /// La de las huellas.
    semilla: u64,
}

#[derive(Debug)]
struct Cuentas {
    equipos: BTreeMap<String, Cuenta>,
    /// Cuándo se avisa de que calla un equipo sin nombre.
    aviso: AvisoDeSilencio,
    /// Cuándo se miraron los silencios.
    mirado: Instant,
    /// Lo que ya dijeron las tablas de otros días.
    anterior: Suma,
    /// Desde cuándo se cuenta lo apartado en la hora, y si ya se dijo que es mucho.
    hora: Instant,
    dicho: bool,
}

/// En la hora en curso se ha apartado mucho.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Muchos {
    pub(super) todos: u64,
    /// Quien más, y cuántos.
    pub(super) equipo: String,
    pub(super) suyos: u64,
}

/// Lo que se sabe de un equipo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SituacionDeEquipo {
    pub(super) nombre: String,
    pub(super) conectado: bool,
    /// Lleva callado más de lo que su aviso admite.
    pub(super) calla: bool,
    pub(super) ultimo: Option<DateTime<Local>>,
    pub(super) hoy: Suma,
    /// Los guardados de cada una de las últimas horas; la última es la de ahora.
    pub(super) horas: [u32; HORAS],
}

/// Un equipo que ha callado, o que callaba y ha vuelto a enviar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silencio {
    /// No envía desde hace tanto.
    Calla {
        /// Cuándo fue su último mensaje; `None`: ninguno desde que arrancó el programa.
        ultimo: Option<NaiveDateTime>,
        /// Cuánto hace de eso.
        hace: Duration,
        /// Si su conexión está abierta.
        conectado: bool,
    },
    /// Envió a esa hora.
    Vuelve(NaiveDateTime),
}

/// Una conexión con un equipo; al soltarla, se ha cerrado.
#[derive(Debug)]
pub(super) struct Conectado<'a> {
    totales: &'a Totales,
    /// Dónde se anota todo lo suyo: en la cuenta de su equipo, o en la de los demás si no cabía otra.
    cuenta: String,
}

impl Totales {
    /// Las cuentas a cero, a la hora del arranque: las de los equipos con nombre, cada uno con su aviso,
    /// y las de los que lleguen, con el suyo.
    pub(super) fn new(
        nombrados: impl Iterator<Item = (String, AvisoDeSilencio)>,
        aviso: AvisoDeSilencio,
        arranque: Cuando,
    ) -> Totales {
        let nombrados = nombrados.map(|(equipo, aviso)| (equipo, Cuenta::new(true, aviso)));
        Totales {
            cuentas: Mutex::new(Cuentas {
                equipos: nombrados.collect(),
                aviso,
                mirado: arranque.1,
                anterior: Suma::default(),
                hora: arranque.1,
                dicho: false,
            }),
            arranque,
            numerados: AtomicU64::default(),
            semilla: RandomState::new().hash_one(()),
        }
    }

    /// Una conexión más con `equipo`.
    pub(super) fn conectar(&self, equipo: &str) -> Conectado<'_> {
        let mut cuentas = tomar(&self.cuentas);
        let Cuentas { equipos, aviso, .. } = &mut *cuentas;
        let hay_sitio = equipos.len() < MAX_EQUIPOS || equipos.contains_key(equipo);
        // De un montón de desconocidos no se espera nada.
        let (cuenta, aviso) = if hay_sitio {
            (equipo, *aviso)
        } else {
            (LOS_DEMAS, AvisoDeSilencio::NUNCA)
        };
        let suya = equipos.entry(cuenta.to_owned());
        suya.or_insert_with(|| Cuenta::new(false, aviso)).conexiones += 1;
        Conectado {
            totales: self,
            cuenta: cuenta.to_owned(),
        }
    }

    /// La huella de un mensaje; cuesta leerlo entero.
    pub(super) fn huella(&self, mensaje: &[u8]) -> Huella {
        Huella(
            mensaje.len(),
            XxHash3_64::oneshot_with_seed(self.semilla, mensaje),
        )
    }

    /// Si se está apartando mucho, una vez por hora. Pasada la hora, la cuenta empieza de nuevo.
    pub(super) fn muchos_apartados(&self, ahora: Instant) -> Option<Muchos> {
        let mut cuentas = tomar(&self.cuentas);
        let todos = cuentas.equipos.values().map(|c| c.en_la_hora).sum();
        let mayor = cuentas.equipos.iter().max_by_key(|(_, c)| c.en_la_hora);
        let son_muchos = todos > MUCHOS_APARTADOS && !cuentas.dicho;
        let muchos = mayor.filter(|_| son_muchos).map(|(equipo, cuenta)| Muchos {
            todos,
            equipo: equipo.clone(),
            suyos: cuenta.en_la_hora,
        });
        cuentas.dicho |= son_muchos;
        if ahora.saturating_duration_since(cuentas.hora) >= HORA {
            (cuentas.hora, cuentas.dicho) = (ahora, false);
            for cuenta in cuentas.equipos.values_mut() {
                cuenta.en_la_hora = 0;
            }
        }
        muchos
    }

    /// Cuándo se tuvo entero el último mensaje de `equipo`.
    pub(super) fn ultimo(&self, equipo: &str) -> Option<Instant> {
        let cuentas = tomar(&self.cuentas);
        let (_, instante) = cuentas.equipos.get(equipo)?.ultimo?;
        Some(instante)
    }

    /// El número de lo que se va a contestar, desde 0.
    pub(super) fn numerar(&self) -> u64 {
        self.numerados.fetch_add(1, Ordering::Relaxed)
    }

    /// Lo recibido en el día, una línea por equipo bajo su encabezado, entera y como cabe en la consola;
    /// vacía si ninguno tiene nombre ni ha enviado nada que se recuerde.
    pub(super) fn tabla(&self) -> Vec<(String, String)> {
        tomar(&self.cuentas).tabla()
    }

    /// La tabla de un día que acaba: las cuentas empiezan de nuevo, y se olvida a quien no tiene nombre ni
    /// hace nada desde hace un mes.
    pub(super) fn acabar_dia(&self, ahora: Instant) -> Vec<(String, String)> {
        let mut cuentas = tomar(&self.cuentas);
        let tabla = cuentas.tabla();
        let Cuentas {
            equipos, anterior, ..
        } = &mut *cuentas;
        for cuenta in equipos.values_mut() {
            *anterior += mem::take(&mut cuenta.suma);
        }
        equipos.retain(|_, cuenta| cuenta.se_recuerda(ahora));
        tabla
    }

    /// Cómo está cada equipo, los que tienen nombre primero.
    pub(super) fn mirar(&self, hora: DateTime<Local>) -> Vec<SituacionDeEquipo> {
        let cuentas = tomar(&self.cuentas);
        let dichos = cuentas
            .equipos
            .iter()
            .filter(|(_, cuenta)| cuenta.se_dice());
        let mut dichos: Vec<_> = dichos.collect();
        dichos.sort_by_key(|(_, cuenta)| !cuenta.con_nombre);
        dichos
            .into_iter()
            .map(|(equipo, cuenta)| SituacionDeEquipo {
                nombre: equipo.clone(),
                conectado: cuenta.conexiones > 0,
                calla: cuenta.callado.calla(),
                ultimo: cuenta.ultimo.map(|(hora, _)| hora),
                hoy: cuenta.suma,
                horas: cuenta.ritmo.hasta(hora.naive_local()),
            })
            .collect()
    }

    /// Desde cuándo se cuenta.
    pub(super) fn arranque(&self) -> DateTime<Local> {
        self.arranque.0
    }

    /// De lo que pasó desde la mirada anterior, solo esto último es silencio: si pasó más, el PC durmió, y el
    /// reloj monótono de Windows lo cuenta.
    pub(super) fn descontar_el_sueno(&self, ahora: Instant, rato_maximo: Duration) {
        let mirado = &mut tomar(&self.cuentas).mirado;
        *mirado = (*mirado).max(ahora.checked_sub(rato_maximo).unwrap_or(*mirado));
    }

    /// Los equipos que han callado más de lo que su aviso admite, y los que han vuelto; cada cosa se
    /// dice una vez. De un equipo sin nombre se espera algo desde que envía.
    pub(super) fn silencios(&self, (hora, ahora): Cuando) -> Vec<(String, Silencio)> {
        let mut cuentas = tomar(&self.cuentas);
        let rato = ahora.saturating_duration_since(cuentas.mirado);
        cuentas.mirado = ahora;
        let mut novedades = Vec::new();
        for (equipo, cuenta) in &mut cuentas.equipos {
            if !cuenta.con_nombre && cuenta.ultimo.is_none() {
                continue;
            }
            let (_, desde) = cuenta.ultimo.unwrap_or(self.arranque);
            let hace = ahora.saturating_duration_since(desde);
            let ultimo = cuenta.ultimo.map(|(hora, _)| hora.naive_local());
            let novedad = cuenta
                .callado
                .mirar(cuenta.aviso, rato.min(hace), hora.time());
            let silencio = match (novedad, ultimo) {
                (Some(true), _) => Silencio::Calla {
                    ultimo,
                    hace,
                    conectado: cuenta.conexiones > 0,
                },
                (Some(false), Some(ultimo)) => Silencio::Vuelve(ultimo),
                (Some(false) | None, _) => continue,
            };
            novedades.push((equipo.clone(), silencio));
        }
        novedades
    }
}

impl Cuentas {
    fn tabla(&self) -> Vec<(String, String)> {
        let dichos = self.equipos.iter().filter(|(_, cuenta)| cuenta.se_dice());
        let filas: Vec<_> = dichos
            .map(|(equipo, cuenta)| {
                let ultimo = cuenta.ultimo.map(|(hora, _)| hora.naive_local());
                (equipo.as_str(), cuenta.suma, ultimo)
            })
            .collect();
        tabla::redactar(&filas)
    }
}

impl Conectado<'_> {
    /// El archivo en que está lo último que se guardó de este equipo, si es este mismo mensaje. De los
    /// demás no se sabe de quién era.
    pub(super) fn repetido_de(&self, huella: Huella) -> Option<String> {
        if self.cuenta == LOS_DEMAS {
            return None;
        }
        let cuentas = tomar(&self.totales.cuentas);
        let (ultima, archivo) = cuentas.equipos.get(&self.cuenta)?.guardado.as_ref()?;
        (*ultima == huella).then(|| archivo.clone())
    }

    /// Un mensaje más, de esa longitud en bytes, que se tuvo entero a esa hora.
    pub(super) fn recibido(&self, longitud: usize, destino: Destino, cuando: Cuando) {
        self.anotar(|cuenta| cuenta.recibir(longitud, destino, cuando));
    }

    /// Una cosa más que no es un mensaje, se guarde en `apartados` o solo se cuente.
    pub(super) fn apartado(&self) {
        self.anotar(|cuenta| {
            cuenta.suma.apartados += 1;
            cuenta.en_la_hora += 1;
        });
    }

    /// Una consulta más, ya recibida, a la que se contestó que no hay nada pendiente.
    pub(super) fn consulta(&self) {
        self.anotar(|cuenta| cuenta.suma.consultas += 1);
    }

    /// Qué se hace con una cosa más que no es un mensaje.
    pub(super) fn medir_desecho(&self, ahora: Instant) -> Medida {
        self.anotar(|cuenta| cuenta.desechos.medir(ahora))
            .unwrap_or(Medida::Guardar)
    }

    /// Si toca guardar la última de las cosas que no se guardaron.
    pub(super) fn toca_la_ultima(&self, ahora: Instant) -> bool {
        self.anotar(|cuenta| cuenta.desechos.toca_la_ultima(ahora))
            .unwrap_or(false)
    }

    /// La cuenta está mientras quede una conexión suya.
    fn anotar<T>(&self, anotacion: impl FnOnce(&mut Cuenta) -> T) -> Option<T> {
        let equipos = &mut tomar(&self.totales.cuentas).equipos;
        equipos.get_mut(&self.cuenta).map(anotacion)
    }
}

impl Drop for Conectado<'_> {
    fn drop(&mut self) {
        let equipos = &mut tomar(&self.totales.cuentas).equipos;
        if let Some(cuenta) = equipos.get_mut(&self.cuenta) {
            cuenta.conexiones = cuenta.conexiones.saturating_sub(1);
            // Un explorador de puertos no deja nada: a la red puede conectarse cualquiera.
            if cuenta.conexiones == 0 && !cuenta.se_dice() && cuenta.en_la_hora == 0 {
                equipos.remove(&self.cuenta);
            }
        }
    }
}

/// Lo hecho desde el arranque, entre todos los equipos.
impl fmt::Display for Totales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cuentas = tomar(&self.cuentas);
        let mut total = cuentas.anterior;
        for cuenta in cuentas.equipos.values() {
            total += cuenta.suma;
        }
        write!(
            f,
            "mensajes guardados: {} ({} bytes), sin guardar: {}, rechazados: {}, apartados: {}",
            total.guardados, total.bytes, total.fallidos, total.rechazados, total.apartados
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recepcion::silencio::Horas;
    use crate::recepcion::tests::el_dia_12;

    /// Lo que anota una conexión que no dura más.
    impl Totales {
        fn recibido(&self, equipo: &str, longitud: usize, destino: Destino, cuando: Cuando) {
            self.conectar(equipo).recibido(longitud, destino, cuando);
        }

        fn apartado(&self, equipo: &str) {
            self.conectar(equipo).apartado();
        }
    }

    fn a_las(minuto: u64) -> Cuando {
        static ARRANQUE: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let transcurrido = Duration::from_mins(minuto);
        let nueve = el_dia_12(9, 0, 0);
        (nueve + transcurrido, *ARRANQUE + transcurrido)
    }

    fn guardado(ms: u64) -> Destino {
        Destino::Guardado {
            archivo: String::new(),
            huella: Huella(0, 0),
            tardo: Duration::from_millis(ms),
        }
    }

    fn aviso(minutos: u64, horas: &str) -> AvisoDeSilencio {
        AvisoDeSilencio {
            tras: Some(Duration::from_mins(minutos)),
            horas: Horas::leer(horas).unwrap(),
        }
    }

    fn totales_con(nombrados: &[(&str, AvisoDeSilencio)], comun: AvisoDeSilencio) -> Totales {
        let nombrados = nombrados
            .iter()
            .map(|(nombre, aviso)| ((*nombre).to_owned(), *aviso));
        Totales::new(nombrados, comun, a_las(0))
    }

    fn sin_nombres() -> Totales {
        totales_con(&[], AvisoDeSilencio::NUNCA)
    }

    fn sin_columnas(lineas: &[(String, String)]) -> Vec<String> {
        let palabras = |linea: &str| linea.split_whitespace().collect::<Vec<_>>().join(" ");
        lineas.iter().map(|(entera, _)| palabras(entera)).collect()
    }

    #[test]
    fn a_quien_entrega_un_mensaje_se_le_perdonan_los_desechos_y_no_a_otro() {
        let totales = sin_nombres();
        let equipos = ["bueno", "malo"].map(|equipo| totales.conectar(equipo));
        let muchos = |minuto: u64| {
            let medir = |equipo: &Conectado<'_>| {
                for _ in 0..60 {
                    equipo.medir_desecho(a_las(minuto).1);
                }
                equipo.medir_desecho(a_las(minuto).1)
            };
            equipos.each_ref().map(medir)
        };
        assert_eq!(muchos(0), [Medida::DecirYContar; 2]);
        equipos[0].recibido(1, guardado(1), a_las(1));
        assert_eq!(muchos(1), [Medida::DecirYContar, Medida::Cerrar]);
        assert!(equipos[0].toca_la_ultima(a_las(1).1));
        assert!(!equipos[0].toca_la_ultima(a_las(1).1));
        assert!(equipos[1].toca_la_ultima(a_las(1).1));
    }

    #[test]
    fn cada_tabla_dice_lo_recibido_desde_la_anterior_y_el_total_lo_suma_todo() {
        let totales = sin_nombres();
        assert!(totales.acabar_dia(Instant::now()).is_empty());
        // El más lento no es ni el primero ni el último.
        for (bytes, ms) in [(90, 3), (50, 12), (10, 5)] {
            totales.recibido("BC-20", bytes, guardado(ms), a_las(1));
        }
        totales.conectar("BC-20").consulta();
        totales.recibido("BC-20", 7, Destino::Rechazado, a_las(2));
        totales.apartado("BC-20");
        totales.recibido("10.0.0.9", 1, Destino::Fallido, a_las(3));
        let tabla = totales.acabar_dia(Instant::now());
        let anchos: Vec<_> = tabla
            .iter()
            .map(|(linea, _)| linea.chars().count())
            .collect();
        assert!(anchos.iter().all(|ancho| *ancho == anchos[0]), "{anchos:?}");
        assert_eq!(
            sin_columnas(&tabla),
            [
                "equipo guardados repetidos fallidos rechazados apartados consultas último más lento",
                "10.0.0.9 0 0 1 0 0 0 12/09 09:03 —",
                "BC-20 3 0 0 1 1 1 12/09 09:02 12 ms",
            ]
        );
        totales.recibido("BC-20", 1, guardado(1), a_las(4));
        assert_eq!(
            sin_columnas(&totales.acabar_dia(Instant::now()))[1..],
            [
                "10.0.0.9 0 0 0 0 0 0 12/09 09:03 —",
                "BC-20 1 0 0 0 0 0 12/09 09:04 1 ms",
            ]
        );
        assert_eq!(
            totales.to_string(),
            "mensajes guardados: 4 (151 bytes), sin guardar: 1, rechazados: 1, apartados: 1"
        );
    }

    #[test]
    fn un_equipo_con_nombre_esta_en_la_tabla_aunque_no_envie_y_cabe_en_119_columnas() {
        const ENCABEZADO: usize = "09:00:00.000 INFO  ".len();
        let totales = totales_con(
            &[("dieciséis letras", aviso(1, "0-24"))],
            AvisoDeSilencio::NUNCA,
        );
        drop(totales.conectar("un explorador"));
        let tabla = totales.acabar_dia(Instant::now());
        assert_eq!(
            sin_columnas(&tabla)[1..],
            ["dieciséis letras 0 0 0 0 0 0 ninguno —"]
        );
        assert!(
            tabla
                .iter()
                .all(|(linea, _)| ENCABEZADO + linea.chars().count() <= 119),
            "{tabla:?}"
        );
    }

    #[test]
    fn un_equipo_que_calla_se_dice_una_vez_y_otra_cuando_vuelve() {
        let totales = totales_con(&[], aviso(10, "0-24"));
        let silencios = |minuto| totales.silencios(a_las(minuto));
        totales.apartado("quien nunca envió un mensaje");
        assert_eq!(silencios(60), []);
        let conectado = totales.conectar("BC-20");
        totales.recibido("BC-20", 1, guardado(1), a_las(65));
        assert_eq!(silencios(74), []);
        let calla = |ultimo, conectado| {
            let silencio = Silencio::Calla {
                ultimo: Some(a_las(ultimo).0.naive_local()),
                hace: Duration::from_mins(10),
                conectado,
            };
            [("BC-20".to_owned(), silencio)]
        };
        assert_eq!(silencios(75), calla(65, true));
        assert_eq!(silencios(500), []);
        totales.recibido("BC-20", 1, guardado(1), a_las(501));
        let vuelve = Silencio::Vuelve(a_las(501).0.naive_local());
        assert_eq!(silencios(502), [("BC-20".to_owned(), vuelve)]);
        assert_eq!(silencios(503), []);
        drop(conectado);
        assert_eq!(silencios(511), calla(501, false));
    }

    #[test]
    fn fuera_de_sus_horas_el_silencio_no_cuenta() {
        // El arranque es a las 9.
        let totales = totales_con(&[("A", aviso(60, "7-20"))], AvisoDeSilencio::NUNCA);
        // Lo que se dice en esa hora, con una mirada cada cinco minutos.
        let dicho = |hora: u64| -> usize {
            let minutos = (0..60).step_by(5).map(|minuto| (hora - 9) * 60 + minuto);
            minutos
                .map(|minuto| totales.silencios(a_las(minuto)).len())
                .sum()
        };
        totales.recibido("A", 1, guardado(1), a_las(10 * 60 + 45));
        assert_eq!(
            (10..=30).map(dicho).sum::<usize>(),
            0,
            "de las 19:45 a las 6:30"
        );
        assert_eq!(dicho(24 + 7), 1, "a las 7:45 lleva 15 y 45 minutos");
        assert_eq!((24 + 8..72).map(dicho).sum::<usize>(), 0);
    }

    #[test]
    fn los_equipos_que_se_cuentan_por_separado_estan_acotados_y_los_que_tienen_nombre_lo_estan_siempre()
     {
        let totales = totales_con(&[("BC-20", aviso(1, "0-24"))], AvisoDeSilencio::NUNCA);
        for numero in 0..2 * MAX_EQUIPOS {
            totales.recibido(&numero.to_string(), 1, guardado(1), a_las(0));
        }
        totales.recibido("BC-20", 1, guardado(1), a_las(0));
        assert_eq!(tomar(&totales.cuentas).equipos.len(), MAX_EQUIPOS + 1);
        assert_eq!(tomar(&totales.cuentas).equipos["BC-20"].suma.guardados, 1);
        // Ni la página, que no los enseña todos, deja sin ver al que tiene nombre.
        assert_eq!(totales.mirar(a_las(0).0)[0].nombre, "BC-20");
        assert!(totales.to_string().starts_with("mensajes guardados: 2001 "));
    }

    #[test]
    fn quien_conecta_y_no_entrega_nada_no_deja_cuenta() {
        let totales = sin_nombres();
        let conectados: Vec<_> = (0..2 * MAX_EQUIPOS)
            .map(|numero| totales.conectar(&numero.to_string()))
            .collect();
        totales.recibido("7", 1, guardado(1), a_las(0));
        drop(conectados);
        let cuentas = tomar(&totales.cuentas);
        assert_eq!(cuentas.equipos.keys().collect::<Vec<_>>(), ["7"]);
        assert_eq!(cuentas.equipos["7"].conexiones, 0);
    }

    #[test]
    fn quien_se_cuenta_con_los_demas_no_pasa_por_desconectado_cuando_hay_sitio() {
        let totales = totales_con(&[], aviso(10, "0-24"));
        let otros: Vec<_> = (0..MAX_EQUIPOS)
            .map(|numero| totales.conectar(&numero.to_string()))
            .collect();
        let conectado = totales.conectar("de más");
        drop(otros);
        conectado.recibido(1, guardado(1), a_las(0));
        assert_eq!(totales.silencios(a_las(60)), []);
        let vistos = totales.mirar(a_las(60).0);
        assert!(!vistos.is_empty() && vistos.iter().all(|equipo| equipo.conectado));
        drop(conectado);
        totales.recibido("de más", 1, guardado(1), a_las(61));
        assert_eq!(totales.silencios(a_las(71)).len(), 1, "ya tiene su cuenta");
    }

    #[test]
    fn se_dice_que_se_aparta_mucho_una_vez_por_hora_y_quien_manda_mas() {
        let totales = sin_nombres();
        let apartar = |equipo, veces| (0..veces).for_each(|_| totales.apartado(equipo));
        let muchos = |minuto| totales.muchos_apartados(a_las(minuto).1);
        apartar("A", 34);
        apartar("B", 66);
        assert_eq!(muchos(1), None, "cien no son muchos");
        apartar("C", 1);
        // La tabla del día no empieza la hora.
        totales.acabar_dia(Instant::now());
        let esperado = Muchos {
            todos: 101,
            equipo: "B".to_owned(),
            suyos: 66,
        };
        assert_eq!(muchos(2), Some(esperado));
        apartar("C", 1);
        assert_eq!(muchos(59), None, "ya se dijo");
        assert_eq!(muchos(60), None);
        apartar("C", 101);
        assert_eq!(muchos(61).unwrap().todos, 101);
        // Los últimos de una hora que nadie había mirado también se dicen.
        let totales = sin_nombres();
        (0..101).for_each(|_| totales.apartado("A"));
        assert!(totales.muchos_apartados(a_las(90).1).is_some());
    }

    #[test]
    fn lo_que_se_aparta_se_cuenta_en_su_hora_aunque_el_equipo_se_vaya_tras_la_tabla() {
        let totales = sin_nombres();
        let apartar = || (0..60).for_each(|_| totales.apartado("A"));
        apartar();
        totales.acabar_dia(Instant::now());
        drop(totales.conectar("A"));
        apartar();
        let muchos = totales.muchos_apartados(a_las(1).1).unwrap();
        assert_eq!((muchos.todos, muchos.suyos), (120, 120));
    }

    #[test]
    fn a_quien_no_tiene_nombre_ni_hace_nada_en_un_mes_se_le_olvida_tras_la_tabla() {
        let totales = totales_con(
            &[("Nombrado", AvisoDeSilencio::NUNCA)],
            AvisoDeSilencio::NUNCA,
        );
        totales.recibido("Antiguo", 1, guardado(1), a_las(0));
        totales.apartado("Basura");
        let conectado = totales.conectar("Conectado");
        let quedan = |dia: u64| {
            totales.muchos_apartados(a_las(dia * 24 * 60).1);
            totales.acabar_dia(a_las(dia * 24 * 60).1);
            let mut quedan: Vec<_> = tomar(&totales.cuentas).equipos.keys().cloned().collect();
            quedan.sort();
            quedan
        };
        assert_eq!(quedan(29), ["Antiguo", "Conectado", "Nombrado"]);
        assert_eq!(quedan(30), ["Conectado", "Nombrado"]);
        drop(conectado);
        assert_eq!(quedan(31), ["Nombrado"]);
    }

    #[test]
    fn solo_lo_ultimo_de_cada_equipo_es_un_reenvio() {
        let totales = sin_nombres();
        let repetido = |equipo: &str, mensaje: &[u8]| {
            let huella = totales.huella(mensaje);
            totales.conectar(equipo).repetido_de(huella)
        };
        let guardar = |equipo: &str, mensaje: &[u8], archivo: &str| {
            let destino = Destino::Guardado {
                archivo: archivo.to_owned(),
                huella: totales.huella(mensaje),
                tardo: Duration::ZERO,
            };
            totales.recibido(equipo, 1, destino, a_las(0));
        };
        assert_eq!(repetido("A", b"1"), None, "nada guardado");
        guardar("A", b"1", "1.res");
        assert_eq!(repetido("A", b"1").as_deref(), Some("1.res"));
        assert_eq!(repetido("B", b"1"), None, "otro equipo");
        assert_eq!(repetido("A", b"1\r"), None, "otros bytes");
        let vuelve = Destino::Repetido(Duration::ZERO);
        totales.recibido("A", 1, vuelve, a_las(1));
        assert_eq!(repetido("A", b"1").as_deref(), Some("1.res"), "y otra vez");
        guardar("A", b"2", "2.res");
        assert_eq!(repetido("A", b"1"), None, "no es lo último");
        for numero in 0..MAX_EQUIPOS {
            guardar(&numero.to_string(), b"3", "3.res");
        }
        assert_eq!(repetido("de más", b"3"), None, "de los demás, nadie");
    }
}
