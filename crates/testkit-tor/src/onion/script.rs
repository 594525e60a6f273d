//! The demo over a private Tor network, with every node as a process.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use unanimity_config::socket_path;
use unanimity_testkit::script::{self, DemoSummary};
use unanimity_testkit::{Fixture, FixtureKeys, PEER_NAMES, PEERS, TestError};

use crate::onion::backend::OnionBackend;
use crate::onion::mirror::OnionMirror;
use crate::onion::world::{CLIENT, OnionWorld};
use crate::tornet::network::{self, PrivateTorNetwork};

/// Runs the whole demo in `directory`, with processes of `program` on a private Tor network, and
/// writes each step to `out`.
///
/// `package` is the directory for an unpacked package of Tor, for machines without Tor. All
/// processes have ended when the future completes or is dropped.
pub async fn run_onion_demo(
    directory: &Path,
    package: &Path,
    program: &Path,
    artifact: &[u8],
    out: &mut impl Write,
) -> Result<DemoSummary, TestError> {
    // The path of a socket has a limit, and these are the longest paths of the demo.
    for name in PEER_NAMES {
        socket_path::check_socket_path(
            &directory.join("attack-00/peers").join(name).join("state"),
        )?;
    }
    let began = Instant::now();
    writeln!(out, "A private Tor network on 127.0.0.1. Nothing leaves this machine.")?;
    let mut step = |step: &str| writeln!(out, "  {:4.1} s  {step}", began.elapsed().as_secs_f32());
    let mut network =
        PrivateTorNetwork::start_without_waiting(package, |what| step(what).unwrap_or(()))?;
    while !network.is_ready()? {
        tokio::time::sleep(network::POLL_INTERVAL).await;
    }
    step("the network is ready; making the keys of five peers and a client, and pairing them")?;
    let keys = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
    let fixture = Fixture::create(&directory.join("base"), keys)?;
    let mirror =
        OnionMirror::start(&network, &directory.join("mirror"), fixture.mirror_path(CLIENT))
            .await?;
    let world = OnionWorld::create(fixture, &network, program, PEERS)?.with_mirror(mirror)?;
    step("starting every node as a process, and waiting until all are reachable")?;
    let backend = OnionBackend::start(world).await?;
    step("all nodes are reachable\n")?;
    let summary = script::run_script(backend, directory, artifact, out).await?;
    writeln!(out, "The demo took {} s.", began.elapsed().as_secs())?;
    Ok(summary)
}
