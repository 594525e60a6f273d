//! A [`World`] for tests, with a directory of its own, impostors, and checks of a cycle's outcome.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use unanimity_client::{ClientError, CycleError, CycleOutcome, CycleReport, MirrorProblem};
use unanimity_config::{ClientConfig, CycleSettings};
use unanimity_net::message::{Answer, Question};
use unanimity_net::{Listener as _, Transport as _};
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::round::UnconfirmedPeer;
use unanimity_protocol::{CosignedHead, PeerFailure, Refusal, Timestamp, TreeHead};
use unanimity_state::LogForked;

use crate::scratch_dir::scratch_dir;
use crate::{ReleaseSpec, World};

/// The time at which every test world begins.
pub const NOW: Timestamp = Timestamp(1_800_000_000);
/// One second.
pub const SECOND: Duration = Duration::from_secs(1);
/// One minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// One hour.
pub const HOUR: Duration = Duration::from_secs(3600);
/// The file of release 1.
pub const FIRST_ARTIFACT: &[u8] = b"#!/bin/sh\necho one\n";
/// The file of release 2.
pub const SECOND_ARTIFACT: &[u8] = b"#!/bin/sh\necho two, and a little more\n";
/// The artifact of an attacker's release.
pub const TROJAN: &[u8] = b"#!/bin/sh\necho trojan\n";

/// A cycle's report and its outcome.
pub type CycleRun = (CycleReport, Result<CycleOutcome, CycleError>);

/// A world in a temporary directory, which is removed with this value.
pub struct TestWorld {
    world: World,
    scratch: TempDir,
}

impl Deref for TestWorld {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for TestWorld {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

/// Describes the release with the sequence `sequence`, for tests.
pub fn release_spec(sequence: u64) -> ReleaseSpec {
    match sequence {
        1 => ReleaseSpec::new(1, "1.0.0", FIRST_ARTIFACT),
        2 => ReleaseSpec::new(2, "1.1.0", SECOND_ARTIFACT),
        n => ReleaseSpec::new(n, "1.2.0", format!("#!/bin/sh\necho {n}\n").as_bytes()),
    }
}

impl TestWorld {
    /// Makes a world with an empty log. The peers have not polled it yet.
    pub fn new(seed: u64) -> TestWorld {
        let scratch = scratch_dir();
        let world = World::create(&scratch.path().join("world"), seed, NOW).unwrap();
        TestWorld { world, scratch }
    }

    /// Makes a world in which the client has installed release 1.
    pub async fn with_first_installed(seed: u64) -> TestWorld {
        let mut world = TestWorld::new(seed);
        world.publish(&release_spec(1)).unwrap();
        world.poll_all().await.unwrap();
        assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
        world.advance_and_poll(HOUR).await;
        assert_eq!(expect_installed(world.update().await), 1);
        world
    }

    /// Makes a world with release 1 installed and release 2 in the log. The client has just
    /// completed the first round that confirms release 2.
    pub async fn with_second_settling(seed: u64) -> TestWorld {
        let mut world = TestWorld::with_first_installed(seed).await;
        world.publish(&release_spec(2)).unwrap();
        world.poll_all().await.unwrap();
        assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
        world
    }

    /// Copies the world, with files and a clock of its own.
    pub fn copy(&self) -> TestWorld {
        let scratch = scratch_dir();
        let world = self.world.copy_to(&scratch.path().join("world")).unwrap();
        TestWorld { world, scratch }
    }

    /// Moves the clock forward, and lets every peer poll.
    pub async fn advance_and_poll(&mut self, time: Duration) {
        self.advance(time);
        self.poll_all().await.unwrap();
    }

