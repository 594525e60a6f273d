//! Calling the roll: every peer at once, each with its own deadline.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Config;
use crate::net::wire::{self, Answer, Question, WireError};
use crate::net::{OnionAddress, Transport};
use crate::verify::{Evidence, Head, Peer, RawKey, Roll, Silence, Timestamp, View};

/// A called roll, and all that was learned on the way.
pub(super) struct Called {
    /// One answer for every peer.
    pub(super) roll: Roll,
    /// Every cosigned view, also one that does not count (old, regressed).
    pub(super) views: Vec<View>,
    /// Every head that the log signed, whoever showed it: for comparison only.
    pub(super) heads: Vec<Head>,
    /// Evidence that a peer sent and that verifies.
    pub(super) evidence: Option<Box<Evidence>>,
}

/// One peer's verified answer.
#[derive(Default)]
struct Heard {
    view: Option<View>,
    head: Option<Head>,
    evidence: Option<Box<Evidence>>,
}

pub(super) async fn call<T: Transport>(
    config: &Config,
    transport: &T,
    clock: &impl Clock,
    largest: &BTreeMap<RawKey, View>,
) -> Called {
    let asked = config.peers.iter().map(|peer| async move {
        let answer = ask(config, transport, peer).await;
        (peer, answer, clock.now())
    });
    let mut received = BTreeMap::new();
    let (mut views, mut heads, mut evidence) = (Vec::new(), Vec::new(), None);
    let answered = join_all(asked).await;
    let at: Timestamp = clock.now();
    for (peer, answer, now) in answered {
        let key = peer.key.raw();
        let before = largest.get(&key).map_or(0, |view| view.head().size());
        let mut heard = Heard::default();
        let answer = answer.and_then(|answer| open(config, peer, answer, &mut heard));
        // When it came, and still when the roll closes: that is the time a proof bundle bears.
        let admitted = answer
            .and_then(|view| config.limits.admit(view, now, before))
            .and_then(|view| config.limits.admit(view, at, before));
        views.extend(heard.view);
        heads.extend(heard.head);
        evidence = evidence.or(heard.evidence);
        received.insert(key, admitted);
    }
    Called { roll: Roll::new(&config.peers, at, received), views, heads, evidence }
}

async fn ask<T: Transport>(config: &Config, transport: &T, peer: &Peer) -> Result<Answer, Silence> {
    let address = config.addresses.get(&peer.key.raw()).ok_or(Silence::NotAsked)?;
    let question = Question::View(config.policy.log.id());
    let whole = timeout(config.ask_timeout, exchange(transport, address, &question)).await;
    whole.unwrap_or(Err(Silence::Late))
}

async fn exchange<T: Transport>(
    transport: &T,
    address: &OnionAddress,
    question: &Question,
) -> Result<Answer, Silence> {
    let stream = transport.dial(address).await;
    let mut stream = stream.map_err(|error| Silence::Unreachable(error.to_string()))?;
    wire::ask(&mut stream, question).await.map_err(|error| match error {
        WireError::Io(error) => Silence::Broke(error.to_string()),
        garbled => Silence::Garbled(garbled.to_string()),
    })
}

/// Verifies an answer. What verifies is noted in `heard` even if it is no view that counts.
fn open(config: &Config, peer: &Peer, answer: Answer, heard: &mut Heard) -> Result<View, Silence> {
    let log = &config.policy.log;
    match answer {
        Answer::View(note) => {
            heard.head = Head::open(note.as_bytes(), log).ok();
            let view = View::open(note.as_bytes(), log, &peer.key)?;
            heard.view = Some(view.clone());
            Ok(view)
        }
        Answer::Evidence(text) => {
            let evidence = Evidence::open(&text, log)?;
            heard.evidence = Some(Box::new(evidence));
            Err(Silence::Garbled("evidence".to_owned()))
        }
        Answer::Blind(since) => Err(Silence::Blind(Timestamp(since))),
        Answer::OtherLog => Err(Silence::OtherLog),
        Answer::Tile(_) | Answer::NoTile => {
            Err(Silence::Garbled("a tile, and a view was asked for".to_owned()))
        }
    }
}
