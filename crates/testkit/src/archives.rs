//! Valid and hostile archives, built byte by byte, and lists of the unpacked trees.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use unanimity_archive::{ArchiveError, MAX_ENTRIES, Totals};
use unanimity_install::StorageTreeSink;
use unanimity_protocol::manifest::ArchiveFormat;
use unanimity_storage::{Storage, StorageError};

/// A block of a tar archive: 512 bytes.
pub type Block = [u8; 512];

// POSIX.1-2017, `pax`, "ustar Interchange Format".
/// The position of an entry's permissions in a header.
pub const MODE: Range<usize> = 100..108;
/// The position of the owner's user ID in a header.
pub const UID: Range<usize> = 108..116;
/// The position of a file's length in a header.
pub const SIZE: Range<usize> = 124..136;
/// The position of the modification time in a header.
pub const TIME: Range<usize> = 136..148;
/// The position of the checksum in a header.
pub const CHECKSUM: Range<usize> = 148..156;
/// The position of a link's target in a header.
pub const LINK: Range<usize> = 157..257;
/// The position of the format's name and version in a header.
pub const MAGIC: Range<usize> = 257..265;
/// The position of the first part of a long name in a header.
pub const PREFIX: Range<usize> = 345..500;

/// The two zero blocks that end an archive.
pub const END: [u8; 1024] = [0; 1024];

/// Builds a header as GNU tar writes it with `--format=ustar`.
pub fn header(kind: u8, name: &[u8], mode: u32, link: &[u8], size: usize) -> Block {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[MODE].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    block[UID].copy_from_slice(b"0001750\0");
    block[116..124].copy_from_slice(b"0001750\0");
    block[SIZE].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[TIME].copy_from_slice(b"15252453637\0");
    block[156] = kind;
    block[LINK][..link.len()].copy_from_slice(link);
    block[MAGIC].copy_from_slice(b"ustar\x0000");
    block[265..269].copy_from_slice(b"user");
    block[297..302].copy_from_slice(b"group");
    block[329..337].copy_from_slice(b"0000000\0");
    block[337..345].copy_from_slice(b"0000000\0");
    with_checksum(block)
}

/// Sets the right checksum in a header.
pub fn with_checksum(mut block: Block) -> Block {
    block[CHECKSUM].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Builds a file's header with `bytes` at the position `at`, and with the right checksum.
pub fn tampered_header(at: Range<usize>, bytes: &[u8]) -> Vec<u8> {
    let mut block = header(b'0', b"file", 0o644, b"", 0);
    block[at][..bytes.len()].copy_from_slice(bytes);
    with_checksum(block).to_vec()
}

/// Pads bytes with zeros to whole blocks.
pub fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// Builds a file entry with the permissions `mode` and the content `bytes`.
pub fn file_with(name: &[u8], mode: u32, bytes: &[u8]) -> Vec<u8> {
    [&header(b'0', name, mode, b"", bytes.len())[..], &padded(bytes)].concat()
}

/// Builds a small file entry.
pub fn file(name: impl AsRef<[u8]>) -> Vec<u8> {
    file_with(name.as_ref(), 0o644, b"content")
}

/// Builds a directory entry.
pub fn dir(name: impl AsRef<[u8]>) -> Vec<u8> {
    header(b'5', name.as_ref(), 0o755, b"", 0).to_vec()
}

/// Builds a symbolic link entry.
pub fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Vec<u8> {
    header(b'2', name.as_ref(), 0o777, target.as_ref(), 0).to_vec()
}

/// Builds an entry whose type flag is `kind`, without content.
pub fn entry_of_kind(kind: u8) -> Vec<u8> {
    header(kind, b"file", 0o644, b"", 0).to_vec()
}

/// Builds an extended header (pax) with the type flag `kind` and the records `bytes`.
pub fn extended(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&header(kind, b"PaxHeaders/x", 0o644, b"", bytes.len())[..], &padded(bytes)].concat()
}

/// Builds one record of an extended header.
pub fn record(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let rest = [format!(" {key}=").as_bytes(), value.as_ref(), b"\n"].concat();
    let length =
        (1..=4).map(|digits| rest.len() + digits).find(|n| n.to_string().len() + rest.len() == *n);
    [length.unwrap().to_string().as_bytes(), &rest].concat()
}

