//! Operator commands: rollback, vouching, and installing releases that were carried to an offline
//! machine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

use unanimity_client::CycleOutcome;
use unanimity_config::SpoolSettings;
use unanimity_install::installer_state_dir;
use unanimity_install::journal::MIN_BACKOFF;
use unanimity_protocol::Timestamp;
use unanimity_storage::Clock as _;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{FIRST_ARTIFACT, HOUR, SECOND, SECOND_ARTIFACT};
use unanimity_testkit::{ReleaseSpec, World, copy_tree};

use crate::installer;
use crate::messages::Messages;

const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");

/// A world with two settled releases, whose times fit the real clock of the programs. The client
/// has installed release 1.
async fn create_settled_world(directory: PathBuf) -> World {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut world = World::create(&directory, 6, Timestamp(now - 3 * 3600)).unwrap();
    fs::create_dir_all(directory.join("client")).unwrap();
    for (sequence, version, artifact) in
        [(1, "1.0.0", FIRST_ARTIFACT), (2, "1.1.0", SECOND_ARTIFACT)]
    {
        world.publish(&ReleaseSpec::new(sequence, version, artifact)).unwrap();
        world.poll_all().await.unwrap();
        world.update().await.1.unwrap_err();
        world.advance(HOUR + SECOND);
        world.poll_all().await.unwrap();
        if sequence == 1 {
            assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
        }
    }
    world
}

fn run(world: &World, arguments: &[&str]) -> (i32, String) {
    run_program(PROGRAM.as_ref(), world, arguments)
}

/// Runs `unanimity-install`.
fn run_installer(world: &World, arguments: &[&str]) -> (i32, String) {
    run_program(&installer::installer_path(), world, arguments)
}

