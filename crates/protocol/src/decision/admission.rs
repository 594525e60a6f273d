//! Admission of one answer: its age, and that the peer's tree has not shrunk.

use std::time::Duration;

use crate::cosigned_head::CosignedHead;
use crate::peer_failure::PeerFailure;
use crate::time::Timestamp;

/// How far ahead of our clock a peer's may be.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The operator's time limits for releases, rounds and cosignatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundLimits {
    /// How long every peer must have seen a release before it installs.
    pub settle: Duration,
    /// How old a roll may be at the moment of the switch.
    pub round_ttl: Duration,
    /// How old a cosignature may be when it is received.
    pub max_cosignature_age: Duration,
}

impl Default for RoundLimits {
    /// `settle` 1 h, `round_ttl` and `max_cosignature_age` 15 min.
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
    /// Whether a view received at `now` counts, given the largest size that peer showed before.
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
    /// `signed_at` is the time of the answer, `size` its number of entries, `largest_before` the largest
    /// number that the peer showed before. [`RoundLimits::admit`] is the same rule for a [`CosignedHead`]. The
    /// simulator's answers carry no signature, so it calls this directly.
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
