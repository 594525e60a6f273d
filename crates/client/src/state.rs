//! What a cycle remembers, and what it makes of what earlier ones did.

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
    pub(crate) fn check_clock(&self) -> Result<(), ClientError> {
        let (now, newest) = (self.clock.now(), self.state.latest_verified_time);
        if now.after(CLOCK_SKEW) < newest {
            Err(ClientError::Clock { now, newest })
        } else {
            Ok(())
        }
    }

    /// What the roll showed, before anything is concluded from it.
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
        for view in &collected.cosigned_heads {
            let key = view.cosigner();
            let before = self.state.largest_heads.get(&key).map(|view| view.head().size());
            if before.is_none_or(|before| before < view.head().size()) {
                self.state.largest_heads.insert(key, view.clone());
                self.unsaved = true;
            }
        }
        if self.unsaved { self.save() } else { Ok(()) }
    }

    /// Stores all that is remembered.
    pub(crate) fn save(&mut self) -> Result<(), StoreError> {
        self.unsaved = true;
        self.store.save(&self.state)?;
        self.unsaved = false;
        self.scores.unsaved = false;
        Ok(())
    }

    /// Adds to each peer that did not confirm since when it has been silent.
    pub(crate) fn with_silent_since(
        &self,
        mut missing: Vec<UnconfirmedPeer>,
    ) -> Vec<UnconfirmedPeer> {
        for missing in &mut missing {
            let peer = self.config.peers.iter().find(|peer| peer.name == missing.peer);
            missing.since =
                peer.and_then(|peer| self.state.silent_since.get(&peer.key.raw())).copied();
        }
        missing
    }

    /// Stores evidence before anything else happens.
    pub(crate) fn latch(&self, evidence: Evidence) -> Result<Refusal, ClientError> {
        self.evidence.add(&evidence)?;
        Ok(Refusal::Fork(Box::new(evidence)))
    }

    /// Heads that must be prefixes of whatever is adopted.
    pub(crate) fn trusted_heads(&self) -> impl Iterator<Item = &TreeHead> {
        self.state.head.iter().chain(&self.config.cycle.pinned)
    }

    /// Every head that was ever verified here and still matters. What an acknowledged fork left in
    /// our memory no longer does: whoever shows it again is asked about it anew.
    pub(crate) fn known_heads(&self) -> Result<Vec<TreeHead>, StoreError> {
        let views = self
            .state
            .largest_heads
            .values()
            .chain(self.state.rounds.iter().flat_map(Round::cosigned_heads));
        let settled = self.evidence.acknowledged_heads()?;
        let remembered = views.map(CosignedHead::head).filter(|head| !settled.contains(head));
        Ok(self.trusted_heads().chain(remembered).cloned().collect())
    }

    /// Whether a refused entry was never reported: read for the first time, or expired since.
    pub(crate) fn is_unreported(&self, index: u64, refusal: &Refusal) -> bool {
        let last = self.state.unanimous_at.unwrap_or_default();
        match refusal {
            Refusal::Expired { at, .. } if *at > last => true,
            // Nothing from before it installs any more: that is no state to fall silent in.
            Refusal::UnsupportedFormat { index: newer, .. } if *newer == index => true,
            _ => index >= self.state.reported,
        }
    }

    /// What was taken back is remembered before anything is decided, however large a part of the log
    /// every peer confirms.
    pub(crate) fn learn_withdrawals(&mut self, read: &Catalog) -> Result<(), StoreError> {
        if self.state.catalog.merge_withdrawals(read) { self.save() } else { Ok(()) }
    }

    /// After a unanimous roll: the head moves to the smallest that was confirmed, and the roll is
    /// kept as long as a pending release may need it.
    pub(crate) fn adopt_head(
        &mut self,
        chain: &ConsistentHeads,
        round: &Round,
        common: u64,
        at_common: Option<read_log::LogPrefix>,
        candidates: &[SignedRelease],
    ) -> Result<(), StoreError> {
        let smallest =
            round.cosigned_heads().map(CosignedHead::head).find(|head| head.size() == common);
        if let (Some(smallest), Some(mut edge)) = (smallest, at_common) {
            let held = self.state.head.as_ref().map_or(0, TreeHead::size);
            if smallest.size() >= held && edge.frontier.root() == *smallest.root() {
                self.state.head = Some(smallest.clone());
                edge.catalog.merge_withdrawals(&self.state.catalog);
                (self.state.frontier, self.state.catalog) = (edge.frontier, edge.catalog);
            }
        }
        self.state.unanimous_at = Some(round.closed_at());
        // On everybody's word only: one peer and a clock that is wrong for a minute must not be
        // able to stop us until that time comes.
        self.state.latest_verified_time = self.state.latest_verified_time.max(round.closed_at());
        self.state.rounds.push(round.clone());
        let first_for =
            |index: u64| self.state.rounds.iter().position(|roll| self.covers(roll, chain, index));
        let needed: Vec<usize> =
            candidates.iter().filter_map(|signed| first_for(signed.index())).collect();
        let rolls = std::mem::take(&mut self.state.rounds);
        let kept = rolls.into_iter().enumerate().filter(|(i, _)| needed.contains(i));
        self.state.rounds = kept.map(|(_, roll)| roll).collect();
        self.save()
    }

    fn covers(&self, round: &Round, chain: &ConsistentHeads, index: u64) -> bool {
        round.common_size(&self.config.peers, chain).is_some_and(|size| size > index)
    }

    /// The first roll in which every peer covered the entry.
    pub(crate) fn earliest_round(&self, chain: &ConsistentHeads, index: u64) -> Option<&Round> {
        self.state.rounds.iter().find(|roll| self.covers(roll, chain, index))
    }
}
