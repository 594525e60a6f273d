//! Interruption of an operator's command from a thread other than the one that waits for it.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// A handle that kills the running command. At most one command runs under an interrupt at a time.
/// Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Mutex<InterruptState>>);

#[derive(Debug, Default)]
struct InterruptState {
    is_interrupted: bool,
    running: Option<KillTarget>,
}

/// A command that is not reaped yet. Until then, no other process can have its number.
#[derive(Debug)]
struct KillTarget {
    group: Pid,
    /// A pidfd of the command itself, which may have left its group.
    process: Option<OwnedFd>,
    /// Dropping this writer wakes the thread that waits for the command.
    _wake_writer: PipeWriter,
}

impl Interrupt {
    /// Kills the running command and its process group. No other command starts until
    /// [`Interrupt::clear`]. Returns after the signal was sent.
    pub fn interrupt(&self) {
        let mut state = self.state();
        state.is_interrupted = true;
        state.kill();
    }

    /// Lets commands start again.
    pub fn clear(&self) {
        self.state().is_interrupted = false;
    }

    /// Starts a command. `None` after an interrupt.
    pub(crate) fn start(
        &self,
        command: &mut Command,
    ) -> io::Result<Option<(Child, ProcessGroup<'_>)>> {
        let (wake_reader, wake_writer) = io::pipe()?;
        // Locked until the command can be killed.
        let mut state = self.state();
        if state.is_interrupted {
            return Ok(None);
        }
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        let process = pidfd_open(group, PidfdFlags::empty()).ok();
        state.running = Some(KillTarget { group, process, _wake_writer: wake_writer });
        Ok(Some((child, ProcessGroup { interrupt: self, wake_reader })))
    }

    fn state(&self) -> MutexGuard<'_, InterruptState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InterruptState {
    fn kill(&mut self) {
        if let Some(KillTarget { group, process, .. }) = self.running.take() {
            // Fails if the group has no process left.
            kill_process_group(group, Signal::KILL).ok();
            process.map(|process| pidfd_send_signal(process, Signal::KILL));
        }
    }
}

/// The process group of a running command. Dropping it kills the whole group.
pub(crate) struct ProcessGroup<'a> {
    interrupt: &'a Interrupt,
    /// Reaches its end when the command is interrupted.
    pub(crate) wake_reader: PipeReader,
}

impl ProcessGroup<'_> {
    /// Lets processes that the command has left running continue. Returns whether an interrupt came
    /// first.
    pub(crate) fn release(self) -> bool {
        let mut state = self.interrupt.state();
        state.running = None;
        state.is_interrupted
    }

    /// Kills the whole group. Returns whether an interrupt came first.
    pub(crate) fn kill(self) -> bool {
        let mut state = self.interrupt.state();
        state.kill();
        state.is_interrupted
    }
}

impl Drop for ProcessGroup<'_> {
    fn drop(&mut self) {
        self.interrupt.state().kill();
    }
}
