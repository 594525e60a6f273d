//! The vectors in `spec/vectors`, each file judged by the function that is its verifier.

use std::fs;

use unanimity_protocol::catalog::Reading;
use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::key::{KeyId, KeyName};
use unanimity_protocol::log_path::LogPath;
use unanimity_protocol::manifest::{Artifact, ArtifactKind};
use unanimity_protocol::tree::verify_consistency;
use unanimity_protocol::{
    Catalog, ConfirmedRelease, CosignatureVerifyingKey, CosignedHead, Evidence, Hash, Log,
    Manifest, Note, NoteVerifyingKey, Peer, PeerSet, Policy, ProofBundle, Refusal, Statement, Tile,
    Timestamp, TlogProof, TreeHead, Withdrawal,
};
use unanimity_testkit::vectors::{compare_answers, vectors};

use crate::fixtures::{ORIGIN, name};

/// The key of the example in the C2SP signed-note specification.
const C2SP_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

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

fn text(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| error.to_string())
}

fn words(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn head_answer(head: &TreeHead) -> String {
    format!("size {}, root {}", head.size(), head.root().base64())
}

fn fork_answer(evidence: &Evidence) -> String {
    let (smaller, larger) = (evidence.smaller().size(), evidence.larger().size());
    format!("fork {}, sizes {smaller} and {larger}", evidence.id())
}

#[test]
fn notes_are_judged_as_their_vectors_say() {
    let keys: [NoteVerifyingKey; 3] =
        [key("publisher"), key("publisher-b"), C2SP_KEY.parse().unwrap()];
    compare_answers("notes", |_, bytes| {
        let note = Note::parse(bytes).map_err(words)?;
        let signed = note.open(&keys).map_err(words)?;
        let names = signed.iter().map(|raw| {
            let key = keys.iter().find(|key| key.raw() == *raw).unwrap();
            key.name().as_str()
        });
        let names: Vec<&str> = names.collect();
        Ok(format!("text of {} bytes, signed by {}", note.text().len(), names.join(" and ")))
    });
}

#[test]
fn verifier_keys_are_judged_as_their_vectors_say() {
    compare_answers("verifier-keys", |_, bytes| {
        let line = text(bytes)?.strip_suffix('\n').ok_or("no newline")?;
        let answer = |kind: &str, name: &KeyName, id: KeyId, read: String| {
            assert_eq!(read, line, "a key has one spelling");
            Ok(format!("{kind} key {name} with id {:08x}", u32::from_be_bytes(id)))
        };
        match (line.parse::<NoteVerifyingKey>(), line.parse::<CosignatureVerifyingKey>()) {
            (Ok(_), Ok(_)) => panic!("one key of two types: {line}"),
            (Ok(key), _) => answer("note", key.name(), key.id(), key.to_string()),
            (_, Ok(key)) => answer("cosigner", key.name(), key.id(), key.to_string()),
            (Err(error), _) => Err(words(error)),
        }
    });
}

#[test]
fn checkpoints_are_judged_as_their_vectors_say() {
    compare_answers("checkpoints", |_, bytes| {
        TreeHead::verify(bytes, &log()).map(|head| head_answer(&head)).map_err(words)
    });
}

#[test]
fn cosigned_heads_are_judged_as_their_vectors_say() {
    compare_answers("cosigned-heads", |_, bytes| {
        let cosigned = CosignedHead::verify(bytes, &log(), &alice()).map_err(words)?;
        Ok(format!("{}, time {}", head_answer(cosigned.head()), cosigned.signed_at().0))
    });
}

#[test]
fn statements_are_judged_as_their_vectors_say() {
    compare_answers("statements", |_, bytes| {
        let statement = Statement::parse(text(bytes)?).map_err(words)?;
        assert_eq!(statement.to_string().as_bytes(), bytes, "a statement has one spelling");
        Ok(match statement {
            Statement::Release(manifest) => manifest_answer(&manifest),
            Statement::Withdrawal(Withdrawal {
                product,
                channel,
                sequence,
                issued,
                reason,
                ..
            }) => format!(
                "withdrawal of {product} {channel}: sequence {sequence}, issued {}, reason of {} bytes",
                issued.0,
                reason.len()
            ),
        })
    });
}

fn manifest_answer(manifest: &Manifest) -> String {
    let Manifest { product, channel, sequence, version, issued, expires, artifacts, .. } = manifest;
    let Artifact { platform, file, length, kind, .. } = artifacts.last().unwrap();
    let unpacked = match kind {
        ArtifactKind::File => String::new(),
        ArtifactKind::Archive { unpacked, entries, .. } => {
            format!(", unpacked {unpacked} bytes in {entries} entries")
        }
    };
    format!(
        "manifest of {product} {channel}: sequence {sequence}, issued {}, expires {}, \
         version {version}, artifacts {}, the last: {platform} {file} of {length} bytes{unpacked}",
        issued.0,
        expires.0,
        artifacts.len()
    )
}

#[test]
fn signed_statements_are_judged_as_their_vectors_say() {
    let keys = vec![key("publisher"), key("publisher-b"), key("publisher-c")];
    let policy = Policy::new(name("hello"), name("stable"), log(), keys, 2).unwrap();
    compare_answers("signed-statements", |_, bytes| {
        let mut catalog = Catalog::default();
        match catalog.add_entry(0, bytes, &policy) {
            Reading::Ours => {
                let choice = catalog.select_candidates(&policy, 0, Timestamp(0));
                let withdrawn: Vec<u64> = catalog.withdrawn().into_iter().collect();
                match (&choice.candidates[..], &withdrawn[..]) {
                    ([signed], []) => Ok(format!("release {}", signed.manifest().label())),
                    ([], [sequence]) => Ok(format!("withdrawal of sequence {sequence}")),
                    _ => panic!("one entry is one release or one withdrawal: {choice:?}"),
                }
            }
            Reading::Foreign => Ok("skip".to_owned()),
            Reading::UnknownKind => Ok("skip, and count".to_owned()),
            Reading::Refused(Refusal::UnsupportedFormat { .. }) => {
                Ok("refuse, with all earlier releases".to_owned())
            }
            Reading::Refused(refusal) => Err(words(refusal)),
        }
    });
}

#[test]
fn evidence_is_judged_as_its_vectors_say() {
    compare_answers("evidence", |_, bytes| {
        let evidence = Evidence::verify(text(bytes)?, &log()).map_err(words)?;
        Ok(fork_answer(&evidence))
    });
    compare_answers("evidence", |_, bytes| {
        // Without the origin two logs of one key are told apart all the same.
        let evidence = Evidence::verify_with_key(text(bytes)?, &log().key).map_err(words)?;
        Ok(fork_answer(&evidence))
    });
}

#[test]
fn inclusion_proofs_are_judged_as_their_vectors_say() {
    compare_answers("tlog-proofs", |_, bytes| {
        let proof = TlogProof::parse(text(bytes)?).map_err(words)?;
        let head = TreeHead::verify(proof.checkpoint.as_bytes(), &log()).map_err(words)?;
        let leaf = Hash::leaf(format!("entry {}", proof.index).as_bytes());
        if !proof.verify(&leaf, &head) {
            return Err("not included".to_owned());
        }
        Ok(format!("entry {} of {}", proof.index, head.size()))
    });
}

#[test]
fn consistency_proofs_are_judged_as_their_vectors_say() {
    compare_answers("consistency", |_, bytes| {
        let mut lines = text(bytes)?.lines();
        let mut head = |word: &str| {
            let fields: Vec<&str> = lines.next().unwrap().split(' ').collect();
            assert_eq!(fields[0], word);
            (fields[1].parse::<u64>().unwrap(), Hash::from_base64(fields[2]).unwrap())
        };
        let (old, new) = (head("old"), head("new"));
        let proof: Vec<Hash> = lines.map(|line| Hash::from_base64(line).unwrap()).collect();
        let holds = verify_consistency(old.0, new.0, &old.1, &new.1, &proof);
        if holds { Ok("accept".to_owned()) } else { Err("not a prefix".to_owned()) }
    });
}

#[test]
fn tile_paths_are_judged_as_their_vectors_say() {
    compare_answers("tile-paths", |_, bytes| {
        let path = text(bytes)?.strip_suffix('\n').ok_or("no newline")?;
        Ok(match LogPath::parse(path).ok_or("no path of a tile")? {
            LogPath::Hashes(Tile { level, index, width }) => {
                format!("level {level}, index {index}, width {width}")
            }
            LogPath::Entries { index, width } => format!("entries, index {index}, width {width}"),
        })
    });
}

#[test]
fn entry_bundles_are_judged_as_their_vectors_say() {
    compare_answers("entry-bundles", |_, bytes| {
        let entries = split_bundle(bytes).ok_or("cut short")?;
        let told =
            |(index, entry): (usize, &&[u8])| format!("entry {index} of {} bytes", entry.len());
        Ok(entries.iter().enumerate().map(told).collect::<Vec<_>>().join(", "))
    });
}

#[test]
fn proof_bundles_are_judged_as_their_vectors_say() {
    let peer = |of: &str| Peer { name: name(of), operator: name(of), key: key(of) };
    let peers = PeerSet::new(vec![peer("alice"), peer("bela")], 2).unwrap();
    let publishers = vec![key("publisher")];
    let policy = Policy::new(name("hello"), name("stable"), log(), publishers, 1).unwrap();
    compare_answers("proof-bundles", |_, bytes| {
        let bundle = ProofBundle::parse(text(bytes)?).map_err(words)?;
        match bundle.verify(&policy, &peers, &RoundLimits::default()) {
            Ok(confirmed) => Ok(bundle_answer(&confirmed)),
            Err(Refusal::Fork(evidence)) => Ok(format!("refuse: {}", fork_answer(&evidence))),
            Err(refusal) => Err(words(refusal)),
        }
    });
}

fn bundle_answer(confirmed: &ConfirmedRelease) -> String {
    let (release, index) = (confirmed.manifest().label(), confirmed.log_entry().index);
    let mut answer = format!("release {release}, entry {index} of {}", confirmed.head().size());
    for round in confirmed.rounds() {
        let heads = round.answers().iter().map(|(peer, head)| {
            let head = head.as_ref().unwrap();
            format!("{} {} at {}", peer.name, head.head().size(), head.signed_at().0)
        });
        let heads: Vec<String> = heads.collect();
        answer += &format!("; round at {}: {}", round.closed_at().0, heads.join(", "));
    }
    answer
}
