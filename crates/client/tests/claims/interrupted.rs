//! Trials and roll-backs that were interrupted: whoever comes next ends them.

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
async fn a_trial_that_was_interrupted_is_undone_before_anything_else_and_by_nobody_who_only_looks()
{
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let diary = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&diary, "");
    let path = world.config.cycle.install_root.join("journal.json");
    let mut journal = install_root(&world).journal().unwrap();
    journal.good.pop();
    journal.trial = Some(Trial::new(version_label(2), Some(version_label(1)), false));
    journal.floor = 1;
    fs::write(&path, journal.text()).unwrap();
    // The client's own memory says that it was installed: of an earlier life.
    fs::remove_dir_all(world.config.cycle.state.join("client")).unwrap();
    assert_eq!(install_root(&world).floor().unwrap(), 1);
    let interrupted = place.path().join("interrupted");
    let mut by_hand = world.copy_to(&interrupted).unwrap();
    let first = world.check().await.1;
    assert!(matches!(first, Err(CycleError::Refused(_))), "{first:?}");
    advance_and_poll(&mut world, HOUR + Duration::from_secs(60)).await;
    let on_trial = world.check().await.1.unwrap_err().to_string();
    assert!(on_trial.contains("it is on trial"), "{on_trial}");
    assert_eq!(installed_sequence(&world), Some(2));
    assert_eq!(read_lines(&diary), Vec::<String>::new());
    let (report, why, until) = expect_update_unhealthy(&mut world).await;
    assert!(report.remarks.iter().any(|remark| remark.contains("interrupted")), "{report:?}");
    assert_eq!(
        why,
        "it is left alone for a while: its trial was interrupted; 1-1.0.0 is installed again"
    );
    assert_eq!(until, Some(world.clock.now().after(MIN_BACKOFF)));
    assert_eq!(read_lines(&diary), ["post_install 1-1.0.0 after 2-1.1.0"]);
    assert_eq!(installed_sequence(&world), Some(1));
    advance_and_poll(&mut world, MIN_BACKOFF).await;
    expect_update_installs(&mut world, 2).await;
    // Or its operator says that it works.
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

/// Killed before each step, also while it goes back: the old version or the new, whole, and the
/// next run ends it.
#[tokio::test]
async fn an_update_with_a_trial_stopped_at_any_step_is_ended_by_the_next_one() {
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
            let journal = |step: &&WriteStep| matches!(step, WriteStep::Rename(path) if path.ends_with("journal.json"));
            assert_eq!(steps.iter().filter(journal).count(), 2);
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
async fn a_roll_back_stopped_at_any_step_leaves_one_of_the_two_whole() {
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
        // Named, it is the same however often it is asked for.
        on(&copy, Storage::default()).roll_back(Some(&version_label(1)), now).await.unwrap();
        assert_eq!(installed_sequence(&copy), Some(1));
        assert_eq!(install_root(&copy).floor().unwrap(), 2);
    }
    assert!(met[0] > 0 && met[1] > 0, "both were met: {met:?}");
}

#[tokio::test]
async fn a_roll_back_that_was_interrupted_is_done_by_the_next_update() {
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
async fn going_back_while_a_trial_is_interrupted_undoes_it_and_no_more() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
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
async fn a_roll_back_that_was_interrupted_is_given_up_if_the_version_is_gone_by_then() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let mut journal = install_root(&world).journal().unwrap();
    journal.trial = Some(Trial::new(version_label(1), Some(version_label(2)), true));
    fs::write(world.config.cycle.install_root.join("journal.json"), journal.text()).unwrap();
    fs::remove_dir_all(world.config.cycle.install_root.join("versions/1-1.0.0")).unwrap();
    let (report, ended) = world.update().await;
    assert!(matches!(ended, Ok(CycleOutcome::UpToDate)), "{ended:?}");
    let said = "the roll-back to 1-1.0.0 was interrupted: there is no version 1-1.0.0 here";
    assert!(report.remarks.iter().any(|remark| remark.starts_with(said)), "{report:?}");
    assert_eq!(
        (installed_sequence(&world), install_root(&world).journal().unwrap().trial),
        (Some(2), None)
    );
}

