//! The command line: one file for each verb or group of verbs, and the rendering of results.

mod arguments;
mod cycle;
#[cfg(feature = "tor")]
mod daemon;
#[cfg(feature = "tor")]
mod daemon_client;
#[cfg(feature = "demo")]
mod demo;
mod evidence;
mod input;
mod interrupt;
mod log;
mod node;
#[cfg(feature = "tor")]
mod offline;
#[cfg(feature = "tor")]
mod open_node;
mod passphrase;
#[cfg(feature = "tor")]
mod peers;
pub mod progress;
mod publisher;
mod render_cycle;
mod render_statement;
#[cfg(feature = "tor")]
mod request;
mod runtime;
mod status;
mod verify;
mod versions;

pub use arguments::main;
