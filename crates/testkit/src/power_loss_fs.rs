//! A machine's files in memory, of which a power cut leaves what was synced, and of the rest any part.
//!
//! A file's bytes are durable once the file was synced, a name in a directory once that directory
//! was. What was changed since and is not durable yet may be left singly or together; only, no
//! directory has two names: no file system that keeps a journal leaves it so.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self};
use std::io::{Cursor, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use unanimity_storage::{Directory, Files, Lock, Mode, Source, Written, parent};

/// A machine. Clones are the same one.
#[derive(Clone)]
pub struct PowerLossFs(Arc<Mutex<Held>>);

#[derive(Clone)]
struct Held {
    nodes: Vec<Node>,
    locks: BTreeSet<PathBuf>,
}

#[derive(Clone)]
enum Node {
    Directory(Twice<BTreeMap<OsString, usize>>),
    File(Twice<Vec<u8>>),
    Link(PathBuf),
}

/// As it is, and as it is on the disk.
#[derive(Clone, Default)]
struct Twice<T> {
    now: T,
    durable: T,
}

/// Something that is not durable yet.
enum Loose {
    Name { directory: usize, name: OsString },
    Bytes { file: usize },
}

const ROOT: usize = 0;

impl Default for PowerLossFs {
    /// An empty root.
    fn default() -> PowerLossFs {
        let nodes = vec![Node::Directory(Twice::default())];
        PowerLossFs(Arc::new(Mutex::new(Held { nodes, locks: BTreeSet::new() })))
    }
}

impl PowerLossFs {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    /// Another machine with the same on its disk, all of it durable, and nobody at work.
    pub fn copy(&self) -> PowerLossFs {
        let mut nodes = self.held().nodes.clone();
        nodes.iter_mut().for_each(Node::sync);
        PowerLossFs(Arc::new(Mutex::new(Held { nodes, locks: BTreeSet::new() })))
    }

    /// What may be left if the power goes now, without what is the same: a machine for each.
    pub fn power_cuts(&self) -> Vec<PowerLossFs> {
        let held = self.held();
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
            let mut nodes = held.nodes.clone();
            let kept = loose.iter().zip(subset).filter(|(_, is_kept)| **is_kept);
            kept.for_each(|(loose, _)| loose.keep(&mut nodes));
            nodes.iter_mut().for_each(Node::forget);
            held.drop_former_names(&mut nodes);
            PowerLossFs(Arc::new(Mutex::new(Held { nodes, locks: BTreeSet::new() })))
        };
        subsets.iter().map(left).collect()
    }

    fn sync_node(&self, node: usize) {
        self.held().nodes[node].sync();
    }

    fn file(&self, path: &Path) -> io::Result<Open> {
        let held = self.held();
        let node = held.find(path)?;
        match held.nodes[node] {
            Node::File(_) => Ok(Open { machine: self.clone(), node }),
            _ => Err(ErrorKind::InvalidInput.into()),
        }
    }
}

impl Node {
    fn sync(&mut self) {
        match self {
            Node::Directory(names) => names.durable.clone_from(&names.now),
            Node::File(bytes) => bytes.durable.clone_from(&bytes.now),
            Node::Link(_) => {}
        }
    }

    fn forget(&mut self) {
        match self {
            Node::Directory(names) => names.now.clone_from(&names.durable),
            Node::File(bytes) => bytes.now.clone_from(&bytes.durable),
            Node::Link(_) => {}
        }
    }

    fn names(&mut self) -> io::Result<&mut Twice<BTreeMap<OsString, usize>>> {
        match self {
            Node::Directory(names) => Ok(names),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }
}

impl Loose {
    fn keep(&self, nodes: &mut [Node]) {
        match self {
            Loose::Name { directory, name } => {
                let Node::Directory(names) = &mut nodes[*directory] else { unreachable!() };
                match names.now.get(name) {
                    Some(node) => names.durable.insert(name.clone(), *node),
                    None => names.durable.remove(name),
                };
            }
            Loose::Bytes { file } => nodes[*file].sync(),
        }
    }
}

impl Held {
    /// Only what has a name, or had one on the disk.
    fn loose(&self) -> Vec<Loose> {
        let (mut loose, mut seen, mut ahead) = (Vec::new(), BTreeSet::new(), vec![ROOT]);
        while let Some(node) = ahead.pop() {
            if !seen.insert(node) {
                continue;
            }
            match &self.nodes[node] {
                Node::Directory(names) => {
                    let all: BTreeSet<_> = names.now.keys().chain(names.durable.keys()).collect();
                    for name in all {
                        let (now, durable) = (names.now.get(name), names.durable.get(name));
                        ahead.extend(now.into_iter().chain(durable));
                        if now != durable {
                            loose.push(Loose::Name { directory: node, name: name.clone() });
                        }
                    }
                }
                Node::File(bytes) if bytes.now != bytes.durable => {
                    loose.push(Loose::Bytes { file: node });
                }
                Node::File(_) | Node::Link(_) => {}
            }
        }
        loose
    }

    /// Of a directory that was renamed, its former name, if it has the other one as well.
    fn drop_former_names(&self, nodes: &mut [Node]) {
        let mut named = BTreeMap::<usize, usize>::new();
        for node in nodes.iter() {
            let Node::Directory(names) = node else { continue };
            names.now.values().for_each(|node| *named.entry(*node).or_default() += 1);
        }
        let twice = |node: &usize| {
            named.get(node) > Some(&1) && matches!(self.nodes[*node], Node::Directory(_))
        };
        for (number, node) in nodes.iter_mut().enumerate() {
            let (Node::Directory(left), Node::Directory(was)) = (node, &self.nodes[number]) else {
                continue;
            };
            left.now.retain(|name, node| was.now.get(name) == Some(node) || !twice(node));
            left.durable.clone_from(&left.now);
        }
    }

