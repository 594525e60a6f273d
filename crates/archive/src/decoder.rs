//! Decompression of an archive: none, one gzip member, or one zstd frame.

use std::io::{self};
use std::io::{BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use unanimity_protocol::manifest::ArchiveFormat;

use crate::{ArchiveError, ArchiveViolation, MAX_WINDOW_LOG};

/// The size of the buffers for compressed and for decompressed bytes.
const BUFFER: usize = 128 * 1024;

/// A reader of the decompressed bytes of an archive.
pub(crate) struct Decoder<R: Read> {
    unpacked: BufReader<Decompressor<R>>,
}

type TrackedSource<R> = BufReader<TrackedReader<R>>;

enum Decompressor<R: Read> {
    Tar(TrackedSource<R>),
    Gz(Box<GzDecoder<TrackedSource<R>>>),
    Zst(Box<zstd::Decoder<'static, TrackedSource<R>>>),
}

/// A reader that records whether its source failed, to tell a failure of the source from an error
/// of decompression.
struct TrackedReader<R> {
    source: R,
    failed: bool,
}

impl<R: Read> Decoder<R> {
    pub(crate) fn open(format: ArchiveFormat, source: R) -> Result<Decoder<R>, ArchiveError> {
        let source = BufReader::with_capacity(BUFFER, TrackedReader { source, failed: false });
        let decoder = match format {
            ArchiveFormat::Tar => Decompressor::Tar(source),
            ArchiveFormat::TarGz => Decompressor::Gz(Box::new(GzDecoder::new(source))),
            ArchiveFormat::TarZst => {
                let open = || {
                    let mut decoder = zstd::Decoder::with_buffer(source)?.single_frame();
                    decoder.window_log_max(MAX_WINDOW_LOG)?;
                    Ok(decoder)
                };
                Decompressor::Zst(Box::new(open().map_err(ArchiveError::Source)?))
            }
        };
        Ok(Decoder { unpacked: BufReader::with_capacity(BUFFER, decoder) })
    }

    /// Returns the next bytes without skipping them: at least one and at most `most`, or none at
    /// the end.
    pub(crate) fn peek(&mut self, most: u64) -> Result<&[u8], ArchiveError> {
        // The result of `fill_buf` would borrow `self`, which `classify_error` needs.
        if let Err(error) = self.unpacked.fill_buf() {
            return Err(self.classify_error(error));
        }
        let bytes = self.unpacked.buffer();
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[..most])
    }

    /// Skips `count` of the bytes that [`Decoder::peek`] returned.
    pub(crate) fn consume(&mut self, count: usize) {
        self.unpacked.consume(count);
    }

    /// Fills the whole buffer and returns `true`.
    ///
    /// Returns `false` if no byte of the archive is left. Fails if too few bytes are left.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let bytes = self.peek((buffer.len() - filled) as u64)?;
            let count = bytes.len();
            if count == 0 && filled == 0 {
                return Ok(false);
            }
            if count == 0 {
                return Err(truncated());
            }
            buffer[filled..filled + count].copy_from_slice(bytes);
            self.consume(count);
            filled += count;
        }
        Ok(true)
    }

    /// Checks, after the last byte of the tar archive, that the source has no further byte.
    pub(crate) fn finish(&mut self) -> Result<(), ArchiveError> {
        let (source, what) = match self.unpacked.get_mut() {
            Decompressor::Tar(source) => (source, "archive"),
            Decompressor::Gz(decoder) => (decoder.get_mut(), "gzip member"),
            Decompressor::Zst(decoder) => (decoder.get_mut(), "zstd frame"),
        };
        let is_end = source.fill_buf().map_err(ArchiveError::Source)?.is_empty();
        if is_end {
            return Ok(());
        }
        Err(ArchiveViolation { entry: None, why: format!("bytes after the end of the {what}") }
            .into())
    }

    fn classify_error(&mut self, error: io::Error) -> ArchiveError {
        let (source, what) = match self.unpacked.get_mut() {
            Decompressor::Tar(_) => return ArchiveError::Source(error),
            Decompressor::Gz(decoder) => (decoder.get_mut(), "gzip"),
            Decompressor::Zst(decoder) => (decoder.get_mut(), "zstd"),
        };
        if source.get_ref().failed {
            return ArchiveError::Source(error);
        }
        ArchiveViolation { entry: None, why: format!("not a supported {what} stream: {error}") }
            .into()
    }
}

/// The error for an archive that ends too early.
pub(crate) fn truncated() -> ArchiveError {
    ArchiveViolation { entry: None, why: "the archive is truncated".to_owned() }.into()
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Decompressor::Tar(source) => source.read(buffer),
            Decompressor::Gz(decoder) => decoder.read(buffer),
            Decompressor::Zst(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: Read> Read for TrackedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.source.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    self.failed |= read.is_err();
                    return read;
                }
            }
        }
    }
}
