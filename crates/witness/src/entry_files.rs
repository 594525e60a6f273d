//! Files of the stored entries: their paths, and how many entries they hold.

use std::io;
use std::path::{Path, PathBuf};

use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_storage::{Storage, StorageError};

/// Counts the stored entries from the first one up to the first gap, at most `size`.
pub(crate) fn count_held_entries(
    directory: &Path,
    size: u64,
    disk: &Storage,
) -> Result<u64, StorageError> {
    let mut full = 0;
    while full < size / TILE_WIDTH
        && disk.exists(&directory.join(entries_path(full, TILE_WIDTH as u16)))
    {
        full += 1;
    }
    let partial = partial_bundles(directory, full, disk)?.into_iter().map(|(width, _)| width).max();
    Ok((full * TILE_WIDTH + u64::from(partial.unwrap_or(0))).min(size))
}

/// Lists the partial files of the bundle at `index`, each with its width in entries.
pub(crate) fn partial_bundles(
    directory: &Path,
    index: u64,
    disk: &Storage,
) -> Result<Vec<(u16, PathBuf)>, StorageError> {
    let partial_dir = partial_bundle_dir(directory, index);
    let names = match disk.list_dir(&partial_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(StorageError::at(&partial_dir))?,
    };
    let width = |name: &std::ffi::OsString| name.to_str()?.parse().ok();
    Ok(names.iter().filter_map(|name| Some((width(name)?, partial_dir.join(name)))).collect())
}

/// Directory of the partial files of the bundle at `index`.
pub(crate) fn partial_bundle_dir(directory: &Path, index: u64) -> PathBuf {
    directory.join(format!("{}.p", entries_path(index, TILE_WIDTH as u16)))
}
