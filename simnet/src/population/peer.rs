//! A node as a peer: its polls, and its answers from the head that it holds.

use super::answer::{PeerAnswer, signing_second, whole_seconds};
use super::model::{NodeStep, Population};
use super::node::SimulatedPeer;
use super::packed_head::PackedHead;
use crate::Millis;
use crate::scenario::fault::FaultKind;
use crate::trace::{EventKind, EventObserver};

/// The error of a slow or fast peer's clock, in seconds.
const CLOCK_ERROR: i32 = 3600;

impl<W: EventObserver> Population<'_, W> {
    /// Polls the node's mirror as `Witness::poll` does with one mirror, and schedules the next
    /// poll.
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

    /// The answer of an honest peer, as `Witness::answer` gives it.
    pub(super) fn answer(&self, now: Millis, node: u32) -> PeerAnswer {
        match self.fresh_head(now, node) {
            _ if self.peers[node as usize].latched => PeerAnswer::Evidence,
            Some(tree) => PeerAnswer::Head(tree),
            None => PeerAnswer::NoFreshHead,
        }
    }

    /// A faulty peer's answer, and its signing time in seconds.
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
                Some(head) => PeerAnswer::Head(PackedHead::new(head, self.split)),
                None => self.answer(now, node),
            },
        };
        (answer, signing_second(now))
    }

    /// The head that a peer holds, if its mirror has shown that head since the node started and
    /// within `max_poll_age`.
    fn fresh_head(&self, now: Millis, node: u32) -> Option<PackedHead> {
        let SimulatedPeer { head, seen_at, is_fresh, .. } = self.peers[node as usize];
        let max_age = whole_seconds(self.environment.scenario.max_poll_age);
        (is_fresh && whole_seconds(now) <= seen_at.saturating_add(max_age)).then_some(head)
    }

    /// Whether a client can read a tree's tiles from this peer. A peer serves tiles even if it
    /// answers a question for its head with evidence, or has no fresh head.
    pub(super) fn serves_tiles(
        &mut self,
        now: Millis,
        peer: u32,
        client: u32,
        tree: PackedHead,
    ) -> bool {
        let environment = self.environment;
        let fault = environment.peer_fault(peer, client, now);
        let shown = environment.lying_head(peer, client, now);
        let shown = shown.or_else(|| environment.outdated_head(fault?, now));
        let held = match shown {
            Some(head) => PackedHead::new(head, self.split),
            None => self.peers[peer as usize].head,
        };
        held.contains(tree, self.split)
            && fault != Some(FaultKind::Silent)
            && self.services[peer as usize].is_up(environment, peer, now)
            && !environment.is_offline(peer, now)
            && !environment.is_partitioned(client, peer, now, now)
    }
}
