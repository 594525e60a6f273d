//! The claims of this project, as tests: each is named for what it says.

mod addresses;
mod alarm;
mod alarm_command;
mod alarm_words;
mod attacks;
mod circle;
mod command_line;
#[cfg(feature = "tor")]
mod commands;
mod config;
mod durable;
mod hostile;
mod http;
mod install;
mod keys;
mod log_writer;
mod logs;
mod memory;
mod mirrors;
mod model;
#[cfg(feature = "tor")]
mod onion_demo;
#[cfg(feature = "tor")]
mod pairing;
mod peer;
mod peer_disk;
#[cfg(feature = "tor")]
mod peers_command;
mod peers_file;
mod roll;
#[cfg(feature = "tor")]
mod sockets;
mod tickets;
mod tiles;
#[cfg(feature = "tor")]
mod tls;
#[cfg(feature = "tor")]
mod tor;
#[cfg(feature = "tor")]
mod tor_settings;
mod update;
mod verify;
mod wire;
