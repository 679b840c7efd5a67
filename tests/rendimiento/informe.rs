//! Lo que se imprime: una línea por caso y, al final, cada meta con lo que se midió.

use crate::caso::{Caso, MB};
use crate::medida::{Medida, mediana};
use crate::proceso::Gasto;

/// Las rondas de un caso, emparejadas: la misma posición es la misma ronda.
#[derive(Default)]
pub(crate) struct Rondas {
    pub(crate) disco: Vec<Medida>,
    pub(crate) minimo: Vec<Medida>,
    pub(crate) servidor: Vec<Medida>,
}

impl Rondas {
    /// La mediana, ronda a ronda, de lo que da el servidor entre lo que da la vara.
    fn razon(&self, vara: &[Medida], que: fn(&Medida) -> f64) -> f64 {
        let pares = self.servidor.iter().zip(vara);
        mediana(pares.map(|(servidor, vara)| que(servidor) / que(vara)))
    }
}

/// Algo que se quiere alcanzar y lo que se midió.
pub(crate) struct Meta {
    que: String,
    medido: f64,
    limite: f64,
    es_maximo: bool,
}

impl Meta {
    pub(crate) fn a_lo_sumo(que: impl Into<String>, medido: f64, limite: f64) -> Meta {
        Meta {
            que: que.into(),
            medido,
            limite,
            es_maximo: true,
        }
    }

    fn al_menos(que: impl Into<String>, medido: f64, limite: f64) -> Meta {
        Meta {
            es_maximo: false,
            ..Meta::a_lo_sumo(que, medido, limite)
        }
    }
}

pub(crate) fn imprimir_cabecera() {
    println!(
        "\n{:<40} {:>9} {:>9} {:>9} {:>6} {:>6}  {:>8} {:>8} {:>6}  {:>7} {:>7} {:>7}  {:>6}",
        "caso (msg/s; los de 1 MB o más, MB/s)",
        "a) disco",
        "b) mín.",
        "servidor",
        "s/a",
        "s/b",
        "p50 ms",
        "p99 ms",
        "p99/b",
        "CPU us",
        "usuario",
        "CPU b",
        "RSS MB"
    );
}

pub(crate) fn imprimir(caso: &Caso, rondas: &Rondas) {
    let escala = if caso.es_grande() {
        caso.bytes as f64 / MB as f64
    } else {
        1.0
    };
    let ritmo = |medidas: &[Medida]| mediana(medidas.iter().map(|medida| medida.ritmo)) * escala;
    let del_servidor = |que: fn(&Medida) -> f64| mediana(rondas.servidor.iter().map(que));
    println!(
        "{:<40} {:>9.0} {:>9.0} {:>9.0} {:>6.2} {:>6.2}  {:>8.2} {:>8.2} {:>6.2}  {} {} {}  {}",
        caso.nombre,
        ritmo(&rondas.disco),
        ritmo(&rondas.minimo),
        ritmo(&rondas.servidor),
        rondas.razon(&rondas.disco, |medida| medida.ritmo),
        rondas.razon(&rondas.minimo, |medida| medida.ritmo),
        del_servidor(|medida| medida.p50),
        del_servidor(|medida| medida.p99),
        rondas.razon(&rondas.minimo, |medida| medida.p99),
        gasto(&rondas.servidor, 7, |gasto| gasto.cpu_us),
        gasto(&rondas.servidor, 7, |gasto| gasto.fuera_del_sistema_us),
        gasto(&rondas.minimo, 7, |gasto| gasto.cpu_us),
        gasto(&rondas.servidor, 6, |gasto| gasto.rss_max_kb / 1024.0),
    );
}

/// La media de las rondas: cada una es corta para el reloj del sistema.
fn media(medidas: &[Medida], que: fn(&Gasto) -> f64) -> Option<f64> {
    let gastos: Vec<_> = medidas
        .iter()
        .map(|medida| medida.gasto.as_ref().map(que))
        .collect::<Option<_>>()?;
    Some(gastos.iter().sum::<f64>() / gastos.len() as f64)
}

fn gasto(medidas: &[Medida], ancho: usize, que: fn(&Gasto) -> f64) -> String {
    media(medidas, que).map_or_else(
        || format!("{:>ancho$}", "-"),
        |valor| format!("{valor:>ancho$.1}"),
    )
}

/// Lo que se exige a un caso.
pub(crate) fn metas(caso: &Caso, rondas: &Rondas) -> Vec<Meta> {
    let nombre = caso.nombre;
    let frente_a_b = rondas.razon(&rondas.minimo, |medida| medida.ritmo);
    if !caso.sincronizar {
        return vec![Meta::al_menos(
            format!("{nombre}: ritmo / b"),
            frente_a_b,
            0.9,
        )];
    }
    let mut metas = vec![
        Meta::al_menos(format!("{nombre}: ritmo / b"), frente_a_b, 0.95),
        Meta::a_lo_sumo(
            format!("{nombre}: p99 / p99 de b"),
            rondas.razon(&rondas.minimo, |medida| medida.p99),
            1.1,
        ),
    ];
    if caso.conexiones >= 16 {
        let frente_a_a = rondas.razon(&rondas.disco, |medida| medida.ritmo);
        metas.push(Meta::al_menos(
            format!("{nombre}: ritmo / a"),
            frente_a_a,
            0.9,
        ));
    }
    let propia = media(&rondas.servidor, |gasto| gasto.fuera_del_sistema_us);
    if let Some(propia) = propia.filter(|_| !caso.es_grande() && caso.trozo > 1) {
        let que = format!("{nombre}: CPU por mensaje fuera del sistema, us");
        metas.push(Meta::a_lo_sumo(que, propia, 30.0));
    }
    metas
}

pub(crate) fn imprimir_metas(metas: &[Meta]) {
    println!("\nmeta");
    for meta in metas {
        let (signo, cumplida) = if meta.es_maximo {
            ("<=", meta.medido <= meta.limite)
        } else {
            (">=", meta.medido >= meta.limite)
        };
        println!(
            "{:<70} {:>8.2} {signo} {:<6.2} {}",
            meta.que,
            meta.medido,
            meta.limite,
            if cumplida { "sí" } else { "NO" }
        );
    }
}
