//! A release that was switched to has to work, or the one before comes back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use unanimity_client::{ClientError, CycleError, CycleOutcome};
use unanimity_config::HookSettings;
use unanimity_install::journal::{FailedRelease, Journal, MAX_BACKOFF, MIN_BACKOFF, Trial};
use unanimity_install::{InstallRefusal, RollbackError};
use unanimity_protocol::{Refusal, Timestamp};
use unanimity_storage::{Clock as _, Storage, WriteStep};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::trial::*;
use unanimity_testkit::{ReleaseSpec, World};

#[tokio::test]
async fn what_is_configured_runs_around_a_switch_in_order_and_sees_what_is_switched() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let diary = hook_log_path(&mut world);
    let root = world.config.cycle.install_root.clone();
    let current = format!("readlink {}/current >> {}", root.display(), diary.display());
    let procedure = &mut world.config.cycle.hooks;
    procedure.pre_install = logging_command(&diary, &current);
    procedure.post_install = logging_command(&diary, &current);
    // It runs the very version that it is asked about.
    let output = format!("sh $UNANIMITY_DIRECTORY/hello >> {}", diary.display());
    procedure.check = logging_command(&diary, &output);
    // It changes nothing any more, whatever it comes to; by then the journal says that it is good.
    let good = format!(
        "grep -c trial...null {}/journal.json >> {}; false",
        root.display(),
        diary.display()
    );
    procedure.on_success = logging_command(&diary, &good);
    expect_update_installs(&mut world, 2).await;
    let expected = [
        "pre_install 2-1.1.0 after 1-1.0.0",
        "versions/1-1.0.0",
        "post_install 2-1.1.0 after 1-1.0.0",
        "versions/2-1.1.0",
        "check 2-1.1.0 after 1-1.0.0",
        "release 2",
        "when_good 2-1.1.0 after 1-1.0.0",
        "1",
    ];
    assert_eq!(read_lines(&diary), expected);
    // Nothing is new, and nothing runs.
    expect_update_up_to_date(&mut world).await;
    assert_eq!(read_lines(&diary), expected);
}

#[tokio::test]
async fn a_release_that_fails_its_check_gives_way_to_the_one_before_and_is_tried_again_ever_later()
{
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let diary = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&diary, "");
    world.config.cycle.hooks.check = logging_command(&diary, "echo no answer >&2; exit 3");
    let mut wait = MIN_BACKOFF;
    for times in 1..=10 {
        fs::remove_file(&diary).ok();
        let tried = world.clock.now();
        let (_, why, until) = expect_update_unhealthy(&mut world).await;
        assert_eq!(why, "check failed (exit status: 3): no answer; 1-1.0.0 is installed again");
        assert_eq!(until, Some(tried.after(wait)), "failure {times}");
        let ran = [
            "post_install 2-1.1.0 after 1-1.0.0",
            "check 2-1.1.0 after 1-1.0.0",
            "post_install 1-1.0.0 after 2-1.1.0",
        ];
        assert_eq!(read_lines(&diary), ran);
        assert_eq!(installed_sequence(&world), Some(1));
        // Until then it is left alone, whoever asks.
        advance_and_poll(&mut world, wait - Duration::from_secs(1)).await;
        assert_eq!(expect_update_unhealthy(&mut world).await.2, until);
        assert!(matches!(
            world.check().await.1,
            Err(CycleError::Install(InstallRefusal::Unhealthy { .. }))
        ));
        assert_eq!(read_lines(&diary), ran);
        advance_and_poll(&mut world, Duration::from_secs(1)).await;
        wait = (2 * wait).min(MAX_BACKOFF);
    }
    assert_eq!(wait, MAX_BACKOFF);
    // Whatever kept it from working is over: it was never given up.
    world.config.cycle.hooks.check = logging_command(&diary, "");
    expect_update_installs(&mut world, 2).await;
    assert_eq!(install_root(&world).journal().unwrap().failed.len(), 0);
}

