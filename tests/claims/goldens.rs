//! The output and the exit codes of the programs, as recorded in `tests/goldens/`.
//!
//! Each file there is a session. It runs from top to bottom in a directory of its own, which the
//! function of the same name prepares. `TRYCMD=overwrite cargo test --test claims goldens` records
//! the sessions again. `[..]` stands for a part of a line and `...` for lines that differ from run
//! to run. `trycmd` shows both output streams as one, and every backslash as a slash.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use trycmd::TestCases;
use trycmd::schema::Bin;
use unanimity_client::CycleOutcome;
use unanimity_config::SpoolSettings;
use unanimity_protocol::key::{KeyName, SigningKey};
use unanimity_protocol::{Manifest, Note, NoteSigningKey, Timestamp, Withdrawal};
use unanimity_publish::{KdfCost, ReleaseDraft};
use unanimity_storage::{Clock as _, Storage, SystemClock};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{FIRST_ARTIFACT, HOUR, SECOND, SECOND_ARTIFACT};
use unanimity_testkit::{Attack, ReleaseSpec, World, copy_tree};

use crate::installer;
use crate::peers_command;

/// The time of the recorded releases. Everything that a recorded program reads is older than today.
const RECORDED_AT: Timestamp = Timestamp(1_750_000_000);
/// The validity of the recorded releases, 100 years, so that they do not expire.
const RECORDED_VALIDITY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// The programs that a recorded session may use besides `unanimity` and `unanimity-install`.
const TOOLS: [&str; 4] = ["chmod", "cp", "rm", "sh"];

/// A recorded session, with the directory in which its commands run.
struct RecordedSession {
    scratch: TempDir,
    name: &'static str,
    cases: TestCases,
}

impl RecordedSession {
    fn new(name: &'static str) -> RecordedSession {
        let scratch = scratch_dir();
        fs::create_dir(scratch.path().join(format!("{name}.in"))).unwrap();
        let cases = TestCases::new();
        cases.register_bin("unanimity", Bin::Path(env!("CARGO_BIN_EXE_unanimity").into()));
        cases.insert_var("[PROGRAM]", env!("CARGO_BIN_EXE_unanimity")).unwrap();
        cases.register_bin("unanimity-install", Bin::Path(installer::installer_path()));
        // For commands in a shell, which does not know the registered names.
        cases.env("UNANIMITY", env!("CARGO_BIN_EXE_unanimity"));
        for tool in TOOLS {
            cases.register_bin(tool, Bin::Path(Path::new("/bin").join(tool)));
        }
        let home = scratch.path().join("home").display().to_string();
        cases.env("HOME", home).env("XDG_CONFIG_HOME", "").env("COLUMNS", "100");
        cases.env(unanimity_config::tor_settings::NO_PUBLIC_NETWORK, "1");
        RecordedSession { scratch, name, cases }
    }

    /// A path in the directory of the commands.
    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{}.in", self.name)).join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs every command, and compares its output with the record.
    fn run_and_compare(self) {
        let file = format!("{}.trycmd", self.name);
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(&file);
        let played = self.scratch.path().join(&file);
        fs::copy(&recorded, &played).unwrap();
        self.cases.case(&played).run();
        if std::env::var_os("TRYCMD").is_some_and(|mode| mode == "overwrite") {
            fs::copy(&played, &recorded).unwrap();
        }
    }

    /// Adds a passphrase file, keys, and two files to release.
    fn with_keys(self) -> RecordedSession {
        self.write("pass", "correct horse\n");
        fs::set_permissions(self.path("pass"), fs::Permissions::from_mode(0o600)).unwrap();
        for name in ["a", "b", "c", "log"] {
            self.write_key(&test_key::<1>(name));
        }
        self.write_key(&test_key::<4>("peer"));
        self.write("hello", "#!/bin/sh\necho hello\n");
        self.write("other", "#!/bin/sh\necho other\n");
        self
    }

