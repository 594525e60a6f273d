//! What the claims need of a [`SimulatedWorld`]: a directory of its own, impostors, and ways to look at what came out.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use unanimity_client::{ClientError, CycleError, CycleOutcome, CycleReport, MirrorProblem};
use unanimity_net::message::{Answer, Question};
use unanimity_net::{Listener as _, Transport as _};
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::round::UnconfirmedPeer;
use unanimity_protocol::{CosignedHead, PeerFailure, Refusal, Timestamp, TreeHead};
use unanimity_state::LogForked;

use crate::scratch_dir::scratch_dir;
use crate::{ReleaseSpec, World};

/// When a circle begins.
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
/// A file that an attacker would like to be installed.
pub const TROJAN: &[u8] = b"#!/bin/sh\necho trojan\n";

/// What a cycle says of itself, and how it ended.
pub type CycleRun = (CycleReport, Result<CycleOutcome, CycleError>);

/// A world and the directory that goes with it.
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

/// Release 1, release 2, or a later one.
pub fn release_spec(sequence: u64) -> ReleaseSpec {
    match sequence {
        1 => ReleaseSpec::new(1, "1.0.0", FIRST_ARTIFACT),
        2 => ReleaseSpec::new(2, "1.1.0", SECOND_ARTIFACT),
        n => ReleaseSpec::new(n, "1.2.0", format!("#!/bin/sh\necho {n}\n").as_bytes()),
    }
}

impl TestWorld {
    /// An empty log, and peers that have not looked at it yet.
    pub fn new(seed: u64) -> TestWorld {
        let home = scratch_dir();
        let world = World::create(&home.path().join("world"), seed, NOW).unwrap();
        TestWorld { world, scratch: home }
    }

    /// Release 1 is installed.
    pub async fn with_first_installed(seed: u64) -> TestWorld {
        let mut circle = TestWorld::new(seed);
        circle.publish(&release_spec(1)).unwrap();
        circle.poll_all().await.unwrap();
        assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
        circle.advance_and_poll(HOUR).await;
        assert_eq!(expect_installed(circle.update().await), 1);
        circle
    }

    /// Release 2 is in the log as well, and everybody has confirmed it for the first time just now.
    pub async fn with_second_settling(seed: u64) -> TestWorld {
        let mut circle = TestWorld::with_first_installed(seed).await;
        circle.publish(&release_spec(2)).unwrap();
        circle.poll_all().await.unwrap();
        assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
        circle
    }

    /// A copy, with files and a clock of its own.
    pub fn copy(&self) -> TestWorld {
        let home = scratch_dir();
        let world = self.world.copy_to(&home.path().join("world")).unwrap();
        TestWorld { world, scratch: home }
    }

    /// Time goes by, and everybody polls.
    pub async fn advance_and_poll(&mut self, time: Duration) {
        self.advance(time);
        self.poll_all().await.unwrap();
    }

    /// Whatever asks this peer gets these answers.
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

    /// Whoever connects to this peer is sent these bytes, one every `pace`, and then nothing.
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

    /// A view of any head, cosigned with a peer's key.
    pub fn cosign_head(&self, head: &TreeHead, by: usize, at: Timestamp) -> String {
        CosignedHead::sign(head, &self.keys.peer_keys[by], at).note().to_owned()
    }

    /// What the world's clock shows.
    pub fn now(&self) -> Timestamp {
        unanimity_storage::Clock::now(&self.clock)
    }

    /// Asks a peer over the network.
    pub async fn ask(&self, peer: usize, question: Question) -> Answer {
        let mut stream = self.network.dial(&self.peer_address(peer)).await.unwrap();
        unanimity_net::message::exchange(&mut stream, &question).await.unwrap()
    }

    /// Its view, or whatever it says instead.
    pub async fn ask_for_head(&self, peer: usize) -> Answer {
        self.ask(peer, Question::CosignedHead(self.keys.log.id())).await
    }

    /// The bytes that `installed_bytes` has, if something is installed.
    pub fn installed_bytes(&self) -> Option<Vec<u8>> {
        fs::read(self.config.cycle.install_root.join("current/hello")).ok()
    }

    /// The head that the client trusts.
    pub fn trusted_head(&self) -> Option<TreeHead> {
        self.load_client_state().head
    }

    /// What the client remembers.
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

    /// A directory beside the world.
    pub fn scratch_path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

use unanimity_config::{ClientConfig, CycleSettings};

/// Every file below a directory.
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

/// The sequence of the release that a cycle installed.
#[track_caller]
pub fn expect_installed((report, ended): CycleRun) -> u64 {
    match ended {
        Ok(CycleOutcome::Installed(installed)) => installed.sequence,
        other => panic!("not installed: {other:?}\n{report:?}"),
    }
}

/// A cycle ended with nothing to install.
#[track_caller]
pub fn expect_up_to_date((report, ended): CycleRun) {
    assert!(matches!(ended, Ok(CycleOutcome::UpToDate)), "{ended:?}\n{report:?}");
}

/// Why a cycle refused to install.
#[track_caller]
pub fn expect_refusal((report, ended): CycleRun) -> Refusal {
    match ended {
        Err(CycleError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}\n{report:?}"),
    }
}

/// What is wrong with what the mirrors show.
#[track_caller]
pub fn expect_mirror_problem((report, ended): CycleRun) -> MirrorProblem {
    match ended {
        Err(CycleError::Mirror(problem)) => problem,
        other => panic!("no problem with the mirrors: {other:?}\n{report:?}"),
    }
}

/// The fork that holds updates back.
#[track_caller]
pub fn expect_latched((report, ended): CycleRun) -> LogForked {
    match ended {
        Err(CycleError::LogForked(forked)) => forked,
        other => panic!("not latched: {other:?}\n{report:?}"),
    }
}

/// The error that a cycle ended with.
#[track_caller]
pub fn expect_error((report, ended): CycleRun) -> ClientError {
    match ended {
        Err(CycleError::Client(error)) => error,
        other => panic!("no error: {other:?}\n{report:?}"),
    }
}

/// The peers that an update waits for.
#[track_caller]
pub fn expect_unconfirmed(ended: CycleRun) -> Vec<UnconfirmedPeer> {
    match expect_refusal(ended) {
        Refusal::Incomplete(missing) => missing,
        other => panic!("not incomplete: {other:?}"),
    }
}

/// The one peer that an update waits for, how it stands and why.
#[track_caller]
pub fn expect_one_unconfirmed(ended: CycleRun) -> (String, Confirmation, Option<PeerFailure>) {
    match &expect_unconfirmed(ended)[..] {
        [one] => (one.peer.to_string(), one.confirmation, one.failure.clone()),
        other => panic!("{other:?}"),
    }
}
