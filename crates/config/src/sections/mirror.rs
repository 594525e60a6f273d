//! How a mirror is written: `"URL"`, or `{ url = "https://...", root = "FILE" }`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::address::url::{MirrorHost, MirrorUrl, MirrorUrlError};
use crate::error::ConfigErrorKind;
use crate::operator_file::Parsed;

/// The most bytes of a file with certificates.
const MAX_ROOT_BYTES: usize = 64 * 1024;

/// A mirror as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorSpec {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A host that is asked over a network; at `https://`, its certificate is one of the web's.
    Url(MirrorUrl),
    /// A host at `https://` whose certificate one of these roots has signed.
    Pinned {
        /// The host.
        url: MirrorUrl,
        /// The file that holds the roots.
        root: PathBuf,
        /// What is in it: certificates in PEM. They are read when the mirror is opened.
        pem: Vec<u8>,
    },
}

/// The text does not name a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// A host that cannot be one.
    #[error(transparent)]
    Url(#[from] MirrorUrlError),
    /// A directory that is another one for everybody.
    #[error("{0:?} is no mirror: the directory has to be absolute: file:/absolute/directory")]
    Relative(String),
}

impl MirrorSpec {
    /// The identity of the onion service that it is, if it is one.
    pub fn onion_key(&self) -> Option<[u8; 32]> {
        match self {
            MirrorSpec::Url(MirrorUrl { host: MirrorHost::Onion(key), .. }) => Some(*key),
            _ => None,
        }
    }

    /// Whether it is asked over a network.
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
    /// The name that reports have for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MirrorSpec::Directory(path) => write!(f, "file:{}", path.display()),
            MirrorSpec::Url(site) | MirrorSpec::Pinned { url: site, .. } => site.fmt(f),
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
        let PinnedTable { url: Parsed(site), root } = match self {
            MirrorEntry::Plain(mirror) => return Ok(mirror),
            MirrorEntry::Pinned(table) => table,
        };
        let root = directory.join(root);
        let wrong = |why: String| ConfigErrorKind::MirrorRoot { path: root.clone(), why };
        let pem = unanimity_storage::read_at_most(&root, MAX_ROOT_BYTES);
        let pem = pem.map_err(|error| wrong(error.to_string()))?;
        if !site.tls {
            return Err(wrong("only a mirror at https:// has a certificate".to_owned()));
        }
        Ok(MirrorSpec::Pinned { url: site, root, pem })
    }
}

impl<'de> Deserialize<'de> for MirrorEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MirrorEntryVisitor;
        impl<'de> Visitor<'de> for MirrorEntryVisitor {
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
        deserializer.deserialize_any(MirrorEntryVisitor)
    }
}
