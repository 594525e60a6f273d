//! What a node does as a peer: it polls, and it answers from what it holds.

use super::answer::{PeerAnswer, signing_second, whole_seconds};
use super::model::{NodeStep, Population};
use super::node::SimulatedPeer;
use super::packed_head::PackedHead;
use crate::Millis;
use crate::scenario::fault::FaultKind;
use crate::trace::{EventKind, EventObserver};

/// How wrong the clock of a slow or fast peer is, in seconds.
const CLOCK_ERROR: i32 = 3600;

impl<W: EventObserver> Population<'_, W> {
    /// `EventObserver::poll_mirror`, with one mirror.
    pub(super) fn poll_mirror(&mut self, now: Millis, node: u32) {
        let environment = self.environment;
        let peer = &mut self.peers[node as usize];
        peer.polls += 1;
        let next = now + environment.poll_wait(node, peer.polls.into());
        if environment.is_offline(node, now) {
            self.schedule(next, node, NodeStep::Poll);
            return;
        }
        let shown = self.mirror_head(now, node);
        let peer = &mut self.peers[node as usize];
        match shown {
            Some(shown) if !shown.is_consistent_with(peer.head, self.split) => {
                self.store_evidence(now, node);
            }
            Some(shown) if shown.size() >= peer.head.size() => {
                (peer.head, peer.seen_at, peer.is_fresh) = (shown, whole_seconds(now), true);
            }
            _ => {}
        }
        let held = self.fresh_head(now, node).and_then(PackedHead::to_trace_head);
        self.emit(now, node, EventKind::Polled(held));
        self.schedule(next, node, NodeStep::Poll);
    }

    /// `EventObserver::forward_to_peer`, to whoever is not lied to.
    pub(super) fn answer(&self, now: Millis, node: u32) -> PeerAnswer {
        match self.fresh_head(now, node) {
            _ if self.peers[node as usize].latched => PeerAnswer::Evidence,
            Some(tree) => PeerAnswer::Head(tree),
            None => PeerAnswer::NoFreshHead,
        }
    }

    /// A faulty peer's answer, and when it says that it signed it.
    pub(super) fn answer_with_fault(
        &mut self,
        now: Millis,
        node: u32,
        kind: FaultKind,
    ) -> (PeerAnswer, i32) {
        let before = |at| PackedHead::new(self.environment.head_an_hour_before(at), self.split);
        let held = Some(self.peers[node as usize].head).filter(|head| !head.is_none());
        let answer = match (kind, held) {
            (FaultKind::Replay, _) => {
                let first = (held.unwrap_or_else(|| before(now)), signing_second(now));
                let (tree, signed) = *self.first_answers.entry(node).or_insert(first);
                return (PeerAnswer::Head(tree), signed);
            }
            (FaultKind::Slow, Some(held)) => {
                return (PeerAnswer::Head(held), signing_second(now) - CLOCK_ERROR);
            }
            (FaultKind::Fast, Some(held)) => {
                return (PeerAnswer::Head(held), signing_second(now) + CLOCK_ERROR);
            }
            _ => match self.environment.outdated_head(kind, now) {
                Some(view) => PeerAnswer::Head(PackedHead::new(view, self.split)),
                None => self.answer(now, node),
            },
        };
        (answer, signing_second(now))
    }

    /// What it holds, if its mirror has shown that lately.
    fn fresh_head(&self, now: Millis, node: u32) -> Option<PackedHead> {
        let SimulatedPeer { head, seen_at: seen, is_fresh: fresh, .. } = self.peers[node as usize];
        let max_age = whole_seconds(self.environment.scenario.max_poll_age);
        (fresh && whole_seconds(now) <= seen.saturating_add(max_age)).then_some(head)
    }

    /// Whether a client could read a tree's tiles from this peer, which serves them also when it
    /// answers with evidence or not at all.
    pub(super) fn serves_tiles(
        &mut self,
        now: Millis,
        peer: u32,
        client: u32,
        tree: PackedHead,
    ) -> bool {
        let environment = self.environment;
        let fault = environment.peer_fault(peer, client, now);
        let told = environment.lying_head(peer, client, now);
        let told = told.or_else(|| environment.outdated_head(fault?, now));
        let held = match told {
            Some(view) => PackedHead::new(view, self.split),
            None => self.peers[peer as usize].head,
        };
        held.contains(tree, self.split)
            && fault != Some(FaultKind::Silent)
            && self.services[peer as usize].is_up(environment, peer, now)
            && !environment.is_offline(peer, now)
            && !environment.is_partitioned(client, peer, now, now)
    }
}
