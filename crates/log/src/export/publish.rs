//! Writing a log's files to a directory, only what is not there yet.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use unanimity_protocol::consistency::Consistency;
use unanimity_protocol::log_path::{CHECKPOINT, artifact_path, entries_path};
use unanimity_protocol::manifest::Artifact;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::tile::FULL;
use unanimity_protocol::tree::consistency_ranges;
use unanimity_protocol::{ConsistentHeads, Hash, Manifest, TreeHead};
use unanimity_storage::{Lock, Mode, Storage, StorageError};

use crate::export::error::Unpublished;
use crate::export::page;
use crate::export::served::{Served, is_served};
use crate::export::snapshot::{MAX_BUNDLE_BYTES, Release, Source, is_bundle_of, measure};
use crate::pending::PENDING;
use crate::tile_store::MEND;
use crate::{TileStore, write_files};

/// What came of publishing.
#[derive(Debug, Default)]
pub struct Published {
    /// How many files were written.
    pub files: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// What releases name and the site does not have.
    pub missing: Vec<Missing>,
    /// There is an `index.html` that somebody else wrote; it was left.
    pub is_page_foreign: bool,
}

/// An artifact that clients will not find.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Of which release.
    pub manifest: Manifest,
    /// Which file of it.
    pub target: Artifact,
}

/// Writes a log's files to the directory `site`, or brings it up to date: only what is not there yet.
pub fn publish(source: &Source, site: &Path, disk: &Storage) -> Result<Published, Unpublished> {
    check(source, site)?;
    disk.make_dir(site, Mode::Public).map_err(StorageError::at(site))?;
    let lock = unanimity_storage::lock(site).map_err(StorageError::at(site))?;
    let lock = lock.ok_or_else(|| Unpublished::Busy(site.to_owned()))?;
    // Once more, now that nobody else can publish there.
    check(source, site)?;
    let (directories, done) = Default::default();
    let mut update = Update { source, site, disk, directories, done, _lock: lock };
    let served = update.artifacts()?;
    update.entries()?;
    update.tiles()?;
    update.sync()?;
    update.small(CHECKPOINT, &source.checkpoint)?;
    let path = site.join(INDEX);
    let old = unanimity_storage::read_at_most(&path, page::MAX_BYTES);
    if old.is_ok_and(|old| old.starts_with(page::BEGINNING)) || !path.exists() {
        update.small(INDEX, page::write(source, &served).as_bytes())?;
    } else {
        update.done.is_page_foreign = true;
    }
    for Release { manifest, .. } in &source.releases {
        let missing = manifest.targets.iter().filter(|target| !is_served(&served, target));
        let missing = missing.map(|target| (manifest.clone(), target.clone()));
        let missing = missing.map(|(manifest, target)| Missing { manifest, target });
        update.done.missing.extend(missing);
    }
    Ok(update.done)
}

const INDEX: &str = "index.html";

/// Refuses to publish where it would do harm, without touching anything.
fn check(source: &Source, site: &Path) -> Result<(), Unpublished> {
    let (here, log) = (canonical(site)?, canonical(&source.directory)?);
    if here.starts_with(&log) || log.starts_with(&here) {
        let (site, log) = (site.to_owned(), source.directory.clone());
        return Err(Unpublished::NotApart { site, log });
    }
    if site.join(PENDING).exists() {
        return Err(Unpublished::IsLog(site.to_owned()));
    }
    if let Some(checkpoint) = unanimity_storage::read(&site.join(CHECKPOINT), MAX_NOTE_BYTES)? {
        return compare(source, site, &checkpoint);
    }
    if !site.exists() {
        return Ok(());
    }
    // What an interrupted first run leaves.
    let ours = ["tile", "artifact", ".lock", ".checkpoint.new"];
    for entry in fs::read_dir(site).map_err(StorageError::at(site))? {
        let name = entry.map_err(StorageError::at(site))?.file_name();
        if ours.iter().all(|ours| name != *ours) {
            return Err(Unpublished::Occupied(site.to_owned()));
        }
    }
    Ok(())
}

