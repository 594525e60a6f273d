//! The condition of a node after a cycle, with a message and details for the alert.

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

/// Makes the status of the node after a cycle. The condition and the outcome's word come from the
/// table of outcomes ([`Exit`](unanimity_report::Exit)). This function adds message and details.
pub fn status_of(result: Result<&CycleOutcome, &CycleError>) -> CycleStatus {
    let (word, condition) = match result {
        Ok(outcome) => (outcome.exit().word(), outcome.condition()),
        Err(failure) => (failure.exit().word(), failure.condition()),
    };
    let subject = match result {
        Ok(outcome) => release_of(outcome).map(|release| ("release", release)),
        Err(failure) => failure_subject(failure),
    };
    let message = match result {
        Ok(CycleOutcome::UpToDate) => "every peer agrees, and there is no new release".to_owned(),
        Ok(CycleOutcome::Available(release)) => format!(
            "release {} can be installed: every peer has confirmed it for long enough",
            release.manifest().label()
        ),
        Ok(CycleOutcome::Installed(installed)) => {
            format!("release {} is installed", installed.release)
        }
        Err(failure) => failure.to_string(),
    };
    let mut details = json!({ "outcome": word });
    if let Some((name, value)) = &subject {
        details[name] = redact_message(value).into();
    }
    if let Err(failure) = result {
        add_details(failure, &mut details);
    }
    let subject = subject.map_or(String::new(), |(_, value)| value);
    let about = match condition {
        Condition::Healthy | Condition::Incomplete | Condition::Stale => String::new(),
        Condition::Available | Condition::Fork => subject,
        Condition::Refused => format!("{word} {subject}"),
    };
    CycleStatus { condition, about, message: redact_message(&message), details }
}

fn release_of(outcome: &CycleOutcome) -> Option<String> {
    match outcome {
        CycleOutcome::UpToDate => None,
        CycleOutcome::Available(release) => Some(release.manifest().label()),
        CycleOutcome::Installed(installed) => Some(installed.release.clone()),
    }
}

/// The name and value of the detail that distinguishes a failure from others with the same outcome
/// word.
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

/// Adds to `details` the peers, the mirror or the time that a failure concerns.
fn add_details(failure: &CycleError, details: &mut Value) {
    match failure {
        CycleError::Refused(Refusal::Incomplete(unconfirmed)) => {
            details["peers"] = unconfirmed.iter().map(unconfirmed_peer_json).collect();
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

fn unconfirmed_peer_json(peer: &UnconfirmedPeer) -> Value {
    let confirmation = match peer.confirmation {
        Confirmation::Confirmed => "confirmed",
        Confirmation::Behind => "behind",
        Confirmation::NoValidAnswer => "no-valid-answer",
        Confirmation::Unproven => "unproven",
    };
    json!({ "name": peer.peer.as_str(), "confirmation": confirmation, "since": peer.since })
}