/// Leaves a trial open, as whoever was killed in it does; `current` is what was switched to.
fn leave_trial_open(world: &World, trial: Trial) {
    let mut journal = install_root(world).journal().unwrap();
    journal.good.retain(|good| trial.is_rollback || *good != trial.release);
    journal.trial = Some(trial);
    fs::write(world.config.cycle.install_root.join("journal.json"), journal.text()).unwrap();
}

/// Releases 1, 2 and 3, of which 3 is installed.
async fn world_with_three_releases(directory: &Path) -> World {
    let mut world = world_before_install(directory).await;
    expect_update_installs(&mut world, 2).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    world
}

#[tokio::test]
async fn going_back_goes_on_where_an_interrupted_trial_cannot_be_undone() {
    let place = scratch_dir();
    let world = world_with_three_releases(&place.path().join("world")).await;
    leave_trial_open(&world, Trial::new(version_label(3), Some(version_label(2)), false));
    fs::remove_dir_all(world.config.cycle.install_root.join("versions/2-1.1.0")).unwrap();
    let now = world.clock.now();
    let back = install_root(&world).roll_back(None, now).await.unwrap();
    assert_eq!((back.installed.unwrap().sequence, installed_sequence(&world)), (1, Some(1)));
    assert!(back.previous_trial.unwrap().contains("2-1.1.0 is not there any more as it was"));
    // Where there is nothing else, that is an error, and no success.
    leave_trial_open(&world, Trial::new(version_label(1), Some(version_label(2)), false));
    let ended = install_root(&world).roll_back(None, now).await;
    assert!(matches!(ended, Err(RollbackError::NoVersion { .. })), "{ended:?}");
    assert_eq!(install_root(&world).journal().unwrap().trial, None);
}

#[tokio::test]
async fn what_does_not_work_on_the_way_back_from_an_interrupted_trial_is_said() {
    let place = scratch_dir();
    let mut world = world_with_three_releases(&place.path().join("world")).await;
    for (trial, what) in [
        (
            Trial::new(version_label(3), Some(version_label(2)), false),
            "on the way back, post_install failed",
        ),
        (Trial::new(version_label(2), Some(version_label(3)), true), "post_install failed"),
    ] {
        world.config.cycle.hooks.post_install = Vec::new();
        leave_trial_open(&world, trial);
        world.config.cycle.hooks.post_install = shell_command("false");
        let back = install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
        assert_eq!((back.installed.unwrap().sequence, installed_sequence(&world)), (2, Some(2)));
        let trouble = back.problem.unwrap();
        assert!(trouble.starts_with(what), "{trouble}");
    }
}

#[tokio::test]
async fn going_back_from_the_first_release_there_was_says_that_nothing_is_installed() {
    let place = scratch_dir();
    let mut world =
        World::create(&place.path().join("world"), 8, Timestamp(1_790_000_000)).unwrap();
    publish_and_settle(&mut world, 1).await;
    expect_update_installs(&mut world, 1).await;
    leave_trial_open(&world, Trial::new(version_label(1), None, false));
    let back = install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!((back.installed, back.problem), (None, None));
    assert!(back.previous_trial.unwrap().contains("nothing is installed, as before"));
    assert_eq!(installed_sequence(&world), None);
}

/// What ends a trial may itself be what stops the machine.
#[tokio::test]
async fn ending_a_trial_is_tried_three_times_with_the_commands_and_then_without() {
    let place = scratch_dir();
    for (trial, ends_with) in [
        (Trial::new(version_label(3), Some(version_label(2)), false), 2),
        (Trial::new(version_label(2), Some(version_label(3)), true), 2),
    ] {
        let directory = place.path().join(format!("by-hand-{}", trial.is_rollback));
        let mut world = world_with_three_releases(&directory).await;
        leave_trial_open(&world, trial.clone());
        let diary = hook_log_path(&mut world);
        // Before a command runs, it is written down that it does.
        let tries = format!(
            "grep -o 'tries.*[0-9]' {}/journal.json >> {}",
            world.config.cycle.install_root.display(),
            diary.display()
        );
        world.config.cycle.hooks.handover = [shell_command(&tries), vec!["{}".to_owned()]].concat();
        world.config.cycle.hooks.post_install = logging_command(&diary, "");
        let now = world.clock.now();
        for try_ in 1..=5 {
            fs::remove_file(&diary).ok();
            let mut journal = install_root(&world).journal().unwrap();
            journal.trial = Some(Trial { recovery_attempts: try_ - 1, ..trial.clone() });
            fs::write(world.config.cycle.install_root.join("journal.json"), journal.text())
                .unwrap();
            let said = install_root(&world).recover(now).await.unwrap().unwrap();
            assert_eq!(install_root(&world).journal().unwrap().trial, None);
            assert_eq!(installed_sequence(&world), Some(ends_with));
            let ran = read_lines(&diary);
            if try_ <= 3 {
                assert_eq!(ran[0], format!("tries\": {try_}"));
                assert_eq!(ran.len(), 2, "{ran:?}");
                assert!(!said.contains("no command was run"), "{said}");
            } else {
                assert_eq!(ran, Vec::<String>::new());
                assert!(said.contains("interrupted 3 times: no command was run"), "{said}");
            }
        }
    }
}

