//! A tree on this machine, stored as tiles: the tree of a log, or a witness's copy of it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_protocol::tree::Subtree;
use unanimity_protocol::{
    Hash, Tile,
    tile::{self},
    tree::{self},
};
use unanimity_storage::{Mode, Storage, StorageError};

/// The remedy in an error about a file that contradicts the head of its tree.
pub(crate) const REMEDY: &str = "restore it from a mirror of this log";

/// A tree's tiles in a directory, with the right edge of the tree in memory.
#[derive(Clone, Debug)]
pub struct TileStore {
    directory: PathBuf,
    disk: Storage,
    mode: Mode,
    size: u64,
    /// The hashes of the partial tile at each level: fewer than 256 each.
    frontier: Vec<Vec<Hash>>,
}

/// A grown tree whose new tiles are not yet written. [`TileStore::grow`] makes one.
pub struct PendingGrowth {
    size: u64,
    frontier: Vec<Vec<Hash>>,
    tiles: BTreeMap<Tile, Vec<u8>>,
}

impl TileStore {
    /// Opens the tree of `size` leaves in a directory. The tiles are not verified: the caller must
    /// compare [`TileStore::root`] with a known root.
    ///
    /// Tiles beyond `size` are ignored: a write that was interrupted before its head was stored
    /// leaves them.
    pub fn open(
        directory: &Path,
        size: u64,
        mode: Mode,
        disk: Storage,
    ) -> Result<TileStore, StorageError> {
        let mut store =
            TileStore { directory: directory.to_owned(), disk, mode, size, frontier: Vec::new() };
        for level in 0..8 {
            let hashes = size >> (8 * level);
            let partial = match Tile::at(level, hashes / TILE_WIDTH, size) {
                Some(tile) => store.read(tile)?,
                None => Vec::new(),
            };
            store.frontier.push(partial);
        }
        Ok(store)
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        frontier_root(self.size, &self.frontier)
    }

    /// The hashes of the partial tile at each level, from the leaves up: fewer than 256 each. The
    /// root is computed from these hashes.
    pub(crate) fn frontier(&self) -> &[Vec<Hash>] {
        &self.frontier
    }

    /// The hashes of the last, partial tile of leaves.
    pub(crate) fn last_leaves(&self) -> &[Hash] {
        &self.frontier[0]
    }

    /// Computes the tree with further leaves, and writes nothing. The caller can compare its root
    /// before [`TileStore::commit`].
    pub fn grow(&self, leaves: impl IntoIterator<Item = Hash>) -> PendingGrowth {
        let mut growth = PendingGrowth {
            size: self.size,
            frontier: self.frontier.clone(),
            tiles: BTreeMap::new(),
        };
        leaves.into_iter().for_each(|leaf| growth.push(leaf));
        growth
    }

    /// Writes the new tiles of a grown tree durably. Then this store has the size and root of the
    /// grown tree.
    pub fn commit(&mut self, growth: PendingGrowth) -> Result<(), StorageError> {
        let tiles = growth.full_and_partial_tiles();
        let files: Vec<(PathBuf, &[u8])> =
            tiles.iter().map(|(t, bytes)| (self.directory.join(t.path()), &bytes[..])).collect();
        write_files(&self.disk, &self.directory, &files, self.mode)?;
        (self.size, self.frontier) = (growth.size, growth.frontier);
        Ok(())
    }

    /// Reads a tile of this tree. If a partial tile has no file, its hashes are the beginning of
    /// the full tile's file.
    pub fn read(&self, tile: Tile) -> Result<Vec<Hash>, StorageError> {
        let path = self.directory.join(tile.path());
        let limit = 32 * TILE_WIDTH as usize;
        let bytes = match self.disk.read(&path, limit)? {
            Some(bytes) => bytes,
            None => {
                let full = self.directory.join(tile.full().path());
                let full = self.disk.read(&full, limit)?;
                let missing = || StorageError::at(&path)(io::ErrorKind::NotFound.into());
                let mut bytes = full.ok_or_else(missing)?;
                bytes.truncate(32 * usize::from(tile.width));
                bytes
            }
        };
        tile::parse(&bytes, tile.width).ok_or(StorageError::Corrupt { path, remedy: REMEDY })
    }

