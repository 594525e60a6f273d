//! `log append`: what could never install is refused before anything is signed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Source, head_json};
use crate::cli::exit::{Ended, Exit};
use crate::cli::secrets::Passphrase;
use crate::cli::{MAX_FILE_BYTES, Said, note_key, read, wait_for};
use crate::clock::{Clock as _, SystemClock};
use crate::durable::Disk;
use crate::log::LogWriter;
use crate::log::writer::{WriteError, artifact_path};
use crate::net::Mirror;
use crate::net::mirror::MirrorError;
use crate::verify::note::{MAX_NOTE_BYTES, NoteError};
use crate::verify::{Hash, Manifest, Name, Note, NoteKey, NoteSecret};

#[derive(Debug, Args)]
pub(in crate::cli) struct Append {
    /// The log's directory
    directory: PathBuf,
    /// The log's secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Signed manifests to append
    #[arg(required = true)]
    notes: Vec<PathBuf>,
    /// Files that the manifests name, to put beside the log where clients find them by digest
    #[arg(long, value_name = "FILE")]
    artifact: Vec<PathBuf>,
    /// A public key that must have signed every note (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = note_key)]
    signed_by: Vec<NoteKey>,
    /// A mirror of this log to look at first: refuse to sign if it holds more than we do
    #[arg(long, value_name = "file:/DIRECTORY", value_parser = directory)]
    mirror: Vec<Mirror>,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// Where a log is signed there need not be a network.
fn directory(text: &str) -> Result<Mirror, String> {
    let mirror: Mirror = text.parse().map_err(|error: MirrorError| error.to_string())?;
    if mirror.is_remote() {
        return Err("only a directory is looked at from here: file:/DIRECTORY".to_owned());
    }
    Ok(mirror)
}

impl Append {
    pub(super) fn run(self) -> Result<Said, Ended> {
        let notes = self.read_notes()?;
        let artifacts = self.read_artifacts(&notes)?;
        let secret: NoteSecret = self.passphrase.open(&self.key)?;
        let mut log = LogWriter::open(&self.directory, secret, Disk::default())?;
        for mirror in &self.mirror {
            let checkpoint = wait_for(mirror.read("checkpoint", MAX_NOTE_BYTES as u64))?;
            let checkpoint = checkpoint.map_err(|error| {
                let hint = "if it is to become a mirror of this log, `unanimity publish` the log there first";
                Ended::new(Exit::Network, format!("{mirror}: {error} ({hint})"))
            })?;
            log.check_mirror(&mirror.to_string(), &checkpoint)?;
        }
        let (logged, mut text) = self.compare(&notes, &log)?;
        let new: Vec<Vec<u8>> = (notes.iter().map(|note| &note.bytes))
            .filter(|bytes| !logged.contains_key(&Hash::leaf(bytes)))
            .cloned()
            .collect();
        for bytes in artifacts {
            log.add_artifact(&bytes)?;
        }
        let indexes = log.append(&new)?;
        let mut next = indexes.clone();
        for note in &notes {
            if !logged.contains_key(&Hash::leaf(&note.bytes)) {
                let index = next.next().unwrap_or_default();
                text += &format!("entry {index}  {}\n", note.path.display());
            }
        }
        text += &format!("head     {}\n", log.head());
        for target in notes.iter().flat_map(|note| &note.manifest.targets) {
            let place = self.directory.join(artifact_path(&target.sha256));
            if !place.exists() {
                text += &format!(
                    "Clients will not find {} for {}: append the same release again with --artifact, or copy the file to {}\n",
                    target.file,
                    target.platform,
                    place.display()
                );
            }
        }
        let json =
            json!({ "first": indexes.start, "count": new.len(), "head": head_json(log.head()) });
        Ok(Said::done(text, json))
    }

