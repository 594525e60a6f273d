//! Base64, hexadecimal and decimal numbers, each with exactly one spelling.

use data_encoding::{BASE64, HEXLOWER};

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Reads canonical base64: padding only at the end, and unused bits zero.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    // The decoder accepts a concatenation of several padded pieces.
    let one_piece = !text.trim_end_matches('=').contains('=');
    BASE64.decode(text.as_bytes()).ok().filter(|_| one_piece)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Reads pairs of lower-case hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

/// Reads a decimal number: digits only, without a leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}
