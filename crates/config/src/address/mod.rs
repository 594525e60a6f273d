//! Addresses of peers and mirrors, and the keys by which peers find a service.

pub mod client_auth;
pub mod onion;
pub mod url;
