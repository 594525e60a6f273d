//! A peer's answer to a question, and the second in which the peer signs it.

use super::packed_head::PackedHead;
use crate::Millis;

/// What a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerAnswer {
    /// It vouches for this.
    Head(PackedHead),
    /// No mirror has shown it anything fresh.
    NoFreshHead,
    /// It holds evidence.
    Evidence,
}

/// Moments are signed and compared in whole seconds.
pub(super) fn whole_seconds(at: Millis) -> u32 {
    (at / 1000) as u32
}

/// The moment that a peer signs, in seconds after the world's beginning. A slow clock can be before it.
pub(super) fn signing_second(at: Millis) -> i32 {
    (at / 1000) as i32
}