    /// Replaces a peer by an impostor that answers every question with `answer`.
    pub fn replace_with_responder(
        &mut self,
        peer: usize,
        answer: impl Fn(Question) -> Answer + Send + 'static,
    ) {
        self.replace_peer(peer, move |mut listener| async move {
            while let Ok(mut stream) = listener.accept().await {
                while let Ok(Some(frame)) = unanimity_net::message::receive(&mut stream).await {
                    let Ok(question) = Question::decode(&frame) else { break };
                    if unanimity_net::message::send(&mut stream, &answer(question).encode())
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
            }
        });
    }

    /// Replaces a peer by an impostor that sends `bytes` on each connection, and then nothing. It
    /// waits `pace` before each byte. If `pace` is zero, it sends all bytes at once.
    pub fn replace_with_bytes(&mut self, peer: usize, bytes: Vec<u8>, pace: Duration) {
        self.replace_peer(peer, move |mut listener| async move {
            let mut streams = Vec::new();
            while let Ok(mut stream) = listener.accept().await {
                if pace.is_zero() {
                    stream.write_all(&bytes).await.ok();
                } else {
                    for byte in &bytes {
                        tokio::time::sleep(pace).await;
                        if stream.write_all(&[*byte]).await.is_err() {
                            break;
                        }
                    }
                }
                streams.push(stream);
            }
        });
    }

    /// Cosigns any head with the key of peer number `by`, at the time `at`.
    pub fn cosign_head(&self, head: &TreeHead, by: usize, at: Timestamp) -> String {
        CosignedHead::sign(head, &self.keys.peer_keys[by], at).note().to_owned()
    }

    /// Returns the time of the world's clock.
    pub fn now(&self) -> Timestamp {
        unanimity_storage::Clock::now(&self.clock)
    }

    /// Asks a peer a question over the network, and returns its answer.
    pub async fn ask(&self, peer: usize, question: Question) -> Answer {
        let mut stream = self.network.dial(&self.peer_address(peer)).await.unwrap();
        unanimity_net::message::exchange(&mut stream, &question).await.unwrap()
    }

    /// Asks a peer for its cosigned head, and returns its answer.
    pub async fn ask_for_head(&self, peer: usize) -> Answer {
        self.ask(peer, Question::CosignedHead(self.keys.log.id())).await
    }

    /// Reads the installed program through `current`. `None` if nothing is installed.
    pub fn installed_bytes(&self) -> Option<Vec<u8>> {
        fs::read(self.config.cycle.install_root.join("current/hello")).ok()
    }

    /// Reads the head that the client trusts.
    pub fn trusted_head(&self) -> Option<TreeHead> {
        self.load_client_state().head
    }

    /// Reads the client's stored state.
    pub fn load_client_state(&self) -> unanimity_state::ClientState {
        let ClientConfig { cycle: CycleSettings { state, policy, .. }, peers, .. } = &self.config;
        unanimity_state::ClientStore::read(
            &state.join("client"),
            policy,
            peers,
            &Default::default(),
        )
        .unwrap()
    }

    /// Returns a path beside the world's directory, in the same temporary directory.
    pub fn scratch_path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// Reads every file below a directory, with its path.
pub fn read_files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(read_files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// Returns the sequence of the release that a cycle installed. Panics if it installed none.
#[track_caller]
pub fn expect_installed((report, outcome): CycleRun) -> u64 {
    match outcome {
        Ok(CycleOutcome::Installed(installed)) => installed.sequence,
        other => panic!("not installed: {other:?}\n{report:?}"),
    }
}

/// Panics unless a cycle ended with nothing to install.
#[track_caller]
pub fn expect_up_to_date((report, outcome): CycleRun) {
    assert!(matches!(outcome, Ok(CycleOutcome::UpToDate)), "{outcome:?}\n{report:?}");
}

/// Returns why a cycle refused to install. Panics if it did not refuse.
#[track_caller]
pub fn expect_refusal((report, outcome): CycleRun) -> Refusal {
    match outcome {
        Err(CycleError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}\n{report:?}"),
    }
}

/// Returns the problem with the mirrors that ended a cycle. Panics at any other end.
#[track_caller]
pub fn expect_mirror_problem((report, outcome): CycleRun) -> MirrorProblem {
    match outcome {
        Err(CycleError::Mirror(problem)) => problem,
        other => panic!("no problem with the mirrors: {other:?}\n{report:?}"),
    }
}

/// Returns the fork that ended a cycle. Panics at any other end.
#[track_caller]
pub fn expect_latched((report, outcome): CycleRun) -> LogForked {
    match outcome {
        Err(CycleError::LogForked(forked)) => forked,
        other => panic!("not latched: {other:?}\n{report:?}"),
    }
}

/// Returns the error that ended a cycle. Panics at any other end.
#[track_caller]
pub fn expect_error((report, outcome): CycleRun) -> ClientError {
    match outcome {
        Err(CycleError::Client(error)) => error,
        other => panic!("no error: {other:?}\n{report:?}"),
    }
}

/// Returns the peers that have not confirmed, after a cycle that ended as incomplete. Panics at any
/// other end.
#[track_caller]
pub fn expect_unconfirmed(run: CycleRun) -> Vec<UnconfirmedPeer> {
    match expect_refusal(run) {
        Refusal::Incomplete(unconfirmed) => unconfirmed,
        other => panic!("not incomplete: {other:?}"),
    }
}

/// Returns the name, confirmation and failure of the only peer that has not confirmed. Panics at
/// any other end, or if several peers have not confirmed.
#[track_caller]
pub fn expect_one_unconfirmed(run: CycleRun) -> (String, Confirmation, Option<PeerFailure>) {
    match &expect_unconfirmed(run)[..] {
        [one] => (one.peer.to_string(), one.confirmation, one.failure.clone()),
        other => panic!("{other:?}"),
    }
}
