//! Paths of tiles and entry bundles below a log's prefix (C2SP tlog-tiles).

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

/// The meaning of a path below a log's prefix, other than [`CHECKPOINT`].
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
    /// Reads a path in its only spelling. `None` if no log has such a file.
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

/// Writes 1234067 as `x001/x234/067`. A width below 256 follows as `.p/WIDTH`.
fn index_path(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// The path of the artifact with a digest, below the log's prefix.
pub fn artifact_path(digest: &Hash) -> String {
    format!("artifact/{digest}")
}
