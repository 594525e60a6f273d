//! `log`: writing, exporting and reading an audit log, and proofs of its entries.

mod append;
mod command;
mod export;
pub(crate) mod source;

pub(crate) use command::LogCommand;
pub(crate) use source::head_json;
