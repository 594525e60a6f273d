//! What two people read to each other over the phone.

use std::fmt;

use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::{CosignatureVerifyingKey, Hash};

use crate::{ClientAuthKey, MirrorUrl, OnionAddress};

/// A peer of one log for as long as its keys and its address are what they are: 8 groups of 5
/// digits, `05371 88120 ...`. Where it serves artifacts, that address is one of them. Neither its
/// name is in it, which is ours to choose, nor the state of the log.
// Whoever swaps a ticket on its way needs another one with the very same fingerprint. A group
// is 32 bits modulo 100,000, so its likeliest value has a probability of 42,950 / 2^32: 16.6
// bits, and 132.8 bits for the eight. That two fingerprints can be made to meet in half as many
// bits helps nobody: who makes both tickets is one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u32; 8]);

impl Fingerprint {
    /// Of `SHA-256("unanimity/peer/v1\n" ‖ log id in hex ‖ "\n" ‖ address ‖ "\n" ‖ key line ‖
    /// "\n" ‖ discovery key ‖ "\n" ‖ address of artifacts ‖ "\n")`, four bytes to a group, big-endian; the
    /// last line only if there is such an address.
    pub fn compute(
        log: LogId,
        address: &OnionAddress,
        key: &CosignatureVerifyingKey,
        discovery: &ClientAuthKey,
        artifacts: Option<&MirrorUrl>,
    ) -> Fingerprint {
        let log = Hash(log.0);
        let mut text = format!("unanimity/peer/v1\n{log}\n{address}\n{key}\n{discovery}\n");
        text.extend(artifacts.map(|site| format!("{site}\n")));
        let digest = Hash::digest(text.as_bytes()).0;
        let (words, _) = digest.as_chunks::<4>();
        let mut groups = [0; 8];
        for (group, word) in groups.iter_mut().zip(words) {
            *group = u32::from_be_bytes(*word) % 100_000;
        }
        Fingerprint(groups)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.0.iter().enumerate() {
            write!(f, "{}{group:05}", if i > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}
