//! The interface through which hooks run, and the runner that blocks its thread.

use std::fmt::Debug;
use std::future::pending;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::interrupt::Interrupt;
use crate::process::{self, Invocation, ProcessError};

/// Runs the operator's commands. If the future is dropped, the command and its process group are
/// killed.
pub trait HookRunner: Debug + Send + Sync {
    /// Runs a command as [`process::run`] does.
    fn run(&self, invocation: Invocation) -> BoxFuture<'_, Result<(), ProcessError>>;
}

/// A hook runner that runs each command in the thread that polls the future. The thread blocks
/// until the command ends. For programs without other tasks.
///
/// After an [`Interrupt`], the future of a command never completes, so no later step of the
/// operation runs. A caller that polls an operation once therefore has its result, or knows that
/// the operation was interrupted.
#[derive(Clone, Debug, Default)]
pub struct BlockingHookRunner(pub Interrupt);

impl HookRunner for BlockingHookRunner {
    fn run(&self, invocation: Invocation) -> BoxFuture<'_, Result<(), ProcessError>> {
        let run = async move {
            match process::run(&invocation, &self.0) {
                Err(ProcessError::Interrupted) => pending().await,
                result => result,
            }
        };
        run.boxed()
    }
}
