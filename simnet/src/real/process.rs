//! The peer role as a process: it is started, it is killed with all its connections, and it is started
//! again with its disk as it was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{JoinSet, yield_now};
use unanimity_storage::Storage;
use unanimity_testkit::power_loss_fs::PowerLossFs;
use unanimity_witness::{Witness, WitnessError};

use super::clock::Time;
use super::fuse::Fuse;
use super::hub::Accepted;
use super::line::Line;

/// The peer that ships, while it runs.
type Peer = Arc<Witness<Time>>;
type Open = dyn Fn(Storage) -> Result<Witness<Time>, WitnessError> + Send + Sync;

pub(super) struct Process {
    machine: PowerLossFs,
    open: Box<Open>,
    running: Mutex<Option<Running>>,
}

struct Running {
    peer: Peer,
    fuse: Fuse,
    /// Whoever answers a connection, the peer itself among them.
    tasks: JoinSet<()>,
    honest: UnboundedSender<Line>,
}

impl Process {
    /// One that is not running yet.
    pub(super) fn new(
        machine: PowerLossFs,
        open: impl Fn(Storage) -> Result<Witness<Time>, WitnessError> + Send + Sync + 'static,
    ) -> Process {
        Process { machine, open: Box::new(open), running: Mutex::new(None) }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self) -> Result<(), WitnessError> {
        let fuse = Fuse::default();
        let peer = Arc::new((self.open)(fuse.disk(&self.machine))?);
        let (honest, accepted) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(peer.clone().serve_connections(Accepted(accepted)));
        *self.running() = Some(Running { peer, fuse, tasks, honest });
        Ok(())
    }

    /// Kills it. Whoever asks it something sees the connection break.
    pub(super) async fn stop(&self) {
        let running = self.running().take();
        let Some(Running { peer, mut tasks, .. }) = running else { return };
        tasks.shutdown().await;
        // What the peer itself started ends soon after, and only then may another use its disk.
        while Arc::strong_count(&peer) > 1 {
            yield_now().await;
        }
    }

    /// The peer and its machine; none while it does not run. Who keeps it over a wait keeps it alive.
    pub(super) fn peer(&self) -> Option<(Peer, Fuse)> {
        self.running().as_ref().map(|running| (running.peer.clone(), running.fuse.clone()))
    }

    /// Lets the peer answer a connection. If it does not run, that breaks.
    pub(super) fn answer(&self, line: Line) {
        if let Some(running) = &*self.running() {
            // It ends when the peer does.
            running.honest.send(line).ok();
        }
    }

    /// Lets somebody else answer a connection in its place, for as long as it runs.
    pub(super) fn answer_with(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &mut *self.running() {
            while let Some(ended) = running.tasks.try_join_next() {
                ended.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
            }
            running.tasks.spawn(task);
        }
    }
}
