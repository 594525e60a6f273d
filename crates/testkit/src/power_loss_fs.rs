//! A file system in memory that models power cuts. It makes no calls to the operating system, and
//! follows no links in paths.
//!
//! If the power may fail, a power cut leaves all durable changes and any part of the others. A
//! file's bytes are durable after a sync of the file. A name is durable after a sync of its
//! directory. Changes that are not durable survive singly or together. However, no directory has
//! two names after a power cut, because a file system with a journal prevents that.
//!
//! If the power never fails, a program that dies loses nothing. Such a file system stores only its
//! present state, so that a simulation can hold many file systems in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self, Cursor, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unanimity_storage::{DirHandle, FileSystem, Lock, Mode, ReadableFile, WritableFile, parent};

/// The file system of one machine. Clones share its files.
#[derive(Clone)]
pub struct PowerLossFs(Arc<Mutex<FsState>>);

struct FsState {
    nodes: Vec<Inode>,
    /// The indices of inodes without a name, for reuse. Empty if the power may fail.
    free: Vec<usize>,
    locks: BTreeSet<PathBuf>,
    may_lose_power: bool,
}

enum Inode {
    Directory(Buffered<DirEntries>),
    File(FileContent),
    Link(PathBuf),
}

/// The present state of a file or directory and, if the power may fail, its durable state.
#[derive(Clone, Default)]
struct Buffered<T> {
    now: T,
    durable: T,
}

/// The names in a directory and their inodes, sorted by name. Most directories have only a few.
#[derive(Clone, Default)]
struct DirEntries(Vec<(Box<OsStr>, usize)>);

/// A file's bytes. A program that has opened the file shares the bytes, also after a rename.
#[derive(Clone, Default)]
struct FileContent(Arc<Mutex<Buffered<Vec<u8>>>>);

/// A change that is not durable yet.
enum UnsyncedChange {
    Name { directory: usize, name: Box<OsStr> },
    Bytes { file: usize },
}

const ROOT: usize = 0;

fn lock_unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for PowerLossFs {
    /// Makes an empty file system whose power may fail.
    fn default() -> PowerLossFs {
        PowerLossFs::from_inodes(vec![Inode::Directory(Buffered::default())], true)
    }
}

impl PowerLossFs {
    /// Makes an empty file system whose power never fails.
    pub fn without_power_loss() -> PowerLossFs {
        PowerLossFs::from_inodes(vec![Inode::Directory(Buffered::default())], false)
    }

    fn from_inodes(nodes: Vec<Inode>, may_fail: bool) -> PowerLossFs {
        let (free, locks) = (Vec::new(), BTreeSet::new());
        PowerLossFs(Arc::new(Mutex::new(FsState { nodes, free, locks, may_lose_power: may_fail })))
    }

