//! Benchmark of unpacking a tree of 10 000 files, against `tar --zstd -x` and a `sync` of the file
//! system. Both end with every byte on the disk. They run in turns, so that other work of the
//! machine affects both alike. The benchmark prints the ratio of the medians.
//!
//! The library also checks every header and name, and hashes the archive as it reads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use unanimity_archive::Totals;
use unanimity_install::StorageTreeSink;
use unanimity_protocol::manifest::ArchiveFormat;
use unanimity_storage::Storage;

const FILES: usize = 10_000;
const DIRECTORIES: usize = 100;
const RUNS: usize = 11;

/// An archive and its totals. Its files have 100 bytes to 16 KiB, and compress to about half, like
/// programs and their data.
fn archive() -> (Vec<u8>, Totals) {
    let packed = zstd::Encoder::new(Vec::new(), 3).expect("an encoder");
    let mut archive = tar::Builder::new(packed);
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header
    };
    let mut state = 1u64;
    let mut draw = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for directory in 0..DIRECTORIES {
        let mut top = header(tar::EntryType::Directory, 0o755, 0);
        archive.append_data(&mut top, format!("d{directory}/"), &[][..]).expect("in memory");
        for file in 0..FILES / DIRECTORIES {
            let size = 100 + draw() as usize % (16 * 1024);
            let bytes: Vec<u8> =
                (0..size).map(|_| b"etaoin shrdlu"[draw() as usize % 13]).collect();
            let mut header = header(tar::EntryType::Regular, 0o644, size as u64);
            let name = format!("d{directory}/file-{file}");
            archive.append_data(&mut header, name, &bytes[..]).expect("in memory");
        }
    }
    let bytes = archive.into_inner().and_then(zstd::Encoder::finish).expect("in memory");
    let totals =
        unanimity_archive::check(ArchiveFormat::TarZst, &bytes[..]).expect("a good archive");
    (bytes, totals)
}

fn unpack_with_library(archive: &Path, totals: Totals, tree: &Path) {
    struct HashedFile(fs::File, Sha256);
    impl std::io::Read for HashedFile {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.update(&buffer[..count]);
            Ok(count)
        }
    }
    let mut source = HashedFile(fs::File::open(archive).expect("an archive"), Sha256::new());
    let mut tree = Storage::default().create_tree(tree).expect("a directory");
    unanimity_archive::unpack(
        ArchiveFormat::TarZst,
        totals,
        &mut source,
        &mut StorageTreeSink(&mut tree),
    )
    .expect("unpacked");
    tree.sync().expect("synced");
    std::hint::black_box(source.1.finalize());
}

fn unpack_with_tar(archive: &Path, tree: &Path) {
    fs::create_dir(tree).expect("a directory");
    let run = |command: &mut Command| assert!(command.status().expect("a program").success());
    run(Command::new("tar").args(["--zstd", "-xf"]).arg(archive).arg("-C").arg(tree));
    run(Command::new("sync").arg("-f").arg(tree));
}

/// Measures one run. After the measurement, removes the unpacked tree and syncs the removal.
fn time_run(scratch: &Path, run: impl FnOnce(&Path)) -> Duration {
    let tree = scratch.join("tree");
    let began = Instant::now();
    run(&tree);
    let elapsed = began.elapsed();
    fs::remove_dir_all(&tree).expect("removed");
    assert!(Command::new("sync").arg("-f").arg(scratch).status().expect("a program").success());
    elapsed
}

/// Median of several times, in seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn main() {
    let (bytes, totals) = archive();
    println!("{} bytes, {} unpacked, {} entries", bytes.len(), totals.unpacked, totals.entries);
    let parents =
        [("on disk", PathBuf::from(env!("CARGO_TARGET_TMPDIR"))), ("in memory", "/dev/shm".into())];
    for (name, parent) in parents.into_iter().filter(|(_, parent)| parent.is_dir()) {
        let directory = TempDir::new_in(&parent).expect("a directory");
        let archive = directory.path().join("archive.tar.zst");
        fs::write(&archive, &bytes).expect("written");
        let [mut bare, mut own] = [Vec::new(), Vec::new()];
        for _ in 0..RUNS {
            bare.push(time_run(directory.path(), |tree| unpack_with_tar(&archive, tree)));
            own.push(time_run(directory.path(), |tree| {
                unpack_with_library(&archive, totals, tree)
            }));
        }
        let (bare, own) = (median(bare), median(own));
        let ratio = own / bare;
        println!("{name}: ours {own:.3} s, tar and sync {bare:.3} s, ratio {ratio:.2}");
    }
}
