//! Opening the mirrors that a node's configuration names.

use std::path::PathBuf;
use std::sync::Arc;

use unanimity_config::{ConfigError, ConfigErrorKind, MirrorSpec};
use unanimity_net::{Mirror, WebConnector};

/// Opens the mirrors of a node. Mirrors with a URL are reached over `web`.
///
/// # Errors
///
/// [`ConfigErrorKind::MirrorRoot`] if the root certificate of a mirror is unusable.
pub fn open_mirrors(
    config: &unanimity_config::NodeConfig,
    web: Option<&Arc<dyn WebConnector>>,
) -> Result<Vec<Mirror>, ConfigError> {
    let open = |spec: &MirrorSpec| {
        Mirror::from_spec(spec, web).map_err(|error| {
            let root = match spec {
                MirrorSpec::Pinned { root, .. } => root.clone(),
                MirrorSpec::Directory(_) | MirrorSpec::Url(_) => PathBuf::new(),
            };
            let why = ConfigErrorKind::MirrorRoot { path: root, why: error.to_string() };
            ConfigError { path: config.source.path.clone(), why }
        })
    };
    config.mirrors.iter().map(open).collect()
}
