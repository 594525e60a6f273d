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
pub struct Circle {
    /// The publisher's keys; two must sign.
    pub publishers: Vec<NoteSigningKey>,
    /// The log's key.
    pub log_secret: NoteSigningKey,
    /// The peers' keys.
    pub peer_secrets: Vec<CosignatureSigningKey>,
    /// The log.
    pub log: Log,
}

impl Circle {
    /// Draws all keys.
    pub fn draw(rng: &mut StdRng) -> Circle {
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
        Circle { publishers, log_secret, peer_secrets, log }
    }

    /// A head as the log's key signs it, true or not.
    pub fn head(&self, size: u64, root: Hash) -> TreeHead {
        let checkpoint = Checkpoint { origin: self.log.origin.clone(), size, root };
        let note = checkpoint.sign(&self.log_secret).to_string();
        TreeHead::verify(note.as_bytes(), &self.log).expect("our own checkpoint")
    }

    /// What the client installs.
    pub fn policy(&self) -> Policy {
        let keys = self.publishers.iter().map(NoteSigningKey::public).collect();
        Policy::new(name("hello"), name("stable"), self.log.clone(), keys, 2)
            .expect("distinct keys, two of three")
    }

    /// The peers as the client knows them.
    pub fn peers(&self) -> PeerSet {
        let peers = self.peer_secrets.iter().zip(PEER_NAMES).map(|(secret, peer)| Peer {
            name: name(peer),
            operator: name(peer),
            key: secret.public(),
        });
        PeerSet::new(peers.collect(), 3).expect("five distinct peers")
    }
}

/// A name of ours.
pub fn name(text: &str) -> Name {
    text.parse().expect("a safe name")
}
