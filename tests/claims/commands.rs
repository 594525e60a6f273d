//! The socket by which commands reach a daemon: who waits for whom.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use unanimity::durable::Disk;
use unanimity::serve::socket::{Owner, answer_all, ask};

use crate::circle::SECOND;
use crate::logs::place;

/// Answers with the question; the question "slow" never. Whoever holds a clone of `at_work` is at work.
fn daemon(state: &Path, at_work: &Arc<()>) -> JoinHandle<()> {
    let socket = Owner::new(state, &Disk::default()).unwrap().listen().unwrap();
    let at_work = at_work.clone();
    tokio::spawn(answer_all(socket, move |question| {
        let at_work = at_work.clone();
        async move {
            if question == b"slow" {
                std::future::pending::<()>().await;
            }
            drop(at_work);
            question
        }
    }))
}

async fn slow(state: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(state.join("serve/socket")).await.unwrap();
    stream.write_all(b"slow\n").await.unwrap();
    stream
}

/// Waits, in no time that anybody plays, until so many commands are at work.
async fn until(at_work: &Arc<()>, commands: usize) {
    // The test and the daemon hold one each.
    while Arc::strong_count(at_work) != commands + 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_client_is_gone_is_dropped() {
    let (place, at_work) = (place(), Arc::new(()));
    let daemon = daemon(place.path(), &at_work);
    let clients = [slow(place.path()).await, slow(place.path()).await];
    until(&at_work, 2).await;
    drop(clients);
    until(&at_work, 0).await;
    daemon.abort();
}

#[tokio::test(start_paused = true)]
async fn quick_commands_are_answered_however_many_slow_ones_wait() {
    let (place, at_work) = (place(), Arc::new(()));
    let daemon = daemon(place.path(), &at_work);
    let mut clients = Vec::new();
    for _ in 0..32 {
        clients.push(slow(place.path()).await);
    }
    until(&at_work, 32).await;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(ask(place.path(), "quick").await.unwrap().unwrap(), b"quick");
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
