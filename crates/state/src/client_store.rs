//! What the client remembers between two runs, in one file that is replaced whole.

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

/// Facts, each stored only after the check it records.
#[derive(Clone, Debug, Default)]
pub struct ClientState {
    /// The largest head that a whole unanimous roll had confirmed.
    pub head: Option<TreeHead>,
    /// The tree's right edge where reading stopped: at `head`, or at 0.
    pub frontier: Frontier,
    /// Our product's releases below the frontier.
    pub catalog: Catalog,
    /// Entries below this index had their refusals reported.
    pub reported: u64,
    /// Unanimous rolls that a pending release may need as its earlier one, oldest first.
    pub rounds: Vec<Round>,
    /// Each peer's largest view so far.
    pub largest_heads: BTreeMap<PublicKeyBytes, CosignedHead>,
    /// Since when a peer has not answered with a view that counts.
    pub silent_since: BTreeMap<PublicKeyBytes, Timestamp>,
    /// The newest time that a unanimous roll was closed at.
    pub latest_verified_time: Timestamp,
    /// When all peers last agreed.
    pub unanimous_at: Option<Timestamp>,
    /// The highest sequence ever installed.
    pub highest_installed: u64,
    /// How the mirrors have been.
    pub mirror_backoff: MirrorBackoff,
}

impl ClientState {
    /// Since when no roll was unanimous, if that is longer than `limit`: since the last one, or since
    /// the first that was not.
    pub fn no_progress_since(&self, now: Timestamp, limit: Duration) -> Option<Timestamp> {
        let first = self.silent_since.values().min().copied();
        self.unanimous_at.or(first).filter(|since| now.since(*since) >= limit)
    }
}

/// The file, and the lock that makes this process its only user.
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
    (the log's head, the peers' largest views and the waiting time are then learned anew)";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile<'a> {
    version: u32,
    log: Cow<'a, str>,
    /// What the catalog was read under; read again from the start if it changed.
    policy: Cow<'a, str>,
    head: Option<Cow<'a, str>>,
    frontier_size: u64,
    frontier: Vec<String>,
    catalog: Vec<(u64, String)>,
    reported: u64,
    rolls: Vec<RoundFile<'a>>,
    largest: Vec<Cow<'a, str>>,
    silent_since: Vec<(String, Timestamp)>,
    newest: Timestamp,
    unanimous_at: Option<Timestamp>,
    floor: u64,
    /// Each mirror that failed: how often in a row, and when last. Not in version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mirrors: Option<Vec<(String, u32, Timestamp)>>,
    /// SHA-256 over this file with this field empty: most of what is above bears no signature,
    /// and one wrong digit in it would be a weaker check. The last field.
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoundFile<'a> {
    at: Timestamp,
    views: Vec<Cow<'a, str>>,
}

/// The most bytes of the state file: thousands of releases.
const MAX_STATE_BYTES: usize = 256 * 1024 * 1024;

const VERSION: u32 = 2;
/// What has no health of mirrors in it, and is read as well.
const FIRST_VERSION: u32 = 1;

impl ClientStore {
    /// Opens the state for changing it: takes the lock in `directory`, which is made if needed.
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

    /// Reads the state without changing it, as it was last saved.
    pub fn read(
        directory: &Path,
        policy: &Policy,
        peers: &PeerSet,
        disk: &Storage,
    ) -> Result<ClientState, StoreError> {
        let open = |file: StateFile<'_>| file.verify(policy, peers);
        Ok(read_file(directory, policy, disk, open)?.unwrap_or_default())
    }

    /// Reads what is stored of our product's releases, whoever the peers are.
    pub fn read_catalog(
        directory: &Path,
        policy: &Policy,
        disk: &Storage,
    ) -> Result<Catalog, StoreError> {
        let open = |file: StateFile<'_>| file.catalog(policy);
        Ok(read_file(directory, policy, disk, open)?.unwrap_or_default())
    }

    /// Replaces the state. The head moves only if the stored one is still the one that was read,
    /// and only forwards.
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

/// Reads the file, if there is one of this log.
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
        // A mistyped log leaves nothing worth keeping: no head was ever trusted under it.
        let nothing = file.head.is_none() && file.largest.is_empty();
        return if nothing { Ok(None) } else { Err(StoreError::OtherLog(path)) };
    }
    Ok(Some(open(file).ok_or_else(damaged)?))
}

