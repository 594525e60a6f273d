//! What is not published, and that nothing is written then.

use std::fs;
use std::os::unix::fs::symlink;

use unanimity_log::LogWriter;
use unanimity_log::export::{ExportError, LogSnapshot, export};
use unanimity_protocol::{Evidence, Hash, Timestamp};
use unanimity_storage::{Storage, WriteStep};
use unanimity_testkit::sample_log::{origin, sample_log, sample_notes, signing_key};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::recording_disk;
use unanimity_testkit::{ReleaseSpec, World, copy_tree, storage_hooks};

use crate::site::{LogAndSite, files};

/// Publishes, which must fail before anything is written.
fn refused(pair: &LogAndSite) -> ExportError {
    let before = pair.site.exists().then(|| files(&pair.site));
    let (disk, steps) = recording_disk();
    let error = pair.export(&disk).unwrap_err();
    assert!(steps.lock().unwrap().is_empty(), "{error}: {steps:?}");
    assert_eq!(pair.site.exists().then(|| files(&pair.site)), before, "{error}");
    error
}

#[test]
fn a_log_that_is_damaged_anywhere_is_not_published_and_the_damage_is_named() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.append(&sample_notes("first", 511));
    pair.release(1, b"one");
    pair.append(&sample_notes("last", 3));
    let served = files(&pair.log);
    // What of the log its checkpoint implies: not the partial tiles of older heads.
    let fresh = LogAndSite { log: pair.log.clone(), site: place.path().join("fresh") };
    fresh.export(&Storage::default()).unwrap();
    let implied = files(&fresh.site);
    assert_eq!(implied.len(), 9 + 1);
    for name in implied.keys().filter(|name| !name.ends_with("index.html")) {
        let (path, bytes) = (pair.log.join(name), &served[name]);
        let (mut first, mut last) = (bytes.clone(), bytes.clone());
        first[0] ^= 1;
        *last.last_mut().unwrap() ^= 1;
        let longer = [&bytes[..], &[0; 34]].concat();
        let shorter = bytes[..bytes.len() - 1].to_vec();
        for damaged in [first, last, longer, shorter] {
            fs::write(&path, damaged).unwrap();
            let error = refused(&pair);
            let said = error.to_string();
            match &error {
                ExportError::ArtifactMismatch(at) => assert_eq!(*at, path),
                ExportError::Checkpoint { path: at, .. } => assert_eq!(*at, path),
                // All partial tiles make the root; which of them is wrong, it does not say.
                ExportError::Disk(_) => assert!(
                    said.contains(path.to_str().unwrap())
                        || (said.contains("tile is damaged") && said.contains("restore it")),
                    "{said}"
                ),
                _ => panic!("{error}"),
            }
        }
        fs::remove_file(&path).unwrap();
        if name.starts_with("artifact") {
            let done = export(
                &LogSnapshot::read(&pair.log, &sample_log().key).unwrap(),
                &place.path().join("without"),
                &Storage::default(),
            );
            assert_eq!(done.unwrap().missing_artifacts.len(), 1);
        } else {
            let said = refused(&pair).to_string();
            assert!(
                said.contains(name.to_str().unwrap()) || name.ends_with("checkpoint"),
                "{said}"
            );
        }
        fs::write(&path, bytes).unwrap();
    }
    pair.export(&Storage::default()).unwrap();
}

#[test]
fn a_site_never_goes_back() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.append(&sample_notes("old", 300));
    let backup = LogAndSite { log: place.path().join("backup"), site: pair.site.clone() };
    copy_tree(&pair.log, &backup.log).unwrap();
    pair.append(&sample_notes("new", 2));
    pair.export(&Storage::default()).unwrap();
    let error = refused(&backup);
    assert!(matches!(error, ExportError::Rollback { size: 302, held: 300, .. }), "{error}");
    // Also a site that cannot prove that it is ahead.
    fs::remove_dir_all(pair.site.join("tile")).unwrap();
    assert!(matches!(refused(&backup), ExportError::Rollback { .. }));
    // From the log itself it is made whole again.
    pair.export(&Storage::default()).unwrap();
    let empty = LogAndSite { log: place.path().join("empty"), site: pair.site.clone() };
    LogWriter::init(&empty.log, origin(), signing_key(1), Storage::default()).unwrap();
    assert!(matches!(refused(&empty), ExportError::Rollback { held: 0, .. }));
}

