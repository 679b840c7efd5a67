//! Dónde acaba lo que se está leyendo: una trama, el resto de una abandonada o un mensaje sin trama.
//!
//! Un byte se mira una vez. Las posiciones se cuentan desde el primer byte de lo que se lee. No sabe qué lo
//! abrió, ni qué se hará con ello.

use memchr::memchr2;

use super::estado::{Dudosa, Estado, Lector, Linea, Motivo, Pausa, SinTrama, Stx, Viene};
use super::indicio::es_utf16;
use super::intercalado::TEXTO_BYTES;
use super::trama::{Envoltura, VACIO_BYTES, es_fin_de_segmento, es_trama_vacia};
use crate::hl7::comienzo::{Comienzo, abre_creible, abre_parecida, es_relleno, tras_extranos};
use crate::hl7::mensaje::se_llama;
use crate::octetos::{CR, EOT, ETX, FS, LF, STX, VT};

/// Cuánto relleno tras un FS o un ETX, o cuántos latidos seguidos, bastan sin que llegue un silencio.
const DE_SOBRA_BYTES: usize = 1024;

/// Dónde acaba lo que se estaba leyendo.
pub(super) struct Final {
    /// Primer byte que ya no le pertenece.
    pub(super) hasta: usize,
    /// Donde sigue la lectura.
    pub(super) sigue: usize,
    /// `None`: está entero.
    pub(super) motivo: Option<Motivo>,
    /// Cómo viajó.
    pub(super) envoltura: Envoltura,
    /// Qué puede seguirle.
    pub(super) despues: Despues,
}

/// Qué puede seguir a algo que acabó.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Despues {
    /// Otra cosa.
    Otro,
    /// Su resto, hasta el fin de su trama.
    Resto,
    /// Otra cosa, o su cola: acabó porque nada lo seguía.
    QuizaCola,
}

impl Final {
    fn entero(hasta: usize, sigue: usize, envoltura: Envoltura) -> Final {
        Final {
            hasta,
            sigue,
            motivo: None,
            envoltura,
            despues: Despues::Otro,
        }
    }

    fn sin_trama(hasta: usize, sigue: usize) -> Final {
        Final::entero(hasta, sigue, Envoltura::Ninguna)
    }

    fn por(self, motivo: Motivo) -> Final {
        Final {
            motivo: Some(motivo),
            ..self
        }
    }
}

impl Lector {
    /// Dónde acaba lo que se está leyendo, si ya se puede saber.
    pub(super) fn buscar_final(&mut self) -> Option<Final> {
        let visto = match self.estado {
            Estado::Ruido(_) => None,
            Estado::Trama(envoltura) => self.final_de_trama(envoltura, false),
            Estado::Resto(envoltura) => self
                .final_de_trama(envoltura, true)
                .map(|fin| fin.por(Motivo::Abandonado)),
            Estado::SinTrama(mensaje) => self.final_sin_trama(mensaje),
        };
        visto.or_else(|| self.final_por_pausa())
    }

    fn final_por_pausa(&mut self) -> Option<Final> {
        let pausa = self.tomar_pausa()?;
        let fin = self.bufer.pendiente().len();
        let acaba = if self.acaba_si_calla() {
            self.cierre
        } else {
            None
        };
        let hasta = acaba.unwrap_or(fin);
        match self.estado {
            Estado::Ruido(_) => None,
            Estado::Trama(envoltura) => {
                let entero = Final::entero(hasta, fin, envoltura);
                Some(match pausa {
                    _ if acaba.is_some() => Final {
                        despues: Despues::QuizaCola,
                        ..entero
                    },
                    Pausa::Silencio => Final {
                        despues: Despues::Resto,
                        ..entero.por(Motivo::Abandonado)
                    },
                    Pausa::Cierre | Pausa::Corte => entero.por(Motivo::Cortado),
                })
            }
            Estado::Resto(envoltura) => {
                let abandonado = Final::entero(hasta, fin, envoltura).por(Motivo::Abandonado);
                Some(match (acaba, pausa) {
                    (None, Pausa::Silencio) => Final {
                        despues: Despues::Resto,
                        ..abandonado
                    },
                    _ => abandonado,
                })
            }
            Estado::SinTrama(mensaje) => Some(match (mensaje.linea, acaba) {
                (_, Some(cierre)) => Final {
                    despues: Despues::QuizaCola,
                    ..Final::entero(cierre, fin, self.envoltura_de(cierre))
                },
                (Linea::Dudosa(linea), _)
                    if self.es_intercalada(linea) || self.es_latido_desde(linea) =>
                {
                    let suyo = Final::sin_trama(linea.desde, linea.desde);
                    if linea.viene == Viene::Pegada && pausa == Pausa::Corte {
                        suyo.por(Motivo::Cortado)
                    } else {
                        suyo
                    }
                }
                (linea, _) if pausa == Pausa::Corte && !matches!(linea, Linea::Vacia { .. }) => {
                    Final::sin_trama(fin, fin).por(Motivo::Cortado)
                }
                _ => Final::sin_trama(fin, fin),
            }),
        }
    }

