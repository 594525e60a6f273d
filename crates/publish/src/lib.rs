//! The publisher's operations: key files, manifests, withdrawals and signatures.
//!
//! The formats of statements are in the crate `unanimity-protocol`. A key file is an age file
//! (scrypt passphrase, ASCII armor) with the one line of [`SigningKey::to_private_key_line`]. A new
//! key file has mode 0600. A key file on which other users have any permission is refused.
//!
//! [`SigningKey::to_private_key_line`]: unanimity_protocol::key::SigningKey::to_private_key_line

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
