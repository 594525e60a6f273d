//! What is wrong with a key file, a statement, or what was asked for.

use std::path::PathBuf;

use unanimity_protocol::Name;
use unanimity_protocol::key::{KeyError, KeyName};
use unanimity_protocol::note::NoteError;
use unanimity_protocol::subject::StatementError;
use unanimity_report::{Classify, Exit};
use unanimity_storage::{PrivateFileError, StorageError};

/// What is wrong with a key file, a manifest file, or what was asked for. Never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// A file that must be new is there, or a private one is not.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Not a key file at all.
    #[error("{} is not a secret key", .0.display())]
    NotPrivateKey(PathBuf),
    /// Wrong passphrase, or a damaged file.
    #[error("{}: wrong passphrase, or the file is damaged", .0.display())]
    Decrypt(PathBuf),
    /// What was in the file is not a key of the needed kind.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// Neither a manifest nor a withdrawal.
    #[error("{}: {source}", path.display())]
    Statement {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: StatementError,
    },
    /// Not a note.
    #[error("{}: {source}", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteError,
    },
    /// Somebody changed the file while it was being looked at.
    #[error("{} was changed after it was shown: nothing was signed", .0.display())]
    Changed(PathBuf),
    /// This key's signature is there already.
    #[error("{} is already signed by {name}", path.display())]
    AlreadySigned {
        /// The file.
        path: PathBuf,
        /// The key's name.
        name: KeyName,
    },
    /// What was asked for breaks a rule of its format.
    #[error("such a thing cannot be written down: {0}")]
    InvalidStatement(StatementError),
    /// An archive that no node would unpack.
    #[error("{file} is an archive that cannot be installed: {why}")]
    Archive {
        /// What it is called.
        file: Name,
        /// The rule it breaks, and the entry that does.
        why: String,
    },
    /// Encryption failed, which it does only for want of memory or randomness.
    #[error("cannot encrypt the key: {0}")]
    Encrypt(String),
}

impl Classify for PublishError {
    fn exit(&self) -> Exit {
        match self {
            PublishError::Disk(_) => Exit::Disk,
            PublishError::File(error) => error.exit(),
            PublishError::NotPrivateKey(_)
            | PublishError::Decrypt(_)
            | PublishError::Key { .. } => Exit::Key,
            PublishError::Statement { .. } | PublishError::Note { .. } => Exit::BadInput,
            PublishError::AlreadySigned { .. }
            | PublishError::Changed(_)
            | PublishError::InvalidStatement(_) => Exit::Usage,
            PublishError::Archive { .. } => Exit::BadArtifact,
            PublishError::Encrypt(_) => Exit::Failed,
        }
    }
}