    /// Cómo viajó un mensaje sin trama que acaba en ese byte: si es un ETX, sí la tenía.
    fn envoltura_de(&self, cierre: usize) -> Envoltura {
        if self.bufer.pendiente()[cierre] == ETX {
            Envoltura::StxEtx
        } else {
            Envoltura::Ninguna
        }
    }

    /// `es_resto`: lo que se lee es lo que sigue a una trama abandonada.
    fn final_de_trama(&mut self, envoltura: Envoltura, es_resto: bool) -> Option<Final> {
        loop {
            if let Some(cierre) = self.cierre {
                match self.tras_cierre(cierre) {
                    TrasCierre::Acaba(sigue) => {
                        return Some(Final::entero(cierre, sigue, envoltura));
                    }
                    TrasCierre::Faltan => return None,
                    TrasCierre::Dato => {}
                }
            }
            let p = self.buscar_en_trama(envoltura)?;
            let octeto = self.bufer.pendiente()[p];
            if octeto == VT && !es_resto {
                self.notar_distancia(p);
            }
            let resto = &self.bufer.pendiente()[p + 1..];
            let empieza_otra = match octeto {
                FS | ETX => {
                    self.cierre = Some(p);
                    Comienzo::No
                }
                STX => abre_creible(resto),
                _ if !es_resto && self.esta_vacia_hasta(p) => {
                    // VT VT al comienzo es un solo comienzo.
                    self.bufer.soltar(p + 1);
                    self.rafagas.soltar(p + 1);
                    (self.revisado, self.mirados) = (0, 0);
                    continue;
                }
                _ => match self.abre_tras_vt(resto) {
                    // Lo primero que llega tras callar: más que un texto, es otra trama.
                    Comienzo::No if self.esta_vacia_hasta(p) => abre_parecida(resto),
                    abre => abre,
                },
            };
            if octeto == STX && self.stx == Stx::Desconocido && empieza_otra != Comienzo::Faltan {
                // Sin un ETX entre medias, ni este ni el que abrió la trama son el comienzo de ninguna.
                self.stx = Stx::Latido;
            }
            match empieza_otra {
                Comienzo::Faltan => return None,
                Comienzo::Si => {
                    return Some(Final::entero(p, p, envoltura).por(Motivo::Reiniciado));
                }
                Comienzo::No => self.revisado = p + 1,
            }
        }
    }

    /// La posición del próximo byte que puede acabar una trama con esa envoltura o empezar otra.
    fn buscar_en_trama(&mut self, envoltura: Envoltura) -> Option<usize> {
        self.contado = self.ahora;
        self.buscar(|pendiente| match envoltura {
            Envoltura::StxEtx => pendiente
                .iter()
                .position(|octeto| matches!(*octeto, STX | ETX | FS | VT)),
            _ => memchr2(FS, VT, pendiente),
        })
    }

    fn esta_vacia_hasta(&self, p: usize) -> bool {
        p <= VACIO_BYTES && self.esta_entero() && es_trama_vacia(&self.bufer.pendiente()[..p])
    }

