//! What an operator does by hand with the program itself: going back, vouching, carrying releases to a
//! machine without a network.

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
const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");

/// A world whose two releases have settled by now, as the program will see it.
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

/// Runs the program that installs.
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
async fn going_back_and_vouching_say_what_they_did_and_why_they_did_not() {
    let home = scratch_dir();
    let mut world = create_settled_world(home.path().join("world")).await;
    world.write_config().unwrap();
    let (code, said) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (2, FIRST_ARTIFACT.to_vec()), "{said}");
    assert!(said.trim().ends_with("there is no older version here that proved good"), "{said}");
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    let (code, said) = run(&world, &["status"]);
    assert!(said.contains("installed   2-1.1.0\nbefore      1-1.0.0\n"), "{code} {said}");
    let (code, said) = run(&world, &["rollback", "7-7"]);
    assert_eq!((code, installed_bytes(&world)), (2, SECOND_ARTIFACT.to_vec()), "{said}");
    let (code, said) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (0, FIRST_ARTIFACT.to_vec()), "{said}");
    assert!(said.contains("1-1.0.0 is installed again"), "{said}");
    assert!(said.contains(". 2-1.1.0 is not installed again by itself; something"), "{said}");
    // Asked again, nobody goes forward to what they have just left.
    let (code, said) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (2, FIRST_ARTIFACT.to_vec()), "{said}");
    let (_, said) = run(&world, &["status"]);
    let left = "left        2-1.1.0: not installed again by itself, something newer is\n";
    assert!(said.contains(&format!("installed   1-1.0.0\n{left}")), "{said}");
    let (code, said) = run(&world, &["rollback", "1-1.0.0"]);
    assert_eq!((code, installed_bytes(&world)), (0, FIRST_ARTIFACT.to_vec()), "{said}");
    assert!(said.starts_with("1-1.0.0 is installed, in "), "{said}");
    // The check is asked there as well, and stops nobody.
    world.config.cycle.hooks.check =
        ["/bin/sh", "-c", "echo no >&2; false"].map(str::to_owned).into();
    world.write_config().unwrap();
    let (code, said) = run(&world, &["--json", "rollback", "2-1.1.0"]);
    assert_eq!((code, installed_bytes(&world)), (30, SECOND_ARTIFACT.to_vec()), "{said}");
    assert!(said.contains(r#""outcome":"unhealthy""#) && said.contains(": no\""), "{said}");
    let (code, said) = run(&world, &["status"]);
    assert_eq!(code, 30, "{said}");
    assert!(said.contains(": no. It is what is installed; `unanimity mark-good` says"), "{said}");
    let (code, said) = run(&world, &["mark-good"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&world, &["mark-good"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("no release is on trial, and none has failed"), "{said}");
}

#[tokio::test]
async fn a_release_that_failed_is_in_status_and_passes_on_the_operators_word() {
    let home = scratch_dir();
    let mut world = create_settled_world(home.path().join("world")).await;
    world.config.cycle.hooks.check =
        ["/bin/sh", "-c", "echo no >&2; false"].map(str::to_owned).into();
    world.write_config().unwrap();
    world.update().await.1.unwrap_err();
    let (_, said) = run(&world, &["status"]);
    assert!(
        said.contains("failed      2-1.1.0, once: check failed (exit status: 1): no; 1-1.0.0 is installed again. It is tried again after "),
        "{said}"
    );
    let (code, said) = run(&world, &["mark-good"]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("2-1.1.0 is tried again at the next `update`, without the check"),
        "{said}"
    );
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(installed_bytes(&world), SECOND_ARTIFACT);
}

#[tokio::test]
async fn a_release_that_was_carried_is_installed_within_the_bound_that_its_operator_set() {
    let home = scratch_dir();
    let mut world = create_settled_world(home.path().join("world")).await;
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
    // Over there, nobody has a spool.
    world.config.cycle.spool = None;
    world.write_config().unwrap();
    let carried = ["--from", stick.to_str().unwrap()];
    let (code, said) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (3, FIRST_ARTIFACT.to_vec()), "{said}");
    assert!(said.contains("say in [install] freshness how old"), "{said}");
    let config = world.directory.join("client/unanimity.toml");
    let told = fs::read_to_string(&config).unwrap();
    let bound = |bound: &str| {
        let install = format!("[install]\nfreshness = \"{bound}\"\n");
        fs::write(&config, told.replace("[install]\n", &install)).unwrap();
    };
    // It was cosigned about an hour ago.
    bound("30m");
    let (code, said) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (12, FIRST_ARTIFACT.to_vec()), "{said}");
    bound("7d");
    let proof = stick.join("proof");
    let whole = fs::read_to_string(&proof).unwrap();
    fs::write(&proof, whole.replacen("bundle/v1", "bundle/v2", 1)).unwrap();
    let (code, said) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (29, FIRST_ARTIFACT.to_vec()), "{said}");
    fs::write(&proof, whole).unwrap();
    let (code, said) = run_installer(&world, &carried);
    assert_eq!((code, installed_bytes(&world)), (0, SECOND_ARTIFACT.to_vec()), "{said}");
    let (code, said) = run_installer(&world, &carried);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing new is staged"), "{said}");
    let (code, said) = run(&world, &["install"]);
    assert_eq!(code, 2, "{said}");
    let (code, said) = run_installer(&world, &["--from", home.path().to_str().unwrap()]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("is this what a spool was?"), "{said}");
    let (_, said) = run(&world, &["status"]);
    assert!(said.contains("\ninstaller   trusted size 2, root "), "{said}");
    // What was read there is known to whatever is asked of this node.
    fs::remove_dir_all(world.config.cycle.state.join("client")).unwrap();
    let (code, said) = run(&world, &["rollback", "1-1.0.0"]);
    assert_eq!((code, installed_bytes(&world)), (31, SECOND_ARTIFACT.to_vec()), "{said}");
    let root = &world.config.cycle.install_root;
    let path = |path: &str| root.join(path).to_str().unwrap().to_owned();
    let (file, proof) = (path("versions/1-1.0.0/hello"), path("proofs/1-1.0.0"));
    assert_eq!(run(&world, &["verify", &file, "--proof", &proof]).0, 31);
    assert_eq!(run(&world, &["status"]).0, 0);
    let log = unanimity_protocol::Hash(world.config.cycle.policy.log.id().0).hex();
    let evidence = installer_state_dir(root).join("evidence").join(&log[..16]);
    fs::create_dir_all(&evidence).unwrap();
    fs::write(evidence.join("aa.txt"), "").unwrap();
    let (code, said) = run(&world, &["status"]);
    assert_eq!(code, 20, "{said}");
    assert!(said.contains("(`unanimity evidence show aa --installer`)"), "{said}");
    let (_, said) = run(&world, &["evidence", "show"]);
    assert!(said.contains("The installer holds updates back by evidence aa"), "{said}");
}

