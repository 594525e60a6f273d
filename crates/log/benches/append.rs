//! Benchmark of appending to a log, compared with bare SHA-256 over the same notes.
//!
//! On a disk the difference is mostly syncing. So appending is measured in memory, too, on machines
//! that have `/dev/shm`.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use unanimity_log::LogWriter;
use unanimity_protocol::{Hash, Note, NoteSigningKey};
use unanimity_storage::Storage;

const ENTRIES: usize = 100_000;
const ORIGIN: &str = "log.example/bench";

/// Notes of about 600 bytes, all with the same signature line. The signature is wrong for them, but
/// a log writer checks only a note's form.
fn notes(signing_key: &NoteSigningKey) -> Vec<Vec<u8>> {
    let mut note = Note::unsigned("unanimity/example/v1\n").expect("a text");
    note.sign(signing_key);
    let line = &note.signatures()[0];
    let filling = "x".repeat(420);
    (0..ENTRIES)
        .map(|i| {
            format!("unanimity/example/v1\nlog {ORIGIN}\nentry {i:08}\n{filling}\n\n{line}\n")
                .into_bytes()
        })
        .collect()
}

fn new_log(parent: &Path, signing_key: &NoteSigningKey) -> (TempDir, LogWriter) {
    let directory = TempDir::new_in(parent).expect("a directory");
    let origin = ORIGIN.parse().expect("an origin");
    let writer = LogWriter::init(directory.path(), origin, signing_key.clone(), Storage::default());
    (directory, writer.expect("a log"))
}

fn append(c: &mut Criterion) {
    let signing_key = NoteSigningKey::from_seed("bench".parse().expect("a name"), &[1; 32]);
    let notes = notes(&signing_key);
    let bytes: usize = notes.iter().map(Vec::len).sum();
    let mut group = c.benchmark_group("append 100000 entries");
    group.sample_size(10).throughput(Throughput::Bytes(bytes as u64));
    group.warm_up_time(Duration::from_secs(1));
    group.bench_function("bare: SHA-256 of every leaf", |b| {
        b.iter(|| notes.iter().map(|note| Hash::leaf(note)).fold(0, |n, hash| n ^ hash.0[0]));
    });
    let parents =
        [("on disk", PathBuf::from(env!("CARGO_TARGET_TMPDIR"))), ("in memory", "/dev/shm".into())];
    for (name, parent) in parents.into_iter().filter(|(_, parent)| parent.is_dir()) {
        group.bench_function(format!("ours, {name}"), |b| {
            b.iter_batched(
                || new_log(&parent, &signing_key),
                |(directory, mut writer)| {
                    black_box(writer.append(&notes).expect("appended"));
                    (directory, writer)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
