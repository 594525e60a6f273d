//! A directory for one process, for parsers that read files. It is gone when the process ends well.

use std::path::PathBuf;

use tempfile::TempDir;

thread_local! {
    static PLACE: TempDir = TempDir::with_prefix("unanimity-fuzz-").expect("a directory");
}

/// The directory: below `TMPDIR`, which is best in memory, since some parsers sync what they write.
pub(crate) fn place() -> PathBuf {
    PLACE.with(|place| place.path().to_owned())
}