/// The program updates itself as one more product: its check is that the new one starts and reads what
/// the old one left.
#[tokio::test]
async fn a_new_version_of_the_program_that_does_not_start_gives_way() {
    let home = scratch_dir();
    let mut world = create_settled_world(home.path().join("world")).await;
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
            // That it failed before, for a reason that is gone, does not speak against it.
            world.config.cycle.hooks.post_install = vec!["/bin/false".to_owned()];
            world.update().await.1.unwrap_err();
            world.config.cycle.hooks.post_install = Vec::new();
            world.advance(MIN_BACKOFF + SECOND);
            world.poll_all().await.unwrap();
        }
        let ended = world.update().await.1;
        assert_eq!(ended.is_ok(), works, "{ended:?}");
        let current = installed_bytes(&world);
        assert_eq!(current, if works { artifact } else { FIRST_ARTIFACT }, "{version}");
    }
}

#[tokio::test]
async fn what_is_asked_of_a_node_can_be_asked_of_more_products_of_it_and_each_has_its_own_end() {
    let home = scratch_dir();
    let world = create_settled_world(home.path().join("world")).await;
    world.write_config().unwrap();
    let client = world.directory.join("client");
    let own = fs::read_to_string(client.join("unanimity.toml")).unwrap();
    let other = own
        .replace("root = \"hello\"", "root = \"b\"")
        .replace("state = \"state\"", "state = \"c\"");
    // One that would install to where the other one does, by another name.
    let twin = other.replace("state = \"c\"", "state = \"d\"");
    std::os::unix::fs::symlink("b", client.join("link")).unwrap();
    fs::create_dir(client.join("b")).unwrap();
    fs::write(client.join("twin.toml"), twin.replace("root = \"b\"", "root = \"link\"")).unwrap();
    fs::write(client.join("other.toml"), other).unwrap();
    let paths = ["other.toml", "none.toml", "twin.toml"]
        .map(|name| client.join(name).to_str().unwrap().to_owned());
    let also = ["check", "--also", &paths[0], "--also", &paths[1], "--also", &paths[2]];
    // Offline, everybody is silent. What no waiting mends comes first.
    assert_eq!(run(&world, &also[..3]).0, 12);
    let (code, said) = run(&world, &also);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("\n{}: incomplete", paths[0])), "{said}");
    assert!(said.contains(&format!("\n{}: ", paths[1])), "{said}");
    let apart = "its root, its state and its spool have to be apart from those of";
    assert!(said.contains(&format!("{}: {apart} {}", paths[2], paths[0])), "{said}");
    let (code, said) = run(&world, &[&["--json"], &also[..]].concat());
    assert_eq!(code, 3, "{said}");
    let report: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let ends: Vec<_> = report["also"].as_array().unwrap().iter().map(|one| &one["exit"]).collect();
    assert_eq!(
        (&report["exit"], ends),
        (&3.into(), vec![&12.into(), &3.into(), &3.into()]),
        "{said}"
    );
    assert_eq!(report["own"]["outcome"], "incomplete");
    assert_eq!(report["also"][0]["config"], paths[0]);
    assert_eq!(report["also"][0]["outcome"], "incomplete");
}

