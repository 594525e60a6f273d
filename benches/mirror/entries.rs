//! Benchmark of reading a long log, compared with hashing its entries and with curl fetching the
//! same files.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use unanimity_log::LogWriter;
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Hash, Timestamp};
use unanimity_storage::Storage;
use unanimity_testkit::{ReleaseSpec, World};

use super::nginx::Nginx;
use super::{BenchError, median, read_log};

const ENTRIES: u64 = 100_000;
const ROUNDS: u64 = 5;

/// Appends `entries` notes of about 600 bytes and one release to the log, and returns the notes.
pub(crate) fn fill_log(world: &World, entries: u64) -> Result<Vec<Vec<u8>>, BenchError> {
    let (origin, filling) = (&world.keys.log.origin, "x".repeat(420));
    let notes: Vec<Vec<u8>> = (0..entries)
        .map(|i| {
            let text = format!("unanimity/example/v1\nlog {origin}\nentry {i:08}\n{filling}\n");
            format!("{text}\n— otherkey {}\n", "A".repeat(92)).into_bytes()
        })
        .collect();
    let secret = world.keys.log_key.clone();
    let mut log = LogWriter::open(&world.log_directory(), secret, Storage::default())?;
    log.append(&notes)?;
    drop(log);
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"))?;
    Ok(notes)
}

pub(crate) async fn measure() -> Result<(), BenchError> {
    let scratch = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut world = World::create(&scratch.path().join("world"), 3, Timestamp(1_790_000_000))?;
    let notes = fill_log(&world, ENTRIES)?;
    world.poll_all().await?;
    let nginx = Nginx::start(&world.log_directory())?;
    world.mirrors = vec![nginx.mirror()?];
    let mut times: [Vec<Duration>; 3] = Default::default();
    let mut requests = 0;
    for seed in 0..ROUNDS {
        nginx.take_requested_paths()?;
        let began = Instant::now();
        read_log(&world, seed).await?;
        times[0].push(began.elapsed());
        let asked = nginx.take_requested_paths()?;
        requests = asked.len();
        let began = Instant::now();
        let mut tree = Frontier::default();
        notes.iter().for_each(|note| tree.push(Hash::leaf(note)));
        std::hint::black_box(tree.root());
        times[1].push(began.elapsed());
        let one = |path: &String| format!("url = {}\noutput = /dev/null\n", nginx.url_of(path));
        nginx.write_file("list", &asked.iter().map(one).collect::<String>())?;
        times[2].push(
            nginx
                .run_shell("curl -sS --no-progress-meter --http1.1 -Z --parallel-max 8 -K list")?,
        );
    }
    let bytes: usize = notes.iter().map(Vec::len).sum();
    let [ours, hashing, curl] = times.map(|times| median(&times));
    println!(
        "\nA log of {ENTRIES} new entries ({} MB) over TLS, median of {ROUNDS}\n\
         ours {ours:.2} s, {requests} requests",
        bytes / 1_000_000
    );
    println!(
        "{:>4}hashing all of it {hashing:.2} s: {:.2} ({:.0} % of ours)",
        "",
        ours / hashing,
        100.0 * hashing / ours
    );
    println!("{:>4}curl, 8 at once   {curl:.2} s: {:.2}", "", ours / curl);
    Ok(())
}
