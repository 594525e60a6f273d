//! The pipeline as types: `Fetched -> Signed -> Logged -> Agreed`, then `Installed` in `unanimity-install`.
//!
//! Each stage is made by its check and by nothing else, and consumes the stage before.
//! A program that tries to skip one does not compile:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{Agreed, Logged, Roll, Timestamp};
//! fn skip(logged: Logged, earlier: Roll, latest: Roll, good_until: Timestamp) -> Agreed {
//!     Agreed { logged, earlier, latest, good_until }
//! }
//! ```
//!
//! The way that compiles asks the peers:
//!
//! ```
//! use unanimity_protocol::{Agreed, Chain, Logged, PeerSet, Refusal, Roll};
//! use unanimity_protocol::decision::admission::Limits;
//! fn ask(logged: Logged, chain: &Chain, peers: &PeerSet, limits: &Limits, earlier: &Roll, latest: &Roll)
//!     -> Result<Agreed, Refusal>
//! {
//!     logged.agreed(chain, peers, limits, Some(earlier), latest)
//! }
//! ```
//!
//! Nor can a signature check be skipped,
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{Fetched, Manifest, Signed};
//! fn skip(fetched: Fetched, manifest: Manifest) -> Signed {
//!     Signed { fetched, manifest }
//! }
//! ```
//!
//! which has a twin as well:
//!
//! ```
//! use unanimity_protocol::{Fetched, Policy, Refusal, Signed, Timestamp};
//! fn check(fetched: Fetched, policy: &Policy, now: Timestamp) -> Result<Signed, Refusal> {
//!     Signed::open(fetched, policy, 0, now)
//! }
//! ```
//!
//! Nor the log:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{Head, Logged, Signed};
//! fn skip(signed: Signed, head: Head) -> Logged {
//!     Logged { signed, head }
//! }
//! ```
//!
//! ```
//! use unanimity_protocol::{Chain, Hash, Head, Logged, Refusal, Signed};
//! fn prove(signed: Signed, chain: &Chain, trusted: Option<&Head>, proof: &[Hash])
//!     -> Result<Logged, Refusal>
//! {
//!     signed.logged(chain, trusted, proof)
//! }
//! ```
//!
//! Heads and views are made by opening what was signed:
//!
//! ```compile_fail,E0451
//! use unanimity_protocol::{Hash, Head};
//! fn invent(note: std::sync::Arc<str>, log: unanimity_protocol::checkpoint::LogId) -> Head {
//!     Head { log, size: 1, root: Hash([0; 32]), note }
//! }
//! ```
//!
//! ```
//! use unanimity_protocol::{Head, Log, checkpoint::CheckpointError};
//! fn open(bytes: &[u8], log: &Log) -> Result<Head, CheckpointError> {
//!     Head::open(bytes, log)
//! }
//! ```

use std::time::Duration;

use crate::bundle_fault::BundleFault;
use crate::decision::admission::{CLOCK_SKEW, Limits};
use crate::decision::confirmation::{Verdict, verdict};
use crate::note::Note;
use crate::{
    Chain, Hash, Head, LogMismatch, Manifest, PeerSet, Policy, Refusal, Roll, Timestamp, View, tree,
};

/// How far apart the cosignatures of one roll may be that nobody saw being called.
const MAX_SPAN: Duration = Duration::from_secs(10 * 60);

/// An entry as the log's feed delivered it. Nothing is checked.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its number in the log.
    pub index: u64,
    /// The note.
    pub note: Note,
}

/// A release of our product that enough publishers signed, newer than the installed one, not expired.
#[derive(Clone, Debug)]
pub struct Signed {
    fetched: Fetched,
    manifest: Manifest,
}

impl Signed {
    /// Checks signatures, product, channel, log, the sequence floor and the expiry.
    pub fn open(
        fetched: Fetched,
        policy: &Policy,
        floor: u64,
        now: Timestamp,
    ) -> Result<Signed, Refusal> {
        let manifest = policy.open(&fetched.note)?;
        if manifest.sequence <= floor {
            return Err(Refusal::Rollback { offered: manifest.sequence, floor });
        }
        if manifest.expires <= now {
            return Err(Refusal::Expired { release: manifest.label(), at: manifest.expires });
        }
        Ok(Signed { fetched, manifest })
    }

    /// What was signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its number in the log, as claimed so far.
    pub fn index(&self) -> u64 {
        self.fetched.index
    }

