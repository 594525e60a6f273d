//! Reading mirrors, each figure beside what it contains, or what does the same without verifying.
//!
//! - *A download* of 256 MiB by the client, roll and all, from nginx over TLS, hashed and on the disk:
//!   against curl and a sync, curl and `sha256sum` and a sync, and hashing and writing bytes that are there.
//! - *A log* of 100,000 new entries, read by a client that knows none of it: against the hashing that it
//!   contains, and curl fetching the same files, as many at once. How many requests it takes.
//! - *A download* from behind an onion service of a private Tor network, against a bare copy over the
//!   same circuit. Three directory authorities and three relays share this machine's cores with it.
//! - *Hostile mirrors*, four beside an honest one, against the honest one alone. In paused time, over
//!   links that carry what Tor usually does, so that what counts is waiting.
//!
//! nginx and tor are the machine's, or Debian's packages of them, unpacked beside the build. All of it is
//! on 127.0.0.1 and takes about three minutes.

mod download;
mod entries;
mod hostile;
mod nginx;
mod onion;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::runtime::Builder;
use unanimity_client::{Client, CycleError, CycleOutcome, CycleReport};
use unanimity_protocol::{Refusal, Timestamp};
use unanimity_storage::Storage;
use unanimity_testkit::{ReleaseSpec, World};
use unanimity_testkit_tor::PrivateTorNetwork;

pub(crate) type BenchError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), BenchError> {
    // As `serve` and its commands run.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        download::measure().await?;
        entries::measure().await
    })?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tor-package");
    let network = PrivateTorNetwork::start(&package, |words| eprintln!("{words}"))?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(onion::measure(&network))?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    drop(network);
    let paused = Builder::new_current_thread().enable_all().start_paused(true).build()?;
    paused.block_on(hostile::measure())
}

/// Where to write: on the disk that the build is on, and in memory where there is such a place.
pub(crate) fn scratch_directories() -> Result<Vec<(&'static str, TempDir)>, BenchError> {
    let on_disk = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut places = vec![("on disk", on_disk)];
    if let Ok(in_memory) = TempDir::new_in("/dev/shm") {
        places.push(("in memory", in_memory));
    }
    Ok(places)
}

/// A circle whose peers have confirmed a release of these bytes for long enough.
pub(crate) async fn create_confirmed_world(
    directory: &Path,
    artifact: &[u8],
) -> Result<World, BenchError> {
    let mut world = World::create(directory, 3, Timestamp(1_790_000_000))?;
    world.publish(&ReleaseSpec::new(1, "1.0.0", artifact))?;
    world.poll_all().await?;
    match world.update().await.1 {
        Err(CycleError::Refused(Refusal::Settling { .. })) => {}
        other => return Err(format!("not settling: {other:?}").into()),
    }
    world.advance(Duration::from_secs(61 * 60));
    world.poll_all().await?;
    Ok(world)
}

/// One cycle of the world's client that fetches the release, and forgets that it did.
pub(crate) async fn download_release(world: &World, seed: u64) -> Result<(), BenchError> {
    let mut client = Client::open(
        &world.config,
        &world.mirrors,
        &world.network,
        &world.clock,
        Storage::default(),
    )?;
    match client.download(&mut StdRng::seed_from_u64(seed)).await {
        (_, Ok(CycleOutcome::Available(_))) => Ok(()),
        (report, other) => Err(format!("not staged: {other:?} {report:?}").into()),
    }
}

/// Forgets what [`download_release`] fetched.
pub(crate) fn discard_download(world: &World) -> Result<(), BenchError> {
    Ok(fs::remove_dir_all(world.config.cycle.install_root.join("versions"))?)
}

/// One cycle of a client that knows nothing of the log yet, up to the log's head.
pub(crate) async fn read_log(world: &World, seed: u64) -> Result<CycleReport, BenchError> {
    fs::remove_dir_all(&world.config.cycle.state).ok();
    let mut client = Client::open(
        &world.config,
        &world.mirrors,
        &world.network,
        &world.clock,
        Storage::default(),
    )?;
    let (report, outcome) = client.check(&mut StdRng::seed_from_u64(seed)).await;
    let size = world.head_of("log")?.size();
    if report.head.as_ref().is_none_or(|head| head.size() != size) {
        return Err(format!("not read to {size}: {outcome:?} {report:?}").into());
    }
    // Everything was read, or the release would not be known.
    match outcome {
        Err(CycleError::Refused(Refusal::Settling { .. })) => Ok(report),
        other => Err(format!("not settling: {other:?} {report:?}").into()),
    }
}

pub(crate) fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
