//! The parameters and assumptions of the simulated worlds, in the report's words.

use super::axis::format_time;
use crate::Millis;
use crate::scenario::fault::Fault;
use crate::scenario::{AttackScenario, Colluding, Days, Mirrors, Scenario, Shape, Topology};

/// Path, name and value of each parameter of a world.
pub(super) fn parameters(scenario: &Scenario) -> Vec<(&'static str, &'static str, String)> {
    let ms = |ms: u64| format_time(ms as f64);
    let range = |(low, high): (u64, u64)| format!("{} to {}", ms(low), ms(high));
    let lognormal =
        |(median, sigma): (u64, f64)| format!("lognormal, median {}, sigma {sigma}", ms(median));
    let sometimes = |(p, from, to): (f64, u64, u64)| match p > 0.0 {
        true => format!("{}% take {} to {}", p * 100.0, ms(from), ms(to)),
        false => "none".to_owned(),
    };
    let every =
        |every: u64| if every == 0 { "never".to_owned() } else { format!("every {}", ms(every)) };
    let tor = &scenario.tor;
    let mut all = vec![
        ("horizon", "time simulated", ms(scenario.horizon)),
        ("nodes.count", "nodes", scenario.nodes.to_string()),
        ("nodes.peers", "peers that each node asks", scenario.peers.to_string()),
        ("nodes.topology", "a node's peers", topology(scenario.topology)),
        (
            "nodes.availability",
            "a peer is up",
            format!("{}% of the time", scenario.availability * 100.0),
        ),
        ("nodes.mean_outage", "outages, exponential, mean", ms(scenario.mean_outage)),
        ("mirrors.availability", "a mirror is up", mirrors(scenario.mirrors)),
        ("program.poll", "wait between polls", range(scenario.poll)),
        ("program.max_poll_age", "a poll counts for", ms(scenario.max_poll_age)),
        ("program.round_interval", "wait between rounds", range(scenario.round_interval)),
        ("program.settle", "settle", ms(scenario.settle)),
        ("program.ask_timeout", "one try at a peer", ms(scenario.ask_timeout)),
        ("program.round_timeout", "a whole round", ms(scenario.round_timeout)),
        ("tor.connect", "onion connection", lognormal(tor.connect)),
        ("tor.stuck", "connections that never open", format!("{}%", tor.stuck * 100.0)),
        ("tor.slow", "slow connections", sometimes(tor.slow)),
        ("tor.round_trip", "round trip", lognormal(tor.round_trip)),
        ("tor.hiccup", "round trips that hang", sometimes(tor.hiccup)),
        ("tor.days", "bad days", days(tor.days)),
        ("tor.churn", "relays that leave in an hour", format!("{}%", tor.churn * 100.0)),
        ("release.first", "first release after", ms(scenario.release.0)),
        ("release.every", "further releases", every(scenario.release.1)),
        ("release.late", "a release is late after", ms(scenario.late)),
        ("release.background", "other entries of the log", every(scenario.background)),
        ("fault", "faults", faults(&scenario.faults)),
    ];
    match &scenario.adversary {
        None => all.push(("adversary", "adversary", "none".to_owned())),
        Some(adversary) => {
            all.push(("adversary.attack", "attack", attack(adversary.attack)));
            if adversary.attack.is_fork() {
                all.push(("adversary.shape", "the fork", shape(adversary.shape)));
            }
            if adversary.equivocate_to_all {
                let clients = "every client".to_owned();
                all.push((
                    "adversary.equivocate_to_all",
                    "colluding peers show the fork to",
                    clients,
                ));
            }
            if let Some(after) = adversary.withdrawn_after {
                all.push(("adversary.withdrawn_after", "the trojan is withdrawn after", ms(after)));
            }
            all.push(("adversary.start", "the attack starts after", ms(adversary.start)));
            all.push(("adversary.victims", "victims", adversary.victims.to_string()));
            all.push((
                "adversary.colluding",
                "colluding",
                match adversary.colluding {
                    Colluding::OfPeers(count) => format!("{count} of each victim's peers"),
                    Colluding::OfAll(count) => format!("{count} of all nodes"),
                },
            ));
        }
    }
    all
}

fn faults(faults: &[Fault]) -> String {
    let lines = faults.iter().map(|fault| {
        let until = match fault.until {
            Millis::MAX => "to the end".to_owned(),
            until => format!("until {}", format_time(until as f64)),
        };
        let share = fault.share * 100.0;
        format!(
            "{}, {share}% of nodes, from {} {until}",
            fault.kind,
            format_time(fault.from as f64)
        )
    });
    let all = lines.collect::<Vec<_>>().join("; ");
    if all.is_empty() { "none".to_owned() } else { all }
}

fn days(days: Days) -> String {
    if !days.can_fail() {
        return "none".to_owned();
    }
    let day = |(failure, mean): (f64, Millis)| {
        format!(
            "{}% of connections fail for {} in the mean",
            failure * 100.0,
            format_time(mean as f64)
        )
    };
    format!("{}, then {}", day(days.good), day(days.bad))
}

