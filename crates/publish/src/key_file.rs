//! Encrypted private keys in files.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::{ExposeSecret as _, SecretString};
use age::{Decryptor, Encryptor};
use unanimity_protocol::key::{KeyName, SigningKey};
use unanimity_storage::{Mode, Storage, StorageError, check_private, write_new};

use crate::error::PublishError;

/// The most bytes of a key file: 16 KiB.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// The cost of each guess at a passphrase: scrypt's parameter N, a power of two.
#[derive(Clone, Copy, Debug)]
pub enum KdfCost {
    /// The cost that takes about one second on this machine.
    Calibrated,
    /// A cost of 2^n, for tests.
    Factor(u8),
}

/// Generates a key with the operating system's random generator.
pub fn generate_key<const TYPE: u8>(name: KeyName) -> SigningKey<TYPE> {
    let mut seed = [0; 32];
    rand::fill(&mut seed);
    SigningKey::from_seed(name, &seed)
}

/// Encrypts a private key with a passphrase, and writes it durably to a new file of mode 0600.
///
/// Fails if the file exists.
pub fn write_key<const TYPE: u8>(
    path: &Path,
    key: &SigningKey<TYPE>,
    passphrase: &SecretString,
    cost: KdfCost,
    disk: &Storage,
) -> Result<(), PublishError> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.clone());
    if let KdfCost::Factor(n) = cost {
        recipient.set_work_factor(n);
    }
    let encrypt = |bytes: &[u8]| -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as _))?;
        let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
        let mut writer = encryptor.wrap_output(armor)?;
        writer.write_all(bytes)?;
        Ok(writer.finish()?.finish()?)
    };
    let line = SecretString::from(key.to_private_key_line());
    let bytes = encrypt(line.expose_secret().as_bytes())
        .map_err(|error| PublishError::Encrypt(error.to_string()))?;
    Ok(write_new(path, &bytes, Mode::Private, disk)?)
}

/// Whether a file begins with the age header, as every file that [`write_key`] writes. `false` if
/// the file cannot be read or has more than 16 KiB.
pub fn is_private_key_file(path: &Path) -> bool {
    let bytes = unanimity_storage::read_at_most(path, MAX_KEY_BYTES);
    bytes.is_ok_and(|bytes| bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----"))
}

/// Refuses a file that is not a private key file, or on which other users have any permission.
pub fn check_private_key_file(path: &Path) -> Result<(), PublishError> {
    fs::metadata(path).map_err(StorageError::at(path))?;
    if !is_private_key_file(path) {
        return Err(PublishError::NotPrivateKey(path.to_owned()));
    }
    Ok(check_private(path)?)
}

/// Reads and decrypts a private key. The file's mode must grant nothing to other users than its
/// owner.
///
/// Fails with [`PublishError::Decrypt`] for a wrong passphrase or a damaged file, and with
/// [`PublishError::Key`] for a key of another kind than `TYPE`.
pub fn read_key<const TYPE: u8>(
    path: &Path,
    passphrase: &SecretString,
) -> Result<SigningKey<TYPE>, PublishError> {
    check_private_key_file(path)?;
    let bytes = unanimity_storage::read_at_most(path, MAX_KEY_BYTES)?;
    let decrypt = || -> Option<SecretString> {
        let identity = age::scrypt::Identity::new(passphrase.clone());
        let decryptor = Decryptor::new_buffered(ArmoredReader::new(&bytes[..])).ok()?;
        let reader = decryptor.decrypt(std::iter::once(&identity as _)).ok()?;
        std::io::read_to_string(reader).ok().map(SecretString::from)
    };
    let line = decrypt().ok_or_else(|| PublishError::Decrypt(path.to_owned()))?;
    SigningKey::from_private_key_line(line.expose_secret())
        .map_err(|source| PublishError::Key { path: path.to_owned(), source })
}
