//! Claims about installing a single file: exactly the signed bytes, and `current` always names a
//! whole version.

use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use std::{
    fs,
    io::{self},
};

use unanimity_client::{CycleError, CycleOutcome};
use unanimity_install::{ArtifactMismatch, InstallError, InstallRefusal, verify_artifact};
use unanimity_protocol::log_path::artifact_path;
use unanimity_protocol::manifest::Artifact;
use unanimity_protocol::{Hash, Refusal, Timestamp};
use unanimity_storage::{Storage, WriteStep};
use unanimity_testkit::sample_artifact::sample_artifact;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::{failing_disk, recording_disk};
use unanimity_testkit::{ReleaseSpec, World};

/// A source of bytes up to `end`, which counts the bytes read.
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

fn mismatch(verified: Result<(), InstallError>) -> ArtifactMismatch {
    match verified {
        Err(InstallError::Install(InstallRefusal::Artifact(mismatch))) => mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn verification_accepts_the_signed_bytes() {
    for length in [0, 1, 1000, 128 * 1024, 300_000] {
        let bytes = vec![b'x'; length];
        for at_once in [1000, usize::MAX] {
            let source = CountingSource { end: length as u64, taken: 0, at_once };
            verify_artifact(&sample_artifact(&bytes), source).unwrap();
        }
    }
}

#[test]
fn verification_reads_at_most_one_byte_too_many() {
    for length in [0, 1, 1000, 128 * 1024, 300_000] {
        let bytes = vec![b'x'; length];
        for at_once in [1, 1000, usize::MAX] {
            let mut source = CountingSource { end: u64::MAX, taken: 0, at_once };
            let verified = verify_artifact(&sample_artifact(&bytes), &mut source);
            assert!(matches!(mismatch(verified), ArtifactMismatch::TooLong { .. }));
            assert_eq!(source.taken, length as u64 + 1);
        }
    }
    // The greatest signed length has no length above it.
    let longest = Artifact { length: u64::MAX, ..sample_artifact(b"") };
    let verified = verify_artifact(&longest, &b"short"[..]);
    assert!(matches!(mismatch(verified), ArtifactMismatch::TooShort { length: 5, .. }));
}

#[test]
fn verification_refuses_short_and_changed_artifacts() {
    let bytes = b"#!/bin/sh\necho hello\n";
    for length in 0..bytes.len() {
        let verified = verify_artifact(&sample_artifact(bytes), &bytes[..length]);
        let found = mismatch(verified);
        let ArtifactMismatch::TooShort { length: n, signed, .. } = found else { panic!("{found}") };
        assert_eq!((n, signed), (length as u64, bytes.len() as u64));
    }
    for at in 0..bytes.len() {
        let mut changed = *bytes;
        changed[at] ^= 0x20;
        let verified = verify_artifact(&sample_artifact(bytes), &changed[..]);
        assert!(matches!(mismatch(verified), ArtifactMismatch::Digest { .. }));
    }
}

#[test]
fn artifact_mismatches_name_the_difference() {
    let mut text = String::new();
    for (case, bytes) in
        [("too long", &b"signed+"[..]), ("too short", b"sign"), ("other", b"Signed")]
    {
        let found = mismatch(verify_artifact(&sample_artifact(b"signed"), bytes));
        writeln!(text, "{case}: {found}").unwrap();
    }
    snapbox::assert_data_eq!(text, snapbox::file!["words/artifact_mismatch.txt"]);
}

#[test]
fn read_error_of_source_is_not_a_refusal() {
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

/// A world in which release 1 is installed, and the next update installs release 2.
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

/// The sequence of the installed version, which must be whole and have its proof.
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
async fn update_stopped_at_any_step_leaves_a_whole_version() {
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
    // The storage fails from that step on, or for that step only.
    for only_once in [false, true] {
        let mut versions_seen = [0, 0];
        for stops in 0..steps {
            let directory = base.path().join(format!("{only_once}-{stops}"));
            let mut world = world.copy_to(&directory).unwrap();
            world.poll_all().await.unwrap();
            world.disk = failing_disk(stops, only_once.then_some(stops + 1));
            let stopped = world.update().await.1;
            assert!(matches!(stopped, Err(CycleError::Client(_))), "step {stops}: {stopped:?}");
            let sequence = current(&world);
            versions_seen[sequence as usize - 1] += 1;
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
        assert!(versions_seen.iter().all(|count| *count > 0), "{versions_seen:?}");
    }
}

#[tokio::test]
async fn version_and_proof_are_durable_before_current_changes() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    world.poll_all().await.unwrap();
    let (disk, steps) = recording_disk();
    world.disk = disk;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    let steps = steps.lock().unwrap();
    let root = world.config.cycle.install_root.clone();
    let (download_dir, version) =
        (root.join("versions/.2-1.1.0.new"), root.join("versions/2-1.1.0"));
    let proof = root.join("proofs/2-1.1.0");
    let mut rest = &steps[..];
    for step in [
        WriteStep::MakeDir(download_dir.clone()),
        WriteStep::SyncDir(root.join("versions")),
        WriteStep::SyncFile(download_dir.join("hello")),
        WriteStep::Rename(download_dir.join("hello")),
        WriteStep::SyncDir(download_dir),
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
    // The state is stored after the switch.
    let state = world.config.cycle.state.join("client/client.json");
    assert!(rest.contains(&WriteStep::Rename(state)));
}

#[tokio::test]
async fn refused_artifact_leaves_only_a_valid_beginning() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
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
        // A short download may be the beginning of the artifact, so it is kept.
        let kept = usize::from(served.len() < NEW.len());
        assert_eq!(versions.count(), 1 + kept, "the old version and nothing else");
    }
    fs::write(&path, NEW).unwrap();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
}

#[tokio::test]
async fn tampered_current_is_an_error() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    let current = world.config.cycle.install_root.join("current");
    let mut text = String::new();
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
        let error = error.replace(scratch.path().to_str().unwrap(), "[DIR]");
        writeln!(text, "{target:?}: {error}").unwrap();
        assert!(matches!(world.update().await.1, Err(CycleError::Client(_))));
    }
    fs::remove_file(&current).unwrap();
    fs::write(&current, "a file").unwrap();
    world.installed_version().unwrap_err();
    snapbox::assert_data_eq!(text, snapbox::file!["words/tampered_current.txt"]);
}
