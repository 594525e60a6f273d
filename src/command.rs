//! Running an operator's command: no shell, next to no environment, and not for long.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{Either, select};
use rustix::fs::Access;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The most bytes that are kept of what it says on standard error.
const MAX_SAID_BYTES: usize = 64 * 1024;
/// How long its last words are waited for: a child it left behind may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What it gets to see of our environment.
const ENVIRONMENT: [&str; 3] = ["PATH", "HOME", "LANG"];

/// Why a command may not have done its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
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
    Late(Duration),
    /// The system does not say how it ended.
    #[error("cannot be waited for: {0}")]
    Lost(#[from] io::Error),
}

/// Refuses what is no file, or none that we may run.
pub fn check(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)?.is_file() {
        true => Ok(rustix::fs::access(path, Access::EXEC_OK)?),
        false => Err(io::Error::other("it is no file")),
    }
}

/// Runs a program and its arguments for at most `limit`, with `input` to read and these variables
/// besides. Without a program there is nothing to do.
pub async fn run(
    command: &[String],
    variables: &[(&str, &str)],
    input: &str,
    limit: Duration,
) -> Result<(), CommandError> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let kept = ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let started = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(kept)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // With those that it starts, so that none of them outlives it when it is late.
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let program = program.clone();
    let mut child = started.map_err(|source| CommandError::Start { program, source })?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    // Also where nobody waits for its end any more.
    let mut group = Group(group);
    match timeout(limit, talk(&mut child, input.as_bytes())).await {
        Ok(ended) => {
            let (status, said) = ended?;
            if !status.success() {
                return Err(CommandError::Failed { status, said });
            }
            // What it has left at work is meant to be.
            group.0 = None;
            Ok(())
        }
        Err(_) => {
            drop(group);
            // What cannot be killed is reaped whenever it ends.
            timeout(LAST_WORDS, child.kill()).await.ok();
            Err(CommandError::Late(limit))
        }
    }
}

/// A command with those that it started, killed together when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// Feeds it, hears what it has to say, and waits for its end; all at once, so that neither side
/// waits for the other.
async fn talk(child: &mut Child, input: &[u8]) -> io::Result<(ExitStatus, String)> {
    let (mut stdin, stderr) =
        (child.stdin.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
    let mut said = Vec::new();
    let status = {
        let feed = async move {
            // A command that does not read has not failed.
            stdin.write_all(input).await.ok();
        };
        let talk = pin!(async { tokio::join!(feed, listen(stderr, &mut said)) });
        match select(pin!(child.wait()), talk).await {
            Either::Left((status, talk)) => {
                let status = status?;
                if !status.success() {
                    timeout(LAST_WORDS, talk).await.ok();
                }
                status
            }
            Either::Right((_, wait)) => wait.await?,
        }
    };
    let said = &said[said.len().saturating_sub(MAX_SAID_BYTES)..];
    Ok((status, String::from_utf8_lossy(said).trim().to_owned()))
}

/// Hears all of it, so that it does not have to wait for us, and keeps the end.
async fn listen(mut stderr: impl AsyncRead + Unpin, said: &mut Vec<u8>) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut piece).await {
        said.extend_from_slice(&piece[..count]);
        if said.len() > 2 * MAX_SAID_BYTES {
            said.drain(..said.len() - MAX_SAID_BYTES);
        }
    }
}
