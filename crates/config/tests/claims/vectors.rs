//! The invites in `spec/vectors/invites`, parsed by this crate.

use unanimity_config::Invite;
use unanimity_testkit::vectors::compare_answers;

#[test]
fn invites_are_read_as_their_vectors_say() {
    compare_answers("invites", |_, bytes| {
        let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let invite: Invite = text.parse().map_err(|error| format!("{error:?}"))?;
        assert_eq!(invite.to_string(), text.trim(), "one invite has one spelling");
        let fingerprint = invite.fingerprint();
        let Invite { name, key, origin, size, .. } = invite;
        Ok(format!(
            "peer {name} with key {key}, log {origin}, size {size}, fingerprint {fingerprint}"
        ))
    });
}
