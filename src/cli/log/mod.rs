//! `log`: write an audit log, look at one, prove that an entry is in it.

mod append;
mod command;
pub(crate) mod source;

pub(crate) use command::LogCommand;
pub(crate) use source::head_json;
