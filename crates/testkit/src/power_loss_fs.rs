//! A machine's files in memory: no open files, and no calls to the operating system. No path leads
//! through a link.
//!
//! Of a machine whose power may fail, a power cut leaves what was synced, and of the rest any part.
//! A file's bytes are durable once the file was synced, a name in a directory once that directory
//! was. What was changed since and is not durable yet may be left singly or together; only, no
//! directory has two names: no file system that keeps a journal leaves it so.
//!
//! A machine whose power never fails loses nothing when a program on it dies. It remembers nothing
//! but what is there, so that a simulation has room for many.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Cursor, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unanimity_storage::{DirHandle, FileSystem, Lock, Mode, ReadableFile, WritableFile, parent};

/// A machine. Clones are the same one.
#[derive(Clone)]
pub struct PowerLossFs(Arc<Mutex<Held>>);

struct Held {
    nodes: Vec<Node>,
    /// Nodes that have no name any more.
    free: Vec<usize>,
    locks: BTreeSet<PathBuf>,
    may_fail: bool,
}

enum Node {
    Directory(Twice<Names>),
    File(Content),
    Link(PathBuf),
}

/// As it is, and, where the power may fail, as it is on the disk.
#[derive(Clone, Default)]
struct Twice<T> {
    now: T,
    durable: T,
}

/// The names in a directory and their nodes, in order. Most directories have a few.
#[derive(Clone, Default)]
struct Names(Vec<(Box<OsStr>, usize)>);

/// A file's bytes; a program that opened the file keeps them under any name.
#[derive(Clone, Default)]
struct Content(Arc<Mutex<Twice<Vec<u8>>>>);

/// Something that is not durable yet.
enum Loose {
    Name { directory: usize, name: Box<OsStr> },
    Bytes { file: usize },
}

const ROOT: usize = 0;

fn free<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for PowerLossFs {
    /// A machine whose power may fail, with an empty root.
    fn default() -> PowerLossFs {
        PowerLossFs::with(vec![Node::Directory(Twice::default())], true)
    }
}

impl PowerLossFs {
    /// A machine whose power never fails, with an empty root.
    pub fn steady() -> PowerLossFs {
        PowerLossFs::with(vec![Node::Directory(Twice::default())], false)
    }

    fn with(nodes: Vec<Node>, may_fail: bool) -> PowerLossFs {
        let (free, locks) = (Vec::new(), BTreeSet::new());
        PowerLossFs(Arc::new(Mutex::new(Held { nodes, free, locks, may_fail })))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        free(&self.0)
    }

    /// Another machine with the same on its disk, all of it durable, and no program at work.
    pub fn copy(&self) -> PowerLossFs {
        let held = self.held();
        let mut nodes = held.copy();
        nodes.iter_mut().for_each(Node::sync);
        PowerLossFs::with(nodes, held.may_fail)
    }

    /// How many files, directories and links are in memory, also those that have no name any more.
    pub fn remembered(&self) -> usize {
        self.held().nodes.len()
    }

    /// What may be left if the power goes now, without what is the same: a machine for each.
    pub fn power_cuts(&self) -> Vec<PowerLossFs> {
        let held = self.held();
        assert!(held.may_fail, "the power of this machine never fails");
        let loose = held.loose();
        let (none, all) = (vec![false; loose.len()], vec![true; loose.len()]);
        let mut subsets = BTreeSet::from([none.clone(), all.clone()]);
        for i in 0..loose.len() {
            for base in [&none, &all] {
                let mut subset = base.clone();
                subset[i] = !subset[i];
                subsets.insert(subset);
            }
        }
        let left = |subset: &Vec<bool>| {
            let mut nodes = held.copy();
            let kept = loose.iter().zip(subset).filter(|(_, is_kept)| **is_kept);
            kept.for_each(|(loose, _)| loose.keep(&mut nodes));
            nodes.iter_mut().for_each(Node::forget);
            held.drop_former_names(&mut nodes);
            PowerLossFs::with(nodes, true)
        };
        subsets.iter().map(left).collect()
    }

