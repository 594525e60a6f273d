//! The recent answers of peers, shared by a node's products that follow the same log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use unanimity_net::message::Answer;
use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::{PeerFailure, PublicKeyBytes, Timestamp};

/// How long an answer is reused: 5 minutes. This limit decides only which peers are asked again.
/// Whether an answer counts depends on the time in its cosignature.
const ANSWER_TTL: Duration = Duration::from_secs(5 * 60);

/// The recent answers of peers, by log and peer. All products of one log can use an answer, because
/// a cosigned head names no product.
#[derive(Debug, Default)]
pub struct AnswerCache(Mutex<BTreeMap<(LogId, PublicKeyBytes), CachedAnswer>>);

/// When an answer arrived, by a monotonic clock and by the node's clock, and the answer itself.
type CachedAnswer = (Instant, Timestamp, Result<Answer, PeerFailure>);

impl AnswerCache {
    fn recent(
        &self,
        log: LogId,
        key: PublicKeyBytes,
    ) -> Option<(Timestamp, Result<Answer, PeerFailure>)> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, received_at, answer) = answers.get(&(log, key))?;
        (at.elapsed() < ANSWER_TTL).then(|| (*received_at, answer.clone()))
    }

    fn insert(
        &self,
        log: LogId,
        key: PublicKeyBytes,
        received_at: Timestamp,
        answer: &Result<Answer, PeerFailure>,
    ) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (at, ..)| at.elapsed() < ANSWER_TTL);
        answers.insert((log, key), (Instant::now(), received_at, answer.clone()));
    }
}

/// How a client shares answers and evidence with the clients of the node's other products.
#[derive(Clone, Debug, Default)]
pub enum Sharing {
    /// The client shares nothing.
    #[default]
    Nothing,
    /// The client asks every peer, and caches the answers for the other clients.
    Primary(Arc<AnswerCache>),
    /// The client reuses recent answers, and asks only the peers without one.
    Secondary {
        /// The cached answers.
        answers: Arc<AnswerCache>,
        /// The state directory of the primary client. This client stores evidence there, too, so a
        /// fork latches for both clients.
        primary_state: PathBuf,
    },
}

impl Sharing {
    /// A peer's cached answer and its time of arrival, if the client may reuse it.
    pub(crate) fn recent(
        &self,
        log: LogId,
        key: PublicKeyBytes,
    ) -> Option<(Timestamp, Result<Answer, PeerFailure>)> {
        match self {
            Sharing::Secondary { answers, .. } => answers.recent(log, key),
            Sharing::Nothing | Sharing::Primary(_) => None,
        }
    }

    /// Caches an answer, if the client shares answers.
    pub(crate) fn cache_answer(
        &self,
        log: LogId,
        key: PublicKeyBytes,
        received_at: Timestamp,
        answer: &Result<Answer, PeerFailure>,
    ) {
        match self {
            Sharing::Nothing => {}
            Sharing::Primary(answers) | Sharing::Secondary { answers, .. } => {
                answers.insert(log, key, received_at, answer);
            }
        }
    }

    /// The primary client's state directory, in which this client stores evidence as well. `None`
    /// if this client is not secondary.
    pub fn primary_state(&self) -> Option<&Path> {
        match self {
            Sharing::Secondary { primary_state, .. } => Some(primary_state),
            Sharing::Nothing | Sharing::Primary(_) => None,
        }
    }
}
