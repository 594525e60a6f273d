//! The documents: every link leads to a file and a heading, and the commands of every page run.
//!
//! A fence `sh` is run here: all of a page, in order, by one shell, in a new directory. A second
//! word says what else runs a block:
//!
//! | fence | run by |
//! |---|---|
//! | `sh build` | cargo and `.ci` commands, which need the source |
//! | `sh root` | `.ci/systemd`, as root in a container |
//! | `sh tor` | a test with a private Tor network |
//! | `sh remote` | an operator with a second machine |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use unanimity_config::tor_settings::NO_PUBLIC_NETWORK;
use unanimity_testkit::scratch_dir::scratch_dir;

use crate::installer;

/// Answers what the program asks at a terminal.
const ANSWERS: &str = r#"#!/bin/sh
case "$1 ${2:-}" in
"keygen "* | "log init" | "log append") set -- "$@" --passphrase-file "$PASSPHRASE" ;;
"release sign") set -- "$@" --passphrase-file "$PASSPHRASE" --yes ;;
esac
exec "$PROGRAM" ${CONFIG:+--config "$CONFIG"} "$@"
"#;

/// The words of a fence, spelled as `.ci/systemd` finds them.
const FENCES: [&str; 11] = [
    "sh",
    "sh build",
    "sh root",
    "sh tor",
    "sh remote",
    "console",
    "toml",
    "toml scenario",
    "text",
    "nginx",
    "rust",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of the repository, by its path from the root.
fn documents() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if entry.file_type().unwrap().is_dir() {
                if !is_hidden && !root().join(&path).join("CACHEDIR.TAG").exists() {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(root().join(&path)).unwrap();
                found.insert(path, text);
            }
        }
    }
    found
}

/// A fenced block: the words of its fence, its first line (from 1) and its text.
struct Block {
    fence: String,
    line: usize,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (event, range) in Parser::new(document).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(fence))) => {
                let line = document[..range.start].lines().count() + 2;
                found.push(Block { fence: fence.to_string(), line, text: String::new() });
                is_open = true;
            }
            Event::Text(text) if is_open => found.last_mut().unwrap().text.push_str(&text),
            Event::End(TagEnd::CodeBlock) => is_open = false,
            _ => {}
        }
    }
    found
}

/// The anchors of a document's headings, as GitHub and mdBook make them.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in Parser::new(document) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
                let heading = heading.take().unwrap().to_lowercase();
                let anchor = heading.chars().filter(kept).collect::<String>().replace(' ', "-");
                let numbered = (1..).map(|number| format!("{anchor}-{number}"));
                let mut names = std::iter::once(anchor.clone()).chain(numbered);
                found.extend(names.find(|name| !found.contains(name)));
            }
            _ => {}
        }
    }
    found
}

