//! Addresses of peers and mirrors, and the keys by which peers find an onion service.

pub mod client_auth;
pub mod onion;
pub mod url;
