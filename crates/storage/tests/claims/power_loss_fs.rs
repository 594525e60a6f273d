//! The file system in memory that tests use in place of the real one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use unanimity_storage::{FileSystem as _, Mode, Storage};
use unanimity_testkit::power_loss_fs::PowerLossFs;

/// Runs a fixed list of operations below `top`, and collects the result of each.
fn run_operations(disk: &Storage, top: &Path) -> Vec<String> {
    let at = |name: &str| if name.is_empty() { top.to_owned() } else { top.join(name) };
    let mut all = Vec::new();
    let mut record = |result: Result<String, io::Error>| {
        all.push(result.unwrap_or_else(|error| format!("{:?}", error.kind())));
    };
    let done = |done: io::Result<()>| done.map(|()| "done".to_owned());
    let read = |name: &str| {
        let bytes = disk.read(&at(name), 100).map_err(io::Error::other);
        bytes.map(|bytes| format!("{bytes:?}"))
    };
    let names = |name: &str| {
        disk.list_dir(&at(name)).map(|mut names| {
            names.sort();
            format!("{names:?}")
        })
    };
    record(read("file"));
    record(done(disk.write(&at("a/file"), b"nowhere", Mode::Private)));
    record(done(disk.make_dir(&at("a/b"), Mode::Private)));
    record(done(disk.make_dir(&at("a/b"), Mode::Private)));
    record(done(disk.write(&at("a/b/file"), b"one", Mode::Private)));
    record(done(disk.write(&at("a/b/file"), b"two", Mode::Private)));
    record(read("a/b/file"));
    record(done(disk.write_new(&at("a/b/file"), b"three", Mode::Private)));
    record(done(disk.write_new(&at("a/b/other"), b"four", Mode::Private)));
    record(read("a/b"));
    record(names("a"));
    record(names("a/b"));
    record(names("nowhere"));
    record(done(disk.rename(&at("a/b"), &at("a/c"))));
    record(read("a/c/other"));
    record(read("a/b/other"));
    record(done(disk.make_dir(&at("a/b"), Mode::Private)));
    record(done(disk.rename(&at("a/c"), &at("a/b"))));
    record(done(disk.make_dir(&at("a/c"), Mode::Private)));
    record(done(disk.rename(&at("a/c"), &at("a/b"))));
    record(done(disk.rename(&at("nothing"), &at("a/d"))));
    record(done(disk.replace_symlink(&at("link"), Path::new("a/b"))));
    record(disk.read_link(&at("link")).map(|to| format!("{to:?}")));
    record(disk.read_link(&at("a")).map(|to| format!("{to:?}")));
    record(done(disk.replace_symlink(&at("link"), Path::new("a/c"))));
    record(disk.read_link(&at("link")).map(|to| format!("{to:?}")));
    let lock = disk.lock(&at("a")).expect("a lock");
    record(Ok(format!("{}", disk.lock(&at("a")).expect("no error").is_none())));
    drop(lock);
    record(Ok(format!("{}", disk.lock(&at("a")).expect("no error").is_some())));
    record(disk.lock(&at("nowhere")).map(|_| String::new()));
    let begun = |bytes: &[u8]| disk.create(&at("a/new"), Mode::Private)?.write_all(bytes);
    record(done(begun(b"half")));
    let resume = |name: &str| {
        let resumed = disk.resume(&at(name), Mode::Private)?;
        let Some((mut bytes, mut file)) = resumed else { return Ok("nothing".to_owned()) };
        let mut read = String::new();
        bytes.read_to_string(&mut read)?;
        file.write_all(b" and half")?;
        Ok(read)
    };
    record(resume("a/new"));
    record(resume("a/new"));
    record(resume("a/other"));
    let filled = disk.create_tree(&at("a/tree")).and_then(|mut tree| {
        tree.make_dir("d")?;
        tree.create("d/file", Mode::Program)?;
        tree.write(b"in a tree")?;
        tree.symlink("file", "d/link")?;
        tree.sync()
    });
    record(filled.map(|()| "filled".to_owned()).map_err(io::Error::other));
    record(names("a/tree/d"));
    record(read("a/tree/d/file"));
    record(disk.read_link(&at("a/tree/d/link")).map(|to| format!("{to:?}")));
    let again =
        disk.create_tree(&at("a/tree")).and_then(|mut tree| tree.create("x/y", Mode::Public));
    record(Ok(format!("{}", again.is_err())));
    record(names("a/tree"));
    record(done(disk.remove(&at("a"))));
    record(done(disk.remove(&at("a"))));
    record(names(""));
    all
}

