//! Claims about hooks, trials and roll-backs: a version must prove good, or the one before is
//! restored.

use std::collections::BTreeSet;
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
async fn hooks_run_in_order_around_a_switch() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let hook_log = hook_log_path(&mut world);
    let root = world.config.cycle.install_root.clone();
    let current = format!("readlink {}/current >> {}", root.display(), hook_log.display());
    let hooks = &mut world.config.cycle.hooks;
    hooks.pre_install = logging_command(&hook_log, &current);
    hooks.post_install = logging_command(&hook_log, &current);
    // The check runs the new version.
    let output = format!("sh $UNANIMITY_DIRECTORY/hello >> {}", hook_log.display());
    hooks.check = logging_command(&hook_log, &output);
    // A failure of `on_success` changes nothing. The journal already names the version as good.
    let good = format!(
        "grep -c trial...null {}/journal.json >> {}; false",
        root.display(),
        hook_log.display()
    );
    hooks.on_success = logging_command(&hook_log, &good);
    expect_update_installs(&mut world, 2).await;
    let expected = [
        "pre_install 2-1.1.0 after 1-1.0.0",
        "versions/1-1.0.0",
        "post_install 2-1.1.0 after 1-1.0.0",
        "versions/2-1.1.0",
        "check 2-1.1.0 after 1-1.0.0",
        "release 2",
        "on_success 2-1.1.0 after 1-1.0.0",
        "1",
    ];
    assert_eq!(read_lines(&hook_log), expected);
    // Without a new release, no hook runs.
    expect_update_up_to_date(&mut world).await;
    assert_eq!(read_lines(&hook_log), expected);
}

#[tokio::test]
async fn failed_release_is_undone_and_retried_with_growing_backoff() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let hook_log = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&hook_log, "");
    world.config.cycle.hooks.check = logging_command(&hook_log, "echo no answer >&2; exit 3");
    let mut wait = MIN_BACKOFF;
    for times in 1..=10 {
        fs::remove_file(&hook_log).ok();
        let tried = world.clock.now();
        let (_, why, until) = expect_update_unhealthy(&mut world).await;
        assert_eq!(why, "check failed (exit status: 3): no answer; 1-1.0.0 is installed again");
        assert_eq!(until, Some(tried.after(wait)), "failure {times}");
        let ran = [
            "post_install 2-1.1.0 after 1-1.0.0",
            "check 2-1.1.0 after 1-1.0.0",
            "post_install 1-1.0.0 after 2-1.1.0",
        ];
        assert_eq!(read_lines(&hook_log), ran);
        assert_eq!(installed_sequence(&world), Some(1));
        // Neither an update nor a check runs hooks before the next try.
        advance_and_poll(&mut world, wait - Duration::from_secs(1)).await;
        assert_eq!(expect_update_unhealthy(&mut world).await.2, until);
        assert!(matches!(
            world.check().await.1,
            Err(CycleError::Install(InstallRefusal::Unhealthy { .. }))
        ));
        assert_eq!(read_lines(&hook_log), ran);
        advance_and_poll(&mut world, Duration::from_secs(1)).await;
        wait = (2 * wait).min(MAX_BACKOFF);
    }
    assert_eq!(wait, MAX_BACKOFF);
    // The release works at last, and installs.
    world.config.cycle.hooks.check = logging_command(&hook_log, "");
    expect_update_installs(&mut world, 2).await;
    assert_eq!(install_root(&world).journal().unwrap().failed.len(), 0);
}

#[tokio::test]
async fn newer_release_does_not_wait_for_a_failed_one() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    world.config.cycle.hooks.check = shell_command("test $UNANIMITY_RELEASE != 2-1.1.0");
    expect_update_unhealthy(&mut world).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    assert_eq!(install_root(&world).journal().unwrap().failed.len(), 0);
    assert_eq!(install_root(&world).floor().unwrap(), 3);
}

#[tokio::test]
async fn next_try_begins_with_the_signed_files_only() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
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
async fn failed_first_release_leaves_nothing_installed() {
    let scratch = scratch_dir();
    let mut world =
        World::create(&scratch.path().join("world"), 8, Timestamp(1_790_000_000)).unwrap();
    world.config.cycle.hooks.check = shell_command("false");
    publish_and_settle(&mut world, 1).await;
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert_eq!(why, "check failed (exit status: 1); nothing is installed, as before");
    assert_eq!(installed_sequence(&world), None);
    assert!(!world.config.cycle.install_root.join("current").is_symlink());
}

