//! The `[[fault]]` tables of a scenario file.

use serde::Deserialize;
use toml::Spanned;

use super::fault::{Fault, FaultKind};
use super::text::{ScenarioError, ScenarioText};
use super::units::{DurationField, FractionField};
use crate::Millis;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultFile {
    kind: Spanned<String>,
    share: Option<FractionField>,
    from: Option<Spanned<DurationField>>,
    until: Option<Spanned<DurationField>>,
}

/// Reads the faults of a world that ends at `horizon`. Fails with the first invalid fault.
pub(super) fn read_faults(
    text: &ScenarioText,
    files: &[FaultFile],
    horizon: Millis,
) -> Result<Vec<Fault>, ScenarioError> {
    files.iter().map(|file| read_fault(text, file, horizon)).collect()
}

fn read_fault(
    text: &ScenarioText,
    file: &FaultFile,
    horizon: Millis,
) -> Result<Fault, ScenarioError> {
    let name = file.kind.get_ref();
    let kind =
        FaultKind::ALL.into_iter().find(|kind| kind.to_string() == *name).ok_or_else(|| {
            let known: Vec<String> = FaultKind::ALL.iter().map(FaultKind::to_string).collect();
            let problem = format!("there is no fault `{name}`; there are {}", known.join(", "));
            text.error_at(Some(file.kind.span()), problem)
        })?;
    let share = file.share.ok_or_else(|| {
        let problem =
            format!("the share of nodes that `{kind}` affects is missing: write share = 0.1");
        text.error_at(Some(file.kind.span()), problem)
    })?;
    let time = |time: &Option<Spanned<DurationField>>, usual| {
        time.as_ref().map_or(usual, |time| time.get_ref().0)
    };
    let (from, until) = (time(&file.from, 0), time(&file.until, Millis::MAX));
    let span = |time: &Option<Spanned<DurationField>>| time.as_ref().map(Spanned::span);
    if from >= horizon {
        let problem = "the fault begins after the horizon: lower `from`, or raise horizon";
        return Err(text.error_at(span(&file.from), problem));
    }
    if until <= from {
        let problem =
            "a fault lasts from `from` until `until`, and that period is empty: raise until";
        return Err(text.error_at(span(&file.until), problem));
    }
    Ok(Fault { kind, share: share.0, from, until })
}
