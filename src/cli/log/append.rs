//! `log append`: appends releases and withdrawals. It refuses statements that could have no effect
//! on any node, before it signs a checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unanimity_config::{MirrorError, MirrorSpec};
use unanimity_log::{LogWriter, WriteError};
use unanimity_net::Mirror;
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::manifest::Artifact;
use unanimity_protocol::note::{MAX_NOTE_BYTES, NoteError};
use unanimity_protocol::{
    Hash, Manifest, Name, Note, NoteSigningKey, NoteVerifyingKey, Statement, Withdrawal,
};
use unanimity_report::{CommandError, Exit};
use unanimity_storage::{Clock as _, Storage, SystemClock};

use super::source::{LogSourceArgs, head_json};
use crate::advice;
use crate::cli::input::{MAX_FILE_BYTES, parse_note_key, read_file};
use crate::cli::passphrase::PassphraseArgs;
use crate::cli::runtime::block_on;
use unanimity_report::CommandOutput;

#[derive(Debug, Args)]
pub(in crate::cli) struct LogAppendArgs {
    /// The log's directory
    directory: PathBuf,
    /// The log's secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Signed releases and withdrawals to append
    #[arg(required = true)]
    notes: Vec<PathBuf>,
    /// A file that a manifest names; it is stored with the log, where clients find it by digest. May
    /// be given more than once
    #[arg(long, value_name = "FILE")]
    artifact: Vec<PathBuf>,
    /// A publisher's public key that must have signed every note (the line, or a file that holds
    /// it). May be given more than once
    #[arg(long, value_name = "KEY", value_parser = parse_note_key)]
    signed_by: Vec<NoteVerifyingKey>,
    /// A mirror of this log to read first: nothing is signed if it has more entries than this log.
    /// May be given more than once
    #[arg(long, value_name = "file:/DIRECTORY", value_parser = parse_mirror_directory)]
    mirror: Vec<Mirror>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Parses a mirror from an argument. The mirror must be a directory, because the machine that signs
/// may have no network.
fn parse_mirror_directory(text: &str) -> Result<Mirror, String> {
    match text.parse().map_err(|error: MirrorError| error.to_string())? {
        MirrorSpec::Directory(directory) => Ok(Mirror::from_directory(directory)),
        _ => Err("this command reads only directories. Give file:/DIRECTORY".to_owned()),
    }
}

impl LogAppendArgs {
    pub(super) fn run(self) -> Result<CommandOutput, CommandError> {
        let notes = self.read_notes()?;
        let artifacts = self.read_artifacts(&notes)?;
        let secret: NoteSigningKey = self.passphrase.open_key(&self.key)?;
        let mut log = LogWriter::open(&self.directory, secret, Storage::default())
            .map_err(advice::command_error)?;
        for mirror in &self.mirror {
            let checkpoint = block_on(mirror.read("checkpoint", MAX_NOTE_BYTES as u64))?;
            let checkpoint = checkpoint.map_err(|error| {
                let hint = "If it is to become a mirror of this log, export the log there first: `unanimity log export`";
                CommandError::new(Exit::Network, format!("{mirror}: {error}. {hint}"))
            })?;
            log.check_mirror(&mirror.to_string(), &checkpoint).map_err(advice::command_error)?;
        }
        let (known_leaves, mut text) = self.check_new_entries(&notes, &log)?;
        if self.signed_by.is_empty() {
            text += "No signature was checked. Give --signed-by for each required key. Otherwise the log may accept a release that no client installs\n";
        }
        let new: Vec<Vec<u8>> = (notes.iter().map(|note| &note.bytes))
            .filter(|bytes| !known_leaves.contains_key(&Hash::leaf(bytes)))
            .cloned()
            .collect();
        for bytes in artifacts {
            log.add_artifact(&bytes)?;
        }
        let indexes = log.append(&new).map_err(advice::command_error)?;
        let mut next = indexes.clone();
        for note in &notes {
            if !known_leaves.contains_key(&Hash::leaf(&note.bytes)) {
                let index = next.next().unwrap_or_default();
                text += &format!("entry {index}  {}\n", note.path.display());
            }
        }
        text += &format!("head     {}\n", log.head());
        for target in named_artifacts(&notes) {
            let path = self.directory.join(artifact_path(&target.sha256));
            if !path.exists() {
                text += &format!(
                    "Clients will not find {} for {}. Append the same release again with --artifact, or copy the file to {}\n",
                    target.file,
                    target.platform,
                    path.display()
                );
            }
        }
        let json =
            json!({ "first": indexes.start, "count": new.len(), "head": head_json(log.head()) });
        Ok(CommandOutput::ok(text, json))
    }

