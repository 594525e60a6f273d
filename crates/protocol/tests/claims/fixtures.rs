//! Fixtures: a log with its entries, a publisher, and peers.
//!
//! Keys have numbers as seeds, times are constants, and a naive tree gives roots and proofs.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64;
use proptest::test_runner::{Config, RngSeed};
use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::manifest::{Artifact, ArtifactKind, Manifest};
use unanimity_protocol::proof_bundle::Proofs;
use unanimity_protocol::{
    Checkpoint, ConsistentHeads, CosignatureSigningKey, CosignedHead, Hash, Log, LogEntry, Name,
    Note, NoteSigningKey, NoteVerifyingKey, Peer, PeerSet, Policy, Round, Timestamp, TreeHead,
    tree,
};
use unanimity_testkit::rfc6962 as naive;

/// The present time of the tests.
pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000);
pub(crate) const ORIGIN: &str = "example.org/log";

/// Settings of property tests: equal input in every run, and no file of failures.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default() }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn secret(name: &str, seed: u8) -> NoteSigningKey {
    NoteSigningKey::from_seed(name.parse().unwrap(), &[seed; 32])
}

pub(crate) fn cosigner(name: &str, seed: u8) -> CosignatureSigningKey {
    CosignatureSigningKey::from_seed(name.parse().unwrap(), &[seed; 32])
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A signature line with any name, id and signature.
pub(crate) fn line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    format!("— {name} {}\n", base64(&[&id[..], signature].concat()))
}

/// A note of any text, signed by `secrets`.
pub(crate) fn note(text: &str, secrets: &[&NoteSigningKey]) -> Note {
    let mut note = Note::unsigned(text).unwrap();
    secrets.iter().for_each(|secret| note.sign(secret));
    note
}

/// Every copy of `bytes` with one byte changed, and the position of that byte.
///
/// The first mask changes a base64 digit to its neighbour, the second the case of a letter. The
/// third breaks the UTF-8.
pub(crate) fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).flat_map(move |at| {
        [0x01, 0x20, 0x80].map(|mask| {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= mask;
            (at, flipped)
        })
    })
}

/// The leaf hashes of a tree with `size` arbitrary entries.
pub(crate) fn leaves(size: usize) -> Vec<Hash> {
    (0..size).map(|i| Hash::leaf(format!("entry {i}").as_bytes())).collect()
}

/// A log: its key and its leaves. Two logs with one key and different leaves are a fork.
#[derive(Clone)]
pub(crate) struct LogWorld {
    pub(crate) secret: NoteSigningKey,
    pub(crate) leaves: Vec<Hash>,
}

impl LogWorld {
    pub(crate) fn new(size: usize) -> Self {
        LogWorld { secret: secret("log-key", 100), leaves: leaves(size) }
    }

    /// A log with equal leaves up to `at`, and other leaves from there on.
    pub(crate) fn forked_at(&self, at: usize) -> Self {
        let mut fork = self.clone();
        fork.leaves[at..].iter_mut().for_each(|leaf| *leaf = Hash::digest(&leaf.0));
        fork
    }

    pub(crate) fn log(&self) -> Log {
        Log { origin: ORIGIN.parse().unwrap(), key: self.secret.public() }
    }

    pub(crate) fn root(&self, size: usize) -> Hash {
        naive::root(&self.leaves[..size])
    }

    pub(crate) fn checkpoint(&self, size: usize) -> Checkpoint {
        Checkpoint { origin: ORIGIN.parse().unwrap(), size: size as u64, root: self.root(size) }
    }

    pub(crate) fn head(&self, size: usize) -> TreeHead {
        self.open(&self.checkpoint(size).text())
    }

    /// The head of a checkpoint text, which may have extension lines, signed by the log.
    pub(crate) fn open(&self, text: &str) -> TreeHead {
        TreeHead::verify(note(text, &[&self.secret]).to_string().as_bytes(), &self.log()).unwrap()
    }

    pub(crate) fn inclusion(&self, index: usize, size: usize) -> Vec<Hash> {
        naive::path(index, &self.leaves[..size])
    }

    pub(crate) fn path(&self, old: usize, new: usize) -> Vec<Hash> {
        if old == 0 || old >= new {
            return Vec::new();
        }
        naive::full_proof(old, &self.leaves[..new])
    }

    /// The head of `size`, linked to every smaller head of this log.
    pub(crate) fn consistent_heads(&self, size: usize) -> ConsistentHeads {
        let mut heads = ConsistentHeads::new(self.head(size));
        for old in 1..size {
            heads.add(&self.head(old), &self.path(old, size));
        }
        heads
    }
}