/// Builds an extended header with the path of the next entry. Also returns the name for that
/// entry's own header: the first 100 bytes of the path.
pub fn long_name(path: &str) -> (Vec<u8>, &[u8]) {
    (extended(b'x', &record("path", path)), &path.as_bytes()[..path.len().min(100)])
}

/// Builds a small file entry whose name is in an extended header.
pub fn long_file(path: &str) -> Vec<u8> {
    let (extended, name) = long_name(path);
    [extended, file(name)].concat()
}

/// Builds a directory entry whose name is in an extended header.
pub fn long_dir(path: &str) -> Vec<u8> {
    let (extended, name) = long_name(path);
    [extended, dir(name)].concat()
}

/// Builds an archive of these entries, with its end.
pub fn tar<'a>(entries: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.into_iter().flatten().copied().collect();
    bytes.extend(END);
    bytes
}

/// Packs bytes as one gzip member.
pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Packs bytes as a zstd frame with a checksum, as the program `zstd` does.
pub fn zst(bytes: &[u8]) -> Vec<u8> {
    let mut packed = zstd::Encoder::new(Vec::new(), 3).unwrap();
    packed.include_checksum(true).unwrap();
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Builds a zstd frame of one raw block, with a window of 2^`window` bytes (RFC 8878 section
/// 3.1.1). `window` is at least 10, and `bytes` are fewer than 128 KiB.
pub fn zst_with_window(window: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128 * 1024);
    let last_raw_block = (bytes.len() as u32) << 3 | 1;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window - 10) << 3];
    frame.extend(&last_raw_block.to_le_bytes()[..3]);
    frame.extend(bytes);
    frame
}

/// Builds an archive of a small tree with every kind of entry that is allowed.
pub fn sample_archive() -> Vec<u8> {
    let deep = format!("lib/{}", "long".repeat(30));
    tar(&[
        dir("bin/"),
        file_with(b"bin/hello", 0o700, b"#!/bin/sh\necho hello\n"),
        link("run", "bin/hello"),
        dir("lib"),
        link("lib/up", "../bin"),
        long_dir(&deep),
        long_file(&format!("{deep}/file")),
        [extended(b'x', &record("mtime", "1790000000.5")), file("data")].concat(),
        file_with(b"lib/big", 0o600, &[b'x'; 700]),
        file_with(b"lib/empty", 0o611, b""),
    ])
}

/// The largest totals, which no archive may exceed.
pub const MAX_TOTALS: Totals = Totals { unpacked: u64::MAX, entries: MAX_ENTRIES };

/// Computes the totals that a publisher signs for this tar archive.
pub fn compute_totals(bytes: &[u8]) -> Totals {
    unanimity_archive::check(ArchiveFormat::Tar, bytes).unwrap()
}

/// Unpacks an archive into an empty directory, and syncs the tree.
pub fn unpack_into(
    format: ArchiveFormat,
    signed: Totals,
    source: impl Read,
    directory: &Path,
) -> Result<(), ArchiveError<StorageError>> {
    let mut tree = Storage::default().create_tree(directory).map_err(ArchiveError::Sink)?;
    unanimity_archive::unpack(format, signed, source, &mut StorageTreeSink(&mut tree))?;
    tree.sync().map_err(ArchiveError::Sink)
}

/// A file, directory or link in a tree, with its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtractedEntry {
    /// A directory.
    Directory(u32),
    /// A file and its content.
    File(u32, Vec<u8>),
    /// A symbolic link and its target.
    Link(String),
}

/// Lists everything below a directory, by relative path. Follows no links.
pub fn list_tree(directory: &Path) -> BTreeMap<String, ExtractedEntry> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            let extracted = if metadata.is_dir() {
                left.push(path);
                ExtractedEntry::Directory(mode)
            } else if metadata.is_symlink() {
                ExtractedEntry::Link(fs::read_link(&path).unwrap().to_str().unwrap().to_owned())
            } else {
                assert!(metadata.is_file(), "{name} is neither a file, a directory nor a link");
                ExtractedEntry::File(mode, fs::read(&path).unwrap())
            };
            found.insert(name, extracted);
        }
    }
    found
}