#[tokio::test]
async fn a_newer_release_does_not_wait_for_one_that_failed() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    world.config.cycle.hooks.check = shell_command("test $UNANIMITY_RELEASE != 2-1.1.0");
    expect_update_unhealthy(&mut world).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    assert_eq!(install_root(&world).journal().unwrap().failed.len(), 0);
    assert_eq!(install_root(&world).floor().unwrap(), 3);
}

#[tokio::test]
async fn what_a_trial_left_beside_the_artifact_is_not_in_the_next_try() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let litter = "cd $UNANIMITY_DIRECTORY && chmod 600 hello && echo unsigned > log; false";
    world.config.cycle.hooks.check = shell_command(litter);
    expect_update_unhealthy(&mut world).await;
    let versions = world.config.cycle.install_root.join("versions");
    let names: Vec<_> =
        fs::read_dir(&versions).unwrap().map(|name| name.unwrap().file_name()).collect();
    assert_eq!(names, ["1-1.0.0"]);
    world.config.cycle.hooks.check = shell_command("test -x $UNANIMITY_DIRECTORY/hello");
    advance_and_poll(&mut world, MIN_BACKOFF).await;
    expect_update_installs(&mut world, 2).await;
    assert_eq!(fs::read_dir(versions.join("2-1.1.0")).unwrap().count(), 1);
}

#[tokio::test]
async fn the_first_release_that_fails_leaves_nothing_installed() {
    let place = scratch_dir();
    let mut world =
        World::create(&place.path().join("world"), 8, Timestamp(1_790_000_000)).unwrap();
    world.config.cycle.hooks.check = shell_command("false");
    publish_and_settle(&mut world, 1).await;
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert_eq!(why, "check failed (exit status: 1); nothing is installed, as before");
    assert_eq!(installed_sequence(&world), None);
    assert!(!world.config.cycle.install_root.join("current").is_symlink());
}

#[tokio::test]
async fn where_the_version_before_is_gone_the_new_one_stays_and_says_so() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let before = world.config.cycle.install_root.join("versions/1-1.0.0");
    world.config.cycle.hooks.check = shell_command(&format!("rm -r {}; false", before.display()));
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert!(why.ends_with("; 1-1.0.0 is not there any more as it was, so 2-1.1.0 stays"), "{why}");
    assert_eq!(installed_sequence(&world), Some(2));
    assert_eq!(install_root(&world).journal().unwrap().trial, None);
}

#[tokio::test]
async fn where_pre_install_fails_nothing_is_switched() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let diary = hook_log_path(&mut world);
    world.config.cycle.hooks.pre_install = logging_command(&diary, "exit 1");
    world.config.cycle.hooks.check = logging_command(&diary, "");
    let (_, why, until) = expect_update_unhealthy(&mut world).await;
    assert_eq!(why, "pre_install failed (exit status: 1); 1-1.0.0 stays installed");
    assert!(until.is_some());
    assert_eq!(read_lines(&diary), ["pre_install 2-1.1.0 after 1-1.0.0"]);
    assert_eq!(installed_sequence(&world), Some(1));
    assert!(!world.config.cycle.install_root.join("versions/2-1.1.0").exists());
    advance_and_poll(&mut world, MIN_BACKOFF).await;
    world.config.cycle.hooks.pre_install = Vec::new();
    expect_update_installs(&mut world, 2).await;
}

