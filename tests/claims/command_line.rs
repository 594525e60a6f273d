//! The program as people meet it: arguments in, words and one exit code out.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use unanimity_config::PeerList;
use unanimity_protocol::key::SigningKey;
use unanimity_publish::KdfCost;
use unanimity_storage::Storage;
use unanimity_testkit::test_world::NOW;

/// A directory to work in, with a passphrase file.
pub(crate) struct CliSandbox(TempDir);

impl CliSandbox {
    pub(crate) fn new() -> CliSandbox {
        let desk = CliSandbox(tempfile::tempdir().unwrap());
        desk.write("pass", "correct horse\n");
        desk.set_mode("pass", 0o600);
        desk
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn set_mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a command line split at spaces.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unanimity"));
        command.args(line.split_whitespace()).current_dir(self.path());
        command.env("HOME", self.path()).env_remove("XDG_CONFIG_HOME");
        command.env(unanimity_config::tor_settings::NO_PUBLIC_NETWORK, "1");
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Runs a command line that must end well; returns what it printed.
    pub(crate) fn run_ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command line that must end with a code; returns what it said, on one stream only.
    pub(crate) fn run_err(&self, code: i32, line: &str) -> String {
        let output = self.run(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}: printed to stdout as well");
        said
    }

    /// A key as `keygen` leaves it, but for the second that guessing its passphrase costs.
    fn write_key<const TYPE: u8>(&self, name: &str) {
        let secret: SigningKey<TYPE> = unanimity_publish::generate_key(name.parse().unwrap());
        let path = self.path().join(format!("{name}.key"));
        let (work, disk) = (KdfCost::Factor(2), Storage::default());
        unanimity_publish::write_key(
            &path,
            &secret,
            &"correct horse".to_owned().into(),
            work,
            &disk,
        )
        .unwrap();
        self.write(&format!("{name}.key.pub"), format!("{}\n", secret.public()));
    }

    pub(crate) fn publish_release(&self) {
        self.write_key::<1>("a");
        self.write_key::<1>("b");
        self.write_key::<1>("log");
        self.run_ok("log init log --origin example.org/l --key log.key --passphrase-file pass");
        self.write("hello", "#!/bin/sh\necho hello\n");
        self.run_ok(RELEASE_NEW);
        self.run_ok("release sign m --key a.key --passphrase-file pass --yes");
        self.run_ok("release sign m --key b.key --passphrase-file pass --yes");
    }
}

const RELEASE_NEW: &str = "release new --log-origin example.org/l --product hello --channel stable \
    --sequence 1 --version 1.0 --artifact x86_64-linux=hello --out m";

#[test]
fn a_release_is_made_signed_logged_and_proven_by_the_readme() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let shown = desk.run_ok("release show m --key a.key.pub --key b.key.pub");
    assert_eq!(shown.matches("(verified)").count(), 2, "{shown}");
    let appended =
        desk.run_ok("log append log --key log.key --passphrase-file pass --artifact hello m");
    assert!(appended.contains("entry 0"), "{appended}");
    assert!(appended.contains("No signature was checked"), "{appended}");
    desk.run_ok("log prove log --log-key log.key.pub --note m --out proof");
    let proof = desk.read("proof");
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nexample.org/l\n1\n"), "{proof}");
    let listed = desk.run_ok("log show log --log-key log.key.pub");
    assert!(listed.contains("0 hello stable, release 1.0 (sequence 1)"), "{listed}");

    desk.write("other", desk.read("m").replace("version 1.0", "version 1.1"));
    assert!(desk.run_ok("log verify proof --note m --log-key log.key.pub").contains("is entry 0"));
    desk.run_err(29, "log verify proof --note other --log-key log.key.pub");
    desk.run_err(22, "log verify proof --note m --log-key a.key.pub");
    desk.run_err(8, "log verify m --note m --log-key log.key.pub");
    desk.run_err(6, "log prove log --log-key log.key.pub --note m --out proof");
    desk.run_err(23, "log prove log --log-key log.key.pub --note other");
    desk.run_err(23, "log prove log --log-key log.key.pub --index 1");
    desk.run_err(22, "log show log --log-key a.key.pub");
}