#[tokio::test]
async fn failed_release_stays_if_the_version_before_is_gone() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let before = world.config.cycle.install_root.join("versions/1-1.0.0");
    world.config.cycle.hooks.check = shell_command(&format!("rm -r {}; false", before.display()));
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    snapbox::assert_data_eq!(why, snapbox::file!["words/version_before_gone.txt"]);
    assert_eq!(installed_sequence(&world), Some(2));
    assert_eq!(install_root(&world).journal().unwrap().trial, None);
}

#[tokio::test]
async fn failed_pre_install_switches_nothing() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let hook_log = hook_log_path(&mut world);
    world.config.cycle.hooks.pre_install = logging_command(&hook_log, "exit 1");
    world.config.cycle.hooks.check = logging_command(&hook_log, "");
    let (_, why, until) = expect_update_unhealthy(&mut world).await;
    assert_eq!(why, "pre_install failed (exit status: 1); 1-1.0.0 stays installed");
    assert!(until.is_some());
    assert_eq!(read_lines(&hook_log), ["pre_install 2-1.1.0 after 1-1.0.0"]);
    assert_eq!(installed_sequence(&world), Some(1));
    assert!(!world.config.cycle.install_root.join("versions/2-1.1.0").exists());
    advance_and_poll(&mut world, MIN_BACKOFF).await;
    world.config.cycle.hooks.pre_install = Vec::new();
    expect_update_installs(&mut world, 2).await;
}

#[tokio::test]
async fn failed_post_install_or_restart_undoes_the_release() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    world.config.cycle.hooks.post_install = shell_command("test $UNANIMITY_RELEASE = 1-1.0.0");
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    snapbox::assert_data_eq!(why, snapbox::file!["words/post_install_failed.txt"]);
    advance_and_poll(&mut world, MIN_BACKOFF).await;
    world.config.cycle.hooks.post_install = Vec::new();
    world.config.cycle.hooks.restart = Some("there-is-no-such-unit.service".to_owned());
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    // The error of systemctl depends on the machine, so each step is cut after its name.
    let cut = |step: &str| match step.split_once("restart") {
        Some((before, _)) => format!("{before}restart\n"),
        None => format!("{step}\n"),
    };
    let steps: String = why.split("; ").map(cut).collect();
    snapbox::assert_data_eq!(steps, snapbox::file!["words/restart_failed.txt"]);
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn hanging_check_is_killed_with_its_children() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let pids = scratch.path().join("pids");
    let hang =
        format!("trap '' TERM INT HUP; echo $$ >> {}; while :; do sleep 60; done", pids.display());
    world.config.cycle.hooks.check = shell_command(&format!("({hang}) & ({hang}) & {hang}"));
    world.config.cycle.hooks.check_timeout = Duration::from_secs(1);
    let began = Instant::now();
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    snapbox::assert_data_eq!(why, snapbox::file!["words/check_timeout.txt"]);
    assert_eq!(installed_sequence(&world), Some(1));
    read_lines(&pids).iter().for_each(|pid| wait_until_gone(pid));
}

#[tokio::test]
async fn missing_hook_program_is_not_a_failure_of_the_release() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let text = scratch.path().join("text");
    fs::write(&text, "no program").unwrap();
    let mut messages = String::new();
    for program in ["/no/such/program", "/tmp", text.to_str().unwrap()] {
        world.config.cycle.hooks.check = to_command(&[program]);
        let result = world.update().await.1;
        let Err(CycleError::Client(error @ ClientError::Command(_))) = result else {
            panic!("{result:?}")
        };
        let error = error.to_string().replace(scratch.path().to_str().unwrap(), "[DIR]");
        messages += &format!("{error}\n");
        assert_eq!(installed_sequence(&world), Some(1));
        assert_eq!(install_root(&world).journal().unwrap().failed.len(), 0);
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/hook_program_errors.txt"]);
}