#[tokio::test]
async fn post_install_and_a_unit_that_does_not_restart_count_as_the_check_does() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    world.config.cycle.hooks.post_install = shell_command("test $UNANIMITY_RELEASE = 1-1.0.0");
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert!(why.starts_with("post_install failed (exit status: 1); 1-1.0.0 is"), "{why}");
    advance_and_poll(&mut world, MIN_BACKOFF).await;
    world.config.cycle.hooks.post_install = Vec::new();
    world.config.cycle.hooks.restart = Some("there-is-no-such-unit.service".to_owned());
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert!(why.starts_with("restart "), "{why}");
    assert!(why.contains("on the way back, restart"), "{why}");
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn a_check_that_hangs_forks_and_ignores_sigterm_is_killed_with_what_it_started() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let pids = place.path().join("pids");
    let hang =
        format!("trap '' TERM INT HUP; echo $$ >> {}; while :; do sleep 60; done", pids.display());
    world.config.cycle.hooks.check = shell_command(&format!("({hang}) & ({hang}) & {hang}"));
    world.config.cycle.hooks.check_timeout = Duration::from_secs(1);
    let began = Instant::now();
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(why.starts_with("check did not end within 1 s and was killed"), "{why}");
    assert_eq!(installed_sequence(&world), Some(1));
    read_lines(&pids).iter().for_each(|pid| wait_until_gone(pid));
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_no_fault_of_a_release() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let text = place.path().join("text");
    fs::write(&text, "no program").unwrap();
    for program in ["/no/such/program", "/tmp", text.to_str().unwrap()] {
        world.config.cycle.hooks.check = to_command(&[program]);
        let ended = world.update().await.1;
        let Err(CycleError::Client(error @ ClientError::Command(_))) = ended else {
            panic!("{ended:?}")
        };
        assert!(error.to_string().contains(&format!("[install] {program} cannot be run")));
        assert_eq!(installed_sequence(&world), Some(1));
        assert_eq!(install_root(&world).journal().unwrap().failed.len(), 0);
    }
}

#[tokio::test]
async fn of_what_a_command_says_the_end_is_told() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let script = "i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done >&2; echo the end >&2; false";
    world.config.cycle.hooks.check = shell_command(script);
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert!(why.starts_with("check failed (exit status: 1): …"), "{why}");
    assert!(why.contains("line 39999 the end; 1-1.0.0 is installed again"), "{why}");
}

#[tokio::test]
async fn commands_get_words_and_no_shell_and_next_to_nothing_of_our_environment() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let seen = place.path().join("seen");
    let script = place.path().join("script");
    fs::write(
        &script,
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {0}\nenv >> {0}\n", seen.display()),
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    world.config.cycle.hooks.check =
        to_command(&[script.to_str().unwrap(), "$(id) `id` ; rm *", ""]);
    expect_update_installs(&mut world, 2).await;
    let seen = read_lines(&seen);
    assert_eq!(seen[..2], ["$(id) `id` ; rm *", ""]);
    let known = ["PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"];
    for line in &seen[2..] {
        let name = line.split('=').next().unwrap();
        assert!(known.contains(&name) || name.starts_with("UNANIMITY_"), "{line}");
    }
}

#[tokio::test]
async fn as_many_versions_are_kept_as_configured_and_their_proofs() {
    for keep in [2, 3, 4] {
        let place = scratch_dir();
        let mut world = world_before_install(&place.path().join("world")).await;
        world.config.cycle.hooks.keep = keep;
        for sequence in 2..=6 {
            if sequence > 2 {
                publish_and_settle(&mut world, sequence).await;
            }
            expect_update_installs(&mut world, sequence).await;
            for directory in ["versions", "proofs"] {
                let names = fs::read_dir(world.config.cycle.install_root.join(directory)).unwrap();
                let mut names: Vec<String> = names
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .filter(|name| !name.starts_with('.'))
                    .collect();
                names.sort();
                let first = (sequence + 1).saturating_sub(keep as u64).max(1);
                let kept: Vec<String> = (first..=sequence).map(version_label).collect();
                assert_eq!(names, kept, "{directory}");
            }
        }
    }
}

