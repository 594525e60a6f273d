//! The decision whether every peer confirms a release.
//!
//! [`verdict`] is the whole rule. It needs neither keys nor proofs, so the simulator of a million
//! nodes uses it, too.
//!
//! A fork of the log never reaches this rule: the choice of the head
//! ([`head_choice`](super::head_choice)) ends the cycle with the evidence.

/// The meaning of one peer's answer for a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmation {
    /// The peer's head is consistent with the client's, and contains the release.
    Confirmed,
    /// The peer's head is consistent with the client's, and does not contain the release yet.
    Behind,
    /// The peer gave no answer that counts.
    NoValidAnswer,
    /// No path proves that the peer's head is consistent with the client's: the hashes are missing
    /// or do not fit.
    Unproven,
}

/// The decision from the latest round and an earlier round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every peer confirms now, and confirmed at least `settle` ago.
    Unanimous,
    /// Every peer confirms now. At least one peer had not confirmed `settle` ago or was not asked
    /// then, or there is no earlier round.
    Settling,
    /// At least one peer did not confirm.
    Incomplete,
}

/// Decides from two rounds whether a release may install.
///
/// Each round has one confirmation for every configured peer. `earlier` is at least `settle` older
/// than `latest`. An empty round confirms nothing.
pub fn verdict(latest: &[Confirmation], earlier: Option<&[Confirmation]>) -> Verdict {
    let all_confirmed = |round: &[Confirmation]| {
        !round.is_empty() && round.iter().all(|peer| *peer == Confirmation::Confirmed)
    };
    if !all_confirmed(latest) {
        Verdict::Incomplete
    } else if earlier.is_some_and(|round| round.len() == latest.len() && all_confirmed(round)) {
        Verdict::Unanimous
    } else {
        Verdict::Settling
    }
}
