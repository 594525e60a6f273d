//! Worlds of the code that ships: sweeps of random ones, replays, and what is least of a failure.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;

use super::exit::SimulatorError;
use super::output::print_line;
use super::study_file::read_study;
use crate::swarm::PlayedWorld;
use crate::{Results, Scenario, Seed, measure, swarm, trace};

/// Which world.
#[derive(Args)]
pub(super) struct WorldArgs {
    /// A scenario (its first cell), or a world in JSON that `simnet shrink` wrote; with --seed
    #[arg(requires = "seed")]
    world: Option<PathBuf>,
    /// The seed of that world
    #[arg(long)]
    seed: Option<u64>,
    /// The random world of this seed
    #[arg(long, conflicts_with_all = ["world", "seed"])]
    swarm: Option<u64>,
}

impl WorldArgs {
    fn read_world(&self) -> Result<(Scenario, Seed), SimulatorError> {
        if let Some(seed) = self.swarm {
            return Ok((swarm::random_scenario(Seed(seed)), Seed(seed)));
        }
        let (Some(path), Some(seed)) = (&self.world, self.seed) else {
            return Err(SimulatorError::Usage("write a world and --seed, or --swarm".to_owned()));
        };
        let world = if path.extension().is_some_and(|end| end == "json") {
            let bytes = unanimity_storage::read_at_most(path, 1 << 20)
                .map_err(SimulatorError::Unreadable)?;
            let wrong = |why: &str| SimulatorError::Usage(format!("{}: {why}", path.display()));
            let world: Scenario =
                serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
            if !world.is_playable() {
                return Err(wrong("its nodes, times or probabilities make no world"));
            }
            world
        } else {
            read_study(path, &[])?.cells[0].clone()
        };
        Ok((world, Seed(seed)))
    }
}

fn play_world(world: &Scenario, seed: Seed) -> Result<PlayedWorld, SimulatorError> {
    Ok(swarm::play(world, seed)?)
}

/// About how much memory a world takes: what ten thousand nodes were seen to, and a little more.
pub(super) fn bytes_needed(scenario: &Scenario) -> u64 {
    u64::from(scenario.nodes).saturating_mul(90_000 + 4_000 * u64::from(scenario.peers))
}

/// Plays one world: what was measured, and whether every rule was kept.
pub(super) fn run_world(
    world: &Scenario,
    seed: Seed,
) -> Result<(Results, Result<(), SimulatorError>), SimulatorError> {
    let played = play_world(world, seed)?;
    let results = measure::measure_events(world, seed, &played.events);
    Ok((results, check_rules(&played)))
}

/// Plays one world and prints what happened, and which rules broke.
pub(super) fn replay_world(which: &WorldArgs, events: bool) -> Result<(), SimulatorError> {
    let (world, seed) = which.read_world()?;
    let played = play_world(&world, seed)?;
    if events {
        let lines = played.events.iter().map(|event| format!("{event:?}"));
        print_line(&lines.collect::<Vec<_>>().join("\n"))?;
    }
    print_line(&format!(
        "{} events, digest {}",
        played.events.len(),
        trace::digest(&played.events)
    ))?;
    check_rules(&played)
}

/// Says which rules broke, if any.
fn check_rules(played: &PlayedWorld) -> Result<(), SimulatorError> {
    let broken: Vec<String> = played.violations.iter().map(ToString::to_string).collect();
    if broken.is_empty() { Ok(()) } else { Err(SimulatorError::RuleBroken(broken.join("\n"))) }
}

/// Makes a world smaller as long as the same rule breaks, and writes what is left.
pub(super) fn shrink_world(which: &WorldArgs, out: &PathBuf) -> Result<(), SimulatorError> {
    let (world, seed) = which.read_world()?;
    let played = play_world(&world, seed)?;
    let Some(first) = played.violations.first() else {
        return Err(SimulatorError::Usage(
            "no rule breaks in this world: nothing to shrink".to_owned(),
        ));
    };
    let small = swarm::shrink(&world, seed, first.rule)?;
    let text = serde_json::to_string_pretty(&small).expect("plain data");
    fs::write(out, text + "\n").map_err(unanimity_storage::StorageError::at(out))?;
    print_line(&format!(
        "{first}\nstill breaks with {} nodes, {} peers each, {} faults: simnet replay {} --seed {}",
        small.nodes,
        small.peers,
        small.faults.len(),
        out.display(),
        seed.0
    ))
}

/// Plays many random worlds, and stops at the first in which a rule breaks.
pub(super) fn run_swarm(seeds: Range<u64>, threads: usize) -> Result<(), SimulatorError> {
    let next = AtomicU64::new(seeds.start);
    let worlds = || -> Result<(), SimulatorError> {
        loop {
            let (one, other) = (Ordering::Relaxed, Ordering::Relaxed);
            let step = |seed| (seed < seeds.end).then(|| seed + 1);
            let Ok(seed) = next.fetch_update(one, other, step) else { return Ok(()) };
            check_rules(&play_world(&swarm::random_scenario(Seed(seed)), Seed(seed))?)
                .inspect_err(|_| {
                    next.store(seeds.end, Ordering::Relaxed);
                    let version = env!("CARGO_PKG_VERSION");
                    eprintln!("world {seed} of version {version}: simnet replay --swarm {seed}");
                    eprintln!(
                        "                      simnet shrink --swarm {seed} --out small.json"
                    );
                })?;
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(worlds)).collect();
        let ended = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect::<Vec<_>>().into_iter().collect::<Result<(), SimulatorError>>()
    })?;
    print_line(&format!("{} worlds, and no rule broke", seeds.end - seeds.start))
}
