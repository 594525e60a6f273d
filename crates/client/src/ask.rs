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
use unanimity_config::{Config, OnionAddress};
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
use crate::progress::{Counted, Watcher};

/// How often one peer is asked for its view in one roll.
const MAX_TRIES: usize = 4;

/// How long to wait before each try but the first, in whole milliseconds.
pub type Waits = [Duration; MAX_TRIES - 1];

/// A called roll, and all that was learned on the way.
pub(crate) struct Called {
    /// One answer for every peer.
    pub(crate) roll: Round,
    /// Every cosigned view, also one that does not count (old, regressed).
    pub(crate) views: Vec<CosignedHead>,
    /// Every head that the log signed, whoever showed it: for comparison only.
    pub(crate) heads: Vec<TreeHead>,
    /// Evidence that a peer sent and that verifies.
    pub(crate) evidence: Option<Box<Evidence>>,
}

/// One peer's verified answer.
#[derive(Default)]
struct Heard {
    view: Option<CosignedHead>,
    head: Option<TreeHead>,
    evidence: Option<Box<Evidence>>,
}

pub(crate) async fn call<T: Transport>(
    config: &Config,
    transport: &T,
    clock: &impl Clock,
    watcher: &Watcher,
    largest: &BTreeMap<PublicKeyBytes, CosignedHead>,
    sharing: &Sharing,
    rng: &mut impl Rng,
) -> Called {
    let (closes, log) = (Instant::now() + config.cycle.roll_timeout, config.cycle.policy.log.id());
    let counted = &Counted::begin(watcher, config.peers.iter().len());
    let asked = config.peers.iter().map(|peer| {
        // Drawn before anybody is asked: who answers when changes nobody's chances.
        let waits = waits(rng);
        async move {
            let key = peer.key.raw();
            let (came, answer) = match sharing.lately(log, key) {
                Some(lately) => lately,
                None => {
                    let answer = ask(config, transport, peer, waits, closes).await;
                    let came = clock.now();
                    sharing.keep(log, key, came, &answer);
                    (came, answer)
                }
            };
            counted.one(&answer);
            (peer, answer, came)
        }
    });
    let mut received = BTreeMap::new();
    let (mut views, mut heads, mut evidence) = (Vec::new(), Vec::new(), None);
    let answered = join_all(asked).await;
    let at: Timestamp = clock.now();
    for (peer, answer, came) in answered {
        let key = peer.key.raw();
        let before = largest.get(&key).map_or(0, |view| view.head().size());
        let mut heard = Heard::default();
        let answer =
            answer.and_then(|answer| open(&config.cycle.policy.log, &peer.key, answer, &mut heard));
        // When it came, and still when the roll closes: that is the time a proof bundle bears.
        let admitted = answer
            .and_then(|view| config.cycle.limits.admit(view, came, before))
            .and_then(|view| config.cycle.limits.admit(view, at, before));
        views.extend(heard.view);
        heads.extend(heard.head);
        evidence = evidence.or(heard.evidence);
        received.insert(key, admitted);
    }
    Called { roll: Round::new(&config.peers, at, received), views, heads, evidence }
}

/// Draws the waits between the tries at one peer: what a cycle draws first, for each in turn.
pub fn waits(rng: &mut impl Rng) -> Waits {
    std::array::from_fn(|tries| {
        let wait = 1000 << tries;
        Duration::from_millis(rng.random_range(wait..=wait + wait / 2))
    })
}

/// Asks one peer until it answers, the tries are used up or the roll closes.
async fn ask<T: Transport>(
    config: &Config,
    transport: &T,
    peer: &Peer,
    waits: Waits,
    closes: Instant,
) -> Result<Answer, PeerFailure> {
    let address = config.addresses.get(&peer.key.raw()).ok_or(PeerFailure::NotAsked)?;
    let question = Question::View(config.cycle.policy.log.id());
    let mut known = None;
    for wait in std::iter::once(Duration::ZERO).chain(waits) {
        if Instant::now() + wait >= closes {
            break;
        }
        sleep(wait).await;
        let deadline = closes.min(Instant::now() + config.cycle.ask_timeout);
        match timeout_at(deadline, exchange(transport, address, &question)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Failed { silence, mendable: false })) => return Err(silence),
            Ok(Err(Failed { silence, .. })) => known = Some(silence),
            // That time ran out says less than why an earlier try broke.
            Err(_) => {}
        }
    }
    Err(known.unwrap_or(PeerFailure::TimedOut))
}

/// Asks somebody for their view, once and apart from any roll. Callers put a deadline around it.
pub async fn ask_once(
    transport: &impl Transport,
    address: &OnionAddress,
    log: &Log,
    key: &CosignatureVerifyingKey,
) -> Result<CosignedHead, PeerFailure> {
    let asked = exchange(transport, address, &Question::View(log.id())).await;
    let answer = asked.map_err(|Failed { silence, .. }| silence)?;
    open(log, key, answer, &mut Heard::default())
}

/// A try without an answer, or with one that is none.
struct Failed {
    silence: PeerFailure,
    /// Whether another circuit may bring an answer.
    mendable: bool,
}

async fn exchange<T: Transport>(
    transport: &T,
    address: &OnionAddress,
    question: &Question,
) -> Result<Answer, Failed> {
    let mut stream = transport.dial(address).await.map_err(|error| Failed {
        silence: PeerFailure::Unreachable(error.to_string()),
        // A transport that reaches nobody will not do so a second later.
        mendable: error.kind() != io::ErrorKind::Unsupported,
    })?;
    message::ask(&mut stream, question).await.map_err(|error| match error {
        WireError::Io(error) => {
            Failed { silence: PeerFailure::Disconnected(error.to_string()), mendable: true }
        }
        garbled => Failed { silence: PeerFailure::Malformed(garbled.to_string()), mendable: false },
    })
}

/// Verifies an answer. What verifies is noted in `heard` even if it is no view that counts.
fn open(
    log: &Log,
    key: &CosignatureVerifyingKey,
    answer: Answer,
    heard: &mut Heard,
) -> Result<CosignedHead, PeerFailure> {
    match answer {
        Answer::View(note) => {
            let opened = CosignedHead::verify(note.as_bytes(), log, key);
            // A view that is no good may still show a head that the log signed.
            heard.head = match &opened {
                Ok(view) => Some(view.head().clone()),
                Err(_) => TreeHead::verify(note.as_bytes(), log).ok(),
            };
            heard.view = opened.as_ref().ok().cloned();
            Ok(opened?)
        }
        Answer::Evidence(text) => {
            let evidence = Evidence::verify(&text, log)?;
            heard.evidence = Some(Box::new(evidence));
            Err(PeerFailure::Malformed("evidence".to_owned()))
        }
        Answer::Blind(since) => Err(PeerFailure::NoFreshHead(Timestamp(since))),
        Answer::OtherLog => Err(PeerFailure::OtherLog),
        Answer::Tile(_) | Answer::NoTile => {
            Err(PeerFailure::Malformed("a tile, and a view was asked for".to_owned()))
        }
    }
}
