//! Paths of tiles and entry bundles below a log's prefix (C2SP tlog-tiles).

use crate::hash::Hash;
use crate::tile::{TILE_WIDTH, Tile};

/// Where the newest head is, below the log's prefix.
pub const CHECKPOINT: &str = "checkpoint";

impl Tile {
    /// Where the tile is, below the log's prefix.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, index_path(self.index, self.width))
    }
}

/// Where the bundle of entries `256 * index` onwards is, `width` of them.
pub fn entries_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", index_path(index, width))
}

/// What a path below a log's prefix names, beside its `checkpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPath {
    /// A tile of hashes.
    Hashes(Tile),
    /// A bundle of entries.
    Entries {
        /// It begins with entry `256 * index`.
        index: u64,
        /// 1 to 256 entries.
        width: u16,
    },
}

impl LogPath {
    /// Reads a path, in the one spelling that it has. `None` if no log has such a file.
    pub fn parse(path: &str) -> Option<LogPath> {
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => (number, width.parse().ok()?),
            None => (rest, TILE_WIDTH as u16),
        };
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let index = digits.parse().ok()?;
        let place = match level {
            "entries" => LogPath::Entries { index, width },
            level => LogPath::Hashes(Tile { level: level.parse().ok()?, index, width }),
        };
        let is_one = match place {
            LogPath::Hashes(tile) => tile.level < 64 && tile.path() == path,
            LogPath::Entries { index, width } => entries_path(index, width) == path,
        };
        (is_one && (1..=TILE_WIDTH).contains(&width.into())).then_some(place)
    }
}

/// 1234067 is `x001/x234/067`, and a width below 256 follows as `.p/WIDTH`.
fn index_path(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::from(width) < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// Where the artifact of a digest is, below the log's prefix.
pub fn artifact_path(digest: &Hash) -> String {
    format!("artifact/{digest}")
}
