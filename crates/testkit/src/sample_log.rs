//! A sample log for tests: its key, its notes, and a reader that verifies all of its files.

use std::fs;
use std::path::Path;

use unanimity_log::{EntryReader, TileReader};
use unanimity_net::Mirror;
use unanimity_protocol::{Hash, Log, NoteSigningKey, Origin, TreeHead};

use crate::block_on::block_on;
use crate::rfc6962;

/// The log's origin.
pub const ORIGIN: &str = "log.example/claims";

/// Makes a signing key from a seed. The log's key has seed 1.
pub fn signing_key(seed: u8) -> NoteSigningKey {
    NoteSigningKey::from_seed(format!("key-{seed}").parse().unwrap(), &[seed; 32])
}

/// Returns the log's origin, parsed.
pub fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

/// Returns the log's origin and public key.
pub fn sample_log() -> Log {
    Log { origin: origin(), key: signing_key(1).public() }
}

/// Returns an entry for this log. It is different for each `word` and `i`.
pub fn sample_note(word: &str, i: u64) -> Vec<u8> {
    // The writer checks only the form of a note. Readers of the log check its signatures.
    format!("unanimity/example/v1\nlog {ORIGIN}\n{word} {i}\n\n— writer AAAAAAAA\n").into_bytes()
}

/// Returns the entries of [`sample_note`] for one `word` and the numbers 0 to `count` - 1.
pub fn sample_notes(word: &str, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| sample_note(word, i)).collect()
}

/// Returns the leaf hashes of `count` entries. Each entry is its index, as 8 bytes.
pub fn leaf_hashes(count: u64) -> Vec<Hash> {
    (0..count).map(|i| Hash::leaf(&i.to_be_bytes())).collect()
}

/// Reads and verifies the log in a directory: the checkpoint's signature, and that tiles and
/// entries hash to its root. Returns the head and the entries.
pub fn read_verified(directory: &Path) -> (TreeHead, Vec<Vec<u8>>) {
    let bytes = fs::read(directory.join("checkpoint")).expect("a checkpoint");
    let head = TreeHead::verify(&bytes, &sample_log()).expect("a checkpoint of this log");
    let mirror = Mirror::from_directory(directory);
    assert!(block_on(TileReader::new(&mirror).matches_head(&head)), "tiles hash up to {head}");
    let mut entries = Vec::new();
    let bundles =
        block_on(EntryReader::from_tiles(&TileReader::new(&mirror), &head, 0)).expect("tiles");
    block_on(bundles.read(&[&mirror], |index, entry| {
        assert_eq!(index, entries.len() as u64);
        entries.push(entry.to_vec());
    }))
    .expect("all entries");
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
    assert_eq!(rfc6962::root(&leaves), *head.root(), "entries hash up to {head}");
    (head, entries)
}
