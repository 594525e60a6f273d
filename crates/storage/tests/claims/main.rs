//! The claims of the storage crate. The name of a test is the claim.

mod durable;
mod power_loss_fs;
mod trusted_path;
