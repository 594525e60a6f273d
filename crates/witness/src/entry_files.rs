//! The files of the entries that are kept, and how far they go.

use std::io;
use std::path::{Path, PathBuf};

use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_storage::{Storage, StorageError};

/// How many entries are on the disk, from the first on, of a log with `size` entries.
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

/// The partial bundles that are there of one: its width, and its file.
pub(crate) fn partial_bundles(
    directory: &Path,
    index: u64,
    disk: &Storage,
) -> Result<Vec<(u16, PathBuf)>, StorageError> {
    let place = partial_bundle_dir(directory, index);
    let names = match disk.list_dir(&place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(StorageError::at(&place))?,
    };
    let width = |name: &std::ffi::OsString| name.to_str()?.parse().ok();
    Ok(names.iter().filter_map(|name| Some((width(name)?, place.join(name)))).collect())
}

pub(crate) fn partial_bundle_dir(directory: &Path, index: u64) -> PathBuf {
    directory.join(format!("{}.p", entries_path(index, TILE_WIDTH as u16)))
}
