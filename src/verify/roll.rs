//! The roll: one answer for every configured peer, and what the answers amount to.
//!
//! [`verdict`] is the whole rule, as a plain function of standings: no keys, no proofs,
//! so a simulator of a million nodes calls the very same one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::checkpoint::CheckpointError;
use super::evidence::EvidenceError;
use super::{Chain, CosignerKey, Name, RawKey, Timestamp, View};

/// How far ahead of our clock a peer's may be.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The most peers of one circle: each is asked at every cycle, and each view is in every proof.
pub const MAX_PEERS: usize = 128;

/// Somebody whose view of the log we ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What we call them.
    pub name: Name,
    /// Who runs it. Two peers of one operator are one witness.
    pub operator: Name,
    /// What their views are cosigned with.
    pub key: CosignerKey,
}

/// The configured peers: never empty, no key or name twice, enough distinct operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSet(Vec<Peer>);

/// Why peers do not make a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerSetError {
    /// An empty set agrees with everything.
    #[error(
        "min_peers is 0: an update that nobody has to confirm is not what this program installs"
    )]
    NoMinimum,
    /// More than the bound.
    #[error("{0} peers, and a circle has at most {MAX_PEERS}")]
    TooMany(usize),
    /// Fewer independent witnesses than asked for.
    #[error(
        "{operators} distinct operators among the peers, and min_peers is {min_peers}: list more of them (`unanimity peers add`)"
    )]
    TooFew {
        /// How many there are.
        operators: usize,
        /// How many there must be.
        min_peers: usize,
    },
    /// One key under two names would be counted twice.
    #[error("peers {0} and {1} have the same key")]
    SameKey(Name, Name),
    /// Reports would be ambiguous.
    #[error("two peers are named {0}")]
    SameName(Name),
}

impl PeerSet {
    /// Checks the peers and orders them by name.
    pub fn new(mut peers: Vec<Peer>, min_peers: usize) -> Result<PeerSet, PeerSetError> {
        if min_peers == 0 {
            return Err(PeerSetError::NoMinimum);
        }
        if peers.len() > MAX_PEERS {
            return Err(PeerSetError::TooMany(peers.len()));
        }
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        let mut keys: BTreeMap<RawKey, &Name> = BTreeMap::new();
        for (i, peer) in peers.iter().enumerate() {
            if i > 0 && peers[i - 1].name == peer.name {
                return Err(PeerSetError::SameName(peer.name.clone()));
            }
            if let Some(other) = keys.insert(peer.key.raw(), &peer.name) {
                return Err(PeerSetError::SameKey(other.clone(), peer.name.clone()));
            }
        }
        // One operator, however the name is written.
        let operators = peers.iter().map(|peer| peer.operator.as_str().to_ascii_lowercase());
        let operators = operators.collect::<BTreeSet<_>>().len();
        if operators < min_peers {
            return Err(PeerSetError::TooFew { operators, min_peers });
        }
        Ok(PeerSet(peers))
    }

