//! The command line: arguments in, one exit code out, and the words people read between.

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
mod site;
mod status;
mod verify;
mod versions;

pub use arguments::main;
