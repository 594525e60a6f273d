//! The few spellings every format here shares: base64, hex, decimal, sections.

use data_encoding::{BASE64, HEXLOWER};

pub(super) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// Canonical base64 only: padding at the end and nowhere else, unused bits zero.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    // The decoder takes several padded pieces put together for one text.
    let one_piece = !text.trim_end_matches('=').contains('=');
    BASE64.decode(text.as_bytes()).ok().filter(|_| one_piece)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Lower-case pairs only.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

/// A decimal number with one spelling: digits only, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if digits && !leading_zero { text.parse().ok() } else { None }
}

/// Walks a text line by line, and by byte counts where a line announces one.
pub(super) struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Reader { rest: text, line: 0 }
    }

    /// The number of the line read last, counting from 1.
    pub(super) fn line_number(&self) -> usize {
        self.line
    }

    /// The next line without its newline; `None` at the end or when the newline is missing.
    pub(super) fn line(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    /// The rest of the next line, if the line starts with `word` and one space.
    pub(super) fn field(&mut self, word: &str) -> Option<&'a str> {
        self.line()?.strip_prefix(word)?.strip_prefix(' ')
    }

    /// Exactly `count` bytes.
    pub(super) fn block(&mut self, count: u64) -> Option<&'a str> {
        let (block, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        self.line += block.bytes().filter(|&c| c == b'\n').count();
        Some(block)
    }

    /// `count` lines of one base64 hash each; `limit` is the most the format allows.
    pub(super) fn hashes(&mut self, count: u64, limit: usize) -> Option<Vec<super::Hash>> {
        if count > limit as u64 {
            return None;
        }
        (0..count).map(|_| super::Hash::from_base64(self.line()?)).collect()
    }

    pub(super) fn peek(&self) -> &'a str {
        self.rest.split_once('\n').map_or(self.rest, |(line, _)| line)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}
