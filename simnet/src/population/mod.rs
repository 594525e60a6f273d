//! The population tier: up to a million nodes as numbers, with the decisions of the shipped client
//! and witness. It has no bytes and no keys.
//!
//! **Modelled**, as the shipped code does it:
//!
//! - Polls: their times, what a witness adopts from its mirror, and how long its head is fresh
//!   (`peer`).
//! - The tries, deadlines and waits of a round (`peer_tries`), after `unanimity_client`'s `round`.
//!   The waits are drawn by the client's own function.
//! - The decision (`decide`), after the client's own `decide`: remembered heads, staleness, the
//!   trusted head, the rounds kept while a release settles, and the choice among releases.
//! - Three rules are the client's own code, in [`unanimity_protocol::decision`]: which answers
//!   count, which head is adopted, and the verdict of a round.
//! - Times that are signed or compared are whole seconds, as in the client.
//!
//! **Not modelled**:
//!
//! - signatures, proofs and files, which count as valid
//! - more than one mirror for a node
//! - the time that mirrors, tiles and artifacts take
//! - a witness's limit of connections
//! - expiry and conflict of releases, and withdrawals other than that of a logged trojan
//! - acknowledged evidence
//! - faults made of bytes or disk steps ([`check_playable`])
//!
//! A mirror that shows less than the trusted head (a rollback) counts as
//! [`Stale`](crate::trace::CycleResult::Stale), too.
//!
//! Events of one time happen in order of their nodes: a question belongs to the peer that is asked,
//! every other step to the node that takes it. Steps of one node and time happen in the order in
//! which they were scheduled.

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
