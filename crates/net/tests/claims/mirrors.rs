//! Mirrors that serve anything: bounds on reading, and verified tiles and entries.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{
    fs::{self},
    io,
};

use tempfile::TempDir;
use unanimity_log::{
    EntryReadError, EntryReader, LogWriter, MAX_GROWTH, TileReader, TileSource as _,
};
use unanimity_net::{MIN_RATE, Mirror, READ_TIMEOUT};
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::{
    Checkpoint, Hash, Tile, TreeHead,
    tile::{self},
};
use unanimity_storage::Storage;
use unanimity_testkit::block_on::block_on;
use unanimity_testkit::sample_log;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::stalling_mirror::StallingMirror;

fn mirror() -> (TempDir, Mirror) {
    let scratch = scratch_dir();
    let mirror = Mirror::from_directory(scratch.path());
    (scratch, mirror)
}

fn put(scratch: &TempDir, path: &str, bytes: &[u8]) {
    let path = scratch.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn bundle(entries: &[&[u8]]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat())
        .collect()
}

type Entries = Vec<(u64, Vec<u8>)>;

/// Reads the entries of a head from index `from` on. The error is the failure of each mirror.
fn entries(
    mirrors: &[&Mirror],
    head: &TreeHead,
    from: u64,
) -> Result<Entries, Vec<EntryReadError>> {
    let mut read = Vec::new();
    let tiles = TileReader::new(mirrors[mirrors.len() - 1]);
    let bundles = block_on(EntryReader::from_tiles(&tiles, head, from)).expect("tiles of the head");
    block_on(bundles.read(mirrors, |index, entry| read.push((index, entry.to_vec()))))?;
    Ok(read)
}

/// Makes a log of `size` entries, a mirror of its files, and its head.
fn log(size: u64) -> (TempDir, Mirror, TreeHead) {
    let (scratch, disk) = (scratch_dir(), Storage::default());
    let mut writer =
        LogWriter::init(scratch.path(), sample_log::origin(), sample_log::signing_key(1), disk)
            .unwrap();
    writer.append(&sample_log::sample_notes("note", size)).unwrap();
    let (mirror, head) = (Mirror::from_directory(scratch.path()), writer.head().clone());
    (scratch, mirror, head)
}

