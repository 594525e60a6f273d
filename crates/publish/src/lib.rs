//! What a publisher does: make keys, write manifests and withdrawals, sign them. Their formats are protocol's.
//!
//! A key file is an age file (scrypt passphrase, ASCII armor) that holds one line,
//! [`SigningKey::to_private_key_line`](unanimity_protocol::key::SigningKey::to_private_key_line). It has mode 0600 and is refused otherwise.

mod error;
mod key_file;
mod release;
mod sign;

pub use error::PublishError;
pub use key_file::{
    KdfCost, check_private_key_file, generate_key, is_private_key_file, read_key, write_key,
};
pub use release::{ArtifactDraft, ReleaseDraft, build_manifest, check_withdrawal};
pub use sign::{read_statement, sign_statement};
