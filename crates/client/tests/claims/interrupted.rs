//! Interrupted trials and roll-backs: the next update, roll-back or recovery ends them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use unanimity_client::{ClientError, CycleError, CycleOutcome};
use unanimity_install::journal::{MIN_BACKOFF, Trial};
use unanimity_install::{InstallRoot, RollbackError};
use unanimity_protocol::{Evidence, Refusal, Timestamp};
use unanimity_state::EvidenceStore;
use unanimity_storage::{Clock as _, Storage, WriteStep};
use unanimity_testkit::World;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk};
use unanimity_testkit::trial::*;

#[tokio::test]
async fn update_undoes_an_interrupted_trial_and_check_does_not() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let hook_log = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&hook_log, "");
    let path = world.config.cycle.install_root.join("journal.json");
    let mut journal = install_root(&world).journal().unwrap();
    journal.good.pop();
    journal.trial = Some(Trial::new(version_label(2), Some(version_label(1)), false));
    journal.floor = 1;
    fs::write(&path, journal.text()).unwrap();
    // Without the client's state, only the journal has the floor.
    fs::remove_dir_all(world.config.cycle.state.join("client")).unwrap();
    assert_eq!(install_root(&world).floor().unwrap(), 1);
    let interrupted = scratch.path().join("interrupted");
    let mut by_hand = world.copy_to(&interrupted).unwrap();
    let first = world.check().await.1;
    assert!(matches!(first, Err(CycleError::Refused(_))), "{first:?}");
    advance_and_poll(&mut world, HOUR + Duration::from_secs(60)).await;
    let on_trial = world.check().await.1.unwrap_err();
    assert_eq!(installed_sequence(&world), Some(2));
    assert_eq!(read_lines(&hook_log), Vec::<String>::new());
    let (report, reason, until) = expect_update_unhealthy(&mut world).await;
    let remarks = report.remarks.join("\n");
    snapbox::assert_data_eq!(
        format!("check: {on_trial}\nremarks of the update: {remarks}\nupdate: {reason}\n"),
        snapbox::file!["words/interrupted_trial.txt"]
    );
    assert_eq!(until, Some(world.clock.now().after(MIN_BACKOFF)));
    assert_eq!(read_lines(&hook_log), ["post_install 1-1.0.0 after 2-1.1.0"]);
    assert_eq!(installed_sequence(&world), Some(1));
    advance_and_poll(&mut world, MIN_BACKOFF).await;
    expect_update_installs(&mut world, 2).await;
    // In the copy, the operator vouches for the release instead.
    assert_eq!(install_root(&by_hand).mark_good(None).await.unwrap(), (version_label(2), true));
    assert_eq!(installed_sequence(&by_hand), Some(2));
    by_hand.poll_all().await.unwrap();
    let old = by_hand.update().await.1;
    assert!(
        matches!(old, Err(CycleError::Refused(Refusal::SequenceRollback { floor: 2, .. }))),
        "{old:?}"
    );
    expect_update_up_to_date(&mut by_hand).await;
}

/// An update that is killed before any step, also on the way back, leaves the old or the new
/// version whole. The next update ends the trial.
#[tokio::test]
async fn next_update_ends_a_trial_that_stopped_at_any_step() {
    let base = scratch_dir();
    for works in [true, false] {
        let world = world_before_install(&base.path().join(format!("base-{works}"))).await;
        let steps = {
            let mut copy = world.copy_to(&base.path().join(format!("recorded-{works}"))).unwrap();
            copy.config.cycle.hooks.check =
                to_command(&[if works { "/bin/true" } else { "/bin/false" }]);
            let (disk, steps) = recording_disk();
            copy.poll_all().await.unwrap();
            copy.disk = disk;
            copy.update().await.1.ok();
            assert_eq!(installed_sequence(&copy), Some(if works { 2 } else { 1 }));
            let steps = steps.lock().unwrap();
            let is_journal = |step: &&WriteStep| match step {
                WriteStep::Rename(path) => path.ends_with("journal.json"),
                _ => false,
            };
            assert_eq!(steps.iter().filter(is_journal).count(), 2);
            steps.len()
        };
        assert!(steps > 30, "{steps} steps");
        let mut met = [0, 0];
        for stops in 0..steps {
            let directory = base.path().join(format!("{works}-{stops}"));
            let mut world = world.copy_to(&directory).unwrap();
            world.config.cycle.hooks.check =
                to_command(&[if works { "/bin/true" } else { "/bin/false" }]);
            world.poll_all().await.unwrap();
            world.disk = failing_disk(stops, None);
            let stopped = world.update().await.1;
            assert!(stopped.is_err(), "step {stops}: {stopped:?}");
            met[installed_sequence(&world).expect("one of the two") as usize - 1] += 1;
            world.disk = Storage::default();
            for _ in 0..2 {
                world.update().await.1.ok();
                assert_eq!(install_root(&world).journal().unwrap().trial, None, "step {stops}");
                advance_and_poll(&mut world, MIN_BACKOFF).await;
            }
            assert_eq!(installed_sequence(&world), Some(if works { 2 } else { 1 }), "step {stops}");
            assert_eq!(install_root(&world).floor().unwrap(), if works { 2 } else { 1 });
            fs::remove_dir_all(&directory).unwrap();
        }
        assert!(met[0] > 0 && met[1] > 0, "both were met: {met:?}");
    }
}

