//! The releases of our product among a log's entries, what was taken back of them, and the choice
//! between the rest.

use std::collections::{BTreeMap, BTreeSet};

use crate::note::Note;
use crate::pipeline::{LogEntry, SignedRelease};
use crate::policy::Policy;
use crate::{Manifest, Refusal, Timestamp};

/// Our product's releases by sequence, as read from the log in index order.
///
/// Holds only what a threshold of publishers signed; what time and the installed version say of it
/// is decided at each [`Catalog::select_candidates`].
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Distinct texts only, each at its first index. Two of one sequence are a conflict.
    releases: BTreeMap<u64, Vec<LogEntry>>,
    /// What its publishers took back, by sequence: where they first did, and why.
    withdrawn: BTreeMap<u64, (LogEntry, String)>,
    /// The newest entry of ours in a format that this version cannot read, and its first line.
    outdated: Option<(String, LogEntry)>,
}

/// What one entry turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A release of ours, or that one is taken back: kept.
    Ours,
    /// Somebody else's release, or not a note of ours at all.
    Foreign,
    /// A kind of note that this version does not know; skipped and counted.
    UnknownKind,
    /// It claims to be ours and fails a check; skipped and reported.
    Refused(Refusal),
}

/// What could be installed now, best first, and what was refused, by log index.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Valid releases newer than the installed one, highest sequence first.
    pub candidates: Vec<SignedRelease>,
    /// Releases of ours that a check refuses.
    pub refused: Vec<(u64, Refusal)>,
}

impl Catalog {
    /// Reads the entry at `index`. Rubbish in the log blocks nobody.
    pub fn add_entry(&mut self, index: u64, entry: &[u8], policy: &Policy) -> Reading {
        let Ok(note) = Note::parse(entry) else { return Reading::Foreign };
        let header = note.text().lines().next().unwrap_or_default();
        match kind_and_version(header) {
            Some(("manifest", 1)) => self.read_manifest(index, note, policy),
            Some(("withdrawal", 1)) => self.read_withdrawal(index, note, policy),
            Some(("manifest" | "withdrawal", _))
                if names_our_product(&note, policy) && policy.verify_threshold(&note).is_ok() =>
            {
                let header: String = header.chars().take(80).collect();
                self.outdated = Some((header.clone(), LogEntry { index, note }));
                Reading::Refused(Refusal::UnsupportedFormat { index, header })
            }
            Some(_) => Reading::UnknownKind,
            None => Reading::Foreign,
        }
    }

    fn read_manifest(&mut self, index: u64, note: Note, policy: &Policy) -> Reading {
        if !names_our_product(&note, policy) {
            return Reading::Foreign;
        }
        match policy.verify_manifest(&note) {
            Err(refusal) => Reading::Refused(refusal),
            Ok(manifest) => {
                let twins = self.releases.entry(manifest.sequence).or_default();
                if !twins.iter().any(|twin| twin.note.text() == note.text()) {
                    twins.push(LogEntry { index, note });
                }
                Reading::Ours
            }
        }
    }

    fn read_withdrawal(&mut self, index: u64, note: Note, policy: &Policy) -> Reading {
        if !names_our_product(&note, policy) {
            return Reading::Foreign;
        }
        match policy.verify_withdrawal(&note) {
            Err(refusal) => Reading::Refused(refusal),
            Ok(withdrawal) => {
                let first = (LogEntry { index, note }, withdrawal.reason);
                self.withdrawn.entry(withdrawal.sequence).or_insert(first);
                Reading::Ours
            }
        }
    }

    /// Whether nothing of our product was ever read.
    pub fn is_empty(&self) -> bool {
        self.releases.is_empty() && self.withdrawn.is_empty() && self.outdated.is_none()
    }

    /// Every release that was taken back, by sequence.
    pub fn withdrawn(&self) -> BTreeSet<u64> {
        self.withdrawn.keys().copied().collect()
    }

    /// Takes over from another what was taken back, and says whether any of it was new. That is the
    /// publishers' own word: wherever in the log it was read, and whoever has seen it besides.
    pub fn merge_withdrawals(&mut self, other: &Catalog) -> bool {
        let known = self.withdrawn.len();
        for (sequence, first) in &other.withdrawn {
            self.withdrawn.entry(*sequence).or_insert_with(|| first.clone());
        }
        self.withdrawn.len() > known
    }

