//! Keeps software up to date for people who may be singled out.
pub mod clock;
pub mod durable;
pub mod log;
pub mod net;
pub mod publish;
pub mod verify;
