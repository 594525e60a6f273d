//! What an attack can do with a circle, wherever that is played.

use std::path::Path;
use std::time::Duration;

use unanimity_client::{CycleError, CycleOutcome, CycleReport};
use unanimity_config::OnionAddress;
use unanimity_net::message::{ANSWER_BYTES, QUESTION_BYTES};
use unanimity_net::{Listener, Transport};
use unanimity_protocol::{CosignedHead, Timestamp};
use unanimity_report::{Classify, Exit};

use crate::{Fixture, TestError};

/// Everybody who acts on a [`Download`]: five peers and a client.
///
/// [`crate::SimulatedWorld`] plays them in one process, with a clock that jumps; over Tor each is a process
/// of its own, and time is what it is.
#[expect(async_fn_in_trait, reason = "an attack is awaited where it is started, on one thread")]
pub trait DemoBackend: Sized {
    /// What is real here and what is played, in a line.
    const DESCRIPTION: &str;

    /// Their keys and files.
    fn fixture(&self) -> &Fixture;
    /// The time here.
    fn now(&self) -> Timestamp;
    /// How long the client waits for every peer to have seen a release.
    fn settle(&self) -> Duration;

    /// Everybody goes to rest here, and goes on in a copy of the stage in another directory.
    async fn resume_in(&mut self, directory: &Path) -> Result<Self, TestError>;
    /// Time passes.
    async fn advance_time(&mut self, time: Duration);

    /// Every peer looks at its mirror.
    async fn poll_all_peers(&mut self) -> Result<(), TestError>;
    /// A peer stops: its address answers nobody.
    async fn stop_peer(&mut self, peer: usize) -> Result<(), TestError>;
    /// A peer stops, and at its address is somebody who passes on what another peer answers.
    async fn relay_peer(&mut self, peer: usize, other: usize) -> Result<(), TestError>;
    /// A peer starts again from a copy of its state, or of what its peer role keeps there.
    async fn restart_peer_from(&mut self, peer: usize, backup: &Path) -> Result<(), TestError>;
    /// One cycle of a peer's own client, without installing.
    async fn run_peer_check(&mut self, peer: usize) -> Result<CycleSummary, TestError>;
    /// One cycle of the client, without installing.
    async fn run_client_check(&mut self) -> Result<CycleSummary, TestError>;
    /// One cycle of the client, which installs what it may.
    async fn run_client_update(&mut self) -> Result<CycleSummary, TestError>;
}

/// One cycle of a client, as `check` and `update` report it.
#[derive(Clone, Debug)]
pub struct CycleSummary {
    /// How it ended.
    pub exit: Exit,
    /// What a person reads.
    pub message: String,
    /// Entries of the log, as far as the client knows of it.
    pub size: Option<u64>,
    /// Every peer, and how many entries it confirms; `None` if it is silent.
    pub peers: Vec<(String, Option<u64>)>,
}

impl CycleSummary {
    /// The peers who do not confirm the whole log.
    pub fn unconfirmed(&self) -> Vec<&str> {
        let short = self.peers.iter().filter(|(_, confirms)| *confirms < self.size);
        short.map(|(name, _)| name.as_str()).collect()
    }

    /// A cycle that ran in this process; a failure is put in `to_command`.
    pub(crate) fn new(
        (report, outcome): (CycleReport, Result<CycleOutcome, CycleError>),
        words: impl Fn(&CycleError) -> String,
    ) -> CycleSummary {
        let exit = outcome.as_ref().map_or_else(Classify::exit, Classify::exit);
        let said = match outcome {
            Ok(CycleOutcome::UpToDate) => "nothing is new".to_owned(),
            Ok(CycleOutcome::Available(agreed)) => {
                format!("{} can be installed", agreed.manifest().label())
            }
            Ok(CycleOutcome::Installed(installed)) => {
                format!("installed {}", installed.directory.display())
            }
            Err(failure) => words(&failure),
        };
        let size = report.head.map(|head| head.size());
        let answer = |(name, view): (String, Result<CosignedHead, _>)| {
            (name, view.ok().map(|view| view.head().size()))
        };
        CycleSummary {
            exit,
            message: said,
            size,
            peers: report.peers.into_iter().map(answer).collect(),
        }
    }
}

/// Passes every question on to somebody else, and their answer back, until the listener ends.
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
        let Ok(mut honest) = transport.dial(&to).await else { continue };
        if unanimity_net::message::send(&mut honest, &question[..]).await.is_ok()
            && let Ok(Some(answer)) =
                unanimity_net::message::receive::<ANSWER_BYTES>(&mut honest).await
        {
            unanimity_net::message::send(&mut stream, &answer[..]).await.ok();
        }
    }
}