    /// The peers, ordered by name. At least one.
    pub fn iter(&self) -> std::slice::Iter<'_, Peer> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a PeerSet {
    type Item = &'a Peer;
    type IntoIter = std::slice::Iter<'a, Peer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Why a peer's answer does not count. None of these is consent, and none is disagreement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// No answer was recorded.
    #[error("was not asked")]
    NotAsked,
    /// No connection.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Connected, and the connection ended before a whole answer.
    #[error("the connection broke before a whole answer: {0}")]
    Broke(String),
    /// Connected, and no whole answer in time.
    #[error("no answer within the deadline")]
    Late,
    /// Something other than an answer.
    #[error("answered with something that is no answer: {0}")]
    Garbled(String),
    /// The view does not open.
    #[error("its view does not verify: {0}")]
    Invalid(#[from] CheckpointError),
    /// Sent evidence that proves nothing.
    #[error("sent evidence that proves nothing: {0}")]
    BadEvidence(#[from] EvidenceError),
    /// Says itself that its mirrors show it nothing fresh.
    #[error("blind since {0}: its own mirrors have shown it nothing")]
    Blind(Timestamp),
    /// Does not follow our log.
    #[error("does not follow this log")]
    OtherLog,
    /// Cosigned too long ago: a replay, or a clock that is behind.
    #[error("its view is old: cosigned at {0}")]
    Old(Timestamp),
    /// Cosigned in our future: one of the two clocks is wrong.
    #[error("its view is from the future: cosigned at {0} (check both clocks)")]
    Ahead(Timestamp),
    /// A smaller head than it cosigned before.
    #[error("regressed: shows size {size} after it had shown size {before}")]
    Regressed {
        /// What it shows now.
        size: u64,
        /// The largest it showed before.
        before: u64,
    },
}

/// The numbers that the rule needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long every peer must have seen a release before it installs.
    pub settle: Duration,
    /// How old a roll may be at the moment of the switch.
    pub roll_ttl: Duration,
    /// How old a cosignature may be when it is received.
    pub view_ttl: Duration,
}

impl Default for Limits {
    /// `settle` 1 h, `roll_ttl` and `view_ttl` 15 min.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Limits { settle: minutes(60), roll_ttl: minutes(15), view_ttl: minutes(15) }
    }
}

impl Limits {
    /// Whether a view received at `now` counts, given the largest size that peer showed before.
    pub fn admit(&self, view: View, now: Timestamp, before: u64) -> Result<View, Silence> {
        if view.at() > now.after(CLOCK_SKEW) {
            Err(Silence::Ahead(view.at()))
        } else if view.at().after(self.view_ttl) < now {
            Err(Silence::Old(view.at()))
        } else if view.head().size() < before {
            Err(Silence::Regressed { size: view.head().size(), before })
        } else {
            Ok(view)
        }
    }
}

/// What every configured peer answered, at one time. Answers of anybody else are dropped;
/// a peer without one is [`Silence::NotAsked`].
#[derive(Clone, Debug)]
pub struct Roll {
    at: Timestamp,
    answers: Vec<(Peer, Result<View, Silence>)>,
}

impl Roll {
    /// Closes the roll at `at`. A view counts only for the peer whose key cosigned it.
    pub fn new(
        peers: &PeerSet,
        at: Timestamp,
        mut received: BTreeMap<RawKey, Result<View, Silence>>,
    ) -> Roll {
        let answers = peers
            .iter()
            .map(|peer| {
                let answer = match received.remove(&peer.key.raw()) {
                    Some(Ok(view)) if view.cosigner() != peer.key.raw() => Err(Silence::NotAsked),
                    answer => answer.unwrap_or(Err(Silence::NotAsked)),
                };
                (peer.clone(), answer)
            })
            .collect();
        Roll { at, answers }
    }

    /// When it was closed: all answers were in.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Every peer and what it answered, ordered by name.
    pub fn answers(&self) -> &[(Peer, Result<View, Silence>)] {
        &self.answers
    }

