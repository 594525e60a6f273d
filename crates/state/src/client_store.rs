//! The client's state between two runs: the file `client.json`, which is replaced as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{
    Catalog, CosignedHead, Hash, Manifest, Note, PeerSet, Policy, PublicKeyBytes, Round, Timestamp,
    TreeHead, Withdrawal,
};
use unanimity_storage::{Lock, Mode, Storage, StorageError};

use crate::{MirrorBackoff, MirrorFailures, StoreError};

/// The client's state. Each value is stored only after the check that it records.
#[derive(Clone, Debug, Default)]
pub struct ClientState {
    /// The trusted head: the largest one that every peer confirmed in one round.
    pub head: Option<TreeHead>,
    /// The frontier of the tree at which reading of the log stopped: at `head`, or at size 0.
    pub frontier: Frontier,
    /// The releases and withdrawals of this product below the frontier.
    pub catalog: Catalog,
    /// The refusals of all entries below this index are reported already.
    pub reported: u64,
    /// The unanimous rounds that a settling release may need as its earlier round, oldest first.
    pub rounds: Vec<Round>,
    /// The largest cosigned head of each peer so far.
    pub largest_heads: BTreeMap<PublicKeyBytes, CosignedHead>,
    /// The peers that give no valid answer, each with the time since which it has given none.
    pub silent_since: BTreeMap<PublicKeyBytes, Timestamp>,
    /// The latest closing time of all unanimous rounds. A clock more than 60 s behind is refused.
    pub latest_verified_time: Timestamp,
    /// The closing time of the last unanimous round, if there was one.
    pub unanimous_at: Option<Timestamp>,
    /// The highest sequence that was installed and proved good: the floor.
    pub highest_installed: u64,
    /// The mirrors that failed recently.
    pub mirror_backoff: MirrorBackoff,
}

impl ClientState {
    /// Returns the time since which no round was unanimous, if that is at least `limit` ago.
    ///
    /// This is the time of the last unanimous round. If no round was unanimous yet, it is the
    /// earliest time in [`ClientState::silent_since`].
    pub fn no_progress_since(&self, now: Timestamp, limit: Duration) -> Option<Timestamp> {
        let first = self.silent_since.values().min().copied();
        self.unanimous_at.or(first).filter(|since| now.since(*since) >= limit)
    }
}

/// The client's state file, with the lock that makes this process its only user.
#[derive(Debug)]
pub struct ClientStore {
    path: PathBuf,
    disk: Storage,
    log: String,
    policy: String,
    stored_head: Option<TreeHead>,
    _lock: Lock,
}

const REMEDY: &str = "restore it from a backup, or remove it to begin again without memory \
    (the log's head, the peers' largest heads and the waiting time are then lost)";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile<'a> {
    version: u32,
    log: Cow<'a, str>,
    /// The fingerprint of the policy with which the catalog was read. After a change of the policy,
    /// the log is read again from the start.
    policy: Cow<'a, str>,
    head: Option<Cow<'a, str>>,
    frontier_size: u64,
    frontier: Vec<String>,
    catalog: Vec<(u64, String)>,
    reported: u64,
    rounds: Vec<RoundFile<'a>>,
    largest_heads: Vec<Cow<'a, str>>,
    silent_since: Vec<(String, Timestamp)>,
    latest_verified_time: Timestamp,
    unanimous_at: Option<Timestamp>,
    highest_installed: u64,
    /// Each mirror that failed, with the number of consecutive failures and the time of the last
    /// failure. A file of version 1 lacks this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mirrors: Option<Vec<(String, u32, Timestamp)>>,
    /// SHA-256 of this file with this field empty. Most of the values have no signature, and one
    /// changed digit could weaken a check. This field has to be the last field.
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoundFile<'a> {
    closed_at: Timestamp,
    cosigned_heads: Vec<Cow<'a, str>>,
}

/// The most bytes of the state file: 256 MiB, enough for thousands of releases.
const MAX_STATE_BYTES: usize = 256 * 1024 * 1024;

const VERSION: u32 = 2;
/// The file version without failed mirrors, which can still be read.
const FIRST_VERSION: u32 = 1;

