//! An operator's command: what it is given, how long it may take, and what is left of it.

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

/// Longer than any of these tests waits for anything.
const LONG: Duration = Duration::from_secs(600);
/// How long a process that was killed may take to end, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with the pipe `read_pipe`, and scripts that run in it.
struct ProcessSandbox(TempDir);

impl ProcessSandbox {
    fn new() -> ProcessSandbox {
        let desk = ProcessSandbox(tempfile::tempdir().unwrap());
        assert!(Command::new("mkfifo").arg(desk.path("told")).status().unwrap().success());
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn shell(&self, script: &str) -> Invocation {
        let script = format!("cd {}; {script}", self.0.path().display());
        let command = ["/bin/sh", "-c", &script].map(str::to_owned).into();
        Invocation { command, variables: Vec::new(), input: String::new(), limit: LONG }
    }

    /// Runs a script beside this thread, and waits for the first thing that it tells.
    fn start(
        &self,
        invocation: Invocation,
        interrupt: &Interrupt,
    ) -> (String, mpsc::Receiver<Result<(), ProcessError>>) {
        let (tell, ended) = mpsc::channel();
        let interrupt = interrupt.clone();
        thread::spawn(move || tell.send(run(&invocation, &interrupt)));
        (self.read_pipe(), ended)
    }

    fn read_pipe(&self) -> String {
        fs::read_to_string(self.path("told")).unwrap().trim().to_owned()
    }
}

/// A process that was killed is gone, or waits to be reaped, as soon as it gets to it.
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
fn a_command_that_overruns_is_killed_with_what_it_started() {
    let desk = ProcessSandbox::new();
    let mut told = File::options();
    let told = told.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let mut told = told.open(desk.path("told")).unwrap();
    let limit = Duration::from_secs(1);
    let script = "trap '' TERM INT HUP; exec > told; sleep 600 & wait";
    let late = run(&Invocation { limit, ..desk.shell(script) }, &Interrupt::default());
    assert!(matches!(late, Err(ProcessError::TimedOut(told)) if told == limit), "{late:?}");
    // The pipe ends when the last process that holds it is dead.
    let began = Instant::now();
    while told.read(&mut [0]).is_err() {
        assert!(began.elapsed() < PATIENCE, "one of them is still there");
        thread::yield_now();
    }
}

#[test]
fn what_a_command_leaves_at_work_goes_on_if_it_ended_well() {
    let desk = ProcessSandbox::new();
    // It holds on to all that the command was given.
    run(&desk.shell("sleep 600 & echo $! > pid"), &Interrupt::default()).unwrap();
    let pid = fs::read_to_string(desk.path("pid")).unwrap();
    assert!(is_running(pid.trim()));
    kill(pid.trim());
}

#[test]
fn what_a_command_leaves_at_work_is_killed_if_it_failed() {
    let desk = ProcessSandbox::new();
    let script = "sleep 600 & echo $! > pid; echo no >&2; exit 3";
    let failed = run(&desk.shell(script), &Interrupt::default()).unwrap_err().to_string();
    assert_eq!(failed, "failed (exit status: 3): no");
    wait_until_gone(fs::read_to_string(desk.path("pid")).unwrap().trim());
}

#[test]
fn an_interrupt_kills_a_command_with_what_it_started() {
    let desk = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    let script = "trap '' TERM INT HUP; sleep 600 & echo $$ $! > told; wait";
    let (pids, ended) = desk.start(desk.shell(script), &interrupt);
    interrupt.interrupt();
    assert!(matches!(ended.recv().unwrap(), Err(ProcessError::Interrupted)));
    pids.split_whitespace().for_each(wait_until_gone);
}

#[test]
fn an_interrupt_kills_a_command_that_has_left_its_process_group() {
    let desk = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    // Into the group of this test, which is not to be killed.
    let leave = "exec perl -e 'setpgrp(0, getpgrp(getppid())) or die; open(F, \">\", \"told\"); \
                 print F $$; close(F); sleep 600'";
    let (pid, ended) = desk.start(desk.shell(leave), &interrupt);
    interrupt.interrupt();
    assert!(matches!(ended.recv_timeout(PATIENCE), Ok(Err(ProcessError::Interrupted))));
    wait_until_gone(&pid);
}

#[test]
fn after_an_interrupt_no_command_starts_until_it_is_cleared() {
    let desk = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    interrupt.interrupt();
    let touch = desk.shell("touch ran");
    assert!(matches!(run(&touch, &interrupt), Err(ProcessError::Interrupted)));
    assert!(!desk.path("ran").exists());
    interrupt.clear();
    run(&touch, &interrupt).unwrap();
    assert!(desk.path("ran").exists());
}

#[test]
fn an_interrupt_after_the_end_of_a_command_kills_nothing_that_it_left() {
    let desk = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    run(&desk.shell("sleep 600 & echo $! > pid"), &interrupt).unwrap();
    interrupt.interrupt();
    let pid = fs::read_to_string(desk.path("pid")).unwrap();
    assert!(is_running(pid.trim()));
    kill(pid.trim());
}

#[test]
fn in_place_an_interrupted_command_never_completes() {
    let desk = ProcessSandbox::new();
    let interrupt = Interrupt::default();
    let hooks = BlockingHookRunner(interrupt.clone());
    assert!(hooks.run(desk.shell("exit 0")).now_or_never().unwrap().is_ok());
    assert!(hooks.run(desk.shell("exit 1")).now_or_never().unwrap().is_err());
    interrupt.interrupt();
    assert!(hooks.run(desk.shell("exit 0")).now_or_never().is_none());
}

#[test]
fn a_command_is_fed_more_than_a_pipe_holds_while_it_talks() {
    let desk = ProcessSandbox::new();
    let input = "word ".repeat(200_000);
    let echo = Invocation { input: input.clone(), ..desk.shell("tee copy >&2") };
    run(&echo, &Interrupt::default()).unwrap();
    assert_eq!(fs::read_to_string(desk.path("copy")).unwrap(), input);
}

#[test]
fn a_command_that_does_not_read_has_not_failed() {
    let desk = ProcessSandbox::new();
    let deaf = Invocation { input: "word ".repeat(200_000), ..desk.shell("exec 0<&-; exit 0") };
    run(&deaf, &Interrupt::default()).unwrap();
}

#[test]
fn a_program_that_is_not_there_does_not_start() {
    let command = vec!["/no/such/program".to_owned()];
    let missing = Invocation { command, ..ProcessSandbox::new().shell("") };
    match run(&missing, &Interrupt::default()) {
        Err(ProcessError::Start { source, .. }) => {
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}
