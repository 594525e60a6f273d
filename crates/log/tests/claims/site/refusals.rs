//! Refused exports: each of them writes nothing.

use std::fs;
use std::os::unix::fs::symlink;

use unanimity_log::LogWriter;
use unanimity_log::export::{ExportError, LogSnapshot, export};
use unanimity_protocol::{Evidence, Hash, Timestamp};
use unanimity_storage::{Storage, StorageError, WriteStep};
use unanimity_testkit::sample_log::{origin, sample_log, sample_notes, signing_key};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::recording_disk;
use unanimity_testkit::{ReleaseSpec, World, copy_tree, storage_hooks};

use crate::site::{LogAndSite, files};

/// Exports, which must fail before anything is written.
fn refused(pair: &LogAndSite) -> ExportError {
    let before = pair.site.exists().then(|| files(&pair.site));
    let (disk, steps) = recording_disk();
    let error = pair.export(&disk).unwrap_err();
    assert!(steps.lock().unwrap().is_empty(), "{error}: {steps:?}");
    assert_eq!(pair.site.exists().then(|| files(&pair.site)), before, "{error}");
    error
}

#[test]
fn export_refuses_a_damaged_log_and_names_the_damage() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("first", 511));
    pair.release(1, b"one");
    pair.append(&sample_notes("last", 3));
    let served = files(&pair.log);
    // The files that the checkpoint implies. Partial tiles of older heads are not among them.
    let fresh = LogAndSite { log: pair.log.clone(), site: scratch.path().join("fresh") };
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
            let text = error.to_string();
            match &error {
                ExportError::ArtifactMismatch(at) => assert_eq!(*at, path),
                ExportError::Checkpoint { path: at, .. } => assert_eq!(*at, path),
                // The partial tiles make the root together, so the error names their directory.
                ExportError::Disk(StorageError::Corrupt { path: at, .. })
                    if *at == pair.log.join("tile") =>
                {
                    assert!(text.contains("tile is damaged: restore it"), "{text}");
                }
                ExportError::Disk(_) => assert!(text.contains(path.to_str().unwrap()), "{text}"),
                _ => panic!("{error}"),
            }
        }
        fs::remove_file(&path).unwrap();
        if name.starts_with("artifact") {
            let summary = export(
                &LogSnapshot::read(&pair.log, &sample_log().key).unwrap(),
                &scratch.path().join("without"),
                &Storage::default(),
            );
            assert_eq!(summary.unwrap().missing_artifacts.len(), 1);
        } else {
            let text = refused(&pair).to_string();
            assert!(
                text.contains(name.to_str().unwrap()) || name.ends_with("checkpoint"),
                "{text}"
            );
        }
        fs::write(&path, bytes).unwrap();
    }
    pair.export(&Storage::default()).unwrap();
}

#[test]
fn export_refuses_a_log_behind_the_site() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("old", 300));
    let backup = LogAndSite { log: scratch.path().join("backup"), site: pair.site.clone() };
    copy_tree(&pair.log, &backup.log).unwrap();
    pair.append(&sample_notes("new", 2));
    pair.export(&Storage::default()).unwrap();
    let error = refused(&backup);
    assert!(matches!(error, ExportError::Rollback { size: 302, held: 300, .. }), "{error}");
    // A site without tiles cannot prove that it is ahead, and is refused, too.
    fs::remove_dir_all(pair.site.join("tile")).unwrap();
    assert!(matches!(refused(&backup), ExportError::Rollback { .. }));
    // An export from the newer log repairs it.
    pair.export(&Storage::default()).unwrap();
    let empty = LogAndSite { log: scratch.path().join("empty"), site: pair.site.clone() };
    LogWriter::init(&empty.log, origin(), signing_key(1), Storage::default()).unwrap();
    assert!(matches!(refused(&empty), ExportError::Rollback { held: 0, .. }));
}