#[tokio::test]
async fn error_shows_the_end_of_a_long_output() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let script = "i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done >&2; echo the end >&2; false";
    world.config.cycle.hooks.check = shell_command(script);
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    snapbox::assert_data_eq!(why, snapbox::file!["words/long_check_output.txt"]);
}

#[tokio::test]
async fn hook_gets_literal_arguments_and_a_small_environment() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let seen = scratch.path().join("seen");
    let script = scratch.path().join("script");
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
async fn root_keeps_the_configured_number_of_versions_and_proofs() {
    for keep in [2, 3, 4] {
        let scratch = scratch_dir();
        let mut world = world_before_install(&scratch.path().join("world")).await;
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
async fn rollback_never_lowers_the_floor() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let hook_log = hook_log_path(&mut world);
    world.config.cycle.hooks.post_install = logging_command(&hook_log, "");
    let now = world.clock.now();
    let back = install_root(&world).roll_back(None, now).await.unwrap();
    assert_eq!((back.installed.unwrap().sequence, back.problem), (1, None));
    assert_eq!(installed_sequence(&world), Some(1));
    assert_eq!(read_lines(&hook_log), ["post_install 1-1.0.0 after 2-1.1.0"]);
    // An update neither installs the left version again nor reports it as available.
    advance_and_poll(&mut world, HOUR).await;
    expect_update_up_to_date(&mut world).await;
    // The same holds without the client's state, as for the downloader of a split installation.
    fs::remove_dir_all(world.config.cycle.state.join("client")).unwrap();
    let old = world.update().await.1;
    assert!(
        matches!(old, Err(CycleError::Refused(Refusal::SequenceRollback { floor: 2, .. }))),
        "{old:?}"
    );
    expect_update_up_to_date(&mut world).await;
    assert_eq!(installed_sequence(&world), Some(1));
    // The operator may go forward to it. An update installs something newer.
    install_root(&world).roll_back(Some(&version_label(2)), now).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(2));
    install_root(&world).roll_back(None, now).await.unwrap();
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    // A roll-back chooses the version installed before, not the one with the next lower sequence.
    install_root(&world).roll_back(None, now).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn rollback_refuses_failed_and_missing_versions() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    world.config.cycle.hooks.check = shell_command("test $UNANIMITY_RELEASE != 2-1.1.0");
    expect_update_unhealthy(&mut world).await;
    let now = world.clock.now();
    let result = install_root(&world).roll_back(None, now).await;
    assert!(matches!(result, Err(RollbackError::NoVersion { wanted: None, .. })), "{result:?}");
    let mut text = String::new();
    for wanted in ["2-1.1.0", "9-9", "", "../..", "1", "\u{1b}[2J"] {
        let result =
            install_root(&world).roll_back(Some(wanted), now).await.unwrap_err().to_string();
        text += &format!("{}\n", result.escape_debug());
    }
    snapbox::assert_data_eq!(text, snapbox::file!["words/rollback_without_version.txt"]);
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    fs::remove_dir_all(world.config.cycle.install_root.join("versions/1-1.0.0")).unwrap();
    let result = install_root(&world).roll_back(None, now).await;
    assert!(matches!(result, Err(RollbackError::NoVersion { .. })), "{result:?}");
    assert_eq!(installed_sequence(&world), Some(3));
}

#[tokio::test]
async fn rollback_reports_a_failed_check_and_stays() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    world.config.cycle.hooks.check = shell_command("echo worse >&2; false");
    let back = install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    let why = "check failed (exit status: 1): worse";
    assert_eq!(back.problem.as_deref(), Some(why));
    assert_eq!(installed_sequence(&world), Some(1));
    // The journal keeps the failure until the version works or the operator approves it.
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
async fn approved_release_passes_without_the_check() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let no_trial = install_root(&world).mark_good(None).await;
    assert!(matches!(no_trial, Err(RollbackError::NoTrial(None))), "{no_trial:?}");
    world.config.cycle.hooks.check = shell_command("false");
    expect_update_unhealthy(&mut world).await;
    let other = install_root(&world).mark_good(Some("3-1.2.0")).await;
    assert!(matches!(other, Err(RollbackError::NoTrial(Some(_)))), "{other:?}");
    assert_eq!(install_root(&world).mark_good(None).await.unwrap(), (version_label(2), false));
    // Only the check is omitted.
    world.config.cycle.hooks.post_install = shell_command("test $UNANIMITY_RELEASE = 1-1.0.0");
    expect_update_unhealthy(&mut world).await;
    assert_eq!(
        install_root(&world).mark_good(Some(&version_label(2))).await.unwrap(),
        (version_label(2), false)
    );
    world.config.cycle.hooks.post_install = Vec::new();
    expect_update_installs(&mut world, 2).await;
    // The approval holds for one trial of that release.
    assert_eq!(install_root(&world).journal().unwrap().approved, None);
    publish_and_settle(&mut world, 3).await;
    expect_update_unhealthy(&mut world).await;
    assert_eq!(installed_sequence(&world), Some(2));
}

