//! Exporting a log to a site: verified files only, never an older head, complete after every step.

mod crash;
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use unanimity_client::CycleOutcome;
use unanimity_log::LogWriter;
use unanimity_log::export::{ExportError, ExportSummary, LogSnapshot, export};
use unanimity_net::Mirror;
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::{Hash, Timestamp};
use unanimity_storage::{Storage, WriteStep};
use unanimity_testkit::sample_log::{
    ORIGIN, origin, read_verified, sample_log, sample_note, sample_notes, signing_key,
};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::recording_disk;
use unanimity_testkit::{ReleaseSpec, World};

/// A log's directory, and a directory for its site beside it.
struct LogAndSite {
    log: PathBuf,
    site: PathBuf,
}

impl LogAndSite {
    /// Makes an empty log, and no site yet.
    fn new(directory: &Path) -> LogAndSite {
        let pair = LogAndSite { log: directory.join("log"), site: directory.join("site") };
        LogWriter::init(&pair.log, origin(), signing_key(1), Storage::default()).unwrap();
        pair
    }

    fn append(&self, notes: &[Vec<u8>]) {
        let mut log = LogWriter::open(&self.log, signing_key(1), Storage::default()).unwrap();
        log.append(notes).unwrap();
    }

    /// Adds an artifact to the log and appends its release.
    fn release(&self, sequence: u64, artifact: &[u8]) {
        let log = LogWriter::open(&self.log, signing_key(1), Storage::default()).unwrap();
        log.add_artifact(artifact).unwrap();
        drop(log);
        self.append(&[release(sequence, artifact.len(), artifact)]);
    }

    fn export(&self, disk: &Storage) -> Result<ExportSummary, ExportError> {
        export(&LogSnapshot::read(&self.log, &sample_log().key)?, &self.site, disk)
    }

    fn page(&self) -> String {
        fs::read_to_string(self.site.join("index.html")).unwrap()
    }

    fn artifact(&self, bytes: &[u8]) -> PathBuf {
        self.site.join(artifact_path(&Hash::digest(bytes)))
    }
}

/// A log entry with a release of one file. Its signature is not valid: clients verify that.
fn release(sequence: u64, length: usize, artifact: &[u8]) -> Vec<u8> {
    format!(
        "unanimity/manifest/v1\nlog {ORIGIN}\nproduct hello\nchannel stable\nsequence {sequence}\n\
         version {sequence}.0\nissued 1790000000\nexpires 1797776000\n\
         artifact x86_64-linux hello {length} {} file\n\n— writer AAAAAAAA\n",
        Hash::digest(artifact)
    )
    .into_bytes()
}

/// The files below a directory except its lock.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut rest) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(next) = rest.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rest.push(path);
            } else if !path.ends_with(".lock") {
                let name = path.strip_prefix(directory).unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn export_writes_the_served_files_of_the_log_only() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    for (sequence, artifact) in [(1, &b"one"[..]), (2, b"two")] {
        pair.release(sequence, artifact);
    }
    pair.append(&sample_notes("other", 300));
    fs::write(pair.log.join(".secret"), "private").unwrap();
    fs::write(pair.log.join("artifact").join(Hash::digest(b"draft").hex()), "draft").unwrap();
    let summary = pair.export(&Storage::default()).unwrap();
    assert!(summary.missing_artifacts.is_empty() && !summary.has_foreign_page);
    let (head, entries) = read_verified(&pair.site);
    assert_eq!((head.size(), entries.len()), (302, 302));
    let files = files(&pair.site);
    assert_eq!(files.len() as u64, summary.files);
    assert_eq!(files.values().map(|bytes| bytes.len() as u64).sum::<u64>(), summary.bytes);
    let names: Vec<&str> = files.keys().map(|path| path.to_str().unwrap()).collect();
    let (one, two) = (artifact_path(&Hash::digest(b"one")), artifact_path(&Hash::digest(b"two")));
    let mut expected = vec![
        &*one,
        &*two,
        "checkpoint",
        "index.html",
        "tile/0/000",
        "tile/0/001.p/46",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/46",
    ];
    expected.sort_unstable();
    let mut found = names.clone();
    found.sort_unstable();
    assert_eq!(found, expected);
    for name in names {
        let mode = fs::metadata(pair.site.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "{name}");
    }
}

#[tokio::test]
async fn client_installs_from_an_exported_site() {
    let scratch = scratch_dir();
    let mut world =
        World::create(&scratch.path().join("world"), 3, Timestamp(1_790_000_000)).unwrap();
    let site = scratch.path().join("site");
    world.mirrors = vec![Mirror::from_directory(&site)];
    for (sequence, artifact) in [(1, &b"#!/bin/sh\necho one\n"[..]), (2, b"#!/bin/sh\necho two\n")]
    {
        world.publish(&ReleaseSpec::new(sequence, "1.0.0", artifact)).unwrap();
        let source = LogSnapshot::read(&world.log_directory(), &world.keys.log.key).unwrap();
        export(&source, &site, &Storage::default()).unwrap();
        world.poll_all().await.unwrap();
        world.update().await.1.unwrap_err();
        world.advance(Duration::from_secs(61 * 60));
        world.poll_all().await.unwrap();
        let (report, outcome) = world.update().await;
        assert!(matches!(outcome, Ok(CycleOutcome::Installed(_))), "{report:?} {outcome:?}");
        assert_eq!(world.installed_version().unwrap().unwrap().sequence, sequence);
        assert_eq!(fs::read(world.install_root().join("current/hello")).unwrap(), artifact);
    }
}

