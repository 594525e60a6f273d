//! Sweeps: all worlds of a study, played on one machine or many, without losing finished worlds.
//!
//! A world is finished when the file with its result has its final name. Files are written under
//! another name, synced and renamed. Worlds that finish while a file is written go into the next
//! file together, so quick worlds do not wait for the disk one by one. At the end, the files of a
//! shard become one.
//!
//! ```text
//! DIR/shard-3-of-64.lock            locked while a process works on the shard
//! DIR/shard-3-of-64.parts/*.jsonl   finished worlds of an unfinished shard
//! DIR/shard-3-of-64.jsonl           the whole shard; its parts are then removed
//! ```

mod error;
mod files;
mod merge;
mod shard;

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use unanimity_storage::{Mode, Storage, StorageError};

pub use error::{MissingWorlds, ResultError, SweepError};
pub use files::{ResultFile, ResultRow, SweepManifest, read_merged, write_merged};
pub use merge::merge;
pub use shard::Shard;

use crate::study::WorldId;
use crate::{Results, Scenario, Seed, Study};

/// The task of one process: a shard of a study's worlds, and the directory for the results.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The study whose worlds are played.
    pub study: &'a Study,
    /// The master seed.
    pub master: u64,
    /// The shard to play.
    pub shard: Shard,
    /// The directory for the results.
    pub out: &'a Path,
    /// The number of worlds that are played at once.
    pub threads: usize,
    /// Whether to continue an earlier sweep.
    pub resume: bool,
    /// The storage for durable writes.
    pub storage: &'a Storage,
}

/// The progress of a sweep, in worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepProgress {
    /// All worlds of the shard.
    pub all: u64,
    /// Worlds that earlier sweeps finished.
    pub before: u64,
    /// Worlds that this sweep finished.
    pub now: u64,
}

/// Plays every unfinished world of the shard, and returns the path of the shard's file.
///
/// # Errors
/// See [`SweepError`]. Finished worlds are kept, and a sweep with [`Job::resume`] continues.
pub fn sweep(
    job: &Job<'_>,
    play: impl Fn(&Scenario, Seed) -> Results + Sync,
    mut progress: impl FnMut(SweepProgress),
) -> Result<PathBuf, SweepError> {
    let (final_file, parts) = (job.shard.file(job.out), job.shard.parts(job.out));
    job.storage.make_dir(job.out, Mode::Public).map_err(StorageError::at(job.out))?;
    let _lock = lock(&job.shard.lock(job.out))?;
    if !job.resume && (final_file.exists() || parts.exists()) {
        return Err(SweepError::Exists(job.out.to_owned()));
    }
    let manifest = SweepManifest::new(job.study, job.master, Some(job.shard));
    let all: Vec<WorldId> = job.shard.world_ids(job.study).collect();
    if final_file.exists() {
        let rows = files::read_result_file(&final_file)?;
        rows.manifest.check_same_study(&manifest, &final_file)?;
        if rows.manifest.shard != manifest.shard {
            return Err(SweepError::InvalidFile {
                path: final_file,
                problem: ResultError::Misnamed,
            });
        }
        let count = all.len() as u64;
        progress(SweepProgress { all: count, before: count, now: 0 });
        remove(job.storage, &parts)?;
        return Ok(final_file);
    }
    let mut done = open_parts(job, &manifest, &parts)?;
    let todo: Vec<WorldId> =
        all.iter().copied().filter(|world| !done.contains_key(world)).collect();
    let mut state = SweepProgress { all: all.len() as u64, before: done.len() as u64, now: 0 };
    progress(state);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..job.threads.clamp(1, todo.len().max(1)) {
            let (sender, todo, next, stop, play) = (sender.clone(), &todo, &next, &stop, &play);
            scope.spawn(move || play_worlds(job, todo, next, stop, play, sender));
        }
        drop(sender);
        let write = |rows: &BTreeMap<WorldId, String>| {
            let first = rows.keys().next().expect("at least one row");
            let name = format!("part-{:06}-{:08}.jsonl", first.cell, first.replication);
            files::write_result_file(job.storage, &parts.join(name), &manifest, None, rows)
        };
        let mut report = |more: u64| {
            state.now += more;
            progress(state);
        };
        let collected = collect_rows(&receiver, write, &mut done, &mut report);
        stop.store(collected.is_err(), Ordering::Relaxed);
        collected
    })?;
    files::write_result_file(job.storage, &final_file, &manifest, Some(job.study), &done)?;
    remove(job.storage, &parts)?;
    Ok(final_file)
}

/// The work of one thread: plays worlds until none is left or `stop` is set.
fn play_worlds(
    job: &Job<'_>,
    todo: &[WorldId],
    next: &AtomicUsize,
    stop: &AtomicBool,
    play: &(impl Fn(&Scenario, Seed) -> Results + Sync),
    sender: Sender<Result<ResultRow, SweepError>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let Some(&id) = todo.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
        let seed = job.study.seed(job.master, id);
        let world = &job.study.cells[id.cell as usize];
        let played = catch_unwind(AssertUnwindSafe(|| play(world, seed)));
        let row = played
            .map(|results| ResultRow {
                cell: id.cell,
                replication: id.replication,
                seed: seed.0,
                results,
            })
            .map_err(|panic| SweepError::Panicked {
                world: job.study.label(id.cell),
                seed,
                why: panic_message(&*panic),
            });
        if sender.send(row).is_err() {
            return;
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Writes finished worlds until all threads have ended, or until a world or a write fails.
fn collect_rows(
    receiver: &Receiver<Result<ResultRow, SweepError>>,
    write: impl Fn(&BTreeMap<WorldId, String>) -> Result<(), SweepError>,
    done: &mut BTreeMap<WorldId, String>,
    report: &mut impl FnMut(u64),
) -> Result<(), SweepError> {
    while let Ok(first) = receiver.recv() {
        let mut rows = BTreeMap::new();
        let mut failed = None;
        for row in std::iter::once(first).chain(receiver.try_iter()) {
            match row {
                Ok(row) => drop(rows.insert(row.world_id(), row.to_line())),
                Err(error) => failed = Some(error),
            }
        }
        if !rows.is_empty() {
            write(&rows)?;
            report(rows.len() as u64);
            done.append(&mut rows);
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

/// Makes the directory of parts, and reads the worlds that an earlier sweep left in it.
fn open_parts(
    job: &Job<'_>,
    manifest: &SweepManifest,
    parts: &Path,
) -> Result<BTreeMap<WorldId, String>, SweepError> {
    job.storage.make_dir(parts, Mode::Public).map_err(StorageError::at(parts))?;
    let mut done = BTreeMap::new();
    for path in files::list_result_files(parts)? {
        let file = files::read_result_file(&path)?;
        file.manifest.check_same_study(manifest, &path)?;
        done.extend(file.rows);
    }
    let study = parts.join("study.jsonl");
    if !study.exists() {
        files::write_result_file(job.storage, &study, manifest, Some(job.study), &BTreeMap::new())?;
    }
    Ok(done)
}

fn lock(path: &Path) -> Result<Option<File>, SweepError> {
    let file = File::create(path).map_err(StorageError::at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(SweepError::Busy(path.to_owned())),
        // Some network file systems have no locks, so a second sweep goes unnoticed there.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn remove(disk: &Storage, parts: &Path) -> Result<(), SweepError> {
    Ok(disk.remove(parts).map_err(StorageError::at(parts))?)
}
