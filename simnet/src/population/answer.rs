//! A peer's answer to a question, and the time in seconds at which the peer signs it.

use super::packed_head::PackedHead;
use crate::Millis;

/// A peer's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerAnswer {
    /// The peer cosigns this head.
    Head(PackedHead),
    /// No mirror has shown the peer a fresh head.
    NoFreshHead,
    /// The peer holds evidence of a fork.
    Evidence,
}

/// A time in whole seconds, as the client and the witness sign and compare times.
pub(super) fn whole_seconds(at: Millis) -> u32 {
    (at / 1000) as u32
}

/// The time that a peer signs, in seconds after the world's beginning. The type is signed, because
/// a peer with a slow clock signs an earlier time, which can be negative.
pub(super) fn signing_second(at: Millis) -> i32 {
    (at / 1000) as i32
}
