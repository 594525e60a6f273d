//! Keeps software up to date for people who may be singled out.
pub mod clock;
pub mod config;
pub mod demo;
pub mod durable;
pub mod install;
pub mod log;
pub mod net;
pub mod peer;
pub mod publish;
pub mod store;
pub mod update;
pub mod verify;
