//! What a publisher does: make keys, write manifests and withdrawals, sign them.
//!
//! A key file is an age file (scrypt passphrase, ASCII armor) that holds one line,
//! [`Secret::expose`]. It has mode 0600 and is refused otherwise.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::{ExposeSecret as _, SecretString};
use age::{Decryptor, Encryptor};

use crate::install::unpack::{self, Totals};
use unanimity_protocol::key::{KeyError, KeyName, Secret};
use unanimity_protocol::manifest::{ArchiveFormat, Kind, Target};
use unanimity_protocol::note::{MAX_ENTRY_BYTES, MAX_NOTE_BYTES, NoteError};
use unanimity_protocol::subject::StatementError;
use unanimity_protocol::{
    Hash, Manifest, Name, Note, NoteSecret, Origin, Statement, Timestamp, Withdrawal,
};
use unanimity_storage::{self, Disk, DiskError, Mode};

/// What is wrong with a key file, a manifest file, or what was asked for. Never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Something would be overwritten.
    #[error("{} exists already, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Others may read the key file.
    #[error("{} can be read by others (mode {mode:03o}): run chmod 600 on it, and consider whether somebody has", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a key file at all.
    #[error("{} is not a secret key as `unanimity keygen` writes them", .0.display())]
    NotSecret(PathBuf),
    /// Wrong passphrase, or a damaged file.
    #[error("{}: wrong passphrase, or the file is damaged", .0.display())]
    Decrypt(PathBuf),
    /// What was in the file is not a key of the needed kind.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// Neither a manifest nor a withdrawal.
    #[error("{}: {source}", path.display())]
    Statement {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: StatementError,
    },
    /// Not a note.
    #[error("{}: {source}", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteError,
    },
    /// Somebody changed the file while it was being looked at.
    #[error("{} was changed after it was shown: nothing was signed", .0.display())]
    Changed(PathBuf),
    /// This key's signature is there already.
    #[error("{} is already signed by {name}", path.display())]
    AlreadySigned {
        /// The file.
        path: PathBuf,
        /// The key's name.
        name: KeyName,
    },
    /// What was asked for breaks a rule of its format.
    #[error("such a thing cannot be written down: {0}")]
    NewStatement(StatementError),
    /// An archive that no node would unpack.
    #[error("{file} is an archive that cannot be installed: {why}")]
    Archive {
        /// What it is called.
        file: Name,
        /// The rule it breaks, and the entry that does.
        why: String,
    },
    /// Encryption failed, which it does only for want of memory or randomness.
    #[error("cannot encrypt the key: {0}")]
    Encrypt(String),
}

/// The most bytes of a key file.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// How much work each guess at a passphrase costs, as a power of two (scrypt's N).
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// About a second on this machine.
    Calibrated,
    /// 2^n, for tests.
    Factor(u8),
}

/// Draws a key from the system's generator.
pub fn generate<const TYPE: u8>(name: KeyName) -> Secret<TYPE> {
    let mut seed = [0; 32];
    rand::fill(&mut seed);
    Secret::from_seed(name, &seed)
}

/// Writes a secret key, encrypted, to a new file of mode 0600.
pub fn write_key<const TYPE: u8>(
    path: &Path,
    secret: &Secret<TYPE>,
    passphrase: &SecretString,
    work: Work,
    disk: &Disk,
) -> Result<(), PublishError> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
    if let Work::Factor(n) = work {
        recipient.set_work_factor(n);
    }
    let encrypt = |bytes: &[u8]| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as _))?;
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(bytes)?;
        Ok(writer.finish()?.finish()?)
    };
    let line = SecretString::from(secret.expose());
    let bytes = encrypt(line.expose_secret().as_bytes())
        .map_err(|error| PublishError::Encrypt(error.to_string()))?;
    write_new(path, &bytes, Mode::Private, disk)
}

/// Writes a file that must not be there yet.
pub fn write_new(path: &Path, bytes: &[u8], mode: Mode, disk: &Disk) -> Result<(), PublishError> {
    disk.write_new(path, bytes, mode).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => PublishError::Exists(path.to_owned()),
        _ => DiskError::at(path)(error).into(),
    })
}

