//! Keys and files of a publisher, a log, five peers and a client, without running programs.

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

/// The keys of a publisher, a log and five peers, and the files of a test below one directory:
///
/// ```text
/// log/                the publisher's log, honest
/// fork/               an attacker's log under the same key, if a test makes one
/// mirrors/READER      a link to the log that this peer, or the client, reads
/// peers/NAME/state    a peer's state
/// client/             the client's configuration, its state, and the program it installs
/// ```
#[derive(Clone)]
pub struct Fixture {
    /// The directory of all files.
    pub directory: PathBuf,
    /// The keys of publisher, log and peers.
    pub keys: FixtureKeys,
}

/// A release for a test to sign.
#[derive(Clone, Debug)]
pub struct ReleaseSpec {
    /// The release's sequence.
    pub sequence: u64,
    /// The release's version, for people.
    pub version: &'static str,
    /// The bytes of the release's only artifact.
    pub artifact: Vec<u8>,
    /// The artifact's file name. If it is an archive's name, the archive's tree is installed.
    pub file: &'static str,
    /// The publisher's keys that sign, as indices into [`FixtureKeys::publisher_keys`].
    pub signers: Vec<usize>,
    /// The time from `issued` to `expires` in the manifest.
    pub valid_for: Duration,
}

impl ReleaseSpec {
    /// A good release: the file `hello`, signed by two keys, valid for 90 days.
    pub fn new(sequence: u64, version: &'static str, artifact: &[u8]) -> ReleaseSpec {
        let valid_for = Duration::from_secs(90 * 24 * 3600);
        let (artifact, signers) = (artifact.to_vec(), vec![0, 1]);
        ReleaseSpec { sequence, version, artifact, file: "hello", signers, valid_for }
    }
}

impl Fixture {
    /// Makes an empty log in an empty directory. The mirrors of every peer and of the client are
    /// links to this log.
    pub fn create(directory: &Path, keys: FixtureKeys) -> Result<Fixture, TestError> {
        fs::create_dir_all(directory.join("mirrors"))?;
        let (log, origin) = (directory.join("log"), keys.log.origin.clone());
        LogWriter::init(&log, origin, keys.log_key.clone(), Storage::default())?;
        for reader in PEER_NAMES.iter().chain(&["client"]) {
            symlink("../log", directory.join("mirrors").join(reader))?;
        }
        Ok(Fixture { directory: directory.to_owned(), keys })
    }

    /// Copies the fixture to another directory. No program may use the files meanwhile.
    pub fn copy_to(&self, directory: &Path) -> Result<Fixture, TestError> {
        copy_tree(&self.directory, directory)?;
        Ok(Fixture { directory: directory.to_owned(), keys: self.keys.clone() })
    }

    /// Returns the state directory of a peer.
    pub fn peer_state(&self, peer: usize) -> PathBuf {
        self.directory.join("peers").join(PEER_NAMES[peer]).join("state")
    }

    /// Returns the client's state directory.
    pub fn client_state(&self) -> PathBuf {
        self.directory.join("client/state")
    }

    /// Returns the client's install root.
    pub fn install_root(&self) -> PathBuf {
        self.directory.join("client/hello")
    }

    /// Returns the directory of the publisher's log.
    pub fn log_directory(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Signs a release, issued at `now`, without appending it to a log.
    pub fn sign_release_at(
        &self,
        spec: &ReleaseSpec,
        now: Timestamp,
    ) -> Result<(Manifest, Note), TestError> {
        let release = ReleaseDraft {
            log: self.keys.log.origin.clone(),
            product: parse_name("hello"),
            channel: parse_name("stable"),
            sequence: spec.sequence,
            version: spec.version.parse()?,
            issued: now,
            valid_for: spec.valid_for,
        };
        let file = spec.file.parse()?;
        let artifact =
            ArtifactDraft::from_named_file(this_platform(), file, spec.artifact.clone())?;
        let manifest = unanimity_publish::build_manifest(release, [artifact])?;
        let mut note = Note::unsigned(&manifest.to_string())?;
        spec.signers.iter().for_each(|&key| note.sign(&self.keys.publisher_keys[key]));
        Ok((manifest, note))
    }

    /// Signs a release, issued at `now`, and appends it to the log in the directory `log` of the
    /// fixture, such as `log` or `fork`.
    pub fn publish_release(
        &self,
        log: &str,
        spec: &ReleaseSpec,
        now: Timestamp,
    ) -> Result<Manifest, TestError> {
        let (manifest, note) = self.sign_release_at(spec, now)?;
        self.append(log, &note, Some(&spec.artifact))?;
        Ok(manifest)
    }

    /// Signs the withdrawal of a release with two keys, and appends it to the log in the directory
    /// `log` of the fixture.
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
        let log_key = self.keys.log_key.clone();
        let mut writer = LogWriter::open(&directory, log_key, Storage::default())?;
        // The writer has no record of the entries of `append_unchecked`. The log's own checkpoint
        // stands for the mirror that the writer compares with.
        writer.check_mirror("itself", &fs::read(directory.join("checkpoint"))?)?;
        if let Some(artifact) = artifact {
            writer.add_artifact(artifact)?;
        }
        writer.append(&[note.to_string().into_bytes()])?;
        Ok(())
    }

