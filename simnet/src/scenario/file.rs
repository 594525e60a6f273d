//! How people write a [`Scenario`]: sections, durations in words, defaults.

use serde::Deserialize;
use toml::Spanned;

use super::check::{Complaint, check};
use super::fault_file::{FaultFile, faults};
use super::text::{Text, Tree, Wrong, find};
use super::units::{Fraction, Sigma, Time};
use super::{Adversary, Attack, Colluding, Days, Mirrors, Scenario, Shape, Topology, Tor};
use crate::Millis;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    question: String,
    horizon: Time,
    nodes: Nodes,
    #[serde(default)]
    mirrors: MirrorsFile,
    #[serde(default)]
    program: Program,
    #[serde(default)]
    tor: TorFile,
    release: Release,
    adversary: Option<AdversaryFile>,
    #[serde(default)]
    fault: Vec<FaultFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nodes {
    count: u32,
    #[serde(default = "five")]
    circle: u32,
    #[serde(default = "random")]
    topology: Topo,
    #[serde(default = "mostly")]
    availability: Fraction,
    #[serde(default = "a_night")]
    mean_outage: Time,
}

fn five() -> u32 {
    5
}

fn random() -> Topo {
    Topo::Random
}

fn mostly() -> Fraction {
    Fraction(0.99)
}

