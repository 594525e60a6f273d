//! An operator's commands beside the tasks of a runtime: each has a thread that waits for it.

use std::io;
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use unanimity_install::process::{self, Invocation, ProcessError};
use unanimity_install::{HookRunner, Interrupt};

/// Runs each command on a thread of its own. Its time limit holds by the runtime's clock as well, which
/// tests play.
#[derive(Clone, Copy, Debug, Default)]
pub struct HookThreads;

impl HookRunner for HookThreads {
    fn run(&self, invocation: Invocation) -> BoxFuture<'_, Result<(), ProcessError>> {
        run(invocation).boxed()
    }
}

async fn run(invocation: Invocation) -> Result<(), ProcessError> {
    if invocation.command.is_empty() {
        return Ok(());
    }
    // Where SIGCHLD is ignored, the system reaps what ends, and how it ended is lost. Having a handler
    // once is enough.
    drop(signal(SignalKind::child())?);
    let (limit, (result_sender, mut result_receiver)) = (invocation.limit, oneshot::channel());
    let program = invocation.command[0].clone();
    let guard = InterruptOnDrop(Interrupt::default());
    let interrupt = guard.0.clone();
    // No thread of the runtime's: a paused clock would wait for it.
    thread::Builder::new()
        .name("hook".to_owned())
        .spawn(move || {
            // If the future is gone, the command was killed.
            result_sender.send(process::run(&invocation, &interrupt)).ok();
        })
        .map_err(|source| ProcessError::Start { program, source })?;
    let ended = match timeout(limit, &mut result_receiver).await {
        Ok(ended) => ended,
        Err(_) => {
            // The next step begins only once the command is gone. The thread gives up on one that cannot
            // be killed, by the clock of the machine: a paused one would not wait for it.
            guard.0.interrupt();
            match result_receiver.await {
                // It had ended well before it was killed.
                Ok(Ok(())) => return Ok(()),
                _ => return Err(ProcessError::TimedOut(limit)),
            }
        }
    };
    ended
        .unwrap_or_else(|_| Err(io::Error::other("the thread that waited for it broke off").into()))
}

struct InterruptOnDrop(Interrupt);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}
