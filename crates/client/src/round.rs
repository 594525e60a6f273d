//! Calling the roll: every peer at once, each on its own circuit, again if that broke.
//!
//! A peer that another circuit may reach is asked up to four times, 1, 2 and 4 seconds after
//! the try before failed and up to half as long again. Whatever it answers is an answer, also if
//! it is no good, and is not asked for twice. The roll closes when everybody has answered or
//! been given up, and at the latest after `roll_timeout`: the dead cost the others no more.

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

/// How often one peer is asked for its view in one roll.
const MAX_TRIES: usize = 4;

/// How long to wait before each try but the first, in whole milliseconds.
pub type RetryDelays = [Duration; MAX_TRIES - 1];

/// A called roll, and all that was learned on the way.
pub(crate) struct CollectedRound {
    /// One answer for every peer.
    pub(crate) round: Round,
    /// Every cosigned view, also one that does not count (old, regressed).
    pub(crate) cosigned_heads: Vec<CosignedHead>,
    /// Every head that the log signed, whoever showed it: for comparison only.
    pub(crate) heads: Vec<TreeHead>,
    /// Evidence that a peer sent and that verifies.
    pub(crate) evidence: Option<Box<Evidence>>,
}

/// One peer's verified answer.
#[derive(Default)]
struct PeerReply {
    cosigned_head: Option<CosignedHead>,
    head: Option<TreeHead>,
    evidence: Option<Box<Evidence>>,
}

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
        // Drawn before anybody is asked: who answers when changes nobody's chances.
        let delays = draw_retry_delays(rng);
        async move {
            let key = peer.key.raw();
            let (received_at, answer) = match sharing.recent(log, key) {
                Some(lately) => lately,
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
        let before = largest.get(&key).map_or(0, |view| view.head().size());
        let mut reply = PeerReply::default();
        let answer = answer.and_then(|answer| {
            verify_answer(&config.cycle.policy.log, &peer.key, answer, &mut reply)
        });
        // When it came, and still when the roll closes: that is the time a proof bundle bears.
        let admitted = answer
            .and_then(|view| config.cycle.limits.admit(view, received_at, before))
            .and_then(|view| config.cycle.limits.admit(view, closed_at, before));
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

/// Draws the waits between the tries at one peer: what a cycle draws first, for each in turn.
pub fn draw_retry_delays(rng: &mut impl Rng) -> RetryDelays {
    std::array::from_fn(|tries| {
        let wait = 1000 << tries;
        Duration::from_millis(rng.random_range(wait..=wait + wait / 2))
    })
}

/// Asks one peer until it answers, the tries are used up or the roll closes.
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
            Ok(Err(AttemptError { failure: silence, is_retryable: false })) => return Err(silence),
            Ok(Err(AttemptError { failure: silence, .. })) => last_failure = Some(silence),
            // That time ran out says less than why an earlier try broke.
            Err(_) => {}
        }
    }
    Err(last_failure.unwrap_or(PeerFailure::TimedOut))
}

/// Asks somebody for their view, once and apart from any roll. Callers put a deadline around it.
pub async fn ask_once(
    transport: &impl Transport,
    address: &OnionAddress,
    log: &Log,
    key: &CosignatureVerifyingKey,
) -> Result<CosignedHead, PeerFailure> {
    let asked = dial_and_ask(transport, address, &Question::CosignedHead(log.id())).await;
    let answer = asked.map_err(|AttemptError { failure: silence, .. }| silence)?;
    verify_answer(log, key, answer, &mut PeerReply::default())
}

/// A try without an answer, or with one that is none.
struct AttemptError {
    failure: PeerFailure,
    /// Whether another circuit may bring an answer.
    is_retryable: bool,
}

async fn dial_and_ask<T: Transport>(
    transport: &T,
    address: &OnionAddress,
    question: &Question,
) -> Result<Answer, AttemptError> {
    let mut stream = transport.dial(address).await.map_err(|error| AttemptError {
        failure: PeerFailure::Unreachable(error.to_string()),
        // A transport that reaches nobody will not do so a second later.
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

/// Verifies an answer. What verifies is noted in `heads` even if it is no view that counts.
fn verify_answer(
    log: &Log,
    key: &CosignatureVerifyingKey,
    answer: Answer,
    reply: &mut PeerReply,
) -> Result<CosignedHead, PeerFailure> {
    match answer {
        Answer::CosignedHead(note) => {
            let opened = CosignedHead::verify(note.as_bytes(), log, key);
            // A view that is no good may still show a head that the log signed.
            reply.head = match &opened {
                Ok(view) => Some(view.head().clone()),
                Err(_) => TreeHead::verify(note.as_bytes(), log).ok(),
            };
            reply.cosigned_head = opened.as_ref().ok().cloned();
            Ok(opened?)
        }
        Answer::Evidence(text) => {
            let evidence = Evidence::verify(&text, log)?;
            reply.evidence = Some(Box::new(evidence));
            Err(PeerFailure::Malformed("evidence".to_owned()))
        }
        Answer::NoFreshHead(since) => Err(PeerFailure::NoFreshHead(Timestamp(since))),
        Answer::OtherLog => Err(PeerFailure::OtherLog),
        Answer::Tile(_) | Answer::NoTile => {
            Err(PeerFailure::Malformed("a tile, and a view was asked for".to_owned()))
        }
    }
}