    /// Computes the roots of ranges of leaves. For the ranges of [`tree::inclusion_ranges`] or
    /// [`tree::consistency_ranges`], these roots are a proof.
    pub fn range_roots(&self, ranges: &[Range<u64>]) -> Result<Vec<Hash>, StorageError> {
        let mut read: BTreeMap<Tile, Vec<Hash>> = BTreeMap::new();
        let mut hash_of = |node: Subtree| {
            let (tile, range) = Tile::containing(node, self.size).ok_or_else(|| {
                StorageError::Corrupt { path: self.directory.clone(), remedy: REMEDY }
            })?;
            let hashes = match read.entry(tile) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(self.read(tile)?),
            };
            Ok(tile::subtree_root(&hashes[range]))
        };
        ranges.iter().map(|range| tree::range_root(range.clone(), &mut hash_of)).collect()
    }
}

impl PendingGrowth {
    fn push(&mut self, leaf: Hash) {
        let (mut hash, mut position) = (leaf, self.size);
        self.size += 1;
        for level in 0..8 {
            let edge = &mut self.frontier[usize::from(level)];
            edge.push(hash);
            if edge.len() < TILE_WIDTH as usize {
                return;
            }
            hash = tile::subtree_root(edge);
            let bytes = edge.iter().flat_map(|hash| hash.0).collect();
            edge.clear();
            let index = position / TILE_WIDTH;
            self.tiles.insert(Tile { level, index, width: TILE_WIDTH as u16 }, bytes);
            position = index;
        }
    }

    fn full_and_partial_tiles(&self) -> BTreeMap<Tile, Vec<u8>> {
        let mut tiles = self.tiles.clone();
        for (level, edge) in (0u8..).zip(&self.frontier) {
            let index = (self.size >> (8 * level)) / TILE_WIDTH;
            if let Some(tile) = Tile::at(level, index, self.size) {
                tiles.insert(tile, edge.iter().flat_map(|hash| hash.0).collect());
            }
        }
        tiles
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the grown tree.
    pub fn root(&self) -> Hash {
        frontier_root(self.size, &self.frontier)
    }
}

fn frontier_root(size: u64, edge: &[Vec<Hash>]) -> Hash {
    let hash_of = |node: Subtree| -> Result<Hash, Infallible> {
        // The tree is a sequence of complete subtrees. Each lies in the partial tile of its level.
        let (level, height) = (usize::from(node.level / 8), node.level % 8);
        let start = ((node.index << height) % TILE_WIDTH) as usize;
        Ok(tile::subtree_root(&edge[level][start..start + (1 << height)]))
    };
    match tree::range_root(0..size, hash_of) {
        Ok(root) => root,
        Err(never) => match never {},
    }
}

/// Writes files durably, and creates the directories that they need. A failure to write is reported
/// for the directory `root`.
pub fn write_files(
    disk: &Storage,
    root: &Path,
    files: &[(PathBuf, &[u8])],
    mode: Mode,
) -> Result<(), StorageError> {
    let directories: BTreeSet<&Path> =
        files.iter().map(|(path, _)| unanimity_storage::parent(path)).collect();
    for directory in directories {
        disk.make_dir(directory, mode).map_err(StorageError::at(directory))?;
    }
    let files = files.iter().map(|(path, bytes)| (path.clone(), *bytes));
    disk.write_all(files, mode).map_err(StorageError::at(root))
}

/// Opens the tiles of a log. Fails with [`StorageError::Corrupt`] if the partial tiles do not hash
/// up to `root`. Full tiles are not checked.
pub(crate) fn open_tiles(
    directory: &Path,
    size: u64,
    root: &Hash,
    disk: Storage,
) -> Result<TileStore, StorageError> {
    let tiles = TileStore::open(directory, size, Mode::Public, disk)?;
    if tiles.root() == *root {
        Ok(tiles)
    } else {
        Err(StorageError::Corrupt { path: directory.join("tile"), remedy: REMEDY })
    }
}
