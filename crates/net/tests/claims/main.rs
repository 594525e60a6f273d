//! What the net crate promises, as tests: each is named for what it says.

mod file_server;
mod http;
mod message;
mod mirrors;
mod tls;
mod vectors;
