//! The verbs of `log`, and their dispatch.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use unanimity_log::{LogWriter, TileReader};
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{
    Hash, Note, NoteSigningKey, NoteVerifyingKey, Origin, Statement, TlogProof,
};
use unanimity_report::{CommandError, CommandOutput, Exit};
use unanimity_storage::{Mode, Storage};

use crate::cli::input::{parse_note_key, read_file};
use crate::cli::log::append::LogAppendArgs;
use crate::cli::log::export::LogExportArgs;
use crate::cli::log::source::{LogSourceArgs, head_json, read_error, verify_checkpoint};
use crate::cli::passphrase::PassphraseArgs;
use crate::cli::render_statement::statement_json;
use crate::cli::runtime::block_on;

/// Write, read and export an audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Start an empty log in a directory that any static host can serve
    Init(LogInitArgs),
    /// Append signed releases and withdrawals, and sign one new checkpoint
    Append(LogAppendArgs),
    /// Write the log's files to a directory that any static host can serve, or bring it up to date
    Export(LogExportArgs),
    /// Verify a log, and show its head and its entries
    Show(LogShowArgs),
    /// Prove that an entry is in the log (a c2sp.org/tlog-proof@v1)
    Prove(LogProveArgs),
    /// Verify offline, with a proof from `log prove`, that a note is in the log
    Verify(LogVerifyArgs),
}

impl LogCommand {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            LogCommand::Init(_) => "log init",
            LogCommand::Append(_) => "log append",
            LogCommand::Export(_) => "log export",
            LogCommand::Show(_) => "log show",
            LogCommand::Prove(_) => "log prove",
            LogCommand::Verify(_) => "log verify",
        }
    }

    pub(crate) fn run(self) -> Result<CommandOutput, CommandError> {
        match self {
            LogCommand::Init(init) => init.run(),
            LogCommand::Append(append) => append.run(),
            LogCommand::Export(export) => export.run(),
            LogCommand::Show(show) => show.run(),
            LogCommand::Prove(prove) => prove.run(),
            LogCommand::Verify(verify) => verify.run(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogInitArgs {
    /// The log's directory
    directory: PathBuf,
    /// The log's name, such as 'example.org/releases': first line of every checkpoint
    #[arg(long)]
    origin: Origin,
    /// The log's secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl LogInitArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let secret: NoteSigningKey = self.passphrase.open_key(&self.key)?;
        let log = LogWriter::init(&self.directory, self.origin, secret, Storage::default())?;
        let (origin, key) = (&log.log().origin, &log.log().key);
        let directory = self.directory.display();
        let text = format!("An empty log is in {directory:?}.\norigin  {origin}\nkey     {key}\n");
        let json = json!({ "origin": origin.as_str(), "key": key.to_string(), "size": 0 });
        Ok(CommandOutput::ok(text, json))
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogShowArgs {
    #[command(flatten)]
    source: LogSourceArgs,
}

impl LogShowArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let (mut lines, mut list) = (String::new(), Vec::new());
        let (_, head) = self.source.read(|index, entry| {
            let note = Note::parse(entry).ok();
            let statement = note.as_ref().and_then(|note| Statement::parse(note.text()).ok());
            let what = match (&statement, &note) {
                (Some(Statement::Release(m)), _) => format!(
                    "{} {}, release {} (sequence {})",
                    m.product, m.channel, m.version, m.sequence
                ),
                (Some(Statement::Withdrawal(w)), _) => format!(
                    "{} {}, withdraws sequence {}: {}",
                    w.product, w.channel, w.sequence, w.reason
                ),
                (None, Some(note)) => {
                    let line = note.text().lines().next().unwrap_or_default();
                    let line: String = line.chars().take(80).collect();
                    format!("a note that is no release or withdrawal: {line:?}")
                }
                (None, None) => "not a signed note".to_owned(),
            };
            lines += &format!("{index:5} {what}\n");
            let mut entry = json!({ "index": index, "manifest": null });
            if let Some((field, statement)) = statement.as_ref().map(statement_json) {
                entry[field] = statement;
            }
            list.push(entry);
        })?;
        let text = format!("head  {head}\n{lines}");
        Ok(CommandOutput::ok(text, json!({ "head": head_json(&head), "entries": list })))
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogProveArgs {
    #[command(flatten)]
    source: LogSourceArgs,
    /// The note to prove, byte for byte as it was appended; give this or --index
    #[arg(long, value_name = "FILE", group = "entry", required_unless_present = "index")]
    note: Option<PathBuf>,
    /// The entry's number, instead of the note
    #[arg(long, group = "entry")]
    index: Option<u64>,
    /// The file for the proof [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl LogProveArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let note = self.note.as_ref().map(|path| read_file(path, MAX_NOTE_BYTES)).transpose()?;
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
            return Err(CommandError::new(Exit::NotLogged, format!("{what} ({head})")));
        };
        let source = TileReader::new(&mirror);
        let hashes = block_on(source.inclusion_proof(index, head.size(), head.size()))?;
        let hashes = hashes.map_err(|error| read_error(&mirror, &error))?;
        let proof = TlogProof { index, hashes, checkpoint: head.note().to_owned() };
        if !proof.verify(&leaf, &head) {
            let message = format!("{mirror}: the log's tiles do not match its checkpoint");
            return Err(CommandError::new(Exit::NotLogged, message));
        }
        let text = proof.to_string();
        let json = json!({ "index": index, "head": head_json(&head), "proof": text });
        let Some(out) = &self.out else { return Ok(CommandOutput::data(text, json)) };
        unanimity_storage::write_new(out, text.as_bytes(), Mode::Public, &Storage::default())?;
        let text =
            format!("entry {index} is in the log ({head}). The proof is in {}\n", out.display());
        Ok(CommandOutput::ok(text, json))
    }
}

#[derive(Debug, Args)]
pub(crate) struct LogVerifyArgs {
    /// The proof, as `log prove` writes it
    proof: PathBuf,
    /// The note that the proof is for
    #[arg(long, value_name = "FILE")]
    note: PathBuf,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = parse_note_key)]
    log_key: NoteVerifyingKey,
}

impl LogVerifyArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let bytes = read_file(&self.proof, 2 * MAX_NOTE_BYTES)?;
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", self.proof.display());
        let proof = String::from_utf8_lossy(&bytes);
        let proof = TlogProof::parse(&proof)
            .map_err(|error| CommandError::new(Exit::BadInput, named(&error)))?;
        let head = verify_checkpoint(proof.checkpoint.as_bytes(), &self.log_key)
            .map_err(|error| CommandError::new(Exit::BadSignature, named(&error)))?;
        if !proof.verify(&Hash::leaf(&read_file(&self.note, MAX_NOTE_BYTES)?), &head) {
            let why = format!("does not prove that {} is in the log", self.note.display());
            return Err(CommandError::new(Exit::BadProof, named(&why)));
        }
        let text =
            format!("{} is entry {} of the log ({head})\n", self.note.display(), proof.index);
        Ok(CommandOutput::ok(text, json!({ "index": proof.index, "head": head_json(&head) })))
    }
}
