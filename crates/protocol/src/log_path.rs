//! Paths of a log's files below its URL prefix: tiles, entry bundles (C2SP tlog-tiles), artifacts.

use crate::hash::Hash;
use crate::tile::{TILE_WIDTH, Tile};

/// The path of the newest checkpoint, below the log's prefix.
pub const CHECKPOINT: &str = "checkpoint";

impl Tile {
    /// The path of the tile, below the log's prefix.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, index_path(self.index, self.width))
    }
}

/// The path of the bundle with `width` entries from number `256 * index` on.
pub fn entries_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", index_path(index, width))
}

/// A parsed path of a tile or an entry bundle, below the log's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPath {
    /// A tile of hashes.
    Hashes(Tile),
    /// A bundle of entries.
    Entries {
        /// The bundle's number. Its first entry has number `256 * index`.
        index: u64,
        /// The number of entries, 1 to 256.
        width: u16,
    },
}

impl LogPath {
    /// Reads the path of a tile or an entry bundle, each of which has one spelling. `None` for any
    /// other path.
    pub fn parse(path: &str) -> Option<LogPath> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, TILE_WIDTH as u16),
        };
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let index = digits.parse().ok()?;
        let parsed = match level {
            "entries" => LogPath::Entries { index, width },
            level => LogPath::Hashes(Tile { level: level.parse().ok()?, index, width }),
        };
        let is_canonical = match parsed {
            LogPath::Hashes(tile) => tile.level < 64 && tile.path() == path,
            LogPath::Entries { index, width } => entries_path(index, width) == path,
        };
        (is_canonical && (1..=TILE_WIDTH).contains(&width.into())).then_some(parsed)
    }
}

/// Formats a tile index: `x001/x234/067` for 1234067. For a width below 256, `.p/WIDTH` follows.
fn index_path(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// The path of the artifact with this SHA-256 digest, below the log's prefix.
pub fn artifact_path(digest: &Hash) -> String {
    format!("artifact/{digest}")
}
