//! The end of a cycle as an operator is told of it.

use serde_json::{Value, json};

use crate::condition::Condition;
use crate::redact::redact;

/// The end of a cycle, as an operator may be told of it: neither onion addresses nor secret keys
/// are in it.
#[derive(Clone, Debug, PartialEq)]
pub struct CycleStatus {
    /// How the node is.
    pub condition: Condition,
    /// What tells this from others of its condition: the evidence of a fork, the reason and
    /// release of a refusal, the release that is available. Another one is a change.
    pub about: String,
    /// For people.
    pub message: String,
    /// For programs: an object.
    pub details: Value,
}

/// The most bytes of a message: mirrors and peers have a part in its length.
const MAX_TEXT_BYTES: usize = 4096;

/// The text without what is nobody else's business, and not too long: the command may well send it
/// by mail.
pub fn redact_message(text: &str) -> String {
    let mut clean = redact(text);
    if clean.len() > MAX_TEXT_BYTES {
        clean.truncate(clean.floor_char_boundary(MAX_TEXT_BYTES));
        clean.push('…');
    }
    clean
}

impl CycleStatus {
    /// The same end in these words, cleaned as every message is.
    pub fn with_message(self, message: &str) -> CycleStatus {
        CycleStatus { message: redact_message(message), ..self }
    }

    /// No cycle has come to an end of which there is more to say than why.
    pub fn no_cycle_finished(why: &str) -> CycleStatus {
        let details = json!({ "outcome": "failed" });
        let (condition, message) = (Condition::Incomplete, redact_message(why));
        CycleStatus { condition, about: String::new(), message, details }
    }
}
