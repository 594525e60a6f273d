//! The accepted product, log and publisher keys, and what they have signed.

use crate::checkpoint::{Log, Origin};
use crate::key::NoteVerifyingKey;
use crate::manifest::Manifest;
use crate::name::Name;
use crate::note::{Note, NoteError};
use crate::public_key::PublicKeyBytes;
use crate::refusal::Refusal;
use crate::withdrawal::Withdrawal;

/// Whose releases of what we install, and from which log.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The product.
    pub product: Name,
    /// The channel.
    pub channel: Name,
    /// The log that every release must be in.
    pub log: Log,
    publishers: Vec<NoteVerifyingKey>,
    threshold: usize,
}

/// Why a policy makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Nobody has to sign, or more than there are.
    #[error(
        "a threshold of {threshold} with {keys} publisher keys: it must be at least 1 and at most their number"
    )]
    Threshold {
        /// How many must sign.
        threshold: usize,
        /// How many there are.
        keys: usize,
    },
    /// One raw key twice.
    #[error("publisher keys {0} and {1} are the same key")]
    SameKey(String, String),
    /// Two publisher keys under one name.
    #[error("two publisher keys are named {0}")]
    SameName(String),
    /// The log could sign releases, or a publisher heads.
    #[error("publisher key {0} is also the log's key: a key has one role")]
    TwoRoles(String),
}

impl Policy {
    /// Checks that keys are distinct by their raw bytes and that the threshold can be met.
    pub fn new(
        product: Name,
        channel: Name,
        log: Log,
        publishers: Vec<NoteVerifyingKey>,
        threshold: usize,
    ) -> Result<Policy, PolicyError> {
        if threshold == 0 || threshold > publishers.len() {
            return Err(PolicyError::Threshold { threshold, keys: publishers.len() });
        }
        for (i, key) in publishers.iter().enumerate() {
            let name = key.name().to_string();
            if key.raw() == log.key.raw() {
                return Err(PolicyError::TwoRoles(name));
            }
            for other in &publishers[..i] {
                if other.raw() == key.raw() {
                    return Err(PolicyError::SameKey(other.name().to_string(), name));
                }
                if other.name() == key.name() {
                    return Err(PolicyError::SameName(name));
                }
            }
        }
        Ok(Policy { product, channel, log, publishers, threshold })
    }

    /// The publisher's keys.
    pub fn publishers(&self) -> &[NoteVerifyingKey] {
        &self.publishers
    }

    /// How many of them must sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The distinct keys that signed, if they are enough.
    pub(crate) fn verify_threshold(&self, note: &Note) -> Result<Vec<PublicKeyBytes>, Refusal> {
        let threshold = self.threshold;
        let signers = match note.open(&self.publishers) {
            Ok(signers) => signers,
            Err(NoteError::Unsigned) => Vec::new(),
            Err(error) => return Err(Refusal::BadSignature(error)),
        };
        if signers.len() < threshold {
            return Err(Refusal::Threshold { signed: signers.len(), threshold });
        }
        Ok(signers)
    }

    /// A manifest of ours, signed by enough publishers, made for our log. Says nothing of its time.
    pub(crate) fn verify_manifest(&self, note: &Note) -> Result<Manifest, Refusal> {
        self.verify_threshold(note)?;
        let manifest = Manifest::parse(note.text())?;
        self.check_subject(&manifest.log, &manifest.product, &manifest.channel)?;
        Ok(manifest)
    }

    /// The same of a withdrawal.
    pub(crate) fn verify_withdrawal(&self, note: &Note) -> Result<Withdrawal, Refusal> {
        self.verify_threshold(note)?;
        let withdrawal = Withdrawal::parse(note.text())?;
        self.check_subject(&withdrawal.log, &withdrawal.product, &withdrawal.channel)?;
        Ok(withdrawal)
    }

    fn check_subject(&self, log: &Origin, product: &Name, channel: &Name) -> Result<(), Refusal> {
        if *log != self.log.origin {
            return Err(Refusal::OtherLog(log.to_string()));
        }
        if (product, channel) != (&self.product, &self.channel) {
            let (product, channel) = (product.clone(), channel.clone());
            return Err(Refusal::OtherProduct { product, channel });
        }
        Ok(())
    }
}
