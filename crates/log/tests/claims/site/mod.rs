//! Publishing a log as a site: only what was verified, never backwards, whole at every step.

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
    /// With an empty log.
    fn new(directory: &Path) -> LogAndSite {
        let pair = LogAndSite { log: directory.join("log"), site: directory.join("site") };
        LogWriter::init(&pair.log, origin(), signing_key(1), Storage::default()).unwrap();
        pair
    }

    fn append(&self, notes: &[Vec<u8>]) {
        let mut log = LogWriter::open(&self.log, signing_key(1), Storage::default()).unwrap();
        log.append(notes).unwrap();
    }

    /// Appends a release of a file, whose bytes go beside the log.
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

/// A release of one file as an entry; who signs it is for clients to judge.
fn release(sequence: u64, length: usize, artifact: &[u8]) -> Vec<u8> {
    format!(
        "unanimity/manifest/v1\nlog {ORIGIN}\nproduct hello\nchannel stable\nsequence {sequence}\n\
         version {sequence}.0\nissued 1790000000\nexpires 1797776000\n\
         target x86_64-linux hello {length} {} file\n\n— writer AAAAAAAA\n",
        Hash::digest(artifact)
    )
    .into_bytes()
}

/// Every file below a directory but its lock.
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
fn a_site_has_all_of_a_log_that_is_to_be_served_and_nothing_else() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    for (sequence, artifact) in [(1, &b"one"[..]), (2, b"two")] {
        pair.release(sequence, artifact);
    }
    pair.append(&sample_notes("other", 300));
    fs::write(pair.log.join(".secret"), "private").unwrap();
    fs::write(pair.log.join("artifact").join(Hash::digest(b"draft").hex()), "draft").unwrap();
    let done = pair.export(&Storage::default()).unwrap();
    assert!(done.missing_artifacts.is_empty() && !done.has_foreign_page);
    let (head, entries) = read_verified(&pair.site);
    assert_eq!((head.size(), entries.len()), (302, 302));
    let files = files(&pair.site);
    assert_eq!(files.len() as u64, done.files);
    assert_eq!(files.values().map(|bytes| bytes.len() as u64).sum::<u64>(), done.bytes);
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
async fn a_client_installs_from_a_site_that_was_published() {
    let place = scratch_dir();
    let mut world =
        World::create(&place.path().join("world"), 3, Timestamp(1_790_000_000)).unwrap();
    let site = place.path().join("site");
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
fn only_what_changed_is_written_and_a_second_run_writes_nothing() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.append(&sample_notes("first", 256));
    pair.release(1, b"one");
    pair.export(&Storage::default()).unwrap();
    let (disk, steps) = recording_disk();
    let done = pair.export(&disk).unwrap();
    assert_eq!((done.files, done.bytes), (0, 0));
    let syncs =
        |steps: &[WriteStep]| steps.iter().all(|step| matches!(step, WriteStep::SyncDir(_)));
    assert!(syncs(&steps.lock().unwrap()), "{steps:?}");

    pair.release(2, b"two");
    let before = files(&pair.site);
    let done = pair.export(&Storage::default()).unwrap();
    let after = files(&pair.site);
    let changed: Vec<_> = after.iter().filter(|(p, bytes)| before.get(*p) != Some(bytes)).collect();
    assert_eq!(changed.len() as u64, done.files);
    // An artifact, a bundle, the tile of its leaves, the checkpoint and the page.
    assert_eq!(done.files, 5, "{changed:?}");
    assert!(before.keys().all(|path| after.contains_key(path)), "nothing is removed");
    read_verified(&pair.site);
}

#[test]
fn an_empty_log_is_a_site() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.export(&Storage::default()).unwrap();
    assert_eq!(read_verified(&pair.site).0.size(), 0);
    assert!(pair.page().contains("There are none yet."));
    let names: Vec<_> = files(&pair.site).into_keys().collect();
    assert_eq!(names, [Path::new("checkpoint"), Path::new("index.html")]);
    pair.release(1, b"one");
    pair.export(&Storage::default()).unwrap();
    assert_eq!(read_verified(&pair.site).0.size(), 1);
}

