//! Benchmark of four hostile mirrors beside an honest one, in paused time, which counts only waits.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, pending};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use unanimity_config::{MirrorSpec, MirrorUrl};
use unanimity_net::{ByteStream, Mirror, WebConnector};
use unanimity_protocol::Timestamp;
use unanimity_testkit::World;

use super::entries::fill_log;
use super::{
    BenchError, create_confirmed_world, discard_download, download_release, median, read_log,
};

/// The time until a connection is made.
const CONNECT: Duration = Duration::from_secs(1);
/// The time until an answer begins.
const ANSWER: Duration = Duration::from_millis(300);
/// The rate of a connection, in bytes per second.
const RATE: usize = 400 * 1024;
const PIECE: usize = 16 * 1024;
const ARTIFACT: usize = 16 << 20;
const ENTRIES: u64 = 10_000;
/// The number of runs, each with another order of the mirrors.
const ORDERS: u64 = 20;

/// The behaviour of a simulated mirror.
#[derive(Clone, Copy, Debug, PartialEq)]
enum HostFault {
    Honest,
    /// Refuses connections.
    Dead,
    /// Accepts connections, and never answers.
    Silent,
    /// Sends 100 bytes per second.
    Slow,
    /// Flips one bit in the last byte of every file but the checkpoint.
    Corrupting,
    /// Serves an empty log.
    Frozen,
}

use HostFault::{Corrupting, Dead, Frozen, Honest, Silent, Slow};

/// The sets of four mirrors, each with its name in the table.
const MIRROR_SETS: [(&str, [HostFault; 4]); 7] = [
    ("honest as well", [Honest; 4]),
    ("dead", [Dead; 4]),
    ("silent", [Silent; 4]),
    ("slow", [Slow; 4]),
    ("corrupting", [Corrupting; 4]),
    ("frozen", [Frozen; 4]),
    ("one of each", [Dead, Slow, Corrupting, Frozen]),
];

pub(crate) async fn measure() -> Result<(), BenchError> {
    let scratch = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut artifact = vec![0; ARTIFACT];
    StdRng::seed_from_u64(1).fill_bytes(&mut artifact);
    let mut download = create_confirmed_world(&scratch.path().join("download"), &artifact).await?;
    let mut log = World::create(&scratch.path().join("log"), 3, Timestamp(1_790_000_000))?;
    for world in [&download, &log] {
        // Frozen mirrors serve this empty log.
        let frozen = world.directory.join("frozen");
        let (origin, secret) = (world.keys.log.origin.clone(), world.keys.log_key.clone());
        unanimity_log::LogWriter::init(&frozen, origin, secret, Default::default())?;
    }
    fill_log(&log, ENTRIES)?;
    log.poll_all().await?;
    println!(
        "\nFour hostile mirrors beside an honest one, over links of {} KiB/s, in paused time; {ORDERS} orders\n\
         {:>16} {:>30} {:>30}\n{:>16} {:>12} {:>8} {:>8} {:>12} {:>8} {:>8}",
        RATE / 1024,
        "",
        format!("{ENTRIES} new entries"),
        "a download of 16 MiB",
        "the four are",
        "median s",
        "ratio",
        "worst",
        "median s",
        "ratio",
        "worst"
    );
    let alone = (
        measure_row(&mut log, &[Honest], false).await?,
        measure_row(&mut download, &[Honest], true).await?,
    );
    let base = [median(&alone.0), median(&alone.1)];
    println!("{:>16} {:>12.1} {:>8} {:>8} {:>12.1}", "none", base[0], "", "", base[1]);
    for (name, four) in MIRROR_SETS {
        let five = [&four[..], &[Honest]].concat();
        let times = [
            measure_row(&mut log, &five, false).await?,
            measure_row(&mut download, &five, true).await?,
        ];
        print!("{name:>16}");
        for (times, base) in times.iter().zip(base) {
            let worst = times.iter().max().map_or(0.0, Duration::as_secs_f64);
            let median = median(times);
            print!(" {median:>12.1} {:>8.2} {:>8.2}", median / base, worst / base);
        }
        println!();
    }
    Ok(())
}

/// Measures a download or a read of the log with these mirrors, in [`ORDERS`] orders.
async fn measure_row(
    world: &mut World,
    faults: &[HostFault],
    is_download: bool,
) -> Result<Vec<Duration>, BenchError> {
    let host = |fault: &HostFault| match fault {
        Frozen => (world.directory.join("frozen"), *fault),
        _ => (world.log_directory(), *fault),
    };
    let hosts = FaultyHosts(Arc::new(faults.iter().map(host).collect()));
    world.mirrors = hosts.mirrors()?;
    let mut times = Vec::new();
    for seed in 0..ORDERS {
        let began = Instant::now();
        if is_download {
            download_release(world, seed).await?;
            times.push(began.elapsed());
            discard_download(world)?;
        } else {
            read_log(world, seed).await?;
            times.push(began.elapsed());
        }
    }
    Ok(times)
}

/// The hosts of the mirrors, by the port of their URL.
#[derive(Clone)]
struct FaultyHosts(Arc<Vec<(PathBuf, HostFault)>>);

impl FaultyHosts {
    fn mirrors(&self) -> Result<Vec<Mirror>, BenchError> {
        // Any address will do: no connection goes over a network.
        let onion = "lwdjqhcno6qwh3m2bcggcs2rvohlcz7tcymipalmlhkl6wdhsx3bzkqd.onion";
        let web: Arc<dyn WebConnector> = Arc::new(self.clone());
        let mut mirrors = Vec::new();
        for port in 1..=self.0.len() {
            let spec: MirrorSpec = format!("http://{onion}:{port}").parse()?;
            let mirror = Mirror::from_spec(&spec, Some(&web))?;
            mirrors.push(mirror);
        }
        Ok(mirrors)
    }
}

impl WebConnector for FaultyHosts {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        let (directory, fault) = self.0[usize::from(site.port) - 1].clone();
        Box::pin(async move {
            sleep(CONNECT).await;
            if fault == Dead {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(64 * 1024);
            tokio::spawn(serve(directory, fault, theirs));
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(self.clone())
    }
}

/// Answers requests on one connection until it is closed.
async fn serve(directory: PathBuf, fault: HostFault, mut stream: DuplexStream) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
        let from = head.lines().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse::<usize>().ok()
        });
        sleep(ANSWER).await;
        if answer(&directory, fault, path, from, &mut stream).await.is_err() {
            return;
        }
    }
}

async fn answer(
    directory: &Path,
    fault: HostFault,
    path: &str,
    from: Option<usize>,
    stream: &mut DuplexStream,
) -> io::Result<()> {
    let Ok(mut bytes) = std::fs::read(directory.join(path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    };
    match fault {
        Silent => pending().await,
        Corrupting if path != "checkpoint" => {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        }
        _ => {}
    }
    let (begin, total) = (from.unwrap_or(0).min(bytes.len()), bytes.len());
    let first = match from {
        Some(_) => format!("206 Partial\r\nContent-Range: bytes {begin}-{}/{total}", total - 1),
        None => "200 OK".to_owned(),
    };
    let head = format!("HTTP/1.1 {first}\r\nContent-Length: {}\r\n\r\n", total - begin);
    stream.write_all(head.as_bytes()).await?;
    let (piece, rate) = if fault == Slow { (100, 100) } else { (PIECE, RATE) };
    for piece in bytes[begin..].chunks(piece) {
        stream.write_all(piece).await?;
        sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
    }
    Ok(())
}
