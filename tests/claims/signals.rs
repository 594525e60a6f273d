//! Signals to an installer in the middle of a trial.
//!
//! The command that the installer runs ends with the installer, at the latest when the next run
//! starts.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use unanimity_client::CycleOutcome;
use unanimity_config::SpoolSettings;
use unanimity_install::installer_head_path;
use unanimity_install::journal::Journal;
use unanimity_protocol::Timestamp;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{FIRST_ARTIFACT, HOUR, SECOND, SECOND_ARTIFACT};
use unanimity_testkit::trial::{shell_command, version_label, wait_until_gone};
use unanimity_testkit::{ReleaseSpec, World};

use crate::installer;
use crate::messages::Messages;

/// A split installation with release 1 installed and release 2 in the spool.
struct InstallerMachine {
    world: World,
    scratch: TempDir,
}

/// The exit status of an installer, and its standard error.
type InstallerExit = (ExitStatus, String);

impl InstallerMachine {
    async fn new() -> InstallerMachine {
        let scratch = scratch_dir();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = Timestamp(now - 3 * 3600);
        let mut world = World::create(&scratch.path().join("world"), 5, start).unwrap();
        let spool = world.directory.join("client/spool");
        fs::create_dir_all(&spool).unwrap();
        world.config.cycle.spool =
            Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
        world.write_config().unwrap();
        let mut machine = InstallerMachine { world, scratch };
        for (sequence, version, artifact) in
            [(1, "1.0.0", FIRST_ARTIFACT), (2, "1.1.0", SECOND_ARTIFACT)]
        {
            let world = &mut machine.world;
            world.publish(&ReleaseSpec::new(sequence, version, artifact)).unwrap();
            world.poll_all().await.unwrap();
            world.update().await.1.unwrap_err();
            world.advance(HOUR + SECOND);
            world.poll_all().await.unwrap();
            assert!(matches!(world.update().await.1, Ok(CycleOutcome::Available(_))));
            if sequence == 1 {
                let (status, stderr) = wait_for_exit(machine.start_installer());
                assert!(status.success(), "{stderr}");
            }
        }
        for pipe in ["started", "go"] {
            let made = Command::new("mkfifo").arg(machine.pipe(pipe)).status().unwrap();
            assert!(made.success());
        }
        machine
    }

    /// The path of a named pipe between the installer's command and the test.
    fn pipe(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A command that ignores signals, writes its process id to the pipe `started`, and then runs
    /// `then`.
    fn reporting_command(&self, then: &str) -> Vec<String> {
        shell_command(&format!(
            "trap '' TERM INT HUP; echo $$ > {}; {then}",
            self.pipe("started").display()
        ))
    }

    /// Waits until a command has started. Returns its process id.
    fn wait_for_command(&self, installer: &mut Child) -> String {
        let mut pipe = File::options();
        // Open for writing in this process, so that reading never reaches an end of file.
        let pipe = pipe.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let (mut pipe, mut line) = (pipe.open(self.pipe("started")).unwrap(), Vec::new());
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            match pipe.read_exact(&mut byte) {
                Ok(()) => line.push(byte[0]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    assert_eq!(installer.try_wait().unwrap(), None, "the installer has ended");
                    std::thread::yield_now();
                }
            }
        }
        String::from_utf8(line).unwrap().trim().to_owned()
    }

    /// Starts the installer with the default action for SIGHUP. Under `nohup` the tests themselves
    /// ignore SIGHUP, a child inherits that, and an installer that starts so ignores SIGHUP on
    /// purpose.
    fn start_installer(&self) -> Child {
        self.start_installer_through(&["env", "--default-signal=HUP"])
    }