    /// Refuses what was taken back; `installed` says whether that is what is installed.
    pub fn check_not_withdrawn(&self, release: &str, installed: bool) -> Result<(), Refusal> {
        let sequence = Manifest::sequence_from_label(release).unwrap_or_default();
        match self.withdrawn.get(&sequence) {
            None => Ok(()),
            Some((LogEntry { index, .. }, reason)) => Err(Refusal::Withdrawn {
                release: release.to_owned(),
                index: *index,
                reason: reason.clone(),
                installed,
            }),
        }
    }

    /// Every release newer than `floor` (the installed sequence) that is valid at `now`.
    pub fn select_candidates(&self, policy: &Policy, floor: u64, now: Timestamp) -> Choice {
        let mut choice = Choice::default();
        for (&sequence, twins) in self.releases.iter().rev() {
            match &twins[..] {
                [only] => match self.check_candidate(only, policy, floor, now) {
                    Ok(signed) => choice.candidates.push(signed),
                    // The installed release itself is in the log too.
                    Err(Refusal::SequenceRollback { .. }) if sequence == floor => {}
                    // Taken back after it was read, that is news.
                    Err(Refusal::Withdrawn { index, release, reason, installed }) => {
                        let at = only.index.max(index);
                        let why = Refusal::Withdrawn { index, release, reason, installed };
                        choice.refused.push((at, why));
                    }
                    Err(refusal) => choice.refused.push((only.index, refusal)),
                },
                [first, .., second] => {
                    let (first, second) = (first.index, second.index);
                    choice
                        .refused
                        .push((second, Refusal::DuplicateSequence { sequence, first, second }));
                }
                [] => {}
            }
        }
        // It stands until a release that was logged after it is installed.
        let installed = self.releases.get(&floor).into_iter().flatten();
        let superseded =
            installed.map(|only| only.index).any(|index| index > self.outdated_index());
        let outdated = self.outdated().filter(|_| !superseded);
        choice.refused.extend(outdated.map(|refusal| (self.outdated_index(), refusal)));
        choice.refused.sort_by_key(|(index, _)| *index);
        choice
    }

    fn check_candidate(
        &self,
        fetched: &LogEntry,
        policy: &Policy,
        floor: u64,
        now: Timestamp,
    ) -> Result<SignedRelease, Refusal> {
        // Written before its publisher moved on to a format that we cannot read: it may say "not this one".
        if let Some(refusal) = self.outdated().filter(|_| fetched.index < self.outdated_index()) {
            return Err(refusal);
        }
        let signed = SignedRelease::verify(fetched.clone(), policy, floor, now)?;
        self.check_not_withdrawn(&signed.manifest().label(), false)?;
        Ok(signed)
    }

    fn outdated(&self) -> Option<Refusal> {
        let (header, fetched) = self.outdated.clone()?;
        Some(Refusal::UnsupportedFormat { index: fetched.index, header })
    }

    fn outdated_index(&self) -> u64 {
        self.outdated.as_ref().map_or(0, |(_, fetched)| fetched.index)
    }

    /// Forgets releases older than `floor`: they can neither install nor conflict any more. What was
    /// taken back is not forgotten: a node may go back to older ones.
    pub fn remove_below(&mut self, floor: u64) {
        self.releases.retain(|&sequence, _| sequence >= floor);
    }

    /// The entries worth keeping, for [`Catalog::add_entry`] to read again, by index.
    pub fn entries(&self) -> Vec<LogEntry> {
        let mut entries: Vec<LogEntry> = self.releases.values().flatten().cloned().collect();
        entries.extend(self.withdrawn.values().map(|(fetched, _)| fetched.clone()));
        entries.extend(self.outdated.iter().map(|(_, fetched)| fetched.clone()));
        entries.sort_by_key(|fetched| fetched.index);
        entries
    }
}

/// `unanimity/KIND/vN` as kind and number.
fn kind_and_version(header: &str) -> Option<(&str, u64)> {
    let (kind, version) = header.strip_prefix("unanimity/")?.split_once("/v")?;
    Some((kind, crate::encoding::decimal(version)?))
}

/// Whether a text says that it is of our product and channel, even if the rest of it is broken.
fn names_our_product(note: &Note, policy: &Policy) -> bool {
    let says = |word: &str, name: &str| {
        note.text().lines().any(|line| line.strip_prefix(word) == Some(name))
    };
    says("product ", policy.product.as_str()) && says("channel ", policy.channel.as_str())
}