#[test]
fn export_writes_changed_files_only() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("first", 256));
    pair.release(1, b"one");
    pair.export(&Storage::default()).unwrap();
    let (disk, steps) = recording_disk();
    let summary = pair.export(&disk).unwrap();
    assert_eq!((summary.files, summary.bytes), (0, 0));
    let syncs =
        |steps: &[WriteStep]| steps.iter().all(|step| matches!(step, WriteStep::SyncDir(_)));
    assert!(syncs(&steps.lock().unwrap()), "{steps:?}");

    pair.release(2, b"two");
    let before = files(&pair.site);
    let summary = pair.export(&Storage::default()).unwrap();
    let after = files(&pair.site);
    let changed: Vec<_> = after.iter().filter(|(p, bytes)| before.get(*p) != Some(bytes)).collect();
    assert_eq!(changed.len() as u64, summary.files);
    // The files: an artifact, a bundle, a tile of leaves, the checkpoint and the page.
    assert_eq!(summary.files, 5, "{changed:?}");
    assert!(before.keys().all(|path| after.contains_key(path)), "nothing is removed");
    read_verified(&pair.site);
}

#[test]
fn export_accepts_an_empty_log() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.export(&Storage::default()).unwrap();
    assert_eq!(read_verified(&pair.site).0.size(), 0);
    snapbox::assert_data_eq!(pair.page(), snapbox::file!["words/page_of_an_empty_log.txt"]);
    let names: Vec<_> = files(&pair.site).into_keys().collect();
    assert_eq!(names, [Path::new("checkpoint"), Path::new("index.html")]);
    pair.release(1, b"one");
    pair.export(&Storage::default()).unwrap();
    assert_eq!(read_verified(&pair.site).0.size(), 1);
}

#[test]
fn next_export_has_the_entries_appended_meanwhile() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("first", 3));
    let source = LogSnapshot::read(&pair.log, &sample_log().key).unwrap();
    let mut writer = LogWriter::open(&pair.log, signing_key(1), Storage::default()).unwrap();
    writer.append(&sample_notes("second", 300)).unwrap();
    export(&source, &pair.site, &Storage::default()).unwrap();
    assert_eq!(read_verified(&pair.site).1, sample_notes("first", 3));
    pair.export(&Storage::default()).unwrap();
    assert_eq!(read_verified(&pair.site).0, *writer.head());
}

#[test]
fn export_accepts_a_log_without_partial_tiles() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("first", 200));
    let old = fs::read(pair.log.join("checkpoint")).unwrap();
    pair.append(&sample_notes("second", 100));
    fs::write(pair.log.join("checkpoint"), old).unwrap();
    for partial in ["tile/0/000.p", "tile/entries/000.p"] {
        fs::remove_dir_all(pair.log.join(partial)).unwrap();
    }
    pair.export(&Storage::default()).unwrap();
    assert_eq!(read_verified(&pair.site).1, sample_notes("first", 200));
}

#[test]
fn export_repairs_a_damaged_site() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("first", 255));
    pair.release(1, b"one");
    pair.export(&Storage::default()).unwrap();
    let whole = files(&pair.site);
    for (name, bytes) in &whole {
        let path = pair.site.join(name);
        let mut flipped = bytes.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let longer = [&bytes[..], b"x"].concat();
        for damaged in [&flipped, &longer, &bytes[..bytes.len() - 1]] {
            // A checkpoint that does not verify may be of another log, so it is never replaced.
            if name.ends_with("checkpoint") {
                continue;
            }
            fs::write(&path, damaged).unwrap();
            assert_eq!(pair.export(&Storage::default()).unwrap().files, 1, "{}", name.display());
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(pair.export(&Storage::default()).unwrap().files, 1, "{}", name.display());
        if !name.ends_with("checkpoint") {
            fs::remove_file(&path).unwrap();
            assert_eq!(pair.export(&Storage::default()).unwrap().files, 1, "{}", name.display());
        }
        assert_eq!(files(&pair.site), whole);
    }
}

#[test]
fn export_keeps_files_of_the_operator() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.release(1, b"one");
    pair.export(&Storage::default()).unwrap();
    let theirs = [("index.html", "<p>mine</p>"), ("robots.txt", ""), ("artifact/notes", "x")];
    for (name, text) in theirs {
        fs::write(pair.site.join(name), text).unwrap();
    }
    pair.release(2, b"two");
    assert!(pair.export(&Storage::default()).unwrap().has_foreign_page);
    for (name, text) in theirs {
        assert_eq!(fs::read_to_string(pair.site.join(name)).unwrap(), text);
    }
}

