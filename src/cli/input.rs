//! Files and keys that the operator names on the command line.

use std::path::Path;

use unanimity_protocol::NoteVerifyingKey;
use unanimity_report::CommandError;

/// The most bytes of an artifact that is read as a whole: 2 GiB.
pub(super) const MAX_FILE_BYTES: usize = 2 << 30;

/// Reads an untrusted file of at most `limit` bytes that the operator named.
pub(super) fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, CommandError> {
    Ok(unanimity_storage::read_at_most(path, limit)?)
}

/// Parses a public key from an argument: the key's line, or the path of a file that holds it.
pub(super) fn parse_note_key(argument: &str) -> Result<NoteVerifyingKey, String> {
    match argument.parse::<NoteVerifyingKey>() {
        Ok(key) => Ok(key),
        Err(error) if argument.contains('+') => Err(error.to_string()),
        Err(_) if unanimity_publish::is_private_key_file(Path::new(argument)) => {
            Err(format!("{argument} is a secret key. The public key is in {argument}.pub"))
        }
        Err(_) => {
            let bytes = unanimity_storage::read_at_most(Path::new(argument), 4096);
            let bytes = bytes.map_err(|error| format!("neither a key nor a file: {error}"))?;
            String::from_utf8_lossy(&bytes)
                .trim()
                .parse()
                .map_err(|error| format!("{argument}: {error}"))
        }
    }
}