fn run_program(program: &Path, world: &World, arguments: &[&str]) -> (i32, String) {
    let config = world.directory.join("client/unanimity.toml");
    let Output { status, stdout, stderr } =
        Command::new(program).arg("--config").arg(config).args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

fn installed_bytes(world: &World) -> Vec<u8> {
    fs::read(world.config.cycle.install_root.join("current/hello")).unwrap()
}

#[tokio::test]
async fn rollback_and_mark_good_say_what_they_did_or_why_not() {
    let scratch = scratch_dir();
    let mut world = create_settled_world(scratch.path().join("world")).await;
    world.write_config().unwrap();
    let (code, text) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (2, FIRST_ARTIFACT.to_vec()), "{text}");
    let mut messages = Messages::new(scratch.path());
    messages.add("rollback without an older version", &text);
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    messages.add("status of 2-1.1.0", &run(&world, &["status"]).1);
    let (code, text) = run(&world, &["rollback", "7-7"]);
    assert_eq!((code, installed_bytes(&world)), (2, SECOND_ARTIFACT.to_vec()), "{text}");
    let (code, text) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (0, FIRST_ARTIFACT.to_vec()), "{text}");
    messages.add("rollback", &text);
    // A second rollback does not return to the version that the first one left.
    let (code, text) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (2, FIRST_ARTIFACT.to_vec()), "{text}");
    messages.add("status of 1-1.0.0", &run(&world, &["status"]).1);
    let (code, text) = run(&world, &["rollback", "1-1.0.0"]);
    assert_eq!((code, installed_bytes(&world)), (0, FIRST_ARTIFACT.to_vec()), "{text}");
    messages.add("rollback to the installed version", &text);
    // The health check runs for a rollback too. Its failure does not undo the rollback.
    world.config.cycle.hooks.check =
        ["/bin/sh", "-c", "echo no >&2; false"].map(str::to_owned).into();
    world.write_config().unwrap();
    let (code, text) = run(&world, &["--json", "rollback", "2-1.1.0"]);
    assert_eq!((code, installed_bytes(&world)), (30, SECOND_ARTIFACT.to_vec()), "{text}");
    let report: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(report["outcome"], "unhealthy");
    messages.add("rollback to an unhealthy version", report["problem"].as_str().unwrap());
    let (code, text) = run(&world, &["status"]);
    assert_eq!(code, 30, "{text}");
    messages.add("status of an unhealthy version", &text);
    let (code, text) = run(&world, &["mark-good"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) = run(&world, &["mark-good"]);
    assert_eq!(code, 2, "{text}");
    messages.add("mark-good again", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/rollback.txt"]);
}

#[tokio::test]
async fn status_shows_a_failed_release_and_mark_good_lets_it_pass() {
    let scratch = scratch_dir();
    let mut world = create_settled_world(scratch.path().join("world")).await;
    world.config.cycle.hooks.check =
        ["/bin/sh", "-c", "echo no >&2; false"].map(str::to_owned).into();
    world.write_config().unwrap();
    world.update().await.1.unwrap_err();
    let mut messages = Messages::new(scratch.path());
    messages.add("status", &run(&world, &["status"]).1);
    let (code, text) = run(&world, &["mark-good"]);
    assert_eq!(code, 0, "{text}");
    messages.add("mark-good", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/failed_release.txt"]);
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(installed_bytes(&world), SECOND_ARTIFACT);
}

#[tokio::test]
async fn a_carried_release_installs_within_the_configured_freshness() {
    let scratch = scratch_dir();
    let mut world = create_settled_world(scratch.path().join("world")).await;
    let spool = world.directory.join("client/spool");
    fs::create_dir_all(&spool).unwrap();
    world.config.cycle.spool = Some(SpoolSettings {
        directory: spool.clone(),
        freshness: SpoolSettings::DEFAULT_FRESHNESS,
    });
    world.publish_withdrawal("log", 1, "Bad.", world.clock.now()).unwrap();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Available(_))));
    let stick = world.directory.join("stick");
    copy_tree(&spool, &stick).unwrap();
    // The offline machine has no `[install] spool`.
    world.config.cycle.spool = None;
    world.write_config().unwrap();
    let carried = ["--from", stick.to_str().unwrap()];
    let (code, text) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (3, FIRST_ARTIFACT.to_vec()), "{text}");
    let mut messages = Messages::new(scratch.path());
    messages.add("without freshness", &text);
    let config = world.directory.join("client/unanimity.toml");
    let config_text = fs::read_to_string(&config).unwrap();
    let set_freshness = |bound: &str| {
        let install = format!("[install]\nfreshness = \"{bound}\"\n");
        fs::write(&config, config_text.replace("[install]\n", &install)).unwrap();
    };
    // The heads were cosigned about an hour ago.
    set_freshness("30m");
    let (code, text) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (12, FIRST_ARTIFACT.to_vec()), "{text}");
    set_freshness("7d");
    let proof = stick.join("proof");
    let whole = fs::read_to_string(&proof).unwrap();
    fs::write(&proof, whole.replacen("bundle/v1", "bundle/v2", 1)).unwrap();
    let (code, text) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (29, FIRST_ARTIFACT.to_vec()), "{text}");
    fs::write(&proof, whole).unwrap();
    let (code, text) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (0, SECOND_ARTIFACT.to_vec()), "{text}");
    let (code, text) = run_installer(&world, &carried);
    assert_eq!(code, 0, "{text}");
    messages.add("again", &text);
    let (code, text) = run(&world, &["install"]);
    assert_eq!(code, 2, "{text}");
    let (code, text) = run_installer(&world, &["--from", scratch.path().to_str().unwrap()]);
    assert_eq!(code, 6, "{text}");
    messages.add("not a spool", &text);
    messages.add("status", &run(&world, &["status"]).1);
    // The verbs of `unanimity` know the withdrawal that the installer read from the spool.
    fs::remove_dir_all(world.config.cycle.state.join("client")).unwrap();
    let (code, text) = run(&world, &["rollback", "1-1.0.0"]);
    assert_eq!((code, installed_bytes(&world)), (31, SECOND_ARTIFACT.to_vec()), "{text}");
    let root = &world.config.cycle.install_root;
    let path = |path: &str| root.join(path).to_str().unwrap().to_owned();
    let (file, proof) = (path("versions/1-1.0.0/hello"), path("proofs/1-1.0.0"));
    assert_eq!(run(&world, &["verify", &file, "--proof", &proof]).0, 31);
    assert_eq!(run(&world, &["status"]).0, 0);
    let log = unanimity_protocol::Hash(world.config.cycle.policy.log.id().0).hex();
    let evidence = installer_state_dir(root).join("evidence").join(&log[..16]);
    fs::create_dir_all(&evidence).unwrap();
    fs::write(evidence.join("aa.txt"), "").unwrap();
    let (code, text) = run(&world, &["status"]);
    assert_eq!(code, 20, "{text}");
    messages.add("status with evidence", &text);
    messages.add("evidence show", &run(&world, &["evidence", "show"]).1);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/carried_release.txt"]);
}