    fn start_installer_through(&self, starter: &[&str]) -> Child {
        let config = self.world.directory.join("client/unanimity.toml");
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(installer::installer_path()).arg("--config").arg(config);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn journal(&self) -> Journal {
        let journal = fs::read(self.world.config.cycle.install_root.join("journal.json")).unwrap();
        Journal::parse(&journal).unwrap()
    }

    fn current(&self) -> Vec<u8> {
        fs::read(self.world.config.cycle.install_root.join("current/hello")).unwrap()
    }
}

fn wait_for_exit(mut child: Child) -> InstallerExit {
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    (child.wait().unwrap(), stderr)
}

fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_signal_in_a_trial_ends_the_command_and_undoes_the_trial() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.check = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let mut messages = Messages::new(machine.scratch.path());
    for (name, signal) in
        [("SIGINT", Signal::INT), ("SIGTERM", Signal::TERM), ("SIGHUP", Signal::HUP)]
    {
        let mut installer = machine.start_installer();
        let command = machine.wait_for_command(&mut installer);
        assert_eq!(machine.current(), SECOND_ARTIFACT);
        send_signal(&installer, signal);
        let (status, stderr) = wait_for_exit(installer);
        assert_eq!(status.code(), Some(130), "{name}: {stderr}");
        messages.add(name, &stderr);
        wait_until_gone(&command);
        assert_eq!(machine.current(), FIRST_ARTIFACT);
        let journal = machine.journal();
        assert_eq!(journal.trial, None);
        assert!(journal.failed.contains_key(&version_label(2)));
        // The next run tries the release again at once, without the backoff.
        let root = &machine.world.config.cycle.install_root;
        let again = Journal { failed: Default::default(), ..journal };
        fs::write(root.join("journal.json"), again.text()).unwrap();
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/signal_in_trial.txt"]);
}

#[tokio::test(start_paused = true)]
async fn an_installer_started_by_nohup_survives_sighup() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.check = machine
        .reporting_command(&format!("read go < {}; test $go = go", machine.pipe("go").display()));
    machine.world.write_config().unwrap();
    let ignoring = ["/bin/sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let mut installer = machine.start_installer_through(&ignoring);
    machine.wait_for_command(&mut installer);
    send_signal(&installer, Signal::HUP);
    fs::write(machine.pipe("go"), "go\n").unwrap();
    let (status, stderr) = wait_for_exit(installer);
    assert!(status.success(), "{stderr}");
    assert_eq!(machine.current(), SECOND_ARTIFACT);
}

/// After SIGKILL the lock is free while the command still runs.
#[tokio::test(start_paused = true)]
async fn after_sigkill_the_next_run_ends_the_command_then_undoes_the_trial() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.post_install = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let mut installer = machine.start_installer();
    let command = machine.wait_for_command(&mut installer);
    send_signal(&installer, Signal::KILL);
    assert_killed(installer);
    assert!(Path::new("/proc").join(&command).exists());
    assert!(machine.journal().trial.is_some());
    let seen = machine.pipe("seen");
    machine.world.config.cycle.hooks.post_install = shell_command(&format!(
        "cat /proc/{command}/cmdline | tr '\\0' ' ' >> {}; true",
        seen.display()
    ));
    machine.world.write_config().unwrap();
    let (status, stderr) = wait_for_exit(machine.start_installer());
    assert_eq!(status.code(), Some(30), "{stderr}");
    assert_eq!(fs::read_to_string(&seen).unwrap(), "");
    wait_until_gone(&command);
    assert_eq!((machine.current(), machine.journal().trial), (FIRST_ARTIFACT.to_vec(), None));
}

/// A path such as `/proc/PID/fd/N` would not do: a later process with that id could show another
/// file.
#[tokio::test(start_paused = true)]
async fn handover_reads_the_verified_file_after_the_installer_was_killed() {
    let mut machine = InstallerMachine::new().await;
    let (go, handed) = (machine.pipe("go"), machine.pipe("handed"));
    assert!(Command::new("mkfifo").arg(&handed).status().unwrap().success());
    let then = format!("read go < {}; sh -c 'cat {{}} > {}'", go.display(), handed.display());
    machine.world.config.cycle.hooks.handover = machine.reporting_command(&then);
    machine.world.write_config().unwrap();
    let mut installer = machine.start_installer();
    machine.wait_for_command(&mut installer);
    send_signal(&installer, Signal::KILL);
    assert_killed(installer);
    fs::write(go, "go\n").unwrap();
    assert_eq!(fs::read(handed).unwrap(), SECOND_ARTIFACT);
}

