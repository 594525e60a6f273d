//! A round of questions: the client asks every peer at once, each on its own circuit.
//!
//! If another circuit may help, a peer is asked up to four times. The waits between the tries are
//! 1, 2 and 4 seconds, each lengthened by a random part of up to one half. Any answer ends the
//! tries, also an invalid one. The round closes when every peer has answered or failed, at the
//! latest after `round_timeout`. A peer that is down delays the round by no more than that timeout.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use rand::{Rng, RngExt as _};
use tokio::time::{Instant, sleep, timeout_at};
use unanimity_config::{ClientConfig, OnionAddress};
use unanimity_net::message::{Answer, Question, WireError};
use unanimity_net::{
    Transport,
    message::{self},
};
use unanimity_protocol::{
    CosignatureVerifyingKey, CosignedHead, Evidence, Log, Peer, PeerFailure, PublicKeyBytes, Round,
    Timestamp, TreeHead,
};
use unanimity_storage::Clock;

use crate::answer_cache::Sharing;
use crate::progress::{AnswerCounter, ProgressSink};

/// The most tries in which one round asks one peer for its cosigned head.
const MAX_TRIES: usize = 4;

/// The waits before the second, third and fourth try, in whole milliseconds.
pub type RetryDelays = [Duration; MAX_TRIES - 1];

/// A closed round, and everything else that the peers' answers showed.
pub(crate) struct CollectedRound {
    /// One answer or failure for every peer.
    pub(crate) round: Round,
    /// Every verified cosigned head, also one that does not count because it is old or regressed.
    pub(crate) cosigned_heads: Vec<CosignedHead>,
    /// Every head with the log's signature that a peer showed, with or without a valid cosignature.
    /// The client compares these heads with its own, and counts none of them as a confirmation.
    pub(crate) heads: Vec<TreeHead>,
    /// Verified evidence of a fork that a peer sent: the first, in the order of the peers.
    pub(crate) evidence: Option<Box<Evidence>>,
}

/// The parts of one peer's answer that verify, whether or not the answer counts.
#[derive(Default)]
struct PeerReply {
    cosigned_head: Option<CosignedHead>,
    head: Option<TreeHead>,
    evidence: Option<Box<Evidence>>,
}

/// Asks every peer for its cosigned head and closes the round.
pub(crate) async fn collect_round<T: Transport>(
    config: &ClientConfig,
    transport: &T,
    clock: &impl Clock,
    progress: &ProgressSink,
    largest: &BTreeMap<PublicKeyBytes, CosignedHead>,
    sharing: &Sharing,
    rng: &mut impl Rng,
) -> CollectedRound {
    let (closes_at, log) =
        (Instant::now() + config.cycle.round_timeout, config.cycle.policy.log.id());
    let counter = &AnswerCounter::start(progress, config.peers.iter().len());
    let asked = config.peers.iter().map(|peer| {
        // All delays are drawn before the first question, so the time of an answer changes none of
        // them.
        let delays = draw_retry_delays(rng);
        async move {
            let key = peer.key.raw();
            let (received_at, answer) = match sharing.recent(log, key) {
                Some(recent) => recent,
                None => {
                    let answer =
                        ask_until_answered(config, transport, peer, delays, closes_at).await;
                    let received_at = clock.now();
                    sharing.cache_answer(log, key, received_at, &answer);
                    (received_at, answer)
                }
            };
            counter.count_answer(&answer);
            (peer, answer, received_at)
        }
    });
    let mut received = BTreeMap::new();
    let (mut cosigned_heads, mut heads, mut evidence) = (Vec::new(), Vec::new(), None);
    let answered = join_all(asked).await;
    let closed_at: Timestamp = clock.now();
    for (peer, answer, received_at) in answered {
        let key = peer.key.raw();
        let before = largest.get(&key).map_or(0, |cosigned| cosigned.head().size());
        let mut reply = PeerReply::default();
        let answer = answer.and_then(|answer| {
            verify_answer(&config.cycle.policy.log, &peer.key, answer, &mut reply)
        });
        // The cosignature must be recent at its arrival, and when the round closes. The proof
        // bundle contains the time at which the round closed.
        let admitted = answer
            .and_then(|cosigned| config.cycle.limits.admit(cosigned, received_at, before))
            .and_then(|cosigned| config.cycle.limits.admit(cosigned, closed_at, before));
        cosigned_heads.extend(reply.cosigned_head);
        heads.extend(reply.head);
        evidence = evidence.or(reply.evidence);
        received.insert(key, admitted);
    }
    CollectedRound {
        round: Round::new(&config.peers, closed_at, received),
        cosigned_heads,
        heads,
        evidence,
    }
}