    /// Qué sigue al FS o al ETX que está pendiente. Si es un texto, deja de estarlo: era un dato.
    fn tras_cierre(&mut self, cierre: usize) -> TrasCierre {
        self.contado = self.ahora;
        let pendiente = self.bufer.pendiente();
        let es_etx = pendiente[cierre] == ETX;
        // Casi nunca hace falta saberlo; si la hace, basta con mirarlo una vez.
        let mut en_utf16 = None;
        loop {
            let p = self.revisado;
            let Some(octeto) = pendiente.get(p) else {
                return TrasCierre::Faltan;
            };
            match *octeto {
                CR | LF => return TrasCierre::Acaba(p + 1),
                EOT if es_etx => return TrasCierre::Acaba(p + 1),
                VT => return TrasCierre::Acaba(p),
                STX if es_etx => return TrasCierre::Acaba(p),
                _ if p > cierre + DE_SOBRA_BYTES => return TrasCierre::Acaba(p),
                // Un carácter UTF-16 no es un byte y su relleno.
                0 if *en_utf16.get_or_insert_with(|| es_utf16(self.primeros())) => break,
                octeto if octeto.is_ascii_control() || es_relleno(octeto) => self.revisado += 1,
                _ => match self.abre_o_es_conocido(cierre, &pendiente[p..]) {
                    Comienzo::Faltan => return TrasCierre::Faltan,
                    Comienzo::Si if !self.es_su_cabecera(p) => {
                        let trae_stx = pendiente[p - 1] == STX;
                        return TrasCierre::Acaba(p - usize::from(trae_stx));
                    }
                    Comienzo::Si | Comienzo::No => break,
                },
            }
        }
        self.cierre = None;
        TrasCierre::Dato
    }

    /// Si al FS que está ahí lo sigue otro mensaje, o un texto de un convertidor.
    fn abre_o_es_conocido(&self, cierre: usize, bytes: &[u8]) -> Comienzo {
        let abre = self.abre_otro(bytes);
        if self.intercalados.al_comienzo(bytes).0 == Comienzo::No {
            return abre;
        }
        let separador = self.separador_hasta(cierre).unwrap_or_default();
        abre.o(self.intercalados.en_mensaje(bytes, separador).0)
    }

    /// Si la trama no tiene más cabecera que la de ahí: lo que hay antes son bytes extraños, y el FS, uno.
    fn es_su_cabecera(&self, p: usize) -> bool {
        matches!(self.estado, Estado::Trama(_))
            && self.esta_entero()
            && tras_extranos(self.bufer.pendiente()) == Some(p)
    }

    fn final_sin_trama(&mut self, mut mensaje: SinTrama) -> Option<Final> {
        loop {
            let visto = match mensaje.linea {
                Linea::Suya => self.leer_linea(&mut mensaje),
                Linea::Vacia { desde } => self.mirar_comienzo(&mut mensaje, desde),
                Linea::Dudosa(linea) => self.mirar_dudosa(&mut mensaje, linea),
            };
            self.estado = Estado::SinTrama(mensaje);
            match visto {
                Visto::Acaba(fin) => return Some(fin),
                Visto::Faltan => return None,
                Visto::Sigue => {}
            }
        }
    }

