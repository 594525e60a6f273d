//! Releases on trial: a world about to switch, and commands that leave what they saw.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use unanimity_client::{CycleError, CycleOutcome, CycleReport};
use unanimity_install::{InstallRefusal, InstallRoot, Installed};
use unanimity_protocol::{Refusal, Timestamp};
use unanimity_storage::Storage;

use crate::{ReleaseSpec, World};

/// One hour.
pub const HOUR: Duration = Duration::from_secs(3600);

/// The versions of releases 1 to 6.
pub const VERSIONS: [&str; 6] = ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"];

/// The file of a release.
pub fn release_bytes(sequence: u64) -> Vec<u8> {
    format!("#!/bin/sh\necho release {sequence}\n").into_bytes()
}

/// A release with that file.
pub fn trial_release(sequence: u64) -> ReleaseSpec {
    ReleaseSpec::new(sequence, VERSIONS[sequence as usize - 1], &release_bytes(sequence))
}

/// What the directory of a version is called.
pub fn version_label(sequence: u64) -> String {
    format!("{sequence}-{}", VERSIONS[sequence as usize - 1])
}

/// A command as it is configured.
pub fn to_command(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

/// A command that a shell runs.
pub fn shell_command(script: &str) -> Vec<String> {
    to_command(&["/bin/sh", "-c", script])
}

/// A world in which `sequence` would be installed at the next update.
pub async fn publish_and_settle(world: &mut World, sequence: u64) {
    world.publish(&trial_release(sequence)).unwrap();
    world.poll_all().await.unwrap();
    let (_, ended) = world.check().await;
    assert!(
        matches!(
            ended,
            Err(CycleError::Refused(Refusal::Settling { .. })
                | CycleError::Install(InstallRefusal::Unhealthy { .. }))
        ),
        "{ended:?}"
    );
    advance_and_poll(world, HOUR + Duration::from_secs(60)).await;
}

/// Time goes by, and every peer polls.
pub async fn advance_and_poll(world: &mut World, time: Duration) {
    world.advance(time);
    world.poll_all().await.unwrap();
}

/// Release 1 is installed, and release 2 would be at the next update.
pub async fn world_before_install(directory: &Path) -> World {
    let mut world = World::create(directory, 7, Timestamp(1_790_000_000)).unwrap();
    publish_and_settle(&mut world, 1).await;
    expect_update_installs(&mut world, 1).await;
    publish_and_settle(&mut world, 2).await;
    world
}

/// The next cycle installs this release.
pub async fn expect_update_installs(world: &mut World, sequence: u64) {
    let (report, ended) = world.update().await;
    assert!(matches!(ended, Ok(CycleOutcome::Installed(_))), "{ended:?} {report:?}");
    assert_eq!(installed_sequence(world), Some(sequence));
}

/// The next cycle ends with nothing to install.
pub async fn expect_update_up_to_date(world: &mut World) {
    let (report, ended) = world.update().await;
    assert!(matches!(ended, Ok(CycleOutcome::UpToDate)), "{ended:?} {report:?}");
}

/// The version that `installed_bytes` is, whole.
pub fn installed_sequence(world: &World) -> Option<u64> {
    let Installed { sequence, directory, .. } = world.installed_version().unwrap()?;
    assert_eq!(fs::read(directory.join("hello")).unwrap(), release_bytes(sequence));
    let through = world.config.cycle.install_root.join("current/hello");
    assert_eq!(fs::read(through).unwrap(), release_bytes(sequence));
    Some(sequence)
}

/// Where the client installs, with its configured commands.
pub fn install_root(world: &World) -> InstallRoot {
    InstallRoot::new(&world.config.cycle.install_root, Storage::default())
        .with_hooks(world.config.cycle.hooks.clone())
}

/// The refusal of a release that does not work.
pub async fn expect_update_unhealthy(
    world: &mut World,
) -> (CycleReport, String, Option<Timestamp>) {
    match world.update().await {
        (report, Err(CycleError::Install(InstallRefusal::Unhealthy { why, until, .. }))) => {
            (report, why, until)
        }
        other => panic!("{other:?}"),
    }
}

/// Where commands leave what they saw.
pub fn hook_log_path(world: &mut World) -> PathBuf {
    world.config.cycle.install_root.with_file_name("diary")
}

/// The lines of a file; none, if there is no such file.
pub fn read_lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A command that notes in a diary why it runs, and then runs `end`.
pub fn logging_command(diary: &Path, end: &str) -> Vec<String> {
    shell_command(&format!(
        "echo $UNANIMITY_STEP $UNANIMITY_RELEASE after ${{UNANIMITY_BEFORE:-nothing}} >> {}; {end}",
        diary.display()
    ))
}

/// A process that was killed is gone, or waits to be buried, as soon as it gets to it.
pub fn wait_until_gone(pid: &str) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        std::thread::yield_now();
    }
    panic!("{pid} is still there");
}