#[tokio::test]
async fn going_back_by_hand_never_lowers_the_floor() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let diary = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&diary, "");
    let now = world.clock.now();
    let back = install_root(&world).roll_back(None, now).await.unwrap();
    assert_eq!((back.installed.unwrap().sequence, back.problem), (1, None));
    assert_eq!(installed_sequence(&world), Some(1));
    assert_eq!(read_lines(&diary), ["post_install 1-1.0.0 after 2-1.1.0"]);
    // What was left is not installed again by itself, nor is it said to be available.
    advance_and_poll(&mut world, HOUR).await;
    expect_update_up_to_date(&mut world).await;
    // Also by whoever has no other memory than the install root: a fetcher whose installer is another.
    fs::remove_dir_all(world.config.cycle.state.join("client")).unwrap();
    let old = world.update().await.1;
    assert!(
        matches!(old, Err(CycleError::Refused(Refusal::SequenceRollback { floor: 2, .. }))),
        "{old:?}"
    );
    expect_update_up_to_date(&mut world).await;
    assert_eq!(installed_sequence(&world), Some(1));
    // By hand it may be, and something newer is.
    install_root(&world).roll_back(Some(&version_label(2)), now).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(2));
    install_root(&world).roll_back(None, now).await.unwrap();
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    // The one before is the one that was there before, not the one with the next smaller number.
    install_root(&world).roll_back(None, now).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn there_is_no_way_back_to_what_did_not_prove_good_or_is_not_there() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    world.config.cycle.hooks.check = shell_command("test $UNANIMITY_RELEASE != 2-1.1.0");
    expect_update_unhealthy(&mut world).await;
    let now = world.clock.now();
    let ended = install_root(&world).roll_back(None, now).await;
    assert!(matches!(ended, Err(RollbackError::NoVersion { wanted: None, .. })), "{ended:?}");
    for wanted in ["2-1.1.0", "9-9", "", "../..", "1", "\u{1b}[2J"] {
        let ended =
            install_root(&world).roll_back(Some(wanted), now).await.unwrap_err().to_string();
        assert!(ended.ends_with(&format!("no version {wanted} here that proved good")), "{ended}");
    }
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    fs::remove_dir_all(world.config.cycle.install_root.join("versions/1-1.0.0")).unwrap();
    let ended = install_root(&world).roll_back(None, now).await;
    assert!(matches!(ended, Err(RollbackError::NoVersion { .. })), "{ended:?}");
    assert_eq!(installed_sequence(&world), Some(3));
}

#[tokio::test]
async fn going_back_by_hand_says_what_does_not_work_and_stays_there() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    world.config.cycle.hooks.check = shell_command("echo worse >&2; false");
    let back = install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    let why = "check failed (exit status: 1): worse";
    assert_eq!(back.problem.as_deref(), Some(why));
    assert_eq!(installed_sequence(&world), Some(1));
    // That is kept until it works, or its operator says so.
    let failed = || install_root(&world).journal().unwrap().failed;
    assert_eq!(failed()[&version_label(1)].why, why);
    let working = install_root(&world).with_hooks(HookSettings::default());
    working.roll_back(Some(&version_label(1)), world.clock.now()).await.unwrap();
    assert!(failed().is_empty());
    install_root(&world).roll_back(Some(&version_label(1)), world.clock.now()).await.unwrap();
    assert_eq!(install_root(&world).mark_good(None).await.unwrap(), (version_label(1), true));
    assert!(failed().is_empty());
}

#[tokio::test]
async fn the_operators_word_lets_a_release_pass_that_the_check_would_not() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let no_trial = install_root(&world).mark_good(None).await;
    assert!(matches!(no_trial, Err(RollbackError::NoTrial(None))), "{no_trial:?}");
    world.config.cycle.hooks.check = shell_command("false");
    expect_update_unhealthy(&mut world).await;
    let other = install_root(&world).mark_good(Some("3-1.2.0")).await;
    assert!(matches!(other, Err(RollbackError::NoTrial(Some(_)))), "{other:?}");
    assert_eq!(install_root(&world).mark_good(None).await.unwrap(), (version_label(2), false));
    // For the check only.
    world.config.cycle.hooks.post_install = shell_command("test $UNANIMITY_RELEASE = 1-1.0.0");
    expect_update_unhealthy(&mut world).await;
    assert_eq!(
        install_root(&world).mark_good(Some(&version_label(2))).await.unwrap(),
        (version_label(2), false)
    );
    world.config.cycle.hooks.post_install = Vec::new();
    expect_update_installs(&mut world, 2).await;
    // And for that release only, once.
    assert_eq!(install_root(&world).journal().unwrap().approved, None);
    publish_and_settle(&mut world, 3).await;
    expect_update_unhealthy(&mut world).await;
    assert_eq!(installed_sequence(&world), Some(2));
}

