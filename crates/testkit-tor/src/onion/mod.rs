//! Five peers and a client as processes over the private network.

pub(crate) mod backend;
pub(crate) mod mirror;
pub(crate) mod process;
pub(crate) mod script;
pub(crate) mod world;
