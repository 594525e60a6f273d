//! Invites, as the fuzzer wrote them and with a corrected checksum.
//!
//! An invite has one spelling. Its peer reads back unchanged from `peers.toml`.

use unanimity_config::peers::invite::MAX_INVITE_BYTES;
use unanimity_config::{ConfigErrorKind, Invite, Membership, PeerList, edit};
use unanimity_protocol::Hash;

use crate::keys::KEYS;

/// Checks one text as an invite, as it is and with a corrected checksum.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    check_invite(text);
    if let Some((fields, _)) = text.trim().rsplit_once(',') {
        let digest = Hash::digest(fields.as_bytes()).hex();
        check_invite(&format!("{fields},{}", &digest[..8]));
    }
}

fn check_invite(text: &str) {
    let Ok(invite) = text.parse::<Invite>() else { return };
    let text = text.trim();
    assert_eq!(invite.to_string(), text);
    assert!(text.len() <= MAX_INVITE_BYTES);
    assert!(!text.contains(|c: char| c.is_whitespace() || c.is_control()));
    assert_eq!(invite.fingerprint().to_string().len(), 8 * 6 - 1);
    let entry = invite.to_peer_entry(&KEYS.log);
    let is_ours = invite.log == KEYS.log.id() && invite.origin == KEYS.log.origin;
    assert_eq!(entry.is_ok(), is_ours);
    let Ok(entry) = entry else { return };
    assert_eq!(entry.fingerprint(KEYS.log.id()), Some(invite.fingerprint()));
    assert_eq!(entry.membership, Membership::Joining { size: invite.size, root: invite.root });
    match PeerList::parse(&format!("min_peers = 1\n{}", edit::format_peer_table(&entry))) {
        Ok(peers) => assert_eq!(peers.entries(), [entry]),
        Err(ConfigErrorKind::PeerList(_)) => {}
        Err(why) => panic!("an entry that `peers.toml` cannot contain: {why}"),
    }
}