impl ClientStore {
    /// Opens the state for changes. Creates `directory` if it is missing, and takes its lock.
    ///
    /// Fails with [`StoreError::Busy`] if another process holds the lock.
    pub fn open(
        directory: &Path,
        policy: &Policy,
        peers: &PeerSet,
        disk: Storage,
    ) -> Result<(ClientStore, ClientState), StoreError> {
        disk.make_dir(directory, Mode::Private).map_err(StorageError::at(directory))?;
        let lock = disk.lock(directory).map_err(StorageError::at(directory))?;
        let lock = lock.ok_or_else(|| StoreError::Busy(directory.to_owned()))?;
        let path = directory.join("client.json");
        let state = ClientStore::read(directory, policy, peers, &disk)?;
        let stored_head = state.head.clone();
        let (log, policy) = (log_id_hex(policy), policy_fingerprint(policy));
        Ok((ClientStore { path, disk, log, policy, stored_head, _lock: lock }, state))
    }

    /// Reads the last saved state, without the lock. Returns the default state if there is no file,
    /// or only one of another log without any head.
    pub fn read(
        directory: &Path,
        policy: &Policy,
        peers: &PeerSet,
        disk: &Storage,
    ) -> Result<ClientState, StoreError> {
        let open = |file: StateFile<'_>| file.verify(policy, peers);
        Ok(read_file(directory, policy, disk, open)?.unwrap_or_default())
    }

    /// Reads the stored releases and withdrawals of this product, without the list of peers.
    pub fn read_catalog(
        directory: &Path,
        policy: &Policy,
        disk: &Storage,
    ) -> Result<Catalog, StoreError> {
        let open = |file: StateFile<'_>| file.catalog(policy);
        Ok(read_file(directory, policy, disk, open)?.unwrap_or_default())
    }

    /// Replaces the stored state durably. Fails with [`StoreError::HeadMoved`] if the trusted head
    /// would become smaller.
    pub fn save(&mut self, state: &ClientState) -> Result<(), StoreError> {
        let size = |head: &Option<TreeHead>| head.as_ref().map_or(0, TreeHead::size);
        if size(&state.head) < size(&self.stored_head) {
            return Err(StoreError::HeadMoved);
        }
        let text = StateFile::from_state(state, &self.log, &self.policy).to_text_with_digest();
        (self.disk.write(&self.path, text.as_bytes(), Mode::Private))
            .map_err(StorageError::at(&self.path))?;
        self.stored_head.clone_from(&state.head);
        Ok(())
    }
}

