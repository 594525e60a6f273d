//! Edits of a peers file that the operator wrote. An edit makes one change, and keeps every other
//! byte of the file.
//!
//! An edit has these steps:
//!
//! 1. It takes the lock of the file's directory, and waits up to [`LOCK_TIMEOUT`] for another edit.
//! 2. It reads the file, and computes the list of peers that the edited file must have.
//! 3. It changes the text.
//! 4. It parses the changed text, and stops unless the result is the list of step 2.
//! 5. It replaces the whole file durably, and keeps its permissions.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use unanimity_protocol::{Name, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_storage::{Lock, Mode, Storage};

use crate::peers::entry::LEFT_BEFORE_COUNTED;
use crate::peers::head_claim::HeadClaim;
use crate::peers::layout::Layout;
use crate::{ConfigErrorKind, Membership, PeerEntry, PeerList, PeerListError, operator_file};

/// An edit of a peers file failed. The file is whole: it has its old content, or its new content if
/// only the final sync of the directory failed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct EditError {
    /// The path of the peers file, with links resolved.
    pub path: PathBuf,
    /// Why the file was not edited.
    pub why: EditErrorKind,
}

/// Why a peers file was not edited.
#[derive(Debug, thiserror::Error)]
pub enum EditErrorKind {
    /// The peers file cannot be read or parsed.
    #[error(transparent)]
    Config(#[from] ConfigErrorKind),
    /// The edited file would not be a valid list of peers.
    #[error("nothing was changed, because {0}")]
    PeerList(#[from] PeerListError),
    /// No peer in the file has the requested name.
    #[error("no peer is named {name}. Listed: {}", names(known))]
    UnknownPeer {
        /// The name in the request.
        name: Name,
        /// The names of all peers in the file.
        known: Vec<Name>,
    },
    /// The entry of the peer changed since the caller read it.
    #[error("the entry of {0} was changed in the meantime. Look at it, and try again")]
    Changed(Name),
    /// The peer is not leaving, so there is no removal to cancel.
    #[error("{0} is not leaving, so there is no removal to cancel")]
    NotLeaving(Name),
    /// The peer left while it was joining, so it cannot count again.
    #[error("{0} left before it ever counted. Remove it, and add it again with its invite")]
    NeverCounted(Name),
    /// The peer is not joining, so it cannot be made to count.
    #[error("{0} is not joining")]
    NotJoining(Name),
    /// The peer still has to confirm every update, so it cannot be removed.
    #[error("{0} still has to confirm every update, until its removal takes effect")]
    StillCounted(Name),
    /// The file has a TOML layout that this program can read and cannot edit, or the edited text
    /// would not have exactly the wanted peers.
    #[error("this edit is not possible in the way the file is written. Make the change by hand")]
    UnsupportedLayout,
    /// The permissions of the file forbid its owner to write.
    #[error("its owner may not write to it. Give the owner write permission to allow edits")]
    ReadOnly,
    /// The file belongs to another user. An edit would replace it by a file that belongs to the
    /// user of this process.
    #[error(
        "it belongs to the user with id {owner}. Run this as that user: sudo -u '#{owner}' ..."
    )]
    OtherOwner {
        /// The user id of the owner.
        owner: u32,
    },
    /// Another process held the lock for longer than [`LOCK_TIMEOUT`].
    #[error("another process is editing it. Try again")]
    Busy,
    /// The file cannot be read or written.
    #[error(
        "{0}. Run this as the user that owns the file and its directory, and check that the disk has free space"
    )]
    Io(#[from] io::Error),
}

