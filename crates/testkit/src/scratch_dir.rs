//! A directory of its own for a test.

use std::path::Path;

use tempfile::TempDir;

/// A directory of its own. In memory where there is such a place: crash points are many, and
/// waiting for a disk shows nothing more.
pub fn scratch_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    place.expect("a temporary directory")
}
