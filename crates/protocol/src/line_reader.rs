//! A reader of text formats: lines, and blocks whose length a line announces.

use crate::hash::Hash;

/// A reader that takes the next line of a text, or the next block of a given number of bytes.
pub(crate) struct LineReader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> LineReader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        LineReader { rest: text, line: 0 }
    }

    /// The number of the line that was read last, from 1; 0 before the first line.
    pub(crate) fn line_number(&self) -> usize {
        self.line
    }

    /// Reads the next line without its newline; `None` at the end or if the newline is missing.
    pub(crate) fn line(&mut self) -> Option<&'a str> {
        let (line, rest) = self.rest.split_once('\n')?;
        self.rest = rest;
        self.line += 1;
        Some(line)
    }

    /// Reads the next line, `WORD VALUE`, and returns the value. `None` unless the line begins with
    /// `word` and a space.
    pub(crate) fn field(&mut self, word: &str) -> Option<&'a str> {
        self.line()?.strip_prefix(word)?.strip_prefix(' ')
    }

    /// Reads a block of exactly `count` bytes. `None` if the text is shorter.
    pub(crate) fn block(&mut self, count: u64) -> Option<&'a str> {
        let (block, rest) = self.rest.split_at_checked(usize::try_from(count).ok()?)?;
        self.rest = rest;
        self.line += block.bytes().filter(|&c| c == b'\n').count();
        Some(block)
    }

    /// Reads `count` lines of one base64 hash each. `None` if `count` exceeds `limit`.
    pub(crate) fn hashes(&mut self, count: u64, limit: usize) -> Option<Vec<Hash>> {
        if count > limit as u64 {
            return None;
        }
        (0..count).map(|_| Hash::from_base64(self.line()?)).collect()
    }

    pub(crate) fn peek(&self) -> &'a str {
        self.rest.split_once('\n').map_or(self.rest, |(line, _)| line)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}
