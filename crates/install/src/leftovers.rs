//! Processes that an interrupted run left at work, found by a variable in their environment.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often what is to be killed is looked for, and with what pauses.
const MAX_ATTEMPTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);
/// The most bytes of an environment that are looked at; Linux starts nothing with more than 6 MiB.
const MAX_ENVIRONMENT: u64 = 6 << 20;

/// Kills all processes that were started with a certain value of a variable, and those that they started
/// with it: but for this one, and for those that this user may not look into.
pub(crate) fn kill_processes_with_variable(
    name: &str,
    matches_value: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    // One that is killed may have started another just before, or take its time to end.
    for _ in 0..MAX_ATTEMPTS {
        if !kill_once(name, &matches_value)? {
            return Ok(());
        }
        sleep(PAUSE);
    }
    Err(io::Error::other("what was left at work there does not end, though it was killed"))
}

/// Whether there was any.
fn kill_once(name: &str, matches_value: &impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let mut found = false;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let id = id.filter(|id| *id != std::process::id());
        let Some(id) = id.and_then(|id| Pid::from_raw(id.cast_signed())) else { continue };
        // Held before it is looked at: what is killed is what was seen. What has ended has none.
        let Ok(held) = pidfd_open(id, PidfdFlags::empty()) else { continue };
        if has_variable(&entry.path(), name, matches_value) {
            found = true;
            pidfd_send_signal(&held, Signal::KILL).ok();
        }
    }
    Ok(found)
}

/// Whether a process was started with such a variable. Its first thread, which has its number, may have
/// ended before the others: it has no environment then, and they have.
fn has_variable(process: &Path, name: &str, matches_value: impl Fn(&[u8]) -> bool) -> bool {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let environment = std::iter::once(process.to_owned())
        .chain(tasks.map(|task| task.path()))
        .map(|task| read_environment(&task).unwrap_or_default())
        .find(|environment| !environment.is_empty())
        .unwrap_or_default();
    let value = |variable: &[u8]| {
        let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(matches_value(value))
    };
    environment.split(|byte| *byte == 0).any(|variable| value(variable) == Some(true))
}

/// What a task was started with. Anybody can say that theirs is larger than our memory.
fn read_environment(task: &Path) -> io::Result<Vec<u8>> {
    let mut environment = Vec::new();
    File::open(task.join("environ"))?.take(MAX_ENVIRONMENT).read_to_end(&mut environment)?;
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_looked_at_where_it_is_and_not_without_an_end() {
        let process = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(process.path().join(name), text).unwrap();
        let has = |variable: &str| {
            let (name, value) = variable.split_once('=').unwrap();
            has_variable(process.path(), name, |other| other == value.as_bytes())
        };
        write("environ", "A=1\0TRIAL=7\0B=2\0");
        assert!(has("TRIAL=7") && has("B=2"));
        assert!(!has("TRIAL=") && !has("RIAL=7") && !has("TRIAL=77"));
        fs::create_dir_all(process.path().join("task/8")).unwrap();
        fs::create_dir_all(process.path().join("task/9")).unwrap();
        write("task/8/environ", "");
        write("task/9/environ", "TRIAL=9\0");
        assert!(!has("TRIAL=9"));
        write("environ", "");
        assert!(has("TRIAL=9"));
        File::create(process.path().join("environ")).unwrap().set_len(1 << 40).unwrap();
        assert!(!has("TRIAL=9"));
    }
}
