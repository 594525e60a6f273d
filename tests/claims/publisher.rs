//! The verbs for publishers and log operators: releases that nodes would refuse, withdrawals, and
//! sites.

use std::path::Path;
use std::{fs, io};

use serde_json::Value;
use unanimity_protocol::Hash;
use unanimity_testkit::archives::*;
use unanimity_testkit::copy_tree;

use crate::command_line::CliSandbox;

#[test]
fn release_new_refuses_bad_archives_with_an_escaped_message() {
    let sandbox = CliSandbox::new();
    let new = |artifact: &str| {
        fs::remove_file(sandbox.path().join("new")).ok();
        sandbox.run(&format!(
            "release new --log-origin example.org/l --product hello --channel stable --sequence 1 \
             --version 1.0.0 --out new --artifact x86_64-linux={artifact}"
        ))
    };
    let archive = sample_archive();
    let packed = [
        ("hello.tar", "tar", archive.clone()),
        ("hello.tgz", "tar.gz", gz(&archive)),
        ("hello.tar.gz", "tar.gz", gz(&archive)),
        ("hello.tar.zst", "tar.zst", zst(&archive)),
    ];
    for (name, word, packed) in packed {
        sandbox.write(name, packed);
        let output = new(name);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(
            sandbox.read("new").ends_with(&format!(" {word} 735 10\n")),
            "{}",
            sandbox.read("new")
        );
        assert!(new(&format!("{name} --as-file")).status.success());
        assert!(sandbox.read("new").ends_with(" file\n"), "{}", sandbox.read("new"));
    }
    sandbox.write("bad.tar", tar(&[dir("bin"), file("bin/\u{1b}[2J\u{1b}]0;owned\u{7}")]));
    let output = new("bad.tar");
    assert_eq!(output.status.code(), Some(28));
    assert!(!sandbox.path().join("new").exists());
    let text = String::from_utf8(output.stderr).unwrap();
    // The recorded message has slashes instead of backslashes.
    let escaped = "\"bin/\\x1b[2J\\x1b]0;owned\\x07\": '\\x1b' in a name";
    assert!(text.contains(escaped), "{text}");
    let mut messages = sandbox.messages();
    messages.add("control characters", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/bad_archive.txt"]);
    assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text:?}");
    // The file is an archive only by its name.
    sandbox.write("text.tar.gz", "text");
    assert_eq!(new("text.tar.gz").status.code(), Some(28));
    assert!(new("text.tar.gz --as-file").status.success());
}

#[test]
fn an_archive_bomb_is_read_in_little_memory() {
    let sandbox = CliSandbox::new();
    let mut bomb = zstd::Encoder::new(Vec::new(), 3).unwrap();
    let size = 1 << 30;
    let mut write = |bytes: &[u8]| io::Write::write_all(&mut bomb, bytes).unwrap();
    write(&header(b'0', b"zeros", 0o644, b"", size));
    (0..size >> 20).for_each(|_| write(&[0; 1 << 20]));
    write(&END);
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    sandbox.write("bomb.tar.zst", &bomb);
    let line = "release new --log-origin example.org/l --product hello --channel stable --sequence 1 \
                --version 1.0.0 --artifact x86_64-linux=bomb.tar.zst --out new";
    let program = sandbox.command("").get_program().to_owned();
    let script = format!("ulimit -v 300000; exec \"$0\" {line}");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(script).arg(program).current_dir(sandbox.path());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(sandbox.read("new").contains(" tar.zst 1073741824 1\n"));
}

const RELEASE_WITHDRAW: &str =
    "release withdraw --log-origin example.org/l --product hello --channel stable --sequence";

#[test]
fn a_publisher_withdraws_a_release_with_the_same_steps() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let append = "log append log --key log.key --passphrase-file pass --signed-by a.key.pub";
    // A withdrawal needs its release in the log: one with a mistyped sequence would do nothing for
    // ever.
    sandbox.run_ok(&format!("{RELEASE_WITHDRAW} 1 --reason Bad. --out w"));
    sandbox.run_err(22, "release show w --key a.key.pub");
    for key in ["a", "b"] {
        sandbox.run_ok(&format!("release sign w --key {key}.key --passphrase-file pass --yes"));
    }
    let mut messages = sandbox.messages();
    messages.add("without its release", &sandbox.run_err(23, &format!("{append} w")));
    // The withdrawal is appended with its release, or after it.
    sandbox.run_ok(&format!("{append} --artifact hello m w"));
    messages.add("append again", &sandbox.run_ok(&format!("{append} w")));
    let shown = sandbox.run_ok("release show w --key a.key.pub --key b.key.pub");
    messages.add("release show", &shown);
    messages.add("log show", &sandbox.run_ok("log show log --log-key log.key.pub"));
    let json: serde_json::Value =
        serde_json::from_str(&sandbox.run_ok("--json log show log --log-key log.key.pub")).unwrap();
    assert_eq!(json["entries"][0]["manifest"]["sequence"], 1);
    assert_eq!(json["entries"][1]["withdrawal"]["reason"], "Bad.");
    sandbox.run_ok("log export log --to site --log-key log.key.pub");
    let page = sandbox.read("site/index.html");
    assert!(page.contains("1.0<br><small><strong>withdrawn</strong>: Bad.</small>"), "{page}");
    // A reason is one line with at least one word.
    let mut command = sandbox.command(&format!("{RELEASE_WITHDRAW} 1 --out x --reason"));
    let text = String::from_utf8(command.arg("a\nb").output().unwrap().stderr).unwrap();
    messages.add("two lines", &text);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/withdraw.txt"]);
    let mut command = sandbox.command(&format!("{RELEASE_WITHDRAW} 1 --out x --reason"));
    assert_eq!(command.arg("").output().unwrap().status.code(), Some(2));
    sandbox.run_err(2, &format!("{RELEASE_WITHDRAW} 0 --reason Bad. --out x"));
    assert!(!sandbox.path().join("x").exists());
}