#[test]
fn read_refuses_a_file_longer_than_the_limit() {
    let (scratch, mirror) = mirror();
    put(&scratch, "file", &[7; 100]);
    assert_eq!(block_on(mirror.read("file", 100)).unwrap(), [7; 100]);
    assert_eq!(block_on(mirror.read("file", 1000)).unwrap(), [7; 100]);
    let error = block_on(mirror.read("file", 99)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    snapbox::assert_data_eq!(error.to_string(), snapbox::file!["words/file_too_large.txt"]);
}

#[test]
fn read_stops_at_the_limit_of_a_huge_file() {
    let (scratch, mirror) = mirror();
    // The file is sparse. Reading its 2^40 bytes would take longer than a test may.
    File::create(scratch.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
    let error = block_on(mirror.read("huge", 1000)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn directory_mirror_reads_regular_files_only() {
    let (scratch, mirror) = mirror();
    symlink("/dev/zero", scratch.path().join("endless")).unwrap();
    fs::create_dir(scratch.path().join("directory")).unwrap();
    // A pipe without a writer would block a reader forever.
    let made = Command::new("mkfifo").arg(scratch.path().join("pipe")).status().unwrap();
    assert!(made.success());
    symlink("pipe", scratch.path().join("link-to-pipe")).unwrap();
    let mut messages = String::new();
    for name in ["endless", "directory", "pipe", "link-to-pipe"] {
        let error = block_on(mirror.read(name, 1000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
        messages += &format!("{error}\n");
        assert!(block_on(mirror.open(name, 0, MIN_RATE)).is_err(), "{name}");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/not_regular_files.txt"]);
    let error = block_on(mirror.read("nothing", 1000)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn stalled_mirror_times_out_then_refuses_until_it_answers() {
    let scratch = scratch_dir();
    put(&scratch, "file", b"here");
    let host = StallingMirror::from_directory(scratch.path(), "");
    assert_eq!(host.mirror.read("file", 100).await.unwrap(), b"here");
    let mut opened = host.mirror.open("file", 0, MIN_RATE).await.unwrap();

    let stall = host.stall().await;
    let before = host.reads_begun();
    let mirror = host.mirror.clone();
    let first = tokio::spawn(async move { mirror.read("file", 100).await });
    host.wait_for_reads(before + 1).await;
    let mirror = host.mirror.clone();
    let second = tokio::spawn(async move { mirror.read("file", 100).await });
    tokio::task::yield_now().await;
    assert!(!first.is_finished() && !second.is_finished());
    tokio::time::advance(READ_TIMEOUT + Duration::from_secs(1)).await;
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let mut messages = format!("{error}\n");
    // A read that has waited, and later reads, also of other files.
    let began = tokio::time::Instant::now();
    let errors = [
        second.await.unwrap().unwrap_err(),
        host.mirror.read("file", 100).await.unwrap_err(),
        host.mirror.open("file", 0, MIN_RATE).await.unwrap_err(),
        opened.next().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        messages += &format!("{error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/stalled_mirror.txt"]);
    assert_eq!((began.elapsed(), host.reads_begun()), (Duration::ZERO, before + 1));

    drop(stall);
    while host.mirror.read("file", 100).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn missing_partial_tile_or_bundle_is_read_from_the_full_one() {
    let (_small, _, head) = log(5);
    let (scratch, mirror, _) = log(256);
    let notes = sample_log::sample_notes("note", 5);
    let tile = Tile { level: 0, index: 0, width: 5 };
    let leaves = notes.iter().flat_map(|note| Hash::leaf(note).0).collect::<Vec<u8>>();
    assert_eq!(block_on((&mirror).tile(tile)).unwrap(), leaves);
    let expected = [(3, notes[3].clone()), (4, notes[4].clone())];
    assert_eq!(entries(&[&mirror], &head, 3).unwrap(), expected);
    // Without a full tile there is nothing to fall back to.
    for tile in [Tile { index: 1, ..tile }, Tile { index: 1, ..tile }.full()] {
        assert_eq!(block_on((&mirror).tile(tile)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    fs::remove_file(scratch.path().join("tile/entries/000")).unwrap();
    let unread = entries(&[&mirror], &head, 0).unwrap_err();
    assert_eq!(unread[0].error.as_ref().unwrap().kind(), io::ErrorKind::NotFound);
    // A file that is too long for a tile is refused, and so is one that is too short.
    put(&scratch, "tile/0/000", &[0; 256 * 32 + 1]);
    assert!(block_on((&mirror).tile(tile)).is_err());
    put(&scratch, "tile/0/000", &[0; 4 * 32]);
    assert!(block_on(unanimity_log::read_leaves(&&mirror, 0..5)).is_err());
}

#[test]
fn split_bundle_requires_a_complete_last_entry() {
    let good = bundle(&[b"", b"a", b"bc"]);
    assert_eq!(split_bundle(&good).unwrap(), [&b""[..], b"a", b"bc"]);
    assert!(split_bundle(&[]).unwrap().is_empty());
    let ends = [0, 2, 5, 9];
    for length in 0..=good.len() {
        let whole = ends.contains(&length);
        assert_eq!(split_bundle(&good[..length]).is_some(), whole, "{length} bytes");
    }
    let longest = bundle(&[&[7; 65_535]]);
    assert_eq!(split_bundle(&longest).unwrap(), [&[7; 65_535][..]]);
}

#[test]
fn reader_refuses_a_bundle_that_does_not_match_the_head() {
    let (scratch, mirror, head) = log(3);
    let path = "tile/entries/000.p/3";
    let good = fs::read(scratch.path().join(path)).unwrap();
    let notes = sample_log::sample_notes("note", 4);
    let notes: Vec<&[u8]> = notes.iter().map(Vec::as_slice).collect();
    let mut long = good.clone();
    long[0] = 0xff;
    for (garbled, is_well_formed) in [
        (&good[..good.len() - 1], false),
        (&bundle(&notes[..2]), false),
        (&[], false),
        (&[0], false),
        (&long, false),
        (&[&good[..], &[0]].concat(), false),
        (&vec![0; 3 * 65_537 + 1], false),
        // The bundle has another width than its name.
        (&bundle(&notes), false),
        (&bundle(&[notes[0], notes[2], notes[1]]), true),
        (&bundle(&[notes[0], notes[1], b"trojan"]), true),
        (&bundle(&[notes[0], b"", notes[2]]), true),
    ] {
        put(&scratch, path, garbled);
        let mut count = 0;
        let bundles =
            block_on(EntryReader::from_tiles(&TileReader::new(&mirror), &head, 0)).unwrap();
        let unread = block_on(bundles.read(&[&mirror], |_, _| count += 1)).unwrap_err();
        assert_eq!((unread.len(), unread[0].host_index), (1, 0));
        let error = unread[0].error.as_ref().map(io::Error::kind);
        let is_too_long = garbled.len() > 3 * 65_537;
        let kind =
            if is_too_long { io::ErrorKind::FileTooLarge } else { io::ErrorKind::InvalidData };
        assert_eq!(error, (!is_well_formed).then_some(kind));
        assert_eq!(count, 0, "no entry is returned");
    }
    put(&scratch, path, &good);
    assert_eq!(entries(&[&mirror], &head, 0).unwrap().len(), 3);
    assert_eq!(entries(&[&mirror], &head, 3).unwrap(), []);
}

#[test]
fn reader_needs_one_good_mirror_for_each_bundle() {
    // The tree has several levels of tiles, with full tiles below partial ones.
    let (_whole, good, head) = log(66_000);
    let (bad_scratch, bad, _) = log(66_000);
    let (half_scratch, half, _) = log(66_000);
    let paths: Vec<String> = (0..66_000u64.div_ceil(256))
        .map(|index| entries_path(index, tile::width(66_000, index).unwrap()))
        .collect();
    // One mirror has a changed bit in every bundle. Another one lacks every other bundle.
    for path in &paths {
        let mut bytes = fs::read(bad_scratch.path().join(path)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(bad_scratch.path().join(path), bytes).unwrap();
    }
    for path in paths.iter().step_by(2) {
        fs::remove_file(half_scratch.path().join(path)).unwrap();
    }
    let all = sample_log::sample_notes("note", 66_000);
    for from in [0, 255, 256, 65_535, 65_536, 65_999] {
        let read = entries(&[&bad, &half, &good], &head, from).unwrap();
        assert_eq!(read.len() as u64, 66_000 - from);
        assert!(read.iter().all(|(index, entry)| all[*index as usize] == *entry));
    }
    let unread = entries(&[&bad, &half], &head, 0).unwrap_err();
    let wrong: Vec<bool> = unread.iter().map(|unread| unread.error.is_none()).collect();
    assert_eq!(wrong, [true, false]);
    // A full tile that does not match the tile above it is refused.
    let path = half_scratch.path().join("tile/1/000");
    let mut bytes = fs::read(&path).unwrap();
    bytes[700] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = block_on(EntryReader::from_tiles(&TileReader::new(&half), &head, 0)).unwrap_err();
    assert!(error.to_string().contains("tile/1/000"), "{error}");
    // Readers that do not need the damaged tile succeed.
    block_on(EntryReader::from_tiles(&TileReader::new(&half), &head, 65_536)).unwrap();
    let path = half_scratch.path().join("tile/2/000.p/1");
    fs::write(path, [7; 32]).unwrap();
    assert!(block_on(EntryReader::from_tiles(&TileReader::new(&half), &head, 65_999)).is_err());
}

#[test]
fn reader_refuses_growth_beyond_the_limit_at_once() {
    let (_scratch, mirror) = mirror();
    let ranges = [0..MAX_GROWTH + 1, 5..MAX_GROWTH + 6, 0..u64::MAX, 1..(1 << 63) - 1];
    let mut messages = String::new();
    for range in ranges {
        let (start, end) = (range.start, range.end);
        let error = block_on(unanimity_log::read_leaves(&&mirror, start..end)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        messages += &format!("leaves {start} to {end}: {error}\n");
    }
    for (from, size) in [(0, MAX_GROWTH + 1), (5, MAX_GROWTH + 6), (1, (1 << 63) - 1)] {
        let root = Hash([7; 32]);
        let claimed = Checkpoint { origin: sample_log::origin(), size, root };
        let note = claimed.sign(&sample_log::signing_key(1)).to_string();
        let head = TreeHead::verify(note.as_bytes(), &sample_log::sample_log()).unwrap();
        let error =
            block_on(EntryReader::from_tiles(&TileReader::new(&mirror), &head, from)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        messages += &format!("entries {from} to {size}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/growth_beyond_the_limit.txt"]);
    // The largest allowed ranges are not refused: their tiles are missing.
    for range in [0..MAX_GROWTH, u64::MAX - MAX_GROWTH..u64::MAX] {
        assert!(block_on(unanimity_log::read_leaves(&&mirror, range)).is_err());
    }
}

#[test]
fn matches_head_refuses_damaged_or_missing_tiles() {
    let (scratch, mirror, head) = log(5);
    let matches_head = || block_on(TileReader::new(&mirror).matches_head(&head));
    assert!(matches_head());
    let path: &Path = &scratch.path().join("tile/0/000.p/5");
    let whole = fs::read(path).unwrap();
    for at in (0..whole.len()).step_by(13) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(path, changed).unwrap();
        assert!(!matches_head(), "byte {at}");
    }
    fs::remove_file(path).unwrap();
    assert!(!matches_head());
    assert_ne!(*head.root(), Hash::empty_root());
}