    fn state(&self) -> MutexGuard<'_, FsState> {
        lock_unpoisoned(&self.0)
    }

    /// Copies the file system. In the copy everything is durable, and no directory is locked.
    pub fn copy(&self) -> PowerLossFs {
        let held = self.state();
        let mut nodes = held.copy();
        nodes.iter_mut().for_each(Inode::sync);
        PowerLossFs::from_inodes(nodes, held.may_lose_power)
    }

    /// Returns the number of inodes in memory, including those of removed files.
    pub fn inode_count(&self) -> usize {
        self.state().nodes.len()
    }

    /// Returns the file systems that a power cut may leave now, one for each case.
    ///
    /// The cases differ in the unsynced changes that survive: none of them, all of them, only one
    /// of them, and all but one of them. Panics if the power never fails.
    pub fn power_cuts(&self) -> Vec<PowerLossFs> {
        let held = self.state();
        assert!(held.may_lose_power, "this file system was made without power loss");
        let unsynced = held.unsynced_changes();
        let (none, all) = (vec![false; unsynced.len()], vec![true; unsynced.len()]);
        let mut subsets = BTreeSet::from([none.clone(), all.clone()]);
        for i in 0..unsynced.len() {
            for base in [&none, &all] {
                let mut subset = base.clone();
                subset[i] = !subset[i];
                subsets.insert(subset);
            }
        }
        let after_cut = |subset: &Vec<bool>| {
            let mut nodes = held.copy();
            let kept = unsynced.iter().zip(subset).filter(|(_, is_kept)| **is_kept);
            kept.for_each(|(unsynced, _)| unsynced.apply(&mut nodes));
            nodes.iter_mut().for_each(Inode::drop_unsynced);
            held.drop_old_directory_names(&mut nodes);
            PowerLossFs::from_inodes(nodes, true)
        };
        subsets.iter().map(after_cut).collect()
    }

    fn open_file(&self, path: &Path) -> io::Result<OpenFile> {
        let held = self.state();
        match &held.nodes[held.find(path)?] {
            Inode::File(content) => {
                Ok(OpenFile { content: content.clone(), may_fail: held.may_lose_power })
            }
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn with_directory(
        &self,
        path: &Path,
        with: impl FnOnce(&mut FsState, usize),
    ) -> io::Result<()> {
        let mut held = self.state();
        let node = held.find(path)?;
        held.nodes[node].names()?;
        with(&mut held, node);
        Ok(())
    }
}

impl Inode {
    /// Copies an inode for another file system. Later writes to one do not change the other.
    fn copy(&self) -> Inode {
        match self {
            Inode::Directory(names) => Inode::Directory(names.clone()),
            Inode::File(FileContent(bytes)) => {
                Inode::File(FileContent(Arc::new(Mutex::new(lock_unpoisoned(bytes).clone()))))
            }
            Inode::Link(target) => Inode::Link(target.clone()),
        }
    }

    fn sync(&mut self) {
        match self {
            Inode::Directory(names) => names.durable.clone_from(&names.now),
            Inode::File(content) => content.sync(),
            Inode::Link(_) => {}
        }
    }

    fn drop_unsynced(&mut self) {
        match self {
            Inode::Directory(names) => names.now.clone_from(&names.durable),
            Inode::File(content) => {
                let mut bytes = lock_unpoisoned(&content.0);
                let Buffered { now, durable } = &mut *bytes;
                now.clone_from(durable);
            }
            Inode::Link(_) => {}
        }
    }

    fn names(&mut self) -> io::Result<&mut Buffered<DirEntries>> {
        match self {
            Inode::Directory(names) => Ok(names),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }
}

impl FileContent {
    fn sync(&self) {
        let mut bytes = lock_unpoisoned(&self.0);
        let Buffered { now, durable } = &mut *bytes;
        durable.clone_from(now);
    }

    /// Returns a reader of the present bytes. The reader does not see later writes.
    fn reader(&self) -> Box<dyn ReadableFile> {
        Box::new(Cursor::new(lock_unpoisoned(&self.0).now.clone()))
    }
}

impl DirEntries {
    fn position(&self, name: &OsStr) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_bytes().cmp(name.as_bytes()))
    }

    fn get(&self, name: &OsStr) -> Option<usize> {
        self.position(name).ok().map(|at| self.0[at].1)
    }

    fn insert(&mut self, name: &OsStr, node: usize) {
        match self.position(name) {
            Ok(at) => self.0[at].1 = node,
            Err(at) => self.0.insert(at, (name.into(), node)),
        }
    }

    fn remove(&mut self, name: &OsStr) {
        if let Ok(at) = self.position(name) {
            self.0.remove(at);
        }
    }
}

impl UnsyncedChange {
    fn apply(&self, nodes: &mut [Inode]) {
        match self {
            UnsyncedChange::Name { directory, name } => {
                let Inode::Directory(names) = &mut nodes[*directory] else { unreachable!() };
                match names.now.get(name) {
                    Some(node) => names.durable.insert(name, node),
                    None => names.durable.remove(name),
                };
            }
            UnsyncedChange::Bytes { file } => nodes[*file].sync(),
        }
    }
}