#[test]
fn export_reports_artifacts_that_neither_log_nor_site_has() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&[release(1, 3, b"one"), release(2, 3, b"two")]);
    let summary = pair.export(&Storage::default()).unwrap();
    assert_eq!(summary.missing_artifacts.len(), 2);
    assert_eq!(summary.missing_artifacts[0].manifest.sequence, 1);
    assert_eq!(pair.page().matches("(not available here)").count(), 2);
    let log = LogWriter::open(&pair.log, signing_key(1), Storage::default()).unwrap();
    log.add_artifact(b"one").unwrap();
    log.add_artifact(b"two").unwrap();
    drop(log);
    assert!(pair.export(&Storage::default()).unwrap().missing_artifacts.is_empty());
    assert!(!pair.page().contains("not available"));
    // The log may drop old artifacts. The site keeps them.
    fs::remove_dir_all(pair.log.join("artifact")).unwrap();
    let summary = pair.export(&Storage::default()).unwrap();
    assert_eq!((summary.files, summary.missing_artifacts.len()), (0, 0));
    // A false length in a later release does not affect the artifact.
    pair.append(&[release(3, 5, b"two")]);
    let summary = pair.export(&Storage::default()).unwrap();
    assert_eq!(summary.missing_artifacts.len(), 1);
    assert_eq!(fs::read(pair.artifact(b"two")).unwrap(), b"two");
    assert_eq!(pair.page().matches("(not available here)").count(), 1);
    // An artifact that is damaged on the site and missing in the log counts as missing.
    fs::write(pair.artifact(b"one"), "eno").unwrap();
    assert_eq!(pair.export(&Storage::default()).unwrap().missing_artifacts.len(), 2);
    assert_eq!(fs::read(pair.artifact(b"one")).unwrap(), b"eno");
}

#[test]
fn page_lists_releases_newest_first_and_is_deterministic() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.release(1, b"one");
    pair.release(2, b"two");
    pair.append(&[sample_note("other", 1), b"unanimity/manifest/v1 no more\n".to_vec()][..1]);
    pair.export(&Storage::default()).unwrap();
    let page = pair.page();
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text:?} in {page}"));
    let link = |artifact: &[u8]| {
        let digest = Hash::digest(artifact);
        format!(r#"<a href="artifact/{digest}" download="hello"><code>{digest}</code></a>"#)
    };
    assert!(at(&link(b"two")) < at(&link(b"one")));
    at(&read_verified(&pair.site).0.root().hex());
    at(&sample_log().key.to_string());
    snapbox::assert_data_eq!(page, snapbox::file!["words/page_of_two_releases.txt"]);
    let again = LogAndSite { site: scratch.path().join("again"), log: pair.log.clone() };
    again.export(&Storage::default()).unwrap();
    assert_eq!(files(&again.site), files(&pair.site));
}

#[test]
fn page_escapes_names_of_the_log_and_its_key() {
    let scratch = scratch_dir();
    let pair = LogAndSite { log: scratch.path().join("log"), site: scratch.path().join("site") };
    let origin = "log.example/<script src='x'>alert(1)</script>&amp;\"--><style>";
    let name = "<img\u{a0}x\u{202e}".replace('\u{a0}', "") + "\u{200b}onerror=\"y\">";
    let signing_key =
        unanimity_protocol::NoteSigningKey::from_seed(name.parse().unwrap(), &[5; 32]);
    let key = signing_key.public();
    LogWriter::init(&pair.log, origin.parse().unwrap(), signing_key, Storage::default()).unwrap();
    export(&LogSnapshot::read(&pair.log, &key).unwrap(), &pair.site, &Storage::default()).unwrap();
    let page = pair.page();
    assert!(page.is_ascii());
    for markup in ["<script", "<img", "alert(1)</", "\"--><style>", "onerror=\"y\""] {
        assert!(!page.contains(markup), "{markup} is in {page}");
    }
    let escaped = "log.example/&lt;script src=&#39;x&#39;&gt;alert(1)&lt;/script&gt;&amp;amp;&quot;--&gt;&lt;style&gt;";
    assert_eq!(page.matches(escaped).count(), 3, "{page}");
    assert!(page.contains(r"&lt;imgx\u{202e}\u{200b}onerror=&quot;y&quot;&gt;"), "{page}");
    assert_eq!(page.matches("<style>").count(), 1);
}

#[test]
fn page_lists_1000_releases_and_counts_the_rest() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    let all: Vec<Vec<u8>> = (1..=1003).map(|sequence| release(sequence, 3, b"one")).collect();
    pair.append(&all);
    pair.export(&Storage::default()).unwrap();
    let page = pair.page();
    assert_eq!(page.matches("<tbody>").count(), 1000);
    assert!(page.contains("<td>1003.0</td>"));
    assert!(!page.contains("<td>3.0</td>"));
    let (_, below) = page.rsplit_once("</table>\n").unwrap();
    snapbox::assert_data_eq!(below, snapbox::file!["words/page_below_1000_releases.txt"]);
}
