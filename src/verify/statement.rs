//! What publishers sign: releases, and that a release is taken back. All begin with what they are about.

use std::fmt;

use super::checkpoint::Origin;
use super::text::{self, Reader};
use super::{Manifest, Name, Withdrawal};

/// A text of a publisher's. Parsed, not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// There is a release.
    Release(Manifest),
    /// A release is taken back.
    Withdrawal(Withdrawal),
}

impl Statement {
    /// Reads one of whatever kind.
    pub fn parse(text: &str) -> Result<Statement, StatementError> {
        if text.lines().next() == Some(Withdrawal::HEADER) {
            return Withdrawal::parse(text).map(Statement::Withdrawal);
        }
        Manifest::parse(text).map(Statement::Release)
    }

    /// The release, if it is one.
    pub fn release(&self) -> Option<&Manifest> {
        match self {
            Statement::Release(manifest) => Some(manifest),
            Statement::Withdrawal(_) => None,
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statement::Release(manifest) => manifest.fmt(f),
            Statement::Withdrawal(withdrawal) => withdrawal.fmt(f),
        }
    }
}

/// The text is not what it should be: which line, and what was expected there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} line {line}: expected {expected}")]
pub struct StatementError {
    /// `manifest` or `withdrawal`.
    pub kind: &'static str,
    /// Counting from 1.
    pub line: usize,
    /// What the line should have been.
    pub expected: &'static str,
}

pub(super) fn parse<T>(
    kind: &'static str,
    text: &str,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, &'static str>,
) -> Result<T, StatementError> {
    let mut lines = Reader::new(text);
    read(&mut lines).map_err(|expected| {
        let line = lines.line_number().max(1);
        StatementError { kind, line, expected }
    })
}

/// Which release of what a statement is about, and the one log that it is for.
pub(super) struct Subject {
    pub(super) log: Origin,
    pub(super) product: Name,
    pub(super) channel: Name,
    pub(super) sequence: u64,
}

impl Subject {
    pub(super) fn read(lines: &mut Reader<'_>) -> Result<Subject, &'static str> {
        let origin = lines.field("log").and_then(|text| text.parse().ok());
        let log = origin.ok_or("'log ORIGIN'")?;
        let mut name = |word, expected| {
            lines.field(word).and_then(|text| text.parse::<Name>().ok()).ok_or(expected)
        };
        let product = name("product", "'product NAME', a safe name")?;
        let channel = name("channel", "'channel NAME', a safe name")?;
        let sequence = number(lines.field("sequence")).filter(|&n| n > 0);
        let sequence = sequence.ok_or("'sequence N', from 1")?;
        Ok(Subject { log, product, channel, sequence })
    }
}

/// Below 2^63.
pub(super) fn number(text: Option<&str>) -> Option<u64> {
    text.and_then(text::decimal).filter(|&n| n < 1 << 63)
}
