//! What peers answered lately, for all products of one node: each is asked once for its view of a log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use unanimity_net::message::Answer;
use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::{PeerFailure, PublicKeyBytes, Timestamp};

/// For how long an answer is not asked for again. It is admitted by its own time as ever, so this
/// decides nothing but who is asked.
const ANSWER_TTL: Duration = Duration::from_secs(5 * 60);

/// The answers, by log and peer. A view of a log says nothing of any product.
#[derive(Debug, Default)]
pub struct AnswerCache(Mutex<BTreeMap<(LogId, PublicKeyBytes), CachedAnswer>>);

/// What a peer answered, and when that came: by a clock that nobody sets, and by ours.
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

/// How a client goes with those of other products.
#[derive(Clone, Debug, Default)]
pub enum Sharing {
    /// There are none.
    #[default]
    Nothing,
    /// Everybody is asked, and the answers are kept for the others.
    Primary(Arc<AnswerCache>),
    /// Who answered lately is not asked again.
    Secondary {
        /// What they answered.
        answers: Arc<AnswerCache>,
        /// The state of the node whose product this is as well: both are latched by what one finds.
        primary_state: PathBuf,
    },
}

impl Sharing {
    /// What a peer answered, and when that came, if it was lately.
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

    /// Where evidence is kept besides the product's own state.
    pub fn primary_state(&self) -> Option<&Path> {
        match self {
            Sharing::Secondary { primary_state, .. } => Some(primary_state),
            Sharing::Nothing | Sharing::Primary(_) => None,
        }
    }
}
