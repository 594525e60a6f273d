//! Random events in short worlds, checked against invariants that hold in every world.
//! A failure names the seed, which reproduces the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use unanimity_client::{CycleError, CycleOutcome};
use unanimity_net::Mirror;
use unanimity_protocol::{Hash, Refusal, Timestamp, TreeHead};
use unanimity_state::EvidenceStore;
use unanimity_storage::Storage;
use unanimity_testkit::test_world::{HOUR, MINUTE, TROJAN, TestWorld};
use unanimity_testkit::{PEERS, ReleaseSpec, World};

const STEPS: usize = 30;

/// A world, and what an observer of all logs and nodes knows of it.
struct ObservedWorld {
    world: TestWorld,
    rng: StdRng,
    /// Roots of the honest log by size, and of the fork once there is one.
    honest: BTreeMap<u64, Hash>,
    fork: Option<BTreeMap<u64, Hash>>,
    /// Artifacts of honestly published releases by sequence.
    released: BTreeMap<u64, Vec<u8>>,
    /// Since when every peer's head belongs to the fork.
    all_forked: Option<Timestamp>,
    /// The last trusted head of the client.
    trusted: Option<TreeHead>,
    /// The last head of every peer.
    heads: Vec<Option<TreeHead>>,
    /// How many frozen copies of the log exist.
    frozen: usize,
    attacker_has_keys: bool,
    /// How many updates installed an honest release.
    installed: usize,
    /// How many updates installed a trojan.
    deceived: usize,
    /// How many updates met a fork.
    forks: usize,
}

impl ObservedWorld {
    fn new(seed: u64, attacker_has_keys: bool) -> ObservedWorld {
        let mut world = TestWorld::new(seed);
        let mut rng = StdRng::seed_from_u64(seed);
        if rng.random_bool(0.5) {
            let log = Mirror::from_directory(world.log_directory());
            world.mirrors.push(log);
        }
        ObservedWorld {
            world,
            rng,
            honest: BTreeMap::from([(0, Hash::empty_root())]),
            fork: None,
            released: BTreeMap::new(),
            all_forked: None,
            trusted: None,
            heads: vec![None; PEERS],
            frozen: 0,
            attacker_has_keys,
            installed: 0,
            deceived: 0,
            forks: 0,
        }
    }

    fn next_sequence(&self) -> u64 {
        self.released.keys().last().map_or(1, |last| last + 1)
    }

    fn publish(&mut self) {
        let sequence = self.next_sequence();
        let mut artifact = format!("honest {sequence} ").into_bytes();
        artifact.extend(self.rng.next_u64().to_be_bytes());
        self.world.publish(&ReleaseSpec::new(sequence, "1.0.0", &artifact)).unwrap();
        self.released.insert(sequence, artifact);
        self.record_honest_head();
    }

    fn record_honest_head(&mut self) {
        let head = self.world.head_of("log").unwrap();
        self.honest.insert(head.size(), *head.root());
    }