#[tokio::test]
async fn trial_locks_out_other_switches() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let lock =
        Storage::default().lock(&world.config.cycle.install_root.join("proofs")).unwrap().unwrap();
    let back =
        install_root(&world).roll_back(None, world.clock.now()).await.unwrap_err().to_string();
    let marked = install_root(&world).mark_good(None).await.unwrap_err().to_string();
    let text = format!("{back}\n{marked}\n").replace(scratch.path().to_str().unwrap(), "[DIR]");
    snapbox::assert_data_eq!(text, snapbox::file!["words/switch_in_progress.txt"]);
    publish_and_settle(&mut world, 3).await;
    assert!(matches!(world.update().await.1, Err(CycleError::Client(_))));
    drop(lock);
    expect_update_installs(&mut world, 3).await;
}

#[test]
fn failed_release_waits_unless_the_clock_is_set_back() {
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

/// Updates while another process changes the root, between the choice of a release and the switch.
async fn update_with_interference(
    world: &mut World,
    interfere: impl Fn(&Path) + Send + Sync + 'static,
) -> Result<CycleOutcome, CycleError> {
    let root = world.config.cycle.install_root.clone();
    let (done, download_dir) = (AtomicBool::new(false), root.join("versions/.2-1.1.0.new"));
    world.disk = Storage::with_hook(move |step| {
        // The downloaded artifact has its name now.
        if *step == WriteStep::SyncDir(download_dir.clone()) && !done.swap(true, Ordering::SeqCst) {
            interfere(&root);
        }
        Ok(())
    });
    let result = world.update().await.1;
    world.disk = Storage::default();
    result
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
async fn switch_keeps_a_version_that_another_process_installed() {
    for installed in [2, 3] {
        let scratch = scratch_dir();
        let mut world = world_before_install(&scratch.path().join("world")).await;
        let result = update_with_interference(&mut world, move |root| {
            write_version(root, installed);
            set_current(root, installed);
        });
        let result = result.await;
        assert!(
            matches!(result, Err(CycleError::Refused(Refusal::SequenceRollback { .. }))),
            "{result:?}"
        );
        assert_eq!(installed_sequence(&world), Some(installed));
    }
}

#[tokio::test]
async fn switch_first_undoes_an_interrupted_trial_of_another_process() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    world.config.cycle.hooks.pre_install = shell_command("test $UNANIMITY_BEFORE = 1-1.0.0");
    let result = update_with_interference(&mut world, |root| {
        write_version(root, 3);
        set_current(root, 3);
        let trial = Trial::new(version_label(3), Some(version_label(1)), false);
        let journal =
            Journal { trial: Some(trial), good: vec![version_label(1)], ..Journal::default() };
        fs::write(root.join("journal.json"), journal.text()).unwrap();
    });
    assert!(matches!(result.await, Ok(CycleOutcome::Installed(_))));
    assert_eq!(installed_sequence(&world), Some(2));
    assert!(install_root(&world).journal().unwrap().failed.contains_key(&version_label(3)));
}

#[tokio::test]
async fn removal_of_old_versions_never_lowers_the_floor() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
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
async fn lost_and_old_journals_never_lower_the_floor() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let path = world.config.cycle.install_root.join("journal.json");
    let before = fs::read(&path).unwrap();
    expect_update_installs(&mut world, 2).await;
    // The state after a stop between `current` and the journal.
    fs::write(&path, before).unwrap();
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!((installed_sequence(&world), install_root(&world).floor().unwrap()), (Some(1), 2));
    // A journal without a floor, whose highest version is removed as an old one.
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
async fn backoff_counts_from_the_end_of_the_check() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    // The check takes no time here, and the clock moves on during the switch instead.
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
async fn round_that_expires_in_pre_install_is_a_failure() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let (clock, began) = (world.clock.clone(), world.clock.now());
    let journal = world.config.cycle.install_root.join("journal.json");
    world.disk = Storage::with_hook(move |step| {
        if *step == WriteStep::Rename(journal.clone()) {
            clock.set(began.after(HOUR));
        }
        Ok(())
    });
    let hook_log = hook_log_path(&mut world);
    world.config.cycle.hooks.pre_install = logging_command(&hook_log, "");
    world.config.cycle.hooks.post_install = logging_command(&hook_log, "");
    let (_, why, until) = expect_update_unhealthy(&mut world).await;
    snapbox::assert_data_eq!(why, snapbox::file!["words/expired_round.txt"]);
    assert!(until.is_some());
    // `post_install` runs for the version before, after `pre_install` of the new one.
    let ran = ["pre_install 2-1.1.0 after 1-1.0.0", "post_install 1-1.0.0 after 2-1.1.0"];
    assert_eq!(read_lines(&hook_log), ran);
}

