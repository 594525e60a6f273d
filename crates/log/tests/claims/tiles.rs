//! Tiles: their paths, their hashes, and errors for damaged tiles.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use unanimity_log::{TileReader, TileStore};
use unanimity_net::Mirror;
use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::tile::width;
use unanimity_protocol::tree::Subtree;
use unanimity_protocol::{
    Hash, Tile,
    tile::{self},
    tree::{self},
};
use unanimity_storage::{Mode, Storage, StorageError};
use unanimity_testkit::block_on::block_on;
use unanimity_testkit::rfc6962::{
    full_proof as naive_consistency, path as naive_inclusion, root as naive_root,
};
use unanimity_testkit::sample_log::leaf_hashes;
use unanimity_testkit::scratch_dir::scratch_dir;

fn store(directory: &Path, size: u64) -> TileStore {
    TileStore::open(directory, size, Mode::Public, Storage::default()).expect("a tree")
}

fn grown(directory: &Path, leaves: &[Hash]) -> TileStore {
    let mut store = store(directory, 0);
    let growth = store.grow(leaves.iter().copied());
    store.commit(growth).expect("written");
    store
}

/// The files below a directory, by their relative paths.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(at: &Path, root: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, all);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(directory, directory, &mut all);
    all
}

#[test]
fn tile_paths_follow_the_specification() {
    let path = |level, index, width| Tile { level, index, width }.path();
    assert_eq!(path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(path(0, 0, 256), "tile/0/000");
    assert_eq!(path(0, 999, 256), "tile/0/999");
    assert_eq!(path(0, 1000, 256), "tile/0/x001/000");
    assert_eq!(path(3, 7, 1), "tile/3/007.p/1");
    assert_eq!(path(63, 1_234_067, 255), "tile/63/x001/x234/067.p/255");
    assert_eq!(path(0, u64::MAX, 256), "tile/0/x018/x446/x744/x073/x709/x551/615");
    assert_eq!(entries_path(1_234_067, 256), "tile/entries/x001/x234/067");
    assert_eq!(entries_path(273, 112), "tile/entries/273.p/112");
}

#[test]
fn a_tree_of_70000_leaves_has_the_tiles_of_the_example() {
    let all = |level| -> Vec<u16> {
        (0..).map_while(|index| Tile::at(level, index, 70_000)).map(|tile| tile.width).collect()
    };
    let mut level_0 = vec![256; 273];
    level_0.push(112);
    assert_eq!(all(0), level_0);
    assert_eq!(all(1), [256, 17]);
    assert_eq!(all(2), [1]);
    assert!(all(3).is_empty());
}

#[test]
fn tile_width_follows_from_the_tree_size() {
    for (count, index, expected) in [
        (0, 0, None),
        (1, 0, Some(1)),
        (255, 0, Some(255)),
        (256, 0, Some(256)),
        (256, 1, None),
        (257, 0, Some(256)),
        (257, 1, Some(1)),
        (u64::MAX, u64::MAX / 256, Some(255)),
        (u64::MAX, u64::MAX / 256 + 1, None),
        (u64::MAX, u64::MAX, None),
    ] {
        assert_eq!(width(count, index), expected, "{index} of {count}");
    }
}

#[test]
fn extreme_tiles_do_not_panic() {
    let extremes = [0, 1, 255, 256, 257, (1 << 56) - 1, 1 << 56, 1 << 62, (1 << 63) - 1, u64::MAX];
    for size in extremes {
        for index in extremes {
            for level in [0, 1, 6, 7, 8, 31, 62, 63, 64, 255] {
                let at = Tile::at(level, index, size);
                assert!(level < 8 || at.is_none(), "no tree of u64 leaves is {level} tiles high");
                for width in [0, 1, 255, 256, 257, u16::MAX] {
                    let is_within = Tile { level, index, width }.is_within(size);
                    assert_eq!(is_within, width > 0 && at.is_some_and(|at| at.width >= width));
                }
                if let Some((tile, range)) = Tile::containing(Subtree { level, index }, size) {
                    assert_eq!(tile.level, level / 8);
                    assert_eq!(range.len(), 1 << (level % 8));
                    assert!(range.end <= usize::from(tile.width) && tile.is_within(size));
                }
            }
        }
    }
    assert_eq!(Tile::at(7, 0, u64::MAX), Some(Tile { level: 7, index: 0, width: 255 }));
    let whole = Tile::containing(Subtree { level: 63, index: 0 }, u64::MAX);
    assert_eq!(whole, Some((Tile { level: 7, index: 0, width: 255 }, 0..128)));
}

#[test]
fn subtree_root_equals_the_naive_root() {
    for height in 0..=8 {
        let leaves = leaf_hashes(1 << height);
        assert_eq!(tile::subtree_root(&leaves), naive_root(&leaves), "height {height}");
    }
}

#[test]
fn tile_parser_requires_as_many_hashes_as_the_width() {
    let bytes = vec![7; 32 * 3];
    assert_eq!(tile::parse(&bytes, 3), Some(vec![Hash([7; 32]); 3]));
    assert_eq!(tile::parse(&bytes, 2), None);
    assert_eq!(tile::parse(&bytes, 4), None);
    assert_eq!(tile::parse(&bytes[..95], 3), None);
    assert_eq!(tile::parse(&[], 0), Some(vec![]));
}

#[test]
fn batches_of_leaves_grow_the_same_tiles() {
    let leaves = leaf_hashes(600);
    let at_once = scratch_dir();
    grown(at_once.path(), &leaves);
    for batch in [1, 7, 100, 256, 257] {
        let scratch = scratch_dir();
        let mut tree = store(scratch.path(), 0);
        let mut size = 0;
        for batch in leaves.chunks(batch) {
            let growth = tree.grow(batch.iter().copied());
            size += batch.len();
            assert_eq!(growth.root(), naive_root(&leaves[..size]));
            assert_eq!(growth.size(), size as u64);
            tree.commit(growth).unwrap();
            assert_eq!(tree.root(), naive_root(&leaves[..size]));
            // The written tiles open as the grown tree.
            assert_eq!(store(scratch.path(), size as u64).root(), tree.root());
        }
        // The final tiles are identical. The tiles of smaller sizes stay beside them.
        let written = files(scratch.path());
        for (path, bytes) in files(at_once.path()) {
            assert_eq!(written.get(&path), Some(&bytes), "{path} in batches of {batch}");
        }
    }
}

#[test]
fn store_writes_the_tiles_of_the_tree_only() {
    let scratch = scratch_dir();
    grown(scratch.path(), &leaf_hashes(600));
    let written: Vec<String> = files(scratch.path()).into_keys().collect();
    let expected = ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"];
    assert_eq!(written, expected);
}

#[test]
fn proofs_from_tiles_equal_the_naive_proofs() {
    let leaves = leaf_hashes(600);
    let mut sizes: Vec<usize> = (1..=20).collect();
    sizes.extend([127, 255, 256, 257, 511, 512, 513, 600]);
    for size in sizes {
        let (scratch, leaves) = (scratch_dir(), &leaves[..size]);
        let tree = grown(scratch.path(), leaves);
        let mirror = Mirror::from_directory(scratch.path());
        let reader = TileReader::new(&mirror);
        let few = [0, 1, 2, size / 3, size / 2, size.saturating_sub(2), size - 1];
        for index in few.into_iter().filter(|&index| index < size) {
            let ranges = tree::inclusion_ranges(index as u64, size as u64);
            let proof = tree.range_roots(&ranges).unwrap();
            assert_eq!(proof, naive_inclusion(index, leaves), "leaf {index} of {size}");
            let read = block_on(reader.inclusion_proof(index as u64, size as u64, size as u64));
            assert_eq!(read.unwrap(), proof);
            let root = naive_root(leaves);
            assert!(tree::verify_inclusion(
                index as u64,
                size as u64,
                &leaves[index],
                &proof,
                &root
            ));
            if index > 0 {
                let ranges = tree::consistency_ranges(index as u64, size as u64);
                let path = tree.range_roots(&ranges).unwrap();
                assert_eq!(path, naive_consistency(index, leaves), "from {index} to {size}");
                let roots = (naive_root(&leaves[..index]), root);
                assert_eq!(tree::consistency_roots(index as u64, size as u64, &path), Some(roots));
            }
        }
    }
}

#[test]
fn tree_with_three_tile_levels_gives_the_naive_proofs() {
    let (scratch, leaves) = (scratch_dir(), leaf_hashes(66_000));
    let (small, large) = (65_500, 66_000);
    let mut tree = grown(scratch.path(), &leaves[..small]);
    let growth = tree.grow(leaves[small..].iter().copied());
    tree.commit(growth).unwrap();
    let root = naive_root(&leaves);
    assert_eq!(tree.root(), root);
    assert_eq!(store(scratch.path(), large as u64).root(), root);
    for index in [0, 65_535, 65_536, 65_999] {
        let ranges = tree::inclusion_ranges(index as u64, large as u64);
        assert_eq!(tree.range_roots(&ranges).unwrap(), naive_inclusion(index, &leaves));
    }
    for old in [256, small, 65_536, 65_537] {
        let ranges = tree::consistency_ranges(old as u64, large as u64);
        assert_eq!(tree.range_roots(&ranges).unwrap(), naive_consistency(old, &leaves));
    }
    assert!(scratch.path().join("tile/2/000.p/1").is_file());
}

#[test]
fn missing_partial_tile_is_read_from_the_full_tile() {
    let (scratch, leaves) = (scratch_dir(), leaf_hashes(300));
    let mut tree = grown(scratch.path(), &leaves[..100]);
    let growth = tree.grow(leaves[100..].iter().copied());
    tree.commit(growth).unwrap();
    fs::remove_dir_all(scratch.path().join("tile/0/000.p")).unwrap();
    let partial = Tile { level: 0, index: 0, width: 100 };
    assert_eq!(tree.read(partial).unwrap(), leaves[..100]);
    // A store of the smaller size and the reader of a mirror read the full tile, too.
    assert_eq!(store(scratch.path(), 100).root(), naive_root(&leaves[..100]));
    let mirror = Mirror::from_directory(scratch.path());
    let read = block_on(unanimity_log::read_leaves(&&mirror, 50..100)).unwrap();
    assert_eq!(read, leaves[50..100]);
}

#[test]
fn error_names_the_damaged_or_missing_tile() {
    let (scratch, leaves) = (scratch_dir(), leaf_hashes(300));
    let tree = grown(scratch.path(), &leaves);
    let path = scratch.path().join("tile/0/001.p/44");
    let whole = fs::read(&path).unwrap();
    let open = || TileStore::open(scratch.path(), 300, Mode::Public, Storage::default());
    let read = || tree.range_roots(std::slice::from_ref(&(290..291)));
    let mut messages = String::new();
    let mut record = |damage: &str, call: &str, error: &StorageError| {
        let error = error.to_string().replace(scratch.path().to_str().unwrap(), "[DIR]");
        messages += &format!("{damage}, {call}: {error}\n");
    };
    let longer = [whole.clone(), vec![0]].concat();
    let damages = [
        ("a byte is missing", &whole[..whole.len() - 1]),
        ("a hash is missing", &whole[32..]),
        ("a byte too many", &longer),
    ];
    for (damage, bytes) in damages {
        fs::write(&path, bytes).unwrap();
        let errors = [open().map(drop).unwrap_err(), read().map(drop).unwrap_err()];
        for (call, error) in ["open", "read"].into_iter().zip(errors) {
            assert!(matches!(&error, StorageError::Corrupt { path: named, .. } if *named == path));
            record(damage, call, &error);
        }
    }
    fs::remove_file(&path).unwrap();
    record("no file", "open", &open().map(drop).unwrap_err());
    record("no file", "read", &read().map(drop).unwrap_err());
    snapbox::assert_data_eq!(messages, snapbox::file!["words/damaged_tiles.txt"]);
    // A changed hash changes the root, which all callers compare.
    let mut changed = whole.clone();
    changed[0] ^= 1;
    fs::write(&path, changed).unwrap();
    assert_ne!(open().unwrap().root(), naive_root(&leaves));
}

#[test]
fn grow_without_commit_changes_nothing() {
    let (scratch, leaves) = (scratch_dir(), leaf_hashes(10));
    let tree = grown(scratch.path(), &leaves[..5]);
    let before = files(scratch.path());
    drop(tree.grow(leaves[5..].iter().copied()));
    assert_eq!(files(scratch.path()), before);
    assert_eq!(tree.root(), naive_root(&leaves[..5]));
}

proptest! {
    #[test]
    fn every_node_lies_in_one_tile(size in 1u64.., level in 0u8..64, position: u64) {
        let complete = size >> level;
        prop_assume!(complete > 0);
        let node = Subtree { level, index: position % complete };
        let (tile, range) = Tile::containing(node, size).expect("a tile has each complete subtree");
        prop_assert!(tile.is_within(size));
        // The hashes of the tile cover exactly the leaves of the node.
        let first = u128::from(tile.index) * 256 + range.start as u128;
        prop_assert_eq!(first << (8 * tile.level), u128::from(node.index) << level);
        prop_assert_eq!((range.len() as u128) << (8 * tile.level), 1u128 << level);
    }
}
