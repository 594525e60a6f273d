//! What publishers sign: releases, and that a release is taken back. All begin with what they are about.

use std::fmt;

use crate::manifest::Manifest;
use crate::subject::StatementError;
use crate::withdrawal::Withdrawal;

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
