//! Manifests: the description of a release, in fixed lines that publishers sign as a note.
//!
//! ```text
//! unanimity/manifest/v1
//! log example.org/log
//! product hello
//! channel stable
//! sequence 2
//! version 1.1.0
//! issued 1790000000
//! expires 1797776000
//! artifact x86_64-linux hello 48213 SHA256-IN-HEX file
//! artifact aarch64-linux hello.tar.zst 51677 SHA256-IN-HEX tar.zst 190464 12
//! ```
//!
//! Every line is required, in this order, with single spaces. Only `artifact` lines may repeat.
//! Times are seconds since 1970. The sequence alone decides which of two releases is newer.
//!
//! An `artifact` line has platform, file name, length in bytes, SHA-256 and kind. For an archive
//! (`tar`, `tar.gz`, `tar.zst`) the unpacked size in bytes and the number of entries follow.
//! The `artifact` lines are in ascending order of platform, at most one for each platform.
//!
//! A `file` is installed under its name. An archive is unpacked by the rules of the crate
//! `unanimity-archive`, and its tree is installed.

use std::fmt;

use crate::checkpoint::Origin;
use crate::line_reader::LineReader;
use crate::subject::{StatementError, Subject, number};
use crate::{
    Hash, Name, Timestamp,
    subject::{self},
};

/// The most artifacts of one manifest.
pub const MAX_ARTIFACTS: usize = 64;

/// A release as its publishers describe it. It is parsed; its signatures are not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The origin of the log that this release is for.
    pub log: Origin,
    /// The product that is released.
    pub product: Name,
    /// The channel: a series of releases, such as `stable` or `beta`.
    pub channel: Name,
    /// The release's number, from 1, below 2^63. It grows with every release of this channel.
    pub sequence: u64,
    /// The name of the release for people.
    pub version: Name,
    /// The time at which the publisher made the manifest.
    pub issued: Timestamp,
    /// The time from which the release must not be installed, later than `issued`.
    pub expires: Timestamp,
    /// One artifact for each platform, ascending by platform, 1 to [`MAX_ARTIFACTS`].
    pub artifacts: Vec<Artifact>,
}

/// The artifact for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The platform, such as `x86_64-linux`.
    pub platform: Name,
    /// The file's name. A single file is installed under this name.
    pub file: Name,
    /// The exact length of the file in bytes, below 2^63.
    pub length: u64,
    /// The SHA-256 digest of the file.
    pub sha256: Hash,
    /// Whether the file is installed as it is, or is an archive to be unpacked.
    pub kind: ArtifactKind,
}

/// The kind of an artifact: a single file, or an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactKind {
    /// One file, installed as it is.
    File,
    /// A tree in an archive.
    Archive {
        /// The archive's format.
        format: ArchiveFormat,
        /// The exact size in bytes of all files together after unpacking.
        unpacked: u64,
        /// The exact number of entries. Every file, link and directory has one.
        entries: u64,
    },
}

/// The format of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Tar without compression.
    Tar,
    /// Tar compressed with gzip.
    TarGz,
    /// Tar compressed with zstd.
    TarZst,
}

impl ArchiveFormat {
    const ALL: [(&str, ArchiveFormat); 3] = [
        ("tar", ArchiveFormat::Tar),
        ("tar.gz", ArchiveFormat::TarGz),
        ("tar.zst", ArchiveFormat::TarZst),
    ];

    /// The archive format that a publisher's tool assumes for a file name. `None` for other
    /// endings.
    ///
    /// The endings are `.tar`, `.tar.gz`, `.tgz` and `.tar.zst`. Clients and installers use the
    /// manifest alone.
    pub fn from_file_name(file: &Name) -> Option<ArchiveFormat> {
        let is = |ending: &str| file.as_str().ends_with(ending);
        let by_word = Self::ALL.iter().find(|(word, _)| is(&format!(".{word}")));
        by_word.map(|(_, format)| *format).or(is(".tgz").then_some(ArchiveFormat::TarGz))
    }

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }
}

