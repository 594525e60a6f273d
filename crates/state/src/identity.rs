//! Who this node is to its peers: the key of its views, and the key by which it finds them.
//!
//! Both are made at first use, in the peer role's own directory, and live and die with the head
//! that is kept there: a peer that forgot its head must not go on cosigning with its old key.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use unanimity_config::ClientAuthSecret;
use unanimity_protocol::CosignatureSigningKey;
use unanimity_protocol::key::KeyName;
use unanimity_report::{Classify, Exit};
use unanimity_storage::{Mode, PrivateFileError, Storage, StorageError};

/// A node's two keys. `Debug` shows the name only.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What its views are cosigned with.
    pub cosigning_key: CosignatureSigningKey,
    /// What it finds its peers' services with.
    pub client_auth: ClientAuthSecret,
}

/// The node's own keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk, or a damaged file.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is not private.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The configuration says another name than the key bears.
    #[error(
        "{}: this node's key bears the name {bears}, and [serve] name is {named}: its peers know it by the former, so write that",
        path.display()
    )]
    Renamed {
        /// The file.
        path: PathBuf,
        /// The name in it.
        bears: KeyName,
        /// The name in the configuration.
        named: KeyName,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    version: u32,
    view: String,
    discovery: String,
}

const MAX_FILE_BYTES: usize = 4096;

impl Identity {
    /// Draws both keys from a secure generator.
    pub fn generate(name: KeyName, rng: &mut impl CryptoRng) -> Identity {
        let mut seeds = [[0; 32]; 2];
        seeds.iter_mut().for_each(|seed| rng.fill_bytes(seed));
        Identity {
            cosigning_key: CosignatureSigningKey::from_seed(name, &seeds[0]),
            client_auth: ClientAuthSecret::from_seed(seeds[1]),
        }
    }

    /// The identity in a node's state, made now if there is none yet.
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
            // Another process made it a moment ago.
            Err(IdentityError::File(PrivateFileError::Exists(_))) => {
                Identity::open(state, name, rng, disk)
            }
            written => written.map(|()| identity),
        }
    }

    /// The identity in a node's state, if it has one.
    pub fn read(state: &Path) -> Result<Option<Identity>, IdentityError> {
        let path = Identity::path(state);
        let Some(bytes) = unanimity_storage::read(&path, MAX_FILE_BYTES)? else { return Ok(None) };
        unanimity_storage::check_private(&path)?;
        let remedy = "restore it from a backup together with the directory it is in; without one, remove that directory and pair anew";
        let damaged = || StorageError::Corrupt { path: path.clone(), remedy };
        let file: IdentityFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let cosigning_key =
            CosignatureSigningKey::from_private_key_line(&file.view).map_err(|_| damaged())?;
        let client_auth =
            BASE64.decode(file.discovery.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
        match client_auth {
            Some(seed) if file.version == 1 => {
                Ok(Some(Identity { cosigning_key, client_auth: ClientAuthSecret::from_seed(seed) }))
            }
            _ => Err(damaged().into()),
        }
    }

    /// Writes it into a node's state, where there must be none yet.
    pub fn write(&self, state: &Path, disk: &Storage) -> Result<(), IdentityError> {
        let path = Identity::path(state);
        let directory = unanimity_storage::parent(&path);
        disk.make_dir(directory, Mode::Private).map_err(StorageError::at(directory))?;
        let file = IdentityFile {
            version: 1,
            view: self.cosigning_key.to_private_key_line(),
            discovery: BASE64.encode(self.client_auth.as_bytes()),
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