    /// Lee una línea del mensaje hasta su fin.
    fn leer_linea(&mut self, mensaje: &mut SinTrama) -> Visto {
        if let Some(cierre) = self.cierre {
            match self.tras_cierre(cierre) {
                TrasCierre::Acaba(sigue) => {
                    let envoltura = self.envoltura_de(cierre);
                    return Visto::Acaba(Final::entero(cierre, sigue, envoltura));
                }
                TrasCierre::Faltan => return Visto::Faltan,
                TrasCierre::Dato => {}
            }
        }
        if let Some(visto) = self.mirar_tras_pausa(mensaje) {
            return visto;
        }
        let con_etx = mensaje.puede_acabar_en_etx;
        let importa = |octeto: &u8| match *octeto {
            FS | VT | STX | CR | LF => true,
            ETX => con_etx,
            _ => false,
        };
        let desde = self.revisado;
        let hallado = self.buscar(|pendiente| pendiente.iter().position(importa));
        self.contar(desde, hallado.map_or(self.revisado, |p| p + 1));
        let Some(p) = hallado else {
            return Visto::Faltan;
        };
        match self.bufer.pendiente()[p] {
            FS | ETX => {
                self.cierre = Some(p);
                self.revisado = p + 1;
            }
            octeto @ (VT | STX) => {
                let resto = &self.bufer.pendiente()[p + 1..];
                let abre = if octeto == VT {
                    self.abre_tras_vt(resto)
                } else {
                    abre_creible(resto)
                };
                match abre {
                    Comienzo::Si => return Visto::Acaba(Final::sin_trama(p, p)),
                    Comienzo::Faltan => {
                        self.contar(p, self.bufer.pendiente().len());
                        return Visto::Faltan;
                    }
                    Comienzo::No => self.revisado = p + 1,
                }
            }
            _ => {
                self.revisado = p + 1;
                mensaje.linea = Linea::Vacia { desde: p + 1 };
            }
        }
        Visto::Sigue
    }

    /// Qué es lo que sigue, si llegó tras una pausa y no es más de la misma línea.
    fn mirar_tras_pausa(&mut self, mensaje: &mut SinTrama) -> Option<Visto> {
        let p = self.revisado;
        if p == 0 || !self.rafagas.hay_en(p) {
            return None;
        }
        // Una cabecera es la de otro mensaje aunque la línea anterior no acabara.
        let empieza = match self.bufer.pendiente().get(p..) {
            Some(linea @ [_, ..]) => self.empieza_otro(mensaje, linea),
            _ => Comienzo::No,
        };
        match empieza {
            Comienzo::Si => Some(Visto::Acaba(Final::sin_trama(p, p))),
            Comienzo::Faltan => {
                self.contado = self.ahora;
                Some(Visto::Faltan)
            }
            Comienzo::No if p == self.rafagas.ultima && self.puede_ser_conocido(mensaje, p) => {
                Some(self.pegar(mensaje, p))
            }
            Comienzo::No => None,
        }
    }

    /// Si entre esas dos posiciones hay algo que no sea un latido, el silencio se cuenta desde ahora.
    fn contar(&mut self, desde: usize, hasta: usize) {
        let nuevo = &self.bufer.pendiente()[desde..hasta];
        if nuevo.iter().any(|octeto| !es_latido_de_control(*octeto)) {
            self.contado = self.ahora;
        }
    }

    /// Si desde ahí, en mitad de un mensaje, hay un texto conocido en la conexión o su comienzo.
    fn puede_ser_conocido(&self, mensaje: &SinTrama, desde: usize) -> bool {
        let texto = &self.bufer.pendiente()[desde..];
        desde > 0
            && !texto.is_empty()
            && self.intercalados.en_mensaje(texto, mensaje.separador).0 != Comienzo::No
    }

    /// Desde ahí, lo pegado a una línea sin acabar puede no ser suyo.
    fn pegar(&mut self, mensaje: &mut SinTrama, desde: usize) -> Visto {
        self.revisado = desde;
        mensaje.linea = self.dudosa(desde, Viene::Pegada);
        Visto::Sigue
    }

    /// Mira con qué empieza una línea.
    fn mirar_comienzo(&mut self, mensaje: &mut SinTrama, desde: usize) -> Visto {
        let con_etx = mensaje.puede_acabar_en_etx;
        let importa = |octeto: &u8| dice_algo(*octeto) && (con_etx || *octeto != ETX);
        let comienzo = self.buscar(|pendiente| pendiente.iter().position(importa));
        let Some(p) = comienzo else {
            return Visto::Faltan;
        };
        let pendiente = self.bufer.pendiente();
        match self.empieza_otro(mensaje, &pendiente[p..]) {
            Comienzo::Si => {
                let hasta = if pendiente[p - 1] == STX { p - 1 } else { p };
                return Visto::Acaba(Final::sin_trama(hasta, hasta));
            }
            Comienzo::Faltan => return Visto::Faltan,
            Comienzo::No => {}
        }
        let ultima = self.rafagas.ultima;
        let viene = if ultima > 0 && (desde..=p).contains(&ultima) {
            Viene::TrasPausa
        } else {
            Viene::Seguida
        };
        mensaje.linea = self.dudosa(p, viene);
        Visto::Sigue
    }