    fn write_key<const TYPE: u8>(&self, secret: &SigningKey<TYPE>) {
        let name = secret.public().name().clone();
        let (passphrase, work) = ("correct horse".to_owned().into(), KdfCost::Factor(2));
        let path = self.path(&format!("{name}.key"));
        unanimity_publish::write_key(&path, secret, &passphrase, work, &Storage::default())
            .unwrap();
        self.write(&format!("{name}.key.pub"), format!("{}\n", secret.public()));
    }

    /// Writes a manifest that `a` and `b` have signed to the file `name`.
    fn write_signed_manifest(&self, name: &str, sequence: u64, file: &str, valid_for: Duration) {
        let manifest = create_manifest(sequence, &self.read(file), valid_for);
        self.write(name, sign_text(&manifest.to_string()));
    }
}

/// A key that is the same in every run.
fn test_key<const TYPE: u8>(name: &str) -> SigningKey<TYPE> {
    let mut seed = [TYPE; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_seed(name.parse::<KeyName>().unwrap(), &seed)
}

fn create_manifest(sequence: u64, file: &str, valid_for: Duration) -> Manifest {
    let release = ReleaseDraft {
        log: "example.org/l".parse().unwrap(),
        product: "hello".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        sequence,
        version: format!("1.{sequence}").parse().unwrap(),
        issued: RECORDED_AT,
        valid_for,
    };
    let platform = "x86_64-linux".parse().unwrap();
    let artifact = (platform, "hello".parse().unwrap(), file.as_bytes().to_vec());
    unanimity_publish::build_manifest(release, [artifact]).unwrap()
}

fn sign_text(text: &str) -> String {
    let mut note = Note::unsigned(text).unwrap();
    for name in ["a", "b"] {
        let secret: NoteSigningKey = test_key(name);
        note.sign(&secret);
    }
    note.to_string()
}

/// Release 1 or 2 of a world, valid for [`RECORDED_VALIDITY`].
fn recorded_release(sequence: u64) -> ReleaseSpec {
    let spec = match sequence {
        1 => ReleaseSpec::new(1, "1.0.0", FIRST_ARTIFACT),
        _ => ReleaseSpec::new(2, "1.1.0", SECOND_ARTIFACT),
    };
    ReleaseSpec { valid_for: RECORDED_VALIDITY, ..spec }
}

/// A world with release 1 installed. Its keys are the same in every run.
async fn create_world(session: &RecordedSession, start: Timestamp) -> World {
    let mut world = World::create(&session.path("world"), 15, start).unwrap();
    fs::create_dir_all(world.directory.join("client")).unwrap();
    publish_and_settle(&mut world, &recorded_release(1)).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    world.write_config().unwrap();
    world
}

/// Publishes a release, and lets it settle.
async fn publish_and_settle(world: &mut World, spec: &ReleaseSpec) {
    world.publish(spec).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance(HOUR + SECOND);
    world.poll_all().await.unwrap();
}

/// A start three hours ago: all events of a session are in the past, and recent.
fn recent_start() -> Timestamp {
    Timestamp(SystemClock.now().0 - 3 * 3600)
}

#[test]
fn help() {
    RecordedSession::new("help").run_and_compare();
}

#[test]
fn usage() {
    RecordedSession::new("usage").run_and_compare();
}

#[test]
fn keygen() {
    let session = RecordedSession::new("keygen").with_keys();
    session.write("empty", "");
    session.run_and_compare();
}

#[test]
fn release() {
    let session = RecordedSession::new("release").with_keys();
    session.write("text", "just text\n");
    session.write("damaged.tar", "just text\n");
    session.write("wrong", "wrong\n");
    fs::set_permissions(session.path("wrong"), fs::Permissions::from_mode(0o600)).unwrap();
    session.write("unsigned", create_manifest(1, "hello", RECORDED_VALIDITY).to_string());
    session.write("unsigned2", create_manifest(1, "hello", RECORDED_VALIDITY).to_string());
    session.write_signed_manifest("signed", 1, "hello", RECORDED_VALIDITY);
    session.write("damaged", session.read("signed").replace("sequence 1", "sequence 2"));
    session.run_and_compare();
}

#[test]
fn log() {
    let session = RecordedSession::new("log").with_keys();
    session.write("text", "just text\n");
    session.write_signed_manifest("m1", 1, "hello", RECORDED_VALIDITY);
    session.write_signed_manifest("m2", 2, "other", RECORDED_VALIDITY);
    session.write_signed_manifest("m2-twin", 2, "hello", RECORDED_VALIDITY);
    session.write_signed_manifest("m3", 3, "hello", RECORDED_VALIDITY);
    session.write_signed_manifest("m9", 9, "hello", SECOND);
    let whole = session.read("m1");
    let one: Vec<&str> = whole.lines().filter(|line| !line.starts_with("— b ")).collect();
    session.write("m1-one", one.join("\n") + "\n");
    session.write("unsigned", create_manifest(1, "hello", RECORDED_VALIDITY).to_string());
    session.write("foreign", sign_text(&session.read("unsigned").replace("org/l", "org/other")));
    session.write("edited", session.read("m2").replace("sequence 2", "sequence 4"));
    for (name, sequence) in [("w1", 1), ("w7", 7)] {
        let withdrawal = Withdrawal {
            log: "example.org/l".parse().unwrap(),
            product: "hello".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            sequence,
            issued: RECORDED_AT,
            reason: "It eats files.".to_owned(),
        };
        session.write(name, sign_text(&withdrawal.to_string()));
    }
    session.run_and_compare();
}

#[test]
fn log_export() {
    let session = RecordedSession::new("log-export").with_keys();
    session.write_signed_manifest("m1", 1, "hello", RECORDED_VALIDITY);
    session.write_signed_manifest("m2", 2, "other", RECORDED_VALIDITY);
    session.write_signed_manifest("m2-twin", 2, "hello", RECORDED_VALIDITY);
    fs::create_dir(session.path("occupied")).unwrap();
    session.write("occupied/diary", "Dear diary\n");
    session.run_and_compare();
}

#[test]
fn init() {
    RecordedSession::new("init").run_and_compare();
}

#[test]
fn config() {
    let session = RecordedSession::new("config").with_keys();
    let [a, log] = ["a", "log"].map(|name| session.read(&format!("{name}.key.pub")));
    let (a, log) = (a.trim(), log.trim());
    let good = format!(
        "[product]\nname = \"hello\"\nchannel = \"stable\"\n\
         [publisher]\nthreshold = 1\nkeys = [\"{a}\"]\n\
         [log]\norigin = \"example.org/l\"\nkey = \"{log}\"\nmirrors = [\"file:/nowhere\"]\n\
         [install]\nroot = \"root\"\nstate = \"state\"\n[tor]\noffline = true\n"
    );
    for (name, from, to) in [
        ("good", "", ""),
        ("syntax", "[product]", "[product"),
        ("unknown", "[product]\n", "[product]\ncolour = \"red\"\n"),
        ("missing", "channel = \"stable\"\n", ""),
        ("threshold", "threshold = 1", "threshold = 2"),
        ("one-key-two-roles", a, log),
        ("no-key", a, "nonsense"),
        ("mirror", "file:/nowhere", "ftp://example.org"),
        ("inside", "\"state\"", "\"root/state\""),
        ("freshness", "[tor]", "freshness = \"1s\"\n[tor]"),
        ("settle", "[tor]", "[limits]\nsettle = \"soon\"\n[tor]"),
        ("open", "", ""),
    ] {
        fs::create_dir(session.path(name)).unwrap();
        session.write(&format!("{name}/unanimity.toml"), good.replacen(from, to, 1));
        session.write(&format!("{name}/peers.toml"), "");
    }
    for (name, peers) in [
        ("peers-syntax", "[[peer]\n"),
        ("peers-unknown", "min_peers = 1\nmax_peers = 2\n"),
        ("peers-none", "min_peers = 0\n"),
    ] {
        fs::create_dir(session.path(name)).unwrap();
        session.write(&format!("{name}/unanimity.toml"), &good);
        session.write(&format!("{name}/peers.toml"), peers);
    }
    session.run_and_compare();
}

#[test]
fn peers() {
    let session = RecordedSession::new("peers");
    let sandbox = peers_command::two_nodes();
    for name in ["dora", "emil"] {
        let invite = sandbox.run_ok(&format!("--config {name}/unanimity.toml peers invite"));
        let report = sandbox.run_ok(&format!("--json --config {name}/unanimity.toml peers invite"));
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        let fingerprint = report["fingerprint"].as_str().unwrap().to_owned();
        let vars = match name {
            "dora" => ["[DORA_INVITE]", "[DORA_FINGERPRINT]"],
            _ => ["[EMIL_INVITE]", "[EMIL_FINGERPRINT]"],
        };
        session.cases.insert_var(vars[0], invite.trim().to_owned()).unwrap();
        session.cases.insert_var(vars[1], fingerprint).unwrap();
        sandbox.write(&format!("{name}.invite"), invite);
    }
    sandbox.write("text", "just text\n");
    copy_tree(sandbox.path(), &session.path("")).unwrap();
    // For `remove` and `cancel-removal`, the peer counts, as if its head had been compared.
    copy_tree(&session.path("dora"), &session.path("paired")).unwrap();
    let invite = session.read("emil.invite");
    let fields: Vec<&str> = invite.trim().split(',').collect();
    let peers = format!(
        "min_peers = 1\n\n[[peer]]\nname = \"emil\"\noperator = \"emil\"\naddress = \"{}\"\nkey = \"{}\"\nclient_auth = \"{}\"\n",
        fields[4], fields[5], fields[6]
    );
    session.write("paired/peers.toml", peers);
    session.run_and_compare();
}

#[tokio::test]
async fn status() {
    let session = RecordedSession::new("status");
    let mut world = create_world(&session, RECORDED_AT).await;
    publish_and_settle(&mut world, &recorded_release(2)).await;
    let day = Duration::from_secs(24 * 3600);
    world.advance(day);
    world.stop(1);
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    session.run_and_compare();
}

#[tokio::test]
async fn status_of_a_node_that_is_up_to_date() {
    let session = RecordedSession::new("status-recent");
    let mut world = create_world(&session, recent_start()).await;
    publish_and_settle(&mut world, &recorded_release(2)).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    session.run_and_compare();
}

#[tokio::test]
async fn check_and_update() {
    let session = RecordedSession::new("update");
    let mut world = create_world(&session, RECORDED_AT).await;
    publish_and_settle(&mut world, &recorded_release(2)).await;
    copy_tree(&world.directory, &session.path("second")).unwrap();
    drop(world);
    // The state of this node has verified a time that is later than the machine's clock.
    fs::rename(session.path("world"), session.path("then")).unwrap();
    drop(create_world(&session, Timestamp(4_000_000_000)).await);
    fs::rename(session.path("world"), session.path("later")).unwrap();
    fs::rename(session.path("then"), session.path("world")).unwrap();
    session.run_and_compare();
}

#[tokio::test]
async fn verify() {
    let session = RecordedSession::new("verify");
    let mut world = create_world(&session, RECORDED_AT).await;
    publish_and_settle(&mut world, &recorded_release(2)).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    let bundle = session.read("world/client/hello/proofs/2-1.1.0");
    session.write("damaged", bundle.replacen("version 1.1.0", "version 1.1.1", 1));
    session.write("text", "just text\n");
    let length = SECOND_ARTIFACT.len();
    session.write("same-length", "x".repeat(length));
    world.publish_withdrawal("log", 1, "It eats files.", world.clock.now()).unwrap();
    world.poll_all().await.unwrap();
    world.check().await.1.ok();
    session.run_and_compare();
}

#[tokio::test]
async fn evidence() {
    let session = RecordedSession::new("evidence");
    let base = create_world(&session, RECORDED_AT).await;
    let forked = base.copy_to(&session.path("forked")).unwrap();
    forked.write_config().unwrap();
    let attacked = Attack::ForkedLog.run(forked).await.unwrap();
    let evidence = attacked.evidence.unwrap();
    // Commands with another id would be recorded as refusals.
    let acknowledge = format!("evidence acknowledge {}\n", evidence.id());
    assert!(include_str!("../goldens/evidence.trycmd").contains(&acknowledge), "{acknowledge}");
    session.write("evidence.txt", evidence.to_string());
    session.write("damaged.txt", evidence.to_string().replacen("\n2\n", "\n3\n", 1));
    session.write("text", "just text\n");
    session.run_and_compare();
}

#[tokio::test]
async fn withdrawn() {
    let session = RecordedSession::new("withdrawn");
    let mut world = create_world(&session, RECORDED_AT).await;
    publish_and_settle(&mut world, &recorded_release(2)).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    for sequence in [1, 2] {
        world.publish_withdrawal("log", sequence, "It eats files.", world.clock.now()).unwrap();
    }
    world.poll_all().await.unwrap();
    world.advance(HOUR + SECOND);
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    session.run_and_compare();
}

#[tokio::test]
async fn rollback_and_mark_good() {
    let session = RecordedSession::new("rollback");
    let mut world = create_world(&session, RECORDED_AT).await;
    let first = session.path("first");
    copy_tree(&world.directory, &first).unwrap();
    publish_and_settle(&mut world, &recorded_release(2)).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    // With this health check, neither release works.
    world.config.cycle.hooks.check =
        ["/bin/sh", "-c", "echo no >&2; false"].map(str::to_owned).into();
    copy_tree(&world.directory, &session.path("fails")).unwrap();
    let there = session.path("fails/client/unanimity.toml");
    world.write_config().unwrap();
    fs::rename(session.path("world/client/unanimity.toml"), there).unwrap();
    world.config.cycle.hooks.check.clear();
    world.write_config().unwrap();
    session.run_and_compare();
}

#[tokio::test]
async fn install() {
    let session = RecordedSession::new("install");
    let mut world = create_world(&session, recent_start()).await;
    copy_tree(&world.directory, &session.path("no-spool")).unwrap();
    let directory = world.directory.join("client/spool");
    world.config.cycle.spool = Some(SpoolSettings {
        directory: directory.clone(),
        freshness: SpoolSettings::DEFAULT_FRESHNESS,
    });
    world.write_config().unwrap();
    copy_tree(&world.directory, &session.path("nothing")).unwrap();
    rewrite_spool_path(&session, "nothing");
    fs::create_dir_all(&directory).unwrap();
    publish_and_settle(&mut world, &recorded_release(2)).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Available(_))));
    for (copy, from, to) in
        [("json", "", ""), ("damaged", "bundle/v1", "bundle/v2"), ("forged", "— bela ", "— belA ")]
    {
        copy_tree(&world.directory, &session.path(copy)).unwrap();
        rewrite_spool_path(&session, copy);
        let proof = session.read("world/client/spool/proof").replacen(from, to, 1);
        session.write(&format!("{copy}/client/spool/proof"), proof);
    }
    session.run_and_compare();
}

