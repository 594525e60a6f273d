//! What the end of a cycle says of the node's condition.

use serde_json::{Value, json};

use super::Condition;
use crate::net::hide;
use crate::update::{Failure, Outcome, UpdateError};
use unanimity_protocol::Refusal;
use unanimity_protocol::round::Missing;

/// The end of a cycle, as an operator may be told of it: neither onion addresses nor secret keys
/// are in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// How the node is.
    pub condition: Condition,
    /// What tells this from others of its condition: the evidence of a fork, the reason and
    /// release of a refusal, the release that is available. Another one is a change.
    pub about: String,
    /// For people.
    pub message: String,
    /// For programs: an object.
    pub details: Value,
}

/// What one end of a cycle amounts to: the condition, the word that reports have for it, and what it is about.
type Sort = (Condition, &'static str, Option<(&'static str, String)>);

impl Seen {
    /// Every end has its condition, and a new one does not compile until it has.
    pub fn of(ended: Result<&Outcome, &Failure>) -> Seen {
        let sort = match ended {
            Ok(outcome) => sort_of_outcome(outcome),
            Err(Failure::Refused(refusal)) => sort_of_refusal(refusal),
            Err(Failure::Error(error)) => sort_of_error(error),
        };
        let (condition, word, about) = sort;
        let message = match ended {
            Ok(Outcome::UpToDate) => "every peer agrees, and nothing is new".to_owned(),
            Ok(Outcome::Available(agreed)) => format!(
                "release {} can be installed: every peer has confirmed it for long enough",
                agreed.manifest().label()
            ),
            Ok(Outcome::Installed(installed)) => {
                format!("release {} is installed", installed.release)
            }
            Err(failure) => failure.to_string(),
        };
        let mut details = json!({ "outcome": word });
        if let Some((name, about)) = &about {
            details[name] = clean(about).into();
        }
        if let Err(Failure::Refused(refusal)) = ended {
            add_details(refusal, &mut details);
        }
        let about = about.map_or(String::new(), |(_, about)| about);
        let about = match condition {
            Condition::Healthy | Condition::Incomplete | Condition::Stale => String::new(),
            Condition::Available | Condition::Fork => about,
            Condition::Refused => format!("{word} {about}"),
        };
        Seen { condition, about, message: clean(&message), details }
    }
}

fn sort_of_outcome(outcome: &Outcome) -> Sort {
    match outcome {
        Outcome::UpToDate => (Condition::Healthy, "done", None),
        Outcome::Available(agreed) => {
            (Condition::Available, "available", Some(("release", agreed.manifest().label())))
        }
        Outcome::Installed(installed) => {
            (Condition::Healthy, "done", Some(("release", installed.release.clone())))
        }
    }
}

/// The node could not find out: for however long that lasts, no update is known to be none.
fn sort_of_error(error: &UpdateError) -> Sort {
    let word = match error {
        UpdateError::Store(_) | UpdateError::Disk(_) => "disk",
        UpdateError::Config(_) | UpdateError::Command(_) => "configuration",
        UpdateError::Mirrors(_) | UpdateError::Untied { .. } => "network",
        UpdateError::Clock { .. } => "clock",
    };
    (Condition::Incomplete, word, None)
}

fn sort_of_refusal(refusal: &Refusal) -> Sort {
    use Condition::{Fork, Healthy, Incomplete, Refused, Stale};
    let release = |release: &String| Some(("release", release.clone()));
    match refusal {
        Refusal::Fork(evidence) => (Fork, "fork", Some(("evidence", evidence.id()))),
        Refusal::Latched { id } => (Fork, "fork", Some(("evidence", id.clone()))),
        // Every peer agrees; all that is missing is time.
        Refusal::Settling { release: waits, .. } => (Healthy, "settling", release(waits)),
        Refusal::Incomplete(_) | Refusal::RollTooOld { .. } => (Incomplete, "incomplete", None),
        Refusal::Stale { .. } => (Stale, "stale", None),
        Refusal::MirrorRollback { .. } => (Stale, "rollback", None),
        Refusal::Conflict { sequence, .. } => {
            (Refused, "conflict", Some(("sequence", sequence.to_string())))
        }
        Refusal::Rollback { offered, .. } => {
            (Refused, "rollback", Some(("sequence", offered.to_string())))
        }
        Refusal::Outdated { index, .. } => {
            (Refused, "outdated", Some(("entry", index.to_string())))
        }
        Refusal::Withdrawn { release: back, .. } => (Refused, "withdrawn", release(back)),
        Refusal::Expired { release: late, .. } => (Refused, "expired", release(late)),
        Refusal::NoTarget { release: none, .. } | Refusal::UnsupportedKind { release: none } => {
            (Refused, "unsuitable", release(none))
        }
        Refusal::OtherProduct { product, channel } => {
            (Refused, "unsuitable", Some(("product", format!("{product}/{channel}"))))
        }
        Refusal::Threshold { .. } | Refusal::BadSignature(_) => (Refused, "bad-signature", None),
        Refusal::Malformed(_) => (Refused, "bad-input", None),
        Refusal::NotLogged(_) | Refusal::OtherLog(_) => (Refused, "not-logged", None),
        Refusal::Artifact(_) => (Refused, "bad-artifact", None),
        Refusal::Bundle(_) => (Refused, "bad-proof", None),
        Refusal::Unhealthy { release: sick, .. } => (Refused, "unhealthy", release(sick)),
    }
}

/// Whom to ask about it.
fn add_details(refusal: &Refusal, details: &mut Value) {
    match refusal {
        Refusal::Incomplete(missing) => {
            details["peers"] = missing.iter().map(missing_json).collect();
        }
        Refusal::Stale { mirror, shown, known }
        | Refusal::MirrorRollback { mirror, shown, known } => {
            details["mirror"] = clean(mirror).into();
            details["shown"] = (*shown).into();
            details["known"] = (*known).into();
        }
        Refusal::Settling { until, .. } => details["until"] = json!(until),
        _ => {}
    }
}

fn missing_json(missing: &Missing) -> Value {
    let standing = format!("{:?}", missing.standing).to_ascii_lowercase();
    json!({ "name": missing.peer.as_str(), "standing": standing, "since": missing.since })
}

/// The most bytes of a message: mirrors and peers have a part in its length.
const MAX_TEXT_BYTES: usize = 4096;

/// The text without what is nobody else's business, and not too long: the command may well send it
/// by mail.
fn clean(text: &str) -> String {
    let mut clean = hide(text);
    if clean.len() > MAX_TEXT_BYTES {
        clean.truncate(clean.floor_char_boundary(MAX_TEXT_BYTES));
        clean.push('…');
    }
    clean
}

impl Seen {
    /// No cycle has come to an end of which there is more to say than why.
    pub fn unended(why: &str) -> Seen {
        let details = json!({ "outcome": "failed" });
        let (condition, message) = (Condition::Incomplete, clean(why));
        Seen { condition, about: String::new(), message, details }
    }
}
