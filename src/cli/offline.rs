//! A command of a node that runs by itself, since no daemon does it.

use std::sync::Arc;

use unanimity_config::TorNetwork;
use unanimity_net::{NoTransport, WebConnector};
use unanimity_report::{CommandError, CommandOutput};
use unanimity_storage::{Clock as _, Storage, SystemClock};

use super::open_node::{connect, open, products};
use super::progress::Shown;
use super::request::Command;
use super::{peers, render_cycle, status};
use crate::daemon::control_socket::{self};

/// Runs a command without a daemon.
pub(super) async fn alone(
    told: unanimity_config::NodeConfig,
    command: Command,
    shown: &Shown,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    // These only look, and need nothing to themselves.
    match command {
        Command::Status => return status::status(&told, None),
        Command::Peers(peers::Verb::List) => return peers::list(&told, SystemClock.now()),
        _ => {}
    }
    let disk = Storage::default();
    let _owner = control_socket::Owner::new(&told.cycle.state, &disk)?;
    let mut node = open(told, &disk)?;
    node.watcher = shown.watcher();
    let (errand, others) = match command {
        Command::Cycle { errand, others } => (errand, others),
        Command::Peers(peers::Verb::Test) => {
            let tor = connect(&node, json).await?;
            return Ok(peers::tested(&node.test(&tor, |_| true).await?));
        }
        Command::Peers(verb) => return peers::at_once(&node, &node.told, verb),
        Command::Status => return status::status(&node.told, None),
    };
    let mut rng = rand::rng();
    let tor = match node.told.tor.network {
        TorNetwork::Offline => None,
        _ => Some(connect(&node, json).await?),
    };
    let (report, ended) = match &tor {
        None => node.cycle(&NoTransport, errand, &mut rng).await,
        Some(tor) => node.cycle(tor, errand, &mut rng).await,
    };
    let mut said = vec![render_cycle::said(&report, ended)];
    for (path, another) in products(&node, others) {
        let ended = match (another, &tor) {
            (Err(ended), _) => Err(ended),
            (Ok(another), None) => Ok(another.cycle(&NoTransport, errand, &mut rng).await),
            (Ok(another), Some(tor)) => {
                let web: Arc<dyn WebConnector> = Arc::new(tor.clone());
                another.connect(web);
                Ok(another.cycle(tor, errand, &mut rng).await)
            }
        };
        let ended = ended.map(|(report, ended)| render_cycle::said(&report, ended));
        said.push(render_cycle::of_another(&path, ended));
    }
    Ok(render_cycle::together(said))
}
