//! A mirror in the configuration: `"URL"`, or `{ url = "https://...", root = "FILE" }`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::address::url::{MirrorHost, MirrorUrl, MirrorUrlError};
use crate::error::ConfigErrorKind;
use crate::operator_file::Parsed;

/// The most bytes of a file with root certificates.
const MAX_ROOT_BYTES: usize = 64 * 1024;

/// A mirror, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorSpec {
    /// A directory of this machine, by its absolute path.
    Directory(PathBuf),
    /// A host on a network. The certificate of an `https://` host must chain to a public web root.
    Url(MirrorUrl),
    /// A host at `https://` whose certificate must chain to a root certificate in a file.
    Pinned {
        /// The URL of the mirror.
        url: MirrorUrl,
        /// The file with the root certificates.
        root: PathBuf,
        /// The content of the file `root`, at most 64 KiB of PEM. The PEM is parsed when the mirror
        /// is opened.
        pem: Vec<u8>,
    },
}

/// Why a text does not name a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// The text is not a valid URL of a mirror.
    #[error(transparent)]
    Url(#[from] MirrorUrlError),
    /// The path of a directory is relative, so its meaning depends on the working directory.
    #[error("{0:?} is not a mirror: its directory is not absolute. Write file:/absolute/directory")]
    Relative(String),
}

impl MirrorSpec {
    /// The identity key of the mirror's onion service, if it is an onion service.
    pub fn onion_key(&self) -> Option<[u8; 32]> {
        match self {
            MirrorSpec::Url(MirrorUrl { host: MirrorHost::Onion(key), .. }) => Some(*key),
            _ => None,
        }
    }

    /// Whether the mirror is read over a network.
    pub fn is_remote(&self) -> bool {
        !matches!(self, MirrorSpec::Directory(_))
    }
}

impl FromStr for MirrorSpec {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') => Ok(MirrorSpec::Directory(path.into())),
            Some(_) => Err(MirrorError::Relative(text.to_owned())),
            None => Ok(MirrorSpec::Url(text.parse()?)),
        }
    }
}

impl fmt::Display for MirrorSpec {
    /// Writes the name of the mirror for reports.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MirrorSpec::Directory(path) => write!(f, "file:{}", path.display()),
            MirrorSpec::Url(url) | MirrorSpec::Pinned { url, .. } => url.fmt(f),
        }
    }
}

pub(crate) enum MirrorEntry {
    Plain(MirrorSpec),
    Pinned(PinnedTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinnedTable {
    url: Parsed<MirrorUrl>,
    root: PathBuf,
}

impl MirrorEntry {
    pub(crate) fn validate(self, directory: &Path) -> Result<MirrorSpec, ConfigErrorKind> {
        let PinnedTable { url: Parsed(url), root } = match self {
            MirrorEntry::Plain(mirror) => return Ok(mirror),
            MirrorEntry::Pinned(table) => table,
        };
        let root = directory.join(root);
        let wrong = |why: String| ConfigErrorKind::MirrorRoot { path: root.clone(), why };
        let pem = unanimity_storage::read_at_most(&root, MAX_ROOT_BYTES);
        let pem = pem.map_err(|error| wrong(error.to_string()))?;
        if !url.tls {
            return Err(wrong("a root certificate is only for a mirror at https://".to_owned()));
        }
        Ok(MirrorSpec::Pinned { url, root, pem })
    }
}

impl<'de> Deserialize<'de> for MirrorEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MirrorEntryVisitor;
        impl<'de> Visitor<'de> for MirrorEntryVisitor {
            type Value = MirrorEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a mirror's URL, or a table with url and root, the file of its root certificates",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<MirrorEntry, E> {
                text.parse().map(MirrorEntry::Plain).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MirrorEntry, A::Error> {
                PinnedTable::deserialize(MapAccessDeserializer::new(map)).map(MirrorEntry::Pinned)
            }
        }
        deserializer.deserialize_any(MirrorEntryVisitor)
    }
}
