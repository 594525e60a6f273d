//! What a circle is played with: its keys and its files. Nobody acts here by themselves.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use unanimity_config::this_platform;
use unanimity_install::{InstallRoot, Installed};
use unanimity_log::{LogWriter, TileStore};
use unanimity_net::Mirror;
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::tile::{TILE_WIDTH, width};
use unanimity_protocol::{Evidence, Hash, Manifest, Note, Timestamp, TreeHead, Withdrawal};
use unanimity_publish::{ArtifactDraft, ReleaseDraft};
use unanimity_state::EvidenceStore;
use unanimity_storage::{Mode, Storage};

use crate::{FixtureKeys, PEER_NAMES, TestError, parse_name};

/// A circle's files, below one directory:
///
/// ```text
/// log/                the publisher's log, honest
/// fork/               another one under the same key, once an attacker makes it
/// mirrors/WHO         a link: what this peer, or the client, is shown
/// peers/WHO/state     a peer's state
/// client/             the client's configuration, its state, and the program it installs
/// ```
#[derive(Clone)]
pub struct Fixture {
    /// Where everything is.
    pub directory: PathBuf,
    /// The keys.
    pub keys: FixtureKeys,
}

/// One release to be made.
#[derive(Clone, Debug)]
pub struct ReleaseSpec {
    /// Its sequence.
    pub sequence: u64,
    /// Its version.
    pub version: &'static str,
    /// Its one file.
    pub artifact: Vec<u8>,
    /// What that is called. If this is an archive's name, the archive's tree is installed.
    pub file: &'static str,
    /// Which of the publisher's keys sign, by number.
    pub signers: Vec<usize>,
    /// How long it may be installed.
    pub valid_for: Duration,
}

impl ReleaseSpec {
    /// A good release: signed by two, installable for 90 days.
    pub fn new(sequence: u64, version: &'static str, artifact: &[u8]) -> ReleaseSpec {
        let good_for = Duration::from_secs(90 * 24 * 3600);
        let (artifact, signers) = (artifact.to_vec(), vec![0, 1]);
        ReleaseSpec { sequence, version, artifact, file: "hello", signers, valid_for: good_for }
    }
}

impl Fixture {
    /// Makes an empty log, and shows it to everybody, in an empty directory.
    pub fn create(directory: &Path, circle: FixtureKeys) -> Result<Fixture, TestError> {
        fs::create_dir_all(directory.join("mirrors"))?;
        let (log, origin) = (directory.join("log"), circle.log.origin.clone());
        LogWriter::init(&log, origin, circle.log_key.clone(), Storage::default())?;
        for who in PEER_NAMES.iter().chain(&["client"]) {
            symlink("../log", directory.join("mirrors").join(who))?;
        }
        Ok(Fixture { directory: directory.to_owned(), keys: circle })
    }

    /// A copy in another directory. Everybody who acts on this one has to be at rest.
    pub fn copy_to(&self, directory: &Path) -> Result<Fixture, TestError> {
        copy_tree(&self.directory, directory)?;
        Ok(Fixture { directory: directory.to_owned(), keys: self.keys.clone() })
    }

    /// Where a peer keeps its state.
    pub fn peer_state(&self, peer: usize) -> PathBuf {
        self.directory.join("peers").join(PEER_NAMES[peer]).join("state")
    }

    /// Where the client keeps its state.
    pub fn client_state(&self) -> PathBuf {
        self.directory.join("client/state")
    }

    /// Where the client installs.
    pub fn install_root(&self) -> PathBuf {
        self.directory.join("client/hello")
    }

