//! The program `unanimity-install`: what it refuses, and how it ends when it is told to.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use unanimity_client::CycleOutcome;
use unanimity_config::SpoolSettings;
use unanimity_install::journal::Journal;
use unanimity_protocol::Timestamp;
use unanimity_storage::{Clock as _, SystemClock};
use unanimity_testkit::{ReleaseSpec, World};

const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity-install");
/// A bit longer than a release has to wait.
const SETTLE: Duration = Duration::from_secs(3601);

/// A machine on which nothing is installed and release 1 is staged.
struct InstallerSandbox {
    world: World,
    home: TempDir,
}

impl InstallerSandbox {
    async fn new() -> InstallerSandbox {
        let home = tempfile::tempdir().unwrap();
        let start = Timestamp(SystemClock.now().0 - 2 * 3600);
        let mut world = World::create(&home.path().join("world"), 5, start).unwrap();
        let spool = world.directory.join("client/spool");
        fs::create_dir_all(&spool).unwrap();
        world.config.cycle.spool =
            Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
        world.publish(&ReleaseSpec::new(1, "1.0.0", b"one")).unwrap();
        world.poll_all().await.unwrap();
        world.update().await.1.unwrap_err();
        world.advance(SETTLE);
        world.poll_all().await.unwrap();
        assert!(matches!(world.update().await.1, Ok(CycleOutcome::Available(_))));
        let machine = InstallerSandbox { world, home };
        let told = machine.home.path().join("told");
        assert!(Command::new("mkfifo").arg(told).status().unwrap().success());
        machine.configure();
        machine
    }

    fn configure(&self) {
        self.world.write_config().unwrap();
    }

    fn config(&self) -> PathBuf {
        self.world.directory.join("client/unanimity.toml")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        exit_and_text(&self.command(arguments).output().unwrap())
    }

    /// A command that says which process it is, and then waits.
    fn waiting_command(&self) -> Vec<String> {
        let told = self.home.path().join("told");
        let script = format!("trap '' TERM INT HUP; echo $$ > {}; sleep 600", told.display());
        ["/bin/sh", "-c", &script].map(str::to_owned).into()
    }

    /// Waits until such a command of the installer's is there.
    fn wait_for_command(&self, installer: &mut Child) -> String {
        // Opened by ourselves for writing, it has no end.
        let mut pipe = File::options();
        let pipe = pipe.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let mut pipe = pipe.open(self.home.path().join("told")).unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"\n") {
            let mut byte = [0];
            match pipe.read_exact(&mut byte) {
                Ok(()) => said.extend(byte),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert_eq!(installer.try_wait().unwrap(), None, "it ended");
                    thread::yield_now();
                }
            }
        }
        String::from_utf8(said).unwrap().trim().to_owned()
    }

    fn journal(&self) -> Journal {
        let path = self.world.config.cycle.install_root.join("journal.json");
        Journal::parse(&fs::read(path).unwrap()).unwrap()
    }

    fn is_installed(&self) -> bool {
        self.world.config.cycle.install_root.join("current/hello").exists()
    }
}

fn exit_and_text(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn arguments_that_make_no_sense_are_refused_and_nothing_is_read() {
    for arguments in [
        &["install-staged"][..],
        &["--offline", "stick"],
        &["--from"],
        &["--from", "stick", "rollback"],
        &["--from", "stick", "mark-good", "1-1.0.0"],
        &["rollback", "1-1.0.0", "2-1.1.0"],
        &["--config", "/no/such/file", "--force"],
    ] {
        let (code, said) = exit_and_text(&Command::new(PROGRAM).args(arguments).output().unwrap());
        assert_eq!(code, 2, "{arguments:?}: {said}");
        assert!(said.starts_with("error: "), "{arguments:?}: {said}");
        let json = Command::new(PROGRAM).arg("--json").args(arguments).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((&report["exit"], &report["schema"]), (&2.into(), &"unanimity/v1".into()));
    }
}

#[test]
fn without_a_configuration_nothing_is_installed() {
    let missing = Command::new(PROGRAM).args(["--config", "/no/such/file"]).output().unwrap();
    let (code, said) = exit_and_text(&missing);
    assert_eq!(code, 3, "{said}");
    assert!(said.starts_with("unanimity-install: /no/such/file: there is no configuration yet"));
}

#[tokio::test(start_paused = true)]
async fn what_is_staged_is_installed_and_that_once() {
    let machine = InstallerSandbox::new().await;
    let (code, said) = machine.run(&["--json"]);
    assert_eq!(code, 0, "{said}");
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["verb"], &report["installed"]), (&"install".into(), &"1-1.0.0".into()));
    let (code, said) = machine.run(&[]);
    assert_eq!((code, &*said), (0, "nothing new is staged: sequence 1 was installed before\n"));
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_was_no_spool_is_refused() {
    let mut machine = InstallerSandbox::new().await;
    machine.world.config.cycle.spool = None;
    machine.configure();
    let text = fs::read_to_string(machine.config()).unwrap();
    let text = text.replace("[install]\n", "[install]\nfreshness = \"7d\"\n");
    fs::write(machine.config(), text).unwrap();
    let empty = machine.home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for directory in [empty.to_str().unwrap(), "/no/such/directory"] {
        let (code, said) = machine.run(&["--from", directory]);
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("is this what a spool was?"), "{said}");
    }
    // A file of that name proves nothing.
    fs::write(empty.join("proof"), "no proof\n").unwrap();
    let (code, said) = machine.run(&["--from", empty.to_str().unwrap()]);
    assert_eq!(code, 29, "{said}");
    assert!(!machine.is_installed());
}

