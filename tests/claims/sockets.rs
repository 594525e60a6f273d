//! The daemon's control socket: the longest path that it can have, and nodes without a daemon.

use unanimity::daemon::control_socket::{self, ControlSocket, ControlSocketError};
use unanimity_storage::Storage;

use crate::messages::Messages;

#[tokio::test]
async fn a_state_directory_too_long_for_a_socket_has_no_daemon() {
    let scratch = tempfile::tempdir().unwrap();
    let state = scratch.path().join("d".repeat(100));
    assert!(control_socket::send_request(&state, "{}", |_| {}).await.unwrap().is_none());
    // A command without a daemon is still the only owner of the state.
    let owner = ControlSocket::new(&state, &Storage::default()).unwrap();
    assert!(matches!(
        ControlSocket::new(&state, &Storage::default()),
        Err(ControlSocketError::Busy(_))
    ));
    let error = owner.listen().unwrap_err();
    let mut messages = Messages::new(scratch.path());
    messages.add("long state directory", &error.to_string());
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/socket_path.txt"]);
}

#[tokio::test]
async fn a_socket_without_a_listener_is_no_daemon() {
    let scratch = tempfile::tempdir().unwrap();
    assert!(control_socket::send_request(scratch.path(), "{}", |_| {}).await.unwrap().is_none());
    drop(ControlSocket::new(scratch.path(), &Storage::default()).unwrap().listen().unwrap());
    assert!(control_socket::send_request(scratch.path(), "{}", |_| {}).await.unwrap().is_none());
}
