//! Tier 2: up to a million nodes as numbers. No bytes, no keys, and the decisions of the client
//! and the peer that ship.
//!
//! **Modelled**, each as the code that ships does it: when a peer polls, what it makes of its mirror,
//! up or down, and for how long it vouches for that (`peer`); the tries, deadlines and waits of a roll (`active_round`,
//! after `unanimity_client`'s `ask`; the waits are drawn by the function it uses itself); which
//! answers count, what is remembered, the joining of all heads heard, staleness, the trusted
//! head, the rolls kept while a release settles, and the choice among releases (`decide`, after
//! `SimulatedClient::decide`). Three rules are the client's own, of [`unanimity_protocol::decision`]: which answers
//! count, which head is adopted, and what a roll amounts to. Moments that the code signs or
//! compares are whole seconds, as there.
//!
//! **Not modelled**: signatures, proofs and files, which are taken to be right; more than one mirror
//! to a node; the time that mirrors, tiles and artifacts take; a peer's limit of streams; expiry
//! and conflict of releases, and withdrawals but of a logged trojan; acknowledged evidence; faults that are made of bytes or of
//! steps on a disk ([`check_playable`]).
//! Two refusals are told as one word: a mirror that shows less than the trusted head (a rollback)
//! is [`CycleTaskResult::Stale`](crate::trace::Cycle::Stale) too.
//!
//! What happens at one time happens in order of the nodes it happens to: a question to the peer
//! that is asked, everything else to whoever does it. What was arranged first happens first.

mod active_rounds;
mod answer;
mod buffers;
mod decide;
mod kept_rounds;
mod model;
mod node;
mod packed_head;
mod peer;
mod peer_tries;
mod run;

pub use run::{RunStats, UnsupportedFault, bytes_needed, check_playable, run};
