//! Who a node's peers are: `peers.toml`, and the tickets by which two people become each
//! other's peers.
//!
//! A [`PeerList`](list::Circle) is what the file says. It may be too small to confirm anything, so that a node
//! can start before its circle is complete; only [`PeerList::counted_peers`](list::Circle::counted) makes the [`PeerSet`](unanimity_protocol::PeerSet)
//! without which nothing installs.
//!
//! | in the file | [`Membership`](entry::Standing) | has to confirm | may find our service |
//! |---|---|---|---|
//! | neither of the two lines below | `AnswerCounter` | yes | yes |
//! | `joining = "SIZE ROOT"` | `Joining` | no: asked, and not counted | yes |
//! | `leaves = "TIME"` | `Leaving` | until that time | until that time |
//! | both | `Leaving`, already over | no: it never counted, so nothing waits for it | no |
//!
//! A peer that is added by hand counts at once: the operator said so.

pub mod edit;
pub mod entry;
pub mod error;
pub mod fingerprint;
mod head_claim;
pub mod invite;
mod layout;
pub mod list;
mod read;
