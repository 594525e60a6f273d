//! Passphrases and secret keys, from people or from files only their owner reads.

use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use unanimity_protocol::key::SigningKey;
use unanimity_report::{CommandError, Exit};

use crate::advice;

/// Where a passphrase comes from.
#[derive(Debug, clap::Args)]
pub(super) struct Passphrase {
    /// Read the passphrase from the first line of a file (mode 0600) instead of asking
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    /// For a new key: asked twice.
    pub(super) fn new_one(&self, key: &Path) -> Result<SecretString, CommandError> {
        if self.passphrase_file.is_some() {
            return self.known(key);
        }
        let first = ask(&format!("New passphrase for {}: ", key.display()))?;
        if ask("The same again: ")? != first {
            return Err(CommandError::new(
                Exit::Key,
                "the two passphrases differ; nothing was written",
            ));
        }
        check(first)
    }

    /// For a key that exists.
    fn known(&self, key: &Path) -> Result<SecretString, CommandError> {
        let Some(path) = &self.passphrase_file else {
            return check(ask(&format!("Passphrase for {}: ", key.display()))?);
        };
        unanimity_storage::check_private(path)?;
        let text = unanimity_storage::read_at_most(path, 4096)?;
        let text = String::from_utf8_lossy(&text);
        check(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Opens a key file.
    pub(super) fn open<const TYPE: u8>(
        &self,
        key: &Path,
    ) -> Result<SigningKey<TYPE>, CommandError> {
        // Before anybody types a passphrase: is it worth it?
        unanimity_publish::check_private_key_file(key).map_err(advice::ended)?;
        unanimity_publish::read_key(key, &self.known(key)?).map_err(advice::ended)
    }
}

fn ask(prompt: &str) -> Result<String, CommandError> {
    rpassword::prompt_password(prompt).map_err(|error| {
        CommandError::usage(format!(
            "cannot ask for a passphrase ({error}): give --passphrase-file FILE"
        ))
    })
}

fn check(passphrase: String) -> Result<SecretString, CommandError> {
    if passphrase.is_empty() {
        return Err(CommandError::new(Exit::Key, "an empty passphrase protects nothing"));
    }
    Ok(passphrase.into())
}
