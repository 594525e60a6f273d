//! The command line: arguments in; messages and one exit code out.

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

use crate::messages::Messages;

/// A directory with a passphrase file, in which the tests run `unanimity`.
pub(crate) struct CliSandbox(TempDir);

impl CliSandbox {
    pub(crate) fn new() -> CliSandbox {
        let sandbox = CliSandbox(tempfile::tempdir().unwrap());
        sandbox.write("pass", "correct horse\n");
        sandbox.set_mode("pass", 0o600);
        sandbox
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

    /// No messages yet; they name paths of this sandbox as `[DIR]`.
    pub(crate) fn messages(&self) -> Messages {
        Messages::new(self.path())
    }

    /// Runs a command line, split at spaces.
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

    /// Runs a command line that must succeed. Returns its standard output.
    pub(crate) fn run_ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command line that must fail with an exit code and print nothing to standard output.
    /// Returns its standard error.
    pub(crate) fn run_err(&self, code: i32, line: &str) -> String {
        let output = self.run(line);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(output.stdout.is_empty(), "{line} printed to standard output");
        text
    }

    /// Writes a key file as `keygen` does, with a cheap passphrase hash instead of a slow one.
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

    /// Makes keys, an empty log and a release `m` that both publishers have signed.
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
fn a_publisher_signs_logs_and_proves_a_release() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let shown = sandbox.run_ok("release show m --key a.key.pub --key b.key.pub");
    assert_eq!(shown.matches("(verified)").count(), 2, "{shown}");
    let appended =
        sandbox.run_ok("log append log --key log.key --passphrase-file pass --artifact hello m");
    let mut messages = sandbox.messages();
    messages.add("append", &appended);
    sandbox.run_ok("log prove log --log-key log.key.pub --note m --out proof");
    let proof = sandbox.read("proof");
    assert!(proof.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nexample.org/l\n1\n"), "{proof}");
    messages.add("show", &sandbox.run_ok("log show log --log-key log.key.pub"));

    sandbox.write("other", sandbox.read("m").replace("version 1.0", "version 1.1"));
    let verified = sandbox.run_ok("log verify proof --note m --log-key log.key.pub");
    messages.add("verify", &verified);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/readme_steps.txt"]);
    sandbox.run_err(29, "log verify proof --note other --log-key log.key.pub");
    sandbox.run_err(22, "log verify proof --note m --log-key a.key.pub");
    sandbox.run_err(8, "log verify m --note m --log-key log.key.pub");
    sandbox.run_err(6, "log prove log --log-key log.key.pub --note m --out proof");
    sandbox.run_err(23, "log prove log --log-key log.key.pub --note other");
    sandbox.run_err(23, "log prove log --log-key log.key.pub --index 1");
    sandbox.run_err(22, "log show log --log-key a.key.pub");
}

#[test]
fn key_files_are_private_encrypted_and_never_overwritten() {
    let sandbox = CliSandbox::new();
    let keygen = "keygen --role publisher --name a --out a.key --passphrase-file pass";
    let public = sandbox.run_ok(keygen);
    assert_eq!(public, sandbox.read("a.key.pub"));
    assert_eq!(
        fs::metadata(sandbox.path().join("a.key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(sandbox.read("a.key").starts_with("-----BEGIN AGE ENCRYPTED FILE-----"));
    let before = sandbox.read("a.key");
    let mut messages = sandbox.messages();
    messages.add("keygen again", &sandbox.run_err(6, keygen));
    assert_eq!(sandbox.read("a.key"), before);

    sandbox.write("hello", "x");
    sandbox.run_ok(RELEASE_NEW);
    let sign = "release sign m --key a.key --passphrase-file pass --yes";
    sandbox.set_mode("a.key", 0o640);
    messages.add("readable key", &sandbox.run_err(7, sign));
    sandbox.set_mode("a.key", 0o600);
    sandbox.set_mode("pass", 0o644);
    messages.add("readable passphrase", &sandbox.run_err(7, sign));
    sandbox.set_mode("pass", 0o600);
    sandbox.write("pass", "wrong\n");
    messages.add("wrong passphrase", &sandbox.run_err(7, sign));
    sandbox.write("pass", "\n");
    messages.add("empty passphrase", &sandbox.run_err(7, sign));
    sandbox.write("pass", "correct horse\n");
    // Without a terminal and without --yes, no person can have seen the text to be signed.
    sandbox.run_err(2, "release sign m --key a.key --passphrase-file pass");
    sandbox.run_ok(sign);
    messages.add("signed before", &sandbox.run_err(2, sign));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/key_files.txt"]);
    // A peer's key signs no release.
    sandbox.write_key::<4>("p");
    sandbox.run_err(7, "release sign m --key p.key --passphrase-file pass --yes");
}

#[test]
fn release_show_names_everything_that_decides_the_installation() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let manifest = sandbox.read("m");
    let mut messages = sandbox.messages();
    messages.add("file", &sandbox.run_ok("release show m"));
    sandbox.write("m", manifest.replace(" file\n", " tar 5 1\n"));
    messages.add("archive", &sandbox.run_ok("release show m"));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/release_show.txt"]);
    let kind = |line: &str| {
        let report: Value = serde_json::from_str(&sandbox.run_ok(line)).unwrap();
        report["manifest"]["artifacts"][0]["kind"].clone()
    };
    assert_eq!(kind("--json release show m")["archive"]["unpacked"], 5);
}

#[test]
fn append_refuses_a_missing_signature_or_says_that_the_sequence_is_used() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let whole = sandbox.read("m");
    let one: Vec<&str> = whole.lines().filter(|line| !line.starts_with("— b ")).collect();
    sandbox.write("m", one.join("\n") + "\n");
    let append = "log append log --key log.key --passphrase-file pass";
    sandbox.run_err(22, &format!("{append} --signed-by a.key.pub --signed-by b.key.pub m"));
    sandbox.run_err(22, "release show m --key b.key.pub");
    sandbox.run_ok(&format!("{append} m"));
    sandbox.write("m", whole);
    let mut messages = sandbox.messages();
    messages.add("append again", &sandbox.run_err(21, &format!("{append} m")));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/used_sequence.txt"]);
}

#[test]
fn init_writes_the_missing_file_and_keeps_the_other() {
    let sandbox = CliSandbox::new();
    sandbox.run_ok("init --config node/unanimity.toml");
    for (missing, kept) in [("peers.toml", "unanimity.toml"), ("unanimity.toml", "peers.toml")] {
        sandbox.write(&format!("node/{kept}"), "mine");
        fs::remove_file(sandbox.path().join("node").join(missing)).unwrap();
        let text = sandbox.run_ok("init --config node/unanimity.toml");
        assert!(text.starts_with(&format!("Written: node/{missing}\nFill in")), "{text}");
        assert_eq!(sandbox.read(&format!("node/{kept}")), "mine");
    }
}

#[test]
fn hostile_text_reaches_the_terminal_only_escaped() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    // A name may have any letters. Characters that move the cursor, hide text or reverse it are
    // escaped.
    let line = sandbox.read("m").lines().last().unwrap().to_owned();
    // So are look-alikes, such as the Cyrillic а, and letters that are read from right to left.
    for hostile in ["\u{202e}", "\u{200b}", "\u{2800}", "\u{feff}", "\u{430}", "\u{5d0}", "×"] {
        let blob = line.rsplit(' ').next().unwrap();
        sandbox.write("m2", format!("{}— x{hostile}y {blob}\n", sandbox.read("m")));
        let shown = sandbox.run_ok("release show m2");
        assert!(!shown.contains(hostile), "{shown}");
        assert!(shown.contains(&format!("x{}y", hostile.escape_unicode())), "{shown}");
    }
    let mut messages = sandbox.messages();
    messages.add("umlaut", &sandbox.run_err(6, "release show Knäuel"));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/umlaut.txt"]);
    sandbox.write("a\u{1b}[2J", "no note");
    let name = "a\u{1b}[2J".to_owned();
    let text = sandbox.run_err(8, &format!("release show {name}"));
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn oversized_files_and_pipes_are_refused() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let huge = fs::File::create(sandbox.path().join("huge")).unwrap();
    huge.set_len(3 << 30).unwrap();
    for line in [
        "release show huge",
        "evidence verify huge --log-key log.key.pub",
        "evidence verify /dev/zero --log-key log.key.pub",
        "log verify huge --note m --log-key log.key.pub",
        "log prove log --note huge --log-key log.key.pub",
    ] {
        sandbox.run_err(6, line);
    }
    assert!(Command::new("mkfifo").arg(sandbox.path().join("pipe")).status().unwrap().success());
    sandbox.run_err(6, "release show pipe");
    sandbox.run_err(6, "log append log --key log.key --passphrase-file pass pipe");
    fs::remove_file(sandbox.path().join("log/checkpoint")).unwrap();
    fs::rename(sandbox.path().join("pipe"), sandbox.path().join("log/checkpoint")).unwrap();
    sandbox.run_err(6, "log append log --key log.key --passphrase-file pass m");
    fs::rename(sandbox.path().join("log/checkpoint"), sandbox.path().join("pipe")).unwrap();
    sandbox.run_err(3, "status --config pipe");
}

#[test]
fn a_full_standard_output_is_an_error() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let mut command = Command::new(env!("CARGO_BIN_EXE_unanimity"));
    command.args(["release", "show", "m"]).current_dir(sandbox.path());
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
}

#[test]
fn paths_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt as _;
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let out = std::ffi::OsString::from_vec(b"q\xff.manifest".to_vec());
    let mut command = Command::new(env!("CARGO_BIN_EXE_unanimity"));
    command
        .args(RELEASE_NEW.split_whitespace().take_while(|word| *word != "--out"))
        .arg("--out")
        .arg(&out);
    let output = command.arg("--json").current_dir(sandbox.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(sandbox.path().join(&out).exists());
}

#[test]
fn a_world_writable_configuration_is_refused() {
    let sandbox = CliSandbox::new();
    sandbox.run_ok("init --config node/unanimity.toml");
    sandbox.set_mode("node/unanimity.toml", 0o646);
    let mut messages = sandbox.messages();
    messages.add("mode 0646", &sandbox.run_err(3, "status --config node/unanimity.toml"));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/world_writable.txt"]);
}

#[test]
fn a_mistyped_log_origin_leaves_no_state() {
    let sandbox = CliSandbox::new();
    sandbox.write("artifact", "any file at all");
    sandbox.run_ok("demo --artifact artifact --keep kept");
    let path = "kept/honest/client/unanimity.toml";
    let right = sandbox.read(path);
    sandbox.write(
        path,
        right.replace("\"state\"", "\"fresh\"").replace("example/releases", "example/typo"),
    );
    sandbox.run_err(4, &format!("check --config {path}"));
    sandbox.write(path, right.replace("\"state\"", "\"fresh\""));
    sandbox.run_err(12, &format!("check --config {path}"));
    // Once the state has a trusted head, another log is an error.
    sandbox.write(path, right.replace("example/releases", "example/typo"));
    let mut messages = sandbox.messages();
    messages.add("check", &sandbox.run_err(3, &format!("check --config {path}")));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/other_log.txt"]);
}

#[test]
fn a_refused_append_or_release_changes_nothing() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let append = "log append log --key log.key --passphrase-file pass";
    let checkpoint = sandbox.read("log/checkpoint");
    sandbox.write("text", "just text\n");
    let mut messages = sandbox.messages();
    messages.add("no note", &sandbox.run_err(8, &format!("{append} text")));
    sandbox.run_err(6, &format!("{append} missing"));
    sandbox
        .write("foreign", sandbox.read("m").replace("log example.org/l", "log example.org/other"));
    let foreign = sandbox.run_err(8, &format!("{append} foreign --artifact hello"));
    messages.add("other log", &foreign);
    assert!(!sandbox.path().join("log/artifact").exists(), "the artifact is published");
    messages.add("other artifact", &sandbox.run_err(28, &format!("{append} m --artifact text")));
    sandbox.write_key::<1>("c");
    let unsigned = sandbox.run_err(22, &format!("{append} m --signed-by c.key.pub"));
    messages.add("not signed", &unsigned);
    sandbox.write("edited", sandbox.read("m").replace("sequence 1", "sequence 3"));
    sandbox.run_err(22, &format!("{append} edited --signed-by a.key.pub"));
    // Two entries with one sequence would be a conflict, which no client installs.
    sandbox.run_err(21, &format!("{append} m m"));
    assert_eq!(sandbox.read("log/checkpoint"), checkpoint, "something was appended");
    let text = sandbox.run_ok(&format!("{append} m --signed-by a.key.pub --signed-by b.key.pub"));
    messages.add("without artifact", &text);
    // Appending the same release again adds no entry. It can add a missing artifact.
    let text = sandbox.run_ok(&format!("{append} m --artifact hello"));
    messages.add("artifact added", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/log_append.txt"]);
    let twin = "release new --log-origin example.org/l --product hello --channel stable \
        --sequence 1 --version 1.0 --artifact x86_64-linux=text --out twin";
    sandbox.run_ok(twin);
    sandbox.run_ok("release sign twin --key a.key --passphrase-file pass --yes");
    sandbox.run_err(21, &format!("{append} twin"));
    sandbox
        .run_ok(&twin.replace("--sequence 1", "--sequence 9").replace("--out twin", "--out new"));
    sandbox.run_ok("release sign new --key a.key --passphrase-file pass --yes");
    sandbox.run_ok(&format!("{append} new"));
    sandbox
        .run_ok(&twin.replace("--sequence 1", "--sequence 8").replace("--out twin", "--out late"));
    sandbox.run_ok("release sign late --key a.key --passphrase-file pass --yes");
    sandbox.run_err(24, &format!("{append} late"));
    let past = sandbox.read("late").replace("sequence 8", "sequence 10");
    let past = past.lines().map(|line| match line.split_once(' ') {
        Some(("issued", _)) => "issued 1\n".to_owned(),
        Some(("expires", _)) => "expires 2\n".to_owned(),
        _ => format!("{line}\n"),
    });
    sandbox.write("past", past.collect::<String>());
    sandbox.run_err(25, &format!("{append} past"));

    for (wrong, code) in [
        ("--artifact x86_64-linux", 2),
        ("--artifact ../x=hello", 2),
        ("--artifact x86_64-linux=missing", 6),
        ("--artifact x86_64-linux=hello --artifact x86_64-linux=hello", 2),
        ("--artifact x86_64-linux=hello --sequence 0", 2),
        ("--artifact x86_64-linux=hello --valid-for 0s", 2),
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
        sandbox.run_err(code, &line);
        assert!(!sandbox.path().join("n").exists(), "{wrong}");
    }
    sandbox.run_err(6, RELEASE_NEW);
}

#[test]
fn a_log_restored_from_a_backup_refuses_to_sign() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let copy = |from: &str, to: &str| {
        unanimity_testkit::copy_tree(&sandbox.path().join(from), &sandbox.path().join(to)).unwrap();
    };
    copy("log", "backup");
    sandbox.run_ok("log append log --key log.key --passphrase-file pass m");
    copy("log", "mirror");
    let mirror = sandbox.path().join("mirror");
    let append =
        format!("--key log.key --passphrase-file pass --mirror file:{} m", mirror.display());
    let mut messages = sandbox.messages();
    messages.add("older", &sandbox.run_err(24, &format!("log append backup {append}")));
    let new = |sequence: u8, name: &str| {
        let line = RELEASE_NEW.replace("--sequence 1", &format!("--sequence {sequence}"));
        sandbox.run_ok(&line.replace("--out m", &format!("--out {name}")));
        sandbox.run_ok(&format!("release sign {name} --key a.key --passphrase-file pass --yes"));
    };
    new(2, "n");
    new(3, "o");
    sandbox.run_ok(&format!("log append log {append}").replace("mirror m", "mirror n"));
    // The two logs have forked under one key. The backup is the longer one now.
    sandbox.run_ok("log append backup --key log.key --passphrase-file pass n o");
    messages.add("forked", &sandbox.run_err(20, &format!("log append backup {append}")));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/restored_log.txt"]);
}

