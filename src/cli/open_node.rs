//! Opening a node and its further products, and connecting to Tor.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::time::timeout;
use unanimity_install::permissions;
use unanimity_net::WebConnector;
use unanimity_report::{CommandError, Exit};
use unanimity_storage::{Storage, SystemClock};
use unanimity_tor::{
    TorClient, TorError, artifact_service_settings, service_address, service_settings,
};

use crate::cli::node;
use crate::node::{NodeRuntime, ServiceAddresses};

/// Returns a function that reports Tor's progress: on standard error as text, or on standard output
/// as lines of JSON.
pub(super) fn report_bootstrap(json: bool) -> impl FnMut(f32, String) {
    let mut last = String::new();
    move |fraction, words| {
        // arti reports "stuck" before it has begun.
        if fraction == 0.0 {
            return;
        }
        let percent = (fraction * 100.0).round();
        let line = if json {
            let event = json!({ "schema": "unanimity/v1", "event": "bootstrap", "percent": percent, "message": words });
            format!("{event}\n")
        } else {
            format!("Tor {percent}%: {words}\n")
        };
        if line != last {
            // A failure to write the report cannot be reported.
            if json {
                unanimity_report::print(&line).ok();
            } else {
                eprint!("{}", unanimity_report::escape_for_terminal(&line));
            }
            last = line;
        }
    }
}

pub(super) type ExtraProduct = (PathBuf, Result<NodeRuntime<SystemClock>, CommandError>);

/// Opens the further products of a node, by the paths of their configurations. A product that
/// cannot be opened does not affect the others.
pub(super) fn open_extra_products(
    node: &NodeRuntime<SystemClock>,
    paths: Vec<Vec<u8>>,
) -> Vec<ExtraProduct> {
    let mut opened: Vec<unanimity_config::NodeConfig> = Vec::new();
    let product = |path: Vec<u8>| {
        let path = PathBuf::from(OsString::from_vec(path));
        let product = node::load_node_file(&path);
        let product = product.and_then(|config| {
            permissions::check_owner(&config.cycle.state)?;
            permissions::check_root_inputs(&config)?;
            Ok(node.open_extra_product(config)?)
        });
        let product = product.and_then(|product| {
            if let Some(other) =
                opened.iter().find(|other| !other.has_disjoint_paths(&product.config))
            {
                let other = other.source.path.display();
                let why =
                    format!("its root, its state and its spool must not overlap those of {other}");
                return Err(CommandError::new(Exit::Configuration, why));
            }
            opened.push(product.config.clone());
            Ok(product)
        });
        (path, product)
    };
    paths.into_iter().map(product).collect()
}

pub(super) fn open_node(
    config: unanimity_config::NodeConfig,
    disk: &Storage,
) -> Result<NodeRuntime<SystemClock>, CommandError> {
    let addresses_of = |config: &unanimity_config::NodeConfig,
                        serve: &unanimity_config::ServeSettings| {
        let artifacts =
            serve.artifacts.map(|_| service_address(&config.tor, &artifact_service_settings()));
        let peer = service_address(&config.tor, &service_settings(serve))?;
        Ok::<_, CommandError>(ServiceAddresses { peer, artifacts: artifacts.transpose()? })
    };
    NodeRuntime::open(config, addresses_of, SystemClock, disk.clone(), &mut rand::rng())
}

pub(super) fn new_tor_client(node: &NodeRuntime<SystemClock>) -> Result<TorClient, TorError> {
    let client_auth = node.role.as_ref().map(|role| role.identity.client_auth.clone());
    let tor = TorClient::new(&node.config.tor, client_auth)?;
    let web: Arc<dyn WebConnector> = Arc::new(tor.clone());
    node.connect(web);
    Ok(tor)
}

/// Connects to Tor. If the connection fails or takes too long, a warning is logged, and every peer
/// will be silent.
pub(super) async fn connect_tor(
    node: &NodeRuntime<SystemClock>,
    json: bool,
) -> Result<TorClient, CommandError> {
    let tor = new_tor_client(node)?;
    let patience = node.config.bootstrap_timeout;
    match timeout(patience, tor.bootstrap(report_bootstrap(json))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("{error}"),
        Err(_) => tracing::warn!("Tor did not connect within {patience:?}"),
    }
    Ok(tor)
}