#[test]
fn two_stories_of_one_log_are_not_published_over_each_other_and_leave_evidence() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.append(&sample_notes("both", 300));
    let other = LogAndSite { log: place.path().join("other"), site: pair.site.clone() };
    copy_tree(&pair.log, &other.log).unwrap();
    pair.append(&sample_notes("ours", 5));
    pair.export(&Storage::default()).unwrap();
    // Shorter than the site, as long as it, and longer.
    for count in [3, 2, 7] {
        other.append(&sample_notes(&format!("theirs {count}"), count));
        let error = refused(&other);
        let ExportError::Fork { evidence, .. } = &error else { panic!("{error}") };
        let text = evidence.to_string();
        assert_eq!(Evidence::verify(&text, &sample_log()).unwrap(), **evidence);
        assert!(error.to_string().contains(&evidence.id()));
    }
    assert_eq!(pair.export(&Storage::default()).unwrap().files, 0);
}

#[test]
fn a_site_of_another_log_is_left_alone() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.export(&Storage::default()).unwrap();
    for (name, (origin, key)) in
        [("origin", ("log.example/other".parse().unwrap(), 1)), ("key", (origin(), 2))]
    {
        let other = LogAndSite { log: place.path().join(name), site: pair.site.clone() };
        LogWriter::init(&other.log, origin, signing_key(key), Storage::default()).unwrap();
        let before = files(&other.site);
        let source = LogSnapshot::read(&other.log, &signing_key(key).public()).unwrap();
        let (disk, steps) = recording_disk();
        let error = export(&source, &other.site, &disk).unwrap_err();
        assert!(matches!(error, ExportError::OtherLog { .. }), "{error}");
        assert!(steps.lock().unwrap().is_empty());
        assert_eq!(files(&other.site), before);
    }
    fs::write(pair.site.join("checkpoint"), "damaged").unwrap();
    assert!(matches!(refused(&pair), ExportError::OtherLog { .. }));
}

#[test]
fn a_directory_with_other_things_in_it_is_no_site() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    fs::create_dir(&pair.site).unwrap();
    for name in ["notes.txt", ".hidden", "index.html", "checkpoint.old", "tiles"] {
        fs::write(pair.site.join(name), "precious").unwrap();
        assert!(matches!(refused(&pair), ExportError::Occupied(_)), "{name}");
        fs::remove_file(pair.site.join(name)).unwrap();
    }
    // A log's directory that somebody appends to, be it of the same log.
    copy_tree(&pair.log, &place.path().join("backup")).unwrap();
    pair.append(&sample_notes("new", 2));
    let backup = LogAndSite { log: pair.log.clone(), site: place.path().join("backup") };
    fs::write(backup.site.join(".pending"), "").unwrap();
    assert!(matches!(refused(&backup), ExportError::IsLog(_)));
    // A file, and a directory that may not be written.
    fs::remove_dir_all(&pair.site).unwrap();
    fs::write(&pair.site, "file").unwrap();
    assert!(matches!(pair.export(&Storage::default()).unwrap_err(), ExportError::Disk(_)));
    assert_eq!(fs::read_to_string(&pair.site).unwrap(), "file");
}

