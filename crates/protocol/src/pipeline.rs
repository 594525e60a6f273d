//! The pipeline of a release, with one type for each stage: log entry, signed, logged, confirmed.
//!
//! The stages are `LogEntry -> SignedRelease -> LoggedRelease -> ConfirmedRelease`. The crate
//! `unanimity-install` installs a [`ConfirmedRelease`]. Only the check of a stage makes a value of
//! that stage, and it consumes the value of the stage before. A program that skips a stage does not
//! compile.
//!
//! The peers cannot be skipped:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{ConfirmedRelease, LoggedRelease, Round, Timestamp};
//! fn skip(
//!     logged: LoggedRelease, earlier: Round, latest: Round, expires_at: Timestamp,
//! ) -> ConfirmedRelease {
//!     ConfirmedRelease { logged, earlier, latest, expires_at }
//! }
//! ```
//!
//! ```
//! use unanimity_protocol::decision::admission::RoundLimits;
//! use unanimity_protocol::{
//!     ConfirmedRelease, ConsistentHeads, LoggedRelease, PeerSet, Refusal, Round,
//! };
//! fn ask(
//!     logged: LoggedRelease, heads: &ConsistentHeads, peers: &PeerSet, limits: &RoundLimits,
//!     earlier: &Round, latest: &Round,
//! ) -> Result<ConfirmedRelease, Refusal> {
//!     logged.confirm(heads, peers, limits, Some(earlier), latest)
//! }
//! ```
//!
//! The signatures cannot be skipped:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{LogEntry, Manifest, SignedRelease};
//! fn skip(entry: LogEntry, manifest: Manifest) -> SignedRelease {
//!     SignedRelease { entry, manifest }
//! }
//! ```
//!
//! ```
//! use unanimity_protocol::{LogEntry, Policy, Refusal, SignedRelease, Timestamp};
//! fn check(entry: LogEntry, policy: &Policy, now: Timestamp) -> Result<SignedRelease, Refusal> {
//!     SignedRelease::verify(entry, policy, 0, now)
//! }
//! ```
//!
//! The log cannot be skipped:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{TreeHead, LoggedRelease, SignedRelease};
//! fn skip(signed: SignedRelease, head: TreeHead) -> LoggedRelease {
//!     LoggedRelease { signed, head }
//! }
//! ```
//!
//! ```
//! use unanimity_protocol::{
//!     ConsistentHeads, Hash, LoggedRelease, Refusal, SignedRelease, TreeHead,
//! };
//! fn prove(
//!     signed: SignedRelease, heads: &ConsistentHeads, trusted: Option<&TreeHead>, proof: &[Hash],
//! ) -> Result<LoggedRelease, Refusal> {
//!     signed.prove_inclusion(heads, trusted, proof)
//! }
//! ```
//!
//! Only a verified signature makes a tree head:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{Hash, TreeHead};
//! fn invent(note: std::sync::Arc<str>, log: unanimity_protocol::checkpoint::LogId) -> TreeHead {
//!     TreeHead { log, size: 1, root: Hash([0; 32]), note }
//! }
//! ```
//!
//! ```
//! use unanimity_protocol::{TreeHead, Log, checkpoint::CheckpointError};
//! fn open(bytes: &[u8], log: &Log) -> Result<TreeHead, CheckpointError> {
//!     TreeHead::verify(bytes, log)
//! }
//! ```

use std::time::Duration;

use crate::bundle_fault::BundleFault;
use crate::decision::admission::{CLOCK_SKEW, RoundLimits};
use crate::decision::confirmation::{Verdict, verdict};
use crate::note::Note;
use crate::{
    ConsistentHeads, CosignedHead, Hash, LogMismatch, Manifest, PeerSet, Policy, Refusal, Round,
    Timestamp, TreeHead, tree,
};

/// The longest time between the first and the last cosignature of one round in a proof bundle.
const MAX_COSIGNATURE_SPREAD: Duration = Duration::from_secs(10 * 60);

/// A log entry as a mirror or peer served it. Nothing is checked.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// The entry's number in the log, from 0.
    pub index: u64,
    /// The note in the entry. Its signatures are not verified.
    pub note: Note,
}