    /// No path leads through a link.
    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut node = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            node = match &self.nodes[node] {
                Node::Directory(names) => *names.now.get(name).ok_or(ErrorKind::NotFound)?,
                _ => return Err(ErrorKind::NotADirectory.into()),
            };
        }
        Ok(node)
    }

    fn place(&mut self, path: &Path) -> io::Result<(&mut BTreeMap<OsString, usize>, OsString)> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        let directory = self.find(parent(path))?;
        Ok((&mut self.nodes[directory].names()?.now, name))
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<usize> {
        let number = self.nodes.len();
        let (names, name) = self.place(path)?;
        if names.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        names.insert(name, number);
        self.nodes.push(node);
        Ok(number)
    }

    fn sync_below(&mut self, node: usize) {
        self.nodes[node].sync();
        if let Node::Directory(names) = &self.nodes[node] {
            let below: Vec<usize> = names.now.values().copied().collect();
            below.into_iter().for_each(|node| self.sync_below(node));
        }
    }

    /// One name after the other, from below: a power cut leaves any part of it.
    fn empty(&mut self, node: usize) {
        if let Node::Directory(names) = &mut self.nodes[node] {
            let below = std::mem::take(&mut names.now);
            below.into_values().for_each(|node| self.empty(node));
        }
    }
}

impl Files for PowerLossFs {
    fn create(&self, path: &Path, _: Mode) -> io::Result<Box<dyn Written>> {
        let node = self.held().add(path, Node::File(Twice::default()))?;
        Ok(Box::new(Open { machine: self.clone(), node }))
    }

    fn append(&self, path: &Path, _: Mode) -> io::Result<Box<dyn Written>> {
        Ok(Box::new(self.file(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        Box::new(self.file(path)?).read_back()
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Directory>> {
        self.at_dir(path, |_, _| {})?;
        Ok(Box::new(Opened { machine: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()> {
        let mut held = self.held();
        let node = held.find(from)?;
        if let Ok(there) = held.find(to) {
            let is_full =
                matches!(&held.nodes[there], Node::Directory(names) if !names.now.is_empty());
            if has_to_be_new || is_full {
                return Err(ErrorKind::AlreadyExists.into());
            }
        }
        let (names, name) = held.place(to)?;
        names.insert(name, node);
        let (names, name) = held.place(from)?;
        names.remove(&name);
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.at_dir(directory, |held, node| held.nodes[node].sync())
    }

    fn make_dir(&self, path: &Path, _: Mode) -> io::Result<()> {
        self.held().add(path, Node::Directory(Twice::default())).map(drop)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let mut held = self.held();
        let node = held.find(directory)?;
        Ok(held.nodes[node].names()?.now.keys().cloned().collect())
    }

    fn link(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.held().add(link, Node::Link(target.to_owned())).map(drop)
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
        held.empty(node);
        let (names, name) = held.place(path)?;
        names.remove(&name);
        Ok(())
    }

    fn is_there(&self, path: &Path) -> bool {
        self.held().find(path).is_ok()
    }

    fn exists(&self, path: &Path) -> bool {
        self.is_there(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.at_dir(path, |_, _| {}).is_ok()
    }

    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>> {
        self.at_dir(directory, |_, _| {})?;
        let is_free = self.held().locks.insert(directory.to_owned());
        let locked = || Locked { machine: self.clone(), directory: directory.to_owned() };
        Ok(is_free.then(|| Lock::of(locked())))
    }
}

impl PowerLossFs {
    fn at_dir(&self, path: &Path, with: impl FnOnce(&mut Held, usize)) -> io::Result<()> {
        let mut held = self.held();
        let node = held.find(path)?;
        held.nodes[node].names()?;
        with(&mut held, node);
        Ok(())
    }
}

struct Opened {
    machine: PowerLossFs,
    path: PathBuf,
}

impl Directory for Opened {
    fn make_dir(&self, name: &str, mode: Mode) -> io::Result<Box<dyn Directory>> {
        self.machine.make_dir(&self.path.join(name), mode)?;
        self.open_dir(name)
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn Directory>> {
        self.machine.open_dir(&self.path.join(name))
    }

    fn create(&self, name: &str, mode: Mode) -> io::Result<Box<dyn Written>> {
        self.machine.create(&self.path.join(name), mode)
    }

    fn link(&self, target: &str, name: &str) -> io::Result<()> {
        self.machine.link(Path::new(target), &self.path.join(name))
    }

    fn sync_tree(&self) -> io::Result<()> {
        self.machine.at_dir(&self.path, Held::sync_below)
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
    machine: PowerLossFs,
    node: usize,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.machine.held().nodes[self.node] {
            Node::File(content) => content.now.extend_from_slice(bytes),
            _ => unreachable!("it was opened as a file"),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written for Open {
    fn sync(&self) -> io::Result<()> {
        self.machine.sync_node(self.node);
        Ok(())
    }

    fn take_rights_of(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read_back(self: Box<Self>) -> io::Result<Box<dyn Source>> {
        match &self.machine.held().nodes[self.node] {
            Node::File(content) => Ok(Box::new(Cursor::new(content.now.clone()))),
            _ => unreachable!("it was opened as a file"),
        }
    }
}
