//! What the program does for publishers: it refuses what no node would install, takes releases back, and makes sites.

use std::path::Path;
use std::{fs, io};

use serde_json::Value;
use unanimity_protocol::Hash;
use unanimity_testkit::archives::*;
use unanimity_testkit::copy_tree;

use crate::command_line::CliSandbox;

#[test]
fn a_publisher_learns_what_a_node_would_refuse_and_no_terminal_hears_of_it() {
    let desk = CliSandbox::new();
    let new = |artifact: &str| {
        fs::remove_file(desk.path().join("new")).ok();
        desk.run(&format!(
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
        desk.write(name, packed);
        let output = new(name);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(desk.read("new").ends_with(&format!(" {word} 735 10\n")), "{}", desk.read("new"));
        assert!(new(&format!("{name} --as-file")).status.success());
        assert!(desk.read("new").ends_with(" file\n"), "{}", desk.read("new"));
    }
    desk.write("bad.tar", tar(&[dir("bin"), file("bin/\u{1b}[2J\u{1b}]0;owned\u{7}")]));
    let output = new("bad.tar");
    assert_eq!(output.status.code(), Some(28));
    assert!(!desk.path().join("new").exists());
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "bad.tar is an archive that cannot be installed: entry 2, \
                    \"bin/\\x1b[2J\\x1b]0;owned\\x07\": '\\x1b' in a name";
    assert!(said.contains(expected), "{said}");
    assert!(said.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{said:?}");
    // Not an archive at all, by its name only.
    desk.write("text.tar.gz", "text");
    assert_eq!(new("text.tar.gz").status.code(), Some(28));
    assert!(new("text.tar.gz --as-file").status.success());
}

#[test]
fn a_gigabyte_in_a_hundred_kilobytes_is_read_in_little_memory() {
    let desk = CliSandbox::new();
    let mut bomb = zstd::Encoder::new(Vec::new(), 3).unwrap();
    let size = 1 << 30;
    let mut write = |bytes: &[u8]| io::Write::write_all(&mut bomb, bytes).unwrap();
    write(&header(b'0', b"zeros", 0o644, b"", size));
    (0..size >> 20).for_each(|_| write(&[0; 1 << 20]));
    write(&END);
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    desk.write("bomb.tar.zst", &bomb);
    let line = "release new --log-origin example.org/l --product hello --channel stable --sequence 1 \
                --version 1.0.0 --artifact x86_64-linux=bomb.tar.zst --out new";
    let program = desk.command("").get_program().to_owned();
    let script = format!("ulimit -v 300000; exec \"$0\" {line}");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(script).arg(program).current_dir(desk.path());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(desk.read("new").contains(" tar.zst 1073741824 1\n"));
}

const RELEASE_WITHDRAW: &str =
    "release withdraw --log-origin example.org/l --product hello --channel stable --sequence";

#[test]
fn a_publisher_takes_a_release_back_as_they_made_it() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let append = "log append log --key log.key --passphrase-file pass --signed-by a.key.pub";
    // What is not there is not taken back: a mistyped number would do nothing, for ever.
    desk.run_ok(&format!("{RELEASE_WITHDRAW} 1 --reason Bad. --out w"));
    for key in ["a", "b"] {
        desk.run_ok(&format!("release sign w --key {key}.key --passphrase-file pass --yes"));
    }
    let said = desk.run_err(23, &format!("{append} w"));
    let expected = "w: the log has no release of hello, channel stable, with sequence 1 to take back. Nothing was appended";
    assert!(said.contains(expected), "{said}");
    // With its release, or after it.
    desk.run_ok(&format!("{append} --artifact hello m w"));
    assert!(desk.run_ok(&format!("{append} w")).contains("entry 1  w (since before)"));
    let shown = desk.run_ok("release show w --key a.key.pub --key b.key.pub");
    assert!(shown.starts_with("TAKES BACK sequence 1 of hello, channel stable"), "{shown}");
    assert!(shown.contains("reason     Bad.\n"), "{shown}");
    assert_eq!(shown.matches("(verified)").count(), 2, "{shown}");
    let listed = desk.run_ok("log show log --log-key log.key.pub");
    assert!(listed.contains("    1 hello stable, takes back sequence 1: Bad.\n"), "{listed}");
    let json: serde_json::Value =
        serde_json::from_str(&desk.run_ok("--json log show log --log-key log.key.pub")).unwrap();
    assert_eq!(json["entries"][0]["manifest"]["sequence"], 1);
    assert_eq!(json["entries"][1]["withdrawal"]["reason"], "Bad.");
    desk.run_ok("publish site --log log --log-key log.key.pub");
    let page = desk.read("site/index.html");
    assert!(page.contains("1.0<br><small><strong>taken back</strong>: Bad.</small>"), "{page}");
    // One with a line break in it, or without a word, is none.
    let mut command = desk.command(&format!("{RELEASE_WITHDRAW} 1 --out x --reason"));
    let said = String::from_utf8(command.arg("a\nb").output().unwrap().stderr).unwrap();
    assert!(said.contains("expected the end: a reason is one line"), "{said}");
    let mut command = desk.command(&format!("{RELEASE_WITHDRAW} 1 --out x --reason"));
    assert_eq!(command.arg("").output().unwrap().status.code(), Some(2));
    desk.run_err(2, &format!("{RELEASE_WITHDRAW} 0 --reason Bad. --out x"));
    assert!(!desk.path().join("x").exists());
}

#[test]
fn the_command_says_what_it_did_and_what_is_missing() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let append = "log append log --key log.key --passphrase-file pass m";
    desk.run_ok(append);
    let publish = "publish www/site --log log --log-key log.key.pub";
    let said = desk.run_ok(publish);
    assert!(said.contains("www/site is up to date; files written: 4"), "{said}");
    assert!(said.contains("Clients will not find hello for x86_64-linux of hello 1.0"), "{said}");
    desk.run_ok(&format!("{append} --artifact hello"));
    let report: Value = serde_json::from_str(&desk.run_ok(&format!("--json {publish}"))).unwrap();
    assert_eq!((&report["verb"], &report["outcome"]), (&"publish".into(), &"done".into()));
    assert_eq!(report["head"]["size"], 1);
    assert_eq!(report["files_written"], 2);
    assert_eq!(report["missing"], Value::Array(Vec::new()));
    assert_eq!(desk.run_ok(publish).lines().next(), Some("www/site was up to date."));
    // It is a mirror like any other, to the reader and to the log's own writer.
    let shown = desk.run_ok("log show www/site --log-key log.key.pub");
    assert!(shown.contains("0 hello stable, release 1.0 (sequence 1)"), "{shown}");
    let mirror = desk.path().join("www/site");
    desk.run_ok(&format!("{append} --mirror file:{}", mirror.display()));
    // A copy of a site is as good a log to publish from.
    copy_tree(&mirror, &desk.path().join("copy")).unwrap();
    desk.run_ok("publish second --log copy --log-key log.key.pub");
    assert_eq!(list_tree(&desk.path().join("second")), list_tree(&mirror));
}

#[test]
fn every_refusal_has_its_exit_code_and_says_what_to_do() {
    let desk = CliSandbox::new();
    desk.publish_release();
    let at = |name: &str| desk.path().join(name);
    let copy = |from: &str, to: &str| copy_tree(&at(from), &at(to)).unwrap();
    let append = |log: &str, note: &str| {
        desk.run_ok(&format!("log append {log} --key log.key --passphrase-file pass {note}"));
    };
    let publish =
        |site: &str, log: &str| format!("publish {site} --log {log} --log-key log.key.pub");
    append("log", "m");
    copy("log", "backup");
    let line = "release new --log-origin example.org/l --product hello --channel stable \
        --version 1 --artifact x86_64-linux=hello";
    for (sequence, name) in [(2, "n"), (3, "o")] {
        desk.run_ok(&format!("{line} --sequence {sequence} --out {name}"));
        desk.run_ok(&format!("release sign {name} --key a.key --passphrase-file pass --yes"));
    }
    append("log", "n");
    desk.run_ok(&publish("site", "log"));

    assert!(desk.run_err(24, &publish("site", "backup")).contains("never goes back"));
    assert!(desk.run_err(2, &publish("log/site", "log")).contains("not apart"));
    assert!(desk.run_err(2, &publish("backup", "log")).contains("appended to"));
    assert!(desk.run_err(6, &publish("new", "nowhere")).contains("unanimity log init"));
    fs::create_dir(at("other")).unwrap();
    desk.write("other/file", "");
    assert!(desk.run_err(6, &publish("other", "log")).contains("empty directory"));
    let said = desk.run_err(22, "publish new --log log --log-key a.key.pub");
    assert!(said.contains("log/checkpoint does not open"), "{said}");
    desk.run_ok("log init second --origin example.org/second --key log.key --passphrase-file pass");
    let said = desk.run_err(22, &publish("site", "second"));
    assert!(said.contains("site/checkpoint is not of this log"), "{said}");
    fs::create_dir_all(at("log/artifact")).unwrap();
    let digest = Hash::digest(desk.read("hello").as_bytes()).hex();
    desk.write(&format!("log/artifact/{digest}"), "something else");
    assert!(desk.run_err(28, &publish("new", "log")).contains(&digest));
    fs::remove_file(at("log/artifact").join(&digest)).unwrap();

    append("backup", "o");
    let said = desk.run_err(20, &publish("site", "backup"));
    let (words, evidence) = said.split_once("\n\n").unwrap();
    assert!(words.contains("two stories of one log"), "{said}");
    let report = desk.run(&format!("--json {}", publish("site", "backup")));
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&report["exit"], &report["outcome"]), (&20.into(), &"fork".into()));
    assert_eq!(report["evidence"].as_str().unwrap().trim_end(), evidence.trim_end());
    desk.write("evidence", report["evidence"].as_str().unwrap());
    desk.run_ok("evidence verify evidence --log-key log.key.pub");
    assert!(!Path::new(&at("new")).exists());
}