fn mirrors(mirrors: Mirrors) -> String {
    let up = format!("{}% of the time", mirrors.availability * 100.0);
    if !mirrors.can_fail() {
        return up;
    }
    let ms = |ms: u64| format_time(ms as f64);
    let within = match mirrors.within {
        (0, Millis::MAX) => String::new(),
        (from, Millis::MAX) => format!(", from {} on", ms(from)),
        (from, until) => format!(", from {} until {}", ms(from), ms(until)),
    };
    format!("{up}, outages exponential, mean {}{within}", ms(mirrors.mean_outage))
}

fn topology(topology: Topology) -> String {
    match topology {
        Topology::Random => "drawn from all others".to_owned(),
        Topology::Ring => "the next ones round a ring".to_owned(),
        Topology::SmallWorld(rewired) => format!("a ring, {}% of it drawn again", rewired * 100.0),
        Topology::Communities(count, inside) => {
            format!("{count} communities, {}% of peers inside", inside * 100.0)
        }
    }
}

fn attack(attack: AttackScenario) -> String {
    match attack {
        AttackScenario::Fork => {
            "every key is stolen; victims are shown a forked log with a trojan".to_owned()
        }
        AttackScenario::Flash(percent, lasts) => format!(
            "every key is stolen; victims are shown a forked log with a trojan, and for {} so are \
             {percent}% of honest nodes",
            format_time(lasts as f64)
        ),
        AttackScenario::Logged => {
            "the publisher's keys are stolen; a trojan is appended to the log, for all nodes"
                .to_owned()
        }
        AttackScenario::Freeze => {
            "victims' mirrors show what they showed at the start, for ever".to_owned()
        }
        AttackScenario::Block => "victims reach none of their peers".to_owned(),
        AttackScenario::Equivocate => {
            "colluding peers show victims the log of the start in every other minute, \
             and the current log in the rest"
                .to_owned()
        }
    }
}

fn shape(shape: Shape) -> String {
    match shape {
        Shape::Next => "the log of the start, and the trojan after it".to_owned(),
        Shape::Same => {
            "the log of the start, with the trojan in place of its newest entry".to_owned()
        }
        Shape::Longer(by) => format!("always {by} entries ahead of the log"),
        Shape::Starved(lasts) => format!(
            "the log of the start, and the trojan after it; for {} honest mirrors show only the \
             log of the start",
            format_time(lasts as f64)
        ),
    }
}

/// The assumptions that apply to the worlds of a study, one text each.
pub(super) fn assumptions(cells: &[Scenario]) -> Vec<&'static str> {
    let any = |fits: fn(&Scenario) -> bool| cells.iter().any(fits);
    let mut all = Vec::new();
    if any(|cell| cell.availability < 1.0) {
        all.push(
            "How often a peer is up is assumed: nothing is published for onion services of this \
             kind. Outages are assumed to be exponential and independent of each other. Outages of \
             many peers at once (a provider, a country) are not in the model, and would delay more \
             nodes at the same time.",
        );
    }
    if any(|cell| cell.tor.connect.0 > 0) {
        all.push(
            "The time to connect to an onion service (median and sigma) is an assumption, to be \
             calibrated with measurements. Round trips follow OnionPerf's measurements. The \
             numbers under a denial of service follow 100 timed requests of October 2022.",
        );
        all.push(
            "Connections fail independently of each other, except for bad days and relays that \
             leave, where the table has them. A guard that is slow for all of a node's circuits is \
             not in the model.",
        );
    }
    if any(|cell| cell.tor.days.can_fail()) {
        all.push(
            "How often connections fail on good and bad days follows Torperf's daily timeout \
             rates. How long such days last is assumed.",
        );
    }
    if any(|cell| cell.mirrors.can_fail()) {
        all.push(
            "How often a mirror is up is assumed. Every node has one mirror, and mirrors fail \
             independently of each other. A node with several mirrors does better, and nodes that \
             share a mirror fail together.",
        );
    }
    all.push(
        "Mirrors that are up answer at once; only peers take time. Clocks are right and no node \
         crashes, unless the table has such a fault. No operator acknowledges evidence.",
    );
    all.push(
        "A release counts if the time after which it is late is over before the world ends or an \
         attack begins. Installations are observed until the world ends, for the last release no \
         longer than that time. So the fraction of late releases is exact, and longer times are \
         too long rather than too short.",
    );
    if any(|cell| cell.adversary.is_some()) {
        all.push(
            "The adversary does what the table says from its start to the end. It does not adapt. \
             Victims and colluders are drawn at random.",
        );
        all.push(
            "Until the attack begins, the adversary's nodes behave like all others, and releases \
             count until then. An adversary could also delay updates by silence: a peer that does \
             not answer delays every node that asks it (the fault `silent`, and the scenario \
             silent-peers.toml).",
        );
    }
    all
}
