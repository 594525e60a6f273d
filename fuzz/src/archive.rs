//! Archives: ours against the crate `tar`.
//!
//! Of an archive that ours takes, the other reads the same entries, in the same order and with the same
//! bytes. Ours refuses more, which is its purpose. Packed in gzip or zstd the same archive gives the
//! same tree, and less than there is in it is never enough.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::EntryType;
use unanimity_archive::{MAX_DEPTH, MAX_PATH_BYTES, Path, Sink, Target, Totals, UnpackError};
use unanimity_protocol::manifest::ArchiveFormat::{self, Tar, TarGz, TarZst};

/// The most bytes that are unpacked: a fuzzer's file can be packed very small.
const MOST: u64 = 4 << 20;
const BLOCK: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Directory,
    File { executable: bool, bytes: Vec<u8> },
    Link(String),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tree {
    things: Vec<(String, Thing)>,
    bytes: u64,
}

impl Sink for Tree {
    type Error = Infallible;

    fn directory(&mut self, path: &Path) -> Result<(), Infallible> {
        self.add(path, Thing::Directory);
        Ok(())
    }

    fn file(&mut self, path: &Path, executable: bool) -> Result<(), Infallible> {
        self.add(path, Thing::File { executable, bytes: Vec::new() });
        Ok(())
    }

    fn bytes(&mut self, more: &[u8]) -> Result<(), Infallible> {
        let Some((_, Thing::File { bytes, .. })) = self.things.last_mut() else {
            panic!("bytes of no file")
        };
        bytes.extend_from_slice(more);
        self.bytes += more.len() as u64;
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &Target) -> Result<(), Infallible> {
        self.add(path, Thing::Link(target.as_str().to_owned()));
        Ok(())
    }
}

impl Tree {
    fn add(&mut self, path: &Path, thing: Thing) {
        let path = path.as_str();
        let parts: Vec<&str> = path.split('/').collect();
        assert!(path.len() <= MAX_PATH_BYTES && parts.len() <= MAX_DEPTH);
        assert!(parts.iter().all(|part| !["", ".", ".."].contains(part)));
        if let Some((above, _)) = path.rsplit_once('/') {
            let is_above =
                |(other, thing): &(String, Thing)| other == above && *thing == Thing::Directory;
            assert!(self.things.iter().any(is_above), "{path} before its directory");
        }
        assert!(self.things.iter().all(|(other, _)| !other.eq_ignore_ascii_case(path)));
        self.things.push((path.to_owned(), thing));
    }
}

/// Checks one archive. The first byte says how it is packed, and whether the checksums of its headers
/// are made to fit.
pub fn check(data: &[u8]) {
    let Some((&how, archive)) = data.split_first() else { return };
    match how % 4 {
        0 => tar(archive),
        1 => {
            let mut archive = archive.to_vec();
            repair(&mut archive);
            tar(&archive);
        }
        2 => drop(packed(TarGz, archive)),
        _ => drop(packed(TarZst, archive)),
    }
}

fn tar(archive: &[u8]) {
    let Some((tree, totals)) = packed(Tar, archive) else { return };
    assert_eq!(tree.things, others(archive), "two readers, two trees");
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(archive).expect("in memory");
    let gz = gz.finish().expect("in memory");
    let zst = zstd::encode_all(archive, 1).expect("in memory");
    for (format, bytes) in [(TarGz, gz), (TarZst, zst)] {
        assert_eq!(
            packed(format, &bytes),
            Some((Tree { things: tree.things.clone(), ..tree }, totals))
        );
        // What follows the end is refused, and what breaks off.
        assert_eq!(packed(format, &[&bytes[..], &[0]].concat()), None);
        assert_eq!(packed(format, &bytes[..bytes.len() - 1]), None);
    }
}

/// Reads an archive in both ways. `None` if it is refused.
fn packed(format: ArchiveFormat, archive: &[u8]) -> Option<(Tree, Totals)> {
    let bounded = Totals { unpacked: MOST, entries: 1000 };
    let mut tree = Tree::default();
    // Refused in any case, if only because there is less in it than this; what is in it went to the tree.
    let more = unanimity_archive::unpack(format, bounded, archive, &mut tree);
    assert!(tree.bytes <= MOST && tree.things.len() <= 1000);
    let totals = match (more, tree.bytes, tree.things.len()) {
        (Ok(()), ..) => bounded,
        (Err(UnpackError::Refused(why)), unpacked, entries) => {
            if !why.why.ends_with("were signed") || why.entry.is_some() {
                return None;
            }
            Totals { unpacked, entries: entries as u64 }
        }
        (Err(why), ..) => panic!("a slice can be read, and a tree takes all: {why}"),
    };
    assert_eq!(unanimity_archive::check(format, archive).expect("it was read to its end"), totals);
    let mut again = Tree::default();
    unanimity_archive::unpack(format, totals, archive, &mut again).expect("as it was checked");
    assert_eq!(again, tree);
    let less = [
        Totals { entries: totals.entries.wrapping_sub(1), ..totals },
        Totals { unpacked: totals.unpacked.wrapping_sub(1), ..totals },
    ];
    for less in less {
        let mut some = Tree::default();
        assert!(unanimity_archive::unpack(format, less, archive, &mut some).is_err());
        assert!(some.bytes <= tree.bytes && some.things.len() <= tree.things.len());
    }
    Some((tree, totals))
}

/// What the other reader finds.
fn others(archive: &[u8]) -> Vec<(String, Thing)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("an archive that we took");
    let thing = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("an entry that we took");
        let path = String::from_utf8(entry.path_bytes().into_owned()).expect("ASCII");
        let header = entry.header();
        let executable = header.mode().expect("a mode") & 0o100 != 0;
        let thing = match header.entry_type() {
            EntryType::Directory => Thing::Directory,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().expect("a target").into_owned();
                Thing::Link(String::from_utf8(target).expect("ASCII"))
            }
            EntryType::Regular => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).expect("a slice");
                Thing::File { executable, bytes }
            }
            other => panic!("we took an entry of kind {other:?}"),
        };
        let is_directory = thing == Thing::Directory;
        let path = path.strip_suffix('/').filter(|_| is_directory).unwrap_or(&path).to_owned();
        (path, thing)
    };
    entries.map(thing).collect()
}

/// Makes the checksum of each header fit, going from header to header by their sizes.
fn repair(archive: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = archive.get_mut(at..at + BLOCK) {
        if header.iter().all(|&byte| byte == 0) {
            return;
        }
        header[148..156].fill(b' ');
        let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = header[124..136].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0, |size, digit| size * 8 + usize::from(digit - b'0'));
        at += BLOCK + size.min(1 << 20).next_multiple_of(BLOCK);
    }
}
