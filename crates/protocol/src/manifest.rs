//! Manifests: what a release is, in fixed lines that publishers sign as a note.
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
//! target x86_64-linux hello 48213 SHA256-IN-HEX file
//! target aarch64-linux hello.tar.zst 51677 SHA256-IN-HEX tar.zst 190464 12
//! ```
//!
//! Every line is there, once, in this order, with single spaces; times are seconds since
//! 1970; a target is platform, file name, length in bytes, SHA-256, kind, and for archives
//! (`tar`, `tar.gz`, `tar.zst`) the unpacked size in bytes and the number of entries.
//! A `file` is installed under its name; of an archive, whose rules are in
//! the crate `unanimity-archive`, the tree is, and the archive itself is not.
//! Targets are in ascending order of platform. The sequence alone decides what is newer.

use std::fmt;

use crate::checkpoint::Origin;
use crate::line_reader::LineReader;
use crate::subject::{StatementError, Subject, number};
use crate::{
    Hash, Name, Timestamp,
    subject::{self},
};

/// The most targets of one manifest.
pub const MAX_ARTIFACTS: usize = 64;

/// A release as its publishers describe it. Parsed, not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The one log that this release is for.
    pub log: Origin,
    /// What is released.
    pub product: Name,
    /// To whom: `stable`, `beta`.
    pub channel: Name,
    /// Grows with every release of this product and channel; from 1, below 2^63.
    pub sequence: u64,
    /// For people.
    pub version: Name,
    /// When it was made.
    pub issued: Timestamp,
    /// From when on it must not be installed any more; after `issued`.
    pub expires: Timestamp,
    /// One artifact for each platform, ascending by platform, at least one.
    pub artifacts: Vec<Artifact>,
}

/// The artifact for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Such as `x86_64-linux`.
    pub platform: Name,
    /// What the file is called; if it is no archive, also once installed.
    pub file: Name,
    /// Exact length in bytes, below 2^63.
    pub length: u64,
    /// SHA-256 of the file.
    pub sha256: Hash,
    /// What to do with it.
    pub kind: ArtifactKind,
}

/// What an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactKind {
    /// One file, installed as it is.
    File,
    /// A tree in an archive.
    Archive {
        /// How it is packed.
        format: ArchiveFormat,
        /// Bytes of all files together once unpacked, exactly.
        unpacked: u64,
        /// Number of entries, exactly: files, links, and directories, which all have one.
        entries: u64,
    },
}

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// Plain tar.
    Tar,
    /// tar in gzip.
    TarGz,
    /// tar in zstd.
    TarZst,
}

impl ArchiveFormat {
    const ALL: [(&str, ArchiveFormat); 3] = [
        ("tar", ArchiveFormat::Tar),
        ("tar.gz", ArchiveFormat::TarGz),
        ("tar.zst", ArchiveFormat::TarZst),
    ];

    /// What a file of this name is taken for when it is released: `.tar`, `.tar.gz` or `.tgz`,
    /// `.tar.zst`. Nodes go by the manifest alone.
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
        let mut targets: Vec<Artifact> = Vec::new();
        while targets.is_empty() || !lines.is_at_end() {
            let target = lines.field("target").and_then(Artifact::parse);
            let target = target.ok_or("'target PLATFORM FILE LENGTH SHA256 KIND'")?;
            if targets.last().is_some_and(|last| last.platform >= target.platform) {
                return Err("targets in ascending order, one for each platform");
            }
            if targets.len() == MAX_ARTIFACTS {
                return Err("at most 64 targets");
            }
            targets.push(target);
        }
        let (issued, expires) = (Timestamp(issued), Timestamp(expires));
        Ok(Manifest {
            log,
            product,
            channel,
            sequence,
            version,
            issued,
            expires,
            artifacts: targets,
        })
    }

    /// The artifact for a platform.
    pub fn artifact_for(&self, platform: &Name) -> Option<&Artifact> {
        self.artifacts.iter().find(|target| target.platform == *platform)
    }

    /// The sequence in what [`SweepManifest::label`] wrote; `None` for anything else.
    pub fn sequence_from_label(label: &str) -> Option<u64> {
        let (sequence, version) = label.split_once('-')?;
        version.parse::<Name>().ok()?;
        number(Some(sequence)).filter(|&sequence| sequence > 0)
    }

    /// `SEQUENCE-VERSION`: names a release in paths and reports.
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
            packed => {
                let (_, format) = *ArchiveFormat::ALL.iter().find(|(word, _)| *word == packed)?;
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
        self.artifacts.iter().try_for_each(|target| writeln!(f, "target {target}"))
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
