//! The disk in memory that claims use in place of a real one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use unanimity_storage::{FileSystem as _, Mode, Storage};
use unanimity_testkit::power_loss_fs::PowerLossFs;

/// What a disk answers to every operation, one after another, below a directory.
fn answers(disk: &Storage, top: &Path) -> Vec<String> {
    let at = |name: &str| if name.is_empty() { top.to_owned() } else { top.join(name) };
    let mut all = Vec::new();
    let mut tell = |what: Result<String, io::Error>| {
        all.push(what.unwrap_or_else(|error| format!("{:?}", error.kind())));
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
    tell(read("file"));
    tell(done(disk.write(&at("a/file"), b"nowhere", Mode::Private)));
    tell(done(disk.make_dir(&at("a/b"), Mode::Private)));
    tell(done(disk.make_dir(&at("a/b"), Mode::Private)));
    tell(done(disk.write(&at("a/b/file"), b"one", Mode::Private)));
    tell(done(disk.write(&at("a/b/file"), b"two", Mode::Private)));
    tell(read("a/b/file"));
    tell(done(disk.write_new(&at("a/b/file"), b"three", Mode::Private)));
    tell(done(disk.write_new(&at("a/b/other"), b"four", Mode::Private)));
    tell(read("a/b"));
    tell(names("a"));
    tell(names("a/b"));
    tell(names("nowhere"));
    tell(done(disk.rename(&at("a/b"), &at("a/c"))));
    tell(read("a/c/other"));
    tell(read("a/b/other"));
    tell(done(disk.make_dir(&at("a/b"), Mode::Private)));
    tell(done(disk.rename(&at("a/c"), &at("a/b"))));
    tell(done(disk.make_dir(&at("a/c"), Mode::Private)));
    tell(done(disk.rename(&at("a/c"), &at("a/b"))));
    tell(done(disk.rename(&at("nothing"), &at("a/d"))));
    tell(done(disk.replace_symlink(&at("link"), Path::new("a/b"))));
    tell(disk.read_link(&at("link")).map(|to| format!("{to:?}")));
    tell(disk.read_link(&at("a")).map(|to| format!("{to:?}")));
    tell(done(disk.replace_symlink(&at("link"), Path::new("a/c"))));
    tell(disk.read_link(&at("link")).map(|to| format!("{to:?}")));
    let lock = disk.lock(&at("a")).expect("a lock");
    tell(Ok(format!("{}", disk.lock(&at("a")).expect("no error").is_none())));
    drop(lock);
    tell(Ok(format!("{}", disk.lock(&at("a")).expect("no error").is_some())));
    tell(disk.lock(&at("nowhere")).map(|_| String::new()));
    let begun = |bytes: &[u8]| disk.create(&at("a/new"), Mode::Private)?.write_all(bytes);
    tell(done(begun(b"half")));
    let resume = |name: &str| {
        let resumed = disk.resume(&at(name), Mode::Private)?;
        let Some((mut bytes, mut file)) = resumed else { return Ok("nothing".to_owned()) };
        let mut read = String::new();
        bytes.read_to_string(&mut read)?;
        file.write_all(b" and half")?;
        Ok(read)
    };
    tell(resume("a/new"));
    tell(resume("a/new"));
    tell(resume("a/other"));
    let filled = disk.create_tree(&at("a/tree")).and_then(|mut tree| {
        tree.make_dir("d")?;
        tree.create("d/file", Mode::Program)?;
        tree.write(b"in a tree")?;
        tree.symlink("file", "d/link")?;
        tree.sync()
    });
    tell(filled.map(|()| "filled".to_owned()).map_err(io::Error::other));
    tell(names("a/tree/d"));
    tell(read("a/tree/d/file"));
    tell(disk.read_link(&at("a/tree/d/link")).map(|to| format!("{to:?}")));
    let again =
        disk.create_tree(&at("a/tree")).and_then(|mut tree| tree.create("x/y", Mode::Public));
    tell(Ok(format!("{}", again.is_err())));
    tell(names("a/tree"));
    tell(done(disk.remove(&at("a"))));
    tell(done(disk.remove(&at("a"))));
    tell(names(""));
    all
}

#[test]
fn a_disk_in_memory_answers_as_one_of_this_machine_does() {
    let place = tempfile::tempdir().expect("a directory");
    let real = answers(&Storage::default(), place.path());
    for machine in [PowerLossFs::default(), PowerLossFs::without_power_loss()] {
        let memory = answers(&Storage::default().with_filesystem(machine), Path::new("/"));
        assert_eq!(memory.len(), real.len());
        for (step, (memory, real)) in memory.iter().zip(&real).enumerate() {
            assert_eq!(memory, real, "step {step}");
        }
    }
}

/// The names in the root, and the bytes that a file has.
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
fn a_power_cut_leaves_what_was_synced_and_any_part_of_the_rest() {
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
    // Of a file that has another name, either name may be left, both or none.
    machine.rename(&at("new"), &at("old"), true).expect("a free name");
    let both = (vec!["new".into(), "old".into()], vec![long.clone(), long.clone()]);
    let nothing = (Vec::new(), Vec::new());
    let expected = [nothing, named("new", &long), named("old", &long), both];
    assert_eq!(all(&machine), expected.into());
}

#[test]
fn a_machine_whose_power_never_fails_remembers_only_what_is_there() {
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
