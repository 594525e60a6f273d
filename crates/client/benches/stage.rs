//! Benchmark: the download of an artifact of 1 GiB from a mirror on this machine's disk.
//!
//! The download reads, hashes, writes and syncs the artifact in one pass. Two lower bounds are
//! measured in the same run, in turns: copying the file and syncing the copy (`cp`, `sync`), and
//! hashing the file. The benchmark prints the medians, the ratio to the slower lower bound, and the
//! memory beyond the idle process.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};
use unanimity_client::{Client, CycleOutcome};
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::{Hash, Timestamp};
use unanimity_testkit::{ReleaseSpec, World};

const LENGTH: usize = 1 << 30;
const TURNS: usize = 7;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Measures `work` after a sync, so that earlier writes and removals do not count.
fn time_after_sync(work: impl FnOnce()) -> Duration {
    run("sync", &[]);
    let began = Instant::now();
    work();
    began.elapsed()
}

fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.expect("it is installed").success(), "{program} failed");
}

fn hash(path: &Path) {
    let (mut file, mut hasher) = (fs::File::open(path).expect("it is there"), Sha256::new());
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).expect("it can be read") {
            0 => break,
            count => hasher.update(&piece[..count]),
        }
    }
    std::hint::black_box(hasher.finalize());
}

/// The value of a line of `/proc/self/status`, in KiB.
fn memory_kib(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|all| all.strip_prefix(line)).expect("a line");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A world in which a release of [`LENGTH`] bytes can be downloaded now, and the artifact's digest.
async fn settled_world(directory: &Path) -> (World, Hash) {
    let mut world = World::create(directory, 1, Timestamp(1_790_000_000)).expect("a world");
    let pattern: Vec<u8> =
        (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let artifact = pattern.repeat(LENGTH >> 20);
    let digest = Hash::digest(&artifact);
    world.publish(&ReleaseSpec::new(1, "1.0.0", &artifact)).expect("published");
    drop(artifact);
    world.poll_all().await.expect("polled");
    world.check().await.1.expect_err("it has to settle");
    world.advance(Duration::from_secs(3601));
    world.poll_all().await.expect("polled");
    (world, digest)
}

fn main() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (world, digest) = runtime.block_on(settled_world(&scratch.path().join("world")));
    let artifact = world.log_directory().join(artifact_path(&digest));
    let copy = scratch.path().join("copy");
    let (mut downloading, mut copying, mut hashing) = (Vec::new(), Vec::new(), Vec::new());
    let mut beyond = 0;
    for _ in 0..TURNS {
        copying.push(time_after_sync(|| {
            run("cp", &[&artifact, &copy]);
            run("sync", &[&copy]);
        }));
        fs::remove_file(&copy).expect("removed");
        hashing.push(time_after_sync(|| hash(&artifact)));
        let idle = memory_kib("VmRSS");
        // Writing 5 resets the peak of resident memory (proc(5)).
        fs::write("/proc/self/clear_refs", "5").expect("our own");
        downloading.push(time_after_sync(|| {
            let mut rng = StdRng::seed_from_u64(1);
            let disk = world.disk.clone();
            let client =
                Client::open(&world.config, &world.mirrors, &world.network, &world.clock, disk);
            let mut client = client.expect("opened");
            let (report, result) = runtime.block_on(client.download(&mut rng));
            assert!(matches!(result, Ok(CycleOutcome::Available(_))), "{result:?} {report:?}");
        }));
        beyond = beyond.max(memory_kib("VmHWM").saturating_sub(idle));
        let downloaded = world.config.cycle.install_root.join("versions/.1-1.0.0.new");
        assert_eq!(
            fs::metadata(downloaded.join("hello")).expect("downloaded").len(),
            LENGTH as u64
        );
        fs::remove_dir_all(downloaded).expect("removed");
    }
    let [downloading, copying, hashing] = [downloading, copying, hashing].map(median);
    let ratio = downloading.as_secs_f64() / copying.max(hashing).as_secs_f64();
    println!(
        "download of 1 GiB {downloading:.2?}; cp and sync {copying:.2?}, hashing {hashing:.2?}"
    );
    println!(
        "ratio to the slower of the two {ratio:.2}; {} MiB beyond the idle process",
        beyond >> 10
    );
}
