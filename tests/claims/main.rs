//! The claims of this project that need its programs or several crates, as tests.
//!
//! The name of a test is the claim. The tests of one crate are in its own `tests/claims/`.

mod alert_command;
mod alert_redaction;
mod alerts;
mod attacks;
mod audit;
mod command_line;
#[cfg(feature = "tor")]
mod control_socket;
mod dist;
mod documents;
mod operator_commands;
// The recorded output depends on the feature and on the platform: the verbs on `tor`, the hashes on
// the platform of the released artifacts.
#[cfg(all(feature = "tor", target_os = "linux", target_arch = "x86_64"))]
mod goldens;
mod installer;
mod messages;
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
