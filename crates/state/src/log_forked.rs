//! The refusal of a log with unacknowledged evidence of a fork.

use unanimity_report::{Classify, Exit};

/// The log has forked: evidence was found earlier, and the operator has not acknowledged it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fork: evidence {id} against this log was found earlier and is not acknowledged")]
pub struct LogForked {
    /// The id of the evidence.
    pub id: String,
}

impl Classify for LogForked {
    fn exit(&self) -> Exit {
        Exit::Fork
    }
}
