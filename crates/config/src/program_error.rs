//! The check that a program of the configuration can be executed.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// The program of the alert command cannot be executed, so no alert would be delivered.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be run ({why}), so no alert would report a fork. Name a program that this user may execute, or remove the setting",
    path.display()
)]
pub struct AlertProgramError {
    /// The path of the program.
    pub path: PathBuf,
    /// Why it cannot be executed.
    pub why: io::Error,
}

/// Checks that a path is a file that this user may execute.
pub fn check_executable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)?.is_file() {
        true => Ok(rustix::fs::access(path, Access::EXEC_OK)?),
        false => Err(io::Error::other("it is not a file")),
    }
}
