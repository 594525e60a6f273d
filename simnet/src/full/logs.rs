//! The log and the adversary's fork: all their bytes, in memory, up to the end of the world.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::{artifact_path, entries_path};
use unanimity_protocol::tile::{TILE_WIDTH, Tile, subtree_root};
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{
    Hash, Name, Note, Origin, SignatureCache, Timestamp, TreeHead, Withdrawal,
};
use unanimity_publish::ReleaseDraft;
use unanimity_testkit::FixtureKeys;

use crate::Seed;
use crate::environment::{EPOCH, Environment};
use crate::trace::TraceHead;

/// The log and the adversary's fork, with the keys that sign them.
pub(super) struct SimulatedLogs {
    pub(super) keys: FixtureKeys,
    chains: [LogContents; 2],
    /// The index and chain of each release, by sequence.
    releases: BTreeMap<u64, (u32, u8)>,
    heads: Mutex<BTreeMap<TraceHead, TreeHead>>,
    /// The log entry of a release that is signed and in no log.
    unlogged: Vec<u8>,
}

/// A log's entries and its tree.
#[derive(Clone, Default)]
struct LogContents {
    entries: Vec<Vec<u8>>,
    /// The leaf hashes, then the roots over every 256 hashes of the level below.
    levels: Vec<Vec<Hash>>,
    /// The root at each size, from 0.
    roots: Vec<Hash>,
    frontier: Frontier,
    artifacts: BTreeMap<String, Vec<u8>>,
}

/// The sequence of the release that is in no log.
const UNLOGGED: u64 = 2_000_000;

/// The platform of every node.
pub(super) fn platform() -> Name {
    name("simulated")
}

fn name(text: &str) -> Name {
    text.parse().expect("a safe name")
}

impl SimulatedLogs {
    /// Generates the keys, the log and the fork, with all entries up to the end of the world.
    pub(super) fn generate(
        environment: &Environment,
        seed: Seed,
        cache: &SignatureCache,
    ) -> SimulatedLogs {
        let trojan = environment.trojan().filter(|(_, chain)| *chain == 0).map(|(index, _)| index);
        let mut keys = FixtureKeys::generate(&mut seed.draws("keys").rng(0, 0));
        keys.log_key = keys.log_key.with_cache(cache);
        keys.log.key = keys.log_key.public();
        keys.publisher_keys =
            keys.publisher_keys.into_iter().map(|key| key.with_cache(cache)).collect();
        let (horizon, split) = (environment.scenario.horizon, environment.split_size());
        let (unlogged, artifact) = sign(&keys, UNLOGGED, Timestamp(EPOCH));
        let mut log = LogContents::empty();
        log.artifacts.insert(artifact_path(&Hash::digest(&artifact)), artifact);
        let mut logs = SimulatedLogs {
            keys,
            chains: [log, LogContents::empty()],
            // The unlogged release has no index, so the largest number takes its place.
            releases: BTreeMap::from([(UNLOGGED, (u32::MAX, 0))]),
            heads: Mutex::default(),
            unlogged,
        };
        let mut released = 0;
        for index in 0..environment.log_size(horizon) {
            if index == split {
                logs.append_fork(environment);
            }
            if released < environment.releases_until(horizon)
                && environment.release_index(released) == index
            {
                let at = environment.release_at(released);
                let sequence = environment.release_sequence(released).into();
                released += 1;
                logs.append_release(0, sequence, Timestamp(EPOCH + at / 1000));
            } else if trojan == Some(index) {
                logs.append_trojan(0, environment);
            } else if environment.withdrawal_index() == Some(index) {
                logs.append_withdrawal(environment.trojan_sequence().into());
            } else {
                logs.append_heartbeat(0, index);
            }
        }
        if split == environment.log_size(horizon) {
            logs.append_fork(environment);
        }
        logs
    }

    /// Makes the adversary's chain: the log so far, a trojan, and other entries up to the fork's
    /// last size.
    fn append_fork(&mut self, environment: &Environment) {
        self.chains[1] = self.chains[0].clone();
        self.append_trojan(1, environment);
        let size = environment.fork_size(environment.scenario.horizon);
        for index in environment.split_size() + 1..size {
            self.append_heartbeat(1, index);
        }
    }

    fn append_trojan(&mut self, chain: u8, environment: &Environment) {
        debug_assert_eq!(environment.trojan().map(|(_, chain)| chain), Some(chain));
        let adversary = environment.scenario.adversary.as_ref();
        let start = adversary.map_or(0, |adversary| adversary.start);
        let sequence = environment.trojan_sequence().into();
        self.append_release(chain, sequence, Timestamp(EPOCH + start / 1000));
    }

    /// Appends an entry that is no release.
    fn append_heartbeat(&mut self, chain: u8, index: u32) {
        let text = format!("unanimity/heartbeat/v1\nentry {index}\n");
        let mut note = Note::unsigned(&text).expect("a note's text");
        note.sign(&self.keys.publisher_keys[0]);
        self.chains[usize::from(chain)].push(note.to_string().into_bytes());
    }

    /// Appends the publisher's withdrawal of a release.
    fn append_withdrawal(&mut self, sequence: u64) {
        let (log, product, channel) = log_product_and_channel(&self.keys);
        let (issued, reason) = (Timestamp(EPOCH), "Not ours: keys were stolen.".to_owned());
        let text = Withdrawal { log, product, channel, sequence, issued, reason };
        self.chains[0].push(signed(&self.keys, &text.to_string()));
    }

    fn append_release(&mut self, chain: u8, sequence: u64, issued: Timestamp) {
        let (entry, artifact) = sign(&self.keys, sequence, issued);
        let to = &mut self.chains[usize::from(chain)];
        self.releases.insert(sequence, (to.entries.len() as u32, chain));
        to.artifacts.insert(artifact_path(&Hash::digest(&artifact)), artifact);
        to.push(entry);
    }