#[test]
fn what_is_appended_meanwhile_is_published_by_the_next_run() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
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
fn a_copy_that_dropped_partial_tiles_is_a_log_to_publish_from() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
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
fn damage_to_a_site_is_repaired() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
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
            // A checkpoint that does not open may be another log's.
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
fn what_somebody_else_put_on_the_site_stays() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
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
fn an_artifact_that_is_missing_is_said_and_shown_and_one_that_the_site_has_is_not_needed() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.append(&[release(1, 3, b"one"), release(2, 3, b"two")]);
    let done = pair.export(&Storage::default()).unwrap();
    assert_eq!(done.missing_artifacts.len(), 2);
    assert_eq!(done.missing_artifacts[0].manifest.sequence, 1);
    assert_eq!(pair.page().matches("(not available here)").count(), 2);
    let log = LogWriter::open(&pair.log, signing_key(1), Storage::default()).unwrap();
    log.add_artifact(b"one").unwrap();
    log.add_artifact(b"two").unwrap();
    drop(log);
    assert!(pair.export(&Storage::default()).unwrap().missing_artifacts.is_empty());
    assert!(!pair.page().contains("not available"));
    // The log may let go of old files; the site keeps them.
    fs::remove_dir_all(pair.log.join("artifact")).unwrap();
    let done = pair.export(&Storage::default()).unwrap();
    assert_eq!((done.files, done.missing_artifacts.len()), (0, 0));
    // One of another length cannot be, whoever logs it: it blocks nobody.
    pair.append(&[release(3, 5, b"two")]);
    let done = pair.export(&Storage::default()).unwrap();
    assert_eq!(done.missing_artifacts.len(), 1);
    assert_eq!(fs::read(pair.artifact(b"two")).unwrap(), b"two");
    assert_eq!(pair.page().matches("(not available here)").count(), 1);
    // What is damaged on the site, and nowhere else whole, is not there.
    fs::write(pair.artifact(b"one"), "eno").unwrap();
    assert_eq!(pair.export(&Storage::default()).unwrap().missing_artifacts.len(), 2);
    assert_eq!(fs::read(pair.artifact(b"one")).unwrap(), b"eno");
}

#[test]
fn the_page_lists_releases_newest_first_and_is_the_same_for_the_same_log() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
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
    for text in [
        ORIGIN,
        "<dt>Size</dt><dd>3</dd>",
        &read_verified(&pair.site).0.root().hex(),
        &sample_log().key.to_string(),
        "<td>hello</td><td>stable</td><td>2</td><td>2.0</td><td>x86_64-linux</td>",
        "<td>2026-09-21T14:13:20Z</td><td>2026-12-20T14:13:20Z</td>",
    ] {
        at(text);
    }
    let again = LogAndSite { site: place.path().join("again"), log: pair.log.clone() };
    again.export(&Storage::default()).unwrap();
    assert_eq!(files(&again.site), files(&pair.site));
}

#[test]
fn nothing_that_others_named_is_markup_in_the_page() {
    let place = scratch_dir();
    let pair = LogAndSite { log: place.path().join("log"), site: place.path().join("site") };
    let origin = "log.example/<script src='x'>alert(1)</script>&amp;\"--><style>";
    let name = "<img\u{a0}x\u{202e}".replace('\u{a0}', "") + "\u{200b}onerror=\"y\">";
    let secret = unanimity_protocol::NoteSigningKey::from_seed(name.parse().unwrap(), &[5; 32]);
    let key = secret.public();
    LogWriter::init(&pair.log, origin.parse().unwrap(), secret, Storage::default()).unwrap();
    export(&LogSnapshot::read(&pair.log, &key).unwrap(), &pair.site, &Storage::default()).unwrap();
    let page = pair.page();
    assert!(page.is_ascii());
    for markup in ["<script", "<img", "alert(1)</", "\"--><style>", "onerror=\"y\""] {
        assert!(!page.contains(markup), "{markup} is in {page}");
    }
    let shown = "log.example/&lt;script src=&#39;x&#39;&gt;alert(1)&lt;/script&gt;&amp;amp;&quot;--&gt;&lt;style&gt;";
    assert_eq!(page.matches(shown).count(), 3, "{page}");
    assert!(page.contains(r"&lt;imgx\u{202e}\u{200b}onerror=&quot;y&quot;&gt;"), "{page}");
    assert_eq!(page.matches("<style>").count(), 1);
}

#[test]
fn a_thousand_releases_are_listed_and_the_rest_is_counted() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    let all: Vec<Vec<u8>> = (1..=1003).map(|sequence| release(sequence, 3, b"one")).collect();
    pair.append(&all);
    pair.export(&Storage::default()).unwrap();
    let page = pair.page();
    assert_eq!(page.matches("<tbody>").count(), 1000);
    assert!(page.contains("all older: 3;") && page.contains("<td>1003.0</td>"));
    assert!(!page.contains("<td>3.0</td>"));
}
