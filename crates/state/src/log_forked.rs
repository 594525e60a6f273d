//! Evidence of a fork that the operator has not acknowledged.

use unanimity_report::{Classify, Exit};

/// Evidence of a fork was found earlier, and the operator has not acknowledged it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fork: evidence {id} against this log was found earlier and is not acknowledged")]
pub struct LogForked {
    /// The evidence's id.
    pub id: String,
}

impl Classify for LogForked {
    fn exit(&self) -> Exit {
        Exit::Fork
    }
}