#[test]
fn memory_file_system_behaves_like_the_real_one() {
    let scratch = tempfile::tempdir().expect("a directory");
    let real = run_operations(&Storage::default(), scratch.path());
    for machine in [PowerLossFs::default(), PowerLossFs::without_power_loss()] {
        let memory = run_operations(&Storage::default().with_filesystem(machine), Path::new("/"));
        assert_eq!(memory.len(), real.len());
        for (step, (memory, real)) in memory.iter().zip(&real).enumerate() {
            assert_eq!(memory, real, "step {step}");
        }
    }
}

/// The names in the root directory, and the content of each file.
fn names_and_contents(machine: &PowerLossFs) -> (Vec<OsString>, Vec<Vec<u8>>) {
    let names = machine.list_dir(Path::new("/")).expect("a root");
    let bytes = names.iter().map(|name| {
        let mut bytes = Vec::new();
        let mut file = machine.open(Path::new(name)).expect("a file");
        file.read_to_end(&mut bytes).expect("bytes in memory");
        bytes
    });
    (names.clone(), bytes.collect())
}

#[test]
fn power_cut_keeps_synced_content_and_any_part_of_the_rest() {
    let machine = PowerLossFs::default();
    let at = |name: &str| Path::new("/").join(name);
    let mut file = machine.create(&at("new"), Mode::Private).expect("a file");
    file.write_all(b"synced").expect("room");
    file.sync().expect("a disk that works");
    file.write_all(b", and more").expect("room");
    let all = |machine: &PowerLossFs| -> BTreeSet<_> {
        machine.power_cuts().iter().map(names_and_contents).collect()
    };
    let (short, long) = (b"synced".to_vec(), b"synced, and more".to_vec());
    let named = |name: &str, bytes: &Vec<u8>| (vec![name.into()], vec![bytes.clone()]);
    let nothing = (Vec::new(), Vec::new());
    let expected = [nothing, named("new", &short), named("new", &long)];
    assert_eq!(all(&machine), expected.into());
    file.sync().expect("a disk that works");
    machine.sync_dir(&at("")).expect("a directory");
    assert_eq!(all(&machine), [named("new", &long)].into());
    // After a rename without a sync, a power cut leaves the old name, the new one, both or none.
    machine.rename(&at("new"), &at("old"), true).expect("a free name");
    let both = (vec!["new".into(), "old".into()], vec![long.clone(), long.clone()]);
    let nothing = (Vec::new(), Vec::new());
    let expected = [nothing, named("new", &long), named("old", &long), both];
    assert_eq!(all(&machine), expected.into());
}

#[test]
fn file_system_without_power_loss_keeps_only_live_inodes() {
    let machine = PowerLossFs::without_power_loss();
    let disk = Storage::default().with_filesystem(machine.clone());
    for n in 0..1000 {
        disk.make_dir(Path::new("/d"), Mode::Private).expect("a directory");
        let bytes = format!("content {n}");
        disk.write(Path::new("/d/file"), bytes.as_bytes(), Mode::Private).expect("a file");
        disk.write(Path::new("/file"), bytes.as_bytes(), Mode::Private).expect("a file");
        disk.remove(Path::new("/d")).expect("it is there");
    }
    assert!(machine.inode_count() < 10, "{} of them", machine.inode_count());
    assert_eq!(disk.read(Path::new("/file"), 100).unwrap().unwrap(), b"content 999");
}