#[tokio::test]
async fn rollback_refuses_a_damaged_version() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let file = world.config.cycle.install_root.join("versions/1-1.0.0/hello");
    for damage in [&b"another program"[..], b""] {
        fs::remove_file(&file).ok();
        if !damage.is_empty() {
            fs::write(&file, damage).unwrap();
        }
        let result = install_root(&world).roll_back(None, world.clock.now()).await;
        assert!(matches!(result, Err(RollbackError::NoVersion { .. })), "{result:?}");
        assert_eq!(installed_sequence(&world), Some(2));
    }
    // A version without its proof bundle is refused, too.
    fs::write(&file, release_bytes(1)).unwrap();
    let proof = world.config.cycle.install_root.join("proofs/1-1.0.0");
    let whole = fs::read(&proof).unwrap();
    fs::remove_file(&proof).unwrap();
    let result = install_root(&world).roll_back(None, world.clock.now()).await;
    assert!(matches!(result, Err(RollbackError::NoVersion { .. })), "{result:?}");
    fs::write(&proof, whole).unwrap();
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn mark_good_approves_the_newest_failed_release_for_one_try() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
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
async fn failed_check_leaves_no_process_and_a_one_line_reason() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let pid = scratch.path().join("pid");
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
async fn damaged_journal_is_an_error_and_missing_one_is_rebuilt() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    let path = world.config.cycle.install_root.join("journal.json");
    let whole = fs::read_to_string(&path).unwrap();
    let odd = Journal { good: vec!["../../etc".to_owned()], ..Journal::default() };
    let failed = FailedRelease { times: 1, last: Timestamp(0), why: String::new() };
    let failed = [("x".to_owned(), failed)].into();
    let other = Journal { failed, ..Journal::default() };
    let half = &whole[..whole.len() / 2];
    let mut messages = BTreeSet::new();
    for text in ["", "{}", half, &odd.text(), &other.text(), &whole.replace("good", "bad")] {
        fs::write(&path, text).unwrap();
        let error = install_root(&world).journal().unwrap_err().to_string();
        messages.insert(error.replace(scratch.path().to_str().unwrap(), "[DIR]"));
        assert!(matches!(world.update().await.1, Err(CycleError::Client(_))));
    }
    let messages: String = messages.iter().map(|message| format!("{message}\n")).collect();
    snapbox::assert_data_eq!(messages, snapbox::file!["words/damaged_journal.txt"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(install_root(&world).journal().unwrap().good, [version_label(1), version_label(2)]);
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!(installed_sequence(&world), Some(1));
}

#[tokio::test]
async fn handover_gets_the_verified_file_in_both_directions() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    let system = scratch.path().join("system");
    let hooks = &mut world.config.cycle.hooks;
    // The handover command copies the open file that it gets to a directory of the system.
    let script = format!(
        "case $2 in /proc/self/fd/*) cat $2 > {}; test $1 = -i && cmp $2 $3;; *) false;; esac",
        system.display()
    );
    hooks.handover = to_command(&["/bin/sh", "-c", &script, "sh", "-i", "{}", "{path}"]);
    hooks.check = shell_command(&format!("sh {} | grep -q 'release 2'", system.display()));
    expect_update_installs(&mut world, 2).await;
    assert_eq!(fs::read(&system).unwrap(), release_bytes(2));
    publish_and_settle(&mut world, 3).await;
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert_eq!(why, "check failed (exit status: 1); 2-1.1.0 is installed again");
    assert_eq!(fs::read(&system).unwrap(), release_bytes(2));
    install_root(&world).roll_back(None, world.clock.now()).await.unwrap();
    assert_eq!(fs::read(&system).unwrap(), release_bytes(1));
    // A changed file is not handed over.
    let file = world.config.cycle.install_root.join("versions/2-1.1.0/hello");
    fs::remove_file(&file).unwrap();
    fs::write(&file, b"another program").unwrap();
    let result = install_root(&world).roll_back(Some(&version_label(2)), world.clock.now()).await;
    assert!(matches!(result, Err(RollbackError::NoVersion { .. })), "{result:?}");
    assert_eq!(fs::read(&system).unwrap(), release_bytes(1));
    fs::remove_file(&file).unwrap();
    fs::write(&file, release_bytes(2)).unwrap();
    // If the handover fails, the roll-back switches nothing.
    world.config.cycle.hooks.handover = to_command(&["/bin/false", "{}"]);
    let result = install_root(&world).roll_back(Some(&version_label(2)), world.clock.now()).await;
    assert!(matches!(result, Err(RollbackError::Handover(_))), "{result:?}");
    assert_eq!(installed_sequence(&world), Some(1));
}

