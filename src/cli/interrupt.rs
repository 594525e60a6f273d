//! Ctrl-C, SIGTERM, and a terminal that is closed, in the middle of a cycle: it ends there. What is on
//! the disk is whole at any moment, and what is there of an artifact is where the next run goes on.

use std::fs;

use tokio::signal::unix::{Signal, SignalKind, signal};
use unanimity_install::Root;
use unanimity_report::{Ended, Exit};
use unanimity_storage::{Clock as _, SystemClock};

/// What a person reads when nobody else goes on with the cycle.
#[cfg(feature = "tor")]
pub(super) const ALONE: &str =
    "interrupted: nothing is half-done, and the next `update` goes on where this one stopped";
/// What a person reads when the daemon does.
#[cfg(feature = "tor")]
pub(super) const DAEMON: &str = "interrupted: what the daemon has begun goes on without this \
    command; the next `update` shows it again, or what it came to";

/// What a person reads when nothing was left open.
pub(super) const INSTALLING: &str = "interrupted: nothing is half-done";
/// What a person reads when a roll-back has begun.
pub(super) const GOING_BACK: &str =
    "interrupted: the next `update`, `install-staged` or `rollback` does the rest";
/// What a person reads who did not wait for a trial to be undone.
const UNDOING: &str = "interrupted once more: a release is on trial, and not undone yet; the next \
    `update` or `install-staged` does that";

/// Works until it is done or this process is told to end; `said` is what there is to read then.
pub(super) async fn until_told_to_end<T>(
    work: impl Future<Output = Result<T, Ended>>,
    said: impl FnOnce() -> &'static str,
) -> Result<T, Ended> {
    let hear = |kind| signal(kind).map_err(|error| Ended::new(Exit::Failed, error.to_string()));
    let (mut int, mut term) = (hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?);
    // Whoever was started to go on without its terminal (nohup) does.
    let mut hup = if ignores_hangup() { None } else { Some(hear(SignalKind::hangup())?) };
    tokio::select! {
        biased;
        // What it has just come to is worth more.
        done = work => return done,
        _ = int.recv() => {}
        _ = term.recv() => {}
        Some(()) = async { hup.as_mut().map(Signal::recv)?.await } => {}
    }
    Err(Ended::new(Exit::Interrupted, said()))
}

/// Whether this process was started with SIGHUP ignored: the first of the bits that proc(5) shows.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|bits| bits.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']))
}

/// Undoes the trials that an interrupted run may have left in these roots, unless this process is told
/// to end once more. Returns what there is to read then.
pub(super) async fn undo(roots: &[Root], interrupted: Ended) -> Ended {
    let undoing = async {
        let mut said = Vec::new();
        for root in roots {
            match root.recover(SystemClock.now()).await {
                Ok(undone) => said.extend(undone),
                Err(error) => said.push(error.to_string()),
            }
        }
        Ok(said)
    };
    match until_told_to_end(undoing, || UNDOING).await {
        Ok(said) if said.is_empty() => interrupted,
        Ok(said) => Ended::new(Exit::Interrupted, format!("interrupted: {}", said.join("; "))),
        Err(once_more) => once_more,
    }
}