impl FsState {
    fn copy(&self) -> Vec<Inode> {
        self.nodes.iter().map(Inode::copy).collect()
    }

    /// Lists the changes that are not durable, of all inodes with a present or durable name.
    fn unsynced_changes(&self) -> Vec<UnsyncedChange> {
        let (mut unsynced, mut seen, mut ahead) = (Vec::new(), BTreeSet::new(), vec![ROOT]);
        while let Some(node) = ahead.pop() {
            if !seen.insert(node) {
                continue;
            }
            match &self.nodes[node] {
                Inode::Directory(names) => {
                    let both = names.now.0.iter().chain(&names.durable.0);
                    let all: BTreeSet<_> = both.map(|(name, _)| name).collect();
                    for name in all {
                        let (now, durable) = (names.now.get(name), names.durable.get(name));
                        ahead.extend(now.into_iter().chain(durable));
                        if now != durable {
                            unsynced
                                .push(UnsyncedChange::Name { directory: node, name: name.clone() });
                        }
                    }
                }
                Inode::File(content) => {
                    let bytes = lock_unpoisoned(&content.0);
                    if bytes.now != bytes.durable {
                        unsynced.push(UnsyncedChange::Bytes { file: node });
                    }
                }
                Inode::Link(_) => {}
            }
        }
        unsynced
    }

    /// Removes the old name of each renamed directory for which both names would survive.
    fn drop_old_directory_names(&self, nodes: &mut [Inode]) {
        let mut named = BTreeMap::<usize, usize>::new();
        for node in nodes.iter() {
            let Inode::Directory(names) = node else { continue };
            names.now.0.iter().for_each(|(_, node)| *named.entry(*node).or_default() += 1);
        }
        let twice = |node: usize| {
            named.get(&node) > Some(&1) && matches!(self.nodes[node], Inode::Directory(_))
        };
        for (number, node) in nodes.iter_mut().enumerate() {
            let (Inode::Directory(left), Inode::Directory(was)) = (node, &self.nodes[number])
            else {
                continue;
            };
            left.now.0.retain(|(name, node)| was.now.get(name) == Some(*node) || !twice(*node));
            left.durable.clone_from(&left.now);
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut node = ROOT;
        // By bytes: `Path::components` would take a tenth of a simulated node's time.
        for part in path.as_os_str().as_bytes().split(|byte| *byte == b'/') {
            if part.is_empty() || part == b"." {
                continue;
            }
            node = match &self.nodes[node] {
                Inode::Directory(names) => {
                    names.now.get(OsStr::from_bytes(part)).ok_or(ErrorKind::NotFound)?
                }
                _ => return Err(ErrorKind::NotADirectory.into()),
            };
        }
        Ok(node)
    }

    fn locate<'a>(&mut self, path: &'a Path) -> io::Result<(&mut DirEntries, &'a OsStr)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
        let directory = self.find(parent(path))?;
        Ok((&mut self.nodes[directory].names()?.now, name))
    }

    fn add(&mut self, path: &Path, node: Inode) -> io::Result<()> {
        let number = self.free.last().copied().unwrap_or(self.nodes.len());
        let (names, name) = self.locate(path)?;
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
        if self.may_lose_power {
            self.nodes[node].sync();
        }
    }

    fn sync_tree_from(&mut self, node: usize) {
        self.sync(node);
        if self.may_lose_power
            && let Inode::Directory(names) = &self.nodes[node]
        {
            let below: Vec<usize> = names.now.0.iter().map(|(_, node)| *node).collect();
            below.into_iter().for_each(|node| self.sync_tree_from(node));
        }
    }

    /// Removes every name below an inode. A power cut may leave any part of the tree.
    fn remove_tree(&mut self, node: usize) {
        if let Inode::Directory(names) = &mut self.nodes[node] {
            let below = std::mem::take(&mut names.now);
            below.0.into_iter().for_each(|(_, node)| self.remove_tree(node));
        }
        self.free_inode(node);
    }

