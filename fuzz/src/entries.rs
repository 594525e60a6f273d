//! Tiles and entry bundles of hosts that lie, read below a head that holds.
//!
//! A host serves the files of an honest log with changes that the fuzzer chooses. The reader takes only
//! entries of the honest log, in order, whatever the hosts serve. If an honest host is asked too, every
//! entry is read, provided that the tiles came from an honest host.

use std::io;
use std::sync::{LazyLock, Mutex};

use arbitrary::Unstructured;
use unanimity_log::{Bundles, Cached, EntrySource, Tiles};
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::LogPath;
use unanimity_protocol::tile::{FULL, subtree_root};
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Checkpoint, Hash, Tile, TreeHead};

use crate::keys::KEYS;
use crate::stream;

/// Sizes with a partial tile only, a full one, two levels, and more than a full tile of level 1 holds.
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
    /// The file at a path, as an honest host has it.
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        let size = self.head.size();
        match LogPath::parse(path)? {
            LogPath::Hashes(tile) if tile.is_within(size) => {
                let span = 1 << (8 * tile.level);
                let first = (tile.index * FULL) as usize;
                let roots = self.leaves.chunks_exact(span).map(subtree_root).skip(first);
                Some(roots.take(usize::from(tile.width)).flat_map(|hash| hash.0).collect())
            }
            LogPath::Entries { index, width }
                if Tile::at(0, index, size).is_some_and(|tile| tile.width >= width) =>
            {
                let entries = self.entries.iter().skip((index * FULL) as usize);
                let bundle = entries
                    .take(usize::from(width))
                    .flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat());
                Some(bundle.collect())
            }
            _ => None,
        }
    }
}

/// A host, and what is left of the changes that it makes.
struct Host<'a> {
    log: &'a Log,
    changes: Option<&'a Mutex<Unstructured<'a>>>,
}

impl Host<'_> {
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

/// `None`: the host has no such file.
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
        // The other half first: entries or hashes change their places.
        _ => {
            let middle = input.int_in_range(0..=bytes.len())?;
            bytes.rotate_left(middle);
        }
    }
    Ok(Some(bytes))
}

impl Tiles for Host<'_> {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        self.serve(&tile.path())
    }
}

impl EntrySource for Host<'_> {
    async fn entries(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = self.serve(path)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }
}

/// Checks one reading of one log, and the input as a bundle.
pub fn check(data: &[u8]) {
    bundle(data);
    let mut input = Unstructured::new(data);
    let Ok((log, from, is_helped)) = choose(&mut input) else { return };
    let changes = Mutex::new(input);
    let lying = || Host { log, changes: Some(&changes) };
    let honest = || Host { log, changes: None };
    stream::run(async {
        let tiles = Cached::new(if is_helped { honest() } else { lying() });
        let below = match Bundles::below(&tiles, &log.head, from).await {
            Ok(below) => below,
            Err(error) => {
                assert!(!is_helped, "an honest host's tiles: {error}");
                return;
            }
        };
        let mut hosts = vec![lying()];
        hosts.extend(is_helped.then(honest));
        let mut next = from;
        let read = below.read(&hosts, |index, entry| {
            assert_eq!((index, entry), (next, &log.entries[index as usize][..]));
            next += 1;
        });
        let read = read.await.is_ok();
        assert!(read || !is_helped);
        assert!(!read || next == log.head.size().max(from));
    });
}

fn choose(input: &mut Unstructured<'_>) -> arbitrary::Result<(&'static Log, u64, bool)> {
    let log = input.choose(&LOGS)?;
    Ok((log, input.int_in_range(0..=log.head.size())?, input.arbitrary()?))
}

fn bundle(data: &[u8]) {
    let Some(entries) = split_bundle(data) else { return };
    let again =
        entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes()[..], entry].concat());
    assert_eq!(again.collect::<Vec<u8>>(), data);
}
