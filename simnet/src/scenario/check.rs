//! Checks of a scenario across its fields, after every field by itself is valid.

use unanimity_protocol::peers::MAX_PEERS;

use super::{AttackScenario, Colluding, Days, Mirrors, Scenario, Shape, Topology, TorScenario};
use crate::Millis;

/// The path of the invalid field, and a text with the problem and the remedy.
pub(super) type FieldError = (&'static str, String);

const SECOND: Millis = 1_000;
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;
const YEAR: Millis = 365 * DAY;
const MOST_ENTRIES_AHEAD: u32 = 1_000_000;

/// Checks all sections. Fails with the first problem.
pub(super) fn check_scenario(scenario: &Scenario) -> Result<(), FieldError> {
    nodes(scenario)?;
    mirrors(&scenario.mirrors)?;
    program(scenario)?;
    tor(&scenario.tor)?;
    release(scenario)?;
    adversary(scenario)
}

fn refuse(
    is_wrong: bool,
    path: &'static str,
    problem: impl FnOnce() -> String,
) -> Result<(), FieldError> {
    if is_wrong { Err((path, problem())) } else { Ok(()) }
}

fn nodes(scenario: &Scenario) -> Result<(), FieldError> {
    let &Scenario { nodes, peers, availability, mean_outage, .. } = scenario;
    refuse(scenario.horizon == 0, "horizon", || {
        "a world needs a duration: write for example horizon = \"30d\"".to_owned()
    })?;
    // Some times are 32-bit numbers of seconds.
    refuse(scenario.horizon > 50 * YEAR || scenario.settle > 50 * YEAR, "horizon", || {
        "horizon and settle are at most 50y: lower them".to_owned()
    })?;
    refuse(peers > MAX_PEERS as u32, "nodes.peers", || {
        format!("the program asks at most {MAX_PEERS} peers")
    })?;
    refuse(peers == 0, "nodes.peers", || "a node needs at least one peer".to_owned())?;
    refuse(peers >= nodes, "nodes.peers", || {
        format!("{nodes} nodes have at most {} peers each: raise count", nodes.max(1) - 1)
    })?;
    refuse(availability < 1.0 && mean_outage < SECOND, "nodes.mean_outage", || {
        "with availability below 1, mean_outage is at least 1s".to_owned()
    })?;
    match scenario.topology {
        Topology::Communities(count, _) => {
            refuse(count == 0 || count > nodes, "nodes.topology", || {
                format!("{nodes} nodes make from 1 to {nodes} communities")
            })
        }
        _ => Ok(()),
    }
}

fn mirrors(mirrors: &Mirrors) -> Result<(), FieldError> {
    refuse(mirrors.can_fail() && mirrors.mean_outage < SECOND, "mirrors.mean_outage", || {
        "with mirrors.availability below 1, mean_outage is at least 1s".to_owned()
    })?;
    let (from, until) = mirrors.within;
    refuse(from >= until, "mirrors.until", || {
        "mirrors fail from `from` until `until`, and that period is empty: raise until".to_owned()
    })
}

fn program(scenario: &Scenario) -> Result<(), FieldError> {
    for (path, (min, max)) in
        [("program.poll", scenario.poll), ("program.round_interval", scenario.round_interval)]
    {
        refuse(min > max, path, || {
            "the first wait is longer than the second: swap them".to_owned()
        })?;
        refuse(min < SECOND, path, || "waits are at least 1s".to_owned())?;
    }
    refuse(scenario.max_poll_age <= scenario.poll.1, "program.max_poll_age", || {
        "it must be longer than every wait between polls, or a peer has no fresh head between them"
            .to_owned()
    })?;
    refuse(scenario.ask_timeout < SECOND, "program.ask_timeout", || "at least 1s".to_owned())?;
    refuse(scenario.round_timeout > DAY, "program.round_timeout", || "at most 1d".to_owned())?;
    refuse(scenario.round_timeout < scenario.ask_timeout, "program.round_timeout", || {
        "a round has time for at least one try: raise round_timeout, or lower ask_timeout"
            .to_owned()
    })
}

fn tor(tor: &TorScenario) -> Result<(), FieldError> {
    let swapped = || "from is more than to: swap them".to_owned();
    refuse(tor.slow.1 > tor.slow.2, "tor.slow", swapped)?;
    refuse(tor.hiccup.1 > tor.hiccup.2, "tor.hiccup", swapped)?;
    let shifts = tor.vantage.iter().copied().max().unwrap_or(0);
    for (path, longest) in [
        ("tor.connect", tor.connect.0),
        ("tor.round_trip", tor.round_trip.0),
        ("tor.slow", tor.slow.2),
        ("tor.hiccup", tor.hiccup.2),
        ("tor.vantage", shifts),
    ] {
        refuse(longest > DAY, path, || "at most 1d".to_owned())?;
    }
    let Days { good, bad } = tor.days;
    for (path, (_, mean)) in [("tor.good.mean", good), ("tor.bad.mean", bad)] {
        refuse(mean < HOUR, path, || "good days and bad days last at least 1h".to_owned())?;
    }
    Ok(())
}

fn release(scenario: &Scenario) -> Result<(), FieldError> {
    let &Scenario { horizon, release: (first, every), background, .. } = scenario;
    refuse(first >= horizon, "release.first", || {
        "no release comes before the horizon: lower release.first, or raise horizon".to_owned()
    })?;
    let entries = |every| horizon.checked_div(every).unwrap_or(0);
    let many =
        |entries: u64| format!("{entries} entries until the horizon are too many: at most 1e9");
    let (own, others) = (entries(every), entries(background));
    refuse(own > 1_000_000_000, "release.every", || many(own))?;
    refuse(others > 1_000_000_000, "release.background", || many(others))
}

fn adversary(scenario: &Scenario) -> Result<(), FieldError> {
    let Some(adversary) = &scenario.adversary else { return Ok(()) };
    let (nodes, peers, victims) = (scenario.nodes, scenario.peers, adversary.victims);
    refuse(adversary.start >= scenario.horizon, "adversary.start", || {
        "the attack starts after the horizon: lower adversary.start, or raise horizon".to_owned()
    })?;
    refuse(victims == 0 || victims >= nodes, "adversary.victims", || {
        format!("of {nodes} nodes, 1 to {} are victims", nodes - 1)
    })?;
    match adversary.colluding {
        Colluding::OfPeers(count) => refuse(count >= peers, "adversary.colluding", || {
            format!(
                "no peer of a victim is honest: of {peers} peers, at most {} collude",
                peers - 1
            )
        })?,
        Colluding::OfAll(count) => {
            refuse(count >= nodes - victims, "adversary.colluding_of_all", || {
                format!(
                    "no node is honest: of {nodes} nodes, at most {} collude",
                    nodes - victims - 1
                )
            })?;
        }
    }
    refuse(matches!(adversary.attack, AttackScenario::Flash(_, 0)), "adversary.lasts", || {
        "a flash fork needs a duration: write for example lasts = \"1h\"".to_owned()
    })?;
    refuse(adversary.withdrawn_after == Some(0), "adversary.withdrawn_after", || {
        "a trojan is withdrawn some time after it is logged: write for example \"2h\"".to_owned()
    })?;
    let shape = adversary.shape;
    let longer = matches!(shape, Shape::Longer(by) if !(1..=MOST_ENTRIES_AHEAD).contains(&by));
    refuse(longer, "adversary.shape", || {
        format!("a longer fork is from 1 to {MOST_ENTRIES_AHEAD} entries ahead of the log")
    })?;
    refuse(shape == Shape::Starved(0), "adversary.shape", || {
        "honest mirrors are starved for a while: write for example { starved = \"4h\" }".to_owned()
    })
}