    /// Passes if exactly these bytes are in the chain's head at their index, and the chain
    /// extends the head we trusted before.
    pub fn logged(
        self,
        chain: &Chain,
        trusted: Option<&Head>,
        inclusion: &[Hash],
    ) -> Result<Logged, Refusal> {
        if trusted.is_some_and(|head| !chain.holds(head)) {
            return Err(Refusal::NotLogged(LogMismatch::NotExtended));
        }
        let (head, index) = (chain.head(), self.fetched.index);
        let leaf = Hash::leaf(self.fetched.note.to_string().as_bytes());
        if !tree::verify_inclusion(index, head.size(), &leaf, inclusion, head.root()) {
            let release = self.manifest.label();
            return Err(Refusal::NotLogged(LogMismatch::NotIncluded { release, index }));
        }
        Ok(Logged { signed: self, head: head.clone() })
    }
}

/// A signed release that is in the log.
#[derive(Clone, Debug)]
pub struct Logged {
    signed: Signed,
    head: Head,
}

impl Logged {
    /// Passes only if every configured peer confirmed this release in `latest` and in
    /// `earlier`, at least `settle` before it, by the times that the peers signed.
    ///
    /// A peer that did not answer is in the roll as silent, and a peer set is never empty,
    /// so "everyone agrees" cannot mean "nobody was asked".
    pub fn agreed(
        self,
        chain: &Chain,
        peers: &PeerSet,
        limits: &Limits,
        earlier: Option<&Roll>,
        latest: &Roll,
    ) -> Result<Agreed, Refusal> {
        if *chain.head() != self.head {
            return Err(Refusal::NotLogged(LogMismatch::OtherHead));
        }
        let index = Some(self.signed.index());
        let standings = latest.standings(peers, chain, index);
        // A roll's own time is nobody's signature: every peer's two cosignatures are that far apart too.
        let settled = earlier.filter(|roll| {
            roll.at().after(limits.settle) <= latest.at() && latest.is_after(roll, limits.settle)
        });
        let before = settled.map(|roll| roll.standings(peers, chain, index));
        match (verdict(&standings, before.as_deref()), settled) {
            (Verdict::Unanimous, Some(earlier)) => Ok(Agreed {
                earlier: earlier.clone(),
                latest: latest.clone(),
                good_until: latest.at().after(limits.roll_ttl),
                logged: self,
            }),
            (Verdict::Settling, _) => {
                let confirms = |roll: &&Roll| {
                    let standings = roll.standings(peers, chain, index);
                    verdict(&standings, None) == Verdict::Settling
                };
                let since = earlier.filter(confirms).unwrap_or(latest).last_word();
                let release = self.signed.manifest.label();
                Err(Refusal::Settling { release, until: since.after(limits.settle) })
            }
            _ => Err(Refusal::Incomplete(latest.missing(peers, chain, index))),
        }
    }
}

/// A logged release that every configured peer confirmed, twice.
#[derive(Clone, Debug)]
pub struct Agreed {
    logged: Logged,
    earlier: Roll,
    latest: Roll,
    good_until: Timestamp,
}

impl Agreed {
    /// What was agreed on.
    pub fn manifest(&self) -> &Manifest {
        &self.logged.signed.manifest
    }

    /// The log entry it is.
    pub fn entry(&self) -> &Fetched {
        &self.logged.signed.fetched
    }

    /// The head it was proven in.
    pub fn head(&self) -> &Head {
        &self.logged.head
    }

    /// The roll at least `settle` before the latest, and the latest.
    pub fn rolls(&self) -> [&Roll; 2] {
        [&self.earlier, &self.latest]
    }

    /// For whoever cannot call the roll again: good for as long as `freshness` after every peer cosigned
    /// in the latest roll, by the times that they signed. Refused if that is over, if one of them is
    /// yet to come, or if those of one roll are more than 10 minutes apart.
    pub fn fresh(self, freshness: Duration, now: Timestamp) -> Result<Agreed, Refusal> {
        for roll in [&self.earlier, &self.latest] {
            let times = || roll.views().map(View::at);
            let (first, last) = (times().min().unwrap_or(roll.at()), times().max());
            if last.unwrap_or(roll.at()) > first.after(MAX_SPAN) {
                return Err(Refusal::Bundle(BundleFault::Apart));
            }
        }
        let signed = || self.latest.views().map(View::at);
        let oldest = signed().min().unwrap_or(self.latest.at());
        let newest = signed().chain([self.latest.at()]).max().unwrap_or(oldest);
        if newest > now.after(CLOCK_SKEW) {
            return Err(Refusal::Bundle(BundleFault::Future(newest)));
        }
        let agreed = Agreed { good_until: oldest.after(freshness), ..self };
        agreed.still_good(now)?;
        Ok(agreed)
    }

    /// Refuses once the latest roll is older than `roll_ttl`: call it again before the switch.
    pub fn still_good(&self, now: Timestamp) -> Result<(), Refusal> {
        if now > self.good_until {
            return Err(Refusal::RollTooOld { at: self.latest.at() });
        }
        if self.manifest().expires <= now {
            let (release, at) = (self.manifest().label(), self.manifest().expires);
            return Err(Refusal::Expired { release, at });
        }
        Ok(())
    }
}
