//! Reading a log from a directory, verified with its key.

use crate::cli::input::parse_note_key;
use clap::Args;
use serde_json::json;

use crate::cli::runtime::block_on;
use serde_json::Value;
use unanimity_config::MirrorSpec;
use unanimity_log::EntryReadError;
use unanimity_log::EntryReader;
use unanimity_log::TileReader;
use unanimity_net::Mirror;
use unanimity_protocol::Checkpoint;
use unanimity_protocol::Log;
use unanimity_protocol::Note;
use unanimity_protocol::NoteVerifyingKey;
use unanimity_protocol::TreeHead;
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_report::CommandError;
use unanimity_report::Exit;

/// The arguments that name a log to read: its directory and its key.
#[derive(Debug, Args)]
pub(super) struct LogSourceArgs {
    /// The log: a directory, or file:/DIRECTORY
    pub(crate) log: String,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = parse_note_key)]
    pub(crate) log_key: NoteVerifyingKey,
}

impl LogSourceArgs {
    /// Reads and verifies the log, and passes every entry with its number to `on_entry`. Returns
    /// the log as a mirror, and its head.
    ///
    /// # Errors
    ///
    /// An error if the log cannot be read, if the checkpoint's signature is bad, or if the entries
    /// do not match the checkpoint. The caller must then discard the entries that it got.
    pub(super) fn read(
        &self,
        on_entry: impl FnMut(u64, &[u8]),
    ) -> Result<(Mirror, TreeHead), CommandError> {
        let mirror = match self.log.strip_prefix("file:") {
            Some(_) => {
                let spec = self.log.parse::<MirrorSpec>();
                let spec = spec.map_err(|error| CommandError::usage(error.to_string()))?;
                Mirror::from_spec(&spec, None)
                    .map_err(|error| CommandError::usage(error.to_string()))?
            }
            None => Mirror::from_directory(&self.log),
        };
        let head = block_on(async {
            let bytes = mirror.read("checkpoint", MAX_NOTE_BYTES as u64).await;
            let bytes = bytes.map_err(|error| read_error(&mirror, &error))?;
            let head = verify_checkpoint(&bytes, &self.log_key).map_err(|error| {
                CommandError::new(Exit::BadSignature, format!("{mirror}: checkpoint: {error}"))
            })?;
            let bundles = EntryReader::from_tiles(&TileReader::new(&mirror), &head, 0).await;
            let bundles = bundles.map_err(|error| read_error(&mirror, &error))?;
            bundles.read(&[&mirror], on_entry).await.map_err(|all| match &all[..] {
                [EntryReadError { error: Some(error), .. }, ..] => read_error(&mirror, error),
                _ => {
                    let message =
                        format!("{mirror}: the log's entries do not match its checkpoint");
                    CommandError::new(Exit::NotLogged, message)
                }
            })?;
            Ok::<_, CommandError>(head)
        })??;
        Ok((mirror, head))
    }
}

/// Verifies a checkpoint with the log's key alone. Any origin in the checkpoint is accepted.
pub(super) fn verify_checkpoint(
    checkpoint: &[u8],
    key: &NoteVerifyingKey,
) -> Result<TreeHead, CheckpointError> {
    let origin = Checkpoint::parse(Note::parse(checkpoint)?.text())?.origin;
    TreeHead::verify(checkpoint, &Log { origin, key: key.clone() })
}

pub(crate) fn head_json(head: &TreeHead) -> Value {
    json!({ "size": head.size(), "root": head.root().hex() })
}

/// Makes the error of a log that cannot be read. It is an error of the disk, because these commands
/// read a log only from a directory.
pub(super) fn read_error(mirror: &Mirror, error: &std::io::Error) -> CommandError {
    CommandError::new(Exit::Disk, format!("{mirror}: {error}"))
}
