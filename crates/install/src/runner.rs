//! Where an operator's commands run: in this thread, or as the program that installs has it.

use std::fmt::Debug;
use std::future::pending;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::interrupt::Interrupt;
use crate::process::{self, Invocation, ProcessError};

/// Runs an operator's command. If its future is dropped, the command is killed with what it started.
pub trait HookRunner: Debug + Send + Sync {
    /// Runs it as [`process::run_hook`] does.
    fn run(&self, invocation: Invocation) -> BoxFuture<'_, Result<(), ProcessError>>;
}

/// Runs commands in the thread that polls, which waits for their end: for a program without other tasks.
///
/// Once the [`Interrupt`] has come, a future of this never completes, and nothing after the command is
/// done. So whoever polls an operation once has its result, or knows that it was interrupted.
#[derive(Clone, Debug, Default)]
pub struct BlockingHookRunner(pub Interrupt);

impl HookRunner for BlockingHookRunner {
    fn run(&self, invocation: Invocation) -> BoxFuture<'_, Result<(), ProcessError>> {
        let run = async move {
            match process::run(&invocation, &self.0) {
                Err(ProcessError::Interrupted) => pending().await,
                ended => ended,
            }
        };
        run.boxed()
    }
}