#[test]
fn key_files_are_private_encrypted_and_never_overwritten() {
    let desk = CliSandbox::new();
    let keygen = "keygen --role publisher --name a --out a.key --passphrase-file pass";
    let public = desk.run_ok(keygen);
    assert_eq!(public, desk.read("a.key.pub"));
    assert_eq!(
        fs::metadata(desk.path().join("a.key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(desk.read("a.key").starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    let before = desk.read("a.key");
    assert!(desk.run_err(6, keygen).contains("not overwritten"));
    assert_eq!(desk.read("a.key"), before);

    desk.write("hello", "x");
    desk.run_ok(RELEASE_NEW);
    let sign = "release sign m --key a.key --passphrase-file pass --yes";
    desk.set_mode("a.key", 0o640);
    assert!(desk.run_err(7, sign).contains("chmod 600"));
    desk.set_mode("a.key", 0o600);
    desk.set_mode("pass", 0o644);
    assert!(desk.run_err(7, sign).contains("chmod 600"));
    desk.set_mode("pass", 0o600);
    desk.write("pass", "wrong\n");
    assert!(desk.run_err(7, sign).contains("wrong passphrase"));
    desk.write("pass", "\n");
    assert!(desk.run_err(7, sign).contains("empty passphrase"));
    desk.write("pass", "correct horse\n");
    // Without a terminal nobody can have seen what would be signed.
    desk.run_err(2, "release sign m --key a.key --passphrase-file pass");
    desk.run_ok(sign);
    assert!(desk.run_err(2, sign).contains("already signed"));
    // A peer's key signs no release.
    desk.write_key::<4>("p");
    desk.run_err(7, "release sign m --key p.key --passphrase-file pass --yes");
}

#[test]
fn a_release_is_shown_with_all_that_decides_what_is_installed() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let manifest = desk.read("m");
    let file = desk.run_ok("release show m");
    desk.write("m", manifest.replace(" file\n", " tar 5 1\n"));
    let archive = desk.run_ok("release show m");
    assert!(
        file.contains("a file") && archive.contains("an archive of 1 entries, 5 bytes"),
        "{archive}"
    );
    let kind = |line: &str| {
        let report: Value = serde_json::from_str(&desk.run_ok(line)).unwrap();
        report["manifest"]["targets"][0]["kind"].clone()
    };
    assert_eq!(kind("--json release show m")["archive"]["unpacked"], 5);
}

#[test]
fn a_release_that_lacks_a_signature_is_found_before_it_is_logged_or_is_used_up() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let whole = desk.read("m");
    let one: Vec<&str> = whole.lines().filter(|line| !line.starts_with("— b ")).collect();
    desk.write("m", one.join("\n") + "\n");
    let append = "log append log --key log.key --passphrase-file pass";
    desk.run_err(22, &format!("{append} --signed-by a.key.pub --signed-by b.key.pub m"));
    desk.run_err(22, "release show m --key b.key.pub");
    desk.run_ok(&format!("{append} m"));
    desk.write("m", whole);
    let said = desk.run_err(21, &format!("{append} m"));
    let expected = "m: entry 0 is this very release with other signatures, and cannot be completed any more; sequence 1 is used up";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn init_writes_what_is_missing_of_the_two_and_leaves_the_other_alone() {
    let desk = CliSandbox::new();
    desk.run_ok("init --config node/unanimity.toml");
    for (gone, kept) in [("peers.toml", "unanimity.toml"), ("unanimity.toml", "peers.toml")] {
        desk.write(&format!("node/{kept}"), "mine");
        fs::remove_file(desk.path().join("node").join(gone)).unwrap();
        let said = desk.run_ok("init --config node/unanimity.toml");
        assert!(said.starts_with(&format!("Written: node/{gone}\nFill in")), "{said}");
        assert_eq!(desk.read(&format!("node/{kept}")), "mine");
    }
}

#[test]
fn hostile_text_does_not_reach_the_terminal_as_it_is() {
    let desk = CliSandbox::new();
    desk.publish_release();
    // A name may hold any letters; what moves a cursor, hides or turns text round is shown for what it is.
    let line = desk.read("m").lines().last().unwrap().to_owned();
    // Nor does what only looks like ours (a Cyrillic а), or is read from right to left.
    for hostile in ["\u{202e}", "\u{200b}", "\u{2800}", "\u{feff}", "\u{430}", "\u{5d0}", "×"] {
        let blob = line.rsplit(' ').next().unwrap();
        desk.write("m2", format!("{}— x{hostile}y {blob}\n", desk.read("m")));
        let shown = desk.run_ok("release show m2");
        assert!(!shown.contains(hostile), "{shown}");
        assert!(shown.contains(&format!("x{}y", hostile.escape_unicode())), "{shown}");
    }
    assert!(desk.run_err(6, "release show Knäuel").contains("Knäuel"));
    desk.write("a\u{1b}[2J", "no note");
    let name = "a\u{1b}[2J".to_owned();
    let said = desk.run_err(8, &format!("release show {name}"));
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[test]
fn what_is_read_is_bounded_and_plain() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let huge = fs::File::create(desk.path().join("huge")).unwrap();
    huge.set_len(3 << 30).unwrap();
    for line in [
        "release show huge",
        "evidence verify huge --log-key log.key.pub",
        "evidence verify /dev/zero --log-key log.key.pub",
        "log verify huge --note m --log-key log.key.pub",
        "log prove log --note huge --log-key log.key.pub",
    ] {
        desk.run_err(6, line);
    }
    assert!(Command::new("mkfifo").arg(desk.path().join("pipe")).status().unwrap().success());
    desk.run_err(6, "release show pipe");
    desk.run_err(6, "log append log --key log.key --passphrase-file pass pipe");
    fs::remove_file(desk.path().join("log/checkpoint")).unwrap();
    fs::rename(desk.path().join("pipe"), desk.path().join("log/checkpoint")).unwrap();
    desk.run_err(6, "log append log --key log.key --passphrase-file pass m");
    fs::rename(desk.path().join("log/checkpoint"), desk.path().join("pipe")).unwrap();
    desk.run_err(3, "status --config pipe");
}

#[test]
fn what_cannot_be_printed_is_no_success() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let mut command = Command::new(env!("CARGO_BIN_EXE_unanimity"));
    command.args(["release", "show", "m"]).current_dir(desk.path());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
}

#[test]
fn a_path_that_is_not_utf8_is_a_path_like_any_other() {
    use std::os::unix::ffi::OsStringExt as _;
    let desk = CliSandbox::new();
    desk.publish_release();
    let out = std::ffi::OsString::from_vec(b"q\xff.manifest".to_vec());
    let mut command = Command::new(env!("CARGO_BIN_EXE_unanimity"));
    command
        .args(RELEASE_NEW.split_whitespace().take_while(|word| *word != "--out"))
        .arg("--out")
        .arg(&out);
    let output = command.arg("--json").current_dir(desk.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(desk.path().join(&out).exists());
}

#[test]
fn a_configuration_that_anybody_may_change_is_refused() {
    let desk = CliSandbox::new();
    desk.run_ok("init --config node/unanimity.toml");
    desk.set_mode("node/unanimity.toml", 0o646);
    assert!(desk.run_err(3, "status --config node/unanimity.toml").contains("chmod o-w"));
}

#[test]
fn a_mistyped_log_that_showed_nothing_leaves_nothing_behind() {
    let desk = CliSandbox::new();
    desk.write("artifact", "any file at all");
    desk.run_ok("demo --artifact artifact --keep kept");
    let path = "kept/honest/client/unanimity.toml";
    let right = desk.read(path);
    desk.write(
        path,
        right.replace("\"state\"", "\"fresh\"").replace("example/releases", "example/typo"),
    );
    desk.run_err(4, &format!("check --config {path}"));
    desk.write(path, right.replace("\"state\"", "\"fresh\""));
    desk.run_err(12, &format!("check --config {path}"));
    // With something to lose, another log is an error.
    desk.write(path, right.replace("example/releases", "example/typo"));
    assert!(desk.run_err(3, &format!("check --config {path}")).contains("another log"));
}

#[test]
fn what_is_wrong_with_a_release_or_an_append_is_said_and_changes_nothing() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let append = "log append log --key log.key --passphrase-file pass";
    let checkpoint = desk.read("log/checkpoint");
    desk.write("text", "just text\n");
    assert!(desk.run_err(8, &format!("{append} text")).contains("text: not a signed note"));
    desk.run_err(6, &format!("{append} missing"));
    desk.write("foreign", desk.read("m").replace("log example.org/l", "log example.org/other"));
    let foreign = desk.run_err(8, &format!("{append} foreign --artifact hello"));
    assert!(foreign.contains("foreign: it names the log"), "{foreign}");
    assert!(!desk.path().join("log/artifact").exists(), "nor is its file published");
    assert!(
        desk.run_err(28, &format!("{append} m --artifact text")).contains("text: none of these")
    );
    desk.write_key::<1>("c");
    assert!(desk.run_err(22, &format!("{append} m --signed-by c.key.pub")).contains("not signed"));
    desk.write("edited", desk.read("m").replace("sequence 1", "sequence 3"));
    desk.run_err(22, &format!("{append} edited --signed-by a.key.pub"));
    // One sequence twice would be a conflict that no client installs.
    desk.run_err(21, &format!("{append} m m"));
    assert_eq!(desk.read("log/checkpoint"), checkpoint, "nothing was appended");
    let said = desk.run_ok(&format!("{append} m --signed-by a.key.pub --signed-by b.key.pub"));
    assert!(said.contains("Clients will not find hello"), "{said}");
    // The same release again is no second one; what it lacked can be added.
    let said = desk.run_ok(&format!("{append} m --artifact hello"));
    assert!(
        said.contains("entry 0  m (since before)") && !said.contains("will not find"),
        "{said}"
    );
    let twin = "release new --log-origin example.org/l --product hello --channel stable \
        --sequence 1 --version 1.0 --artifact x86_64-linux=text --out twin";
    desk.run_ok(twin);
    desk.run_ok("release sign twin --key a.key --passphrase-file pass --yes");
    desk.run_err(21, &format!("{append} twin"));
    desk.run_ok(&twin.replace("--sequence 1", "--sequence 9").replace("--out twin", "--out new"));
    desk.run_ok("release sign new --key a.key --passphrase-file pass --yes");
    desk.run_ok(&format!("{append} new"));
    desk.run_ok(&twin.replace("--sequence 1", "--sequence 8").replace("--out twin", "--out late"));
    desk.run_ok("release sign late --key a.key --passphrase-file pass --yes");
    desk.run_err(24, &format!("{append} late"));
    let past = desk.read("late").replace("sequence 8", "sequence 10");
    let past = past.lines().map(|line| match line.split_once(' ') {
        Some(("issued", _)) => "issued 1\n".to_owned(),
        Some(("expires", _)) => "expires 2\n".to_owned(),
        _ => format!("{line}\n"),
    });
    desk.write("past", past.collect::<String>());
    desk.run_err(25, &format!("{append} past"));

    for (wrong, code) in [
        ("--artifact x86_64-linux", 2),
        ("--artifact ../x=hello", 2),
        ("--artifact x86_64-linux=missing", 6),
        ("--artifact x86_64-linux=hello --artifact x86_64-linux=hello", 2),
        ("--artifact x86_64-linux=hello --sequence 0", 2),
        ("--artifact x86_64-linux=hello --good-for 0s", 2),
        ("--artifact x86_64-linux=hello --version ../1", 2),
    ] {
        let rest = "--log-origin example.org/l --product p --channel c --out n";
        let mut line = format!("release new {rest} {wrong}");
        if !wrong.contains("--sequence") {
            line += " --sequence 1";
        }
        if !wrong.contains("--version") {
            line += " --version 1";
        }
        desk.run_err(code, &line);
        assert!(!desk.path().join("n").exists(), "{wrong}");
    }
    desk.run_err(6, RELEASE_NEW);
}

#[test]
fn a_restored_backup_of_a_log_refuses_to_sign() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let copy = |from: &str, to: &str| {
        unanimity_testkit::copy_tree(&desk.path().join(from), &desk.path().join(to)).unwrap();
    };
    copy("log", "backup");
    desk.run_ok("log append log --key log.key --passphrase-file pass m");
    copy("log", "mirror");
    let mirror = desk.path().join("mirror");
    let append =
        format!("--key log.key --passphrase-file pass --mirror file:{} m", mirror.display());
    let said = desk.run_err(24, &format!("log append backup {append}"));
    assert!(said.contains("would fork"), "{said}");
    let new = |sequence: u8, name: &str| {
        let line = RELEASE_NEW.replace("--sequence 1", &format!("--sequence {sequence}"));
        desk.run_ok(&line.replace("--out m", &format!("--out {name}")));
        desk.run_ok(&format!("release sign {name} --key a.key --passphrase-file pass --yes"));
    };
    new(2, "n");
    new(3, "o");
    desk.run_ok(&format!("log append log {append}").replace("mirror m", "mirror n"));
    // Grown apart under one key: the backup is the longer one now, and restoring it would hide that.
    desk.run_ok("log append backup --key log.key --passphrase-file pass n o");
    let said = desk.run_err(20, &format!("log append backup {append}"));
    assert!(said.contains("append to neither"), "{said}");
}

