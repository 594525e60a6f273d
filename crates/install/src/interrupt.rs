//! An operator's command is ended from another thread than the one that waits for it.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// Ends the command that runs under it. Its clones are one interrupt, which has one command at a time.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Mutex<InterruptState>>);

#[derive(Debug, Default)]
struct InterruptState {
    is_interrupted: bool,
    running: Option<KillTarget>,
}

/// A command that is not reaped yet, so that no other process has its number.
#[derive(Debug)]
struct KillTarget {
    group: Pid,
    /// The command itself, which may have left its group.
    process: Option<OwnedFd>,
    /// The end of this pipe wakes the thread that waits for the command.
    _wake_writer: PipeWriter,
}

impl Interrupt {
    /// Kills the command that runs, with all in its process group. No other one starts until
    /// [`Interrupt::clear`]. When this returns, the signal is sent.
    pub fn interrupt(&self) {
        let mut state = self.state();
        state.is_interrupted = true;
        state.kill();
    }

    /// Lets commands start again.
    pub fn clear(&self) {
        self.state().is_interrupted = false;
    }

    /// Starts a command in a process group of its own; `None` after an interrupt.
    pub(crate) fn start(
        &self,
        command: &mut Command,
    ) -> io::Result<Option<(Child, ProcessGroup<'_>)>> {
        let (woken, awake) = io::pipe()?;
        // Held until the command can be killed.
        let mut state = self.state();
        if state.is_interrupted {
            return Ok(None);
        }
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        let process = pidfd_open(group, PidfdFlags::empty()).ok();
        state.running = Some(KillTarget { group, process, _wake_writer: awake });
        Ok(Some((child, ProcessGroup { interrupt: self, wake_reader: woken })))
    }

    fn state(&self) -> MutexGuard<'_, InterruptState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InterruptState {
    fn kill(&mut self) {
        if let Some(KillTarget { group, process, .. }) = self.running.take() {
            // It fails if no process is left in the group.
            kill_process_group(group, Signal::KILL).ok();
            process.map(|process| pidfd_send_signal(process, Signal::KILL));
        }
    }
}

/// A command with the processes that it started. They are killed together when this is dropped.
pub(crate) struct ProcessGroup<'a> {
    interrupt: &'a Interrupt,
    /// Ends when the command is interrupted.
    pub(crate) wake_reader: PipeReader,
}

impl ProcessGroup<'_> {
    /// Lets the processes that the command left at work go on. Returns whether it was interrupted first.
    pub(crate) fn release(self) -> bool {
        let mut state = self.interrupt.state();
        state.running = None;
        state.is_interrupted
    }

    /// Kills all of them. Returns whether the command was interrupted before.
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
