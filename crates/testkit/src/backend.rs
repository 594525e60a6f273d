//! What an attack can do with a circle, wherever that is played.

use std::path::Path;
use std::time::Duration;

use unanimity_client::{CycleError, CycleOutcome, CycleReport};
use unanimity_config::OnionAddress;
use unanimity_net::message::{ANSWER_BYTES, QUESTION_BYTES};
use unanimity_net::{Listener, Transport};
use unanimity_protocol::{CosignedHead, Timestamp};
use unanimity_report::{Classify, Exit};

use crate::{Broken, Stage};

/// Everybody who acts on a [`Download`]: five peers and a client.
///
/// [`crate::World`] plays them in one process, with a clock that jumps; over Tor each is a process
/// of its own, and time is what it is.
#[expect(async_fn_in_trait, reason = "an attack is awaited where it is started, on one thread")]
pub trait Cast: Sized {
    /// What is real here and what is played, in a line.
    const ABOUT: &str;

    /// Their keys and files.
    fn stage(&self) -> &Stage;
    /// The time here.
    fn now(&self) -> Timestamp;
    /// How long the client waits for every peer to have seen a release.
    fn settle(&self) -> Duration;

    /// Everybody goes to rest here, and goes on in a copy of the stage in another directory.
    async fn resume_in(&mut self, directory: &Path) -> Result<Self, Broken>;
    /// Time passes.
    async fn time_passes(&mut self, time: Duration);

    /// Every peer looks at its mirror.
    async fn everybody_polls(&mut self) -> Result<(), Broken>;
    /// A peer stops: its address answers nobody.
    async fn peer_stops(&mut self, peer: usize) -> Result<(), Broken>;
    /// A peer stops, and at its address is somebody who passes on what another peer answers.
    async fn peer_echoes(&mut self, peer: usize, other: usize) -> Result<(), Broken>;
    /// A peer starts again from a copy of its state, or of what its peer role keeps there.
    async fn peer_restarts_from(&mut self, peer: usize, backup: &Path) -> Result<(), Broken>;
    /// One cycle of a peer's own client, without installing.
    async fn peer_checks(&mut self, peer: usize) -> Result<Cycle, Broken>;
    /// One cycle of the client, without installing.
    async fn client_checks(&mut self) -> Result<Cycle, Broken>;
    /// One cycle of the client, which installs what it may.
    async fn client_updates(&mut self) -> Result<Cycle, Broken>;
}

/// One cycle of a client, as `check` and `update` report it.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// How it ended.
    pub exit: Exit,
    /// What a person reads.
    pub said: String,
    /// Entries of the log, as far as the client knows of it.
    pub size: Option<u64>,
    /// Every peer, and how many entries it confirms; `None` if it is silent.
    pub peers: Vec<(String, Option<u64>)>,
}

impl Cycle {
    /// The peers who do not confirm the whole log.
    pub fn unconfirmed(&self) -> Vec<&str> {
        let short = self.peers.iter().filter(|(_, confirms)| *confirms < self.size);
        short.map(|(name, _)| name.as_str()).collect()
    }

    /// A cycle that ran in this process; a failure is put in `words`.
    pub(crate) fn new(
        (report, outcome): (CycleReport, Result<CycleOutcome, CycleError>),
        words: impl Fn(&CycleError) -> String,
    ) -> Cycle {
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
        Cycle { exit, said, size, peers: report.peers.into_iter().map(answer).collect() }
    }
}

/// Passes every question on to somebody else, and their answer back, until the listener ends.
pub async fn echo(mut listener: impl Listener, transport: impl Transport, to: OnionAddress) {
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
