//! A round: one answer for every configured peer, never fewer, never none.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decision::confirmation::{Confirmation, Verdict, verdict};
use crate::{
    ConsistentHeads, CosignedHead, Name, Peer, PeerFailure, PeerSet, PublicKeyBytes, Timestamp,
};

/// What every configured peer answered, at one time. Answers of anybody else are dropped;
/// a peer without one is [`PeerFailure::NotAsked`].
#[derive(Clone, Debug)]
pub struct Round {
    at: Timestamp,
    answers: Vec<(Peer, Result<CosignedHead, PeerFailure>)>,
}

impl Round {
    /// Closes the roll at `at`. A view counts only for the peer whose key cosigned it.
    pub fn new(
        peers: &PeerSet,
        at: Timestamp,
        mut received: BTreeMap<PublicKeyBytes, Result<CosignedHead, PeerFailure>>,
    ) -> Round {
        let answers = peers
            .iter()
            .map(|peer| {
                let answer = match received.remove(&peer.key.raw()) {
                    Some(Ok(head)) if head.cosigner() != peer.key.raw() => {
                        Err(PeerFailure::NotAsked)
                    }
                    answer => answer.unwrap_or(Err(PeerFailure::NotAsked)),
                };
                (peer.clone(), answer)
            })
            .collect();
        Round { at, answers }
    }

    /// When it was closed: all answers were in.
    pub fn closed_at(&self) -> Timestamp {
        self.at
    }

    /// Every peer and what it answered, ordered by name.
    pub fn answers(&self) -> &[(Peer, Result<CosignedHead, PeerFailure>)] {
        &self.answers
    }

    /// The views that counted.
    pub fn cosigned_heads(&self) -> impl Iterator<Item = &CosignedHead> {
        self.answers.iter().filter_map(|(_, answer)| answer.as_ref().ok())
    }

    /// Whether every peer's view in this roll was cosigned at least `wait` after its view in `earlier`.
    pub(crate) fn is_settled_since(&self, earlier: &Round, wait: Duration) -> bool {
        earlier.answers.iter().all(|(peer, before)| match (before, self.head_of(peer)) {
            (Ok(before), Some(now)) => before.signed_at().after(wait) <= now.signed_at(),
            _ => true,
        })
    }

    /// When the roll was closed, or its last view cosigned, whichever is later.
    pub(crate) fn last_signed_at(&self) -> Timestamp {
        self.cosigned_heads()
            .map(CosignedHead::signed_at)
            .max()
            .map_or(self.at, |at| at.max(self.at))
    }

    /// The size that every one of `peers` confirmed: the smallest of their views.
    /// `None` unless all of them answered with views that `chain` holds.
    pub fn common_size(&self, peers: &PeerSet, chain: &ConsistentHeads) -> Option<u64> {
        match verdict(&self.confirmations(peers, chain, None), None) {
            Verdict::Settling => self.cosigned_heads().map(|view| view.head().size()).min(),
            _ => None,
        }
    }

    /// What each of `peers` amounts to, once heads are joined: about the entry `index`, or
    /// about the log in general.
    pub fn confirmations(
        &self,
        peers: &PeerSet,
        chain: &ConsistentHeads,
        index: Option<u64>,
    ) -> Vec<Confirmation> {
        let confirmation = |peer: &Peer| match self.head_of(peer) {
            None => Confirmation::NoValidAnswer,
            Some(view) if !chain.contains(view.head()) => Confirmation::Unproven,
            Some(view) if index.is_some_and(|index| view.head().size() <= index) => {
                Confirmation::Behind
            }
            Some(_) => Confirmation::Confirmed,
        };
        peers.iter().map(confirmation).collect()
    }

    fn head_of(&self, peer: &Peer) -> Option<&CosignedHead> {
        let same = |(asked, _): &&(Peer, _)| asked.key.raw() == peer.key.raw();
        self.answers.iter().find(same)?.1.as_ref().ok()
    }

    /// The peers of this roll that did not confirm, and why.
    pub fn unconfirmed(
        &self,
        peers: &PeerSet,
        chain: &ConsistentHeads,
        index: Option<u64>,
    ) -> Vec<UnconfirmedPeer> {
        let confirmations = self.confirmations(peers, chain, index);
        let missing =
            peers.iter().zip(confirmations).filter(|(_, s)| *s != Confirmation::Confirmed);
        missing
            .map(|(peer, standing)| {
                let asked = self.answers.iter().find(|(p, _)| p.key.raw() == peer.key.raw());
                let (size, silence) = match asked.map(|(_, answer)| answer) {
                    Some(Ok(head)) => (Some(head.head().size()), None),
                    Some(Err(silence)) => (None, Some(silence.clone())),
                    None => (None, Some(PeerFailure::NotAsked)),
                };
                UnconfirmedPeer {
                    peer: peer.name.clone(),
                    confirmation: standing,
                    size,
                    failure: silence,
                    since: None,
                }
            })
            .collect()
    }
}

/// A peer that did not confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnconfirmedPeer {
    /// Who.
    pub peer: Name,
    /// How it stands.
    pub confirmation: Confirmation,
    /// The size of its view, if it showed one.
    pub size: Option<u64>,
    /// Why its answer does not count, if it is silent.
    pub failure: Option<PeerFailure>,
    /// Since when it has not confirmed anything, if that is known.
    pub since: Option<Timestamp>,
}

impl std::fmt::Display for UnconfirmedPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.peer)?;
        match (self.confirmation, self.size, &self.failure) {
            (_, _, Some(silence)) => write!(f, "silent ({silence})"),
            (Confirmation::Behind, Some(size), _) => {
                write!(f, "behind (its view is of size {size})")
            }
            (Confirmation::Unproven, Some(size), _) => {
                write!(f, "unjoined (nobody serves tiles that tie its head of size {size} to ours)")
            }
            (standing, ..) => write!(f, "{standing:?}"),
        }?;
        self.since.map_or(Ok(()), |since| write!(f, ", since {since}"))
    }
}
