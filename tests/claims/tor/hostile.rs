//! Hostile peers: any answer but a cosigned head holds the update back, and has no other effect.

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
use crate::messages::Messages;

/// An attacker that hosts a peer's address with its keys.
///
/// It answers every question with the same bytes and ends the stream. Without bytes it reads the
/// question and never answers.
struct OnionImpostor {
    response: Arc<Mutex<Option<Vec<u8>>>>,
    server: JoinHandle<()>,
    runtime: Runtime,
}

impl OnionImpostor {
    /// Takes the place of a peer whose daemon is not running.
    fn start(onion: &OnionWorld, name: &str) -> OnionImpostor {
        let runtime = Runtime::new().unwrap();
        let config =
            unanimity_config::load_node_config(&onion.node_directory(name).join("unanimity.toml"))
                .unwrap();
        let readers =
            AuthorizedClients::Listed(config.peers.client_auth_keys(now()).into_values().collect());
        let response = Arc::new(Mutex::new(None));
        let served = response.clone();
        let mut listener = runtime.block_on(async {
            let tor = TorClient::new(&config.tor, None).unwrap();
            tor.bootstrap(|_, _| {}).await.unwrap();
            tor.launch_service(&service_settings(config.serve.as_ref().unwrap()), &readers).unwrap()
        });
        let service = listener.service().clone();
        let hosting = runtime.spawn(async move {
            while let Ok(mut stream) = listener.accept().await {
                let response: Option<Vec<u8>> = served.lock().unwrap().clone();
                tokio::spawn(async move {
                    unanimity_net::message::receive::<QUESTION_BYTES>(&mut stream).await.ok();
                    match response {
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
        OnionImpostor { response, server: hosting, runtime }
    }

    /// Stops the impostor. The peer can use its keys and its address again.
    fn stop(self) {
        self.server.abort();
        self.runtime.shutdown_timeout(Duration::from_secs(10));
    }
}

/// The number of unread bytes in a process's TCP sockets.
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
fn a_silent_or_malformed_peer_is_named_and_silences_no_other_peer() {
    let mut world = TorTestWorld::prepare(3);
    world.replace_config_line("client", "ask_timeout", "ask_timeout = \"8s\"");
    world.replace_config_line("client", "round_timeout", "round_timeout = \"12s\"");
    world.start_daemons();
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    let onion = world.onion.clone();
    let update = |world: &TorTestWorld| world.client.run(&["update"]).unwrap();

    // A daemon that is killed while a client asks it: SIGSTOP holds it until a question has
    // arrived.
    let bela = world.peers[1].id().unwrap();
    kill_process(Pid::from_raw(bela as i32).unwrap(), Signal::STOP).unwrap();
    let before = unread_bytes(bela);
    let asked = world.client.spawn(&["update"]).unwrap();
    world.client.wait("question for bela", |_| Ok(unread_bytes(bela) > before)).unwrap();
    world.peers[1].kill();
    let result = ProcessResult::parse(asked.wait_with_output().unwrap()).unwrap();
    assert_incomplete_for(&result, "bela", 1);
    assert_eq!(world.installed(), None);

    let impostor = OnionImpostor::start(&onion, "bela");
    let fixture = &onion.fixture;
    let head = fixture.head_of("log").unwrap();
    let key_of = |name: &str| {
        Identity::read(&onion.node_directory(name).join("state")).unwrap().unwrap().cosigning_key
    };
    let head_answer = |name: &str, at| {
        let cosigned = CosignedHead::sign(&head, &key_of(name), at).note().to_owned();
        Answer::CosignedHead(cosigned).encode()
    };
    let framed = |length: u32, message: &[u8]| {
        let mut frame = vec![0; ANSWER_BYTES];
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame[4..4 + message.len()].copy_from_slice(message);
        frame
    };
    let mut padded = head_answer("bela", now());
    *padded.last_mut().unwrap() = 1;
    let hour_ago = unanimity_protocol::Timestamp(now().0 - 3600);
    let long = ANSWER_BYTES as u32 - 3;
    let table = [
        ("length 4294967295", framed(u32::MAX, b"")),
        ("length beyond the frame", framed(long, &[1; 4])),
        ("three frames of 0xff", vec![0xff; 3 * ANSWER_BYTES]),
        ("empty message", framed(0, b"")),
        ("unknown variant", framed(100, &[[1, 0].as_slice(), &[0xee; 98]].concat())),
        ("version 9", framed(6, &[9, 0, 0, 0, 0, 0])),
        ("bytes after the message", padded),
        ("tile", Answer::Tile(vec![7; 32]).encode()),
        ("no tile", Answer::NoTile.encode()),
        ("head that is no note", Answer::CosignedHead("rubbish".to_owned()).encode()),
        ("head of another peer", head_answer("alice", now())),
        ("head of an hour ago", head_answer("bela", hour_ago)),
        ("evidence that is no note", Answer::Evidence("rubbish".to_owned()).encode()),
    ];
    let mut messages = Messages::new(world.directory.path());
    for (case, response) in table {
        *impostor.response.lock().unwrap() = Some(response);
        messages.add(case, &assert_incomplete_for(&update(&world), "bela", 1));
    }
    let half = head_answer("bela", now())[..ANSWER_BYTES / 2].to_vec();
    *impostor.response.lock().unwrap() = Some(half);
    let failure = assert_incomplete_for(&update(&world), "bela", 1);
    // The error of the stream behind the colon may differ.
    messages.add("half an answer", failure.split(": ").next().unwrap());
    *impostor.response.lock().unwrap() = None;
    let began = Instant::now();
    messages.add("no answer", &assert_incomplete_for(&update(&world), "bela", 1));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/hostile_peer.txt"]);
    // `round_timeout` is 12 seconds here.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(world.installed(), None);
    assert_eq!(fixture.latched_evidence().unwrap(), None);

    // Nothing of this outlasts the impostor.
    impostor.stop();
    world.peers[1].serve().unwrap();
    wait_reachable(&mut world.peers[1]);
    let result = world.update_until_settled();
    assert_eq!((result.exit_code, world.installed()), (0, Some(1)), "{}", result.report);
}
