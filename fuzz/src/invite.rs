//! Tickets: as they come, and with a checksum that fits.
//!
//! A ticket has one spelling. Its peer, written into a peers file, is read from there unchanged.

use unanimity_config::peers::invite::MAX_TICKET_BYTES;
use unanimity_config::{Circle, Standing, Ticket, Why, edit};
use unanimity_protocol::Hash;

use crate::keys::KEYS;

/// Checks one ticket.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    reads(text);
    if let Some((said, _)) = text.trim().rsplit_once(',') {
        let digest = Hash::digest(said.as_bytes()).hex();
        reads(&format!("{said},{}", &digest[..8]));
    }
}

fn reads(text: &str) {
    let Ok(ticket) = text.parse::<Ticket>() else { return };
    let text = text.trim();
    assert_eq!(ticket.to_string(), text);
    assert!(text.len() <= MAX_TICKET_BYTES);
    assert!(!text.contains(|c: char| c.is_whitespace() || c.is_control()));
    assert_eq!(ticket.fingerprint().to_string().len(), 8 * 6 - 1);
    let member = ticket.member(&KEYS.log);
    let is_ours = ticket.log == KEYS.log.id() && ticket.origin == KEYS.log.origin;
    assert_eq!(member.is_ok(), is_ours);
    let Ok(member) = member else { return };
    assert_eq!(member.fingerprint(KEYS.log.id()), Some(ticket.fingerprint()));
    assert_eq!(member.standing, Standing::Joining { size: ticket.size, root: ticket.root });
    match Circle::parse(&format!("min_peers = 1\n{}", edit::block(&member))) {
        Ok(circle) => assert_eq!(circle.members(), [member]),
        Err(Why::Circle(_)) => {}
        Err(why) => panic!("a member that a peers file cannot say: {why}"),
    }
}
