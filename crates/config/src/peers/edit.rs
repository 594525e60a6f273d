//! Edits of a peers file that a person wrote: one change, and every other byte as it was.
//!
//! Each reads the file as it is now, under a lock; works out what the circle must be
//! afterwards; changes the text; reads the changed text with the circle's own parser; and writes
//! it only if that is the very circle. The file is replaced whole, with the rights it had.
//! These calls wait for the disk, and up to [`PATIENCE`] for each other.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use unanimity_protocol::{Name, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_storage::{Lock, Mode, Storage};

use crate::peers::entry::LONG_OVER;
use crate::peers::head_claim::Claim;
use crate::peers::layout::Layout;
use crate::{Circle, CircleError, Member, Standing, Why, operator_file};

/// A peers file was not edited: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct EditError {
    /// The file, or what it is a link to.
    pub path: PathBuf,
    /// What is in the way.
    pub why: Obstacle,
}

/// What is in the way of an edit.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// It does not load as it is.
    #[error(transparent)]
    Unread(#[from] Why),
    /// It would not load any more.
    #[error("nothing was changed, because {0}")]
    Circle(#[from] CircleError),
    /// No such peer.
    #[error("nobody there is named {name}; there is {}", names(known))]
    Unknown {
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
    Counts(Name),
    /// TOML that this program reads and cannot change, or a value that the file cannot say.
    #[error("this edit cannot be made in the way the file is written: make the change by hand")]
    Form,
    /// Nobody is to write to it.
    #[error("its owner may not write to it: run chmod u+w on it if it is to be edited")]
    ReadOnly,
    /// Whoever replaces a file becomes its owner.
    #[error("it belongs to user {owner}: run this as that user (sudo -u '#{owner}' ...)")]
    Owner {
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

impl Obstacle {
    /// Whether another user could do it.
    pub fn is_denied(&self) -> bool {
        match self {
            Obstacle::Owner { .. } => true,
            Obstacle::Io(error) => error.kind() == io::ErrorKind::PermissionDenied,
            _ => false,
        }
    }
}

fn names(names: &[Name]) -> String {
    let names: Vec<&str> = names.iter().map(Name::as_str).collect();
    if names.is_empty() { "nobody yet".to_owned() } else { names.join(", ") }
}

/// Puts a peer at the end. A file that is not there is made, for its owner only.
pub fn add(path: &Path, member: &Member, disk: &Storage) -> Result<Circle, EditError> {
    edit(path, disk, Some(HEADER), |members| {
        members.push(member.clone());
        Ok(Change::Append(entries(member)))
    })
}

/// What belongs into the file for a peer, where this user may not write to it.
pub fn block(member: &Member) -> String {
    let lines = entries(member).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
    format!("[[peer]]\n{}", lines.collect::<String>())
}

/// Lets a peer that was joining count: its log and ours have been found to be one. Only if its
/// entry is still the one that this was found for.
pub fn count(path: &Path, found: &Member, disk: &Storage) -> Result<Circle, EditError> {
    let name = &found.peer.name;
    edit(path, disk, None, |members| {
        let at = find(members, name)?;
        if !matches!(found.standing, Standing::Joining { .. }) {
            return Err(Obstacle::NotJoining(name.clone()));
        }
        if members[at] != *found {
            return Err(Obstacle::Changed(name.clone()));
        }
        members[at].standing = Standing::Counted;
        Ok(Change::Unset(at, "joining"))
    })
}

/// Lets a peer go: it still has to confirm every update until `at`. One that never counted is
/// taken out at once, because nothing waits for it.
pub fn leave(path: &Path, name: &Name, at: Timestamp, disk: &Storage) -> Result<Circle, EditError> {
    edit(path, disk, None, |members| {
        let i = find(members, name)?;
        if members[i].standing == LONG_OVER
            || matches!(members[i].standing, Standing::Joining { .. })
        {
            members.remove(i);
            return Ok(Change::Remove(i));
        }
        members[i].standing = Standing::Leaving { at };
        Ok(Change::Set(i, "leaves", at.to_string()))
    })
}

/// Takes [`leave`] back, also after the peer has left.
pub fn stay(path: &Path, name: &Name, disk: &Storage) -> Result<Circle, EditError> {
    edit(path, disk, None, |members| {
        let at = find(members, name)?;
        match members[at].standing {
            LONG_OVER => Err(Obstacle::NeverCounted(name.clone())),
            Standing::Leaving { .. } => {
                members[at].standing = Standing::Counted;
                Ok(Change::Unset(at, "leaves"))
            }
            _ => Err(Obstacle::NotLeaving(name.clone())),
        }
    })
}

/// Takes a peer out that has left by `now` or is only joining; nobody else.
pub fn drop(path: &Path, name: &Name, now: Timestamp, disk: &Storage) -> Result<Circle, EditError> {
    edit(path, disk, None, |members| {
        let at = find(members, name)?;
        if members[at].standing.counts(now) {
            return Err(Obstacle::Counts(name.clone()));
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
    plan: impl FnOnce(&mut Vec<Member>) -> Result<Change, Obstacle>,
) -> Result<Circle, EditError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |why| EditError { path, why }
    };
    let path = place(path).map_err(|error| at(path)(error.into()))?;
    let attempt = || {
        let _lock = lock(&path)?;
        let is_new = path.symlink_metadata().is_err();
        let text = match empty {
            Some(header) if is_new => header.to_owned(),
            _ => {
                may_replace(&path)?;
                operator_file::read_file(&path)?
            }
        };
        let before = Circle::parse(&text)?;
        let mut members = before.members().to_vec();
        let change = plan(&mut members)?;
        let circle = Circle::new(members, before.min_peers())?;
        let edited = Layout::of(&text).and_then(|layout| match change {
            Change::Append(entries) => Some(layout.append(&entries)),
            Change::Set(peer, key, value) => layout.set(peer, key, &quoted(&value)),
            Change::Unset(peer, key) => layout.unset(peer, key),
            Change::Remove(peer) => layout.remove(peer),
        });
        let is_meant = |text: &String| Circle::parse(text).is_ok_and(|found| found == circle);
        let edited = edited.filter(is_meant).ok_or(Obstacle::Form)?;
        if is_new {
            disk.write_new(&path, edited.as_bytes(), Mode::Private)?;
        } else {
            disk.replace(&path, edited.as_bytes())?;
        }
        Ok(circle)
    };
    attempt().map_err(at(&path))
}

/// The file itself, where a link points at one.
fn place(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        // A link to nothing comes here too, and is refused because it is there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        found => found,
    }
}

fn may_replace(path: &Path) -> Result<(), Obstacle> {
    let found = fs::metadata(path)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(Obstacle::Owner { owner: found.uid() });
    }
    // Renaming would not ask.
    if found.mode() & 0o200 == 0 { Err(Obstacle::ReadOnly) } else { Ok(()) }
}

fn lock(path: &Path) -> Result<Lock, Obstacle> {
    let started = Instant::now();
    loop {
        match unanimity_storage::lock(unanimity_storage::parent(path))? {
            Some(lock) => return Ok(lock),
            None if started.elapsed() > PATIENCE => return Err(Obstacle::Busy),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn find(members: &[Member], name: &Name) -> Result<usize, Obstacle> {
    members.iter().position(|member| member.peer.name == *name).ok_or_else(|| Obstacle::Unknown {
        name: name.clone(),
        known: members.iter().map(|member| member.peer.name.clone()).collect(),
    })
}

fn entries(member: &Member) -> Vec<(&'static str, String)> {
    let Member { peer, address, discovery, artifacts, standing } = member;
    let mut entries = vec![
        ("name", peer.name.to_string()),
        ("operator", peer.operator.to_string()),
        ("address", address.to_string()),
        ("key", peer.key.to_string()),
    ];
    entries.extend(discovery.as_ref().map(|key| ("discovery", key.to_string())));
    entries.extend(artifacts.as_ref().map(|site| ("artifacts", site.to_string())));
    match *standing {
        Standing::Counted => {}
        Standing::Joining { size, root } => {
            entries.push(("joining", Claim { size, root }.to_string()));
        }
        Standing::Leaving { at } => entries.push(("leaves", at.to_string())),
    }
    entries.into_iter().map(|(key, value)| (key, quoted(&value))).collect()
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// How long an edit waits for another one; each takes a few writes of a small file.
pub const PATIENCE: Duration = Duration::from_secs(5);

const HEADER: &str = "# The peers of this node: all of them have to confirm every update.
# `unanimity peers` edits this file and keeps what people write in it.
";

impl Classify for EditError {
    fn exit(&self) -> Exit {
        match self.why {
            Obstacle::Io(_) | Obstacle::ReadOnly | Obstacle::Owner { .. } | Obstacle::Busy => {
                Exit::Disk
            }
            Obstacle::Unread(_) | Obstacle::Circle(_) | Obstacle::Form => Exit::Configuration,
            Obstacle::Unknown { .. }
            | Obstacle::Changed(_)
            | Obstacle::NotLeaving(_)
            | Obstacle::NeverCounted(_)
            | Obstacle::NotJoining(_)
            | Obstacle::Counts(_) => Exit::Usage,
        }
    }
}