#[test]
fn init_writes_a_template_and_status_names_the_lines_to_fill_in() {
    let sandbox = CliSandbox::new();
    sandbox.run_ok("init --config node/unanimity.toml");
    let mut messages = sandbox.messages();
    messages.add("status", &sandbox.run_err(3, "status --config node/unanimity.toml"));
    sandbox.run_err(6, "init --config node/unanimity.toml");
    // The template has commented-out example peers, which do not count.
    assert!(sandbox.read("node/peers.toml").contains("\n#[[peer]]\n"));
    let peers = PeerList::load(&sandbox.path().join("node/peers.toml")).unwrap();
    let error = peers.counted_peers(NOW).unwrap_err();
    messages.add("peers", &error.to_string());
    messages.add("check", &sandbox.run_err(3, "check --config nowhere/unanimity.toml"));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/init.txt"]);
}

#[test]
fn the_example_peers_count() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.example.toml");
    let peers = PeerList::load(&path).unwrap();
    assert_eq!(peers.counted_peers(NOW).unwrap().iter().count(), 3);
    assert_eq!(peers.client_auth_keys(NOW).len(), 3);
}

#[test]
fn log_append_accepts_only_directories_as_mirrors() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let text =
        sandbox.run_err(2, "log append log --key log.key --mirror https://example.org/log x");
    let mut messages = sandbox.messages();
    messages.add("https mirror", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/append_mirror.txt"]);
}

