//! The export of a log to a site: the checks of the site's directory, and the writing of files that
//! are missing or damaged.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use unanimity_protocol::consistency::Consistency;
use unanimity_protocol::log_path::{CHECKPOINT, artifact_path, entries_path};
use unanimity_protocol::manifest::Artifact;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_protocol::tree::consistency_ranges;
use unanimity_protocol::{ConsistentHeads, Hash, Manifest, TreeHead};
use unanimity_storage::{Lock, Mode, Storage, StorageError};

use crate::export::error::ExportError;
use crate::export::page;
use crate::export::site_artifacts::{SiteArtifacts, has_artifact};
use crate::export::snapshot::{
    LogSnapshot, LoggedVersion, MAX_BUNDLE_BYTES, hash_file, is_bundle_of,
};
use crate::pending::PENDING;
use crate::tile_store::REMEDY;
use crate::{TileStore, write_files};

/// The result of an export.
#[derive(Debug, Default)]
pub struct ExportSummary {
    /// The number of files that were written.
    pub files: u64,
    /// The number of bytes in these files.
    pub bytes: u64,
    /// The artifacts that releases name and the site does not have.
    pub missing_artifacts: Vec<MissingArtifact>,
    /// Whether the site has an `index.html` that no export wrote. The export did not change it.
    pub has_foreign_page: bool,
}

/// An artifact that a release names and the site does not have.
#[derive(Clone, Debug)]
pub struct MissingArtifact {
    /// The manifest of the release.
    pub manifest: Manifest,
    /// The missing artifact, as the manifest describes it.
    pub artifact: Artifact,
}

/// Exports a log to the directory `site`. Writes only files that are missing, damaged or out of
/// date.
///
/// A missing or empty directory becomes a new site. Refuses another directory that is not a site of
/// this log, a site that is ahead of the log, and a site whose head contradicts the log.
pub fn export(
    source: &LogSnapshot,
    site: &Path,
    disk: &Storage,
) -> Result<ExportSummary, ExportError> {
    check_site(source, site)?;
    disk.make_dir(site, Mode::Public).map_err(StorageError::at(site))?;
    let lock = unanimity_storage::lock(site).map_err(StorageError::at(site))?;
    let lock = lock.ok_or_else(|| ExportError::Busy(site.to_owned()))?;
    // The check is repeated, now that no other process can export to the site.
    check_site(source, site)?;
    let (directories, summary) = Default::default();
    let mut update = SiteUpdate { snapshot: source, site, disk, directories, summary, _lock: lock };
    let served = update.write_artifacts()?;
    update.write_entries()?;
    update.write_tiles()?;
    update.sync_directories()?;
    update.write_small_file(CHECKPOINT, &source.checkpoint)?;
    let path = site.join(INDEX);
    let old = unanimity_storage::read_at_most(&path, page::MAX_BYTES);
    if old.is_ok_and(|old| old.starts_with(page::GENERATED_PREFIX)) || !path.exists() {
        update.write_small_file(INDEX, page::render(source, &served).as_bytes())?;
    } else {
        update.summary.has_foreign_page = true;
    }
    for LoggedVersion { manifest, .. } in &source.releases {
        let missing = manifest.artifacts.iter().filter(|artifact| !has_artifact(&served, artifact));
        let missing = missing.map(|artifact| (manifest.clone(), artifact.clone()));
        let missing = missing.map(|(manifest, artifact)| MissingArtifact { manifest, artifact });
        update.summary.missing_artifacts.extend(missing);
    }
    Ok(update.summary)
}

const INDEX: &str = "index.html";

/// Refuses a directory that overlaps with the log's, belongs to a log writer, or has files and is
/// not a site that this log extends. Writes nothing.
fn check_site(source: &LogSnapshot, site: &Path) -> Result<(), ExportError> {
    let (here, log) = (canonicalize_existing(site)?, canonicalize_existing(&source.directory)?);
    if here.starts_with(&log) || log.starts_with(&here) {
        let (site, log) = (site.to_owned(), source.directory.clone());
        return Err(ExportError::OverlappingDirectories { site, log });
    }
    if site.join(PENDING).exists() {
        return Err(ExportError::IsLog(site.to_owned()));
    }
    if let Some(checkpoint) = unanimity_storage::read(&site.join(CHECKPOINT), MAX_NOTE_BYTES)? {
        return check_site_head(source, site, &checkpoint);
    }
    if !site.exists() {
        return Ok(());
    }
    // An interrupted first export leaves files and directories with these names.
    let leftovers = ["tile", "artifact", ".lock", ".checkpoint.new"];
    for entry in fs::read_dir(site).map_err(StorageError::at(site))? {
        let name = entry.map_err(StorageError::at(site))?.file_name();
        if leftovers.iter().all(|leftover| name != *leftover) {
            return Err(ExportError::Occupied(site.to_owned()));
        }
    }
    Ok(())
}

