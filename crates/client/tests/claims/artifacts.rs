//! The cache of artifacts that a node serves to other nodes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::{
    fs,
    io::{self},
};

use unanimity_client::ArtifactCache;
use unanimity_install::{InstallError, InstallRefusal};
use unanimity_net::file_server::FileStore;
use unanimity_protocol::Hash;
use unanimity_storage::{Storage, WriteStep};
use unanimity_testkit::sample_artifact::sample_artifact;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::read_files;

#[test]
fn artifact_cache_removes_unfinished_files_of_killed_runs() {
    let state = scratch_dir();
    let bytes = |n: u8| vec![n; 1000];
    for n in 0..20 {
        let dead = std::sync::atomic::AtomicBool::new(false);
        // From the sync on, every step fails, also the removal.
        let dying = Storage::with_hook(move |step: &WriteStep| {
            dead.fetch_or(matches!(step, WriteStep::SyncFile(_)), Ordering::SeqCst);
            match dead.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        });
        let kept = ArtifactCache::new(state.path(), 1500, dying)
            .insert(&sample_artifact(&bytes(n)), &bytes(n)[..]);
        kept.unwrap_err();
    }
    let artifacts = ArtifactCache::new(state.path(), 1500, Storage::default());
    artifacts.insert(&sample_artifact(&bytes(99)), &bytes(99)[..]).unwrap();
    assert_eq!(read_files(state.path()).into_values().collect::<Vec<_>>(), [bytes(99)]);
}

fn are_served(artifacts: &ArtifactCache, all: &[&[u8]]) -> Vec<bool> {
    let path = |bytes: &&[u8]| format!("artifact/{}", Hash::digest(bytes));
    all.iter().map(|bytes| artifacts.open(&path(bytes)).is_ok()).collect()
}

#[test]
fn artifact_cache_stays_within_its_bound_and_drops_the_oldest() {
    let state = scratch_dir();
    let artifacts = ArtifactCache::new(state.path(), 100, Storage::default());
    let all: [&[u8]; 5] = [&[1; 40], &[2; 40], &[3; 40], &[4; 101], &[5; 100]];
    let keep = |bytes: &[u8]| artifacts.insert(&sample_artifact(bytes), bytes).unwrap();
    keep(all[0]);
    keep(all[1]);
    keep(all[0]);
    assert_eq!(are_served(&artifacts, &all), [true, true, false, false, false]);
    keep(all[2]);
    assert_eq!(are_served(&artifacts, &all), [false, true, true, false, false]);
    // This artifact is larger than the bound: no other artifact is removed for it.
    keep(all[3]);
    assert_eq!(are_served(&artifacts, &all), [false, true, true, false, false]);
    keep(all[4]);
    assert_eq!(are_served(&artifacts, &all), [false, false, false, false, true]);
    let found = read_files(&state.path().join("artifacts"));
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), 100);
    // In another run the artifact is still served, and only by its digest.
    let again = ArtifactCache::new(state.path(), 100, Storage::default());
    assert_eq!(are_served(&again, &all), [false, false, false, false, true]);
    let name = found.keys().next().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let digest = Hash::digest(all[4]).to_string();
    for path in [
        name.as_str(),
        &digest,
        "artifact/",
        "artifact",
        "",
        "artifact/../artifacts",
        &format!("artifact/{}", digest.to_uppercase()),
        &format!("artifact/{digest}/"),
        &format!("/artifact/{digest}"),
        &format!("artifact//{digest}"),
    ] {
        assert!(again.open(path).is_err(), "{path}");
    }
}

#[test]
fn artifact_cache_keeps_only_signed_bytes_despite_disk_errors() {
    let state = scratch_dir();
    let bytes = &[7_u8; 5000][..];
    let artifacts = ArtifactCache::new(state.path(), 10_000, Storage::default());
    for wrong in [&bytes[1..], &[8; 5000], &[7; 5001]] {
        let kept = artifacts.insert(&sample_artifact(bytes), wrong);
        assert!(matches!(kept, Err(InstallError::Install(InstallRefusal::Artifact(_)))));
        assert_eq!(are_served(&artifacts, &[bytes]), [false]);
        assert!(read_files(&state.path().join("artifacts")).is_empty());
    }
    for n in 0.. {
        let state = scratch_dir();
        let steps = AtomicUsize::new(0);
        let full = Storage::with_hook(move |_: &WriteStep| {
            match steps.fetch_add(1, Ordering::SeqCst) == n {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        });
        let kept =
            ArtifactCache::new(state.path(), 10_000, full).insert(&sample_artifact(bytes), bytes);
        let artifacts = ArtifactCache::new(state.path(), 10_000, Storage::default());
        if let [true] = are_served(&artifacts, &[bytes])[..] {
            assert_eq!(read_files(state.path()).into_values().next().unwrap(), bytes);
        }
        artifacts.insert(&sample_artifact(bytes), bytes).unwrap();
        assert_eq!(are_served(&artifacts, &[bytes]), [true], "step {n}");
        let found = read_files(state.path());
        assert_eq!(found.len(), 1, "step {n}: {:?}", found.keys());
        if kept.is_ok() {
            assert!(n > 5);
            break;
        }
    }
    fs::remove_dir_all(state.path()).unwrap();
}
