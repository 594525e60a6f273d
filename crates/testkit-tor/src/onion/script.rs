//! The demo over a private Tor network, every node a process of its own.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use unanimity_config::socket_path;
use unanimity_testkit::script::DemoSummary;
use unanimity_testkit::{
    Fixture, FixtureKeys, PEER_NAMES, PEERS, TestError,
    script::{self},
};

use crate::onion::backend::OnionBackend;
use crate::onion::mirror::OnionMirror;
use crate::onion::world::{CLIENT, OnionWorld};
use crate::tornet::network::PrivateTorNetwork;
use crate::tornet::network::{self};

/// Plays the whole demo in a directory, with processes of `program` on a network of their own, and
/// tells it to `out`. Everything that was started has ended when the future has, or is dropped.
pub async fn run_onion_demo(
    directory: &Path,
    package: &Path,
    program: &Path,
    artifact: &[u8],
    out: &mut impl Write,
) -> Result<DemoSummary, TestError> {
    // The longest paths that there will be.
    for who in PEER_NAMES {
        socket_path::check_socket_path(&directory.join("attack-00/peers").join(who).join("state"))?;
    }
    let began = Instant::now();
    writeln!(out, "A Tor network of our own, on 127.0.0.1; nothing leaves this machine.")?;
    let mut step = |step: &str| writeln!(out, "  {:4.1} s  {step}", began.elapsed().as_secs_f32());
    let mut network =
        PrivateTorNetwork::start_without_waiting(package, |what| step(what).unwrap_or(()))?;
    while !network.is_ready()? {
        tokio::time::sleep(network::POLL_INTERVAL).await;
    }
    step("it stands; making the keys of five peers and a client, and pairing them")?;
    let circle = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
    let stage = Fixture::create(&directory.join("base"), circle)?;
    let mirror =
        OnionMirror::start(&network, &directory.join("mirror"), stage.mirror_path(CLIENT)).await?;
    let nodes = OnionWorld::create(stage, &network, program, PEERS)?.with_mirror(mirror)?;
    step("starting them, each a process, and waiting until they can be found")?;
    let daemons = OnionBackend::start(nodes).await?;
    step("all of them can be found\n")?;
    let summary = script::run_script(daemons, directory, artifact, out).await?;
    writeln!(out, "All of it took {} s.", began.elapsed().as_secs())?;
    Ok(summary)
}
