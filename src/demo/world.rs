//! The circle: who there is, where their files are, and what can be done to them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::AbortHandle;

use super::Broken;
use crate::clock::ManualClock;
use crate::config::{Config, this_platform};
use crate::durable::{Disk, Mode};
use crate::install::{Installed, Root};
use crate::log::reader::split_bundle;
use crate::log::{LogWriter, TileStore};
use crate::net::memory::Network;
use crate::net::{Mirror, OnionAddress};
use crate::peer::{Follow, PeerNode, Polled, Polling};
use crate::publish::{self, Release};
use crate::update::{Client, Failure, Outcome, Report};
use crate::verify::roll::Limits;
use crate::verify::tile::{FULL, entries_path, width};
use crate::verify::{
    Checkpoint, CosignerSecret, Hash, Head, Log, Manifest, Name, Note, NoteSecret, Peer, PeerSet,
    Policy, Timestamp,
};

/// How many peers the circle has.
pub const PEERS: usize = 5;

/// The keys and names of a circle; the same in every copy of its world.
#[derive(Clone)]
pub struct Circle {
    /// The publisher's keys; two must sign.
    pub publishers: Vec<NoteSecret>,
    /// The log's key.
    pub log_secret: NoteSecret,
    /// The peers' keys.
    pub peer_secrets: Vec<CosignerSecret>,
    addresses: Vec<OnionAddress>,
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
            .map(|n| NoteSecret::from_seed(name(format!("publisher-{n}")), &seed()))
            .to_vec();
        let log_secret = NoteSecret::from_seed(name("log.example".into()), &seed());
        let peer_secrets = (0..PEERS)
            .map(|i| CosignerSecret::from_seed(name(PEER_NAMES[i].into()), &seed()))
            .collect();
        let addresses = (0..PEERS).map(|_| OnionAddress { key: seed(), port: 4242 }).collect();
        let origin = "log.example/releases".parse().expect("an origin");
        let log = Log { origin, key: log_secret.public() };
        Circle { publishers, log_secret, peer_secrets, addresses, log }
    }

    /// A head as the log's key signs it, true or not.
    pub fn head(&self, size: u64, root: Hash) -> Head {
        let checkpoint = Checkpoint { origin: self.log.origin.clone(), size, root };
        let note = checkpoint.sign(&self.log_secret).to_string();
        Head::open(note.as_bytes(), &self.log).expect("our own checkpoint")
    }

    /// What the client installs.
    pub fn policy(&self) -> Policy {
        let keys = self.publishers.iter().map(NoteSecret::public).collect();
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

const PEER_NAMES: [&str; PEERS] = ["alice", "bela", "carol", "dario", "elif"];

fn name(text: &str) -> Name {
    text.parse().expect("a safe name")
}

/// A circle at work below one directory:
///
/// ```text
/// log/                the publisher's log, honest
/// fork/               another one under the same key, once an attacker makes it
/// mirrors/WHO         a link: what this peer, or the client, is shown
/// peers/WHO           a peer's state
/// client/             the client's state, and the program it installs
/// ```
pub struct World {
    /// Where everything is.
    pub directory: PathBuf,
    /// The keys.
    pub circle: Circle,
    /// The hands that the caller moves.
    pub clock: ManualClock,
    /// Who can be reached.
    pub network: Network,
    /// The client's configuration.
    pub config: Config,
    /// The client's disk.
    pub disk: Disk,
    peers: Vec<Seat>,
    seed: u64,
    rng: StdRng,
}

struct Seat {
    node: Arc<PeerNode<ManualClock>>,
    server: AbortHandle,
}

/// One release to be made.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its sequence.
    pub sequence: u64,
    /// Its version.
    pub version: &'static str,
    /// Its one file.
    pub artifact: Vec<u8>,
    /// Which of the publisher's keys sign, by number.
    pub signers: Vec<usize>,
    /// How long it may be installed.
    pub good_for: Duration,
}

impl Draft {
    /// A good release: signed by two, installable for 90 days.
    pub fn new(sequence: u64, version: &'static str, artifact: &[u8]) -> Draft {
        let good_for = Duration::from_secs(90 * 24 * 3600);
        Draft { sequence, version, artifact: artifact.to_vec(), signers: vec![0, 1], good_for }
    }
}

