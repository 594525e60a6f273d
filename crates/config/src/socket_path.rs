//! Where the socket of a daemon is.

use std::path::{Path, PathBuf};

/// The most bytes of a socket's path (unix(7)): 108 with the zero behind it.
const MAX_PATH_BYTES: usize = 107;

/// No socket can have such a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: a socket's path has at most {MAX_PATH_BYTES} bytes, and this one has {}: choose a shorter directory",
    .0.display(), .0.as_os_str().len()
)]
pub struct SocketPathError(pub PathBuf);

/// The directory of a daemon's socket, below a node's state.
pub fn socket_directory(state: &Path) -> PathBuf {
    state.join("serve")
}

/// Whether a daemon could have its socket in a state there.
pub fn check_socket_path(state: &Path) -> Result<(), SocketPathError> {
    let path = socket_directory(state).join("socket");
    if path.as_os_str().len() > MAX_PATH_BYTES { Err(SocketPathError(path)) } else { Ok(()) }
}