/// Gives a copy of the world a spool of its own.
fn rewrite_spool_path(session: &RecordedSession, copy: &str) {
    let config = session.read("world/client/unanimity.toml");
    let config = config.replace("/world/client/spool", &format!("/{copy}/client/spool"));
    session.write(&format!("{copy}/client/unanimity.toml"), config);
}

#[tokio::test]
async fn install_from() {
    let session = RecordedSession::new("install-from");
    let mut world = create_world(&session, recent_start()).await;
    let spool = session.path("stick");
    fs::create_dir(&spool).unwrap();
    world.config.cycle.spool =
        Some(SpoolSettings { directory: spool, freshness: SpoolSettings::DEFAULT_FRESHNESS });
    publish_and_settle(&mut world, &recorded_release(2)).await;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Available(_))));
    world.config.cycle.spool = None;
    world.write_config().unwrap();
    let config = session.read("world/client/unanimity.toml");
    for (name, bound) in [("strict", "1m"), ("patient", "7d")] {
        let install = format!("[install]\nfreshness = \"{bound}\"\n");
        let config = config.replace("[install]\n", &install);
        session.write(&format!("world/client/{name}.toml"), config);
    }
    fs::create_dir(session.path("no-stick")).unwrap();
    session.run_and_compare();
}

#[test]
fn demo() {
    let session = RecordedSession::new("demo");
    session.write("artifact", "any file at all");
    fs::create_dir(session.path("occupied")).unwrap();
    session.write("occupied/diary", "Dear diary\n");
    session.run_and_compare();
}
