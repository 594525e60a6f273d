//! Claims about running an operator's command: its input, its time limit, and its children.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use rustix::fs::OFlags;
use tempfile::TempDir;
use unanimity_install::process::{Invocation, ProcessError, run};
use unanimity_install::{BlockingHookRunner, HookRunner as _, Interrupt};

/// Longer than any wait in these tests.
const LONG: Duration = Duration::from_secs(600);
/// Bound for the end of a killed process, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with the named pipe `pipe`, in which scripts run.
struct ProcessSandbox(TempDir);

impl ProcessSandbox {
    fn new() -> ProcessSandbox {
        let sandbox = ProcessSandbox(tempfile::tempdir().unwrap());
        assert!(Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap().success());
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn shell(&self, script: &str) -> Invocation {
        let script = format!("cd {}; {script}", self.0.path().display());
        let command = ["/bin/sh", "-c", &script].map(str::to_owned).into();
        Invocation { command, variables: Vec::new(), input: String::new(), limit: LONG }
    }

    /// Runs a script in another thread, and waits for its first output on the pipe.
    fn start(
        &self,
        invocation: Invocation,
        interrupt: &Interrupt,
    ) -> (String, mpsc::Receiver<Result<(), ProcessError>>) {
        let (sender, receiver) = mpsc::channel();
        let interrupt = interrupt.clone();
        thread::spawn(move || sender.send(run(&invocation, &interrupt)));
        (self.read_pipe(), receiver)
    }

    fn read_pipe(&self) -> String {
        fs::read_to_string(self.path("pipe")).unwrap().trim().to_owned()
    }
}

/// Waits until a killed process has ended, or is a zombie.
fn wait_until_gone(pid: &str) {
    let began = Instant::now();
    while is_running(pid) {
        assert!(began.elapsed() < PATIENCE, "{pid} is still there");
        thread::yield_now();
    }
}

fn is_running(pid: &str) -> bool {
    let state = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
}

#[test]
fn timeout_kills_command_with_its_children() {
    let sandbox = ProcessSandbox::new();
    let mut options = File::options();
    let options = options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let mut pipe = options.open(sandbox.path("pipe")).unwrap();
    let limit = Duration::from_secs(1);
    let script = "trap '' TERM INT HUP; exec > pipe; sleep 600 & wait";
    let late = run(&Invocation { limit, ..sandbox.shell(script) }, &Interrupt::default());
    assert!(matches!(late, Err(ProcessError::TimedOut(passed)) if passed == limit), "{late:?}");
    // The pipe ends when the last process that holds it is dead.
    let began = Instant::now();
    while pipe.read(&mut [0]).is_err() {
        assert!(began.elapsed() < PATIENCE, "a process is still there");
        thread::yield_now();
    }
}

#[test]
fn child_outlives_command_that_succeeded() {
    let sandbox = ProcessSandbox::new();
    // The child keeps the pipes of the command open.
    run(&sandbox.shell("sleep 600 & echo $! > pid"), &Interrupt::default()).unwrap();
    let pid = fs::read_to_string(sandbox.path("pid")).unwrap();
    assert!(is_running(pid.trim()));
    kill(pid.trim());
}

#[test]
fn child_of_failed_command_is_killed() {
    let sandbox = ProcessSandbox::new();
    let script = "sleep 600 & echo $! > pid; echo no >&2; exit 3";
    let failed = run(&sandbox.shell(script), &Interrupt::default()).unwrap_err().to_string();
    assert_eq!(failed, "failed (exit status: 3): no");
    wait_until_gone(fs::read_to_string(sandbox.path("pid")).unwrap().trim());
}

#[test]
fn interrupt_kills_command_with_its_children() {
    let sandbox = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    let script = "trap '' TERM INT HUP; sleep 600 & echo $$ $! > pipe; wait";
    let (pids, result) = sandbox.start(sandbox.shell(script), &interrupt);
    interrupt.interrupt();
    assert!(matches!(result.recv().unwrap(), Err(ProcessError::Interrupted)));
    pids.split_whitespace().for_each(wait_until_gone);
}

#[test]
fn interrupt_kills_command_that_left_its_process_group() {
    let sandbox = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    // The command joins the group of this test, which must not be killed.
    let leave = "exec perl -e 'setpgrp(0, getpgrp(getppid())) or die; open(F, \">\", \"pipe\"); \
                 print F $$; close(F); sleep 600'";
    let (pid, result) = sandbox.start(sandbox.shell(leave), &interrupt);
    interrupt.interrupt();
    assert!(matches!(result.recv_timeout(PATIENCE), Ok(Err(ProcessError::Interrupted))));
    wait_until_gone(&pid);
}

#[test]
fn no_command_starts_between_interrupt_and_clear() {
    let sandbox = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    interrupt.interrupt();
    let touch = sandbox.shell("touch ran");
    assert!(matches!(run(&touch, &interrupt), Err(ProcessError::Interrupted)));
    assert!(!sandbox.path("ran").exists());
    interrupt.clear();
    run(&touch, &interrupt).unwrap();
    assert!(sandbox.path("ran").exists());
}

#[test]
fn interrupt_after_success_spares_the_children() {
    let sandbox = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    run(&sandbox.shell("sleep 600 & echo $! > pid"), &interrupt).unwrap();
    interrupt.interrupt();
    let pid = fs::read_to_string(sandbox.path("pid")).unwrap();
    assert!(is_running(pid.trim()));
    kill(pid.trim());
}

#[test]
fn blocking_runner_never_completes_after_interrupt() {
    let sandbox = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    let hooks = BlockingHookRunner(interrupt.clone());
    assert!(hooks.run(sandbox.shell("exit 0")).now_or_never().unwrap().is_ok());
    assert!(hooks.run(sandbox.shell("exit 1")).now_or_never().unwrap().is_err());
    interrupt.interrupt();
    assert!(hooks.run(sandbox.shell("exit 0")).now_or_never().is_none());
}

#[test]
fn command_reads_more_input_than_a_pipe_holds_while_it_writes() {
    let sandbox = ProcessSandbox::new();
    let input = "word ".repeat(200_000);
    let echo = Invocation { input: input.clone(), ..sandbox.shell("tee copy >&2") };
    run(&echo, &Interrupt::default()).unwrap();
    assert_eq!(fs::read_to_string(sandbox.path("copy")).unwrap(), input);
}

#[test]
fn command_that_ignores_its_input_succeeds() {
    let sandbox = ProcessSandbox::new();
    let deaf = Invocation { input: "word ".repeat(200_000), ..sandbox.shell("exec 0<&-; exit 0") };
    run(&deaf, &Interrupt::default()).unwrap();
}

#[test]
fn missing_program_does_not_start() {
    let command = vec!["/no/such/program".to_owned()];
    let missing = Invocation { command, ..ProcessSandbox::new().shell("") };
    match run(&missing, &Interrupt::default()) {
        Err(ProcessError::Start { source, .. }) => {
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}
