//! The daemon's socket: where it can be, and what a node without one does.

use unanimity::daemon::control_socket::{self};
use unanimity::daemon::control_socket::{ControlSocket, ControlSocketError};
use unanimity_storage::Storage;

#[tokio::test]
async fn a_state_too_deep_for_a_socket_has_no_daemon_and_its_commands_run_by_themselves() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("d".repeat(100));
    assert!(control_socket::send_request(&state, "{}", |_| {}).await.unwrap().is_none());
    // Who works on it alone still is its only owner.
    let owner = ControlSocket::new(&state, &Storage::default()).unwrap();
    assert!(matches!(
        ControlSocket::new(&state, &Storage::default()),
        Err(ControlSocketError::Busy(_))
    ));
    let error = owner.listen().unwrap_err();
    assert!(error.to_string().contains("choose a shorter directory"), "{error}");
}

#[tokio::test]
async fn nobody_at_the_socket_is_no_daemon() {
    let place = tempfile::tempdir().unwrap();
    assert!(control_socket::send_request(place.path(), "{}", |_| {}).await.unwrap().is_none());
    drop(ControlSocket::new(place.path(), &Storage::default()).unwrap().listen().unwrap());
    assert!(control_socket::send_request(place.path(), "{}", |_| {}).await.unwrap().is_none());
}