fn a_night() -> Time {
    Time(8 * 3_600_000)
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Topo {
    Random,
    Ring,
    SmallWorld { rewired: Fraction },
    Communities { count: u32, inside: Fraction },
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MirrorsFile {
    availability: Option<Fraction>,
    mean_outage: Option<Time>,
    from: Option<Time>,
    until: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Program {
    poll: Option<(Time, Time)>,
    max_poll_age: Option<Time>,
    roll: Option<(Time, Time)>,
    settle: Option<Time>,
    ask_timeout: Option<Time>,
    roll_timeout: Option<Time>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Model {
    #[default]
    Calm,
    Days,
    Attack,
    None,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TorFile {
    model: Model,
    connect: Lognormal,
    stuck: Option<Fraction>,
    slow: Sometimes,
    round_trip: Lognormal,
    hiccup: Sometimes,
    vantage: Option<Vec<Time>>,
    good: Day,
    bad: Day,
    churn: Option<Fraction>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Day {
    failure: Option<Fraction>,
    mean: Option<Time>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Lognormal {
    median: Option<Time>,
    sigma: Option<Sigma>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sometimes {
    probability: Option<Fraction>,
    from: Option<Time>,
    to: Option<Time>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    first: Time,
    every: Option<Time>,
    #[serde(default = "a_day")]
    late: Time,
    background: Option<Time>,
}

fn a_day() -> Time {
    Time(24 * 3_600_000)
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Fork,
    Flash,
    Logged,
    Freeze,
    Block,
    Story,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdversaryFile {
    attack: Kind,
    start: Time,
    #[serde(default = "one")]
    victims: u32,
    colluding: Option<u32>,
    colluding_of_all: Option<u32>,
    share: Option<Fraction>,
    lasts: Option<Time>,
    shape: Option<ShapeFile>,
    #[serde(default)]
    launders: bool,
    withdrawn_after: Option<Time>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ShapeFile {
    Next,
    Same,
    Longer(u32),
    Starved(Time),
}

fn one() -> u32 {
    1
}

/// Reads and checks one world. The tree is of the text, with the values of one cell put in.
pub fn scenario(text: &Text, tree: Spanned<Tree<'_>>) -> Result<Scenario, Wrong> {
    let kept = tree.get_ref().clone();
    let file = File::deserialize(toml::de::Deserializer::from(tree))
        .map_err(|error| text.wrong(error.span(), error.message()))?;
    let wrong = |path: &str, what: String| {
        let (section, _) = path.split_once('.').unwrap_or((path, ""));
        let value = find(&kept, path).or_else(|| find(&kept, section));
        text.wrong(value.map(Spanned::span), what)
    };
    let scenario = assemble(&file, text.name()).map_err(|(path, what)| wrong(path, what))?;
    check(&scenario).map_err(|(path, what)| wrong(path, what))?;
    let faults = faults(text, &file.fault, scenario.horizon)?;
    Ok(Scenario { faults, ..scenario })
}

fn assemble(file: &File, name: String) -> Result<Scenario, Complaint> {
    let (nodes, program, release) = (&file.nodes, &file.program, &file.release);
    let or = |time: Option<Time>, default: Millis| time.map_or(default, |time| time.0);
    let pair = |pair: Option<(Time, Time)>, default| pair.map_or(default, |(a, b)| (a.0, b.0));
    let minute = 60_000;
    Ok(Scenario {
        name,
        question: file.question.clone(),
        horizon: file.horizon.0,
        nodes: nodes.count,
        circle: nodes.circle,
        topology: match nodes.topology {
            Topo::Random => Topology::Random,
            Topo::Ring => Topology::Ring,
            Topo::SmallWorld { rewired } => Topology::SmallWorld(rewired.0),
            Topo::Communities { count, inside } => Topology::Communities(count, inside.0),
        },
        availability: nodes.availability.0,
        mean_outage: nodes.mean_outage.0,
        mirrors: mirrors(&file.mirrors),
        poll: pair(program.poll, (5 * minute, 15 * minute)),
        max_poll_age: or(program.max_poll_age, 30 * minute),
        roll: pair(program.roll, (20 * minute, 40 * minute)),
        settle: or(program.settle, 60 * minute),
        ask_timeout: or(program.ask_timeout, 45_000),
        roll_timeout: or(program.roll_timeout, 2 * minute),
        tor: tor(&file.tor),
        release: (release.first.0, or(release.every, 0)),
        background: or(release.background, 0),
        late: release.late.0,
        adversary: file.adversary.as_ref().map(adversary).transpose()?,
        faults: Vec::new(),
    })
}

fn mirrors(file: &MirrorsFile) -> Mirrors {
    let usual = Mirrors::default();
    let or = |time: &Option<Time>, default| time.map_or(default, |time| time.0);
    Mirrors {
        availability: file.availability.map_or(usual.availability, |fraction| fraction.0),
        mean_outage: or(&file.mean_outage, usual.mean_outage),
        within: (or(&file.from, usual.within.0), or(&file.until, usual.within.1)),
    }
}

fn tor(file: &TorFile) -> Tor {
    let base = match file.model {
        Model::Calm => Tor::calm(),
        Model::Days => Tor::days(),
        Model::Attack => Tor::attack(),
        Model::None => Tor::none(),
    };
    let lognormal = |over: &Lognormal, (median, sigma)| {
        (over.median.map_or(median, |time| time.0), over.sigma.map_or(sigma, |sigma| sigma.0))
    };
    let sometimes = |over: &Sometimes, (probability, from, to)| {
        (
            over.probability.map_or(probability, |fraction| fraction.0),
            over.from.map_or(from, |time| time.0),
            over.to.map_or(to, |time| time.0),
        )
    };
    let day = |over: &Day, (failure, mean)| {
        (over.failure.map_or(failure, |fraction| fraction.0), over.mean.map_or(mean, |time| time.0))
    };
    Tor {
        connect: lognormal(&file.connect, base.connect),
        stuck: file.stuck.map_or(base.stuck, |fraction| fraction.0),
        slow: sometimes(&file.slow, base.slow),
        round_trip: lognormal(&file.round_trip, base.round_trip),
        hiccup: sometimes(&file.hiccup, base.hiccup),
        vantage: match &file.vantage {
            Some(shifts) => shifts.iter().map(|time| time.0).collect(),
            None => base.vantage,
        },
        days: Days { good: day(&file.good, base.days.good), bad: day(&file.bad, base.days.bad) },
        churn: file.churn.map_or(base.churn, |fraction| fraction.0),
    }
}

fn adversary(file: &AdversaryFile) -> Result<Adversary, Complaint> {
    let colluding = match (file.colluding, file.colluding_of_all) {
        (Some(_), Some(_)) => {
            let what = "colluding says how many of each victim's circle, colluding_of_all how many of \
                all nodes: write one of them";
            return Err(("adversary.colluding_of_all", what.to_owned()));
        }
        (None, Some(count)) => Colluding::OfAll(count),
        (count, None) => Colluding::OfCircle(count.unwrap_or(0)),
    };
    let attack = match (file.attack, file.share, file.lasts) {
        (Kind::Flash, Some(share), Some(lasts)) => {
            let percent = (share.0 * 100.0).round();
            if (share.0 * 100.0 - percent).abs() > 1e-6 {
                return Err((
                    "adversary.share",
                    "share is a whole number of hundredths".to_owned(),
                ));
            }
            Attack::Flash(percent as u32, lasts.0)
        }
        (Kind::Flash, ..) => {
            let what = "a flash fork needs share (of the honest mirrors, for example 0.5) and lasts \
                (for example \"1h\")";
            return Err(("adversary.attack", what.to_owned()));
        }
        (_, Some(_), _) => return Err(("adversary.share", only_flash("share"))),
        (_, _, Some(_)) => return Err(("adversary.lasts", only_flash("lasts"))),
        (Kind::Fork, ..) => Attack::Fork,
        (Kind::Logged, ..) => Attack::Logged,
        (Kind::Freeze, ..) => Attack::Freeze,
        (Kind::Block, ..) => Attack::Block,
        (Kind::Story, ..) => Attack::Story,
    };
    if file.shape.is_some() && !attack.forks() {
        let what = "only a fork has a shape: strike it out, or write attack = \"fork\"";
        return Err(("adversary.shape", what.to_owned()));
    }
    if file.launders && !attack.forks() {
        let what = "only a fork is laundered: strike it out, or write attack = \"fork\"";
        return Err(("adversary.launders", what.to_owned()));
    }
    if file.withdrawn_after.is_some() && attack != Attack::Logged {
        let what = "only what is logged is taken back: strike it out, or write attack = \"logged\"";
        return Err(("adversary.withdrawn_after", what.to_owned()));
    }
    let shape = match file.shape {
        None | Some(ShapeFile::Next) => Shape::Next,
        Some(ShapeFile::Same) => Shape::Same,
        Some(ShapeFile::Longer(by)) => Shape::Longer(by),
        Some(ShapeFile::Starved(lasts)) => Shape::Starved(lasts.0),
    };
    Ok(Adversary {
        start: file.start.0,
        victims: file.victims,
        colluding,
        attack,
        shape,
        launders: file.launders,
        withdrawn_after: file.withdrawn_after.map(|time| time.0),
    })
}

fn only_flash(field: &str) -> String {
    format!("only a flash fork has {field}: strike it out, or write attack = \"flash\"")
}
