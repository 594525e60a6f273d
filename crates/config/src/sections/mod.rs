//! The sections of the configuration: one file for each, with the table as it is written and the
//! checked type that it becomes.

pub(crate) mod alert;
pub(crate) mod hooks;
pub(crate) mod install;
pub(crate) mod limits;
pub(crate) mod mirror;
pub(crate) mod polling;
pub(crate) mod serve;
pub(crate) mod tor;
