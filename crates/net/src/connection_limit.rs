//! Places for those who are being answered: so many at once, and the oldest makes room.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

/// The connections that are being answered. Dropped, they end.
#[derive(Debug)]
pub struct Places {
    most: usize,
    /// How long each is sure of its place, however many others wait for one.
    sure: Duration,
    tasks: JoinSet<()>,
    /// The same, oldest first, and some that have ended.
    oldest: VecDeque<(Instant, AbortHandle)>,
}

impl Places {
    /// At most so many at once, each sure of its place for so long.
    pub fn new(most: usize, sure: Duration) -> Places {
        Places { most, sure, tasks: JoinSet::new(), oldest: VecDeque::new() }
    }

    /// Answers on a connection that has its place.
    pub fn start(&mut self, answering: impl Future<Output = ()> + Send + 'static) {
        self.oldest.push_back((Instant::now(), self.tasks.spawn(answering)));
    }

    /// Waits for a place: until a connection ends, or the oldest has had its time and is ended.
    pub async fn make_place(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.oldest.retain(|(_, task)| !task.is_finished());
        if self.tasks.len() < self.most {
            return;
        }
        if let Some((began, task)) = self.oldest.front()
            && timeout_at(*began + self.sure, self.tasks.join_next()).await.is_err()
        {
            task.abort();
            self.tasks.join_next().await;
        }
    }
}
