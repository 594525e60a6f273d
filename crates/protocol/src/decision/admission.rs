//! Admission of a peer's answer: the checks of the answer's age and of its log size.

use std::time::Duration;

use crate::cosigned_head::CosignedHead;
use crate::peer_failure::PeerFailure;
use crate::time::Timestamp;

/// The longest time by which a peer's clock may be ahead of the client's: 60 s.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The operator's time limits for releases, rounds and cosignatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundLimits {
    /// The time for which every peer must have confirmed a release before it installs.
    pub settle: Duration,
    /// The greatest age of the latest round when the installer switches to the new version.
    pub round_ttl: Duration,
    /// The greatest age of a cosignature when the client receives it.
    pub max_cosignature_age: Duration,
}

impl Default for RoundLimits {
    /// The default limits: `settle` is 1 h, `round_ttl` and `max_cosignature_age` are 15 min.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        RoundLimits {
            settle: minutes(60),
            round_ttl: minutes(15),
            max_cosignature_age: minutes(15),
        }
    }
}

impl RoundLimits {
    /// Returns the cosigned head if it counts at `now`.
    ///
    /// `before` is the largest size among the earlier heads of the peer, or 0.
    ///
    /// # Errors
    ///
    /// The errors of [`RoundLimits::check`].
    pub fn admit(
        &self,
        head: CosignedHead,
        now: Timestamp,
        before: u64,
    ) -> Result<CosignedHead, PeerFailure> {
        self.check(head.signed_at(), head.head().size(), now, before).map(|()| head)
    }

    /// Checks whether a peer's answer counts at `now`.
    ///
    /// `signed_at` is the time of the answer, and `size` the number of log entries in its head.
    /// `largest_before` is the largest size among the earlier heads of the peer, or 0.
    ///
    /// [`RoundLimits::admit`] applies this rule to a [`CosignedHead`]. The simulator's answers are
    /// unsigned, so the simulator calls this function.
    ///
    /// # Errors
    ///
    /// * [`PeerFailure::InFuture`] if `signed_at` is more than [`CLOCK_SKEW`] after `now`.
    /// * [`PeerFailure::TooOld`] if `signed_at` is more than `max_cosignature_age` before `now`.
    /// * [`PeerFailure::Regressed`] if `size` is below `largest_before`.
    pub fn check(
        &self,
        signed_at: Timestamp,
        size: u64,
        now: Timestamp,
        largest_before: u64,
    ) -> Result<(), PeerFailure> {
        if signed_at > now.after(CLOCK_SKEW) {
            Err(PeerFailure::InFuture(signed_at))
        } else if signed_at.after(self.max_cosignature_age) < now {
            Err(PeerFailure::TooOld(signed_at))
        } else if size < largest_before {
            Err(PeerFailure::Regressed { size, before: largest_before })
        } else {
            Ok(())
        }
    }
}