#[tokio::test]
async fn while_a_trial_lasts_nobody_else_switches() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let lock =
        Storage::default().lock(&world.config.cycle.install_root.join("proofs")).unwrap().unwrap();
    let back =
        install_root(&world).roll_back(None, world.clock.now()).await.unwrap_err().to_string();
    assert!(back.contains("another unanimity is installing"), "{back}");
    let marked = install_root(&world).mark_good(None).await.unwrap_err().to_string();
    assert!(marked.contains("another unanimity is installing"), "{marked}");
    publish_and_settle(&mut world, 3).await;
    assert!(matches!(world.update().await.1, Err(CycleError::Client(_))));
    drop(lock);
    expect_update_installs(&mut world, 3).await;
}

#[test]
fn a_release_that_failed_waits_from_then_on_by_a_clock_that_was_not_put_back() {
    let now = Timestamp(1_790_000_000);
    let hour = |times: u64| Timestamp(1_790_000_000 + times * 3600);
    let failed = FailedRelease { times: 4, last: now, why: "no".to_owned() };
    assert_eq!(failed.backoff_until(), now.after(8 * MIN_BACKOFF));
    let longest = FailedRelease { times: u32::MAX, ..failed.clone() };
    assert_eq!(longest.backoff_until(), now.after(MAX_BACKOFF));
    let journal = Journal { failed: [(version_label(2), failed)].into(), ..Journal::default() };
    for (release, at, waits) in [
        (version_label(2), now, true),
        (version_label(2), hour(1), true),
        (version_label(2), hour(2), false),
        (version_label(2), Timestamp(0), false),
        (version_label(3), now, false),
    ] {
        assert_eq!(journal.check_can_install(&release, at).is_err(), waits, "{release} at {at}");
    }
}

/// What somebody else does to the root between the choice of a release and the switch to it.
async fn update_with_interference(
    world: &mut World,
    done: impl Fn(&Path) + Send + Sync + 'static,
) -> Result<CycleOutcome, CycleError> {
    let root = world.config.cycle.install_root.clone();
    let (asked, staged) = (AtomicBool::new(false), root.join("versions/.2-1.1.0.new"));
    world.disk = Storage::with_hook(move |step| {
        // The artifact has got its name.
        if *step == WriteStep::SyncDir(staged.clone()) && !asked.swap(true, Ordering::SeqCst) {
            done(&root);
        }
        Ok(())
    });
    let ended = world.update().await.1;
    world.disk = Storage::default();
    ended
}

fn write_version(root: &Path, sequence: u64) {
    let directory = root.join("versions").join(version_label(sequence));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("hello"), release_bytes(sequence)).unwrap();
}

fn set_current(root: &Path, sequence: u64) {
    fs::remove_file(root.join("current")).unwrap();
    symlink(Path::new("versions").join(version_label(sequence)), root.join("current")).unwrap();
}

#[tokio::test]
async fn what_another_process_installed_meanwhile_is_neither_replaced_nor_taken_away() {
    for installed in [2, 3] {
        let place = scratch_dir();
        let mut world = world_before_install(&place.path().join("world")).await;
        let ended = update_with_interference(&mut world, move |root| {
            write_version(root, installed);
            set_current(root, installed);
        });
        let ended = ended.await;
        assert!(
            matches!(ended, Err(CycleError::Refused(Refusal::SequenceRollback { .. }))),
            "{ended:?}"
        );
        assert_eq!(installed_sequence(&world), Some(installed));
    }
}

#[tokio::test]
async fn what_another_process_left_on_trial_meanwhile_is_undone_first() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    world.config.cycle.hooks.pre_install = shell_command("test $UNANIMITY_BEFORE = 1-1.0.0");
    let ended = update_with_interference(&mut world, |root| {
        write_version(root, 3);
        set_current(root, 3);
        let trial = Trial::new(version_label(3), Some(version_label(1)), false);
        let journal =
            Journal { trial: Some(trial), good: vec![version_label(1)], ..Journal::default() };
        fs::write(root.join("journal.json"), journal.text()).unwrap();
    });
    assert!(matches!(ended.await, Ok(CycleOutcome::Installed(_))));
    assert_eq!(installed_sequence(&world), Some(2));
    assert!(install_root(&world).journal().unwrap().failed.contains_key(&version_label(3)));
}

