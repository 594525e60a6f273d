//! Claims about installing an archive: from exactly the signed bytes, and whole or not at all.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use unanimity_client::{CycleError, CycleOutcome};
use unanimity_install::{ArtifactMismatch, InstallRefusal, InstallRoot, StorageTreeSink};
use unanimity_protocol::{ConfirmedRelease, Refusal, Timestamp};
use unanimity_storage::{Storage, WriteStep};
use unanimity_testkit::archives::*;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::recording_disk;
use unanimity_testkit::{ReleaseSpec, World, storage_hooks};

const ARCHIVE: &str = "hello.tar.zst";

fn old() -> Vec<u8> {
    tar(&[dir("bin"), file_with(b"bin/hello", 0o755, b"old"), dir("old"), file("old/gone")])
}

fn new() -> Vec<u8> {
    tar(&[
        dir("bin"),
        file_with(b"bin/hello", 0o755, b"the new release"),
        link("run", "bin/hello"),
        dir("share"),
        file("share/data"),
    ])
}

/// A world in which release 1 is installed, and the next update installs release 2. Both are trees.
async fn world_before_update(directory: &Path) -> World {
    let mut world = World::create(directory, 3, Timestamp(1_790_000_000)).unwrap();
    for (sequence, version, archive) in [(1, "1.0.0", old()), (2, "1.1.0", new())] {
        world.publish(&draft(sequence, version, &archive)).unwrap();
        world.poll_all().await.unwrap();
        let settling = world.update().await.1;
        assert!(matches!(settling, Err(CycleError::Refused(Refusal::Settling { .. }))));
        world.advance(Duration::from_secs(61 * 60));
        world.poll_all().await.unwrap();
        if sequence == 1 {
            assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
        }
    }
    world
}

fn draft(sequence: u64, version: &'static str, archive: &[u8]) -> ReleaseSpec {
    ReleaseSpec { file: ARCHIVE, ..ReleaseSpec::new(sequence, version, &zst(archive)) }
}

/// The sequence of the installed version, which must be exactly its tree.
fn current(world: &World) -> u64 {
    let installed =
        world.installed_version().unwrap().expect("something is installed at every moment");
    let expected = scratch_dir();
    let archive = if installed.sequence == 1 { old() } else { new() };
    let tree = expected.path().join("tree");
    unpack_into(
        unanimity_protocol::manifest::ArchiveFormat::Tar,
        compute_totals(&archive),
        &archive[..],
        &tree,
    )
    .unwrap();
    assert_eq!(list_tree(&installed.directory), list_tree(&tree));
    let current = world.config.cycle.install_root.join("current");
    assert_eq!(list_tree(&fs::canonicalize(current).unwrap()), list_tree(&tree));
    installed.sequence
}

async fn confirmed_release(world: &mut World) -> Box<ConfirmedRelease> {
    match world.check().await.1 {
        Ok(CycleOutcome::Available(confirmed)) => confirmed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn update_installs_a_tree() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    assert_eq!(current(&world), 1);
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(current(&world), 2);
    let run = world.config.cycle.install_root.join("current/run");
    assert_eq!(fs::read(run).unwrap(), b"the new release");
    let mut left: Vec<_> = fs::read_dir(world.config.cycle.install_root.join("versions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["1-1.0.0", "2-1.1.0"]);
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::UpToDate)));
}

#[tokio::test]
async fn tree_is_durable_before_its_name_and_current() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    let (disk, steps) = recording_disk();
    world.disk = disk;
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    let steps = steps.lock().unwrap();
    let root = world.config.cycle.install_root.clone();
    let (versions, download_dir) = (root.join("versions"), root.join("versions/.2-1.1.0.new"));
    let tree = download_dir.join(".tree");
    let mut rest = &steps[..];
    for step in [
        // First the archive is durable: after a kill, unpacking it again needs no mirror.
        WriteStep::SyncFile(download_dir.join(ARCHIVE)),
        WriteStep::Rename(download_dir.join(ARCHIVE)),
        WriteStep::SyncDir(download_dir.clone()),
        WriteStep::MakeDir(tree.clone()),
        WriteStep::MakeDir(tree.join("bin")),
        WriteStep::Create(tree.join("bin/hello")),
        WriteStep::Write(tree.join("bin/hello")),
        WriteStep::Symlink(tree.join("run")),
        WriteStep::MakeDir(tree.join("share")),
        WriteStep::Create(tree.join("share/data")),
        WriteStep::Write(tree.join("share/data")),
        WriteStep::SyncTree(tree.clone()),
        WriteStep::Rename(root.join("proofs/2-1.1.0")),
        WriteStep::SyncDir(root.join("proofs")),
        WriteStep::Rename(versions.join("2-1.1.0")),
        WriteStep::Remove(download_dir),
        WriteStep::SyncDir(versions),
        WriteStep::Rename(root.join("current")),
        WriteStep::SyncDir(root),
    ] {
        let at = rest.iter().position(|taken| *taken == step);
        rest = &rest[at.unwrap_or_else(|| panic!("{step:?} is missing or early")) + 1..];
    }
    let synced = steps.iter().position(|step| *step == WriteStep::SyncTree(tree.clone())).unwrap();
    let in_tree = |step: &WriteStep| storage_hooks::step_path(step).starts_with(&tree);
    assert!(!steps[synced + 1..].iter().any(in_tree), "something was written after the sync");
}

