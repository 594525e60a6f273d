//! Benchmark of a population, and of its engine in comparison with other engines.
//!
//! - *The population*: events per second on one core and bytes per node, at 10^4, 10^5 and 10^6
//!   nodes with five peers each. The last column is the time of one event. If it stays constant,
//!   the cost is linear.
//! - *The hold model* (every node waits 5 to 15 minutes, again and again) on our engine, on a
//!   binary heap, on nexosim with one thread, and on SimPy. nexosim and SimPy run tasks, and our
//!   engine runs events only. The comparison is the cost of a node's event, written for each
//!   engine.
//!
//! Every figure comes from a process of its own, and is the best of the stated number of runs.
//! Memory is the growth of resident memory. The population also counts its own memory. SimPy runs
//! in a Python virtual environment below the target directory. The benchmark creates that
//! environment if it is missing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nexosim::model::{Context, Model, schedulable};
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};
use simnet::engine::Queue;
use simnet::measure::Measure;
use simnet::population::run;
use simnet::scenario::{Scenario, TorScenario};
use simnet::validate::quiet_scenario;
use simnet::{Environment, Seed};

type BenchError = Box<dyn Error>;

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// The SimPy requirement for pip.
const SIMPY: &str = "simpy==4.1.2";

fn main() -> Result<(), BenchError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [what, nodes, events] = &arguments[..] {
        let measured = measure(what, nodes.parse()?, events.parse()?)?;
        println!("{} {} {}", measured.per_second, measured.resident, measured.counted);
        return Ok(());
    }
    println!("The population, 5 peers each; best of 3");
    println!(
        "{:>9} {:>12} {:>11} {:>14} {:>10}",
        "nodes", "Mevents/s", "bytes/node", "resident/node", "ns/event"
    );
    for nodes in SIZES {
        let best = best_of(3, "population", nodes, 0)?;
        let (million, nanos) = (best.per_second / 1e6, 1e9 / best.per_second);
        println!(
            "{nodes:>9} {million:>12.2} {:>11.0} {:>14.0} {nanos:>10.0}",
            best.counted, best.resident
        );
    }
    println!(
        "\nThe hold model: Mevents/s, and resident bytes a node; best of 3 (nexosim and SimPy: 1)"
    );
    let python = find_simpy();
    if let Err(why) = &python {
        println!("SimPy is left out: {why}");
    }
    println!(
        "{:>9} {:>16} {:>16} {:>16} {:>16}",
        "nodes", "ours", "binary heap", "nexosim 1.0", "SimPy 4.1.2"
    );
    for nodes in SIZES {
        let mut cells =
            vec![best_of(3, "ours", nodes, 20_000_000)?, best_of(3, "heap", nodes, 10_000_000)?];
        cells.push(best_of(1, "nexosim", nodes, 2_000_000)?);
        if let Ok(python) = &python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/simpy_hold.py");
            cells.push(run_child(
                Command::new(python).arg(script).args([nodes.to_string(), 500_000.to_string()]),
            )?);
        }
        let cell =
            |cell: &Measurement| format!("{:>8.2} {:>7.0}", cell.per_second / 1e6, cell.resident);
        println!("{nodes:>9} {}", cells.iter().map(cell).collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

/// One measurement: events per second, and memory.
struct Measurement {
    per_second: f64,
    /// Bytes of resident memory per node.
    resident: f64,
    /// Bytes per node, as the engine counts them; 0 if it does not count.
    counted: f64,
}

fn best_of(runs: u32, what: &str, nodes: u32, events: u64) -> Result<Measurement, BenchError> {
    let mut all = Vec::new();
    for _ in 0..runs {
        let mut command = Command::new(std::env::current_exe()?);
        all.push(run_child(command.args([what, &nodes.to_string(), &events.to_string()]))?);
    }
    let best = all.into_iter().max_by(|a, b| a.per_second.total_cmp(&b.per_second));
    best.ok_or_else(|| "there was no run".into())
}

fn run_child(command: &mut Command) -> Result<Measurement, BenchError> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    match numbers?[..] {
        [per_second, resident] => Ok(Measurement { per_second, resident, counted: 0.0 }),
        [per_second, resident, counted] => Ok(Measurement { per_second, resident, counted }),
        _ => Err(format!("the child process printed no figures: {text}").into()),
    }
}

fn measure(what: &str, nodes: u32, events: u64) -> Result<Measurement, BenchError> {
    let before = peak_memory_bytes();
    let (per_second, counted) = match what {
        "population" => population(nodes),
        "ours" => hold_engine(nodes, events),
        "heap" => hold_heap(nodes, events),
        "nexosim" => return hold_nexosim(nodes, events),
        other => return Err(format!("there is no measurement {other}").into()),
    };
    let resident = (peak_memory_bytes() - before) / f64::from(nodes);
    Ok(Measurement { per_second, resident, counted })
}

