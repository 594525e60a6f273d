//! A directory that is filled with a tree, to be given its name once all of it is durable.
//!
//! The order: everything is made and written without a sync; then one [`TreeWriter::sync`] makes all of
//! it durable; only then may the tree be renamed to where somebody looks for it. Until then a kill
//! or a power cut leaves a heap of files that nobody relies on, and the next run removes it.

use std::io;
use std::path::{Path, PathBuf};

use crate::{DirHandle, Mode, Storage, StorageError, WritableFile, WriteStep};

/// A directory that is being filled. What is made through it is in it: every name on a path is
/// looked up by itself in the open directory above it, and no link is followed.
pub struct TreeWriter {
    disk: Storage,
    path: PathBuf,
    top: Box<dyn DirHandle>,
    /// The directories on the way to where something was made last. A path has no more parts than
    /// its maker allows, and so many are open at once.
    way: Vec<(String, Box<dyn DirHandle>)>,
    file: Option<(PathBuf, Box<dyn WritableFile>)>,
}

impl Storage {
    /// Makes an empty directory to be filled. What an interrupted run left under its name is removed.
    pub fn new_tree(&self, path: &Path) -> Result<TreeWriter, StorageError> {
        let make = || {
            self.remove(path)?;
            self.step(WriteStep::MakeDir(path.to_owned()))?;
            self.files.make_dir(path, Mode::Public)?;
            self.files.open_dir(path)
        };
        let top = make().map_err(StorageError::at(path))?;
        Ok(TreeWriter {
            disk: self.clone(),
            path: path.to_owned(),
            top,
            way: Vec::new(),
            file: None,
        })
    }
}

/// Paths are relative, with slashes between names, and everything above the last name is there.
impl TreeWriter {
    /// Makes a directory, for everybody to read.
    pub fn make_dir(&mut self, path: &str) -> Result<(), StorageError> {
        self.make(path, WriteStep::MakeDir, |above, name| {
            above.make_dir(name, Mode::Public).map(drop)
        })
    }

    /// Makes a symbolic link.
    pub fn link(&mut self, target: &str, path: &str) -> Result<(), StorageError> {
        self.make(path, WriteStep::Link, |above, name| above.link(target, name))
    }

    /// Creates a file; what is [written](TreeWriter::write) from now on is its bytes.
    pub fn create(&mut self, path: &str, mode: Mode) -> Result<(), StorageError> {
        let file = self.make(path, WriteStep::Create, |above, name| above.create(name, mode))?;
        self.file = Some((self.path.join(path), file));
        Ok(())
    }

    /// Adds bytes to the file that was created last.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let Some((path, file)) = &mut self.file else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "no file was created");
            return Err(StorageError::at(&self.path)(error));
        };
        (self.disk.writing(path))
            .and_then(|()| file.write_all(bytes))
            .map_err(StorageError::at(path))
    }

    /// Makes all of it durable, as far as it is in this directory: its own name is not.
    pub fn sync(self) -> Result<(), StorageError> {
        (self.disk.step(WriteStep::SyncTree(self.path.clone())))
            .and_then(|()| self.top.sync_tree())
            .map_err(StorageError::at(&self.path))
    }

    fn make<T>(
        &mut self,
        path: &str,
        step: impl FnOnce(PathBuf) -> WriteStep,
        make: impl FnOnce(&dyn DirHandle, &str) -> io::Result<T>,
    ) -> Result<T, StorageError> {
        self.file = None;
        let whole = self.path.join(path);
        let making = || {
            self.disk.step(step(whole.clone()))?;
            let (above, name) = match path.rsplit_once('/') {
                Some((above, name)) => (Some(above), name),
                None => (None, path),
            };
            make(self.enter(above)?, name)
        };
        making().map_err(StorageError::at(&whole))
    }

    /// The directory at a path, or the top. What was opened on the way to the last one is not opened again.
    fn enter(&mut self, path: Option<&str>) -> io::Result<&dyn DirHandle> {
        let names = || path.into_iter().flat_map(|path| path.split('/'));
        let common = names().zip(&self.way).take_while(|(name, (open, _))| name == open).count();
        self.way.truncate(common);
        for name in names().skip(common) {
            let above = self.way.last().map_or(&self.top, |(_, directory)| directory);
            let opened = above.open_dir(name)?;
            self.way.push((name.to_owned(), opened));
        }
        Ok(&**self.way.last().map_or(&self.top, |(_, directory)| directory))
    }
}

impl std::fmt::Debug for TreeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({})", self.path.display())
    }
}
