//! A peer answers from what it has verified itself, and from nothing else.

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

/// Peer 0's key, these mirrors.
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
        other => panic!("no view: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn never_fetches_because_it_was_asked() {
    let mut circle = TestWorld::new(10);
    circle.publish(&release_spec(1)).unwrap();
    circle.poll_all().await.unwrap();
    let before = (read_files(&circle.peer_state(0)), circle.peer(0).head());
    circle.publish(&release_spec(2)).unwrap();
    let log = circle.keys.log.id();
    for _ in 0..3 {
        assert_eq!(verified_head(circle.ask_for_head(0).await, &circle).head().size(), 1);
        circle.ask(0, Question::Tile(log, Tile { level: 0, index: 0, width: 2 })).await;
    }
    assert_eq!((read_files(&circle.peer_state(0)), circle.peer(0).head()), before);
    // Nor does it need its mirrors for an answer.
    circle.set_mirror(World::peer_name(0), "nowhere").unwrap();
    assert_eq!(verified_head(circle.ask_for_head(0).await, &circle).head().size(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_others_show_is_neither_adopted_nor_cosigned() {
    let mut circle = TestWorld::new(11);
    circle.publish(&release_spec(1)).unwrap();
    circle.poll_all().await.unwrap();
    circle.copy_log("old").unwrap();
    circle.set_mirror(World::peer_name(0), "old").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    // The same node's client role hears of the larger head from four peers and adopts it.
    let mut config = circle.config.clone();
    config.cycle.state = circle.peer_state(0);
    config.cycle.install_root = circle.directory.join("elsewhere");
    let (report, _) = {
        let mirrors = circle.mirrors.clone();
        circle.check_with(&config, &mirrors).await
    };
    assert_eq!(report.head.unwrap().size(), 2);
    assert_eq!(circle.peer(0).head().unwrap().size(), 1);
    assert_eq!(verified_head(circle.ask_for_head(0).await, &circle).head().size(), 1);
    circle.restart(0, Storage::default()).await.unwrap();
    circle.poll(0).await.unwrap();
    assert_eq!(verified_head(circle.ask_for_head(0).await, &circle).head().size(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_with_bad_tiles_is_skipped_and_another_used() {
    let circle = TestWorld::new(12);
    circle.publish(&release_spec(1)).unwrap();
    circle.publish(&release_spec(2)).unwrap();
    let bad = circle.copy_log("bad").unwrap();
    let tile = bad.join("tile/0/000.p/2");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[40] ^= 1;
    fs::write(&tile, bytes).unwrap();

    let alone = open(&circle, &["bad"], &circle.scratch_path("alone"), Storage::default());
    assert_eq!(alone.poll(&mut rng()).await.unwrap(), PollOutcome::NoFreshHead);
    assert_eq!(alone.head(), None);
    assert!(matches!(ask_head(&alone, &circle), Answer::NoFreshHead(_)));

    let log = circle.head_of("log").unwrap();
    for seed in 0..8 {
        let state = circle.scratch_path(&format!("both-{seed}"));
        let both = open(&circle, &["bad", "log", "missing"], &state, Storage::default());
        let polled = both.poll(&mut StdRng::seed_from_u64(seed)).await.unwrap();
        assert_eq!(polled, PollOutcome::Fresh(log.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_takes_its_time_has_the_next_looked_at_beside_it() {
    let circle = TestWorld::new(13);
    let entries: Vec<Vec<u8>> = (0..20_000_u32).map(|i| i.to_be_bytes().to_vec()).collect();
    let head = circle.append_unchecked("log", &entries).unwrap();
    let log = circle.log_directory();
    // Each tile just before it would be given up; and the last one is wrong.
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
        let mirrors = vec![slow.clone(), Mirror::from_directory(circle.log_directory())];
        let follow = WitnessConfig { mirrors, ..witness_config(&circle, &[]) };
        let state = circle.scratch_path(&format!("node-{seed}"));
        let node = Witness::open(follow, &state, Storage::default(), circle.clock.clone()).unwrap();
        let began = Instant::now();
        let polled = node.poll(&mut StdRng::seed_from_u64(seed)).await.unwrap();
        assert_eq!(polled, PollOutcome::Fresh(head.clone()));
        assert!(began.elapsed() <= MINUTE, "seed {seed}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_without_the_logs_signature_is_no_head() {
    let circle = TestWorld::new(13);
    circle.publish(&release_spec(1)).unwrap();
    let forged = circle.copy_log("forged").unwrap().join("checkpoint");
    let note = fs::read_to_string(&forged).unwrap();
    for bytes in [note.replace("\n1\n", "\n2\n"), note.replace("log.example ", "other "), "".into()]
    {
        fs::write(&forged, bytes).unwrap();
        let node = open(&circle, &["forged"], &circle.scratch_path("node"), Storage::default());
        assert_eq!(node.poll(&mut rng()).await.unwrap(), PollOutcome::NoFreshHead);
        assert_eq!(node.head(), None);
    }
}

/// The steps that opening a peer takes: syncing its directory, and that in the one above.
const OPEN_STEPS: usize = 2;

/// Fails every step from the `n`th on, once the peer is open.
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
async fn a_head_is_durable_before_it_is_cosigned() {
    let circle = TestWorld::new(14);
    circle.publish(&release_spec(1)).unwrap();
    let state = circle.scratch_path("node");
    let node = open(&circle, &["log"], &state, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    drop(node);
    circle.publish(&release_spec(2)).unwrap();
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
    let node = open(&circle, &["log"], &state, Storage::with_hook(full));
    assert!(matches!(node.poll(&mut rng()).await, Err(WitnessError::Disk(_))));
    assert!(matches!(ask_head(&node, &circle), Answer::NoFreshHead(_)));
    assert_eq!(node.head().unwrap().size(), 1);
    drop(node);
    // What is cosigned after a restart is what the disk has.
    let node = open(&circle, &["log"], &state, Storage::default());
    let held =
        TreeHead::verify(&fs::read(state.join("peer/head")).unwrap(), &circle.keys.log).unwrap();
    assert_eq!(node.head(), Some(held));
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_does_not_stop_the_next_poll() {
    let circle = TestWorld::new(15);
    circle.publish(&release_spec(1)).unwrap();
    let state = circle.scratch_path("node");
    let full = Arc::new(Mutex::new(false));
    let flag = full.clone();
    let disk = Storage::with_hook(move |step| match step {
        WriteStep::Create(path) if path.ends_with("head") && *flag.lock().unwrap() => {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
        _ => Ok(()),
    });
    let node = open(&circle, &["log"], &state, disk);
    node.poll(&mut rng()).await.unwrap();
    circle.publish(&release_spec(2)).unwrap();
    *full.lock().unwrap() = true;
    node.poll(&mut rng()).await.unwrap_err();
    assert_eq!(verified_head(ask_head(&node, &circle), &circle).head().size(), 1);
    let log = circle.keys.log.id();
    let beyond = Question::Tile(log, Tile { level: 0, index: 0, width: 2 });
    assert_eq!(node.answer(beyond).unwrap(), Answer::NoTile);
    *full.lock().unwrap() = false;
    let head = circle.head_of("log").unwrap();
    assert_eq!(node.poll(&mut rng()).await.unwrap(), PollOutcome::Fresh(head));
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_of_a_poll_it_holds_the_old_head_or_the_new_with_its_tiles() {
    let circle = TestWorld::new(16);
    let entries = |n: u64| (0..n).map(|i| vec![i as u8; 3]).collect::<Vec<_>>();
    // From inside one tile to the next, and to a tree with a new level.
    circle.append_unchecked("log", &entries(200)).unwrap();
    circle.copy_log("early").unwrap();
    circle.append_unchecked("log", &entries(100)).unwrap();
    let (early, late) = (circle.head_of("early").unwrap(), circle.head_of("log").unwrap());
    let start = circle.scratch_path("start");
    let node = open(&circle, &["early"], &start, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    drop(node);

    let mut died = Vec::new();
    for n in 0.. {
        let state = circle.scratch_path(&format!("killed-{n}"));
        unanimity_testkit::copy_tree(&start, &state).unwrap();
        let (disk, _) = storage_failing_from(n);
        let node = open(&circle, &["log"], &state, disk);
        let done = node.poll(&mut rng()).await.is_ok();
        drop(node);
        let node = open(&circle, &["log"], &state, Storage::default());
        let head = node.head().unwrap();
        assert!(head == early || head == late, "killed at step {n}: {head}");
        // The tree below the head is served whole.
        let cached = TileReader::new(AnsweredTiles { node: &node, log: circle.keys.log.id() });
        assert!(cached.matches_head(&head).await, "killed at step {n}");
        died.push(head == late);
        assert_eq!(
            node.poll(&mut rng()).await.unwrap(),
            PollOutcome::Fresh(late.clone()),
            "step {n}"
        );
        if done {
            break;
        }
    }
    assert!(died.is_sorted() && died.len() > 10, "{died:?}");
}

/// A node's tiles, asked for one by one.
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
async fn every_tile_that_its_head_implies_is_served_in_every_width_and_no_other() {
    let circle = TestWorld::new(17);
    let leaves: Vec<Vec<u8>> = (0..600u32).map(|i| i.to_be_bytes().to_vec()).collect();
    let head = circle.append_unchecked("log", &leaves).unwrap();
    let node = open(&circle, &["log"], &circle.scratch_path("node"), Storage::default());
    node.poll(&mut rng()).await.unwrap();
    let log = circle.keys.log.id();
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
async fn it_is_blind_until_it_has_polled_and_again_once_its_last_poll_is_too_old() {
    let mut circle = TestWorld::new(18);
    circle.publish(&release_spec(1)).unwrap();
    let start = circle.now();
    assert_eq!(circle.ask_for_head(0).await, Answer::NoFreshHead(start.0));
    circle.advance(HOUR);
    circle.poll(0).await.unwrap();
    let polled = circle.now();
    circle.advance(30 * MINUTE);
    let seen = verified_head(circle.ask_for_head(0).await, &circle);
    assert_eq!((seen.head().size(), seen.signed_at()), (1, circle.now()));
    circle.advance(SECOND);
    assert_eq!(circle.ask_for_head(0).await, Answer::NoFreshHead(polled.0));
    circle.poll(0).await.unwrap();
    verified_head(circle.ask_for_head(0).await, &circle);
    // A restart forgets that a mirror was seen, and nothing else.
    circle.advance(SECOND);
    circle.restart(0, Storage::default()).await.unwrap();
    assert_eq!(circle.ask_for_head(0).await, Answer::NoFreshHead(circle.now().0));
    assert_eq!(circle.peer(0).head().unwrap().size(), 1);
    circle.poll(0).await.unwrap();
    verified_head(circle.ask_for_head(0).await, &circle);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_its_clock_says_is_yet_to_come_does_not_keep_it_fresh() {
    let mut circle = TestWorld::new(30);
    circle.publish(&release_spec(1)).unwrap();
    let right = circle.now();
    circle.clock.set(Timestamp(right.0 + 24 * 3600));
    circle.poll(0).await.unwrap();
    verified_head(circle.ask_for_head(0).await, &circle);
    circle.clock.set(right);
    assert!(matches!(circle.ask_for_head(0).await, Answer::NoFreshHead(_)));
    // A clock that was put right by less than a minute is no reason.
    circle.poll(0).await.unwrap();
    circle.clock.set(Timestamp(right.0 - 60));
    verified_head(circle.ask_for_head(0).await, &circle);
    circle.clock.set(Timestamp(right.0 - 61));
    assert!(matches!(circle.ask_for_head(0).await, Answer::NoFreshHead(_)));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_shows_less_keeps_nobody_fresh() {
    let mut circle = TestWorld::new(19);
    circle.publish(&release_spec(1)).unwrap();
    circle.copy_log("old").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.poll(0).await.unwrap();
    circle.set_mirror(World::peer_name(0), "old").unwrap();
    circle.advance(20 * MINUTE);
    assert_eq!(circle.poll(0).await.unwrap(), PollOutcome::NoFreshHead);
    assert_eq!(verified_head(circle.ask_for_head(0).await, &circle).head().size(), 2);
    circle.advance(10 * MINUTE + SECOND);
    assert_eq!(circle.poll(0).await.unwrap(), PollOutcome::NoFreshHead);
    assert!(matches!(circle.ask_for_head(0).await, Answer::NoFreshHead(_)));
}

#[tokio::test(start_paused = true)]
async fn a_fork_is_news_once_whoever_shows_it_and_however_often() {
    let circle = TestWorld::new(17);
    circle.publish(&release_spec(1)).unwrap();
    circle.copy_log("fork").unwrap();
    circle.append_unchecked("fork", &[TROJAN.to_vec()]).unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.publish(&release_spec(3)).unwrap();
    let state = circle.scratch_path("state");
    let before = open(&circle, &["log"], &state, Storage::default());
    before.poll(&mut rng()).await.unwrap();
    drop(before);
    let node = Arc::new(open(&circle, &["fork"], &state, Storage::default()));
    let polling = {
        let node = node.clone();
        tokio::spawn(async move { node.poll_loop(rng()).await })
    };
    timeout(SECOND, node.wait_for_fork()).await.expect("told at the first poll");
    assert!(timeout(24 * HOUR, node.wait_for_fork()).await.is_err(), "told again");
    node.compare_head(&circle.head_of("fork").unwrap()).unwrap();
    assert!(timeout(HOUR, node.wait_for_fork()).await.is_err(), "told again");
    // Another fork is another matter.
    circle.append_unchecked("fork", &[b"another".to_vec()]).unwrap();
    node.compare_head(&circle.head_of("fork").unwrap()).unwrap();
    timeout(SECOND, node.wait_for_fork()).await.expect("told of another");
    polling.abort();
}

#[tokio::test(start_paused = true)]
async fn a_fork_smaller_equal_or_larger_is_stored_and_answered_instead_of_a_view() {
    for grown in [1, 2, 3] {
        let mut circle = TestWorld::new(20);
        circle.publish(&release_spec(1)).unwrap();
        circle.copy_log("fork").unwrap();
        circle.publish(&release_spec(2)).unwrap();
        circle.publish(&release_spec(3)).unwrap();
        for _ in 0..grown {
            circle.append_unchecked("fork", &[TROJAN.to_vec()]).unwrap();
        }
        circle.poll(0).await.unwrap();
        circle.set_mirror(World::peer_name(0), "fork").unwrap();
        let PollOutcome::Fork(evidence) = circle.poll(0).await.unwrap() else { panic!("no fork") };
        let [smaller, larger] = [evidence.smaller(), evidence.larger()].map(TreeHead::size);
        assert_eq!((smaller, larger), (3.min(1 + grown), 3.max(1 + grown)));
        for _ in 0..2 {
            let Answer::Evidence(text) = circle.ask_for_head(0).await else {
                panic!("no evidence")
            };
            assert_eq!(Evidence::verify(&text, &circle.keys.log).unwrap(), *evidence);
            assert_eq!(circle.peer(0).head(), Some(circle.head_of("log").unwrap()));
            circle.restart(0, Storage::default()).await.unwrap();
        }
        // An honest mirror does not talk it out of it.
        circle.set_mirror(World::peer_name(0), "log").unwrap();
        circle.poll(0).await.unwrap();
        assert!(matches!(circle.ask_for_head(0).await, Answer::Evidence(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn evidence_is_on_the_disk_before_a_poll_speaks_of_it() {
    let circle = TestWorld::new(21);
    circle.publish(&release_spec(1)).unwrap();
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.append_unchecked("fork", &[TROJAN.to_vec()]).unwrap();
    let start = circle.scratch_path("start");
    let node = open(&circle, &["log"], &start, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    drop(node);
    for n in 0.. {
        let state = circle.scratch_path(&format!("killed-{n}"));
        unanimity_testkit::copy_tree(&start, &state).unwrap();
        let (disk, _) = storage_failing_from(n);
        let node = open(&circle, &["fork"], &state, disk);
        let polled = node.poll(&mut rng()).await;
        drop(node);
        let node = open(&circle, &["fork"], &state, Storage::default());
        if polled.is_ok() {
            assert!(matches!(ask_head(&node, &circle), Answer::Evidence(_)));
            assert!(n > 3);
            break;
        }
        assert!(matches!(ask_head(&node, &circle), Answer::NoFreshHead(_) | Answer::Evidence(_)));
        assert!(matches!(node.poll(&mut rng()).await.unwrap(), PollOutcome::Fork(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn one_directory_has_one_peer() {
    let circle = TestWorld::new(22);
    let state = circle.scratch_path("node");
    let first = open(&circle, &["log"], &state, Storage::default());
    let second = Witness::open(
        witness_config(&circle, &["log"]),
        &state,
        Storage::default(),
        circle.clock.clone(),
    );
    assert!(matches!(second, Err(WitnessError::Busy(_))));
    drop(first);
    open(&circle, &["log"], &state, Storage::default());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_head_or_tree_is_an_error_and_never_a_smaller_head() {
    let circle = TestWorld::new(23);
    circle.publish(&release_spec(1)).unwrap();
    circle.publish(&release_spec(2)).unwrap();
    let state = circle.scratch_path("node");
    let node = open(&circle, &["log"], &state, Storage::default());
    node.poll(&mut rng()).await.unwrap();
    let head = node.head().unwrap();
    drop(node);
    let open = || {
        Witness::open(
            witness_config(&circle, &["log"]),
            &state,
            Storage::default(),
            circle.clock.clone(),
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
async fn garbage_ends_its_own_connection_only() {
    let mut circle = TestWorld::new(24);
    circle.publish(&release_spec(1)).unwrap();
    circle.poll(0).await.unwrap();
    let good = Question::CosignedHead(circle.keys.log.id()).encode();
    let mut padded = good.clone();
    *padded.last_mut().unwrap() = 1;
    let mut newer = good.clone();
    newer[4] = 9;
    let mut neighbour = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    let answer_frame = Answer::NoTile.encode();
    for frame in [vec![0xff; QUESTION_BYTES], vec![0; QUESTION_BYTES], padded, newer, answer_frame]
    {
        let mut stream = circle.network.dial(&circle.peer_address(0)).await.unwrap();
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
async fn a_connection_lasts_two_minutes_however_politely_it_asks() {
    let circle = TestWorld::with_first_installed(26).await;
    let question = Question::CosignedHead(circle.keys.log.id());
    let mut stream = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    let began = tokio::time::Instant::now();
    while unanimity_net::message::exchange(&mut stream, &question).await.is_ok() {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    // It is noticed when it asks again.
    assert!((120..=140).contains(&began.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_1024_questions() {
    let mut circle = TestWorld::new(25);
    circle.publish(&release_spec(1)).unwrap();
    circle.poll(0).await.unwrap();
    let mut stream = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    let tile = Tile { level: 0, index: 0, width: 1 };
    let question = Question::Tile(circle.keys.log.id(), tile);
    for _ in 0..1024 {
        assert!(matches!(
            unanimity_net::message::exchange(&mut stream, &question).await.unwrap(),
            Answer::Tile(_)
        ));
    }
    assert!(unanimity_net::message::exchange(&mut stream, &question).await.is_err());
    assert!(matches!(circle.ask(0, question).await, Answer::Tile(_)));
}

/// A peer that has 64 connections, each of which has asked once.
async fn fill_connections(seed: u64) -> (TestWorld, Question, VecDeque<DuplexStream>) {
    let mut circle = TestWorld::new(seed);
    circle.publish(&release_spec(1)).unwrap();
    circle.poll(0).await.unwrap();
    let question = Question::CosignedHead(circle.keys.log.id());
    let mut streams = VecDeque::new();
    for _ in 0..64 {
        let mut stream = circle.network.dial(&circle.peer_address(0)).await.unwrap();
        unanimity_net::message::exchange(&mut stream, &question).await.unwrap();
        streams.push_back(stream);
    }
    (circle, question, streams)
}

#[tokio::test(start_paused = true)]
async fn the_65th_connection_waits_until_one_of_64_ends() {
    let (circle, question, mut streams) = fill_connections(26).await;
    let mut late = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    unanimity_net::message::send(&mut late, &question.encode()).await.unwrap();
    assert!(
        timeout(4 * SECOND, unanimity_net::message::receive::<ANSWER_BYTES>(&mut late))
            .await
            .is_err()
    );
    streams.pop_back();
    let begun = Instant::now();
    assert!(unanimity_net::message::receive::<ANSWER_BYTES>(&mut late).await.unwrap().is_some());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // Nobody else's place was taken for it.
    for stream in &mut streams {
        unanimity_net::message::exchange(stream, &question).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_65th_connection_takes_the_place_of_the_oldest_that_has_had_its_five_seconds() {
    let (circle, question, mut streams) = fill_connections(31).await;
    let begun = Instant::now();
    let mut late = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    unanimity_net::message::exchange(&mut late, &question).await.unwrap();
    // A timer has milliseconds.
    assert!((5 * SECOND..=5 * SECOND + SECOND / 100).contains(&begun.elapsed()));
    // One place was wanted, and one was taken: the oldest's, though it had been heard from.
    unanimity_net::message::exchange(&mut streams.pop_front().unwrap(), &question)
        .await
        .unwrap_err();
    for stream in &mut streams {
        unanimity_net::message::exchange(stream, &question).await.unwrap();
    }
    // The next takes the next oldest's, and waits for nothing: that has had its time.
    let begun = Instant::now();
    unanimity_net::message::exchange(
        &mut circle.network.dial(&circle.peer_address(0)).await.unwrap(),
        &question,
    )
    .await
    .unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    unanimity_net::message::exchange(&mut streams.pop_front().unwrap(), &question)
        .await
        .unwrap_err();
    unanimity_net::message::exchange(&mut late, &question).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_client_with_200_silent_connections_crowds_nobody_out() {
    let mut circle = TestWorld::new(32);
    circle.publish(&release_spec(1)).unwrap();
    circle.poll(0).await.unwrap();
    let (network, address) = (circle.network.clone(), circle.peer_address(0));
    let crowd = tokio::spawn(async move {
        let mut held = Vec::new();
        for _ in 0..200 {
            held.push(network.dial(&address).await.unwrap());
        }
        held
    });
    // It was there first, with as many as can wait.
    tokio::time::sleep(SECOND).await;
    let begun = Instant::now();
    let question = Question::CosignedHead(circle.keys.log.id());
    for _ in 0..3 {
        unanimity_net::message::exchange(
            &mut circle.network.dial(&circle.peer_address(0)).await.unwrap(),
            &question,
        )
        .await
        .unwrap();
    }
    assert!(begun.elapsed() <= 20 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(crowd.await.unwrap().len(), 200);
}

#[tokio::test(start_paused = true)]
async fn while_places_are_free_a_connection_is_not_ended_for_another() {
    let (circle, question, mut streams) = fill_connections(33).await;
    streams.truncate(63);
    // A thousand come and go beside them, one at a time.
    for _ in 0..1000 {
        circle.ask_for_head(0).await;
        tokio::time::sleep(SECOND / 50).await;
    }
    for stream in &mut streams {
        unanimity_net::message::exchange(stream, &question).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_is_cut_after_30_seconds() {
    let mut circle = TestWorld::new(27);
    circle.publish(&release_spec(1)).unwrap();
    circle.poll(0).await.unwrap();
    // One that stops in the middle of a question.
    let begun = Instant::now();
    let mut stream = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    stream.write_all(&[0; 100]).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(begun.elapsed(), 30 * SECOND);
    // One byte now and then is no progress.
    let begun = Instant::now();
    let mut stream = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    while stream.write_all(&[0]).await.is_ok() {
        tokio::time::sleep(SECOND).await;
    }
    assert!(begun.elapsed() <= 32 * SECOND);
    // One that asks and never reads.
    let mut stream = circle.network.dial(&circle.peer_address(0)).await.unwrap();
    let frame = Question::CosignedHead(circle.keys.log.id()).encode();
    let begun = Instant::now();
    while timeout(10 * MINUTE, stream.write_all(&frame)).await.unwrap().is_ok() {}
    assert_eq!(begun.elapsed(), 30 * SECOND);
}

/// A clock that notes when it was looked at: once by every poll that a mirror satisfies.
#[derive(Clone, Default)]
struct RecordingClock(Arc<Mutex<Vec<Instant>>>);

impl Clock for RecordingClock {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().push(Instant::now());
        Timestamp(1_800_000_000)
    }
}

#[tokio::test(start_paused = true)]
async fn it_polls_at_random_times_within_its_bounds_until_it_is_shut_down() {
    let circle = TestWorld::new(28);
    circle.publish(&release_spec(1)).unwrap();
    let watch = RecordingClock::default();
    let state = circle.scratch_path("node");
    let follow = witness_config(&circle, &["log"]);
    let node = Arc::new(Witness::open(follow, &state, Storage::default(), watch.clone()).unwrap());
    let begun = Instant::now();
    let listener = circle.network.listen(circle.peer_address(0));
    node.run(listener, rng(), tokio::time::sleep(24 * HOUR)).await;
    assert_eq!(begun.elapsed(), 24 * HOUR);
    let polls = watch.0.lock().unwrap();
    // The first look is that of `open`, the second the first poll's.
    let waits: Vec<Duration> = polls[1..].windows(2).map(|w| w[1] - w[0]).collect();
    assert!(waits.len() > 90, "{}", waits.len());
    assert!(waits.iter().all(|wait| (5 * MINUTE..=15 * MINUTE + SECOND).contains(wait)));
    let (short, long) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*short < 6 * MINUTE && *long > 14 * MINUTE, "{short:?} to {long:?}");
    // Shut down, it lets go of its directory.
    open(&circle, &["log"], &state, Storage::default());
}
