//! Claims about the program `unanimity-install`: its refusals, and its end after a signal.

use std::fmt::Write as _;
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
/// Slightly longer than the settle time of a release.
const SETTLE: Duration = Duration::from_secs(3601);

/// A machine on which nothing is installed and release 1 is downloaded.
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
        let sandbox = InstallerSandbox { world, home };
        let pipe = sandbox.home.path().join("pipe");
        assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
        sandbox.configure();
        sandbox
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

    /// A command that writes its process number to the pipe, and then waits.
    fn waiting_command(&self) -> Vec<String> {
        let pipe = self.home.path().join("pipe");
        let script = format!("trap '' TERM INT HUP; echo $$ > {}; sleep 600", pipe.display());
        ["/bin/sh", "-c", &script].map(str::to_owned).into()
    }

    /// Waits for the process number of a waiting command that the installer has started.
    fn wait_for_command(&self, installer: &mut Child) -> String {
        // Opened for writing as well, the pipe has no end of file.
        let mut pipe = File::options();
        let pipe = pipe.read(true).write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let mut pipe = pipe.open(self.home.path().join("pipe")).unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            match pipe.read_exact(&mut byte) {
                Ok(()) => line.extend(byte),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert_eq!(installer.try_wait().unwrap(), None, "the installer ended");
                    thread::yield_now();
                }
            }
        }
        String::from_utf8(line).unwrap().trim().to_owned()
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

/// The output up to the time of the next try, which differs from run to run.
fn before_next_try(output: &str) -> String {
    output.split(" The next attempt with").next().unwrap().to_owned()
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn program_refuses_invalid_arguments() {
    for arguments in [
        &["install-staged"][..],
        &["--offline", "stick"],
        &["--from"],
        &["--from", "stick", "rollback"],
        &["--from", "stick", "mark-good", "1-1.0.0"],
        &["rollback", "1-1.0.0", "2-1.1.0"],
        &["--config", "/no/such/file", "--force"],
    ] {
        let (code, output) =
            exit_and_text(&Command::new(PROGRAM).args(arguments).output().unwrap());
        assert_eq!(code, 2, "{arguments:?}: {output}");
        assert!(output.starts_with("error: "), "{arguments:?}: {output}");
        let json = Command::new(PROGRAM).arg("--json").args(arguments).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
        assert_eq!((&report["exit"], &report["schema"]), (&2.into(), &"unanimity/v1".into()));
    }
}

#[test]
fn missing_configuration_is_an_error() {
    let missing = Command::new(PROGRAM).args(["--config", "/no/such/file"]).output().unwrap();
    let (code, output) = exit_and_text(&missing);
    assert_eq!(code, 3, "{output}");
    snapbox::assert_data_eq!(output, snapbox::file!["words/program_without_config.txt"]);
}

#[tokio::test(start_paused = true)]
async fn program_installs_a_download_once() {
    let sandbox = InstallerSandbox::new().await;
    let (code, output) = sandbox.run(&["--json"]);
    assert_eq!(code, 0, "{output}");
    let report: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&report["verb"], &report["installed"]), (&"install".into(), &"1-1.0.0".into()));
    let (code, output) = sandbox.run(&[]);
    assert_eq!(
        (code, &*output),
        (0, "nothing new is downloaded: sequence 1 was installed before\n")
    );
}

#[tokio::test(start_paused = true)]
async fn program_refuses_a_directory_that_is_no_spool() {
    let mut sandbox = InstallerSandbox::new().await;
    sandbox.world.config.cycle.spool = None;
    sandbox.configure();
    let text = fs::read_to_string(sandbox.config()).unwrap();
    let text = text.replace("[install]\n", "[install]\nfreshness = \"7d\"\n");
    fs::write(sandbox.config(), text).unwrap();
    let empty = sandbox.home.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let mut text = String::new();
    for directory in [empty.to_str().unwrap(), "/no/such/directory"] {
        let (code, output) = sandbox.run(&["--from", directory]);
        assert_eq!(code, 6, "{output}");
        text += &output.replace(sandbox.home.path().to_str().unwrap(), "[DIR]");
    }
    snapbox::assert_data_eq!(text, snapbox::file!["words/program_no_spool.txt"]);
    // The name of the file is not enough.
    fs::write(empty.join("proof"), "no proof\n").unwrap();
    let (code, output) = sandbox.run(&["--from", empty.to_str().unwrap()]);
    assert_eq!(code, 29, "{output}");
    assert!(!sandbox.is_installed());
}

