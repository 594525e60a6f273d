//! How a node is, in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Every peer agrees, and there is nothing to do but perhaps to wait for `settle`.
    Healthy,
    /// Healthy, and a release can be installed.
    Available,
    /// Not every peer confirmed, or the node could not find out.
    Incomplete,
    /// Every mirror hides what others have verified.
    Stale,
    /// A check failed.
    Refused,
    /// The log has told two stories.
    Fork,
}

impl Condition {
    /// Whether nobody has to do anything about it.
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
