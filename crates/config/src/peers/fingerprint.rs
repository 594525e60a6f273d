//! The fingerprint of a peer, which two operators compare by voice.

use std::fmt;

use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::{CosignatureVerifyingKey, Hash};

use crate::{ClientAuthKey, MirrorUrl, OnionAddress};

/// The fingerprint of a peer of one log: 8 groups of 5 digits, such as `05371 88120 ...`.
///
/// A fingerprint covers the log, the peer's keys, the peer's address and the URL of the peer's
/// artifacts. A fingerprint does not cover the peer's name, which each operator chooses, or the
/// state of the log.
// An attacker that replaces an invite on its way needs another invite with the same fingerprint. A
// group is 32 bits modulo 100,000, so its likeliest value has a probability of 42,950 / 2^32. That
// is 16.6 bits for a group, and 132.8 bits for all eight groups. A collision of two chosen invites
// needs half as many bits, and gains an attacker nothing: the same peer makes both invites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u32; 8]);

impl Fingerprint {
    /// Computes `SHA-256("unanimity/peer/v1\n" ‖ log id in hex ‖ "\n" ‖ address ‖ "\n" ‖ key line ‖
    /// "\n" ‖ client_auth key ‖ "\n" ‖ URL of artifacts ‖ "\n")`. Each group is four bytes of the
    /// digest, big-endian, modulo 100,000. Without artifacts, the last line is absent.
    pub fn compute(
        log: LogId,
        address: &OnionAddress,
        key: &CosignatureVerifyingKey,
        client_auth: &ClientAuthKey,
        artifacts: Option<&MirrorUrl>,
    ) -> Fingerprint {
        let log = Hash(log.0);
        let mut text = format!("unanimity/peer/v1\n{log}\n{address}\n{key}\n{client_auth}\n");
        text.extend(artifacts.map(|url| format!("{url}\n")));
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
