//! Withdrawals: statements that withdraw a release, in fixed lines that publishers sign as a note.
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
//! A withdrawal needs as many signatures as a release. Once the log contains it, at any index,
//! clients neither install a release of that sequence nor go back to one. A withdrawal is final:
//! the publisher can only make a new release. The reason is for people: one line of 1 to 200 bytes.

use std::fmt;

use crate::checkpoint::Origin;
use crate::line_reader::LineReader;
use crate::subject::{StatementError, Subject};
use crate::{
    Name, Timestamp,
    subject::{self},
};

/// The most bytes in the reason of a withdrawal.
pub const MAX_REASON_BYTES: usize = 200;

/// A parsed withdrawal. Its signatures are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The origin of the log that this withdrawal is for.
    pub log: Origin,
    /// The product of the withdrawn release.
    pub product: Name,
    /// The channel of the withdrawn release.
    pub channel: Name,
    /// The sequence of the withdrawn release.
    pub sequence: u64,
    /// The time at which the publisher made the withdrawal.
    pub issued: Timestamp,
    /// The reason, for people: 1 to [`MAX_REASON_BYTES`] bytes without control characters.
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
