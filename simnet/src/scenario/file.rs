//! The format of a scenario file: its sections, durations and defaults.

use serde::Deserialize;
use toml::Spanned;

use super::check::{FieldError, check_scenario};
use super::fault_file::{FaultFile, read_faults};
use super::text::{ScenarioError, ScenarioText, ScenarioTree, find_value};
use super::units::{DurationField, FractionField, SigmaField};
use super::{
    Adversary, AttackScenario, Colluding, Days, Mirrors, Scenario, Shape, Topology, TorScenario,
};
use crate::Millis;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    question: String,
    horizon: DurationField,
    nodes: NodesFile,
    #[serde(default)]
    mirrors: MirrorsFile,
    #[serde(default)]
    program: ProgramFile,
    #[serde(default)]
    tor: TorFile,
    release: ReleaseFile,
    adversary: Option<AdversaryFile>,
    #[serde(default)]
    fault: Vec<FaultFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodesFile {
    count: u32,
    #[serde(default = "five")]
    peers: u32,
    #[serde(default = "random")]
    topology: TopologyFile,
    #[serde(default = "mostly")]
    availability: FractionField,
    #[serde(default = "a_night")]
    mean_outage: DurationField,
}

fn five() -> u32 {
    5
}

fn random() -> TopologyFile {
    TopologyFile::Random
}

fn mostly() -> FractionField {
    FractionField(0.99)
}