#[tokio::test]
async fn rollback_that_stopped_at_any_step_leaves_one_version_whole() {
    let base = scratch_dir();
    let mut world = world_before_install(&base.path().join("base")).await;
    expect_update_installs(&mut world, 2).await;
    let (disk, steps) = recording_disk();
    let copy = world.copy_to(&base.path().join("recorded")).unwrap();
    let on = |world: &World, disk| InstallRoot::new(&world.config.cycle.install_root, disk);
    on(&copy, disk).roll_back(None, copy.clock.now()).await.unwrap();
    let steps = steps.lock().unwrap().len();
    assert!(steps > 5, "{steps} steps");
    let mut met = [0, 0];
    for stops in 0..steps {
        let directory = base.path().join(format!("{stops}"));
        let copy = world.copy_to(&directory).unwrap();
        let now = copy.clock.now();
        on(&copy, failing_disk(stops, None)).roll_back(None, now).await.unwrap_err();
        met[installed_sequence(&copy).unwrap() as usize - 1] += 1;
        // A roll-back to a named version can be repeated.
        on(&copy, Storage::default()).roll_back(Some(&version_label(1)), now).await.unwrap();
        assert_eq!(installed_sequence(&copy), Some(1));
        assert_eq!(install_root(&copy).floor().unwrap(), 2);
    }
    assert!(met[0] > 0 && met[1] > 0, "both were met: {met:?}");
}

#[tokio::test]
async fn next_update_completes_an_interrupted_rollback() {
    let base = scratch_dir();
    let mut world = world_before_install(&base.path().join("base")).await;
    expect_update_installs(&mut world, 2).await;
    let system = base.path().join("system");
    let script = format!("cat $1 > {}", system.display());
    world.config.cycle.hooks.handover = to_command(&["/bin/sh", "-c", &script, "sh", "{}"]);
    let now = world.clock.now();
    for stops in 0.. {
        fs::write(&system, release_bytes(2)).unwrap();
        let mut copy = world.copy_to(&base.path().join(format!("{stops}"))).unwrap();
        copy.config.cycle.hooks = world.config.cycle.hooks.clone();
        let disk = failing_disk(stops, None);
        let root = InstallRoot::new(&copy.config.cycle.install_root, disk)
            .with_hooks(copy.config.cycle.hooks.clone());
        if root.roll_back(None, now).await.is_ok() {
            assert!(stops > 10);
            break;
        }
        copy.poll_all().await.unwrap();
        copy.update().await.1.ok();
        let current = installed_sequence(&copy).unwrap();
        assert_eq!(fs::read(&system).unwrap(), release_bytes(current), "step {stops}");
        assert_eq!(self::install_root(&copy).journal().unwrap().trial, None);
    }
}

#[tokio::test]
async fn rollback_undoes_an_interrupted_trial_and_no_more() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    let path = world.config.cycle.install_root.join("journal.json");
    let mut journal = install_root(&world).journal().unwrap();
    journal.trial = Some(Trial::new(version_label(3), Some(version_label(2)), false));
    fs::write(&path, journal.text()).unwrap();
    let back = install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!((back.installed.unwrap().sequence, installed_sequence(&world)), (2, Some(2)));
}

