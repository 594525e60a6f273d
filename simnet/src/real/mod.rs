//! Tier 1: the client and the peer that ship, in virtual time.
//!
//! Every node has files of its own, with nothing in them that a real one would not have. Only the
//! clock, the byte streams, the mirrors and the disk are played.

mod actors;
mod disk;
mod fuse;
mod hub;
mod line;
mod logs;
mod node;
mod process;

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub::Hub;
use logs::Logs;
use node::Node;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use unanimity_protocol::{CosignerSecret, Known, Timestamp};
use unanimity_storage::Clock;

use crate::environment::{EPOCH, Environment, Service};
use crate::{Event, Millis, Seed};

/// Why a world could not be played: our own machine, or a bug.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// The runtime.
    #[error("virtual time: {0}")]
    Io(#[from] io::Error),
    /// A node could not be set up.
    #[error("node {0}: {1}")]
    Node(u32, String),
}

/// Plays a world to its end and tells what happened, in order of time and node.
pub fn run(environment: Environment, seed: Seed) -> Result<Vec<Event>, RealError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let events = runtime.block_on(play(environment, seed))?;
    // Whatever is still asleep never wakes.
    drop(runtime);
    Ok(events)
}

async fn play(environment: Environment, seed: Seed) -> Result<Vec<Event>, RealError> {
    let (nodes, horizon) = (environment.scenario.nodes, environment.scenario.horizon);
    // What one node signs another verifies, in this one process: half of the time, and nothing learned.
    // Of some rolls of all nodes: a proof has views of an earlier one.
    let views = environment.scenario.circle as usize * nodes as usize;
    let known = Known::new(1024 + 3 * views);
    let logs = Logs::write(&environment, seed, &known);
    let secrets = (0..nodes).map(|node| node::secret(seed, node).remembering(&known)).collect();
    let world = Arc::new(World {
        hub: Hub::new(&environment),
        mirrors: Mutex::new((0..nodes).map(|node| environment.mirror_service(node)).collect()),
        environment,
        logs,
        secrets,
        time: Time { began: Instant::now() },
        events: Mutex::default(),
    });
    let mut tasks = Vec::new();
    for number in 0..nodes {
        let started = Node::start(&world, number);
        tasks.extend(started.map_err(|why| RealError::Node(number, why))?);
    }
    sleep_until(world.time.began + Duration::from_millis(horizon)).await;
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

/// What all nodes live in.
struct World {
    environment: Environment,
    logs: Logs,
    /// Each node's, by its number.
    secrets: Vec<CosignerSecret>,
    hub: Hub,
    mirrors: Mutex<Vec<Service>>,
    time: Time,
    events: Mutex<Vec<Event>>,
}

impl World {
    fn events(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mirror_is_up(&self, node: u32) -> bool {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        mirrors[node as usize].is_up(&self.environment, node, self.time.millis())
    }

    fn tell(&self, node: u32, what: crate::trace::What) {
        let at = self.time.millis();
        self.events().push(Event { at, node, what });
    }
}

/// Virtual time, as the nodes' clock and in milliseconds.
#[derive(Clone, Copy)]
struct Time {
    began: Instant,
}

impl Time {
    fn millis(self) -> Millis {
        (Instant::now() - self.began).as_millis() as Millis
    }

    async fn until(self, at: Millis) {
        sleep_until(self.began + Duration::from_millis(at)).await;
    }

    /// Never, if there is no such time.
    async fn until_then(self, at: Option<Millis>) {
        match at {
            Some(at) => self.until(at).await,
            None => pending().await,
        }
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp(EPOCH + self.millis() / 1000)
    }
}