#[test]
fn a_site_and_its_log_are_apart() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.append(&sample_notes("new", 2));
    symlink(&pair.log, place.path().join("link")).unwrap();
    for site in ["log", "log/site", "log/tile", "log/a/b", "link", "link/site", "."] {
        let inside = LogAndSite { log: pair.log.clone(), site: place.path().join(site) };
        let before = files(&pair.log);
        let error = inside.export(&Storage::default()).unwrap_err();
        assert!(matches!(error, ExportError::OverlappingDirectories { .. }), "{site}: {error}");
        assert_eq!(files(&pair.log), before, "{site}");
    }
    let through = LogAndSite { log: place.path().join("link"), site: pair.log.join("site") };
    assert!(matches!(refused(&through), ExportError::OverlappingDirectories { .. }));
    let around = LogAndSite { log: pair.log.clone(), site: place.path().join("other/../log/site") };
    assert!(refused(&around).to_string().contains("(..)"));
    // A neighbour whose name begins alike is no part of it.
    let beside = LogAndSite { log: pair.log.clone(), site: place.path().join("log-site") };
    beside.export(&Storage::default()).unwrap();
}

#[test]
fn one_process_publishes_to_a_site_at_a_time() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.export(&Storage::default()).unwrap();
    let lock = unanimity_storage::lock(&pair.site).unwrap();
    pair.append(&sample_notes("new", 2));
    let before = files(&pair.site);
    assert!(matches!(pair.export(&Storage::default()).unwrap_err(), ExportError::Busy(_)));
    assert_eq!(files(&pair.site), before);
    drop(lock);
    pair.export(&Storage::default()).unwrap();
}

#[test]
fn what_another_run_published_in_the_meantime_is_not_taken_back() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.append(&sample_notes("old", 2));
    let old = LogSnapshot::read(&pair.log, &sample_log().key).unwrap();
    pair.append(&sample_notes("new", 2));
    let (log, site) = (pair.log.clone(), pair.site.clone());
    let disk = Storage::with_hook(move |step| {
        if matches!(step, WriteStep::MakeDir(_)) {
            let other = LogAndSite { log: log.clone(), site: site.clone() };
            other.export(&Storage::default()).unwrap();
        }
        Ok(())
    });
    let error = export(&old, &pair.site, &disk).unwrap_err();
    assert!(matches!(error, ExportError::Rollback { size: 4, held: 2, .. }), "{error}");
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.release(1, &[7; 300_000]);
    let disk = Storage::with_hook(|step| match step {
        WriteStep::SyncFile(_) => Err(storage_hooks::no_space()),
        _ => Ok(()),
    });
    let error = pair.export(&disk).unwrap_err();
    assert!(matches!(&error, ExportError::Disk(_)), "{error}");
    assert!(files(&pair.site).is_empty());
}

#[test]
fn an_artifact_that_changes_while_it_is_copied_is_not_published() {
    let place = scratch_dir();
    let pair = LogAndSite::new(place.path());
    pair.release(1, b"one");
    let source = LogSnapshot::read(&pair.log, &sample_log().key).unwrap();
    let (from, digest) = (pair.log.clone(), Hash::digest(b"one").hex());
    for changed in [&b"eno"[..], b"one more"] {
        fs::write(from.join("artifact").join(&digest), changed).unwrap();
        let error = export(&source, &pair.site, &Storage::default()).unwrap_err();
        assert!(matches!(error, ExportError::ArtifactMismatch(_)), "{error}");
        assert!(files(&pair.site).is_empty());
    }
}

#[tokio::test]
async fn a_release_for_another_log_is_none_of_its_releases() {
    let place = scratch_dir();
    let world = World::create(place.path(), 3, Timestamp(1_790_000_000)).unwrap();
    let ours = world.publish(&ReleaseSpec::new(1, "1.0.0", b"one")).unwrap();
    // Whoever holds the log's key can log anything.
    let foreign = ours.to_string().replace(ours.log.as_str(), "log.example/else");
    let foreign = format!("{foreign}\n— writer AAAAAAAA\n").into_bytes();
    world.append_unchecked("log", &[foreign, b"\xffrubbish".to_vec()]).unwrap();
    let source = LogSnapshot::read(&world.log_directory(), &world.keys.log.key).unwrap();
    assert_eq!(source.head().size(), 3);
    let listed: Vec<_> = source.releases().iter().map(|release| &release.manifest).collect();
    assert_eq!(listed, [&ours]);
}