/// Where a path leads, as far as it exists.
fn canonical(path: &Path) -> Result<PathBuf, StorageError> {
    let path = &std::path::absolute(path).map_err(StorageError::at(path))?;
    let there = path.ancestors().find(|above| above.exists()).unwrap_or(path);
    let place = there.canonicalize().map_err(StorageError::at(there))?;
    let rest = path.strip_prefix(there).unwrap_or(Path::new(""));
    if rest.components().any(|part| part == Component::ParentDir) {
        let why = "it goes up (..) from a directory that is not there";
        return Err(StorageError::at(path)(io::Error::new(io::ErrorKind::NotFound, why)));
    }
    Ok(place.join(rest))
}

/// Refuses if the site's head is not one that the log has grown from.
fn compare(source: &Source, site: &Path, checkpoint: &[u8]) -> Result<(), Unpublished> {
    let path = site.join(CHECKPOINT);
    let theirs = TreeHead::verify(checkpoint, &source.log)
        .map_err(|source| Unpublished::OtherLog { path: path.clone(), source })?;
    let ours = &source.head;
    let fork = |evidence| {
        let log = source.directory.join(CHECKPOINT);
        Err(Unpublished::Fork { site: path.clone(), log, evidence })
    };
    if theirs.size() <= ours.size() {
        let path = source.store.range_roots(&consistency_ranges(theirs.size(), ours.size()))?;
        return match ConsistentHeads::new(ours.clone()).add(&theirs, &path) {
            Consistency::Consistent => Ok(()),
            Consistency::Fork(evidence) => fork(evidence),
            // The tiles were whole a moment ago.
            Consistency::Unproven => {
                let path = source.directory.join("tile");
                Err(StorageError::Corrupt { path, remedy: MEND }.into())
            }
        };
    }
    // The site's tree says whether ours is its beginning; if it cannot say, the site is ahead still.
    let store = TileStore::open(site, theirs.size(), Mode::Public, Storage::default());
    let proof =
        store.and_then(|store| store.range_roots(&consistency_ranges(ours.size(), theirs.size())));
    if let Consistency::Fork(evidence) =
        ConsistentHeads::new(theirs.clone()).add(ours, &proof.unwrap_or_default())
    {
        return fork(evidence);
    }
    let (site, log) = (site.to_owned(), source.directory.clone());
    Err(Unpublished::Rollback { site, size: theirs.size(), log, held: ours.size() })
}

/// A site that is being brought up to date.
struct Update<'a> {
    source: &'a Source,
    site: &'a Path,
    disk: &'a Storage,
    /// Those of all files that the checkpoint implies.
    directories: BTreeSet<PathBuf>,
    done: Published,
    _lock: Lock,
}

