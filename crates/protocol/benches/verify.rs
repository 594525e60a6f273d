//! Benchmarks of verification, compared with the bare cryptography that it contains.
//!
//! Opening a note is compared with its Ed25519 checks, and a proof with its SHA-256 calls. Each
//! group has both sides of a comparison, so that they run under equal conditions.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use unanimity_protocol::{Hash, Note, NoteSigningKey, NoteVerifyingKey, tree};

const SIZES: [u64; 3] = [10_000, 1_000_000, 1_000_000_000];

const MANIFEST: &str = "unanimity/manifest/v1\nlog example.org/log\nproduct hello\nchannel stable\n\
    sequence 2\nversion 1.1.0\nissued 1790000000\nexpires 1797776000\n\
    artifact x86_64-linux hello 48213 \
    0000000000000000000000000000000000000000000000000000000000000000 file\n";

fn notes(c: &mut Criterion) {
    for count in [1, 3, 16] {
        let secrets: Vec<NoteSigningKey> = (1..=count)
            .map(|i| NoteSigningKey::from_seed(format!("publisher-{i}").parse().unwrap(), &[i; 32]))
            .collect();
        let keys: Vec<NoteVerifyingKey> = secrets.iter().map(NoteSigningKey::public).collect();
        let mut note = Note::unsigned(MANIFEST).unwrap();
        secrets.iter().for_each(|secret| note.sign(secret));
        let bytes = note.to_string().into_bytes();
        let bare: Vec<(VerifyingKey, Signature)> = (keys.iter().zip(note.signatures()))
            .map(|(key, line)| {
                let key = VerifyingKey::from_bytes(&key.raw().0).unwrap();
                (key, Signature::from_slice(&line.signature).unwrap())
            })
            .collect();

        let mut group = c.benchmark_group(format!("note with {count} signatures"));
        group.bench_function("bare verify_strict", |b| {
            b.iter(|| {
                for (key, signature) in &bare {
                    key.verify_strict(black_box(MANIFEST.as_bytes()), signature).unwrap();
                }
            });
        });
        group.bench_function("open", |b| {
            b.iter(|| black_box(&note).open(&keys).unwrap());
        });
        group.bench_function("parse and open", |b| {
            b.iter(|| Note::parse(black_box(&bytes)).unwrap().open(&keys).unwrap());
        });
        group.finish();
    }
}

/// A path of arbitrary hashes. Every such path is valid, because the benchmark computes the roots
/// from the path.
fn path(length: usize) -> Vec<Hash> {
    (0..length).map(|i| Hash::leaf(&i.to_be_bytes())).collect()
}

/// Compares the check of a proof with bare SHA-256 over 65 bytes: the same number of hashes.
///
/// The bare hashes run twice: over independent inputs, and over inputs that each contain the
/// previous hash, as in a proof.
fn bare(c: &mut Criterion, group: &str, count: usize, size: u64, ours: impl Fn() -> bool) {
    let mut inputs: Vec<[u8; 65]> = (0..count).map(|i| [i as u8; 65]).collect();
    let mut group = c.benchmark_group(format!("{group} of {size} leaves"));
    group.bench_function(BenchmarkId::new("bare SHA-256", count), |b| {
        b.iter(|| {
            for input in &inputs {
                black_box(Sha256::digest(black_box(input)));
            }
        });
    });
    group.bench_function(BenchmarkId::new("bare SHA-256, chained", count), |b| {
        b.iter(|| {
            let mut last = [0; 32];
            for input in &mut inputs {
                input[33..].copy_from_slice(&last);
                last = Sha256::digest(black_box(&*input)).into();
            }
            last
        });
    });
    group.bench_function("verify", |b| b.iter(|| assert!(ours())));
    group.finish();
}

fn inclusion(c: &mut Criterion) {
    for size in SIZES {
        let (index, leaf) = (size / 3, Hash::leaf(b"entry"));
        let ranges = tree::inclusion_ranges(index, size);
        let proof = path(ranges.len());
        let root = ranges.iter().zip(&proof).fold(leaf, |root, (range, hash)| {
            if range.start < index { Hash::node(hash, &root) } else { Hash::node(&root, hash) }
        });
        bare(c, "inclusion", proof.len(), size, || {
            tree::verify_inclusion(black_box(index), size, black_box(&leaf), &proof, &root)
        });
    }
}

fn consistency(c: &mut Criterion) {
    for size in SIZES {
        let old = size / 3 * 2 + 1;
        let ranges = tree::consistency_ranges(old, size);
        let proof = path(ranges.len());
        let (old_root, new_root) = tree::consistency_roots(old, size, &proof).unwrap();
        // Nodes of both trees are hashed once for each tree.
        let count = ranges[1..].iter().map(|r| if r.end <= old { 2 } else { 1 }).sum();
        bare(c, "consistency", count, size, || {
            let (old, old_root) = (black_box(old), black_box(&old_root));
            tree::verify_consistency(old, size, old_root, &new_root, &proof)
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = notes, inclusion, consistency
}
criterion_main!(benches);
