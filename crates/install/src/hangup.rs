//! Detection of `nohup`: whether this process ignores SIGHUP.

use std::fs;

/// Whether this process was started with SIGHUP ignored, as by `nohup`. SIGHUP is the lowest bit of
/// `SigIgn` in `/proc/self/status`; see proc(5).
pub fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|bits| bits.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']))
}
