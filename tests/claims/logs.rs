//! What the claims about logs share: notes, a naive tree, and a disk that dies when told to.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fs, io};

use tempfile::TempDir;
use unanimity_log::{Bundles, Cached};
use unanimity_net::Mirror;
use unanimity_protocol::{Checkpoint, Hash, Head, Log, Note, NoteSecret, Origin};
use unanimity_storage::{Disk, Step, temporary};

pub(crate) const ORIGIN: &str = "log.example/claims";

/// A directory of its own. In memory where there is such a place: crash points are many, and
/// waiting for a disk shows nothing more.
pub(crate) fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    place.expect("a temporary directory")
}

pub(crate) fn secret(seed: u8) -> NoteSecret {
    NoteSecret::from_seed(format!("key-{seed}").parse().unwrap(), &[seed; 32])
}

pub(crate) fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

pub(crate) fn the_log() -> Log {
    Log { origin: origin(), key: secret(1).public() }
}

/// A note of some kind of ours that names this log; different for each `word` and `i`.
pub(crate) fn note(word: &str, i: u64) -> Vec<u8> {
    // The writer looks at a note's form; who signed it is for its readers to judge.
    format!("unanimity/example/v1\nlog {ORIGIN}\n{word} {i}\n\n— writer AAAAAAAA\n").into_bytes()
}

pub(crate) fn notes(word: &str, count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| note(word, i)).collect()
}

/// What a future of files only comes to.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

/// RFC 6962 section 2.1, word for word.
pub(crate) fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            Hash::node(&naive_root(left), &naive_root(right))
        }
    }
}

/// RFC 6962 section 2.1.1: PATH(m, D).
pub(crate) fn naive_inclusion(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if m < k {
        (naive_inclusion(m, left), naive_root(right))
    } else {
        (naive_inclusion(m - k, right), naive_root(left))
    };
    path.push(sibling);
    path
}

