//! The settings of the onion services of a node.

use unanimity_config::{ServeSettings, WEB_PORT};

use crate::service::ServiceSettings;

/// The settings of the service for peers, from the configuration.
pub fn service_settings(serve: &ServeSettings) -> ServiceSettings {
    let nickname = "unanimity".to_owned();
    ServiceSettings { nickname, port: serve.port, proof_of_work: serve.proof_of_work }
}

/// The settings of the service for artifacts. Only a node that serves artifacts has this service.
pub fn artifact_service_settings() -> ServiceSettings {
    let nickname = "unanimity-artifacts".to_owned();
    ServiceSettings { nickname, port: WEB_PORT, proof_of_work: false }
}
