//! A temporary directory of the process, for parsers that read files. A normal end of the process
//! removes it.

use std::path::PathBuf;

use tempfile::TempDir;

thread_local! {
    static DIRECTORY: TempDir = TempDir::with_prefix("unanimity-fuzz-").expect("a directory");
}

/// Returns the directory, below `TMPDIR`. `TMPDIR` should be in memory, because some parsers sync
/// files.
pub(crate) fn directory() -> PathBuf {
    DIRECTORY.with(|directory| directory.path().to_owned())
}
