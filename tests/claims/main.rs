//! The claims of this project, as tests: each is named for what it says.

mod alert_command;
mod alert_redaction;
mod alerts;
mod attacks;
mod audit;
mod command_line;
#[cfg(feature = "tor")]
mod control_socket;
mod dist;
mod operator_commands;
// What the program prints depends on both: its verbs on Tor, and hashes on the platform of releases.
#[cfg(all(feature = "tor", target_os = "linux", target_arch = "x86_64"))]
mod goldens;
mod installer;
#[cfg(feature = "tor")]
mod onion_demo;
mod outcomes;
#[cfg(feature = "tor")]
mod pairing;
#[cfg(feature = "tor")]
mod peers_command;
mod power;
#[cfg(feature = "tor")]
mod products;
mod progress_lines;
mod publisher;
mod signals;
#[cfg(feature = "tor")]
mod sockets;
#[cfg(feature = "tor")]
mod tor;
