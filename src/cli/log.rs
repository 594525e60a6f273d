//! `log`: write an audit log, look at one, prove that an entry is in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{Ended, Exit};
use super::secrets::Passphrase;
use super::{MAX_FILE_BYTES, Said, note_key, read, wait_for};
use crate::clock::{Clock as _, SystemClock};
use crate::durable::{Disk, Mode};
use crate::log::LogWriter;
use crate::log::reader::{self, Cached};
use crate::log::writer::{WriteError, artifact_path};
use crate::net::Mirror;
use crate::net::mirror::MirrorError;
use crate::publish;
use crate::verify::checkpoint::CheckpointError;
use crate::verify::note::{MAX_NOTE_BYTES, NoteError};
use crate::verify::tree::Frontier;
use crate::verify::{
    Checkpoint, Hash, Head, Log, Manifest, Name, Note, NoteKey, NoteSecret, Origin, TlogProof,
};

/// Write and read an audit log.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Start an empty log in a directory that any static host can serve
    Init(Init),
    /// Append signed releases and publish one new checkpoint
    Append(Append),
    /// Show a log's head and its entries, all verified
    Show(Show),
    /// Prove that an entry is in the log (a c2sp.org/tlog-proof@v1)
    Prove(Prove),
    /// Verify such a proof for a note, offline
    Verify(Verify),
}

