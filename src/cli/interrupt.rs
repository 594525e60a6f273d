//! Ctrl-C, SIGTERM, and a terminal that is closed, in the middle of a cycle: it ends there. What is on
//! the disk is whole at any moment, and what is there of an artifact is where the next run goes on.

use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(feature = "tor")]
use unanimity_install::InstallRoot;
use unanimity_install::ignores_hangup;
#[cfg(feature = "tor")]
use unanimity_install::verbs::{self, UNDO_INTERRUPTED};
use unanimity_report::{CommandError, Exit};

/// What a person reads when nobody else goes on with the cycle.
#[cfg(feature = "tor")]
pub(super) const INTERRUPTED_HERE: &str =
    "interrupted: nothing is half-done, and the next `update` goes on where this one stopped";
/// What a person reads when the daemon does.
#[cfg(feature = "tor")]
pub(super) const INTERRUPTED_AT_DAEMON: &str = "interrupted: what the daemon has begun goes on without this \
    command; the next `update` shows it again, or what it came to";

/// Works until it is done or this process is told to end; `message` is what there is to read then.
pub(super) async fn run_until_interrupted<T>(
    work: impl Future<Output = Result<T, CommandError>>,
    message: impl FnOnce() -> &'static str,
) -> Result<T, CommandError> {
    let hear =
        |kind| signal(kind).map_err(|error| CommandError::new(Exit::Failed, error.to_string()));
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
    Err(CommandError::new(Exit::Interrupted, message()))
}

/// Undoes the trials that an interrupted run may have left in these roots, unless this process is told
/// to end once more. Returns what there is to read then.
#[cfg(feature = "tor")]
pub(super) async fn recover_trials(
    roots: &[InstallRoot],
    interrupted: CommandError,
) -> CommandError {
    let undoing = async { Ok(verbs::undo_trials(roots, interrupted).await) };
    run_until_interrupted(undoing, || UNDO_INTERRUPTED).await.unwrap_or_else(|once_more| once_more)
}