#[tokio::test]
async fn who_installs_goes_by_nothing_that_others_may_write_and_nobody_writes_to_anothers_state() {
    let home = scratch_dir();
    let mut world = create_settled_world(home.path().join("world")).await;
    let client = world.directory.join("client");
    fs::write(client.join("hook"), "#!/bin/sh\n").unwrap();
    world.config.cycle.hooks.post_install = vec![client.join("hook").to_str().unwrap().to_owned()];
    world.write_config().unwrap();
    let rights = |name: &str, mode| {
        fs::set_permissions(client.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    rights("hook", 0o755);
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
            rights(name, mode);
            if rustix::process::geteuid().is_root() {
                let (code, said) = run(&world, &["update"]);
                assert_eq!(code, if mode == good { 12 } else { 3 }, "{name}: {said}");
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
                let (code, said) = run(&world, verb);
                let is_by_hand = mode == good && !installs.contains(&verb);
                assert_eq!(code, if is_by_hand { 2 } else { 3 }, "{said}");
                let is_refused = ["nobody else may write to it", "everybody may write to it"]
                    .iter()
                    .any(|why| said.contains(why));
                assert_eq!(is_refused, mode != good, "{name} {verb:?}: {said}");
            }
        }
    }
    if rustix::process::geteuid().is_root() {
        let state = world.config.cycle.state.clone();
        std::os::unix::fs::chown(&state, Some(54_321), None).unwrap();
        for verb in ["check", "update"] {
            let (code, said) = run(&world, &[verb]);
            assert_eq!(code, 6, "{said}");
            assert!(said.contains("belongs to the user with id 54321: run this as them"), "{said}");
        }
        assert_eq!(run(&world, &["status"]).0, 0);
        // As who is nobody special here: whose state that is, they can see, and no more.
        chown_tree(&client, 54_322);
        std::os::unix::fs::chown(&state, Some(54_321), None).unwrap();
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for verb in ["status", "check", "update"] {
            let (code, said) = run_as(&world, 54_322, &[verb]);
            assert_eq!(code, 6, "{said}");
            assert!(said.contains("belongs to the user with id 54321: run this as them"), "{said}");
        }
        // Where one fetches and another installs, that is how it is meant to be.
        let spool = world.directory.join("client/spool");
        world.config.cycle.spool =
            Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
        world.write_config().unwrap();
        chown_tree(&client.join("unanimity.toml"), 54_322);
        chown_tree(&client.join("peers.toml"), 54_322);
        let (code, said) = run_as(&world, 54_322, &["status"]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("installed   1-1.0.0\n"), "{said}");
        assert!(said.contains("is for the user who fetches alone: run this as them"), "{said}");
        // Nor does root ask whoever poses as a daemon there, or look at what they have left.
        fs::create_dir_all(state.join("serve")).unwrap();
        let _posing = UnixListener::bind(state.join("serve/socket")).unwrap();
        fs::write(state.join("client/client.json"), "no state").unwrap();
        let (code, said) = run(&world, &["status"]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("serving     not asked: "), "{said}");
        let (code, said) = run(&world, &["evidence", "show"]);
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("belongs to the user with id 54321: run this as them"), "{said}");
        assert_eq!(run_as(&world, 54_322, &["check"]).0, 6);
    }
}

