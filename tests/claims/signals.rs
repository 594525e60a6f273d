//! An installer that is told to end, or killed, in the middle of a trial: what it ran ends with it, or
//! before the next run does anything.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{
    fs::{self},
    io::{self},
};

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

/// Release 1 is installed, and release 2 is staged, on a machine whose installer is a process of its own.
struct InstallerMachine {
    world: World,
    scratch: TempDir,
}

/// How a run of it ended, and what it said.
type InstallerExit = (ExitStatus, String);

impl InstallerMachine {
    async fn new() -> InstallerMachine {
        let home = scratch_dir();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = Timestamp(now - 3 * 3600);
        let mut world = World::create(&home.path().join("world"), 5, start).unwrap();
        let spool = world.directory.join("client/spool");
        fs::create_dir_all(&spool).unwrap();
        world.config.cycle.spool =
            Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
        world.write_config().unwrap();
        let mut machine = InstallerMachine { world, scratch: home };
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
                let (status, said) = wait_for_exit(machine.start_installer());
                assert!(status.success(), "{said}");
            }
        }
        for pipe in ["told", "go"] {
            let made = Command::new("mkfifo").arg(machine.pipe(pipe)).status().unwrap();
            assert!(made.success());
        }
        machine
    }

    /// A pipe between a command of the installer's and us.
    fn pipe(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A command that says who it is, and that it is there, and then does something.
    fn reporting_command(&self, then: &str) -> Vec<String> {
        shell_command(&format!(
            "trap '' TERM INT HUP; echo $$ > {}; {then}",
            self.pipe("told").display()
        ))
    }

    /// Waits until a command is there, and says which process it is.
    fn wait_for_command(&self, installer: &mut Child) -> String {
        let mut pipe = File::options();
        // Opened by ourselves for writing, it has no end.
        let pipe = pipe.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let (mut pipe, mut said) = (pipe.open(self.pipe("told")).unwrap(), Vec::new());
        while !said.ends_with(b"\n") {
            let mut byte = [0];
            match pipe.read_exact(&mut byte) {
                Ok(()) => said.push(byte[0]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    assert_eq!(installer.try_wait().unwrap(), None, "it ended");
                    std::thread::yield_now();
                }
            }
        }
        String::from_utf8(said).unwrap().trim().to_owned()
    }

    /// Starts the installer with the default action for SIGHUP. Under `nohup` the tests themselves ignore
    /// SIGHUP, a child inherits that, and an installer that starts so ignores SIGHUP on purpose.
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
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap(), said)
}

fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_end_in_a_trial_ends_its_command_and_undoes_it() {
    let mut machine = InstallerMachine::new().await;
    let wait = "sleep 600";
    machine.world.config.cycle.hooks.check = machine.reporting_command(wait);
    machine.world.write_config().unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut installer = machine.start_installer();
        let command = machine.wait_for_command(&mut installer);
        assert_eq!(machine.current(), SECOND_ARTIFACT);
        send_signal(&installer, signal);
        let (status, said) = wait_for_exit(installer);
        assert_eq!(status.code(), Some(130), "{signal:?}: {said}");
        assert!(said.contains("its trial was interrupted; 1-1.0.0 is installed again"), "{said}");
        wait_until_gone(&command);
        assert_eq!(machine.current(), FIRST_ARTIFACT);
        let journal = machine.journal();
        assert_eq!(journal.trial, None);
        assert!(journal.failed.contains_key(&version_label(2)));
        // As if its time had come.
        let root = &machine.world.config.cycle.install_root;
        let again = Journal { failed: Default::default(), ..journal };
        fs::write(root.join("journal.json"), again.text()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_started_to_outlive_its_terminal_does() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.check = machine
        .reporting_command(&format!("read go < {}; test $go = go", machine.pipe("go").display()));
    machine.world.write_config().unwrap();
    let ignoring = ["/bin/sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let mut installer = machine.start_installer_through(&ignoring);
    machine.wait_for_command(&mut installer);
    send_signal(&installer, Signal::HUP);
    fs::write(machine.pipe("go"), "go\n").unwrap();
    let (status, said) = wait_for_exit(installer);
    assert!(status.success(), "{said}");
    assert_eq!(machine.current(), SECOND_ARTIFACT);
}

/// The lock is free then, and its command still at work.
#[tokio::test(start_paused = true)]
async fn after_a_kill_the_next_run_ends_the_command_before_it_undoes_the_trial() {
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
    let (status, said) = wait_for_exit(machine.start_installer());
    assert_eq!(status.code(), Some(30), "{said}");
    assert_eq!(fs::read_to_string(&seen).unwrap(), "");
    wait_until_gone(&command);
    assert_eq!((machine.current(), machine.journal().trial), (FIRST_ARTIFACT.to_vec(), None));
}

/// By its number, whose process comes to have it next could show it another file.
#[tokio::test(start_paused = true)]
async fn what_was_handed_over_is_what_was_verified_also_when_who_did_so_is_gone() {
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

/// Whatever the operator says of it then.
#[tokio::test(start_paused = true)]
async fn after_a_kill_vouching_and_going_back_end_the_command_and_say_what_becomes_of_the_release()
{
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.check = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let by_hand = |verb: &str| {
        let config = machine.world.directory.join("client/unanimity.toml");
        let mut run = Command::new(installer::installer_path());
        let run = run.arg("--config").arg(config).arg(verb).output().unwrap();
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).unwrap()
    };
    for (verb, what, is) in [
        ("rollback", "1-1.0.0 is installed again, in ", FIRST_ARTIFACT),
        ("mark-good", "2-1.1.0 is good, and stays\n", SECOND_ARTIFACT),
    ] {
        // As if its time had come.
        let journal = Journal { failed: Default::default(), ..machine.journal() };
        let root = &machine.world.config.cycle.install_root;
        fs::write(root.join("journal.json"), journal.text()).unwrap();
        let mut installer = machine.start_installer();
        let command = machine.wait_for_command(&mut installer);
        send_signal(&installer, Signal::KILL);
        assert_killed(installer);
        let said = by_hand(verb);
        wait_until_gone(&command);
        assert!(said.contains(what) && !said.contains("is not installed again"), "{said}");
        assert_eq!((machine.current(), machine.journal().trial), (is.to_vec(), None));
    }
}

fn assert_killed(mut installer: Child) {
    // Its command holds the other end of what it says.
    drop(installer.stderr.take());
    assert_eq!(installer.wait().unwrap().code(), None);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_end_once_more_while_it_undoes_a_trial_ends_there() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.post_install = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let mut installer = machine.start_installer();
    let first = machine.wait_for_command(&mut installer);
    send_signal(&installer, Signal::INT);
    let second = machine.wait_for_command(&mut installer);
    assert_ne!(first, second);
    send_signal(&installer, Signal::INT);
    let (status, said) = wait_for_exit(installer);
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted once more: a release is on trial"), "{said}");
    wait_until_gone(&first);
    wait_until_gone(&second);
    assert!(machine.journal().trial.is_some());
    machine.world.config.cycle.hooks.post_install = shell_command("true");
    machine.world.write_config().unwrap();
    let (status, said) = wait_for_exit(machine.start_installer());
    assert_eq!(status.code(), Some(30), "{said}");
    assert_eq!((machine.current(), machine.journal().trial), (FIRST_ARTIFACT.to_vec(), None));
}

#[tokio::test(start_paused = true)]
async fn what_proved_good_stays_and_is_remembered_whoever_ends_when_good() {
    let mut machine = InstallerMachine::new().await;
    machine.world.config.cycle.hooks.on_success = machine.reporting_command("sleep 600");
    machine.world.write_config().unwrap();
    let head = installer_head_path(&machine.world.config.cycle.install_root);
    let before = fs::read(&head).unwrap();
    let mut installer = machine.start_installer();
    let command = machine.wait_for_command(&mut installer);
    assert_ne!(fs::read(&head).unwrap(), before);
    send_signal(&installer, Signal::INT);
    let (status, said) = wait_for_exit(installer);
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted: nothing is half-done"), "{said}");
    wait_until_gone(&command);
    assert_eq!(machine.current(), SECOND_ARTIFACT);
    assert_eq!(machine.journal().good.last(), Some(&version_label(2)));
}
