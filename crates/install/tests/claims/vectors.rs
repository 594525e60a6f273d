//! Test vectors of the spool's file `entries`, read by this implementation.
//!
//! `spec/vectors/generate.py`, another implementation, writes the files in
//! `spec/vectors/spool-entries`. Each file is named after its claim.

use std::fs;
use std::path::Path;

use unanimity_install::spool::read_entries;

#[test]
fn reader_accepts_exactly_the_valid_spool_entries() {
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
