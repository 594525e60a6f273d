//! The decision of a cycle once its round has closed, modelled on `decide` of `unanimity_client`.

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
        // Without a mirror, a client can read only the entries up to the trusted head, which it
        // read before.
        if head.is_none() || up.is_none() && head != trusted {
            return CycleResult::Undecided;
        }
        self.clients[node as usize].knows_withdrawal |= self.environment.is_withdrawn(head.size());
        // From here on, the adopted head is the mirror's, or the trusted head if the mirror is
        // down. All other known heads are prefixes of it, except those that no host serves.
        let Some(common) = self.common_size(head) else { return CycleResult::Incomplete };
        if common >= trusted.size() {
            self.clients[node as usize].trusted = head.prefix(common, self.split);
        }
        self.list_candidates(now, node, head);
        self.keep_rounds(now, node, head);
        match self.choose_release(now, node, head) {
            // While the mirror is down, the artifact cannot be downloaded. The next cycle tries
            // again.
            CycleResult::Installed { .. } if up.is_none() => CycleResult::Undecided,
            CycleResult::Installed { index, chain } => CycleResult::Installed { index, chain },
            _ if self.runs_withdrawn_release(node) => CycleResult::Withdrawn,
            cycle => cycle,
        }
    }

    /// Decides which answers count
    /// ([`RoundLimits::check`](unanimity_protocol::decision::admission::RoundLimits::check)), and
    /// updates the largest head that each peer ever showed this client.
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
                // The client checks the age when the answer arrives, and again when the round
                // closes.
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

    /// The head that the client adopts, chosen by [`HeadChoice`] as in `unanimity_client`. `shown`
    /// is the mirror's head, or [`PackedHead::NONE`] while the mirror is down. The result is at
    /// least as large as `shown`, and [`PackedHead::NONE`] if no host serves any known head.
    fn adopt_head(
        &mut self,
        now: Millis,
        node: u32,
        id: ActiveRoundId,
        shown: PackedHead,
    ) -> Result<PackedHead, ForkEvidence> {
        let peers = self.environment.peers_of(node);
        let client = self.clients[node as usize];
        let largest = &self.largest[node as usize * peers.len()..][..peers.len()];
        let answers = self.active_rounds.slots(id).iter().filter_map(|slot| match slot.answer {
            Some(PeerAnswer::Head(tree)) => Some(tree),
            _ => None,
        });
        let kept = self
            .kept_rounds
            .iter(client.kept_rounds)
            .flat_map(|(_, answers)| answers)
            .map(|answer| answer.head);
        let known_heads = || {
            let remembered = [client.trusted].into_iter().chain(largest.iter().copied());
            remembered.chain(kept.clone()).chain(answers.clone()).filter(|tree| !tree.is_none())
        };
        // Fast path: the mirror's head contains all known heads, so the choice would end with that
        // head at once.
        if known_heads().all(|tree| shown.contains(tree, self.split)) {
            return Ok(shown);
        }

        // The buffers are taken out of `self` while the choice borrows them.
        let mut heads = std::mem::take(&mut self.buffers.heads);
        let mut peer_heads = std::mem::take(&mut self.buffers.peer_heads);
        let is_some = |tree: &PackedHead| !tree.is_none();
        heads.clear();
        heads.extend(known_heads().chain([shown].into_iter().filter(is_some)));
        peer_heads.clear();
        let latest = self.buffers.latest.iter().map(|answer| answer.head);
        peer_heads.extend(kept.chain(latest).filter(is_some));
        let trusted = [client.trusted];
        let trusted = if client.trusted.is_none() { &[][..] } else { &trusted };
        let choice = HeadChoice::new(&mut heads, trusted, &peer_heads);
        let chosen = self.choose_head(now, node, shown, choice);
        (self.buffers.heads, self.buffers.peer_heads) = (heads, peer_heads);
        chosen
    }

    /// Runs the choice of a head with the tiles and entries that the mirror and the peers serve to
    /// a node. `shown` is the mirror's head, or [`PackedHead::NONE`] while the mirror is down.
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
            // Entries come from the mirror, or were read in an earlier cycle.
            let is_readable = head.size() <= shown.size() || head.size() == trusted.size();
            if is_readable || !choice.unreadable() {
                return Ok(head);
            }
        }
    }

    /// Whether one of a node's peers serves it the tiles of a tree.
    fn is_served(&mut self, now: Millis, node: u32, tree: PackedHead) -> bool {
        let environment = self.environment;
        environment.peers_of(node).iter().any(|peer| self.serves_tiles(now, *peer, node, tree))
    }

    /// The largest size that every peer confirmed in the latest round (`Round::common_size`);
    /// `None` if a peer gave no valid answer, or its head is not a prefix of `head`.
    fn common_size(&mut self, head: PackedHead) -> Option<u32> {
        let DecisionBuffers { latest, confirmations, .. } = &mut self.buffers;
        fill_confirmations(latest, confirmations, head, self.split, None);
        let size = || latest.iter().map(|entry| entry.head.size()).min();
        (verdict(confirmations, None) == Verdict::Settling).then(size).flatten()
    }

    /// Lists the releases in a tree that are newer than the installed release, newest first. A
    /// trojan whose withdrawal the client has read is left out.
    fn list_candidates(&mut self, now: Millis, node: u32, head: PackedHead) {
        let environment = self.environment;
        let client = &self.clients[node as usize];
        let floor = client.installed_sequence;
        let candidates = &mut self.buffers.candidates;
        candidates.clear();
        let honest = if head.chain() == 1 { self.split } else { head.size() };
        // The n-th release has the sequence 2 (n + 1), so the releases from floor / 2 on are newer.
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
            // Sequences have the order of indices.
            let newer = |release: &ReleaseCandidate| release.index > trojan.index;
            let position = candidates.iter().take_while(|release| newer(release)).count();
            candidates.insert(position, trojan);
        }
    }

    /// Adds the latest round to the kept rounds, and drops every round that is not the first to
    /// cover some candidate (`adopt_head` of `unanimity_client`).
    fn keep_rounds(&mut self, now: Millis, node: u32, head: PackedHead) {
        let (client, split) = (&mut self.clients[node as usize], self.split);
        let DecisionBuffers { latest, candidates, .. } = &self.buffers;
        if candidates.is_empty() && !client.kept_rounds.is_some() {
            return;
        }
        let kept = self.kept_rounds.iter(client.kept_rounds).map(|(_, answers)| answers);
        let rounds = kept.chain([&latest[..]]);
        let sizes: Vec<u32> = rounds.map(|answers| covered_size(answers, head, split)).collect();
        let needed = |position: usize| {
            let is_first = |release: &ReleaseCandidate| {
                sizes.iter().position(|size| *size > release.index) == Some(position)
            };
            candidates.iter().any(is_first)
        };
        client.kept_rounds =
            self.kept_rounds.keep(client.kept_rounds, whole_seconds(now), latest, needed);
    }

    /// Chooses the newest candidate that every peer confirms now and confirmed `settle` ago
    /// (`LoggedRelease::confirm`). Without such a candidate, the result is the verdict on the
    /// newest candidate, or `UpToDate` if there is no candidate.
    fn choose_release(&mut self, now: Millis, node: u32, head: PackedHead) -> CycleResult {
        let (at, split) = (i64::from(whole_seconds(now)), self.split);
        let settle = i64::from(whole_seconds(self.environment.scenario.settle));
        let kept = self.clients[node as usize].kept_rounds;
        let DecisionBuffers { latest, confirmations, earlier_confirmations, candidates, .. } =
            &mut self.buffers;
        let mut newest = None;
        for ReleaseCandidate { index, chain } in candidates.iter().copied() {
            fill_confirmations(latest, confirmations, head, split, Some(index));
            let earliest = self
                .kept_rounds
                .iter(kept)
                .find(|(_, answers)| covered_size(answers, head, split) > index);
            let earlier = earliest.filter(|(then, before)| {
                let each = |(before, now): (&AnsweredHead, &AnsweredHead)| {
                    i64::from(before.signed) + settle <= i64::from(now.signed)
                };
                i64::from(*then) + settle <= at && before.iter().zip(latest.iter()).all(each)
            });
            let earlier = earlier.map(|(_, answers)| {
                fill_confirmations(answers, earlier_confirmations, head, split, Some(index));
                &earlier_confirmations[..]
            });
            let cycle = match verdict(confirmations, earlier) {
                Verdict::Unanimous => return CycleResult::Installed { index, chain },
                Verdict::Settling => CycleResult::Settling,
                Verdict::Incomplete => CycleResult::Incomplete,
            };
            newest.get_or_insert(cycle);
        }
        newest.unwrap_or(CycleResult::UpToDate)
    }

    /// Whether the installed release is known to be withdrawn (`Catalog::check_not_withdrawn`).
    fn runs_withdrawn_release(&self, node: u32) -> bool {
        let client = &self.clients[node as usize];
        client.knows_withdrawal && client.installed_sequence == self.environment.trojan_sequence()
    }

    /// Records an installation. From now on only releases with a higher sequence are candidates.
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

/// Fills in how each answer of a round confirms the adopted head (`Round::confirmations`), or the
/// release at `index`.
fn fill_confirmations(
    answers: &[AnsweredHead],
    confirmations: &mut Vec<Confirmation>,
    head: PackedHead,
    split: u32,
    index: Option<u32>,
) {
    confirmations.clear();
    confirmations.extend(answers.iter().map(|AnsweredHead { head: tree, .. }| {
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

/// The size that every answer of a round covers; 0 if one is not a prefix of `head`.
fn covered_size(answers: &[AnsweredHead], head: PackedHead, split: u32) -> u32 {
    let size =
        |entry: &AnsweredHead| if head.contains(entry.head, split) { entry.head.size() } else { 0 };
    answers.iter().map(size).min().unwrap_or(0)
}
