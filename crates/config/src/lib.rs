//! The files that an operator writes, the configuration of a node and `peers.toml`, as plain
//! checked data.
//!
//! An unknown field is an error that names the line. A contradiction is an error, such as one key
//! in two roles. A [`NodeConfig`] may have too few peers; [`NodeConfig::client_config`] refuses
//! too few peers. This crate opens no connection and starts no thread.

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

pub use address::client_auth::{ClientAuthKey, ClientAuthSecret};
pub use address::onion::OnionAddress;
pub use address::url::{MirrorHost, MirrorUrl, MirrorUrlError, WEB_PORT};
pub use client::ClientConfig;
pub use cycle_settings::CycleSettings;
pub use default_path::config_path;
pub use error::{ConfigError, ConfigErrorKind, PinnedError};
pub use load::{load_client_config, load_node_config, this_platform};
pub use node::NodeConfig;
pub use peers::edit::{self, EditError};
pub use peers::entry::{Membership, PeerEntry};
pub use peers::error::PeerListError;
pub use peers::fingerprint::Fingerprint;
pub use peers::invite::{Invite, InviteError};
pub use peers::list::PeerList;
pub use program_error::{AlertProgramError, check_executable};
pub use sections::alert::AlertSettings;
pub use sections::hooks::HookSettings;
pub use sections::install::SpoolSettings;
pub use sections::mirror::{MirrorError, MirrorSpec};
pub use sections::polling::PollingSettings;
pub use sections::serve::{ServeArtifactsSettings, ServePolicy, ServeSettings};
pub use source::ConfigSource;
pub use tor_settings::{TorNetwork, TorSettings};
