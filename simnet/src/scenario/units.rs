//! Durations, fractions and sigmas of a scenario file. They are checked while they are parsed, so
//! that an error names the line.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::Millis;

/// A duration in whole milliseconds, at most 100 years, written as `"8h"`.
#[derive(Clone, Copy)]
pub(super) struct DurationField(pub(super) Millis);

/// A number from 0 to 1.
#[derive(Clone, Copy)]
pub(super) struct FractionField(pub(super) f64);

/// The sigma of a lognormal distribution, from 0 to 5.
#[derive(Clone, Copy)]
pub(super) struct SigmaField(pub(super) f64);

impl<'de> Deserialize<'de> for DurationField {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<DurationField, D::Error> {
        let text = String::deserialize(from)
            .map_err(|_| D::Error::custom("write a duration in quotes, for example \"8h\""))?;
        let time: Duration = humantime::parse_duration(&text).map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is not a duration: write for example \"90s\", \"8h\" or \"30d\""
            ))
        })?;
        let most = Duration::from_hours(24 * 366 * 100);
        if time > most || !time.as_nanos().is_multiple_of(1_000_000) {
            return Err(D::Error::custom("a duration is whole milliseconds, at most 100 years"));
        }
        Ok(DurationField(time.as_millis() as Millis))
    }
}

impl<'de> Deserialize<'de> for FractionField {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<FractionField, D::Error> {
        let number = f64::deserialize(from)
            .map_err(|_| D::Error::custom("write a number from 0 to 1, for example 0.99"))?;
        match (0.0..=1.0).contains(&number) {
            true => Ok(FractionField(number)),
            false => Err(D::Error::custom(format!(
                "{number} is no fraction or probability: write a number from 0 to 1"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for SigmaField {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<SigmaField, D::Error> {
        let number = f64::deserialize(from)?;
        match (0.0..=5.0).contains(&number) {
            true => Ok(SigmaField(number)),
            false => Err(D::Error::custom("sigma is a number from 0 to 5")),
        }
    }
}
