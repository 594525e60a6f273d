//! The pipeline as types: `LogEntry -> SignedRelease -> LoggedRelease -> ConfirmedRelease`, then `Installed` in `unanimity-install`.
//!
//! Each stage is made by its check and by nothing else, and consumes the stage before.
//! A program that tries to skip one does not compile:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{ConfirmedRelease, LoggedRelease, Round, Timestamp};
//! fn skip(logged: LoggedRelease, earlier: Round, latest: Round, expires_at: Timestamp) -> ConfirmedRelease {
//!     ConfirmedRelease { logged, earlier, latest, expires_at }
//! }
//! ```
//!
//! The way that compiles asks the peers:
//!
//! ```
//! use unanimity_protocol::{ConfirmedRelease, ConsistentHeads, LoggedRelease, PeerSet, Refusal, Round};
//! use unanimity_protocol::decision::admission::RoundLimits;
//! fn ask(logged: LoggedRelease, chain: &ConsistentHeads, peers: &PeerSet, limits: &RoundLimits, earlier: &Round, latest: &Round)
//!     -> Result<ConfirmedRelease, Refusal>
//! {
//!     logged.confirm(chain, peers, limits, Some(earlier), latest)
//! }
//! ```
//!
//! Nor can a signature check be skipped,
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{LogEntry, Manifest, SignedRelease};
//! fn skip(fetched: LogEntry, manifest: Manifest) -> SignedRelease {
//!     SignedRelease { fetched, manifest }
//! }
//! ```
//!
//! which has a twin as well:
//!
//! ```
//! use unanimity_protocol::{LogEntry, Policy, Refusal, SignedRelease, Timestamp};
//! fn check(fetched: LogEntry, policy: &Policy, now: Timestamp) -> Result<SignedRelease, Refusal> {
//!     SignedRelease::verify(fetched, policy, 0, now)
//! }
//! ```
//!
//! Nor the log:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{TreeHead, LoggedRelease, SignedRelease};
//! fn skip(signed: SignedRelease, head: TreeHead) -> LoggedRelease {
//!     LoggedRelease { signed, head }
//! }
//! ```
//!
//! ```
//! use unanimity_protocol::{ConsistentHeads, Hash, TreeHead, LoggedRelease, Refusal, SignedRelease};
//! fn prove(signed: SignedRelease, chain: &ConsistentHeads, trusted: Option<&TreeHead>, proof: &[Hash])
//!     -> Result<LoggedRelease, Refusal>
//! {
//!     signed.prove_inclusion(chain, trusted, proof)
//! }
//! ```
//!
//! Heads and views are made by opening what was signed:
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

/// How far apart the cosignatures of one roll may be that nobody saw being called.
const MAX_COSIGNATURE_SPREAD: Duration = Duration::from_secs(10 * 60);

/// An entry as the log's feed delivered it. Nothing is checked.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its number in the log.
    pub index: u64,
    /// The note.
    pub note: Note,
}

/// A release of our product that enough publishers signed, newer than the installed one, not expired.
#[derive(Clone, Debug)]
pub struct SignedRelease {
    entry: LogEntry,
    manifest: Manifest,
}

impl SignedRelease {
    /// Checks signatures, product, channel, log, the sequence floor and the expiry.
    pub fn verify(
        fetched: LogEntry,
        policy: &Policy,
        floor: u64,
        now: Timestamp,
    ) -> Result<SignedRelease, Refusal> {
        let manifest = policy.verify_manifest(&fetched.note)?;
        if manifest.sequence <= floor {
            return Err(Refusal::SequenceRollback { offered: manifest.sequence, floor });
        }
        if manifest.expires <= now {
            return Err(Refusal::Expired { release: manifest.label(), at: manifest.expires });
        }
        Ok(SignedRelease { entry: fetched, manifest })
    }

    /// What was signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its number in the log, as claimed so far.
    pub fn index(&self) -> u64 {
        self.entry.index
    }

