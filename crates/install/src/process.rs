//! Running an operator's command: no shell, next to no environment, and a time limit.

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

/// The most bytes that are kept of what a command says on standard error.
const MAX_STDERR_BYTES: usize = 64 * 1024;
/// How long the last words of a command are waited for: a child it left behind may hold the pipe open.
const STDERR_GRACE: Duration = Duration::from_secs(1);
/// What a command gets to see of our environment.
const INHERITED_VARIABLES: [&str; 3] = ["PATH", "HOME", "LANG"];

/// A command of the operator's, and all that it is given.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The program and its arguments. Without a program there is nothing to do.
    pub command: Vec<String>,
    /// Variables of its environment, beside the few that it has of ours.
    pub variables: Vec<(&'static str, String)>,
    /// What it reads on standard input.
    pub input: String,
    /// How long it may take.
    pub limit: Duration,
}

/// Why a command may not have done its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It did not start.
    #[error("cannot start: {program}: {source}")]
    Start {
        /// What was to be run.
        program: String,
        /// Why it was not.
        source: io::Error,
    },
    /// It ended, and not well.
    #[error("failed ({status}){}{said}", if said.is_empty() { "" } else { ": " })]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error.
        said: String,
    },
    /// It was killed.
    #[error("did not end within {} s and was killed", .0.as_secs())]
    TimedOut(Duration),
    /// It was killed, or not even started, because of an [`Interrupt`].
    #[error("was interrupted")]
    Interrupted,
    /// The system does not say how it ended.
    #[error("cannot be waited for: {0}")]
    Wait(#[from] io::Error),
}

/// Runs a command to its end, to its time limit, or to an interrupt. This thread waits for it.
///
/// Processes that it left at work go on only if it ended well. In all other cases its process group is
/// killed before it is reaped.
pub fn run(invocation: &Invocation, interrupt: &Interrupt) -> Result<(), ProcessError> {
    let Invocation { command, variables, input, limit } = invocation;
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let kept = INHERITED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(kept)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // With those that it starts, so that none of them outlives it when it is late.
        .process_group(0);
    let deadline = Instant::now().checked_add(*limit);
    let started = interrupt.start(&mut command).map_err(|source| {
        let program = program.clone();
        ProcessError::Start { program, source }
    })?;
    let Some((mut child, group)) = started else { return Err(ProcessError::Interrupted) };
    let watched = RunningCommand::from_child(&mut child);
    let attended = watched.and_then(|mut watched| {
        let end = watched.drive_to_end(input.as_bytes(), &group.wake_reader, deadline)?;
        Ok((end, watched))
    });
    let was_interrupted = match &attended {
        // What it has left at work is meant to be.
        Ok((CommandEnd::Succeeded, _)) => group.release(),
        // The system has reaped it by itself, so its number may be another process's.
        Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => group.release(),
        _ => group.kill(),
    };
    // Only now: as long as it is not reaped, its number is nobody else's.
    let status = reap(child);
    let (end, watched) = attended?;
    match end {
        _ if was_interrupted => Err(ProcessError::Interrupted),
        CommandEnd::Interrupted => Err(ProcessError::Interrupted),
        CommandEnd::TimedOut => Err(ProcessError::TimedOut(*limit)),
        CommandEnd::Succeeded | CommandEnd::Failed => match status? {
            status if status.success() => Ok(()),
            status => Err(ProcessError::Failed { status, said: watched.stderr_text() }),
        },
    }
}

/// How the wait for a command ended.
enum CommandEnd {
    /// It exited with 0.
    Succeeded,
    /// It exited with something else, or was killed.
    Failed,
    /// It was still there at its time limit.
    TimedOut,
    /// An interrupt came first.
    Interrupted,
}

/// Our side of a command that runs.
struct RunningCommand {
    id: Pid,
    /// Readable once the command has ended.
    ended: OwnedFd,
    stdin: Option<ChildStdin>,
    stderr: Option<ChildStderr>,
    stderr_tail: Vec<u8>,
}

impl RunningCommand {
    fn from_child(child: &mut Child) -> io::Result<RunningCommand> {
        let id = Pid::from_child(child);
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        // Neither side waits for the other. The other end of a pipe does not notice.
        stdin.as_ref().map_or(Ok(()), |stdin| ioctl_fionbio(stdin, true))?;
        stderr.as_ref().map_or(Ok(()), |stderr| ioctl_fionbio(stderr, true))?;
        let ended = pidfd_open(id, PidfdFlags::empty())?;
        Ok(RunningCommand { id, ended, stdin, stderr, stderr_tail: Vec::new() })
    }

    /// Feeds the command, hears what it has to say, and waits for its end. It is not reaped yet.
    fn drive_to_end(
        &mut self,
        mut input: &[u8],
        woken: &PipeReader,
        mut deadline: Option<Instant>,
    ) -> io::Result<CommandEnd> {
        let mut has_ended = false;
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let is_woken = self.wait(woken, has_ended, left)?;
            if is_woken {
                return Ok(CommandEnd::Interrupted);
            }
            self.feed_stdin(&mut input);
            self.read_stderr();
            if !has_ended && let Some(is_good) = self.check_exited()? {
                if is_good {
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

    /// Waits until there is something to do, for as long as there is time. Returns whether this was an
    /// interrupt.
    fn wait(
        &self,
        woken: &PipeReader,
        has_ended: bool,
        left: Option<Duration>,
    ) -> io::Result<bool> {
        let mut events = vec![PollFd::new(woken, PollFlags::IN)];
        if !has_ended {
            events.push(PollFd::new(&self.ended, PollFlags::IN));
        }
        events.extend(self.stdin.iter().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        events.extend(self.stderr.iter().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        // What is longer than the system can wait for has no end.
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(&mut events, left.as_ref()) {
            Ok(_) => Ok(!events[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the command as much as it takes now. One that does not read has not failed.
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

    /// Hears what the command has said by now, so that it does not have to wait for us, and keeps the end.
    fn read_stderr(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut piece = [0; 4096];
        match stderr.read(&mut piece) {
            Ok(count @ 1..) => {
                self.stderr_tail.extend_from_slice(&piece[..count]);
                if self.stderr_tail.len() > 2 * MAX_STDERR_BYTES {
                    self.stderr_tail.drain(..self.stderr_tail.len() - MAX_STDERR_BYTES);
                }
            }
            Err(error) if is_retryable(&error) => {}
            _ => self.stderr = None,
        }
    }

    /// Whether the command has ended, and whether it was a good end, without reaping it.
    fn check_exited(&self) -> io::Result<Option<bool>> {
        let only_looking = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::Pid(self.id), only_looking)?;
        Ok(status.map(|status| status.exit_status() == Some(0)))
    }

    /// The end of what the command said.
    fn stderr_text(&self) -> String {
        let said = &self.stderr_tail[self.stderr_tail.len().saturating_sub(MAX_STDERR_BYTES)..];
        String::from_utf8_lossy(said).trim().to_owned()
    }
}

fn is_retryable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Reaps a command that has ended or was killed. If it cannot be killed, a thread reaps it at its end.
fn reap(mut child: Child) -> io::Result<ExitStatus> {
    if let Ok(ended) = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        let patience = Timespec::try_from(STDERR_GRACE).ok();
        poll(&mut [PollFd::new(&ended.as_fd(), PollFlags::IN)], patience.as_ref()).ok();
    }
    match child.try_wait()? {
        Some(status) => Ok(status),
        None => {
            thread::Builder::new().spawn(move || child.wait())?;
            Err(io::Error::other("it does not end, though it was killed"))
        }
    }
}