#[test]
fn the_filled_in_template_has_the_documented_defaults() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    sandbox.run_ok("init --config node/unanimity.toml");
    let key = |name: &str| sandbox.read(&format!("{name}.key.pub")).trim().to_owned();
    let node = sandbox.read("node/unanimity.toml");
    let keys = format!("    \"{}\",\n    \"{}\",", key("a"), key("b"));
    let node = node
        .replace("    \"FILL IN: NAME+ID+KEY\",", &keys)
        .replace("FILL IN: example.org/releases", "example.org/l")
        .replace("FILL IN: NAME+ID+KEY", &key("log"))
        .replace(
            "mirrors = [\"FILL IN\"]",
            &format!("mirrors = [\"file:{}\"]", sandbox.path().join("log").display()),
        )
        .replace("FILL IN: a name of A-Z a-z 0-9 . _ ~ -", "dora");
    assert!(!node.contains("FILL"), "{node}");
    // The template has every default as a comment. Uncommented, the defaults change nothing.
    let explicit: String = node
        .lines()
        .map(|line| match line.strip_prefix('#') {
            // A key without a default has an example, which stays a comment.
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
                        "on_success",
                    ]
                    .iter()
                    .any(|example| default.starts_with(example)) =>
            {
                format!("{default}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    sandbox.write("node/peers.toml", include_str!("../../peers.example.toml"));
    sandbox.write("node/unanimity.toml", &node);
    sandbox.write("node/explicit.toml", &explicit);
    let load = |name: &str| {
        unanimity_config::load_client_config(&sandbox.path().join("node").join(name), NOW).unwrap()
    };
    let (implicit, explicit) = (load("unanimity.toml"), load("explicit.toml"));
    assert_eq!(
        (
            implicit.cycle.limits,
            implicit.cycle.polling,
            implicit.cycle.ask_timeout,
            implicit.cycle.round_timeout
        ),
        (
            explicit.cycle.limits,
            explicit.cycle.polling,
            explicit.cycle.ask_timeout,
            explicit.cycle.round_timeout
        )
    );
    assert_eq!(
        implicit.cycle.limits,
        unanimity_protocol::decision::admission::RoundLimits::default()
    );
    assert_eq!(implicit.cycle.hooks, explicit.cycle.hooks);
    assert_eq!(implicit.cycle.hooks, unanimity_config::HookSettings::default());
    assert_eq!(implicit.cycle.polling, unanimity_config::PollingSettings::default());
    let load = |name: &str| {
        unanimity_config::load_node_config(&sandbox.path().join("node").join(name)).unwrap()
    };
    let (implicit, explicit) = (load("unanimity.toml"), load("explicit.toml"));
    assert_eq!(implicit.serve, explicit.serve);
    assert_eq!(implicit.removal_delay, explicit.removal_delay);
    assert_eq!(implicit.alert.incomplete_after, explicit.alert.incomplete_after);
    assert_eq!(
        (&implicit.tor.state, &implicit.tor.cache, &implicit.tor.network),
        (&explicit.tor.state, &explicit.tor.cache, &explicit.tor.network)
    );

    // Offline, no peer answers and nothing installs.
    sandbox.run_ok("log append log --key log.key --passphrase-file pass --artifact hello m");
    let line = |word: &str, path: &str| {
        let old = node.lines().find(|line| line.starts_with(word)).unwrap();
        (old.to_owned(), format!("{word} = {:?}", sandbox.path().join(path)))
    };
    let (state, root) = (line("state", "state"), line("root", "root"));
    let node = node
        .replace("#offline = false", "offline = true")
        .replace(&state.0, &state.1)
        .replace(&root.0, &root.1);
    sandbox.write("node/unanimity.toml", node);
    let mut messages = sandbox.messages();
    for verb in ["check", "update"] {
        let text = sandbox.run_err(12, &format!("{verb} --config node/unanimity.toml"));
        // How many lines of progress come before the error depends on the speed of the machine.
        let error = text.lines().skip_while(|line| !line.starts_with("unanimity: "));
        messages.add(verb, &error.collect::<Vec<_>>().join("\n"));
    }
    assert!(!sandbox.path().join("root").exists());
    messages.add("status", &sandbox.run_ok("status --config node/unanimity.toml"));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/offline.txt"]);
}

#[test]
fn the_kept_demo_can_be_verified_and_read_as_json() {
    let sandbox = CliSandbox::new();
    sandbox.write("artifact", "any file at all");
    let text = sandbox.run_ok("demo --artifact artifact --keep kept");
    // The recorded session `tests/goldens/demo.trycmd` has the whole text.
    assert_eq!(text.matches("\nrefused").count(), 15, "{text}");
    // The commands that the demo prints work.
    let commands: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix(env!("CARGO_BIN_EXE_unanimity")))
        .collect();
    assert_eq!(commands.len(), 6, "{text}");
    for command in commands {
        sandbox.run_ok(command);
    }
    let verify = "--config kept/honest/client/unanimity.toml verify --proof kept/honest/client/hello/proofs/2-1.1.0";
    let mut messages = sandbox.messages();
    messages.add("other length", &sandbox.run_err(28, &format!("{verify} artifact")));
    sandbox.write("twin", "any file at all\nthe Second release\n");
    messages.add("other bytes", &sandbox.run_err(28, &format!("{verify} twin")));
    sandbox
        .run_err(8, "--config kept/honest/client/unanimity.toml verify --proof artifact artifact");
    sandbox.run_err(8, "evidence verify artifact --log-key kept/honest/log.pub");
    // The error says for every damage that the bundle proves nothing.
    let client = "--config kept/honest/client/unanimity.toml";
    let bundle = sandbox.read("kept/honest/client/hello/proofs/2-1.1.0");
    for (from, to) in
        [("version 1.1.0", "version 1.1.1"), ("— bela ", "— belA "), ("round 1", "round 2")]
    {
        sandbox.write("bundle", bundle.replacen(from, to, 1));
        let text = sandbox.run_err(29, &format!("{client} verify --proof bundle artifact"));
        messages.add(to, &text);
    }
    sandbox.run_err(2, "demo --keep kept");

    let json = sandbox.run_ok("--json log show kept/honest/log --log-key kept/honest/log.pub");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&report["schema"], &report["outcome"]), (&"unanimity/v1".into(), &"done".into()));
    assert_eq!(report["entries"][1]["manifest"]["version"], "1.1.0");
    let output = sandbox.run("--json --config kept/honest/client/unanimity.toml check");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (report, events) = lines.split_last().unwrap();
    let round = |answered: u32, silent: u32| {
        let (schema, event) = ("unanimity/v1", "round");
        let counts = (answered, silent);
        serde_json::json!({ "schema": schema, "event": event, "peers": 5, "answered": counts.0, "silent": counts.1 })
    };
    assert_eq!((&events[0], &events[events.len() - 1]), (&round(0, 0), &round(0, 5)), "{text}");
    assert_eq!(output.status.code(), Some(12));
    assert_eq!((&report["outcome"], &report["exit"]), (&"incomplete".into(), &12.into()));
    assert_eq!(report["peers"].as_array().unwrap().len(), 5);

    // `status` names a mirror that could not be read.
    let status = || sandbox.run_ok("--config kept/honest/client/unanimity.toml status");
    messages.add("status with a good mirror", &status());
    fs::remove_file(sandbox.path().join("kept/honest/mirrors/client")).unwrap();
    for _ in 0..2 {
        sandbox.run_err(4, "--config kept/honest/client/unanimity.toml check");
    }
    messages.add("status with an unreadable mirror", &status());
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/kept_demo.txt"]);
    let json = sandbox.run_ok("--json --config kept/honest/client/unanimity.toml status");
    let report: Value = serde_json::from_str(&json).unwrap();
    let mirror = &report["deprioritized"][0];
    let until = mirror["since"].as_u64().unwrap() + 1200;
    assert_eq!((&mirror["failures"], &mirror["until"]), (&2.into(), &until.into()), "{json}");
    assert!(mirror["mirror"].as_str().unwrap().ends_with("mirrors/client"), "{json}");
}

