//! Running a command of a node without a daemon.

use std::sync::Arc;

use unanimity_config::TorNetwork;
use unanimity_net::{NoTransport, WebConnector};
use unanimity_report::{CommandError, CommandOutput};
use unanimity_storage::{Clock as _, Storage, SystemClock};

use super::open_node::{connect_tor, open_extra_products, open_node};
use super::progress::ProgressDisplay;
use super::request::Request;
use super::{peers, render_cycle, status};
use crate::daemon::control_socket::{self};

/// Runs a command without a daemon. All commands but `status` and `peers list` first take the
/// exclusive use of the state.
pub(super) async fn run_without_daemon(
    config: unanimity_config::NodeConfig,
    command: Request,
    display: &ProgressDisplay,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    // `status` and `peers list` only read, and need no exclusive use of the state.
    match command {
        Request::Status => return status::render_status(&config, None),
        Request::Peers(peers::PeersCommand::List) => {
            return peers::list(&config, SystemClock.now());
        }
        _ => {}
    }
    let disk = Storage::default();
    let _control = control_socket::ControlSocket::new(&config.cycle.state, &disk)?;
    let mut node = open_node(config, &disk)?;
    node.progress = display.sink();
    let (mode, products) = match command {
        Request::Cycle { mode, products } => (mode, products),
        Request::Peers(peers::PeersCommand::Test) => {
            let tor = connect_tor(&node, json).await?;
            return Ok(peers::render_peer_tests(&node.test_peers(&tor, |_| true).await?));
        }
        Request::Peers(verb) => return peers::run_offline(&node, &node.config, verb),
        Request::Status => return status::render_status(&node.config, None),
    };
    let mut rng = rand::rng();
    let tor = match node.config.tor.network {
        TorNetwork::Offline => None,
        _ => Some(connect_tor(&node, json).await?),
    };
    let (report, result) = match &tor {
        None => node.run_cycle(&NoTransport, mode, &mut rng).await,
        Some(tor) => node.run_cycle(tor, mode, &mut rng).await,
    };
    let mut outputs = vec![render_cycle::render_outcome(&report, result)];
    for (path, product) in open_extra_products(&node, products) {
        let result = match (product, &tor) {
            (Err(error), _) => Err(error),
            (Ok(product), None) => Ok(product.run_cycle(&NoTransport, mode, &mut rng).await),
            (Ok(product), Some(tor)) => {
                let web: Arc<dyn WebConnector> = Arc::new(tor.clone());
                product.connect(web);
                Ok(product.run_cycle(tor, mode, &mut rng).await)
            }
        };
        let result = result.map(|(report, result)| render_cycle::render_outcome(&report, result));
        outputs.push(render_cycle::label(&path, result));
    }
    Ok(render_cycle::merge(outputs))
}
