//! The accepted product, channel, log and publisher keys, and the checks of a signed statement.

use crate::checkpoint::{Log, Origin};
use crate::key::NoteVerifyingKey;
use crate::manifest::Manifest;
use crate::name::Name;
use crate::note::{Note, NoteError};
use crate::public_key::PublicKeyBytes;
use crate::refusal::Refusal;
use crate::withdrawal::Withdrawal;

/// The product and channel that a client installs, the log, and the publisher's keys.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The product that the client installs.
    pub product: Name,
    /// The channel from which the client installs.
    pub channel: Name,
    /// The log that every release must be in.
    pub log: Log,
    publishers: Vec<NoteVerifyingKey>,
    threshold: usize,
}

/// The reason why a policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The threshold is 0, or larger than the number of keys.
    #[error(
        "a threshold of {threshold} with {keys} publisher keys: it must be at least 1 and at most \
         their number"
    )]
    Threshold {
        /// The number of keys that must sign.
        threshold: usize,
        /// The number of publisher keys in the policy.
        keys: usize,
    },
    /// Two publisher keys have equal bytes.
    #[error("publisher keys {0} and {1} are the same key")]
    SameKey(String, String),
    /// Two publisher keys have one name.
    #[error("two publisher keys are named {0}")]
    SameName(String),
    /// A publisher key is also the log's key, so one key could sign releases and checkpoints.
    #[error("publisher key {0} is also the log's key: a key has one role")]
    TwoRoles(String),
}

impl Policy {
    /// Checks that the publisher keys are distinct by bytes and by name, and differ from the log's
    /// key. Also checks that the threshold can be met.
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

    /// The number of publisher keys that must sign.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Returns the distinct publisher keys that signed, if they reach the threshold.
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

    /// Returns the manifest if enough keys signed it, and if its product, channel and log are those
    /// of the policy.
    ///
    /// The expiry of the manifest is not checked.
    pub(crate) fn verify_manifest(&self, note: &Note) -> Result<Manifest, Refusal> {
        self.verify_threshold(note)?;
        let manifest = Manifest::parse(note.text())?;
        self.check_subject(&manifest.log, &manifest.product, &manifest.channel)?;
        Ok(manifest)
    }

    /// Returns the withdrawal if enough keys signed it, and if its product, channel and log are
    /// those of the policy.
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