#[tokio::test]
async fn interrupted_rollback_is_given_up_if_its_version_is_gone() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let mut journal = install_root(&world).journal().unwrap();
    journal.trial = Some(Trial::new(version_label(1), Some(version_label(2)), true));
    fs::write(world.config.cycle.install_root.join("journal.json"), journal.text()).unwrap();
    fs::remove_dir_all(world.config.cycle.install_root.join("versions/1-1.0.0")).unwrap();
    let (report, result) = world.update().await;
    assert!(matches!(result, Ok(CycleOutcome::UpToDate)), "{result:?}");
    snapbox::assert_data_eq!(
        report.remarks.join("\n"),
        snapbox::file!["words/interrupted_rollback_to_a_missing_version.txt"]
    );
    assert_eq!(
        (installed_sequence(&world), install_root(&world).journal().unwrap().trial),
        (Some(2), None)
    );
}

/// Leaves a trial open in the journal, as a killed process does. `current` is the version on trial.
fn leave_trial_open(world: &World, trial: Trial) {
    let mut journal = install_root(world).journal().unwrap();
    journal.good.retain(|good| trial.is_rollback || *good != trial.release);
    journal.trial = Some(trial);
    fs::write(world.config.cycle.install_root.join("journal.json"), journal.text()).unwrap();
}

/// A world with releases 1, 2 and 3, of which 3 is installed.
async fn world_with_three_releases(directory: &Path) -> World {
    let mut world = world_before_install(directory).await;
    expect_update_installs(&mut world, 2).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    world
}

#[tokio::test]
async fn rollback_continues_if_a_trial_cannot_be_undone() {
    let scratch = scratch_dir();
    let world = world_with_three_releases(&scratch.path().join("world")).await;
    leave_trial_open(&world, Trial::new(version_label(3), Some(version_label(2)), false));
    fs::remove_dir_all(world.config.cycle.install_root.join("versions/2-1.1.0")).unwrap();
    let now = world.clock.now();
    let back = install_root(&world).roll_back(None, now).await.unwrap();
    assert_eq!((back.installed.unwrap().sequence, installed_sequence(&world)), (1, Some(1)));
    snapbox::assert_data_eq!(
        back.previous_trial.unwrap(),
        snapbox::file!["words/trial_that_cannot_be_undone.txt"]
    );
    // Without another version, the roll-back is an error.
    leave_trial_open(&world, Trial::new(version_label(1), Some(version_label(2)), false));
    let result = install_root(&world).roll_back(None, now).await;
    assert!(matches!(result, Err(RollbackError::NoVersion { .. })), "{result:?}");
    assert_eq!(install_root(&world).journal().unwrap().trial, None);
}

#[tokio::test]
async fn rollback_reports_hooks_that_fail_while_it_ends_a_trial() {
    let scratch = scratch_dir();
    let mut world = world_with_three_releases(&scratch.path().join("world")).await;
    let mut problems = String::new();
    for (name, trial) in [
        ("trial of a release", Trial::new(version_label(3), Some(version_label(2)), false)),
        ("trial of a roll-back", Trial::new(version_label(2), Some(version_label(3)), true)),
    ] {
        world.config.cycle.hooks.post_install = Vec::new();
        leave_trial_open(&world, trial);
        world.config.cycle.hooks.post_install = shell_command("false");
        let back = install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
        assert_eq!((back.installed.unwrap().sequence, installed_sequence(&world)), (2, Some(2)));
        problems += &format!("{name}: {}\n", back.problem.unwrap());
    }
    snapbox::assert_data_eq!(
        problems,
        snapbox::file!["words/hooks_that_fail_while_a_trial_ends.txt"]
    );
}

#[tokio::test]
async fn rollback_from_the_first_release_reports_no_installed_version() {
    let scratch = scratch_dir();
    let mut world =
        World::create(&scratch.path().join("world"), 8, Timestamp(1_790_000_000)).unwrap();
    publish_and_settle(&mut world, 1).await;
    expect_update_installs(&mut world, 1).await;
    leave_trial_open(&world, Trial::new(version_label(1), None, false));
    let back = install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!((back.installed, back.problem), (None, None));
    snapbox::assert_data_eq!(
        back.previous_trial.unwrap(),
        snapbox::file!["words/undone_trial_of_the_first_release.txt"]
    );
    assert_eq!(installed_sequence(&world), None);
}

