//! Directories and printed lines.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use unanimity_storage::{Disk, DiskError, Mode};

use super::exit::Failure;

pub(super) fn make_dir(path: &Path) -> Result<(), Failure> {
    Ok(Disk::default().make_dir(path, Mode::Public).map_err(DiskError::at(path))?)
}

/// Prints; a reader that went away early is no failure.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