/// Resolves the links in the part of a path that exists.
fn canonicalize_existing(path: &Path) -> Result<PathBuf, StorageError> {
    let path = &std::path::absolute(path).map_err(StorageError::at(path))?;
    let existing = path.ancestors().find(|above| above.exists()).unwrap_or(path);
    let resolved = existing.canonicalize().map_err(StorageError::at(existing))?;
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    if rest.components().any(|part| part == Component::ParentDir) {
        let why = "it goes up (..) from a directory that does not exist";
        return Err(StorageError::at(path)(io::Error::new(io::ErrorKind::NotFound, why)));
    }
    Ok(resolved.join(rest))
}

/// Refuses a site whose head is neither the log's head nor an earlier head of the log.
fn check_site_head(
    source: &LogSnapshot,
    site: &Path,
    checkpoint: &[u8],
) -> Result<(), ExportError> {
    let path = site.join(CHECKPOINT);
    let theirs = TreeHead::verify(checkpoint, &source.log)
        .map_err(|source| ExportError::OtherLog { path: path.clone(), source })?;
    let ours = &source.head;
    let fork = |evidence| {
        let log = source.directory.join(CHECKPOINT);
        Err(ExportError::Fork { site: path.clone(), log, evidence })
    };
    if theirs.size() <= ours.size() {
        let path = source.store.range_roots(&consistency_ranges(theirs.size(), ours.size()))?;
        return match ConsistentHeads::new(ours.clone()).add(&theirs, &path) {
            Consistency::Consistent => Ok(()),
            Consistency::Fork(evidence) => fork(evidence),
            // The tiles were complete when the snapshot was read.
            Consistency::Unproven => {
                let path = source.directory.join("tile");
                Err(StorageError::Corrupt { path, remedy: REMEDY }.into())
            }
        };
    }
    // The site is ahead of the log. The site's tiles show whether the log's head is a prefix of the
    // site's tree. If it is not, the error is a fork. In all other cases it is a rollback.
    let store = TileStore::open(site, theirs.size(), Mode::Public, Storage::default());
    let proof =
        store.and_then(|store| store.range_roots(&consistency_ranges(ours.size(), theirs.size())));
    if let Consistency::Fork(evidence) =
        ConsistentHeads::new(theirs.clone()).add(ours, &proof.unwrap_or_default())
    {
        return fork(evidence);
    }
    let (site, log) = (site.to_owned(), source.directory.clone());
    Err(ExportError::Rollback { site, size: theirs.size(), log, held: ours.size() })
}

/// An export in progress.
struct SiteUpdate<'a> {
    snapshot: &'a LogSnapshot,
    site: &'a Path,
    disk: &'a Storage,
    /// The directories of all artifacts, entries and tiles that the site must have.
    directories: BTreeSet<PathBuf>,
    summary: ExportSummary,
    _lock: Lock,
}

