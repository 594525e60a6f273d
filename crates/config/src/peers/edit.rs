//! Edits of a peers file that a person wrote: one change, and every other byte as it was.
//!
//! Each reads the file as it is now, under a lock; works out what the circle must be
//! afterwards; changes the text; reads the changed text with the circle's own parser; and writes
//! it only if that is the very circle. The file is replaced whole, with the rights it had.
//! These calls wait for the disk, and up to [`LOCK_TIMEOUT`] for each other.

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

/// A peers file was not edited: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct EditError {
    /// The file, or what it is a link to.
    pub path: PathBuf,
    /// What is in the way.
    pub why: EditErrorKind,
}

/// What is in the way of an edit.
#[derive(Debug, thiserror::Error)]
pub enum EditErrorKind {
    /// It does not load as it is.
    #[error(transparent)]
    Config(#[from] ConfigErrorKind),
    /// It would not load any more.
    #[error("nothing was changed, because {0}")]
    PeerList(#[from] PeerListError),
    /// No such peer.
    #[error("nobody there is named {name}; there is {}", names(known))]
    UnknownPeer {
        /// Who was to be edited.
        name: Name,
        /// Who is there.
        known: Vec<Name>,
    },
    /// Somebody edited it in the meantime.
    #[error("the entry of {0} is no longer what it was: look at it, and try again")]
    Changed(Name),
    /// There is nothing to take back.
    #[error("{0} is not leaving")]
    NotLeaving(Name),
    /// There is nothing to go back to.
    #[error("{0} left before it ever counted: remove it, and add it again with its ticket")]
    NeverCounted(Name),
    /// There is nothing to wait for.
    #[error("{0} is not joining")]
    NotJoining(Name),
    /// It has to confirm every update.
    #[error("{0} still has to confirm every update, until its removal takes effect")]
    StillCounted(Name),
    /// TOML that this program reads and cannot change, or a value that the file cannot say.
    #[error("this edit cannot be made in the way the file is written: make the change by hand")]
    UnsupportedLayout,
    /// Nobody is to write to it.
    #[error("its owner may not write to it: run chmod u+w on it if it is to be edited")]
    ReadOnly,
    /// Whoever replaces a file becomes its owner.
    #[error("it belongs to user {owner}: run this as that user (sudo -u '#{owner}' ...)")]
    OtherOwner {
        /// Their number.
        owner: u32,
    },
    /// Another edit takes its time.
    #[error("somebody else is editing it: try again")]
    Busy,
    /// The operating system said no.
    #[error(
        "{0}; it has to be edited by the user who owns it and its directory, with space on the disk"
    )]
    Io(#[from] io::Error),
}

impl EditErrorKind {
    /// Whether another user could do it.
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
    if names.is_empty() { "nobody yet".to_owned() } else { names.join(", ") }
}

/// Puts a peer at the end. A file that is not there is made, for its owner only.
pub fn add(path: &Path, entry: &PeerEntry, disk: &Storage) -> Result<PeerList, EditError> {
    edit(path, disk, Some(NEW_FILE_HEADER), |members| {
        members.push(entry.clone());
        Ok(Change::Append(key_values(entry)))
    })
}

/// What belongs into the file for a peer, where this user may not write to it.
pub fn format_peer_table(entry: &PeerEntry) -> String {
    let lines = key_values(entry).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
    format!("[[peer]]\n{}", lines.collect::<String>())
}

/// Lets a peer that was joining count: its log and ours have been found to be one. Only if its
/// entry is still the one that this was found for.
pub fn activate(path: &Path, joining: &PeerEntry, disk: &Storage) -> Result<PeerList, EditError> {
    let name = &joining.peer.name;
    edit(path, disk, None, |members| {
        let at = find_index(members, name)?;
        if !matches!(joining.membership, Membership::Joining { .. }) {
            return Err(EditErrorKind::NotJoining(name.clone()));
        }
        if members[at] != *joining {
            return Err(EditErrorKind::Changed(name.clone()));
        }
        members[at].membership = Membership::Counted;
        Ok(Change::Unset(at, "joining"))
    })
}

/// Lets a peer go: it still has to confirm every update until `at`. One that never counted is
/// taken out at once, because nothing waits for it.
pub fn schedule_removal(
    path: &Path,
    name: &Name,
    at: Timestamp,
    disk: &Storage,
) -> Result<PeerList, EditError> {
    edit(path, disk, None, |members| {
        let i = find_index(members, name)?;
        if members[i].membership == LEFT_BEFORE_COUNTED
            || matches!(members[i].membership, Membership::Joining { .. })
        {
            members.remove(i);
            return Ok(Change::Remove(i));
        }
        members[i].membership = Membership::Leaving { at };
        Ok(Change::Set(i, "leaves", at.to_string()))
    })
}

/// Takes [`schedule_removal`] back, also after the peer has left.
pub fn cancel_removal(path: &Path, name: &Name, disk: &Storage) -> Result<PeerList, EditError> {
    edit(path, disk, None, |members| {
        let at = find_index(members, name)?;
        match members[at].membership {
            LEFT_BEFORE_COUNTED => Err(EditErrorKind::NeverCounted(name.clone())),
            Membership::Leaving { .. } => {
                members[at].membership = Membership::Counted;
                Ok(Change::Unset(at, "leaves"))
            }
            _ => Err(EditErrorKind::NotLeaving(name.clone())),
        }
    })
}

/// Takes a peer out that has left by `now` or is only joining; nobody else.
pub fn remove(
    path: &Path,
    name: &Name,
    now: Timestamp,
    disk: &Storage,
) -> Result<PeerList, EditError> {
    edit(path, disk, None, |members| {
        let at = find_index(members, name)?;
        if members[at].membership.must_confirm(now) {
            return Err(EditErrorKind::StillCounted(name.clone()));
        }
        members.remove(at);
        Ok(Change::Remove(at))
    })
}

/// One change of a text, to the peer of that number.
enum Change {
    Append(Vec<(&'static str, String)>),
    Set(usize, &'static str, String),
    Unset(usize, &'static str),
    Remove(usize),
}

/// Makes one change. `plan` turns the members into what they shall be, and says how.
fn edit(
    path: &Path,
    disk: &Storage,
    empty: Option<&str>,
    plan: impl FnOnce(&mut Vec<PeerEntry>) -> Result<Change, EditErrorKind>,
) -> Result<PeerList, EditError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| EditError { path, why }
    };
    let path = resolve_link(path).map_err(|error| at(path)(error.into()))?;
    let attempt = || {
        let _lock = lock(&path)?;
        let is_new = path.symlink_metadata().is_err();
        let text = match empty {
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
        let is_meant = |text: &String| PeerList::parse(text).is_ok_and(|found| found == peers);
        let edited = edited.filter(is_meant).ok_or(EditErrorKind::UnsupportedLayout)?;
        if is_new {
            disk.write_new(&path, edited.as_bytes(), Mode::Private)?;
        } else {
            disk.replace(&path, edited.as_bytes())?;
        }
        Ok(peers)
    };
    attempt().map_err(at(&path))
}

/// The file itself, where a link points at one.
fn resolve_link(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        // A link to nothing comes here too, and is refused because it is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        found => found,
    }
}

fn check_replaceable(path: &Path) -> Result<(), EditErrorKind> {
    let found = fs::metadata(path)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(EditErrorKind::OtherOwner { owner: found.uid() });
    }
    // Renaming would not ask.
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
    entries.iter().position(|member| member.peer.name == *name).ok_or_else(|| {
        EditErrorKind::UnknownPeer {
            name: name.clone(),
            known: entries.iter().map(|member| member.peer.name.clone()).collect(),
        }
    })
}

fn key_values(entry: &PeerEntry) -> Vec<(&'static str, String)> {
    let PeerEntry { peer, address, client_auth: discovery, artifacts, membership: standing } =
        entry;
    let mut entries = vec![
        ("name", peer.name.to_string()),
        ("operator", peer.operator.to_string()),
        ("address", address.to_string()),
        ("key", peer.key.to_string()),
    ];
    entries.extend(discovery.as_ref().map(|key| ("discovery", key.to_string())));
    entries.extend(artifacts.as_ref().map(|site| ("artifacts", site.to_string())));
    match *standing {
        Membership::Counted => {}
        Membership::Joining { size, root } => {
            entries.push(("joining", HeadClaim { size, root }.to_string()));
        }
        Membership::Leaving { at } => entries.push(("leaves", at.to_string())),
    }
    entries.into_iter().map(|(key, value)| (key, toml_string(&value))).collect()
}

/// As a TOML string.
fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// How long an edit waits for another one; each takes a few writes of a small file.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

const NEW_FILE_HEADER: &str = "# The peers of this node: all of them have to confirm every update.
# `unanimity peers` edits this file and keeps what people write in it.
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
