//! A run of the full tier, from the beginning of a world to its end.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use unanimity_protocol::SignatureCache;

use super::clock::VirtualClock;
use super::logs::SimulatedLogs;
use super::network::SimulatedNetwork;
use super::node::{SimulatedNode, cosignature_key};
use super::world::SimulatedWorld;
use crate::environment::Environment;
use crate::{Event, Seed};

/// Why a world could not be played.
#[derive(Debug, thiserror::Error)]
pub enum FullRunError {
    /// The async runtime could not be started.
    #[error("cannot start the runtime for virtual time: {0}")]
    Io(#[from] io::Error),
    /// A node could not be set up: its number and the reason.
    #[error("cannot set up node {0}: {1}")]
    Node(u32, String),
}

/// Plays a world to its end, and returns its events in order of time and node.
///
/// # Errors
/// The runtime or a node cannot be set up.
///
/// # Panics
/// A node panics or does not start again after a crash, which is a bug.
pub fn run(environment: Environment, seed: Seed) -> Result<Vec<Event>, FullRunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let events = runtime.block_on(play(environment, seed))?;
    // Ends the tasks that are still waiting.
    drop(runtime);
    Ok(events)
}

async fn play(environment: Environment, seed: Seed) -> Result<Vec<Event>, FullRunError> {
    let (nodes, horizon) = (environment.scenario.nodes, environment.scenario.horizon);
    // Signatures made in this process need no verification, which would be half of the run time.
    // The cache has room for three rounds of all nodes, since a proof contains cosigned heads of an
    // earlier round.
    let heads_per_round = environment.scenario.peers as usize * nodes as usize;
    let cache = SignatureCache::new(1024 + 3 * heads_per_round);
    let logs = SimulatedLogs::generate(&environment, seed, &cache);
    let signing_keys =
        (0..nodes).map(|node| cosignature_key(seed, node).with_cache(&cache)).collect();
    let world = Arc::new(SimulatedWorld {
        network: SimulatedNetwork::new(&environment),
        mirrors: Mutex::new((0..nodes).map(|node| environment.mirror_service(node)).collect()),
        environment,
        logs,
        signing_keys,
        clock: VirtualClock { began: Instant::now() },
        events: Mutex::default(),
    });
    let mut tasks = Vec::new();
    for number in 0..nodes {
        let started = SimulatedNode::start(&world, number);
        tasks.extend(started.map_err(|reason| FullRunError::Node(number, reason))?);
    }
    sleep_until(world.clock.began + Duration::from_millis(horizon)).await;
    for task in tasks.into_iter().filter(JoinHandle::is_finished) {
        // A panic of a node is a bug, so a node that panicked must not look like a silent node.
        if let Err(error) = task.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    let mut events = std::mem::take(&mut *world.events());
    events.sort_by_key(|event| (event.at, event.node));
    events.retain(|event| event.at < horizon);
    Ok(events)
}