    /// Passes if exactly these bytes are in the chain's head at their index, and the chain
    /// extends the head we trusted before.
    pub fn prove_inclusion(
        self,
        chain: &ConsistentHeads,
        trusted: Option<&TreeHead>,
        inclusion: &[Hash],
    ) -> Result<LoggedRelease, Refusal> {
        if trusted.is_some_and(|head| !chain.contains(head)) {
            return Err(Refusal::NotLogged(LogMismatch::NotExtended));
        }
        let (head, index) = (chain.head(), self.entry.index);
        let leaf = Hash::leaf(self.entry.note.to_string().as_bytes());
        if !tree::verify_inclusion(index, head.size(), &leaf, inclusion, head.root()) {
            let release = self.manifest.label();
            return Err(Refusal::NotLogged(LogMismatch::NotIncluded { release, index }));
        }
        Ok(LoggedRelease { signed: self, head: head.clone() })
    }
}

/// A signed release that is in the log.
#[derive(Clone, Debug)]
pub struct LoggedRelease {
    signed: SignedRelease,
    head: TreeHead,
}

impl LoggedRelease {
    /// Passes only if every configured peer confirmed this release in `latest` and in
    /// `earlier`, at least `settle` before it, by the times that the peers signed.
    ///
    /// A peer that did not answer is in the roll as silent, and a peer set is never empty,
    /// so "everyone agrees" cannot mean "nobody was asked".
    pub fn confirm(
        self,
        chain: &ConsistentHeads,
        peers: &PeerSet,
        limits: &RoundLimits,
        earlier: Option<&Round>,
        latest: &Round,
    ) -> Result<ConfirmedRelease, Refusal> {
        if *chain.head() != self.head {
            return Err(Refusal::NotLogged(LogMismatch::OtherHead));
        }
        let index = Some(self.signed.index());
        let standings = latest.confirmations(peers, chain, index);
        // A roll's own time is nobody's signature: every peer's two cosignatures are that far apart too.
        let settled = earlier.filter(|round| {
            round.closed_at().after(limits.settle) <= latest.closed_at()
                && latest.is_settled_since(round, limits.settle)
        });
        let before = settled.map(|round| round.confirmations(peers, chain, index));
        match (verdict(&standings, before.as_deref()), settled) {
            (Verdict::Unanimous, Some(earlier)) => Ok(ConfirmedRelease {
                earlier: earlier.clone(),
                latest: latest.clone(),
                expires_at: latest.closed_at().after(limits.round_ttl),
                logged: self,
            }),
            (Verdict::Settling, _) => {
                let confirms = |round: &&Round| {
                    let standings = round.confirmations(peers, chain, index);
                    verdict(&standings, None) == Verdict::Settling
                };
                let since = earlier.filter(confirms).unwrap_or(latest).last_signed_at();
                let release = self.signed.manifest.label();
                Err(Refusal::Settling { release, until: since.after(limits.settle) })
            }
            _ => Err(Refusal::Incomplete(latest.unconfirmed(peers, chain, index))),
        }
    }
}

/// A logged release that every configured peer confirmed, twice.
#[derive(Clone, Debug)]
pub struct ConfirmedRelease {
    logged: LoggedRelease,
    earlier: Round,
    latest: Round,
    expires_at: Timestamp,
}

impl ConfirmedRelease {
    /// What was agreed on.
    pub fn manifest(&self) -> &Manifest {
        &self.logged.signed.manifest
    }

    /// The log entry it is.
    pub fn log_entry(&self) -> &LogEntry {
        &self.logged.signed.entry
    }

    /// The head it was proven in.
    pub fn head(&self) -> &TreeHead {
        &self.logged.head
    }

    /// The roll at least `settle` before the latest, and the latest.
    pub fn rounds(&self) -> [&Round; 2] {
        [&self.earlier, &self.latest]
    }

    /// For whoever cannot call the roll again: good for as long as `freshness` after every peer cosigned
    /// in the latest roll, by the times that they signed. Refused if that is over, if one of them is
    /// yet to come, or if those of one roll are more than 10 minutes apart.
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
        let agreed = ConfirmedRelease { expires_at: oldest.after(freshness), ..self };
        agreed.check_not_expired(now)?;
        Ok(agreed)
    }

    /// Refuses once the latest roll is older than `round_ttl`: call it again before the switch.
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
