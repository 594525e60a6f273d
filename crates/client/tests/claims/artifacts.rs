//! Artifacts that a node keeps for others.

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
fn what_was_being_kept_when_a_node_was_killed_does_not_pile_up() {
    let state = scratch_dir();
    let bytes = |n: u8| vec![n; 1000];
    for n in 0..20 {
        let dead = std::sync::atomic::AtomicBool::new(false);
        // From the sync on nothing goes on, not even cleaning up.
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
fn what_is_kept_is_within_its_bound_and_the_oldest_makes_room() {
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
    // More than all that may be kept: nobody makes room for it.
    keep(all[3]);
    assert_eq!(are_served(&artifacts, &all), [false, true, true, false, false]);
    keep(all[4]);
    assert_eq!(are_served(&artifacts, &all), [false, false, false, false, true]);
    let found = read_files(&state.path().join("artifacts"));
    assert_eq!(found.values().map(Vec::len).sum::<usize>(), 100);
    // In another run it is still there, and by its digest only.
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
fn only_what_was_signed_is_kept_and_a_disk_that_fails_costs_nothing_but_that() {
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