impl Manifest {
    /// The first line of every manifest.
    pub const HEADER: &'static str = "unanimity/manifest/v1";

    /// Reads a manifest's text.
    pub fn parse(text: &str) -> Result<Manifest, StatementError> {
        subject::parse("manifest", text, Manifest::read)
    }

    fn read(lines: &mut LineReader<'_>) -> Result<Manifest, &'static str> {
        if lines.line() != Some(Manifest::HEADER) {
            return Err("unanimity/manifest/v1");
        }
        let Subject { log, product, channel, sequence } = Subject::read(lines)?;
        let version = lines.field("version").and_then(|text| text.parse().ok());
        let version = version.ok_or("'version NAME', a safe name")?;
        let issued = number(lines.field("issued")).ok_or("'issued SECONDS'")?;
        let expires = number(lines.field("expires")).filter(|&time| time > issued);
        let expires = expires.ok_or("'expires SECONDS', later than issued")?;
        let mut artifacts: Vec<Artifact> = Vec::new();
        while artifacts.is_empty() || !lines.is_at_end() {
            let artifact = lines.field("artifact").and_then(Artifact::parse);
            let artifact = artifact.ok_or("'artifact PLATFORM FILE LENGTH SHA256 KIND'")?;
            if artifacts.last().is_some_and(|last| last.platform >= artifact.platform) {
                return Err("artifacts in ascending order, one for each platform");
            }
            if artifacts.len() == MAX_ARTIFACTS {
                return Err("at most 64 artifacts");
            }
            artifacts.push(artifact);
        }
        let (issued, expires) = (Timestamp(issued), Timestamp(expires));
        Ok(Manifest { log, product, channel, sequence, version, issued, expires, artifacts })
    }

    /// The artifact for a platform.
    pub fn artifact_for(&self, platform: &Name) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| artifact.platform == *platform)
    }

    /// The sequence in a label, as [`Manifest::label`] writes it. `None` for any other text.
    pub fn sequence_from_label(label: &str) -> Option<u64> {
        let (sequence, version) = label.split_once('-')?;
        version.parse::<Name>().ok()?;
        number(Some(sequence)).filter(|&sequence| sequence > 0)
    }

    /// The label `SEQUENCE-VERSION`, which names the release in paths and reports.
    pub fn label(&self) -> String {
        format!("{}-{}", self.sequence, self.version)
    }
}

impl Artifact {
    fn parse(text: &str) -> Option<Artifact> {
        let mut words = text.split(' ');
        let platform = words.next()?.parse().ok()?;
        let file = words.next()?.parse().ok()?;
        let length = number(words.next())?;
        let sha256 = Hash::from_hex(words.next()?)?;
        let kind = match words.next()? {
            "file" => ArtifactKind::File,
            kind => {
                let (_, format) = *ArchiveFormat::ALL.iter().find(|(word, _)| *word == kind)?;
                let (unpacked, entries) = (number(words.next())?, number(words.next())?);
                ArtifactKind::Archive { format, unpacked, entries }
            }
        };
        words.next().is_none().then_some(Artifact { platform, file, length, sha256, kind })
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nlog {}", Manifest::HEADER, self.log)?;
        writeln!(f, "product {}\nchannel {}", self.product, self.channel)?;
        writeln!(f, "sequence {}\nversion {}", self.sequence, self.version)?;
        writeln!(f, "issued {}\nexpires {}", self.issued.0, self.expires.0)?;
        self.artifacts.iter().try_for_each(|artifact| writeln!(f, "artifact {artifact}"))
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Artifact { platform, file, length, sha256, .. } = self;
        write!(f, "{platform} {file} {length} {sha256} ")?;
        match self.kind {
            ArtifactKind::File => f.write_str("file"),
            ArtifactKind::Archive { format, unpacked, entries } => {
                write!(f, "{} {unpacked} {entries}", format.word())
            }
        }
    }
}
