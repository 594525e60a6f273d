//! Installing: exactly the signed bytes, and `current` is the old version or the new one, whole.

use std::io::Read;
use std::path::Path;
use std::time::Duration;
use std::{
    fs,
    io::{self},
};

use unanimity_client::{CycleError, CycleOutcome};
use unanimity_install::{InstallError, InstallRefusal, verify_artifact};
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::manifest::Artifact;
use unanimity_protocol::{Hash, Refusal, Timestamp};
use unanimity_storage::{Storage, WriteStep};
use unanimity_testkit::sample_artifact::sample_artifact;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk};
use unanimity_testkit::{ReleaseSpec, World};

/// Gives bytes for ever, or until its end, and counts what was taken.
struct CountingSource {
    end: u64,
    taken: u64,
    at_once: usize,
}

impl Read for CountingSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (buffer.len().min(self.at_once) as u64).min(self.end - self.taken) as usize;
        buffer[..count].fill(b'x');
        self.taken += count as u64;
        Ok(count)
    }
}

fn mismatch_text(verified: Result<(), InstallError>) -> String {
    match verified {
        Err(InstallError::Install(InstallRefusal::Artifact(why))) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn exactly_the_signed_bytes_are_an_artifact() {
    for length in [0, 1, 1000, 128 * 1024, 300_000] {
        let bytes = vec![b'x'; length];
        for at_once in [1000, usize::MAX] {
            let source = CountingSource { end: length as u64, taken: 0, at_once };
            verify_artifact(&sample_artifact(&bytes), source).unwrap();
        }
    }
}

#[test]
fn of_an_artifact_that_does_not_end_one_byte_too_many_is_read() {
    for length in [0, 1, 1000, 128 * 1024, 300_000] {
        let bytes = vec![b'x'; length];
        for at_once in [1, 1000, usize::MAX] {
            let mut source = CountingSource { end: u64::MAX, taken: 0, at_once };
            let verified = verify_artifact(&sample_artifact(&bytes), &mut source);
            assert!(mismatch_text(verified).contains("longer than"));
            assert_eq!(source.taken, length as u64 + 1);
        }
    }
    // No length is too long to be one more than.
    let longest = Artifact { length: u64::MAX, ..sample_artifact(b"") };
    assert!(mismatch_text(verify_artifact(&longest, &b"short"[..])).contains("5 bytes"));
}

#[test]
fn an_artifact_too_short_or_changed_is_refused() {
    let bytes = b"#!/bin/sh\necho hello\n";
    for length in 0..bytes.len() {
        let verified = verify_artifact(&sample_artifact(bytes), &bytes[..length]);
        assert!(mismatch_text(verified).contains(&format!("{length} bytes, and {}", bytes.len())));
    }
    for at in 0..bytes.len() {
        let mut changed = *bytes;
        changed[at] ^= 0x20;
        let verified = verify_artifact(&sample_artifact(bytes), &changed[..]);
        assert!(mismatch_text(verified).contains("SHA-256"));
    }
}

#[test]
fn a_source_that_fails_is_no_refusal() {
    struct FailingReader;
    impl Read for FailingReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
    let verified = verify_artifact(&sample_artifact(b"x"), b"".chain(FailingReader));
    assert!(matches!(verified, Err(InstallError::Source(_))));
}

const OLD: &[u8] = b"#!/bin/sh\necho old\n";
const NEW: &[u8] = b"#!/bin/sh\necho the new release\n";

/// A circle in which release 1 is installed and release 2 would be at the next update.
async fn world_before_update(directory: &Path) -> World {
    let mut world = World::create(directory, 3, Timestamp(1_790_000_000)).unwrap();
    for (sequence, version, artifact) in [(1, "1.0.0", OLD), (2, "1.1.0", NEW)] {
        world.publish(&ReleaseSpec::new(sequence, version, artifact)).unwrap();
        world.poll_all().await.unwrap();
        let settling = world.update().await.1;
        assert!(matches!(settling, Err(CycleError::Refused(Refusal::Settling { .. }))));
        world.advance(Duration::from_secs(61 * 60));
        if sequence == 1 {
            world.poll_all().await.unwrap();
            assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
        }
    }
    world
}

/// What `current` is: one of the two versions, whole, with its proof.
fn current(world: &World) -> u64 {
    let installed =
        world.installed_version().unwrap().expect("something is installed at every moment");
    let expected = if installed.sequence == 1 { OLD } else { NEW };
    assert_eq!(fs::read(installed.directory.join("hello")).unwrap(), expected);
    assert_eq!(fs::read(world.config.cycle.install_root.join("current/hello")).unwrap(), expected);
    let proof = world.config.cycle.install_root.join("proofs").join(&installed.release);
    assert!(!fs::read(proof).unwrap().is_empty());
    installed.sequence
}

#[tokio::test]
async fn an_update_stopped_at_any_step_leaves_the_old_version_or_the_new_and_the_next_one_ends_it()
{
    let base = scratch_dir();
    let world = world_before_update(&base.path().join("base")).await;
    let steps = {
        let mut copy = world.copy_to(&base.path().join("recorded")).unwrap();
        copy.poll_all().await.unwrap();
        let (disk, steps) = recording_disk();
        copy.disk = disk;
        assert!(matches!(copy.update().await.1, Ok(CycleOutcome::Installed(_))));
        assert_eq!(current(&copy), 2);
        steps.lock().unwrap().len()
    };
    assert!(steps > 30, "{steps} steps");
    // Killed there, or short of space for one step only.
    for only_once in [false, true] {
        let mut met = [0, 0];
        for stops in 0..steps {
            let directory = base.path().join(format!("{only_once}-{stops}"));
            let mut world = world.copy_to(&directory).unwrap();
            world.poll_all().await.unwrap();
            world.disk = failing_disk(stops, only_once.then_some(stops + 1));
            let stopped = world.update().await.1;
            assert!(matches!(stopped, Err(CycleError::Client(_))), "step {stops}: {stopped:?}");
            let sequence = current(&world);
            met[sequence as usize - 1] += 1;
            world.disk = Storage::default();
            let next = world.update().await.1;
            match sequence {
                1 => assert!(
                    matches!(next, Ok(CycleOutcome::Installed(_))),
                    "step {stops}: {next:?}"
                ),
                _ => assert!(matches!(next, Ok(CycleOutcome::UpToDate)), "step {stops}: {next:?}"),
            }
            assert_eq!(current(&world), 2);
            let left: Vec<_> = fs::read_dir(world.config.cycle.install_root.join("versions"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.starts_with('.'))
                .collect();
            assert!(left.is_empty(), "step {stops} leaves {left:?}");
            fs::remove_dir_all(&directory).unwrap();
        }
        assert!(met[0] > 0 && met[1] > 0, "both were met: {met:?}");
    }
}

#[tokio::test]
async fn a_version_is_durable_with_its_proof_before_current_points_at_it() {
    let place = scratch_dir();
    let mut world = world_before_update(&place.path().join("world")).await;
    world.poll_all().await.unwrap();
    let (disk, steps) = recording_disk();
    world.disk = disk;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    let steps = steps.lock().unwrap();
    let root = world.config.cycle.install_root.clone();
    let (staging, version) = (root.join("versions/.2-1.1.0.new"), root.join("versions/2-1.1.0"));
    let proof = root.join("proofs/2-1.1.0");
    let mut rest = &steps[..];
    for step in [
        WriteStep::MakeDir(staging.clone()),
        WriteStep::SyncDir(root.join("versions")),
        WriteStep::SyncFile(staging.join("hello")),
        WriteStep::Rename(staging.join("hello")),
        WriteStep::SyncDir(staging),
        WriteStep::SyncFile(proof.clone()),
        WriteStep::Rename(proof),
        WriteStep::SyncDir(root.join("proofs")),
        WriteStep::Rename(version),
        WriteStep::SyncDir(root.join("versions")),
        WriteStep::Rename(root.join("current")),
        WriteStep::SyncDir(root.clone()),
    ] {
        let at = rest.iter().position(|taken| *taken == step);
        rest = &rest[at.unwrap_or_else(|| panic!("{step:?} is missing or early")) + 1..];
    }
    // Only then is it remembered.
    let state = world.config.cycle.state.join("client/client.json");
    assert!(rest.contains(&WriteStep::Rename(state)));
}

#[tokio::test]
async fn an_artifact_that_was_refused_leaves_nothing_behind() {
    let place = scratch_dir();
    let mut world = world_before_update(&place.path().join("world")).await;
    world.poll_all().await.unwrap();
    let path = world.log_directory().join(artifact_path(&Hash::digest(NEW)));
    let mut changed = NEW.to_vec();
    changed[3] ^= 1;
    for served in [&changed, &NEW[1..], &[NEW, b"more"].concat()] {
        fs::write(&path, served).unwrap();
        let refused = world.update().await.1;
        assert!(
            matches!(refused, Err(CycleError::Install(InstallRefusal::Artifact(_)))),
            "{refused:?}"
        );
        assert_eq!(current(&world), 1);
        let versions = fs::read_dir(world.config.cycle.install_root.join("versions")).unwrap();
        // The beginning of what may be the artifact is kept.
        let kept = usize::from(served.len() < NEW.len());
        assert_eq!(versions.count(), 1 + kept, "the old version and nothing else");
    }
    fs::write(&path, NEW).unwrap();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
}

#[tokio::test]
async fn a_current_that_was_tampered_with_is_an_error_and_not_an_empty_root() {
    let place = scratch_dir();
    let mut world = world_before_update(&place.path().join("world")).await;
    let current = world.config.cycle.install_root.join("current");
    for target in [
        "/etc",
        "versions",
        "versions/x-1",
        "../versions/1-1.0.0",
        "versions/9",
        "versions/009-x",
        "versions/+9-x",
        "versions/0-x",
        "versions/9-x/..",
        "versions/9-../../etc",
        "versions/9-\u{1b}[2J",
        "versions/18446744073709551615-x",
        "versions//1-1.0.0",
    ] {
        fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink(target, &current).unwrap();
        let error = world.installed_version().unwrap_err().to_string();
        assert!(error.contains("current"), "{error}");
        assert!(matches!(world.update().await.1, Err(CycleError::Client(_))));
    }
    fs::remove_file(&current).unwrap();
    fs::write(&current, "a file").unwrap();
    world.installed_version().unwrap_err();
}
