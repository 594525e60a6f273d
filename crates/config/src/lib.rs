//! What operators write: the configuration of a node and `peers.toml`, as plain checked data.
//!
//! Unknown fields are errors that name the line. This crate refuses contradictions,
//! such as one key in two roles. A [`Node`] may have too few peers; [`Node::client`] refuses that. Nothing
//! here opens a connection or starts a thread.

pub mod address;
mod client;
mod cycle_settings;
pub mod default_path;
mod error;
mod load;
mod node;
pub mod operator_file;
pub mod peers;
mod program_error;
mod reload;
mod sections;
pub mod socket_path;
mod source;
pub mod tor_settings;

pub use address::client_auth::{DiscoveryKey, DiscoverySecret};
pub use address::onion::OnionAddress;
pub use address::url::{Host, Site, SiteError, WEB_PORT};
pub use client::Config;
pub use cycle_settings::CycleSettings;
pub use default_path::config_path;
pub use error::{ConfigError, PinnedError, Why};
pub use load::{load, load_node, this_platform};
pub use node::Node;
pub use peers::edit::{self, EditError};
pub use peers::entry::{Member, Standing};
pub use peers::error::CircleError;
pub use peers::fingerprint::Fingerprint;
pub use peers::invite::{Ticket, TicketError};
pub use peers::list::Circle;
pub use program_error::{ProgramError, check_executable};
pub use sections::alert::Alarm;
pub use sections::hooks::Procedure;
pub use sections::install::Spool;
pub use sections::mirror::{MirrorError, MirrorSpec};
pub use sections::polling::Polling;
pub use sections::serve::{Serve, ServeArtifacts, ServePolicy};
pub use source::Source;
pub use tor_settings::{TorNetwork, TorSettings};