/// A release of the client's product that enough publisher keys signed.
///
/// When it was verified, its sequence was above the floor and it had not expired.
#[derive(Clone, Debug)]
pub struct SignedRelease {
    entry: LogEntry,
    manifest: Manifest,
}

impl SignedRelease {
    /// Checks the signatures, the log, product, channel, sequence and expiry of a release.
    ///
    /// # Errors
    ///
    /// The [`Refusal`] of the first check that fails, in this order. [`Refusal::SequenceRollback`]
    /// unless the sequence is above `floor`. [`Refusal::Expired`] if `now` is the second of the
    /// expiry or later.
    pub fn verify(
        entry: LogEntry,
        policy: &Policy,
        floor: u64,
        now: Timestamp,
    ) -> Result<SignedRelease, Refusal> {
        let manifest = policy.verify_manifest(&entry.note)?;
        if manifest.sequence <= floor {
            return Err(Refusal::SequenceRollback { offered: manifest.sequence, floor });
        }
        if manifest.expires <= now {
            return Err(Refusal::Expired { release: manifest.label(), at: manifest.expires });
        }
        Ok(SignedRelease { entry, manifest })
    }

    /// The manifest that was signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The claimed number of the entry in the log. It is not proven yet.
    pub fn index(&self) -> u64 {
        self.entry.index
    }

    /// Checks that the largest of `heads` contains exactly the bytes of this entry at its index.
    /// Also checks that this head extends the `trusted` head.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotLogged`] if `trusted` is not among `heads`, or if `inclusion` does not lead to
    /// the root of the largest head.
    pub fn prove_inclusion(
        self,
        heads: &ConsistentHeads,
        trusted: Option<&TreeHead>,
        inclusion: &[Hash],
    ) -> Result<LoggedRelease, Refusal> {
        if trusted.is_some_and(|head| !heads.contains(head)) {
            return Err(Refusal::NotLogged(LogMismatch::NotExtended));
        }
        let (head, index) = (heads.head(), self.entry.index);
        let leaf = Hash::leaf(self.entry.note.to_string().as_bytes());
        if !tree::verify_inclusion(index, head.size(), &leaf, inclusion, head.root()) {
            let release = self.manifest.label();
            return Err(Refusal::NotLogged(LogMismatch::NotIncluded { release, index }));
        }
        Ok(LoggedRelease { signed: self, head: head.clone() })
    }
}

/// A signed release that the log contains.
#[derive(Clone, Debug)]
pub struct LoggedRelease {
    signed: SignedRelease,
    head: TreeHead,
}

impl LoggedRelease {
    /// Checks that every configured peer confirmed this release in both rounds.
    ///
    /// `earlier` must be at least `settle` before `latest`, by two comparisons: of the times at
    /// which the rounds closed, and of the two times that each peer signed.
    ///
    /// A round has an entry for each peer, even without an answer, and a peer set is never empty.
    /// So "every peer confirms" implies that every peer was asked.
    ///
    /// # Errors
    ///
    /// * [`Refusal::NotLogged`] if `heads` has another head than the inclusion proof.
    /// * [`Refusal::Settling`] if every peer confirms now, but has not for long enough yet.
    /// * [`Refusal::Incomplete`] with every peer that does not confirm.
    pub fn confirm(
        self,
        heads: &ConsistentHeads,
        peers: &PeerSet,
        limits: &RoundLimits,
        earlier: Option<&Round>,
        latest: &Round,
    ) -> Result<ConfirmedRelease, Refusal> {
        if *heads.head() != self.head {
            return Err(Refusal::NotLogged(LogMismatch::OtherHead));
        }
        let index = Some(self.signed.index());
        let confirmations = latest.confirmations(peers, heads, index);
        // A round's own time is unsigned, so the two cosignatures of every peer are compared, too.
        let settled = earlier.filter(|round| {
            round.closed_at().after(limits.settle) <= latest.closed_at()
                && latest.is_settled_since(round, limits.settle)
        });
        let before = settled.map(|round| round.confirmations(peers, heads, index));
        match (verdict(&confirmations, before.as_deref()), settled) {
            (Verdict::Unanimous, Some(earlier)) => Ok(ConfirmedRelease {
                earlier: earlier.clone(),
                latest: latest.clone(),
                expires_at: latest.closed_at().after(limits.round_ttl),
                logged: self,
            }),
            (Verdict::Settling, _) => {
                let confirms = |round: &&Round| {
                    verdict(&round.confirmations(peers, heads, index), None) == Verdict::Settling
                };
                let since = earlier.filter(confirms).unwrap_or(latest).last_signed_at();
                let release = self.signed.manifest.label();
                Err(Refusal::Settling { release, until: since.after(limits.settle) })
            }
            _ => Err(Refusal::Incomplete(latest.unconfirmed(peers, heads, index))),
        }
    }
}

