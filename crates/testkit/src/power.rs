//! A power cut, over real files: which of them would be left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use unanimity_storage::{Storage, WriteStep, temporary_path};

use crate::scratch_dir::place;
use crate::signed_heads::Seen;
use crate::watched_disk::no_space;

/// What of a directory would be left if the power went: contents only if synced, names
/// only if their directory was. Of the rest any part may have got there.
pub struct Power {
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
    taken: Option<WriteStep>,
}

#[derive(Clone)]
enum Thing {
    Directory,
    File(Vec<u8>),
}

impl Power {
    /// Over an empty directory.
    pub fn over(root: &Path) -> Power {
        Power { root: root.to_owned(), durable: Arc::default() }
    }

    /// A disk that the model follows, for a log in `log` below it. The program on it is killed before step `dies`.
    pub fn disk(&self, dies: Option<usize>, seen: &Seen) -> Storage {
        let (root, durable, seen) = (self.root.clone(), self.durable.clone(), seen.clone());
        let count = Mutex::new(0);
        Storage::with_hook(move |step| {
            seen.look(&root.join("log"));
            let mut count = count.lock().unwrap();
            if dies.is_some_and(|dies| *count >= dies) {
                return Err(no_space());
            }
            *count += 1;
            let mut durable = durable.lock().unwrap();
            durable.finish();
            if let WriteStep::SyncFile(path) = step {
                durable.synced.insert(path.clone(), fs::read(temporary_path(path)).unwrap());
            }
            durable.taken = Some(step.clone());
            Ok(())
        })
    }

    /// A copy of what is known, to go on from in several ways.
    pub fn fork(&self, root: &Path) -> Power {
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
    pub fn has_loose_names(&self) -> bool {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.finish();
        !durable.loose.is_empty()
    }

    /// All that may be left if the power goes now: a directory for each.
    pub fn outcomes(&self) -> Vec<TempDir> {
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
            Some(WriteStep::MakeDir(path)) => self.loose.push((path, Thing::Directory)),
            Some(WriteStep::Rename(path)) => {
                let bytes = self.synced.remove(&path).unwrap_or_default();
                self.loose.push((path, Thing::File(bytes)));
            }
            Some(WriteStep::SyncDir(directory)) => {
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
