//! `log`: write an audit log, look at one, prove that an entry is in it.

mod append;
pub(crate) mod source;
mod verb;

pub(crate) use source::head_json;
pub(crate) use verb::LogCommand;
