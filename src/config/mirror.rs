//! How a mirror is written: `"URL"`, or `{ url = "https://...", root = "FILE" }`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Text, Why};
use crate::net::Mirror;
use crate::net::mirror::Site;

/// The most bytes of a file with certificates.
const MAX_ROOT_BYTES: usize = 64 * 1024;

pub(super) enum MirrorEntry {
    Plain(Mirror),
    Pinned(PinnedTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PinnedTable {
    url: Text<Site>,
    root: PathBuf,
}

impl MirrorEntry {
    pub(super) fn check(self, directory: &Path) -> Result<Mirror, Why> {
        let PinnedTable { url, root } = match self {
            MirrorEntry::Plain(mirror) => return Ok(mirror),
            MirrorEntry::Pinned(table) => table,
        };
        let root = directory.join(root);
        let pinned = unanimity_storage::read_at_most(&root, MAX_ROOT_BYTES)
            .map_err(|error| error.to_string())
            .and_then(|pem| Mirror::pinned(url.0, &pem));
        pinned.map_err(|why| Why::MirrorRoot { path: root, why })
    }
}

impl<'de> Deserialize<'de> for MirrorEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entry;
        impl<'de> Visitor<'de> for Entry {
            type Value = MirrorEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a mirror's URL, or a table with its url and the root of its certificate",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<MirrorEntry, E> {
                text.parse().map(MirrorEntry::Plain).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MirrorEntry, A::Error> {
                PinnedTable::deserialize(MapAccessDeserializer::new(map)).map(MirrorEntry::Pinned)
            }
        }
        deserializer.deserialize_any(Entry)
    }
}
