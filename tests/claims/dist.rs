//! What is shipped for a system: the split between who fetches and who installs, with the program
//! itself, two users and no network; and the units.

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
#[cfg(feature = "tor")]
const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");
/// Who fetches, where we are root.
const DOWNLOADER_UID: u32 = 54_321;

/// Everything below a directory becomes somebody's.
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

/// Runs the installer where there is no network, as root or as who passes for it.
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
async fn what_one_user_fetched_another_installs_who_has_no_network() {
    let home = scratch_dir();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Two hours ago by the clock that the program will see.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let start = Timestamp(now - 2 * 3600);
    let mut world = World::create(&home.path().join("world"), 5, start).unwrap();
    let spool = world.directory.join("client/spool");
    fs::create_dir_all(&spool).unwrap();
    world.config.cycle.spool = Some(SpoolSettings {
        directory: spool.clone(),
        freshness: SpoolSettings::DEFAULT_FRESHNESS,
    });
    world.write_config().unwrap();
    let config = world.directory.join("client/unanimity.toml");
    // Whoever fetches has not begun: there need not even be a spool.
    fs::remove_dir(&spool).unwrap();
    let nothing = run_installer(&config);
    assert_eq!(nothing.status.code(), Some(0), "{}", combined_output(&nothing));
    fs::create_dir(&spool).unwrap();
    let nothing = run_installer(&config);
    assert_eq!(nothing.status.code(), Some(0), "{}", combined_output(&nothing));
    assert!(combined_output(&nothing).contains("nothing is staged"));

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
        // Whoever fetches can write to the spool, and not to where versions are.
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
    assert!(
        combined_output(&again).contains("nothing new is staged"),
        "{}",
        combined_output(&again)
    );
    // Somebody else's file in the spool is not the spool's.
    if rustix::process::geteuid().is_root() {
        chown(spool.join("proof"), Some(DOWNLOADER_UID + 1), None).unwrap();
        let refused = run_installer(&config);
        assert_eq!(refused.status.code(), Some(6), "{}", combined_output(&refused));
        assert!(combined_output(&refused).contains("spool/proof"), "{}", combined_output(&refused));
    }
}

#[cfg(feature = "tor")]
#[test]
fn the_units_are_good_and_hardly_exposed() {
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
    let home = scratch_dir();
    let mut units = Vec::new();
    for unit in fs::read_dir(shipped).unwrap() {
        let unit = unit.unwrap().path();
        // As if both programs were installed where this build is.
        let text = fs::read_to_string(&unit).unwrap().replace("/usr/bin/unanimity", PROGRAM);
        // Who is not root has another place for it.
        let starts: Vec<_> = text.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        let named = "--config /etc/unanimity/";
        assert!(starts.iter().all(|line| line.contains(named)), "{starts:?}");
        let copy = home.path().join(unit.file_name().unwrap());
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
        // Of 10: at most 1.5.
        security.args(["security", "--offline=true", "--threshold=15", "--no-pager"]).arg(unit);
        let judged = security.output().unwrap();
        assert!(judged.status.success(), "{}", combined_output(&judged));
    }
}