/// The program updates itself as one more product. Its health check is that the new version starts
/// and reads the state that the old version left.
#[tokio::test]
async fn a_new_version_of_the_program_that_does_not_start_is_undone() {
    let scratch = scratch_dir();
    let mut world = create_settled_world(scratch.path().join("world")).await;
    let config = world.directory.join("client/unanimity.toml");
    let program = world.config.cycle.install_root.join("current/hello");
    let paths = [&program, &config].map(|path| path.to_str().unwrap().to_owned());
    let [program, config] = paths;
    world.config.cycle.hooks.check =
        vec![program, "--config".to_owned(), config, "status".to_owned()];
    world.write_config().unwrap();
    let runs = format!("#!/bin/sh\nexec {PROGRAM} \"$@\"\n");
    for (sequence, version, artifact, works) in [
        (3, "2.0.0", &b"\x7fELF, and not for this machine"[..], false),
        (4, "2.1.0", b"#!/bin/sh\nexit 101\n", false),
        (5, "2.2.0", runs.as_bytes(), true),
    ] {
        world.publish(&ReleaseSpec::new(sequence, version, artifact)).unwrap();
        world.poll_all().await.unwrap();
        world.check().await.1.err();
        world.advance(HOUR + SECOND);
        world.poll_all().await.unwrap();
        if works {
            // A failure whose reason is gone does not block the release.
            world.config.cycle.hooks.post_install = vec!["/bin/false".to_owned()];
            world.update().await.1.unwrap_err();
            world.config.cycle.hooks.post_install = Vec::new();
            world.advance(MIN_BACKOFF + SECOND);
            world.poll_all().await.unwrap();
        }
        let result = world.update().await.1;
        assert_eq!(result.is_ok(), works, "{result:?}");
        let current = installed_bytes(&world);
        assert_eq!(current, if works { artifact } else { FIRST_ARTIFACT }, "{version}");
    }
}

