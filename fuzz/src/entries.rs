//! Tiles and entry bundles of hostile mirrors, read against a verified head.
//!
//! A hostile mirror serves the files of an honest log with changes that the fuzzer chooses. The
//! reader accepts only entries of the honest log, in order. If the tiles come from an honest mirror
//! and an honest mirror is among the sources of entries, the reader reads every entry.

use std::io;
use std::sync::{LazyLock, Mutex};

use arbitrary::Unstructured;
use unanimity_log::{EntryReader, EntrySource, TileReader, TileSource};
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::LogPath;
use unanimity_protocol::tile::{TILE_WIDTH, subtree_root};
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Checkpoint, Hash, Tile, TreeHead};

use crate::keys::KEYS;
use crate::stream;

/// The sizes of the honest logs. At level 0, sizes 1 and 3 make a partial tile, 256 a full tile,
/// 300 one full and one partial tile, and 700 two full tiles and a partial tile.
const SIZES: [u64; 5] = [1, 3, 256, 300, 700];

struct Log {
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    head: TreeHead,
}

static LOGS: LazyLock<Vec<Log>> = LazyLock::new(|| SIZES.map(log).into());

fn log(size: u64) -> Log {
    let entries: Vec<Vec<u8>> = (0..size).map(|i| format!("entry {i}").into_bytes()).collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    let checkpoint = Checkpoint { origin: KEYS.log.origin.clone(), size, root: frontier.root() };
    let note = checkpoint.sign(&KEYS.log_secret).to_string();
    let head = TreeHead::verify(note.as_bytes(), &KEYS.log).expect("our own checkpoint");
    Log { entries, leaves, head }
}

impl Log {
    /// Returns the file at a path, as an honest mirror serves it.
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        let size = self.head.size();
        match LogPath::parse(path)? {
            LogPath::Hashes(tile) if tile.is_within(size) => {
                let span = 1 << (8 * tile.level);
                let first = (tile.index * TILE_WIDTH) as usize;
                let roots = self.leaves.chunks_exact(span).map(subtree_root).skip(first);
                Some(roots.take(usize::from(tile.width)).flat_map(|hash| hash.0).collect())
            }
            LogPath::Entries { index, width }
                if Tile::at(0, index, size).is_some_and(|tile| tile.width >= width) =>
            {
                let entries = self.entries.iter().skip((index * TILE_WIDTH) as usize);
                let bundle = entries
                    .take(usize::from(width))
                    .flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat());
                Some(bundle.collect())
            }
            _ => None,
        }
    }
}

/// A mirror of `log`. The rest of the fuzzer's input chooses how a hostile mirror changes files. An
/// honest mirror has `changes: None`.
struct MirrorHost<'a> {
    log: &'a Log,
    changes: Option<&'a Mutex<Unstructured<'a>>>,
}

impl MirrorHost<'_> {
    fn serve(&self, path: &str) -> io::Result<Vec<u8>> {
        let bytes = self.log.file(path);
        let Some(changes) = self.changes else {
            return bytes.ok_or_else(|| io::ErrorKind::NotFound.into());
        };
        let mut changes = changes.lock().expect("one thread");
        change(bytes.unwrap_or_default(), &mut changes)
            .unwrap_or_else(|_| self.log.file(path))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Returns a changed file, or `None` if the mirror claims to have no such file. An error means that
/// the mirror sends the file unchanged.
fn change(mut bytes: Vec<u8>, input: &mut Unstructured<'_>) -> arbitrary::Result<Option<Vec<u8>>> {
    if input.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    match input.int_in_range(0..=7)? {
        0..=2 => return Err(arbitrary::Error::IncorrectFormat),
        3 => return Ok(None),
        4 => bytes.truncate(input.int_in_range(0..=bytes.len())?),
        5 if !bytes.is_empty() => {
            let at = input.int_in_range(0..=bytes.len() - 1)?;
            bytes[at] = input.arbitrary()?;
        }
        6 => bytes.extend(input.bytes(8)?),
        // Exchanges two parts of the file, so entries or hashes move.
        _ => {
            let middle = input.int_in_range(0..=bytes.len())?;
            bytes.rotate_left(middle);
        }
    }
    Ok(Some(bytes))
}

impl TileSource for MirrorHost<'_> {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        self.serve(&tile.path())
    }
}

impl EntrySource for MirrorHost<'_> {
    async fn entries(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = self.serve(path)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }
}

/// Checks that reading one log yields only its own entries, and checks the input as an entry
/// bundle.
pub fn check(data: &[u8]) {
    bundle(data);
    let mut input = Unstructured::new(data);
    let Ok((log, from, has_honest)) = choose(&mut input) else { return };
    let changes = Mutex::new(input);
    let hostile = || MirrorHost { log, changes: Some(&changes) };
    let honest = || MirrorHost { log, changes: None };
    stream::run(async {
        let tiles = TileReader::new(if has_honest { honest() } else { hostile() });
        let reader = match EntryReader::from_tiles(&tiles, &log.head, from).await {
            Ok(reader) => reader,
            Err(error) => {
                assert!(!has_honest, "refused the tiles of an honest mirror: {error}");
                return;
            }
        };
        let mut hosts = vec![hostile()];
        hosts.extend(has_honest.then(honest));
        let mut next = from;
        let read = reader.read(&hosts, |index, entry| {
            assert_eq!((index, entry), (next, &log.entries[index as usize][..]));
            next += 1;
        });
        let read = read.await.is_ok();
        assert!(read || !has_honest);
        assert!(!read || next == log.head.size().max(from));
    });
}

fn choose(input: &mut Unstructured<'_>) -> arbitrary::Result<(&'static Log, u64, bool)> {
    let log = input.choose(&LOGS)?;
    Ok((log, input.int_in_range(0..=log.head.size())?, input.arbitrary()?))
}

fn bundle(data: &[u8]) {
    let Some(entries) = split_bundle(data) else { return };
    let printed =
        entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat());
    assert_eq!(printed.collect::<Vec<u8>>(), data);
}
