//! Output directories and printed lines.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use unanimity_storage::{Mode, Storage, StorageError};

use super::exit::SimulatorError;

pub(super) fn make_dir(path: &Path) -> Result<(), SimulatorError> {
    Ok(Storage::default().make_dir(path, Mode::Public).map_err(StorageError::at(path))?)
}

/// Prints a line. A reader that closes the pipe early is no failure.
pub(super) fn print_line(text: &str) -> Result<(), SimulatorError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(SimulatorError::Output(error)),
        _ => Ok(()),
    }
}