#[tokio::test]
async fn a_command_for_several_products_reports_an_outcome_for_each() {
    let scratch = scratch_dir();
    let world = create_settled_world(scratch.path().join("world")).await;
    world.write_config().unwrap();
    let client = world.directory.join("client");
    let own = fs::read_to_string(client.join("unanimity.toml")).unwrap();
    let other = own
        .replace("root = \"hello\"", "root = \"b\"")
        .replace("state = \"state\"", "state = \"c\"");
    // The twin would install to the other product's root, through a symbolic link.
    let twin = other.replace("state = \"c\"", "state = \"d\"");
    std::os::unix::fs::symlink("b", client.join("link")).unwrap();
    fs::create_dir(client.join("b")).unwrap();
    fs::write(client.join("twin.toml"), twin.replace("root = \"b\"", "root = \"link\"")).unwrap();
    fs::write(client.join("other.toml"), other).unwrap();
    let paths = ["other.toml", "none.toml", "twin.toml"]
        .map(|name| client.join(name).to_str().unwrap().to_owned());
    let arguments = [
        "check",
        "--product-config",
        &paths[0],
        "--product-config",
        &paths[1],
        "--product-config",
        &paths[2],
    ];
    // Offline, no peer answers. An outcome that does not go away by itself comes first.
    assert_eq!(run(&world, &arguments[..3]).0, 12);
    let (code, text) = run(&world, &arguments);
    assert_eq!(code, 3, "{text}");
    let mut messages = Messages::new(scratch.path());
    // How many lines of progress come before the report depends on the speed of the machine.
    let report = text.lines().skip_while(|line| !line.starts_with("unanimity: "));
    messages.add("check", &report.collect::<Vec<_>>().join("\n"));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/several_products.txt"]);
    let (code, text) = run(&world, &[&["--json"], &arguments[..]].concat());
    assert_eq!(code, 3, "{text}");
    let report: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let ends: Vec<_> =
        report["products"].as_array().unwrap().iter().map(|one| &one["exit"]).collect();
    assert_eq!(
        (&report["exit"], ends),
        (&3.into(), vec![&12.into(), &3.into(), &3.into()]),
        "{text}"
    );
    assert_eq!(report["own"]["outcome"], "incomplete");
    assert_eq!(report["products"][0]["config"], paths[0]);
    assert_eq!(report["products"][0]["outcome"], "incomplete");
}

