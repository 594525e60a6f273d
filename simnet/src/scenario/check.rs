//! What is refused although every field for itself is well.

use unanimity_protocol::peers::MAX_PEERS;

use super::{AttackScenario, Colluding, Days, Mirrors, Scenario, Shape, Topology, TorScenario};
use crate::Millis;

/// The path of the field to blame, and what is wrong with it and what to do.
pub(super) type FieldError = (&'static str, String);

const SECOND: Millis = 1_000;
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;
const YEAR: Millis = 365 * DAY;
const MOST_ENTRIES_AHEAD: u32 = 1_000_000;

/// The first thing that makes no sense.
pub(super) fn check_scenario(scenario: &Scenario) -> Result<(), FieldError> {
    nodes(scenario)?;
    mirrors(&scenario.mirrors)?;
    program(scenario)?;
    tor(&scenario.tor)?;
    release(scenario)?;
    adversary(scenario)
}

fn refuse(when: bool, path: &'static str, what: impl FnOnce() -> String) -> Result<(), FieldError> {
    if when { Err((path, what())) } else { Ok(()) }
}

fn nodes(scenario: &Scenario) -> Result<(), FieldError> {
    let &Scenario { nodes, peers: circle, availability, mean_outage, .. } = scenario;
    refuse(scenario.horizon == 0, "horizon", || {
        "a world of no length shows nothing: write for example horizon = \"30d\"".to_owned()
    })?;
    // Times are counted in whole seconds of 32 bits in places.
    refuse(scenario.horizon > 50 * YEAR || scenario.settle > 50 * YEAR, "horizon", || {
        "neither a horizon nor settle is longer than 50y".to_owned()
    })?;
    refuse(circle > MAX_PEERS as u32, "nodes.circle", || {
        format!("the program asks at most {MAX_PEERS} peers")
    })?;
    refuse(circle == 0, "nodes.circle", || "a circle is at least one peer".to_owned())?;
    refuse(circle >= nodes, "nodes.circle", || {
        format!("{nodes} nodes have at most {} peers each: raise count", nodes.max(1) - 1)
    })?;
    refuse(availability < 1.0 && mean_outage < SECOND, "nodes.mean_outage", || {
        "who is not always up has outages of at least 1s".to_owned()
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
        "what is not always up has outages of at least 1s".to_owned()
    })?;
    let (from, until) = mirrors.within;
    refuse(from >= until, "mirrors.until", || {
        "mirrors fail from `from` until `until`, which is no time at all: raise until".to_owned()
    })
}

fn program(scenario: &Scenario) -> Result<(), FieldError> {
    for (path, (min, max)) in
        [("program.poll", scenario.poll), ("program.roll", scenario.round_interval)]
    {
        refuse(min > max, path, || "the least is more than the most: swap them".to_owned())?;
        refuse(min < SECOND, path, || "waits are at least 1s".to_owned())?;
    }
    refuse(scenario.max_poll_age <= scenario.poll.1, "program.max_poll_age", || {
        "it must be longer than every wait between polls, or a peer is blind between them"
            .to_owned()
    })?;
    refuse(scenario.ask_timeout < SECOND, "program.ask_timeout", || "at least 1s".to_owned())?;
    refuse(scenario.round_timeout > DAY, "program.roll_timeout", || "at most 1d".to_owned())?;
    refuse(scenario.round_timeout < scenario.ask_timeout, "program.roll_timeout", || {
        "a roll takes as long as one try at least: roll_timeout is not below ask_timeout".to_owned()
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
        "no release comes before the horizon: release earlier, or raise horizon".to_owned()
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
    let (nodes, circle, victims) = (scenario.nodes, scenario.peers, adversary.victims);
    refuse(adversary.start >= scenario.horizon, "adversary.start", || {
        "the attack starts after the horizon: start earlier, or raise horizon".to_owned()
    })?;
    refuse(victims == 0 || victims >= nodes, "adversary.victims", || {
        format!("of {nodes} nodes, 1 to {} are victims", nodes - 1)
    })?;
    match adversary.colluding {
        Colluding::OfPeers(count) => refuse(count >= circle, "adversary.colluding", || {
            format!(
                "no peer of a victim is honest: of a circle of {circle}, at most {} collude",
                circle - 1
            )
        })?,
        Colluding::OfAll(count) => {
            refuse(count >= nodes - victims, "adversary.colluding_of_all", || {
                format!(
                    "nobody is honest: of {nodes} nodes, at most {} collude",
                    nodes - victims - 1
                )
            })?;
        }
    }
    refuse(matches!(adversary.attack, AttackScenario::Flash(_, 0)), "adversary.lasts", || {
        "a flash fork lasts for a while: write for example lasts = \"1h\"".to_owned()
    })?;
    refuse(adversary.withdrawn_after == Some(0), "adversary.withdrawn_after", || {
        "what is logged is taken back after a while: write for example \"2h\"".to_owned()
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
