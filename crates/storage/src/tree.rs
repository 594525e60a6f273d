//! A writer for a whole directory tree, which gets its final name when all of it is durable.
//!
//! The caller takes three steps:
//!
//! 1. Create and write all entries, without a sync.
//! 2. Call [`TreeWriter::sync`], which makes all of them durable.
//! 3. Rename the tree to its final name.
//!
//! If the process ends before the third step, the next [`Storage::create_tree`] with this path
//! removes the unfinished tree.

use std::io;
use std::path::{Path, PathBuf};

use crate::{DirHandle, Mode, Storage, StorageError, WritableFile, WriteStep};

/// A writer that fills one new directory. Every new entry is inside that directory: each name of a
/// path is looked up in the open directory above it, and no link is followed.
pub struct TreeWriter {
    disk: Storage,
    path: PathBuf,
    root: Box<dyn DirHandle>,
    /// The open directories on the path of the last new entry. Their number is at most the depth of
    /// the tree, which the caller bounds.
    open_dirs: Vec<(String, Box<dyn DirHandle>)>,
    file: Option<(PathBuf, Box<dyn WritableFile>)>,
}

impl Storage {
    /// Creates an empty directory, and the writer that fills it. An existing file or tree at `path`
    /// is removed first.
    pub fn create_tree(&self, path: &Path) -> Result<TreeWriter, StorageError> {
        let make = || {
            self.remove(path)?;
            self.run_hook(WriteStep::MakeDir(path.to_owned()))?;
            self.files.make_dir(path, Mode::Public)?;
            self.files.open_dir(path)
        };
        let root = make().map_err(StorageError::at(path))?;
        Ok(TreeWriter {
            disk: self.clone(),
            path: path.to_owned(),
            root,
            open_dirs: Vec::new(),
            file: None,
        })
    }
}

/// All paths are relative to the root of the tree, with slashes between names. The directories
/// above the last name must exist.
impl TreeWriter {
    /// Creates a directory of mode 0755.
    pub fn make_dir(&mut self, path: &str) -> Result<(), StorageError> {
        self.make_entry(path, WriteStep::MakeDir, |above, name| {
            above.make_dir(name, Mode::Public).map(drop)
        })
    }

    /// Creates a symbolic link.
    pub fn symlink(&mut self, target: &str, path: &str) -> Result<(), StorageError> {
        self.make_entry(path, WriteStep::Symlink, |above, name| above.symlink(target, name))
    }

    /// Creates a file. Later calls of [`TreeWriter::write`] append to it.
    pub fn create(&mut self, path: &str, mode: Mode) -> Result<(), StorageError> {
        let file =
            self.make_entry(path, WriteStep::Create, |above, name| above.create(name, mode))?;
        self.file = Some((self.path.join(path), file));
        Ok(())
    }

    /// Appends bytes to the file that was created last. Fails with [`io::ErrorKind::InvalidInput`]
    /// if there is no such file, or if another entry was created after it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let Some((path, file)) = &mut self.file else {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "no file is open for writing");
            return Err(StorageError::at(&self.path)(error));
        };
        (self.disk.announce_write(path))
            .and_then(|()| file.write_all(bytes))
            .map_err(StorageError::at(path))
    }

    /// Makes the content of the tree durable. The name of the tree itself is not durable yet.
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
        let full_path = self.path.join(path);
        let create = || {
            self.disk.run_hook(step(full_path.clone()))?;
            let (above, name) = match path.rsplit_once('/') {
                Some((above, name)) => (Some(above), name),
                None => (None, path),
            };
            make(self.open_dir_at(above)?, name)
        };
        create().map_err(StorageError::at(&full_path))
    }

    /// Opens the directory at a path, or the root of the tree for `None`. Uses directories again
    /// that are open already.
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
        write!(f, "TreeWriter({})", self.path.display())
    }
}