#[test]
fn a_fork_latches_until_it_is_acknowledged() {
    let sandbox = CliSandbox::new();
    sandbox.write("artifact", "any file at all");
    sandbox.run_ok("demo --artifact artifact --keep kept");
    // The client of the demo's attack with a forked log.
    let node = "--config kept/attack-05/client/unanimity.toml";
    let text = sandbox.run_err(20, &format!("{node} update"));
    let id = text.split("evidence ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let status = sandbox.run(&format!("{node} status"));
    assert_eq!(status.status.code(), Some(20));
    assert!(String::from_utf8_lossy(&status.stdout).contains(&format!("evidence {id}")));
    let mut messages = sandbox.messages();
    let show = || sandbox.run_ok(&format!("{node} evidence show"));
    messages.add("before", &show());
    sandbox.write("evidence", sandbox.run_ok(&format!("{node} evidence show {id}")));
    sandbox.run_ok("evidence verify evidence --log-key kept/honest/log.pub");
    sandbox.run_err(2, &format!("{node} evidence acknowledge 0000000000000000"));
    sandbox.run_err(2, &format!("{node} evidence show ../../../honest/log.pub"));
    sandbox.run_ok(&format!("{node} evidence acknowledge {id}"));
    messages.add("acknowledged", &show());
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/evidence_show.txt"]);
    // The mirror still shows the fork. Without Tor, no peer contradicts or confirms it.
    sandbox.run_err(12, &format!("{node} update"));
}

#[test]
fn every_exit_code_is_unique_and_in_the_help() {
    use unanimity_report::Exit;
    let sandbox = CliSandbox::new();
    let help = sandbox.run_ok("--help");
    // The help wraps long lines.
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut codes: Vec<u8> = Exit::ALL.iter().map(|exit| *exit as u8).collect();
    for exit in Exit::ALL {
        let row = format!("{} {} {}", *exit as u8, exit.word(), exit.meaning());
        assert!(help.contains(&row), "{exit:?}");
    }
    codes.dedup();
    assert_eq!(codes.len(), Exit::ALL.len());
    sandbox.run_err(2, "");
    sandbox.run_err(2, "update --force");
    let json: Value = serde_json::from_slice(&sandbox.run("update --force --json").stdout).unwrap();
    assert_eq!((&json["exit"], &json["outcome"]), (&2.into(), &"usage".into()));
}