#[tokio::test]
async fn confirmed_hostile_archive_is_refused() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    // The signed totals match the archive, which no honest tool would release.
    let hostile = tar(&[dir("bin"), file("bin/hello"), file("../../../escaped")]);
    let draft = ReleaseSpec { file: "hello", ..ReleaseSpec::new(3, "1.2.0", &hostile) };
    publish_as(&world, &draft, "hello.tar tar 14 3");
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap();
    world.advance(Duration::from_secs(61 * 60));
    world.poll_all().await.unwrap();
    for _ in 0..2 {
        let refused = world.update().await.1;
        let Err(CycleError::Install(InstallRefusal::Artifact(why))) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(
            why.to_string(),
            "bad artifact: hello.tar: entry 3, \"../../../escaped\": '..' in a name"
        );
        assert_eq!(current(&world), 2);
        let versions = world.config.cycle.install_root.join("versions");
        let left: Vec<String> = list_tree(&versions.join(".3-1.2.0.new")).into_keys().collect();
        // The archive is kept, so that the next run refuses it without downloading it again.
        assert_eq!(left, ["hello.tar"]);
        assert!(list_tree(scratch.path()).keys().all(|name| !name.contains("escaped")));
    }
}

/// Signs and logs a release whose artifact line has another file name and kind than `draft`.
fn publish_as(world: &World, draft: &ReleaseSpec, words: &str) {
    let (manifest, _) = world.sign_release(draft).unwrap();
    let [file, kind] = words.split_once(' ').map(|(file, kind)| [file, kind]).unwrap();
    let text = manifest.to_string();
    let text = text.replace(" hello ", &format!(" {file} "));
    let text = format!("{}{kind}\n", text.strip_suffix("file\n").unwrap());
    let mut note = unanimity_protocol::Note::unsigned(&text).unwrap();
    draft.signers.iter().for_each(|&key| note.sign(&world.keys.publisher_keys[key]));
    let artifact = unanimity_protocol::log_path::artifact_path(&manifest.artifacts[0].sha256);
    let path = world.log_directory().join(artifact);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, &draft.artifact).unwrap();
    world.append_unchecked("log", &[note.to_string().into_bytes()]).unwrap();
}

#[tokio::test]
async fn tree_with_other_totals_than_signed_is_refused() {
    for (totals, why) in [
        ("15 3", "14 bytes unpacked in all, and 15 were signed"),
        ("13 3", "entry 3, \"share\": more than the 13 bytes unpacked that were signed"),
        ("14 4", "3 entries in all, and 4 were signed"),
        ("14 2", "entry 3, \"share\": more than the 2 entries that were signed"),
    ] {
        let scratch = scratch_dir();
        let mut world = World::create(scratch.path(), 3, Timestamp(1_790_000_000)).unwrap();
        let archive = tar(&[dir("bin"), file("bin/hello"), file("share")]);
        let draft = ReleaseSpec::new(1, "1.0.0", &archive);
        publish_as(&world, &draft, &format!("hello.tar tar {totals}"));
        world.poll_all().await.unwrap();
        world.update().await.1.unwrap_err();
        world.advance(Duration::from_secs(61 * 60));
        world.poll_all().await.unwrap();
        let refused = world.update().await.1;
        let Err(CycleError::Install(InstallRefusal::Artifact(mismatch))) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(mismatch.to_string(), format!("bad artifact: hello.tar: {why}"));
        assert!(world.installed_version().unwrap().is_none());
    }
}

#[tokio::test]
async fn archive_with_too_many_entries_is_not_downloaded() {
    let scratch = scratch_dir();
    let mut world = World::create(scratch.path(), 3, Timestamp(1_790_000_000)).unwrap();
    publish_as(&world, &ReleaseSpec::new(1, "1.0.0", b"x"), "hello.tar tar 1 262145");
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance(Duration::from_secs(61 * 60));
    world.poll_all().await.unwrap();
    let refused = world.update().await.1;
    assert!(
        matches!(refused, Err(CycleError::Install(InstallRefusal::TooManyEntries { .. }))),
        "{refused:?}"
    );
    assert!(!world.config.cycle.install_root.join("versions").exists());
}

#[tokio::test]
async fn unpacking_reads_the_verified_file_after_its_name_was_replaced() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    let download_dir = world.config.cycle.install_root.join("versions/.2-1.1.0.new");
    let trojan = zst(&tar(&[dir("bin"), file_with(b"bin/hello", 0o755, b"a trojan")]));
    let (archive, other) = (download_dir.join(ARCHIVE), scratch.path().join("trojan"));
    fs::write(&other, &trojan).unwrap();
    world.disk = Storage::with_hook(move |step| match step {
        WriteStep::MakeDir(path) if path.ends_with(".tree") => fs::rename(&other, &archive),
        _ => Ok(()),
    });
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(current(&world), 2);
}