    /// The file that a mirror with this head sends for a path; `None` if the log has no such file.
    pub(super) fn read(&self, head: TraceHead, path: &str) -> Option<Vec<u8>> {
        match path {
            "checkpoint" => Some(self.tree_head(head).note().as_bytes().to_vec()),
            path => self.chains[usize::from(head.chain)].read(path, head.size),
        }
    }

    /// An entry bundle as [`SimulatedLogs::read`] returns it, except that its last entry is
    /// replaced by a release that is in no log.
    pub(super) fn read_with_unlogged_release(
        &self,
        head: TraceHead,
        path: &str,
    ) -> Option<Vec<u8>> {
        let bundle = self.read(head, path)?;
        let mut entries = split_bundle(&bundle)?;
        *entries.last_mut()? = &self.unlogged;
        Some(join_bundle(entries))
    }

    /// A tile of the tree with this head, as a peer sends it; `None` if the tree has no such tile.
    pub(super) fn tile(&self, head: TraceHead, tile: Tile) -> Option<Vec<u8>> {
        if !tile.is_within(head.size.into()) {
            return None;
        }
        self.chains[usize::from(head.chain)].read(&tile.path(), head.size)
    }

    /// The signed tree head with this chain and size.
    pub(super) fn tree_head(&self, head: TraceHead) -> TreeHead {
        let mut heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = heads.entry(head).or_insert_with(|| {
            let root = self.chains[usize::from(head.chain)].roots[head.size as usize];
            self.keys.sign_head(head.size.into(), root)
        });
        signed.clone()
    }

    /// The chain and size of a signed tree head.
    pub(super) fn trace_head(&self, head: &TreeHead) -> TraceHead {
        let size = head.size() as u32;
        let honest = self.chains[0].roots.get(size as usize) == Some(head.root());
        TraceHead { chain: u8::from(!honest), size }
    }

    /// The index and chain of the release with this sequence.
    pub(super) fn find_release(&self, sequence: u64) -> Option<(u32, u8)> {
        self.releases.get(&sequence).copied()
    }
}

impl LogContents {
    fn empty() -> LogContents {
        LogContents { roots: vec![Hash::empty_root()], ..LogContents::default() }
    }

    fn push(&mut self, entry: Vec<u8>) {
        let mut hash = Hash::leaf(&entry);
        self.entries.push(entry);
        self.frontier.push(hash);
        self.roots.push(self.frontier.root());
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if !(hashes.len() as u64).is_multiple_of(TILE_WIDTH) {
                return;
            }
            hash = subtree_root(&hashes[hashes.len() - TILE_WIDTH as usize..]);
        }
    }

    /// A file of the log's first `size` entries, or an artifact; `None` if there is no such file.
    fn read(&self, path: &str, size: u32) -> Option<Vec<u8>> {
        if let Some(artifact) = self.artifacts.get(path) {
            return Some(artifact.clone());
        }
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = parse_index_and_width(rest)?;
        let first = usize::try_from(index.checked_mul(TILE_WIDTH)?).ok()?;
        let range = first..first.checked_add(usize::from(width))?;
        // The number of log entries under one entry or hash of the file.
        let entries = match level {
            "entries" => 1,
            level => 1u64.checked_shl(8 * level.parse::<u32>().ok()?)?,
        };
        if (range.end as u64).checked_mul(entries)? > u64::from(size) {
            return None;
        }
        if level == "entries" {
            debug_assert_eq!(path, entries_path(index, width));
            return Some(join_bundle(self.entries.get(range)?.iter().map(Vec::as_slice)));
        }
        let hashes = self.levels.get(level.parse::<usize>().ok()?)?.get(range)?;
        Some(hashes.iter().flat_map(|hash| hash.0).collect())
    }
}

fn join_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let framed = |entry: &'a [u8]| [&(entry.len() as u16).to_be_bytes()[..], entry].concat();
    entries.into_iter().flat_map(framed).collect()
}

/// The log entry of a release, signed by enough publishers, and the release's artifact.
fn sign(keys: &FixtureKeys, sequence: u64, issued: Timestamp) -> (Vec<u8>, Vec<u8>) {
    let (log, product, channel) = log_product_and_channel(keys);
    let version = name(&format!("{sequence}"));
    let valid_for = Duration::from_secs(365 * 24 * 3600);
    let release = ReleaseDraft { log, product, channel, sequence, version, issued, valid_for };
    let artifact = format!("program {sequence}\n").into_bytes();
    let manifest =
        unanimity_publish::build_manifest(release, [(platform(), name("hello"), artifact.clone())])
            .expect("a manifest within every bound");
    (signed(keys, &manifest.to_string()), artifact)
}

/// The log, product and channel of all releases.
fn log_product_and_channel(keys: &FixtureKeys) -> (Origin, Name, Name) {
    (keys.log.origin.clone(), name("hello"), name("stable"))
}

/// The log entry of a statement, signed by enough publishers.
fn signed(keys: &FixtureKeys, text: &str) -> Vec<u8> {
    let mut note = Note::unsigned(text).expect("a note's text");
    keys.publisher_keys[..2].iter().for_each(|key| note.sign(key));
    note.to_string().into_bytes()
}

/// Parses index and width of a tile: `x001/x234/067.p/5` is tile 1234067 with 5 hashes or entries.
fn parse_index_and_width(path: &str) -> Option<(u64, u16)> {
    let (number, width) = match path.split_once(".p/") {
        Some((number, width)) => (number, width.parse().ok()?),
        None => (path, TILE_WIDTH as u16),
    };
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, width))
}
