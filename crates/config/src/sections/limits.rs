//! `[limits]`: the time limits of a cycle, of the witness and of a removal. Size limits are not
//! configurable: they are constants beside the code that reads the data.

use std::time::Duration;

use serde::Deserialize;
use unanimity_protocol::decision::admission::{CLOCK_SKEW, RoundLimits};

use crate::operator_file::Parsed;
use crate::{ConfigErrorKind, PollingSettings};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsTable {
    settle: Option<Parsed<humantime::Duration>>,
    round_ttl: Option<Parsed<humantime::Duration>>,
    max_cosignature_age: Option<Parsed<humantime::Duration>>,
    ask_timeout: Option<Parsed<humantime::Duration>>,
    round_timeout: Option<Parsed<humantime::Duration>>,
    removal_delay: Option<Parsed<humantime::Duration>>,
    poll_min: Option<Parsed<humantime::Duration>>,
    poll_max: Option<Parsed<humantime::Duration>>,
    max_poll_age: Option<Parsed<humantime::Duration>>,
}

/// The time limits, with defaults filled in and contradictions refused.
pub(crate) struct CheckedLimits {
    pub(crate) limits: RoundLimits,
    pub(crate) polling: PollingSettings,
    pub(crate) ask_timeout: Duration,
    pub(crate) round_timeout: Duration,
    pub(crate) removal_delay: Duration,
}

impl LimitsTable {
    pub(crate) fn validate(self) -> Result<CheckedLimits, ConfigErrorKind> {
        let or = |value: Option<Parsed<humantime::Duration>>, default: Duration| {
            value.map_or(default, |value| *value.0)
        };
        let defaults = (RoundLimits::default(), PollingSettings::default());
        let limits = RoundLimits {
            settle: or(self.settle, defaults.0.settle),
            round_ttl: or(self.round_ttl, defaults.0.round_ttl),
            max_cosignature_age: or(self.max_cosignature_age, defaults.0.max_cosignature_age),
        };
        let polling = PollingSettings {
            min: or(self.poll_min, defaults.1.min),
            max: or(self.poll_max, defaults.1.max),
            max_age: or(self.max_poll_age, defaults.1.max_age),
        };
        let ask_timeout = or(self.ask_timeout, Duration::from_secs(45));
        let round_timeout = or(self.round_timeout, Duration::from_secs(120));
        let day = Duration::from_secs(24 * 60 * 60);
        let second = Duration::from_secs(1);
        if limits.round_ttl > day || limits.max_cosignature_age > day || polling.max_age > day {
            return Err(ConfigErrorKind::Limits(
                "round_ttl, max_cosignature_age and max_poll_age are at most one day: an older answer says nothing about the present",
            ));
        }
        if !limits.settle.is_zero() && limits.settle < second {
            return Err(ConfigErrorKind::Limits("settle is at least one second, or 0s for none"));
        }
        if limits.round_ttl < second || limits.max_cosignature_age < second || ask_timeout < second
        {
            return Err(ConfigErrorKind::Limits(
                "round_ttl, max_cosignature_age and ask_timeout are at least one second",
            ));
        }
        if round_timeout < ask_timeout {
            return Err(ConfigErrorKind::Limits(
                "round_timeout must not be shorter than ask_timeout: a round takes at least as long as one try",
            ));
        }
        // The age of a cosigned head is checked when the round closes. A peer may have signed it
        // when the round opened, by a clock that is behind by CLOCK_SKEW.
        let ttl = limits.max_cosignature_age.min(limits.round_ttl);
        if round_timeout > ttl.saturating_sub(CLOCK_SKEW) {
            return Err(ConfigErrorKind::Limits(
                "round_timeout must be at least one minute shorter than max_cosignature_age and round_ttl: the first answer must still count when the last one arrives",
            ));
        }
        if polling.min > polling.max || polling.max >= polling.max_age || polling.min < second {
            return Err(ConfigErrorKind::Limits(
                "poll_min is at least one second, poll_max is not smaller, and max_poll_age is larger than both",
            ));
        }
        let hour = Duration::from_secs(60 * 60);
        let removal_delay = or(self.removal_delay, 7 * day);
        if removal_delay < hour || removal_delay > 366 * day {
            return Err(ConfigErrorKind::Limits(
                "removal_delay is one hour to 366 days; a peer can also be removed immediately",
            ));
        }
        Ok(CheckedLimits { limits, polling, ask_timeout, round_timeout, removal_delay })
    }
}
