//! The statements that publishers sign: manifests of releases, and withdrawals.

use std::fmt;

use crate::manifest::Manifest;
use crate::subject::StatementError;
use crate::withdrawal::Withdrawal;

/// A parsed statement of a publisher. Its signatures are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A manifest, which announces a release.
    Release(Manifest),
    /// A withdrawal of a release.
    Withdrawal(Withdrawal),
}

impl Statement {
    /// Reads a statement of any kind. A text with an unknown first line is read as a manifest, and
    /// gives the error of a malformed manifest.
    pub fn parse(text: &str) -> Result<Statement, StatementError> {
        if text.lines().next() == Some(Withdrawal::HEADER) {
            return Withdrawal::parse(text).map(Statement::Withdrawal);
        }
        Manifest::parse(text).map(Statement::Release)
    }

    /// The manifest, if the statement announces a release.
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
