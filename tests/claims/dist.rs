//! The shipped files for a system: the split installation with two users, and the systemd units.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use unanimity_client::{CycleError, CycleOutcome};
use unanimity_config::SpoolSettings;
use unanimity_protocol::{Refusal, Timestamp};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{FIRST_ARTIFACT, HOUR, SECOND};
use unanimity_testkit::{ReleaseSpec, World};

use crate::installer;
use crate::messages::Messages;

#[cfg(feature = "tor")]
const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");
/// The downloader's user id, if the test runs as root.
const DOWNLOADER_UID: u32 = 54_321;

/// Gives a directory and everything below it to a user.
fn chown_tree(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| chown_tree(&entry.unwrap().path(), user));
    }
}

fn combined_output(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8(text).unwrap()
}

/// Runs the installer without a network, as root or as root of a user namespace.
fn run_installer(config: &Path) -> Output {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare
        .arg("--net")
        .arg(installer::installer_path())
        .arg("--config")
        .arg(config)
        .output()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_installer_installs_another_users_download_without_a_network() {
    let scratch = scratch_dir();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Two hours ago, by the real clock that the programs read.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let start = Timestamp(now - 2 * 3600);
    let mut world = World::create(&scratch.path().join("world"), 5, start).unwrap();
    let spool = world.directory.join("client/spool");
    fs::create_dir_all(&spool).unwrap();
    world.config.cycle.spool = Some(SpoolSettings {
        directory: spool.clone(),
        freshness: SpoolSettings::DEFAULT_FRESHNESS,
    });
    world.write_config().unwrap();
    let config = world.directory.join("client/unanimity.toml");
    // Before the first download, even the spool directory may be missing.
    fs::remove_dir(&spool).unwrap();
    let nothing = run_installer(&config);
    assert_eq!(nothing.status.code(), Some(0), "{}", combined_output(&nothing));
    fs::create_dir(&spool).unwrap();
    let nothing = run_installer(&config);
    assert_eq!(nothing.status.code(), Some(0), "{}", combined_output(&nothing));
    let mut messages = Messages::new(scratch.path());
    messages.add("empty spool", &combined_output(&nothing));

    world.publish(&ReleaseSpec::new(1, "1.0.0", FIRST_ARTIFACT)).unwrap();
    world.poll_all().await.unwrap();
    let settling = world.update().await.1;
    assert!(matches!(settling, Err(CycleError::Refused(Refusal::Settling { .. }))));
    world.advance(HOUR + SECOND);
    world.poll_all().await.unwrap();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Available(_))));
    let root = world.config.cycle.install_root.clone();
    assert!(!root.join("current").exists());

    if rustix::process::geteuid().is_root() {
        chown_tree(&spool, DOWNLOADER_UID);
        // The downloader can write to the spool, and not to the install root.
        let touch = |path: PathBuf| {
            let mut touch = Command::new("setpriv");
            let user = DOWNLOADER_UID.to_string();
            touch.args(["--reuid", &user, "--regid", &user, "--clear-groups", "touch"]);
            touch.arg(path).output().unwrap().status.success()
        };
        assert!(touch(spool.join("mine")));
        assert!(!touch(root.join("mine")) && !touch(spool.join("../mine")));
    }
    let installed = run_installer(&config);
    assert_eq!(installed.status.code(), Some(0), "{}", combined_output(&installed));
    assert_eq!(fs::read(root.join("current/hello")).unwrap(), FIRST_ARTIFACT);
    let again = run_installer(&config);
    assert_eq!(again.status.code(), Some(0), "{}", combined_output(&again));
    messages.add("again", &combined_output(&again));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/unanimity_install.txt"]);
    // A file of a third user in the spool is refused.
    if rustix::process::geteuid().is_root() {
        chown(spool.join("proof"), Some(DOWNLOADER_UID + 1), None).unwrap();
        let refused = run_installer(&config);
        assert_eq!(refused.status.code(), Some(6), "{}", combined_output(&refused));
        let mut messages = Messages::new(scratch.path());
        messages.add("file of a third user", &combined_output(&refused));
        snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/spool_of_others.txt"]);
    }
}

#[cfg(feature = "tor")]
#[test]
fn the_units_are_valid_and_have_a_low_exposure() {
    use unanimity_testkit_tor::{DebianPackage, ExternalPrograms};
    const SYSTEMD: DebianPackage = DebianPackage {
        name: "systemd",
        programs: &["systemd-analyze"],
        remark: "; nothing is started",
    };
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd-package");
    let programs = ExternalPrograms::find(&SYSTEMD, &package, &mut |_| {}).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/systemd");
    assert_eq!(installer::installer_path(), Path::new(&format!("{PROGRAM}-install")));
    let scratch = scratch_dir();
    let mut units = Vec::new();
    for unit in fs::read_dir(shipped).unwrap() {
        let unit = unit.unwrap().path();
        // As if both programs were installed where this build is.
        let text = fs::read_to_string(&unit).unwrap().replace("/usr/bin/unanimity", PROGRAM);
        // Every start names the system's configuration: the default path differs without root.
        let starts: Vec<_> = text.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        let named = "--config /etc/unanimity/";
        assert!(starts.iter().all(|line| line.contains(named)), "{starts:?}");
        let copy = scratch.path().join(unit.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        units.push(copy);
    }
    assert_eq!(units.len(), 11);
    let mut verify = programs.command("systemd-analyze").unwrap();
    let verified = verify.args(["verify", "--man=no"]).args(&units).output().unwrap();
    assert!(
        verified.status.success() && combined_output(&verified).trim().is_empty(),
        "{}",
        combined_output(&verified)
    );
    for unit in units.iter().filter(|unit| unit.extension().unwrap() == "service") {
        let mut security = programs.command("systemd-analyze").unwrap();
        // The exposure is at most 1.5 of 10.
        security.args(["security", "--offline=true", "--threshold=15", "--no-pager"]).arg(unit);
        let judged = security.output().unwrap();
        assert!(judged.status.success(), "{}", combined_output(&judged));
    }
}