    /// Reads the notes to append, and verifies the signatures of the `--signed-by` keys on each.
    fn read_notes(&self) -> Result<Vec<NewEntry>, CommandError> {
        let mut notes = Vec::new();
        for path in &self.notes {
            let bytes = read_file(path, MAX_NOTE_BYTES)?;
            let bad = |exit, why: &dyn std::fmt::Display| {
                CommandError::new(exit, format!("{}: {why}. Nothing was appended", path.display()))
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
            let statement =
                Statement::parse(note.text()).map_err(|error| bad(Exit::BadInput, &error))?;
            notes.push(NewEntry { path: path.clone(), bytes, statement });
        }
        Ok(notes)
    }

    /// Reads the artifacts. Refuses an artifact that no release among `notes` names.
    fn read_artifacts(&self, notes: &[NewEntry]) -> Result<Vec<Vec<u8>>, CommandError> {
        let mut artifacts = Vec::new();
        for path in &self.artifact {
            let bytes = read_file(path, MAX_FILE_BYTES)?;
            let digest = Hash::digest(&bytes);
            if !named_artifacts(notes).map(|target| target.sha256).any(|named| named == digest) {
                let path = path.display();
                let message =
                    format!("{path}: none of these releases names a file with its SHA-256");
                return Err(CommandError::new(Exit::BadArtifact, message));
            }
            artifacts.push(bytes);
        }
        Ok(artifacts)
    }

    /// Refuses notes that could have no effect on any node:
    ///
    /// - a release whose sequence is not above the newest sequence of its product and channel;
    /// - a release that has expired;
    /// - a withdrawal of a release that the log does not have.
    ///
    /// Returns the number of each entry of the log by its leaf hash, and a line of text for each
    /// note that the log already has.
    fn check_new_entries(
        &self,
        notes: &[NewEntry],
        log: &LogWriter,
    ) -> Result<(BTreeMap<Hash, u64>, String), CommandError> {
        let bytes: Vec<Vec<u8>> = notes.iter().map(|note| note.bytes.clone()).collect();
        log.check_notes(&bytes).map_err(|error| name_entry_error(error, notes))?;
        let directory = self.directory.display().to_string();
        let source = LogSourceArgs { log: directory, log_key: log.log().key.clone() };
        let (mut leaves, mut texts) = (BTreeMap::new(), BTreeMap::new());
        let mut released = LoggedSequences::default();
        source.read(|index, entry| {
            leaves.insert(Hash::leaf(entry), index);
            let Ok(note) = Note::parse(entry) else { return };
            if let Ok(manifest) = Manifest::parse(note.text()) {
                released.add(&manifest);
                texts.insert(note.text().to_owned(), index);
            }
        })?;
        let mut text = String::new();
        let now = SystemClock.now();
        for NewEntry { path, bytes, statement } in notes {
            if let Some(index) = leaves.get(&Hash::leaf(bytes)) {
                text += &format!("entry {index}  {} (already in the log)\n", path.display());
                continue;
            }
            let same_text = texts.get(&statement.to_string());
            let allowed = match statement {
                Statement::Release(Manifest { sequence, .. }) if let Some(index) = same_text => {
                    Err((
                        Exit::Conflict,
                        format!(
                            "entry {index} is the same release with other signatures, and no signature can be added to an entry. Sign the release again with a sequence higher than {sequence}"
                        ),
                    ))
                }
                Statement::Release(manifest) if manifest.expires <= now => {
                    Err((Exit::Expired, format!("expired at {}", manifest.expires)))
                }
                Statement::Release(manifest) => released.check(manifest),
                Statement::Withdrawal(withdrawal) => released.check_withdrawal(withdrawal),
            };
            allowed.map_err(|(exit, why)| {
                CommandError::new(exit, format!("{}: {why}. Nothing was appended", path.display()))
            })?;
            statement.release().into_iter().for_each(|manifest| released.add(manifest));
        }
        Ok((leaves, text))
    }
}

/// A statement to append.
struct NewEntry {
    path: PathBuf,
    bytes: Vec<u8>,
    statement: Statement,
}

/// Iterates over the artifacts of all releases among `notes`.
fn named_artifacts(notes: &[NewEntry]) -> impl Iterator<Item = &Artifact> {
    notes
        .iter()
        .filter_map(|note| note.statement.release())
        .flat_map(|manifest| &manifest.artifacts)
}

/// The sequences in a log, for each product and channel.
#[derive(Default)]
struct LoggedSequences(BTreeMap<(Name, Name), BTreeSet<u64>>);

impl LoggedSequences {
    fn add(&mut self, manifest: &Manifest) {
        let line = (manifest.product.clone(), manifest.channel.clone());
        self.0.entry(line).or_default().insert(manifest.sequence);
    }

    fn check(&self, manifest: &Manifest) -> Result<(), (Exit, String)> {
        let Manifest { product, channel, sequence, .. } = manifest;
        let released = self.0.get(&(product.clone(), channel.clone()));
        let newest = released.and_then(|released| released.last()).copied().unwrap_or(0);
        if *sequence > newest {
            return Ok(());
        }
        Err(if *sequence == newest {
            (
                Exit::Conflict,
                format!(
                    "the log has another release of {product} with sequence {sequence}. Two would be a conflict, and neither would install"
                ),
            )
        } else {
            (
                Exit::Rollback,
                format!(
                    "it has sequence {sequence}, and the log has {product} with sequence {newest} already. A node with the newer release would never install it"
                ),
            )
        })
    }

    fn check_withdrawal(&self, withdrawal: &Withdrawal) -> Result<(), (Exit, String)> {
        let Withdrawal { product, channel, sequence, .. } = withdrawal;
        let released = self.0.get(&(product.clone(), channel.clone()));
        if released.is_some_and(|released| released.contains(sequence)) {
            return Ok(());
        }
        let why = format!(
            "the log has no release of {product}, channel {channel}, with sequence {sequence} to withdraw"
        );
        Err((Exit::NotLogged, why))
    }
}

/// Makes the error of a command from an error of the log. If one note is at fault, the message
/// names that note's file.
fn name_entry_error(error: WriteError, notes: &[NewEntry]) -> CommandError {
    let WriteError::Entry { number, why } = &error else { return advice::command_error(error) };
    let path = notes.get(number - 1).map(|note| note.path.display().to_string());
    let message =
        format!("{}: {}. Nothing was appended", path.unwrap_or_default(), advice::describe(why));
    CommandError::new(Exit::BadInput, message)
}