    /// Frees an inode without a name. If the power may fail, the inode is kept: a power cut may
    /// restore it.
    fn free_inode(&mut self, node: usize) {
        if !self.may_lose_power {
            self.nodes[node] = Inode::Link(PathBuf::new());
            self.free.push(node);
        }
    }
}

impl FileSystem for PowerLossFs {
    fn create(&self, path: &Path, _: Mode) -> io::Result<Box<dyn WritableFile>> {
        let mut held = self.state();
        let content = FileContent::default();
        held.add(path, Inode::File(content.clone()))?;
        Ok(Box::new(OpenFile { content, may_fail: held.may_lose_power }))
    }

    fn append(&self, path: &Path, _: Mode) -> io::Result<Box<dyn WritableFile>> {
        Ok(Box::new(self.open_file(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        Ok(self.open_file(path)?.content.reader())
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DirHandle>> {
        self.with_directory(path, |_, _| {})?;
        Ok(Box::new(OpenDir { machine: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()> {
        let mut held = self.state();
        let node = held.find(from)?;
        let there = held.find(to).ok();
        if there == Some(node) {
            return Ok(());
        }
        if let Some(there) = there {
            if has_to_be_new {
                return Err(ErrorKind::AlreadyExists.into());
            }
            if matches!(&held.nodes[there], Inode::Directory(names) if !names.now.0.is_empty()) {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
        }
        let (names, name) = held.locate(to)?;
        names.insert(name, node);
        let (names, name) = held.locate(from)?;
        names.remove(name);
        there.into_iter().for_each(|there| held.free_inode(there));
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.with_directory(directory, FsState::sync)
    }

    fn make_dir(&self, path: &Path, _: Mode) -> io::Result<()> {
        self.state().add(path, Inode::Directory(Buffered::default()))
    }

    fn list_dir(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let mut held = self.state();
        let node = held.find(directory)?;
        let names = &held.nodes[node].names()?.now;
        Ok(names.0.iter().map(|(name, _)| name.to_os_string()).collect())
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.state().add(link, Inode::Link(target.to_owned()))
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        let held = self.state();
        match &held.nodes[held.find(link)?] {
            Inode::Link(target) => Ok(target.clone()),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.is_dir(path) { Err(ErrorKind::IsADirectory.into()) } else { self.remove(path) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut held = self.state();
        let node = held.find(path)?;
        let (names, name) = held.locate(path)?;
        names.remove(name);
        held.remove_tree(node);
        Ok(())
    }

    fn symlink_exists(&self, path: &Path) -> bool {
        self.state().find(path).is_ok()
    }

    fn exists(&self, path: &Path) -> bool {
        self.symlink_exists(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.with_directory(path, |_, _| {}).is_ok()
    }

    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>> {
        self.with_directory(directory, |_, _| {})?;
        let is_free = self.state().locks.insert(directory.to_owned());
        let locked = || HeldLock { machine: self.clone(), directory: directory.to_owned() };
        Ok(is_free.then(|| Lock::from_guard(locked())))
    }
}

/// An open directory. Each call finds the directory by its path, so the value is valid until a
/// program renames the directory.
struct OpenDir {
    machine: PowerLossFs,
    path: PathBuf,
}

impl DirHandle for OpenDir {
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
        self.machine.with_directory(&self.path, FsState::sync_tree_from)
    }
}

struct HeldLock {
    machine: PowerLossFs,
    directory: PathBuf,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.machine.state().locks.remove(&self.directory);
    }
}

/// An open file. It stays usable if the file is renamed or removed.
struct OpenFile {
    content: FileContent,
    may_fail: bool,
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock_unpoisoned(&self.content.0).now.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WritableFile for OpenFile {
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
        Ok(self.content.reader())
    }
}
