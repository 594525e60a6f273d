//! Claims about a witness: it answers from its own verified state only, within limits.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, timeout};
use unanimity_config::PollingSettings;
use unanimity_log::{TileReader, TileSource};
use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES, Question};
use unanimity_net::{Mirror, Transport as _};
use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_protocol::{CosignedHead, Evidence, Hash, Tile, Timestamp, TreeHead};
use unanimity_storage::{Clock, ManualClock, Storage, WriteStep};
use unanimity_testkit::World;
use unanimity_testkit::test_world::{
    HOUR, MINUTE, SECOND, TROJAN, TestWorld, read_files, release_spec,
};
use unanimity_witness::{PollOutcome, Witness, WitnessConfig, WitnessError};

/// The configuration of a witness with peer 0's key and these mirrors.
fn witness_config(world: &World, mirrors: &[&str]) -> WitnessConfig {
    WitnessConfig {
        log: world.keys.log.clone(),
        signing_key: world.keys.peer_keys[0].clone(),
        mirrors: mirrors.iter().map(|m| Mirror::from_directory(world.directory.join(m))).collect(),
        polling: PollingSettings::default(),
    }
}

fn open(world: &World, mirrors: &[&str], state: &Path, disk: Storage) -> Witness<ManualClock> {
    Witness::open(witness_config(world, mirrors), state, disk, world.clock.clone()).unwrap()
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn ask_head(node: &Witness<impl Clock>, world: &World) -> Answer {
    node.answer(Question::CosignedHead(world.keys.log.id())).unwrap()
}

fn verified_head(answer: Answer, world: &World) -> CosignedHead {
    match answer {
        Answer::CosignedHead(note) => {
            let key = world.keys.peer_keys[0].public();
            CosignedHead::verify(note.as_bytes(), &world.keys.log, &key).unwrap()
        }
        other => panic!("no cosigned head: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn witness_fetches_nothing_because_of_a_question() {
    let mut world = TestWorld::new(10);
    world.publish(&release_spec(1)).unwrap();
    world.poll_all().await.unwrap();
    let before = (read_files(&world.peer_state(0)), world.peer(0).head());
    world.publish(&release_spec(2)).unwrap();
    let log = world.keys.log.id();
    for _ in 0..3 {
        assert_eq!(verified_head(world.ask_for_head(0).await, &world).head().size(), 1);
        world.ask(0, Question::Tile(log, Tile { level: 0, index: 0, width: 2 })).await;
    }
    assert_eq!((read_files(&world.peer_state(0)), world.peer(0).head()), before);
    // An answer needs no mirror.
    world.set_mirror(World::peer_name(0), "nowhere").unwrap();
    assert_eq!(verified_head(world.ask_for_head(0).await, &world).head().size(), 1);
}

#[tokio::test(start_paused = true)]
async fn witness_neither_adopts_nor_cosigns_heads_of_peers() {
    let mut world = TestWorld::new(11);
    world.publish(&release_spec(1)).unwrap();
    world.poll_all().await.unwrap();
    world.copy_log("old").unwrap();
    world.set_mirror(World::peer_name(0), "old").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    // The client of the same node gets the larger head from four peers, and adopts it.
    let mut config = world.config.clone();
    config.cycle.state = world.peer_state(0);
    config.cycle.install_root = world.directory.join("elsewhere");
    let (report, _) = {
        let mirrors = world.mirrors.clone();
        world.check_with(&config, &mirrors).await
    };
    assert_eq!(report.head.unwrap().size(), 2);
    assert_eq!(world.peer(0).head().unwrap().size(), 1);
    assert_eq!(verified_head(world.ask_for_head(0).await, &world).head().size(), 1);
    world.restart(0, Storage::default()).await.unwrap();
    world.poll(0).await.unwrap();
    assert_eq!(verified_head(world.ask_for_head(0).await, &world).head().size(), 1);
}

#[tokio::test(start_paused = true)]
async fn poll_skips_a_mirror_with_bad_tiles() {
    let world = TestWorld::new(12);
    world.publish(&release_spec(1)).unwrap();
    world.publish(&release_spec(2)).unwrap();
    let bad = world.copy_log("bad").unwrap();
    let tile = bad.join("tile/0/000.p/2");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();

    let alone = open(&world, &["bad"], &world.scratch_path("alone"), Storage::default());
    assert_eq!(alone.poll(&mut rng()).await.unwrap(), PollOutcome::NoFreshHead);
    assert_eq!(alone.head(), None);
    assert!(matches!(ask_head(&alone, &world), Answer::NoFreshHead(_)));

    let log = world.head_of("log").unwrap();
    for seed in 0..8 {
        let state = world.scratch_path(&format!("both-{seed}"));
        let both = open(&world, &["bad", "log", "missing"], &state, Storage::default());
        let polled = both.poll(&mut StdRng::seed_from_u64(seed)).await.unwrap();
        assert_eq!(polled, PollOutcome::Fresh(log.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn poll_queries_the_next_mirror_beside_a_slow_one() {
    let world = TestWorld::new(13);
    let entries: Vec<Vec<u8>> = (0..20_000_u32).map(|i| i.to_be_bytes().to_vec()).collect();
    let head = world.append_unchecked("log", &entries).unwrap();
    let log = world.log_directory();
    // Each tile arrives just before its timeout, and the last one is wrong.
    let slow = Mirror::from_async_fn("slow", move |path| {
        let (bytes, path) = (fs::read(log.join(path)), path.to_owned());
        Box::pin(async move {
            let mut bytes = bytes?;
            if path != "checkpoint" {
                tokio::time::sleep(59 * SECOND).await;
            }
            if path.contains(".p/") {
                bytes[0] ^= 1;
            }
            Ok(bytes)
        })
    });
    for seed in 0..4 {
        let mirrors = vec![slow.clone(), Mirror::from_directory(world.log_directory())];
        let config = WitnessConfig { mirrors, ..witness_config(&world, &[]) };
        let state = world.scratch_path(&format!("node-{seed}"));
        let node = Witness::open(config, &state, Storage::default(), world.clock.clone()).unwrap();
        let began = Instant::now();
        let polled = node.poll(&mut StdRng::seed_from_u64(seed)).await.unwrap();
        assert_eq!(polled, PollOutcome::Fresh(head.clone()));
        assert!(began.elapsed() <= MINUTE, "seed {seed}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn poll_ignores_a_checkpoint_without_the_logs_signature() {
    let world = TestWorld::new(13);
    world.publish(&release_spec(1)).unwrap();
    let forged = world.copy_log("forged").unwrap().join("checkpoint");
    let note = fs::read_to_string(&forged).unwrap();
    for bytes in [note.replace("\n1\n", "\n2\n"), note.replace("log.example ", "other "), "".into()]
    {
        fs::write(&forged, bytes).unwrap();
        let node = open(&world, &["forged"], &world.scratch_path("node"), Storage::default());
        assert_eq!(node.poll(&mut rng()).await.unwrap(), PollOutcome::NoFreshHead);
        assert_eq!(node.head(), None);
    }
}

/// Write steps of opening a witness: syncing its directory and the directory above.
const OPEN_STEPS: usize = 2;

/// A storage that fails every write step from the `n`th on after opening.
fn storage_failing_from(n: usize) -> (Storage, Arc<AtomicUsize>) {
    let steps = Arc::new(AtomicUsize::new(0));
    let count = steps.clone();
    let disk = Storage::with_hook(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        step if step < n + OPEN_STEPS => Ok(()),
        _ => Err(io::Error::from(io::ErrorKind::StorageFull)),
    });
    (disk, steps)
}

#[tokio::test(start_paused = true)]
async fn head_is_durable_before_it_is_cosigned() {
    let world = TestWorld::new(14);
    world.publish(&release_spec(1)).unwrap();
    let state = world.scratch_path("node");
    let node = open(&world, &["log"], &state, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    drop(node);
    world.publish(&release_spec(2)).unwrap();
    let renamed = AtomicUsize::new(0);
    let full = move |step: &WriteStep| match step {
        WriteStep::Rename(path) if path.ends_with("head") => {
            renamed.store(1, Ordering::SeqCst);
            Ok(())
        }
        WriteStep::SyncDir(path)
            if path.ends_with("peer") && renamed.load(Ordering::SeqCst) > 0 =>
        {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        _ => Ok(()),
    };
    let node = open(&world, &["log"], &state, Storage::with_hook(full));
    assert!(matches!(node.poll(&mut rng()).await, Err(WitnessError::Disk(_))));
    assert!(matches!(ask_head(&node, &world), Answer::NoFreshHead(_)));
    assert_eq!(node.head().unwrap().size(), 1);
    drop(node);
    // After a restart, the witness has the head that is on the disk.
    let node = open(&world, &["log"], &state, Storage::default());
    let stored =
        TreeHead::verify(&fs::read(state.join("peer/head")).unwrap(), &world.keys.log).unwrap();
    assert_eq!(node.head(), Some(stored));
}

#[tokio::test(start_paused = true)]
async fn poll_succeeds_after_a_failed_write() {
    let world = TestWorld::new(15);
    world.publish(&release_spec(1)).unwrap();
    let state = world.scratch_path("node");
    let full = Arc::new(Mutex::new(false));
    let flag = full.clone();
    let disk = Storage::with_hook(move |step| match step {
        WriteStep::Create(path) if path.ends_with("head") && *flag.lock().unwrap() => {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        _ => Ok(()),
    });
    let node = open(&world, &["log"], &state, disk);
    node.poll(&mut rng()).await.unwrap();
    world.publish(&release_spec(2)).unwrap();
    *full.lock().unwrap() = true;
    node.poll(&mut rng()).await.unwrap_err();
    assert_eq!(verified_head(ask_head(&node, &world), &world).head().size(), 1);
    let log = world.keys.log.id();
    let beyond = Question::Tile(log, Tile { level: 0, index: 0, width: 2 });
    assert_eq!(node.answer(beyond).unwrap(), Answer::NoTile);
    *full.lock().unwrap() = false;
    let head = world.head_of("log").unwrap();
    assert_eq!(node.poll(&mut rng()).await.unwrap(), PollOutcome::Fresh(head));
}

#[tokio::test(start_paused = true)]
async fn witness_killed_in_a_poll_has_a_head_with_all_its_tiles() {
    let world = TestWorld::new(16);
    let entries = |n: u64| (0..n).map(|i| vec![i as u8; 3]).collect::<Vec<_>>();
    // The growth crosses a tile boundary and adds a level to the tree.
    world.append_unchecked("log", &entries(200)).unwrap();
    world.copy_log("early").unwrap();
    world.append_unchecked("log", &entries(100)).unwrap();
    let (early, late) = (world.head_of("early").unwrap(), world.head_of("log").unwrap());
    let start = world.scratch_path("start");
    let node = open(&world, &["early"], &start, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    drop(node);

    let mut advanced = Vec::new();
    for n in 0.. {
        let state = world.scratch_path(&format!("killed-{n}"));
        unanimity_testkit::copy_tree(&start, &state).unwrap();
        let (disk, _) = storage_failing_from(n);
        let node = open(&world, &["log"], &state, disk);
        let done = node.poll(&mut rng()).await.is_ok();
        drop(node);
        let node = open(&world, &["log"], &state, Storage::default());
        let head = node.head().unwrap();
        assert!(head == early || head == late, "killed at step {n}: {head}");
        // All tiles below the head are served.
        let cached = TileReader::new(AnsweredTiles { node: &node, log: world.keys.log.id() });
        assert!(cached.matches_head(&head).await, "killed at step {n}");
        advanced.push(head == late);
        assert_eq!(
            node.poll(&mut rng()).await.unwrap(),
            PollOutcome::Fresh(late.clone()),
            "step {n}"
        );
        if done {
            break;
        }
    }
    assert!(advanced.is_sorted() && advanced.len() > 10, "{advanced:?}");
}

/// The tiles of a witness, from its answers to questions.
struct AnsweredTiles<'a, C> {
    node: &'a Witness<C>,
    log: LogId,
}

impl<C: Clock> TileSource for AnsweredTiles<'_, C> {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        match self.node.answer(Question::Tile(self.log, tile)) {
            Ok(Answer::Tile(bytes)) => Ok(bytes),
            other => Err(io::Error::other(format!("{other:?}"))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn witness_serves_exactly_the_tiles_of_its_head() {
    let world = TestWorld::new(17);
    let leaves: Vec<Vec<u8>> = (0..600u32).map(|i| i.to_be_bytes().to_vec()).collect();
    let head = world.append_unchecked("log", &leaves).unwrap();
    let node = open(&world, &["log"], &world.scratch_path("node"), Storage::default());
    node.poll(&mut rng()).await.unwrap();
    let log = world.keys.log.id();
    let ask = |level, index, width| {
        node.answer(Question::Tile(log, Tile { level, index, width })).unwrap()
    };
    for index in 0..4 {
        for width in [0, 1, 87, 88, 89, 255, 256, 257, u16::MAX] {
            let first = index * TILE_WIDTH;
            let implied = (1..=256).contains(&width) && first + u64::from(width) <= head.size();
            let leaves = (first..first + u64::from(width)).map(|i| leaves.get(i as usize));
            let hashes = leaves.flatten().flat_map(|leaf| Hash::leaf(leaf).0).collect();
            let expected = if implied { Answer::Tile(hashes) } else { Answer::NoTile };
            assert_eq!(ask(0, index, width), expected, "tile {index}, width {width}");
        }
    }
    assert!(matches!(ask(1, 0, 1), Answer::Tile(_)));
    assert!(matches!(ask(1, 0, 2), Answer::Tile(_)));
    for (level, index) in [(1, 1), (2, 0), (7, 0), (8, 0), (63, 0), (64, 0), (255, u64::MAX)] {
        assert_eq!(ask(level, index, 1), Answer::NoTile, "level {level}, index {index}");
    }
    assert_eq!(ask(0, u64::MAX, 1), Answer::NoTile);
    assert_eq!(ask(1, 0, 3), Answer::NoTile);
    assert!(TileReader::new(AnsweredTiles { node: &node, log }).matches_head(&head).await);
    let other = LogId([7; 32]);
    assert_eq!(node.answer(Question::CosignedHead(other)).unwrap(), Answer::OtherLog);
    let tile = Tile { level: 0, index: 0, width: 1 };
    assert_eq!(node.answer(Question::Tile(other, tile)).unwrap(), Answer::OtherLog);
}

#[tokio::test(start_paused = true)]
async fn witness_has_a_fresh_head_only_after_a_recent_poll() {
    let mut world = TestWorld::new(18);
    world.publish(&release_spec(1)).unwrap();
    let start = world.now();
    assert_eq!(world.ask_for_head(0).await, Answer::NoFreshHead(start.0));
    world.advance(HOUR);
    world.poll(0).await.unwrap();
    let polled = world.now();
    world.advance(30 * MINUTE);
    let cosigned = verified_head(world.ask_for_head(0).await, &world);
    assert_eq!((cosigned.head().size(), cosigned.signed_at()), (1, world.now()));
    world.advance(SECOND);
    assert_eq!(world.ask_for_head(0).await, Answer::NoFreshHead(polled.0));
    world.poll(0).await.unwrap();
    verified_head(world.ask_for_head(0).await, &world);
    // A restart drops only the freshness of the last poll.
    world.advance(SECOND);
    world.restart(0, Storage::default()).await.unwrap();
    assert_eq!(world.ask_for_head(0).await, Answer::NoFreshHead(world.now().0));
    assert_eq!(world.peer(0).head().unwrap().size(), 1);
    world.poll(0).await.unwrap();
    verified_head(world.ask_for_head(0).await, &world);
}

#[tokio::test(start_paused = true)]
async fn poll_in_the_future_does_not_keep_the_head_fresh() {
    let mut world = TestWorld::new(30);
    world.publish(&release_spec(1)).unwrap();
    let right = world.now();
    world.clock.set(Timestamp(right.0 + 24 * 3600));
    world.poll(0).await.unwrap();
    verified_head(world.ask_for_head(0).await, &world);
    world.clock.set(right);
    assert!(matches!(world.ask_for_head(0).await, Answer::NoFreshHead(_)));
    // A clock that was corrected by at most a minute does not matter.
    world.poll(0).await.unwrap();
    world.clock.set(Timestamp(right.0 - 60));
    verified_head(world.ask_for_head(0).await, &world);
    world.clock.set(Timestamp(right.0 - 61));
    assert!(matches!(world.ask_for_head(0).await, Answer::NoFreshHead(_)));
}

#[tokio::test(start_paused = true)]
async fn mirror_with_a_smaller_head_does_not_keep_the_head_fresh() {
    let mut world = TestWorld::new(19);
    world.publish(&release_spec(1)).unwrap();
    world.copy_log("old").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.poll(0).await.unwrap();
    world.set_mirror(World::peer_name(0), "old").unwrap();
    world.advance(20 * MINUTE);
    assert_eq!(world.poll(0).await.unwrap(), PollOutcome::NoFreshHead);
    assert_eq!(verified_head(world.ask_for_head(0).await, &world).head().size(), 2);
    world.advance(10 * MINUTE + SECOND);
    assert_eq!(world.poll(0).await.unwrap(), PollOutcome::NoFreshHead);
    assert!(matches!(world.ask_for_head(0).await, Answer::NoFreshHead(_)));
}

#[tokio::test(start_paused = true)]
async fn witness_reports_each_fork_once() {
    let world = TestWorld::new(17);
    world.publish(&release_spec(1)).unwrap();
    world.copy_log("fork").unwrap();
    world.append_unchecked("fork", &[TROJAN.to_vec()]).unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.publish(&release_spec(3)).unwrap();
    let state = world.scratch_path("state");
    let before = open(&world, &["log"], &state, Storage::default());
    before.poll(&mut rng()).await.unwrap();
    drop(before);
    let node = Arc::new(open(&world, &["fork"], &state, Storage::default()));
    let polling = {
        let node = node.clone();
        tokio::spawn(async move { node.poll_loop(rng()).await })
    };
    timeout(SECOND, node.wait_for_fork()).await.expect("reported at the first poll");
    assert!(timeout(24 * HOUR, node.wait_for_fork()).await.is_err(), "reported again");
    node.compare_head(&world.head_of("fork").unwrap()).unwrap();
    assert!(timeout(HOUR, node.wait_for_fork()).await.is_err(), "reported again");
    // Another fork is reported, too.
    world.append_unchecked("fork", &[b"another".to_vec()]).unwrap();
    node.compare_head(&world.head_of("fork").unwrap()).unwrap();
    timeout(SECOND, node.wait_for_fork()).await.expect("the other fork is reported");
    polling.abort();
}

#[tokio::test(start_paused = true)]
async fn witness_answers_with_evidence_of_a_fork_of_any_size() {
    for grown in [1, 2, 3] {
        let mut world = TestWorld::new(20);
        world.publish(&release_spec(1)).unwrap();
        world.copy_log("fork").unwrap();
        world.publish(&release_spec(2)).unwrap();
        world.publish(&release_spec(3)).unwrap();
        for _ in 0..grown {
            world.append_unchecked("fork", &[TROJAN.to_vec()]).unwrap();
        }
        world.poll(0).await.unwrap();
        world.set_mirror(World::peer_name(0), "fork").unwrap();
        let PollOutcome::Fork(evidence) = world.poll(0).await.unwrap() else { panic!("no fork") };
        let [smaller, larger] = [evidence.smaller(), evidence.larger()].map(TreeHead::size);
        assert_eq!((smaller, larger), (3.min(1 + grown), 3.max(1 + grown)));
        for _ in 0..2 {
            let Answer::Evidence(text) = world.ask_for_head(0).await else { panic!("no evidence") };
            assert_eq!(Evidence::verify(&text, &world.keys.log).unwrap(), *evidence);
            assert_eq!(world.peer(0).head(), Some(world.head_of("log").unwrap()));
            world.restart(0, Storage::default()).await.unwrap();
        }
        // An honest mirror does not end this state.
        world.set_mirror(World::peer_name(0), "log").unwrap();
        world.poll(0).await.unwrap();
        assert!(matches!(world.ask_for_head(0).await, Answer::Evidence(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn evidence_is_durable_before_a_poll_returns_it() {
    let world = TestWorld::new(21);
    world.publish(&release_spec(1)).unwrap();
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.append_unchecked("fork", &[TROJAN.to_vec()]).unwrap();
    let start = world.scratch_path("start");
    let node = open(&world, &["log"], &start, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    drop(node);
    for n in 0.. {
        let state = world.scratch_path(&format!("killed-{n}"));
        unanimity_testkit::copy_tree(&start, &state).unwrap();
        let (disk, _) = storage_failing_from(n);
        let node = open(&world, &["fork"], &state, disk);
        let polled = node.poll(&mut rng()).await;
        drop(node);
        let node = open(&world, &["fork"], &state, Storage::default());
        if polled.is_ok() {
            assert!(matches!(ask_head(&node, &world), Answer::Evidence(_)));
            assert!(n > 3);
            break;
        }
        assert!(matches!(ask_head(&node, &world), Answer::NoFreshHead(_) | Answer::Evidence(_)));
        assert!(matches!(node.poll(&mut rng()).await.unwrap(), PollOutcome::Fork(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn second_witness_on_one_directory_is_refused() {
    let world = TestWorld::new(22);
    let state = world.scratch_path("node");
    let first = open(&world, &["log"], &state, Storage::default());
    let second = Witness::open(
        witness_config(&world, &["log"]),
        &state,
        Storage::default(),
        world.clock.clone(),
    );
    assert!(matches!(second, Err(WitnessError::Busy(_))));
    drop(first);
    open(&world, &["log"], &state, Storage::default());
}

#[tokio::test(start_paused = true)]
async fn damaged_head_or_tree_is_an_error() {
    let world = TestWorld::new(23);
    world.publish(&release_spec(1)).unwrap();
    world.publish(&release_spec(2)).unwrap();
    let state = world.scratch_path("node");
    let node = open(&world, &["log"], &state, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    let head = node.head().unwrap();
    drop(node);
    let open = || {
        Witness::open(
            witness_config(&world, &["log"]),
            &state,
            Storage::default(),
            world.clock.clone(),
        )
    };
    for path in ["peer/head", "peer/tile/0/000.p/2"].map(|path| state.join(path)) {
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, bytes).unwrap();
            assert!(open().is_err(), "{} at {at}", path.display());
            fs::write(&path, &whole[..at]).unwrap();
            assert!(open().is_err(), "{} cut at {at}", path.display());
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(open().unwrap().head(), Some(head));
}

#[tokio::test(start_paused = true)]
async fn malformed_question_ends_only_its_own_connection() {
    let mut world = TestWorld::new(24);
    world.publish(&release_spec(1)).unwrap();
    world.poll(0).await.unwrap();
    let good = Question::CosignedHead(world.keys.log.id()).encode();
    let mut padded = good.clone();
    *padded.last_mut().unwrap() = 1;
    let mut newer = good.clone();
    newer[4] = 9;
    let mut neighbour = world.network.dial(&world.peer_address(0)).await.unwrap();
    let answer_frame = Answer::NoTile.encode();
    for frame in [vec![0xff; QUESTION_BYTES], vec![0; QUESTION_BYTES], padded, newer, answer_frame]
    {
        let mut stream = world.network.dial(&world.peer_address(0)).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        unanimity_net::message::send(&mut neighbour, &good).await.unwrap();
        assert!(
            unanimity_net::message::receive::<ANSWER_BYTES>(&mut neighbour)
                .await
                .unwrap()
                .is_some()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn connection_ends_after_two_minutes() {
    let world = TestWorld::with_first_installed(26).await;
    let question = Question::CosignedHead(world.keys.log.id());
    let mut stream = world.network.dial(&world.peer_address(0)).await.unwrap();
    let began = tokio::time::Instant::now();
    while unanimity_net::message::exchange(&mut stream, &question).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    // The client notices at its next question.
    assert!((120..=140).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn connection_ends_after_1024_questions() {
    let mut world = TestWorld::new(25);
    world.publish(&release_spec(1)).unwrap();
    world.poll(0).await.unwrap();
    let mut stream = world.network.dial(&world.peer_address(0)).await.unwrap();
    let tile = Tile { level: 0, index: 0, width: 1 };
    let question = Question::Tile(world.keys.log.id(), tile);
    for _ in 0..1024 {
        assert!(matches!(
            unanimity_net::message::exchange(&mut stream, &question).await.unwrap(),
            Answer::Tile(_)
        ));
    }
    assert!(unanimity_net::message::exchange(&mut stream, &question).await.is_err());
    assert!(matches!(world.ask(0, question).await, Answer::Tile(_)));
}

/// A peer with 64 connections, on each of which a question was answered.
async fn fill_connections(seed: u64) -> (TestWorld, Question, VecDeque<DuplexStream>) {
    let mut world = TestWorld::new(seed);
    world.publish(&release_spec(1)).unwrap();
    world.poll(0).await.unwrap();
    let question = Question::CosignedHead(world.keys.log.id());
    let mut streams = VecDeque::new();
    for _ in 0..64 {
        let mut stream = world.network.dial(&world.peer_address(0)).await.unwrap();
        unanimity_net::message::exchange(&mut stream, &question).await.unwrap();
        streams.push_back(stream);
    }
    (world, question, streams)
}

#[tokio::test(start_paused = true)]
async fn connection_65_waits_until_another_one_ends() {
    let (world, question, mut streams) = fill_connections(26).await;
    let mut late = world.network.dial(&world.peer_address(0)).await.unwrap();
    unanimity_net::message::send(&mut late, &question.encode()).await.unwrap();
    assert!(
        timeout(4 * SECOND, unanimity_net::message::receive::<ANSWER_BYTES>(&mut late))
            .await
            .is_err()
    );
    streams.pop_back();
    let began = Instant::now();
    assert!(unanimity_net::message::receive::<ANSWER_BYTES>(&mut late).await.unwrap().is_some());
    assert_eq!(began.elapsed(), Duration::ZERO);
    // No other connection was ended.
    for stream in &mut streams {
        unanimity_net::message::exchange(stream, &question).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn connection_65_displaces_the_oldest_after_five_seconds() {
    let (world, question, mut streams) = fill_connections(31).await;
    let began = Instant::now();
    let mut late = world.network.dial(&world.peer_address(0)).await.unwrap();
    unanimity_net::message::exchange(&mut late, &question).await.unwrap();
    // The timer counts whole milliseconds.
    assert!((5 * SECOND..=5 * SECOND + SECOND / 100).contains(&began.elapsed()));
    // Exactly one connection was ended: the oldest, although it was in use.
    unanimity_net::message::exchange(&mut streams.pop_front().unwrap(), &question)
        .await
        .unwrap_err();
    for stream in &mut streams {
        unanimity_net::message::exchange(stream, &question).await.unwrap();
    }
    // The next connection displaces the next oldest at once, because that has lasted five seconds.
    let began = Instant::now();
    unanimity_net::message::exchange(
        &mut world.network.dial(&world.peer_address(0)).await.unwrap(),
        &question,
    )
    .await
    .unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    unanimity_net::message::exchange(&mut streams.pop_front().unwrap(), &question)
        .await
        .unwrap_err();
    unanimity_net::message::exchange(&mut late, &question).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn client_with_200_silent_connections_does_not_exclude_others() {
    let mut world = TestWorld::new(32);
    world.publish(&release_spec(1)).unwrap();
    world.poll(0).await.unwrap();
    let (network, address) = (world.network.clone(), world.peer_address(0));
    let crowd = tokio::spawn(async move {
        let mut held = Vec::new();
        for _ in 0..200 {
            held.push(network.dial(&address).await.unwrap());
        }
        held
    });
    // The crowd comes first, with more connections than the peer accepts.
    tokio::time::sleep(SECOND).await;
    let began = Instant::now();
    let question = Question::CosignedHead(world.keys.log.id());
    for _ in 0..3 {
        unanimity_net::message::exchange(
            &mut world.network.dial(&world.peer_address(0)).await.unwrap(),
            &question,
        )
        .await
        .unwrap();
    }
    assert!(began.elapsed() <= 20 * SECOND, "{:?}", began.elapsed());
    assert_eq!(crowd.await.unwrap().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn free_capacity_protects_every_connection() {
    let (world, question, mut streams) = fill_connections(33).await;
    streams.truncate(63);
    // A thousand other connections come and go, one at a time.
    for _ in 0..1000 {
        world.ask_for_head(0).await;
        tokio::time::sleep(SECOND / 50).await;
    }
    for stream in &mut streams {
        unanimity_net::message::exchange(stream, &question).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn stalled_connection_ends_after_30_seconds() {
    let mut world = TestWorld::new(27);
    world.publish(&release_spec(1)).unwrap();
    world.poll(0).await.unwrap();
    // A client that stops in the middle of a question.
    let began = Instant::now();
    let mut stream = world.network.dial(&world.peer_address(0)).await.unwrap();
    stream.write_all(&[0; 100]).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(began.elapsed(), 30 * SECOND);
    // A client that sends one byte a second.
    let began = Instant::now();
    let mut stream = world.network.dial(&world.peer_address(0)).await.unwrap();
    while stream.write_all(&[0]).await.is_ok() {
        tokio::time::sleep(SECOND).await;
    }
    assert!(began.elapsed() <= 32 * SECOND);
    // A client that asks and never reads.
    let mut stream = world.network.dial(&world.peer_address(0)).await.unwrap();
    let frame = Question::CosignedHead(world.keys.log.id()).encode();
    let began = Instant::now();
    while timeout(10 * MINUTE, stream.write_all(&frame)).await.unwrap().is_ok() {}
    assert_eq!(began.elapsed(), 30 * SECOND);
}

/// A clock that records when it is read: once by every poll that succeeds.
#[derive(Clone, Default)]
struct RecordingClock(Arc<Mutex<Vec<Instant>>>);

impl Clock for RecordingClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().push(Instant::now());
        Timestamp(1_800_000_000)
    }
}

#[tokio::test(start_paused = true)]
async fn witness_polls_at_random_times_until_shutdown() {
    let world = TestWorld::new(28);
    world.publish(&release_spec(1)).unwrap();
    let clock = RecordingClock::default();
    let state = world.scratch_path("node");
    let config = witness_config(&world, &["log"]);
    let node = Arc::new(Witness::open(config, &state, Storage::default(), clock.clone()).unwrap());
    let began = Instant::now();
    let listener = world.network.listen(world.peer_address(0));
    node.run(listener, rng(), tokio::time::sleep(24 * HOUR)).await;
    assert_eq!(began.elapsed(), 24 * HOUR);
    let polls = clock.0.lock().unwrap();
    // The first reading is by `open`, the second by the first poll.
    let waits: Vec<Duration> = polls[1..].windows(2).map(|w| w[1] - w[0]).collect();
    assert!(waits.len() > 90, "{}", waits.len());
    assert!(waits.iter().all(|wait| (5 * MINUTE..=15 * MINUTE + SECOND).contains(wait)));
    let (short, long) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*short < 6 * MINUTE && *long > 14 * MINUTE, "{short:?} to {long:?}");
    // After the shutdown, the directory can be opened again.
    open(&world, &["log"], &state, Storage::default());
}
