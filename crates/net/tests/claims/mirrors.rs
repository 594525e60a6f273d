//! Mirrors: hosts that may serve anything, and what reading from one can cost.

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
    let place = scratch_dir();
    let mirror = Mirror::from_directory(place.path());
    (place, mirror)
}

fn put(place: &TempDir, path: &str, bytes: &[u8]) {
    let path = place.path().join(path);
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

/// The entries below a head from `from` on, or why each mirror was of no use.
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

/// A log of `size` entries with its files, and its head.
fn log(size: u64) -> (TempDir, Mirror, TreeHead) {
    let (place, disk) = (scratch_dir(), Storage::default());
    let mut writer =
        LogWriter::init(place.path(), sample_log::origin(), sample_log::signing_key(1), disk)
            .unwrap();
    writer.append(&sample_log::sample_notes("note", size)).unwrap();
    let (mirror, head) = (Mirror::from_directory(place.path()), writer.head().clone());
    (place, mirror, head)
}

#[test]
fn a_file_longer_than_its_limit_is_refused_and_one_of_that_length_is_not() {
    let (place, mirror) = mirror();
    put(&place, "file", &[7; 100]);
    assert_eq!(block_on(mirror.read("file", 100)).unwrap(), [7; 100]);
    assert_eq!(block_on(mirror.read("file", 1000)).unwrap(), [7; 100]);
    let error = block_on(mirror.read("file", 99)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("file has more than 99 bytes"), "{error}");
}

#[test]
fn a_huge_file_costs_no_more_than_its_limit() {
    let (place, mirror) = mirror();
    // 2^40 bytes, none of them on the disk: reading them would not end in a test's time.
    File::create(place.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
    let error = block_on(mirror.read("huge", 1000)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn only_plain_files_are_read() {
    let (place, mirror) = mirror();
    symlink("/dev/zero", place.path().join("endless")).unwrap();
    fs::create_dir(place.path().join("directory")).unwrap();
    // A pipe that nobody writes to would hold a reader for ever.
    let made = Command::new("mkfifo").arg(place.path().join("pipe")).status().unwrap();
    assert!(made.success());
    symlink("pipe", place.path().join("link-to-pipe")).unwrap();
    for name in ["endless", "directory", "pipe", "link-to-pipe"] {
        let error = block_on(mirror.read(name, 1000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
        assert!(error.to_string().contains(name) && error.to_string().contains("plain file"));
        assert!(block_on(mirror.open(name, 0, MIN_RATE)).is_err(), "{name}");
    }
    let error = block_on(mirror.read("nothing", 1000)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_stalls_is_given_up_in_time_and_refused_at_once_until_it_answers() {
    let place = scratch_dir();
    put(&place, "file", b"here");
    let host = StallingMirror::from_directory(place.path(), "");
    assert_eq!(host.mirror.read("file", 100).await.unwrap(), b"here");
    let mut opened = host.mirror.open("file", 0, MIN_RATE).await.unwrap();

    let stall = host.stall().await;
    let before = host.reads_begun();
    let mirror = host.mirror.clone();
    let first = tokio::spawn(async move { mirror.read("file", 100).await });
    host.wait_for_reads(before + 1).await;
    let mirror = host.mirror.clone();
    let waits = tokio::spawn(async move { mirror.read("file", 100).await });
    tokio::task::yield_now().await;
    assert!(!first.is_finished() && !waits.is_finished());
    tokio::time::advance(READ_TIMEOUT + Duration::from_secs(1)).await;
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("file: nothing came within"), "{error}");
    // Whoever waited for it, and whoever comes later, for this or that file.
    let began = tokio::time::Instant::now();
    let errors = [
        waits.await.unwrap().unwrap_err(),
        host.mirror.read("file", 100).await.unwrap_err(),
        host.mirror.open("file", 0, MIN_RATE).await.unwrap_err(),
        opened.next().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("still busy with an earlier read"), "{error}");
    }
    assert_eq!((began.elapsed(), host.reads_begun()), (Duration::ZERO, before + 1));

    drop(stall);
    while host.mirror.read("file", 100).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_partial_tile_or_bundle_that_is_gone_is_the_beginning_of_the_full_one() {
    let (_small, _, head) = log(5);
    let (place, mirror, _) = log(256);
    let notes = sample_log::sample_notes("note", 5);
    let tile = Tile { level: 0, index: 0, width: 5 };
    let leaves = notes.iter().flat_map(|note| Hash::leaf(note).0).collect::<Vec<u8>>();
    assert_eq!(block_on((&mirror).tile(tile)).unwrap(), leaves);
    let expected = [(3, notes[3].clone()), (4, notes[4].clone())];
    assert_eq!(entries(&[&mirror], &head, 3).unwrap(), expected);
    // Nothing there at all is missing, and a full tile has nothing to fall back to.
    for tile in [Tile { index: 1, ..tile }, Tile { index: 1, ..tile }.full()] {
        assert_eq!(block_on((&mirror).tile(tile)).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
    fs::remove_file(place.path().join("tile/entries/000")).unwrap();
    let unread = entries(&[&mirror], &head, 0).unwrap_err();
    assert_eq!(unread[0].error.as_ref().unwrap().kind(), io::ErrorKind::NotFound);
    // A tile longer than a tile is refused, and so is one too short.
    put(&place, "tile/0/000", &[0; 256 * 32 + 1]);
    assert!(block_on((&mirror).tile(tile)).is_err());
    put(&place, "tile/0/000", &[0; 4 * 32]);
    assert!(block_on(unanimity_log::read_leaves(&&mirror, 0..5)).is_err());
}

#[test]
fn a_bundle_is_split_only_if_it_ends_with_an_entry() {
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
fn a_bundle_that_is_not_what_the_head_implies_is_refused_and_gives_no_entry() {
    let (place, mirror, head) = log(3);
    let path = "tile/entries/000.p/3";
    let good = fs::read(place.path().join(path)).unwrap();
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
        // A bundle of another width than its name says is nobody's.
        (&bundle(&notes), false),
        (&bundle(&[notes[0], notes[2], notes[1]]), true),
        (&bundle(&[notes[0], notes[1], b"trojan"]), true),
        (&bundle(&[notes[0], b"", notes[2]]), true),
    ] {
        put(&place, path, garbled);
        let mut taken = 0;
        let bundles =
            block_on(EntryReader::from_tiles(&TileReader::new(&mirror), &head, 0)).unwrap();
        let unread = block_on(bundles.read(&[&mirror], |_, _| taken += 1)).unwrap_err();
        assert_eq!((unread.len(), unread[0].host_index), (1, 0));
        let error = unread[0].error.as_ref().map(io::Error::kind);
        let is_too_long = garbled.len() > 3 * 65_537;
        let kind =
            if is_too_long { io::ErrorKind::FileTooLarge } else { io::ErrorKind::InvalidData };
        assert_eq!(error, (!is_well_formed).then_some(kind));
        assert_eq!(taken, 0);
    }
    put(&place, path, &good);
    assert_eq!(entries(&[&mirror], &head, 0).unwrap().len(), 3);
    assert_eq!(entries(&[&mirror], &head, 3).unwrap(), []);
}

#[test]
fn entries_are_read_while_any_mirror_has_each_of_them_and_only_those_of_the_head() {
    // Two levels of tiles, full ones below partial ones.
    let (_whole, good, head) = log(66_000);
    let (bad_place, bad, _) = log(66_000);
    let (half_place, half, _) = log(66_000);
    let paths: Vec<String> = (0..66_000u64.div_ceil(256))
        .map(|index| entries_path(index, tile::width(66_000, index).unwrap()))
        .collect();
    // One has a bit wrong late in every bundle, another has every other bundle.
    for path in &paths {
        let mut bytes = fs::read(bad_place.path().join(path)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(bad_place.path().join(path), bytes).unwrap();
    }
    for path in paths.iter().step_by(2) {
        fs::remove_file(half_place.path().join(path)).unwrap();
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
    // A full tile that is not what the one above it says proves nothing.
    let path = half_place.path().join("tile/1/000");
    let mut bytes = fs::read(&path).unwrap();
    bytes[700] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = block_on(EntryReader::from_tiles(&TileReader::new(&half), &head, 0)).unwrap_err();
    assert!(error.to_string().contains("tile/1/000"), "{error}");
    // Where it is not needed, it does no harm.
    block_on(EntryReader::from_tiles(&TileReader::new(&half), &head, 65_536)).unwrap();
    let path = half_place.path().join("tile/2/000.p/1");
    fs::write(path, [7; 32]).unwrap();
    assert!(block_on(EntryReader::from_tiles(&TileReader::new(&half), &head, 65_999)).is_err());
}

#[test]
fn a_log_that_claims_more_than_can_be_read_is_refused_at_once() {
    let (_place, mirror) = mirror();
    let ranges = [0..MAX_GROWTH + 1, 5..MAX_GROWTH + 6, 0..u64::MAX, 1..(1 << 63) - 1];
    for range in ranges {
        let (start, end) = (range.start, range.end);
        let error = block_on(unanimity_log::read_leaves(&&mirror, start..end)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(&(end - start).to_string()), "{error}");
    }
    for (from, size) in [(0, MAX_GROWTH + 1), (5, MAX_GROWTH + 6), (1, (1 << 63) - 1)] {
        let root = Hash([7; 32]);
        let claimed = Checkpoint { origin: sample_log::origin(), size, root };
        let note = claimed.sign(&sample_log::signing_key(1)).to_string();
        let head = TreeHead::verify(note.as_bytes(), &sample_log::sample_log()).unwrap();
        let error =
            block_on(EntryReader::from_tiles(&TileReader::new(&mirror), &head, from)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(&(size - from).to_string()), "{error}");
    }
    // The most that is allowed is only missing, also at the end of the numbers.
    for range in [0..MAX_GROWTH, u64::MAX - MAX_GROWTH..u64::MAX] {
        assert!(block_on(unanimity_log::read_leaves(&&mirror, range)).is_err());
    }
}

#[test]
fn tiles_that_do_not_hash_up_are_not_what_a_head_says() {
    let (place, mirror, head) = log(5);
    let serves = || block_on(unanimity_log::TileReader::new(&mirror).matches_head(&head));
    assert!(serves());
    let path: &Path = &place.path().join("tile/0/000.p/5");
    let whole = fs::read(path).unwrap();
    for at in (0..whole.len()).step_by(13) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        fs::write(path, changed).unwrap();
        assert!(!serves(), "byte {at}");
    }
    fs::remove_file(path).unwrap();
    assert!(!serves());
    assert_ne!(*head.root(), Hash::empty_root());
}
