//! What a closed roll amounts to, as `Client::decide` finds it.

use unanimity_protocol::Timestamp;
use unanimity_protocol::decision::confirmation::{Confirmation, Verdict, verdict};
use unanimity_protocol::decision::head_choice::{ChoiceStep, HeadChoice};

use super::answer::{Answer, seconds};
use super::calls::Id;
use super::kept::Entry;
use super::model::Population;
use super::scratch::{Release, Scratch};
use super::tree::{Fork, Tree};
use crate::Millis;
use crate::environment::EPOCH;
use crate::trace::{Cycle, Witness};

impl<W: Witness> Population<'_, W> {
    pub(super) fn decide(&mut self, now: Millis, node: u32, id: Id) -> Cycle {
        if self.calls.slots(id).iter().any(|slot| slot.answer == Some(Answer::Evidence)) {
            return Cycle::Fork;
        }
        self.admit(now, node, id);
        let up = self.shown(now, node);
        let Ok(head) = self.join(now, node, id, up.unwrap_or(Tree::NONE)) else {
            return Cycle::Fork;
        };
        let trusted = self.clients[node as usize].trusted;
        if up.is_some_and(|shown| shown.size() < trusted.size().max(head.size())) {
            return Cycle::Stale;
        }
        // Without a mirror, only what was read before can be read: nothing but the trusted head.
        if head.is_none() || up.is_none() && head != trusted {
            return Cycle::Undecided;
        }
        self.clients[node as usize].withdrawn |= self.environment.is_withdrawn(head.size());
        // From here on the mirror's head is the one adopted, or the trusted one if it is down, and
        // all others heard of are prefixes of it, but for those that nobody serves.
        let Some(common) = self.common_size(head) else { return Cycle::Incomplete };
        if common >= trusted.size() {
            self.clients[node as usize].trusted = head.prefix(common, self.split);
        }
        self.list_candidates(now, node, head);
        self.keep_rolls(now, node, head);
        match self.choose(now, node, head) {
            // The artifact cannot be fetched, and is asked for again in the next cycle.
            Cycle::Installed { .. } if up.is_none() => Cycle::Undecided,
            Cycle::Installed { index, chain } => Cycle::Installed { index, chain },
            _ if self.runs_what_was_withdrawn(node) => Cycle::Withdrawn,
            cycle => cycle,
        }
    }

    /// Which answers count ([`RoundLimits::check`](unanimity_protocol::decision::admission::RoundLimits::check)),
    /// and the largest tree that each peer ever showed.
    fn admit(&mut self, now: Millis, node: u32, id: Id) {
        let slots = self.calls.slots(id);
        let began = self.calls.get(id).began;
        let largest = &mut self.largest[node as usize * slots.len()..][..slots.len()];
        let latest = &mut self.scratch.latest;
        latest.clear();
        for (slot, largest) in slots.iter().zip(largest) {
            let mut entry = Entry { tree: Tree::NONE, signed: slot.signed };
            if let Some(Answer::View(tree)) = slot.answer {
                let signed_at = Timestamp(EPOCH.saturating_add_signed(slot.signed.into()));
                let counts = |at: Millis| {
                    let at = Timestamp(EPOCH + at / 1000);
                    let (size, before) = (tree.size().into(), largest.size().into());
                    self.limits.check(signed_at, size, at, before).is_ok()
                };
                // When it came, and still when the roll closes, as the client asks.
                if counts(began + Millis::from(slot.came)) && counts(now) {
                    entry.tree = tree;
                }
                if tree.size() > largest.size() {
                    *largest = tree;
                }
            }
            latest.push(entry);
        }
    }

    /// The head that is adopted, as `Client::decide` has it chosen by [`HeadChoice`]: at least as large
    /// as the mirror's. A mirror that is down shows none, and if nobody serves any head, the result is none.
    fn join(&mut self, now: Millis, node: u32, id: Id, shown: Tree) -> Result<Tree, Fork> {
        let circle = self.environment.circle(node);
        let client = self.clients[node as usize];
        let largest = &self.largest[node as usize * circle.len()..][..circle.len()];
        let answers = self.calls.slots(id).iter().filter_map(|slot| match slot.answer {
            Some(Answer::View(tree)) => Some(tree),
            _ => None,
        });
        let kept = self.kept.iter(client.kept).flat_map(|(_, views)| views).map(|view| view.tree);
        let heard = || {
            let remembered = [client.trusted].into_iter().chain(largest.iter().copied());
            remembered.chain(kept.clone()).chain(answers.clone()).filter(|tree| !tree.is_none())
        };
        // The largest, served, and it holds all: the choice would end with the first head it tries.
        if heard().all(|tree| shown.holds(tree, self.split)) {
            return Ok(shown);
        }

        // Lists of their own while the choice works in them.
        let mut heads = std::mem::take(&mut self.scratch.heads);
        let mut views = std::mem::take(&mut self.scratch.views);
        let there = |tree: &Tree| !tree.is_none();
        heads.clear();
        heads.extend(heard().chain([shown].into_iter().filter(there)));
        views.clear();
        views.extend(kept.chain(self.scratch.latest.iter().map(|view| view.tree)).filter(there));
        let trusted = [client.trusted];
        let trusted = if client.trusted.is_none() { &[][..] } else { &trusted };
        let choice = HeadChoice::new(&mut heads, trusted, &views);
        let joined = self.choose_head(now, node, shown, choice);
        (self.scratch.heads, self.scratch.views) = (heads, views);
        joined
    }

    /// Tells a choice what hosts serve to a node, whose mirror shows a tree or none.
    fn choose_head(
        &mut self,
        now: Millis,
        node: u32,
        shown: Tree,
        mut choice: HeadChoice<'_, Tree>,
    ) -> Result<Tree, Fork> {
        let (split, trusted) = (self.split, self.clients[node as usize].trusted);
        loop {
            let head = match choice.step() {
                ChoiceStep::Try(trial) => {
                    let head = *trial.head();
                    let older = trial.smaller();
                    if !shown.holds(head, split) && !self.is_served(now, node, head) {
                        trial.unserved();
                    } else if older.iter().any(|tree| !head.is_consistent_with(*tree, split)) {
                        trial.fork(Fork);
                    } else {
                        trial.served(|tree| head.holds(*tree, split));
                    }
                    continue;
                }
                ChoiceStep::Chosen(head) => *head,
                ChoiceStep::NoneServed => return Ok(Tree::NONE),
                ChoiceStep::Fork(Fork) => return Err(Fork),
            };
            // Entries are read from the mirror, or were read before.
            let is_readable = head.size() <= shown.size() || head.size() == trusted.size();
            if is_readable || !choice.unreadable() {
                return Ok(head);
            }
        }
    }

    /// Whether a peer of its circle serves a tree's tiles to a node.
    fn is_served(&mut self, now: Millis, node: u32, tree: Tree) -> bool {
        let environment = self.environment;
        environment.circle(node).iter().any(|peer| self.serves(now, *peer, node, tree))
    }

    /// The size that every peer confirmed in the latest roll (`Round::common_size`).
    fn common_size(&mut self, head: Tree) -> Option<u32> {
        let Scratch { latest, standings, .. } = &mut self.scratch;
        stand(latest, standings, head, self.split, None);
        let size = || latest.iter().map(|entry| entry.tree.size()).min();
        (verdict(standings, None) == Verdict::Settling).then(size).flatten()
    }

    /// The releases in a tree that are newer than the installed one, newest first.
    fn list_candidates(&mut self, now: Millis, node: u32, head: Tree) {
        let environment = self.environment;
        let client = &self.clients[node as usize];
        let floor = client.floor;
        let candidates = &mut self.scratch.candidates;
        candidates.clear();
        let honest = if head.chain() == 1 { self.split } else { head.size() };
        // The n-th release is newer than the installed one from half its sequence on.
        let released = (u64::from(floor / 2)..environment.releases_until(now)).rev();
        let released = released.map(|n| environment.release_index(n));
        let released = released.filter(|index| *index < honest);
        candidates.extend(released.map(|index| Release { index, chain: 0 }));
        let trojan = environment.trojan().map(|(index, chain)| Release { index, chain });
        let held = |trojan: &Release| trojan.chain == head.chain() && trojan.index < head.size();
        if let Some(trojan) = trojan.filter(held)
            && environment.trojan_sequence() > floor
            && !client.withdrawn
        {
            // Where a release is in a chain, its sequence is among the others'.
            let newer = |release: &Release| release.index > trojan.index;
            let place = candidates.iter().take_while(|release| newer(release)).count();
            candidates.insert(place, trojan);
        }
    }

    /// Keeps the latest roll and earlier ones as far as each is the first to cover a candidate
    /// (`Client::adopt`).
    fn keep_rolls(&mut self, now: Millis, node: u32, head: Tree) {
        let (client, split) = (&mut self.clients[node as usize], self.split);
        let Scratch { latest, candidates, .. } = &self.scratch;
        if candidates.is_empty() && !client.kept.is_some() {
            return;
        }
        let rolls = self.kept.iter(client.kept).map(|(_, views)| views).chain([&latest[..]]);
        let sizes: Vec<u32> = rolls.map(|views| covered(views, head, split)).collect();
        let needed = |position: usize| {
            let is_first = |release: &Release| {
                sizes.iter().position(|size| *size > release.index) == Some(position)
            };
            candidates.iter().any(is_first)
        };
        client.kept = self.kept.keep(client.kept, seconds(now), latest, needed);
    }

    /// The newest candidate that every peer confirms, now and `settle` ago (`LoggedRelease::confirm`); if
    /// there is none, how it stands with the newest.
    fn choose(&mut self, now: Millis, node: u32, head: Tree) -> Cycle {
        let (at, split) = (i64::from(seconds(now)), self.split);
        let settle = i64::from(seconds(self.environment.scenario.settle));
        let kept = self.clients[node as usize].kept;
        let Scratch { latest, standings, settled, candidates, .. } = &mut self.scratch;
        let mut newest = None;
        for Release { index, chain } in candidates.iter().copied() {
            stand(latest, standings, head, split, Some(index));
            let earliest =
                self.kept.iter(kept).find(|(_, views)| covered(views, head, split) > index);
            let earlier = earliest.filter(|(then, before)| {
                let each = |(before, now): (&Entry, &Entry)| {
                    i64::from(before.signed) + settle <= i64::from(now.signed)
                };
                i64::from(*then) + settle <= at && before.iter().zip(latest.iter()).all(each)
            });
            let earlier = earlier.map(|(_, views)| {
                stand(views, settled, head, split, Some(index));
                &settled[..]
            });
            let cycle = match verdict(standings, earlier) {
                Verdict::Unanimous => return Cycle::Installed { index, chain },
                Verdict::Settling => Cycle::Settling,
                Verdict::Incomplete => Cycle::Incomplete,
            };
            newest.get_or_insert(cycle);
        }
        newest.unwrap_or(Cycle::UpToDate)
    }

    /// Whether what is installed is known to be taken back (`Catalog::check_not_withdrawn`).
    fn runs_what_was_withdrawn(&self, node: u32) -> bool {
        let client = &self.clients[node as usize];
        client.withdrawn && client.floor == self.environment.trojan_sequence()
    }

    /// From now on nothing of a lower sequence is a candidate.
    pub(super) fn install(&mut self, node: u32, index: u32, chain: u8) {
        let environment = self.environment;
        let floor = &mut self.clients[node as usize].floor;
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
fn stand(
    views: &[Entry],
    standings: &mut Vec<Confirmation>,
    head: Tree,
    split: u32,
    index: Option<u32>,
) {
    standings.clear();
    standings.extend(views.iter().map(|Entry { tree, .. }| {
        if tree.is_none() {
            Confirmation::NoValidAnswer
        } else if !head.holds(*tree, split) {
            Confirmation::Unproven
        } else if index.is_some_and(|index| tree.size() <= index) {
            Confirmation::Behind
        } else {
            Confirmation::Confirmed
        }
    }));
}

/// The size that every view of a roll covers; 0 if one is not joined.
fn covered(views: &[Entry], head: Tree, split: u32) -> u32 {
    let size = |entry: &Entry| if head.holds(entry.tree, split) { entry.tree.size() } else { 0 };
    views.iter().map(size).min().unwrap_or(0)
}
