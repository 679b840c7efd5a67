//! Lo que dicen las órdenes de Windows cuando su salida no es una consola.

/// Los últimos 128 caracteres de la página 850, la de las consolas de un Windows en español.
const PAGINA_850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// Ese texto, en una línea. Cuál es la página no se le puede preguntar a Windows: a un programa que en su
/// manifiesto pide UTF-8, como este, le contesta que es esa.
pub(super) fn leer_salida(bytes: Vec<u8>) -> String {
    let texto = String::from_utf8(bytes).unwrap_or_else(|no_es_utf8| {
        let de_850 = |byte: u8| match byte.checked_sub(128) {
            Some(alto) => PAGINA_850.chars().nth(alto.into()).unwrap_or_default(),
            None => char::from(byte),
        };
        no_es_utf8.into_bytes().into_iter().map(de_850).collect()
    });
    let palabras: Vec<_> = texto.split_whitespace().collect();
    palabras.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn los_acentos_de_una_orden_de_windows_se_leen_en_su_pagina_o_en_utf_8() {
        let en_850 =
            b"La operaci\xA2n solicitada\r\nrequiere m\xA0s permisos: \xA8a\xA4o?\r\n".to_vec();
        let esperado = "La operación solicitada requiere más permisos: ¿año?";
        assert_eq!(leer_salida(en_850), esperado);
        assert_eq!(leer_salida(esperado.as_bytes().to_vec()), esperado);
        assert_eq!(PAGINA_850.chars().count(), 128);
    }
}