fn log_id_hex(policy: &Policy) -> String {
    Hash(policy.log.id().0).hex()
}

/// What decides which entries the catalog holds: what we go by, and the kinds of statement that this
/// version knows.
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
    /// The file without its digest.
    fn from_state(state: &'a ClientState, log: &'a str, policy: &'a str) -> StateFile<'a> {
        let views =
            |roll: &'a Round| roll.cosigned_heads().map(|view| view.note().into()).collect();
        StateFile {
            version: VERSION,
            log: log.into(),
            policy: policy.into(),
            head: state.head.as_ref().map(|head| head.note().into()),
            frontier_size: state.frontier.size(),
            frontier: state.frontier.peaks().iter().map(Hash::base64).collect(),
            catalog: (state.catalog.entries().iter())
                .map(|fetched| (fetched.index, fetched.note.to_string()))
                .collect(),
            reported: state.reported,
            rolls: (state.rounds.iter())
                .map(|round| RoundFile { at: round.closed_at(), views: views(round) })
                .collect(),
            largest: state.largest_heads.values().map(|view| view.note().into()).collect(),
            silent_since: (state.silent_since.iter())
                .map(|(key, since)| (key.to_string(), *since))
                .collect(),
            newest: state.latest_verified_time,
            unanimous_at: state.unanimous_at,
            floor: state.highest_installed,
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

    /// The text with its digest filled in.
    fn to_text_with_digest(&self) -> String {
        let mut text = self.text();
        let digest = Hash::digest(text.as_bytes()).hex();
        text.insert_str(text.len() - "\"\n}".len(), &digest);
        text
    }

    /// The releases, if they were read under this policy; and what is taken back by those who have to
    /// sign for it by this one, whatever it was read under.
    fn catalog(&self, policy: &Policy) -> Option<Catalog> {
        let mut catalog = Catalog::default();
        for (index, note) in &self.catalog {
            Note::parse(note.as_bytes()).ok()?;
            catalog.add_entry(*index, note.as_bytes(), policy);
        }
        if self.policy != policy_fingerprint(policy) {
            let all = std::mem::take(&mut catalog);
            catalog.merge_withdrawals(&all);
        }
        Some(catalog)
    }

    /// Opens every note again. `None` if anything is not what was stored.
    fn verify(self, policy: &Policy, peers: &PeerSet) -> Option<ClientState> {
        let head = match &self.head {
            Some(note) => Some(TreeHead::verify(note.as_bytes(), &policy.log).ok()?),
            None => None,
        };
        let mirrors = self.mirrors.iter().flatten();
        let mut state = ClientState {
            mirror_backoff: mirrors
                .map(|(name, in_a_row, last)| {
                    (name.clone(), MirrorFailures { consecutive: *in_a_row, last: *last })
                })
                .collect(),
            reported: self.reported,
            latest_verified_time: self.newest,
            unanimous_at: self.unanimous_at,
            highest_installed: self.floor,
            ..ClientState::default()
        };
        if self.policy == policy_fingerprint(policy) {
            let peaks = self.frontier.iter().map(|hash| Hash::from_base64(hash));
            state.frontier = Frontier::new(self.frontier_size, peaks.collect::<Option<_>>()?)?;
        }
        state.catalog = self.catalog(policy)?;
        // Reading goes on where the trusted head ends, or starts again.
        let trusted = head.as_ref().map(|head| (head.size(), *head.root()));
        let frontier_head = (state.frontier.size(), state.frontier.root());
        if frontier_head.0 > 0 && trusted != Some(frontier_head) {
            return None;
        }
        state.head = head;
        for round in self.rolls {
            let views = round.views.iter().map(|note| verify_cosigned_head(note, policy, peers));
            let received = (views.collect::<Option<Vec<_>>>()?.into_iter().flatten())
                .map(|view| (view.cosigner(), Ok(view)));
            state.rounds.push(Round::new(peers, round.at, received.collect()));
        }
        for note in &self.largest {
            if let Some(view) = verify_cosigned_head(note, policy, peers)? {
                state.largest_heads.insert(view.cosigner(), view);
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

/// `None` if it is no note of the log; `Some(None)` if its cosigner is no peer of ours any more.
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
