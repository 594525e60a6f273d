//! Asking several hosts for one thing: the first good answer counts.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

/// How long one host has an answer to itself before the next is asked as well. Most answers through
/// Tor take less.
pub const HEDGE_DELAY: Duration = Duration::from_secs(3);

/// Asks one host after the other, the next as soon as one has failed or [`HEDGE_DELAY`] is over, and
/// gives the first good answer; what is still on its way then is dropped. Without one, every
/// host's failure, in the order in which they failed.
pub async fn hedged<I, T, E, F: Future<Output = Result<T, E>>>(
    hosts: impl IntoIterator<Item = I>,
    ask: impl Fn(I) -> F,
) -> Result<T, Vec<E>> {
    hedged_after(HEDGE_DELAY, hosts, ask).await
}

/// The same with another patience, for what takes longer.
pub async fn hedged_after<I, T, E, F: Future<Output = Result<T, E>>>(
    delay: Duration,
    hosts: impl IntoIterator<Item = I>,
    ask: impl Fn(I) -> F,
) -> Result<T, Vec<E>> {
    let mut hosts = hosts.into_iter();
    let mut asked = FuturesUnordered::new();
    let mut failed = Vec::new();
    asked.extend(hosts.next().map(&ask));
    while !asked.is_empty() {
        let next = hosts.next();
        let answer = match &next {
            Some(_) => timeout(delay, asked.next()).await.ok().flatten(),
            None => asked.next().await,
        };
        match answer {
            Some(Ok(good)) => return Ok(good),
            Some(Err(error)) => failed.push(error),
            None => {}
        }
        asked.extend(next.map(&ask));
    }
    Err(failed)
}