    /// The releases to append. Every one must bear the signatures that were asked for.
    fn read_notes(&self) -> Result<Vec<Release>, Ended> {
        let mut notes = Vec::new();
        for path in &self.notes {
            let bytes = read(path, MAX_NOTE_BYTES)?;
            let bad = |exit, why: &dyn std::fmt::Display| {
                Ended::new(exit, format!("{}: {why}. Nothing was appended", path.display()))
            };
            let note = Note::parse(&bytes).map_err(|error| match error {
                NoteError::NoSignatures => bad(
                    Exit::BadInput,
                    &format!("not a signed note: {error} (`unanimity release sign` it first)"),
                ),
                error => bad(Exit::BadInput, &format!("not a signed note: {error}")),
            })?;
            for key in &self.signed_by {
                note.open(std::slice::from_ref(key)).map_err(|error| {
                    bad(Exit::BadSignature, &format!("{error} (key {})", key.name()))
                })?;
            }
            let manifest =
                Manifest::parse(note.text()).map_err(|error| bad(Exit::BadInput, &error))?;
            notes.push(Release { path: path.clone(), bytes, manifest });
        }
        Ok(notes)
    }

    /// The artifacts' bytes. Each has to be one that a release names.
    fn read_artifacts(&self, notes: &[Release]) -> Result<Vec<Vec<u8>>, Ended> {
        let mut artifacts = Vec::new();
        for path in &self.artifact {
            let bytes = read(path, MAX_FILE_BYTES)?;
            let digest = Hash::of(&bytes);
            let targets = notes.iter().flat_map(|note| &note.manifest.targets);
            if !targets.map(|target| target.sha256).any(|named| named == digest) {
                let path = path.display();
                let message = format!("{path}: none of these releases names a file with its bytes");
                return Err(Ended::new(Exit::BadArtifact, message));
            }
            artifacts.push(bytes);
        }
        Ok(artifacts)
    }

    /// Refuses what could never install: a sequence that is used for something else, or that is
    /// older than what the log has, or a release past its time. What is in the log already, byte
    /// for byte, is said and left alone. Returns the leaves that the log has.
    fn compare(
        &self,
        notes: &[Release],
        log: &LogWriter,
    ) -> Result<(BTreeMap<Hash, u64>, String), Ended> {
        let bytes: Vec<Vec<u8>> = notes.iter().map(|note| note.bytes.clone()).collect();
        log.check(&bytes).map_err(|error| named(error, notes))?;
        let directory = self.directory.display().to_string();
        let source = Source { log: directory, log_key: log.log().key.clone() };
        let (mut leaves, mut newest) = (BTreeMap::new(), BTreeMap::new());
        source.read(|index, entry| {
            leaves.insert(Hash::leaf(entry), index);
            let manifest =
                Note::parse(entry).ok().and_then(|note| Manifest::parse(note.text()).ok());
            if let Some(manifest) = manifest {
                let newest = newest.entry(of(&manifest)).or_insert(0);
                *newest = manifest.sequence.max(*newest);
            }
        })?;
        let mut text = String::new();
        let now = SystemClock.now();
        for Release { path, bytes, manifest } in notes {
            let bad = |exit, why: String| {
                Ended::new(exit, format!("{}: {why}. Nothing was appended", path.display()))
            };
            if let Some(index) = leaves.get(&Hash::leaf(bytes)) {
                text += &format!("entry {index}  {} (since before)\n", path.display());
                continue;
            }
            let newest = newest.entry(of(manifest)).or_insert(0);
            let (sequence, product) = (manifest.sequence, &manifest.product);
            if sequence == *newest {
                return Err(bad(
                    Exit::Conflict,
                    format!(
                        "the log has another release of {product} with sequence {sequence}; two would be a conflict, and neither would install"
                    ),
                ));
            }
            if sequence < *newest {
                return Err(bad(
                    Exit::Rollback,
                    format!(
                        "sequence {sequence}, and the log has {newest} of {product} already: who has that would never install this"
                    ),
                ));
            }
            if manifest.expires <= now {
                return Err(bad(Exit::Expired, format!("expired at {}", manifest.expires)));
            }
            *newest = sequence;
        }
        Ok((leaves, text))
    }
}

/// A release to append.
struct Release {
    path: PathBuf,
    bytes: Vec<u8>,
    manifest: Manifest,
}

/// An entry's error with the file that it came from.
fn named(error: WriteError, notes: &[Release]) -> Ended {
    let WriteError::Entry { number, why } = &error else { return error.into() };
    let path = notes.get(number - 1).map(|note| note.path.display().to_string());
    let message = format!("{}: {why}. Nothing was appended", path.unwrap_or_default());
    Ended::new(Exit::BadInput, message)
}

/// Whose sequences are counted together.
fn of(manifest: &Manifest) -> (Name, Name) {
    (manifest.product.clone(), manifest.channel.clone())
}
