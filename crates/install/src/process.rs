//! Running an operator's command: no shell, next to no environment, and not for long.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{
    fs::{self},
    io::{self},
};

use futures_util::future::{Either, select};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// The most bytes that are kept of what it says on standard error.
const MAX_SAID_BYTES: usize = 64 * 1024;
/// How long its last words are waited for: a child it left behind may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often what is to be killed is looked for, and with what pauses.
const MAX_ROUNDS: usize = 200;
const PAUSE: Duration = Duration::from_millis(10);
/// The most bytes of an environment that are looked at; Linux starts nothing with more than 6 MiB.
const MAX_ENVIRONMENT: u64 = 6 << 20;
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
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it was not reaped");
    // Also where nobody waits for its end any more.
    let mut group = Group(Some(id));
    let pipes = child.stdin.take().zip(child.stderr.take()).expect("they are piped");
    match timeout(limit, talk(id, pipes, input.as_bytes())).await {
        Ok(talked) => {
            let (is_good, said) = talked?;
            if is_good {
                // What it has left at work is meant to be.
                group.0 = None;
            }
            // Before it is reaped: as long as it is not, its number is nobody else's.
            drop(group);
            let status = child.wait().await?;
            if status.success() { Ok(()) } else { Err(CommandError::Failed { status, said }) }
        }
        Err(_) => {
            drop(group);
            // What cannot be killed is reaped whenever it ends.
            timeout(LAST_WORDS, child.kill()).await.ok();
            Err(CommandError::Late(limit))
        }
    }
}

/// Kills all processes that were started with a certain value of a variable, and those that they started
/// with it: but for this one, and for those that this user may not look into.
pub async fn kill_all(name: &str, is_meant: impl Fn(&[u8]) -> bool) -> io::Result<()> {
    // One that is killed may have started another just before, or take its time to end.
    for _ in 0..MAX_ROUNDS {
        if !kill_once(name, &is_meant)? {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    Err(io::Error::other("what was left at work there does not end, though it was killed"))
}

/// Whether there was any.
fn kill_once(name: &str, is_meant: &impl Fn(&[u8]) -> bool) -> io::Result<bool> {
    let mut found = false;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let id = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let id = id.filter(|id| *id != std::process::id());
        let Some(id) = id.and_then(|id| Pid::from_raw(id.cast_signed())) else { continue };
        // Held before it is looked at: what is killed is what was seen. What has ended has none.
        let Ok(held) = pidfd_open(id, PidfdFlags::empty()) else { continue };
        if has(&entry.path(), name, is_meant) {
            found = true;
            pidfd_send_signal(&held, Signal::KILL).ok();
        }
    }
    Ok(found)
}

/// Whether a process was started with such a variable. Its first thread, which has its number, may have
/// ended before the others: it has no environment then, and they have.
fn has(process: &Path, name: &str, is_meant: impl Fn(&[u8]) -> bool) -> bool {
    let tasks = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let environment = std::iter::once(process.to_owned())
        .chain(tasks.map(|task| task.path()))
        .map(|task| environment(&task).unwrap_or_default())
        .find(|environment| !environment.is_empty())
        .unwrap_or_default();
    let value = |variable: &[u8]| {
        let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(is_meant(value))
    };
    environment.split(|byte| *byte == 0).any(|variable| value(variable) == Some(true))
}

/// What a task was started with. Anybody can say that theirs is larger than our memory.
fn environment(task: &Path) -> io::Result<Vec<u8>> {
    let mut environment = Vec::new();
    File::open(task.join("environ"))?.take(MAX_ENVIRONMENT).read_to_end(&mut environment)?;
    Ok(environment)
}

/// A command with those that it started, killed together when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// Feeds it, hears what it has to say, and waits for its end, all at once, so that neither side waits
/// for the other. Says whether it ended well; it is not reaped yet.
async fn talk(
    id: Pid,
    (mut stdin, stderr): (ChildStdin, ChildStderr),
    input: &[u8],
) -> io::Result<(bool, String)> {
    let mut said = Vec::new();
    let is_good = {
        let feed = async move {
            // A command that does not read has not failed.
            stdin.write_all(input).await.ok();
        };
        let talk = pin!(async { tokio::join!(feed, listen(stderr, &mut said)) });
        match select(pin!(ended_well(id)), talk).await {
            Either::Left((is_good, talk)) => {
                let is_good = is_good?;
                if !is_good {
                    timeout(LAST_WORDS, talk).await.ok();
                }
                is_good
            }
            Either::Right((_, ended_well)) => ended_well.await?,
        }
    };
    let said = &said[said.len().saturating_sub(MAX_SAID_BYTES)..];
    Ok((is_good, String::from_utf8_lossy(said).trim().to_owned()))
}

/// Waits for our child's end without reaping it, and says whether it was a good one.
async fn ended_well(id: Pid) -> io::Result<bool> {
    let mut children = signal(SignalKind::child())?;
    let only_looking = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    loop {
        if let Some(status) = waitid(WaitId::Pid(id), only_looking)? {
            return Ok(status.exit_status() == Some(0));
        }
        children.recv().await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_looked_at_where_it_is_and_not_without_an_end() {
        let process = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(process.path().join(name), text).unwrap();
        let has = |variable: &str| {
            let (name, value) = variable.split_once('=').unwrap();
            has(process.path(), name, |other| other == value.as_bytes())
        };
        write("environ", "A=1\0TRIAL=7\0B=2\0");
        assert!(has("TRIAL=7") && has("B=2"));
        assert!(!has("TRIAL=") && !has("RIAL=7") && !has("TRIAL=77"));
        fs::create_dir_all(process.path().join("task/8")).unwrap();
        fs::create_dir_all(process.path().join("task/9")).unwrap();
        write("task/8/environ", "");
        write("task/9/environ", "TRIAL=9\0");
        assert!(!has("TRIAL=9"));
        write("environ", "");
        assert!(has("TRIAL=9"));
        File::create(process.path().join("environ")).unwrap().set_len(1 << 40).unwrap();
        assert!(!has("TRIAL=9"));
    }
}
