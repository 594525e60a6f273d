//! The invites in `spec/vectors/invites`, parsed by this crate.
//!
//! `spec/vectors/generate.py`, another implementation, writes them. A file's name is its claim.

use std::fs;
use std::path::Path;

use unanimity_config::{Invite, InviteError};

#[test]
fn parser_accepts_valid_and_refuses_invalid_invite_vectors() {
    let mut wrong = Vec::new();
    for (directory, valid) in [("valid", true), ("invalid", false)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/invites");
        let mut count = 0;
        for file in fs::read_dir(path.join(directory)).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let read: Result<Invite, InviteError> = text.parse();
            if read.is_ok() != valid {
                wrong.push(format!("{}: {read:?}", path.display()));
            }
            if let Ok(invite) = read {
                assert_eq!(invite.to_string(), text.trim(), "one invite has one spelling");
            }
            count += 1;
        }
        assert!(count > 0, "{directory} has no vectors");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
