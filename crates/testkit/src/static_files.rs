//! A directory as any web server serves it.

use std::io::Read as _;
use std::io::{self};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use unanimity_net::file_server::{FileStore, ServedFile};

/// The files in a directory, which may be another one at the next moment. Clones are the same.
#[derive(Clone, Debug)]
pub struct StaticFiles(Arc<Mutex<PathBuf>>);

impl StaticFiles {
    /// The files in this one.
    pub fn new(directory: PathBuf) -> StaticFiles {
        StaticFiles(Arc::new(Mutex::new(directory)))
    }

    /// From now on those in that one.
    pub fn set_directory(&self, directory: PathBuf) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = directory;
    }
}

impl FileStore for StaticFiles {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        // Nothing above, and nothing hidden.
        if path.is_empty() || path.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let directory = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut file = unanimity_storage::open_regular_file(&directory.join(path))?;
        if path != "checkpoint" {
            return ServedFile::immutable(file);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(ServedFile::mutable(bytes))
    }
}
