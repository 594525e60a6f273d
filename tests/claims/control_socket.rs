//! The socket by which commands reach a daemon: who waits for whom.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use unanimity::daemon::control_socket::{
    ControlSocket, ProgressLines, send_request, serve_requests,
};
use unanimity_storage::Storage;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::SECOND;

/// Answers with the question; the question "slow" never, "much" after 20,000 lines, "two" after two.
/// Whoever holds a clone of `at_work` is at work.
fn spawn_daemon(state: &Path, at_work: &Arc<()>) -> JoinHandle<()> {
    let socket = ControlSocket::new(state, &Storage::default()).unwrap().listen().unwrap();
    let at_work = at_work.clone();
    tokio::spawn(serve_requests(socket, move |question, lines: ProgressLines| {
        let at_work = at_work.clone();
        async move {
            if question == b"slow" {
                std::future::pending::<()>().await;
            }
            let said = [(&b"much"[..], MANY_LINES), (b"two", 2)];
            for (_, count) in said.iter().filter(|(said, _)| *said == question) {
                for n in 0..*count {
                    lines.send(format!("{n:0100}").into_bytes());
                    // Others have their turn.
                    if n % 8 == 7 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            drop(at_work);
            question
        }
    }))
}

/// More lines than a socket and the daemon hold.
const MANY_LINES: usize = 20_000;

async fn send_slow_command(state: &Path) -> UnixStream {
    send_command(state, b"slow\n").await
}

/// Puts a question, and takes nothing.
async fn send_command(state: &Path, question: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(state.join("serve/socket")).await.unwrap();
    stream.write_all(question).await.unwrap();
    stream
}

/// Waits, in no time that anybody plays, until so many commands are at work.
async fn wait_for_running_commands(at_work: &Arc<()>, commands: usize) {
    // The test and the daemon hold one each.
    while Arc::strong_count(at_work) != commands + 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_client_is_gone_is_dropped() {
    let (place, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(place.path(), &at_work);
    let clients = [send_slow_command(place.path()).await, send_slow_command(place.path()).await];
    wait_for_running_commands(&at_work, 2).await;
    drop(clients);
    wait_for_running_commands(&at_work, 0).await;
    daemon.abort();
}

#[tokio::test(start_paused = true)]
async fn quick_commands_are_answered_however_many_slow_ones_wait() {
    let (place, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(place.path(), &at_work);
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(send_slow_command(place.path()).await);
    }
    wait_for_running_commands(&at_work, 32).await;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(send_request(place.path(), "quick", |_| {}).await.unwrap().unwrap(), b"quick");
        assert!(began.elapsed() <= 5 * SECOND);
    }
    // The oldest made room, and knows.
    let mut answer = Vec::new();
    clients[0].read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"");
    let last = clients[31].read_to_end(&mut answer);
    assert!(timeout(Duration::from_secs(60), last).await.is_err());
    daemon.abort();
}

#[tokio::test(start_paused = true)]
async fn what_a_command_says_on_its_way_comes_as_lines_before_its_answer() {
    let (place, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(place.path(), &at_work);
    let mut heard = Vec::new();
    let answer = send_request(place.path(), "two", |line| heard.push(line.to_vec())).await;
    assert_eq!(answer.unwrap().unwrap(), b"two");
    assert_eq!(heard, [0, 1].map(|n| format!("{n:0100}").into_bytes()));
    // Some of many may be missing, none is cut, and none is out of its order.
    heard.clear();
    let answer = send_request(place.path(), "much", |line| heard.push(line.to_vec())).await;
    assert_eq!(answer.unwrap().unwrap(), b"much");
    assert!(heard.len() > 8 && heard.is_sorted() && heard.iter().all(|line| line.len() == 100));
    daemon.abort();
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_no_lines_holds_up_neither_the_work_nor_others() {
    let (place, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(place.path(), &at_work);
    let mut deaf = send_command(place.path(), b"much\n").await;
    wait_for_running_commands(&at_work, 1).await;
    assert_eq!(send_request(place.path(), "quick", |_| {}).await.unwrap().unwrap(), b"quick");
    // In no time that anybody plays: nothing was given up to get that far.
    let began = Instant::now();
    wait_for_running_commands(&at_work, 0).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    // The answer has to be taken in time, as ever.
    tokio::time::sleep(10 * SECOND).await;
    let mut taken = Vec::new();
    deaf.read_to_end(&mut taken).await.unwrap();
    assert!(!taken.ends_with(b"much"), "{} bytes", taken.len());
    assert!(taken.len() < MANY_LINES * 101, "{} bytes", taken.len());
    // Whoever is only slow has it, and what there was room for.
    let mut slow = send_command(place.path(), b"much\n").await;
    wait_for_running_commands(&at_work, 1).await;
    wait_for_running_commands(&at_work, 0).await;
    taken.clear();
    slow.read_to_end(&mut taken).await.unwrap();
    assert!(taken.ends_with(b"\nmuch"), "{} bytes", taken.len());
    assert!(taken.len() < MANY_LINES * 101, "{} bytes", taken.len());
    daemon.abort();
}