#[test]
fn init_writes_a_commented_configuration_that_says_what_is_missing() {
    let desk = CliSandbox::new();
    desk.run_ok("init --config node/unanimity.toml");
    let said = desk.run_err(3, "status --config node/unanimity.toml");
    assert!(
        said.contains("unanimity.toml: still to be filled in: lines 16, 21, 22, 27, 86"),
        "{said}"
    );
    desk.run_err(6, "init --config node/unanimity.toml");
    // The example's peers are nobody: they are shown, and not asked.
    assert!(desk.read("node/peers.toml").contains("\n#[[peer]]\n"));
    let circle = PeerList::load(&desk.path().join("node/peers.toml")).unwrap();
    let error = circle.counted_peers(NOW).unwrap_err();
    assert!(error.to_string().contains("0 distinct operators"), "{error}");
    let said = desk.run_err(3, "check --config nowhere/unanimity.toml");
    assert!(said.contains("unanimity init"), "{said}");
}

#[test]
fn the_example_peers_are_a_circle() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.example.toml");
    let circle = PeerList::load(&path).unwrap();
    assert_eq!(circle.counted_peers(NOW).unwrap().iter().count(), 3);
    assert_eq!(circle.client_auth_keys(NOW).len(), 3);
}

#[test]
fn the_machine_that_signs_a_log_looks_at_directories_only() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let said = desk.run_err(2, "log append log --key log.key --mirror https://example.org/log x");
    assert!(said.contains("file:/DIRECTORY"), "{said}");
}

