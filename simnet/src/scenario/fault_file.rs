//! How people write a [`HostFault`].

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

/// Reads the faults of a world that ends at its horizon.
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
            let what = format!("there is no fault `{name}`; there are {}", known.join(", "));
            text.error_at(Some(file.kind.span()), what)
        })?;
    let share = file.share.ok_or_else(|| {
        let what =
            format!("how many nodes `{kind}` befalls is missing: write for example share = 0.1");
        text.error_at(Some(file.kind.span()), what)
    })?;
    let time = |time: &Option<Spanned<DurationField>>, usual| {
        time.as_ref().map_or(usual, |time| time.get_ref().0)
    };
    let (from, until) = (time(&file.from, 0), time(&file.until, Millis::MAX));
    let span = |time: &Option<Spanned<DurationField>>| time.as_ref().map(Spanned::span);
    if from >= horizon {
        let what = "the fault begins after the horizon: begin it earlier, or raise horizon";
        return Err(text.error_at(span(&file.from), what));
    }
    if until <= from {
        let what =
            "a fault lasts from `from` until `until`, and this is no time at all: raise until";
        return Err(text.error_at(span(&file.until), what));
    }
    Ok(Fault { kind, share: share.0, from, until })
}
