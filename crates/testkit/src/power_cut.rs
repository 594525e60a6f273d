//! A model of power cuts over real files. It tells which files may survive a power cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use unanimity_storage::{Storage, WriteStep, temporary_path};

use crate::scratch_dir::scratch_dir;
use crate::signed_heads::SignedHeads;
use crate::storage_hooks::no_space;

/// A model of the files of a directory that may survive a power cut.
///
/// A file's contents survive if the file was synced. A name survives if its directory was synced.
/// Any part of the other names may survive.
pub struct PowerCutModel {
    root: PathBuf,
    durable: Arc<Mutex<DurableState>>,
}

#[derive(Clone, Default)]
struct DurableState {
    names: BTreeMap<PathBuf, DurableEntry>,
    /// Names whose directory was not synced since they were given, in the order of their creation.
    unsynced: Vec<(PathBuf, DurableEntry)>,
    /// The synced contents of files that still have their temporary names.
    synced: BTreeMap<PathBuf, Vec<u8>>,
    /// The step that was announced last. It is complete when the next step is announced.
    pending_step: Option<WriteStep>,
}

#[derive(Clone)]
enum DurableEntry {
    Directory,
    File(Vec<u8>),
}

impl PowerCutModel {
    /// Makes a model of the empty directory `root`.
    pub fn new(root: &Path) -> PowerCutModel {
        PowerCutModel { root: root.to_owned(), durable: Arc::default() }
    }

    /// Returns storage that the model observes. Before each step, `seen` records the checkpoint of
    /// the log in the directory `log` below the root. Every step from number `killed_before` on,
    /// counted from 0, fails as if the program was killed.
    pub fn disk(&self, killed_before: Option<usize>, seen: &SignedHeads) -> Storage {
        let (root, durable, seen) = (self.root.clone(), self.durable.clone(), seen.clone());
        let count = Mutex::new(0);
        Storage::with_hook(move |step| {
            seen.record(&root.join("log"));
            let mut count = count.lock().unwrap();
            if killed_before.is_some_and(|killed_before| *count >= killed_before) {
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

    /// Copies the model, for a copy of its directory at `root`.
    pub fn copy_to(&self, root: &Path) -> PowerCutModel {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.apply_pending_step();
        let moved = |path: &PathBuf| root.join(path.strip_prefix(&self.root).unwrap());
        let names = durable.names.iter().map(|(path, entry)| (moved(path), entry.clone()));
        let unsynced = durable.unsynced.iter().map(|(path, entry)| (moved(path), entry.clone()));
        let durable = DurableState {
            names: names.collect(),
            unsynced: unsynced.collect(),
            ..DurableState::default()
        };
        PowerCutModel { root: root.to_owned(), durable: Arc::new(Mutex::new(durable)) }
    }

    /// Whether a power cut now could lose a name, so that it differs from a kill.
    pub fn has_unsynced_names(&self) -> bool {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.apply_pending_step();
        !durable.unsynced.is_empty()
    }

    /// Returns the directories that a power cut may leave now, one for each case.
    ///
    /// The cases differ in the unsynced names that survive. Up to two unsynced names have a case
    /// for every subset. For more names, the cases are: none, all, only one, and all but one.
    pub fn power_cut_states(&self) -> Vec<TempDir> {
        let mut durable = self.durable.lock().unwrap().clone();
        durable.apply_pending_step();
        let unsynced = durable.unsynced.len();
        let all = (1u64 << unsynced) - 1;
        let subsets: Vec<u64> = if unsynced <= 2 {
            (0..=all).collect()
        } else {
            let alone = (0..unsynced).flat_map(|i| [1 << i, all ^ (1 << i)]);
            [0, all].into_iter().chain(alone).collect()
        };
        let left = |subset: u64| {
            let mut names = durable.names.clone();
            for (i, (path, entry)) in durable.unsynced.iter().enumerate() {
                if subset & (1 << i) != 0 {
                    names.insert(path.clone(), entry.clone());
                }
            }
            let scratch = scratch_dir();
            for (path, entry) in names {
                let path = scratch.path().join(path.strip_prefix(&self.root).unwrap());
                match entry {
                    // If a directory is lost, the names in it are lost, too.
                    _ if !path.parent().unwrap().is_dir() => {}
                    DurableEntry::Directory => fs::create_dir(path).unwrap(),
                    DurableEntry::File(bytes) => fs::write(path, bytes).unwrap(),
                }
            }
            scratch
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
                let (synced, unsynced) =
                    std::mem::take(&mut self.unsynced).into_iter().partition(|(p, _)| inside(p));
                let synced: Vec<_> = synced;
                self.names.extend(synced);
                self.unsynced = unsynced;
            }
            _ => {}
        }
    }
}