    /// Appends any bytes to a log of this fixture, as an attacker with the log's key can.
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

    /// Copies the log in `log/` to another directory of this fixture: the start of a fork, or a
    /// frozen mirror.
    pub fn copy_log(&self, to: &str) -> Result<PathBuf, TestError> {
        let directory = self.directory.join(to);
        copy_tree(&self.log_directory(), &directory)?;
        Ok(directory)
    }

    /// Lets a reader (a peer's name, or `client`) read the log in the directory `log` of this
    /// fixture from now on.
    pub fn set_mirror(&self, reader: &str, log: &str) -> Result<(), TestError> {
        let link = self.directory.join("mirrors").join(reader);
        fs::remove_file(&link)?;
        Ok(symlink(Path::new("..").join(log), &link)?)
    }

    /// Returns the mirror of a reader: a peer's name, or `client`.
    pub fn mirror(&self, reader: &str) -> Mirror {
        Mirror::from_directory(self.mirror_path(reader))
    }

    /// Returns the path of the mirror of `reader`. It is a symbolic link to a log's directory.
    pub fn mirror_path(&self, reader: &str) -> PathBuf {
        self.directory.join("mirrors").join(reader)
    }

    /// Lets every peer read the log in the directory `log` of this fixture from now on.
    pub fn set_peer_mirrors(&self, log: &str) -> Result<(), TestError> {
        PEER_NAMES.iter().try_for_each(|reader| self.set_mirror(reader, log))
    }

    /// Reads the head of the log in the directory `log` of this fixture.
    pub fn head_of(&self, log: &str) -> Result<TreeHead, TestError> {
        let bytes = fs::read(self.directory.join(log).join("checkpoint"))?;
        Ok(TreeHead::verify(&bytes, &self.keys.log)?)
    }

    /// Reads the head that a peer has stored.
    pub fn peer_head(&self, peer: usize) -> Result<Option<TreeHead>, TestError> {
        let path = self.peer_state(peer).join("peer/head");
        let bytes = unanimity_storage::read(&path, MAX_NOTE_BYTES)?;
        Ok(bytes.map(|bytes| TreeHead::verify(&bytes, &self.keys.log)).transpose()?)
    }

    /// Returns the version that the client has installed.
    pub fn installed_version(&self) -> Result<Option<Installed>, TestError> {
        Ok(InstallRoot::new(&self.install_root(), Storage::default()).installed()?)
    }

    /// Returns the evidence of a fork that the operator of the client has not acknowledged.
    pub fn latched_evidence(&self) -> Result<Option<Evidence>, TestError> {
        let log = &self.keys.log;
        let store = EvidenceStore::new(&self.client_state(), log, Storage::default());
        let Some(id) = store.find_unacknowledged()? else { return Ok(None) };
        Ok(Some(Evidence::verify(&store.text(&id)?, log)?))
    }
}

/// Replaces a file by a new one with other bytes, without a sync to the disk.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::remove_file(path)?;
    fs::write(path, bytes)
}

/// The size in bytes above which [`copy_tree`] makes a hard link instead of a copy.
const HARD_LINK_MIN_BYTES: u64 = 64 * 1024;

/// The names of files that programs modify in place, so copies must not share them: a daemon's log,
/// and arti's directory cache.
const MODIFIED_IN_PLACE: [&str; 2] = ["log", "dir.sqlite3"];

/// Copies a directory with its links and permissions, without locks and sockets. Large files become
/// hard links: durable files are replaced, never changed in place.
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