/// The process's peak resident memory in bytes, on Linux; elsewhere 0. The peak includes memory
/// that was freed later, because the run needed that memory, too.
fn peak_memory_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

/// Runs two and a half hours of ordinary operation with one release. Returns events per second and
/// bytes per node.
fn population(nodes: u32) -> (f64, f64) {
    let scenario = Scenario {
        horizon: 5 * HOUR / 2,
        availability: 0.99,
        round_interval: (20 * MINUTE, 40 * MINUTE),
        release: (HOUR / 2, 0),
        background: 10 * MINUTE,
        tor: TorScenario::calm(),
        ..quiet_scenario(nodes, 5)
    };
    let environment = Environment::new(scenario, Seed(7));
    let mut measure = Measure::new(&environment);
    let began = Instant::now();
    let ran = run(&environment, &mut measure);
    let took = began.elapsed().as_secs_f64();
    assert!(measure.into_results().counts["installs"] > 0);
    (ran.events as f64 / took, ran.bytes)
}

/// A generator of waits from 5 to 15 minutes, in ms (xorshift64*; Vigna 2016).
struct RandomWaits(u64);

impl RandomWaits {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        5 * MINUTE + ((bits * 10 * MINUTE) >> 32)
    }
}

fn hold_engine(nodes: u32, events: u64) -> (f64, f64) {
    let (mut queue, mut waits) = (Queue::with_capacity(nodes as usize), RandomWaits(7));
    for node in 0..nodes {
        queue.push(waits.next(), node, node);
    }
    let mut hold = |count: u64| {
        for _ in 0..count {
            let (at, node, event) = queue.pop().expect("as many as before");
            queue.push(at + waits.next(), node, event);
        }
    };
    hold(2 * u64::from(nodes));
    let began = Instant::now();
    hold(events);
    let took = began.elapsed().as_secs_f64();
    (events as f64 / took, queue.bytes() as f64 / f64::from(nodes))
}

fn hold_heap(nodes: u32, events: u64) -> (f64, f64) {
    let (mut heap, mut waits) = (BinaryHeap::with_capacity(nodes as usize), RandomWaits(7));
    for node in 0..nodes {
        heap.push(Reverse((waits.next(), node, node)));
    }
    let mut hold = |count: u64| {
        for _ in 0..count {
            let Reverse((at, node, event)) = heap.pop().expect("as many as before");
            heap.push(Reverse((at + waits.next(), node, event)));
        }
    };
    hold(2 * u64::from(nodes));
    let began = Instant::now();
    hold(events);
    let took = began.elapsed().as_secs_f64();
    (events as f64 / took, size_of::<(u64, u32, u32)>() as f64)
}

/// A node of the hold model as a nexosim model.
#[derive(Serialize, Deserialize)]
struct HoldNode {
    state: u64,
}

#[Model]
impl HoldNode {
    #[nexosim(init)]
    async fn init(&mut self, cx: &Context<Self>) {
        self.wait((), cx).await;
    }

    #[nexosim(schedulable)]
    async fn wait(&mut self, _: (), cx: &Context<Self>) {
        let mut waits = RandomWaits(self.state);
        let wait = Duration::from_millis(waits.next());
        self.state = waits.0;
        cx.schedule_event(wait, schedulable!(Self::wait), ()).expect("a time to come");
    }
}

fn hold_nexosim(nodes: u32, events: u64) -> Result<Measurement, BenchError> {
    let before = peak_memory_bytes();
    let mut bench = SimInit::with_num_threads(1);
    let mut seeds = RandomWaits(7);
    for _ in 0..nodes {
        seeds.next();
        // With the default capacity of 16 messages, mailboxes would be most of the memory.
        bench = bench.add_model(HoldNode { state: seeds.0 }, Mailbox::with_capacity(1), "");
    }
    let mut simulation = bench.init(MonotonicTime::EPOCH)?;
    let mean = 10 * MINUTE;
    simulation.step_until(Duration::from_millis(2 * mean))?;
    // nexosim does not count events. This period has `events` events, to within a thousandth.
    let lasts = Duration::from_millis(events * mean / u64::from(nodes));
    let began = Instant::now();
    simulation.step_until(lasts)?;
    let per_second = events as f64 / began.elapsed().as_secs_f64();
    Ok(Measurement {
        per_second,
        resident: (peak_memory_bytes() - before) / f64::from(nodes),
        counted: 0.0,
    })
}

/// Finds a Python interpreter with SimPy, and installs SimPy if it is missing. Fails with the
/// reason.
fn find_simpy() -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simpy");
    let python = directory.join("bin/python");
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    if run(Command::new(&python).args(["-c", "import simpy"])).is_ok() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&directory))
        .map_err(|why| format!("python3 cannot make a virtual environment ({why})"))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", SIMPY]))
        .map_err(|why| format!("pip cannot install it from PyPI; is there a network? ({why})"))?;
    Ok(python)
}
