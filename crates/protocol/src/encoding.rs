//! The few spellings every format here shares: base64, hex, decimal, sections.

use data_encoding::{BASE64, HEXLOWER};

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Canonical base64 only: padding at the end and nowhere else, unused bits zero.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    // The decoder takes several padded pieces put together for one text.
    let one_piece = !text.trim_end_matches('=').contains('=');
    BASE64.decode(text.as_bytes()).ok().filter(|_| one_piece)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Lower-case pairs only.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

/// A decimal number with one spelling: digits only, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}
