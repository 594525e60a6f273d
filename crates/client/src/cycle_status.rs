//! Which condition each end of a cycle means for the node.

use serde_json::{Value, json};
use unanimity_install::InstallRefusal;
use unanimity_protocol::Refusal;
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::round::UnconfirmedPeer;
use unanimity_report::{Classify as _, Condition, CycleStatus, redact_message};
use unanimity_state::LogForked;

use crate::cycle_report::CycleOutcome;
use crate::error::CycleError;
use crate::mirror_problem::MirrorProblem;

/// What there is to say of the end of a cycle: the table of outcomes has its word and its
/// condition, and the rest is said here.
pub fn status_of(ended: Result<&CycleOutcome, &CycleError>) -> CycleStatus {
    let (word, condition) = match ended {
        Ok(outcome) => (outcome.exit().word(), outcome.condition()),
        Err(failure) => (failure.exit().word(), failure.condition()),
    };
    let about = match ended {
        Ok(outcome) => release_of(outcome).map(|release| ("release", release)),
        Err(failure) => failure_subject(failure),
    };
    let message = match ended {
        Ok(CycleOutcome::UpToDate) => "every peer agrees, and nothing is new".to_owned(),
        Ok(CycleOutcome::Available(agreed)) => format!(
            "release {} can be installed: every peer has confirmed it for long enough",
            agreed.manifest().label()
        ),
        Ok(CycleOutcome::Installed(installed)) => {
            format!("release {} is installed", installed.release)
        }
        Err(failure) => failure.to_string(),
    };
    let mut details = json!({ "outcome": word });
    if let Some((name, about)) = &about {
        details[name] = redact_message(about).into();
    }
    if let Err(failure) = ended {
        add_details(failure, &mut details);
    }
    let about = about.map_or(String::new(), |(_, about)| about);
    let about = match condition {
        Condition::Healthy | Condition::Incomplete | Condition::Stale => String::new(),
        Condition::Available | Condition::Fork => about,
        Condition::Refused => format!("{word} {about}"),
    };
    CycleStatus { condition, about, message: redact_message(&message), details }
}

fn release_of(outcome: &CycleOutcome) -> Option<String> {
    match outcome {
        CycleOutcome::UpToDate => None,
        CycleOutcome::Available(agreed) => Some(agreed.manifest().label()),
        CycleOutcome::Installed(installed) => Some(installed.release.clone()),
    }
}

/// What tells a failure from others of its word.
fn failure_subject(failure: &CycleError) -> Option<(&'static str, String)> {
    match failure {
        CycleError::Refused(refusal) => refusal_subject(refusal),
        CycleError::LogForked(LogForked { id }) => Some(("evidence", id.clone())),
        CycleError::Install(
            InstallRefusal::TooManyEntries { release }
            | InstallRefusal::Unhealthy { release, .. }
            | InstallRefusal::OnTrial { release },
        ) => Some(("release", release.clone())),
        CycleError::Install(InstallRefusal::Artifact(_))
        | CycleError::Mirror(_)
        | CycleError::Client(_) => None,
    }
}

fn refusal_subject(refusal: &Refusal) -> Option<(&'static str, String)> {
    match refusal {
        Refusal::Fork(evidence) => Some(("evidence", evidence.id())),
        Refusal::Settling { release, .. }
        | Refusal::Withdrawn { release, .. }
        | Refusal::Expired { release, .. }
        | Refusal::NoArtifactForPlatform { release, .. } => Some(("release", release.clone())),
        Refusal::DuplicateSequence { sequence, .. } => Some(("sequence", sequence.to_string())),
        Refusal::SequenceRollback { offered, .. } => Some(("sequence", offered.to_string())),
        Refusal::UnsupportedFormat { index, .. } => Some(("entry", index.to_string())),
        Refusal::OtherProduct { product, channel } => {
            Some(("product", format!("{product}/{channel}")))
        }
        Refusal::Incomplete(_)
        | Refusal::RoundTooOld { .. }
        | Refusal::Threshold { .. }
        | Refusal::BadSignature(_)
        | Refusal::Malformed(_)
        | Refusal::NotLogged(_)
        | Refusal::OtherLog(_)
        | Refusal::Bundle(_) => None,
    }
}

/// Whom to ask about it.
fn add_details(failure: &CycleError, details: &mut Value) {
    match failure {
        CycleError::Refused(Refusal::Incomplete(missing)) => {
            details["peers"] = missing.iter().map(unconfirmed_peer_json).collect();
        }
        CycleError::Mirror(
            MirrorProblem::Stale { mirror, shown, known }
            | MirrorProblem::Rollback { mirror, shown, known },
        ) => {
            details["mirror"] = redact_message(mirror).into();
            details["shown"] = (*shown).into();
            details["known"] = (*known).into();
        }
        CycleError::Refused(Refusal::Settling { until, .. }) => details["until"] = json!(until),
        _ => {}
    }
}

fn unconfirmed_peer_json(missing: &UnconfirmedPeer) -> Value {
    let standing = match missing.confirmation {
        Confirmation::Confirmed => "confirmed",
        Confirmation::Behind => "behind",
        Confirmation::NoValidAnswer => "silent",
        Confirmation::Unproven => "unjoined",
    };
    json!({ "name": missing.peer.as_str(), "standing": standing, "since": missing.since })
}
