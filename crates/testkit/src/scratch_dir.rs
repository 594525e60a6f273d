//! A temporary directory for a test.

use std::path::Path;

use tempfile::TempDir;

/// Makes an empty temporary directory, in `/dev/shm` if the machine has it. On a disk, tests with
/// many crash points would be slower, and would not check more.
pub fn scratch_dir() -> TempDir {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    scratch.expect("a temporary directory")
}