impl World {
    /// Makes a log and a circle around it in an empty directory. Peers have polled nothing yet.
    pub fn create(directory: &Path, seed: u64, now: Timestamp) -> Result<World, Broken> {
        let circle = Circle::draw(&mut StdRng::seed_from_u64(seed));
        fs::create_dir_all(directory.join("mirrors"))?;
        let (log, origin) = (directory.join("log"), circle.log.origin.clone());
        LogWriter::init(&log, origin, circle.log_secret.clone(), Disk::default())?;
        for who in PEER_NAMES.iter().chain(&["client"]) {
            symlink("../log", directory.join("mirrors").join(who))?;
        }
        World::open(directory, circle, seed, now)
    }

    /// Copies this world, with everybody's state and none of its connections, to another directory.
    pub fn copy_to(&self, directory: &Path) -> Result<World, Broken> {
        copy_tree(&self.directory, directory)?;
        let now = crate::clock::Clock::now(&self.clock);
        World::open(directory, self.circle.clone(), self.seed, now)
    }

    fn open(directory: &Path, circle: Circle, seed: u64, now: Timestamp) -> Result<World, Broken> {
        let peers = circle.peers();
        let addresses: BTreeMap<_, _> = (circle.peer_secrets.iter())
            .map(|secret| secret.public().raw())
            .zip(circle.addresses.iter().cloned())
            .collect();
        let config = Config {
            policy: circle.policy(),
            platform: this_platform(),
            peers,
            addresses,
            mirrors: vec![Mirror::directory(directory.join("mirrors/client"))],
            limits: Limits::default(),
            ask_timeout: Duration::from_secs(1),
            polling: Polling::default(),
            pinned: None,
            install_root: directory.join("client/hello"),
            state: directory.join("client/state"),
        };
        let mut world = World {
            directory: directory.to_owned(),
            circle,
            clock: ManualClock::at(now),
            network: Network::default(),
            config,
            disk: Disk::default(),
            peers: Vec::new(),
            seed,
            rng: StdRng::seed_from_u64(seed),
        };
        for i in 0..PEERS {
            let seat = world.seat(i, Disk::default())?;
            world.peers.push(seat);
        }
        Ok(world)
    }

    fn seat(&self, peer: usize, disk: Disk) -> Result<Seat, Broken> {
        let who = PEER_NAMES[peer];
        let follow = Follow {
            log: self.circle.log.clone(),
            secret: self.circle.peer_secrets[peer].clone(),
            mirrors: vec![Mirror::directory(self.directory.join("mirrors").join(who))],
            polling: Polling::default(),
        };
        let state = self.peer_state(peer);
        let node = Arc::new(PeerNode::open(follow, &state, disk, self.clock.clone())?);
        let server = self.serve(peer, node.clone());
        Ok(Seat { node, server })
    }

    fn serve(&self, peer: usize, node: Arc<PeerNode<ManualClock>>) -> AbortHandle {
        let listener = self.network.listen(self.address(peer));
        tokio::spawn(node.answer_all(listener)).abort_handle()
    }

