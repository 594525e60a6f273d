//! Runner for an operator's command: without a shell, with a small environment and a time limit.

use std::io::{self, ErrorKind, PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::interrupt::Interrupt;

/// The number of bytes that are kept from the end of a command's standard error.
const MAX_STDERR_BYTES: usize = 64 * 1024;
/// The longest wait for the rest of standard error after a failed command has ended, because a
/// child of the command may hold the pipe open. Also the longest wait for a killed command to end.
const STDERR_GRACE: Duration = Duration::from_secs(1);
/// The variables of this process that a command inherits.
const INHERITED_VARIABLES: [&str; 3] = ["PATH", "HOME", "LANG"];

/// An operator's command, with its environment, its input and its time limit.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program and its arguments. An empty command does nothing and succeeds.
    pub command: Vec<String>,
    /// Variables of its environment, in addition to `PATH`, `HOME` and `LANG` of this process.
    pub variables: Vec<(&'static str, String)>,
    /// Text on its standard input.
    pub input: String,
    /// Time limit. When it has passed, the command is killed.
    pub limit: Duration,
}

/// Why a command did not succeed, or is not known to have succeeded.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The command did not start.
    #[error("cannot start: {program}: {source}")]
    Start {
        /// Path of the program.
        program: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The command ended with another status than 0.
    #[error("failed ({status}){}{said}", if said.is_empty() { "" } else { ": " })]
    Failed {
        /// Its exit status.
        status: ExitStatus,
        /// The end of its standard error, at most 64 KiB.
        said: String,
    },
    /// The command was killed at its time limit.
    #[error("did not end within {} s and was killed", .0.as_secs())]
    TimedOut(Duration),
    /// The command was killed, or was not started, because of an [`Interrupt`].
    #[error("was interrupted")]
    Interrupted,
    /// The exit status of the command is not known.
    #[error("has an exit status that cannot be read: {0}")]
    Wait(#[from] io::Error),
}

/// Runs a command until it ends, reaches its time limit, or is interrupted. Blocks this thread.
///
/// If the command exits with 0, processes that it has left running continue. Otherwise its process
/// group is killed before the command is reaped, unless the system has already reaped the command.
pub fn run(invocation: &Invocation, interrupt: &Interrupt) -> Result<(), ProcessError> {
    let Invocation { command, variables, input, limit } = invocation;
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let inherited =
        INHERITED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(inherited)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // One group with its children, so that a timeout kills all of them.
        .process_group(0);
    let deadline = Instant::now().checked_add(*limit);
    let started = interrupt.start(&mut command).map_err(|source| {
        let program = program.clone();
        ProcessError::Start { program, source }
    })?;
    let Some((mut child, group)) = started else { return Err(ProcessError::Interrupted) };
    let running = RunningCommand::from_child(&mut child);
    let driven = running.and_then(|mut running| {
        let end = running.drive_to_end(input.as_bytes(), &group.wake_reader, deadline)?;
        Ok((end, running))
    });
    let was_interrupted = match &driven {
        // Processes that a successful command leaves running are intended.
        Ok((CommandEnd::Succeeded, _)) => group.release(),
        // The system has already reaped the command, so another process may have its number.
        Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => group.release(),
        _ => group.kill(),
    };
    // The command is reaped after the kill: until then, no other process can have its number.
    let status = reap(child);
    let (end, running) = driven?;
    match end {
        _ if was_interrupted => Err(ProcessError::Interrupted),
        CommandEnd::Interrupted => Err(ProcessError::Interrupted),
        CommandEnd::TimedOut => Err(ProcessError::TimedOut(*limit)),
        CommandEnd::Succeeded | CommandEnd::Failed => match status? {
            status if status.success() => Ok(()),
            status => Err(ProcessError::Failed { status, said: running.stderr_text() }),
        },
    }
}

/// How the wait for a command ended.
enum CommandEnd {
    /// The command exited with 0.
    Succeeded,
    /// The command exited with another status, or a signal killed it.
    Failed,
    /// The command was still running at its time limit.
    TimedOut,
    /// An [`Interrupt`] came before the end.
    Interrupted,
}

/// A running command, with this process's ends of its pipes.
struct RunningCommand {
    id: Pid,
    /// Readable once the command has ended.
    pidfd: OwnedFd,
    stdin: Option<ChildStdin>,
    stderr: Option<ChildStderr>,
    stderr_tail: Vec<u8>,
}

impl RunningCommand {
    fn from_child(child: &mut Child) -> io::Result<RunningCommand> {
        let id = Pid::from_child(child);
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        // The pipes must not block this thread. The mode of this end does not affect the command's
        // end.
        stdin.as_ref().map_or(Ok(()), |stdin| ioctl_fionbio(stdin, true))?;
        stderr.as_ref().map_or(Ok(()), |stderr| ioctl_fionbio(stderr, true))?;
        let pidfd = pidfd_open(id, PidfdFlags::empty())?;
        Ok(RunningCommand { id, pidfd, stdin, stderr, stderr_tail: Vec::new() })
    }

    /// Writes the input and reads standard error until the command ends, its time limit has passed,
    /// or an interrupt comes. Does not reap the command.
    fn drive_to_end(
        &mut self,
        mut input: &[u8],
        wake_reader: &PipeReader,
        mut deadline: Option<Instant>,
    ) -> io::Result<CommandEnd> {
        let mut has_ended = false;
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let is_woken = self.wait(wake_reader, has_ended, left)?;
            if is_woken {
                return Ok(CommandEnd::Interrupted);
            }
            self.feed_stdin(&mut input);
            self.read_stderr();
            if !has_ended && let Some(succeeded) = self.check_exited()? {
                if succeeded {
                    return Ok(CommandEnd::Succeeded);
                }
                has_ended = true;
                self.stdin = None;
                deadline = Instant::now().checked_add(STDERR_GRACE);
            } else if left.is_some_and(|left| left.is_zero()) {
                return Ok(if has_ended { CommandEnd::Failed } else { CommandEnd::TimedOut });
            }
            if has_ended && self.stderr.is_none() {
                return Ok(CommandEnd::Failed);
            }
        }
    }

    /// Waits for the next event, at most for `left`. Returns whether the event was an interrupt.
    fn wait(
        &self,
        wake_reader: &PipeReader,
        has_ended: bool,
        left: Option<Duration>,
    ) -> io::Result<bool> {
        let mut events = vec![PollFd::new(wake_reader, PollFlags::IN)];
        if !has_ended {
            events.push(PollFd::new(&self.pidfd, PollFlags::IN));
        }
        events.extend(self.stdin.iter().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        events.extend(self.stderr.iter().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        // A time that does not fit the system's type counts as unlimited.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut events, left.as_ref()) {
            Ok(_) => Ok(!events[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes as much input as the pipe takes now. A write error only closes the pipe, because a
    /// command may leave its input unread.
    fn feed_stdin(&mut self, input: &mut &[u8]) {
        let Some(stdin) = &mut self.stdin else { return };
        let is_fed = input.is_empty()
            || match stdin.write(input) {
                Ok(count) => {
                    *input = &input[count..];
                    input.is_empty()
                }
                Err(error) => !is_retryable(&error),
            };
        if is_fed {
            self.stdin = None;
        }
    }

    /// Reads up to 4,096 available bytes of standard error, so that the command never blocks on it.
    /// Keeps the last bytes.
    fn read_stderr(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut buffer = [0; 4096];
        match stderr.read(&mut buffer) {
            Ok(count @ 1..) => {
                self.stderr_tail.extend_from_slice(&buffer[..count]);
                if self.stderr_tail.len() > 2 * MAX_STDERR_BYTES {
                    self.stderr_tail.drain(..self.stderr_tail.len() - MAX_STDERR_BYTES);
                }
            }
            Err(error) if is_retryable(&error) => {}
            _ => self.stderr = None,
        }
    }

    /// Checks whether the command has exited with 0. `None` while it is running. Does not reap the
    /// command.
    fn check_exited(&self) -> io::Result<Option<bool>> {
        let without_reaping = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.id), without_reaping)?;
        Ok(status.map(|status| status.exit_status() == Some(0)))
    }

    /// The end of standard error as text.
    fn stderr_text(&self) -> String {
        let tail = &self.stderr_tail[self.stderr_tail.len().saturating_sub(MAX_STDERR_BYTES)..];
        String::from_utf8_lossy(tail).trim().to_owned()
    }
}

fn is_retryable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Reaps a command that has ended or was killed. If it does not end within [`STDERR_GRACE`], a
/// thread reaps it later, and the result is an error.
fn reap(mut child: Child) -> io::Result<ExitStatus> {
    if let Ok(pidfd) = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        let timeout = Timespec::try_from(STDERR_GRACE).ok();
        poll(&mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)], timeout.as_ref()).ok();
    }
    match child.try_wait()? {
        Some(status) => Ok(status),
        None => {
            thread::Builder::new().spawn(move || child.wait())?;
            Err(io::Error::other("the command does not end although it was killed"))
        }
    }
}
