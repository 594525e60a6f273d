//! The sections of the configuration, a file for each: the TOML table, and the checked settings
//! made from it.

pub(crate) mod alert;
pub(crate) mod hooks;
pub(crate) mod install;
pub(crate) mod limits;
pub(crate) mod mirror;
pub(crate) mod polling;
pub(crate) mod serve;
pub(crate) mod tor;
