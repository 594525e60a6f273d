//! Withdrawals: a release's publishers take it back, in fixed lines that they sign as a note.
//!
//! ```text
//! unanimity/withdrawal/v1
//! log example.org/log
//! product hello
//! channel stable
//! sequence 2
//! issued 1790000000
//! reason It deletes what it should keep.
//! ```
//!
//! As many keys have to sign as for a release. From the entry on that it is, wherever that stands in the
//! log, no release of that sequence is installed any more, and none is gone back to; there is no way
//! to take it back, but a new release. The reason is for people: one line of 1 to 200 bytes.

use std::fmt;

use crate::checkpoint::Origin;
use crate::line_reader::LineReader;
use crate::subject::{StatementError, Subject};
use crate::{
    Name, Timestamp,
    subject::{self},
};

/// The most bytes of a reason.
pub const MAX_REASON_BYTES: usize = 200;

/// A withdrawal as publishers wrote it. Parsed, not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The one log that it is for.
    pub log: Origin,
    /// Of what product.
    pub product: Name,
    /// In which channel.
    pub channel: Name,
    /// Which release.
    pub sequence: u64,
    /// When it was made.
    pub issued: Timestamp,
    /// Why, for people.
    pub reason: String,
}

impl Withdrawal {
    /// The first line of every withdrawal.
    pub const HEADER: &'static str = "unanimity/withdrawal/v1";

    /// Reads a withdrawal's text.
    pub fn parse(text: &str) -> Result<Withdrawal, StatementError> {
        subject::parse("withdrawal", text, Withdrawal::read)
    }

    fn read(lines: &mut LineReader<'_>) -> Result<Withdrawal, &'static str> {
        if lines.line() != Some(Withdrawal::HEADER) {
            return Err("unanimity/withdrawal/v1");
        }
        let Subject { log, product, channel, sequence } = Subject::read(lines)?;
        let issued = subject::number(lines.field("issued")).ok_or("'issued SECONDS'")?;
        let reason = lines.field("reason").filter(|reason| {
            let is_line = reason.trim() == *reason && !reason.chars().any(char::is_control);
            is_line && (1..=MAX_REASON_BYTES).contains(&reason.len())
        });
        let reason = reason.ok_or("'reason TEXT', one line of 1 to 200 bytes")?.to_owned();
        if !lines.is_at_end() {
            return Err("the end: a reason is one line");
        }
        let issued = Timestamp(issued);
        Ok(Withdrawal { log, product, channel, sequence, issued, reason })
    }
}

impl fmt::Display for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nlog {}", Withdrawal::HEADER, self.log)?;
        writeln!(f, "product {}\nchannel {}", self.product, self.channel)?;
        writeln!(f, "sequence {}\nissued {}", self.sequence, self.issued.0)?;
        writeln!(f, "reason {}", self.reason)
    }
}
