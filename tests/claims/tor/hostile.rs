//! A peer that answers with anything but its view holds the update back, and does no more than that.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use unanimity_net::Listener as _;
use unanimity_net::message::{ANSWER_BYTES, Answer, QUESTION_BYTES};
use unanimity_protocol::CosignedHead;
use unanimity_state::Identity;
use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::{OnionWorld, ProcessResult};
use unanimity_tor::{AuthorizedClients, TorClient, service_settings};

use super::{TorTestWorld, assert_incomplete_for, now, wait_reachable};

/// Whoever hosts a peer's address with its keys, and answers every question with the same bytes,
/// and then ends the stream; without any it takes the question, and says nothing for ever.
struct OnionImpostor {
    response: Arc<Mutex<Option<Vec<u8>>>>,
    server: JoinHandle<()>,
    runtime: Runtime,
}

impl OnionImpostor {
    /// In place of a peer whose daemon is not running.
    fn start(nodes: &OnionWorld, who: &str) -> OnionImpostor {
        let runtime = Runtime::new().unwrap();
        let config =
            unanimity_config::load_node_config(&nodes.node_directory(who).join("unanimity.toml"))
                .unwrap();
        let readers =
            AuthorizedClients::Listed(config.peers.client_auth_keys(now()).into_values().collect());
        let says = Arc::new(Mutex::new(None));
        let saying = says.clone();
        let mut listener = runtime.block_on(async {
            let tor = TorClient::new(&config.tor, None).unwrap();
            tor.bootstrap(|_, _| {}).await.unwrap();
            tor.launch_service(&service_settings(config.serve.as_ref().unwrap()), &readers).unwrap()
        });
        let service = listener.service().clone();
        let hosting = runtime.spawn(async move {
            while let Ok(mut stream) = listener.accept().await {
                let says: Option<Vec<u8>> = saying.lock().unwrap().clone();
                tokio::spawn(async move {
                    unanimity_net::message::receive::<QUESTION_BYTES>(&mut stream).await.ok();
                    match says {
                        Some(bytes) => unanimity_net::message::send(&mut stream, &bytes)
                            .await
                            .unwrap_or_default(),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        let reachable =
            async { timeout(Duration::from_secs(60), service.wait_until_reachable()).await };
        runtime.block_on(reachable).unwrap();
        OnionImpostor { response: says, server: hosting, runtime }
    }

    /// The keys and the address are free again.
    fn stop(self) {
        self.server.abort();
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

/// Bytes that lie unread in a process's TCP sockets.
fn unread_bytes(process: u32) -> u64 {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten() {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        let inode = link.to_string_lossy().strip_prefix("socket:[").map(str::to_owned);
        inodes.extend(inode.map(|inode| inode.trim_end_matches(']').to_owned()));
    }
    // proc(5): sl local remote state tx:rx tr:when retransmits uid timeout inode
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| inodes.iter().any(|inode| inode == row[9]));
    ours.map(|row| u64::from_str_radix(row[4].split_once(':').unwrap().1, 16).unwrap()).sum()
}

#[test]
fn a_peer_that_says_nothing_or_rubbish_is_named_for_it_is_no_fork_and_silences_nobody_else() {
    let mut circles = TorTestWorld::prepare(3);
    circles.replace_config_line("client", "ask_timeout", "ask_timeout = \"8s\"");
    circles.replace_config_line("client", "roll_timeout", "roll_timeout = \"12s\"");
    circles.start_daemons();
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    let nodes = circles.world.clone();
    let update = |circles: &TorTestWorld| circles.client.run(&["update"]).unwrap();

    // A daemon that is killed while it is asked: held still until something has come that it has
    // not read.
    let bela = circles.peers[1].id().unwrap();
    kill_process(Pid::from_raw(bela as i32).unwrap(), Signal::STOP).unwrap();
    let before = unread_bytes(bela);
    let asked = circles.client.spawn(&["update"]).unwrap();
    circles.client.wait("question for bela", |_| Ok(unread_bytes(bela) > before)).unwrap();
    circles.peers[1].kill();
    let ended = ProcessResult::parse(asked.wait_with_output().unwrap()).unwrap();
    assert_incomplete_for(&ended, "bela", "", 1);
    assert_eq!(circles.installed(), None);

    let impostor = OnionImpostor::start(&nodes, "bela");
    let stage = &nodes.fixture;
    let head = stage.head_of("log").unwrap();
    let key_of = |who: &str| {
        Identity::read(&nodes.node_directory(who).join("state")).unwrap().unwrap().cosigning_key
    };
    let view = |who: &str, at| {
        let view = CosignedHead::sign(&head, &key_of(who), at).note().to_owned();
        Answer::CosignedHead(view).encode()
    };
    let framed = |length: u32, message: &[u8]| {
        let mut frame = vec![0; ANSWER_BYTES];
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame[4..4 + message.len()].copy_from_slice(message);
        frame
    };
    let mut padded = view("bela", now());
    *padded.last_mut().unwrap() = 1;
    let hour_ago = unanimity_protocol::Timestamp(now().0 - 3600);
    let long = ANSWER_BYTES as u32 - 3;
    let table: [(Vec<u8>, &str); 14] = [
        (
            framed(u32::MAX, b""),
            "answered with something that is no answer: a frame that announces 4294967295 bytes",
        ),
        (
            framed(long, &[1; 4]),
            "answered with something that is no answer: a frame that announces 8445 bytes",
        ),
        (
            vec![0xff; 3 * ANSWER_BYTES],
            "answered with something that is no answer: a frame that announces 4294967295 bytes",
        ),
        (framed(0, b""), "answered with something that is no answer: not a message of version 1"),
        (
            framed(100, &[[1, 0].as_slice(), &[0xee; 98]].concat()),
            "answered with something that is no answer: not a message of version 1",
        ),
        (
            framed(6, &[9, 0, 0, 0, 0, 0]),
            "answered with something that is no answer: messages of version 9",
        ),
        (
            padded,
            "answered with something that is no answer: a frame with something behind its message",
        ),
        (
            Answer::Tile(vec![7; 32]).encode(),
            "answered with something that is no answer: a tile, and a view was asked for",
        ),
        (
            Answer::NoTile.encode(),
            "answered with something that is no answer: a tile, and a view was asked for",
        ),
        (Answer::CosignedHead("rubbish".to_owned()).encode(), "its view does not verify"),
        // Another peer's view, passed on.
        (view("alice", now()), "its view does not verify"),
        (view("bela", hour_ago), "its view is old"),
        (Answer::Evidence("rubbish".to_owned()).encode(), "sent evidence that proves nothing"),
        (
            view("bela", now())[..ANSWER_BYTES / 2].to_vec(),
            "the connection broke before a whole answer",
        ),
    ];
    for (says, words) in table {
        *impostor.response.lock().unwrap() = Some(says);
        assert_incomplete_for(&update(&circles), "bela", words, 1);
    }
    *impostor.response.lock().unwrap() = None;
    let began = Instant::now();
    assert_incomplete_for(&update(&circles), "bela", "no answer within the deadline", 1);
    // The roll has 12 seconds here.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(circles.installed(), None);
    assert_eq!(stage.latched_evidence().unwrap(), None);

    // None of it outlives the impostor.
    impostor.stop();
    circles.peers[1].serve().unwrap();
    wait_reachable(&mut circles.peers[1]);
    let ended = circles.update_until_settled();
    assert_eq!((ended.exit_code, circles.installed()), (0, Some(1)), "{}", ended.report);
}
