//! One node of a circle over Tor: a directory with its configuration, and a process while it runs.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{
    fs::{self},
    io,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use unanimity_testkit::TestError;

/// Within which a process has to do what is waited for.
pub(crate) const PROCESS_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait before looking again.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A node. Its process ends with this value.
#[derive(Debug)]
pub struct NodeProcess {
    /// Its directory: `unanimity.toml`, `peers.toml`, `state/`, and `log`, what it said.
    pub directory: PathBuf,
    /// What its processes are started through, with its arguments, such as a tracer. It has to become
    /// what it starts, or end with it. Mostly nothing.
    pub wrapper: Vec<OsString>,
    program: PathBuf,
    daemon: Option<Child>,
}

/// What a command of the program came to.
#[derive(Clone, Debug)]
pub struct ProcessResult {
    /// Its exit code.
    pub exit_code: i32,
    /// Its report.
    pub report: Value,
}

impl ProcessResult {
    /// What a command said: events, and its report in the last line.
    pub fn parse(output: Output) -> Result<ProcessResult, TestError> {
        let text = String::from_utf8(output.stdout)?;
        let line = text.lines().last().ok_or_else(|| io::Error::other("a command said nothing"))?;
        let exit = output.status.code().ok_or_else(|| io::Error::other("a command was killed"))?;
        Ok(ProcessResult { exit_code: exit, report: serde_json::from_str(line)? })
    }
}

impl NodeProcess {
    /// A node whose configuration is in a directory. Nothing runs yet.
    pub fn new(program: &Path, directory: &Path) -> NodeProcess {
        let (directory, program) = (directory.to_owned(), program.to_owned());
        NodeProcess { directory, wrapper: Vec::new(), program, daemon: None }
    }

    /// A command of the program for this node. It never reaches the public Tor network.
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

    /// Starts its daemon.
    pub fn start(&mut self) -> Result<(), TestError> {
        let log = self.log()?;
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone()?).stderr(log);
        self.daemon = Some(command.spawn()?);
        Ok(())
    }

    /// Starts its daemon, and waits until it takes commands.
    pub fn serve(&mut self) -> Result<(), TestError> {
        self.start()?;
        let socket = self.directory.join("state/serve/socket");
        self.wait("its socket", |_| Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok()))
    }

    fn log(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(self.directory.join("log"))
    }

    /// The process id of its daemon.
    pub fn id(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Tells its daemon to end.
    pub fn terminate(&self) -> Result<(), TestError> {
        let daemon = self.daemon.as_ref().map(Pid::from_child);
        Ok(daemon.map_or(Ok(()), |daemon| kill_process(daemon, Signal::TERM))?)
    }

    /// Tells its daemon to end, and waits until it has.
    pub fn stop(&mut self) -> Result<(), TestError> {
        self.terminate()?;
        if let Some(mut child) = self.daemon.take() {
            let began = Instant::now();
            while child.try_wait()?.is_none() {
                if began.elapsed() > PROCESS_TIMEOUT {
                    child.kill()?;
                    child.wait()?;
                    return Err(format!("{} did not end", self.directory.display()).into());
                }
                std::thread::park_timeout(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// Ends its daemon in the middle of whatever it does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Starts a command, for [`ProcessResult::parse`] to read what it said. It runs on by itself.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Child, TestError> {
        Ok(self.command(arguments).stdout(Stdio::piped()).stderr(self.log()?).spawn()?)
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<ProcessResult, TestError> {
        ProcessResult::parse(self.spawn(arguments)?.wait_with_output()?)
    }

    /// The same, for who does other things meanwhile. The command ends with the future.
    pub async fn run_async(&self, arguments: &[&str]) -> Result<ProcessResult, TestError> {
        let mut command = tokio::process::Command::from(self.command(arguments));
        ProcessResult::parse(command.stderr(self.log()?).kill_on_drop(true).output().await?)
    }

    /// Runs a command that has to end well.
    pub fn run_json(&self, arguments: &[&str]) -> Result<Value, TestError> {
        let ended = self.run(arguments)?;
        if ended.exit_code == 0 {
            Ok(ended.report)
        } else {
            Err(format!("{arguments:?} ended with {}: {}", ended.exit_code, ended.report).into())
        }
    }

    /// Waits for something to become true of its daemon.
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

    /// Waits for what its `status` says.
    pub fn wait_status(
        &mut self,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<(), TestError> {
        self.wait(what, |node| Ok(is(&node.run(&["status"])?.report)))
    }

    /// The same, for who does other things meanwhile.
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

    /// That its daemon is there, and that there is time left to wait for it.
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
