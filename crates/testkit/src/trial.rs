//! Fixtures for tests of trials: a world before an installation, and hooks that log their runs.

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

/// Returns the bytes of a release's artifact.
pub fn release_bytes(sequence: u64) -> Vec<u8> {
    format!("#!/bin/sh\necho release {sequence}\n").into_bytes()
}

/// Describes the release with the artifact of [`release_bytes`].
pub fn trial_release(sequence: u64) -> ReleaseSpec {
    ReleaseSpec::new(sequence, VERSIONS[sequence as usize - 1], &release_bytes(sequence))
}

/// Returns the directory name of a version, such as `2-1.1.0`.
pub fn version_label(sequence: u64) -> String {
    format!("{sequence}-{}", VERSIONS[sequence as usize - 1])
}

/// Converts a command to the form of the configuration.
pub fn to_command(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

/// Returns a command that runs `script` in a shell.
pub fn shell_command(script: &str) -> Vec<String> {
    to_command(&["/bin/sh", "-c", script])
}

/// Publishes release `sequence`, and lets it settle. The next update installs it.
pub async fn publish_and_settle(world: &mut World, sequence: u64) {
    world.publish(&trial_release(sequence)).unwrap();
    world.poll_all().await.unwrap();
    let (_, outcome) = world.check().await;
    assert!(
        matches!(
            outcome,
            Err(CycleError::Refused(Refusal::Settling { .. })
                | CycleError::Install(InstallRefusal::Unhealthy { .. }))
        ),
        "{outcome:?}"
    );
    advance_and_poll(world, HOUR + Duration::from_secs(60)).await;
}

/// Moves the clock forward, and lets every peer poll.
pub async fn advance_and_poll(world: &mut World, time: Duration) {
    world.advance(time);
    world.poll_all().await.unwrap();
}

/// Makes a world in which release 1 is installed. The next update installs release 2.
pub async fn world_before_install(directory: &Path) -> World {
    let mut world = World::create(directory, 7, Timestamp(1_790_000_000)).unwrap();
    publish_and_settle(&mut world, 1).await;
    expect_update_installs(&mut world, 1).await;
    publish_and_settle(&mut world, 2).await;
    world
}

/// Panics unless the next cycle installs this release.
pub async fn expect_update_installs(world: &mut World, sequence: u64) {
    let (report, outcome) = world.update().await;
    assert!(matches!(outcome, Ok(CycleOutcome::Installed(_))), "{outcome:?} {report:?}");
    assert_eq!(installed_sequence(world), Some(sequence));
}

/// Panics unless the next cycle ends with nothing to install.
pub async fn expect_update_up_to_date(world: &mut World) {
    let (report, outcome) = world.update().await;
    assert!(matches!(outcome, Ok(CycleOutcome::UpToDate)), "{outcome:?} {report:?}");
}

/// Returns the sequence of the installed release. Panics if the file in its directory or below
/// `current` is not the file of that release.
pub fn installed_sequence(world: &World) -> Option<u64> {
    let Installed { sequence, directory, .. } = world.installed_version().unwrap()?;
    assert_eq!(fs::read(directory.join("hello")).unwrap(), release_bytes(sequence));
    let through = world.config.cycle.install_root.join("current/hello");
    assert_eq!(fs::read(through).unwrap(), release_bytes(sequence));
    Some(sequence)
}

/// Returns the client's install root, with its configured hooks.
pub fn install_root(world: &World) -> InstallRoot {
    InstallRoot::new(&world.config.cycle.install_root, Storage::default())
        .with_hooks(world.config.cycle.hooks.clone())
}

/// Runs an update that must end as unhealthy, and panics otherwise. Returns its report, the reason,
/// and the time from which the client may try again.
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

/// Returns the path of the file that the hooks write: `diary`, beside the install root.
pub fn hook_log_path(world: &mut World) -> PathBuf {
    world.config.cycle.install_root.with_file_name("diary")
}

/// Reads the lines of a file. A missing file has none.
pub fn read_lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Returns a command that appends a line to `log`, and then runs `end` in a shell. The line has the
/// step, the release, and the release before it.
pub fn logging_command(log: &Path, end: &str) -> Vec<String> {
    shell_command(&format!(
        "echo $UNANIMITY_STEP $UNANIMITY_RELEASE after ${{UNANIMITY_BEFORE:-nothing}} >> {}; {end}",
        log.display()
    ))
}

/// Waits until a killed process has ended or is a zombie. Panics if that takes over 10 seconds.
pub fn wait_until_gone(pid: &str) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        std::thread::yield_now();
    }
    panic!("process {pid} did not end within 10 seconds");
}
