//! The services of a node.

use unanimity_config::{Serve, WEB_PORT};

use crate::service::Hosting;

/// The service that a configuration asks for.
pub fn hosting(serve: &Serve) -> Hosting {
    let nickname = "unanimity".to_owned();
    Hosting { nickname, port: serve.port, proof_of_work: serve.proof_of_work }
}

/// The service of those who serve artifacts.
pub fn hosting_artifacts() -> Hosting {
    let nickname = "unanimity-artifacts".to_owned();
    Hosting { nickname, port: WEB_PORT, proof_of_work: false }
}