/// Builds a Debian package with one file, `hello`.
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
async fn dpkg_installs_the_package_and_the_one_before_after_a_failed_check() {
    let scratch = scratch_dir();
    let mut world =
        World::create(&scratch.path().join("world"), 9, Timestamp(1_790_000_000)).unwrap();
    let system = scratch.path().join("system");
    fs::create_dir_all(system.join("var/lib/dpkg/updates")).unwrap();
    fs::create_dir_all(system.join("var/lib/dpkg/info")).unwrap();
    fs::write(system.join("var/lib/dpkg/status"), "").unwrap();
    let own_root = ["/usr/bin/unshare", "--user", "--map-root-user"];
    let root_option = format!("--root={}", system.display());
    let log = scratch.path().join("dpkg.log");
    let log_option = format!("--log={}", log.display());
    let dpkg = ["/usr/bin/dpkg", &root_option, &log_option, "-i", "{}"];
    let is_root = rustix::process::geteuid().is_root();
    let handover = if is_root { dpkg.to_vec() } else { [&own_root[..], &dpkg].concat() };
    world.config.cycle.hooks.handover = to_command(&handover);
    world.config.cycle.hooks.check =
        shell_command(&format!("grep -q 'hello 1.0' {}/hello", system.display()));
    for (sequence, version, works) in [(1, "1.0", true), (2, "1.1", false)] {
        let package = package(scratch.path(), version);
        let release = ReleaseSpec::new(sequence, VERSIONS[sequence as usize - 1], &package);
        world.publish(&ReleaseSpec { file: "hello.deb", ..release }).unwrap();
        world.poll_all().await.unwrap();
        world.check().await.1.unwrap_err();
        advance_and_poll(&mut world, HOUR + Duration::from_secs(60)).await;
        let result = world.update().await.1;
        assert_eq!(result.is_ok(), works, "{result:?}");
        assert_eq!(fs::read(system.join("hello")).unwrap(), b"hello 1.0");
        let status = fs::read_to_string(system.join("var/lib/dpkg/status")).unwrap();
        assert!(status.contains("Version: 1.0\n"), "{status}");
        assert_eq!(world.installed_version().unwrap().unwrap().sequence, 1);
    }
    let log = fs::read_to_string(log).unwrap();
    let upgrades = ["upgrade hello:all 1.0 1.1", "upgrade hello:all 1.1 1.0"];
    assert!(upgrades.iter().all(|upgrade| log.contains(upgrade)), "{log}");
}
