//! The client's state file, as the fuzzer wrote it and with renewed signatures and digest.
//!
//! A state that was read and saved reads again, and saves to the same bytes. The state's head is a
//! head of the log, its frontier belongs to that head, and a peer signed each of its cosigned
//! heads.

use std::fs;

use unanimity_state::{ClientState, ClientStore};
use unanimity_storage::Storage;

use crate::keys::KEYS;
use crate::{repair, scratch};

/// Checks one state file, as it is and with renewed signatures and digest.
pub fn check(data: &[u8]) {
    check_file(data);
    if let Some(text) = repair::sealed(data) {
        check_file(text.as_bytes());
    }
}

fn check_file(bytes: &[u8]) {
    let directory = scratch::directory();
    let file = directory.join("client.json");
    fs::write(&file, bytes).expect("a file");
    let (policy, peers) = (&KEYS.policy, &KEYS.peers);
    let Ok(state) = ClientStore::read(&directory, policy, peers, &Storage::default()) else {
        return;
    };
    check_signers(&state);
    let catalog =
        ClientStore::read_catalog(&directory, policy, &Storage::default()).expect("it was read");
    assert_eq!(format!("{catalog:?}"), format!("{:?}", state.catalog));
    let saved = save(&state);
    let again =
        ClientStore::read(&directory, policy, peers, &Storage::default()).expect("as saved");
    assert_eq!(format!("{again:?}"), format!("{state:?}"));
    assert_eq!(save(&again), saved);
}

fn save(state: &ClientState) -> Vec<u8> {
    let directory = scratch::directory();
    let open = ClientStore::open(&directory, &KEYS.policy, &KEYS.peers, Storage::default());
    let (mut store, _) = open.expect("no other process holds the lock");
    store.save(state).expect("written");
    fs::read(directory.join("client.json")).expect("the file is there")
}

fn check_signers(state: &ClientState) {
    if let Some(head) = &state.head {
        assert_eq!(head.log(), KEYS.log.id());
    }
    if state.frontier.size() > 0 {
        let head = state.head.as_ref().expect("a frontier belongs to a head");
        assert_eq!((state.frontier.size(), state.frontier.root()), (head.size(), *head.root()));
    }
    let is_peer = |key| KEYS.peers.iter().any(|peer| peer.key.raw() == key);
    assert!(state.largest_heads.iter().all(|(key, head)| is_peer(*key) && head.cosigner() == *key));
    assert!(state.silent_since.keys().all(|key| is_peer(*key)));
    for round in &state.rounds {
        assert!(round.cosigned_heads().all(|head| is_peer(head.cosigner())));
    }
}
