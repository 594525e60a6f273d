//! The decision whether every peer confirms a release.
//!
//! [`verdict`] is the whole rule, as a plain function of standings: no keys, no proofs,
//! so a simulator of a million nodes calls the very same one.
//!
//! A fork of the log never reaches this rule: the choice of the head
//! ([`head_choice`](super::head_choice)) ends the cycle with the evidence.

/// What one peer's answer turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmation {
    /// Joined with ours, and covers what would be installed.
    Confirmed,
    /// Joined, and does not cover it yet.
    Behind,
    /// No answer that counts.
    NoValidAnswer,
    /// A view that could not be joined: nobody serves tiles for it, or they do not hash up.
    Unproven,
}

/// The result of the latest round and an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every peer confirmed, now and at least `settle` ago.
    Unanimous,
    /// Every peer confirms now; `settle` ago they had not yet, or were not asked.
    Settling,
    /// At least one peer did not confirm.
    Incomplete,
}

/// Decides from two rounds whether a release may install. Each has one standing for every configured
/// peer; `earlier` is at least `settle` older than `latest`. An empty round confirms nothing.
pub fn verdict(latest: &[Confirmation], earlier: Option<&[Confirmation]>) -> Verdict {
    let all_confirmed = |round: &[Confirmation]| {
        !round.is_empty() && round.iter().all(|s| *s == Confirmation::Confirmed)
    };
    if !all_confirmed(latest) {
        Verdict::Incomplete
    } else if earlier.is_some_and(|round| round.len() == latest.len() && all_confirmed(round)) {
        Verdict::Unanimous
    } else {
        Verdict::Settling
    }
}