    fn dudosa(&self, desde: usize, viene: Viene) -> Linea {
        Linea::Dudosa(Dudosa {
            desde,
            cuando: self.ahora,
            viene,
            conocida: false,
        })
    }

    /// Si lo que empieza una línea es ya de otro mensaje.
    fn empieza_otro(&self, mensaje: &mut SinTrama, linea: &[u8]) -> Comienzo {
        if linea[0] == VT {
            return self.abre_tras_vt(&linea[1..]);
        }
        let abre = self.abre_otro(linea);
        let Some(fin_de_lote) = mensaje.fin_de_lote else {
            return abre;
        };
        // Dentro de un lote un MSH no empieza otro; tras su último segmento, o si empieza otro
        // lote igual, sí.
        let nombre = &linea[..linea.len().min(3)];
        if fin_de_lote[..nombre.len()].eq_ignore_ascii_case(nombre) {
            match linea.get(3) {
                None => return Comienzo::Faltan,
                Some(octeto) if *octeto == mensaje.separador || es_fin_de_segmento(*octeto) => {
                    mensaje.fin_de_lote = None;
                    return Comienzo::No;
                }
                Some(_) => {}
            }
        }
        match abre {
            Comienzo::Si if se_llama(linea, b"MSH") => Comienzo::No,
            Comienzo::Si if fin_de_lote == b"FTS" && !se_llama(linea, b"FHS") => Comienzo::No,
            abre => abre,
        }
    }

    /// Mira si una línea dudosa es del mensaje o de un convertidor.
    fn mirar_dudosa(&mut self, mensaje: &mut SinTrama, linea: Dudosa) -> Visto {
        let Dudosa { desde, viene, .. } = linea;
        let pendiente = self.bufer.pendiente();
        let mut conocida = self.revisado > desde;
        loop {
            let resto = &pendiente[self.revisado..];
            match self.intercalados.en_mensaje(resto, mensaje.separador) {
                (Comienzo::Si, cuantos) => self.revisado += cuantos,
                // Pegada a lo anterior y con su fin de línea, es una línea del informe que dice lo
                // mismo: quien late lo hace cuando nadie envía.
                (Comienzo::No, _)
                    if conocida
                        && viene != Viene::TrasPausa
                        && resto.first().is_some_and(|o| es_fin_de_segmento(*o)) =>
                {
                    return self.es_suya(mensaje, desde);
                }
                (Comienzo::No, _) if conocida && resto.first().is_some_and(|o| es_relleno(*o)) => {
                    self.revisado += 1;
                }
                _ => break,
            }
            conocida = true;
        }
        let linea = Dudosa { conocida, ..linea };
        mensaje.linea = Linea::Dudosa(linea);
        let resto = &pendiente[self.revisado..];
        let otro = self.intercalados.en_mensaje(resto, mensaje.separador).0;
        let abre = if resto.is_empty() || otro != Comienzo::No {
            Comienzo::Faltan
        } else if conocida {
            self.empieza_otro(mensaje, resto)
        } else if viene == Viene::Pegada {
            Comienzo::No
        } else {
            return self.mirar_desconocida(mensaje, linea);
        };
        match abre {
            Comienzo::Si => Visto::Acaba(Final::sin_trama(desde, desde)),
            Comienzo::Faltan if self.revisado > desde + DE_SOBRA_BYTES => {
                Visto::Acaba(Final::sin_trama(desde, desde))
            }
            Comienzo::Faltan => Visto::Faltan,
            Comienzo::No => self.es_suya(mensaje, desde),
        }
    }