#[tokio::test]
async fn install_refuses_files_writable_by_others_and_states_of_others() {
    let scratch = scratch_dir();
    let mut world = create_settled_world(scratch.path().join("world")).await;
    let client = world.directory.join("client");
    fs::write(client.join("hook"), "#!/bin/sh\n").unwrap();
    world.config.cycle.hooks.post_install = vec![client.join("hook").to_str().unwrap().to_owned()];
    world.write_config().unwrap();
    let set_mode = |name: &str, mode| {
        fs::set_permissions(client.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode("hook", 0o755);
    let mut messages = Messages::new(scratch.path());
    for (name, good) in [
        ("unanimity.toml", 0o644),
        ("peers.toml", 0o644),
        ("", 0o755),
        ("hook", 0o755),
        ("hello", 0o755),
        ("hello/versions", 0o755),
        ("hello/versions/1-1.0.0", 0o755),
        ("hello/journal.json", 0o644),
    ] {
        for mode in [good | 0o020, good | 0o1002, good] {
            if mode & 0o1000 != 0 && name.is_empty() {
                continue;
            }
            set_mode(name, mode);
            if rustix::process::geteuid().is_root() {
                let (code, text) = run(&world, &["update"]);
                assert_eq!(code, if mode == good { 12 } else { 3 }, "{name}: {text}");
            }
            let installs = [&[][..], &["--from", "/"]];
            for (run, verb) in [
                (run_installer as fn(&World, &[&str]) -> (i32, String), installs[0]),
                (run_installer, installs[1]),
                (run_installer, &["rollback"]),
                (run_installer, &["mark-good"]),
                (run, &["rollback"]),
                (run, &["mark-good"]),
            ] {
                let (code, text) = run(&world, verb);
                let is_installing = installs.contains(&verb);
                let expected = if mode == good && !is_installing { 2 } else { 3 };
                assert_eq!(code, expected, "{name} {verb:?}: {text}");
                let is_refused = ["other users may write to it", "every user may write to it"]
                    .iter()
                    .any(|reason| text.contains(reason));
                assert_eq!(is_refused, mode != good, "{name} {verb:?}: {text}");
                if is_installing {
                    let case = format!("{name:?} {mode:04o} {}", verb.join(" "));
                    messages.add(case.trim_end(), &text);
                }
            }
        }
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/writable_by_others.txt"]);
    if rustix::process::geteuid().is_root() {
        let mut messages = Messages::new(scratch.path());
        let state = world.config.cycle.state.clone();
        std::os::unix::fs::chown(&state, Some(54_321), None).unwrap();
        for verb in ["check", "update"] {
            let (code, text) = run(&world, &[verb]);
            assert_eq!(code, 6, "{text}");
            messages.add(&format!("{verb} as root"), &text);
        }
        assert_eq!(run(&world, &["status"]).0, 0);
        // A user without privileges sees the owner of the state, and nothing in it.
        chown_tree(&client, 54_322);
        std::os::unix::fs::chown(&state, Some(54_321), None).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for verb in ["status", "check", "update"] {
            let (code, text) = run_as(&world, 54_322, &[verb]);
            assert_eq!(code, 6, "{text}");
            messages.add(&format!("{verb} as another user"), &text);
        }
        // In a split installation, another user may read the status.
        let spool = world.directory.join("client/spool");
        world.config.cycle.spool =
            Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
        world.write_config().unwrap();
        chown_tree(&client.join("unanimity.toml"), 54_322);
        chown_tree(&client.join("peers.toml"), 54_322);
        let (code, text) = run_as(&world, 54_322, &["status"]);
        assert_eq!(code, 0, "{text}");
        messages.add("status in a split installation", &text);
        // Root neither asks a process that poses as the daemon, nor reads the files of another
        // user.
        fs::create_dir_all(state.join("serve")).unwrap();
        let _posing = UnixListener::bind(state.join("serve/socket")).unwrap();
        fs::write(state.join("client/client.json"), "no state").unwrap();
        let (code, text) = run(&world, &["status"]);
        assert_eq!(code, 0, "{text}");
        messages.add("status as root in a split installation", &text);
        let (code, text) = run(&world, &["evidence", "show"]);
        assert_eq!(code, 6, "{text}");
        messages.add("evidence show as root", &text);
        assert_eq!(run_as(&world, 54_322, &["check"]).0, 6);
        snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/state_of_others.txt"]);
    }
}

/// Gives a directory and everything below it to a user.
fn chown_tree(path: &std::path::Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| chown_tree(&entry.unwrap().path(), user));
    }
}

/// Runs `unanimity` as a user without privileges.
fn run_as(world: &World, user: u32, arguments: &[&str]) -> (i32, String) {
    let user = user.to_string();
    let copy = world.directory.join("unanimity");
    fs::copy(PROGRAM, &copy).unwrap();
    let config = world.directory.join("client/unanimity.toml");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(copy);
    let Output { status, stdout, stderr } =
        command.arg("--config").arg(config).args(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[tokio::test]
async fn status_shows_a_withdrawal_and_rollback_refuses_the_release() {
    let scratch = scratch_dir();
    let mut world = create_settled_world(scratch.path().join("world")).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    world.write_config().unwrap();
    world.publish_withdrawal("log", 1, "Bad.", world.clock.now()).unwrap();
    world.poll_all().await.unwrap();
    world.check().await.1.unwrap();
    let root = &world.config.cycle.install_root;
    let verify = |release: &str, file: &str| {
        let path = |at: String| root.join(at).to_str().unwrap().to_owned();
        let (file, proof) =
            (path(format!("versions/{release}/{file}")), path(format!("proofs/{release}")));
        run(&world, &["verify", &file, "--proof", &proof])
    };
    assert_eq!(verify("2-1.1.0", "hello").0, 0);
    let (code, text) = verify("1-1.0.0", "hello");
    assert_eq!(code, 31, "{text}");
    let mut messages = Messages::new(scratch.path());
    messages.add("verify", &text);
    let (code, text) = run(&world, &["rollback", "1-1.0.0"]);
    assert_eq!((code, installed_bytes(&world)), (31, SECOND_ARTIFACT.to_vec()), "{text}");
    messages.add("rollback", &text);
    let (code, text) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (2, SECOND_ARTIFACT.to_vec()), "{text}");
    messages.add("status", &run(&world, &["status"]).1);
    world.publish_withdrawal("log", 2, "Bad as well.", world.clock.now()).unwrap();
    world.poll_all().await.unwrap();
    world.check().await.1.unwrap_err();
    let (code, text) = run(&world, &["status"]);
    assert_eq!(code, 31, "{text}");
    messages.add("status of a withdrawn release", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/withdrawn_release.txt"]);
}