    /// The views that counted.
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.answers.iter().filter_map(|(_, answer)| answer.as_ref().ok())
    }

    /// Whether every peer's view in this roll was cosigned at least `wait` after its view in `earlier`.
    pub(super) fn is_after(&self, earlier: &Roll, wait: Duration) -> bool {
        earlier.answers.iter().all(|(peer, before)| match (before, self.view_of(peer)) {
            (Ok(before), Some(now)) => before.at().after(wait) <= now.at(),
            _ => true,
        })
    }

    /// When the roll was closed, or its last view cosigned, whichever is later.
    pub(super) fn last_word(&self) -> Timestamp {
        self.views().map(View::at).max().map_or(self.at, |at| at.max(self.at))
    }

    /// The size that every one of `peers` confirmed: the smallest of their views.
    /// `None` unless all of them answered with views that `chain` holds.
    pub fn common_size(&self, peers: &PeerSet, chain: &Chain) -> Option<u64> {
        match verdict(&self.standings(peers, chain, None), None) {
            Verdict::Settling => self.views().map(|view| view.head().size()).min(),
            _ => None,
        }
    }

    /// What each of `peers` amounts to, once heads are joined: about the entry `index`, or
    /// about the log in general.
    pub fn standings(&self, peers: &PeerSet, chain: &Chain, index: Option<u64>) -> Vec<Standing> {
        let standing = |peer: &Peer| match self.view_of(peer) {
            None => Standing::Silent,
            Some(view) if !chain.holds(view.head()) => Standing::Unjoined,
            Some(view) if index.is_some_and(|index| view.head().size() <= index) => {
                Standing::Behind
            }
            Some(_) => Standing::Confirmed,
        };
        peers.iter().map(standing).collect()
    }

    fn view_of(&self, peer: &Peer) -> Option<&View> {
        let same = |(asked, _): &&(Peer, _)| asked.key.raw() == peer.key.raw();
        self.answers.iter().find(same)?.1.as_ref().ok()
    }

    /// The peers of this roll that did not confirm, and why.
    pub fn missing(&self, peers: &PeerSet, chain: &Chain, index: Option<u64>) -> Vec<Missing> {
        let standings = self.standings(peers, chain, index);
        let missing = peers.iter().zip(standings).filter(|(_, s)| *s != Standing::Confirmed);
        missing
            .map(|(peer, standing)| {
                let asked = self.answers.iter().find(|(p, _)| p.key.raw() == peer.key.raw());
                let (size, silence) = match asked.map(|(_, answer)| answer) {
                    Some(Ok(view)) => (Some(view.head().size()), None),
                    Some(Err(silence)) => (None, Some(silence.clone())),
                    None => (None, Some(Silence::NotAsked)),
                };
                Missing { peer: peer.name.clone(), standing, size, silence, since: None }
            })
            .collect()
    }
}

/// A peer that did not confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Who.
    pub peer: Name,
    /// How it stands.
    pub standing: Standing,
    /// The size of its view, if it showed one.
    pub size: Option<u64>,
    /// Why its answer does not count, if it is silent.
    pub silence: Option<Silence>,
    /// Since when it has not confirmed anything, if that is known.
    pub since: Option<Timestamp>,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.peer)?;
        match (self.standing, self.size, &self.silence) {
            (_, _, Some(silence)) => write!(f, "silent ({silence})"),
            (Standing::Behind, Some(size), _) => write!(f, "behind (its view is of size {size})"),
            (Standing::Unjoined, Some(size), _) => {
                write!(f, "unjoined (nobody serves tiles that tie its head of size {size} to ours)")
            }
            (standing, ..) => write!(f, "{standing:?}"),
        }?;
        self.since.map_or(Ok(()), |since| write!(f, ", since {since}"))
    }
}

/// What one peer's answer turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Joined with ours, and covers what would be installed.
    Confirmed,
    /// Joined, and does not cover it yet.
    Behind,
    /// No answer that counts.
    Silent,
    /// A view that could not be joined: nobody serves tiles for it, or they do not hash up.
    Unjoined,
    /// A view that contradicts ours.
    Fork,
}

/// What two rolls amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every peer confirmed, now and at least `settle` ago.
    Unanimous,
    /// Every peer confirms now; `settle` ago they had not yet, or were not asked.
    Settling,
    /// Somebody did not confirm.
    Incomplete,
    /// Somebody's view contradicts ours.
    Fork,
}

/// The rule. `latest` has one standing for every configured peer, and so has `earlier`, a
/// roll at least `settle` before it, if there is one. No standing at all is never consent.
pub fn verdict(latest: &[Standing], earlier: Option<&[Standing]>) -> Verdict {
    let all_confirmed =
        |roll: &[Standing]| !roll.is_empty() && roll.iter().all(|s| *s == Standing::Confirmed);
    if latest.iter().chain(earlier.unwrap_or_default()).any(|s| *s == Standing::Fork) {
        Verdict::Fork
    } else if !all_confirmed(latest) {
        Verdict::Incomplete
    } else if earlier.is_some_and(|roll| roll.len() == latest.len() && all_confirmed(roll)) {
        Verdict::Unanimous
    } else {
        Verdict::Settling
    }
}
