//! The files `entries` of spools in `spec/vectors/spool-entries`, each judged by the reader of entries.
//!
//! `spec/vectors/generate.py`, another implementation, writes them. A file's name is its claim.

use std::fs;
use std::path::Path;

use unanimity_install::spool::read_entries;

#[test]
fn entries_of_a_spool_are_judged_as_their_vectors_say() {
    let mut wrong = Vec::new();
    for (directory, valid) in [("valid", true), ("invalid", false)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/spool-entries");
        let mut count = 0;
        for file in fs::read_dir(path.join(directory)).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let read = read_entries(&bytes[..], |_, _| true);
            if read.is_ok() != valid {
                wrong.push(format!("{}: {read:?}", path.display()));
            }
            count += 1;
        }
        assert!(count > 0, "{directory} has no vectors");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
