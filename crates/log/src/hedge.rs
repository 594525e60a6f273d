//! Hedged requests: several hosts are asked for one thing, and the first good answer counts.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

/// How long one host has to answer before the next host is asked, too. Most answers through Tor
/// take less time.
pub const HEDGE_DELAY: Duration = Duration::from_secs(3);

/// Asks hosts in order until one gives a good answer. The requests that are still in flight are
/// dropped.
///
/// The next host is asked when a host has failed, or after [`HEDGE_DELAY`] without an answer. If
/// all hosts fail, the error has their failures, in the order in which they failed.
pub async fn hedged<I, T, E, F: Future<Output = Result<T, E>>>(
    hosts: impl IntoIterator<Item = I>,
    ask: impl Fn(I) -> F,
) -> Result<T, Vec<E>> {
    hedged_after(HEDGE_DELAY, hosts, ask).await
}

/// Asks hosts like [`hedged`], with the given delay. It is for requests that take longer.
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
