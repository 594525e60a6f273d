//! What the net crate promises, as tests: each is named for what it says.

mod host;
mod http;
mod mirrors;
mod tls;
mod vectors;
mod wire;
