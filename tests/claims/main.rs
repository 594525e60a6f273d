//! The claims of this project, as tests: each is named for what it says.

mod alarm;
mod alarm_command;
mod alarm_words;
mod artifacts;
mod attacks;
mod audit;
mod by_hand;
mod command_line;
#[cfg(feature = "tor")]
mod commands;
mod dist;
// What the program prints depends on both: its verbs on Tor, and hashes on the platform of releases.
#[cfg(all(feature = "tor", target_os = "linux", target_arch = "x86_64"))]
mod goldens;
mod health;
mod hostile;
mod install;
mod installer;
mod interrupted;
mod memory;
mod model;
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
mod progress;
mod progress_lines;
mod publisher;
mod roll;
mod signals;
#[cfg(feature = "tor")]
mod sockets;
mod staged;
#[cfg(feature = "tor")]
mod tor;
mod trial;
mod unpack_install;
mod update;
mod withdrawn;