/// A hook that runs while a trial ends may itself stop the machine.
#[tokio::test]
async fn recovery_runs_hooks_in_three_attempts_and_then_skips_them() {
    let scratch = scratch_dir();
    let mut messages = String::new();
    for (name, trial) in [
        ("trial of a release", Trial::new(version_label(3), Some(version_label(2)), false)),
        ("trial of a roll-back", Trial::new(version_label(2), Some(version_label(3)), true)),
    ] {
        let directory = scratch.path().join(format!("rollback-{}", trial.is_rollback));
        let mut world = world_with_three_releases(&directory).await;
        leave_trial_open(&world, trial.clone());
        let hook_log = hook_log_path(&mut world);
        // The journal counts the attempt before a hook runs.
        let log_attempt = format!(
            "grep -o 'recovery_attempts.*[0-9]' {}/journal.json >> {}",
            world.config.cycle.install_root.display(),
            hook_log.display()
        );
        world.config.cycle.hooks.handover =
            [shell_command(&log_attempt), vec!["{}".to_owned()]].concat();
        world.config.cycle.hooks.post_install = logging_command(&hook_log, "");
        let now = world.clock.now();
        for attempt in 1..=5 {
            fs::remove_file(&hook_log).ok();
            let mut journal = install_root(&world).journal().unwrap();
            journal.trial = Some(Trial { recovery_attempts: attempt - 1, ..trial.clone() });
            fs::write(world.config.cycle.install_root.join("journal.json"), journal.text())
                .unwrap();
            let message = install_root(&world).recover(now).await.unwrap().unwrap();
            messages += &format!("{name}, attempt {attempt}: {message}\n");
            assert_eq!(install_root(&world).journal().unwrap().trial, None);
            assert_eq!(installed_sequence(&world), Some(2));
            let ran = read_lines(&hook_log);
            if attempt <= 3 {
                assert_eq!(ran[0], format!("recovery_attempts\": {attempt}"));
                assert_eq!(ran.len(), 2, "{ran:?}");
            } else {
                assert_eq!(ran, Vec::<String>::new());
            }
        }
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/attempts_to_end_a_trial.txt"]);
}

/// The withdrawal may be newer than the trial.
#[tokio::test]
async fn recovery_does_not_return_to_a_withdrawn_release() {
    let scratch = scratch_dir();
    let world = world_with_three_releases(&scratch.path().join("world")).await;
    let now = world.clock.now();
    leave_trial_open(&world, Trial::new(version_label(3), Some(version_label(2)), false));
    let recover = async || {
        install_root(&world).with_withdrawn([2].into()).recover(now).await.unwrap().unwrap()
    };
    let trial = recover().await;
    assert_eq!(installed_sequence(&world), Some(3));
    leave_trial_open(&world, Trial::new(version_label(2), Some(version_label(3)), true));
    let rollback = recover().await;
    snapbox::assert_data_eq!(
        format!("trial of a release: {trial}\ntrial of a roll-back: {rollback}\n"),
        snapbox::file!["words/trials_that_end_with_a_withdrawn_release.txt"]
    );
    assert_eq!(
        (installed_sequence(&world), install_root(&world).journal().unwrap().trial),
        (Some(3), None)
    );
}

#[tokio::test]
async fn recovery_leaves_the_release_on_trial_despite_a_full_disk() {
    let scratch = scratch_dir();
    let mut world = world_with_three_releases(&scratch.path().join("world")).await;
    leave_trial_open(&world, Trial::new(version_label(3), Some(version_label(2)), false));
    let hook_log = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&hook_log, "");
    let full = Storage::with_hook(|step| match step {
        WriteStep::Create(path) if path.to_string_lossy().contains("journal") => {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    let open_root = |disk| {
        let root = InstallRoot::new(&world.config.cycle.install_root, disk);
        root.with_hooks(world.config.cycle.hooks.clone())
    };
    let now = world.clock.now();
    open_root(full).recover(now).await.unwrap_err();
    assert_eq!((installed_sequence(&world), read_lines(&hook_log)), (Some(2), vec![]));
    assert!(install_root(&world).journal().unwrap().trial.is_some(), "it is not over");
    open_root(Storage::default()).recover(now).await.unwrap().unwrap();
    assert_eq!(read_lines(&hook_log), ["post_install 2-1.1.0 after 3-1.2.0"]);
    assert_eq!(install_root(&world).journal().unwrap().trial, None);
}

/// Evidence against a world's log, made in a copy of the world.
fn make_evidence(world: &World, elsewhere: &Path) -> Evidence {
    let copy = world.copy_to(elsewhere).unwrap();
    copy.copy_log("fork").unwrap();
    copy.publish(&trial_release(3)).unwrap();
    copy.publish_to("fork", &trial_release(4)).unwrap();
    let heads = ["log", "fork"].map(|log| copy.head_of(log).unwrap());
    Evidence::from_heads(&heads[0], &heads[1], &[]).unwrap()
}

/// A storage that calls `event` once, after a trial is in the journal and before its first hook
/// runs.
fn run_during_trial(world: &World, event: impl Fn() + Send + Sync + 'static) -> Storage {
    let journal = world.config.cycle.install_root.join("journal.json");
    let before = AtomicBool::new(true);
    Storage::with_hook(move |step| {
        if *step == WriteStep::Rename(journal.clone()) && before.swap(false, Ordering::SeqCst) {
            event();
        }
        Ok(())
    })
}

/// These changes are not the release's fault, so it gets no backoff.
#[tokio::test]
async fn changes_during_pre_install_stop_the_switch_and_end_the_trial() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let store = EvidenceStore::new(
        &world.config.cycle.state,
        &world.config.cycle.policy.log,
        Storage::default(),
    );
    let evidence = make_evidence(&world, &scratch.path().join("elsewhere"));
    world.write_config().unwrap();
    let path = world.directory.join("client/unanimity.toml");
    world.config = unanimity_config::load_client_config(&path, world.clock.now()).unwrap();
    let (hook_log, id) = (hook_log_path(&mut world), evidence.id());
    world.config.cycle.hooks.pre_install = logging_command(&hook_log, "");
    world.config.cycle.hooks.post_install = logging_command(&hook_log, "");
    let both = ["pre_install 2-1.1.0 after 1-1.0.0", "post_install 1-1.0.0 after 2-1.1.0"];
    let journal = install_root(&world).journal().unwrap();
    let is_as_before = |world: &World| {
        assert_eq!(read_lines(&hook_log), both);
        fs::remove_file(&hook_log).unwrap();
        assert_eq!(install_root(world).journal().unwrap(), journal);
        assert_eq!(installed_sequence(world), Some(1));
    };
    let text = fs::read_to_string(&path).unwrap();
    let changed = format!("{text}# Changed.\n");
    let config = path.clone();
    world.disk = run_during_trial(&world, move || fs::write(&config, &changed).unwrap());
    let result = world.update().await.1;
    assert!(matches!(result, Err(CycleError::Client(ClientError::Config(_)))), "{result:?}");
    is_as_before(&world);
    fs::write(&path, text).unwrap();
    let adding = store.clone();
    world.disk = run_during_trial(&world, move || drop(adding.add(&evidence).unwrap()));
    let result = world.update().await.1;
    assert!(matches!(result, Err(CycleError::LogForked(_))), "{result:?}");
    is_as_before(&world);
    store.acknowledge(&id).unwrap();
    world.disk = Storage::default();
    expect_update_installs(&mut world, 2).await;
}

/// A hook that outlives a killed process would run beside the hooks of the way back.
#[tokio::test]
async fn recovery_kills_processes_of_the_interrupted_trial_first() {
    let scratch = scratch_dir();
    let mut world = world_with_three_releases(&scratch.path().join("world")).await;
    let trial = Trial::new(version_label(3), Some(version_label(2)), false);
    let start = |mark: &str| {
        let mut command = Command::new("/bin/sh");
        // In a process group of its own, and with a child.
        let script = "trap '' TERM INT HUP; (sleep 600) & echo $!; echo $$; wait";
        command.args(["-c", script]).env("UNANIMITY_TRIAL", mark).process_group(0);
        let mut started = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut pids = BufReader::new(started.stdout.take().unwrap()).lines();
        let pids = [pids.next().unwrap().unwrap(), pids.next().unwrap().unwrap()];
        (started, pids)
    };
    let (mut trial_hook, pids) = start(&trial.process_tag);
    let (mut other_process, _) = start(&format!("{}0", trial.process_tag));
    // This hook fails if the processes still run.
    world.config.cycle.hooks.post_install =
        shell_command(&format!("grep -sq sleep /proc/{}/cmdline && exit 7; exit 0", pids[0]));
    leave_trial_open(&world, trial.clone());
    // Every user may read the journal. Without the tag, no process can pass for one of the trial.
    let journal = install_root(&world).journal().unwrap().text();
    assert!(!journal.contains(&trial.process_tag) && journal.contains(&trial.sha256));
    let message = install_root(&world).recover(world.clock.now()).await.unwrap().unwrap();
    snapbox::assert_data_eq!(message, snapbox::file!["words/trial_with_processes_is_undone.txt"]);
    pids.iter().for_each(|pid| wait_until_gone(pid));
    assert_eq!(trial_hook.wait().unwrap().signal(), Some(9));
    assert!(other_process.try_wait().unwrap().is_none());
    kill_process_group(Pid::from_child(&other_process), Signal::KILL).unwrap();
    other_process.wait().unwrap();
}
