//! A temporary directory for parsers that read files, one for each thread. A normal end of the
//! thread removes it.

use std::path::PathBuf;

use tempfile::TempDir;

thread_local! {
    static DIRECTORY: TempDir = TempDir::with_prefix("unanimity-fuzz-").expect("a directory");
}

/// Returns this thread's temporary directory, below `TMPDIR`. `TMPDIR` should be in memory, because
/// some checks sync files.
pub(crate) fn directory() -> PathBuf {
    DIRECTORY.with(|directory| directory.path().to_owned())
}
