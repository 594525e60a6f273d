//! The vectors of the spool's file `entries` in `spec/vectors/spool-entries`, read by this crate.

use unanimity_install::spool::read_entries;
use unanimity_testkit::vectors::compare_answers;

#[test]
fn spool_entries_are_read_as_their_vectors_say() {
    compare_answers("spool-entries", |_, bytes| {
        let mut entries = Vec::new();
        let read = read_entries(bytes, |index, entry| {
            entries.push(format!("entry {index} of {} bytes", entry.len()));
            true
        });
        read.map_err(|error| error.to_string())?;
        Ok(if entries.is_empty() { "no entry".to_owned() } else { entries.join(", ") })
    });
}
