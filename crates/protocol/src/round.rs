//! A round: for every configured peer, one cosigned head or the reason why there is none.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::decision::confirmation::{Confirmation, Verdict, verdict};
use crate::{
    ConsistentHeads, CosignedHead, Name, Peer, PeerFailure, PeerSet, PublicKeyBytes, Timestamp,
};

/// The answers of all configured peers in one round, and the time at which the round closed.
///
/// Answers under other keys are dropped. A peer without an answer has [`PeerFailure::NotAsked`].
#[derive(Clone, Debug)]
pub struct Round {
    at: Timestamp,
    answers: Vec<(Peer, Result<CosignedHead, PeerFailure>)>,
}

impl Round {
    /// Closes a round at the time `at`. `received` has the answers by the key of the asked peer.
    ///
    /// A cosigned head counts only if its cosigner has the key under which it was received.
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

    /// The time at which the round closed, after all answers.
    pub fn closed_at(&self) -> Timestamp {
        self.at
    }

    /// The configured peers with their answers, ordered by name.
    pub fn answers(&self) -> &[(Peer, Result<CosignedHead, PeerFailure>)] {
        &self.answers
    }

    /// The cosigned heads of all peers with a valid answer, ordered by the peers' names.
    pub fn cosigned_heads(&self) -> impl Iterator<Item = &CosignedHead> {
        self.answers.iter().filter_map(|(_, answer)| answer.as_ref().ok())
    }

    /// Whether every peer cosigned in this round at least `wait` after it cosigned in `earlier`.
    ///
    /// Peers without a cosigned head in one of the two rounds are ignored.
    pub(crate) fn is_settled_since(&self, earlier: &Round, wait: Duration) -> bool {
        earlier.answers.iter().all(|(peer, before)| match (before, self.head_of(peer)) {
            (Ok(before), Some(now)) => before.signed_at().after(wait) <= now.signed_at(),
            _ => true,
        })
    }

    /// The time at which the round closed, or the time of its last cosignature if that is later.
    pub(crate) fn last_signed_at(&self) -> Timestamp {
        self.cosigned_heads()
            .map(CosignedHead::signed_at)
            .max()
            .map_or(self.at, |at| at.max(self.at))
    }

    /// The log size that all of `peers` confirmed: the size of the smallest head in the round.
    ///
    /// `None` unless each of `peers` answered with a head that `heads` contains.
    pub fn common_size(&self, peers: &PeerSet, heads: &ConsistentHeads) -> Option<u64> {
        match verdict(&self.confirmations(peers, heads, None), None) {
            Verdict::Settling => self.cosigned_heads().map(|cosigned| cosigned.head().size()).min(),
            _ => None,
        }
    }

    /// The confirmation of each of `peers`, in their order.
    ///
    /// A peer confirms if `heads` contains the peer's head. With `index`, the peer's head must also
    /// contain the log entry with that number.
    pub fn confirmations(
        &self,
        peers: &PeerSet,
        heads: &ConsistentHeads,
        index: Option<u64>,
    ) -> Vec<Confirmation> {
        let confirmation = |peer: &Peer| match self.head_of(peer).map(CosignedHead::head) {
            None => Confirmation::NoValidAnswer,
            Some(head) if !heads.contains(head) => Confirmation::Unproven,
            Some(head) if index.is_some_and(|index| head.size() <= index) => Confirmation::Behind,
            Some(_) => Confirmation::Confirmed,
        };
        peers.iter().map(confirmation).collect()
    }

    fn head_of(&self, peer: &Peer) -> Option<&CosignedHead> {
        self.answer_of(peer)?.as_ref().ok()
    }

    fn answer_of(&self, peer: &Peer) -> Option<&Result<CosignedHead, PeerFailure>> {
        let is_same = |(asked, _): &&(Peer, _)| asked.key.raw() == peer.key.raw();
        self.answers.iter().find(is_same).map(|(_, answer)| answer)
    }

    /// The members of `peers` that did not confirm, with the reasons. `heads` and `index` have the
    /// meaning that they have in [`Round::confirmations`].
    pub fn unconfirmed(
        &self,
        peers: &PeerSet,
        heads: &ConsistentHeads,
        index: Option<u64>,
    ) -> Vec<UnconfirmedPeer> {
        let confirmations = self.confirmations(peers, heads, index);
        let unconfirmed =
            peers.iter().zip(confirmations).filter(|(_, c)| *c != Confirmation::Confirmed);
        unconfirmed
            .map(|(peer, confirmation)| {
                let (size, failure) = match self.answer_of(peer) {
                    Some(Ok(cosigned)) => (Some(cosigned.head().size()), None),
                    Some(Err(failure)) => (None, Some(failure.clone())),
                    None => (None, Some(PeerFailure::NotAsked)),
                };
                let peer = peer.name.clone();
                UnconfirmedPeer { peer, confirmation, size, failure, since: None }
            })
            .collect()
    }
}

/// A peer that did not confirm, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnconfirmedPeer {
    /// The peer's name.
    pub peer: Name,
    /// The meaning of the peer's answer.
    pub confirmation: Confirmation,
    /// The size of the peer's head. `None` if the peer gave no valid answer.
    pub size: Option<u64>,
    /// The reason why the peer gave no valid answer. `None` if it gave one.
    pub failure: Option<PeerFailure>,
    /// The time since which the peer has given no valid answer, if it is known.
    pub since: Option<Timestamp>,
}

impl std::fmt::Display for UnconfirmedPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.peer)?;
        match (self.confirmation, self.size, &self.failure) {
            (_, _, Some(failure)) => write!(f, "no valid answer ({failure})"),
            (Confirmation::Behind, Some(size), _) => {
                write!(f, "behind (its head has size {size})")
            }
            (Confirmation::Unproven, Some(size), _) => write!(
                f,
                "unproven (no mirror or peer serves tiles that link its head of size {size} \
                 to this node's head)"
            ),
            (confirmation, ..) => write!(f, "{confirmation:?}"),
        }?;
        self.since.map_or(Ok(()), |since| write!(f, ", since {since}"))
    }
}
