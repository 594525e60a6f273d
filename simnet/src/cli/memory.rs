//! The check that the worlds fit into this machine's memory.

use std::fs::read_to_string;

use super::exit::SimulatorError;
use crate::{Scenario, Study};

/// Refuses a study if a world for each thread does not fit into the free memory.
pub(super) fn check_memory(
    study: &Study,
    threads: usize,
    bytes_needed: fn(&Scenario) -> u64,
) -> Result<(), SimulatorError> {
    let Some(free) = free_bytes() else { return Ok(()) };
    let needed = study.cells.iter().map(bytes_needed).max().unwrap_or(0);
    let worlds = study.worlds().min(threads as u64).max(1);
    let all = needed.saturating_mul(worlds);
    if all <= free {
        return Ok(());
    }
    let nodes = study.cells.iter().map(|cell| cell.nodes).max().unwrap_or(0);
    let advice = match needed <= free {
        true => format!("give --threads {}", free / needed),
        false => "lower count in [nodes]".to_owned(),
    };
    Err(SimulatorError::Usage(format!(
        "a world of {nodes} nodes takes about {} of memory, {worlds} at once {}; {} are free: {advice}",
        format_bytes(needed),
        format_bytes(all),
        format_bytes(free),
    )))
}

fn format_bytes(count: u64) -> String {
    match count as f64 {
        small if small < 1e9 => format!("{:.0} MB", (small / 1e6).ceil()),
        large => format!("{:.1} GB", large / 1e9),
    }
}

/// Free memory in bytes: the machine's, or the rest of a container's limit. `None` if unknown.
fn free_bytes() -> Option<u64> {
    let memory = read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine = line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024;
    let number = |name: &str| {
        let text = read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let limit = number("memory.max");
    let container = limit.map(|limit| limit.saturating_sub(number("memory.current").unwrap_or(0)));
    Some(container.map_or(machine, |container| container.min(machine)))
}
