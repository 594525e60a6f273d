//! The peer role as a process: it is started, it is killed with all its connections, and it is started
//! again with its disk as it was.

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

/// The peer that ships, while it runs.
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
    /// Whoever answers a connection, the peer itself among them.
    tasks: JoinSet<()>,
    stream_sender: UnboundedSender<DelayedStream>,
}

impl PeerProcess {
    /// One that is not running yet.
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
        let fuse = CrashInjector::default();
        let peer = Arc::new((self.open_peer)(fuse.storage(&self.machine))?);
        let (honest, accepted) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(peer.clone().serve_connections(AcceptedStreams(accepted)));
        *self.running() =
            Some(PeerTasks { peer, crash_injector: fuse, tasks, stream_sender: honest });
        Ok(())
    }

    /// Kills it. Whoever asks it something sees the connection break.
    pub(super) async fn stop(&self) {
        let running = self.running().take();
        let Some(PeerTasks { peer, mut tasks, .. }) = running else { return };
        tasks.shutdown().await;
        // What the peer itself started ends soon after, and only then may another use its disk.
        while Arc::strong_count(&peer) > 1 {
            yield_now().await;
        }
    }

    /// The peer and its machine; none while it does not run. Who keeps it over a wait keeps it alive.
    pub(super) fn peer(&self) -> Option<(SharedPeer, CrashInjector)> {
        self.running()
            .as_ref()
            .map(|running| (running.peer.clone(), running.crash_injector.clone()))
    }

    /// Lets the peer answer a connection. If it does not run, that breaks.
    pub(super) fn forward_to_peer(&self, line: DelayedStream) {
        if let Some(running) = &*self.running() {
            // It ends when the peer does.
            running.stream_sender.send(line).ok();
        }
    }

    /// Lets somebody else answer a connection in its place, for as long as it runs.
    pub(super) fn answer_with_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &mut *self.running() {
            while let Some(ended) = running.tasks.try_join_next() {
                ended.unwrap_or_else(|bug| std::panic::resume_unwind(bug.into_panic()));
            }
            running.tasks.spawn(task);
        }
    }
}
