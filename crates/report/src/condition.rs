//! The condition of a node after its last cycle, from healthy to fork.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The condition of a node after its last cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Every peer agrees, and the operator has nothing to do. A release may be settling.
    Healthy,
    /// Every peer agrees, and a release can be installed.
    Available,
    /// Not every peer confirmed, or the node could not find out whether every peer confirms.
    Incomplete,
    /// Every mirror hides log entries that peers have verified.
    Stale,
    /// A check refused a release, the log or a file.
    Refused,
    /// The log signed two tree heads that are not consistent.
    Fork,
}

impl Condition {
    /// Whether the condition is healthy or available, so that nothing is wrong.
    pub fn is_good(self) -> bool {
        matches!(self, Condition::Healthy | Condition::Available)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Condition::Healthy => "healthy",
            Condition::Available => "available",
            Condition::Incomplete => "incomplete",
            Condition::Stale => "stale",
            Condition::Refused => "refused",
            Condition::Fork => "fork",
        })
    }
}
