//! Many worlds, on one machine or many, so that nothing finished is lost.
//!
//! A world is finished when the file that holds its results has its name; files are written under
//! another name, synced, renamed. Worlds that finish while a file is written go into the next one
//! together, so quick worlds do not wait for the disk one by one. In the end a shard's files become one.
//!
//! ```text
//! DIR/shard-3-of-64.lock            held while somebody works on the shard
//! DIR/shard-3-of-64.parts/*.jsonl   what is finished so far
//! DIR/shard-3-of-64.jsonl           the whole shard, and then no parts
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

/// One shard of a study's worlds, and where its results go.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What to play.
    pub study: &'a Study,
    /// The master seed.
    pub master: u64,
    /// Which of the worlds.
    pub shard: Shard,
    /// The directory for the results.
    pub out: &'a Path,
    /// How many worlds at once.
    pub threads: usize,
    /// Whether to go on where an earlier sweep stopped.
    pub resume: bool,
    /// Where durable writes go through.
    pub storage: &'a Storage,
}

/// How far a sweep is, in worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepProgress {
    /// All of the shard.
    pub all: u64,
    /// Those finished earlier.
    pub before: u64,
    /// Those finished now.
    pub now: u64,
}

/// Plays every world of the shard that is not finished yet, and returns the shard's file.
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
    let todo: Vec<WorldId> = all.iter().copied().filter(|unit| !done.contains_key(unit)).collect();
    let mut told = SweepProgress { all: all.len() as u64, before: done.len() as u64, now: 0 };
    progress(told);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..job.threads.clamp(1, todo.len().max(1)) {
            let (sender, todo, next, stop, play) = (sender.clone(), &todo, &next, &stop, &play);
            scope.spawn(move || play_worlds(job, todo, next, stop, play, sender));
        }
        drop(sender);
        let write = |rows: &BTreeMap<WorldId, String>| {
            let first = rows.keys().next().expect("one at least");
            let name = format!("part-{:06}-{:08}.jsonl", first.cell, first.replication);
            files::write_result_file(job.storage, &parts.join(name), &manifest, None, rows)
        };
        let mut tell = |more: u64| {
            told.now += more;
            progress(told);
        };
        let collected = collect_rows(&receiver, write, &mut done, &mut tell);
        stop.store(collected.is_err(), Ordering::Relaxed);
        collected
    })?;
    files::write_result_file(job.storage, &final_file, &manifest, Some(job.study), &done)?;
    remove(job.storage, &parts)?;
    Ok(final_file)
}

/// One thread: plays worlds until there are no more.
fn play_worlds(
    job: &Job<'_>,
    todo: &[WorldId],
    next: &AtomicUsize,
    stop: &AtomicBool,
    play: &(impl Fn(&Scenario, Seed) -> Results + Sync),
    sender: Sender<Result<ResultRow, SweepError>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let Some(&unit) = todo.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
        let seed = job.study.seed(job.master, unit);
        let world = &job.study.cells[unit.cell as usize];
        let played = catch_unwind(AssertUnwindSafe(|| play(world, seed)));
        let row = played
            .map(|results| ResultRow {
                cell: unit.cell,
                replication: unit.replication,
                seed: seed.0,
                results,
            })
            .map_err(|panic| SweepError::Panicked {
                world: job.study.label(unit.cell),
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

/// Writes what has finished, as long as something may still come.
fn collect_rows(
    receiver: &Receiver<Result<ResultRow, SweepError>>,
    write: impl Fn(&BTreeMap<WorldId, String>) -> Result<(), SweepError>,
    done: &mut BTreeMap<WorldId, String>,
    tell: &mut impl FnMut(u64),
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
            tell(rows.len() as u64);
            done.append(&mut rows);
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

/// Makes the directory of parts, or reads what an earlier sweep left in it.
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
        // Some network file systems have no locks; then nobody is warned of a second sweep.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn remove(disk: &Storage, parts: &Path) -> Result<(), SweepError> {
    Ok(disk.remove(parts).map_err(StorageError::at(parts))?)
}