    /// The publisher's log.
    pub fn log_directory(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Signs a release, without logging it.
    pub fn sign_release_at(
        &self,
        draft: &ReleaseSpec,
        now: Timestamp,
    ) -> Result<(Manifest, Note), TestError> {
        let release = ReleaseDraft {
            log: self.keys.log.origin.clone(),
            product: parse_name("hello"),
            channel: parse_name("stable"),
            sequence: draft.sequence,
            version: draft.version.parse()?,
            issued: now,
            valid_for: draft.valid_for,
        };
        let file = draft.file.parse()?;
        let artifact =
            ArtifactDraft::from_named_file(this_platform(), file, draft.artifact.clone())?;
        let manifest = unanimity_publish::build_manifest(release, [artifact])?;
        let mut note = Note::unsigned(&manifest.to_string())?;
        draft.signers.iter().for_each(|&key| note.sign(&self.keys.publisher_keys[key]));
        Ok((manifest, note))
    }

    /// Signs a release and appends it to the log in `log/`, or to the attacker's in `fork/`.
    pub fn publish_release(
        &self,
        log: &str,
        draft: &ReleaseSpec,
        now: Timestamp,
    ) -> Result<Manifest, TestError> {
        let (manifest, note) = self.sign_release_at(draft, now)?;
        self.append(log, &note, Some(&draft.artifact))?;
        Ok(manifest)
    }

    /// Takes a release back, in the same logs.
    pub fn publish_withdrawal(
        &self,
        log: &str,
        sequence: u64,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), TestError> {
        let withdrawal = unanimity_publish::check_withdrawal(Withdrawal {
            log: self.keys.log.origin.clone(),
            product: parse_name("hello"),
            channel: parse_name("stable"),
            sequence,
            issued: now,
            reason: reason.to_owned(),
        })?;
        let mut note = Note::unsigned(&withdrawal.to_string())?;
        self.keys.publisher_keys[..2].iter().for_each(|key| note.sign(key));
        self.append(log, &note, None)
    }

    fn append(&self, log: &str, note: &Note, artifact: Option<&[u8]>) -> Result<(), TestError> {
        let directory = self.directory.join(log);
        let secret = self.keys.log_key.clone();
        let mut writer = LogWriter::open(&directory, secret, Storage::default())?;
        // What was forced into it is not on the writer's record; here its own checkpoint is mirror enough.
        writer.check_mirror("itself", &fs::read(directory.join("checkpoint"))?)?;
        if let Some(artifact) = artifact {
            writer.add_artifact(artifact)?;
        }
        writer.append(&[note.to_string().into_bytes()])?;
        Ok(())
    }

    /// Appends any bytes at all to a log of this stage, as somebody who holds the log's key can.
    pub fn append_unchecked(&self, log: &str, entries: &[Vec<u8>]) -> Result<TreeHead, TestError> {
        let directory = self.directory.join(log);
        let size = self.head_of(log)?.size();
        let mut tiles = TileStore::open(&directory, size, Mode::Public, Storage::default())?;
        let growth = tiles.grow(entries.iter().map(|entry| Hash::leaf(entry)));
        let head = self.keys.sign_head(growth.size(), growth.root());
        tiles.commit(growth)?;
        let mut bundle = match width(size, size / TILE_WIDTH) {
            Some(width) => fs::read(directory.join(entries_path(size / TILE_WIDTH, width)))?,
            None => Vec::new(),
        };
        for (index, entry) in (size..).zip(entries) {
            bundle.extend((u16::try_from(entry.len())?).to_be_bytes());
            bundle.extend(entry);
            let held = split_bundle(&bundle).map_or(0, |entries| entries.len());
            if held as u64 == TILE_WIDTH || index + 1 == head.size() {
                let path = directory.join(entries_path(index / TILE_WIDTH, held as u16));
                fs::create_dir_all(unanimity_storage::parent(&path))?;
                fs::write(path, std::mem::take(&mut bundle))?;
            }
        }
        fs::write(directory.join("checkpoint"), head.note())?;
        Ok(head)
    }

    /// Copies what is in `log/` now to another directory of this stage: a fork to grow, or a
    /// frozen mirror.
    pub fn copy_log(&self, to: &str) -> Result<PathBuf, TestError> {
        let directory = self.directory.join(to);
        copy_tree(&self.log_directory(), &directory)?;
        Ok(directory)
    }

    /// Shows somebody (a peer's name, or `client`) the log in a directory of this stage.
    pub fn set_mirror(&self, reader: &str, log: &str) -> Result<(), TestError> {
        let link = self.directory.join("mirrors").join(reader);
        fs::remove_file(&link)?;
        Ok(symlink(Path::new("..").join(log), &link)?)
    }

    /// What somebody (a peer's name, or `client`) is shown.
    pub fn mirror(&self, reader: &str) -> Mirror {
        Mirror::from_directory(self.mirror_path(reader))
    }

    /// Where that is.
    pub fn mirror_path(&self, reader: &str) -> PathBuf {
        self.directory.join("mirrors").join(reader)
    }

    /// Shows every peer the log in a directory of this stage.
    pub fn set_peer_mirrors(&self, log: &str) -> Result<(), TestError> {
        PEER_NAMES.iter().try_for_each(|who| self.set_mirror(who, log))
    }

    /// The head of a log in a directory of this stage.
    pub fn head_of(&self, log: &str) -> Result<TreeHead, TestError> {
        let bytes = fs::read(self.directory.join(log).join("checkpoint"))?;
        Ok(TreeHead::verify(&bytes, &self.keys.log)?)
    }

    /// The head that a peer has on its disk.
    pub fn peer_head(&self, peer: usize) -> Result<Option<TreeHead>, TestError> {
        let path = self.peer_state(peer).join("peer/head");
        let bytes = unanimity_storage::read(&path, MAX_NOTE_BYTES)?;
        Ok(bytes.map(|bytes| TreeHead::verify(&bytes, &self.keys.log)).transpose()?)
    }

    /// What the client has installed.
    pub fn installed_version(&self) -> Result<Option<Installed>, TestError> {
        Ok(InstallRoot::new(&self.install_root(), Storage::default()).installed()?)
    }

    /// The evidence that holds the client's updates back.
    pub fn latched_evidence(&self) -> Result<Option<Evidence>, TestError> {
        let log = &self.keys.log;
        let store = EvidenceStore::new(&self.client_state(), log, Storage::default());
        let Some(id) = store.find_unacknowledged()? else { return Ok(None) };
        Ok(Some(Evidence::verify(&store.text(&id)?, log)?))
    }
}

/// Writes a file as an attacker would, who has no reason to be careful: in place of the old one.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::remove_file(path)?;
    fs::write(path, bytes)
}

/// Files larger than this, in bytes, are shared by copies until somebody replaces one.
const HARD_LINK_MIN_BYTES: u64 = 64 * 1024;

/// Files that are written in place, which no two copies may share: what a daemon says, and the
/// database of what it knows of Tor.
const MODIFIED_IN_PLACE: [&str; 2] = ["log", "dir.sqlite3"];

/// Copies a directory with its links and everybody's rights, but for locks and sockets. Large files
/// are shared: everything durable is replaced, never changed in place.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let Some(name) = entry.file_name() else { continue };
        let target = to.join(name);
        if kind.is_symlink() {
            symlink(fs::read_link(&entry)?, target)?;
        } else if kind.is_dir() {
            copy_tree(&entry, &target)?;
        } else if kind.is_file() && name != ".lock" {
            let in_place = MODIFIED_IN_PLACE.iter().any(|other| name == *other);
            if !in_place && entry.metadata()?.len() > HARD_LINK_MIN_BYTES {
                fs::hard_link(&entry, target)?;
            } else {
                fs::copy(&entry, target)?;
            }
        }
    }
    Ok(())
}
