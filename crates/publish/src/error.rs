//! Errors of key files, statements and signatures.

use std::path::PathBuf;

use unanimity_protocol::Name;
use unanimity_protocol::key::{KeyError, KeyName};
use unanimity_protocol::note::NoteError;
use unanimity_protocol::subject::StatementError;
use unanimity_report::{Classify, Exit};
use unanimity_storage::{PrivateFileError, StorageError};

/// A publisher's operation failed. The error never contains a private key or a passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// A file that must be new exists, or other users have permissions on a private file.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The file is not a private key file.
    #[error("{} is not a private key file", .0.display())]
    NotPrivateKey(PathBuf),
    /// The key file cannot be decrypted: the passphrase is wrong, or the file is damaged.
    #[error("{}: wrong passphrase, or the file is damaged", .0.display())]
    Decrypt(PathBuf),
    /// The decrypted content of a key file is not a key of the required kind.
    #[error("{}: {source}", path.display())]
    Key {
        /// The path of the file.
        path: PathBuf,
        /// The rule that the key breaks.
        source: KeyError,
    },
    /// The text of a file is neither a valid manifest nor a valid withdrawal.
    #[error("{}: {source}", path.display())]
    Statement {
        /// The path of the file.
        path: PathBuf,
        /// The rule that the text breaks.
        source: StatementError,
    },
    /// The file is not a valid note or has a wrong signature of the key, or a further signature
    /// would make it longer than a log entry may be.
    #[error("{}: {source}", path.display())]
    Note {
        /// The path of the file.
        path: PathBuf,
        /// The rule that the note breaks.
        source: NoteError,
    },
    /// The text of the file has changed since the signer reviewed it.
    #[error(
        "{} was changed after it was shown, so nothing was signed. Review it and sign it again",
        .0.display()
    )]
    Changed(PathBuf),
    /// The file already has a signature of the signer's key.
    #[error("{} is already signed by {name}", path.display())]
    AlreadySigned {
        /// The path of the file.
        path: PathBuf,
        /// The name of the key that has signed already.
        name: KeyName,
    },
    /// The requested statement breaks a rule of its format.
    #[error("the statement breaks a rule of its format: {0}")]
    InvalidStatement(StatementError),
    /// An artifact is an archive that no node would unpack.
    #[error("{file} is an archive that cannot be installed: {why}")]
    Archive {
        /// The file name of the archive.
        file: Name,
        /// The entry that breaks a rule, and the rule.
        why: String,
    },
    /// Encryption failed, for lack of memory or randomness.
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