#[test]
fn log_export_reports_the_written_files_and_missing_artifacts() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let append = "log append log --key log.key --passphrase-file pass m";
    sandbox.run_ok(append);
    let export = "log export log --to www/site --log-key log.key.pub";
    let mut messages = sandbox.messages();
    messages.add("first export", &sandbox.run_ok(export));
    sandbox.run_ok(&format!("{append} --artifact hello"));
    let report: Value = serde_json::from_str(&sandbox.run_ok(&format!("--json {export}"))).unwrap();
    assert_eq!((&report["verb"], &report["outcome"]), (&"log export".into(), &"done".into()));
    assert_eq!(report["head"]["size"], 1);
    assert_eq!(report["files_written"], 2);
    assert_eq!(report["missing"], Value::Array(Vec::new()));
    messages.add("no change", &sandbox.run_ok(export));
    // The site is a mirror for readers and for `log append`.
    messages.add("log show", &sandbox.run_ok("log show www/site --log-key log.key.pub"));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/log_export.txt"]);
    let mirror = sandbox.path().join("www/site");
    sandbox.run_ok(&format!("{append} --mirror file:{}", mirror.display()));
    // A copy of a site can be exported like a log.
    copy_tree(&mirror, &sandbox.path().join("copy")).unwrap();
    sandbox.run_ok("log export copy --to second --log-key log.key.pub");
    assert_eq!(list_tree(&sandbox.path().join("second")), list_tree(&mirror));
}

#[test]
fn every_refusal_of_log_export_has_its_exit_code_and_advice() {
    let sandbox = CliSandbox::new();
    sandbox.publish_release();
    let at = |name: &str| sandbox.path().join(name);
    let copy = |from: &str, to: &str| copy_tree(&at(from), &at(to)).unwrap();
    let append = |log: &str, note: &str| {
        sandbox.run_ok(&format!("log append {log} --key log.key --passphrase-file pass {note}"));
    };
    let export =
        |site: &str, log: &str| format!("log export {log} --to {site} --log-key log.key.pub");
    append("log", "m");
    copy("log", "backup");
    let line = "release new --log-origin example.org/l --product hello --channel stable \
        --version 1 --artifact x86_64-linux=hello";
    for (sequence, name) in [(2, "n"), (3, "o")] {
        sandbox.run_ok(&format!("{line} --sequence {sequence} --out {name}"));
        sandbox.run_ok(&format!("release sign {name} --key a.key --passphrase-file pass --yes"));
    }
    append("log", "n");
    sandbox.run_ok(&export("site", "log"));

    let mut messages = sandbox.messages();
    messages.add("older log", &sandbox.run_err(24, &export("site", "backup")));
    messages.add("site in the log", &sandbox.run_err(2, &export("log/site", "log")));
    messages.add("site is a log", &sandbox.run_err(2, &export("backup", "log")));
    messages.add("no log", &sandbox.run_err(6, &export("new", "nowhere")));
    fs::create_dir(at("other")).unwrap();
    sandbox.write("other/file", "");
    messages.add("other page", &sandbox.run_err(6, &export("other", "log")));
    messages.add("other key", &sandbox.run_err(22, "log export log --to new --log-key a.key.pub"));
    sandbox
        .run_ok("log init second --origin example.org/second --key log.key --passphrase-file pass");
    messages.add("site of another log", &sandbox.run_err(22, &export("site", "second")));
    fs::create_dir_all(at("log/artifact")).unwrap();
    let digest = Hash::digest(sandbox.read("hello").as_bytes()).hex();
    sandbox.write(&format!("log/artifact/{digest}"), "something else");
    let text = sandbox.run_err(28, &export("new", "log"));
    // The recorded message hides the digest.
    assert!(text.contains(&digest), "{text}");
    messages.add("damaged artifact", &text);
    fs::remove_file(at("log/artifact").join(&digest)).unwrap();

    append("backup", "o");
    let text = sandbox.run_err(20, &export("site", "backup"));
    let (words, evidence) = text.split_once("\n\n").unwrap();
    messages.add("fork", words);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/refused_export.txt"]);
    let report = sandbox.run(&format!("--json {}", export("site", "backup")));
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&report["exit"], &report["outcome"]), (&20.into(), &"fork".into()));
    assert_eq!(report["evidence"].as_str().unwrap().trim_end(), evidence.trim_end());
    sandbox.write("evidence", report["evidence"].as_str().unwrap());
    sandbox.run_ok("evidence verify evidence --log-key log.key.pub");
    assert!(!Path::new(&at("new")).exists());
}
