//! Places for those who are being answered: so many at once, and the oldest makes room.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// The connections that are being answered. Dropped, they end.
#[derive(Debug)]
pub struct ConnectionLimit {
    max: usize,
    /// How long each is sure of its place, however many others wait for one.
    min_hold: Duration,
    tasks: JoinSet<()>,
    /// The same, oldest first, and some that have ended.
    by_age: VecDeque<(Instant, AbortHandle)>,
}

impl ConnectionLimit {
    /// At most so many at once, each sure of its place for so long.
    pub fn new(max: usize, min_hold: Duration) -> ConnectionLimit {
        ConnectionLimit { max, min_hold, tasks: JoinSet::new(), by_age: VecDeque::new() }
    }

    /// Answers on a connection that has its place.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.by_age.push_back((Instant::now(), self.tasks.spawn(task)));
    }

    /// Waits for a place: until a connection ends, or the oldest has had its time and is ended.
    pub async fn acquire(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.by_age.retain(|(_, task)| !task.is_finished());
        if self.tasks.len() < self.max {
            return;
        }
        if let Some((began, task)) = self.by_age.front()
            && timeout_at(*began + self.min_hold, self.tasks.join_next()).await.is_err()
        {
            task.abort();
            self.tasks.join_next().await;
        }
    }
}