/// Reads the state file. `None` if there is no file, or one of another log that has no heads.
fn read_file<T>(
    directory: &Path,
    policy: &Policy,
    disk: &Storage,
    open: impl FnOnce(StateFile<'_>) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let path = directory.join("client.json");
    let Some(bytes) = disk.read(&path, MAX_STATE_BYTES)? else { return Ok(None) };
    let damaged = || StorageError::Corrupt { path: path.clone(), remedy: REMEDY };
    let mut file: StateFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    let digest = std::mem::take(&mut file.sha256);
    let version = if file.mirrors.is_some() { VERSION } else { FIRST_VERSION };
    if file.version != version || digest != Hash::digest(file.text().as_bytes()).hex() {
        return Err(damaged().into());
    }
    if file.log != log_id_hex(policy) {
        // A mistyped log key leaves a file without heads. Such a file protects nothing.
        let has_no_heads = file.head.is_none() && file.largest_heads.is_empty();
        return if has_no_heads { Ok(None) } else { Err(StoreError::OtherLog(path)) };
    }
    Ok(Some(open(file).ok_or_else(damaged)?))
}

fn log_id_hex(policy: &Policy) -> String {
    Hash(policy.log.id().0).hex()
}

/// The digest of everything that decides which entries the catalog holds: product, channel, keys,
/// threshold, and the kinds of statement that this version of the program knows.
fn policy_fingerprint(policy: &Policy) -> String {
    let kinds = [Manifest::HEADER, Withdrawal::HEADER].join(" ");
    let mut text =
        format!("{kinds}\n{} {} {}\n", policy.product, policy.channel, policy.threshold());
    for key in policy.publishers() {
        text += &format!("{key}\n");
    }
    Hash::digest(text.as_bytes()).hex()
}

impl<'a> StateFile<'a> {
    /// Builds the file without its digest.
    fn from_state(state: &'a ClientState, log: &'a str, policy: &'a str) -> StateFile<'a> {
        let cosigned_heads =
            |round: &'a Round| round.cosigned_heads().map(|head| head.note().into()).collect();
        StateFile {
            version: VERSION,
            log: log.into(),
            policy: policy.into(),
            head: state.head.as_ref().map(|head| head.note().into()),
            frontier_size: state.frontier.size(),
            frontier: state.frontier.peaks().iter().map(Hash::base64).collect(),
            catalog: (state.catalog.entries().iter())
                .map(|entry| (entry.index, entry.note.to_string()))
                .collect(),
            reported: state.reported,
            rounds: (state.rounds.iter())
                .map(|round| RoundFile {
                    closed_at: round.closed_at(),
                    cosigned_heads: cosigned_heads(round),
                })
                .collect(),
            largest_heads: state.largest_heads.values().map(|head| head.note().into()).collect(),
            silent_since: (state.silent_since.iter())
                .map(|(key, since)| (key.to_string(), *since))
                .collect(),
            latest_verified_time: state.latest_verified_time,
            unanimous_at: state.unanimous_at,
            highest_installed: state.highest_installed,
            mirrors: Some(
                (state.mirror_backoff.iter())
                    .map(|(name, failures)| (name.to_owned(), failures.consecutive, failures.last))
                    .collect(),
            ),
            sha256: String::new(),
        }
    }

    fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data")
    }

    /// Formats the file with its digest.
    fn to_text_with_digest(&self) -> String {
        let mut text = self.text();
        let digest = Hash::digest(text.as_bytes()).hex();
        text.insert_str(text.len() - "\"\n}".len(), &digest);
        text
    }

    /// Returns the stored releases and withdrawals that are valid under this policy. Returns only
    /// the withdrawals if the file was written under another policy. `None` if an entry is no note.
    fn catalog(&self, policy: &Policy) -> Option<Catalog> {
        let mut catalog = Catalog::default();
        for (index, note) in &self.catalog {
            Note::parse(note.as_bytes()).ok()?;
            catalog.add_entry(*index, note.as_bytes(), policy);
        }
        if self.policy != policy_fingerprint(policy) {
            let stored = std::mem::take(&mut catalog);
            catalog.merge_withdrawals(&stored);
        }
        Some(catalog)
    }

    /// Verifies every stored note again. `None` if a value is malformed, if a head's log signature
    /// does not verify, or if the frontier does not fit the head.
    fn verify(self, policy: &Policy, peers: &PeerSet) -> Option<ClientState> {
        let head = match &self.head {
            Some(note) => Some(TreeHead::verify(note.as_bytes(), &policy.log).ok()?),
            None => None,
        };
        let mirrors = self.mirrors.iter().flatten();
        let mut state = ClientState {
            mirror_backoff: mirrors
                .map(|(name, consecutive, last)| {
                    (name.clone(), MirrorFailures { consecutive: *consecutive, last: *last })
                })
                .collect(),
            reported: self.reported,
            latest_verified_time: self.latest_verified_time,
            unanimous_at: self.unanimous_at,
            highest_installed: self.highest_installed,
            ..ClientState::default()
        };
        if self.policy == policy_fingerprint(policy) {
            let peaks = self.frontier.iter().map(|hash| Hash::from_base64(hash));
            state.frontier = Frontier::new(self.frontier_size, peaks.collect::<Option<_>>()?)?;
        }
        state.catalog = self.catalog(policy)?;
        // Reading continues at the trusted head, or starts again at 0.
        let trusted = head.as_ref().map(|head| (head.size(), *head.root()));
        let frontier_head = (state.frontier.size(), state.frontier.root());
        if frontier_head.0 > 0 && trusted != Some(frontier_head) {
            return None;
        }
        state.head = head;
        for round in self.rounds {
            let heads =
                round.cosigned_heads.iter().map(|note| verify_cosigned_head(note, policy, peers));
            let received = (heads.collect::<Option<Vec<_>>>()?.into_iter().flatten())
                .map(|head| (head.cosigner(), Ok(head)));
            state.rounds.push(Round::new(peers, round.closed_at, received.collect()));
        }
        for note in &self.largest_heads {
            if let Some(head) = verify_cosigned_head(note, policy, peers)? {
                state.largest_heads.insert(head.cosigner(), head);
            }
        }
        for peer in peers {
            let key = peer.key.raw();
            let since = self.silent_since.iter().find(|(stored, _)| *stored == key.to_string());
            state.silent_since.extend(since.map(|(_, since)| (key, *since)));
        }
        Some(state)
    }
}

/// Verifies a stored cosigned head. `None` if the log has not signed it. `Some(None)` if none of
/// `peers` has cosigned it, because its cosigner is no longer a peer.
fn verify_cosigned_head(
    note: &str,
    policy: &Policy,
    peers: &PeerSet,
) -> Option<Option<CosignedHead>> {
    TreeHead::verify(note.as_bytes(), &policy.log).ok()?;
    let open = |peer: &unanimity_protocol::Peer| {
        CosignedHead::verify(note.as_bytes(), &policy.log, &peer.key)
    };
    Some(peers.iter().find_map(|peer| open(peer).ok()))
}
