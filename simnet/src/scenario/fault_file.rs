//! How people write a [`HostFault`].

use serde::Deserialize;
use toml::Spanned;

use super::fault::{Fault, Kind};
use super::text::{Text, Wrong};
use super::units::{Fraction, Time};
use crate::Millis;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultFile {
    kind: Spanned<String>,
    share: Option<Fraction>,
    from: Option<Spanned<Time>>,
    until: Option<Spanned<Time>>,
}

/// Reads the faults of a world that ends at its horizon.
pub(super) fn faults(
    text: &Text,
    files: &[FaultFile],
    horizon: Millis,
) -> Result<Vec<Fault>, Wrong> {
    files.iter().map(|file| fault(text, file, horizon)).collect()
}

fn fault(text: &Text, file: &FaultFile, horizon: Millis) -> Result<Fault, Wrong> {
    let name = file.kind.get_ref();
    let kind = Kind::ALL.into_iter().find(|kind| kind.to_string() == *name).ok_or_else(|| {
        let known: Vec<String> = Kind::ALL.iter().map(Kind::to_string).collect();
        let what = format!("there is no fault `{name}`; there are {}", known.join(", "));
        text.wrong(Some(file.kind.span()), what)
    })?;
    let share = file.share.ok_or_else(|| {
        let what =
            format!("how many nodes `{kind}` befalls is missing: write for example share = 0.1");
        text.wrong(Some(file.kind.span()), what)
    })?;
    let time =
        |time: &Option<Spanned<Time>>, usual| time.as_ref().map_or(usual, |time| time.get_ref().0);
    let (from, until) = (time(&file.from, 0), time(&file.until, Millis::MAX));
    let span = |time: &Option<Spanned<Time>>| time.as_ref().map(Spanned::span);
    if from >= horizon {
        let what = "the fault begins after the horizon: begin it earlier, or raise horizon";
        return Err(text.wrong(span(&file.from), what));
    }
    if until <= from {
        let what =
            "a fault lasts from `from` until `until`, and this is no time at all: raise until";
        return Err(text.wrong(span(&file.until), what));
    }
    Ok(Fault { kind, share: share.0, from, until })
}
