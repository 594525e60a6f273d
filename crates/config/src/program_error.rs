//! A program of the configuration that cannot be run.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// The program cannot be run, whatever there is to tell.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be run ({why}), and nobody would hear of a fork: name a program that this user may run, or none", path.display()
)]
pub struct AlertProgramError {
    /// What is to be run.
    pub path: PathBuf,
    /// Why it is not.
    pub why: io::Error,
}

/// Refuses what is no file, or none that this user may run.
pub fn check_executable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)?.is_file() {
        true => Ok(rustix::fs::access(path, Access::EXEC_OK)?),
        false => Err(io::Error::other("it is no file")),
    }
}