/// Draws the waits between the tries at one peer. A round draws the waits for every peer before it
/// asks the first peer.
pub fn draw_retry_delays(rng: &mut impl Rng) -> RetryDelays {
    std::array::from_fn(|tries| {
        let wait = 1000 << tries;
        Duration::from_millis(rng.random_range(wait..=wait + wait / 2))
    })
}

/// Asks one peer until it answers, a failure makes further tries useless, the tries are used up, or
/// the round closes.
async fn ask_until_answered<T: Transport>(
    config: &ClientConfig,
    transport: &T,
    peer: &Peer,
    delays: RetryDelays,
    closes_at: Instant,
) -> Result<Answer, PeerFailure> {
    let address = config.addresses.get(&peer.key.raw()).ok_or(PeerFailure::NotAsked)?;
    let question = Question::CosignedHead(config.cycle.policy.log.id());
    let mut last_failure = None;
    for wait in std::iter::once(Duration::ZERO).chain(delays) {
        if Instant::now() + wait >= closes_at {
            break;
        }
        sleep(wait).await;
        let deadline = closes_at.min(Instant::now() + config.cycle.ask_timeout);
        match timeout_at(deadline, dial_and_ask(transport, address, &question)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(AttemptError { failure, is_retryable: false })) => return Err(failure),
            Ok(Err(AttemptError { failure, .. })) => last_failure = Some(failure),
            // The failure of an earlier try says more than this timeout.
            Err(_) => {}
        }
    }
    Err(last_failure.unwrap_or(PeerFailure::TimedOut))
}

/// Asks one node for its cosigned head, once and outside any round. The caller sets a deadline.
///
/// # Errors
/// [`PeerFailure`] says why there is no verified cosigned head. This function does not check the
/// head's age and size.
pub async fn ask_once(
    transport: &impl Transport,
    address: &OnionAddress,
    log: &Log,
    key: &CosignatureVerifyingKey,
) -> Result<CosignedHead, PeerFailure> {
    let asked = dial_and_ask(transport, address, &Question::CosignedHead(log.id())).await;
    let answer = asked.map_err(|AttemptError { failure, .. }| failure)?;
    verify_answer(log, key, answer, &mut PeerReply::default())
}

/// The error of a try that brought no answer, or bytes that are not a message.
struct AttemptError {
    failure: PeerFailure,
    /// Whether a try on another circuit may bring an answer.
    is_retryable: bool,
}

async fn dial_and_ask<T: Transport>(
    transport: &T,
    address: &OnionAddress,
    question: &Question,
) -> Result<Answer, AttemptError> {
    let mut stream = transport.dial(address).await.map_err(|error| AttemptError {
        failure: PeerFailure::Unreachable(error.to_string()),
        // A transport that supports no connections will not do so a second later.
        is_retryable: error.kind() != io::ErrorKind::Unsupported,
    })?;
    message::exchange(&mut stream, question).await.map_err(|error| match error {
        WireError::Io(error) => AttemptError {
            failure: PeerFailure::Disconnected(error.to_string()),
            is_retryable: true,
        },
        malformed => AttemptError {
            failure: PeerFailure::Malformed(malformed.to_string()),
            is_retryable: false,
        },
    })
}

/// Verifies an answer. Every part that verifies is stored in `reply`, also if the answer does not
/// count.
fn verify_answer(
    log: &Log,
    key: &CosignatureVerifyingKey,
    answer: Answer,
    reply: &mut PeerReply,
) -> Result<CosignedHead, PeerFailure> {
    match answer {
        Answer::CosignedHead(note) => {
            let verified = CosignedHead::verify(note.as_bytes(), log, key);
            // A note without a valid cosignature may still have the log's signature.
            reply.head = match &verified {
                Ok(cosigned) => Some(cosigned.head().clone()),
                Err(_) => TreeHead::verify(note.as_bytes(), log).ok(),
            };
            reply.cosigned_head = verified.as_ref().ok().cloned();
            Ok(verified?)
        }
        Answer::Evidence(text) => {
            let evidence = Evidence::verify(&text, log)?;
            reply.evidence = Some(Box::new(evidence));
            Err(PeerFailure::Malformed("evidence".to_owned()))
        }
        Answer::NoFreshHead(since) => Err(PeerFailure::NoFreshHead(Timestamp(since))),
        Answer::OtherLog => Err(PeerFailure::OtherLog),
        Answer::Tile(_) | Answer::NoTile => {
            Err(PeerFailure::Malformed("a tile instead of a cosigned head".to_owned()))
        }
    }
}
