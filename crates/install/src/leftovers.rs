//! Search for processes that an interrupted run left running, by a variable in their environment.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The most searches for matching processes before the kill counts as failed.
const MAX_ATTEMPTS: usize = 200;
/// Pause between two searches.
const PAUSE: Duration = Duration::from_millis(10);
/// The most bytes of an environment that are read. Linux starts no process with more than 6 MiB.
const MAX_ENVIRONMENT: u64 = 6 << 20;

/// Kills all processes whose environment had a matching value of a variable when they started.
///
/// Exceptions are this process, and processes whose environment this user may not read. The result
/// is an error if matching processes are still there after [`MAX_ATTEMPTS`] searches.
pub(crate) fn kill_processes_with_variable(
    name: &str,
    matches_value: impl Fn(&[u8]) -> bool,
) -> io::Result<()> {
    // A killed process may have started another one just before, or may take time to end.
    for _ in 0..MAX_ATTEMPTS {
        if !kill_once(name, &matches_value)? {
            return Ok(());
        }
        sleep(PAUSE);
    }
    Err(io::Error::other("processes of an interrupted hook do not end although they were killed"))
}

/// Searches once, and kills the matching processes. Returns whether there were any.
fn kill_once(name: &str, matches_value: &impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let mut found = false;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let id = id.filter(|id| *id != std::process::id());
        let Some(id) = id.and_then(|id| Pid::from_raw(id.cast_signed())) else { continue };
        // Opened before the check, so that the killed process is the checked one. An ended process
        // has no pidfd.
        let Ok(process) = pidfd_open(id, PidfdFlags::empty()) else { continue };
        if has_variable(&entry.path(), name, matches_value) {
            found = true;
            pidfd_send_signal(&process, Signal::KILL).ok();
        }
    }
    Ok(found)
}

/// Whether a process was started with a matching value of the variable.
///
/// The main thread, which has the process's number, may end before the other threads. Then only the
/// other threads show the environment.
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

/// Reads the environment of a thread, at most [`MAX_ENVIRONMENT`] bytes: a hostile process must not
/// choose our memory use.
fn read_environment(task: &Path) -> io::Result<Vec<u8>> {
    let mut environment = Vec::new();
    File::open(task.join("environ"))?.take(MAX_ENVIRONMENT).read_to_end(&mut environment)?;
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_reads_environment_of_any_thread_up_to_its_limit() {
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
