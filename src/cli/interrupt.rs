//! The end of a command by a signal: Ctrl-C, SIGTERM, or a terminal that closes.
//!
//! Stored files are complete at any moment, and the next run continues a partial download.

use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(feature = "tor")]
use unanimity_install::InstallRoot;
use unanimity_install::ignores_hangup;
#[cfg(feature = "tor")]
use unanimity_install::verbs::{self, UNDO_INTERRUPTED};
use unanimity_report::{CommandError, Exit};

/// The message if the interrupted command ran the cycle itself.
#[cfg(feature = "tor")]
pub(super) const INTERRUPTED_HERE: &str =
    "interrupted: there is no trial to undo. The next `update` continues where this one stopped";
/// The message if the daemon runs the cycle.
#[cfg(feature = "tor")]
pub(super) const INTERRUPTED_AT_DAEMON: &str = "interrupted: what the daemon has begun goes on without this \
    command. The next `update` shows its progress or its result";

/// Runs `work` until it ends or a signal comes.
///
/// # Errors
///
/// [`Exit::Interrupted`] with `message` after a signal, and the errors of `work`.
pub(super) async fn run_until_interrupted<T>(
    work: impl Future<Output = Result<T, CommandError>>,
    message: impl FnOnce() -> &'static str,
) -> Result<T, CommandError> {
    let listen =
        |kind| signal(kind).map_err(|error| CommandError::new(Exit::Failed, error.to_string()));
    let (mut int, mut term) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    // Under nohup the command continues without its terminal.
    let mut hup = if ignores_hangup() { None } else { Some(listen(SignalKind::hangup())?) };
    tokio::select! {
        biased;
        // A finished result takes precedence over a signal.
        result = work => return result,
        _ = int.recv() => {}
        _ = term.recv() => {}
        Some(()) = async { hup.as_mut().map(Signal::recv)?.await } => {}
    }
    Err(CommandError::new(Exit::Interrupted, message()))
}

/// Undoes the trials that an interrupted run may have left in `roots`, until another signal comes.
/// Returns the error to report, which names the trials that were undone.
#[cfg(feature = "tor")]
pub(super) async fn recover_trials(
    roots: &[InstallRoot],
    interrupted: CommandError,
) -> CommandError {
    let undoing = async { Ok(verbs::undo_trials(roots, interrupted).await) };
    run_until_interrupted(undoing, || UNDO_INTERRUPTED).await.unwrap_or_else(|once_more| once_more)
}
