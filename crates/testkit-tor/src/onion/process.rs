//! One node over Tor: a directory with its configuration, and its daemon process while it runs.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use unanimity_testkit::TestError;

/// The longest wait for an event in a process, or for its end.
pub(crate) const PROCESS_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two checks whether an awaited event has happened.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A node over Tor: its directory, and its daemon while it runs. Dropping this value kills the
/// daemon.
#[derive(Debug)]
pub struct NodeProcess {
    /// The node's directory: `unanimity.toml`, `peers.toml`, `state/`, and the daemon's `log`.
    pub directory: PathBuf,
    /// A program, such as a tracer, and its arguments, which start the node's processes. Usually
    /// empty. The program must replace itself by the process, or end with the process.
    pub wrapper: Vec<OsString>,
    program: PathBuf,
    daemon: Option<Child>,
}

/// The result of a command of the program `unanimity`.
#[derive(Clone, Debug)]
pub struct ProcessResult {
    /// The command's exit code.
    pub exit_code: i32,
    /// The command's report, as JSON.
    pub report: Value,
}

impl ProcessResult {
    /// Reads a command's output: lines with events, and its report in the last line.
    ///
    /// Fails if the command was killed, or if the last line is missing or not JSON.
    pub fn parse(output: Output) -> Result<ProcessResult, TestError> {
        let text = String::from_utf8(output.stdout)?;
        let line =
            text.lines().last().ok_or_else(|| io::Error::other("a command printed nothing"))?;
        let exit = output.status.code().ok_or_else(|| io::Error::other("a command was killed"))?;
        Ok(ProcessResult { exit_code: exit, report: serde_json::from_str(line)? })
    }
}

impl NodeProcess {
    /// Makes the value for a node with its configuration in `directory`. Starts no process.
    pub fn new(program: &Path, directory: &Path) -> NodeProcess {
        let (directory, program) = (directory.to_owned(), program.to_owned());
        NodeProcess { directory, wrapper: Vec::new(), program, daemon: None }
    }

    /// Returns a command of the program for this node. The command never reaches the public Tor
    /// network.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.wrapper.split_first() {
            None => Command::new(&self.program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        command.arg("--json").arg("--config").arg(self.directory.join("unanimity.toml"));
        command.args(arguments).env(unanimity_config::tor_settings::NO_PUBLIC_NETWORK, "1");
        command.stdin(Stdio::null());
        command
    }

    /// Starts the daemon, without waiting for it.
    pub fn start(&mut self) -> Result<(), TestError> {
        let log = self.log()?;
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone()?).stderr(log);
        self.daemon = Some(command.spawn()?);
        Ok(())
    }

    /// Starts the daemon, and waits until it accepts commands.
    pub fn serve(&mut self) -> Result<(), TestError> {
        self.start()?;
        let socket = self.directory.join("state/serve/socket");
        self.wait(
            "control socket",
            |_| Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok()),
        )
    }

    fn log(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(self.directory.join("log"))
    }

    /// Returns the daemon's process ID. `None` if the daemon was not started, or was stopped.
    pub fn id(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Sends the daemon SIGTERM.
    pub fn terminate(&self) -> Result<(), TestError> {
        let daemon = self.daemon.as_ref().map(Pid::from_child);
        Ok(daemon.map_or(Ok(()), |daemon| kill_process(daemon, Signal::TERM))?)
    }

    /// Sends the daemon SIGTERM, and waits until the daemon has ended. If that takes over 60
    /// seconds, kills the daemon and fails.
    pub fn stop(&mut self) -> Result<(), TestError> {
        self.terminate()?;
        if let Some(mut child) = self.daemon.take() {
            let began = Instant::now();
            while child.try_wait()?.is_none() {
                if began.elapsed() > PROCESS_TIMEOUT {
                    child.kill()?;
                    child.wait()?;
                    return Err(format!(
                        "the daemon of {} did not end within {PROCESS_TIMEOUT:?} after SIGTERM",
                        self.directory.display()
                    )
                    .into());
                }
                std::thread::park_timeout(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// Kills the daemon.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Starts a command and returns without waiting. [`ProcessResult::parse`] reads its output.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child, TestError> {
        Ok(self.command(arguments).stdout(Stdio::piped()).stderr(self.log()?).spawn()?)
    }

    /// Runs a command to its end. Blocks the thread meanwhile.
    pub fn run(&self, arguments: &[&str]) -> Result<ProcessResult, TestError> {
        ProcessResult::parse(self.spawn(arguments)?.wait_with_output()?)
    }

    /// Runs a command to its end, asynchronously. Dropping the future kills the command.
    pub async fn run_async(&self, arguments: &[&str]) -> Result<ProcessResult, TestError> {
        let mut command = tokio::process::Command::from(self.command(arguments));
        ProcessResult::parse(command.stderr(self.log()?).kill_on_drop(true).output().await?)
    }

    /// Runs a command and returns its report. Fails unless its exit code is 0.
    pub fn run_json(&self, arguments: &[&str]) -> Result<Value, TestError> {
        let result = self.run(arguments)?;
        if result.exit_code == 0 {
            Ok(result.report)
        } else {
            Err(format!("{arguments:?} ended with {}: {}", result.exit_code, result.report).into())
        }
    }

    /// Waits until `is` returns true. Fails if the daemon ends, or after 60 seconds. `what` names
    /// the awaited thing in the error.
    pub fn wait(
        &mut self,
        what: &str,
        mut is: impl FnMut(&NodeProcess) -> Result<bool, TestError>,
    ) -> Result<(), TestError> {
        let began = Instant::now();
        while !is(self)? {
            self.check_alive(what, began)?;
            std::thread::park_timeout(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Waits until `is` returns true for the report of `status`. Fails as [`NodeProcess::wait`].
    pub fn wait_status(
        &mut self,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<(), TestError> {
        self.wait(what, |node| Ok(is(&node.run(&["status"])?.report)))
    }

    /// Waits as [`NodeProcess::wait_status`] does, asynchronously.
    pub async fn wait_status_async(
        &mut self,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<(), TestError> {
        let began = Instant::now();
        while !is(&self.run_async(&["status"]).await?.report) {
            self.check_alive(what, began)?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Fails if the daemon has ended, or if the wait since `began` is too long.
    fn check_alive(&mut self, what: &str, began: Instant) -> Result<(), TestError> {
        let log = || fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        if let Some(child) = &mut self.daemon
            && let Some(status) = child.try_wait()?
        {
            return Err(format!("the daemon ended with {status}: {}", log()).into());
        }
        if began.elapsed() > PROCESS_TIMEOUT {
            return Err(format!("no {what} within {PROCESS_TIMEOUT:?}: {}", log()).into());
        }
        Ok(())
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
