//! The control socket of a daemon: slow and absent clients hold up neither the daemon nor each
//! other.

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

/// Starts a daemon that answers each question with the question. "two" and "much" get lines before
/// the answer: 2 and [`MANY_LINES`]. "slow" gets no answer. Each command holds a clone of `at_work`
/// while it runs.
fn spawn_daemon(state: &Path, at_work: &Arc<()>) -> JoinHandle<()> {
    let socket = ControlSocket::new(state, &Storage::default()).unwrap().listen().unwrap();
    let at_work = at_work.clone();
    tokio::spawn(serve_requests(socket, move |question, lines: ProgressLines| {
        let at_work = at_work.clone();
        async move {
            if question == b"slow" {
                std::future::pending::<()>().await;
            }
            let line_counts = [(&b"much"[..], MANY_LINES), (b"two", 2)];
            for (_, count) in line_counts.iter().filter(|(name, _)| *name == question) {
                for n in 0..*count {
                    lines.send(format!("{n:0100}").into_bytes());
                    // Gives the other tasks a turn.
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

/// More lines than the buffers of the socket and the daemon hold.
const MANY_LINES: usize = 20_000;

async fn send_slow_command(state: &Path) -> UnixStream {
    send_command(state, b"slow\n").await
}

/// Sends a question, and reads nothing.
async fn send_command(state: &Path, question: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(state.join("serve/socket")).await.unwrap();
    stream.write_all(question).await.unwrap();
    stream
}

/// Waits until exactly `commands` commands run. The paused time stands still meanwhile.
async fn wait_for_running_commands(at_work: &Arc<()>, commands: usize) {
    // The test and the daemon hold one clone each.
    while Arc::strong_count(at_work) != commands + 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_client_is_gone_is_dropped() {
    let (scratch, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(scratch.path(), &at_work);
    let clients =
        [send_slow_command(scratch.path()).await, send_slow_command(scratch.path()).await];
    wait_for_running_commands(&at_work, 2).await;
    drop(clients);
    wait_for_running_commands(&at_work, 0).await;
    daemon.abort();
}

#[tokio::test(start_paused = true)]
async fn quick_commands_are_answered_while_many_slow_ones_wait() {
    let (scratch, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(scratch.path(), &at_work);
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(send_slow_command(scratch.path()).await);
    }
    wait_for_running_commands(&at_work, 32).await;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(send_request(scratch.path(), "quick", |_| {}).await.unwrap().unwrap(), b"quick");
        assert!(began.elapsed() <= 5 * SECOND);
    }
    // The oldest slow command made room, and its client gets the end of the stream.
    let mut answer = Vec::new();
    clients[0].read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"");
    let last = clients[31].read_to_end(&mut answer);
    assert!(timeout(Duration::from_secs(60), last).await.is_err());
    daemon.abort();
}

#[tokio::test(start_paused = true)]
async fn progress_lines_come_before_the_answer_in_order() {
    let (scratch, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(scratch.path(), &at_work);
    let mut lines = Vec::new();
    let answer = send_request(scratch.path(), "two", |line| lines.push(line.to_vec())).await;
    assert_eq!(answer.unwrap().unwrap(), b"two");
    assert_eq!(lines, [0, 1].map(|n| format!("{n:0100}").into_bytes()));
    // Of many lines, some may be missing. None is cut, and all are in order.
    lines.clear();
    let answer = send_request(scratch.path(), "much", |line| lines.push(line.to_vec())).await;
    assert_eq!(answer.unwrap().unwrap(), b"much");
    assert!(lines.len() > 8 && lines.is_sorted() && lines.iter().all(|line| line.len() == 100));
    daemon.abort();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_delays_neither_work_nor_others() {
    let (scratch, at_work) = (scratch_dir(), Arc::new(()));
    let daemon = spawn_daemon(scratch.path(), &at_work);
    let mut stalled = send_command(scratch.path(), b"much\n").await;
    wait_for_running_commands(&at_work, 1).await;
    assert_eq!(send_request(scratch.path(), "quick", |_| {}).await.unwrap().unwrap(), b"quick");
    // The paused time stands still: the work ends before any timeout.
    let began = Instant::now();
    wait_for_running_commands(&at_work, 0).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    // The client has to read the answer in time.
    tokio::time::sleep(10 * SECOND).await;
    let mut taken = Vec::new();
    stalled.read_to_end(&mut taken).await.unwrap();
    assert!(!taken.ends_with(b"much"), "{} bytes", taken.len());
    assert!(taken.len() < MANY_LINES * 101, "{} bytes", taken.len());
    // A slow client gets the answer, and the lines that the buffers held.
    let mut slow = send_command(scratch.path(), b"much\n").await;
    wait_for_running_commands(&at_work, 1).await;
    wait_for_running_commands(&at_work, 0).await;
    taken.clear();
    slow.read_to_end(&mut taken).await.unwrap();
    assert!(taken.ends_with(b"\nmuch"), "{} bytes", taken.len());
    assert!(taken.len() < MANY_LINES * 101, "{} bytes", taken.len());
    daemon.abort();
}
