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
const LATELY: Duration = Duration::from_secs(5 * 60);

/// The answers, by log and peer. A view of a log says nothing of any product.
#[derive(Debug, Default)]
pub struct Answers(Mutex<BTreeMap<(LogId, PublicKeyBytes), Answered>>);

/// What a peer answered, and when that came: by a clock that nobody sets, and by ours.
type Answered = (Instant, Timestamp, Result<Answer, PeerFailure>);

impl Answers {
    fn lately(
        &self,
        log: LogId,
        key: PublicKeyBytes,
    ) -> Option<(Timestamp, Result<Answer, PeerFailure>)> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, came, answer) = answers.get(&(log, key))?;
        (at.elapsed() < LATELY).then(|| (*came, answer.clone()))
    }

    fn keep(
        &self,
        log: LogId,
        key: PublicKeyBytes,
        came: Timestamp,
        answer: &Result<Answer, PeerFailure>,
    ) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (at, ..)| at.elapsed() < LATELY);
        answers.insert((log, key), (Instant::now(), came, answer.clone()));
    }
}

/// How a client goes with those of other products.
#[derive(Clone, Debug, Default)]
pub enum Sharing {
    /// There are none.
    #[default]
    Nothing,
    /// Everybody is asked, and the answers are kept for the others.
    Begins(Arc<Answers>),
    /// Who answered lately is not asked again.
    Follows {
        /// What they answered.
        answers: Arc<Answers>,
        /// The state of the node whose product this is as well: both are latched by what one finds.
        beside: PathBuf,
    },
}

impl Sharing {
    /// What a peer answered, and when that came, if it was lately.
    pub(crate) fn lately(
        &self,
        log: LogId,
        key: PublicKeyBytes,
    ) -> Option<(Timestamp, Result<Answer, PeerFailure>)> {
        match self {
            Sharing::Follows { answers, .. } => answers.lately(log, key),
            Sharing::Nothing | Sharing::Begins(_) => None,
        }
    }

    pub(crate) fn keep(
        &self,
        log: LogId,
        key: PublicKeyBytes,
        came: Timestamp,
        answer: &Result<Answer, PeerFailure>,
    ) {
        match self {
            Sharing::Nothing => {}
            Sharing::Begins(answers) | Sharing::Follows { answers, .. } => {
                answers.keep(log, key, came, answer);
            }
        }
    }

    /// Where evidence is kept besides the product's own state.
    pub fn beside(&self) -> Option<&Path> {
        match self {
            Sharing::Follows { beside, .. } => Some(beside),
            Sharing::Nothing | Sharing::Begins(_) => None,
        }
    }
}
