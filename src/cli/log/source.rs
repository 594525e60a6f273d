//! A log that is read: where it is, and the key that signs it.

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

/// A log to read: where it is and who signs it.
#[derive(Debug, Args)]
pub(super) struct LogSourceArgs {
    /// The log: a directory, or file:/DIRECTORY
    pub(crate) log: String,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = parse_note_key)]
    pub(crate) log_key: NoteVerifyingKey,
}

impl LogSourceArgs {
    /// Reads the head and gives every entry to `on_entry`. An error if they do not hash up to the
    /// head: then nothing that was taken may be believed.
    pub(super) fn read(
        &self,
        take: impl FnMut(u64, &[u8]),
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
            bundles.read(&[&mirror], take).await.map_err(|all| match &all[..] {
                [EntryReadError { error: Some(error), .. }, ..] => read_error(&mirror, error),
                _ => {
                    let message = format!("{mirror}: its entries are not those of its checkpoint");
                    CommandError::new(Exit::NotLogged, message)
                }
            })?;
            Ok::<_, CommandError>(head)
        })??;
        Ok((mirror, head))
    }
}

/// A checkpoint's head, with the log's key alone: the origin is the one it bears.
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

/// A log is read from a directory here.
pub(super) fn read_error(mirror: &Mirror, error: &std::io::Error) -> CommandError {
    CommandError::new(Exit::Disk, format!("{mirror}: {error}"))
}
