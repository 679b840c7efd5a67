//! Lo que llega entre mensajes: cuándo empieza uno, y qué se descarta.
//!
//! Qué puede abrir un mensaje depende de qué hubo [`Antes`]. Tras un mensaje que acabó porque el equipo
//! calló, un texto puede ser su cola, que no se puede perder, o un latido de un convertidor, que no es nada.

use super::estado::{Antes, Estado, Lector, Linea, Pausa, SinTrama, Stx};
use super::indicio::Indicio;
use super::intercalado::{TEXTO_BYTES, es_texto};
use super::trama::Envoltura;
use crate::hl7::comienzo::{
    Comienzo, EXTRANOS_BYTES, abre, abre_creible, abre_tras_extranos, es_relleno,
};
use crate::octetos::{CR, LF, STX, VT};

/// Qué es lo primero que hay pendiente.
enum Juicio {
    /// Comienza algo, tras descartar unos bytes que son de su trama.
    Abre(Estado, usize),
    /// Son de un convertidor tantos bytes.
    Intercalado(usize),
    /// No son nada tantos bytes.
    Nada(usize),
    /// Hacen falta más bytes. Si no vienen, tantos no son nada.
    Faltan(usize),
}

impl Lector {
    /// Deja atrás el ruido hasta el comienzo de un mensaje, y cambia entonces de estado.
    pub(super) fn pasar_ruido(&mut self) -> Option<Indicio> {
        self.contar_si_no_hay_duda();
        while let Estado::Ruido(antes) = self.estado
            && !self.bufer.pendiente().is_empty()
        {
            self.contar_si_no_hay_duda();
            self.notar_latido();
            let juicio = self.juzgar(antes);
            self.poner_en_duda(matches!(juicio, Juicio::Faltan(1..)));
            let indicio = match juicio {
                Juicio::Abre(estado, trama) => self.abrir(estado, trama),
                Juicio::Intercalado(cuantos) => {
                    let indicio = self.descartar(cuantos);
                    self.concluir_texto().or(indicio)
                }
                Juicio::Nada(cuantos) => self.descartar(cuantos),
                Juicio::Faltan(cuantos) => match self.tomar_pausa() {
                    None => return None,
                    // Una cabecera a medias se espera siempre.
                    Some(Pausa::Silencio) if cuantos == 0 => return self.callar(),
                    Some(Pausa::Silencio) => {
                        let indicio = self.descartar(cuantos);
                        indicio.or(self.callar())
                    }
                    Some(Pausa::Cierre | Pausa::Corte) => self.descartar(cuantos.max(1)),
                },
            };
            if indicio.is_some() {
                return indicio;
            }
        }
        if !matches!(self.estado, Estado::Ruido(_)) {
            return None;
        }
        self.tomar_pausa().and_then(|_| self.callar())
    }

    /// Lo que dice el ruido cuando calla.
    fn callar(&mut self) -> Option<Indicio> {
        self.concluir_texto().or_else(|| self.muestra.concluir())
    }

    /// Acabó un texto: si ya se conocía, es de un convertidor.
    fn concluir_texto(&mut self) -> Option<Indicio> {
        let conocido = self.intercalados.concluir();
        conocido.then(|| self.muestra.convertidor()).flatten()
    }

    /// De un texto en duda, el silencio se cuenta desde que empezó.
    fn contar_si_no_hay_duda(&mut self) {
        let en_duda = matches!(
            self.estado,
            Estado::Ruido(Antes::Mensaje { en_duda: true, .. })
        );
        if !en_duda {
            self.contado = self.ahora;
        }
    }

    fn poner_en_duda(&mut self, duda: bool) {
        if let Estado::Ruido(Antes::Mensaje { en_duda, .. }) = &mut self.estado {
            *en_duda = duda;
        }
    }