    /// The name of the client or of a peer.
    fn random_client_or_peer(&mut self) -> &'static str {
        match self.rng.random_range(0..=PEERS) {
            PEERS => "client",
            peer => World::peer_name(peer),
        }
    }

    fn grow_fork(&mut self) {
        if self.fork.is_none() {
            self.world.copy_log("fork").unwrap();
            self.fork = Some(self.honest.clone());
        }
        let sequence = self.next_sequence() + self.rng.random_range(0..2);
        self.world.publish_to("fork", &ReleaseSpec::new(sequence, "1.0.0", TROJAN)).unwrap();
        let head = self.world.head_of("fork").unwrap();
        self.fork.as_mut().unwrap().insert(head.size(), *head.root());
    }

    async fn step(&mut self) {
        let peer = self.rng.random_range(0..PEERS);
        match self.rng.random_range(0..if self.attacker_has_keys { 16 } else { 14 }) {
            0 | 1 => self.publish(),
            2 => {
                // One stolen key, and rubbish.
                let sequence = self.next_sequence();
                let one =
                    ReleaseSpec { signers: vec![1], ..ReleaseSpec::new(sequence, "6.6.6", TROJAN) };
                self.world.publish(&one).unwrap();
                self.record_honest_head();
                self.world.append_unchecked("log", &[TROJAN.to_vec()]).unwrap();
                self.record_honest_head();
            }
            3 => {
                self.world.poll(peer).await.unwrap();
            }
            4 | 5 => {
                self.world.poll_all().await.unwrap();
            }
            6 => self.world.stop(peer),
            7 => (0..PEERS).for_each(|peer| self.world.start(peer)),
            8 => self.world.restart(peer, Storage::default()).await.unwrap(),
            9 => {
                self.frozen += 1;
                let old = format!("old-{}", self.frozen);
                self.world.copy_log(&old).unwrap();
                let node = self.random_client_or_peer();
                self.world.set_mirror(node, &old).unwrap();
            }
            10 => {
                let node = self.random_client_or_peer();
                self.world.set_mirror(node, "log").unwrap();
            }
            11 => {
                let wait = [MINUTE, 20 * MINUTE, HOUR][self.rng.random_range(0..3)];
                self.world.advance(wait);
            }
            12 => self.update().await,
            13 => {
                // An hour without faults.
                self.world.poll_all().await.unwrap();
                self.check();
                self.update().await;
                self.world.advance_and_poll(HOUR).await;
                self.check();
                self.update().await;
            }
            14 => self.grow_fork(),
            _ => {
                if self.fork.is_none() {
                    self.grow_fork();
                }
                // Sometimes the fork is shown to all nodes. No check can stop that.
                let share = if self.rng.random_bool(0.4) { 1.0 } else { 0.6 };
                for node in (0..PEERS).map(World::peer_name).chain(["client"]) {
                    if self.rng.random_bool(share) {
                        self.world.set_mirror(node, "fork").unwrap();
                    }
                }
            }
        }
        self.check();
    }

    async fn update(&mut self) {
        let (_, result) = self.world.update().await;
        if let Err(failure @ (CycleError::Refused(Refusal::Fork(_)) | CycleError::LogForked(_))) =
            &result
        {
            assert!(self.fork.is_some(), "an honest log: {failure}");
            self.forks += 1;
        }
        if let Ok(CycleOutcome::Installed(installed)) = result {
            let current = self.world.installed_bytes().unwrap();
            let honest = self.released.get(&installed.sequence) == Some(&current);
            let settled =
                self.all_forked.is_some_and(|since| since.after(HOUR) <= self.world.now());
            assert!(honest || settled, "installed {}", installed.release);
            *(if honest { &mut self.installed } else { &mut self.deceived }) += 1;
        }
    }

    fn is_honest(&self, head: &TreeHead) -> bool {
        self.honest.get(&head.size()) == Some(head.root())
    }

    fn is_forked(&self, head: &TreeHead) -> bool {
        self.fork.as_ref().is_some_and(|fork| fork.get(&head.size()) == Some(head.root()))
    }

    fn check(&mut self) {
        let size = |head: &Option<TreeHead>| head.as_ref().map_or(0, TreeHead::size);
        // Every trusted head was served by a log, grows, and stays in the honest log or in the
        // fork.
        let heads: Vec<_> = (0..PEERS).map(|peer| self.world.peer(peer).head()).collect();
        let trusted = self.world.trusted_head();
        let before = self.heads.iter().chain([&self.trusted]);
        for (before, now) in before.zip(heads.iter().chain([&trusted])) {
            assert!(size(before) <= size(now));
            let (Some(before), Some(now)) = (before, now) else { continue };
            assert!(self.is_honest(now) || self.is_forked(now));
            assert!(self.is_honest(before) || !self.is_honest(now), "left the fork");
            assert!(
                self.is_forked(before)
                    || self.fork.is_none()
                    || !self.is_forked(now)
                    || self.is_honest(now)
            );
        }
        let forked =
            |head: &Option<TreeHead>| head.as_ref().is_some_and(|head| !self.is_honest(head));
        if heads.iter().all(forked) && self.all_forked.is_none() {
            self.all_forked = Some(self.world.now());
        }
        // An honest log never yields evidence.
        if self.fork.is_none() {
            let states = (0..PEERS).map(|peer| self.world.peer_state(peer));
            for state in states.chain([self.world.config.cycle.state.clone()]) {
                let store = EvidenceStore::new(&state, &self.world.keys.log, Storage::default());
                assert_eq!(store.list().unwrap(), []);
            }
        }
        if let Some(current) = self.world.installed_bytes() {
            let honest: BTreeSet<_> = self.released.values().collect();
            assert!(honest.contains(&current) || self.all_forked.is_some());
        }
        (self.heads, self.trusted) = (heads, trusted);
    }

    /// Without a fork, the newest release installs once all peers are up and see the log.
    async fn check_recovery(&mut self) {
        if self.released.is_empty() {
            self.publish();
        }
        (0..PEERS).for_each(|peer| self.world.start(peer));
        self.world.set_mirror("client", "log").unwrap();
        self.world.set_peer_mirrors("log").unwrap();
        for wait in [Duration::ZERO, HOUR] {
            self.world.advance_and_poll(wait).await;
            self.update().await;
            self.check();
        }
        assert_eq!(self.world.installed_bytes(), self.released.values().last().cloned());
    }
}

/// Plays worlds. Returns how many updates installed an honest release, installed a trojan, or met a
/// fork.
async fn run_worlds(seeds: std::ops::Range<u64>, attacker_has_keys: bool) -> [usize; 3] {
    let mut counts = [0; 3];
    for seed in seeds {
        println!("world {seed}");
        let mut world = ObservedWorld::new(seed, attacker_has_keys);
        world.check_recovery().await;
        for _ in 0..STEPS {
            world.step().await;
        }
        if !attacker_has_keys {
            world.check_recovery().await;
        }
        let counted = [world.installed, world.deceived, world.forks];
        counts.iter_mut().zip(counted).for_each(|(count, more)| *count += more);
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn honest_log_installs_releases_and_yields_no_evidence() {
    let [installed, ..] = run_worlds(1000..1016, false).await;
    assert!(installed >= 32);
}

#[tokio::test(start_paused = true)]
async fn fork_installs_only_after_deceiving_every_peer_for_settle() {
    let counts = run_worlds(2000..2032, true).await;
    println!("{counts:?}");
    // All three happen, so the claim is tested.
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
