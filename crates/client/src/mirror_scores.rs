//! Which mirrors have failed in this cycle so far.

use std::collections::BTreeSet;

/// What this cycle has to say of the mirrors.
#[derive(Default)]
pub(crate) struct MirrorScores {
    pub(crate) failed: BTreeSet<String>,
    pub(crate) unsaved: bool,
}
