//! Atomic and durable writes, bounded reads, ownership checks on paths, and the clock.
//!
//! [`Storage`] writes a file in four steps:
//!
//! 1. write it under a temporary name in the directory of the final name,
//! 2. sync the file,
//! 3. rename it,
//! 4. sync the directory.
//!
//! A [`Storage`] can have a hook that sees every [`WriteStep`] before it is done and can fail the
//! step. Tests use the hook to record the order of the steps, and to stop the program at each step.
//! Below [`Storage`] is a [`FileSystem`]: that of the operating system or of a simulation.

mod clock;
mod error;
mod filesystem;
mod hook;
mod mode;
mod os;
mod paths;
mod private_file;
mod read;
mod storage;
mod tree;
mod trusted_path;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::StorageError;
pub use filesystem::{DirHandle, FileSystem, Lock, ReadableFile, WritableFile};
pub use hook::WriteStep;
pub use mode::Mode;
pub use paths::{parent, temporary_path};
pub use private_file::{PrivateFileError, check_private, write_new};
pub use read::{open_regular_file, read, read_at_most};
pub use storage::{ResumedFile, Storage, lock};
pub use tree::TreeWriter;
pub use trusted_path::{UntrustedPath, check_trusted_path, check_trusted_tree};