#[test]
fn the_template_filled_in_is_a_configuration_with_the_documented_defaults() {
    let desk = CliSandbox::new();
    desk.publish_release();
    desk.run_ok("init --config node/unanimity.toml");
    let key = |name: &str| desk.read(&format!("{name}.key.pub")).trim().to_owned();
    let node = desk.read("node/unanimity.toml");
    let keys = format!("    \"{}\",\n    \"{}\",", key("a"), key("b"));
    let node = node
        .replace("    \"FILL IN: NAME+ID+KEY\",", &keys)
        .replace("FILL IN: example.org/releases", "example.org/l")
        .replace("FILL IN: NAME+ID+KEY", &key("log"))
        .replace(
            "mirrors = [\"FILL IN\"]",
            &format!("mirrors = [\"file:{}\"]", desk.path().join("log").display()),
        )
        .replace("FILL IN: a name of A-Z a-z 0-9 . _ ~ -", "dora");
    assert!(!node.contains("FILL"), "{node}");
    // Every default is written in the template; said out loud they change nothing.
    let spoken: String = node
        .lines()
        .map(|line| match line.strip_prefix('#') {
            // What has no default has an example.
            Some(default)
                if default.contains(" = ")
                    && !default.starts_with(' ')
                    && ![
                        "pinned",
                        "command",
                        "transports",
                        "network",
                        "keep",
                        "rate",
                        "spool",
                        "freshness",
                        "pre_install",
                        "handover",
                        "post_install",
                        "restart",
                        "check",
                        "when_good",
                    ]
                    .iter()
                    .any(|example| default.starts_with(example)) =>
            {
                format!("{default}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    desk.write("node/peers.toml", include_str!("../../peers.example.toml"));
    desk.write("node/unanimity.toml", &node);
    desk.write("node/spoken.toml", &spoken);
    let load = |name: &str| {
        unanimity_config::load_client_config(&desk.path().join("node").join(name), NOW).unwrap()
    };
    let (silent, spoken) = (load("unanimity.toml"), load("spoken.toml"));
    assert_eq!(
        (
            silent.cycle.limits,
            silent.cycle.polling,
            silent.cycle.ask_timeout,
            silent.cycle.round_timeout
        ),
        (
            spoken.cycle.limits,
            spoken.cycle.polling,
            spoken.cycle.ask_timeout,
            spoken.cycle.round_timeout
        )
    );
    assert_eq!(
        silent.cycle.limits,
        unanimity_protocol::decision::admission::RoundLimits::default()
    );
    assert_eq!(silent.cycle.hooks, spoken.cycle.hooks);
    assert_eq!(silent.cycle.hooks, unanimity_config::HookSettings::default());
    assert_eq!(silent.cycle.polling, unanimity_config::PollingSettings::default());
    let load = |name: &str| {
        unanimity_config::load_node_config(&desk.path().join("node").join(name)).unwrap()
    };
    let (silent, spoken) = (load("unanimity.toml"), load("spoken.toml"));
    assert_eq!(silent.serve, spoken.serve);
    assert_eq!(silent.removal_delay, spoken.removal_delay);
    assert_eq!(silent.alert.incomplete_after, spoken.alert.incomplete_after);
    assert_eq!(
        (&silent.tor.state, &silent.tor.cache, &silent.tor.network),
        (&spoken.tor.state, &spoken.tor.cache, &spoken.tor.network)
    );

    // Offline, every peer is silent and nothing installs.
    desk.run_ok("log append log --key log.key --passphrase-file pass --artifact hello m");
    let line = |word: &str, path: &str| {
        let old = node.lines().find(|line| line.starts_with(word)).unwrap();
        (old.to_owned(), format!("{word} = {:?}", desk.path().join(path)))
    };
    let (state, root) = (line("state", "state"), line("root", "root"));
    let node = node
        .replace("#offline = false", "offline = true")
        .replace(&state.0, &state.1)
        .replace(&root.0, &root.1);
    desk.write("node/unanimity.toml", node);
    for verb in ["check", "update"] {
        let said = desk.run_err(12, &format!("{verb} --config node/unanimity.toml"));
        for peer in ["alice", "bela", "carol-office"] {
            assert!(said.contains(&format!("{peer}: silent (unreachable")), "{said}");
        }
    }
    assert!(!desk.path().join("root").exists());
    let status = desk.run_ok("status --config node/unanimity.toml");
    assert!(status.contains("silent since"), "{status}");
}

#[test]
fn the_kept_demo_can_be_verified_by_hand_and_in_json() {
    let desk = CliSandbox::new();
    desk.write("artifact", "any file at all");
    let said = desk.run_ok("demo --artifact artifact --keep kept");
    assert!(said.contains("15 of 15 attacks were refused or in vain"), "{said}");
    assert_eq!(said.matches("\nrefused").count(), 15, "{said}");
    assert!(said.contains("installer  installed 1-1.0.0\n"), "{said}");
    assert!(said.contains("installer  unhealthy: release 2-1.1.0: check failed"), "{said}");
    assert!(said.contains("byte for byte the first release: true"), "{said}");
    // The commands that it prints are commands that work.
    let commands: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix(env!("CARGO_BIN_EXE_unanimity")))
        .collect();
    assert_eq!(commands.len(), 6, "{said}");
    for command in commands {
        desk.run_ok(command);
    }
    let verify = "--config kept/honest/client/unanimity.toml verify --proof kept/honest/client/hello/proofs/2-1.1.0";
    assert!(desk.run_err(28, &format!("{verify} artifact")).contains("bytes"));
    desk.write("twin", "any file at all\nthe Second release\n");
    assert!(desk.run_err(28, &format!("{verify} twin")).contains("SHA-256"));
    desk.run_err(8, "--config kept/honest/client/unanimity.toml verify --proof artifact artifact");
    desk.run_err(8, "evidence verify artifact --log-key kept/honest/log.pub");
    // Whatever is wrong with a bundle, it is the bundle that does not prove.
    let client = "--config kept/honest/client/unanimity.toml";
    let bundle = desk.read("kept/honest/client/hello/proofs/2-1.1.0");
    for (from, to) in
        [("version 1.1.0", "version 1.1.1"), ("— bela ", "— belA "), ("roll 1", "roll 2")]
    {
        desk.write("bundle", bundle.replacen(from, to, 1));
        let said = desk.run_err(29, &format!("{client} verify --proof bundle artifact"));
        assert!(said.contains("bundle: does not prove agreement"), "{said}");
    }
    desk.run_err(2, "demo --keep kept");

    let json = desk.run_ok("--json log show kept/honest/log --log-key kept/honest/log.pub");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["schema"], &report["outcome"]), (&"unanimity/v1".into(), &"done".into()));
    assert_eq!(report["entries"][1]["manifest"]["version"], "1.1.0");
    let output = desk.run("--json --config kept/honest/client/unanimity.toml check");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, events) = lines.split_last().unwrap();
    let asking = |answered: u32, silent: u32| {
        let (schema, event) = ("unanimity/v1", "roll");
        let counts = (answered, silent);
        serde_json::json!({ "schema": schema, "event": event, "peers": 5, "answered": counts.0, "silent": counts.1 })
    };
    assert_eq!((&events[0], &events[events.len() - 1]), (&asking(0, 0), &asking(0, 5)), "{said}");
    assert_eq!(output.status.code(), Some(12));
    assert_eq!((&report["outcome"], &report["exit"]), (&"incomplete".into(), &12.into()));
    assert_eq!(report["peers"].as_array().unwrap().len(), 5);

    // A mirror that cannot be read is remembered, and named.
    let status =
        |desk: &CliSandbox| desk.run_ok("--config kept/honest/client/unanimity.toml status");
    assert!(!status(&desk).contains("penance"));
    fs::remove_file(desk.path().join("kept/honest/mirrors/client")).unwrap();
    for _ in 0..2 {
        desk.run_err(4, "--config kept/honest/client/unanimity.toml check");
    }
    let said = status(&desk);
    let line = said.lines().find(|line| line.starts_with("penance")).unwrap();
    assert!(line.contains("mirrors/client since 20") && line.contains("after 2 in a row failed"));
    let json = desk.run_ok("--json --config kept/honest/client/unanimity.toml status");
    let report: Value = serde_json::from_str(&json).unwrap();
    let penance = &report["penance"][0];
    let until = penance["since"].as_u64().unwrap() + 1200;
    assert_eq!((&penance["failures"], &penance["until"]), (&2.into(), &until.into()), "{json}");
    assert!(penance["mirror"].as_str().unwrap().ends_with("mirrors/client"), "{json}");
}

