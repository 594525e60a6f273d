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

use crate::{Broken, Circle, PEER_NAMES, name};

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
pub struct Stage {
    /// Where everything is.
    pub directory: PathBuf,
    /// The keys.
    pub circle: Circle,
}

/// One release to be made.
#[derive(Clone, Debug)]
pub struct Draft {
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
    pub good_for: Duration,
}

impl Draft {
    /// A good release: signed by two, installable for 90 days.
    pub fn new(sequence: u64, version: &'static str, artifact: &[u8]) -> Draft {
        let good_for = Duration::from_secs(90 * 24 * 3600);
        let (artifact, signers) = (artifact.to_vec(), vec![0, 1]);
        Draft { sequence, version, artifact, file: "hello", signers, good_for }
    }
}

impl Stage {
    /// Makes an empty log, and shows it to everybody, in an empty directory.
    pub fn create(directory: &Path, circle: Circle) -> Result<Stage, Broken> {
        fs::create_dir_all(directory.join("mirrors"))?;
        let (log, origin) = (directory.join("log"), circle.log.origin.clone());
        LogWriter::init(&log, origin, circle.log_secret.clone(), Storage::default())?;
        for who in PEER_NAMES.iter().chain(&["client"]) {
            symlink("../log", directory.join("mirrors").join(who))?;
        }
        Ok(Stage { directory: directory.to_owned(), circle })
    }

    /// A copy in another directory. Everybody who acts on this one has to be at rest.
    pub fn copy_to(&self, directory: &Path) -> Result<Stage, Broken> {
        copy_tree(&self.directory, directory)?;
        Ok(Stage { directory: directory.to_owned(), circle: self.circle.clone() })
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
    pub fn sign_at(&self, draft: &Draft, now: Timestamp) -> Result<(Manifest, Note), Broken> {
        let release = ReleaseDraft {
            log: self.circle.log.origin.clone(),
            product: name("hello"),
            channel: name("stable"),
            sequence: draft.sequence,
            version: draft.version.parse()?,
            issued: now,
            valid_for: draft.good_for,
        };
        let file = draft.file.parse()?;
        let artifact =
            ArtifactDraft::from_named_file(this_platform(), file, draft.artifact.clone())?;
        let manifest = unanimity_publish::build_manifest(release, [artifact])?;
        let mut note = Note::unsigned(&manifest.to_string())?;
        draft.signers.iter().for_each(|&key| note.sign(&self.circle.publishers[key]));
        Ok((manifest, note))
    }

    /// Signs a release and appends it to the log in `log/`, or to the attacker's in `fork/`.
    pub fn release(&self, log: &str, draft: &Draft, now: Timestamp) -> Result<Manifest, Broken> {
        let (manifest, note) = self.sign_at(draft, now)?;
        self.append(log, &note, Some(&draft.artifact))?;
        Ok(manifest)
    }

    /// Takes a release back, in the same logs.
    pub fn withdraw(
        &self,
        log: &str,
        sequence: u64,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), Broken> {
        let withdrawal = unanimity_publish::check_withdrawal(Withdrawal {
            log: self.circle.log.origin.clone(),
            product: name("hello"),
            channel: name("stable"),
            sequence,
            issued: now,
            reason: reason.to_owned(),
        })?;
        let mut note = Note::unsigned(&withdrawal.to_string())?;
        self.circle.publishers[..2].iter().for_each(|key| note.sign(key));
        self.append(log, &note, None)
    }

    fn append(&self, log: &str, note: &Note, artifact: Option<&[u8]>) -> Result<(), Broken> {
        let directory = self.directory.join(log);
        let secret = self.circle.log_secret.clone();
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
    pub fn force(&self, log: &str, entries: &[Vec<u8>]) -> Result<TreeHead, Broken> {
        let directory = self.directory.join(log);
        let size = self.head_of(log)?.size();
        let mut tiles = TileStore::open(&directory, size, Mode::Public, Storage::default())?;
        let growth = tiles.grow(entries.iter().map(|entry| Hash::leaf(entry)));
        let head = self.circle.head(growth.size(), growth.root());
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
    pub fn copy_log(&self, to: &str) -> Result<PathBuf, Broken> {
        let directory = self.directory.join(to);
        copy_tree(&self.log_directory(), &directory)?;
        Ok(directory)
    }

    /// Shows somebody (a peer's name, or `client`) the log in a directory of this stage.
    pub fn show(&self, who: &str, log: &str) -> Result<(), Broken> {
        let link = self.directory.join("mirrors").join(who);
        fs::remove_file(&link)?;
        Ok(symlink(Path::new("..").join(log), &link)?)
    }

    /// What somebody (a peer's name, or `client`) is shown.
    pub fn mirror(&self, who: &str) -> Mirror {
        Mirror::from_directory(self.shown(who))
    }

    /// Where that is.
    pub fn shown(&self, who: &str) -> PathBuf {
        self.directory.join("mirrors").join(who)
    }

    /// Shows every peer the log in a directory of this stage.
    pub fn show_peers(&self, log: &str) -> Result<(), Broken> {
        PEER_NAMES.iter().try_for_each(|who| self.show(who, log))
    }

    /// The head of a log in a directory of this stage.
    pub fn head_of(&self, log: &str) -> Result<TreeHead, Broken> {
        let bytes = fs::read(self.directory.join(log).join("checkpoint"))?;
        Ok(TreeHead::verify(&bytes, &self.circle.log)?)
    }

    /// The head that a peer has on its disk.
    pub fn head_of_peer(&self, peer: usize) -> Result<Option<TreeHead>, Broken> {
        let path = self.peer_state(peer).join("peer/head");
        let bytes = unanimity_storage::read(&path, MAX_NOTE_BYTES)?;
        Ok(bytes.map(|bytes| TreeHead::verify(&bytes, &self.circle.log)).transpose()?)
    }

    /// What the client has installed.
    pub fn installed(&self) -> Result<Option<Installed>, Broken> {
        Ok(InstallRoot::new(&self.install_root(), Storage::default()).installed()?)
    }

    /// The evidence that holds the client's updates back.
    pub fn evidence(&self) -> Result<Option<Evidence>, Broken> {
        let log = &self.circle.log;
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
const SHARED: u64 = 64 * 1024;

/// Files that are written in place, which no two copies may share: what a daemon says, and the
/// database of what it knows of Tor.
const IN_PLACE: [&str; 2] = ["log", "dir.sqlite3"];

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
            let in_place = IN_PLACE.iter().any(|other| name == *other);
            if !in_place && entry.metadata()?.len() > SHARED {
                fs::hard_link(&entry, target)?;
            } else {
                fs::copy(&entry, target)?;
            }
        }
    }
    Ok(())
}
