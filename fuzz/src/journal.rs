//! The journal of an install root.
//!
//! What parses prints, and parses again to an equal journal, but for a trial's mark, which is not
//! written. No count or time in it overflows what follows from it.

use unanimity_install::journal::{Journal, LONGEST_WAIT};
use unanimity_protocol::Manifest;

use crate::keys::NOW;

/// Checks one file.
pub fn check(data: &[u8]) {
    let Some(mut journal) = Journal::parse(data) else { return };
    if let Some(trial) = &mut journal.trial {
        trial.mark.clear();
    }
    assert_eq!(Journal::parse(journal.text().as_bytes()).as_ref(), Some(&journal));
    for release in &journal.good {
        assert!(Some(journal.floor()) >= Manifest::sequence_of(release));
    }
    for (release, failed) in &journal.failed {
        assert!(failed.until() <= failed.last.after(LONGEST_WAIT));
        let is_due = journal.is_due(release, NOW).is_ok();
        assert_eq!(is_due, !(failed.last <= NOW && NOW < failed.until()));
        assert!(is_due || journal.may_try(release, NOW).is_err());
    }
}