    /// What a peer is called.
    pub fn peer_name(peer: usize) -> &'static str {
        PEER_NAMES[peer]
    }

    /// Where a peer keeps its state.
    pub fn peer_state(&self, peer: usize) -> PathBuf {
        self.directory.join("peers").join(PEER_NAMES[peer])
    }

    /// A peer's onion address.
    pub fn address(&self, peer: usize) -> OnionAddress {
        self.circle.addresses[peer].clone()
    }

    /// A peer.
    pub fn peer(&self, peer: usize) -> &Arc<PeerNode<ManualClock>> {
        &self.peers[peer].node
    }

    /// The publisher's log.
    pub fn log_directory(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Signs a release, without logging it.
    pub fn sign(&self, draft: &Draft) -> Result<(Manifest, Note), Broken> {
        let release = Release {
            log: self.circle.log.origin.clone(),
            product: name("hello"),
            channel: name("stable"),
            sequence: draft.sequence,
            version: draft.version.parse()?,
            issued: crate::clock::Clock::now(&self.clock),
            good_for: draft.good_for,
        };
        let artifact = (this_platform(), name("hello"), draft.artifact.clone());
        let manifest = publish::manifest(release, [artifact])?;
        let mut note = Note::unsigned(&manifest.to_string())?;
        draft.signers.iter().for_each(|&key| note.sign(&self.circle.publishers[key]));
        Ok((manifest, note))
    }

    /// Signs a release and appends it to the log in `log/`, or to the attacker's in `fork/`.
    pub fn publish_to(&self, log: &str, draft: &Draft) -> Result<Manifest, Broken> {
        let (manifest, note) = self.sign(draft)?;
        let directory = self.directory.join(log);
        let secret = self.circle.log_secret.clone();
        let mut writer = LogWriter::open(&directory, secret, Disk::default())?;
        // What was forced into it is not on the writer's record; here its own checkpoint is mirror enough.
        writer.check_mirror("itself", &fs::read(directory.join("checkpoint"))?)?;
        writer.add_artifact(&draft.artifact)?;
        writer.append(&[note.to_string().into_bytes()])?;
        Ok(manifest)
    }

    /// Signs a release and appends it to the honest log.
    pub fn publish(&self, draft: &Draft) -> Result<Manifest, Broken> {
        self.publish_to("log", draft)
    }

    /// Appends any bytes at all to a log of this world, as somebody who holds the log's key can.
    pub fn force(&self, log: &str, entries: &[Vec<u8>]) -> Result<Head, Broken> {
        let directory = self.directory.join(log);
        let size = self.head_of(log)?.size();
        let mut tiles = TileStore::open(&directory, size, Mode::Public, Disk::default())?;
        let growth = tiles.grow(entries.iter().map(|entry| Hash::leaf(entry)));
        let head = self.circle.head(growth.size(), growth.root());
        tiles.commit(growth)?;
        let mut bundle = match width(size, size / FULL) {
            Some(width) => fs::read(directory.join(entries_path(size / FULL, width)))?,
            None => Vec::new(),
        };
        for (index, entry) in (size..).zip(entries) {
            bundle.extend((u16::try_from(entry.len())?).to_be_bytes());
            bundle.extend(entry);
            let held = split_bundle(&bundle).map_or(0, |entries| entries.len());
            if held as u64 == FULL || index + 1 == head.size() {
                let path = directory.join(entries_path(index / FULL, held as u16));
                fs::create_dir_all(crate::durable::parent(&path))?;
                fs::write(path, std::mem::take(&mut bundle))?;
            }
        }
        fs::write(directory.join("checkpoint"), head.note())?;
        Ok(head)
    }

    /// Copies what is in `log/` now to another directory of this world: a fork to grow, or a
    /// frozen mirror.
    pub fn copy_log(&self, to: &str) -> Result<PathBuf, Broken> {
        let directory = self.directory.join(to);
        copy_tree(&self.log_directory(), &directory)?;
        Ok(directory)
    }

    /// Shows somebody (a peer's name, or `client`) the log in a directory of this world.
    pub fn show(&self, who: &str, log: &str) -> Result<(), Broken> {
        let link = self.directory.join("mirrors").join(who);
        fs::remove_file(&link)?;
        Ok(symlink(Path::new("..").join(log), &link)?)
    }

    /// Shows every peer the log in a directory of this world.
    pub fn show_peers(&self, log: &str) -> Result<(), Broken> {
        PEER_NAMES.iter().try_for_each(|who| self.show(who, log))
    }

    /// A peer looks at its mirror.
    pub async fn poll(&mut self, peer: usize) -> Result<Polled, Broken> {
        let node = self.peers[peer].node.clone();
        Ok(node.poll(&mut self.rng).await?)
    }

    /// Every peer looks at its mirror.
    pub async fn poll_all(&mut self) -> Result<Vec<Polled>, Broken> {
        let mut polled = Vec::new();
        for peer in 0..PEERS {
            polled.push(self.poll(peer).await?);
        }
        Ok(polled)
    }

    /// Stops a peer: its address answers nobody.
    pub fn stop(&mut self, peer: usize) {
        self.peers[peer].server.abort();
    }

    /// Starts a stopped or replaced peer again; it has been awake all the time.
    pub fn start(&mut self, peer: usize) {
        self.stop(peer);
        self.peers[peer].server = self.serve(peer, self.peers[peer].node.clone());
    }

    /// Ends a peer and starts it again from what is on its disk. Whoever holds on to the old one
    /// ([`World::peer`]) has to let go first.
    pub async fn restart(&mut self, peer: usize, disk: Disk) -> Result<(), Broken> {
        let Seat { node, server } = self.peers.remove(peer);
        server.abort();
        while Arc::strong_count(&node) > 1 {
            tokio::task::yield_now().await;
        }
        drop(node);
        let seat = self.seat(peer, disk)?;
        self.peers.insert(peer, seat);
        Ok(())
    }

    /// Puts an impostor at a peer's address.
    pub fn replace<F>(
        &mut self,
        peer: usize,
        serve: impl FnOnce(crate::net::memory::MemoryListener) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stop(peer);
        let listener = self.network.listen(self.address(peer));
        self.peers[peer].server = tokio::spawn(serve(listener)).abort_handle();
    }

    /// Starts a peer again from other state, such as a backup. Whoever holds on to the old one
    /// ([`World::peer`]) has to let go first.
    pub fn restart_from(&mut self, peer: usize, backup: &Path) -> Result<(), Broken> {
        let state = self.peer_state(peer);
        self.peers[peer].server.abort();
        // The lock in the old directory goes with it.
        fs::rename(&state, state.with_extension("before"))?;
        copy_tree(backup, &state)?;
        self.peers[peer] = self.seat(peer, Disk::default())?;
        Ok(())
    }

    /// Runs one cycle of the client without installing.
    pub async fn check(&mut self) -> (Report, Result<Outcome, Failure>) {
        let config = self.config.clone();
        self.check_as(&config).await
    }

    /// Runs one cycle of some client, such as a peer's own, without installing.
    pub async fn check_as(&mut self, config: &Config) -> (Report, Result<Outcome, Failure>) {
        match Client::open(config, &self.network, &self.clock, self.disk.clone()) {
            Ok(mut client) => client.check(&mut self.rng).await,
            Err(error) => (Report::default(), Err(error.into())),
        }
    }

    /// Runs one cycle of the client and installs what it may.
    pub async fn update(&mut self) -> (Report, Result<Outcome, Failure>) {
        match Client::open(&self.config, &self.network, &self.clock, self.disk.clone()) {
            Ok(mut client) => client.update(&mut self.rng).await,
            Err(error) => (Report::default(), Err(error.into())),
        }
    }

    /// What the client has installed.
    pub fn installed(&self) -> Result<Option<Installed>, Broken> {
        Ok(Root::new(&self.config.install_root, Disk::default()).installed()?)
    }

    /// Writes what the client was told as the files that an operator would have written:
    /// `client/unanimity.toml`, `client/peers.toml`, and the log's public key in `log.pub`.
    pub fn write_config(&self) -> Result<(), Broken> {
        let (policy, log) = (&self.config.policy, &self.circle.log);
        let keys: Vec<String> =
            policy.publishers().iter().map(|key| format!("    \"{key}\",\n")).collect();
        let mirrors: Vec<String> =
            self.config.mirrors.iter().map(|mirror| format!("\"{mirror}\"")).collect();
        let node = format!(
            "[product]\nname = \"{}\"\nchannel = \"{}\"\n\n\
             [publisher]\nthreshold = {}\nkeys = [\n{}]\n\n\
             [log]\norigin = \"{}\"\nkey = \"{}\"\nmirrors = [{}]\n\n\
             [install]\nroot = \"hello\"\nstate = \"state\"\n",
            policy.product,
            policy.channel,
            policy.threshold(),
            keys.concat(),
            log.origin,
            log.key,
            mirrors.join(", "),
        );
        let mut peers = String::from("min_peers = 3\n");
        for peer in &self.config.peers {
            let address = &self.config.addresses[&peer.key.raw()];
            let (name, operator, key) = (&peer.name, &peer.operator, &peer.key);
            peers += &format!(
                "\n[[peer]]\nname = \"{name}\"\noperator = \"{operator}\"\n\
                 address = \"{address}\"\nkey = \"{key}\"\n"
            );
        }
        let key = format!("{}\n", log.key);
        for (file, text) in
            [("client/unanimity.toml", &node), ("client/peers.toml", &peers), ("log.pub", &key)]
        {
            // Not in place: a copy of this world may share the old file.
            fs::remove_file(self.directory.join(file)).ok();
            fs::write(self.directory.join(file), text)?;
        }
        Ok(())
    }

    /// The head of a log in a directory of this world.
    pub fn head_of(&self, log: &str) -> Result<Head, Broken> {
        let bytes = fs::read(self.directory.join(log).join("checkpoint"))?;
        Ok(Head::open(&bytes, &self.circle.log)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.peers.iter().for_each(|seat| seat.server.abort());
    }
}

/// Writes a file as an attacker would, who has no reason to be careful: in place of the old one.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::remove_file(path)?;
    fs::write(path, bytes)
}

/// Files larger than this, in bytes, are shared by copies until somebody replaces one.
const SHARED: u64 = 64 * 1024;

/// Copies a directory with its links, but for locks. Large files are shared: everything durable is
/// replaced, never changed in place.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
        let Some(name) = entry.file_name() else { continue };
        let target = to.join(name);
        if kind.is_symlink() {
            symlink(fs::read_link(&entry)?, target)?;
        } else if kind.is_dir() {
            copy_tree(&entry, &target)?;
        } else if name != ".lock" {
            if entry.metadata()?.len() > SHARED {
                fs::hard_link(&entry, target)?;
            } else {
                fs::copy(&entry, target)?;
            }
        }
    }
    Ok(())
}