#[test]
fn export_refuses_a_forked_log_and_returns_evidence() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("both", 300));
    let other = LogAndSite { log: scratch.path().join("other"), site: pair.site.clone() };
    copy_tree(&pair.log, &other.log).unwrap();
    pair.append(&sample_notes("ours", 5));
    pair.export(&Storage::default()).unwrap();
    // The other log is smaller than the site, then of its size, then larger.
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
fn export_refuses_a_site_of_another_log() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.export(&Storage::default()).unwrap();
    for (name, (origin, key)) in
        [("origin", ("log.example/other".parse().unwrap(), 1)), ("key", (origin(), 2))]
    {
        let other = LogAndSite { log: scratch.path().join(name), site: pair.site.clone() };
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
fn export_refuses_a_directory_with_other_files() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    fs::create_dir(&pair.site).unwrap();
    for name in ["notes.txt", ".hidden", "index.html", "checkpoint.old", "tiles"] {
        fs::write(pair.site.join(name), "precious").unwrap();
        assert!(matches!(refused(&pair), ExportError::Occupied(_)), "{name}");
        fs::remove_file(pair.site.join(name)).unwrap();
    }
    // The directory of a log writer is refused, even if it has the same log.
    copy_tree(&pair.log, &scratch.path().join("backup")).unwrap();
    pair.append(&sample_notes("new", 2));
    let backup = LogAndSite { log: pair.log.clone(), site: scratch.path().join("backup") };
    fs::write(backup.site.join(".pending"), "").unwrap();
    assert!(matches!(refused(&backup), ExportError::IsLog(_)));
    // A file is not a site.
    fs::remove_dir_all(&pair.site).unwrap();
    fs::write(&pair.site, "file").unwrap();
    assert!(matches!(pair.export(&Storage::default()).unwrap_err(), ExportError::Disk(_)));
    assert_eq!(fs::read_to_string(&pair.site).unwrap(), "file");
}

#[test]
fn export_refuses_a_site_that_overlaps_the_log() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
    pair.append(&sample_notes("new", 2));
    symlink(&pair.log, scratch.path().join("link")).unwrap();
    for site in ["log", "log/site", "log/tile", "log/a/b", "link", "link/site", "."] {
        let inside = LogAndSite { log: pair.log.clone(), site: scratch.path().join(site) };
        let before = files(&pair.log);
        let error = inside.export(&Storage::default()).unwrap_err();
        assert!(matches!(error, ExportError::OverlappingDirectories { .. }), "{site}: {error}");
        assert_eq!(files(&pair.log), before, "{site}");
    }
    let through = LogAndSite { log: scratch.path().join("link"), site: pair.log.join("site") };
    assert!(matches!(refused(&through), ExportError::OverlappingDirectories { .. }));
    let around =
        LogAndSite { log: pair.log.clone(), site: scratch.path().join("other/../log/site") };
    let message = refused(&around).to_string().replace(scratch.path().to_str().unwrap(), "[DIR]");
    snapbox::assert_data_eq!(message, snapbox::file!["words/site_above_a_missing_directory.txt"]);
    // A neighbour whose name begins like the log's does not overlap.
    let beside = LogAndSite { log: pair.log.clone(), site: scratch.path().join("log-site") };
    beside.export(&Storage::default()).unwrap();
}

#[test]
fn export_refuses_a_locked_site() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
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
fn export_refuses_to_undo_a_concurrent_export() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
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
fn export_to_a_full_disk_leaves_no_partial_file() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
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
fn export_refuses_an_artifact_that_changes_during_the_copy() {
    let scratch = scratch_dir();
    let pair = LogAndSite::new(scratch.path());
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
async fn releases_exclude_manifests_for_another_log() {
    let scratch = scratch_dir();
    let world = World::create(scratch.path(), 3, Timestamp(1_790_000_000)).unwrap();
    let ours = world.publish(&ReleaseSpec::new(1, "1.0.0", b"one")).unwrap();
    // The holder of the log's key can append any bytes.
    let foreign = ours.to_string().replace(ours.log.as_str(), "log.example/else");
    let foreign = format!("{foreign}\n— writer AAAAAAAA\n").into_bytes();
    world.append_unchecked("log", &[foreign, b"\xffrubbish".to_vec()]).unwrap();
    let source = LogSnapshot::read(&world.log_directory(), &world.keys.log.key).unwrap();
    assert_eq!(source.head().size(), 3);
    let listed: Vec<_> = source.releases().iter().map(|release| &release.manifest).collect();
    assert_eq!(listed, [&ours]);
}
