//! A limit on simultaneous connections: at the limit, a new connection displaces the oldest one.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// The connections in progress, up to a limit. They end when the limit is dropped.
#[derive(Debug)]
pub struct ConnectionLimit {
    max: usize,
    /// The least time for which a connection is kept, however many others wait.
    min_hold: Duration,
    tasks: JoinSet<()>,
    /// The start time and the handle of each task, oldest first. Some of the tasks may have ended.
    by_age: VecDeque<(Instant, AbortHandle)>,
}

impl ConnectionLimit {
    /// Allows at most `max` connections at once, and keeps each for at least `min_hold`.
    pub fn new(max: usize, min_hold: Duration) -> ConnectionLimit {
        ConnectionLimit { max, min_hold, tasks: JoinSet::new(), by_age: VecDeque::new() }
    }

    /// Starts the task that answers a connection, after [`ConnectionLimit::acquire`].
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.by_age.push_back((Instant::now(), self.tasks.spawn(task)));
    }

    /// Waits until there is room for a connection. If none ends before the oldest has had its
    /// `min_hold`, the oldest is closed.
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
