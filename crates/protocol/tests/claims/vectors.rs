//! The vectors in `spec/vectors`, each file judged by the function that is its verifier.
//!
//! `spec/vectors/generate.py`, another implementation, writes them. A file's name is its claim.

use std::fs;
use std::path::{Path, PathBuf};

use unanimity_protocol::catalog::Reading;
use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::LogPath;
use unanimity_protocol::tree::verify_consistency;
use unanimity_protocol::{
    Catalog, CosignatureVerifyingKey, CosignedHead, Evidence, Hash, Log, Note, NoteVerifyingKey,
    Peer, PeerSet, Policy, ProofBundle, Refusal, Statement, TlogProof, TreeHead,
};

use crate::fixtures::{ORIGIN, name};

/// The key of the example in the C2SP signed-note specification.
const C2SP_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors")
}

/// A key file of `spec/vectors/keys`.
fn key<K: std::str::FromStr>(of: &str) -> K
where
    K::Err: std::fmt::Debug,
{
    let line = fs::read_to_string(vectors().join("keys").join(format!("{of}.pub"))).unwrap();
    line.trim_end().parse().unwrap()
}

fn log() -> Log {
    Log { origin: ORIGIN.parse().unwrap(), key: key("log") }
}

fn alice() -> CosignatureVerifyingKey {
    key("alice")
}

