//! Names and keys of a publisher, a log and five peers.

use rand::Rng as _;
use rand::rngs::StdRng;
use unanimity_protocol::{
    Checkpoint, CosignatureSigningKey, Hash, Log, Name, NoteSigningKey, Peer, PeerSet, Policy,
    TreeHead,
};

/// The number of peers in a fixture.
pub const PEERS: usize = 5;
/// The peers' names.
pub const PEER_NAMES: [&str; PEERS] = ["alice", "bela", "carol", "dario", "elif"];

/// The secret keys of a fixture. Copies of a fixture have the same keys.
#[derive(Clone)]
pub struct FixtureKeys {
    /// The publisher's three keys. Two of them must sign.
    pub publisher_keys: Vec<NoteSigningKey>,
    /// The log's key.
    pub log_key: NoteSigningKey,
    /// The peers' keys.
    pub peer_keys: Vec<CosignatureSigningKey>,
    /// The log's origin and public key.
    pub log: Log,
}

impl FixtureKeys {
    /// Generates all keys from `rng`.
    pub fn generate(rng: &mut StdRng) -> FixtureKeys {
        let mut seed = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        let name = |text: String| text.parse().expect("a key name");
        let publisher_keys = ["a", "b", "c"]
            .map(|n| NoteSigningKey::from_seed(name(format!("publisher-{n}")), &seed()))
            .to_vec();
        let log_key = NoteSigningKey::from_seed(name("log.example".into()), &seed());
        let peer_keys = (0..PEERS)
            .map(|i| CosignatureSigningKey::from_seed(name(PEER_NAMES[i].into()), &seed()))
            .collect();
        let origin = "log.example/releases".parse().expect("an origin");
        let log = Log { origin, key: log_key.public() };
        FixtureKeys { publisher_keys, log_key, peer_keys, log }
    }

    /// Signs any size and root with the log's key, as a log operator could.
    pub fn sign_head(&self, size: u64, root: Hash) -> TreeHead {
        let checkpoint = Checkpoint { origin: self.log.origin.clone(), size, root };
        let note = checkpoint.sign(&self.log_key).to_string();
        TreeHead::verify(note.as_bytes(), &self.log).expect("our own checkpoint")
    }

    /// Returns the client's policy: product `hello`, channel `stable`, two of three keys.
    pub fn policy(&self) -> Policy {
        let keys = self.publisher_keys.iter().map(NoteSigningKey::public).collect();
        Policy::new(parse_name("hello"), parse_name("stable"), self.log.clone(), keys, 2)
            .expect("distinct keys, two of three")
    }

    /// Returns the client's counted peers, with `min_peers` 3.
    pub fn peers(&self) -> PeerSet {
        let peers = self.peer_keys.iter().zip(PEER_NAMES).map(|(secret, peer)| Peer {
            name: parse_name(peer),
            operator: parse_name(peer),
            key: secret.public(),
        });
        PeerSet::new(peers.collect(), 3).expect("five distinct peers")
    }
}

/// Parses a name. Panics if it is not valid.
pub fn parse_name(text: &str) -> Name {
    text.parse().expect("a safe name")
}
