//! Playing a world from its beginning to its end.

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

/// Why a world could not be played: our own machine, or a bug.
#[derive(Debug, thiserror::Error)]
pub enum FullRunError {
    /// The runtime.
    #[error("virtual time: {0}")]
    Io(#[from] io::Error),
    /// A node could not be set up.
    #[error("node {0}: {1}")]
    Node(u32, String),
}

/// Plays a world to its end and tells what happened, in order of time and node.
pub fn run(environment: Environment, seed: Seed) -> Result<Vec<Event>, FullRunError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let events = runtime.block_on(play(environment, seed))?;
    // Whatever is still asleep never wakes.
    drop(runtime);
    Ok(events)
}

async fn play(environment: Environment, seed: Seed) -> Result<Vec<Event>, FullRunError> {
    let (nodes, horizon) = (environment.scenario.nodes, environment.scenario.horizon);
    // What one node signs another verifies, in this one process: half of the time, and nothing learned.
    // Of some rolls of all nodes: a proof has views of an earlier one.
    let views = environment.scenario.peers as usize * nodes as usize;
    let known = SignatureCache::new(1024 + 3 * views);
    let logs = SimulatedLogs::generate(&environment, seed, &known);
    let secrets = (0..nodes).map(|node| cosignature_key(seed, node).with_cache(&known)).collect();
    let world = Arc::new(SimulatedWorld {
        network: SimulatedNetwork::new(&environment),
        mirrors: Mutex::new((0..nodes).map(|node| environment.mirror_service(node)).collect()),
        environment,
        logs,
        signing_keys: secrets,
        clock: VirtualClock { began: Instant::now() },
        events: Mutex::default(),
    });
    let mut tasks = Vec::new();
    for number in 0..nodes {
        let started = SimulatedNode::start(&world, number);
        tasks.extend(started.map_err(|why| FullRunError::Node(number, why))?);
    }
    sleep_until(world.clock.began + Duration::from_millis(horizon)).await;
    for task in tasks.into_iter().filter(JoinHandle::is_finished) {
        // A node that panicked is a bug, and never only a silent node.
        if let Err(error) = task.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    let mut events = std::mem::take(&mut *world.events());
    events.sort_by_key(|event| (event.at, event.node));
    events.retain(|event| event.at < horizon);
    Ok(events)
}
