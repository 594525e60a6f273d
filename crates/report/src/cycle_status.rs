//! The result of a cycle, as the operator sees it.

use serde_json::{Value, json};

use crate::condition::Condition;
use crate::redact::redact;

/// The result of a cycle, as the operator sees it: a condition, a message and details.
///
/// The message must have passed through [`redact_message`], so that it contains neither onion
/// addresses nor private keys.
#[derive(Clone, Debug, PartialEq)]
pub struct CycleStatus {
    /// The condition of the node.
    pub condition: Condition,
    /// The subject of the condition: the evidence of a fork, the reason and release of a refusal,
    /// or the available release. A new subject is a change, even if the condition stays.
    pub about: String,
    /// The message for people, redacted.
    pub message: String,
    /// The details for programs: a JSON object.
    pub details: Value,
}

/// The most bytes of a message before its ellipsis. Mirrors and peers influence the length of a
/// message, so it needs a bound.
const MAX_TEXT_BYTES: usize = 4096;

/// Redacts a message, because the operator's alert command may send it by mail. Cuts a message of
/// more than 4096 bytes, and ends it with an ellipsis.
pub fn redact_message(text: &str) -> String {
    let mut redacted = redact(text);
    if redacted.len() > MAX_TEXT_BYTES {
        redacted.truncate(redacted.floor_char_boundary(MAX_TEXT_BYTES));
        redacted.push('…');
    }
    redacted
}

impl CycleStatus {
    /// Replaces the message by `message`, after [`redact_message`].
    pub fn with_message(self, message: &str) -> CycleStatus {
        CycleStatus { message: redact_message(message), ..self }
    }

    /// Makes the status of a node in which no cycle has finished, for the reason `why`. Its
    /// condition is [`Condition::Incomplete`].
    pub fn no_cycle_finished(why: &str) -> CycleStatus {
        let details = json!({ "outcome": "failed" });
        let (condition, message) = (Condition::Incomplete, redact_message(why));
        CycleStatus { condition, about: String::new(), message, details }
    }
}
