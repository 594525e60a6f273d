//! Peers over Tor, with arti on both sides. The one crate that names arti.
//!
//! A peer is dialled on a circuit of its own that is shared with nobody else's questions. We hold
//! the circuit ourselves while it answers, since arti makes a new one, and fetches the descriptor
//! anew, at every dial with a discovery key. After any failure the next dial takes a new one,
//! because a circuit to a service that restarted is dead without saying so.

mod arti_config;
mod client;
mod connector;
mod error;
mod hosting;
mod readers;
mod service;

pub use client::{Tor, TorStream};
pub use error::TorError;
pub use hosting::{hosting, hosting_artifacts};
pub use readers::Readers;
pub use service::{Door, Hosting, MAX_STREAMS_PER_CIRCUIT, OnionListener, Service, address_of};