/// A logged release that every configured peer confirmed in two rounds.
#[derive(Clone, Debug)]
pub struct ConfirmedRelease {
    logged: LoggedRelease,
    earlier: Round,
    latest: Round,
    expires_at: Timestamp,
}

impl ConfirmedRelease {
    /// The manifest of the confirmed release.
    pub fn manifest(&self) -> &Manifest {
        &self.logged.signed.manifest
    }

    /// The log entry of the release.
    pub fn log_entry(&self) -> &LogEntry {
        &self.logged.signed.entry
    }

    /// The log's head in which the release was proven.
    pub fn head(&self) -> &TreeHead {
        &self.logged.head
    }

    /// The earlier and the latest round, at least `settle` apart.
    pub fn rounds(&self) -> [&Round; 2] {
        [&self.earlier, &self.latest]
    }

    /// Sets the end of validity to `freshness` after the oldest cosignature of the latest round.
    ///
    /// An installer without a network uses this function, because it cannot ask the peers again.
    /// The new end replaces the end by `round_ttl`, and depends only on times that peers signed.
    ///
    /// # Errors
    ///
    /// [`Refusal::Bundle`] if the cosignatures of one round are more than 10 minutes apart, or if
    /// the latest round has a time more than [`CLOCK_SKEW`] after `now`. Otherwise the errors of
    /// [`ConfirmedRelease::check_not_expired`].
    pub fn with_max_age(
        self,
        freshness: Duration,
        now: Timestamp,
    ) -> Result<ConfirmedRelease, Refusal> {
        for round in [&self.earlier, &self.latest] {
            let times = || round.cosigned_heads().map(CosignedHead::signed_at);
            let (first, last) = (times().min().unwrap_or(round.closed_at()), times().max());
            if last.unwrap_or(round.closed_at()) > first.after(MAX_COSIGNATURE_SPREAD) {
                return Err(Refusal::Bundle(BundleFault::SpreadTooWide));
            }
        }
        let signed = || self.latest.cosigned_heads().map(CosignedHead::signed_at);
        let oldest = signed().min().unwrap_or(self.latest.closed_at());
        let newest = signed().chain([self.latest.closed_at()]).max().unwrap_or(oldest);
        if newest > now.after(CLOCK_SKEW) {
            return Err(Refusal::Bundle(BundleFault::Future(newest)));
        }
        let confirmed = ConfirmedRelease { expires_at: oldest.after(freshness), ..self };
        confirmed.check_not_expired(now)?;
        Ok(confirmed)
    }

    /// Checks that the latest round and the release are still valid. The installer calls this
    /// check before the switch to the new version.
    ///
    /// # Errors
    ///
    /// [`Refusal::RoundTooOld`] if the latest round is older than `round_ttl`, or after
    /// [`ConfirmedRelease::with_max_age`] older than its `freshness`. [`Refusal::Expired`] if the
    /// release has expired.
    pub fn check_not_expired(&self, now: Timestamp) -> Result<(), Refusal> {
        if now > self.expires_at {
            return Err(Refusal::RoundTooOld { at: self.latest.closed_at() });
        }
        if self.manifest().expires <= now {
            let (release, at) = (self.manifest().label(), self.manifest().expires);
            return Err(Refusal::Expired { release, at });
        }
        Ok(())
    }
}
