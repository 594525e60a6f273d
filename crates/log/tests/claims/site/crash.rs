//! Interrupted exports: after every step the site has a complete log, the older or the newer.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use unanimity_protocol::{Hash, Manifest, Note};
use unanimity_storage::{Storage, WriteStep, parent};
use unanimity_testkit::power_cut::PowerCutModel;
use unanimity_testkit::sample_log::{read_verified, sample_notes};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::signed_heads::SignedHeads;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk, step_path};
use unanimity_testkit::{copy_tree, scratch_dir};

use crate::site::{LogAndSite, files};

/// The releases, each with the size of the log that it completes.
const RELEASES: [(u64, &[u8]); 3] = [(3, b"one"), (258, b"two"), (263, b"three")];

/// Copies of the log after each release.
fn make_log_versions(directory: &Path) -> Vec<LogAndSite> {
    let pair = LogAndSite::new(&directory.join("writer"));
    let mut versions = Vec::new();
    for (i, (size, artifact)) in RELEASES.into_iter().enumerate() {
        let before = versions.len().checked_sub(1).map_or(0, |last| RELEASES[last].0);
        pair.append(&sample_notes(&format!("batch {i}"), size - before - 1));
        pair.release(i as u64 + 1, artifact);
        let log = directory.join(format!("log-{i}"));
        copy_tree(&pair.log, &log).unwrap();
        versions.push(LogAndSite { log, site: directory.join("nowhere") });
    }
    versions
}

/// Exports the versions of the log to one site in order, until an export fails.
fn export_all(versions: &[LogAndSite], site: &Path, disk: &Storage) -> bool {
    versions.iter().all(|pair| {
        LogAndSite { log: pair.log.clone(), site: site.to_owned() }.export(disk).is_ok()
    })
}

/// Checks that a site has a complete version of the log, every file of its releases, and no newer
/// page. Returns the size of the log, or `None` if there is no checkpoint.
fn check_site_is_whole(site: &Path) -> Option<u64> {
    if !site.join("checkpoint").exists() {
        assert!(!site.join("index.html").exists(), "a page without a checkpoint");
        return None;
    }
    let (head, entries) = read_verified(site);
    assert!(RELEASES.iter().any(|(size, _)| *size == head.size()), "{head}");
    for entry in entries {
        let note = Note::parse(&entry).unwrap();
        let Ok(manifest) = Manifest::parse(note.text()) else { continue };
        for target in manifest.artifacts {
            let bytes = fs::read(site.join(format!("artifact/{}", target.sha256))).unwrap();
            assert_eq!((Hash::digest(&bytes), bytes.len() as u64), (target.sha256, target.length));
        }
    }
    if let Ok(page) = fs::read_to_string(site.join("index.html")) {
        let shown = RELEASES.iter().find(|(size, _)| page.contains(&format!("<dd>{size}</dd>")));
        assert!(shown.unwrap().0 <= head.size() && page.ends_with("</html>\n"));
        for link in page.split("href=\"").skip(1) {
            assert!(site.join(link.split('"').next().unwrap()).exists());
        }
    }
    Some(head.size())
}

/// Checks that the next export completes the site, with the files of an undisturbed export. Returns
/// the size of the log before that export.
fn check_recovers(versions: &[LogAndSite], site: &Path, whole: &Path) -> Option<u64> {
    let before = check_site_is_whole(site);
    let last = &versions[2];
    LogAndSite { log: last.log.clone(), site: site.to_owned() }
        .export(&Storage::default())
        .unwrap();
    let after = files(site);
    for (name, bytes) in files(whole) {
        // A killed export may have skipped the partial tiles of an older head.
        let is_of_older_head = name.to_str().unwrap().contains(".p/");
        assert!(after.get(&name) == Some(&bytes) || is_of_older_head, "{}", name.display());
    }
    assert_eq!(check_site_is_whole(site), Some(RELEASES[2].0));
    before
}

#[test]
fn killed_export_leaves_a_complete_log_and_the_next_export_recovers() {
    let scratch = scratch_dir();
    let (versions, whole) = (make_log_versions(scratch.path()), scratch.path().join("whole"));
    let (disk, steps) = recording_disk();
    assert!(export_all(&versions, &whole, &disk));
    let steps = steps.lock().unwrap().len();
    assert!(steps > 100, "{steps} steps");
    let (mut sizes_found, mut last) = (BTreeSet::new(), None);
    for failing_step in 0..steps {
        let site = scratch.path().join(format!("site-{failing_step}"));
        assert!(!export_all(&versions, &site, &failing_disk(failing_step, None)));
        let size = check_recovers(&versions, &site, &whole);
        assert!(size >= last, "step {failing_step}: a published entry stays published");
        last = size;
        sizes_found.insert(size);
        fs::remove_dir_all(&site).unwrap();
    }
    let sizes = RELEASES.iter().map(|(size, _)| Some(*size));
    assert_eq!(
        sizes_found.into_iter().collect::<Vec<_>>(),
        [None].into_iter().chain(sizes).collect::<Vec<_>>()
    );
}

