//! Connections to peers and mirrors over Tor, and onion services. The only crate that depends on
//! arti.
//!
//! Each peer has its own circuit, which carries no other traffic. This crate keeps the circuit
//! while the peer answers. With a client authorization key, arti itself would build a circuit and
//! fetch the descriptor for each connection.
//!
//! After a failure, the next connection uses a new circuit: a circuit to a restarted service is
//! dead, but shows no error.

mod arti_config;
mod authorized_clients;
mod client;
mod connector;
mod error;
mod service;
mod service_settings;

pub use authorized_clients::AuthorizedClients;
pub use client::{TorClient, TorStream};
pub use error::TorError;
pub use service::{
    MAX_STREAMS_PER_CIRCUIT, OnionListener, OnionService, PortListener, ServiceSettings,
    service_address,
};
pub use service_settings::{artifact_service_settings, service_settings};
