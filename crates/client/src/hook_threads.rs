//! Running hooks in an asynchronous program: a thread waits for each command.

use std::io;
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use unanimity_install::process::{self, Invocation, ProcessError};
use unanimity_install::{HookRunner, Interrupt};

/// A runner that waits for each hook on a thread of its own. It measures the time limit by the
/// runtime's clock as well, which tests control.
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
    // If SIGCHLD is ignored, the kernel reaps children, and their exit status is lost. A handler
    // that was installed once prevents this.
    drop(signal(SignalKind::child())?);
    let (limit, (result_sender, mut result_receiver)) = (invocation.limit, oneshot::channel());
    let program = invocation.command[0].clone();
    let guard = InterruptOnDrop(Interrupt::default());
    let interrupt = guard.0.clone();
    // A thread of the runtime would keep the runtime's paused clock from advancing.
    thread::Builder::new()
        .name("hook".to_owned())
        .spawn(move || {
            // Without a receiver, the future was dropped and the command was killed.
            result_sender.send(process::run(&invocation, &interrupt)).ok();
        })
        .map_err(|source| ProcessError::Start { program, source })?;
    let result = match timeout(limit, &mut result_receiver).await {
        Ok(result) => result,
        Err(_) => {
            // The next step must not begin before the command has ended. If the command cannot be
            // killed, the thread gives up by the machine's clock, because a paused clock would not
            // wait for it.
            guard.0.interrupt();
            match result_receiver.await {
                // The command had succeeded before it was killed.
                Ok(Ok(())) => return Ok(()),
                _ => return Err(ProcessError::TimedOut(limit)),
            }
        }
    };
    result.unwrap_or_else(|_| {
        Err(io::Error::other("the thread that waited for the command ended early").into())
    })
}

/// A guard that interrupts the command when the guard is dropped.
struct InterruptOnDrop(Interrupt);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}