#[tokio::test]
async fn no_number_of_kept_versions_lowers_the_floor() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    install_root(&world).roll_back(Some(&version_label(2)), world.clock.now()).await.unwrap();
    world.config.cycle.hooks.keep = 2;
    world.config.cycle.hooks.check = shell_command("false");
    publish_and_settle(&mut world, 4).await;
    expect_update_unhealthy(&mut world).await;
    assert!(!world.config.cycle.install_root.join("versions").join(version_label(3)).exists());
    assert_eq!((installed_sequence(&world), install_root(&world).floor().unwrap()), (Some(2), 3));
}

#[tokio::test]
async fn neither_a_lost_journal_entry_nor_an_old_journal_lowers_the_floor() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let path = world.config.cycle.install_root.join("journal.json");
    let before = fs::read(&path).unwrap();
    expect_update_installs(&mut world, 2).await;
    // As if it had been stopped between `current` and the journal.
    fs::write(&path, before).unwrap();
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!((installed_sequence(&world), install_root(&world).floor().unwrap()), (Some(1), 2));
    // A journal that says nothing of a floor, of which the highest version makes room.
    let mut journal = Journal { floor: 0, ..install_root(&world).journal().unwrap() };
    journal.good = vec![version_label(2), version_label(1)];
    fs::write(&path, journal.text()).unwrap();
    world.config.cycle.hooks.keep = 2;
    world.config.cycle.hooks.check = shell_command("false");
    publish_and_settle(&mut world, 3).await;
    expect_update_unhealthy(&mut world).await;
    assert_eq!((installed_sequence(&world), install_root(&world).floor().unwrap()), (Some(1), 2));
}

#[tokio::test]
async fn a_long_check_is_waited_for_from_its_end_on() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    // It takes no time here, and the clock goes on meanwhile as if it did.
    let (clock, began) = (world.clock.clone(), world.clock.now());
    let version = world.config.cycle.install_root.join("current");
    let disk = Storage::with_hook(move |step| {
        if *step == WriteStep::Rename(version.clone()) {
            clock.set(began.after(HOUR));
        }
        Ok(())
    });
    world.config.cycle.hooks.check = shell_command("false");
    world.disk = disk;
    let (_, _, until) = expect_update_unhealthy(&mut world).await;
    assert_eq!(until, Some(began.after(HOUR).after(MIN_BACKOFF)));
}

#[tokio::test]
async fn a_roll_that_grew_too_old_in_pre_install_is_a_failure_with_its_wait() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let (clock, began) = (world.clock.clone(), world.clock.now());
    let journal = world.config.cycle.install_root.join("journal.json");
    world.disk = Storage::with_hook(move |step| {
        if *step == WriteStep::Rename(journal.clone()) {
            clock.set(began.after(HOUR));
        }
        Ok(())
    });
    let diary = hook_log_path(&mut world);
    world.config.cycle.hooks.pre_install = logging_command(&diary, "");
    world.config.cycle.hooks.post_install = logging_command(&diary, "");
    let (_, why, until) = expect_update_unhealthy(&mut world).await;
    assert!(why.contains("is too old by now") && why.ends_with("1-1.0.0 stays installed"), "{why}");
    assert!(until.is_some());
    // What pre_install did is undone.
    let ran = ["pre_install 2-1.1.0 after 1-1.0.0", "post_install 1-1.0.0 after 2-1.1.0"];
    assert_eq!(read_lines(&diary), ran);
}

