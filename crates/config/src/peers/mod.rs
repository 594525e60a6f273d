//! The peers of a node: `peers.toml`, its edits, and the invites by which two nodes become each
//! other's peers.
//!
//! A [`PeerList`](list::PeerList) is the content of the file. It may have too few peers to confirm
//! anything, so a node can start before enough peers are listed. Only
//! [`PeerList::counted_peers`](list::PeerList::counted_peers) makes the
//! [`PeerSet`](unanimity_protocol::PeerSet) without which nothing installs.
//!
//! | in the file | [`Membership`](entry::Membership) | has to confirm | may ask this node |
//! |---|---|---|---|
//! | neither of the two keys below | `Counted` | yes | yes |
//! | `joining = "SIZE ROOT"` | `Joining` | no: it is asked and does not count | yes |
//! | `leaves_at = "TIME"` | `Leaving` | until that time | until that time |
//! | both keys | `Leaving`, since 1970 | no: it never counted, so it leaves at once | no |
//!
//! A peer that the operator writes into the file without `joining` counts at once.

pub mod edit;
pub mod entry;
pub mod error;
pub mod fingerprint;
mod head_claim;
pub mod invite;
mod layout;
pub mod list;
mod read;