impl Update<'_> {
    fn artifacts(&mut self) -> Result<Served, Unpublished> {
        let mut served = Served::new();
        for (digest, most) in &self.source.named {
            let path = self.site.join(artifact_path(digest));
            let length = match whole(&path, digest, *most) {
                Some(length) => length,
                None if self.source.artifacts.contains(digest) => {
                    self.copy(digest, &path, *most)?
                }
                None => continue,
            };
            self.implied(&path);
            served.insert(*digest, length);
        }
        Ok(served)
    }

    /// Copies an artifact, of any size, and hashes what is copied.
    fn copy(&mut self, digest: &Hash, to: &Path, most: u64) -> Result<u64, Unpublished> {
        let (disk, from) = (self.disk, self.source.artifact(digest));
        let directory = unanimity_storage::parent(to);
        disk.make_dir(directory, Mode::Public).map_err(StorageError::at(directory))?;
        let copied = (|| {
            let bytes = unanimity_storage::open_plain(&from).map_err(StorageError::at(&from))?;
            let mut file = disk.create(to, Mode::Public).map_err(StorageError::at(to))?;
            disk.writing(to).map_err(StorageError::at(to))?;
            let (length, found) = measure(bytes, &from, most, |piece| {
                file.write_all(piece).map_err(StorageError::at(to))
            })?;
            if found != *digest {
                return Err(Unpublished::Artifact(from));
            }
            disk.finish(&*file, to).map_err(StorageError::at(to))?;
            Ok(length)
        })();
        match copied {
            Ok(length) => self.count(length),
            // A full disk is not made fuller by what did not become a file.
            Err(_) => drop(disk.remove(&unanimity_storage::temporary(to))),
        }
        copied
    }

    fn entries(&mut self) -> Result<(), StorageError> {
        let (mut files, mut bytes) = (Vec::new(), 0);
        for (tile, leaves) in self.source.leaf_tiles() {
            let path = self.site.join(entries_path(tile.index, tile.width));
            self.implied(&path);
            if !holds(&path, MAX_BUNDLE_BYTES, |bytes| is_bundle_of(bytes, leaves)) {
                let bundle = self.source.bundle(tile, leaves)?;
                bytes += bundle.len();
                files.push((path, bundle));
            }
            if bytes > MAX_HELD_BYTES {
                self.write(std::mem::take(&mut files))?;
                bytes = 0;
            }
        }
        self.write(files)
    }

    fn tiles(&mut self) -> Result<(), StorageError> {
        let mut files = Vec::new();
        for (tile, hashes) in &self.source.tiles {
            let path = self.site.join(tile.path());
            self.implied(&path);
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
            if !holds(&path, 32 * FULL as usize, |there| there == bytes) {
                files.push((path, bytes));
            }
        }
        self.write(files)
    }

    fn write(&mut self, files: Vec<(PathBuf, Vec<u8>)>) -> Result<(), StorageError> {
        let files: Vec<(PathBuf, &[u8])> =
            files.iter().map(|(path, bytes)| (path.clone(), &bytes[..])).collect();
        write_files(self.disk, self.site, &files, Mode::Public)?;
        files.iter().for_each(|(_, bytes)| self.count(bytes.len() as u64));
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.done.files += 1;
        self.done.bytes += bytes;
    }

    /// Notes the directories that a file is in.
    fn implied(&mut self, path: &Path) {
        let above = path.ancestors().skip(1);
        for directory in above.take_while(|above| above.starts_with(self.site)) {
            if !self.directories.insert(directory.to_owned()) {
                break;
            }
        }
    }

    /// Makes the names of all that the checkpoint implies durable: an interrupted run may have given
    /// them and not come to it.
    fn sync(&self) -> Result<(), StorageError> {
        let sync = |at: &PathBuf| self.disk.sync_dir(at).map_err(StorageError::at(at));
        self.directories.iter().try_for_each(sync)
    }

    /// Writes a small file, if it has to change.
    fn small(&mut self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.site.join(name);
        if !holds(&path, page::MAX_BYTES, |there| there == bytes) {
            self.disk.write(&path, bytes, Mode::Public).map_err(StorageError::at(&path))?;
            self.count(bytes.len() as u64);
        }
        Ok(())
    }
}

/// The most bytes of entries that are held at once while they are written, and one bundle.
const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;

/// Whether a site's file is what it has to be, and everybody may read it.
fn holds(path: &Path, limit: usize, is_good: impl FnOnce(&[u8]) -> bool) -> bool {
    is_public(path)
        && unanimity_storage::read_at_most(path, limit).is_ok_and(|bytes| is_good(&bytes))
}

fn is_public(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o444 == 0o444)
}

/// The length of a site's artifact, if it is whole.
fn whole(path: &Path, digest: &Hash, most: u64) -> Option<u64> {
    let file = unanimity_storage::open_plain(path).ok().filter(|_| is_public(path))?;
    let (length, found) = measure(file, path, most, |_| Ok(())).ok()?;
    (found == *digest).then_some(length)
}
