//! Who there is: a publisher, a log, five peers. Their names and their keys.

use rand::Rng as _;
use rand::rngs::StdRng;
use unanimity_protocol::{
    Checkpoint, CosignatureSigningKey, Hash, Log, Name, NoteSigningKey, Peer, PeerSet, Policy,
    TreeHead,
};

/// How many peers the circle has.
pub const PEERS: usize = 5;
/// What they are called.
pub const PEER_NAMES: [&str; PEERS] = ["alice", "bela", "carol", "dario", "elif"];

/// The keys and names of a circle; the same in every copy of its world.
#[derive(Clone)]
pub struct FixtureKeys {
    /// The publisher's keys; two must sign.
    pub publisher_keys: Vec<NoteSigningKey>,
    /// The log's key.
    pub log_key: NoteSigningKey,
    /// The peers' keys.
    pub peer_keys: Vec<CosignatureSigningKey>,
    /// The log.
    pub log: Log,
}

impl FixtureKeys {
    /// Draws all keys.
    pub fn generate(rng: &mut StdRng) -> FixtureKeys {
        let mut seed = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        let name = |text: String| text.parse().expect("a key name");
        let publishers = ["a", "b", "c"]
            .map(|n| NoteSigningKey::from_seed(name(format!("publisher-{n}")), &seed()))
            .to_vec();
        let log_secret = NoteSigningKey::from_seed(name("log.example".into()), &seed());
        let peer_secrets = (0..PEERS)
            .map(|i| CosignatureSigningKey::from_seed(name(PEER_NAMES[i].into()), &seed()))
            .collect();
        let origin = "log.example/releases".parse().expect("an origin");
        let log = Log { origin, key: log_secret.public() };
        FixtureKeys {
            publisher_keys: publishers,
            log_key: log_secret,
            peer_keys: peer_secrets,
            log,
        }
    }

    /// A head as the log's key signs it, true or not.
    pub fn sign_head(&self, size: u64, root: Hash) -> TreeHead {
        let checkpoint = Checkpoint { origin: self.log.origin.clone(), size, root };
        let note = checkpoint.sign(&self.log_key).to_string();
        TreeHead::verify(note.as_bytes(), &self.log).expect("our own checkpoint")
    }

    /// What the client installs.
    pub fn policy(&self) -> Policy {
        let keys = self.publisher_keys.iter().map(NoteSigningKey::public).collect();
        Policy::new(parse_name("hello"), parse_name("stable"), self.log.clone(), keys, 2)
            .expect("distinct keys, two of three")
    }

    /// The peers as the client knows them.
    pub fn peers(&self) -> PeerSet {
        let peers = self.peer_keys.iter().zip(PEER_NAMES).map(|(secret, peer)| Peer {
            name: parse_name(peer),
            operator: parse_name(peer),
            key: secret.public(),
        });
        PeerSet::new(peers.collect(), 3).expect("five distinct peers")
    }
}

/// A name of ours.
pub fn parse_name(text: &str) -> Name {
    text.parse().expect("a safe name")
}
