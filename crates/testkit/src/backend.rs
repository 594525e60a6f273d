//! The interface through which demo and attacks control five peers and a client.

use std::path::Path;
use std::time::Duration;

use unanimity_client::{CycleError, CycleOutcome, CycleReport};
use unanimity_config::OnionAddress;
use unanimity_net::message::{ANSWER_BYTES, QUESTION_BYTES};
use unanimity_net::{Listener, Transport};
use unanimity_protocol::{CosignedHead, Timestamp};
use unanimity_report::{Classify, Exit};

use crate::{Fixture, TestError};

/// Five peers and a client, which run on a [`Fixture`].
///
/// [`crate::World`] runs them in one process, with a clock that jumps. `OnionBackend` runs each as
/// a process over Tor, in real time.
#[expect(async_fn_in_trait, reason = "an attack is awaited where it is started, on one thread")]
pub trait DemoBackend: Sized {
    /// A text for the demo's output, which says what this backend simulates.
    const DESCRIPTION: &str;

    /// Returns the keys and files of peers and client.
    fn fixture(&self) -> &Fixture;
    /// Returns the current time.
    fn now(&self) -> Timestamp;
    /// Returns the client's `settle`: how long every peer must have seen a release.
    fn settle(&self) -> Duration;

    /// Copies the fixture to another directory, and returns a backend that runs on the copy. The
    /// peers and the client of `self` may be stopped.
    async fn resume_in(&mut self, directory: &Path) -> Result<Self, TestError>;
    /// Lets the time `time` pass.
    async fn advance_time(&mut self, time: Duration);

    /// Waits until every running peer has polled its mirror.
    async fn poll_all_peers(&mut self) -> Result<(), TestError>;
    /// Stops a peer: its address accepts no connections.
    async fn stop_peer(&mut self, peer: usize) -> Result<(), TestError>;
    /// Replaces peer `peer` by an impostor that relays the answers of peer `other`.
    async fn relay_peer(&mut self, peer: usize, other: usize) -> Result<(), TestError>;
    /// Starts a peer again from `backup`, which holds the witness's part of the peer's state.
    async fn restart_peer_from(&mut self, peer: usize, backup: &Path) -> Result<(), TestError>;
    /// Runs one cycle of a peer's own client, without installing.
    async fn run_peer_check(&mut self, peer: usize) -> Result<CycleSummary, TestError>;
    /// Runs one cycle of the client, without installing.
    async fn run_client_check(&mut self) -> Result<CycleSummary, TestError>;
    /// Runs one cycle of the client, and installs the release that every peer has confirmed.
    async fn run_client_update(&mut self) -> Result<CycleSummary, TestError>;
}

/// The result of a client's cycle, as `check` and `update` report it.
#[derive(Clone, Debug)]
pub struct CycleSummary {
    /// The outcome's exit code.
    pub exit: Exit,
    /// The outcome as a text for people.
    pub message: String,
    /// The size of the head that the client chose. `None` without such a head.
    pub size: Option<u64>,
    /// Every peer's name, and the size of the head that the peer cosigned. `None` if the peer gave
    /// no valid answer.
    pub peers: Vec<(String, Option<u64>)>,
}

impl CycleSummary {
    /// Returns the names of the peers that do not confirm the whole log up to `size`.
    pub fn unconfirmed(&self) -> Vec<&str> {
        let short = self.peers.iter().filter(|(_, confirms)| *confirms < self.size);
        short.map(|(name, _)| name.as_str()).collect()
    }

    /// Summarizes a cycle that ran in this process. `render_error` makes the message of a failure.
    pub(crate) fn new(
        (report, outcome): (CycleReport, Result<CycleOutcome, CycleError>),
        render_error: impl Fn(&CycleError) -> String,
    ) -> CycleSummary {
        let exit = outcome.as_ref().map_or_else(Classify::exit, Classify::exit);
        let message = match outcome {
            Ok(CycleOutcome::UpToDate) => "nothing is new".to_owned(),
            Ok(CycleOutcome::Available(release)) => {
                format!("{} can be installed", release.manifest().label())
            }
            Ok(CycleOutcome::Installed(installed)) => {
                format!("installed {}", installed.directory.display())
            }
            Err(failure) => render_error(&failure),
        };
        let size = report.head.map(|head| head.size());
        let answer = |(name, head): (String, Result<CosignedHead, _>)| {
            (name, head.ok().map(|head| head.head().size()))
        };
        CycleSummary { exit, message, size, peers: report.peers.into_iter().map(answer).collect() }
    }
}

/// Relays every question to the peer at `to`, and its answer back, until the listener ends.
pub async fn relay_answers(
    mut listener: impl Listener,
    transport: impl Transport,
    to: OnionAddress,
) {
    while let Ok(mut stream) = listener.accept().await {
        let Ok(Some(question)) =
            unanimity_net::message::receive::<QUESTION_BYTES>(&mut stream).await
        else {
            continue;
        };
        let Ok(mut relayed) = transport.dial(&to).await else { continue };
        if unanimity_net::message::send(&mut relayed, &question[..]).await.is_ok()
            && let Ok(Some(answer)) =
                unanimity_net::message::receive::<ANSWER_BYTES>(&mut relayed).await
        {
            unanimity_net::message::send(&mut stream, &answer[..]).await.ok();
        }
    }
}
