//! A power cut, over real files: which of them would be left.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use unanimity_storage::{Storage, WriteStep, temporary_path};

use crate::scratch_dir::scratch_dir;
use crate::signed_heads::SignedHeads;
use crate::storage_hooks::no_space;

/// What of a directory would be left if the power went: contents only if synced, names
/// only if their directory was. Of the rest any part may have got there.
pub struct PowerCutModel {
    root: PathBuf,
    durable: Arc<Mutex<DurableState>>,
}

#[derive(Clone, Default)]
struct DurableState {
    names: BTreeMap<PathBuf, DurableEntry>,
    /// Names given and not yet synced, in order.
    unsynced: Vec<(PathBuf, DurableEntry)>,
    /// What is synced of the files that still have their temporary names.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    /// The step that was announced last; it has been taken when the next one is.
    pending_step: Option<WriteStep>,
}

#[derive(Clone)]
enum DurableEntry {
    Directory,
    File(Vec<u8>),
}

impl PowerCutModel {
    /// Over an empty directory.
    pub fn new(root: &Path) -> PowerCutModel {
        PowerCutModel { root: root.to_owned(), durable: Arc::default() }
    }

    /// A disk that the model follows, for a log in `log` below it. The program on it is killed before step `dies`.
    pub fn disk(&self, dies: Option<usize>, seen: &SignedHeads) -> Storage {
        let (root, durable, seen) = (self.root.clone(), self.durable.clone(), seen.clone());
        let count = Mutex::new(0);
        Storage::with_hook(move |step| {
            seen.record(&root.join("log"));
            let mut count = count.lock().unwrap();
            if dies.is_some_and(|dies| *count >= dies) {
                return Err(no_space());
            }
            *count += 1;
            let mut durable = durable.lock().unwrap();
            durable.apply_pending_step();
            if let WriteStep::SyncFile(path) = step {
                durable.synced.insert(path.clone(), fs::read(temporary_path(path)).unwrap());
            }
            durable.pending_step = Some(step.clone());
            Ok(())
        })
    }

    /// A copy of what is known, to go on from in several ways.
    pub fn copy_to(&self, root: &Path) -> PowerCutModel {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.apply_pending_step();
        let moved = |path: &PathBuf| root.join(path.strip_prefix(&self.root).unwrap());
        let names = durable.names.iter().map(|(path, thing)| (moved(path), thing.clone()));
        let loose = durable.unsynced.iter().map(|(path, thing)| (moved(path), thing.clone()));
        let durable = DurableState {
            names: names.collect(),
            unsynced: loose.collect(),
            ..DurableState::default()
        };
        PowerCutModel { root: root.to_owned(), durable: Arc::new(Mutex::new(durable)) }
    }

    /// Whether a power cut now is any different from a kill.
    pub fn has_unsynced_names(&self) -> bool {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.apply_pending_step();
        !durable.unsynced.is_empty()
    }

    /// All that may be left if the power goes now: a directory for each.
    pub fn power_cut_states(&self) -> Vec<TempDir> {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.apply_pending_step();
        let loose = durable.unsynced.len();
        let all = (1u64 << loose) - 1;
        let subsets: Vec<u64> = if loose <= 2 {
            (0..=all).collect()
        } else {
            let alone = (0..loose).flat_map(|i| [1 << i, all ^ (1 << i)]);
            [0, all].into_iter().chain(alone).collect()
        };
        let left = |subset: u64| {
            let mut names = durable.names.clone();
            for (i, (path, thing)) in durable.unsynced.iter().enumerate() {
                if subset & (1 << i) != 0 {
                    names.insert(path.clone(), thing.clone());
                }
            }
            let place = scratch_dir();
            for (path, thing) in names {
                let path = place.path().join(path.strip_prefix(&self.root).unwrap());
                match thing {
                    // A name in a directory that was lost is lost with it.
                    _ if !path.parent().unwrap().is_dir() => {}
                    DurableEntry::Directory => fs::create_dir(path).unwrap(),
                    DurableEntry::File(bytes) => fs::write(path, bytes).unwrap(),
                }
            }
            place
        };
        subsets.into_iter().map(left).collect()
    }
}

impl DurableState {
    fn apply_pending_step(&mut self) {
        match self.pending_step.take() {
            Some(WriteStep::MakeDir(path)) => self.unsynced.push((path, DurableEntry::Directory)),
            Some(WriteStep::Rename(path)) => {
                let bytes = self.synced.remove(&path).unwrap_or_default();
                self.unsynced.push((path, DurableEntry::File(bytes)));
            }
            Some(WriteStep::SyncDir(directory)) => {
                let inside = |path: &Path| path.parent() == Some(&directory);
                let (synced, loose) =
                    std::mem::take(&mut self.unsynced).into_iter().partition(|(p, _)| inside(p));
                let synced: Vec<_> = synced;
                self.names.extend(synced);
                self.unsynced = loose;
            }
            _ => {}
        }
    }
}