#[tokio::test]
async fn archive_changed_after_verification_is_refused() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    let download_dir = world.config.cycle.install_root.join("versions/.2-1.1.0.new");
    // The same tree in another compression: only the digest differs.
    let archive = download_dir.join(ARCHIVE);
    world.disk = Storage::with_hook(move |step| match step {
        WriteStep::MakeDir(path) if path.ends_with(".tree") => {
            fs::write(&archive, zst_with_window(20, &new()))
        }
        _ => Ok(()),
    });
    let refused = world.update().await.1;
    let Err(CycleError::Install(InstallRefusal::Artifact(why))) = refused else {
        panic!("{refused:?}")
    };
    let differs = matches!(
        why,
        ArtifactMismatch::Digest { .. }
            | ArtifactMismatch::TooShort { .. }
            | ArtifactMismatch::TooLong { .. }
    );
    assert!(differs, "{why}");
    assert_eq!(current(&world), 1);
    // The changed archive is downloaded again.
    world.disk = Storage::default();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(current(&world), 2);
}

#[tokio::test]
async fn complete_download_is_installed_without_a_mirror() {
    let scratch = scratch_dir();
    let mut world = world_before_update(&scratch.path().join("world")).await;
    let confirmed = confirmed_release(&mut world).await;
    let root = InstallRoot::new(&world.config.cycle.install_root, Storage::default());
    let mut download = root.open_download(&confirmed, &world.config.cycle.platform).unwrap();
    download.write(vec![zst(&new())]).unwrap();
    drop(download.finish().unwrap());
    // An earlier run has unpacked a part of it.
    let tree = world.config.cycle.install_root.join("versions/.2-1.1.0.new/.tree");
    fs::create_dir_all(tree.join("bin/hello")).unwrap();
    fs::write(tree.join("planted"), "").unwrap();
    fs::remove_dir_all(world.log_directory().join("artifact")).unwrap();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(current(&world), 2);
}

#[test]
fn tree_writer_stays_below_its_directory_and_follows_no_link() {
    let scratch = scratch_dir();
    let (path, victim) = (scratch.path().join("tree"), scratch.path().join("victim"));
    fs::create_dir(&victim).unwrap();
    let mut tree = Storage::default().create_tree(&path).unwrap();
    for name in ["", ".", "..", "../victim/x", "/x", "a//b", "a/", "a/../x", "x\0y"] {
        tree.make_dir(name).unwrap_err();
        tree.create(name, unanimity_storage::Mode::Public).unwrap_err();
        tree.symlink("target", name).unwrap_err();
    }
    tree.write(b"into no file").unwrap_err();
    // Another process plants links in the tree.
    std::os::unix::fs::symlink(&victim, path.join("link")).unwrap();
    std::os::unix::fs::symlink(victim.join("x"), path.join("file")).unwrap();
    tree.make_dir("link/x").unwrap_err();
    tree.make_dir("link").unwrap_err();
    tree.create("link/x", unanimity_storage::Mode::Public).unwrap_err();
    tree.create("file", unanimity_storage::Mode::Public).unwrap_err();
    // The writer keeps its open directory after the name was replaced.
    tree.make_dir("a").unwrap();
    tree.create("a/one", unanimity_storage::Mode::Public).unwrap();
    fs::rename(path.join("a"), path.join("moved")).unwrap();
    std::os::unix::fs::symlink(&victim, path.join("a")).unwrap();
    tree.create("a/two", unanimity_storage::Mode::Public).unwrap();
    assert_eq!(list_tree(&path.join("moved")).len(), 2);
    assert!(list_tree(&victim).is_empty());
    assert_eq!(
        list_tree(scratch.path()).keys().filter(|name| !name.starts_with("tree")).count(),
        1
    );
}

#[test]
fn write_error_names_the_file_of_the_tree() {
    let scratch = scratch_dir();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let recorder = steps.clone();
    let disk = Storage::with_hook(move |step| {
        recorder.lock().unwrap().push(step.clone());
        match step {
            WriteStep::Write(path) if path.ends_with("data") => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    });
    let mut tree = disk.create_tree(&scratch.path().join("tree")).unwrap();
    let archive = new();
    let format = unanimity_protocol::manifest::ArchiveFormat::Tar;
    let error = unanimity_archive::unpack(
        format,
        compute_totals(&archive),
        &archive[..],
        &mut StorageTreeSink(&mut tree),
    );
    let error = error.unwrap_err().to_string();
    let error = error.replace(scratch.path().to_str().unwrap(), "[DIR]");
    snapbox::assert_data_eq!(error, snapbox::file!["words/tree_write_error.txt"]);
    let last = steps.lock().unwrap().last().cloned();
    assert_eq!(last, Some(WriteStep::Write(scratch.path().join("tree/share/data"))));
}
