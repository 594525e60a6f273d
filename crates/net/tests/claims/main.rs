//! The claims of the crate `unanimity-net`, as tests. The name of a test is its claim.

mod file_server;
mod http;
mod message;
mod mirrors;
mod tls;
mod vectors;
