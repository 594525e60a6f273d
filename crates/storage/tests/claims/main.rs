//! What the storage crate promises, as tests: each is named for what it says.

mod durable;
mod power_loss_fs;
mod trusted_path;