#[test]
fn power_cut_at_any_step_leaves_a_complete_log() {
    let scratch = scratch_dir();
    let (versions, whole) = (make_log_versions(scratch.path()), scratch.path().join("whole"));
    let (disk, steps) = recording_disk();
    assert!(export_all(&versions, &whole, &disk));
    let steps = steps.lock().unwrap().len();
    let mut outcomes = 0;
    for failing_step in 0..=steps {
        let root = scratch_dir::scratch_dir();
        let power = PowerCutModel::new(root.path());
        let disk = power.disk(Some(failing_step), &SignedHeads::default());
        assert_eq!(export_all(&versions, &root.path().join("site"), &disk), failing_step == steps);
        for left in power.power_cut_states() {
            check_site_is_whole(&left.path().join("site"));
            outcomes += 1;
        }
    }
    assert!(outcomes > steps, "{outcomes} outcomes");
}

#[test]
fn kill_then_power_cut_in_the_next_run_leaves_a_complete_log() {
    let scratch = scratch_dir();
    let versions = make_log_versions(scratch.path());
    let export_first = |site: &Path, disk: &Storage| export_all(&versions[..1], site, disk);
    let (disk, steps) = recording_disk();
    assert!(export_first(&scratch.path().join("whole"), &disk));
    let steps = steps.lock().unwrap().len();
    for failing_step in 0..steps {
        let root = scratch_dir::scratch_dir();
        let power = PowerCutModel::new(root.path());
        let killed = power.disk(Some(failing_step), &SignedHeads::default());
        assert!(!export_first(&root.path().join("site"), &killed));
        for cut in 0.. {
            let second = scratch_dir::scratch_dir();
            copy_tree(root.path(), second.path()).unwrap();
            let power = power.copy_to(second.path());
            let site = second.path().join("site");
            let complete = export_first(&site, &power.disk(Some(cut), &SignedHeads::default()));
            // Without a checkpoint the site promises nothing.
            if site.join("checkpoint").exists() && power.has_unsynced_names() {
                for left in power.power_cut_states() {
                    check_site_is_whole(&left.path().join("site"));
                }
            }
            if complete {
                break;
            }
        }
    }
}

#[test]
fn export_recovers_after_a_short_disk_failure() {
    let scratch = scratch_dir();
    let (versions, whole) = (make_log_versions(scratch.path()), scratch.path().join("whole"));
    let (disk, steps) = recording_disk();
    assert!(export_all(&versions, &whole, &disk));
    let steps = steps.lock().unwrap().len();
    for from in 0..steps {
        let site = scratch.path().join(format!("site-{from}"));
        export_all(&versions, &site, &failing_disk(from, Some(from + 1)));
        check_recovers(&versions, &site, &whole);
        fs::remove_dir_all(&site).unwrap();
    }
}

#[test]
fn export_writes_implied_files_then_the_checkpoint_then_the_page() {
    let scratch = scratch_dir();
    let (versions, site) = (make_log_versions(scratch.path()), scratch.path().join("site"));
    let (checkpoint, page) = (site.join("checkpoint"), site.join("index.html"));
    for pair in &versions {
        let (disk, steps) = recording_disk();
        assert!(export_all(std::slice::from_ref(pair), &site, &disk));
        let steps = steps.lock().unwrap();
        let at = |step: WriteStep| steps.iter().position(|taken| *taken == step).unwrap();
        let signed = at(WriteStep::Create(checkpoint.clone()));
        let named = at(WriteStep::Rename(checkpoint.clone()));
        assert!(
            steps[named..at(WriteStep::Create(page.clone()))]
                .contains(&WriteStep::SyncDir(site.clone()))
        );
        for (i, step) in steps.iter().enumerate().filter(
            |(_, step)| matches!(step, WriteStep::Rename(path) if *path != checkpoint && *path != page),
        ) {
            let synced = WriteStep::SyncDir(parent(step_path(step)).into());
            assert!(i < signed && steps[i..signed].contains(&synced), "{step:?} is too late");
        }
    }
}
