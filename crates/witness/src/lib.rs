//! The peer: follows a log by itself and tells who asks what it has seen.
//!
//! It polls its own mirrors at random times and *never fetches because it was asked*: else
//! whoever owns the mirrors could show the fork to everybody in the moment after the victim
//! asks. Its head moves only along trees that its own mirrors served and that it has hashed
//! itself; a head heard from anybody else is never adopted and never cosigned.
//!
//! It also keeps the entries below its head, and serves all of it as a mirror does ([`file_view`]):
//! for whoever is listed and finds no other mirror.

mod answer;
mod entry_files;
mod entry_store;
pub mod file_view;
mod witness;

pub use answer::{FRAME_TIMEOUT, MAX_QUESTIONS, MAX_STREAMS, STREAM_TIMEOUT, SURE_OF_PLACE};
pub use witness::{Follow, PeerError, PeerNode, Place, Polled};
