//! A run that is stopped at any step leaves a whole log, the older or the newer, to be served.

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

/// The releases of the story, by the size of the log that they make.
const RELEASES: [(u64, &[u8]); 3] = [(3, b"one"), (258, b"two"), (263, b"three")];

/// The log as it was before each publication.
fn make_log_versions(directory: &Path) -> Vec<LogAndSite> {
    let pair = LogAndSite::new(&directory.join("writer"));
    let mut told = Vec::new();
    for (i, (size, artifact)) in RELEASES.into_iter().enumerate() {
        let before = told.len().checked_sub(1).map_or(0, |last| RELEASES[last].0);
        pair.append(&sample_notes(&format!("batch {i}"), size - before - 1));
        pair.release(i as u64 + 1, artifact);
        let log = directory.join(format!("log-{i}"));
        copy_tree(&pair.log, &log).unwrap();
        told.push(LogAndSite { log, site: directory.join("nowhere") });
    }
    told
}

/// Publishes the logs of the story to one site, as far as the disk lets it.
fn export_all(story: &[LogAndSite], site: &Path, disk: &Storage) -> bool {
    story.iter().all(|pair| {
        LogAndSite { log: pair.log.clone(), site: site.to_owned() }.export(disk).is_ok()
    })
}

/// What a host serves: a whole log of the story, every file of its releases, and a page that says
/// nothing else. Its size, or `None` while there is no checkpoint.
fn check_site_is_whole(site: &Path) -> Option<u64> {
    if !site.join("checkpoint").exists() {
        assert!(!site.join("index.html").exists(), "a page of nothing");
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
        let said = RELEASES.iter().find(|(size, _)| page.contains(&format!("<dd>{size}</dd>")));
        assert!(said.unwrap().0 <= head.size() && page.ends_with("</html>\n"));
        for link in page.split("href=\"").skip(1) {
            assert!(site.join(link.split('"').next().unwrap()).exists());
        }
    }
    Some(head.size())
}

/// After whatever happened, the next run ends it; what it makes is what an undisturbed run makes.
fn check_recovers(story: &[LogAndSite], site: &Path, whole: &Path) -> Option<u64> {
    let before = check_site_is_whole(site);
    let last = &story[2];
    LogAndSite { log: last.log.clone(), site: site.to_owned() }
        .export(&Storage::default())
        .unwrap();
    let after = files(site);
    for (name, bytes) in files(whole) {
        // A run that was killed may have skipped a head, or be older than this one.
        let is_of_older_head = name.to_str().unwrap().contains(".p/");
        assert!(after.get(&name) == Some(&bytes) || is_of_older_head, "{}", name.display());
    }
    assert_eq!(check_site_is_whole(site), Some(RELEASES[2].0));
    before
}

#[test]
fn a_run_killed_at_any_step_leaves_the_older_log_or_the_newer_and_the_next_one_ends_it() {
    let place = scratch_dir();
    let (story, whole) = (make_log_versions(place.path()), place.path().join("whole"));
    let (disk, steps) = recording_disk();
    assert!(export_all(&story, &whole, &disk));
    let steps = steps.lock().unwrap().len();
    assert!(steps > 100, "{steps} steps");
    let (mut met, mut last) = (BTreeSet::new(), None);
    for dies in 0..steps {
        let site = place.path().join(format!("site-{dies}"));
        assert!(!export_all(&story, &site, &failing_disk(dies, None)));
        let size = check_recovers(&story, &site, &whole);
        assert!(size >= last, "step {dies}: what was published stays published");
        last = size;
        met.insert(size);
        fs::remove_dir_all(&site).unwrap();
    }
    let sizes = RELEASES.iter().map(|(size, _)| Some(*size));
    assert_eq!(
        met.into_iter().collect::<Vec<_>>(),
        [None].into_iter().chain(sizes).collect::<Vec<_>>()
    );
}

#[test]
fn a_power_cut_at_any_step_leaves_the_older_log_or_the_newer() {
    let place = scratch_dir();
    let (story, whole) = (make_log_versions(place.path()), place.path().join("whole"));
    let (disk, steps) = recording_disk();
    assert!(export_all(&story, &whole, &disk));
    let steps = steps.lock().unwrap().len();
    let mut outcomes = 0;
    for dies in 0..=steps {
        let root = scratch_dir::scratch_dir();
        let power = PowerCutModel::new(root.path());
        let disk = power.disk(Some(dies), &SignedHeads::default());
        assert_eq!(export_all(&story, &root.path().join("site"), &disk), dies == steps);
        for left in power.power_cut_states() {
            check_site_is_whole(&left.path().join("site"));
            outcomes += 1;
        }
    }
    assert!(outcomes > steps, "{outcomes} outcomes");
}

#[test]
fn a_kill_and_then_a_power_cut_in_the_next_run_leave_a_whole_log_too() {
    let place = scratch_dir();
    let story = make_log_versions(place.path());
    let publish = |site: &Path, disk: &Storage| export_all(&story[..1], site, disk);
    let (disk, steps) = recording_disk();
    assert!(publish(&place.path().join("whole"), &disk));
    let steps = steps.lock().unwrap().len();
    for dies in 0..steps {
        let root = scratch_dir::scratch_dir();
        let power = PowerCutModel::new(root.path());
        let killed = power.disk(Some(dies), &SignedHeads::default());
        assert!(!publish(&root.path().join("site"), &killed));
        for cut in 0.. {
            let second = scratch_dir::scratch_dir();
            copy_tree(root.path(), second.path()).unwrap();
            let power = power.copy_to(second.path());
            let site = second.path().join("site");
            let ended = publish(&site, &power.disk(Some(cut), &SignedHeads::default()));
            // Only a checkpoint can promise too much.
            if site.join("checkpoint").exists() && power.has_unsynced_names() {
                for left in power.power_cut_states() {
                    check_site_is_whole(&left.path().join("site"));
                }
            }
            if ended {
                break;
            }
        }
    }
}

#[test]
fn a_run_whose_disk_fails_for_a_moment_is_ended_by_the_next() {
    let place = scratch_dir();
    let (story, whole) = (make_log_versions(place.path()), place.path().join("whole"));
    let (disk, steps) = recording_disk();
    assert!(export_all(&story, &whole, &disk));
    let steps = steps.lock().unwrap().len();
    for from in 0..steps {
        let site = place.path().join(format!("site-{from}"));
        export_all(&story, &site, &failing_disk(from, Some(from + 1)));
        check_recovers(&story, &site, &whole);
        fs::remove_dir_all(&site).unwrap();
    }
}

#[test]
fn all_that_a_checkpoint_implies_is_durable_before_it_is_written_and_the_page_comes_last() {
    let place = scratch_dir();
    let (story, site) = (make_log_versions(place.path()), place.path().join("site"));
    let (checkpoint, page) = (site.join("checkpoint"), site.join("index.html"));
    for pair in &story {
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
            assert!(i < signed && steps[i..signed].contains(&synced), "{step:?} comes late");
        }
    }
}
