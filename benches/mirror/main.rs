//! Benchmark of reading mirrors.
//!
//! Each figure is compared with the bare work that it contains, or with the same work without
//! checks:
//!
//! - *A download* of 256 MiB by the client, with its round, from nginx over TLS to a synced file.
//!   Compared with curl and a sync, with curl, `sha256sum` and a sync, and with hashing bytes in
//!   memory and writing them to a synced file.
//! - *A log* of 100,000 entries, read by a new client, and the number of requests. Compared with
//!   the hashing that it contains, and with curl fetching the same files, 8 at once.
//! - *A download* from an onion service of a private Tor network. Compared with a bare copy over
//!   the same circuit. Three directory authorities and three relays share this machine's cores with
//!   the download.
//! - *Hostile mirrors*, four beside an honest one. Compared with the honest mirror alone. The links
//!   have the usual rate of Tor. Time is paused, so only waits count.
//!
//! nginx and tor are the machine's own, or come from Debian's packages, unpacked beside the build.
//! The benchmark uses 127.0.0.1 only, and takes about three minutes.

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
    // This runtime has the settings of the runtime of `serve` and its commands.
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

/// Makes scratch directories: one on the disk of the build, and one in memory if `/dev/shm` exists.
pub(crate) fn scratch_directories() -> Result<Vec<(&'static str, TempDir)>, BenchError> {
    let on_disk = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut directories = vec![("on disk", on_disk)];
    if let Ok(in_memory) = TempDir::new_in("/dev/shm") {
        directories.push(("in memory", in_memory));
    }
    Ok(directories)
}

/// Makes a world whose peers have confirmed a release of `artifact` for longer than `settle`.
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

/// Runs one cycle of the world's client that downloads the release.
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
        (report, other) => Err(format!("not downloaded: {other:?} {report:?}").into()),
    }
}

/// Removes what [`download_release`] downloaded.
pub(crate) fn discard_download(world: &World) -> Result<(), BenchError> {
    Ok(fs::remove_dir_all(world.config.cycle.install_root.join("versions"))?)
}

/// Runs one cycle of a new client, which reads the whole log.
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
    // The release is the last entry: the client found it, so it read everything.
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
