//! The identity of a node: the key that cosigns its heads, and the key for client authorization.
//!
//! Both keys are generated at the first use, in the directory of the witness. The witness's head is
//! in the same directory, so that keys and head are lost together: a witness that has lost its head
//! must not cosign with its old key.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use unanimity_config::ClientAuthSecret;
use unanimity_protocol::CosignatureSigningKey;
use unanimity_protocol::key::KeyName;
use unanimity_report::{Classify, Exit};
use unanimity_storage::{Mode, PrivateFileError, Storage, StorageError};

/// The two private keys of a node. `Debug` shows no key bytes.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The key that cosigns the heads of this node.
    pub cosigning_key: CosignatureSigningKey,
    /// The key with which this node finds the onion services of its peers (Tor client
    /// authorization).
    pub client_auth: ClientAuthSecret,
}

/// The reason why the node's own keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written, or is damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Other users can read the file, or it exists already.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The configured name of the node is not the name in its cosigning key.
    #[error(
        "{}: this node's key has the name {bears}, but [serve] name is {named}. \
         Set it to {bears}: the peers know that name",
        path.display()
    )]
    Renamed {
        /// The file of the keys.
        path: PathBuf,
        /// The name in the cosigning key.
        bears: KeyName,
        /// The name in the configuration.
        named: KeyName,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    version: u32,
    cosigning_key: String,
    client_auth: String,
}

const MAX_FILE_BYTES: usize = 4096;

impl Identity {
    /// Generates both keys with the secure random generator `rng`.
    pub fn generate(name: KeyName, rng: &mut impl CryptoRng) -> Identity {
        let mut seeds = [[0; 32]; 2];
        seeds.iter_mut().for_each(|seed| rng.fill_bytes(seed));
        Identity {
            cosigning_key: CosignatureSigningKey::from_seed(name, &seeds[0]),
            client_auth: ClientAuthSecret::from_seed(seeds[1]),
        }
    }

    /// Reads the identity from the state directory of a node. Generates and stores an identity if
    /// there is none.
    ///
    /// Fails with [`IdentityError::Renamed`] if the stored key has another name than `name`.
    pub fn open(
        state: &Path,
        name: &KeyName,
        rng: &mut impl CryptoRng,
        disk: &Storage,
    ) -> Result<Identity, IdentityError> {
        if let Some(identity) = Identity::read(state)? {
            let public = identity.cosigning_key.public();
            if public.name() != name {
                let (path, bears) = (Identity::path(state), public.name().clone());
                return Err(IdentityError::Renamed { path, bears, named: name.clone() });
            }
            return Ok(identity);
        }
        let identity = Identity::generate(name.clone(), rng);
        match identity.write(state, disk) {
            // Another process created the file in the meantime.
            Err(IdentityError::File(PrivateFileError::Exists(_))) => {
                Identity::open(state, name, rng, disk)
            }
            written => written.map(|()| identity),
        }
    }

    /// Reads the identity from the state directory of a node. `None` if there is none.
    pub fn read(state: &Path) -> Result<Option<Identity>, IdentityError> {
        let path = Identity::path(state);
        let Some(bytes) = unanimity_storage::read(&path, MAX_FILE_BYTES)? else { return Ok(None) };
        unanimity_storage::check_private(&path)?;
        let remedy = "restore its whole directory from a backup. \
                      Without a backup, remove the directory and pair with all peers again";
        let damaged = || StorageError::Corrupt { path: path.clone(), remedy };
        let file: IdentityFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let cosigning_key = CosignatureSigningKey::from_private_key_line(&file.cosigning_key)
            .map_err(|_| damaged())?;
        let client_auth =
            BASE64.decode(file.client_auth.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        match client_auth {
            Some(seed) if file.version == 1 => {
                Ok(Some(Identity { cosigning_key, client_auth: ClientAuthSecret::from_seed(seed) }))
            }
            _ => Err(damaged().into()),
        }
    }

    /// Stores the identity in the state directory of a node, which must not have one yet.
    pub fn write(&self, state: &Path, disk: &Storage) -> Result<(), IdentityError> {
        let path = Identity::path(state);
        let directory = unanimity_storage::parent(&path);
        disk.make_dir(directory, Mode::Private).map_err(StorageError::at(directory))?;
        let file = IdentityFile {
            version: 1,
            cosigning_key: self.cosigning_key.to_private_key_line(),
            client_auth: BASE64.encode(self.client_auth.as_bytes()),
        };
        let text = serde_json::to_string(&file).expect("two lines of text");
        Ok(unanimity_storage::write_new(&path, text.as_bytes(), Mode::Private, disk)?)
    }

    fn path(state: &Path) -> PathBuf {
        state.join("peer").join("identity.json")
    }
}

impl Classify for IdentityError {
    fn exit(&self) -> Exit {
        match self {
            IdentityError::Storage(_) => Exit::Disk,
            IdentityError::File(_) | IdentityError::Renamed { .. } => Exit::Key,
        }
    }
}
