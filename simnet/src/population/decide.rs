//! What a closed roll amounts to, as `SimulatedClient::decide` finds it.

use unanimity_protocol::Timestamp;
use unanimity_protocol::decision::confirmation::{Confirmation, Verdict, verdict};
use unanimity_protocol::decision::head_choice::{ChoiceStep, HeadChoice};

use super::active_rounds::ActiveRoundId;
use super::answer::{PeerAnswer, whole_seconds};
use super::buffers::{DecisionBuffers, ReleaseCandidate};
use super::kept_rounds::AnsweredHead;
use super::model::Population;
use super::packed_head::{ForkEvidence, PackedHead};
use crate::Millis;
use crate::environment::EPOCH;
use crate::trace::{CycleResult, EventObserver};

impl<W: EventObserver> Population<'_, W> {
    pub(super) fn decide(&mut self, now: Millis, node: u32, id: ActiveRoundId) -> CycleResult {
        if self.active_rounds.slots(id).iter().any(|slot| slot.answer == Some(PeerAnswer::Evidence))
        {
            return CycleResult::Fork;
        }
        self.admit_answers(now, node, id);
        let up = self.mirror_head(now, node);
        let Ok(head) = self.adopt_head(now, node, id, up.unwrap_or(PackedHead::NONE)) else {
            return CycleResult::Fork;
        };
        let trusted = self.clients[node as usize].trusted;
        if up.is_some_and(|shown| shown.size() < trusted.size().max(head.size())) {
            return CycleResult::Stale;
        }
        // Without a mirror, only what was read before can be read: nothing but the trusted head.
        if head.is_none() || up.is_none() && head != trusted {
            return CycleResult::Undecided;
        }
        self.clients[node as usize].knows_withdrawal |= self.environment.is_withdrawn(head.size());
        // From here on the mirror's head is the one adopted, or the trusted one if it is down, and
        // all others heard of are prefixes of it, but for those that nobody serves.
        let Some(common) = self.common_size(head) else { return CycleResult::Incomplete };
        if common >= trusted.size() {
            self.clients[node as usize].trusted = head.prefix(common, self.split);
        }
        self.list_candidates(now, node, head);
        self.keep_rounds(now, node, head);
        match self.choose_release(now, node, head) {
            // The artifact cannot be fetched, and is asked for again in the next cycle.
            CycleResult::Installed { .. } if up.is_none() => CycleResult::Undecided,
            CycleResult::Installed { index, chain } => CycleResult::Installed { index, chain },
            _ if self.runs_withdrawn_release(node) => CycleResult::Withdrawn,
            cycle => cycle,
        }
    }

    /// Which answers count ([`RoundLimits::check_scenario`](unanimity_protocol::decision::admission::RoundLimits::check)),
    /// and the largest tree that each peer ever showed.
    fn admit_answers(&mut self, now: Millis, node: u32, id: ActiveRoundId) {
        let slots = self.active_rounds.slots(id);
        let began = self.active_rounds.get(id).began_at;
        let largest = &mut self.largest[node as usize * slots.len()..][..slots.len()];
        let latest = &mut self.buffers.latest;
        latest.clear();
        for (slot, largest) in slots.iter().zip(largest) {
            let mut entry = AnsweredHead { head: PackedHead::NONE, signed: slot.signed };
            if let Some(PeerAnswer::Head(tree)) = slot.answer {
                let signed_at = Timestamp(EPOCH.saturating_add_signed(slot.signed.into()));
                let counts = |at: Millis| {
                    let at = Timestamp(EPOCH + at / 1000);
                    let (size, before) = (tree.size().into(), largest.size().into());
                    self.limits.check(signed_at, size, at, before).is_ok()
                };
                // When it came, and still when the roll closes, as the client asks.
                if counts(began + Millis::from(slot.came_after)) && counts(now) {
                    entry.head = tree;
                }
                if tree.size() > largest.size() {
                    *largest = tree;
                }
            }
            latest.push(entry);
        }
    }

    /// The head that is adopted, as `SimulatedClient::decide` has it chosen by [`HeadChoice`]: at least as large
    /// as the mirror's. A mirror that is down shows none, and if nobody serves any head, the result is none.
    fn adopt_head(
        &mut self,
        now: Millis,
        node: u32,
        id: ActiveRoundId,
        shown: PackedHead,
    ) -> Result<PackedHead, ForkEvidence> {
        let circle = self.environment.peers_of(node);
        let client = self.clients[node as usize];
        let largest = &self.largest[node as usize * circle.len()..][..circle.len()];
        let answers = self.active_rounds.slots(id).iter().filter_map(|slot| match slot.answer {
            Some(PeerAnswer::Head(tree)) => Some(tree),
            _ => None,
        });
        let kept = self
            .kept_rounds
            .iter(client.kept_rounds)
            .flat_map(|(_, views)| views)
            .map(|view| view.head);
        let heard = || {
            let remembered = [client.trusted].into_iter().chain(largest.iter().copied());
            remembered.chain(kept.clone()).chain(answers.clone()).filter(|tree| !tree.is_none())
        };
        // The largest, served, and it holds all: the choice would end with the first head it tries.
        if heard().all(|tree| shown.contains(tree, self.split)) {
            return Ok(shown);
        }

        // Lists of their own while the choice works in them.
        let mut heads = std::mem::take(&mut self.buffers.heads);
        let mut views = std::mem::take(&mut self.buffers.peer_heads);
        let there = |tree: &PackedHead| !tree.is_none();
        heads.clear();
        heads.extend(heard().chain([shown].into_iter().filter(there)));
        views.clear();
        views.extend(kept.chain(self.buffers.latest.iter().map(|view| view.head)).filter(there));
        let trusted = [client.trusted];
        let trusted = if client.trusted.is_none() { &[][..] } else { &trusted };
        let choice = HeadChoice::new(&mut heads, trusted, &views);
        let joined = self.choose_head(now, node, shown, choice);
        (self.buffers.heads, self.buffers.peer_heads) = (heads, views);
        joined
    }

    /// Tells a choice what hosts serve to a node, whose mirror shows a tree or none.
    fn choose_head(
        &mut self,
        now: Millis,
        node: u32,
        shown: PackedHead,
        mut choice: HeadChoice<'_, PackedHead>,
    ) -> Result<PackedHead, ForkEvidence> {
        let (split, trusted) = (self.split, self.clients[node as usize].trusted);
        loop {
            let head = match choice.step() {
                ChoiceStep::Try(trial) => {
                    let head = *trial.head();
                    let older = trial.smaller();
                    if !shown.contains(head, split) && !self.is_served(now, node, head) {
                        trial.unserved();
                    } else if older.iter().any(|tree| !head.is_consistent_with(*tree, split)) {
                        trial.fork(ForkEvidence);
                    } else {
                        trial.served(|tree| head.contains(*tree, split));
                    }
                    continue;
                }
                ChoiceStep::Chosen(head) => *head,
                ChoiceStep::NoneServed => return Ok(PackedHead::NONE),
                ChoiceStep::Fork(ForkEvidence) => return Err(ForkEvidence),
            };
            // Entries are read from the mirror, or were read before.
            let is_readable = head.size() <= shown.size() || head.size() == trusted.size();
            if is_readable || !choice.unreadable() {
                return Ok(head);
            }
        }
    }

    /// Whether a peer of its circle serves a tree's tiles to a node.
    fn is_served(&mut self, now: Millis, node: u32, tree: PackedHead) -> bool {
        let environment = self.environment;
        environment.peers_of(node).iter().any(|peer| self.serves_tiles(now, *peer, node, tree))
    }

    /// The size that every peer confirmed in the latest roll (`Round::common_size`).
    fn common_size(&mut self, head: PackedHead) -> Option<u32> {
        let DecisionBuffers { latest, confirmations: standings, .. } = &mut self.buffers;
        fill_confirmations(latest, standings, head, self.split, None);
        let size = || latest.iter().map(|entry| entry.head.size()).min();
        (verdict(standings, None) == Verdict::Settling).then(size).flatten()
    }

    /// The releases in a tree that are newer than the installed one, newest first.
    fn list_candidates(&mut self, now: Millis, node: u32, head: PackedHead) {
        let environment = self.environment;
        let client = &self.clients[node as usize];
        let floor = client.installed_sequence;
        let candidates = &mut self.buffers.candidates;
        candidates.clear();
        let honest = if head.chain() == 1 { self.split } else { head.size() };
        // The n-th release is newer than the installed one from half its sequence on.
        let released = (u64::from(floor / 2)..environment.releases_until(now)).rev();
        let released = released.map(|n| environment.release_index(n));
        let released = released.filter(|index| *index < honest);
        candidates.extend(released.map(|index| ReleaseCandidate { index, chain: 0 }));
        let trojan = environment.trojan().map(|(index, chain)| ReleaseCandidate { index, chain });
        let held =
            |trojan: &ReleaseCandidate| trojan.chain == head.chain() && trojan.index < head.size();
        if let Some(trojan) = trojan.filter(held)
            && environment.trojan_sequence() > floor
            && !client.knows_withdrawal
        {
            // Where a release is in a chain, its sequence is among the others'.
            let newer = |release: &ReleaseCandidate| release.index > trojan.index;
            let place = candidates.iter().take_while(|release| newer(release)).count();
            candidates.insert(place, trojan);
        }
    }

    /// Keeps the latest roll and earlier ones as far as each is the first to cover a candidate
    /// (`SimulatedClient::adopt`).
    fn keep_rounds(&mut self, now: Millis, node: u32, head: PackedHead) {
        let (client, split) = (&mut self.clients[node as usize], self.split);
        let DecisionBuffers { latest, candidates, .. } = &self.buffers;
        if candidates.is_empty() && !client.kept_rounds.is_some() {
            return;
        }
        let rolls =
            self.kept_rounds.iter(client.kept_rounds).map(|(_, views)| views).chain([&latest[..]]);
        let sizes: Vec<u32> = rolls.map(|views| covered_size(views, head, split)).collect();
        let needed = |position: usize| {
            let is_first = |release: &ReleaseCandidate| {
                sizes.iter().position(|size| *size > release.index) == Some(position)
            };
            candidates.iter().any(is_first)
        };
        client.kept_rounds =
            self.kept_rounds.keep(client.kept_rounds, whole_seconds(now), latest, needed);
    }

    /// The newest candidate that every peer confirms, now and `settle` ago (`LoggedRelease::confirm`); if
    /// there is none, how it stands with the newest.
    fn choose_release(&mut self, now: Millis, node: u32, head: PackedHead) -> CycleResult {
        let (at, split) = (i64::from(whole_seconds(now)), self.split);
        let settle = i64::from(whole_seconds(self.environment.scenario.settle));
        let kept = self.clients[node as usize].kept_rounds;
        let DecisionBuffers {
            latest,
            confirmations: standings,
            earlier_confirmations: settled,
            candidates,
            ..
        } = &mut self.buffers;
        let mut newest = None;
        for ReleaseCandidate { index, chain } in candidates.iter().copied() {
            fill_confirmations(latest, standings, head, split, Some(index));
            let earliest = self
                .kept_rounds
                .iter(kept)
                .find(|(_, views)| covered_size(views, head, split) > index);
            let earlier = earliest.filter(|(then, before)| {
                let each = |(before, now): (&AnsweredHead, &AnsweredHead)| {
                    i64::from(before.signed) + settle <= i64::from(now.signed)
                };
                i64::from(*then) + settle <= at && before.iter().zip(latest.iter()).all(each)
            });
            let earlier = earlier.map(|(_, views)| {
                fill_confirmations(views, settled, head, split, Some(index));
                &settled[..]
            });
            let cycle = match verdict(standings, earlier) {
                Verdict::Unanimous => return CycleResult::Installed { index, chain },
                Verdict::Settling => CycleResult::Settling,
                Verdict::Incomplete => CycleResult::Incomplete,
            };
            newest.get_or_insert(cycle);
        }
        newest.unwrap_or(CycleResult::UpToDate)
    }

    /// Whether what is installed is known to be taken back (`Catalog::check_not_withdrawn`).
    fn runs_withdrawn_release(&self, node: u32) -> bool {
        let client = &self.clients[node as usize];
        client.knows_withdrawal && client.installed_sequence == self.environment.trojan_sequence()
    }

    /// From now on nothing of a lower sequence is a candidate.
    pub(super) fn record_install(&mut self, node: u32, index: u32, chain: u8) {
        let environment = self.environment;
        let floor = &mut self.clients[node as usize].installed_sequence;
        if environment.is_trojan(index, chain) {
            *floor = environment.trojan_sequence();
            return;
        }
        let mut release = u64::from(*floor / 2);
        while environment.release_index(release) < index {
            release += 1;
        }
        *floor = environment.release_sequence(release);
    }
}

/// What each view of a roll is worth once heads are joined (`Round::confirmations`): in general, or for
/// the release at an index.
fn fill_confirmations(
    views: &[AnsweredHead],
    standings: &mut Vec<Confirmation>,
    head: PackedHead,
    split: u32,
    index: Option<u32>,
) {
    standings.clear();
    standings.extend(views.iter().map(|AnsweredHead { head: tree, .. }| {
        if tree.is_none() {
            Confirmation::NoValidAnswer
        } else if !head.contains(*tree, split) {
            Confirmation::Unproven
        } else if index.is_some_and(|index| tree.size() <= index) {
            Confirmation::Behind
        } else {
            Confirmation::Confirmed
        }
    }));
}

/// The size that every view of a roll covers; 0 if one is not joined.
fn covered_size(views: &[AnsweredHead], head: PackedHead, split: u32) -> u32 {
    let size =
        |entry: &AnsweredHead| if head.contains(entry.head, split) { entry.head.size() } else { 0 };
    views.iter().map(size).min().unwrap_or(0)
}