impl Verb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Verb::Init(_) => "log init",
            Verb::Append(_) => "log append",
            Verb::Show(_) => "log show",
            Verb::Prove(_) => "log prove",
            Verb::Verify(_) => "log verify",
        }
    }

    pub(super) fn run(self) -> Result<Said, Ended> {
        match self {
            Verb::Init(init) => init.run(),
            Verb::Append(append) => append.run(),
            Verb::Show(show) => show.run(),
            Verb::Prove(prove) => prove.run(),
            Verb::Verify(verify) => verify.run(),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The log's directory
    directory: PathBuf,
    /// The log's name, such as 'example.org/releases': first line of every checkpoint
    #[arg(long)]
    origin: Origin,
    /// The log's secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
}

impl Init {
    fn run(self) -> Result<Said, Ended> {
        let secret: NoteSecret = self.passphrase.open(&self.key)?;
        let log = LogWriter::init(&self.directory, self.origin, secret, Disk::default())?;
        let (origin, key) = (&log.log().origin, &log.log().key);
        let place = self.directory.display();
        let text = format!("An empty log is in {place}.\norigin  {origin}\nkey     {key}\n");
        let json = json!({ "origin": origin.as_str(), "key": key.to_string(), "size": 0 });
        Ok(Said::done(text, json))
    }
}

#[derive(Debug, Args)]
pub(super) struct Append {
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
    #[arg(long, value_name = "file:/DIRECTORY")]
    mirror: Vec<Mirror>,
    #[command(flatten)]
    passphrase: Passphrase,
}

impl Append {
    fn run(self) -> Result<Said, Ended> {
        let notes = self.read_notes()?;
        let artifacts = self.read_artifacts(&notes)?;
        let secret: NoteSecret = self.passphrase.open(&self.key)?;
        let mut log = LogWriter::open(&self.directory, secret, Disk::default())?;
        for mirror in &self.mirror {
            let checkpoint = wait_for(mirror.read("checkpoint", MAX_NOTE_BYTES as u64))?;
            let checkpoint = checkpoint.map_err(|error| {
                let hint = "if it is to become a mirror of this log, copy the log there first";
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

/// A log to read: where it is and who signs it.
#[derive(Debug, Args)]
struct Source {
    /// The log: a directory, or file:/DIRECTORY
    log: String,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = note_key)]
    log_key: NoteKey,
}

impl Source {
    /// Reads the head and gives every entry to `take`. An error if they do not hash up to the
    /// head: then nothing that was taken may be believed.
    fn read(&self, mut take: impl FnMut(u64, &[u8])) -> Result<(Mirror, Head), Ended> {
        let mirror = if self.log.starts_with("file:") {
            self.log.parse().map_err(|error: MirrorError| Ended::usage(error.to_string()))?
        } else {
            Mirror::directory(&self.log)
        };
        let head = wait_for(async {
            let bytes = mirror.read("checkpoint", MAX_NOTE_BYTES as u64).await;
            let bytes = bytes.map_err(|error| network(&mirror, &error))?;
            let head = open(&bytes, &self.log_key).map_err(|error| {
                Ended::new(Exit::BadSignature, format!("{mirror}: checkpoint: {error}"))
            })?;
            let mut frontier = Frontier::default();
            let read = reader::entries(&mirror, 0..head.size(), |index, entry| {
                frontier.push(Hash::leaf(entry));
                take(index, entry);
            });
            read.await.map_err(|error| network(&mirror, &error))?;
            if frontier.root() != *head.root() {
                let message = format!("{mirror}: its entries are not those of its checkpoint");
                return Err(Ended::new(Exit::NotLogged, message));
            }
            Ok(head)
        })??;
        Ok((mirror, head))
    }
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    source: Source,
}

impl Show {
    fn run(self) -> Result<Said, Ended> {
        let (mut lines, mut list) = (String::new(), Vec::new());
        let (_, head) = self.source.read(|index, entry| {
            let note = Note::parse(entry).ok();
            let manifest = note.as_ref().and_then(|note| Manifest::parse(note.text()).ok());
            let what = match (&manifest, &note) {
                (Some(m), _) => format!(
                    "{} {}, release {} (sequence {})",
                    m.product, m.channel, m.version, m.sequence
                ),
                (None, Some(note)) => {
                    let line = note.text().lines().next().unwrap_or_default();
                    let line: String = line.chars().take(80).collect();
                    format!("no release, a note: {line:?}")
                }
                (None, None) => "not a note".to_owned(),
            };
            lines += &format!("{index:5} {what}\n");
            let manifest = manifest.map(|m| super::publisher::to_json(&m));
            list.push(json!({ "index": index, "manifest": manifest }));
        })?;
        let text = format!("head  {head}\n{lines}");
        Ok(Said::done(text, json!({ "head": head_json(&head), "entries": list })))
    }
}

#[derive(Debug, Args)]
pub(super) struct Prove {
    #[command(flatten)]
    source: Source,
    /// The note to prove, byte for byte as it was appended
    #[arg(long, value_name = "FILE", group = "entry", required_unless_present = "index")]
    note: Option<PathBuf>,
    /// The entry's number, if you know it
    #[arg(long, group = "entry")]
    index: Option<u64>,
    /// Where the proof goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Prove {
    fn run(self) -> Result<Said, Ended> {
        let note = self.note.as_ref().map(|path| read(path, MAX_NOTE_BYTES)).transpose()?;
        let mut found = None;
        let (mirror, head) = self.source.read(|index, entry| {
            let wanted = match &note {
                Some(note) => note == entry,
                None => self.index == Some(index),
            };
            if wanted && found.is_none() {
                found = Some((index, Hash::leaf(entry)));
            }
        })?;
        let Some((index, leaf)) = found else {
            let what = match (&self.note, self.index) {
                (Some(path), _) => format!("{} is not in the log", path.display()),
                (None, index) => {
                    format!("there is no entry {} in the log", index.unwrap_or_default())
                }
            };
            return Err(Ended::new(Exit::NotLogged, format!("{what} ({head})")));
        };
        let source = Cached::new(&mirror);
        let hashes = wait_for(source.inclusion(index, head.size(), head.size()))?;
        let hashes = hashes.map_err(|error| network(&mirror, &error))?;
        let proof = TlogProof { index, hashes, checkpoint: head.note().to_owned() };
        if !proof.holds(&leaf, &head) {
            let message = format!("{mirror}: its tiles do not hash up to its checkpoint");
            return Err(Ended::new(Exit::NotLogged, message));
        }
        let text = proof.to_string();
        let json = json!({ "index": index, "head": head_json(&head), "proof": text });
        let Some(out) = &self.out else { return Ok(Said::data(text, json)) };
        publish::write_new(out, text.as_bytes(), Mode::Public, &Disk::default())?;
        let text =
            format!("entry {index} is in the log ({head}); the proof is in {}\n", out.display());
        Ok(Said::done(text, json))
    }
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The proof, as `log prove` writes it
    proof: PathBuf,
    /// The note that it is about
    #[arg(long, value_name = "FILE")]
    note: PathBuf,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = note_key)]
    log_key: NoteKey,
}

impl Verify {
    fn run(self) -> Result<Said, Ended> {
        let bytes = read(&self.proof, 2 * MAX_NOTE_BYTES)?;
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", self.proof.display());
        let proof = String::from_utf8_lossy(&bytes);
        let proof =
            TlogProof::parse(&proof).map_err(|error| Ended::new(Exit::BadInput, named(&error)))?;
        let head = open(proof.checkpoint.as_bytes(), &self.log_key)
            .map_err(|error| Ended::new(Exit::BadSignature, named(&error)))?;
        if !proof.holds(&Hash::leaf(&read(&self.note, MAX_NOTE_BYTES)?), &head) {
            let why = format!("does not prove that {} is in the log", self.note.display());
            return Err(Ended::new(Exit::BadProof, named(&why)));
        }
        let text =
            format!("{} is entry {} of the log ({head})\n", self.note.display(), proof.index);
        Ok(Said::done(text, json!({ "index": proof.index, "head": head_json(&head) })))
    }
}

/// A checkpoint's head, with the log's key alone: the origin is the one it bears.
fn open(checkpoint: &[u8], key: &NoteKey) -> Result<Head, CheckpointError> {
    let origin = Checkpoint::parse(Note::parse(checkpoint)?.text())?.origin;
    Head::open(checkpoint, &Log { origin, key: key.clone() })
}

pub(super) fn head_json(head: &Head) -> Value {
    json!({ "size": head.size(), "root": head.root().hex() })
}

fn network(mirror: &Mirror, error: &std::io::Error) -> Ended {
    Ended::new(Exit::Network, format!("{mirror}: {error}"))
}