/// Everything below a directory becomes somebody's.
fn chown_tree(path: &std::path::Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| chown_tree(&entry.unwrap().path(), user));
    }
}

/// The program is run by a user without any rights of their own.
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
async fn that_a_release_was_taken_back_is_in_status_and_there_is_no_way_back_to_it() {
    let home = scratch_dir();
    let mut world = create_settled_world(home.path().join("world")).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    world.write_config().unwrap();
    world.publish_withdrawal("log", 1, "Bad.", world.clock.now()).unwrap();
    world.poll_all().await.unwrap();
    world.check().await.1.unwrap();
    let root = &world.config.cycle.install_root;
    let of = |release: &str, file: &str| {
        let path = |at: String| root.join(at).to_str().unwrap().to_owned();
        let (file, proof) =
            (path(format!("versions/{release}/{file}")), path(format!("proofs/{release}")));
        run(&world, &["verify", &file, "--proof", &proof])
    };
    assert_eq!(of("2-1.1.0", "hello").0, 0);
    let (code, said) = of("1-1.0.0", "hello");
    assert_eq!(code, 31, "{said}");
    assert!(
        said.contains(
            "withdrawn: entry 2 of the log takes back release 1-1.0.0 (not installed here): Bad."
        ),
        "{said}"
    );
    let (code, said) = run(&world, &["rollback", "1-1.0.0"]);
    assert_eq!((code, installed_bytes(&world)), (31, SECOND_ARTIFACT.to_vec()), "{said}");
    assert!(said.contains("1-1.0.0 was taken back by its publisher: there is no way"), "{said}");
    let (code, said) = run(&world, &["rollback"]);
    assert_eq!((code, installed_bytes(&world)), (2, SECOND_ARTIFACT.to_vec()), "{said}");
    let (_, said) = run(&world, &["status"]);
    assert!(!said.contains("WITHDRAWN"), "{said}");
    world.publish_withdrawal("log", 2, "Bad as well.", world.clock.now()).unwrap();
    world.poll_all().await.unwrap();
    world.check().await.1.unwrap_err();
    let (code, said) = run(&world, &["status"]);
    assert_eq!(code, 31, "{said}");
    let line = "WITHDRAWN   entry 3 of the log takes back release 2-1.1.0, which is installed, and nothing newer can be: Bad as well.\n";
    assert!(said.contains(line), "{said}");
}
