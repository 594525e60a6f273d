//! The releases and withdrawals of one product in a log, and the choice of the releases that may
//! install.

use std::collections::{BTreeMap, BTreeSet};

use crate::note::Note;
use crate::pipeline::{LogEntry, SignedRelease};
use crate::policy::Policy;
use crate::{Manifest, Refusal, Timestamp};

/// The releases and withdrawals of the policy's product, as read from the log in index order.
///
/// A catalog holds only statements that a threshold of publisher keys signed. It holds expired and
/// old releases, too: only [`Catalog::select_candidates`] compares with the time and the floor.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The releases by sequence. Of entries with equal texts, only the first is kept. Two different
    /// texts with one sequence are a conflict.
    releases: BTreeMap<u64, Vec<LogEntry>>,
    /// The first withdrawal of each sequence, and its reason.
    withdrawn: BTreeMap<u64, (LogEntry, String)>,
    /// The first line and the entry of the newest statement in an unsupported format.
    outdated: Option<(String, LogEntry)>,
}

/// The result of reading one log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A release or withdrawal of the policy's product with enough signatures. The catalog holds
    /// its text.
    Ours,
    /// A statement about another product or channel, or an entry that is no `unanimity/` statement.
    Foreign,
    /// A statement of a kind or format that this version does not know. The client skips and counts
    /// it.
    ///
    /// A manifest or withdrawal in an unsupported format is [`Reading::Refused`] instead if it
    /// names the policy's product and has enough signatures.
    UnknownKind,
    /// A statement that names the policy's product and fails a check. The client reports it.
    Refused(Refusal),
}

/// The releases that may install now, and the refusals.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The valid releases above the floor (the highest sequence that proved good here), highest
    /// sequence first.
    pub candidates: Vec<SignedRelease>,
    /// The refusals of the policy's product, in ascending order of their log index.
    ///
    /// The index is that of the refused release, of a later entry that withdraws it or conflicts
    /// with it, or of a statement in an unsupported format.
    pub refused: Vec<(u64, Refusal)>,
}

impl Catalog {
    /// Reads the entry at `index`. An entry without enough publisher signatures blocks no release.
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
                let entries = self.releases.entry(manifest.sequence).or_default();
                if !entries.iter().any(|entry| entry.note.text() == note.text()) {
                    entries.push(LogEntry { index, note });
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

    /// Whether the catalog holds no statement.
    pub fn is_empty(&self) -> bool {
        self.releases.is_empty() && self.withdrawn.is_empty() && self.outdated.is_none()
    }

    /// The sequences that the withdrawals in the catalog name.
    pub fn withdrawn(&self) -> BTreeSet<u64> {
        self.withdrawn.keys().copied().collect()
    }

    /// Adds the withdrawals of another catalog. Returns whether any withdrawn sequence was new.
    ///
    /// A withdrawal counts by its publishers' signatures alone, so its log index does not matter.
    pub fn merge_withdrawals(&mut self, other: &Catalog) -> bool {
        let before = self.withdrawn.len();
        for (sequence, first) in &other.withdrawn {
            self.withdrawn.entry(*sequence).or_insert_with(|| first.clone());
        }
        self.withdrawn.len() > before
    }

    /// Checks that a release, given as `SEQUENCE-VERSION`, is not withdrawn. Any other text passes.
    ///
    /// `installed` says whether the release is the installed one. The check ignores this value, and
    /// the refusal contains it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Withdrawn`] with the index and reason of the first withdrawal.
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

    /// Selects every release with a sequence above `floor` that is valid at `now`.
    ///
    /// `floor` is the highest sequence that proved good here.
    pub fn select_candidates(&self, policy: &Policy, floor: u64, now: Timestamp) -> Choice {
        let mut choice = Choice::default();
        for (&sequence, entries) in self.releases.iter().rev() {
            match &entries[..] {
                [only] => match self.check_candidate(only, policy, floor, now) {
                    Ok(signed) => choice.candidates.push(signed),
                    // The release that set the floor is in the log, too.
                    Err(Refusal::SequenceRollback { .. }) if sequence == floor => {}
                    // The refusal gets the later index, so that a client reports it as new.
                    Err(Refusal::Withdrawn { index, release, reason, installed }) => {
                        let at = only.index.max(index);
                        let refusal = Refusal::Withdrawn { index, release, reason, installed };
                        choice.refused.push((at, refusal));
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
        // An unsupported entry is reported until a release that was logged after it sets the floor.
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
        entry: &LogEntry,
        policy: &Policy,
        floor: u64,
        now: Timestamp,
    ) -> Result<SignedRelease, Refusal> {
        // A later entry in an unsupported format may withdraw this release.
        if let Some(refusal) = self.outdated().filter(|_| entry.index < self.outdated_index()) {
            return Err(refusal);
        }
        let signed = SignedRelease::verify(entry.clone(), policy, floor, now)?;
        self.check_not_withdrawn(&signed.manifest().label(), false)?;
        Ok(signed)
    }

    fn outdated(&self) -> Option<Refusal> {
        let (header, entry) = self.outdated.clone()?;
        Some(Refusal::UnsupportedFormat { index: entry.index, header })
    }

    fn outdated_index(&self) -> u64 {
        self.outdated.as_ref().map_or(0, |(_, entry)| entry.index)
    }

    /// Removes releases below the sequence `floor`. They can neither install nor conflict any more.
    ///
    /// Withdrawals stay, because an installer may go back to an older release.
    pub fn remove_below(&mut self, floor: u64) {
        self.releases.retain(|&sequence, _| sequence >= floor);
    }

    /// The entries that the catalog holds, ordered by index. Reading them with
    /// [`Catalog::add_entry`] rebuilds the catalog.
    pub fn entries(&self) -> Vec<LogEntry> {
        let mut entries: Vec<LogEntry> = self.releases.values().flatten().cloned().collect();
        entries.extend(self.withdrawn.values().map(|(entry, _)| entry.clone()));
        entries.extend(self.outdated.iter().map(|(_, entry)| entry.clone()));
        entries.sort_by_key(|entry| entry.index);
        entries
    }
}

/// Splits `unanimity/KIND/vN` into KIND and N.
fn kind_and_version(header: &str) -> Option<(&str, u64)> {
    let (kind, version) = header.strip_prefix("unanimity/")?.split_once("/v")?;
    Some((kind, crate::encoding::decimal(version)?))
}

/// Whether a note has the `product` and `channel` lines of the policy, even if the rest is
/// malformed.
fn names_our_product(note: &Note, policy: &Policy) -> bool {
    let has_line = |word: &str, name: &str| {
        note.text().lines().any(|line| line.strip_prefix(word) == Some(name))
    };
    has_line("product ", policy.product.as_str()) && has_line("channel ", policy.channel.as_str())
}