/// Whether a file looks like one that [`write_key`] wrote.
pub fn is_secret(path: &Path) -> bool {
    let bytes = unanimity_storage::read_at_most(path, MAX_KEY_BYTES);
    bytes.is_ok_and(|bytes| bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----"))
}

/// Refuses a file that anybody but its owner may read or write.
pub fn check_private(path: &Path) -> Result<(), PublishError> {
    let metadata = fs::metadata(path).map_err(DiskError::at(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PublishError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Refuses a file that is no secret key, or that others may read.
pub fn check_secret(path: &Path) -> Result<(), PublishError> {
    fs::metadata(path).map_err(DiskError::at(path))?;
    if !is_secret(path) {
        return Err(PublishError::NotSecret(path.to_owned()));
    }
    check_private(path)
}

/// Reads a secret key. The file must have mode 0600 or stricter.
pub fn read_key<const TYPE: u8>(
    path: &Path,
    passphrase: &SecretString,
) -> Result<Secret<TYPE>, PublishError> {
    check_secret(path)?;
    let bytes = unanimity_storage::read_at_most(path, MAX_KEY_BYTES)?;
    let decrypt = || -> Option<SecretString> {
        let identity = age::scrypt::Identity::new(passphrase.clone());
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(&bytes[..])).ok()?;
        let reader = decryptor.decrypt(std::iter::once(&identity as _)).ok()?;
        std::io::read_to_string(reader).ok().map(SecretString::from)
    };
    let line = decrypt().ok_or_else(|| PublishError::Decrypt(path.to_owned()))?;
    Secret::parse(line.expose_secret())
        .map_err(|source| PublishError::Key { path: path.to_owned(), source })
}

/// What a new release is, but for its artifacts.
#[derive(Clone, Debug)]
pub struct Release {
    /// The log it is for.
    pub log: Origin,
    /// The product.
    pub product: Name,
    /// The channel.
    pub channel: Name,
    /// Larger than that of every release before.
    pub sequence: u64,
    /// For people.
    pub version: Name,
    /// Now.
    pub issued: Timestamp,
    /// How long it may be installed.
    pub good_for: Duration,
}

/// What is released for one platform.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Such as `x86_64-linux`.
    pub platform: Name,
    /// What the file is called.
    pub file: Name,
    /// All of it.
    pub bytes: Vec<u8>,
    /// What to do with it.
    pub kind: Kind,
}

/// Platform, name and content of a file that is installed as it is.
impl From<(Name, Name, Vec<u8>)> for Artifact {
    fn from((platform, file, bytes): (Name, Name, Vec<u8>)) -> Artifact {
        Artifact { platform, file, bytes, kind: Kind::File }
    }
}

impl Artifact {
    /// A file that is unpacked where it is installed if its name says that it is an archive
    /// ([`ArchiveFormat::of`]). The archive is read as a node reads it, and refused as one refuses it.
    pub fn by_name(platform: Name, file: Name, bytes: Vec<u8>) -> Result<Artifact, PublishError> {
        let kind = match ArchiveFormat::of(&file) {
            None => Kind::File,
            Some(format) => match unpack::check(format, &bytes[..]) {
                Ok(Totals { unpacked, entries }) => Kind::Archive { format, unpacked, entries },
                Err(error) => {
                    let why = error.to_string();
                    return Err(PublishError::Archive { file, why });
                }
            },
        };
        Ok(Artifact { platform, file, bytes, kind })
    }
}

/// Describes a release with one artifact for each platform.
pub fn manifest(
    release: Release,
    artifacts: impl IntoIterator<Item = impl Into<Artifact>>,
) -> Result<Manifest, PublishError> {
    let target = |artifact| {
        let Artifact { platform, file, bytes, kind } = artifact;
        Target { platform, file, length: bytes.len() as u64, sha256: Hash::of(&bytes), kind }
    };
    let Release { log, product, channel, sequence, version, issued, good_for } = release;
    let mut targets: Vec<Target> = artifacts.into_iter().map(Into::into).map(target).collect();
    targets.sort_by(|a, b| a.platform.cmp(&b.platform));
    let expires = issued.after(good_for);
    let manifest = Manifest { log, product, channel, sequence, version, issued, expires, targets };
    // The format's own reader has the last word on its rules.
    Manifest::parse(&manifest.to_string()).map_err(PublishError::NewStatement)
}

/// Takes a release back.
pub fn withdrawal(withdrawal: Withdrawal) -> Result<Withdrawal, PublishError> {
    // The format's own reader has the last word on its rules.
    Withdrawal::parse(&withdrawal.to_string()).map_err(PublishError::NewStatement)
}

/// Reads the file of a manifest or a withdrawal, signed or not yet.
pub fn read_statement(path: &Path) -> Result<(Note, Statement), PublishError> {
    let bytes = unanimity_storage::read_at_most(path, MAX_NOTE_BYTES)?;
    let note = match Note::parse(&bytes) {
        Err(NoteError::NoSignatures) => Note::unsigned(&String::from_utf8_lossy(&bytes)),
        note => note,
    };
    let note = note.map_err(|source| PublishError::Note { path: path.to_owned(), source })?;
    let statement = Statement::parse(note.text())
        .map_err(|source| PublishError::Statement { path: path.to_owned(), source })?;
    Ok((note, statement))
}

/// Adds one signature to the file of a statement, if its text is still the one that was `shown`.
pub fn sign(
    path: &Path,
    shown: &Note,
    secret: &NoteSecret,
    disk: &Disk,
) -> Result<Note, PublishError> {
    // Through a link, the file it points at is signed, and the link stays.
    let path = &fs::canonicalize(path).map_err(DiskError::at(path))?;
    // Read again, so that a signature that somebody added in the meantime is kept.
    let (mut note, _) = read_statement(path)?;
    if note.text() != shown.text() {
        return Err(PublishError::Changed(path.clone()));
    }
    let key = secret.public();
    match note.open(std::slice::from_ref(&key)) {
        Err(NoteError::Unsigned) => {}
        Ok(_) => {
            let name = key.name().clone();
            return Err(PublishError::AlreadySigned { path: path.clone(), name });
        }
        Err(source) => return Err(PublishError::Note { path: path.clone(), source }),
    }
    note.sign(secret);
    let bytes = note.to_string();
    let fits = bytes.len() <= MAX_ENTRY_BYTES;
    let checked =
        if fits { Note::parse(bytes.as_bytes()) } else { Err(NoteError::TooLong(bytes.len())) };
    checked.map_err(|source| PublishError::Note { path: path.clone(), source })?;
    disk.write(path, bytes.as_bytes(), Mode::Public).map_err(DiskError::at(path))?;
    Ok(note)
}