/// Nobody may have known that when it began.
#[tokio::test]
async fn a_trial_that_was_interrupted_does_not_end_at_what_was_taken_back_since() {
    let place = scratch_dir();
    let world = world_with_three_releases(&place.path().join("world")).await;
    let now = world.clock.now();
    leave_trial_open(&world, Trial::new(version_label(3), Some(version_label(2)), false));
    let said = install_root(&world).with_withdrawn([2].into()).recover(now).await.unwrap().unwrap();
    assert!(said.contains("2-1.1.0 was taken back by its publisher, so 3-1.2.0 stays"), "{said}");
    assert_eq!(installed_sequence(&world), Some(3));
    leave_trial_open(&world, Trial::new(version_label(2), Some(version_label(3)), true));
    let said = install_root(&world).with_withdrawn([2].into()).recover(now).await.unwrap().unwrap();
    assert!(said.contains("2-1.1.0 was taken back by its publisher: there is no way"), "{said}");
    assert_eq!(
        (installed_sequence(&world), install_root(&world).journal().unwrap().trial),
        (Some(3), None)
    );
}

#[tokio::test]
async fn a_full_disk_keeps_nobody_on_a_release_that_was_on_trial() {
    let place = scratch_dir();
    let mut world = world_with_three_releases(&place.path().join("world")).await;
    leave_trial_open(&world, Trial::new(version_label(3), Some(version_label(2)), false));
    let diary = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&diary, "");
    let full = Storage::with_hook(|step| match step {
        WriteStep::Create(path) if path.to_string_lossy().contains("journal") => {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    });
    let on_it = |disk| {
        let root = InstallRoot::new(&world.config.cycle.install_root, disk);
        root.with_hooks(world.config.cycle.hooks.clone())
    };
    let now = world.clock.now();
    on_it(full).recover(now).await.unwrap_err();
    assert_eq!((installed_sequence(&world), read_lines(&diary)), (Some(2), vec![]));
    assert!(install_root(&world).journal().unwrap().trial.is_some(), "it is not over");
    on_it(Storage::default()).recover(now).await.unwrap().unwrap();
    assert_eq!(read_lines(&diary), ["post_install 2-1.1.0 after 3-1.2.0"]);
    assert_eq!(install_root(&world).journal().unwrap().trial, None);
}

/// Evidence against a world's log, in which nobody forks it.
fn make_evidence(world: &World, elsewhere: &Path) -> Evidence {
    let copy = world.copy_to(elsewhere).unwrap();
    copy.copy_log("fork").unwrap();
    copy.publish(&trial_release(3)).unwrap();
    copy.publish_to("fork", &trial_release(4)).unwrap();
    let heads = ["log", "fork"].map(|log| copy.head_of(log).unwrap());
    Evidence::from_heads(&heads[0], &heads[1], &[]).unwrap()
}

/// A disk on which something happens once a trial is written down, before its first command runs.
fn run_during_trial(world: &World, happens: impl Fn() + Send + Sync + 'static) -> Storage {
    let journal = world.config.cycle.install_root.join("journal.json");
    let before = AtomicBool::new(true);
    Storage::with_hook(move |step| {
        if *step == WriteStep::Rename(journal.clone()) && before.swap(false, Ordering::SeqCst) {
            happens();
        }
        Ok(())
    })
}

