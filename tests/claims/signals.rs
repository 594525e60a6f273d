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
use unanimity_testkit::circle::{HOUR, ONE, SECOND, TWO};
use unanimity_testkit::scratch_dir::place;
use unanimity_testkit::trial::{ends, label, shell};
use unanimity_testkit::{Draft, World};

use crate::installer;

/// Release 1 is installed, and release 2 is staged, on a machine whose installer is a process of its own.
struct Machine {
    world: World,
    home: TempDir,
}

/// How a run of it ended, and what it said.
type Ended = (ExitStatus, String);

impl Machine {
    async fn new() -> Machine {
        let home = place();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = Timestamp(now - 3 * 3600);
        let mut world = World::create(&home.path().join("world"), 5, start).unwrap();
        let spool = world.directory.join("client/spool");
        fs::create_dir_all(&spool).unwrap();
        world.config.cycle.spool =
            Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
        world.write_config().unwrap();
        let mut machine = Machine { world, home };
        for (sequence, version, artifact) in [(1, "1.0.0", ONE), (2, "1.1.0", TWO)] {
            let world = &mut machine.world;
            world.publish(&Draft::new(sequence, version, artifact)).unwrap();
            world.poll_all().await.unwrap();
            world.update().await.1.unwrap_err();
            world.advance(HOUR + SECOND);
            world.poll_all().await.unwrap();
            assert!(matches!(world.update().await.1, Ok(CycleOutcome::Available(_))));
            if sequence == 1 {
                let (status, said) = ended(machine.start());
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
        self.home.path().join(name)
    }

    /// A command that says who it is, and that it is there, and then does something.
    fn tells(&self, then: &str) -> Vec<String> {
        shell(&format!("trap '' TERM INT HUP; echo $$ > {}; {then}", self.pipe("told").display()))
    }

    /// Waits until a command is there, and says which process it is.
    fn told(&self, installer: &mut Child) -> String {
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
    fn start(&self) -> Child {
        self.start_by(&["env", "--default-signal=HUP"])
    }

    fn start_by(&self, starter: &[&str]) -> Child {
        let config = self.world.directory.join("client/unanimity.toml");
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]).arg(installer::program()).arg("--config").arg(config);
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

fn ended(mut child: Child) -> Ended {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap(), said)
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_end_in_a_trial_ends_its_command_and_undoes_it() {
    let mut machine = Machine::new().await;
    let wait = "sleep 600";
    machine.world.config.cycle.hooks.check = machine.tells(wait);
    machine.world.write_config().unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut installer = machine.start();
        let command = machine.told(&mut installer);
        assert_eq!(machine.current(), TWO);
        send(&installer, signal);
        let (status, said) = ended(installer);
        assert_eq!(status.code(), Some(130), "{signal:?}: {said}");
        assert!(said.contains("its trial was interrupted; 1-1.0.0 is installed again"), "{said}");
        ends(&command);
        assert_eq!(machine.current(), ONE);
        let journal = machine.journal();
        assert_eq!(journal.trial, None);
        assert!(journal.failed.contains_key(&label(2)));
        // As if its time had come.
        let root = &machine.world.config.cycle.install_root;
        let again = Journal { failed: Default::default(), ..journal };
        fs::write(root.join("journal.json"), again.text()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_started_to_outlive_its_terminal_does() {
    let mut machine = Machine::new().await;
    machine.world.config.cycle.hooks.check =
        machine.tells(&format!("read go < {}; test $go = go", machine.pipe("go").display()));
    machine.world.write_config().unwrap();
    let ignoring = ["/bin/sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""];
    let mut installer = machine.start_by(&ignoring);
    machine.told(&mut installer);
    send(&installer, Signal::HUP);
    fs::write(machine.pipe("go"), "go\n").unwrap();
    let (status, said) = ended(installer);
    assert!(status.success(), "{said}");
    assert_eq!(machine.current(), TWO);
}

/// The lock is free then, and its command still at work.
#[tokio::test(start_paused = true)]
async fn after_a_kill_the_next_run_ends_the_command_before_it_undoes_the_trial() {
    let mut machine = Machine::new().await;
    machine.world.config.cycle.hooks.post_install = machine.tells("sleep 600");
    machine.world.write_config().unwrap();
    let mut installer = machine.start();
    let command = machine.told(&mut installer);
    send(&installer, Signal::KILL);
    ended_by_kill(installer);
    assert!(Path::new("/proc").join(&command).exists());
    assert!(machine.journal().trial.is_some());
    let seen = machine.pipe("seen");
    machine.world.config.cycle.hooks.post_install =
        shell(&format!("cat /proc/{command}/cmdline | tr '\\0' ' ' >> {}; true", seen.display()));
    machine.world.write_config().unwrap();
    let (status, said) = ended(machine.start());
    assert_eq!(status.code(), Some(30), "{said}");
    assert_eq!(fs::read_to_string(&seen).unwrap(), "");
    ends(&command);
    assert_eq!((machine.current(), machine.journal().trial), (ONE.to_vec(), None));
}

/// By its number, whose process comes to have it next could show it another file.
#[tokio::test(start_paused = true)]
async fn what_was_handed_over_is_what_was_verified_also_when_who_did_so_is_gone() {
    let mut machine = Machine::new().await;
    let (go, handed) = (machine.pipe("go"), machine.pipe("handed"));
    assert!(Command::new("mkfifo").arg(&handed).status().unwrap().success());
    let then = format!("read go < {}; sh -c 'cat {{}} > {}'", go.display(), handed.display());
    machine.world.config.cycle.hooks.handover = machine.tells(&then);
    machine.world.write_config().unwrap();
    let mut installer = machine.start();
    machine.told(&mut installer);
    send(&installer, Signal::KILL);
    ended_by_kill(installer);
    fs::write(go, "go\n").unwrap();
    assert_eq!(fs::read(handed).unwrap(), TWO);
}

/// Whatever the operator says of it then.
#[tokio::test(start_paused = true)]
async fn after_a_kill_vouching_and_going_back_end_the_command_and_say_what_becomes_of_the_release()
{
    let mut machine = Machine::new().await;
    machine.world.config.cycle.hooks.check = machine.tells("sleep 600");
    machine.world.write_config().unwrap();
    let by_hand = |verb: &str| {
        let config = machine.world.directory.join("client/unanimity.toml");
        let mut run = Command::new(installer::program());
        let run = run.arg("--config").arg(config).arg(verb).output().unwrap();
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).unwrap()
    };
    for (verb, what, is) in [
        ("rollback", "1-1.0.0 is installed again, in ", ONE),
        ("mark-good", "2-1.1.0 is good, and stays\n", TWO),
    ] {
        // As if its time had come.
        let journal = Journal { failed: Default::default(), ..machine.journal() };
        let root = &machine.world.config.cycle.install_root;
        fs::write(root.join("journal.json"), journal.text()).unwrap();
        let mut installer = machine.start();
        let command = machine.told(&mut installer);
        send(&installer, Signal::KILL);
        ended_by_kill(installer);
        let said = by_hand(verb);
        ends(&command);
        assert!(said.contains(what) && !said.contains("is not installed again"), "{said}");
        assert_eq!((machine.current(), machine.journal().trial), (is.to_vec(), None));
    }
}

fn ended_by_kill(mut installer: Child) {
    // Its command holds the other end of what it says.
    drop(installer.stderr.take());
    assert_eq!(installer.wait().unwrap().code(), None);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_end_once_more_while_it_undoes_a_trial_ends_there() {
    let mut machine = Machine::new().await;
    machine.world.config.cycle.hooks.post_install = machine.tells("sleep 600");
    machine.world.write_config().unwrap();
    let mut installer = machine.start();
    let first = machine.told(&mut installer);
    send(&installer, Signal::INT);
    let second = machine.told(&mut installer);
    assert_ne!(first, second);
    send(&installer, Signal::INT);
    let (status, said) = ended(installer);
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted once more: a release is on trial"), "{said}");
    ends(&first);
    ends(&second);
    assert!(machine.journal().trial.is_some());
    machine.world.config.cycle.hooks.post_install = shell("true");
    machine.world.write_config().unwrap();
    let (status, said) = ended(machine.start());
    assert_eq!(status.code(), Some(30), "{said}");
    assert_eq!((machine.current(), machine.journal().trial), (ONE.to_vec(), None));
}

#[tokio::test(start_paused = true)]
async fn what_proved_good_stays_and_is_remembered_whoever_ends_when_good() {
    let mut machine = Machine::new().await;
    machine.world.config.cycle.hooks.on_success = machine.tells("sleep 600");
    machine.world.write_config().unwrap();
    let head = installer_head_path(&machine.world.config.cycle.install_root);
    let before = fs::read(&head).unwrap();
    let mut installer = machine.start();
    let command = machine.told(&mut installer);
    assert_ne!(fs::read(&head).unwrap(), before);
    send(&installer, Signal::INT);
    let (status, said) = ended(installer);
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted: nothing is half-done"), "{said}");
    ends(&command);
    assert_eq!(machine.current(), TWO);
    assert_eq!(machine.journal().good.last(), Some(&label(2)));
}