fn a_night() -> DurationField {
    DurationField(8 * 3_600_000)
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum TopologyFile {
    Random,
    Ring,
    SmallWorld { rewired: FractionField },
    Communities { count: u32, inside: FractionField },
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MirrorsFile {
    availability: Option<FractionField>,
    mean_outage: Option<DurationField>,
    from: Option<DurationField>,
    until: Option<DurationField>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProgramFile {
    poll: Option<(DurationField, DurationField)>,
    max_poll_age: Option<DurationField>,
    round_interval: Option<(DurationField, DurationField)>,
    settle: Option<DurationField>,
    ask_timeout: Option<DurationField>,
    round_timeout: Option<DurationField>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TorModelFile {
    #[default]
    Calm,
    Days,
    Attack,
    None,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TorFile {
    model: TorModelFile,
    connect: LognormalFile,
    stuck: Option<FractionField>,
    slow: SometimesFile,
    round_trip: LognormalFile,
    hiccup: SometimesFile,
    vantage: Option<Vec<DurationField>>,
    good: DayFile,
    bad: DayFile,
    churn: Option<FractionField>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DayFile {
    failure: Option<FractionField>,
    mean: Option<DurationField>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LognormalFile {
    median: Option<DurationField>,
    sigma: Option<SigmaField>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SometimesFile {
    probability: Option<FractionField>,
    from: Option<DurationField>,
    to: Option<DurationField>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseFile {
    first: DurationField,
    every: Option<DurationField>,
    #[serde(default = "a_day")]
    late: DurationField,
    background: Option<DurationField>,
}

fn a_day() -> DurationField {
    DurationField(24 * 3_600_000)
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AttackFile {
    Fork,
    Flash,
    Logged,
    Freeze,
    Block,
    Equivocate,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdversaryFile {
    attack: AttackFile,
    start: DurationField,
    #[serde(default = "one")]
    victims: u32,
    colluding: Option<u32>,
    colluding_of_all: Option<u32>,
    share: Option<FractionField>,
    lasts: Option<DurationField>,
    shape: Option<ShapeFile>,
    #[serde(default)]
    equivocate_to_all: bool,
    withdrawn_after: Option<DurationField>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ShapeFile {
    Next,
    Same,
    Longer(u32),
    Starved(DurationField),
}

fn one() -> u32 {
    1
}

/// Reads and checks one world. `tree` is the parsed text with the values of one cell inserted.
///
/// # Errors
/// The first invalid value, with its line.
pub fn read_scenario(
    text: &ScenarioText,
    tree: Spanned<ScenarioTree<'_>>,
) -> Result<Scenario, ScenarioError> {
    let original = tree.get_ref().clone();
    let file = ScenarioFile::deserialize(toml::de::Deserializer::from(tree))
        .map_err(|error| text.error_at(error.span(), error.message()))?;
    let invalid = |path: &str, problem: String| {
        let (section, _) = path.split_once('.').unwrap_or((path, ""));
        let value = find_value(&original, path).or_else(|| find_value(&original, section));
        text.error_at(value.map(Spanned::span), problem)
    };
    let scenario =
        assemble(&file, text.name()).map_err(|(path, problem)| invalid(path, problem))?;
    check_scenario(&scenario).map_err(|(path, problem)| invalid(path, problem))?;
    let faults = read_faults(text, &file.fault, scenario.horizon)?;
    Ok(Scenario { faults, ..scenario })
}

fn assemble(file: &ScenarioFile, name: String) -> Result<Scenario, FieldError> {
    let (nodes, program, release) = (&file.nodes, &file.program, &file.release);
    let or = |time: Option<DurationField>, default: Millis| time.map_or(default, |time| time.0);
    let pair = |pair: Option<(DurationField, DurationField)>, default| {
        pair.map_or(default, |(a, b)| (a.0, b.0))
    };
    let minute = 60_000;
    Ok(Scenario {
        name,
        question: file.question.clone(),
        horizon: file.horizon.0,
        nodes: nodes.count,
        peers: nodes.peers,
        topology: match nodes.topology {
            TopologyFile::Random => Topology::Random,
            TopologyFile::Ring => Topology::Ring,
            TopologyFile::SmallWorld { rewired } => Topology::SmallWorld(rewired.0),
            TopologyFile::Communities { count, inside } => Topology::Communities(count, inside.0),
        },
        availability: nodes.availability.0,
        mean_outage: nodes.mean_outage.0,
        mirrors: mirrors(&file.mirrors),
        poll: pair(program.poll, (5 * minute, 15 * minute)),
        max_poll_age: or(program.max_poll_age, 30 * minute),
        round_interval: pair(program.round_interval, (20 * minute, 40 * minute)),
        settle: or(program.settle, 60 * minute),
        ask_timeout: or(program.ask_timeout, 45_000),
        round_timeout: or(program.round_timeout, 2 * minute),
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
    let or = |time: &Option<DurationField>, default| time.map_or(default, |time| time.0);
    Mirrors {
        availability: file.availability.map_or(usual.availability, |fraction| fraction.0),
        mean_outage: or(&file.mean_outage, usual.mean_outage),
        within: (or(&file.from, usual.within.0), or(&file.until, usual.within.1)),
    }
}

fn tor(file: &TorFile) -> TorScenario {
    let base = match file.model {
        TorModelFile::Calm => TorScenario::calm(),
        TorModelFile::Days => TorScenario::days(),
        TorModelFile::Attack => TorScenario::attack(),
        TorModelFile::None => TorScenario::none(),
    };
    let lognormal = |over: &LognormalFile, (median, sigma)| {
        (over.median.map_or(median, |time| time.0), over.sigma.map_or(sigma, |sigma| sigma.0))
    };
    let sometimes = |over: &SometimesFile, (probability, from, to)| {
        (
            over.probability.map_or(probability, |fraction| fraction.0),
            over.from.map_or(from, |time| time.0),
            over.to.map_or(to, |time| time.0),
        )
    };
    let day = |over: &DayFile, (failure, mean)| {
        (over.failure.map_or(failure, |fraction| fraction.0), over.mean.map_or(mean, |time| time.0))
    };
    TorScenario {
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

fn adversary(file: &AdversaryFile) -> Result<Adversary, FieldError> {
    let colluding = match (file.colluding, file.colluding_of_all) {
        (Some(_), Some(_)) => {
            let problem = "colluding is a number of each victim's peers, colluding_of_all a number of \
                all nodes: write one of them";
            return Err(("adversary.colluding_of_all", problem.to_owned()));
        }
        (None, Some(count)) => Colluding::OfAll(count),
        (count, None) => Colluding::OfPeers(count.unwrap_or(0)),
    };
    let attack = match (file.attack, file.share, file.lasts) {
        (AttackFile::Flash, Some(share), Some(lasts)) => {
            let percent = (share.0 * 100.0).round();
            if (share.0 * 100.0 - percent).abs() > 1e-6 {
                return Err((
                    "adversary.share",
                    "share has at most two digits after the point, for example 0.25".to_owned(),
                ));
            }
            AttackScenario::Flash(percent as u32, lasts.0)
        }
        (AttackFile::Flash, ..) => {
            let problem = "a flash fork needs share (of the honest mirrors, for example 0.5) and \
                lasts (for example \"1h\")";
            return Err(("adversary.attack", problem.to_owned()));
        }
        (_, Some(_), _) => return Err(("adversary.share", only_flash("share"))),
        (_, _, Some(_)) => return Err(("adversary.lasts", only_flash("lasts"))),
        (AttackFile::Fork, ..) => AttackScenario::Fork,
        (AttackFile::Logged, ..) => AttackScenario::Logged,
        (AttackFile::Freeze, ..) => AttackScenario::Freeze,
        (AttackFile::Block, ..) => AttackScenario::Block,
        (AttackFile::Equivocate, ..) => AttackScenario::Equivocate,
    };
    if file.shape.is_some() && !attack.is_fork() {
        let problem = "only a fork has a shape: remove it, or write attack = \"fork\"";
        return Err(("adversary.shape", problem.to_owned()));
    }
    if file.equivocate_to_all && !attack.is_fork() {
        let problem = "only a fork has equivocate_to_all: remove it, or write attack = \"fork\"";
        return Err(("adversary.equivocate_to_all", problem.to_owned()));
    }
    if file.withdrawn_after.is_some() && attack != AttackScenario::Logged {
        let problem =
            "only a logged trojan is withdrawn: remove this, or write attack = \"logged\"";
        return Err(("adversary.withdrawn_after", problem.to_owned()));
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
        equivocate_to_all: file.equivocate_to_all,
        withdrawn_after: file.withdrawn_after.map(|time| time.0),
    })
}

fn only_flash(field: &str) -> String {
    format!("only a flash fork has {field}: remove it, or write attack = \"flash\"")
}