/// A manifest of `hello` for the log of these tests.
pub(crate) fn manifest(sequence: u64) -> Manifest {
    Manifest {
        log: ORIGIN.parse().unwrap(),
        product: name("hello"),
        channel: name("stable"),
        sequence,
        version: name(&format!("1.{sequence}.0")),
        issued: Timestamp(NOW.0 - 100_000),
        expires: Timestamp(NOW.0 + 100_000),
        artifacts: vec![Artifact {
            platform: name("x86_64-linux"),
            file: name("hello"),
            length: 48_213,
            sha256: Hash::digest(b"artifact"),
            kind: ArtifactKind::File,
        }],
    }
}

/// The publisher's three keys.
pub(crate) fn publishers() -> [NoteSigningKey; 3] {
    [secret("publisher-a", 1), secret("publisher-b", 2), secret("publisher-c", 3)]
}

/// Two of the publisher's three keys must sign.
pub(crate) fn policy() -> Policy {
    let keys: Vec<NoteVerifyingKey> = publishers().iter().map(NoteSigningKey::public).collect();
    Policy::new(name("hello"), name("stable"), LogWorld::new(0).log(), keys, 2).unwrap()
}

/// A note of `text`, signed by two of the publisher's three keys.
pub(crate) fn released(text: &str) -> Note {
    let [a, b, _] = publishers();
    note(text, &[&a, &b])
}

/// The signing keys of the peers `peer-1` to `peer-{count}`.
pub(crate) fn cosigners(count: u8) -> Vec<CosignatureSigningKey> {
    (1..=count).map(|i| cosigner(&format!("cosigner-{i}"), 50 + i)).collect()
}

pub(crate) fn peer(number: u8) -> Peer {
    Peer {
        name: name(&format!("peer-{number}")),
        operator: name(&format!("operator-{number}")),
        key: cosigner(&format!("cosigner-{number}"), 50 + number).public(),
    }
}

pub(crate) fn peers(count: u8) -> PeerSet {
    PeerSet::new((1..=count).map(peer).collect(), 1).unwrap()
}

pub(crate) const HOUR: u64 = 3600;

/// The round in which the first peers show these sizes of `log`, cosigned as the round closes.
pub(crate) fn round(log: &LogWorld, peers: &PeerSet, at: Timestamp, sizes: &[usize]) -> Round {
    let secrets = cosigners(sizes.len() as u8);
    let cosigned_heads = secrets.iter().zip(sizes).map(|(secret, &size)| {
        let cosigned = CosignedHead::sign(&log.head(size), secret, at);
        (cosigned.cosigner(), Ok(cosigned))
    });
    Round::new(peers, at, cosigned_heads.collect())
}

/// A log of `size` entries in which number `index` is a signed release.
pub(crate) struct Release {
    pub(crate) log: LogWorld,
    pub(crate) note: Note,
    pub(crate) index: usize,
}

impl Release {
    pub(crate) fn new(index: usize, size: usize) -> Self {
        let mut log = LogWorld::new(size);
        let note = released(&manifest(2).to_string());
        log.leaves[index] = Hash::leaf(note.to_string().as_bytes());
        Release { log, note, index }
    }

    pub(crate) fn entry(&self) -> LogEntry {
        LogEntry { index: self.index as u64, note: self.note.clone() }
    }

    /// The proofs for a bundle with heads of these sizes, of which the last is the largest.
    pub(crate) fn proofs(&self, sizes: &[usize]) -> Proofs {
        let head = *sizes.iter().max().unwrap();
        let inclusion = |&size: &usize| (size as u64, self.log.inclusion(self.index, size));
        let path = |&size: &usize| (size as u64, self.log.path(size, head));
        Proofs {
            inclusion: sizes.iter().map(inclusion).collect(),
            paths: sizes.iter().filter(|size| **size < head).map(path).collect(),
        }
    }
}

pub(crate) fn limits() -> RoundLimits {
    RoundLimits {
        settle: seconds(HOUR),
        round_ttl: seconds(900),
        max_cosignature_age: seconds(900),
    }
}

/// The roots of the planned ranges, computed from an array of leaves.
pub(crate) fn fulfil(ranges: Vec<std::ops::Range<u64>>, leaves: &[Hash]) -> Vec<Hash> {
    let node = |node: tree::Subtree| {
        let (level, index) = (u32::from(node.level), node.index as usize);
        Ok::<_, ()>(naive::root(&leaves[index << level..(index + 1) << level]))
    };
    ranges.into_iter().map(|range| tree::range_root(range, node).unwrap()).collect()
}

/// A round without any answer.
pub(crate) fn silent_round(peers: &PeerSet, at: Timestamp) -> Round {
    Round::new(peers, at, BTreeMap::new())
}
