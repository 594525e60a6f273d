//! Storage for tests: it records every write step, or fails from a chosen step on.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::{fs, io};

use unanimity_storage::{Storage, WriteStep, temporary_path};

/// Returns the error of a full disk.
pub fn no_space() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

/// Returns storage that fails the write steps from `from` up to `until`, counted from 0.
///
/// `until` is exclusive. Without `until`, the storage behaves as if the program was killed before
/// step `from`. If this step would have synced a file, the file keeps half of its bytes.
pub fn failing_disk(from: usize, until: Option<usize>) -> Storage {
    let count = Mutex::new(0);
    Storage::with_hook(move |step| {
        let mut count = count.lock().unwrap();
        let number = *count;
        *count += 1;
        if number < from || until.is_some_and(|until| number >= until) {
            return Ok(());
        }
        if number == from
            && until.is_none()
            && let WriteStep::SyncFile(path) = step
        {
            let file = fs::File::options().write(true).open(temporary_path(path)).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        Err(no_space())
    })
}

/// Returns storage that records its write steps, and the record of these steps.
pub fn recording_disk() -> (Storage, Arc<Mutex<Vec<WriteStep>>>) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let record = steps.clone();
    let disk = Storage::with_hook(move |step| {
        record.lock().unwrap().push(step.clone());
        Ok(())
    });
    (disk, steps)
}

/// Returns the path that a write step concerns.
pub fn step_path(step: &WriteStep) -> &Path {
    match step {
        WriteStep::MakeDir(path)
        | WriteStep::Create(path)
        | WriteStep::Write(path)
        | WriteStep::SyncFile(path)
        | WriteStep::Rename(path)
        | WriteStep::SyncDir(path)
        | WriteStep::SyncTree(path)
        | WriteStep::Symlink(path)
        | WriteStep::Remove(path) => path,
    }
}
