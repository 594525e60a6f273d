//! Reading and signing the file of a statement.

use std::fs;
use std::path::Path;

use unanimity_protocol::note::{MAX_ENTRY_BYTES, MAX_NOTE_BYTES, NoteError};
use unanimity_protocol::{Note, NoteSigningKey, Statement};
use unanimity_storage::{Mode, Storage, StorageError};

use crate::error::PublishError;

/// Reads the file of a manifest or a withdrawal, with or without signatures.
pub fn read_statement(path: &Path) -> Result<(Note, Statement), PublishError> {
    let bytes = unanimity_storage::read_at_most(path, MAX_NOTE_BYTES)?;
    let note = match Note::parse(&bytes) {
        Err(NoteError::NoSignatures) => Note::unsigned(&String::from_utf8_lossy(&bytes)),
        note => note,
    };
    let note = note.map_err(|source| PublishError::Note { path: path.to_owned(), source })?;
    let statement = Statement::parse(note.text())
        .map_err(|source| PublishError::Statement { path: path.to_owned(), source })?;
    Ok((note, statement))
}

/// Adds one signature to the file of a statement, and returns the signed note.
///
/// Fails with [`PublishError::Changed`] if the file's text differs from that of `shown`, the note
/// that the signer reviewed. Fails with [`PublishError::AlreadySigned`] if `key` has signed the
/// file. The file is replaced durably.
pub fn sign_statement(
    path: &Path,
    shown: &Note,
    key: &NoteSigningKey,
    disk: &Storage,
) -> Result<Note, PublishError> {
    // If the path is a link, its target is signed, and the link stays.
    let path = &fs::canonicalize(path).map_err(StorageError::at(path))?;
    // The file is read again, so that a signature which another key holder added meanwhile is kept.
    let (mut note, _) = read_statement(path)?;
    if note.text() != shown.text() {
        return Err(PublishError::Changed(path.clone()));
    }
    let public_key = key.public();
    match note.open(std::slice::from_ref(&public_key)) {
        Err(NoteError::Unsigned) => {}
        Ok(_) => {
            let name = public_key.name().clone();
            return Err(PublishError::AlreadySigned { path: path.clone(), name });
        }
        Err(source) => return Err(PublishError::Note { path: path.clone(), source }),
    }
    note.sign(key);
    let bytes = note.to_string();
    let fits = bytes.len() <= MAX_ENTRY_BYTES;
    let checked =
        if fits { Note::parse(bytes.as_bytes()) } else { Err(NoteError::TooLong(bytes.len())) };
    checked.map_err(|source| PublishError::Note { path: path.clone(), source })?;
    disk.write(path, bytes.as_bytes(), Mode::Public).map_err(StorageError::at(path))?;
    Ok(note)
}