    fn file(&self, path: &Path) -> io::Result<Open> {
        let held = self.held();
        match &held.nodes[held.find(path)?] {
            Node::File(content) => Ok(Open { content: content.clone(), may_fail: held.may_fail }),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn in_directory(&self, path: &Path, with: impl FnOnce(&mut Held, usize)) -> io::Result<()> {
        let mut held = self.held();
        let node = held.find(path)?;
        held.nodes[node].names()?;
        with(&mut held, node);
        Ok(())
    }
}

impl Node {
    /// What this is, of another machine: what is written there is not written here.
    fn copy(&self) -> Node {
        match self {
            Node::Directory(names) => Node::Directory(names.clone()),
            Node::File(Content(bytes)) => {
                Node::File(Content(Arc::new(Mutex::new(free(bytes).clone()))))
            }
            Node::Link(target) => Node::Link(target.clone()),
        }
    }

    fn sync(&mut self) {
        match self {
            Node::Directory(names) => names.durable.clone_from(&names.now),
            Node::File(content) => content.sync(),
            Node::Link(_) => {}
        }
    }

    fn forget(&mut self) {
        match self {
            Node::Directory(names) => names.now.clone_from(&names.durable),
            Node::File(content) => {
                let mut bytes = free(&content.0);
                let Twice { now, durable } = &mut *bytes;
                now.clone_from(durable);
            }
            Node::Link(_) => {}
        }
    }

    fn names(&mut self) -> io::Result<&mut Twice<Names>> {
        match self {
            Node::Directory(names) => Ok(names),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }
}

impl Content {
    fn sync(&self) {
        let mut bytes = free(&self.0);
        let Twice { now, durable } = &mut *bytes;
        durable.clone_from(now);
    }

    /// What is there now, to be read.
    fn source(&self) -> Box<dyn ReadableFile> {
        Box::new(Cursor::new(free(&self.0).now.clone()))
    }
}

impl Names {
    fn place(&self, name: &OsStr) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_bytes().cmp(name.as_bytes()))
    }

    fn get(&self, name: &OsStr) -> Option<usize> {
        self.place(name).ok().map(|at| self.0[at].1)
    }

    fn insert(&mut self, name: &OsStr, node: usize) {
        match self.place(name) {
            Ok(at) => self.0[at].1 = node,
            Err(at) => self.0.insert(at, (name.into(), node)),
        }
    }

    fn remove(&mut self, name: &OsStr) {
        if let Ok(at) = self.place(name) {
            self.0.remove(at);
        }
    }
}

impl Loose {
    fn keep(&self, nodes: &mut [Node]) {
        match self {
            Loose::Name { directory, name } => {
                let Node::Directory(names) = &mut nodes[*directory] else { unreachable!() };
                match names.now.get(name) {
                    Some(node) => names.durable.insert(name, node),
                    None => names.durable.remove(name),
                };
            }
            Loose::Bytes { file } => nodes[*file].sync(),
        }
    }
}

impl Held {
    fn copy(&self) -> Vec<Node> {
        self.nodes.iter().map(Node::copy).collect()
    }

    /// Only what has a name, or had one on the disk.
    fn loose(&self) -> Vec<Loose> {
        let (mut loose, mut seen, mut ahead) = (Vec::new(), BTreeSet::new(), vec![ROOT]);
        while let Some(node) = ahead.pop() {
            if !seen.insert(node) {
                continue;
            }
            match &self.nodes[node] {
                Node::Directory(names) => {
                    let both = names.now.0.iter().chain(&names.durable.0);
                    let all: BTreeSet<_> = both.map(|(name, _)| name).collect();
                    for name in all {
                        let (now, durable) = (names.now.get(name), names.durable.get(name));
                        ahead.extend(now.into_iter().chain(durable));
                        if now != durable {
                            loose.push(Loose::Name { directory: node, name: name.clone() });
                        }
                    }
                }
                Node::File(content) => {
                    let bytes = free(&content.0);
                    if bytes.now != bytes.durable {
                        loose.push(Loose::Bytes { file: node });
                    }
                }
                Node::Link(_) => {}
            }
        }
        loose
    }

    /// Of a directory that was renamed, its former name, if it has the other one as well.
    fn drop_former_names(&self, nodes: &mut [Node]) {
        let mut named = BTreeMap::<usize, usize>::new();
        for node in nodes.iter() {
            let Node::Directory(names) = node else { continue };
            names.now.0.iter().for_each(|(_, node)| *named.entry(*node).or_default() += 1);
        }
        let twice = |node: usize| {
            named.get(&node) > Some(&1) && matches!(self.nodes[node], Node::Directory(_))
        };
        for (number, node) in nodes.iter_mut().enumerate() {
            let (Node::Directory(left), Node::Directory(was)) = (node, &self.nodes[number]) else {
                continue;
            };
            left.now.0.retain(|(name, node)| was.now.get(name) == Some(*node) || !twice(*node));
            left.durable.clone_from(&left.now);
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut node = ROOT;
        // By bytes: taking a path apart by its components is a tenth of a simulated node's time.
        for part in path.as_os_str().as_bytes().split(|byte| *byte == b'/') {
            if part.is_empty() || part == b"." {
                continue;
            }
            node = match &self.nodes[node] {
                Node::Directory(names) => {
                    names.now.get(OsStr::from_bytes(part)).ok_or(ErrorKind::NotFound)?
                }
                _ => return Err(ErrorKind::NotADirectory.into()),
            };
        }
        Ok(node)
    }

    fn place<'a>(&mut self, path: &'a Path) -> io::Result<(&mut Names, &'a OsStr)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let directory = self.find(parent(path))?;
        Ok((&mut self.nodes[directory].names()?.now, name))
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let number = self.free.last().copied().unwrap_or(self.nodes.len());
        let (names, name) = self.place(path)?;
        if names.get(name).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        names.insert(name, number);
        match self.free.pop() {
            Some(number) => self.nodes[number] = node,
            None => self.nodes.push(node),
        }
        Ok(())
    }

    fn sync(&mut self, node: usize) {
        if self.may_fail {
            self.nodes[node].sync();
        }
    }

