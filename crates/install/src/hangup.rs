//! Whether this process goes on without its terminal.

use std::fs;

/// Whether this process was started with SIGHUP ignored, as by `nohup`: the first of the bits that proc(5)
/// shows.
pub fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|bits| bits.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']))
}