    fn juzgar(&self, antes: Antes) -> Juicio {
        let pendiente = self.bufer.pendiente();
        if self.muestra.es_peticion() {
            return Juicio::Nada(1);
        }
        let aqui = match (pendiente[0], antes) {
            (VT, _) => abre_con_vt(&pendiente[1..], antes),
            (STX, _) => abre_creible(&pendiente[1..]),
            (
                _,
                Antes::Nada
                | Antes::Mensaje {
                    envoltura: Envoltura::Mllp | Envoltura::StxEtx,
                    ..
                },
            ) => abre(pendiente),
            _ => self.abre_otro(pendiente),
        };
        match (aqui, pendiente[0]) {
            (Comienzo::Si, VT) => Juicio::Abre(Estado::Trama(Envoltura::Mllp), 1),
            (Comienzo::Si, STX) if self.stx == Stx::Latido => {
                Juicio::Abre(sin_trama(&pendiente[1..], true), 1)
            }
            (Comienzo::Si, STX) => Juicio::Abre(Estado::Trama(Envoltura::StxEtx), 1),
            (Comienzo::Si, _) => Juicio::Abre(sin_trama(pendiente, false), 0),
            (Comienzo::Faltan, STX | VT) if pendiente.len() == 1 => Juicio::Faltan(1),
            (Comienzo::Faltan, _) => Juicio::Faltan(0),
            (Comienzo::No, octeto) => match antes {
                Antes::Mensaje {
                    envoltura,
                    separador,
                    ..
                } if es_texto(octeto) => self.juzgar_texto(antes, envoltura, separador),
                _ => Juicio::Nada(1),
            },
        }
    }

    /// Entre mensajes, el mismo texto otra vez tras una pausa es un latido.
    fn notar_latido(&mut self) {
        let pendiente = self.bufer.pendiente();
        if let Some(latido) = self.rafagas.repetida(pendiente, 0)
            && es_texto(pendiente[latido.start])
        {
            self.intercalados.recordar(&pendiente[latido]);
        }
    }

    /// Qué es un texto que llega tras un mensaje que así viajó. Es su cola en cuanto lleva un separador de
    /// campos o un fin de línea, o es largo; no lo es si ya se conocía, si le sigue un mensaje, o si
    /// calla.
    fn juzgar_texto(&self, antes: Antes, envoltura: Envoltura, separador: u8) -> Juicio {
        let pendiente = self.bufer.pendiente();
        let (conocido, cuantos) = self.intercalados.al_comienzo(pendiente);
        if conocido == Comienzo::Si {
            match self.sigue_a_intercalado(&pendiente[cuantos..]) {
                Comienzo::Si => return Juicio::Intercalado(cuantos),
                Comienzo::Faltan => return Juicio::Faltan(cuantos),
                Comienzo::No => {}
            }
        }
        for (i, octeto) in pendiente.iter().enumerate() {
            let abre = match *octeto {
                _ if i == 0 => Comienzo::No,
                VT => abre_con_vt(&pendiente[i + 1..], antes),
                STX => abre_creible(&pendiente[i + 1..]),
                _ => self.abre_otro(&pendiente[i..]),
            };
            match abre {
                Comienzo::Si => return Juicio::Nada(i),
                Comienzo::Faltan if conocido != Comienzo::Faltan => return Juicio::Faltan(i),
                _ => {}
            }
            let es_de_la_cola = *octeto == separador || matches!(*octeto, CR | LF);
            if (es_de_la_cola && conocido != Comienzo::Faltan) || i >= TEXTO_BYTES {
                return Juicio::Abre(Estado::SinTrama(SinTrama::cola(envoltura, separador)), 0);
            }
        }
        Juicio::Faltan(pendiente.len())
    }

    /// Si tras un texto conocido viene lo que puede seguirle: nada escrito, otro igual o un mensaje.
    fn sigue_a_intercalado(&self, resto: &[u8]) -> Comienzo {
        match resto.first() {
            None => Comienzo::Faltan,
            Some(octeto) if !es_texto(*octeto) => Comienzo::Si,
            Some(_) => {
                let otro_texto = self.intercalados.al_comienzo(resto).0;
                self.abre_otro(resto).o(otro_texto)
            }
        }
    }