#[tokio::test(start_paused = true)]
async fn a_check_that_overruns_is_killed_and_the_release_undone() {
    let mut machine = InstallerSandbox::new().await;
    let pid = machine.home.path().join("pid");
    let script = format!("trap '' TERM; echo $$ > {}; sleep 600", pid.display());
    machine.world.config.cycle.hooks.check = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    machine.configure();
    let health = "[install.health]\n";
    let text = fs::read_to_string(machine.config()).unwrap();
    let text = text.replace(health, &format!("{health}timeout = \"2s\"\n"));
    fs::write(machine.config(), text).unwrap();
    let (code, said) = machine.run(&[]);
    assert_eq!(code, 30, "{said}");
    assert!(said.contains("check did not end within 2 s and was killed"), "{said}");
    // It is not there if it was killed before it had got anywhere.
    let pid = fs::read_to_string(pid).unwrap_or_else(|_| "none".to_owned());
    assert!(!PathBuf::from("/proc").join(pid.trim()).exists());
    assert!(!machine.is_installed());
}

#[tokio::test(start_paused = true)]
async fn what_a_check_left_at_work_outlives_the_installer_if_it_ended_well() {
    let mut machine = InstallerSandbox::new().await;
    let told = machine.home.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}", told.display());
    machine.world.config.cycle.hooks.check = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    machine.configure();
    let (code, said) = machine.run(&[]);
    assert_eq!(code, 0, "{said}");
    let pid = fs::read_to_string(told).unwrap();
    assert!(PathBuf::from("/proc").join(pid.trim()).exists());
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
}

#[tokio::test(start_paused = true)]
async fn a_signal_in_a_trial_kills_the_check_and_undoes_the_release() {
    let mut machine = InstallerSandbox::new().await;
    machine.world.config.cycle.hooks.check = machine.waiting_command();
    machine.configure();
    for signal in [Signal::INT, Signal::TERM] {
        let mut installer = start(&mut machine.command(&["--json"]));
        let pid = machine.wait_for_command(&mut installer);
        assert!(machine.is_installed());
        send(&installer, signal);
        let (code, said) = exit_and_text(&installer.wait_with_output().unwrap());
        assert_eq!(code, 130, "{said}");
        assert!(said.contains("its trial was interrupted; nothing is installed"), "{said}");
        assert!(!PathBuf::from("/proc").join(pid).exists());
        assert!(!machine.is_installed());
        let journal = machine.journal();
        assert_eq!(journal.trial, None);
        // As if its time had come.
        let again = Journal { failed: Default::default(), ..journal };
        fs::write(machine.world.config.cycle.install_root.join("journal.json"), again.text())
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_in_a_rollback_leaves_the_rest_to_the_next_run() {
    let mut machine = InstallerSandbox::new().await;
    assert_eq!(machine.run(&[]).0, 0);
    machine.world.config.cycle.hooks.post_install = machine.waiting_command();
    machine.configure();
    let mut installer = start(&mut machine.command(&["rollback", "1-1.0.0"]));
    machine.wait_for_command(&mut installer);
    send(&installer, Signal::INT);
    let (code, said) = exit_and_text(&installer.wait_with_output().unwrap());
    assert_eq!(code, 130, "{said}");
    assert!(said.contains("the next `update`, `unanimity-install` or `rollback` does the rest"));
    assert!(machine.journal().trial.is_some_and(|trial| trial.is_rollback));
    machine.world.config.cycle.hooks.post_install.clear();
    machine.configure();
    let (code, said) = machine.run(&["rollback"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("the roll-back to 1-1.0.0 was interrupted, and is done now"), "{said}");
    assert_eq!(machine.journal().trial, None);
}
