//! What a node does as a peer: it polls, and it answers from what it holds.

use super::answer::{Answer, seconds, signed};
use super::model::{Population, Step};
use super::node::Peer;
use super::tree::Tree;
use crate::Millis;
use crate::scenario::fault::Kind;
use crate::trace::{What, Witness};

/// How wrong the clock of a slow or fast peer is, in seconds.
const CLOCK_ERROR: i32 = 3600;

impl<W: Witness> Population<'_, W> {
    /// `Witness::poll`, with one mirror.
    pub(super) fn poll(&mut self, now: Millis, node: u32) {
        let environment = self.environment;
        let peer = &mut self.peers[node as usize];
        peer.polls += 1;
        let next = now + environment.poll_wait(node, peer.polls.into());
        if environment.is_off(node, now) {
            self.arrange(next, node, Step::Poll);
            return;
        }
        let shown = self.shown(now, node);
        let peer = &mut self.peers[node as usize];
        match shown {
            Some(shown) if !shown.is_consistent_with(peer.head, self.split) => {
                self.latch(now, node);
            }
            Some(shown) if shown.size() >= peer.head.size() => {
                (peer.head, peer.seen, peer.fresh) = (shown, seconds(now), true);
            }
            _ => {}
        }
        let held = self.vouched(now, node).and_then(Tree::view);
        self.tell(now, node, What::Polled(held));
        self.arrange(next, node, Step::Poll);
    }

    /// `Witness::answer`, to whoever is not lied to.
    pub(super) fn answer(&self, now: Millis, node: u32) -> Answer {
        match self.vouched(now, node) {
            _ if self.peers[node as usize].latched => Answer::Evidence,
            Some(tree) => Answer::View(tree),
            None => Answer::Blind,
        }
    }

    /// A faulty peer's answer, and when it says that it signed it.
    pub(super) fn answer_badly(&mut self, now: Millis, node: u32, kind: Kind) -> (Answer, i32) {
        let before = |at| Tree::new(self.environment.an_hour_before(at), self.split);
        let held = Some(self.peers[node as usize].head).filter(|head| !head.is_none());
        let answer = match (kind, held) {
            (Kind::Replay, _) => {
                let first = (held.unwrap_or_else(|| before(now)), signed(now));
                let (tree, signed) = *self.replayed.entry(node).or_insert(first);
                return (Answer::View(tree), signed);
            }
            (Kind::Slow, Some(held)) => return (Answer::View(held), signed(now) - CLOCK_ERROR),
            (Kind::Fast, Some(held)) => return (Answer::View(held), signed(now) + CLOCK_ERROR),
            _ => match self.environment.outdated(kind, now) {
                Some(view) => Answer::View(Tree::new(view, self.split)),
                None => self.answer(now, node),
            },
        };
        (answer, signed(now))
    }

    /// What it holds, if its mirror has shown that lately.
    fn vouched(&self, now: Millis, node: u32) -> Option<Tree> {
        let Peer { head, seen, fresh, .. } = self.peers[node as usize];
        let max_age = seconds(self.environment.scenario.max_poll_age);
        (fresh && seconds(now) <= seen.saturating_add(max_age)).then_some(head)
    }

    /// Whether a client could read a tree's tiles from this peer, which serves them also when it
    /// answers with evidence or not at all.
    pub(super) fn serves(&mut self, now: Millis, peer: u32, client: u32, tree: Tree) -> bool {
        let environment = self.environment;
        let fault = environment.peer_fault(peer, client, now);
        let told = environment.lie(peer, client, now);
        let told = told.or_else(|| environment.outdated(fault?, now));
        let held = match told {
            Some(view) => Tree::new(view, self.split),
            None => self.peers[peer as usize].head,
        };
        held.holds(tree, self.split)
            && fault != Some(Kind::Silent)
            && self.services[peer as usize].is_up(environment, peer, now)
            && !environment.is_off(peer, now)
            && !environment.are_apart(client, peer, now, now)
    }
}