#[tokio::test(start_paused = true)]
async fn after_sigkill_rollback_and_mark_good_end_the_command() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.check = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let run_verb = |verb: &str| {
        let config = machine.world.directory.join("client/unanimity.toml");
        let mut run = Command::new(installer::installer_path());
        let run = run.arg("--config").arg(config).arg(verb).output().unwrap();
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).unwrap()
    };
    let mut messages = Messages::new(machine.scratch.path());
    for (verb, installed) in [("rollback", FIRST_ARTIFACT), ("mark-good", SECOND_ARTIFACT)] {
        // The release is tried at once, without the backoff.
        let journal = Journal { failed: Default::default(), ..machine.journal() };
        let root = &machine.world.config.cycle.install_root;
        fs::write(root.join("journal.json"), journal.text()).unwrap();
        let mut installer = machine.start_installer();
        let command = machine.wait_for_command(&mut installer);
        send_signal(&installer, Signal::KILL);
        assert_killed(installer);
        messages.add(verb, &run_verb(verb));
        wait_until_gone(&command);
        assert_eq!((machine.current(), machine.journal().trial), (installed.to_vec(), None));
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/verbs_after_kill.txt"]);
}

fn assert_killed(mut installer: Child) {
    // The command still holds the other end of the pipe, so that reading would not end.
    drop(installer.stderr.take());
    assert_eq!(installer.wait().unwrap().code(), None);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_an_installer_that_undoes_a_trial() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.post_install = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let mut installer = machine.start_installer();
    let first = machine.wait_for_command(&mut installer);
    send_signal(&installer, Signal::INT);
    let second = machine.wait_for_command(&mut installer);
    assert_ne!(first, second);
    send_signal(&installer, Signal::INT);
    let (status, stderr) = wait_for_exit(installer);
    assert_eq!(status.code(), Some(130), "{stderr}");
    let mut messages = Messages::new(machine.scratch.path());
    messages.add("SIGINT twice", &stderr);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/second_signal.txt"]);
    wait_until_gone(&first);
    wait_until_gone(&second);
    assert!(machine.journal().trial.is_some());
    machine.world.config.cycle.hooks.post_install = shell_command("true");
    machine.world.write_config().unwrap();
    let (status, stderr) = wait_for_exit(machine.start_installer());
    assert_eq!(status.code(), Some(30), "{stderr}");
    assert_eq!((machine.current(), machine.journal().trial), (FIRST_ARTIFACT.to_vec(), None));
}

#[tokio::test(start_paused = true)]
async fn a_good_version_stays_when_on_success_is_interrupted() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.on_success = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let head = installer_head_path(&machine.world.config.cycle.install_root);
    let before = fs::read(&head).unwrap();
    let mut installer = machine.start_installer();
    let command = machine.wait_for_command(&mut installer);
    assert_ne!(fs::read(&head).unwrap(), before);
    send_signal(&installer, Signal::INT);
    let (status, stderr) = wait_for_exit(installer);
    assert_eq!(status.code(), Some(130), "{stderr}");
    let mut messages = Messages::new(machine.scratch.path());
    messages.add("SIGINT in on_success", &stderr);
    snapbox::assert_data_eq!(
        messages.into_text(),
        snapbox::file!["words/signal_in_on_success.txt"]
    );
    wait_until_gone(&command);
    assert_eq!(machine.current(), SECOND_ARTIFACT);
    assert_eq!(machine.journal().good.last(), Some(&version_label(2)));
}
