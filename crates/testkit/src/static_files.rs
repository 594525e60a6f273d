//! A file store that serves a directory as a static web server does.

use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use unanimity_net::file_server::{FileStore, ServedFile};

/// A store of the files in one directory. The caller can set another directory, for all clones.
#[derive(Clone, Debug)]
pub struct StaticFiles(Arc<Mutex<PathBuf>>);

impl StaticFiles {
    /// Serves the files of `directory`.
    pub fn new(directory: PathBuf) -> StaticFiles {
        StaticFiles(Arc::new(Mutex::new(directory)))
    }

    /// Serves the files of another directory from now on.
    pub fn set_directory(&self, directory: PathBuf) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = directory;
    }
}

impl FileStore for StaticFiles {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        // No path outside the directory, and no hidden file.
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
