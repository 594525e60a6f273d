//! A node's files, in memory: a node costs no open files, and no calls to the operating system.
//!
//! Nothing is lost when a simulated machine dies, for its power does not fail: whatever was written
//! stays. No path leads through a link.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::{self};
use std::io::{Cursor, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unanimity_storage::{Directory, Files, Lock, Mode, Source, Written, parent};

/// One machine's files. Clones are the same machine.
#[derive(Clone)]
pub(super) struct Memory(Arc<Mutex<Held>>);

struct Held {
    /// By the bytes of their paths: comparing paths part by part is a tenth of a node's time.
    entries: BTreeMap<Vec<u8>, Entry>,
    locks: BTreeSet<PathBuf>,
}

#[derive(Clone)]
enum Entry {
    Directory,
    File(Bytes),
    Link(PathBuf),
}

/// A file's content; whoever opened it keeps it under whatever name.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

fn key(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn free<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Memory {
    /// Nothing but the root, which is also where a path without one begins.
    fn default() -> Memory {
        let root = |name: &str| (key(Path::new(name)).to_vec(), Entry::Directory);
        let entries = ["/", "."].map(root).into();
        Memory(Arc::new(Mutex::new(Held { entries, locks: BTreeSet::new() })))
    }
}

impl Memory {
    fn held(&self) -> MutexGuard<'_, Held> {
        free(&self.0)
    }
}

impl Held {
    fn add(&mut self, path: &Path, entry: Entry) -> io::Result<()> {
        if !self.is_dir(parent(path)) {
            return Err(ErrorKind::NotFound.into());
        }
        match self.entries.entry(key(path).to_vec()) {
            Place::Occupied(_) => Err(ErrorKind::AlreadyExists.into()),
            Place::Vacant(place) => {
                place.insert(entry);
                Ok(())
            }
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        matches!(self.entries.get(key(path)), Some(Entry::Directory))
    }

    /// Takes out what has this name, with all that is in it: how their paths go on, the first not at all.
    fn take(&mut self, path: &Path) -> io::Result<Vec<(Vec<u8>, Entry)>> {
        let top = self.entries.remove(key(path)).ok_or(ErrorKind::NotFound)?;
        let is_dir = matches!(top, Entry::Directory);
        let mut taken = vec![(Vec::new(), top)];
        let below: Vec<Vec<u8>> =
            if is_dir { self.below(path).map(<[u8]>::to_vec).collect() } else { Vec::new() };
        for below in below {
            let entry = self.entries.remove(&below);
            taken.extend(entry.map(|entry| (below[key(path).len()..].to_vec(), entry)));
        }
        Ok(taken)
    }

    /// The paths of all that is in a directory, and in those in it.
    fn below(&self, directory: &Path) -> impl Iterator<Item = &[u8]> {
        let mut start = key(directory).to_vec();
        if start.last() != Some(&b'/') {
            start.push(b'/');
        }
        let from = self.entries.range(start.clone()..).map(|(path, _)| &path[..]);
        from.take_while(move |path| path.starts_with(&start))
    }
}

impl Files for Memory {
    fn create(&self, path: &Path, _: Mode) -> io::Result<Box<dyn Written>> {
        let bytes = Bytes::default();
        self.held().add(path, Entry::File(bytes.clone()))?;
        Ok(Box::new(bytes))
    }

    fn append(&self, path: &Path, _: Mode) -> io::Result<Box<dyn Written>> {
        match self.held().entries.get(key(path)) {
            Some(Entry::File(bytes)) => Ok(Box::new(bytes.clone())),
            Some(_) => Err(ErrorKind::InvalidInput.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        match self.held().entries.get(key(path)) {
            Some(Entry::File(bytes)) => Ok(bytes.source()),
            Some(_) => Err(ErrorKind::InvalidInput.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Directory>> {
        self.sync_dir(path)?;
        Ok(Box::new(Opened { machine: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()> {
        let mut held = self.held();
        if held.entries.contains_key(key(to)) {
            if has_to_be_new {
                return Err(ErrorKind::AlreadyExists.into());
            }
            if held.below(to).next().is_some() {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
        }
        for (rest, entry) in held.take(from)? {
            held.entries.insert([key(to), &rest].concat(), entry);
        }
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        if self.is_dir(directory) { Ok(()) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn make_dir(&self, path: &Path, _: Mode) -> io::Result<()> {
        self.held().add(path, Entry::Directory)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let held = self.held();
        if !held.is_dir(directory) {
            return Err(ErrorKind::NotFound.into());
        }
        let paths = held.below(directory).map(|path| Path::new(OsStr::from_bytes(path)));
        let inside = paths.filter(|path| parent(path) == directory);
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_owned())).collect())
    }

    fn link(&self, target: &Path, link: &Path) -> io::Result<()> {
        self.held().add(link, Entry::Link(target.to_owned()))
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        match self.held().entries.get(key(link)) {
            Some(Entry::Link(target)) => Ok(target.clone()),
            Some(_) => Err(ErrorKind::InvalidInput.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        if self.is_dir(path) { Err(ErrorKind::IsADirectory.into()) } else { self.remove(path) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.held().take(path).map(drop)
    }

    fn is_there(&self, path: &Path) -> bool {
        self.held().entries.contains_key(key(path))
    }

    fn exists(&self, path: &Path) -> bool {
        self.is_there(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.held().is_dir(path)
    }

    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>> {
        self.sync_dir(directory)?;
        let is_free = self.held().locks.insert(directory.to_owned());
        let locked = || Locked { machine: self.clone(), directory: directory.to_owned() };
        Ok(is_free.then(|| Lock::of(locked())))
    }
}

/// A directory, for as long as nobody gives it another name.
struct Opened {
    machine: Memory,
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
        self.machine.sync_dir(&self.path)
    }
}

struct Locked {
    machine: Memory,
    directory: PathBuf,
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.machine.held().locks.remove(&self.directory);
    }
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        free(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written for Bytes {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn take_rights_of(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read_back(self: Box<Self>) -> io::Result<Box<dyn Source>> {
        Ok(self.source())
    }
}

impl Bytes {
    /// What is there now, to be read.
    fn source(&self) -> Box<dyn Source> {
        Box::new(Cursor::new(free(&self.0).clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use unanimity_storage::Disk;

    use super::*;

    /// What a disk answers to every operation, one after another, below a directory.
    fn told(disk: &Disk, top: &Path) -> Vec<String> {
        let at = |name: &str| if name.is_empty() { top.to_owned() } else { top.join(name) };
        let mut all = Vec::new();
        let mut tell = |what: Result<String, io::Error>| {
            all.push(what.unwrap_or_else(|error| format!("{:?}", error.kind())));
        };
        let done = |done: io::Result<()>| done.map(|()| "done".to_owned());
        let read = |name: &str| {
            let bytes = disk.read(&at(name), 100).map_err(io::Error::other);
            bytes.map(|bytes| format!("{bytes:?}"))
        };
        let names = |name: &str| {
            disk.names(&at(name)).map(|mut names| {
                names.sort();
                format!("{names:?}")
            })
        };
        tell(read("file"));
        tell(done(disk.write(&at("a/file"), b"nowhere", Mode::Private)));
        tell(done(disk.make_dir(&at("a/b"), Mode::Private)));
        tell(done(disk.make_dir(&at("a/b"), Mode::Private)));
        tell(done(disk.write(&at("a/b/file"), b"one", Mode::Private)));
        tell(done(disk.write(&at("a/b/file"), b"two", Mode::Private)));
        tell(read("a/b/file"));
        tell(done(disk.write_new(&at("a/b/file"), b"three", Mode::Private)));
        tell(done(disk.write_new(&at("a/b/other"), b"four", Mode::Private)));
        tell(read("a/b"));
        tell(names("a"));
        tell(names("a/b"));
        tell(names("nowhere"));
        tell(done(disk.rename(&at("a/b"), &at("a/c"))));
        tell(read("a/c/other"));
        tell(read("a/b/other"));
        tell(done(disk.make_dir(&at("a/b"), Mode::Private)));
        tell(done(disk.rename(&at("a/c"), &at("a/b"))));
        tell(done(disk.make_dir(&at("a/c"), Mode::Private)));
        tell(done(disk.rename(&at("a/c"), &at("a/b"))));
        tell(done(disk.rename(&at("nothing"), &at("a/d"))));
        tell(done(disk.point(&at("link"), Path::new("a/b"))));
        tell(disk.read_link(&at("link")).map(|to| format!("{to:?}")));
        tell(disk.read_link(&at("a")).map(|to| format!("{to:?}")));
        tell(done(disk.point(&at("link"), Path::new("a/c"))));
        tell(disk.read_link(&at("link")).map(|to| format!("{to:?}")));
        let lock = disk.lock(&at("a")).expect("a lock");
        tell(Ok(format!("{}", disk.lock(&at("a")).expect("no error").is_none())));
        drop(lock);
        tell(Ok(format!("{}", disk.lock(&at("a")).expect("no error").is_some())));
        tell(disk.lock(&at("nowhere")).map(|_| String::new()));
        let begun = |bytes: &[u8]| disk.create(&at("a/new"), Mode::Private)?.write_all(bytes);
        tell(done(begun(b"half")));
        let resume = |name: &str| {
            let resumed = disk.resume(&at(name), Mode::Private)?;
            let Some((mut bytes, mut file)) = resumed else { return Ok("nothing".to_owned()) };
            let mut read = String::new();
            bytes.read_to_string(&mut read)?;
            file.write_all(b" and half")?;
            Ok(read)
        };
        tell(resume("a/new"));
        tell(resume("a/new"));
        tell(resume("a/other"));
        let filled = disk.new_tree(&at("a/tree")).and_then(|mut tree| {
            tree.make_dir("d")?;
            tree.create("d/file", Mode::Program)?;
            tree.write(b"in a tree")?;
            tree.link("file", "d/link")?;
            tree.sync()
        });
        tell(filled.map(|()| "filled".to_owned()).map_err(io::Error::other));
        tell(names("a/tree/d"));
        tell(read("a/tree/d/file"));
        tell(disk.read_link(&at("a/tree/d/link")).map(|to| format!("{to:?}")));
        let again =
            disk.new_tree(&at("a/tree")).and_then(|mut tree| tree.create("x/y", Mode::Public));
        tell(Ok(format!("{}", again.is_err())));
        tell(names("a/tree"));
        tell(done(disk.remove(&at("a"))));
        tell(done(disk.remove(&at("a"))));
        tell(names(""));
        all
    }

    #[test]
    fn a_disk_in_memory_answers_as_one_of_this_machine_does() {
        let place = tempfile::tempdir().expect("a directory");
        let real = told(&Disk::default(), place.path());
        let memory = told(&Disk::default().on(Memory::default()), Path::new("/"));
        assert_eq!(memory.len(), real.len());
        for (step, (memory, real)) in memory.iter().zip(&real).enumerate() {
            assert_eq!(memory, real, "step {step}");
        }
    }
}