#[tokio::test]
async fn a_version_that_is_not_whole_is_not_gone_back_to() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let file = world.config.cycle.install_root.join("versions/1-1.0.0/hello");
    for damage in [&b"another program"[..], b""] {
        fs::remove_file(&file).ok();
        if !damage.is_empty() {
            fs::write(&file, damage).unwrap();
        }
        let ended = install_root(&world).roll_back(None, world.clock.now()).await;
        assert!(matches!(ended, Err(RollbackError::NoVersion { .. })), "{ended:?}");
        assert_eq!(installed_sequence(&world), Some(2));
    }
    // Nor what nobody can say of what was signed.
    fs::write(&file, release_bytes(1)).unwrap();
    let proof = world.config.cycle.install_root.join("proofs/1-1.0.0");
    let whole = fs::read(&proof).unwrap();
    fs::remove_file(&proof).unwrap();
    let ended = install_root(&world).roll_back(None, world.clock.now()).await;
    assert!(matches!(ended, Err(RollbackError::NoVersion { .. })), "{ended:?}");
    fs::write(&proof, whole).unwrap();
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn of_several_that_failed_the_newest_is_vouched_for_and_only_for_one_try() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let failed = FailedRelease { times: 1, last: Timestamp(0), why: String::new() };
    let failed = ["9-1.9", "10-1.10"].map(|release| (release.to_owned(), failed.clone()));
    let journal =
        Journal { good: vec![version_label(1)], failed: failed.into(), ..Journal::default() };
    fs::write(world.config.cycle.install_root.join("journal.json"), journal.text()).unwrap();
    assert_eq!(install_root(&world).mark_good(None).await.unwrap(), ("10-1.10".to_owned(), false));
    world.config.cycle.hooks.check = shell_command("false");
    expect_update_unhealthy(&mut world).await;
    install_root(&world).mark_good(Some(&version_label(2))).await.unwrap();
    world.config.cycle.hooks.post_install = shell_command("test $UNANIMITY_RELEASE = 1-1.0.0");
    expect_update_unhealthy(&mut world).await;
    world.config.cycle.hooks.post_install = Vec::new();
    advance_and_poll(&mut world, HOUR).await;
    assert!(expect_update_unhealthy(&mut world).await.1.starts_with("check failed"));
}

#[tokio::test]
async fn a_check_that_fails_leaves_nobody_at_work_and_talks_in_one_line() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let pid = place.path().join("pid");
    let words = "yes 'a word' | tr -d r | head -c 100000 >&2";
    world.config.cycle.hooks.check = shell_command(&format!(
        "sleep 60 2>/dev/null & echo $! > {}; {words}; false",
        pid.display()
    ));
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert!(why.len() < 2000 && !why.contains('\n'), "{why}");
    wait_until_gone(&read_lines(&pid)[0]);
    assert!(install_root(&world).journal().is_ok());
}

#[tokio::test]
async fn a_journal_that_is_damaged_is_an_error_and_one_that_is_gone_is_made_anew() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let path = world.config.cycle.install_root.join("journal.json");
    let whole = fs::read_to_string(&path).unwrap();
    let odd = Journal { good: vec!["../../etc".to_owned()], ..Journal::default() };
    let failed = FailedRelease { times: 1, last: Timestamp(0), why: String::new() };
    let failed = [("x".to_owned(), failed)].into();
    let other = Journal { failed, ..Journal::default() };
    let half = &whole[..whole.len() / 2];
    for text in ["", "{}", half, &odd.text(), &other.text(), &whole.replace("good", "bad")] {
        fs::write(&path, text).unwrap();
        let error = install_root(&world).journal().unwrap_err().to_string();
        assert!(error.contains("journal.json is damaged: remove it"), "{error}");
        assert!(matches!(world.update().await.1, Err(CycleError::Client(_))));
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(install_root(&world).journal().unwrap().good, [version_label(1), version_label(2)]);
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn the_very_file_that_was_verified_is_handed_over_and_the_one_before_on_the_way_back() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    let system = place.path().join("system");
    let procedure = &mut world.config.cycle.hooks;
    // A system's installer with a place of its own; what it gets is an open file of ours.
    let script = format!(
        "case $2 in /proc/self/fd/*) cat $2 > {}; test $1 = -i && cmp $2 $3;; *) false;; esac",
        system.display()
    );
    procedure.handover = to_command(&["/bin/sh", "-c", &script, "sh", "-i", "{}", "{path}"]);
    procedure.check = shell_command(&format!("sh {} | grep -q 'release 2'", system.display()));
    expect_update_installs(&mut world, 2).await;
    assert_eq!(fs::read(&system).unwrap(), release_bytes(2));
    publish_and_settle(&mut world, 3).await;
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert_eq!(why, "check failed (exit status: 1); 2-1.1.0 is installed again");
    assert_eq!(fs::read(&system).unwrap(), release_bytes(2));
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!(fs::read(&system).unwrap(), release_bytes(1));
    // Only what was signed is handed over, whatever lies there.
    let file = world.config.cycle.install_root.join("versions/2-1.1.0/hello");
    fs::remove_file(&file).unwrap();
    fs::write(&file, b"another program").unwrap();
    let ended = install_root(&world).roll_back(Some(&version_label(2)), world.clock.now()).await;
    assert!(matches!(ended, Err(RollbackError::NoVersion { .. })), "{ended:?}");
    assert_eq!(fs::read(&system).unwrap(), release_bytes(1));
    fs::remove_file(&file).unwrap();
    fs::write(&file, release_bytes(2)).unwrap();
    // What cannot be handed over is not gone back to.
    world.config.cycle.hooks.handover = to_command(&["/bin/false", "{}"]);
    let ended = install_root(&world).roll_back(Some(&version_label(2)), world.clock.now()).await;
    assert!(matches!(ended, Err(RollbackError::Handover(_))), "{ended:?}");
    assert_eq!(installed_sequence(&world), Some(1));
}