#[tokio::test(start_paused = true)]
async fn timeout_of_a_check_undoes_the_release() {
    let mut sandbox = InstallerSandbox::new().await;
    let pid = sandbox.home.path().join("pid");
    let script = format!("trap '' TERM; echo $$ > {}; sleep 600", pid.display());
    sandbox.world.config.cycle.hooks.check = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    sandbox.configure();
    let health = "[install.health]\n";
    let text = fs::read_to_string(sandbox.config()).unwrap();
    let text = text.replace(health, &format!("{health}timeout = \"2s\"\n"));
    fs::write(sandbox.config(), text).unwrap();
    let (code, output) = sandbox.run(&[]);
    assert_eq!(code, 30, "{output}");
    snapbox::assert_data_eq!(
        before_next_try(&output),
        snapbox::file!["words/program_check_timeout.txt"]
    );
    // There is no file if the check was killed before it wrote its number.
    let pid = fs::read_to_string(pid).unwrap_or_else(|_| "none".to_owned());
    assert!(!PathBuf::from("/proc").join(pid.trim()).exists());
    assert!(!sandbox.is_installed());
}

#[tokio::test(start_paused = true)]
async fn child_of_a_passed_check_outlives_the_installer() {
    let mut sandbox = InstallerSandbox::new().await;
    let pid_file = sandbox.home.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}", pid_file.display());
    sandbox.world.config.cycle.hooks.check = ["/bin/sh", "-c", &script].map(str::to_owned).into();
    sandbox.configure();
    let (code, output) = sandbox.run(&[]);
    assert_eq!(code, 0, "{output}");
    let pid = fs::read_to_string(pid_file).unwrap();
    assert!(PathBuf::from("/proc").join(pid.trim()).exists());
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
}

#[tokio::test(start_paused = true)]
async fn signal_in_a_trial_kills_the_check_and_undoes_the_release() {
    let mut sandbox = InstallerSandbox::new().await;
    sandbox.world.config.cycle.hooks.check = sandbox.waiting_command();
    sandbox.configure();
    let mut text = String::new();
    for (name, signal) in [("SIGINT", Signal::INT), ("SIGTERM", Signal::TERM)] {
        let mut installer = start(&mut sandbox.command(&["--json"]));
        let pid = sandbox.wait_for_command(&mut installer);
        assert!(sandbox.is_installed());
        send(&installer, signal);
        let (code, output) = exit_and_text(&installer.wait_with_output().unwrap());
        assert_eq!(code, 130, "{output}");
        writeln!(text, "{name}: {}", before_next_try(&output)).unwrap();
        assert!(!PathBuf::from("/proc").join(pid).exists());
        assert!(!sandbox.is_installed());
        let journal = sandbox.journal();
        assert_eq!(journal.trial, None);
        // The next try may begin at once.
        let again = Journal { failed: Default::default(), ..journal };
        fs::write(sandbox.world.config.cycle.install_root.join("journal.json"), again.text())
            .unwrap();
    }
    snapbox::assert_data_eq!(text, snapbox::file!["words/program_interrupted_trial.txt"]);
}

#[tokio::test(start_paused = true)]
async fn interrupted_rollback_is_completed_by_the_next_run() {
    let mut sandbox = InstallerSandbox::new().await;
    assert_eq!(sandbox.run(&[]).0, 0);
    sandbox.world.config.cycle.hooks.post_install = sandbox.waiting_command();
    sandbox.configure();
    let mut installer = start(&mut sandbox.command(&["rollback", "1-1.0.0"]));
    sandbox.wait_for_command(&mut installer);
    send(&installer, Signal::INT);
    let (code, output) = exit_and_text(&installer.wait_with_output().unwrap());
    assert_eq!(code, 130, "{output}");
    let mut text = output;
    assert!(sandbox.journal().trial.is_some_and(|trial| trial.is_rollback));
    sandbox.world.config.cycle.hooks.post_install.clear();
    sandbox.configure();
    let (code, output) = sandbox.run(&["rollback"]);
    assert_eq!(code, 0, "{output}");
    text += &output;
    let text = text.replace(sandbox.home.path().to_str().unwrap(), "[DIR]");
    snapbox::assert_data_eq!(text, snapbox::file!["words/program_interrupted_rollback.txt"]);
    assert_eq!(sandbox.journal().trial, None);
}