impl SiteUpdate<'_> {
    fn write_artifacts(&mut self) -> Result<SiteArtifacts, ExportError> {
        let mut served = SiteArtifacts::new();
        for (digest, max_length) in &self.snapshot.max_lengths {
            let path = self.site.join(artifact_path(digest));
            let length = match verified_length(&path, digest, *max_length) {
                Some(length) => length,
                None if self.snapshot.artifacts.contains(digest) => {
                    self.copy_artifact(digest, &path, *max_length)?
                }
                None => continue,
            };
            self.record_directories(&path);
            served.insert(*digest, length);
        }
        Ok(served)
    }

    /// Copies an artifact of any size to the site, and verifies the digest of the copied bytes.
    /// Returns the artifact's length.
    fn copy_artifact(
        &mut self,
        digest: &Hash,
        to: &Path,
        max_length: u64,
    ) -> Result<u64, ExportError> {
        let (disk, from) = (self.disk, self.snapshot.artifact_file(digest));
        let directory = unanimity_storage::parent(to);
        disk.make_dir(directory, Mode::Public).map_err(StorageError::at(directory))?;
        let copied = (|| {
            let bytes =
                unanimity_storage::open_regular_file(&from).map_err(StorageError::at(&from))?;
            let mut file = disk.create(to, Mode::Public).map_err(StorageError::at(to))?;
            disk.announce_write(to).map_err(StorageError::at(to))?;
            let (length, found) = hash_file(bytes, &from, max_length, |piece| {
                file.write_all(piece).map_err(StorageError::at(to))
            })?;
            if found != *digest {
                return Err(ExportError::ArtifactMismatch(from));
            }
            disk.finish(&*file, to).map_err(StorageError::at(to))?;
            Ok(length)
        })();
        match copied {
            Ok(length) => self.count_file(length),
            // A failed copy is removed, because the disk may be full.
            Err(_) => drop(disk.remove(&unanimity_storage::temporary_path(to))),
        }
        copied
    }

    fn write_entries(&mut self) -> Result<(), StorageError> {
        let (mut files, mut bytes) = (Vec::new(), 0);
        for (tile, leaves) in self.snapshot.leaf_tiles() {
            let path = self.site.join(entries_path(tile.index, tile.width));
            self.record_directories(&path);
            if !is_up_to_date(&path, MAX_BUNDLE_BYTES, |bytes| is_bundle_of(bytes, leaves)) {
                let bundle = self.snapshot.read_bundle(tile, leaves)?;
                bytes += bundle.len();
                files.push((path, bundle));
            }
            if bytes > MAX_HELD_BYTES {
                self.write_batch(std::mem::take(&mut files))?;
                bytes = 0;
            }
        }
        self.write_batch(files)
    }

    fn write_tiles(&mut self) -> Result<(), StorageError> {
        let mut files = Vec::new();
        for (tile, hashes) in &self.snapshot.tiles {
            let path = self.site.join(tile.path());
            self.record_directories(&path);
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            if !is_up_to_date(&path, 32 * TILE_WIDTH as usize, |found| found == bytes) {
                files.push((path, bytes));
            }
        }
        self.write_batch(files)
    }

    fn write_batch(&mut self, files: Vec<(PathBuf, Vec<u8>)>) -> Result<(), StorageError> {
        let files: Vec<(PathBuf, &[u8])> =
            files.iter().map(|(path, bytes)| (path.clone(), &bytes[..])).collect();
        write_files(self.disk, self.site, &files, Mode::Public)?;
        files.iter().for_each(|(_, bytes)| self.count_file(bytes.len() as u64));
        Ok(())
    }

    fn count_file(&mut self, bytes: u64) {
        self.summary.files += 1;
        self.summary.bytes += bytes;
    }

    /// Records the directories above a file, up to the site's directory, for a later sync.
    fn record_directories(&mut self, path: &Path) {
        let above = path.ancestors().skip(1);
        for directory in above.take_while(|above| above.starts_with(self.site)) {
            if !self.directories.insert(directory.to_owned()) {
                break;
            }
        }
    }

    /// Syncs the recorded directories, so that the names of the files in them are durable. An
    /// interrupted export may have written a file without a sync of its directory.
    fn sync_directories(&self) -> Result<(), StorageError> {
        let sync = |at: &PathBuf| self.disk.sync_dir(at).map_err(StorageError::at(at));
        self.directories.iter().try_for_each(sync)
    }

    /// Writes a small file, unless it already has these bytes and all users can read it.
    fn write_small_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.site.join(name);
        if !is_up_to_date(&path, page::MAX_BYTES, |found| found == bytes) {
            self.disk.write(&path, bytes, Mode::Public).map_err(StorageError::at(&path))?;
            self.count_file(bytes.len() as u64);
        }
        Ok(())
    }
}

/// The most bytes of entry bundles that are collected before they are written as a batch. The last
/// bundle of a batch may exceed this limit.
const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;

/// Whether a file of the site has the right bytes, and all users can read it.
fn is_up_to_date(path: &Path, limit: usize, is_good: impl FnOnce(&[u8]) -> bool) -> bool {
    is_public(path)
        && unanimity_storage::read_at_most(path, limit).is_ok_and(|bytes| is_good(&bytes))
}

fn is_public(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o444 == 0o444)
}

/// The length of an artifact in the site. `None` if the artifact is missing or damaged, or if not
/// all users can read it.
fn verified_length(path: &Path, digest: &Hash, max_length: u64) -> Option<u64> {
    let file = unanimity_storage::open_regular_file(path).ok().filter(|_| is_public(path))?;
    let (length, found) = hash_file(file, path, max_length, |_| Ok(())).ok()?;
    (found == *digest).then_some(length)
}