/// The files of one directory, by name.
fn files(directory: &str) -> Vec<(String, Vec<u8>)> {
    let found = fs::read_dir(vectors().join(directory)).unwrap().map(|file| {
        let path = file.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    assert!(!found.is_empty(), "{directory} has no vectors");
    found
}

/// Every file in `valid` is accepted, every file in `invalid` is refused.
fn judge<T: std::fmt::Debug>(format: &str, verify: impl Fn(&[u8]) -> Result<T, String>) {
    let mut wrong = Vec::new();
    for (file, bytes) in files(&format!("{format}/valid")) {
        if let Err(error) = verify(&bytes) {
            wrong.push(format!("{format}/valid/{file} is refused: {error}"));
        }
    }
    for (file, bytes) in files(&format!("{format}/invalid")) {
        if let Ok(accepted) = verify(&bytes) {
            wrong.push(format!("{format}/invalid/{file} is accepted: {accepted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| error.to_string())
}

fn words(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

#[test]
fn notes_are_judged_as_their_vectors_say() {
    let keys: [NoteVerifyingKey; 3] =
        [key("publisher"), key("publisher-b"), C2SP_KEY.parse().unwrap()];
    judge("notes", |bytes| Note::parse(bytes).and_then(|note| note.open(&keys)).map_err(words));
}

#[test]
fn verifier_keys_are_judged_as_their_vectors_say() {
    judge("verifier-keys", |bytes| {
        let line = text(bytes)?.strip_suffix('\n').ok_or("no newline")?;
        let kinds = [
            line.parse::<NoteVerifyingKey>().map(|key| key.to_string()),
            line.parse::<CosignatureVerifyingKey>().map(|key| key.to_string()),
        ];
        match kinds {
            [Ok(_), Ok(_)] => panic!("one key of two types: {line}"),
            [Ok(read), _] | [_, Ok(read)] => {
                assert_eq!(read, line);
                Ok(read)
            }
            [Err(error), _] => Err(words(error)),
        }
    });
}

#[test]
fn checkpoints_are_judged_as_their_vectors_say() {
    judge("checkpoints", |bytes| TreeHead::verify(bytes, &log()).map_err(words));
}

#[test]
fn cosigned_heads_are_judged_as_their_vectors_say() {
    judge("cosigned-heads", |bytes| CosignedHead::verify(bytes, &log(), &alice()).map_err(words));
}

#[test]
fn statements_are_judged_as_their_vectors_say() {
    judge("statements", |bytes| {
        let statement = Statement::parse(text(bytes)?).map_err(words)?;
        assert_eq!(statement.to_string().as_bytes(), bytes, "a statement has one spelling");
        Ok(statement)
    });
}

#[test]
fn signed_statements_are_judged_as_their_vectors_say() {
    let keys = vec![key("publisher"), key("publisher-b"), key("publisher-c")];
    let policy = Policy::new(name("hello"), name("stable"), log(), keys, 2).unwrap();
    judge("signed-statements", |bytes| match Catalog::default().add_entry(0, bytes, &policy) {
        Reading::Ours => Ok(()),
        other => Err(words(other)),
    });
}

#[test]
fn evidence_is_judged_as_its_vectors_say() {
    judge("evidence", |bytes| Evidence::verify(text(bytes)?, &log()).map_err(words));
    judge("evidence", |bytes| {
        // Without the origin two logs of one key are told apart all the same.
        Evidence::verify_with_key(text(bytes)?, &log().key).map_err(words)
    });
}

#[test]
fn inclusion_proofs_are_judged_as_their_vectors_say() {
    judge("tlog-proofs", |bytes| {
        let proof = TlogProof::parse(text(bytes)?).map_err(words)?;
        let head = TreeHead::verify(proof.checkpoint.as_bytes(), &log()).map_err(words)?;
        let leaf = Hash::leaf(format!("entry {}", proof.index).as_bytes());
        if proof.verify(&leaf, &head) { Ok(head) } else { Err("not included".to_owned()) }
    });
}

#[test]
fn consistency_proofs_are_judged_as_their_vectors_say() {
    judge("consistency", |bytes| {
        let mut lines = text(bytes)?.lines();
        let mut head = |word: &str| {
            let fields: Vec<&str> = lines.next().unwrap().split(' ').collect();
            assert_eq!(fields[0], word);
            (fields[1].parse::<u64>().unwrap(), Hash::from_base64(fields[2]).unwrap())
        };
        let (old, new) = (head("old"), head("new"));
        let proof: Vec<Hash> = lines.map(|line| Hash::from_base64(line).unwrap()).collect();
        let holds = verify_consistency(old.0, new.0, &old.1, &new.1, &proof);
        if holds { Ok(()) } else { Err("not a prefix".to_owned()) }
    });
}

#[test]
fn tile_paths_are_judged_as_their_vectors_say() {
    judge("tile-paths", |bytes| {
        let path = text(bytes)?.strip_suffix('\n').ok_or("no newline")?;
        LogPath::parse(path).ok_or_else(|| "no path of a tile".to_owned())
    });
}

#[test]
fn entry_bundles_are_judged_as_their_vectors_say() {
    judge("entry-bundles", |bytes| {
        split_bundle(bytes).map(|entries| entries.len()).ok_or_else(|| "cut short".to_owned())
    });
}

fn verify_bundle(bytes: &[u8]) -> Result<String, String> {
    let peer = |of: &str| Peer { name: name(of), operator: name(of), key: key(of) };
    let peers = PeerSet::new(vec![peer("alice"), peer("bela")], 2).unwrap();
    let publishers = vec![key("publisher")];
    let policy = Policy::new(name("hello"), name("stable"), log(), publishers, 1).unwrap();
    let bundle = ProofBundle::parse(text(bytes)?).map_err(words)?;
    match bundle.verify(&policy, &peers, &RoundLimits::default()) {
        Ok(release) => Ok(release.manifest().label()),
        Err(Refusal::Fork(_)) => Err("fork".to_owned()),
        Err(refusal) => Err(words(refusal)),
    }
}

#[test]
fn proof_bundles_are_judged_as_their_vectors_say() {
    judge("proof-bundles", verify_bundle);
}

#[test]
fn a_cosigned_head_of_a_fork_in_a_bundle_is_reported_as_a_fork() {
    let path = vectors().join("proof-bundles/invalid/cosigned-head-of-a-fork.bundle");
    assert_eq!(verify_bundle(&fs::read(path).unwrap()), Err("fork".to_owned()));
}