/// A package of Debian's with one file, `hello`.
fn package(directory: &Path, version: &str) -> Vec<u8> {
    let tree = directory.join(version);
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: hello\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: says hello\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::write(tree.join("hello"), format!("hello {version}")).unwrap();
    let file = directory.join(format!("{version}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(&tree).arg(&file);
    assert!(build.output().unwrap().status.success());
    fs::read(file).unwrap()
}

#[tokio::test]
async fn a_package_is_handed_over_to_dpkg_and_the_one_before_is_when_it_does_not_work() {
    let place = scratch_dir();
    let mut world =
        World::create(&place.path().join("world"), 9, Timestamp(1_790_000_000)).unwrap();
    let system = place.path().join("system");
    fs::create_dir_all(system.join("var/lib/dpkg/updates")).unwrap();
    fs::create_dir_all(system.join("var/lib/dpkg/info")).unwrap();
    fs::write(system.join("var/lib/dpkg/status"), "").unwrap();
    let own_root = ["/usr/bin/unshare", "--user", "--map-root-user"];
    let root_option = format!("--root={}", system.display());
    let log = place.path().join("dpkg.log");
    let log_option = format!("--log={}", log.display());
    let dpkg = ["/usr/bin/dpkg", &root_option, &log_option, "-i", "{}"];
    let is_root = rustix::process::geteuid().is_root();
    let handover = if is_root { dpkg.to_vec() } else { [&own_root[..], &dpkg].concat() };
    world.config.cycle.hooks.handover = to_command(&handover);
    world.config.cycle.hooks.check =
        shell_command(&format!("grep -q 'hello 1.0' {}/hello", system.display()));
    for (sequence, version, works) in [(1, "1.0", true), (2, "1.1", false)] {
        let package = package(place.path(), version);
        let release = ReleaseSpec::new(sequence, VERSIONS[sequence as usize - 1], &package);
        world.publish(&ReleaseSpec { file: "hello.deb", ..release }).unwrap();
        world.poll_all().await.unwrap();
        world.check().await.1.unwrap_err();
        advance_and_poll(&mut world, HOUR + Duration::from_secs(60)).await;
        let ended = world.update().await.1;
        assert_eq!(ended.is_ok(), works, "{ended:?}");
        assert_eq!(fs::read(system.join("hello")).unwrap(), b"hello 1.0");
        let status = fs::read_to_string(system.join("var/lib/dpkg/status")).unwrap();
        assert!(status.contains("Version: 1.0\n"), "{status}");
        assert_eq!(world.installed_version().unwrap().unwrap().sequence, 1);
    }
    let log = fs::read_to_string(log).unwrap();
    let upgrades = ["upgrade hello:all 1.0 1.1", "upgrade hello:all 1.1 1.0"];
    assert!(upgrades.iter().all(|upgrade| log.contains(upgrade)), "{log}");
}
