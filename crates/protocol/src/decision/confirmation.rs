//! The decision whether every peer confirms a release.
//!
//! [`verdict`] is the whole rule. It needs neither keys nor proofs, so the simulator of a million
//! nodes calls it, too.
//!
//! A fork of the log never reaches this rule: the choice of the head
//! ([`head_choice`](super::head_choice)) ends the cycle with the evidence.

/// The result of one peer's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmation {
    /// The peer's head is consistent with the client's, and contains the release.
    Confirmed,
    /// The peer's head is consistent with the client's, and does not contain the release yet.
    Behind,
    /// The peer gave no answer that counts.
    NoValidAnswer,
    /// The peer's head is not proven consistent: its tiles are missing, or do not give its root.
    Unproven,
}

/// The result of the latest round and an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every peer confirms now, and confirmed at least `settle` ago.
    Unanimous,
    /// Every peer confirms now. At least one had not confirmed `settle` ago, or was not asked.
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
