//! The commands of the full tier: swarms of random worlds, replays, and shrinking of failures.

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

/// The choice of one world: a file and a seed, or the seed of a random world.
#[derive(Args)]
pub(super) struct WorldArgs {
    /// The world to play: a scenario file (the first combination of its swept values), or a JSON
    /// file from `simnet shrink`. Needs --seed
    #[arg(requires = "seed")]
    world: Option<PathBuf>,
    /// The seed of that world
    #[arg(long)]
    seed: Option<u64>,
    /// Play the random world of this seed
    #[arg(long, conflicts_with_all = ["world", "seed"])]
    swarm: Option<u64>,
}

impl WorldArgs {
    fn read_world(&self) -> Result<(Scenario, Seed), SimulatorError> {
        if let Some(seed) = self.swarm {
            return Ok((swarm::random_scenario(Seed(seed)), Seed(seed)));
        }
        let (Some(path), Some(seed)) = (&self.world, self.seed) else {
            return Err(SimulatorError::Usage("give a world and --seed, or --swarm".to_owned()));
        };
        let world = if path.extension().is_some_and(|end| end == "json") {
            let bytes = unanimity_storage::read_at_most(path, 1 << 20)
                .map_err(SimulatorError::Unreadable)?;
            let invalid =
                |reason: &str| SimulatorError::Usage(format!("{}: {reason}", path.display()));
            let world: Scenario =
                serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
            if !world.is_playable() {
                return Err(invalid("a number of nodes, a time or a probability is out of range"));
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

/// An estimate of the memory that a world takes, in bytes. It is slightly more than was measured
/// with ten thousand nodes.
pub(super) fn bytes_needed(scenario: &Scenario) -> u64 {
    u64::from(scenario.nodes).saturating_mul(90_000 + 4_000 * u64::from(scenario.peers))
}

/// Plays one world, and returns its results and whether every rule held.
pub(super) fn run_world(
    world: &Scenario,
    seed: Seed,
) -> Result<(Results, Result<(), SimulatorError>), SimulatorError> {
    let played = play_world(world, seed)?;
    let results = measure::measure_events(world, seed, &played.events);
    Ok((results, check_rules(&played)))
}

/// Plays one world, prints a digest of its events, and fails with the broken rules if there are
/// any.
pub(super) fn replay_world(arguments: &WorldArgs, events: bool) -> Result<(), SimulatorError> {
    let (world, seed) = arguments.read_world()?;
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

/// Fails with a line for each broken rule, if there are any.
fn check_rules(played: &PlayedWorld) -> Result<(), SimulatorError> {
    let broken: Vec<String> = played.violations.iter().map(ToString::to_string).collect();
    if broken.is_empty() { Ok(()) } else { Err(SimulatorError::RuleBroken(broken.join("\n"))) }
}

/// Makes a world smaller as long as the same rule breaks, and writes the smallest one.
pub(super) fn shrink_world(arguments: &WorldArgs, out: &PathBuf) -> Result<(), SimulatorError> {
    let (world, seed) = arguments.read_world()?;
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
        "{first}\nThe rule still breaks with {} nodes, {} peers each, {} faults: simnet replay {} --seed {}",
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
            let (set_order, fetch_order) = (Ordering::Relaxed, Ordering::Relaxed);
            let step = |seed| (seed < seeds.end).then(|| seed + 1);
            let Ok(seed) = next.fetch_update(set_order, fetch_order, step) else { return Ok(()) };
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
        let results = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.collect::<Vec<_>>().into_iter().collect::<Result<(), SimulatorError>>()
    })?;
    print_line(&format!("{} worlds, and no rule broke", seeds.end - seeds.start))
}