#[test]
fn a_fork_latches_until_it_is_acknowledged() {
    let desk = CliSandbox::new();
    desk.write("artifact", "any file at all");
    desk.run_ok("demo --artifact artifact --keep kept");
    // The client of the forked-log attack, as its operator finds it.
    let node = "--config kept/attack-05/client/unanimity.toml";
    let said = desk.run_err(20, &format!("{node} update"));
    let id = said.split("evidence ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let status = desk.run(&format!("{node} status"));
    assert_eq!(status.status.code(), Some(20));
    assert!(String::from_utf8_lossy(&status.stdout).contains(&format!("evidence {id}")));
    assert!(desk.run_ok(&format!("{node} evidence show")).contains("holds updates back"));
    desk.write("evidence", desk.run_ok(&format!("{node} evidence show {id}")));
    desk.run_ok("evidence verify evidence --log-key kept/honest/log.pub");
    desk.run_err(2, &format!("{node} evidence acknowledge 0000000000000000"));
    desk.run_err(2, &format!("{node} evidence show ../../../honest/log.pub"));
    desk.run_ok(&format!("{node} evidence acknowledge {id}"));
    assert!(desk.run_ok(&format!("{node} evidence show")).contains("acknowledged"));
    // The mirror shows the fork still, and without Tor nobody contradicts it, or confirms it.
    desk.run_err(12, &format!("{node} update"));
}

#[test]
fn every_exit_code_is_its_own_and_in_the_help() {
    use unanimity_report::Exit;
    let desk = CliSandbox::new();
    let help = desk.run_ok("--help");
    // Long lines are wrapped.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| *exit as u8).collect();
    for exit in Exit::ALL {
        let row = format!("{} {} {}", *exit as u8, exit.word(), exit.meaning());
        assert!(help.contains(&row), "{exit:?}");
    }
    codes.dedup();
    assert_eq!(codes.len(), Exit::ALL.len());
    desk.run_err(2, "");
    desk.run_err(2, "update --force");
    let json: Value = serde_json::from_slice(&desk.run("update --force --json").stdout).unwrap();
    assert_eq!((&json["exit"], &json["outcome"]), (&2.into(), &"usage".into()));
}
