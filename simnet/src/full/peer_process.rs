//! A node's witness as a process that can be started, killed with all its connections, and started
//! again from the same disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{JoinSet, yield_now};
use unanimity_storage::Storage;
use unanimity_testkit::power_loss_fs::PowerLossFs;
use unanimity_witness::{Witness, WitnessError};

use super::clock::VirtualClock;
use super::crash_injector::CrashInjector;
use super::delayed_stream::DelayedStream;
use super::network::AcceptedStreams;

/// The shipped witness, while it runs.
type SharedPeer = Arc<Witness<VirtualClock>>;
type OpenPeer = dyn Fn(Storage) -> Result<Witness<VirtualClock>, WitnessError> + Send + Sync;

pub(super) struct PeerProcess {
    machine: PowerLossFs,
    open_peer: Box<OpenPeer>,
    running: Mutex<Option<PeerTasks>>,
}

struct PeerTasks {
    peer: SharedPeer,
    crash_injector: CrashInjector,
    /// The tasks that answer connections: the witness, and colluding or faulty peers.
    tasks: JoinSet<()>,
    stream_sender: UnboundedSender<DelayedStream>,
}

impl PeerProcess {
    /// A process that is not running yet. `open` opens the witness on a storage.
    pub(super) fn new(
        machine: PowerLossFs,
        open: impl Fn(Storage) -> Result<Witness<VirtualClock>, WitnessError> + Send + Sync + 'static,
    ) -> PeerProcess {
        PeerProcess { machine, open_peer: Box::new(open), running: Mutex::new(None) }
    }

    fn running(&self) -> MutexGuard<'_, Option<PeerTasks>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn start(&self) -> Result<(), WitnessError> {
        let crash_injector = CrashInjector::default();
        let peer = Arc::new((self.open_peer)(crash_injector.storage(&self.machine))?);
        let (stream_sender, accepted) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(peer.clone().serve_connections(AcceptedStreams(accepted)));
        *self.running() = Some(PeerTasks { peer, crash_injector, tasks, stream_sender });
        Ok(())
    }

    /// Kills the process. Clients see their connections break.
    pub(super) async fn stop(&self) {
        let running = self.running().take();
        let Some(PeerTasks { peer, mut tasks, .. }) = running else { return };
        tasks.shutdown().await;
        // Tasks that the witness itself started end soon after the shutdown. Another witness may
        // use the disk only after the end of these tasks.
        while Arc::strong_count(&peer) > 1 {
            yield_now().await;
        }
    }

    /// The witness and its crash injector; `None` while the witness does not run. Hold the `Arc`
    /// only briefly: [`PeerProcess::stop`] waits until all others are dropped.
    pub(super) fn peer(&self) -> Option<(SharedPeer, CrashInjector)> {
        self.running()
            .as_ref()
            .map(|running| (running.peer.clone(), running.crash_injector.clone()))
    }

    /// Lets the witness answer a connection. The connection breaks if the witness does not run.
    pub(super) fn forward_to_peer(&self, stream: DelayedStream) {
        if let Some(running) = &*self.running() {
            running.stream_sender.send(stream).ok();
        }
    }

    /// Lets a task answer a connection in place of the witness, for as long as the process runs.
    pub(super) fn answer_with_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &mut *self.running() {
            while let Some(finished) = running.tasks.try_join_next() {
                finished.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
            }
            running.tasks.spawn(task);
        }
    }
}
