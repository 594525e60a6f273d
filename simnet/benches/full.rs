//! Benchmark of the full tier, compared with the bare work that it contains.
//!
//! A *question* is one peer asked and answered: 256 bytes to the peer, 8,448 back. A *cycle* of a
//! client asks its 5 peers, links their heads, reads the log, decides and stores. So a cycle is 5
//! questions. The witnesses' polls, three for each cycle, cost time and are not counted.
//!
//! - *Ours*: two and a half hours of ordinary operation with a release that all nodes install, from
//!   an empty process to the last event. Memory is the growth of resident memory per node.
//! - *Bare streams*: 5 new duplex streams per cycle with the same bytes, in the same virtual time,
//!   and nothing else. No simulation of byte streams on this runtime can be faster.
//! - *Ed25519*: one strict verification for each question, and nothing else. A real client makes at
//!   least two. The full tier does not verify what the same process has signed.
//!
//! Times are processor time of a process of its own, as the system counts it. Other work on the
//! machine makes them longer only by competing for memory. The figures are the best of three runs.

use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use simnet::scenario::{Scenario, TorScenario};
use simnet::trace::{CycleResult, EventKind};
use simnet::validate::quiet_scenario;
use simnet::{Environment, Seed, full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::sleep;
use unanimity_net::message::{ANSWER_BYTES, QUESTION_BYTES};
use unanimity_protocol::{Note, NoteSigningKey};

type BenchError = Box<dyn Error>;

const SIZES: [u32; 2] = [1_000, 10_000];
const PEERS: u32 = 5;
const RUNS: usize = 3;
const MINUTE: u64 = 60_000;

fn main() -> Result<(), BenchError> {
    // Cargo passes `--bench` to every benchmark.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [what, nodes] = &arguments[..] {
        let (cycles, resident) = measure(what, nodes.parse()?)?;
        println!("{cycles} {resident}");
        return Ok(());
    }
    println!("The full tier, {PEERS} peers each; best of {RUNS}; a cycle is {PEERS} questions");
    println!(
        "{:>7} {:>10} {:>12} {:>12} {:>14} {:>14} {:>12}",
        "nodes", "cycles/s", "questions/s", "us/cycle", "resident/node", "bare streams", "Ed25519"
    );
    for nodes in SIZES {
        let (ours, resident) = best_of_runs("ours", nodes)?;
        let ((bare, _), (ed25519, _)) =
            (best_of_runs("bare", nodes)?, best_of_runs("ed25519", nodes)?);
        let questions = |cycles: f64| cycles * f64::from(PEERS);
        println!(
            "{nodes:>7} {ours:>10.0} {:>12.0} {:>12.0} {resident:>14.0} {:>14.0} {:>12.0}",
            questions(ours),
            1e6 / ours,
            questions(bare),
            questions(ed25519)
        );
    }
    println!("The last two columns are questions/s, too; resident is bytes.");
    Ok(())
}

/// Cycles per second, and resident bytes per node.
type Measurement = (f64, f64);

fn best_of_runs(what: &str, nodes: u32) -> Result<Measurement, BenchError> {
    let mut best = (0.0, 0.0);
    for _ in 0..RUNS {
        let mut command = Command::new(std::env::current_exe()?);
        let output = command.args([what, &nodes.to_string()]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let (cycles, resident) =
            text.trim().split_once(' ').ok_or("the child process printed no figures")?;
        let measured: Measurement = (cycles.parse()?, resident.parse()?);
        best = if measured.0 > best.0 { measured } else { best };
    }
    Ok(best)
}

fn measure(what: &str, nodes: u32) -> Result<Measurement, BenchError> {
    let (before, began, wall) = (peak_memory_bytes(), cpu_seconds(), Instant::now());
    let cycles = match what {
        "ours" => count_simulated_cycles(nodes)?,
        "bare" => count_bare_cycles(nodes)?,
        "ed25519" => count_verified_cycles()?,
        other => return Err(format!("there is no measurement {other}").into()),
    };
    let took = cpu_seconds().zip(began).map(|(now, began)| now - began);
    let took = took.unwrap_or_else(|| wall.elapsed().as_secs_f64());
    Ok((cycles as f64 / took, (peak_memory_bytes() - before) / f64::from(nodes)))
}

/// The processor time of all threads of this process in seconds, on Linux; elsewhere `None`. It is
/// the sum of user and system time: fields 14 and 15 of `/proc/self/stat` in hundredths of a
/// second, see proc(5).
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / 100.0)
}

/// The process's peak resident memory in bytes, on Linux; elsewhere 0.
fn peak_memory_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

/// Runs the full tier and returns the number of cycles. All peers are up, so every question is
/// answered, though not always at the first try.
fn count_simulated_cycles(nodes: u32) -> Result<usize, BenchError> {
    let scenario = Scenario {
        horizon: 150 * MINUTE,
        round_interval: (20 * MINUTE, 40 * MINUTE),
        release: (30 * MINUTE, 0),
        background: 10 * MINUTE,
        tor: TorScenario::calm(),
        ..quiet_scenario(nodes, PEERS)
    };
    let events = full::run(Environment::new(scenario, Seed(7)), Seed(7))?;
    let cycles = events.iter().filter_map(|event| match event.kind {
        EventKind::Cycled(_, result) => Some(result),
        _ => None,
    });
    let installs =
        cycles.clone().filter(|cycle| matches!(cycle, CycleResult::Installed { .. })).count();
    assert!(installs > nodes as usize / 2, "only {installs} nodes installed");
    Ok(cycles.count())
}

/// Runs the bare streams and returns the number of cycles. Before each cycle, a node waits up to
/// half an hour of virtual time. All cycles together are more than a second's work.
fn count_bare_cycles(nodes: u32) -> Result<usize, BenchError> {
    let cycles = 200_000 / u64::from(nodes);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for node in 0..u64::from(nodes) {
            clients.spawn(async move {
                for cycle in 0..cycles {
                    // The factors are primes, so that times are spread over the whole wait.
                    sleep(Duration::from_millis((node * 7919 + cycle * 104_729) % (30 * MINUTE)))
                        .await;
                    let mut asked = JoinSet::new();
                    for _ in 0..PEERS {
                        let (ours, theirs) = duplex(2 * ANSWER_BYTES);
                        tokio::spawn(answer(theirs));
                        asked.spawn(ask(ours));
                    }
                    asked.join_all().await;
                }
            });
        }
        clients.join_all().await;
    });
    Ok((cycles * u64::from(nodes)) as usize)
}

async fn ask(mut stream: DuplexStream) {
    stream.write_all(&[1; QUESTION_BYTES]).await.expect("a stream in memory");
    let mut answer = vec![0; ANSWER_BYTES];
    stream.read_exact(&mut answer).await.expect("an answer");
}

async fn answer(mut stream: DuplexStream) {
    let mut question = [0; QUESTION_BYTES];
    stream.read_exact(&mut question).await.expect("a question");
    stream.write_all(&[1; ANSWER_BYTES]).await.expect("a stream in memory");
}

/// Verifies signatures, one for each question, and returns the number of cycles, which does not
/// depend on the number of nodes.
fn count_verified_cycles() -> Result<usize, BenchError> {
    const CYCLES: u32 = 10_000;
    let secret = NoteSigningKey::from_seed("log".parse()?, &[7; 32]);
    let mut note =
        Note::unsigned("log.example/releases\n12\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n")?;
    note.sign(&secret);
    let keys = [secret.public()];
    for _ in 0..CYCLES * PEERS {
        note.open(&keys)?;
    }
    Ok(CYCLES as usize)
}
