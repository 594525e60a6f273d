//! The path of the daemon's control socket.

use std::path::{Path, PathBuf};

/// The most bytes of a socket's path: 108 with the terminating zero (unix(7)).
const MAX_PATH_BYTES: usize = 107;

/// The path of the control socket is too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: the path of a socket has at most {MAX_PATH_BYTES} bytes, and this one has {}. Choose a shorter state directory",
    .0.display(), .0.as_os_str().len()
)]
pub struct SocketPathError(pub PathBuf);

/// The directory of the daemon's socket, in the node's state directory.
pub fn socket_directory(state: &Path) -> PathBuf {
    state.join("serve")
}

/// Refuses a state directory in which the path of the socket is longer than 107 bytes.
pub fn check_socket_path(state: &Path) -> Result<(), SocketPathError> {
    let path = socket_directory(state).join("socket");
    if path.as_os_str().len() > MAX_PATH_BYTES { Err(SocketPathError(path)) } else { Ok(()) }
}