    /// Una línea dudosa que no es un texto conocido deja de serlo en cuanto tiene algo de HL7.
    fn mirar_desconocida(&mut self, mensaje: &mut SinTrama, linea: Dudosa) -> Visto {
        let desde = linea.desde;
        let texto = &self.bufer.pendiente()[desde..];
        let intercalada = self.es_intercalada(linea);
        let conocido = |resto| self.intercalados.en_mensaje(resto, mensaje.separador).0;
        for (i, octeto) in texto.iter().enumerate() {
            if i > 0
                && desde + i == self.rafagas.ultima
                && !intercalada
                && conocido(&texto[i..]) == Comienzo::Si
            {
                return self.es_suya_hasta(mensaje, linea, desde + i);
            }
            let es_ajena = intercalada
                || linea.viene == Viene::TrasPausa
                || self.intercalados.mide_un_prefijo(i)
                || self.es_latido(desde..desde + i);
            let abre = if i > 0 && (es_ajena || self.empieza_rafaga(desde + i)) {
                self.abre_otro(&texto[i..])
            } else {
                Comienzo::No
            };
            match abre {
                Comienzo::Si => {
                    // Lo que llegó con el mensaje es suyo, aunque tras una pausa otro lo siga.
                    let hasta = if es_ajena { desde } else { desde + i };
                    return Visto::Acaba(Final::sin_trama(hasta, hasta));
                }
                Comienzo::Faltan => return Visto::Faltan,
                Comienzo::No => {}
            }
            let es_etx = *octeto == ETX && mensaje.puede_acabar_en_etx;
            let es_stx = *octeto == STX && abre_creible(&texto[i + 1..]) == Comienzo::Si;
            let es_de_hl7 = *octeto == mensaje.separador || matches!(*octeto, CR | LF | FS | VT);
            if es_de_hl7 || es_etx || es_stx || i >= TEXTO_BYTES {
                return self.es_suya(mensaje, desde);
            }
        }
        Visto::Faltan
    }

    /// Si lo que hay ahí es lo primero que dice algo de lo que llegó tras la última pausa.
    fn empieza_rafaga(&self, p: usize) -> bool {
        let ultima = self.rafagas.ultima;
        let pendiente = self.bufer.pendiente();
        (1..=p).contains(&ultima) && !pendiente[ultima..p].iter().copied().any(dice_algo)
    }

    /// Lo que va de una línea dudosa es del mensaje, y lo que llegó tras la pausa, quizá no.
    fn es_suya_hasta(&mut self, mensaje: &mut SinTrama, linea: Dudosa, hasta: usize) -> Visto {
        self.contado = linea.cuando;
        self.pegar(mensaje, hasta)
    }

    fn es_suya(&mut self, mensaje: &mut SinTrama, desde: usize) -> Visto {
        mensaje.linea = Linea::Suya;
        self.revisado = desde;
        if self.rafagas.ultima == desde {
            // Lo que llegó tras esa pausa ya está mirado.
            self.rafagas.ultima = 0;
        }
        Visto::Sigue
    }

    /// La posición del próximo byte que importa; `revisado` queda en él, o al final.
    fn buscar(&mut self, importa: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        let pendiente = self.bufer.pendiente();
        let hallado = importa(&pendiente[self.revisado..]);
        self.revisado = hallado.map_or(pendiente.len(), |distancia| self.revisado + distancia);
        hallado.map(|_| self.revisado)
    }
}

/// Si es uno de los bytes que algunos equipos envían mientras callan, que en mitad de una línea no dicen nada.
fn es_latido_de_control(octeto: u8) -> bool {
    octeto.is_ascii_control() && !matches!(octeto, CR | LF | FS | VT | ETX | b'\t')
}

/// Si el byte es ya de una línea, o de una trama: no uno de los que llegan entre mensajes.
fn dice_algo(octeto: u8) -> bool {
    !es_latido_de_control(octeto) && !es_relleno(octeto)
}

/// Qué sigue a un FS o a un ETX.
enum TrasCierre {
    /// Nada suyo: acaba ahí, y se sigue leyendo desde esa posición.
    Acaba(usize),
    /// Un texto: es un dato.
    Dato,
    Faltan,
}

/// Qué se vio de un mensaje sin trama.
enum Visto {
    Acaba(Final),
    Faltan,
    Sigue,
}
