//! The client's stored state in a cycle: checks against earlier results, and stores of new ones.

use unanimity_net::Transport;
use unanimity_protocol::decision::admission::CLOCK_SKEW;
use unanimity_protocol::round::UnconfirmedPeer;
use unanimity_protocol::{
    Catalog, ConsistentHeads, CosignedHead, Evidence, Refusal, Round, SignedRelease, TreeHead,
};
use unanimity_state::StoreError;
use unanimity_storage::Clock;

use crate::{Client, ClientError, read_log, round};

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Checks that the clock is at most [`CLOCK_SKEW`] behind the newest verified time.
    pub(crate) fn check_clock(&self) -> Result<(), ClientError> {
        let (now, newest) = (self.clock.now(), self.state.latest_verified_time);
        if now.after(CLOCK_SKEW) < newest {
            Err(ClientError::Clock { now, newest })
        } else {
            Ok(())
        }
    }

    /// Stores each peer's largest head, and since when each silent peer has given no valid answer.
    /// The cycle calls this before it draws any conclusion from the round.
    pub(crate) fn record_answers(
        &mut self,
        collected: &round::CollectedRound,
    ) -> Result<(), StoreError> {
        let now = collected.round.closed_at();
        for (peer, answer) in collected.round.answers() {
            let key = peer.key.raw();
            let silent = &mut self.state.silent_since;
            let changed = match answer {
                Ok(_) => silent.remove(&key).is_some(),
                Err(_) if silent.contains_key(&key) => false,
                Err(_) => silent.insert(key, now).is_none(),
            };
            self.unsaved |= changed;
        }
        for cosigned in &collected.cosigned_heads {
            let (key, size) = (cosigned.cosigner(), cosigned.head().size());
            let before = self.state.largest_heads.get(&key).map(|before| before.head().size());
            if before.is_none_or(|before| before < size) {
                self.state.largest_heads.insert(key, cosigned.clone());
                self.unsaved = true;
            }
        }
        if self.unsaved { self.save() } else { Ok(()) }
    }

    /// Stores the whole state.
    pub(crate) fn save(&mut self) -> Result<(), StoreError> {
        self.unsaved = true;
        self.store.save(&self.state)?;
        self.unsaved = false;
        self.scores.unsaved = false;
        Ok(())
    }

    /// Adds to the entry of each unconfirmed peer the time since which the peer has been silent.
    pub(crate) fn with_silent_since(
        &self,
        mut unconfirmed: Vec<UnconfirmedPeer>,
    ) -> Vec<UnconfirmedPeer> {
        for entry in &mut unconfirmed {
            let peer = self.config.peers.iter().find(|peer| peer.name == entry.peer);
            entry.since =
                peer.and_then(|peer| self.state.silent_since.get(&peer.key.raw())).copied();
        }
        unconfirmed
    }

    /// Stores evidence of a fork, and returns the refusal with that evidence.
    pub(crate) fn latch(&self, evidence: Evidence) -> Result<Refusal, ClientError> {
        self.evidence.add(&evidence)?;
        Ok(Refusal::Fork(Box::new(evidence)))
    }

    /// The stored head and the pinned head, as far as they exist. Every adopted head must extend
    /// both.
    pub(crate) fn trusted_heads(&self) -> impl Iterator<Item = &TreeHead> {
        self.state.head.iter().chain(&self.config.cycle.pinned)
    }

    /// Lists the heads that the next adopted head must not contradict: the trusted heads, the
    /// largest head of each peer, and the heads of the stored rounds.
    ///
    /// Peers' heads from an acknowledged fork are left out. If a host shows such a head again, the
    /// client refuses it again.
    pub(crate) fn known_heads(&self) -> Result<Vec<TreeHead>, StoreError> {
        let cosigned = self
            .state
            .largest_heads
            .values()
            .chain(self.state.rounds.iter().flat_map(Round::cosigned_heads));
        let forked = self.evidence.acknowledged_heads()?;
        let remembered = cosigned.map(CosignedHead::head).filter(|head| !forked.contains(head));
        Ok(self.trusted_heads().chain(remembered).cloned().collect())
    }

    /// Whether a cycle reports the refusal of an entry: the entry is new, or its release has
    /// expired since the last unanimous round, or it has an unsupported format and blocks releases.
    pub(crate) fn is_unreported(&self, index: u64, refusal: &Refusal) -> bool {
        let last = self.state.unanimous_at.unwrap_or_default();
        match refusal {
            Refusal::Expired { at, .. } if *at > last => true,
            // The newest unsupported entry blocks every earlier release, so every cycle reports it.
            Refusal::UnsupportedFormat { index: newer, .. } if *newer == index => true,
            _ => index >= self.state.reported,
        }
    }

    /// Stores the new withdrawals among the entries that the client read. Withdrawals need no
    /// confirmation by peers.
    pub(crate) fn learn_withdrawals(&mut self, read: &Catalog) -> Result<(), StoreError> {
        if self.state.catalog.merge_withdrawals(read) { self.save() } else { Ok(()) }
    }

    /// Stores the result of a unanimous round. The smallest head of its peers becomes the stored
    /// head, unless the stored head is larger. A stored round is kept while it is the first that
    /// covers one of `candidates`.
    pub(crate) fn adopt_head(
        &mut self,
        consistent: &ConsistentHeads,
        round: &Round,
        common: u64,
        at_common: Option<read_log::LogPrefix>,
        candidates: &[SignedRelease],
    ) -> Result<(), StoreError> {
        let smallest =
            round.cosigned_heads().map(CosignedHead::head).find(|head| head.size() == common);
        if let (Some(smallest), Some(mut prefix)) = (smallest, at_common) {
            let held = self.state.head.as_ref().map_or(0, TreeHead::size);
            if smallest.size() >= held && prefix.frontier.root() == *smallest.root() {
                self.state.head = Some(smallest.clone());
                prefix.catalog.merge_withdrawals(&self.state.catalog);
                (self.state.frontier, self.state.catalog) = (prefix.frontier, prefix.catalog);
            }
        }
        self.state.unanimous_at = Some(round.closed_at());
        // Only a unanimous round moves this time. Otherwise one peer, together with a clock that is
        // wrong for a minute, could stop the node until that time comes.
        self.state.latest_verified_time = self.state.latest_verified_time.max(round.closed_at());
        self.state.rounds.push(round.clone());
        let first_for = |index: u64| {
            self.state.rounds.iter().position(|old| self.covers(old, consistent, index))
        };
        let needed: Vec<usize> =
            candidates.iter().filter_map(|signed| first_for(signed.index())).collect();
        let rounds = std::mem::take(&mut self.state.rounds);
        let kept = rounds.into_iter().enumerate().filter(|(i, _)| needed.contains(i));
        self.state.rounds = kept.map(|(_, round)| round).collect();
        self.save()
    }

    /// Whether the head of every peer in `round` contains the entry at `index`.
    fn covers(&self, round: &Round, consistent: &ConsistentHeads, index: u64) -> bool {
        round.common_size(&self.config.peers, consistent).is_some_and(|size| size > index)
    }

    /// The first stored round in which every peer's head contained the entry at `index`.
    pub(crate) fn earliest_round(
        &self,
        consistent: &ConsistentHeads,
        index: u64,
    ) -> Option<&Round> {
        self.state.rounds.iter().find(|round| self.covers(round, consistent, index))
    }
}