impl EditErrorKind {
    /// Whether the edit failed for lack of permission, so that another user may be able to make it.
    pub fn is_permission_denied(&self) -> bool {
        match self {
            EditErrorKind::OtherOwner { .. } => true,
            EditErrorKind::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }
}

fn names(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Adds a peer at the end of the file. A missing file is created with mode 0600.
pub fn add(path: &Path, entry: &PeerEntry, disk: &Storage) -> Result<PeerList, EditError> {
    edit(path, disk, Some(NEW_FILE_HEADER), |entries| {
        entries.push(entry.clone());
        Ok(Change::Append(key_values(entry)))
    })
}

/// Formats a peer as a `[[peer]]` table, for a user who may not write to the peers file and has to
/// pass the table on.
pub fn format_peer_table(entry: &PeerEntry) -> String {
    let lines = key_values(entry).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
    format!("[[peer]]\n{}", lines.collect::<String>())
}

/// Makes a joining peer count. The caller has proven that the peer and this node follow one log.
/// Refuses an entry in the file that differs from `joining`, the entry of that proof.
pub fn activate(path: &Path, joining: &PeerEntry, disk: &Storage) -> Result<PeerList, EditError> {
    let name = &joining.peer.name;
    edit(path, disk, None, |entries| {
        let index = find_index(entries, name)?;
        if !matches!(joining.membership, Membership::Joining { .. }) {
            return Err(EditErrorKind::NotJoining(name.clone()));
        }
        if entries[index] != *joining {
            return Err(EditErrorKind::Changed(name.clone()));
        }
        entries[index].membership = Membership::Counted;
        Ok(Change::Unset(index, "joining"))
    })
}

/// Schedules the removal of a peer, which still has to confirm every update until `at`. A peer that
/// never counted is removed at once.
pub fn schedule_removal(
    path: &Path,
    name: &Name,
    at: Timestamp,
    disk: &Storage,
) -> Result<PeerList, EditError> {
    edit(path, disk, None, |entries| {
        let index = find_index(entries, name)?;
        if entries[index].membership == LEFT_BEFORE_COUNTED
            || matches!(entries[index].membership, Membership::Joining { .. })
        {
            entries.remove(index);
            return Ok(Change::Remove(index));
        }
        entries[index].membership = Membership::Leaving { at };
        Ok(Change::Set(index, "leaves_at", at.to_string()))
    })
}

/// Cancels the removal of a peer, even after the peer has left. The peer then counts again. Refuses
/// a peer that left before it ever counted.
pub fn cancel_removal(path: &Path, name: &Name, disk: &Storage) -> Result<PeerList, EditError> {
    edit(path, disk, None, |entries| {
        let index = find_index(entries, name)?;
        match entries[index].membership {
            LEFT_BEFORE_COUNTED => Err(EditErrorKind::NeverCounted(name.clone())),
            Membership::Leaving { .. } => {
                entries[index].membership = Membership::Counted;
                Ok(Change::Unset(index, "leaves_at"))
            }
            _ => Err(EditErrorKind::NotLeaving(name.clone())),
        }
    })
}

/// Removes a peer that has left by `now` or is joining. Refuses a peer that has to confirm at
/// `now`.
pub fn remove(
    path: &Path,
    name: &Name,
    now: Timestamp,
    disk: &Storage,
) -> Result<PeerList, EditError> {
    edit(path, disk, None, |entries| {
        let index = find_index(entries, name)?;
        if entries[index].membership.must_confirm(now) {
            return Err(EditErrorKind::StillCounted(name.clone()));
        }
        entries.remove(index);
        Ok(Change::Remove(index))
    })
}

/// A change of the text. Each `usize` is the index of a peer in the file.
enum Change {
    Append(Vec<(&'static str, String)>),
    Set(usize, &'static str, String),
    Unset(usize, &'static str),
    Remove(usize),
}

/// Makes one change of a peers file, and returns the new list of peers.
///
/// `plan` edits the list of entries, and returns the same change for the text. A missing file is
/// created with `new_header` as its first lines. Without a header, a missing file is an error.
fn edit(
    path: &Path,
    disk: &Storage,
    new_header: Option<&str>,
    plan: impl FnOnce(&mut Vec<PeerEntry>) -> Result<Change, EditErrorKind>,
) -> Result<PeerList, EditError> {
    let edit_error = |path: &Path| {
        let path = path.to_owned();
        move |why| EditError { path, why }
    };
    let path = resolve_link(path).map_err(|error| edit_error(path)(error.into()))?;
    let attempt = || {
        let _lock = lock(&path)?;
        let is_new = path.symlink_metadata().is_err();
        let text = match new_header {
            Some(header) if is_new => header.to_owned(),
            _ => {
                check_replaceable(&path)?;
                operator_file::read_file(&path)?
            }
        };
        let before = PeerList::parse(&text)?;
        let mut entries = before.entries().to_vec();
        let change = plan(&mut entries)?;
        let peers = PeerList::new(entries, before.min_peers())?;
        let edited = Layout::parse(&text).and_then(|layout| match change {
            Change::Append(entries) => Some(layout.append(&entries)),
            Change::Set(peer, key, value) => layout.set(peer, key, &toml_string(&value)),
            Change::Unset(peer, key) => layout.unset(peer, key),
            Change::Remove(peer) => layout.remove(peer),
        });
        let is_wanted = |text: &String| PeerList::parse(text).is_ok_and(|found| found == peers);
        let edited = edited.filter(is_wanted).ok_or(EditErrorKind::UnsupportedLayout)?;
        if is_new {
            disk.write_new(&path, edited.as_bytes(), Mode::Private)?;
        } else {
            disk.replace(&path, edited.as_bytes())?;
        }
        Ok(peers)
    };
    attempt().map_err(edit_error(&path))
}

/// The path of the file with all links resolved. A missing file keeps its path.
fn resolve_link(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        // A link to a missing file keeps its path, too. The link itself exists, so the edit does
        // not create a file: it tries to read the link, and fails.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        found => found,
    }
}

fn check_replaceable(path: &Path) -> Result<(), EditErrorKind> {
    let found = fs::metadata(path)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(EditErrorKind::OtherOwner { owner: found.uid() });
    }
    // The file is replaced by a rename, which would ignore a missing write permission.
    if found.mode() & 0o200 == 0 { Err(EditErrorKind::ReadOnly) } else { Ok(()) }
}

fn lock(path: &Path) -> Result<Lock, EditErrorKind> {
    let started = Instant::now();
    loop {
        match unanimity_storage::lock(unanimity_storage::parent(path))? {
            Some(lock) => return Ok(lock),
            None if started.elapsed() > LOCK_TIMEOUT => return Err(EditErrorKind::Busy),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn find_index(entries: &[PeerEntry], name: &Name) -> Result<usize, EditErrorKind> {
    entries.iter().position(|entry| entry.peer.name == *name).ok_or_else(|| {
        EditErrorKind::UnknownPeer {
            name: name.clone(),
            known: entries.iter().map(|entry| entry.peer.name.clone()).collect(),
        }
    })
}

fn key_values(entry: &PeerEntry) -> Vec<(&'static str, String)> {
    let PeerEntry { peer, address, client_auth, artifacts, membership } = entry;
    let mut pairs = vec![
        ("name", peer.name.to_string()),
        ("operator", peer.operator.to_string()),
        ("address", address.to_string()),
        ("key", peer.key.to_string()),
    ];
    pairs.extend(client_auth.as_ref().map(|key| ("client_auth", key.to_string())));
    pairs.extend(artifacts.as_ref().map(|url| ("artifacts", url.to_string())));
    match *membership {
        Membership::Counted => {}
        Membership::Joining { size, root } => {
            pairs.push(("joining", HeadClaim { size, root }.to_string()));
        }
        Membership::Leaving { at } => pairs.push(("leaves_at", at.to_string())),
    }
    pairs.into_iter().map(|(key, value)| (key, toml_string(&value))).collect()
}

/// The text as a TOML string, quoted and escaped.
fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// How long an edit waits until another edit ends. An edit takes a few writes of a small file.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

const NEW_FILE_HEADER: &str = "# The peers of this node: each of them has to confirm every update.
# `unanimity peers` edits this file and keeps the rest of your text.
";

impl Classify for EditError {
    fn exit(&self) -> Exit {
        match self.why {
            EditErrorKind::Io(_)
            | EditErrorKind::ReadOnly
            | EditErrorKind::OtherOwner { .. }
            | EditErrorKind::Busy => Exit::Disk,
            EditErrorKind::Config(_)
            | EditErrorKind::PeerList(_)
            | EditErrorKind::UnsupportedLayout => Exit::Configuration,
            EditErrorKind::UnknownPeer { .. }
            | EditErrorKind::Changed(_)
            | EditErrorKind::NotLeaving(_)
            | EditErrorKind::NeverCounted(_)
            | EditErrorKind::NotJoining(_)
            | EditErrorKind::StillCounted(_) => Exit::Usage,
        }
    }
}