/// `a/b/../c` is `a/c`.
fn normalized(path: &Path) -> PathBuf {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for part in path.iter() {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.iter().collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    let mut broken = String::new();
    let mut count = 0;
    for (path, text) in &documents {
        for event in Parser::new(text) {
            let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event
            else {
                continue;
            };
            if dest_url.contains("://") {
                continue;
            }
            count += 1;
            let (file, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let target = match file {
                "" => path.clone(),
                file => normalized(&path.parent().unwrap().join(file)),
            };
            let has_heading =
                || documents.get(&target).is_some_and(|text| anchors(text).contains(anchor));
            if !root().join(&target).exists() || !(anchor.is_empty() || has_heading()) {
                writeln!(broken, "{}: {dest_url}", path.display()).unwrap();
            }
        }
    }
    assert!(count > 100, "{count} links");
    assert_eq!(broken, "");
}

#[test]
fn the_summary_lists_every_chapter_once_by_its_title() {
    let book = Path::new("docs/src");
    let documents = documents();
    let mut listed = Vec::new();
    for line in documents[&book.join("SUMMARY.md")].lines() {
        let Some((text, path)) = line.split_once("](") else { continue };
        let path = book.join(path.trim_end_matches(')'));
        let title = documents[&path].lines().next().unwrap();
        assert_eq!(title.trim_start_matches("# "), text.rsplit_once('[').unwrap().1);
        listed.push(path);
    }
    listed.sort();
    let chapters = documents.into_keys().filter(|path| path.starts_with(book));
    let chapters: Vec<PathBuf> = chapters.filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(listed, chapters);
}

#[test]
fn every_fence_has_a_known_language_and_one_spelling() {
    for (path, text) in documents() {
        let fences = text.lines().filter(|line| {
            let line = line.trim_start();
            line.starts_with("```") || line.starts_with("~~~")
        });
        for (number, line) in fences.enumerate() {
            let is_known = match line.strip_prefix("```") {
                Some(fence) if number % 2 == 0 => FENCES.contains(&fence),
                Some(fence) => fence.is_empty(),
                // In a list, where only text stands.
                None => ["```text", "```"].contains(&line.trim_start()) && line.starts_with("   "),
            };
            assert!(is_known, "{}: {line:?}", path.display());
            let is_root = line == "```sh root";
            assert!(!is_root || path.starts_with("docs/src"), "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_toml_block_is_toml() {
    for (path, text) in documents() {
        for block in blocks(&text).iter().filter(|block| block.fence.starts_with("toml")) {
            let parsed = block.text.parse::<toml::Table>();
            assert!(parsed.is_ok(), "{}:{}: {parsed:?}", path.display(), block.line);
        }
    }
}

/// All keys of a table and of the tables in it.
fn keys(table: &toml::Table) -> Vec<&str> {
    let mut found = Vec::new();
    for (key, value) in table {
        found.push(key.as_str());
        let inner = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        found.extend(inner.iter().filter_map(toml::Value::as_table).flat_map(keys));
    }
    found
}

fn templates() -> String {
    let paths = ["src/cli/unanimity.example.toml", "peers.example.toml"];
    paths.map(|path| fs::read_to_string(root().join(path)).unwrap()).concat()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|found| found == word)
}

#[test]
fn every_key_in_the_book_is_in_a_template() {
    let templates = templates();
    for (path, text) in documents() {
        for block in blocks(&text).iter().filter(|block| block.fence == "toml") {
            let table: toml::Table = block.text.parse().unwrap();
            for key in keys(&table) {
                assert!(has_word(&templates, key), "{}:{}: {key}", path.display(), block.line);
            }
        }
    }
}

#[test]
fn the_template_has_every_key_of_the_configuration() {
    let (scratch, templates) = (scratch_dir(), templates());
    let path = scratch.path().join("unanimity.toml");
    for section in [
        "",
        "[product]",
        "[publisher]",
        "[log]",
        "[install]",
        "[install.health]",
        "[limits]",
        "[serve]",
        "[serve.artifacts]",
        "[alert]",
        "[tor]",
    ] {
        fs::write(&path, format!("{section}\nno_such_key = 1\n")).unwrap();
        let error = unanimity_config::load_node_config(&path).unwrap_err().to_string();
        let (_, known) = error.split_once("expected ").expect(&error);
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(known.len() >= 2, "{section}: {error}");
        for key in known {
            assert!(has_word(&templates, key), "{section}: {key}");
        }
    }
}

#[test]
fn the_readme_shows_what_the_demo_prints() {
    let recorded = fs::read_to_string(root().join("tests/goldens/demo.trycmd")).unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let shown: Vec<Block> =
        blocks(&readme).into_iter().filter(|block| block.fence == "console").collect();
    assert_eq!(shown.len(), 1);
    let mut recorded = recorded.lines();
    for line in shown[0].text.lines().filter(|line| *line != "...") {
        assert!(
            recorded.any(|recorded| recorded == line),
            "not in the golden, or not in this order: {line}"
        );
    }
}

/// Runs the blocks of a page with one fence, in order. Every other line is left empty, so that the
/// shell's line numbers are the page's. Commands of `unanimity` get `--config` if there is a file.
fn run_page(page: &str, fence: &str, config: Option<&Path>) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let mut lines = vec![""; text.lines().count() + 1];
    let blocks = blocks(&text);
    for block in blocks.iter().filter(|block| block.fence == fence) {
        for (line, command) in lines[block.line - 1..].iter_mut().zip(block.text.lines()) {
            *line = command;
        }
    }
    lines[0] = "set -Eeuo pipefail; trap 'echo \"line $LINENO\" >&2' ERR";
    let scratch = scratch_dir();
    let [bin, home, work] = ["bin", "home", "work"].map(|name| scratch.path().join(name));
    for directory in [&bin, &home, &work] {
        fs::create_dir(directory).unwrap();
    }
    let write = |path: &Path, text: &str, mode| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&bin.join("unanimity"), ANSWERS, 0o755);
    std::os::unix::fs::symlink(installer::installer_path(), bin.join("unanimity-install")).unwrap();
    let passphrase = scratch.path().join("passphrase");
    write(&passphrase, "correct horse\n", 0o600);
    let script = scratch.path().join("script");
    write(&script, &(lines.join("\n") + "\n"), 0o644);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .arg(&script)
        .current_dir(&work)
        .env_clear()
        .envs([("PATH", path.as_str()), ("LANG", "C.UTF-8"), (NO_PUBLIC_NETWORK, "1")])
        .env("HOME", &home)
        .env("PROGRAM", env!("CARGO_BIN_EXE_unanimity"))
        .env("PASSPHRASE", &passphrase)
        .envs(config.map(|config| ("CONFIG", config)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{page}: {}\n{stdout}\n{stderr}", output.status);
}

macro_rules! pages {
    ($($name:ident $page:literal)*) => {
        const PAGES: &[&str] = &[$($page),*];

        $(
            #[test]
            fn $name() {
                run_page($page, "sh", None);
            }
        )*
    };
}

pages! {
    commands_of_integrator "docs/src/integrator.md"
    commands_of_introduction "docs/src/introduction.md"
    commands_of_library "docs/src/library.md"
    commands_of_mirror_host "docs/src/mirror-host.md"
    commands_of_operator_alerts "docs/src/operator/alerts.md"
    commands_of_operator_exit_codes "docs/src/operator/exit-codes.md"
    commands_of_operator_first_node "docs/src/operator/first-node.md"
    commands_of_operator_health_checks "docs/src/operator/health-checks.md"
    commands_of_operator_products "docs/src/operator/products.md"
    commands_of_operator_self_update "docs/src/operator/self-update.md"
    commands_of_peer_group "docs/src/peer-group.md"
    commands_of_publisher_archives "docs/src/publisher/archives.md"
    commands_of_publisher_export "docs/src/publisher/export.md"
    commands_of_publisher_release "docs/src/publisher/release.md"
    commands_of_publisher_withdraw "docs/src/publisher/withdraw.md"
}

/// The pages with commands for a node that has peers over Tor.
#[cfg(feature = "tor")]
const TOR_PAGES: [&str; 3] =
    ["docs/src/operator/offline.md", "docs/src/operator/updates.md", "docs/src/peer-group.md"];

/// Runs the blocks `sh tor` of every page, with a node that has peers.
#[cfg(feature = "tor")]
pub(crate) fn run_tor_pages(config: &Path) {
    assert_eq!(pages_with("sh tor"), BTreeSet::from(TOR_PAGES.map(str::to_owned)));
    TOR_PAGES.iter().for_each(|page| run_page(page, "sh tor", Some(config)));
}

fn pages_with(fence: &str) -> BTreeSet<String> {
    let has_block = |text: &str| blocks(text).iter().any(|block| block.fence == fence);
    let documents = documents().into_iter().filter(|(_, text)| has_block(text));
    documents.map(|(path, _)| path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_page_with_commands_is_run() {
    assert_eq!(pages_with("sh"), PAGES.iter().map(|page| (*page).to_owned()).collect());
}