/// RFC 6962 section 2.1.2: SUBPROOF(m, D, b), with `b` always false, so the first hash is never left out.
pub(crate) fn naive_consistency(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if m == leaves.len() {
        return vec![naive_root(leaves)];
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if m <= k {
        (naive_consistency(m, left), naive_root(right))
    } else {
        (naive_consistency(m - k, right), naive_root(left))
    };
    path.push(sibling);
    path
}

fn split(n: usize) -> usize {
    1 << (n - 1).ilog2()
}

pub(crate) fn leaf_hashes(count: u64) -> Vec<Hash> {
    (0..count).map(|i| Hash::leaf(&i.to_be_bytes())).collect()
}

/// Reads the log in a directory as anybody would: the checkpoint opens, its tiles and its
/// entries hash up to it. Returns the head and the entries.
pub(crate) fn read_whole(directory: &Path) -> (Head, Vec<Vec<u8>>) {
    let bytes = fs::read(directory.join("checkpoint")).expect("a checkpoint");
    let head = Head::open(&bytes, &the_log()).expect("a checkpoint of this log");
    let mirror = Mirror::directory(directory);
    assert!(now(Cached::new(&mirror).serves(&head)), "tiles hash up to {head}");
    let mut entries = Vec::new();
    let bundles = now(Bundles::below(&Cached::new(&mirror), &head, 0)).expect("tiles");
    now(bundles.read(&[&mirror], |index, entry| {
        assert_eq!(index, entries.len() as u64);
        entries.push(entry.to_vec());
    }))
    .expect("all entries");
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
    assert_eq!(naive_root(&leaves), *head.root(), "entries hash up to {head}");
    (head, entries)
}

/// Every checkpoint of a log that was ever signed onto a disk. Two roots for one size are a fork.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<SeenBefore>>);

#[derive(Clone, Default)]
struct SeenBefore {
    roots: BTreeMap<u64, Hash>,
    /// What was read last, so that the same bytes are not read twice.
    last: [Vec<u8>; 2],
}

impl Seen {
    /// Notes what stands in a log's directory, also what is signed and not yet published.
    pub(crate) fn look(&self, directory: &Path) {
        let path = directory.join("checkpoint");
        let mut seen = self.0.lock().unwrap();
        for (i, path) in [temporary(&path), path].into_iter().enumerate() {
            let Ok(bytes) = fs::read(&path) else { continue };
            if seen.last[i] == bytes {
                continue;
            }
            seen.last[i].clone_from(&bytes);
            let Ok(note) = Note::parse(&bytes) else { continue };
            let checkpoint = Checkpoint::parse(note.text()).expect("a signed checkpoint");
            let first = *seen.roots.entry(checkpoint.size).or_insert(checkpoint.root);
            assert_eq!(first, checkpoint.root, "two roots for size {}", checkpoint.size);
        }
    }

    /// The same knowledge, to go on from in several ways.
    pub(crate) fn clone_of(&self) -> Seen {
        Seen(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    /// A disk that looks at every step.
    pub(crate) fn disk(&self, directory: &Path) -> Disk {
        let (seen, directory) = (self.clone(), directory.to_owned());
        Disk::watched(move |_| {
            seen.look(&directory);
            Ok(())
        })
    }
}

pub(crate) fn no_space() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

/// A disk that fails the steps `from` up to `until`, counted from 0. With no end it is a
/// program that was killed; a file it was writing then keeps half of its bytes.
pub(crate) fn failing_disk(from: usize, until: Option<usize>) -> Disk {
    let count = Mutex::new(0);
    Disk::watched(move |step| {
        let mut count = count.lock().unwrap();
        let number = *count;
        *count += 1;
        if number < from || until.is_some_and(|until| number >= until) {
            return Ok(());
        }
        if number == from
            && until.is_none()
            && let Step::SyncFile(path) = step
        {
            let file = fs::File::options().write(true).open(temporary(path)).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        Err(no_space())
    })
}

/// A disk that records its steps.
pub(crate) fn recording_disk() -> (Disk, Arc<Mutex<Vec<Step>>>) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let record = steps.clone();
    let disk = Disk::watched(move |step| {
        record.lock().unwrap().push(step.clone());
        Ok(())
    });
    (disk, steps)
}

/// The path a step is about.
pub(crate) fn path_of(step: &Step) -> &Path {
    match step {
        Step::MakeDir(path)
        | Step::Create(path)
        | Step::Write(path)
        | Step::SyncFile(path)
        | Step::Rename(path)
        | Step::SyncDir(path)
        | Step::SyncTree(path)
        | Step::Link(path)
        | Step::Remove(path) => path,
    }
}

/// What of a directory would be left if the power went: contents only if synced, names
/// only if their directory was. Of the rest any part may have got there.
pub(crate) struct Power {
    root: PathBuf,
    durable: Arc<Mutex<Durable>>,
}

#[derive(Clone, Default)]
struct Durable {
    names: BTreeMap<PathBuf, Thing>,
    /// Names given and not yet synced, in order.
    loose: Vec<(PathBuf, Thing)>,
    /// What is synced of the files that still have their temporary names.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    /// The step that was announced last; it has been taken when the next one is.
    taken: Option<Step>,
}

#[derive(Clone)]
enum Thing {
    Directory,
    File(Vec<u8>),
}

impl Power {
    /// Over an empty directory.
    pub(crate) fn over(root: &Path) -> Power {
        Power { root: root.to_owned(), durable: Arc::default() }
    }

    /// A disk that the model follows, for a log in `log` below it. The program on it is killed before step `dies`.
    pub(crate) fn disk(&self, dies: Option<usize>, seen: &Seen) -> Disk {
        let (root, durable, seen) = (self.root.clone(), self.durable.clone(), seen.clone());
        let count = Mutex::new(0);
        Disk::watched(move |step| {
            seen.look(&root.join("log"));
            let mut count = count.lock().unwrap();
            if dies.is_some_and(|dies| *count >= dies) {
                return Err(no_space());
            }
            *count += 1;
            let mut durable = durable.lock().unwrap();
            durable.finish();
            if let Step::SyncFile(path) = step {
                durable.synced.insert(path.clone(), fs::read(temporary(path)).unwrap());
            }
            durable.taken = Some(step.clone());
            Ok(())
        })
    }

    /// A copy of what is known, to go on from in several ways.
    pub(crate) fn fork(&self, root: &Path) -> Power {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.finish();
        let moved = |path: &PathBuf| root.join(path.strip_prefix(&self.root).unwrap());
        let names = durable.names.iter().map(|(path, thing)| (moved(path), thing.clone()));
        let loose = durable.loose.iter().map(|(path, thing)| (moved(path), thing.clone()));
        let durable =
            Durable { names: names.collect(), loose: loose.collect(), ..Durable::default() };
        Power { root: root.to_owned(), durable: Arc::new(Mutex::new(durable)) }
    }

    /// Whether a power cut now is any different from a kill.
    pub(crate) fn has_loose_names(&self) -> bool {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.finish();
        !durable.loose.is_empty()
    }

    /// All that may be left if the power goes now: a directory for each.
    pub(crate) fn outcomes(&self) -> Vec<TempDir> {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.finish();
        let loose = durable.loose.len();
        let all = (1u64 << loose) - 1;
        let subsets: Vec<u64> = if loose <= 2 {
            (0..=all).collect()
        } else {
            let alone = (0..loose).flat_map(|i| [1 << i, all ^ (1 << i)]);
            [0, all].into_iter().chain(alone).collect()
        };
        let left = |subset: u64| {
            let mut names = durable.names.clone();
            for (i, (path, thing)) in durable.loose.iter().enumerate() {
                if subset & (1 << i) != 0 {
                    names.insert(path.clone(), thing.clone());
                }
            }
            let place = place();
            for (path, thing) in names {
                let path = place.path().join(path.strip_prefix(&self.root).unwrap());
                match thing {
                    // A name in a directory that was lost is lost with it.
                    _ if !path.parent().unwrap().is_dir() => {}
                    Thing::Directory => fs::create_dir(path).unwrap(),
                    Thing::File(bytes) => fs::write(path, bytes).unwrap(),
                }
            }
            place
        };
        subsets.into_iter().map(left).collect()
    }
}

impl Durable {
    fn finish(&mut self) {
        match self.taken.take() {
            Some(Step::MakeDir(path)) => self.loose.push((path, Thing::Directory)),
            Some(Step::Rename(path)) => {
                let bytes = self.synced.remove(&path).unwrap_or_default();
                self.loose.push((path, Thing::File(bytes)));
            }
            Some(Step::SyncDir(directory)) => {
                let inside = |path: &Path| path.parent() == Some(&directory);
                let (synced, loose) =
                    std::mem::take(&mut self.loose).into_iter().partition(|(p, _)| inside(p));
                let synced: Vec<_> = synced;
                self.names.extend(synced);
                self.loose = loose;
            }
            _ => {}
        }
    }
}
