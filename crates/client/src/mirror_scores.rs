//! A record of the mirrors that have failed in the current cycle.

use std::collections::BTreeSet;

/// The results of the mirrors in the current cycle.
#[derive(Default)]
pub(crate) struct MirrorScores {
    /// The names of the mirrors that have failed.
    pub(crate) failed: BTreeSet<String>,
    /// Whether the backoff of a mirror has changed and is not stored yet.
    pub(crate) unsaved: bool,
}
