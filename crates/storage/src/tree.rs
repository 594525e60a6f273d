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
    root: Box<dyn DirHandle>,
    /// The directories on the way to where something was made last. A path has no more parts than
    /// its maker allows, and so many are open at once.
    open_dirs: Vec<(String, Box<dyn DirHandle>)>,
    file: Option<(PathBuf, Box<dyn WritableFile>)>,
}

impl Storage {
    /// Makes an empty directory to be filled. What an interrupted run left under its name is removed.
    pub fn create_tree(&self, path: &Path) -> Result<TreeWriter, StorageError> {
        let make = || {
            self.remove(path)?;
            self.run_hook(WriteStep::MakeDir(path.to_owned()))?;
            self.files.make_dir(path, Mode::Public)?;
            self.files.open_dir(path)
        };
        let top = make().map_err(StorageError::at(path))?;
        Ok(TreeWriter {
            disk: self.clone(),
            path: path.to_owned(),
            root: top,
            open_dirs: Vec::new(),
            file: None,
        })
    }
}

/// Paths are relative, with slashes between names, and everything above the last name is there.
impl TreeWriter {
    /// Makes a directory, for everybody to read.
    pub fn make_dir(&mut self, path: &str) -> Result<(), StorageError> {
        self.make_entry(path, WriteStep::MakeDir, |above, name| {
            above.make_dir(name, Mode::Public).map(drop)
        })
    }

    /// Makes a symbolic link.
    pub fn symlink(&mut self, target: &str, path: &str) -> Result<(), StorageError> {
        self.make_entry(path, WriteStep::Symlink, |above, name| above.symlink(target, name))
    }

    /// Creates a file; what is [written](TreeWriter::write) from now on is its bytes.
    pub fn create(&mut self, path: &str, mode: Mode) -> Result<(), StorageError> {
        let file =
            self.make_entry(path, WriteStep::Create, |above, name| above.create(name, mode))?;
        self.file = Some((self.path.join(path), file));
        Ok(())
    }

    /// Adds bytes to the file that was created last.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let Some((path, file)) = &mut self.file else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "no file was created");
            return Err(StorageError::at(&self.path)(error));
        };
        (self.disk.announce_write(path))
            .and_then(|()| file.write_all(bytes))
            .map_err(StorageError::at(path))
    }

    /// Makes all of it durable, as far as it is in this directory: its own name is not.
    pub fn sync(self) -> Result<(), StorageError> {
        (self.disk.run_hook(WriteStep::SyncTree(self.path.clone())))
            .and_then(|()| self.root.sync_tree())
            .map_err(StorageError::at(&self.path))
    }

    fn make_entry<T>(
        &mut self,
        path: &str,
        step: impl FnOnce(PathBuf) -> WriteStep,
        make: impl FnOnce(&dyn DirHandle, &str) -> io::Result<T>,
    ) -> Result<T, StorageError> {
        self.file = None;
        let whole = self.path.join(path);
        let making = || {
            self.disk.run_hook(step(whole.clone()))?;
            let (above, name) = match path.rsplit_once('/') {
                Some((above, name)) => (Some(above), name),
                None => (None, path),
            };
            make(self.open_dir_at(above)?, name)
        };
        making().map_err(StorageError::at(&whole))
    }

    /// The directory at a path, or the top. What was opened on the way to the last one is not opened again.
    fn open_dir_at(&mut self, path: Option<&str>) -> io::Result<&dyn DirHandle> {
        let names = || path.into_iter().flat_map(|path| path.split('/'));
        let common =
            names().zip(&self.open_dirs).take_while(|(name, (open, _))| name == open).count();
        self.open_dirs.truncate(common);
        for name in names().skip(common) {
            let above = self.open_dirs.last().map_or(&self.root, |(_, directory)| directory);
            let opened = above.open_dir(name)?;
            self.open_dirs.push((name.to_owned(), opened));
        }
        Ok(&**self.open_dirs.last().map_or(&self.root, |(_, directory)| directory))
    }
}

impl std::fmt::Debug for TreeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tree({})", self.path.display())
    }
}