    fn sync_below(&mut self, node: usize) {
        self.sync(node);
        if self.may_fail
            && let Node::Directory(names) = &self.nodes[node]
        {
            let below: Vec<usize> = names.now.0.iter().map(|(_, node)| *node).collect();
            below.into_iter().for_each(|node| self.sync_below(node));
        }
    }

    /// One name after the other, from below: a power cut leaves any part of it.
    fn empty(&mut self, node: usize) {
        if let Node::Directory(names) = &mut self.nodes[node] {
            let below = std::mem::take(&mut names.now);
            below.0.into_iter().for_each(|(_, node)| self.empty(node));
        }
        self.release(node);
    }

    /// Has no name any more. A power cut may bring it back, where the power may fail.
    fn release(&mut self, node: usize) {
        if !self.may_fail {
            self.nodes[node] = Node::Link(PathBuf::new());
            self.free.push(node);
        }
    }
}

impl FileSystem for PowerLossFs {
    fn create(&self, path: &Path, _: Mode) -> io::Result<Box<dyn WritableFile>> {
        let mut held = self.held();
        let content = Content::default();
        held.add(path, Node::File(content.clone()))?;
        Ok(Box::new(Open { content, may_fail: held.may_fail }))
    }

    fn append(&self, path: &Path, _: Mode) -> io::Result<Box<dyn WritableFile>> {
        Ok(Box::new(self.file(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        Ok(self.file(path)?.content.source())
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DirHandle>> {
        self.in_directory(path, |_, _| {})?;
        Ok(Box::new(Opened { machine: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()> {
        let mut held = self.held();
        let node = held.find(from)?;
        let there = held.find(to).ok();
        if there == Some(node) {
            return Ok(());
        }
        if let Some(there) = there {
            if has_to_be_new {
                return Err(ErrorKind::AlreadyExists.into());
            }
            if matches!(&held.nodes[there], Node::Directory(names) if !names.now.0.is_empty()) {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
        }
        let (names, name) = held.place(to)?;
        names.insert(name, node);
        let (names, name) = held.place(from)?;
        names.remove(name);
        there.into_iter().for_each(|there| held.release(there));
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.in_directory(directory, Held::sync)
    }

    fn make_dir(&self, path: &Path, _: Mode) -> io::Result<()> {
        self.held().add(path, Node::Directory(Twice::default()))
    }

    fn list_dir(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let mut held = self.held();
        let node = held.find(directory)?;
        let names = &held.nodes[node].names()?.now;
        Ok(names.0.iter().map(|(name, _)| name.to_os_string()).collect())
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.held().add(link, Node::Link(target.to_owned()))
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        let held = self.held();
        match &held.nodes[held.find(link)?] {
            Node::Link(target) => Ok(target.clone()),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.is_dir(path) { Err(ErrorKind::IsADirectory.into()) } else { self.remove(path) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut held = self.held();
        let node = held.find(path)?;
        let (names, name) = held.place(path)?;
        names.remove(name);
        held.empty(node);
        Ok(())
    }

    fn symlink_exists(&self, path: &Path) -> bool {
        self.held().find(path).is_ok()
    }

    fn exists(&self, path: &Path) -> bool {
        self.symlink_exists(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.in_directory(path, |_, _| {}).is_ok()
    }

    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>> {
        self.in_directory(directory, |_, _| {})?;
        let is_free = self.held().locks.insert(directory.to_owned());
        let locked = || Locked { machine: self.clone(), directory: directory.to_owned() };
        Ok(is_free.then(|| Lock::from_guard(locked())))
    }
}

/// A directory, for as long as no program gives it another name.
struct Opened {
    machine: PowerLossFs,
    path: PathBuf,
}

impl DirHandle for Opened {
    fn make_dir(&self, name: &str, mode: Mode) -> io::Result<Box<dyn DirHandle>> {
        self.machine.make_dir(&self.path.join(name), mode)?;
        self.open_dir(name)
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn DirHandle>> {
        self.machine.open_dir(&self.path.join(name))
    }

    fn create(&self, name: &str, mode: Mode) -> io::Result<Box<dyn WritableFile>> {
        self.machine.create(&self.path.join(name), mode)
    }

    fn symlink(&self, target: &str, name: &str) -> io::Result<()> {
        self.machine.symlink(Path::new(target), &self.path.join(name))
    }

    fn sync_tree(&self) -> io::Result<()> {
        self.machine.in_directory(&self.path, Held::sync_below)
    }
}

struct Locked {
    machine: PowerLossFs,
    directory: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.machine.held().locks.remove(&self.directory);
    }
}

/// An open file, whatever its name.
struct Open {
    content: Content,
    may_fail: bool,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        free(&self.content.0).now.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WritableFile for Open {
    fn sync(&self) -> io::Result<()> {
        if self.may_fail {
            self.content.sync();
        }
        Ok(())
    }

    fn copy_permissions_from(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read_back(self: Box<Self>) -> io::Result<Box<dyn ReadableFile>> {
        Ok(self.content.source())
    }
}
