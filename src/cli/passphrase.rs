//! Passphrases, from a terminal or from a file of mode 0600, and the secret keys that they open.

use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use unanimity_protocol::key::SigningKey;
use unanimity_report::{CommandError, Exit};

use crate::advice;

/// The arguments that say where a passphrase comes from.
#[derive(Debug, clap::Args)]
pub(super) struct PassphraseArgs {
    /// Read the passphrase from the first line of a file (mode 0600) instead of asking
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// Returns the passphrase for a new key. At a terminal, the operator types it twice.
    pub(super) fn ask_new(&self, key: &Path) -> Result<SecretString, CommandError> {
        if self.passphrase_file.is_some() {
            return self.read_or_ask(key);
        }
        let first = prompt(&format!("New passphrase for {}: ", key.display()))?;
        if prompt("The same passphrase again: ")? != first {
            return Err(CommandError::new(
                Exit::Key,
                "the two passphrases differ. Nothing was written",
            ));
        }
        check_not_empty(first)
    }

    /// Returns the passphrase for an existing key.
    fn read_or_ask(&self, key: &Path) -> Result<SecretString, CommandError> {
        let Some(path) = &self.passphrase_file else {
            return check_not_empty(prompt(&format!("Passphrase for {}: ", key.display()))?);
        };
        unanimity_storage::check_private(path)?;
        let text = unanimity_storage::read_at_most(path, 4096)?;
        let text = String::from_utf8_lossy(&text);
        check_not_empty(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Reads a secret key from its encrypted file.
    pub(super) fn open_key<const TYPE: u8>(
        &self,
        key: &Path,
    ) -> Result<SigningKey<TYPE>, CommandError> {
        // Checked first, so that the operator types no passphrase in vain.
        unanimity_publish::check_private_key_file(key).map_err(advice::command_error)?;
        unanimity_publish::read_key(key, &self.read_or_ask(key)?).map_err(advice::command_error)
    }
}

fn prompt(prompt: &str) -> Result<String, CommandError> {
    rpassword::prompt_password(prompt).map_err(|error| {
        CommandError::usage(format!(
            "cannot ask for a passphrase: {error}. Give --passphrase-file FILE"
        ))
    })
}

fn check_not_empty(passphrase: String) -> Result<SecretString, CommandError> {
    if passphrase.is_empty() {
        return Err(CommandError::new(
            Exit::Key,
            "an empty passphrase protects nothing. Choose another one",
        ));
    }
    Ok(passphrase.into())
}
