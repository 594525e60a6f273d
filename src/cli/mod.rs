//! The command line: arguments in, one exit code out, and the words people read between.

mod arguments;
mod cycle;
#[cfg(feature = "demo")]
mod demo;
mod evidence;
mod input;
mod interrupt;
mod log;
mod memories;
mod node;
mod ours;
#[cfg(feature = "tor")]
mod peers;
pub mod progress;
mod publisher;
mod runtime;
mod secrets;
#[cfg(feature = "tor")]
mod serve;
mod site;
mod staged;
mod statement;
mod status;
mod verify;
mod versions;

pub use arguments::main;