/// Nothing of that is the release's fault: it is not left alone for a while afterwards.
#[tokio::test]
async fn what_is_found_out_during_pre_install_stops_the_switch_and_leaves_no_trial_open() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let store = EvidenceStore::new(
        &world.config.cycle.state,
        &world.config.cycle.policy.log,
        Storage::default(),
    );
    let evidence = make_evidence(&world, &place.path().join("elsewhere"));
    world.write_config().unwrap();
    let path = world.directory.join("client/unanimity.toml");
    world.config = unanimity_config::load_client_config(&path, world.clock.now()).unwrap();
    let (diary, id) = (hook_log_path(&mut world), evidence.id());
    world.config.cycle.hooks.pre_install = logging_command(&diary, "");
    world.config.cycle.hooks.post_install = logging_command(&diary, "");
    let both = ["pre_install 2-1.1.0 after 1-1.0.0", "post_install 1-1.0.0 after 2-1.1.0"];
    let journal = install_root(&world).journal().unwrap();
    let is_as_before = |world: &World| {
        assert_eq!(read_lines(&diary), both);
        fs::remove_file(&diary).unwrap();
        assert_eq!(install_root(world).journal().unwrap(), journal);
        assert_eq!(installed_sequence(world), Some(1));
    };
    let told = fs::read_to_string(&path).unwrap();
    let changed = format!("{told}# Written anew.\n");
    let config = path.clone();
    world.disk = run_during_trial(&world, move || fs::write(&config, &changed).unwrap());
    let ended = world.update().await.1;
    assert!(matches!(ended, Err(CycleError::Client(ClientError::Config(_)))), "{ended:?}");
    is_as_before(&world);
    fs::write(&path, told).unwrap();
    let adding = store.clone();
    world.disk = run_during_trial(&world, move || drop(adding.add(&evidence).unwrap()));
    let ended = world.update().await.1;
    assert!(matches!(ended, Err(CycleError::LogForked(_))), "{ended:?}");
    is_as_before(&world);
    store.acknowledge(&id).unwrap();
    world.disk = Storage::default();
    expect_update_installs(&mut world, 2).await;
}

/// A command that was at work when we were killed would go on beside those of the way back.
#[tokio::test]
async fn what_an_interrupted_trial_left_at_work_is_killed_before_it_is_undone() {
    let place = scratch_dir();
    let mut world = world_with_three_releases(&place.path().join("world")).await;
    let trial = Trial::new(version_label(3), Some(version_label(2)), false);
    let start = |mark: &str| {
        let mut command = Command::new("/bin/sh");
        // In a group and a session of its own, and with a child.
        let script = "trap '' TERM INT HUP; (sleep 600) & echo $!; echo $$; wait";
        command.args(["-c", script]).env("UNANIMITY_TRIAL", mark).process_group(0);
        let mut started = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut pids = BufReader::new(started.stdout.take().unwrap()).lines();
        let pids = [pids.next().unwrap().unwrap(), pids.next().unwrap().unwrap()];
        (started, pids)
    };
    let (mut ours, pids) = start(&trial.process_tag);
    let (mut others, _) = start(&format!("{}0", trial.process_tag));
    // Nothing runs before they are gone.
    world.config.cycle.hooks.post_install =
        shell_command(&format!("grep -sq sleep /proc/{}/cmdline && exit 7; exit 0", pids[0]));
    leave_trial_open(&world, trial.clone());
    // Anybody may read it, and nobody is to pass for what it left.
    let journal = install_root(&world).journal().unwrap().text();
    assert!(!journal.contains(&trial.process_tag) && journal.contains(&trial.sha256));
    let said = install_root(&world).recover(world.clock.now()).await.unwrap().unwrap();
    assert!(said.contains("its trial was interrupted; 2-1.1.0 is installed again"), "{said}");
    pids.iter().for_each(|pid| wait_until_gone(pid));
    assert_eq!(ours.wait().unwrap().signal(), Some(9));
    assert!(others.try_wait().unwrap().is_none());
    kill_process_group(Pid::from_child(&others), Signal::KILL).unwrap();
    others.wait().unwrap();
}
