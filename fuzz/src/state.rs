//! The client's state file: as it comes, and with its signatures and its digest made to fit.
//!
//! What is read is saved, and reads again to a state that saves the same bytes. The head in it is the
//! log's, its edge is that head's, and every view in it is a peer's.

use std::fs;

use unanimity_state::{ClientState, ClientStore};
use unanimity_storage::Storage;

use crate::keys::KEYS;
use crate::{repair, scratch};

/// Checks one file.
pub fn check(data: &[u8]) {
    reads(data);
    if let Some(text) = repair::sealed(data) {
        reads(text.as_bytes());
    }
}

fn reads(bytes: &[u8]) {
    let place = scratch::place();
    let file = place.join("client.json");
    fs::write(&file, bytes).expect("a file");
    let (policy, peers) = (&KEYS.policy, &KEYS.peers);
    let Ok(state) = ClientStore::read(&place, policy, peers, &Storage::default()) else { return };
    holds(&state);
    let catalog = ClientStore::catalog(&place, policy, &Storage::default()).expect("it was read");
    assert_eq!(format!("{catalog:?}"), format!("{:?}", state.catalog));
    let saved = save(&state);
    let again = ClientStore::read(&place, policy, peers, &Storage::default()).expect("as saved");
    assert_eq!(format!("{again:?}"), format!("{state:?}"));
    assert_eq!(save(&again), saved);
}

fn save(state: &ClientState) -> Vec<u8> {
    let place = scratch::place();
    let open = ClientStore::open(&place, &KEYS.policy, &KEYS.peers, Storage::default());
    let (mut store, _) = open.expect("nobody else has it");
    store.save(state).expect("written");
    fs::read(place.join("client.json")).expect("the file is there")
}

fn holds(state: &ClientState) {
    if let Some(head) = &state.head {
        assert_eq!(head.log(), KEYS.log.id());
    }
    if state.frontier.size() > 0 {
        let head = state.head.as_ref().expect("an edge is a head's");
        assert_eq!((state.frontier.size(), state.frontier.root()), (head.size(), *head.root()));
    }
    let is_peer = |key| KEYS.peers.iter().any(|peer| peer.key.raw() == key);
    assert!(state.largest.iter().all(|(key, view)| is_peer(*key) && view.cosigner() == *key));
    assert!(state.silent_since.keys().all(|key| is_peer(*key)));
    for roll in &state.rolls {
        assert!(roll.views().all(|view| is_peer(view.cosigner())));
    }
}
