//! A command of a node that runs by itself, since no daemon does it.

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

/// Runs a command without a daemon.
pub(super) async fn run_without_daemon(
    config: unanimity_config::NodeConfig,
    command: Request,
    shown: &ProgressDisplay,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    // These only look, and need nothing to themselves.
    match command {
        Request::Status => return status::render_status(&config, None),
        Request::Peers(peers::PeersCommand::List) => {
            return peers::list(&config, SystemClock.now());
        }
        _ => {}
    }
    let disk = Storage::default();
    let _owner = control_socket::ControlSocket::new(&config.cycle.state, &disk)?;
    let mut node = open_node(config, &disk)?;
    node.progress = shown.sink();
    let (mode, products) = match command {
        Request::Cycle { mode: errand, products: others } => (errand, others),
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
    let (report, ended) = match &tor {
        None => node.run_cycle(&NoTransport, mode, &mut rng).await,
        Some(tor) => node.run_cycle(tor, mode, &mut rng).await,
    };
    let mut said = vec![render_cycle::render_outcome(&report, ended)];
    for (path, another) in open_extra_products(&node, products) {
        let ended = match (another, &tor) {
            (Err(ended), _) => Err(ended),
            (Ok(another), None) => Ok(another.run_cycle(&NoTransport, mode, &mut rng).await),
            (Ok(another), Some(tor)) => {
                let web: Arc<dyn WebConnector> = Arc::new(tor.clone());
                another.connect(web);
                Ok(another.run_cycle(tor, mode, &mut rng).await)
            }
        };
        let ended = ended.map(|(report, ended)| render_cycle::render_outcome(&report, ended));
        said.push(render_cycle::label(&path, ended));
    }
    Ok(render_cycle::merge(said))
}
