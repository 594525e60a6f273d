//! Every durable write, of one file or of many at once, whole or not at all; bounded reads; whose a path is; the clock.
//!
//! A file is written under a temporary name beside its place, synced, renamed, and its
//! directory synced. A [`Storage`] may carry a hook that sees every step before it is taken
//! and may fail it: so tests record the order, and kill the program at each step. Below it is a
//! [`FileSystem`], which is this machine's unless a simulation brings its own.

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
