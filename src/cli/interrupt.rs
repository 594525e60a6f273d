//! Ctrl-C, and SIGTERM, in the middle of a cycle: it ends there. What is on the disk is whole at any
//! moment, and what is there of an artifact is where the next run goes on.

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{Ended, Exit};

/// What a person reads when nobody else goes on with the cycle.
#[cfg(feature = "tor")]
pub(super) const ALONE: &str =
    "interrupted: nothing is half-done, and the next `update` goes on where this one stopped";
/// What a person reads when the daemon does.
#[cfg(feature = "tor")]
pub(super) const DAEMON: &str = "interrupted: what the daemon has begun goes on without this \
    command; the next `update` shows it again, or what it came to";

/// What a person reads when a trial may have begun.
pub(super) const INSTALLING: &str = "interrupted: what had begun is undone";
/// What a person reads when a roll-back has begun.
pub(super) const GOING_BACK: &str =
    "interrupted: the next `update`, `install-staged` or `rollback` does the rest";

/// Works until it is done or this process is told to end; `said` is what there is to read then.
pub(super) async fn until_told_to_end<T>(
    work: impl Future<Output = Result<T, Ended>>,
    said: impl FnOnce() -> &'static str,
) -> Result<T, Ended> {
    let hear = |kind| signal(kind).map_err(|error| Ended::new(Exit::Failed, error.to_string()));
    let (mut int, mut term) = (hear(SignalKind::interrupt())?, hear(SignalKind::terminate())?);
    tokio::select! {
        biased;
        // What it has just come to is worth more.
        done = work => return done,
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
    Err(Ended::new(Exit::Interrupted, said()))
}
