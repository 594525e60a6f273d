//! Peers files, and the program's edits of a peers file that an operator wrote.
//!
//! After an edit, the file has exactly the peers that the edit implies, and its other text is
//! unchanged. After a failed edit, every byte is unchanged.

use std::fs;
use std::path::PathBuf;

use unanimity_config::{Membership, PeerEntry, PeerList, edit};
use unanimity_protocol::{Name, Timestamp};
use unanimity_storage::Storage;

use crate::keys::NOW;
use crate::{scratch, seeds};

/// Checks one peers file and its edits. The first byte of the input chooses the peer that the edits
/// change.
pub fn check(data: &[u8]) {
    let Some((&which, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(peers) = PeerList::parse(text) else { return };
    let entries = peers.entries();
    assert_eq!(PeerList::new(entries.to_vec(), peers.min_peers()).as_ref(), Ok(&peers));
    if let Ok(counted) = peers.counted_peers(NOW) {
        assert!(counted.iter().count() >= peers.min_peers());
    }
    let file = File { path: scratch::directory().join("peers.toml"), text, peers: &peers };
    file.add(&seeds::member(9));
    let Some(entry) = entries.get(usize::from(which) % entries.len().max(1)) else { return };
    file.schedule_removal(entry);
    file.activate(entry);
    file.cancel_removal(entry);
    file.remove(entry);
}

struct File<'a> {
    path: PathBuf,
    text: &'a str,
    peers: &'a PeerList,
}

impl File<'_> {
    /// Applies an edit to the original file. Returns the new text and peers, or `None` if the edit
    /// failed.
    fn edit<E>(
        &self,
        edit: impl FnOnce(&Storage) -> Result<PeerList, E>,
    ) -> Option<(String, Vec<PeerEntry>)> {
        fs::write(&self.path, self.text).expect("a file");
        let edited = edit(&Storage::default());
        let text = fs::read_to_string(&self.path).expect("the file is there");
        let Ok(peers) = edited else {
            assert_eq!(text, self.text, "a failed edit changed the file");
            return None;
        };
        assert_eq!(PeerList::parse(&text).expect("it loads"), peers);
        assert_eq!(peers.min_peers(), self.peers.min_peers());
        Some((text, peers.entries().to_vec()))
    }

    /// Returns the original peers, with a new membership for the peer `name`. If `change` is
    /// `None`, that peer is left out.
    fn with(&self, name: &Name, change: Option<Membership>) -> Vec<PeerEntry> {
        let changed = |entry: &PeerEntry| match (entry.peer.name == *name, change) {
            (false, _) => Some(entry.clone()),
            (true, None) => None,
            (true, Some(membership)) => Some(PeerEntry { membership, ..entry.clone() }),
        };
        self.peers.entries().iter().filter_map(changed).collect()
    }

    fn add(&self, entry: &PeerEntry) {
        let Some((text, entries)) = self.edit(|disk| edit::add(&self.path, entry, disk)) else {
            return;
        };
        assert_eq!(entries, [self.peers.entries(), std::slice::from_ref(entry)].concat());
        let (removed, _) = difference(self.text, &text);
        assert!(removed.trim().is_empty(), "an addition removed {removed:?}");
    }

    fn schedule_removal(&self, entry: &PeerEntry) {
        let (name, at) = (&entry.peer.name, Timestamp(NOW.0 + 1000));
        let edited = self.edit(|disk| edit::schedule_removal(&self.path, name, at, disk));
        let Some((text, entries)) = edited else { return };
        let never_counted = matches!(entry.membership, Membership::Joining { .. })
            || entry.membership == Membership::Leaving { at: Timestamp(0) };
        let change = (!never_counted).then_some(Membership::Leaving { at });
        assert_eq!(entries, self.with(name, change));
        if entry.membership == Membership::Counted {
            let (removed, added) = difference(self.text, &text);
            assert!(removed.is_empty() && added.contains("leaves"), "{removed:?} {added:?}");
            // Cancelling the removal restores the file, except white space at its end.
            let back = edit::cancel_removal(&self.path, name, &Storage::default());
            assert_eq!(back.expect("it was leaving"), *self.peers);
            let text = fs::read_to_string(&self.path).expect("the file is there");
            assert_eq!(text.trim_end(), self.text.trim_end());
        }
    }

    fn activate(&self, entry: &PeerEntry) {
        let edited = self.edit(|disk| edit::activate(&self.path, entry, disk));
        let is_joining = matches!(entry.membership, Membership::Joining { .. });
        assert!(is_joining || edited.is_none());
        let Some((text, entries)) = edited else { return };
        assert_eq!(entries, self.with(&entry.peer.name, Some(Membership::Counted)));
        let (removed, added) = difference(self.text, &text);
        assert!(added.is_empty() && removed.matches("joining").count() >= 1, "{removed:?}");
    }

    fn cancel_removal(&self, entry: &PeerEntry) {
        let edited = self.edit(|disk| edit::cancel_removal(&self.path, &entry.peer.name, disk));
        let Some((text, entries)) = edited else { return };
        assert!(matches!(entry.membership, Membership::Leaving { .. }));
        assert_eq!(entries, self.with(&entry.peer.name, Some(Membership::Counted)));
        let (_, added) = difference(self.text, &text);
        assert!(added.is_empty());
    }

    fn remove(&self, entry: &PeerEntry) {
        let edited = self.edit(|disk| edit::remove(&self.path, &entry.peer.name, NOW, disk));
        assert!(edited.is_none() || !entry.membership.must_confirm(NOW));
        let Some((text, entries)) = edited else { return };
        assert_eq!(entries, self.with(&entry.peer.name, None));
        let (_, added) = difference(self.text, &text);
        assert!(added.is_empty());
    }
}

/// Returns the parts of two texts that differ, without their common beginning and end.
fn difference<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    let same = |(a, b): &(u8, u8)| a == b;
    let start = before.bytes().zip(after.bytes()).take_while(same).count();
    let start = before.floor_char_boundary(start).min(after.floor_char_boundary(start));
    let (before, after) = (&before[start..], &after[start..]);
    let end = before.bytes().rev().zip(after.bytes().rev()).take_while(same).count();
    let end_before = before.ceil_char_boundary(before.len() - end);
    let end_after = after.ceil_char_boundary(after.len() - end);
    (&before[..end_before], &after[..end_after])
}
