//! Peers files, and the edits that a program makes in what a person wrote.
//!
//! After an edit the file says exactly the circle that the edit means, and nothing else in it has
//! changed. After an edit that fails, no byte has.

use std::fs;
use std::path::PathBuf;

use unanimity_config::{Circle, Member, Standing, edit};
use unanimity_protocol::{Name, Timestamp};
use unanimity_storage::Storage;

use crate::keys::NOW;
use crate::{scratch, seeds};

/// Checks one file. Its first byte says which peer the edits are about.
pub fn check(data: &[u8]) {
    let Some((&which, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(circle) = Circle::parse(text) else { return };
    let members = circle.members();
    assert_eq!(Circle::new(members.to_vec(), circle.min_peers()).as_ref(), Ok(&circle));
    if let Ok(counted) = circle.counted(NOW) {
        assert!(counted.iter().count() >= circle.min_peers());
    }
    let file = File { path: scratch::place().join("peers.toml"), text, circle: &circle };
    file.add(&seeds::member(9));
    let Some(member) = members.get(usize::from(which) % members.len().max(1)) else { return };
    file.leave(member);
    file.count(member);
    file.stay(member);
    file.drop(member);
}

struct File<'a> {
    path: PathBuf,
    text: &'a str,
    circle: &'a Circle,
}

impl File<'_> {
    /// Makes an edit from the beginning. What it left, if it was made: the text, and the members.
    fn edit<E>(
        &self,
        edit: impl FnOnce(&Storage) -> Result<Circle, E>,
    ) -> Option<(String, Vec<Member>)> {
        fs::write(&self.path, self.text).expect("a file");
        let edited = edit(&Storage::default());
        let text = fs::read_to_string(&self.path).expect("the file is there");
        let Ok(circle) = edited else {
            assert_eq!(text, self.text, "changed by an edit that failed");
            return None;
        };
        assert_eq!(Circle::parse(&text).expect("it loads"), circle);
        assert_eq!(circle.min_peers(), self.circle.min_peers());
        Some((text, circle.members().to_vec()))
    }

    /// The members with one of them changed, or gone.
    fn with(&self, name: &Name, change: Option<Standing>) -> Vec<Member> {
        let changed = |member: &Member| match (member.peer.name == *name, change) {
            (false, _) => Some(member.clone()),
            (true, None) => None,
            (true, Some(standing)) => Some(Member { standing, ..member.clone() }),
        };
        self.circle.members().iter().filter_map(changed).collect()
    }

    fn add(&self, member: &Member) {
        let Some((text, members)) = self.edit(|disk| edit::add(&self.path, member, disk)) else {
            return;
        };
        assert_eq!(members, [self.circle.members(), std::slice::from_ref(member)].concat());
        let (removed, _) = difference(self.text, &text);
        assert!(removed.trim().is_empty(), "an addition took {removed:?} out");
    }

    fn leave(&self, member: &Member) {
        let (name, at) = (&member.peer.name, Timestamp(NOW.0 + 1000));
        let edited = self.edit(|disk| edit::leave(&self.path, name, at, disk));
        let Some((text, members)) = edited else { return };
        let never_counted = matches!(member.standing, Standing::Joining { .. })
            || member.standing == Standing::Leaving { at: Timestamp(0) };
        let change = (!never_counted).then_some(Standing::Leaving { at });
        assert_eq!(members, self.with(name, change));
        if member.standing == Standing::Counted {
            let (removed, added) = difference(self.text, &text);
            assert!(removed.is_empty() && added.contains("leaves"), "{removed:?} {added:?}");
            // And back: but for the end of the last line, if it had none.
            let back = edit::stay(&self.path, name, &Storage::default());
            assert_eq!(back.expect("it was leaving"), *self.circle);
            let text = fs::read_to_string(&self.path).expect("the file is there");
            assert_eq!(text.trim_end(), self.text.trim_end());
        }
    }

    fn count(&self, member: &Member) {
        let edited = self.edit(|disk| edit::count(&self.path, member, disk));
        let is_joining = matches!(member.standing, Standing::Joining { .. });
        assert!(is_joining || edited.is_none());
        let Some((text, members)) = edited else { return };
        assert_eq!(members, self.with(&member.peer.name, Some(Standing::Counted)));
        let (removed, added) = difference(self.text, &text);
        assert!(added.is_empty() && removed.matches("joining").count() >= 1, "{removed:?}");
    }

    fn stay(&self, member: &Member) {
        let edited = self.edit(|disk| edit::stay(&self.path, &member.peer.name, disk));
        let Some((text, members)) = edited else { return };
        assert!(matches!(member.standing, Standing::Leaving { .. }));
        assert_eq!(members, self.with(&member.peer.name, Some(Standing::Counted)));
        let (_, added) = difference(self.text, &text);
        assert!(added.is_empty());
    }

    fn drop(&self, member: &Member) {
        let edited = self.edit(|disk| edit::drop(&self.path, &member.peer.name, NOW, disk));
        assert!(edited.is_none() || !member.standing.counts(NOW));
        let Some((text, members)) = edited else { return };
        assert_eq!(members, self.with(&member.peer.name, None));
        let (_, added) = difference(self.text, &text);
        assert!(added.is_empty());
    }
}

/// What one text has and the other has not, between what both begin and end with.
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
