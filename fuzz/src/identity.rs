//! The file with a node's own keys.
//!
//! Keys that are read from a file and written to another file read back as equal keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use unanimity_state::Identity;
use unanimity_storage::Storage;

use crate::scratch;

/// Checks one `identity.json`.
pub fn check(data: &[u8]) {
    let (from, to) = (scratch::directory().join("from"), scratch::directory().join("to"));
    let peer = from.join("peer");
    fs::create_dir_all(&peer).expect("a directory");
    let file = peer.join("identity.json");
    fs::write(&file, data).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
    let Ok(identity) = Identity::read(&from) else { return };
    let identity = identity.expect("the file is there");
    fs::remove_dir_all(&to).ok();
    identity.write(&to, &Storage::default()).expect("written");
    let again = Identity::read(&to).expect("what was written").expect("what was written");
    assert_eq!(
        identity.cosigning_key.to_private_key_line(),
        again.cosigning_key.to_private_key_line()
    );
    assert_eq!(identity.client_auth.as_bytes(), again.client_auth.as_bytes());
}