    /// Descarta bytes de ruido; dice qué delatan.
    fn descartar(&mut self, cuantos: usize) -> Option<Indicio> {
        let mut indicio = None;
        for posicion in 0..cuantos {
            let Some(octeto) = self.bufer.pendiente().get(posicion).copied() else {
                break;
            };
            self.intercalados.anotar(octeto);
            if octeto == STX && self.stx == Stx::Desconocido {
                self.stx = Stx::Latido;
            }
            if let Estado::Ruido(antes @ Antes::Nada) = &mut self.estado
                && es_texto(octeto)
            {
                *antes = Antes::Texto;
            }
            indicio = indicio.or(self.muestra.anotar(octeto));
        }
        self.bufer.soltar(cuantos);
        self.rafagas.soltar(cuantos);
        self.poner_en_duda(false);
        indicio
    }

    fn abrir(&mut self, estado: Estado, trama: usize) -> Option<Indicio> {
        let es_mensaje = matches!(estado, Estado::SinTrama(mensaje) if mensaje.cola_de.is_none());
        if es_mensaje && trama == 0 && self.stx == Stx::Desconocido {
            // Quien envía sin trama y un STX de vez en cuando, late.
            self.stx = Stx::Latido;
        }
        let es_prefijo = es_mensaje && self.intercalados.acaba_en_texto();
        if es_prefijo {
            self.intercalados.recordar_prefijo();
        }
        self.bufer.soltar(trama);
        self.rafagas.soltar(trama);
        self.estado = estado;
        (self.revisado, self.cierre, self.mirados) = (0, None, 0);
        let conocido = self.intercalados.concluir();
        if matches!(estado, Estado::SinTrama(mensaje) if mensaje.cola_de.is_some()) {
            return None;
        }
        self.intercalados.olvidar_cola();
        // Un texto pegado a un mensaje es un prefijo; a un VT, solo si se repite.
        let de_convertidor = conocido || es_prefijo;
        let convertidor = de_convertidor.then(|| self.muestra.convertidor()).flatten();
        convertidor.or_else(|| self.muestra.concluir())
    }
}

impl SinTrama {
    fn cola(de: Envoltura, separador: u8) -> SinTrama {
        SinTrama {
            cola_de: Some(de),
            puede_acabar_en_etx: false,
            fin_de_lote: None,
            separador,
            linea: Linea::Suya,
        }
    }
}

/// El estado de un mensaje sin trama que empieza por esa cabecera.
fn sin_trama(cabecera: &[u8], puede_acabar_en_etx: bool) -> Estado {
    let fin_de_lote: Option<&[u8; 3]> = match cabecera[0].to_ascii_uppercase() {
        b'F' => Some(b"FTS"),
        b'B' => Some(b"BTS"),
        _ => None,
    };
    Estado::SinTrama(SinTrama {
        cola_de: None,
        puede_acabar_en_etx,
        fin_de_lote,
        separador: cabecera[3],
        linea: Linea::Suya,
    })
}

/// Si a un VT le sigue un mensaje. Tras un mensaje sin trama, el VT también puede ser de su texto: hace
/// falta una cabecera, o una creíble tras unos pocos bytes extraños.
fn abre_con_vt(bytes: &[u8], antes: Antes) -> Comienzo {
    let Antes::Mensaje {
        envoltura: Envoltura::Ninguna,
        ..
    } = antes
    else {
        return Comienzo::Si;
    };
    // VT VT es un solo comienzo.
    let repetidos = bytes.iter().take_while(|o| **o == VT || es_relleno(**o));
    let bytes = &bytes[repetidos.take(EXTRANOS_BYTES).count()..];
    match abre(bytes) {
        Comienzo::No => abre_tras_extranos(bytes, EXTRANOS_BYTES).0,
        abre => abre,
    }
}
