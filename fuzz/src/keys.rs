//! Fixed keys of a log, three publishers, of which two must sign, and three peers.

use std::sync::LazyLock;

use unanimity_protocol::{
    CosignatureSigningKey, Log, NoteSigningKey, Peer, PeerSet, Policy, Timestamp,
};

/// The time of all checks.
pub const NOW: Timestamp = Timestamp(1_790_000_000);
/// The log's origin.
pub const ORIGIN: &str = "example.org/log";
/// The peers' names.
pub const PEER_NAMES: [&str; 3] = ["alice", "bela", "carol"];

/// All keys, and the policy and peers that use them.
pub struct Keys {
    /// The log's key.
    pub log_secret: NoteSigningKey,
    /// The publishers' keys.
    pub publishers: Vec<NoteSigningKey>,
    /// The peers' keys.
    pub peer_secrets: Vec<CosignatureSigningKey>,
    /// The log's origin and public key.
    pub log: Log,
    /// The policy of a client.
    pub policy: Policy,
    /// The peers that have to confirm.
    pub peers: PeerSet,
}

/// The keys, generated once.
pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let secret = |name: &str, seed| {
        NoteSigningKey::from_seed(name.parse().expect("a key's name"), &[seed; 32])
    };
    let log_secret = secret("log.example", 10);
    let publishers =
        vec![secret("publisher-a", 11), secret("publisher-b", 12), secret("publisher-c", 13)];
    let cosigner = |(i, name): (usize, &str)| {
        CosignatureSigningKey::from_seed(name.parse().expect("a key's name"), &[20 + i as u8; 32])
    };
    let peer_secrets: Vec<CosignatureSigningKey> =
        PEER_NAMES.into_iter().enumerate().map(cosigner).collect();
    let log = Log { origin: ORIGIN.parse().expect("an origin"), key: log_secret.public() };
    let name = |text: &str| text.parse().expect("a name");
    let keys = publishers.iter().map(NoteSigningKey::public).collect();
    let policy = Policy::new(name("hello"), name("stable"), log.clone(), keys, 2);
    let peers = PEER_NAMES.iter().zip(&peer_secrets).map(|(peer, secret)| Peer {
        name: name(peer),
        operator: name(peer),
        key: secret.public(),
    });
    Keys {
        peers: PeerSet::new(peers.collect(), 3).expect("three peers"),
        policy: policy.expect("two of three keys"),
        log_secret,
        publishers,
        peer_secrets,
        log,
    }
});
