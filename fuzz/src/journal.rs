//! The journal of an install root.
//!
//! A parsed journal prints to a text that parses to an equal journal, except a trial's
//! `process_tag`, which is not written. The backoff of a failed release is at most `MAX_BACKOFF`.
//! The floor is at least the sequence of every good release.

use unanimity_install::journal::{Journal, MAX_BACKOFF};
use unanimity_protocol::Manifest;

use crate::keys::NOW;

/// Checks one journal file.
pub fn check(data: &[u8]) {
    let Some(mut journal) = Journal::parse(data) else { return };
    if let Some(trial) = &mut journal.trial {
        trial.process_tag.clear();
    }
    assert_eq!(Journal::parse(journal.text().as_bytes()).as_ref(), Some(&journal));
    for release in &journal.good {
        assert!(Some(journal.floor()) >= Manifest::sequence_from_label(release));
    }
    for (release, failed) in &journal.failed {
        assert!(failed.backoff_until() <= failed.last.after(MAX_BACKOFF));
        let is_due = journal.check_backoff(release, NOW).is_ok();
        assert_eq!(is_due, !(failed.last <= NOW && NOW < failed.backoff_until()));
        assert!(is_due || journal.check_can_install(release, NOW).is_err());
    }
}
